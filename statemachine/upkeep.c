#include "base/assert.h"
#include "statemachine/state.h"

#include <stdlib.h>

// A UUID of version 7 made of the command's time, its sequence number, a counter within the command
// and the journal's salt: names sort by creation, and a replay makes the same ones.
#define UUID_TEXT_BYTES 36u

static void uuid_text(uint64_t time_ns, uint64_t seq, uint32_t counter, uint32_t salt,
                      char ret_text[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    // The 74 free bits: 40 of seq, 22 of counter, 12 of salt; 12 of them before the variant.
    uint64_t seq40 = seq & ((UINT64_C(1) << 40) - 1);
    uint64_t low = (seq40 & ((UINT64_C(1) << 28) - 1)) << 34 |
                   (uint64_t)(counter & 0x3fffff) << 12 | (salt & 0xfff);
    uint64_t first = (time_ns / 1000000) << 16 | 0x7000 | seq40 >> 28;
    uint64_t second = UINT64_C(2) << 62 | low;
    char *at = ret_text;
    for (int nibble = 0; nibble < 32; nibble++) {
        if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) *at++ = '-';
        uint64_t half = nibble < 16 ? first : second;
        *at++ = digits[half >> (60 - 4 * (nibble % 16)) & 0xf];
    }
}

static void remember_made(struct sm *sm, struct resource *r)
{
    r->is_new = true;
    if (sm->made_count == sm->made_capacity) {
        sm->made_capacity = sm->made_capacity == 0 ? 16 : sm->made_capacity * 2;
        sm->made = must_realloc(sm->made, sm->made_capacity * sizeof(sm->made[0]));
    }
    sm->made[sm->made_count++] = r;
}

struct resource *make_dynamic(struct sm *sm, struct type *t)
{
    char name[UUID_TEXT_BYTES];
    uint32_t counter = sm->made_count;
    do { // a static name of the same text is allowed, if odd
        uuid_text(sm->time_ns, sm->seq, counter++, sm->salt, name);
    } while (resource_find(sm, text_of(name, sizeof(name))) != NULL);
    struct resource *r = resource_add(sm, t, t->cycle->state, text_of(name, sizeof(name)), false);
    remember_made(sm, r);
    return r;
}

// Deletes a dynamic resource at the end of its life; with the built-in cleaner, what was leased for
// it goes with it.
static void retire(struct sm *sm, struct resource *r)
{
    struct text name = resource_name(r); // the memory is buried: it stays until the next command
    resource_delete(sm, r);
    if (sm->cleaner_enabled) free_leased_by(sm, name);
}

static void delete_all(struct sm *sm, struct order *o)
{
    while (o->size > 0) {
        resource_delete(sm, order_at(o, 0).item);
    }
}

// What was made by this very command stays until the next: for a life cycle whose initial state is
// tombstone, making and deleting would go on for ever.
static void retire_tombstones(struct sm *sm, struct type *t)
{
    uint32_t kept = 0;
    while (kept < t->tombstones.size) {
        struct resource *r = order_at(&t->tombstones, kept).item;
        if (r->is_new) {
            kept++;
        } else {
            retire(sm, r);
        }
    }
}

// Marks the unowned live ones above max-count, the highest names first.
static void mark_excess(struct sm *sm, struct type *t)
{
    uint64_t counted = t->dynamic - t->doomed.size;
    uint64_t most = (uint64_t)t->cycle->max_count;
    for (; counted > most && t->live.size > 0; counted--) {
        resource_move(sm, order_at(&t->live, t->live.size - 1).item, NULL, sm->to_be_deleted);
    }
}

static void upkeep_type(struct sm *sm, struct type *t)
{
    if (t->cycle == NULL) {
        // A static name that left the config goes when it is unowned.
        delete_all(sm, &t->live);
        delete_all(sm, &t->doomed);
        delete_all(sm, &t->tombstones);
        return;
    }
    retire_tombstones(sm, t);
    while (t->dynamic < (uint64_t)t->cycle->min_count) {
        make_dynamic(sm, t);
    }
    mark_excess(sm, t);
    if (t->cycle->is_fading && t->dynamic == 0) type_set_cycle(sm, t, NULL);
}

static void mark_expired(struct sm *sm)
{
    while (sm->expiring.size > 0) {
        struct order_entry e = order_at(&sm->expiring, 0);
        if (sm->time_ns <= e.key) return;
        resource_move(sm, e.item, NULL, sm->to_be_deleted);
    }
}

static int by_name_descending(const void *a, const void *b)
{
    const struct type *x = *(struct type *const *)a;
    const struct type *y = *(struct type *const *)b;
    return text_compare(symbol_text(y->name), symbol_text(x->name));
}

// Takes the touched type that is first in byte order; NULL when none is left.
static struct type *touched_take(struct sm *sm, uint32_t *sorted)
{
    if (sm->touched_count == 0) return NULL;
    if (sm->touched_count != *sorted && sm->touched_count > 1) {
        qsort(sm->touched, sm->touched_count, sizeof(sm->touched[0]), by_name_descending);
    }
    struct type *t = sm->touched[--sm->touched_count];
    *sorted = sm->touched_count;
    return t;
}

static void upkeep_all(struct sm *sm)
{
    config_retype(sm);
    uint32_t sorted = 0;
    for (;;) {
        // Anew each time: what is freed by a resource's end may have expired too.
        mark_expired(sm);
        struct type *t = touched_take(sm, &sorted);
        if (t == NULL) break;
        // The flag stays up meanwhile: what upkeep itself does to the type needs no second look.
        upkeep_type(sm, t);
        t->is_touched = false;
        type_drop_if_empty(sm, t);
    }
}

// What is touched while an import waits stays noted, and so does what became unowned under another
// type: the config looks at everything anew.
void upkeep(struct sm *sm)
{
    if (!import_waits(sm)) upkeep_all(sm);
    for (uint32_t i = 0; i < sm->made_count; i++) {
        struct resource *r = sm->made[i];
        r->is_new = false;
        if (resource_state(r) == sm->tombstone) type_touch(sm, resource_type(r));
    }
    sm->made_count = 0;
}
