#include "base/assert.h"
#include "statemachine/state.h"

#include <stdlib.h>

// What a command does to a resource begins with its being taken out of the indexes, or, for one
// that is made, with its being put into them. So the first step of a name shows how it was before,
// and looking it up afterwards how it is. Texts and userdata that a command gives up stay until the
// next one (bury), and with them the views.
struct trace_step {
    struct text name;
    uint32_t order; // of the step within the command
    bool was_there;
    struct sm_resource before; // where was_there
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
    *step = (struct trace_step){.name = resource_name(r), .order = sm->trace_count};
    sm->trace_count++;
    return step;
}

void trace_before(struct sm *sm, const struct resource *r)
{
    struct trace_step *step = step_add(sm, r);
    step->was_there = true;
    resource_view(r, &step->before);
}

void trace_placed(struct sm *sm, const struct resource *r)
{
    (void)step_add(sm, r);
}

static int by_name_and_order(const void *a, const void *b)
{
    const struct trace_step *x = a, *y = b;
    int order = text_compare(x->name, y->name);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static bool is_change(const struct sm_change *c)
{
    if (!c->was_there || !c->is_there) return c->was_there || c->is_there;
    return !sm_same_resource(&c->before, &c->after);
}

void sm_changes(struct sm *sm, const struct sm_change **ret_changes, uint32_t *ret_count)
{
    if (sm->trace_count > 1) {
        qsort(sm->trace, sm->trace_count, sizeof(sm->trace[0]), by_name_and_order);
    }
    if (sm->trace_count > sm->changes_capacity) {
        sm->changes_capacity = sm->trace_capacity;
        sm->changes = must_realloc(sm->changes, sm->changes_capacity * sizeof(sm->changes[0]));
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < sm->trace_count; i++) {
        const struct trace_step *step = &sm->trace[i];
        if (i > 0 && text_equal(step->name, sm->trace[i - 1].name)) continue;
        struct sm_change *c = &sm->changes[count];
        *c = (struct sm_change){
            .name = step->name, .was_there = step->was_there, .before = step->before};
        c->is_there = sm_find(sm, step->name, &c->after) == 0;
        if (is_change(c)) count++;
    }
    *ret_changes = sm->changes;
    *ret_count = count;
}

void trace_release(struct sm *sm)
{
    free(sm->trace);
    free(sm->changes);
}
