// Commands and what they changed, as the replay tool shows them.
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "wire/internal.h"
#include "wire/printable.h"

#include "base/banned.h"

// ---- parameters -------------------------------------------------------------

// Parameters being written, in one of the two forms.
struct params {
    struct buffer *out;
    bool is_json;
    bool is_first;
};

static void begin(struct params *p, const char *name)
{
    const char *between = p->is_json ? "," : " ";
    const char *quote = p->is_json ? "\"" : "";
    buffer_string(p->out, p->is_first ? "" : between);
    p->is_first = false;
    buffer_string(p->out, quote);
    buffer_string(p->out, name);
    buffer_string(p->out, quote);
    buffer_char(p->out, p->is_json ? ':' : '=');
}

// True when a value stands for itself: what is printable and no blank cannot break a line.
static bool is_plain(struct text t)
{
    if (t.size == 0) return false;
    while (t.size > 0) {
        uint32_t rune, size = text_rune(t, &rune);
        if (size == 0 || rune == ' ' || rune == '"' || rune == '\'' || !printable_rune(rune))
            return false;
        t = text_of(t.data + size, t.size - size);
    }
    return true;
}

void wire_text_word(struct text word, struct buffer *out)
{
    if (is_plain(word))
        buffer_text(out, word);
    else
        wire_go_quote(out, word);
}

static void add_text(struct params *p, const char *name, struct text value)
{
    begin(p, name);
    if (p->is_json)
        wire_json_string(p->out, value);
    else
        wire_text_word(value, p->out);
}

// For a parameter that the command may be without.
static void add_text_if_any(struct params *p, const char *name, struct text value)
{
    if (!text_is_empty(value)) add_text(p, name, value);
}

static void add_number(struct params *p, const char *name, uint64_t number)
{
    begin(p, name);
    buffer_format(p->out, "%" PRIu64, number);
}

static void add_duration(struct params *p, const char *name, int64_t ns)
{
    begin(p, name);
    if (p->is_json)
        json_duration(p->out, "", ns);
    else
        duration_format(ns, p->out);
}

static void add_span(struct params *p, const char *name, uint64_t ns)
{
    add_duration(p, name, duration_of(ns));
}

static void add_list(struct params *p, const char *name, const struct text *list, uint32_t count)
{
    if (p->is_json) {
        begin(p, name);
        buffer_char(p->out, '[');
        for (uint32_t i = 0; i < count; i++)
            json_member(p->out, i == 0 ? "" : ",", list[i]);
        buffer_char(p->out, ']');
        return;
    }
    struct buffer joined;
    buffer_init(&joined);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) buffer_char(&joined, ',');
        buffer_text(&joined, list[i]);
    }
    add_text(p, name, buffer_as_text(&joined));
    buffer_release(&joined);
}

static void add_userdata(struct params *p, const struct command_update *u)
{
    begin(p, "userdata");
    if (p->is_json) {
        json_userdata(p->out, "", u->pairs, u->pairs_count);
        return;
    }
    buffer_char(p->out, '{');
    for (uint32_t i = 0; i < u->pairs_count; i++) {
        if (i > 0) buffer_char(p->out, ',');
        wire_go_quote(p->out, u->pairs[i].key);
        buffer_char(p->out, ':');
        if (u->pairs[i].value.data == NULL)
            buffer_string(p->out, "null");
        else
            wire_go_quote(p->out, u->pairs[i].value);
    }
    buffer_char(p->out, '}');
}

static int compare_texts(const void *a, const void *b)
{
    const struct text *left = a, *right = b;
    return text_compare(*left, *right);
}

static uint32_t count_types(const struct command_config *c)
{
    struct text *types = must_calloc((size_t)c->entries_count + 1, sizeof(*types));
    for (uint32_t i = 0; i < c->entries_count; i++)
        types[i] = c->entries[i].type;
    qsort(types, c->entries_count, sizeof(*types), compare_texts);
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->entries_count; i++)
        count += i == 0 || !text_equal(types[i - 1], types[i]);
    free(types);
    return count;
}

static void add_config(struct params *p, const struct command_config *c)
{
    if (p->is_json) {
        begin(p, "config");
        wire_json_config(c, p->out);
        return;
    }
    uint64_t names = 0;
    for (uint32_t i = 0; i < c->entries_count; i++)
        names += c->entries[i].names_count;
    add_number(p, "types", count_types(c));
    add_number(p, "names", names);
}

