#include "base/assert.h"
#include "statemachine/canonical.h"
#include "statemachine/state.h"

#include <stdlib.h>

// The form of the state in a snapshot, one msgpack value after the other (docs/FORMAT.md, `State
// snapshot`): the head, the life cycles, the resources by name, the queue entries by (type, state,
// ticket), the config, from the second form on the keys of leases by resource, and in the third the
// life cycles of an import that waits for a config. What fits into a lower form is written in it,
// so that equal states have equal bytes whoever writes them. The head names the form, and the
// lowest version of the rules that can hold such a state: the same number so far.

#define FORM_PLAIN 1u
#define FORM_KEYS 2u
#define FORM_IMPORT 3u
#define PIECE_BYTES ((size_t)1 << 16)
#define PENDING_MAX 16u

// ---- writing ----------------------------------------------------------------

struct writer {
    struct buffer buffer;
    int (*write)(void *context, const void *bytes, size_t size);
    void *context;
    int err;
};

// Hands on what has gathered, once it is worth a call.
static void drain(struct writer *w, size_t at_least)
{
    if (w->err == 0 && w->buffer.size >= at_least) {
        w->err = w->write(w->context, w->buffer.data, w->buffer.size);
    }
    if (w->buffer.size >= at_least) buffer_clear(&w->buffer);
}

static uint64_t form_of(const struct sm *sm)
{
    if (import_waits(sm)) return FORM_IMPORT;
    return sm->keys.count > 0 ? FORM_KEYS : FORM_PLAIN;
}

static void write_head(struct writer *w, const struct sm *sm)
{
    struct buffer *b = &w->buffer;
    canonical_array(b, 10);
    uint64_t form = form_of(sm);
    canonical_u64(b, form);
    canonical_u64(b, form); // the semantics
    canonical_u64(b, sm->seq);
    canonical_u64(b, sm->time_ns);
    canonical_bool(b, sm->has_started);
    canonical_u64(b, sm->salt);
    canonical_i64(b, sm->request_ttl_ns);
    canonical_u64(b, sm->reaped_ns);
    canonical_u64(b, sm->grace_ns);
    canonical_hash(b, sm->digest);
    canonical_array(b, sm->gaps_count);
    for (uint32_t i = 0; i < sm->gaps_count; i++) {
        canonical_array(b, 2);
        canonical_u64(b, sm->gaps[i].end_ns);
        canonical_u64(b, sm->gaps[i].length_ns);
    }
}

static void write_cycles(struct writer *w, const struct sm *sm)
{
    struct buffer *b = &w->buffer;
    uint32_t count = 0;
    for (uint32_t i = 0; i < sm->types_count; i++) {
        count += sm->types[i]->cycle != NULL;
    }
    canonical_array(b, count);
    for (uint32_t i = 0; i < sm->types_count; i++) {
        const struct life_cycle *c = sm->types[i]->cycle;
        if (c == NULL) continue;
        canonical_array(b, 6);
        canonical_text(b, symbol_text(sm->types[i]->name));
        canonical_text(b, symbol_text(c->state));
        canonical_i64(b, c->min_count);
        canonical_i64(b, c->max_count);
        if (c->has_lifespan) {
            canonical_i64(b, c->lifespan_ns);
        } else {
            canonical_nil(b);
        }
        canonical_bool(b, c->is_fading);
        drain(w, PIECE_BYTES);
    }
}

static void write_resource(struct writer *w, const struct resource *r)
{
    struct buffer *b = &w->buffer;
    canonical_array(b, 8);
    canonical_text(b, resource_name(r));
    canonical_text(b, symbol_text(resource_type(r)->name));
    canonical_text(b, symbol_text(resource_state(r)));
    canonical_text(b, symbol_text(r->owner));
    canonical_u64(b, r->lastupdate_ns);
    canonical_u64(b, r->expires_ns);
    canonical_bool(b, r->is_static);
    uint32_t count = r->userdata != NULL ? r->userdata->count : 0;
    canonical_map(b, count);
    for (uint32_t i = 0; i < count; i++) {
        canonical_text(b, r->userdata->pairs[i].key);
        canonical_text(b, r->userdata->pairs[i].value);
    }
    drain(w, PIECE_BYTES);
}

static void write_resources(struct writer *w, const struct sm *sm)
{
    canonical_array(&w->buffer, sm->names.size);
    uint32_t count;
    for (uint32_t rank = 0; rank < sm->names.size && w->err == 0; rank += count) {
        const struct order_entry *run = order_run(&sm->names, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            write_resource(w, run[i].item);
        }
    }
}

