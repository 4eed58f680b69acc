#include "tests/history_check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/model/model_private.h"

#include "base/banned.h"

static bool differ(struct buffer *out, const char *what, struct text of, uint64_t had,
                   uint64_t wanted)
{
    if (had == wanted) return false;
    buffer_format(out, "%s %.*s: the state machine says %" PRIu64 ", the model %" PRIu64 "\n", what,
                  TEXT_ARG(of), had, wanted);
    return true;
}

static bool same_texts(struct buffer *out, const char *what, struct buffer *had,
                       struct buffer *wanted)
{
    bool is_same = text_equal(buffer_as_text(had), buffer_as_text(wanted));
    if (!is_same) {
        buffer_format(out, "%s\n--- the state machine:\n%.*s--- the model:\n%.*s", what,
                      TEXT_ARG(buffer_as_text(had)), TEXT_ARG(buffer_as_text(wanted)));
    }
    buffer_release(had);
    buffer_release(wanted);
    return is_same;
}

// ---- replies ----------------------------------------------------------------

static void describe_reply(const struct model_reply *r, struct buffer *out)
{
    buffer_format(out, "reason %d repeat %d waited %" PRIu64 " owner '%.*s' state '%.*s'\n",
                  (int)r->reason, r->is_repeat, r->waited_ns, TEXT_ARG(r->current_owner),
                  TEXT_ARG(r->current_state));
    for (uint32_t i = 0; i < r->resources_count; i++)
        model_dump_resource(&r->resources[i], out);
    for (uint32_t i = 0; i < r->reset_count; i++)
        buffer_format(out, "reset %.*s of %.*s\n", TEXT_ARG(r->reset[i].name),
                      TEXT_ARG(r->reset[i].owner));
}

// Returned, caller frees.
static struct sm_reset *resets_of(const struct sm_result *r)
{
    struct sm_reset *list = must_calloc((size_t)r->reset_count + 1, sizeof(*list));
    for (uint32_t i = 0; i < r->reset_count; i++)
        list[i] = sm_reset(r, i);
    return list;
}

bool check_reply(const struct sm_result *had, const struct model_reply *wanted, struct buffer *out)
{
    struct buffer a, b;
    buffer_init(&a);
    buffer_init(&b);
    struct model_reply view = {.reason = had->reason,
                               .resources = (struct sm_resource *)(uintptr_t)had->resources,
                               .resources_count = had->resources_count,
                               .reset = resets_of(had),
                               .reset_count = had->reset_count,
                               .current_owner = had->current_owner,
                               .current_state = had->current_state,
                               .is_repeat = had->is_repeat,
                               .waited_ns = had->waited_ns};
    describe_reply(&view, &a);
    describe_reply(wanted, &b);
    free(view.reset);
    return same_texts(out, "another reply", &a, &b);
}

// ---- dumps ------------------------------------------------------------------

static bool put_resource(void *context, const struct sm_resource *r)
{
    model_dump_resource(r, context);
    return true;
}

static bool put_queue_entry(void *context, const struct sm_queue_entry *e)
{
    model_dump_queue_entry(e, context);
    return true;
}

void sm_dump(struct sm *sm, struct buffer *out)
{
    const struct sm_life_cycle *cycles = NULL;
    uint32_t count = 0;
    sm_list(sm, &(struct sm_filter){0}, put_resource, out);
    sm_queues(sm, sm_time_ns(sm), put_queue_entry, out);
    sm_life_cycles(sm, &cycles, &count);
    for (uint32_t i = 0; i < count; i++)
        model_dump_life_cycle(&cycles[i], out);
}

bool check_dump(struct sm *sm, const struct model *model, struct buffer *out)
{
    struct buffer had, wanted;
    buffer_init(&had);
    buffer_init(&wanted);
    sm_dump(sm, &had);
    model_dump(model, &wanted);
    return same_texts(out, "another state", &had, &wanted);
}

// ---- lists ------------------------------------------------------------------

static bool fits(const struct text *list, uint32_t count, struct text t)
{
    for (uint32_t i = 0; i < count; i++) {
        if (text_equal(list[i], t)) return true;
    }
    return count == 0;
}