static void add_acquire(struct params *p, const struct command_acquire *c)
{
    add_text(p, "type", c->type);
    add_text(p, "state", c->state);
    add_text(p, "dest", c->dest);
    add_text(p, "owner", c->owner);
    add_text_if_any(p, "request_id", c->request_id);
    add_text_if_any(p, "Idempotency-Key", c->key);
}

static void add_acquirebystate(struct params *p, const struct command_acquirebystate *c)
{
    add_text(p, "state", c->state);
    add_text(p, "dest", c->dest);
    add_text(p, "owner", c->owner);
    add_text(p, "names", c->names);
}

static void add_release(struct params *p, const struct command_release *c)
{
    add_text(p, "name", c->name);
    add_text(p, "dest", c->dest);
    add_text(p, "owner", c->owner);
}

static void add_update(struct params *p, const struct command_update *c)
{
    add_text(p, "name", c->name);
    add_text(p, "owner", c->owner);
    add_text(p, "state", c->state);
    if (c->has_body) add_userdata(p, c);
}

static void add_reset(struct params *p, const struct command_reset *c)
{
    add_text(p, "type", c->type);
    add_text(p, "state", c->state);
    add_text(p, "dest", c->dest);
    add_text(p, "expire", c->expire);
}

static void add_clean(struct params *p, const struct command_clean *c)
{
    add_text(p, "name", c->name);
    if (c->leased.data != NULL) add_text(p, "leasedResources", c->leased);
    add_list(p, "names", c->names, c->names_count);
}

static void add_started(struct params *p, const struct command_started *c)
{
    add_text(p, "version", c->version);
    add_text(p, "host", c->host);
    add_span(p, "downtime", c->downtime_ns);
    add_duration(p, "request-ttl", c->request_ttl_ns);
    add_number(p, "salt", c->salt);
}

static void add_repaired(struct params *p, const struct command_repaired *c)
{
    add_text(p, "version", c->version);
    add_text(p, "host", c->host);
    add_number(p, "lost-first", c->lost_first);
    if (c->lost_last != 0) {
        add_number(p, "lost-last", c->lost_last);
    } else if (p->is_json) {
        begin(p, "lost-last");
        buffer_string(p->out, "null");
    }
    add_span(p, "downtime", c->downtime_ns);
    add_text(p, "why", c->why);
}

static void add_imported(struct buffer *out, const struct sm_imported *r)
{
    json_member(out, "{\"type\":", r->type);
    json_member(out, ",\"name\":", r->name);
    json_member(out, ",\"state\":", r->state);
    json_member(out, ",\"owner\":", r->owner);
    if (r->lastupdate_ns != 0)
        json_time(out, ",\"lastupdate\":", r->lastupdate_ns, WIRE_TIMES_NANO);
    else
        buffer_string(out, ",\"lastupdate\":null");
    json_userdata(out, ",\"userdata\":", r->userdata, r->userdata_count);
    if (r->expires_ns != 0) json_time(out, ",\"expiration-date\":", r->expires_ns, WIRE_TIMES_NANO);
    buffer_char(out, '}');
}

static void add_import(struct params *p, const struct command_import *c)
{
    add_text(p, "version", c->version);
    add_text(p, "host", c->host);
    if (!p->is_json) {
        add_number(p, "resources", c->resources_count);
        add_number(p, "life-cycles", c->cycles_count);
        return;
    }
    begin(p, "life-cycles");
    json_entries(p->out, c->cycles, c->cycles_count);
    begin(p, "resources");
    buffer_char(p->out, '[');
    for (uint32_t i = 0; i < c->resources_count; i++) {
        if (i > 0) buffer_char(p->out, ',');
        add_imported(p->out, &c->resources[i]);
    }
    buffer_char(p->out, ']');
}

static void add_params(struct params *p, const struct command *c)
{
    switch (c->kind) {
    case COMMAND_ACQUIRE: add_acquire(p, &c->as.acquire); return;
    case COMMAND_ACQUIREBYSTATE: add_acquirebystate(p, &c->as.acquirebystate); return;
    case COMMAND_RELEASE: add_release(p, &c->as.release); return;
    case COMMAND_UPDATE: add_update(p, &c->as.update); return;
    case COMMAND_RESET: add_reset(p, &c->as.reset); return;
    case COMMAND_CONFIG: add_config(p, &c->as.config); return;
    case COMMAND_EXPIRE:
    case COMMAND_REAP: return;
    case COMMAND_CLEAN: add_clean(p, &c->as.clean); return;
    case COMMAND_CLOCK: add_span(p, "ahead", c->as.clock.ahead_ns); return;
    case COMMAND_STARTED: add_started(p, &c->as.started); return;
    case COMMAND_REPAIRED: add_repaired(p, &c->as.repaired); return;
    case COMMAND_IMPORT: add_import(p, &c->as.import); return;
    }
    ASSERT(false && "a kind that exists");
}

