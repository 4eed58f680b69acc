#include "base/assert.h"
#include "statemachine/state.h"

// The other state is made part by part as it is read from a snapshot, but in the order of the
// original: every index sorts itself. What may be many leaves the original one by one as the other
// one gets it, so that there are never two of all.

struct rewrite {
    struct sm *from, *to;
    const struct sm_rewriting *how;
};

static struct text other(const struct rewrite *w, enum sm_text what, struct text t)
{
    return text_is_empty(t) ? t : w->how->text(w->how->context, what, t);
}

// With one more reference, which keeps it beyond the next text.
static struct symbol *other_symbol(const struct rewrite *w, enum sm_text what,
                                   const struct symbol *s)
{
    return symbol_take(w->to, other(w, what, symbol_text(s)));
}

static void rewrite_head(const struct rewrite *w)
{
    const struct sm *from = w->from;
    struct sm *to = w->to;
    to->seq = from->seq;
    to->time_ns = from->time_ns;
    to->has_started = from->has_started;
    to->salt = from->salt;
    to->request_ttl_ns = from->request_ttl_ns;
    to->reaped_ns = from->reaped_ns;
    to->grace_ns = from->grace_ns;
    to->gaps_count = from->gaps_count;
    memcpy(to->gaps, from->gaps, sizeof(to->gaps));
}

static int rewrite_cycles(const struct rewrite *w)
{
    for (uint32_t i = 0; i < w->from->types_count; i++) {
        const struct type *t = w->from->types[i];
        if (t->cycle == NULL) continue;
        struct life_cycle *cycle = must_malloc(sizeof(*cycle));
        *cycle = *t->cycle;
        cycle->state = other_symbol(w, SM_TEXT_STATE, t->cycle->state);
        struct type *type = type_take(w->to, other(w, SM_TEXT_TYPE, symbol_text(t->name)));
        bool is_new = type->cycle == NULL;
        type_set_cycle(w->to, type, cycle);
        if (!is_new) return BOSKOS_E_MALFORMED;
    }
    return 0;
}

static int rewrite_userdata(const struct rewrite *w, const struct resource *r,
                            struct userdata **ret_data)
{
    const struct userdata_pair *pairs = NULL;
    uint32_t count = 0;
    uint64_t bytes = 0;
    *ret_data = NULL;
    if (r->userdata == NULL) return 0;
    w->how->userdata(w->how->context, r->userdata->pairs, r->userdata->count, &pairs, &count);
    if (count > 0) *ret_data = userdata_merge(NULL, pairs, count, &bytes);
    return bytes > SM_USERDATA_BYTES_MAX ? BOSKOS_E_TOO_LARGE : 0;
}

static int rewrite_key(const struct rewrite *w, const struct lease_key *k, struct resource *r)
{
    struct symbol *state = other_symbol(w, SM_TEXT_STATE, k->state);
    struct text key = other(w, SM_TEXT_KEY, lease_key_text(k));
    bool is_right = key.size > 0 && key.size <= SM_KEY_BYTES_MAX &&
                    lease_key_find(w->to, symbol_text(r->owner), key) == NULL;
    if (is_right) lease_key_add(w->to, r, key, symbol_text(state));
    symbol_drop(w->to, state);
    return is_right ? 0 : BOSKOS_E_MALFORMED;
}

static int rewrite_resource(const struct rewrite *w, const struct resource *r)
{
    struct userdata *userdata = NULL;
    int err = rewrite_userdata(w, r, &userdata);
    if (err != 0) return err;
    struct text name = other(w, SM_TEXT_NAME, resource_name(r));
    if (name.size > SM_NAME_BYTES_MAX || resource_find(w->to, name) != NULL) {
        bury(w->to, userdata);
        return BOSKOS_E_MALFORMED;
    }
    struct resource *copy = resource_new(w->to, name);
    copy->is_static = r->is_static;
    copy->lastupdate_ns = r->lastupdate_ns;
    copy->expires_ns = r->expires_ns;
    copy->userdata = userdata;
    copy->owner = r->owner == NULL ? NULL : other_symbol(w, SM_TEXT_OWNER, r->owner);
    struct symbol *state = other_symbol(w, SM_TEXT_STATE, resource_state(r));
    struct type *type =
        type_take(w->to, other(w, SM_TEXT_TYPE, symbol_text(resource_type(r)->name)));
    resource_place(w->to, copy, type, state);
    symbol_drop(w->to, state);
    const struct lease_key *k = lease_key_of(w->from, r);
    return k == NULL ? 0 : rewrite_key(w, k, copy);
}

static int rewrite_resources(const struct rewrite *w)
{
    struct sm *from = w->from;
    int err = 0;
    while (from->names.size > 0 && err == 0) {
        struct resource *r = order_at(&from->names, 0).item;
        err = rewrite_resource(w, r);
        if (err == 0) resource_delete(from, r);
        free_buried(from);
    }
    return err;
}

static int rewrite_request(const struct rewrite *w, const struct request *r)
{
    struct symbol *type = other_symbol(w, SM_TEXT_TYPE, r->queue->type);
    struct symbol *state = other_symbol(w, SM_TEXT_STATE, r->queue->state);
    struct text id = other(w, SM_TEXT_REQUEST, text_of(r->id, r->id_size));
    const struct queue *q = queue_find(w->to, symbol_text(type), symbol_text(state));
    bool is_new = request_find(w->to, q, id) == NULL;
    if (is_new) {
        request_add(w->to, symbol_text(type), symbol_text(state), id, r->ticket, r->first_poll_ns,
                    r->deadline_ns);
    }
    symbol_drop(w->to, type);
    symbol_drop(w->to, state);
    return is_new ? 0 : BOSKOS_E_MALFORMED;
}

// By last poll, which is the order that they are linked in.
static int rewrite_requests(const struct rewrite *w)
{
    int err = 0;
    while (w->from->first_request != NULL && err == 0) {
        struct request *r = w->from->first_request;
        err = rewrite_request(w, r);
        if (err == 0) request_remove(w->from, r);
    }
    return err;
}

static int rewrite_config(const struct rewrite *w)
{
    if (!sm_has_config(w->from)) return 0;
    struct text payload = w->how->config(w->how->context, sm_config_bytes(w->from));
    return config_restore(w->to, payload) == 0 ? 0 : BOSKOS_E_MALFORMED;
}

static int rewrite_import(const struct rewrite *w)
{
    if (!import_waits(w->from)) return 0;
    struct text payload = w->how->import(w->how->context, sm_imported_bytes(w->from));
    return import_restore(w->to, payload) == 0 ? 0 : BOSKOS_E_MALFORMED;
}

int sm_rewrite(struct sm *sm, const struct sm_rewriting *how, uint64_t hash_seed,
               struct sm **ret_sm)
{
    const struct rewrite w = {sm, sm_new(hash_seed), how};
    rewrite_head(&w);
    int err = rewrite_cycles(&w);
    if (err == 0) err = rewrite_resources(&w);
    if (err == 0) err = rewrite_requests(&w);
    if (err == 0) err = rewrite_config(&w);
    if (err == 0) err = rewrite_import(&w);
    sm_free(sm);
    if (err != 0) {
        sm_free(w.to);
        return err;
    }
    digest_core(w.to);
    *ret_sm = w.to;
    return 0;
}