static bool check_list(struct sm *sm, const struct model *m, const struct sm_filter *f,
                       struct buffer *out)
{
    struct buffer had, wanted;
    buffer_init(&had);
    buffer_init(&wanted);
    bool was_cut = sm_list(sm, f, put_resource, &had);
    uint32_t found = 0;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        const struct sm_resource *r = &m->resources[i];
        if (text_compare(r->name, f->after) <= 0 || !fits(f->types, f->types_count, r->type) ||
            !fits(f->states, f->states_count, r->state) ||
            !fits(f->owners, f->owners_count, r->owner))
            continue;
        found++;
        if (f->limit == 0 || found <= f->limit) model_dump_resource(r, &wanted);
    }
    bool is_cut = f->limit > 0 && found > f->limit;
    return same_texts(out, "another list", &had, &wanted) &&
           !differ(out, "list was cut", TEXT(""), was_cut, is_cut);
}

static bool check_lists(struct sm *sm, const struct model *m, struct maker *maker,
                        struct buffer *out)
{
    struct text lists[3][2] = {{TEXT("no such"), TEXT("no such")},
                               {TEXT("no such"), TEXT("no such")},
                               {TEXT(""), TEXT("no such")}};
    struct sm_filter f = {.types = lists[0],
                          .states = lists[1],
                          .owners = lists[2],
                          .types_count = (uint32_t)maker_random(maker, 3),
                          .states_count = (uint32_t)maker_random(maker, 3),
                          .owners_count = (uint32_t)maker_random(maker, 3),
                          .limit = (uint32_t)maker_random(maker, 6)};
    for (uint32_t i = 0; i < 2 && m->resources_count > 0; i++) {
        lists[0][i] = m->resources[maker_random(maker, m->resources_count)].type;
        lists[1][i] = m->resources[maker_random(maker, m->resources_count)].state;
        lists[2][i] = m->resources[maker_random(maker, m->resources_count)].owner;
        f.after = m->resources[maker_random(maker, m->resources_count)].name;
    }
    if (maker_random(maker, 2) == 0) f.after = TEXT_NONE;
    bool is_same = check_list(sm, m, &f, out);
    f.types_count = f.states_count = f.owners_count = 0;
    return check_list(sm, m, &f, out) && is_same;
}

// What acquire hands out, in its order.
struct unowned {
    struct text type, state, name; // name: of the one before
    uint64_t lastupdate_ns, count;
    bool is_good;
};

static bool put_unowned(void *context, const struct sm_resource *r)
{
    struct unowned *u = context;
    bool is_after = u->count == 0 || u->lastupdate_ns < r->lastupdate_ns ||
                    (u->lastupdate_ns == r->lastupdate_ns && text_compare(u->name, r->name) < 0);
    u->is_good = u->is_good && is_after && r->owner.size == 0 && text_equal(r->type, u->type) &&
                 text_equal(r->state, u->state);
    u->lastupdate_ns = r->lastupdate_ns;
    u->name = r->name;
    u->count++;
    return u->is_good;
}

// ---- counts -----------------------------------------------------------------

static uint64_t count_where(const struct model *m, struct text type, const struct text *state,
                            const struct text *owner)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        const struct sm_resource *r = &m->resources[i];
        count += text_equal(r->type, type) && (state == NULL || text_equal(r->state, *state)) &&
                 (owner == NULL || text_equal(r->owner, *owner));
    }
    return count;
}

static bool check_counts(const struct model *m, struct text type, const struct sm_count *counts,
                         uint32_t count, bool by_owner, struct buffer *out)
{
    uint64_t sum = 0;
    bool is_same = true;
    for (uint32_t i = 0; i < count; i++) {
        const struct text *key = &counts[i].key;
        sum += counts[i].count;
        uint64_t wanted = count_where(m, type, by_owner ? NULL : key, by_owner ? key : NULL);
        if (differ(out, "metric", *key, counts[i].count, wanted)) is_same = false;
        if (counts[i].count == 0 || (i > 0 && text_compare(counts[i - 1].key, *key) >= 0)) {
            buffer_format(out, "metric %.*s: zero, or out of order\n", TEXT_ARG(*key));
            is_same = false;
        }
    }
    return !differ(out, "sum of metric", type, sum, count_where(m, type, NULL, NULL)) && is_same;
}

static bool check_metric(struct sm *sm, const struct model *m, struct text type, struct buffer *out)
{
    uint64_t all = count_where(m, type, NULL, NULL);
    struct sm_metric metric = {0};
    int err = sm_metric(sm, type, &metric);
    if (differ(out, "metric exists", type, err == 0, all > 0)) return false;
    if (differ(out, "count of type", type, sm_count_of_type(sm, type), all)) return false;
    return check_counts(m, type, metric.states, metric.states_count, false, out) &&
           check_counts(m, type, metric.owners, metric.owners_count, true, out);
}

