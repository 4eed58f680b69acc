#include "base/assert.h"
#include "statemachine/state.h"

// A copy is made part by part as it is read from a snapshot, but in the order of the original:
// every index sorts itself.

struct copy {
    const struct sm *from;
    struct sm *to;
    const struct sm_copying *how;
};

static struct text other(const struct copy *c, enum sm_text what, struct text t)
{
    return text_is_empty(t) ? t : c->how->text(c->how->context, what, t);
}

// With one more reference, which keeps it beyond the next text.
static struct symbol *other_symbol(const struct copy *c, enum sm_text what, const struct symbol *s)
{
    return symbol_take(c->to, other(c, what, symbol_text(s)));
}

static void copy_head(const struct copy *c)
{
    const struct sm *from = c->from;
    struct sm *to = c->to;
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

static int copy_cycles(const struct copy *c)
{
    for (uint32_t i = 0; i < c->from->types_count; i++) {
        const struct type *t = c->from->types[i];
        if (t->cycle == NULL) continue;
        struct life_cycle *cycle = must_malloc(sizeof(*cycle));
        *cycle = *t->cycle;
        cycle->state = other_symbol(c, SM_TEXT_STATE, t->cycle->state);
        struct type *type = type_take(c->to, other(c, SM_TEXT_TYPE, symbol_text(t->name)));
        bool is_new = type->cycle == NULL;
        type_set_cycle(c->to, type, cycle);
        if (!is_new) return BOSKOS_E_MALFORMED;
    }
    return 0;
}

static int copy_userdata(const struct copy *c, const struct resource *r, struct userdata **ret_data)
{
    const struct userdata_pair *pairs = NULL;
    uint32_t count = 0;
    uint64_t bytes = 0;
    *ret_data = NULL;
    if (r->userdata == NULL) return 0;
    c->how->userdata(c->how->context, r->userdata->pairs, r->userdata->count, &pairs, &count);
    if (count > 0) *ret_data = userdata_merge(NULL, pairs, count, &bytes);
    return bytes > SM_USERDATA_BYTES_MAX ? BOSKOS_E_TOO_LARGE : 0;
}

static int copy_key(const struct copy *c, const struct lease_key *k, struct resource *r)
{
    struct symbol *state = other_symbol(c, SM_TEXT_STATE, k->state);
    struct text key = other(c, SM_TEXT_KEY, lease_key_text(k));
    bool is_right = key.size > 0 && key.size <= SM_KEY_BYTES_MAX &&
                    lease_key_find(c->to, symbol_text(r->owner), key) == NULL;
    if (is_right) lease_key_add(c->to, r, key, symbol_text(state));
    symbol_drop(c->to, state);
    return is_right ? 0 : BOSKOS_E_MALFORMED;
}

static int copy_resource(const struct copy *c, const struct resource *r)
{
    struct userdata *userdata = NULL;
    int err = copy_userdata(c, r, &userdata);
    if (err != 0) return err;
    struct text name = other(c, SM_TEXT_NAME, resource_name(r));
    if (name.size > SM_NAME_BYTES_MAX || resource_find(c->to, name) != NULL) {
        bury(c->to, userdata);
        return BOSKOS_E_MALFORMED;
    }
    struct resource *copy = resource_new(c->to, name);
    copy->is_static = r->is_static;
    copy->lastupdate_ns = r->lastupdate_ns;
    copy->expires_ns = r->expires_ns;
    copy->userdata = userdata;
    copy->owner = r->owner == NULL ? NULL : other_symbol(c, SM_TEXT_OWNER, r->owner);
    struct symbol *state = other_symbol(c, SM_TEXT_STATE, resource_state(r));
    struct type *type =
        type_take(c->to, other(c, SM_TEXT_TYPE, symbol_text(resource_type(r)->name)));
    resource_place(c->to, copy, type, state);
    symbol_drop(c->to, state);
    const struct lease_key *k = lease_key_of(c->from, r);
    return k == NULL ? 0 : copy_key(c, k, copy);
}

static int copy_resources(const struct copy *c)
{
    const struct order *names = &c->from->names;
    uint32_t count;
    for (uint32_t rank = 0; rank < names->size; rank += count) {
        const struct order_entry *run = order_run(names, rank, &count);
        for (uint32_t i = 0; i < count; i++) {
            int err = copy_resource(c, run[i].item);
            if (err != 0) return err;
        }
    }
    return 0;
}

// By last poll, which is the order that they are linked in.
static int copy_requests(const struct copy *c)
{
    for (const struct request *r = c->from->first_request; r != NULL; r = r->all_after) {
        struct symbol *type = other_symbol(c, SM_TEXT_TYPE, r->queue->type);
        struct symbol *state = other_symbol(c, SM_TEXT_STATE, r->queue->state);
        struct text id = other(c, SM_TEXT_REQUEST, text_of(r->id, r->id_size));
        const struct queue *q = queue_find(c->to, symbol_text(type), symbol_text(state));
        bool is_new = request_find(c->to, q, id) == NULL;
        if (is_new) {
            request_add(c->to, symbol_text(type), symbol_text(state), id, r->ticket,
                        r->first_poll_ns, r->deadline_ns);
        }
        symbol_drop(c->to, type);
        symbol_drop(c->to, state);
        if (!is_new) return BOSKOS_E_MALFORMED;
    }
    return 0;
}

static int copy_config(const struct copy *c)
{
    if (!sm_has_config(c->from)) return 0;
    struct text payload = c->how->config(c->how->context, sm_config_bytes(c->from));
    return config_restore(c->to, payload) == 0 ? 0 : BOSKOS_E_MALFORMED;
}

static int copy_import(const struct copy *c)
{
    if (!import_waits(c->from)) return 0;
    struct text payload = c->how->import(c->how->context, sm_imported_bytes(c->from));
    return import_restore(c->to, payload) == 0 ? 0 : BOSKOS_E_MALFORMED;
}

int sm_copy(const struct sm *sm, const struct sm_copying *how, uint64_t hash_seed,
            struct sm **ret_sm)
{
    struct copy c = {sm, sm_new(hash_seed), how};
    copy_head(&c);
    int err = copy_cycles(&c);
    if (err == 0) err = copy_resources(&c);
    if (err == 0) err = copy_requests(&c);
    if (err == 0) err = copy_config(&c);
    if (err == 0) err = copy_import(&c);
    if (err != 0) {
        sm_free(c.to);
        return err;
    }
    digest_core(c.to);
    *ret_sm = c.to;
    return 0;
}
