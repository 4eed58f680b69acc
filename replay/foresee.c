#include "replay/foresee.h"

#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

// ---- acquire ----------------------------------------------------------------

// The lease with the request's key answers instead of the queue.
static bool foresee_by_key(struct sm *sm, const struct command_acquire *c, struct foreseen *f)
{
    if (text_is_empty(c->key)) return false;
    if (sm_find_lease(sm, c->owner, c->key, &f->resource, &f->key_state) != 0) return false;
    f->has_resource = true;
    f->is_repeat = text_equal(f->resource.type, c->type) && text_equal(f->key_state, c->state) &&
                   text_equal(f->resource.state, c->dest);
    f->reason = f->is_repeat ? SM_OK : SM_KEY_MISMATCH;
    return true;
}

struct queue_search {
    struct foreseen *f;
    const struct command_acquire *c;
    uint64_t now_ns;
    uint32_t live_capacity, dead_capacity;
    uint32_t own, lost; // one above the index, 0: none
};

static uint32_t entry_add(struct sm_queue_entry **list, uint32_t *count, uint32_t *capacity,
                          const struct sm_queue_entry *e)
{
    if (*count == *capacity) {
        *capacity = *capacity == 0 ? 16 : *capacity * 2;
        *list = must_realloc(*list, *capacity * sizeof(**list));
    }
    (*list)[*count] = *e;
    return ++*count;
}

static bool note_entry(void *context, const struct sm_queue_entry *e)
{
    struct queue_search *q = context;
    struct foreseen *f = q->f;
    bool is_live = q->now_ns <= e->deadline_ns;
    f->live_everywhere += is_live;
    if (!text_equal(e->type, q->c->type) || !text_equal(e->state, q->c->state)) return true;
    bool is_own = text_equal(e->request_id, q->c->request_id);
    struct sm_queue_entry entry = *e;
    entry.rank = is_live ? f->live_count + 1 : 0;
    if (is_live) {
        uint32_t at = entry_add(&f->live, &f->live_count, &q->live_capacity, &entry);
        if (is_own) q->own = at;
    } else {
        uint32_t at = entry_add(&f->dead, &f->dead_count, &q->dead_capacity, &entry);
        if (is_own) q->lost = at;
    }
    return true;
}

static void look_at_queue(struct sm *sm, const struct command_acquire *c, uint64_t now_ns,
                          struct foreseen *f)
{
    struct queue_search q = {.f = f, .c = c, .now_ns = now_ns};
    sm_queues(sm, 0, note_entry, &q); // those that are dead, too
    if (q.own > 0) f->own = &f->live[q.own - 1];
    if (q.lost > 0) f->lost = &f->dead[q.lost - 1];
    f->ahead = q.own > 0 ? q.own - 1 : f->live_count;
}

static void look_at_cycle(struct sm *sm, struct text type, struct foreseen *f)
{
    const struct sm_life_cycle *cycles = NULL;
    uint32_t count = 0;
    sm_life_cycles(sm, &cycles, &count);
    for (uint32_t i = 0; i < count && !f->has_cycle; i++) {
        if (!text_equal(cycles[i].type, type)) continue;
        f->has_cycle = true;
        f->cycle = cycles[i];
    }
}

static bool note_unowned(void *context, const struct sm_resource *r)
{
    struct foreseen *f = context;
    if (f->available++ == f->ahead) {
        f->has_resource = true;
        f->resource = *r;
    }
    return true;
}

static enum sm_reason foresee_by_queue(const struct command_acquire *c, const struct foreseen *f)
{
    bool is_new = f->own == NULL && !text_is_empty(c->request_id);
    if (is_new && f->live_count >= SM_QUEUE_ENTRIES_MAX) return SM_QUEUE_FULL;
    if (is_new && f->live_everywhere >= SM_QUEUE_ENTRIES_TOTAL_MAX) return SM_QUEUES_FULL;
    if (f->has_resource) return SM_OK;
    return f->type_count > 0 ? SM_NO_AVAILABLE : SM_NO_SUCH_TYPE;
}