static bool check_types(struct sm *sm, const struct model *m, struct buffer *out)
{
    bool is_same = true;
    uint64_t types = 0;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        const struct sm_resource *r = &m->resources[i];
        if (differ(out, "count in state", r->state, sm_count_in_state(sm, r->type, r->state),
                   count_where(m, r->type, &r->state, NULL)))
            is_same = false;
        bool is_first = true;
        for (uint32_t j = 0; j < i; j++)
            is_first &= !text_equal(m->resources[j].type, r->type);
        if (!is_first) continue;
        types++;
        if (!check_metric(sm, m, r->type, out)) is_same = false;
    }
    if (!check_metric(sm, m, TEXT("no such"), out)) is_same = false;
    const struct text *list = NULL;
    uint32_t count = 0;
    sm_types(sm, &list, &count);
    for (uint32_t i = 1; i < count; i++) {
        if (text_compare(list[i - 1], list[i]) >= 0) is_same = false;
    }
    return !differ(out, "types", TEXT(""), count, types) && is_same;
}

static bool check_unowned(struct sm *sm, const struct model *m, struct buffer *out)
{
    bool is_same = true;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        const struct sm_resource *r = &m->resources[i];
        struct unowned u = {.type = r->type, .state = r->state, .is_good = true};
        sm_unowned(sm, r->type, r->state, put_unowned, &u);
        is_same &= !differ(out, "order of the unowned in", r->state, u.is_good, true);
        is_same &= !differ(out, "unowned in", r->state, u.count,
                           count_where(m, r->type, &r->state, &TEXT("")));
    }
    return is_same;
}

static bool check_leases(struct sm *sm, const struct model *m, struct buffer *out)
{
    struct sm_resource r = {0};
    struct text state = TEXT_NONE;
    bool is_same = true;
    for (uint32_t i = 0; i < m->keyed_count; i++) {
        const struct keyed_acquire *k = &m->keyed[i];
        int err = sm_find_lease(sm, k->owner, k->key, &r, &state);
        is_same &= !differ(out, "lease of the key", k->key,
                           err == 0 && text_equal(r.name, k->name) && text_equal(state, k->state) &&
                               text_equal(r.owner, k->owner),
                           true);
        err = sm_find_lease(sm, TEXT("no such"), k->key, &r, &state);
        is_same &= !differ(out, "lease of nobody", k->key, err == BOSKOS_E_NOT_FOUND, true);
    }
    return is_same;
}

// ---- what is due ------------------------------------------------------------

static bool is_dynamic(const struct model *m, const struct sm_resource *r)
{
    return model_find_static(m, r->name) == NULL && model_find_cycle(m, r->type) != NULL;
}

static bool check_expiry_due(const struct sm *sm, const struct model *m, struct buffer *out)
{
    uint64_t wanted = SM_NEVER;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        const struct sm_resource *r = &m->resources[i];
        if (!is_dynamic(m, r) || r->owner.size > 0 || !r->has_expiration) continue;
        if (text_equal(r->state, TEXT("toBeDeleted")) || text_equal(r->state, TEXT("tombstone")))
            continue;
        if (r->expiration_ns < wanted) wanted = r->expiration_ns;
    }
    if (m->awaits_config) wanted = SM_NEVER; // an `expire` would do nothing
    return !differ(out, "expiry due", TEXT(""), sm_expiry_due_ns(sm), wanted);
}

// The state machine keeps dead entries until they are in the way: they are due at once.
static bool check_queue_due(const struct sm *sm, const struct model *m, struct buffer *out)
{
    uint64_t first_ns = SM_NEVER, live = 0;
    for (uint32_t i = 0; i < m->entries_count; i++) {
        if (m->entries[i].deadline_ns < m->now_ns) continue;
        live++;
        if (m->entries[i].deadline_ns < first_ns) first_ns = m->entries[i].deadline_ns;
    }
    if (sm_queue_entries(sm) == live)
        return !differ(out, "queue due", TEXT(""), sm_queue_due_ns(sm), first_ns);
    return !differ(out, "has dead queue entries", TEXT(""), sm_queue_due_ns(sm) < m->now_ns,
                   sm_queue_entries(sm) > live);
}

static uint64_t slept_since(const struct model *m, uint64_t since_ns)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m->gaps_count; i++)
        sum += m->gaps[i].at_ns > since_ns ? m->gaps[i].length_ns : 0;
    return sum;
}

