// The clients' requests on their way to the engine and back, and who acts when.
#include <stdio.h>

#include "base/assert.h"
#include "tests/rigs/simulator/simulator.h"

#include "base/banned.h"

// ---- a heap of those with work ----------------------------------------------

static bool is_before(const struct client *a, const struct client *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->number < b->number;
}

static void heap_put(struct sim *s, uint32_t place, struct client *c)
{
    s->heap[place] = c;
    c->heap = place;
}

static void heap_add(struct sim *s, struct client *c)
{
    uint32_t place = s->heap_count++;
    while (place > 0 && is_before(c, s->heap[(place - 1) / 2])) {
        heap_put(s, place, s->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    heap_put(s, place, c);
}

static struct client *heap_take(struct sim *s)
{
    struct client *first = s->heap[0];
    struct client *last = s->heap[--s->heap_count];
    uint32_t place = 0;
    for (uint32_t child; (child = place * 2 + 1) < s->heap_count; place = child) {
        if (child + 1 < s->heap_count && is_before(s->heap[child + 1], s->heap[child])) child++;
        if (!is_before(s->heap[child], last)) break;
        heap_put(s, place, s->heap[child]);
    }
    if (s->heap_count > 0) heap_put(s, place, last);
    return first;
}

uint64_t clients_next_ns(const struct sim *s)
{
    return s->heap_count > 0 ? s->heap[0]->at_ns : NEVER;
}

// ---- a request --------------------------------------------------------------

static void keep_leased(struct call *c, const struct sm_resource *r)
{
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        if (!text_equal(r->userdata[i].key, TEXT("leasedResources"))) continue;
        if (r->userdata[i].value.size >= sizeof(c->leased)) continue;
        snprintf(c->leased, sizeof(c->leased), "%.*s", TEXT_ARG(r->userdata[i].value));
    }
}

static void call_done(struct engine_request *r, int error, struct sm *sm,
                      const struct sm_result *result, uint64_t now_ns)
{
    struct call *c = (struct call *)r;
    (void)sm, (void)now_ns;
    if (disk_is_dead()) return; // so is the process: nobody hears this
    if (error == BOSKOS_E_NOSPACE) {
        world_refused(c->sim, &c->wire.command);
        return; // 503: to the client as good as no answer
    }
    if (error != 0) {
        sim_fail(c->sim, "a request was refused: %s", boskos_error_text(error));
        return;
    }
    c->seq = c->wire.command.seq;
    c->reason = result->reason;
    wire_result(&c->wire.command, result, &c->reply, &c->text);
    if (result->resources_count > 0) {
        snprintf(c->name, sizeof(c->name), "%.*s", TEXT_ARG(result->resources[0].name));
        keep_leased(c, &result->resources[0]);
    }
    c->is_answered = true;
    audit_heard(c->sim, c);
}

void call_begin(struct call *c, const char *path)
{
    buffer_clear(&c->path);
    buffer_string(&c->path, path);
    buffer_clear(&c->query);
    buffer_clear(&c->body);
    buffer_clear(&c->text);
    c->key = TEXT_NONE;
    c->is_answered = false;
    c->seq = 0;
    c->name[0] = c->leased[0] = '\0';
}

void call_param(struct call *c, const char *key, const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    buffer_format(&c->query, "%s%s=", c->query.size > 0 ? "&" : "", key);
    for (const char *at = value; *at != '\0'; at++) {
        if (strchr(plain, *at) != NULL) {
            buffer_char(&c->query, *at);
        } else {
            buffer_format(&c->query, "%%%02X", (unsigned)(unsigned char)*at);
        }
    }
}

// Parses the request as the server does. False when it is answered without the engine.
static bool parse(struct call *c)
{
    wire_request_clear(&c->wire);
    int refused =
        wire_parse(&c->wire, TEXT("POST"), buffer_as_text(&c->path), buffer_as_text(&c->query),
                   buffer_as_text(&c->body), &c->reply, &c->text);
    if (refused == 0) refused = wire_idempotency_key(&c->wire, c->key, &c->reply, &c->text);
    if (refused == 0 && c->wire.is_command) return true;
    c->is_answered = true;
    c->reason = SM_NO_SUCH_RESOURCE;
    return false;
}

static void shuffle(struct sim *s)
{
    for (uint32_t i = s->active_count; i > 1; i--) {
        uint32_t j = (uint32_t)sim_random(s, i);
        struct client *other = s->active[i - 1];
        s->active[i - 1] = s->active[j];
        s->active[j] = other;
    }
}

bool clients_submit(struct sim *s)
{
    struct engine_request *first = NULL;
    s->active_count = 0;
    // The commit before may have taken a while.
    uint64_t until_ns =
        s->now_ns + sim_random(s, sim_once_in(s, 3) ? 3 * NS_PER_S : 20 * NS_PER_MS);
    while (clients_next_ns(s) <= until_ns) {
        struct client *c = heap_take(s);
        if (c->at_ns > s->now_ns) s->now_ns = c->at_ns;
        s->active[s->active_count++] = c;
    }
    shuffle(s);
    for (uint32_t i = 0; i < s->active_count; i++) {
        struct call *call = work_ask(s, s->active[i]);
        s->tally.requests++;
        if (!parse(call)) continue;
        call->request.command = &call->wire.command;
        call->request.next = first;
        first = &call->request;
    }
    engine_submit(s->engine, first);
    return first != NULL;
}

void clients_hear(struct sim *s)
{
    for (uint32_t i = 0; i < s->active_count; i++) {
        struct client *c = s->active[i];
        // A connection may break while the answer is on its way.
        if (c->call.is_answered && sim_once_in(s, 500)) c->call.is_answered = false;
        s->tally.lost += !c->call.is_answered;
        work_hear(s, c);
        if (c->at_ns != NEVER) heap_add(s, c);
    }
    s->active_count = 0;
}

// ---- all of them ------------------------------------------------------------

void clients_init(struct sim *s)
{
    for (uint32_t i = 0; i < s->clients_count; i++) {
        struct client *c = &s->clients[i];
        *c = (struct client){.number = i, .at_ns = NEVER};
        c->call.sim = s;
        c->call.request.done = call_done;
        wire_request_init(&c->call.wire);
        buffer_init(&c->call.path);
        buffer_init(&c->call.query);
        buffer_init(&c->call.body);
        buffer_init(&c->call.text);
    }
}

void clients_release(struct sim *s)
{
    for (uint32_t i = 0; i < s->clients_count; i++) {
        struct call *c = &s->clients[i].call;
        wire_request_release(&c->wire);
        buffer_release(&c->path);
        buffer_release(&c->query);
        buffer_release(&c->body);
        buffer_release(&c->text);
    }
}

void clients_burst(struct sim *s, uint32_t count)
{
    uint32_t at = (uint32_t)sim_random(s, s->clients_count);
    uint64_t within_ns = sim_once_in(s, 3) ? NS_PER_S : sim_span(s, NS_PER_S, HOUR_NS);
    for (uint32_t i = 0; i < s->clients_count && count > 0; i++) {
        struct client *c = &s->clients[(at + i) % s->clients_count];
        if (c->at_ns != NEVER) continue;
        work_begin(s, c);
        c->at_ns = s->now_ns + sim_random(s, within_ns);
        heap_add(s, c);
        count--;
    }
}