void foresee_acquire(struct sm *sm, const struct command_acquire *c, uint64_t now_ns,
                     struct foreseen *ret_foreseen)
{
    struct foreseen f = {0};
    if (!foresee_by_key(sm, c, &f)) {
        look_at_queue(sm, c, now_ns, &f);
        look_at_cycle(sm, c->type, &f);
        f.type_count = sm_count_of_type(sm, c->type);
        sm_unowned(sm, c->type, c->state, note_unowned, &f);
        f.reason = foresee_by_queue(c, &f);
        f.has_resource = f.reason == SM_OK; // a full queue comes first
        bool is_waiting = f.reason == SM_NO_AVAILABLE || f.reason == SM_NO_SUCH_TYPE;
        f.is_queued = is_waiting && !text_is_empty(c->request_id);
        f.is_making = f.is_queued && f.own == NULL && f.has_cycle &&
                      f.type_count < (uint64_t)f.cycle.max_count;
        if (f.reason == SM_OK && f.own != NULL) f.waited_ns = now_ns - f.own->first_poll_ns;
    }
    *ret_foreseen = f;
}

void foreseen_release(struct foreseen *f)
{
    free(f->live);
    free(f->dead);
    *f = (struct foreseen){0};
}

struct candidates {
    const struct command_acquire *c;
    const struct foreseen *f;
    bool (*each)(void *context, const struct candidate *candidate);
    void *context;
    uint64_t rank;
    bool is_stopped;
};

static bool show(struct candidates *l, const struct candidate *candidate)
{
    l->is_stopped = !l->each(l->context, candidate);
    return !l->is_stopped;
}

static bool show_unowned(void *context, const struct sm_resource *r)
{
    struct candidates *l = context;
    const struct foreseen *f = l->f;
    struct candidate candidate = {.resource = *r, .passed = PASSED_YOUNGER};
    if (l->rank < f->ahead) {
        candidate.passed = PASSED_KEPT;
        candidate.kept_for = &f->live[l->rank];
    } else if (l->rank == f->ahead && f->reason == SM_OK) {
        candidate.passed = PASSED_NOT;
    }
    l->rank++;
    return show(l, &candidate);
}

static bool show_other(void *context, const struct sm_resource *r)
{
    struct candidates *l = context;
    bool is_owned = !text_is_empty(r->owner);
    if (!is_owned && text_equal(r->state, l->c->state)) return true; // shown already
    struct candidate candidate = {.resource = *r, .passed = is_owned ? PASSED_OWNED : PASSED_STATE};
    return show(l, &candidate);
}

void foreseen_candidates(struct sm *sm, const struct command_acquire *c, const struct foreseen *f,
                         bool (*each)(void *context, const struct candidate *candidate),
                         void *context)
{
    struct candidates l = {.c = c, .f = f, .each = each, .context = context};
    struct sm_filter of_type = {.types = &c->type, .types_count = 1};
    sm_unowned(sm, c->type, c->state, show_unowned, &l);
    if (!l.is_stopped) (void)sm_list(sm, &of_type, show_other, &l);
}

// ---- acquirebystate ---------------------------------------------------------

static struct named_resource look_at_name(struct sm *sm, struct text name, struct text state)
{
    struct named_resource n = {.name = name, .named = NAMED_EMPTY};
    if (text_is_empty(name)) return n;
    if (sm_find(sm, name, &n.resource) != 0)
        n.named = NAMED_MISSING;
    else if (!text_is_empty(n.resource.owner))
        n.named = NAMED_OWNED;
    else
        n.named = text_equal(n.resource.state, state) ? NAMED_GOOD : NAMED_STATE;
    return n;
}

void foresee_names(struct sm *sm, const struct command_acquirebystate *c,
                   void (*each)(void *context, const struct named_resource *n), void *context,
                   struct foreseen_names *ret_foreseen)
{
    struct foreseen_names f = {0};
    struct text name;
    uint32_t empty = 0;
    for (uint32_t at = 0; command_next_name(c->names, &at, &name);) {
        struct named_resource n = look_at_name(sm, name, c->state);
        f.count++;
        f.good += n.named == NAMED_GOOD;
        empty += n.named == NAMED_EMPTY;
        if (each != NULL) each(context, &n);
    }
    f.is_granted = f.good == f.count;
    f.is_handing_out = f.good > 0 && f.good + empty == f.count;
    *ret_foreseen = f;
}
