#include "tests/history_make.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

#define S(seconds) (INT64_C(1000000000) * (seconds))
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const struct text types[] = {TEXT("a"), TEXT("b"), TEXT("dyn"), TEXT("dyn-2"),
                                    TEXT("t\xc3\xa9")};
static const struct text states[] = {TEXT("free"),        TEXT("free"),      TEXT("free"),
                                     TEXT("busy"),        TEXT("busy"),      TEXT("dirty"),
                                     TEXT("cleaning"),    TEXT("leased"),    TEXT("odd state"),
                                     TEXT("toBeDeleted"), TEXT("tombstone"), TEXT("n1")};
static const struct text owners[] = {TEXT("ann"), TEXT("bob"), TEXT("cyd")};
static const struct text request_ids[] = {TEXT(""),   TEXT(""),   TEXT("r1"),
                                          TEXT("r2"), TEXT("r3"), TEXT("r4")};
// Two that sort after server-made names and before them, and two that are also states.
static const struct text names[] = {TEXT("n1"),
                                    TEXT("n2"),
                                    TEXT("n3"),
                                    TEXT("n4"),
                                    TEXT("n5"),
                                    TEXT("n6"),
                                    TEXT("n7"),
                                    TEXT("zz"),
                                    TEXT("tombstone"),
                                    TEXT("-0"),
                                    TEXT("n-long-name-1"),
                                    TEXT("n-long-name-2")};
static const struct text expires[] = {TEXT("0"),   TEXT("10s"), TEXT("1m30s"),
                                      TEXT("-1s"), TEXT("30m"), TEXT("1ns")};
static const struct text lease_keys[] = {TEXT("job-1"), TEXT("job-2"), TEXT("\xc3\xa9")};
static const struct text keys[] = {TEXT(""), TEXT("k1"), TEXT("k2"), TEXT("leasedResources")};
static const struct text values[] = {
    TEXT(""), TEXT("v"), TEXT("[n1, n2]"), TEXT("a longer value"), {NULL, 0}};

#define ANY(m, list) ((list)[maker_random((m), COUNT(list))])

void maker_init(struct maker *m, uint64_t seed, const struct model *model)
{
    *m = (struct maker){.random = seed, .model = model, .now_ns = UINT64_C(1700000000) * NS_PER_S};
    buffer_init(&m->joined);
}

void maker_release(struct maker *m)
{
    buffer_release(&m->joined);
}

// splitmix64, from its published description.
uint64_t maker_random(struct maker *m, uint64_t bound)
{
    uint64_t x = m->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % bound;
}

static bool chance(struct maker *m, uint64_t percent)
{
    return maker_random(m, 100) < percent;
}

// ---- picking ----------------------------------------------------------------

// A resource that is there, owned if there is one and `owned` is asked for; NULL when there is
// none.
static const struct sm_resource *any_resource(struct maker *m, bool owned)
{
    const struct sm_resource *list = NULL;
    uint32_t count = 0;
    model_resources(m->model, &list, &count);
    if (count == 0) return NULL;
    uint64_t start = maker_random(m, count);
    for (uint64_t i = 0; i < count; i++) {
        const struct sm_resource *r = &list[(start + i) % count];
        if ((r->owner.size > 0) == owned) return r;
    }
    return &list[start];
}

static struct text any_name(struct maker *m)
{
    if (m->seen_count > 0 && chance(m, 5))
        return text_from(m->seen[maker_random(m, m->seen_count)]);
    const struct sm_resource *r = any_resource(m, chance(m, 30));
    return r == NULL || chance(m, 10) ? ANY(m, names) : r->name;
}

// A state, now and then the name of a resource, as for what is leased to it.
static struct text any_state(struct maker *m)
{
    return chance(m, 6) ? any_name(m) : ANY(m, states);
}

// Remembers names the server made, so that they are tried after they are gone.
static void remember_names(struct maker *m)
{
    const struct sm_resource *r = any_resource(m, false);
    if (r == NULL || r->name.size != 36) return;
    uint32_t slot = m->seen_count < MAKER_SEEN_MAX ? m->seen_count++
                                                   : (uint32_t)maker_random(m, MAKER_SEEN_MAX);
    memcpy(m->seen[slot], r->name.data, 36);
    m->seen[slot][36] = '\0';
}