static void write_queue(struct writer *w, const struct queue *q)
{
    struct buffer *b = &w->buffer;
    canonical_array(b, 3);
    canonical_text(b, symbol_text(q->type));
    canonical_text(b, symbol_text(q->state));
    canonical_array(b, q->entries.size);
    uint32_t count;
    for (uint32_t rank = 0; rank < q->entries.size && w->err == 0; rank += count) {
        const struct order_entry *run = order_run(&q->entries, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            const struct request *r = run[i].item;
            canonical_array(b, 4);
            canonical_text(b, text_of(r->id, r->id_size));
            canonical_u64(b, r->ticket);
            canonical_u64(b, r->first_poll_ns);
            canonical_u64(b, r->deadline_ns);
            drain(w, PIECE_BYTES);
        }
    }
}

static void write_keys(struct writer *w, const struct sm *sm)
{
    struct buffer *b = &w->buffer;
    canonical_array(b, sm->keys.count);
    uint32_t count;
    for (uint32_t rank = 0; rank < sm->names.size && w->err == 0; rank += count) {
        const struct order_entry *run = order_run(&sm->names, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            const struct lease_key *k = lease_key_of(sm, run[i].item);
            if (k == NULL) continue;
            canonical_array(b, 3);
            canonical_text(b, resource_name(k->resource));
            canonical_text(b, lease_key_text(k));
            canonical_text(b, symbol_text(k->state));
            drain(w, PIECE_BYTES);
        }
    }
}

int sm_snapshot_write(struct sm *sm, int (*write)(void *context, const void *bytes, size_t size),
                      void *context)
{
    struct writer w = {.write = write, .context = context};
    buffer_init(&w.buffer);
    write_head(&w, sm);
    write_cycles(&w, sm);
    write_resources(&w, sm);
    canonical_array(&w.buffer, sm->queues.count);
    struct queue **queues = queues_sorted(sm);
    for (uint32_t i = 0; i < sm->queues.count; i++) {
        write_queue(&w, queues[i]);
    }
    canonical_text_or_nil(&w.buffer, sm_has_config(sm) ? sm_config_bytes(sm) : TEXT_NONE);
    if (form_of(sm) >= FORM_KEYS) write_keys(&w, sm);
    if (import_waits(sm)) canonical_text(&w.buffer, buffer_as_text(&sm->imported));
    drain(&w, 1);
    buffer_release(&w.buffer);
    return w.err;
}

// ---- reading ----------------------------------------------------------------

// The form and the digest that the head claims, and whether the form is one this program knows.
static int read_head(struct canonical_reader *r, struct sm *sm, uint64_t *ret_form,
                     struct hash128 *ret_digest)
{
    canonical_expect_array(r, 10);
    uint64_t form = canonical_read_u64(r);
    uint64_t semantics = canonical_read_u64(r);
    if (!r->failed && (form > FORM_IMPORT || semantics > SM_SEMANTICS)) return BOSKOS_E_TOO_NEW;
    if (form == 0 || semantics != form) r->failed = true;
    sm->seq = canonical_read_u64(r);
    sm->time_ns = canonical_read_u64(r);
    sm->has_started = canonical_read_bool(r);
    uint64_t salt = canonical_read_u64(r);
    if (salt > 0xfff) r->failed = true;
    sm->salt = (uint32_t)salt;
    sm->request_ttl_ns = canonical_read_i64(r);
    sm->reaped_ns = canonical_read_u64(r);
    sm->grace_ns = canonical_read_u64(r);
    struct hash128 digest = canonical_read_hash(r);
    uint32_t gaps = canonical_read_array(r);
    if (gaps > SM_GAPS_MAX) r->failed = true;
    for (uint32_t i = 0; i < gaps && !r->failed; i++) {
        canonical_expect_array(r, 2);
        sm->gaps[i].end_ns = canonical_read_u64(r);
        sm->gaps[i].length_ns = canonical_read_u64(r);
        sm->gaps_count++;
    }
    if (r->failed) return BOSKOS_E_CORRUPT;
    *ret_form = form;
    *ret_digest = digest;
    return 0;
}

// Takes a text and fails the reader unless it is above the one before (TEXT_NONE for the first): a
// list has one canonical order, and nothing in it twice.
static struct text read_ascending(struct canonical_reader *r, struct text *before)
{
    struct text t = canonical_read_text(r);
    if (before->data != NULL && text_compare(*before, t) >= 0) r->failed = true;
    *before = t;
    return t;
}