void wire_json_params(const struct command *c, struct buffer *out)
{
    struct params p = {.out = out, .is_json = true, .is_first = true};
    buffer_char(out, '{');
    add_params(&p, c);
    buffer_char(out, '}');
}

void wire_text_params(const struct command *c, struct buffer *out)
{
    struct params p = {.out = out, .is_first = true};
    add_params(&p, c);
}

// ---- changes ----------------------------------------------------------------

// The fields of a resource that a side of a change shows.
struct fields {
    bool type, state, owner, lastupdate, userdata, expiration;
};

static struct fields fields_that_differ(const struct sm_resource *a, const struct sm_resource *b)
{
    return (struct fields){
        .type = !text_equal(a->type, b->type),
        .state = !text_equal(a->state, b->state),
        .owner = !text_equal(a->owner, b->owner),
        .lastupdate = a->lastupdate_ns != b->lastupdate_ns,
        .userdata = !sm_same_userdata(a, b),
        .expiration = a->has_expiration != b->has_expiration ||
                      (a->has_expiration && a->expiration_ns != b->expiration_ns),
    };
}

// What stands before the next member of an object.
static void separate(struct buffer *out, char *next)
{
    buffer_char(out, *next);
    *next = ',';
}

static void append_side(struct buffer *out, const struct sm_resource *r, const struct fields *f)
{
    char next = '{';
    if (f->type) {
        separate(out, &next);
        json_member(out, "\"type\":", r->type);
    }
    if (f->state) {
        separate(out, &next);
        json_member(out, "\"state\":", r->state);
    }
    if (f->owner) {
        separate(out, &next);
        json_member(out, "\"owner\":", r->owner);
    }
    if (f->lastupdate) {
        separate(out, &next);
        json_time(out, "\"lastupdate\":", r->lastupdate_ns, WIRE_TIMES_NANO);
    }
    if (f->userdata) {
        separate(out, &next);
        json_userdata(out, "\"userdata\":", r->userdata, r->userdata_count);
    }
    if (f->expiration) {
        separate(out, &next);
        if (r->has_expiration)
            json_time(out, "\"expiration-date\":", r->expiration_ns, WIRE_TIMES_NANO);
        else
            buffer_string(out, "\"expiration-date\":null");
    }
    buffer_string(out, next == '{' ? "{}" : "}");
}

// A side beside which there is none, or null where it is that one.
static void append_whole(struct buffer *out, const struct sm_resource *r, bool is_there)
{
    if (!is_there) {
        buffer_string(out, "null");
        return;
    }
    struct fields all = {.type = true,
                         .state = true,
                         .owner = true,
                         .lastupdate = true,
                         .userdata = true,
                         .expiration = r->has_expiration};
    append_side(out, r, &all);
}

void wire_json_change(const struct sm_change *change, struct buffer *out)
{
    const struct sm_resource *before = &change->before, *after = &change->after;
    json_member(out, "{\"resource\":", change->name);
    if (change->was_there && change->is_there) {
        struct fields f = fields_that_differ(before, after);
        buffer_string(out, ",\"from\":");
        append_side(out, before, &f);
        buffer_string(out, ",\"to\":");
        append_side(out, after, &f);
    } else {
        buffer_string(out, ",\"from\":");
        append_whole(out, before, change->was_there);
        buffer_string(out, ",\"to\":");
        append_whole(out, after, change->is_there);
    }
    buffer_char(out, '}');
}

// ---- life cycles ------------------------------------------------------------

void wire_json_life_cycles(struct sm *sm, struct buffer *out)
{
    const struct sm_life_cycle *cycles = NULL;
    uint32_t count = 0;
    sm_life_cycles(sm, &cycles, &count);
    buffer_char(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        const struct sm_life_cycle *c = &cycles[i];
        json_member(out, i == 0 ? "{\"type\":" : ",{\"type\":", c->type);
        json_member(out, ",\"state\":", c->state);
        buffer_format(out, ",\"min-count\":%" PRId64 ",\"max-count\":%" PRId64, c->min_count,
                      c->max_count);
        if (c->has_lifespan)
            json_duration(out, ",\"lifespan\":", c->lifespan_ns);
        else
            buffer_string(out, ",\"lifespan\":null");
        buffer_char(out, '}');
    }
    buffer_char(out, ']');
}