// ---- commands of clients ----------------------------------------------------

// Repeats the acquire of a lease by its key, now and then with something changed.
static void repeat_acquire(struct maker *m, struct command_acquire *a)
{
    struct text id = a->request_id;
    if (!model_keyed_acquire(m->model, maker_random(m, 4), a)) return;
    a->request_id = id;
    switch (maker_random(m, 8)) {
    case 0: a->type = ANY(m, types); break;
    case 1: a->state = any_state(m); break;
    case 2: a->dest = any_state(m); break;
    case 3: a->owner = ANY(m, owners); break;
    }
}

static void make_acquire(struct maker *m, struct command *c)
{
    struct text type = ANY(m, types), state = any_state(m);
    const struct sm_resource *r = any_resource(m, false);
    if (r != NULL && chance(m, 60)) {
        type = r->type;
        state = r->state;
    }
    c->kind = COMMAND_ACQUIRE;
    c->as.acquire = (struct command_acquire){.type = type,
                                             .state = state,
                                             .dest = any_state(m),
                                             .owner = ANY(m, owners),
                                             .request_id = ANY(m, request_ids)};
    if (chance(m, 30)) c->as.acquire.key = ANY(m, lease_keys);
    if (chance(m, 20)) repeat_acquire(m, &c->as.acquire);
}

static void make_acquirebystate(struct maker *m, struct command *c)
{
    buffer_clear(&m->joined);
    const struct sm_resource *first = any_resource(m, false);
    struct text state = first == NULL ? any_state(m) : first->state;
    buffer_text(&m->joined, first == NULL ? TEXT("n1") : first->name);
    for (uint64_t more = maker_random(m, 3); more > 0; more--) {
        const struct sm_resource *r = any_resource(m, false);
        buffer_char(&m->joined, ',');
        if (r == NULL || chance(m, 5)) continue; // an empty name
        if (text_equal(r->state, state) || chance(m, 40))
            buffer_text(&m->joined, r->name);
        else
            buffer_text(&m->joined, first->name);
    }
    c->kind = COMMAND_ACQUIREBYSTATE;
    c->as.acquirebystate = (struct command_acquirebystate){.state = state,
                                                           .dest = any_state(m),
                                                           .owner = ANY(m, owners),
                                                           .names = buffer_as_text(&m->joined)};
}

static void make_release(struct maker *m, struct command *c)
{
    const struct sm_resource *r = any_resource(m, true);
    bool is_right = r != NULL && r->owner.size > 0 && chance(m, 85);
    c->kind = COMMAND_RELEASE;
    c->as.release = (struct command_release){.name = is_right ? r->name : any_name(m),
                                             .dest = any_state(m),
                                             .owner = is_right ? r->owner : ANY(m, owners)};
}

static int compare_keys(const struct userdata_pair *a, const struct userdata_pair *b)
{
    return text_compare(a->key, b->key);
}

static uint32_t make_pairs(struct maker *m)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < COUNT(keys); i++) {
        if (chance(m, 50)) continue;
        m->pairs[count++] = (struct userdata_pair){keys[i], ANY(m, values)};
        ASSERT(count < 2 || compare_keys(&m->pairs[count - 2], &m->pairs[count - 1]) < 0);
    }
    return count;
}

static void make_update(struct maker *m, struct command *c)
{
    const struct sm_resource *r = any_resource(m, true);
    bool is_right = r != NULL && r->owner.size > 0 && chance(m, 80);
    c->kind = COMMAND_UPDATE;
    c->as.update = (struct command_update){.name = is_right ? r->name : any_name(m),
                                           .owner = is_right ? r->owner : ANY(m, owners),
                                           .state = is_right ? r->state : any_state(m),
                                           .has_body = chance(m, 70),
                                           .pairs = m->pairs};
    if (r != NULL && chance(m, 10)) c->as.update.owner = r->owner.size > 0 ? r->owner : owners[0];
    if (c->as.update.has_body) c->as.update.pairs_count = make_pairs(m);
}