static void read_cycle(struct canonical_reader *r, struct sm *sm, struct text *before)
{
    canonical_expect_array(r, 6);
    struct text name = read_ascending(r, before);
    struct text state = canonical_read_text(r);
    struct life_cycle c = {0};
    c.min_count = canonical_read_i64(r);
    c.max_count = canonical_read_i64(r);
    c.has_lifespan = !canonical_read_nil(r);
    if (c.has_lifespan) c.lifespan_ns = canonical_read_i64(r);
    c.is_fading = canonical_read_bool(r);
    if (r->failed) return;
    struct life_cycle *cycle = must_malloc(sizeof(*cycle));
    *cycle = c;
    cycle->state = symbol_take(sm, state);
    type_set_cycle(sm, type_take(sm, name), cycle);
}

static void read_userdata(struct canonical_reader *r, struct sm *sm, struct resource *res)
{
    uint32_t count = canonical_read_map(r);
    buffer_clear(&sm->answer);
    struct userdata_pair pair = {TEXT_NONE, TEXT_NONE};
    for (uint32_t i = 0; i < count && !r->failed; i++) {
        struct text before = pair.key;
        pair.key = canonical_read_text(r);
        pair.value = canonical_read_text(r);
        if (i > 0 && text_compare(before, pair.key) >= 0) r->failed = true;
        if (text_is_empty(pair.value)) r->failed = true; // it would mean no value
        buffer_append(&sm->answer, &pair, sizeof(pair));
    }
    uint64_t bytes;
    if (r->failed || count == 0) return;
    res->userdata = userdata_merge(
        NULL, (const struct userdata_pair *)(const void *)sm->answer.data, count, &bytes);
}

// Resources on their way into the table: by the time it is a resource's turn its slot is near.
struct pending {
    struct resource *resources[PENDING_MAX];
    uint32_t count; // so far
};

static void pending_add(struct sm *sm, struct pending *p, struct resource *res)
{
    struct resource **place = &p->resources[p->count++ % PENDING_MAX];
    table_expect_slot(&sm->resources, res->item.hash);
    if (p->count > PENDING_MAX) table_add(&sm->resources, *place);
    *place = res;
}

static void pending_end(struct sm *sm, const struct pending *p)
{
    for (uint32_t i = 0; i < PENDING_MAX && i < p->count; i++) {
        table_add(&sm->resources, p->resources[i]);
    }
}

static void read_resource(struct canonical_reader *r, struct sm *sm, struct text *before,
                          struct pending *pending)
{
    canonical_expect_array(r, 8);
    struct text name = read_ascending(r, before);
    struct text type = canonical_read_text(r);
    struct text state = canonical_read_text(r);
    struct text owner = canonical_read_text(r);
    uint64_t lastupdate_ns = canonical_read_u64(r);
    uint64_t expires_ns = canonical_read_u64(r);
    bool is_static = canonical_read_bool(r);
    if (name.size > SM_NAME_BYTES_MAX) r->failed = true;
    if (r->failed) return;
    struct type *t = type_take(sm, type);
    struct symbol *s = symbol_take(sm, state);
    struct resource *res = resource_make(sm, name);
    pending_add(sm, pending, res);
    res->is_static = is_static;
    res->owner = text_is_empty(owner) ? NULL : symbol_take(sm, owner);
    res->lastupdate_ns = lastupdate_ns;
    res->expires_ns = expires_ns;
    read_userdata(r, sm, res);
    resource_place(sm, res, t, s);
    symbol_drop(sm, s);
}

static int by_deadline(const void *a, const void *b)
{
    const struct request *x = *(struct request *const *)a;
    const struct request *y = *(struct request *const *)b;
    if (x->deadline_ns != y->deadline_ns) return x->deadline_ns < y->deadline_ns ? -1 : 1;
    return (x->ticket > y->ticket) - (x->ticket < y->ticket);
}

// The order by last poll is the order of deadlines: what is read by ticket is linked anew.
static void relink_requests(struct sm *sm)
{
    uint32_t count = 0;
    struct request **all = must_malloc((sm->requests.count + 1ul) * sizeof(*all));
    for (struct request *r = sm->first_request; r != NULL; r = r->all_after) {
        all[count++] = r;
    }
    if (count > 1) qsort(all, count, sizeof(*all), by_deadline);
    for (uint32_t i = 0; i < count; i++) {
        request_poll(sm, all[i], all[i]->deadline_ns);
    }
    free(all);
}

