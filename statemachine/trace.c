#include "base/assert.h"
#include "statemachine/state.h"

#include <stdlib.h>

// What a command does to a resource begins with its being taken out of the indexes, or, for one
// that is made, with its being put into them. So the first note of a name shows how it was before,
// and looking it up afterwards how it is. Resources, pools, texts and userdata that a command gives
// up stay until the next one (bury): notes can point to them.
//
// A command may change all resources there are. So a note has no more bytes than it says something
// with, and notes lie in blocks, which need not be moved when they become more. Only one change at
// a time is shown. The parts of a note:
//
//   1  which of the following it has
//   8  the resource, of which only the name is what it was
//   8  HAS_POOL: its pool, where it was there
//   8  HAS_TIME: its lastupdate, the same
//   8  HAS_OWNER
//   8  HAS_USERDATA
//   8  HAS_END: when it expired
enum { HAS_POOL = 1, HAS_TIME = 2, HAS_OWNER = 4, HAS_USERDATA = 8, HAS_END = 16 };

#define NOTE_BYTES_MAX 49u
#define BLOCK_BYTES (UINT32_C(1) << 16)

_Static_assert(sizeof(void *) == 8, "a pointer is a part of 8 bytes");

// A note, taken apart.
struct note {
    const struct resource *resource;
    const struct pool *pool; // NULL: it was not there
    uint64_t lastupdate_ns;
    const struct symbol *owner;
    const struct userdata *userdata;
    uint64_t expires_ns;
};

void sm_trace(struct sm *sm)
{
    sm->trace.is_wanted = true;
}

// ---- writing ----------------------------------------------------------------

static void add_block(struct trace *t)
{
    if (t->blocks_count == UINT32_MAX / BLOCK_BYTES) out_of_memory();
    if (t->blocks_count == t->blocks_capacity) {
        t->blocks_capacity = t->blocks_capacity == 0 ? 16 : t->blocks_capacity * 2;
        t->blocks = must_realloc(t->blocks, t->blocks_capacity * sizeof(t->blocks[0]));
    }
    t->end = t->blocks_count * BLOCK_BYTES;
    t->blocks[t->blocks_count++] = must_malloc(BLOCK_BYTES);
}

// Where the next note goes.
static char *note_place(struct trace *t)
{
    if (t->blocks_count * BLOCK_BYTES - t->end < NOTE_BYTES_MAX) add_block(t);
    if (t->count == t->capacity) {
        t->capacity = t->capacity == 0 ? 16 : t->capacity * 2;
        t->notes = must_realloc(t->notes, t->capacity * sizeof(t->notes[0]));
    }
    t->notes[t->count++] = t->end;
    return &t->blocks[t->end / BLOCK_BYTES][t->end % BLOCK_BYTES];
}

// A part that every note has is put with 0.
static char *put(char *to, const void *part, char has, char *parts)
{
    *parts = (char)(*parts | has);
    memcpy(to, part, 8);
    return to + 8;
}

static void note_add(struct trace *t, const struct note *n)
{
    char *parts = note_place(t);
    char *to = parts + 1;
    *parts = 0;
    to = put(to, &n->resource, 0, parts);
    if (n->pool != NULL) to = put(to, &n->pool, HAS_POOL, parts);
    if (n->lastupdate_ns != 0) to = put(to, &n->lastupdate_ns, HAS_TIME, parts);
    if (n->owner != NULL) to = put(to, &n->owner, HAS_OWNER, parts);
    if (n->userdata != NULL) to = put(to, &n->userdata, HAS_USERDATA, parts);
    if (n->expires_ns != 0) to = put(to, &n->expires_ns, HAS_END, parts);
    t->end += (uint32_t)(to - parts);
    t->last = n->resource;
}

void trace_before(struct sm *sm, const struct resource *r)
{
    struct note n = {r, r->pool, r->lastupdate_ns, r->owner, r->userdata, r->expires_ns};
    note_add(&sm->trace, &n);
}

// What was taken out just now is noted already.
void trace_placed(struct sm *sm, const struct resource *r)
{
    if (sm->trace.last == r) return;
    note_add(&sm->trace, &(struct note){.resource = r});
}

