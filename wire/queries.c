#include "base/assert.h"
#include "base/clock.h"
#include "base/duration.h"
#include "wire/internal.h"

#include <inttypes.h>

#include "base/banned.h"

// A list being written, and where in `out` it starts.
struct list {
    struct buffer *out;
    size_t start;
    size_t bytes_max;
    bool is_first;
    bool is_too_large;
};

static struct list list_begin(struct buffer *out, size_t bytes_max)
{
    return (struct list){.out = out, .start = out->size, .bytes_max = bytes_max, .is_first = true};
}

// False once the list has become too large to go on.
static bool list_fits(struct list *l)
{
    l->is_too_large = l->out->size - l->start > l->bytes_max;
    return !l->is_too_large;
}

// Ends the list, or takes back what was written of it and answers that it is too large.
static struct wire_reply list_end(struct list *l, const char *tail, const char *advice)
{
    if (l->is_too_large) {
        l->out->size = l->start;
        return reply_problem(413, text_from(advice), l->out);
    }
    buffer_string(l->out, tail);
    return (struct wire_reply){.status = 200, .content = WIRE_CONTENT_JSON};
}

static void append_counts(struct buffer *out, const struct sm_count *counts, uint32_t count)
{
    buffer_char(out, '{');
    for (uint32_t i = 0; i < count; i++) {
        json_member(out, i == 0 ? "" : ",", counts[i].key);
        buffer_format(out, ":%" PRIu64, counts[i].count);
    }
    buffer_char(out, '}');
}

static struct wire_reply query_metric(struct sm *sm, struct text type, struct buffer *out)
{
    struct sm_metric metric;
    if (sm_metric(sm, type, &metric) != 0) {
        buffer_string(out, "no available resource ");
        buffer_text(out, type);
        buffer_string(out, ", try again later.\n");
        return reply_error(404);
    }
    json_member(out, "{\"type\":", type);
    buffer_string(out, ",\"current\":");
    append_counts(out, metric.states, metric.states_count);
    buffer_string(out, ",\"owner\":");
    append_counts(out, metric.owners, metric.owners_count);
    buffer_char(out, '}');
    return (struct wire_reply){.status = 200, .content = WIRE_CONTENT_JSON};
}

static bool list_resource(void *context, const struct sm_resource *r)
{
    struct list *l = context;
    if (!l->is_first) buffer_char(l->out, ',');
    l->is_first = false;
    wire_json_resource(l->out, r, WIRE_TIMES_NANO);
    return list_fits(l);
}

static struct wire_reply query_resources(struct sm *sm, const struct sm_filter *filter,
                                         struct buffer *out)
{
    struct list l = list_begin(out, WIRE_LIST_BYTES_MAX);
    buffer_string(out, "{\"resources\":[");
    (void)sm_list(sm, filter, list_resource, &l); // a client sees the cut by the count it asked for
    return list_end(&l, "]}",
                    "The list is larger than 256 MiB: read it in parts, with limit and after.");
}

static struct wire_reply query_resource(struct sm *sm, struct text name, struct buffer *out)
{
    struct sm_resource resource;
    if (sm_find(sm, name, &resource) != 0)
        return reply_problem(404, TEXT("There is no resource of that name."), out);
    wire_json_resource(out, &resource, WIRE_TIMES_NANO);
    return (struct wire_reply){.status = 200, .content = WIRE_CONTENT_JSON};
}

void wire_json_queue_entry(const struct sm_queue_entry *e, bool is_first, struct buffer *out)
{
    if (e->rank == 1) { // the first of its queue
        json_member(out, is_first ? "{\"type\":" : "]},{\"type\":", e->type);
        json_member(out, ",\"state\":", e->state);
        buffer_string(out, ",\"requests\":[");
    } else {
        buffer_char(out, ',');
    }
    json_member(out, "{\"id\":", e->request_id);
    buffer_format(out, ",\"rank\":%" PRIu32, e->rank);
    json_time(out, ",\"since\":", e->first_poll_ns, WIRE_TIMES_NANO);
    json_time(out, ",\"expires\":", e->deadline_ns, WIRE_TIMES_NANO);
    buffer_char(out, '}');
}

static bool list_queue_entry(void *context, const struct sm_queue_entry *e)
{
    struct list *l = context;
    wire_json_queue_entry(e, l->is_first, l->out);
    l->is_first = false;
    return list_fits(l);
}

static struct wire_reply query_queues(struct sm *sm, uint64_t now_ns, struct buffer *out)
{
    struct list l = list_begin(out, WIRE_LIST_BYTES_MAX);
    buffer_string(out, "{\"queues\":[");
    sm_queues(sm, now_ns, list_queue_entry, &l);
    return list_end(&l, l.is_first ? "]}" : "]}]}", "The list is larger than 256 MiB.");
}

static struct wire_reply query_status(struct sm *sm, const struct wire_status *status,
                                      struct buffer *out)
{
    uint8_t digest[HASH128_BYTES];
    hash128_encode(sm_digest(sm), digest);

    json_member(out, "{\"version\":", status->version);
    buffer_format(out, ",\"seq\":%" PRIu64, sm_seq(sm));
    json_time(out, ",\"time\":", status->now_ns, WIRE_TIMES_NANO);
    if (status->snapshot_seq == 0) {
        buffer_string(out, ",\"snapshot\":null");
    } else {
        buffer_format(out, ",\"snapshot\":{\"seq\":%" PRIu64, status->snapshot_seq);
        json_time(out, ",\"time\":", status->snapshot_time_ns, WIRE_TIMES_NANO);
        buffer_char(out, '}');
    }
    buffer_string(out, ",\"uptime\":\"");
    duration_format((int64_t)(status->uptime_ns / NS_PER_S * NS_PER_S), out);
    buffer_format(out, "\",\"resources\":%" PRIu64 ",\"queued\":%" PRIu64 ",\"digest\":\"",
                  sm_resources_count(sm), sm_queue_entries(sm));
    for (size_t i = 0; i < HASH128_BYTES; i++)
        buffer_format(out, "%02x", digest[i]);
    buffer_string(out, "\"}");
    return (struct wire_reply){.status = 200, .content = WIRE_CONTENT_JSON};
}

void wire_query(const struct wire_request *r, struct sm *sm, const struct wire_status *status,
                struct wire_reply *ret_reply, struct buffer *out)
{
    switch (r->call) {
    case WIRE_METRIC: *ret_reply = query_metric(sm, r->type, out); return;
    case WIRE_V1_RESOURCES: *ret_reply = query_resources(sm, &r->filter, out); return;
    case WIRE_V1_RESOURCE: *ret_reply = query_resource(sm, r->name, out); return;
    case WIRE_V1_QUEUES: *ret_reply = query_queues(sm, status->now_ns, out); return;
    case WIRE_V1_STATUS: *ret_reply = query_status(sm, status, out); return;
    case WIRE_NOTHING:
    case WIRE_ACQUIRE:
    case WIRE_ACQUIREBYSTATE:
    case WIRE_RELEASE:
    case WIRE_UPDATE:
    case WIRE_RESET:
    case WIRE_V1_UNKNOWN: break;
    }
    ASSERT(false); // no query
}
