#include "replay/leases.h"

#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

#define BLOCK_BYTES (64u * 1024)
#define PROGRESS_EVERY 4096u // commands
// Up to so many names are looked up after each command; for more it is noted what each command
// changes, which takes memory for a command that changes everything.
#define WATCHED_FEW 8u

// ---- the set ------------------------------------------------------------------

struct text_block {
    struct text_block *next;
    size_t used, size;
    char bytes[];
};

void leases_init(struct leases *l)
{
    *l = (struct leases){0};
}

void leases_release(struct leases *l)
{
    struct text_block *next = NULL;
    for (struct text_block *b = l->texts; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    for (size_t i = 0; i < l->count; i++) {
        free((char *)(uintptr_t)l->list[i].request_id.data);
        free((char *)(uintptr_t)l->list[i].end_state.data);
    }
    free(l->list);
    *l = (struct leases){0};
}

static struct text keep(struct leases *l, struct text t)
{
    if (t.size == 0) return TEXT_NONE;
    struct text_block *b = l->texts;
    if (b == NULL || b->size - b->used < t.size) {
        size_t size = t.size > BLOCK_BYTES ? t.size : BLOCK_BYTES;
        b = must_malloc(sizeof(*b) + size);
        *b = (struct text_block){.next = l->texts, .size = size};
        l->texts = b;
    }
    char *at = b->bytes + b->used;
    memcpy(at, t.data, t.size);
    b->used += t.size;
    return text_of(at, t.size);
}

// The same text as the lease before has: types, states and owners are few.
static struct text keep_shared(struct leases *l, struct text t, struct text before)
{
    return text_equal(t, before) ? before : keep(l, t);
}

struct lease *leases_add(struct leases *l, enum lease_wanted wanted, const struct sm_resource *r)
{
    if (l->count == l->capacity) {
        l->capacity = l->capacity == 0 ? 16 : l->capacity * 2;
        l->list = must_realloc(l->list, l->capacity * sizeof(l->list[0]));
    }
    struct lease none = {0};
    const struct lease *before = l->count > 0 ? &l->list[l->count - 1] : &none;
    struct lease lease = {.wanted = wanted,
                          .name = keep(l, r->name),
                          .owner = keep_shared(l, r->owner, before->owner),
                          .type = keep_shared(l, r->type, before->type),
                          .state = keep_shared(l, r->state, before->state),
                          .lastupdate_ns = r->lastupdate_ns};
    l->list[l->count] = lease;
    return &l->list[l->count++];
}

static int by_name(const void *a, const void *b)
{
    const struct lease *x = a, *y = b;
    int order = text_compare(x->name, y->name);
    return order != 0 ? order : (x->role > y->role) - (x->role < y->role);
}

static void sort(struct leases *l)
{
    if (l->count > 1) qsort(l->list, l->count, sizeof(l->list[0]), by_name);
}

// The first of that name, or count.
static size_t find(const struct leases *l, struct text name)
{
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (text_compare(l->list[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// ---- what a command does to a lease ---------------------------------------------

// Within a stretch, beside what is to be found of each lease. The texts have memory of their own.
struct part {
    uint64_t heartbeats;
    struct text owner; // of what ended last
    // Where few are watched: the resource as it was when it was last looked at, and whose it was
    // before that.
    bool is_there;
    uint64_t lastupdate_ns;
    struct text holder, former;
};

// A text with memory of its own, which is replaced as often as it changes: a resource has many
// leases in a long log.
static void replace(struct text *slot, struct text t)
{
    if (text_equal(*slot, t)) return;
    free((char *)(uintptr_t)slot->data);
    *slot = TEXT_NONE;
    if (t.size == 0) return;
    char *data = must_malloc(t.size);
    memcpy(data, t.data, t.size);
    *slot = text_of(data, t.size);
}

static struct lease_event event_of(const struct walk_step *step)
{
    return (struct lease_event){
        .seq = step->record.seq, .time_ns = step->record.time_ns, .kind = step->command.kind};
}

static void note_begin(struct lease *lease, struct part *part, const struct walk_step *step)
{
    const struct command *c = &step->command;
    lease->begin = event_of(step);
    replace(&lease->request_id, c->kind == COMMAND_ACQUIRE ? c->as.acquire.request_id : TEXT_NONE);
    lease->waited_ns = step->result.waited_ns;
    part->heartbeats = 0;
}

static void note_end(struct lease *lease, const struct sm_change *change,
                     const struct walk_step *step)
{
    lease->end = event_of(step);
    lease->is_removed = !change->is_there;
    replace(&lease->end_state, change->is_there ? change->after.state : TEXT_NONE);
    lease->heard_ns = change->before.lastupdate_ns;
}

static bool is_wanted_owner(const struct lease *lease, struct text owner)
{
    return text_is_empty(lease->owner) || text_equal(lease->owner, owner);
}

static struct text owner_before(const struct sm_change *c)
{
    return c->was_there ? c->before.owner : TEXT_NONE;
}

static struct text owner_after(const struct sm_change *c)
{
    return c->is_there ? c->after.owner : TEXT_NONE;
}

// One of the past: the last beginning of an open lease is its own, for it was not taken since. So
// are the last beginning and the last end of what is not held at the end of the stretch, by nobody
// or not by that owner.
static bool note_past(struct lease *lease, struct part *part, const struct sm_change *change,
                      const struct walk_step *step)
{
    struct text before = owner_before(change), after = owner_after(change);
    if (lease->is_settled) return false;
    if (lease->wanted == LEASE_GONE) {
        if (change->was_there && !change->is_there) lease->end = event_of(step);
        return true;
    }
    if (text_equal(before, after)) return false;
    bool wants_end = lease->wanted == LEASE_ENDED;
    if (wants_end && !text_is_empty(before) && is_wanted_owner(lease, before)) {
        note_end(lease, change, step);
        replace(&part->owner, before);
    }
    if (!text_is_empty(after) && (!wants_end || is_wanted_owner(lease, after)))
        note_begin(lease, part, step);
    return true;
}

// One of what comes after: returns whether it ends the lease.
static bool note_future(struct lease *lease, struct part *part, const struct sm_change *change,
                        const struct walk_step *step)
{
    (void)part;
    struct text before = owner_before(change);
    if (lease->wanted != LEASE_OPEN || lease->end.seq != 0) return false;
    if (text_is_empty(before) || text_equal(before, owner_after(change))) return false;
    note_end(lease, change, step);
    return true;
}

// Whose heartbeat it is, or an empty text.
static struct text heartbeat_name(const struct walk_step *step)
{
    bool is_one = step->command.kind == COMMAND_UPDATE && step->result.reason == SM_OK;
    return is_one ? step->command.as.update.name : TEXT_NONE;
}

static void note_heartbeat(const struct leases *l, struct part *parts, const struct walk_step *step)
{
    struct text name = heartbeat_name(step);
    if (text_is_empty(name)) return;
    for (size_t i = find(l, name); i < l->count && text_equal(l->list[i].name, name); i++) {
        const struct lease *lease = &l->list[i];
        bool is_its =
            lease->wanted == LEASE_OPEN || is_wanted_owner(lease, step->command.as.update.owner);
        parts[i].heartbeats += is_its;
    }
}

// ---- what a command changed of those that are watched ---------------------------

static void look(const struct lease *lease, struct part *part, struct sm *sm)
{
    struct sm_resource r = {0};
    part->is_there = sm_find(sm, lease->name, &r) == 0;
    part->lastupdate_ns = r.lastupdate_ns;
    replace(&part->holder, r.owner);
}

// What is different now, but for userdata and the like; false when nothing is. Borrowed until the
// next look.
static bool look_again(const struct lease *lease, struct part *part, struct sm *sm,
                       struct sm_change *ret_change)
{
    struct sm_resource now = {0};
    bool is_there = sm_find(sm, lease->name, &now) == 0;
    struct sm_change change = {.name = lease->name, .was_there = part->is_there};
    change.is_there = is_there;
    change.before.lastupdate_ns = part->lastupdate_ns;
    change.after = now;
    bool is_same = is_there == part->is_there && text_equal(now.owner, part->holder);
    part->is_there = is_there;
    part->lastupdate_ns = now.lastupdate_ns;
    if (is_same) return false;
    replace(&part->former, part->holder);
    replace(&part->holder, now.owner);
    change.before.owner = part->former;
    *ret_change = change;
    return true;
}

// To be called before the first command.
static void watch(struct leases *l, struct part *parts, struct walk *w)
{
    if (l->count > WATCHED_FEW) {
        walk_trace(w);
        return;
    }
    for (size_t i = 0; i < l->count; i++)
        look(&l->list[i], &parts[i], walk_state(w));
}

// Tells `note` of each change by the last command. Returns how often that returned true.
static size_t note_changes(struct leases *l, struct part *parts, struct walk *w,
                           const struct walk_step *step,
                           bool (*note)(struct lease *, struct part *, const struct sm_change *,
                                        const struct walk_step *))
{
    struct sm_change change;
    size_t noted = 0;
    if (l->count <= WATCHED_FEW) {
        for (size_t i = 0; i < l->count; i++) {
            if (look_again(&l->list[i], &parts[i], walk_state(w), &change))
                noted += note(&l->list[i], &parts[i], &change, step);
        }
        return noted;
    }
    uint32_t count = walk_changes(w);
    for (uint32_t c = 0; c < count; c++) {
        walk_change(w, c, &change);
        struct text name = change.name;
        for (size_t i = find(l, name); i < l->count && text_equal(l->list[i].name, name); i++)
            noted += note(&l->list[i], &parts[i], &change, step);
    }
    return noted;
}

static void parts_free(const struct leases *l, struct part *parts)
{
    for (size_t i = 0; i < l->count; i++) {
        replace(&parts[i].owner, TEXT_NONE);
        replace(&parts[i].holder, TEXT_NONE);
        replace(&parts[i].former, TEXT_NONE);
    }
    free(parts);
}

// ---- back -----------------------------------------------------------------------

// After a stretch: is more to be looked for before it?
static void settle(struct leases *l, struct lease *lease, const struct part *part)
{
    if (lease->is_settled) return;
    if (lease->wanted == LEASE_ENDED && lease->end.seq != 0) {
        lease->wanted = LEASE_OPEN; // at the beginning of the stretch, unless it began in it
        lease->owner = keep_shared(l, part->owner, lease->owner);
    }
    if (lease->wanted == LEASE_OPEN) {
        lease->heartbeats += part->heartbeats;
        lease->is_settled = lease->begin.seq != 0;
    } else if (lease->wanted == LEASE_GONE) {
        lease->is_settled = lease->end.seq != 0;
    }
}

static bool settle_all(struct leases *l, struct part *parts)
{
    size_t open = 0;
    for (size_t i = 0; i < l->count; i++) {
        settle(l, &l->list[i], &parts[i]);
        open += !l->list[i].is_settled;
    }
    return open == 0;
}

// Walks from the state after `base` to the one after `end`.
static int walk_stretch(struct replay *r, struct leases *l, uint64_t base, uint64_t end,
                        bool *ret_is_done)
{
    struct walk *w = NULL;
    const struct walk_step *step = NULL;
    int err = replay_walk(r, base, &w);
    if (err != 0) return err;
    struct part *parts = must_calloc(l->count, sizeof(*parts));
    watch(l, parts, w);
    progress_begin(&r->progress, "commands");
    for (uint64_t at = base; at < end && err == 0; at++) {
        err = walk_next(w, &step, &r->problem);
        if (err == 0) {
            note_heartbeat(l, parts, step);
            (void)note_changes(l, parts, w, step, note_past);
        }
        if ((at - base) % PROGRESS_EVERY == 0) progress_said(&r->progress, at - base, end - base);
    }
    progress_end(&r->progress);
    bool is_done = settle_all(l, parts);
    if (err == 0) *ret_is_done = is_done;
    parts_free(l, parts);
    walk_close(w);
    return err;
}

int leases_begin(struct replay *r, struct leases *l, uint64_t at, uint32_t stretches)
{
    uint64_t *bases = NULL;
    size_t count = 0;
    uint64_t end = at;
    bool is_done = l->count == 0;
    uint32_t walked = 0;
    sort(l);
    int err = source_bases(r->source, &bases, &count, &r->problem);
    for (size_t i = count; i-- > 0 && err == 0 && !is_done;) {
        if (bases[i] >= end) continue;
        if (stretches > 0 && walked++ == stretches) break;
        err = walk_stretch(r, l, bases[i], end, &is_done);
        if (err == 0) end = bases[i];
    }
    if (err == BOSKOS_E_TRIMMED) err = 0; // meanwhile: it is before what is kept now
    free(bases);
    for (size_t i = 0; i < l->count && err == 0; i++) {
        struct lease *lease = &l->list[i];
        if (lease->wanted == LEASE_OPEN && lease->begin.seq == 0) lease->begin_before = end + 1;
    }
    return err;
}

// ---- on -------------------------------------------------------------------------

int leases_end(struct replay *r, struct leases *l, struct walk *w, uint64_t last)
{
    size_t open = l->count;
    uint64_t begun = sm_seq(walk_state(w));
    const struct walk_step *step = NULL;
    int err = 0;
    sort(l);
    struct part *parts = must_calloc(l->count, sizeof(*parts));
    watch(l, parts, w);
    progress_begin(&r->progress, "commands");
    for (uint64_t at = begun; at < last && open > 0 && err == 0; at++) {
        err = walk_next(w, &step, &r->problem);
        if (err == 0) open -= note_changes(l, parts, w, step, note_future);
        if ((at - begun) % PROGRESS_EVERY == 0)
            progress_said(&r->progress, at - begun, last - begun);
    }
    progress_end(&r->progress);
    parts_free(l, parts);
    return err;
}
