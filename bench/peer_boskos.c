// Boskos over HTTP: boskosd, a Boskos, and the raw server of this folder.
#include "bench/peer.h"

#include "base/banned.h"

static void post(struct buffer *out, const char *head, size_t size)
{
    buffer_string(out, "POST ");
    buffer_append(out, head, size);
}

static void post_end(struct buffer *out, struct text body)
{
    buffer_format(out, " HTTP/1.1\r\nHost: bench\r\nContent-Length: %u\r\n\r\n", body.size);
    buffer_text(out, body);
}

static void acquire(const struct plan *plan, struct client *c, const char *state,
                    bool has_request_id, struct buffer *out)
{
    c->is_acquiring = true;
    buffer_format(out, "POST /acquire?type=%s&state=%s&dest=busy&owner=owner-%u", plan->type, state,
                  c->number);
    if (has_request_id) buffer_format(out, "&request_id=request-%u", c->number);
    post_end(out, TEXT_NONE);
}

static void release(const struct plan *plan, struct client *c, struct buffer *out)
{
    post(out, "/release?name=", 14);
    buffer_append(out, c->held, c->held_size);
    buffer_format(out, "&dest=%s&owner=owner-%u", plan->state, c->number);
    post_end(out, TEXT_NONE);
    c->is_releasing = true;
}

static void update(struct client *c, struct text body, struct buffer *out)
{
    post(out, "/update?name=", 13);
    buffer_append(out, c->held, c->held_size);
    buffer_format(out, "&state=busy&owner=owner-%u", c->number);
    post_end(out, body);
}

// ---- workloads ----------------------------------------------------------------

static void cycle_encode(struct plan *plan, struct client *c, struct buffer *out)
{
    if (c->holds)
        release(plan, c, out);
    else
        acquire(plan, c, plan->state, false, out);
}

static void contended_encode(struct plan *plan, struct client *c, struct buffer *out)
{
    if (c->holds)
        release(plan, c, out);
    else
        acquire(plan, c, plan->state, true, out);
}

// Acquires once, then tells again and again that it is still there.
static void update_encode(struct plan *plan, struct client *c, struct buffer *out)
{
    if (!c->holds)
        acquire(plan, c, plan->state, false, out);
    else if (plan->is_ending)
        release(plan, c, out);
    else
        update(c, plan->body, out);
}

static void heartbeat_encode(struct plan *plan, struct client *c, struct buffer *out)
{
    if (c->number < plan->beaters)
        update_encode(plan, c, out);
    else
        acquire(plan, c, "never", true, out); // a state in which there is none
}

static void metric_encode(struct plan *plan, struct client *c, struct buffer *out)
{
    (void)c;
    buffer_format(out, "GET /metric?type=%s HTTP/1.1\r\nHost: bench\r\n\r\n", plan->type);
}

static bool begins(struct text t, struct text with)
{
    return t.size >= with.size && memcmp(t.data, with.data, with.size) == 0;
}

// The next request of its lease, or the first one of the next lease.
static void mixed_encode(struct plan *plan, struct client *c, struct buffer *out)
{
    if (plan->is_ending) {
        release(plan, c, out);
        return;
    }
    if (c->line == 0) c->script = plan->scripts_next++ % plan->scripts_count;
    const struct script *s = &plan->scripts[c->script];
    struct text request = s->requests[c->line];
    c->line = (c->line + 1) % s->count;
    uint32_t start = 0;
    for (uint32_t i = 0; i < request.size; i++) {
        if (request.data[i] != 1) continue;
        buffer_append(out, request.data + start, i - start);
        buffer_append(out, c->held, c->held_size);
        start = i + 1;
    }
    buffer_append(out, request.data + start, request.size - start);
    c->is_acquiring = begins(request, TEXT("POST /acquire?"));
    c->is_releasing = begins(request, TEXT("POST /release?"));
}

// ---- answers ------------------------------------------------------------------

static bool take_name(struct client *c, struct text body)
{
    static const char key[] = "\"name\":\"";
    const char *found = memmem(body.data, body.size, key, sizeof(key) - 1);
    if (found == NULL) return false;
    const char *start = found + sizeof(key) - 1;
    const char *end = memchr(start, '"', (size_t)(body.data + body.size - start));
    return end != NULL && client_take(c, text_of(start, (size_t)(end - start)));
}

static int64_t any_parse(struct client *c, struct text in, enum outcome *ret_outcome,
                         uint32_t *ret_status)
{
    struct http_answer a;
    int64_t size = http_parse(in, &a);
    if (size <= 0) return size;
    enum outcome outcome = OUTCOME_WRONG;
    if (a.status == 200)
        outcome = OUTCOME_GOOD;
    else if (a.status >= 400 && a.status < 500)
        outcome = OUTCOME_REFUSED;
    if (c->is_acquiring && a.status == 200 && !take_name(c, a.body)) outcome = OUTCOME_WRONG;
    if (c->is_releasing && a.status == 200) c->holds = false;
    c->is_acquiring = false;
    c->is_releasing = false;
    *ret_outcome = outcome;
    *ret_status = a.status;
    return size;
}

// For workloads in which nothing is ever refused.
static int64_t strict_parse(struct plan *plan, struct client *c, struct text in,
                            enum outcome *ret_outcome)
{
    uint32_t status;
    (void)plan;
    int64_t size = any_parse(c, in, ret_outcome, &status);
    if (size > 0 && status != 200) *ret_outcome = OUTCOME_WRONG;
    return size;
}

static int64_t lenient_parse(struct plan *plan, struct client *c, struct text in,
                             enum outcome *ret_outcome)
{
    uint32_t status;
    (void)plan;
    return any_parse(c, in, ret_outcome, &status);
}

static int64_t heartbeat_parse(struct plan *plan, struct client *c, struct text in,
                               enum outcome *ret_outcome)
{
    if (c->number < plan->beaters) return strict_parse(plan, c, in, ret_outcome);
    return lenient_parse(plan, c, in, ret_outcome);
}

static int64_t metric_parse(struct plan *plan, struct client *c, struct text in,
                            enum outcome *ret_outcome)
{
    struct http_answer a;
    (void)plan;
    (void)c;
    int64_t size = http_parse(in, &a);
    if (size <= 0) return size;
    *ret_outcome = a.status == 200 && a.body.size > 0 ? OUTCOME_GOOD : OUTCOME_WRONG;
    return size;
}

// A log that is played again by other clients meets other states: what was granted then may be
// refused now. A client whose acquire was refused goes on with the next lease.
static int64_t mixed_parse(struct plan *plan, struct client *c, struct text in,
                           enum outcome *ret_outcome)
{
    uint32_t status;
    int64_t size = any_parse(c, in, ret_outcome, &status);
    if (size > 0 && !c->holds) c->line = 0;
    (void)plan;
    return size;
}

const struct workload boskos_workloads[] = {
    {"boskos", "cycle", 0, cycle_encode, strict_parse},
    {"boskos", "contended", 0, contended_encode, lenient_parse},
    {"boskos", "heartbeat", 1, heartbeat_encode, heartbeat_parse},
    {"boskos", "update", 1, update_encode, strict_parse},
    {"boskos", "metric", 0, metric_encode, metric_parse},
    {"boskos", "mixed", 0, mixed_encode, mixed_parse},
    {NULL, NULL, 0, NULL, NULL},
};