static void make_reset(struct maker *m, struct command *c)
{
    const struct sm_resource *r = any_resource(m, true);
    bool is_right = r != NULL && chance(m, 70);
    c->kind = COMMAND_RESET;
    c->as.reset = (struct command_reset){.type = is_right ? r->type : ANY(m, types),
                                         .state = is_right ? r->state : any_state(m),
                                         .dest = any_state(m),
                                         .expire = ANY(m, expires)};
}

// ---- commands of the server -------------------------------------------------

static void make_entry_reaper(struct maker *m, struct sm_entry *e)
{
    e->reaper = SM_REAPER_INHERIT;
    if (chance(m, 10)) e->reaper = SM_REAPER_OFF;
    if (chance(m, 10)) {
        e->reaper = SM_REAPER_EXPIRE;
        e->reaper_expire_ns = S(1 + (int64_t)maker_random(m, 200));
    }
}

static void make_dynamic_entry(struct maker *m, struct sm_entry *e)
{
    static const int64_t lifespans[] = {S(10), S(60), S(600), S(172800), 0, 1, -S(1), -S(100000)};
    e->is_dynamic = true;
    e->state = chance(m, 60) ? TEXT("free") : any_state(m);
    e->max_count = 1 + (int64_t)maker_random(m, 5);
    e->min_count = (int64_t)maker_random(m, (uint64_t)e->max_count + 1);
    if (chance(m, 50)) e->min_count = 0;
    e->has_lifespan = chance(m, 60);
    if (e->has_lifespan) e->lifespan_ns = ANY(m, lifespans);
    if (chance(m, 20)) {
        m->needs[0] = (struct sm_need){TEXT("a"), 1};
        m->needs[1] = (struct sm_need){TEXT("b"), 300};
        e->needs = m->needs;
        e->needs_count = 2;
        e->has_config = true;
        e->config_type = TEXT("Creator");
        e->config_content = TEXT("...");
    }
}

// Each name goes to one entry at most, as a config's check sees to.
static void make_static_entry(struct maker *m, struct sm_entry *e, bool used[COUNT(names)])
{
    e->state = chance(m, 60) ? TEXT("free") : any_state(m);
    e->names = m->names + m->names_count;
    for (uint32_t i = 0; i < COUNT(names); i++) {
        if (used[i] || chance(m, 60)) continue;
        used[i] = true;
        ASSERT(m->names_count < MAKER_NAMES_MAX);
        m->names[m->names_count++] = names[i];
        e->names_count++;
    }
}

// A name the server made is put into the config too, now and then.
static void adopt_name(struct maker *m, struct sm_entry *e)
{
    const struct sm_resource *r = any_resource(m, chance(m, 50));
    if (e->is_dynamic || r == NULL || r->name.size != 36) return;
    ASSERT(m->names_count < MAKER_NAMES_MAX);
    m->names[m->names_count++] = r->name;
    e->names_count++;
}

static void make_reaper(struct maker *m, struct command_config *c)
{
    c->reaper_enabled = chance(m, 60);
    if (!c->reaper_enabled) return;
    c->reaper_expire_ns = S(1 + (int64_t)maker_random(m, 300));
    c->reaper_period_ns = S(1 + (int64_t)maker_random(m, 100));
    c->reaper_states = m->states;
    for (uint32_t i = 0; i < COUNT(m->states) && chance(m, 80); i++) {
        m->states[c->reaper_states_count++] = any_state(m);
    }
    c->reaper_target = any_state(m);
}

static void make_config(struct maker *m, struct command *c)
{
    bool used[COUNT(names)] = {false};
    uint32_t count = 1 + (uint32_t)maker_random(m, COUNT(types) + 2);
    m->names_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct sm_entry *e = &m->entries[i];
        *e = (struct sm_entry){.type = ANY(m, types)};
        if (chance(m, 45))
            make_dynamic_entry(m, e);
        else
            make_static_entry(m, e, used);
        make_entry_reaper(m, e);
    }
    if (chance(m, 30)) adopt_name(m, &m->entries[count - 1]);
    c->kind = COMMAND_CONFIG;
    c->as.config = (struct command_config){.entries = m->entries, .entries_count = count};
    c->as.config.cleaner_enabled = chance(m, 50);
    make_reaper(m, &c->as.config);
}