static void read_queue(struct canonical_reader *r, struct sm *sm, struct text *before_type,
                       struct text *before_state)
{
    canonical_expect_array(r, 3);
    struct text type = canonical_read_text(r);
    struct text state = canonical_read_text(r);
    uint32_t count = canonical_read_array(r);
    int order = before_type->data == NULL ? 1 : text_compare(type, *before_type);
    if (count == 0 || order < 0 || (order == 0 && text_compare(state, *before_state) <= 0)) {
        r->failed = true;
    }
    *before_type = type;
    *before_state = state;
    uint64_t last_ticket = 0;
    for (uint32_t i = 0; i < count && !r->failed; i++) {
        canonical_expect_array(r, 4);
        struct text id = canonical_read_text(r);
        uint64_t ticket = canonical_read_u64(r);
        uint64_t first_poll_ns = canonical_read_u64(r);
        uint64_t deadline_ns = canonical_read_u64(r);
        if (ticket <= last_ticket) r->failed = true;
        last_ticket = ticket;
        if (r->failed) return;
        if (request_find(sm, queue_find(sm, type, state), id) != NULL) {
            r->failed = true;
            return;
        }
        request_add(sm, type, state, id, ticket, first_poll_ns, deadline_ns);
    }
}

static void read_keys(struct canonical_reader *r, struct sm *sm, uint64_t form)
{
    uint32_t count = canonical_read_array(r);
    struct text before = TEXT_NONE;
    if (count == 0 && form == FORM_KEYS) r->failed = true; // the first form is for that
    for (uint32_t i = 0; i < count && !r->failed; i++) {
        canonical_expect_array(r, 3);
        struct text name = read_ascending(r, &before);
        struct text key = canonical_read_text(r);
        struct text state = canonical_read_text(r);
        struct resource *res = r->failed ? NULL : resource_find(sm, name);
        if (res == NULL || res->owner == NULL || text_is_empty(key) ||
            key.size > SM_KEY_BYTES_MAX ||
            lease_key_find(sm, symbol_text(res->owner), key) != NULL) {
            r->failed = true;
            return;
        }
        lease_key_add(sm, res, key, state);
    }
}

static int read_body(struct canonical_reader *r, struct sm *sm, uint64_t form)
{
    struct pending pending = {.count = 0};
    uint32_t count = canonical_read_array(r);
    struct text before = TEXT_NONE;
    for (uint32_t i = 0; i < count && !r->failed; i++) {
        read_cycle(r, sm, &before);
    }
    count = canonical_read_array(r);
    before = TEXT_NONE;
    if (!r->failed) table_reserve(&sm->resources, count);
    for (uint32_t i = 0; i < count && !r->failed; i++) {
        read_resource(r, sm, &before, &pending);
    }
    pending_end(sm, &pending);
    count = canonical_read_array(r);
    before = TEXT_NONE;
    struct text before_state = TEXT_NONE;
    for (uint32_t i = 0; i < count && !r->failed; i++) {
        read_queue(r, sm, &before, &before_state);
    }
    relink_requests(sm);
    struct text config = canonical_read_text_or_nil(r);
    if (form >= FORM_KEYS) read_keys(r, sm, form);
    struct text imported = form == FORM_IMPORT ? canonical_read_text(r) : TEXT_NONE;
    if (!canonical_done(r)) return BOSKOS_E_CORRUPT;
    int err = config.data == NULL ? 0 : config_restore(sm, config);
    if (err == 0 && form == FORM_IMPORT) err = import_restore(sm, imported);
    return err;
}

int sm_snapshot_read(struct text bytes, uint64_t hash_seed, struct sm **ret_sm)
{
    struct sm *sm = sm_new(hash_seed);
    struct canonical_reader r = canonical_reader_of(bytes);
    uint64_t form = 0;
    struct hash128 claimed;
    int err = read_head(&r, sm, &form, &claimed);
    if (err == 0) err = read_body(&r, sm, form);
    if (err != 0) goto out;
    digest_core(sm);
    if (!hash128_equal(sm->digest, claimed)) {
        err = BOSKOS_E_CORRUPT;
        goto out;
    }
    *ret_sm = sm;
    sm = NULL;
out:
    sm_free(sm);
    return err;
}