static bool check_slept(const struct sm *sm, const struct model *m, struct buffer *out)
{
    uint64_t grace_ns = m->gaps_count > 0 ? m->gaps[m->gaps_count - 1].at_ns : 0;
    bool is_same = !differ(out, "grace", TEXT(""), sm_grace_ns(sm), grace_ns);
    for (uint32_t i = 0; i < m->resources_count; i++) {
        const struct sm_resource *r = &m->resources[i];
        is_same &=
            !differ(out, "slept since the last update of", r->name,
                    sm_slept_since_ns(sm, r->lastupdate_ns), slept_since(m, r->lastupdate_ns));
    }
    return is_same;
}

// How old the resource may get; false when it is not the reaper's. Of a type's rules the last
// counts.
static bool reap_expire(const struct model *m, const struct sm_resource *r, uint64_t *ret_ns)
{
    bool is_off = false;
    int64_t expire_ns = m->reaper.expire_ns;
    for (uint32_t i = 0; i < m->reaper.rules_count; i++) {
        if (!text_equal(m->reaper.rules[i].type, r->type)) continue;
        is_off = m->reaper.rules[i].is_off;
        expire_ns = m->reaper.rules[i].expire_ns;
    }
    *ret_ns = (uint64_t)expire_ns;
    return m->reaper.is_enabled && !is_off && r->owner.size > 0 && m->reaper.states_count > 0 &&
           fits(m->reaper.states, m->reaper.states_count, r->state);
}

static bool check_reap_due(const struct sm *sm, const struct model *m, uint64_t reaped_ns,
                           struct buffer *out)
{
    uint64_t wanted = SM_NEVER;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        const struct sm_resource *r = &m->resources[i];
        uint64_t age_ns;
        if (!reap_expire(m, r, &age_ns)) continue;
        age_ns += slept_since(m, r->lastupdate_ns);
        if (r->lastupdate_ns + age_ns < wanted) wanted = r->lastupdate_ns + age_ns;
    }
    uint64_t round_ns = m->gaps_count > 0 ? m->gaps[m->gaps_count - 1].at_ns : 0;
    if (reaped_ns > round_ns) round_ns = reaped_ns;
    round_ns += (uint64_t)m->reaper.period_ns;
    if (wanted != SM_NEVER && wanted < round_ns) wanted = round_ns;
    return !differ(out, "reap due", TEXT(""), sm_reap_due_ns(sm), wanted);
}

static bool check_cleanable(struct sm *sm, const struct model *m, uint32_t most, struct buffer *out)
{
    uint32_t wanted = 0, count = 0;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        const struct sm_resource *r = &m->resources[i];
        wanted +=
            is_dynamic(m, r) && r->owner.size == 0 && text_equal(r->state, TEXT("toBeDeleted"));
    }
    const struct sm_cleanable *list = NULL;
    sm_cleanable(sm, most, &list, &count);
    if (differ(out, "cleanable", TEXT(""), count, wanted < most ? wanted : most)) return false;
    for (uint32_t i = 0; i < count; i++) {
        const struct sm_resource *r = model_find((struct model *)(uintptr_t)m, list[i].name);
        struct text leased = TEXT_NONE;
        for (uint32_t j = 0; r != NULL && j < r->userdata_count; j++) {
            if (text_equal(r->userdata[j].key, TEXT("leasedResources")))
                leased = r->userdata[j].value;
        }
        if (r != NULL && is_dynamic(m, r) && text_equal(leased, list[i].leased) &&
            (leased.data == NULL) == (list[i].leased.data == NULL))
            continue;
        buffer_format(out, "%.*s is not cleanable\n", TEXT_ARG(list[i].name));
        return false;
    }
    return true;
}

bool check_queries(struct sm *sm, const struct model *model, struct maker *maker,
                   uint64_t reaped_ns, struct buffer *out)
{
    bool is_same = check_lists(sm, model, maker, out);
    is_same &= check_types(sm, model, out);
    is_same &= check_unowned(sm, model, out);
    is_same &= check_leases(sm, model, out);
    is_same &= check_slept(sm, model, out);
    is_same &= check_expiry_due(sm, model, out);
    is_same &= check_queue_due(sm, model, out);
    is_same &= check_reap_due(sm, model, reaped_ns, out);
    is_same &= check_cleanable(sm, model, 1 + (uint32_t)maker_random(maker, 20), out);
    is_same &= !differ(out, "resources", TEXT(""), sm_resources_count(sm), model->resources_count);
    for (uint32_t i = 0; i < model->resources_count; i++) {
        struct sm_resource r;
        if (sm_find(sm, model->resources[i].name, &r) == 0) continue;
        buffer_format(out, "%.*s is not found\n", TEXT_ARG(model->resources[i].name));
        is_same = false;
    }
    return is_same;
}