// Mostly what the cleaner would do, else what does not fit any more.
static void make_clean(struct maker *m, struct command *c)
{
    const struct sm_resource *list = NULL;
    uint32_t count = 0;
    model_resources(m->model, &list, &count);
    const struct sm_resource *r = any_resource(m, false);
    for (uint32_t i = 0; i < count && chance(m, 90); i++) {
        if (text_equal(list[i].state, TEXT("toBeDeleted"))) r = &list[i];
    }
    c->kind = COMMAND_CLEAN;
    c->as.clean = (struct command_clean){.name = r == NULL ? TEXT("none") : r->name};
    for (uint32_t i = 0; r != NULL && i < r->userdata_count; i++) {
        if (text_equal(r->userdata[i].key, TEXT("leasedResources")))
            c->as.clean.leased = r->userdata[i].value;
    }
    if (chance(m, 8)) c->as.clean.leased = TEXT("other");
    c->as.clean.names = m->names;
    for (uint64_t left = maker_random(m, 6); left > 0; left--) {
        m->names[c->as.clean.names_count++] = any_name(m);
    }
}

// Some of the time since the last command was slept through; now and then more than there was.
static uint64_t slept(struct maker *m, uint64_t step_ns)
{
    if (m->gaps_count >= MAKER_GAPS_MAX) return 0;
    uint64_t length_ns = chance(m, 50) ? step_ns : maker_random(m, step_ns + 1);
    if (chance(m, 10)) length_ns += 5 * NS_PER_S;
    m->gaps_count += length_ns > 0;
    if (length_ns > 0) m->woke_ns = m->now_ns + step_ns;
    return length_ns;
}

static void make_started(struct maker *m, struct command *c, uint64_t step_ns)
{
    static const int64_t ttls[] = {S(30), S(30), S(5), S(90), 1};
    c->kind = COMMAND_STARTED;
    c->as.started = (struct command_started){.version = TEXT("0.1.0"),
                                             .host = TEXT("here"),
                                             .downtime_ns = slept(m, step_ns),
                                             .request_ttl_ns = ANY(m, ttls),
                                             .salt = (uint32_t)maker_random(m, 0x1000)};
}

static void make_repaired(struct maker *m, struct command *c, uint64_t step_ns)
{
    uint64_t lost = maker_random(m, 3) * 1000;
    c->kind = COMMAND_REPAIRED;
    c->as.repaired = (struct command_repaired){.version = TEXT("0.2.0"),
                                               .host = TEXT("here"),
                                               .lost_first = m->seq + 1,
                                               .lost_last = lost == 0 ? 0 : m->seq + lost,
                                               .downtime_ns = slept(m, step_ns),
                                               .why = TEXT("a checksum does not fit")};
}

// Pairs as they are in a state: no value empty.
static void make_imported_pairs(struct maker *m, struct sm_imported *r)
{
    uint32_t kept = 0;
    for (uint32_t i = 0, count = make_pairs(m); i < count; i++) {
        if (!text_is_empty(m->pairs[i].value)) m->pairs[kept++] = m->pairs[i];
    }
    r->userdata = m->pairs;
    r->userdata_count = kept;
}

static uint64_t any_past_ns(struct maker *m)
{
    uint64_t age_ns = maker_random(m, 300 * NS_PER_S);
    if (chance(m, 10)) return 0;
    return chance(m, 10) ? m->now_ns + age_ns : m->now_ns - age_ns;
}

// No command is stamped within a time that was slept through, and the engine imports before there
// is one: the reaper need not know what to make of an update in it.
static uint64_t any_update_ns(struct maker *m)
{
    uint64_t update_ns = any_past_ns(m);
    return update_ns != 0 && update_ns < m->woke_ns ? m->woke_ns : update_ns;
}

static int compare_imported(const void *a, const void *b)
{
    const struct sm_imported *x = a, *y = b;
    return text_compare(x->name, y->name);
}

