#include "replay/invariants.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "wire/wire.h"

#include "base/banned.h"

static const char stuck[] = "stuck:";

bool invariant_parse(const char *text, struct invariant *ret_invariant)
{
    struct invariant v = {0};
    int64_t ns = 0;
    if (strcmp(text, "no-double-lease") == 0) {
        v.kind = INVARIANT_NO_DOUBLE_LEASE;
    } else if (strcmp(text, "min-count") == 0) {
        v.kind = INVARIANT_MIN_COUNT;
    } else if (strncmp(text, stuck, sizeof(stuck) - 1) == 0) {
        v.kind = INVARIANT_STUCK;
        if (duration_parse(text_from(text + sizeof(stuck) - 1), &ns, NULL) != 0 || ns <= 0)
            return false;
        v.age_ns = (uint64_t)ns;
    } else {
        return false;
    }
    *ret_invariant = v;
    return true;
}

// A state being checked.
struct check {
    const struct invariant *invariant;
    struct sm *sm;
    struct buffer *why;
    bool is_broken;

    struct text last;        // name
    struct sm_count *owners; // of a type, sorted
    uint64_t *left;          // of each owner, what was not seen yet
    uint32_t owners_count;
    struct sm_life_cycle *cycles; // all, sorted by type
    uint64_t *dynamic;            // of each, its dynamic resources
    uint32_t cycles_count;
};

static void say(struct check *c, struct text name, const char *what)
{
    c->is_broken = true;
    wire_go_quote(c->why, name);
    buffer_string(c->why, what);
}

// Copies of the life cycles, which are borrowed until the next query.
static void take_cycles(struct check *c)
{
    const struct sm_life_cycle *cycles;
    sm_life_cycles(c->sm, &cycles, &c->cycles_count);
    c->cycles = must_calloc((size_t)c->cycles_count + 1, sizeof(*c->cycles));
    if (c->cycles_count > 0) memcpy(c->cycles, cycles, c->cycles_count * sizeof(*c->cycles));
}

static int compare_cycle(const void *key, const void *cycle)
{
    return text_compare(*(const struct text *)key, ((const struct sm_life_cycle *)cycle)->type);
}

static const struct sm_life_cycle *find_cycle(const struct check *c, struct text type)
{
    return bsearch(&type, c->cycles, c->cycles_count, sizeof(*c->cycles), compare_cycle);
}

// ---- no-double-lease ------------------------------------------------------------------

static bool check_order(void *context, const struct sm_resource *r)
{
    struct check *c = context;
    bool is_dead = text_equal(r->state, TEXT("tombstone")) && find_cycle(c, r->type) != NULL;
    if (text_compare(c->last, r->name) >= 0)
        say(c, r->name, " is twice in the list, or out of order");
    else if (is_dead && !text_is_empty(r->owner))
        say(c, r->name, " is dynamic and owned in the state tombstone");
    c->last = r->name;
    return !c->is_broken;
}

static int compare_owner(const void *key, const void *count)
{
    return text_compare(*(const struct text *)key, ((const struct sm_count *)count)->key);
}

static bool count_owner(void *context, const struct sm_resource *r)
{
    struct check *c = context;
    const struct sm_count *owner =
        bsearch(&r->owner, c->owners, c->owners_count, sizeof(*c->owners), compare_owner);
    if (owner == NULL || c->left[owner - c->owners] == 0)
        say(c, r->name, " has an owner who does not count it");
    else
        c->left[owner - c->owners]--;
    return !c->is_broken;
}

static void check_owners(struct check *c, struct text type)
{
    struct sm_metric metric = {0};
    struct sm_filter filter = {.types = &type, .types_count = 1};
    if (sm_metric(c->sm, type, &metric) != 0) return; // it has no resource
    c->owners_count = metric.owners_count;
    c->owners = must_calloc((size_t)c->owners_count + 1, sizeof(*c->owners));
    c->left = must_calloc((size_t)c->owners_count + 1, sizeof(*c->left));
    for (uint32_t i = 0; i < c->owners_count; i++) {
        c->owners[i] = metric.owners[i];
        c->left[i] = metric.owners[i].count;
    }
    (void)sm_list(c->sm, &filter, count_owner, c);
    for (uint32_t i = 0; i < c->owners_count && !c->is_broken; i++) {
        if (c->left[i] > 0) say(c, c->owners[i].key, " is said to own more than the list has");
    }
    free(c->owners);
    free(c->left);
}

