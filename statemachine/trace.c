#include "base/assert.h"
#include "statemachine/state.h"

#include <stdlib.h>

// What a command does to a resource begins with its being taken out of the indexes, or, for one
// that is made, with its being put into them. So the first step of a name shows how it was before,
// and looking it up afterwards how it is. Resources, texts and userdata that a command gives up
// stay until the next one (bury), and with them what is noted here. A command may change all
// resources there are: little is kept of each, and only one change at a time is shown.
struct trace_step {
    const struct resource *resource; // of which only the name is what it was
    uint32_t order;                  // of the step within the command
    uint32_t before;                 // 1 for the first of trace_was; 0: it was not there
};

struct trace_was {
    const struct symbol *type, *state, *owner;
    const struct userdata *userdata;
    uint64_t lastupdate_ns, expires_ns;
};

void sm_trace(struct sm *sm)
{
    sm->is_traced = true;
}

static struct trace_step *step_add(struct sm *sm, const struct resource *r)
{
    if (sm->trace_count == sm->trace_capacity) {
        sm->trace_capacity = sm->trace_capacity == 0 ? 16 : sm->trace_capacity * 2;
        sm->trace = must_realloc(sm->trace, sm->trace_capacity * sizeof(sm->trace[0]));
    }
    struct trace_step *step = &sm->trace[sm->trace_count];
    *step = (struct trace_step){.resource = r, .order = sm->trace_count};
    sm->trace_count++;
    return step;
}

void trace_before(struct sm *sm, const struct resource *r)
{
    if (sm->trace_was_count == sm->trace_was_capacity) {
        sm->trace_was_capacity = sm->trace_was_capacity == 0 ? 16 : sm->trace_was_capacity * 2;
        sm->trace_was =
            must_realloc(sm->trace_was, sm->trace_was_capacity * sizeof(sm->trace_was[0]));
    }
    sm->trace_was[sm->trace_was_count++] = (struct trace_was){.type = resource_type(r)->name,
                                                              .state = resource_state(r),
                                                              .owner = r->owner,
                                                              .userdata = r->userdata,
                                                              .lastupdate_ns = r->lastupdate_ns,
                                                              .expires_ns = r->expires_ns};
    step_add(sm, r)->before = sm->trace_was_count;
}

void trace_placed(struct sm *sm, const struct resource *r)
{
    (void)step_add(sm, r);
}

void trace_clear(struct sm *sm)
{
    sm->trace_count = 0;
    sm->trace_was_count = 0;
    sm->trace_is_settled = false;
}

static struct text step_name(const struct trace_step *s)
{
    return resource_name(s->resource);
}

static int by_name_and_order(const void *a, const void *b)
{
    const struct trace_step *x = a, *y = b;
    int order = text_compare(step_name(x), step_name(y));
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static void change_show(struct sm *sm, const struct trace_step *step, struct sm_change *ret_change)
{
    *ret_change = (struct sm_change){.name = step_name(step), .was_there = step->before > 0};
    if (step->before > 0) {
        const struct trace_was *w = &sm->trace_was[step->before - 1];
        ret_change->before = (struct sm_resource){
            .type = symbol_text(w->type),
            .name = step_name(step),
            .state = symbol_text(w->state),
            .owner = symbol_text(w->owner),
            .lastupdate_ns = w->lastupdate_ns,
            .has_expiration = w->expires_ns != 0,
            .expiration_ns = w->expires_ns,
            .userdata = w->userdata != NULL ? w->userdata->pairs : NULL,
            .userdata_count = w->userdata != NULL ? w->userdata->count : 0,
        };
    }
    ret_change->is_there = sm_find(sm, step_name(step), &ret_change->after) == 0;
}

static bool is_change(const struct sm_change *c)
{
    if (!c->was_there || !c->is_there) return c->was_there || c->is_there;
    return !sm_same_resource(&c->before, &c->after);
}

// What a command does to many it does by name, mostly; then there is nothing to sort.
static void sort(struct sm *sm)
{
    for (uint32_t i = 1; i < sm->trace_count; i++) {
        if (by_name_and_order(&sm->trace[i - 1], &sm->trace[i]) < 0) continue;
        qsort(sm->trace, sm->trace_count, sizeof(sm->trace[0]), by_name_and_order);
        return;
    }
}

// Leaves the first step of each resource that is not as it was.
static void settle(struct sm *sm)
{
    uint32_t count = 0;
    struct text last = TEXT_NONE;
    sort(sm);
    for (uint32_t i = 0; i < sm->trace_count; i++) {
        struct sm_change c;
        const struct trace_step step = sm->trace[i];
        if (i > 0 && text_equal(step_name(&step), last)) continue;
        last = step_name(&step);
        change_show(sm, &step, &c);
        if (is_change(&c)) sm->trace[count++] = step;
    }
    sm->trace_count = count;
    sm->trace_is_settled = true;
}

uint32_t sm_changes(struct sm *sm)
{
    if (!sm->trace_is_settled) settle(sm);
    return sm->trace_count;
}

void sm_change(struct sm *sm, uint32_t number, struct sm_change *ret_change)
{
    ASSERT(sm->trace_is_settled && number < sm->trace_count);
    change_show(sm, &sm->trace[number], ret_change);
}

void trace_release(struct sm *sm)
{
    free(sm->trace);
    free(sm->trace_was);
}