void trace_clear(struct sm *sm)
{
    struct trace *t = &sm->trace;
    while (t->blocks_count > 1)
        free(t->blocks[--t->blocks_count]);
    t->end = 0;
    t->count = 0;
    t->last = NULL;
    t->is_settled = false;
}

void trace_release(struct sm *sm)
{
    trace_clear(sm);
    if (sm->trace.blocks_count > 0) free(sm->trace.blocks[0]);
    free(sm->trace.blocks);
    free(sm->trace.notes);
}

// ---- reading ----------------------------------------------------------------

static const char *take(const char *from, char parts, char has, void *ret_part)
{
    if ((parts & has) != has) return from;
    memcpy(ret_part, from, 8);
    return from + 8;
}

static struct note note_at(const struct trace *t, uint32_t place)
{
    struct note n = {0};
    const char *from = &t->blocks[place / BLOCK_BYTES][place % BLOCK_BYTES];
    char parts = *from++;
    from = take(from, parts, 0, &n.resource);
    from = take(from, parts, HAS_POOL, &n.pool);
    from = take(from, parts, HAS_TIME, &n.lastupdate_ns);
    from = take(from, parts, HAS_OWNER, &n.owner);
    from = take(from, parts, HAS_USERDATA, &n.userdata);
    (void)take(from, parts, HAS_END, &n.expires_ns);
    return n;
}

static struct text note_name(const struct trace *t, uint32_t place)
{
    return resource_name(note_at(t, place).resource);
}

// Of one name the first note is the first.
static int by_name(const void *a, const void *b, void *trace)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = text_compare(note_name(trace, x), note_name(trace, y));
    return order != 0 ? order : (x > y) - (x < y);
}

static void change_show(struct sm *sm, uint32_t place, struct sm_change *ret_change)
{
    struct note n = note_at(&sm->trace, place);
    struct text name = resource_name(n.resource);
    *ret_change = (struct sm_change){.name = name, .was_there = n.pool != NULL};
    if (n.pool != NULL) {
        ret_change->before = (struct sm_resource){
            .type = symbol_text(n.pool->type->name),
            .name = name,
            .state = symbol_text(n.pool->state),
            .owner = symbol_text(n.owner),
            .lastupdate_ns = n.lastupdate_ns,
            .has_expiration = n.expires_ns != 0,
            .expiration_ns = n.expires_ns,
            .userdata = n.userdata != NULL ? n.userdata->pairs : NULL,
            .userdata_count = n.userdata != NULL ? n.userdata->count : 0,
        };
    }
    ret_change->is_there = sm_find(sm, name, &ret_change->after) == 0;
}

static bool is_change(const struct sm_change *c)
{
    if (!c->was_there || !c->is_there) return c->was_there || c->is_there;
    return !sm_same_resource(&c->before, &c->after);
}

// What a command does to many it does by name, mostly; then there is nothing to sort.
static void sort(struct trace *t)
{
    for (uint32_t i = 1; i < t->count; i++) {
        if (by_name(&t->notes[i - 1], &t->notes[i], t) < 0) continue;
        qsort_r(t->notes, t->count, sizeof(t->notes[0]), by_name, t);
        return;
    }
}

// Leaves the first note of each resource that is not as it was.
static void settle(struct sm *sm)
{
    struct trace *t = &sm->trace;
    uint32_t count = 0;
    struct text last = TEXT_NONE;
    sort(t);
    for (uint32_t i = 0; i < t->count; i++) {
        struct sm_change c;
        uint32_t place = t->notes[i];
        if (i > 0 && text_equal(note_name(t, place), last)) continue;
        last = note_name(t, place);
        change_show(sm, place, &c);
        if (is_change(&c)) t->notes[count++] = place;
    }
    t->count = count;
    t->is_settled = true;
}

uint32_t sm_changes(struct sm *sm)
{
    if (!sm->trace.is_settled) settle(sm);
    return sm->trace.count;
}

void sm_change(struct sm *sm, uint32_t number, struct sm_change *ret_change)
{
    ASSERT(sm->trace.is_settled && number < sm->trace.count);
    change_show(sm, sm->trace.notes[number], ret_change);
}