static uint32_t make_imported(struct maker *m)
{
    static const struct text uuids[] = {TEXT("0a3b9f1c-3d55-4c0e-9a51-0d3c1f5e7a11"),
                                        TEXT("f7e6d5c4-b3a2-4190-8f7e-6d5c4b3a2910")};
    uint32_t count = 0;
    struct sm_imported pairs = {0};
    make_imported_pairs(m, &pairs);
    for (uint32_t i = 0; i < COUNT(names) + COUNT(uuids); i++) {
        if (chance(m, 60)) continue;
        struct sm_imported *r = &m->imported[count++];
        ASSERT(count <= MAKER_IMPORTED_MAX);
        *r = (struct sm_imported){.name = i < COUNT(names) ? names[i] : uuids[i - COUNT(names)],
                                  .type = ANY(m, types),
                                  .state = any_state(m),
                                  .owner = chance(m, 40) ? ANY(m, owners) : TEXT(""),
                                  .lastupdate_ns = any_update_ns(m),
                                  .expires_ns = chance(m, 70) ? 0 : any_past_ns(m)};
        if (chance(m, 50)) continue;
        r->userdata = pairs.userdata;
        r->userdata_count = pairs.userdata_count;
    }
    qsort(m->imported, count, sizeof(m->imported[0]), compare_imported);
    return count;
}

// Mostly into a state that has things already, which the engine never does.
static void make_import(struct maker *m, struct command *c)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < COUNT(types); i++) { // they ascend
        if (chance(m, 60)) continue;
        struct sm_entry *e = &m->entries[count++];
        *e = (struct sm_entry){.type = types[i]};
        make_dynamic_entry(m, e);
        if (chance(m, 20)) e->min_count = e->max_count = 0;
    }
    c->kind = COMMAND_IMPORT;
    c->as.import = (struct command_import){.version = TEXT("0.4.0"),
                                           .host = TEXT("here"),
                                           .cycles = m->entries,
                                           .cycles_count = count,
                                           .resources = m->imported,
                                           .resources_count = make_imported(m)};
    m->is_config_next = chance(m, 60);
}

static uint64_t any_step_ns(struct maker *m)
{
    static const struct {
        uint64_t percent, up_to_ns;
    } steps[] = {{45, 1},
                 {55, 5},
                 {65, NS_PER_S},
                 {85, 8 * NS_PER_S},
                 {95, 40 * NS_PER_S},
                 {99, 200 * NS_PER_S},
                 {100, 20000 * NS_PER_S}};
    uint64_t roll = maker_random(m, 100);
    uint32_t i = 0;
    while (roll >= steps[i].percent)
        i++;
    uint64_t step_ns = maker_random(m, steps[i].up_to_ns);
    // Whole seconds meet deadlines exactly.
    return chance(m, 50) ? step_ns / NS_PER_S * NS_PER_S : step_ns;
}

void maker_next(struct maker *m, struct command *ret_command)
{
    struct command c = {.kind = COMMAND_EXPIRE};
    uint64_t step_ns = any_step_ns(m);
    uint64_t roll = maker_random(m, 1000);
    if (chance(m, 10)) remember_names(m);
    bool is_config = m->seq == 1 || m->is_config_next;
    m->is_config_next = false;
    if (m->seq == 0)
        make_started(m, &c, 0);
    else if (is_config || roll < 30)
        make_config(m, &c);
    else if (roll < 350)
        make_acquire(m, &c);
    else if (roll < 420)
        make_acquirebystate(m, &c);
    else if (roll < 650)
        make_release(m, &c);
    else if (roll < 750)
        make_update(m, &c);
    else if (roll < 800)
        make_reset(m, &c);
    else if (roll < 870)
        make_clean(m, &c);
    else if (roll < 920)
        c.kind = COMMAND_REAP;
    else if (roll < 925)
        make_started(m, &c, step_ns);
    else if (roll < 930)
        c = (struct command){.kind = COMMAND_CLOCK, .as.clock = {slept(m, step_ns)}};
    else if (roll < 935)
        make_repaired(m, &c, step_ns);
    else if (roll < 940)
        make_import(m, &c);
    c.seq = ++m->seq;
    c.time_ns = m->now_ns += step_ns;
    *ret_command = c;
}
