#include <inttypes.h>

#include "wire/internal.h"
#include "wire/kubernetes.h"

#include "base/banned.h"

// Go prints keys in byte order, and four blanks a level: an object of a list begins at two levels.

#define IN "            "      // a member of an object
#define IN2 IN "    "          // of what is in it
#define IN3 IN2 "    "         // and one further
#define OBJECT_END "        }" // of the list

static void begin(struct buffer *out, const char *kind, struct text name)
{
    buffer_string(out,
                  "        {\n" IN "\"apiVersion\": \"boskos.k8s.io/v1\",\n" IN "\"kind\": \"");
    buffer_string(out, kind);
    json_member(out, "\",\n" IN "\"metadata\": {\n" IN2 "\"name\": ", name);
    buffer_string(out, "\n" IN "},\n");
}

static void append_userdata(struct buffer *out, const struct sm_resource *r)
{
    if (r->userdata_count == 0) return;
    buffer_string(out, ",\n" IN2 "\"userData\": {\n");
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        json_member(out, i == 0 ? IN3 : ",\n" IN3, r->userdata[i].key);
        json_member(out, ": ", r->userdata[i].value);
    }
    buffer_string(out, "\n" IN2 "}");
}

void wire_kubernetes_resource(struct buffer *out, const struct sm_resource *r)
{
    begin(out, "ResourceObject", r->name);
    json_member(out, IN "\"spec\": {\n" IN2 "\"type\": ", r->type);
    buffer_string(out, "\n" IN "},\n" IN "\"status\": {\n");
    if (r->has_expiration) {
        json_time(out, IN2 "\"expirationDate\": ", r->expiration_ns, WIRE_TIMES_SECONDS);
        buffer_string(out, ",\n");
    }
    json_time(out, IN2 "\"lastUpdate\": ", r->lastupdate_ns, WIRE_TIMES_SECONDS);
    json_member(out, ",\n" IN2 "\"owner\": ", r->owner);
    json_member(out, ",\n" IN2 "\"state\": ", r->state);
    append_userdata(out, r);
    buffer_string(out, "\n" IN "}\n" OBJECT_END);
}

static void append_config(struct buffer *out, const struct sm_entry *e)
{
    buffer_string(out, IN2 "\"config\": {");
    const char *next = "\n" IN3;
    if (e != NULL && e->has_config && !text_is_empty(e->config_content)) {
        buffer_string(out, next);
        json_member(out, "\"content\": ", e->config_content);
        next = ",\n" IN3;
    }
    if (e != NULL && e->has_config && !text_is_empty(e->config_type)) {
        buffer_string(out, next);
        json_member(out, "\"type\": ", e->config_type);
        next = ",\n" IN3;
    }
    buffer_string(out, *next == ',' ? "\n" IN2 "},\n" : "},\n");
}

static void append_needs(struct buffer *out, const struct sm_entry *e)
{
    buffer_string(out, IN2 "\"needs\": {");
    uint32_t count = e == NULL ? 0 : e->needs_count;
    for (uint32_t i = 0; i < count; i++) {
        json_member(out, i == 0 ? "\n" IN3 : ",\n" IN3, e->needs[i].type);
        buffer_format(out, ": %" PRId64, e->needs[i].count);
    }
    buffer_string(out, count > 0 ? "\n" IN2 "},\n" : "},\n");
}

void wire_kubernetes_cycle(struct buffer *out, const struct sm_life_cycle *c,
                           const struct sm_entry *entry)
{
    begin(out, "DRLCObject", c->type);
    buffer_string(out, IN "\"spec\": {\n");
    append_config(out, entry);
    if (c->has_lifespan) buffer_format(out, IN2 "\"lifespan\": %" PRId64 ",\n", c->lifespan_ns);
    buffer_format(out, IN2 "\"max-count\": %" PRId64 ",\n", c->max_count);
    buffer_format(out, IN2 "\"min-count\": %" PRId64 ",\n", c->min_count);
    append_needs(out, entry);
    json_member(out, IN2 "\"state\": ", c->state);
    buffer_string(out, "\n" IN "}\n" OBJECT_END);
}