static void check_no_double_lease(struct check *c)
{
    const struct text *listed;
    uint32_t count;
    take_cycles(c);
    (void)sm_list(c->sm, &(struct sm_filter){0}, check_order, c);
    sm_types(c->sm, &listed, &count);
    struct text *types = must_calloc((size_t)count + 1, sizeof(*types));
    if (count > 0) memcpy(types, listed, count * sizeof(*types)); // borrowed until the next query
    for (uint32_t i = 0; i < count && !c->is_broken; i++)
        check_owners(c, types[i]);
    free(types);
}

// ---- min-count ------------------------------------------------------------------------

// Takes what the config names from the count of its type.
static void take_away_names(struct check *c, const struct command_config *config)
{
    for (uint32_t i = 0; i < config->entries_count; i++) {
        const struct sm_entry *e = &config->entries[i];
        for (uint32_t j = 0; j < e->names_count; j++) {
            struct sm_resource r;
            if (sm_find(c->sm, e->names[j], &r) != 0) continue;
            const struct sm_life_cycle *cycle = find_cycle(c, r.type);
            if (cycle != NULL) c->dynamic[cycle - c->cycles]--;
        }
    }
}

static int check_min_count(struct check *c)
{
    struct command config = {0};
    struct command_decoder *decoder = command_decoder_new();
    int err = 0;
    take_cycles(c);
    c->dynamic = must_calloc((size_t)c->cycles_count + 1, sizeof(*c->dynamic));
    for (uint32_t i = 0; i < c->cycles_count; i++)
        c->dynamic[i] = sm_count_of_type(c->sm, c->cycles[i].type);
    if (sm_has_config(c->sm)) {
        err = command_decode(decoder, COMMAND_CONFIG, sm_config_bytes(c->sm), &config);
        if (err == 0) take_away_names(c, &config.as.config);
    }
    for (uint32_t i = 0; i < c->cycles_count && err == 0 && !c->is_broken; i++) {
        if (c->dynamic[i] >= (uint64_t)c->cycles[i].min_count) continue;
        say(c, c->cycles[i].type, " has ");
        buffer_format(c->why, "%" PRIu64 " dynamic resources, min-count is %" PRId64, c->dynamic[i],
                      c->cycles[i].min_count);
    }
    command_decoder_free(decoder);
    return err;
}

// ---- stuck ----------------------------------------------------------------------------

static bool check_age(void *context, const struct sm_resource *r)
{
    struct check *c = context;
    uint64_t now_ns = sm_time_ns(c->sm);
    if (text_is_empty(r->owner) || now_ns <= r->lastupdate_ns) return true;
    uint64_t age_ns = now_ns - r->lastupdate_ns;
    if (age_ns <= c->invariant->age_ns) return true;
    say(c, r->name, " of ");
    wire_go_quote(c->why, r->owner);
    buffer_string(c->why, " was last updated ");
    duration_format(duration_of(age_ns), c->why);
    buffer_string(c->why, " before");
    return false;
}

int invariant_check(const struct invariant *v, struct sm *sm, bool *ret_holds, struct buffer *why)
{
    struct check c = {.invariant = v, .sm = sm, .why = why};
    int err = 0;
    switch (v->kind) {
    case INVARIANT_NO_DOUBLE_LEASE: check_no_double_lease(&c); break;
    case INVARIANT_MIN_COUNT: err = check_min_count(&c); break;
    case INVARIANT_STUCK: (void)sm_list(sm, &(struct sm_filter){0}, check_age, &c); break;
    }
    free(c.cycles);
    free(c.dynamic);
    if (err == 0) *ret_holds = !c.is_broken;
    return err;
}
