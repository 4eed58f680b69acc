#include "tests/model/model_private.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"

#include "base/banned.h"

// ---- memory -----------------------------------------------------------------

struct text model_text(struct text t)
{
    char *data = must_malloc(t.size + 1ul);
    if (t.size > 0) memcpy(data, t.data, t.size);
    data[t.size] = '\0';
    return text_of(data, t.size);
}

void model_text_free(struct text t)
{
    free((void *)(uintptr_t)t.data);
}

void model_text_set(struct text *slot, struct text value)
{
    struct text fresh = model_text(value);
    model_text_free(*slot);
    *slot = fresh;
}

void *model_grow(void *list, uint32_t count, size_t element_bytes)
{
    char *bytes = must_realloc(list, (count + 1ul) * element_bytes);
    memset(bytes + count * element_bytes, 0, element_bytes);
    return bytes;
}

void model_pair_list_free(struct userdata_pair *pairs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        model_text_free(pairs[i].key);
        model_text_free(pairs[i].value);
    }
    free(pairs);
}

void model_resource_release(struct sm_resource *r)
{
    model_text_free(r->type);
    model_text_free(r->name);
    model_text_free(r->state);
    model_text_free(r->owner);
    model_pair_list_free((struct userdata_pair *)(uintptr_t)r->userdata, r->userdata_count);
}

static struct userdata_pair *pairs_copy(const struct userdata_pair *pairs, uint32_t count)
{
    struct userdata_pair *copy = NULL;
    for (uint32_t i = 0; i < count; i++) {
        copy = model_grow(copy, i, sizeof(*copy));
        copy[i] = (struct userdata_pair){model_text(pairs[i].key), model_text(pairs[i].value)};
    }
    return copy;
}

static void entry_release(struct queue_entry *e)
{
    model_text_free(e->type);
    model_text_free(e->state);
    model_text_free(e->request_id);
}

static void keyed_release(struct keyed_acquire *k)
{
    model_text_free(k->owner);
    model_text_free(k->key);
    model_text_free(k->type);
    model_text_free(k->state);
    model_text_free(k->dest);
    model_text_free(k->name);
}

static void forget_made(struct model *m)
{
    for (uint32_t i = 0; i < m->made_count; i++)
        model_text_free(m->made[i]);
    free(m->made);
    m->made = NULL;
    m->made_count = 0;
}

struct model *model_new(void)
{
    struct model *m = must_calloc(1, sizeof(*m));
    m->request_ttl_ns = SM_REQUEST_TTL_DEFAULT_NS;
    return m;
}

void model_free(struct model *m)
{
    if (m == NULL) return;
    for (uint32_t i = 0; i < m->resources_count; i++)
        model_resource_release(&m->resources[i]);
    for (uint32_t i = 0; i < m->entries_count; i++)
        entry_release(&m->entries[i]);
    for (uint32_t i = 0; i < m->keyed_count; i++)
        keyed_release(&m->keyed[i]);
    model_config_release(m);
    forget_made(m);
    free(m->keyed);
    free(m->resources);
    free(m->entries);
    free(m->gaps);
    free(m);
}

void model_reply_release(struct model_reply *r)
{
    for (uint32_t i = 0; i < r->resources_count; i++)
        model_resource_release(&r->resources[i]);
    for (uint32_t i = 0; i < r->reset_count; i++) {
        model_text_free(r->reset[i].name);
        model_text_free(r->reset[i].owner);
    }
    free(r->resources);
    free(r->reset);
    model_text_free(r->current_owner);
    model_text_free(r->current_state);
    *r = (struct model_reply){0};
}

// ---- finding ----------------------------------------------------------------

struct sm_resource *model_find(struct model *m, struct text name)
{
    for (uint32_t i = 0; i < m->resources_count; i++) {
        if (text_equal(m->resources[i].name, name)) return &m->resources[i];
    }
    return NULL;
}

const struct static_name *model_find_static(const struct model *m, struct text name)
{
    for (uint32_t i = 0; i < m->statics_count; i++) {
        if (text_equal(m->statics[i].name, name)) return &m->statics[i];
    }
    return NULL;
}

const struct sm_life_cycle *model_find_cycle(const struct model *m, struct text type)
{
    for (uint32_t i = 0; i < m->cycles_count; i++) {
        if (text_equal(m->cycles[i].type, type)) return &m->cycles[i];
    }
    return NULL;
}

void model_resources(const struct model *m, const struct sm_resource **ret_resources,
                     uint32_t *ret_count)
{
    *ret_resources = m->resources;
    *ret_count = m->resources_count;
}

// The time a duration after another; one before 1970 counts as 1970.
uint64_t model_after(uint64_t time_ns, int64_t duration_ns)
{
    if (duration_ns >= 0) return time_ns + (uint64_t)duration_ns;
    uint64_t back_ns = 0 - (uint64_t)duration_ns;
    return back_ns > time_ns ? 0 : time_ns - back_ns;
}

static bool is_age_reached(uint64_t age_ns, int64_t expire_ns)
{
    return expire_ns < 0 || age_ns >= (uint64_t)expire_ns;
}

static void change(struct model *m, struct sm_resource *r, struct text owner, struct text state)
{
    model_text_set(&r->owner, owner);
    model_text_set(&r->state, state);
    r->lastupdate_ns = m->now_ns;
}

static void reply_with(struct model_reply *reply, const struct sm_resource *r)
{
    reply->resources =
        model_grow(reply->resources, reply->resources_count, sizeof(*reply->resources));
    struct sm_resource *copy = &reply->resources[reply->resources_count++];
    *copy = *r;
    copy->type = model_text(r->type);
    copy->name = model_text(r->name);
    copy->state = model_text(r->state);
    copy->owner = model_text(r->owner);
    copy->userdata = pairs_copy(r->userdata, r->userdata_count);
}

// ---- the queues -------------------------------------------------------------

static bool is_live(const struct queue_entry *e, uint64_t now_ns)
{
    return now_ns <= e->deadline_ns;
}

static bool is_in_queue(const struct queue_entry *e, const struct command_acquire *c)
{
    return text_equal(e->type, c->type) && text_equal(e->state, c->state);
}

static void delete_entry(struct model *m, uint32_t index)
{
    entry_release(&m->entries[index]);
    m->entries_count--;
    memmove(&m->entries[index], &m->entries[index + 1],
            (m->entries_count - index) * sizeof(*m->entries));
}

static void delete_dead_entries(struct model *m, uint64_t now_ns)
{
    for (uint32_t i = 0; i < m->entries_count;) {
        if (is_live(&m->entries[i], now_ns))
            i++;
        else
            delete_entry(m, i);
    }
}

// What the caller's place in the queue is; `is_new` and without a place yet when it has none.
struct place {
    uint32_t ahead; // live entries before it
    bool is_new;
    uint32_t index; // of its entry, unless it is new or has no request id
};

static enum sm_reason take_place(struct model *m, const struct command_acquire *c,
                                 struct place *ret_place)
{
    // Dead entries have lost their place: one that polls again is as new as any.
    delete_dead_entries(m, m->now_ns);
    struct place place = {.is_new = c->request_id.size > 0};
    for (uint32_t i = 0; i < m->entries_count; i++) {
        if (!is_in_queue(&m->entries[i], c)) continue;
        if (c->request_id.size > 0 && text_equal(m->entries[i].request_id, c->request_id)) {
            place.is_new = false;
            place.index = i;
            break;
        }
        place.ahead++;
    }
    if (place.is_new) {
        if (place.ahead >= SM_QUEUE_ENTRIES_MAX) return SM_QUEUE_FULL;
        if (m->entries_count >= SM_QUEUE_ENTRIES_TOTAL_MAX) return SM_QUEUES_FULL;
        place.index = m->entries_count;
        m->entries = model_grow(m->entries, m->entries_count, sizeof(*m->entries));
        m->entries[m->entries_count++] =
            (struct queue_entry){.type = model_text(c->type),
                                 .state = model_text(c->state),
                                 .request_id = model_text(c->request_id),
                                 .first_poll_ns = m->now_ns};
    }
    if (c->request_id.size > 0)
        m->entries[place.index].deadline_ns = model_after(m->now_ns, m->request_ttl_ns);
    *ret_place = place;
    return SM_OK;
}

// ---- idempotency keys -------------------------------------------------------

bool model_keyed_acquire(const struct model *m, uint64_t number, struct command_acquire *ret_c)
{
    if (number >= m->keyed_count) return false;
    const struct keyed_acquire *k = &m->keyed[number];
    *ret_c = (struct command_acquire){
        .type = k->type, .state = k->state, .dest = k->dest, .owner = k->owner, .key = k->key};
    return true;
}

static void keep_acquire(struct model *m, const struct command_acquire *c, struct text name)
{
    if (c->key.size == 0) return;
    m->keyed = model_grow(m->keyed, m->keyed_count, sizeof(*m->keyed));
    m->keyed[m->keyed_count++] = (struct keyed_acquire){.owner = model_text(c->owner),
                                                        .key = model_text(c->key),
                                                        .type = model_text(c->type),
                                                        .state = model_text(c->state),
                                                        .dest = model_text(c->dest),
                                                        .name = model_text(name)};
}

// A key goes when its owner has the resource no more, whatever the command was. No command both
// takes a lease away and gives it back.
static void forget_ended(struct model *m)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->keyed_count; i++) {
        struct keyed_acquire k = m->keyed[i];
        const struct sm_resource *r = model_find(m, k.name);
        if (r != NULL && text_equal(r->owner, k.owner))
            m->keyed[kept++] = k;
        else
            keyed_release(&k);
    }
    m->keyed_count = kept;
}

// True when the owner has a lease under that key: then the command is answered.
static bool answer_repeat(struct model *m, const struct command_acquire *c,
                          struct model_reply *reply)
{
    for (uint32_t i = 0; i < m->keyed_count && c->key.size > 0; i++) {
        const struct keyed_acquire *k = &m->keyed[i];
        if (!text_equal(k->owner, c->owner) || !text_equal(k->key, c->key)) continue;
        if (text_equal(k->type, c->type) && text_equal(k->state, c->state) &&
            text_equal(k->dest, c->dest)) {
            reply_with(reply, model_find(m, k->name));
            reply->is_repeat = true;
        } else {
            reply->reason = SM_KEY_MISMATCH;
        }
        return true;
    }
    return false;
}

// ---- the calls --------------------------------------------------------------

static int compare_age(const void *a, const void *b)
{
    const struct sm_resource *x = *(struct sm_resource *const *)a;
    const struct sm_resource *y = *(struct sm_resource *const *)b;
    if (x->lastupdate_ns != y->lastupdate_ns) return x->lastupdate_ns < y->lastupdate_ns ? -1 : 1;
    return text_compare(x->name, y->name);
}

static void apply_acquire(struct model *m, const struct command_acquire *c,
                          struct model_reply *reply)
{
    if (answer_repeat(m, c, reply)) return;
    struct place place = {0};
    reply->reason = take_place(m, c, &place);
    if (reply->reason != SM_OK) return;

    struct sm_resource **available = must_calloc(m->resources_count + 1ul, sizeof(*available));
    uint32_t available_count = 0, type_count = 0;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        struct sm_resource *r = &m->resources[i];
        if (!text_equal(r->type, c->type)) continue;
        type_count++;
        if (r->owner.size == 0 && text_equal(r->state, c->state)) available[available_count++] = r;
    }
    qsort(available, available_count, sizeof(struct sm_resource *), compare_age);

    if (place.ahead < available_count) {
        struct sm_resource *r = available[place.ahead];
        change(m, r, c->owner, c->dest);
        reply_with(reply, r);
        keep_acquire(m, c, r->name);
        if (c->request_id.size > 0) {
            reply->waited_ns = m->now_ns - m->entries[place.index].first_poll_ns;
            delete_entry(m, place.index);
        }
    } else {
        reply->reason = type_count > 0 ? SM_NO_AVAILABLE : SM_NO_SUCH_TYPE;
        const struct sm_life_cycle *cycle = model_find_cycle(m, c->type);
        if (place.is_new && cycle != NULL && (int64_t)type_count < cycle->max_count)
            model_create(m, cycle);
    }
    free(available);
}

static void apply_acquirebystate(struct model *m, const struct command_acquirebystate *c,
                                 struct model_reply *reply)
{
    struct sm_resource **wanted = must_calloc(c->names.size + 1ul, sizeof(*wanted));
    uint32_t count = 0;
    bool has_empty = false; // refused, but the others are handed out: a running Boskos shows it
    for (uint32_t start = 0, end = 0; end <= c->names.size; end++) {
        if (end < c->names.size && c->names.data[end] != ',') continue;
        struct text name = text_of(c->names.data + start, end - start);
        start = end + 1;
        has_empty |= name.size == 0;
        if (name.size == 0) continue;
        struct sm_resource *r = model_find(m, name);
        if (r == NULL || r->owner.size > 0 || !text_equal(r->state, c->state)) {
            reply->reason = SM_NO_AVAILABLE;
            free(wanted);
            return;
        }
        bool is_repeated = false;
        for (uint32_t i = 0; i < count; i++)
            is_repeated |= wanted[i] == r;
        if (!is_repeated) wanted[count++] = r;
    }
    qsort(wanted, count, sizeof(struct sm_resource *), compare_age);
    for (uint32_t i = 0; i < count; i++) {
        change(m, wanted[i], c->owner, c->dest);
        if (!has_empty) reply_with(reply, wanted[i]);
    }
    if (has_empty) reply->reason = SM_NO_AVAILABLE;
    free(wanted);
}

// The named resource if it is the owner's, else NULL and the reason in the reply.
static struct sm_resource *find_owned(struct model *m, struct text name, struct text owner,
                                      struct model_reply *reply)
{
    struct sm_resource *r = model_find(m, name);
    if (r == NULL) {
        reply->reason = SM_NO_SUCH_RESOURCE;
        return NULL;
    }
    if (!text_equal(r->owner, owner)) {
        reply->reason = SM_OWNER_MISMATCH;
        model_text_set(&reply->current_owner, r->owner);
        return NULL;
    }
    return r;
}

static void apply_release(struct model *m, const struct command_release *c,
                          struct model_reply *reply)
{
    struct sm_resource *r = find_owned(m, c->name, c->owner, reply);
    if (r == NULL) return;
    change(m, r, TEXT_NONE, c->dest);
    const struct sm_life_cycle *cycle = model_find_cycle(m, r->type);
    if (cycle == NULL) {
        r->has_expiration = false;
        r->expiration_ns = 0;
    } else if (cycle->has_lifespan) {
        r->has_expiration = true;
        r->expiration_ns = model_after(m->now_ns, cycle->lifespan_ns);
    }
}

static int compare_pairs(const void *a, const void *b)
{
    return text_compare(((const struct userdata_pair *)a)->key,
                        ((const struct userdata_pair *)b)->key);
}

// Sets the key, or deletes it when the value is empty or null.
static void merge_pair(struct userdata_pair **pairs, uint32_t *count, struct userdata_pair pair)
{
    for (uint32_t i = 0; i < *count; i++) {
        if (!text_equal((*pairs)[i].key, pair.key)) continue;
        if (pair.value.size > 0) {
            model_text_set(&(*pairs)[i].value, pair.value);
            return;
        }
        model_text_free((*pairs)[i].key);
        model_text_free((*pairs)[i].value);
        *count -= 1;
        memmove(&(*pairs)[i], &(*pairs)[i + 1], (*count - i) * sizeof(**pairs));
        return;
    }
    if (pair.value.size == 0) return;
    *pairs = model_grow(*pairs, *count, sizeof(**pairs));
    (*pairs)[*count] = (struct userdata_pair){model_text(pair.key), model_text(pair.value)};
    *count += 1;
    qsort(*pairs, *count, sizeof(**pairs), compare_pairs);
}

static void set_userdata(struct sm_resource *r, struct userdata_pair *pairs, uint32_t count)
{
    model_pair_list_free((struct userdata_pair *)(uintptr_t)r->userdata, r->userdata_count);
    r->userdata = pairs;
    r->userdata_count = count;
}

static void apply_update(struct model *m, const struct command_update *c, struct model_reply *reply)
{
    struct sm_resource *r = find_owned(m, c->name, c->owner, reply);
    if (r == NULL) return;
    if (!text_equal(r->state, c->state)) {
        reply->reason = SM_STATE_MISMATCH;
        model_text_set(&reply->current_state, r->state);
        return;
    }
    struct userdata_pair *pairs = pairs_copy(r->userdata, r->userdata_count);
    uint32_t count = r->userdata_count;
    for (uint32_t i = 0; c->has_body && i < c->pairs_count; i++)
        merge_pair(&pairs, &count, c->pairs[i]);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += pairs[i].key.size + pairs[i].value.size;
    if (bytes > SM_USERDATA_BYTES_MAX) {
        reply->reason = SM_USERDATA_TOO_LARGE;
        model_pair_list_free(pairs, count);
        return;
    }
    set_userdata(r, pairs, count);
    r->lastupdate_ns = m->now_ns;
}

static void apply_reset(struct model *m, const struct command_reset *c, struct model_reply *reply)
{
    int64_t expire_ns = 0;
    ASSERT(duration_parse(c->expire, &expire_ns, NULL) == 0); // checked before the append
    for (uint32_t i = 0; i < m->resources_count; i++) {
        struct sm_resource *r = &m->resources[i];
        if (!text_equal(r->type, c->type) || !text_equal(r->state, c->state)) continue;
        if (r->owner.size == 0 || !is_age_reached(m->now_ns - r->lastupdate_ns, expire_ns))
            continue;
        reply->reset = model_grow(reply->reset, reply->reset_count, sizeof(*reply->reset));
        reply->reset[reply->reset_count++] =
            (struct sm_reset){model_text(r->name), model_text(r->owner)};
        change(m, r, TEXT_NONE, c->dest);
    }
}

// ---- the components ---------------------------------------------------------

// How long a lease has lain still, what was slept through since left out.
static uint64_t waking_age_ns(const struct model *m, const struct sm_resource *r)
{
    uint64_t age_ns = m->now_ns - r->lastupdate_ns;
    for (uint32_t i = 0; i < m->gaps_count; i++) {
        if (m->gaps[i].at_ns <= r->lastupdate_ns) continue;
        age_ns -= m->gaps[i].length_ns < age_ns ? m->gaps[i].length_ns : age_ns;
    }
    return age_ns;
}

static bool is_reapable(const struct model *m, const struct sm_resource *r)
{
    bool is_in_state = false, is_off = false;
    int64_t expire_ns = m->reaper.expire_ns;
    for (uint32_t i = 0; i < m->reaper.states_count; i++)
        is_in_state |= text_equal(m->reaper.states[i], r->state);
    for (uint32_t i = 0; i < m->reaper.rules_count; i++) {
        const struct reaper_rule *rule = &m->reaper.rules[i];
        if (!text_equal(rule->type, r->type)) continue;
        is_off = rule->is_off;
        expire_ns = rule->expire_ns;
    }
    return r->owner.size > 0 && is_in_state && !is_off &&
           is_age_reached(waking_age_ns(m, r), expire_ns);
}

static void apply_reap(struct model *m)
{
    if (!m->reaper.is_enabled) return;
    if (m->gaps_count > 0 &&
        m->now_ns < model_after(m->gaps[m->gaps_count - 1].at_ns, m->reaper.period_ns))
        return;
    for (uint32_t i = 0; i < m->resources_count; i++) {
        if (is_reapable(m, &m->resources[i]))
            change(m, &m->resources[i], TEXT_NONE, m->reaper.target);
    }
}

static void apply_clean(struct model *m, const struct command_clean *c)
{
    struct sm_resource *r = model_find(m, c->name);
    if (r == NULL || r->owner.size > 0 || !text_equal(r->state, TEXT("toBeDeleted"))) return;
    if (model_find_static(m, r->name) != NULL || model_find_cycle(m, r->type) == NULL) return;
    struct text leased = TEXT_NONE;
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        if (text_equal(r->userdata[i].key, TEXT("leasedResources"))) leased = r->userdata[i].value;
    }
    if (!text_equal(leased, c->leased)) return;

    for (uint32_t i = 0; i < c->names_count; i++) {
        struct sm_resource *lent = model_find(m, c->names[i]);
        if (lent != NULL && lent->owner.size == 0 && text_equal(lent->state, r->name))
            change(m, lent, TEXT_NONE, TEXT("dirty"));
    }
    struct userdata_pair *pairs = pairs_copy(r->userdata, r->userdata_count);
    uint32_t count = r->userdata_count;
    merge_pair(&pairs, &count, (struct userdata_pair){TEXT("leasedResources"), TEXT_NONE});
    set_userdata(r, pairs, count);
    change(m, r, TEXT_NONE, TEXT("tombstone"));
}

// Only so many gaps are told apart: then the two oldest become one, at the later end. One without
// length matters only while it is the last.
static void join_gaps(struct model *m)
{
    uint32_t kept = 0, with_length = 0;
    for (uint32_t i = 0; i < m->gaps_count; i++) {
        if (m->gaps[i].length_ns > 0 || i + 1 == m->gaps_count) m->gaps[kept++] = m->gaps[i];
        with_length += m->gaps[i].length_ns > 0;
    }
    m->gaps_count = kept;
    if (with_length <= MODEL_GAPS_MAX) return;
    m->gaps[1].length_ns += m->gaps[0].length_ns;
    m->gaps_count--;
    memmove(&m->gaps[0], &m->gaps[1], m->gaps_count * sizeof(*m->gaps));
}

// Time was slept through up to now: whoever waited when it began gets a new TTL, and the reaper
// pauses.
static void apply_grace(struct model *m, uint64_t before_ns, uint64_t slept_ns)
{
    delete_dead_entries(m, before_ns);
    for (uint32_t i = 0; i < m->entries_count; i++)
        m->entries[i].deadline_ns = model_after(m->now_ns, m->request_ttl_ns);
    m->gaps = model_grow(m->gaps, m->gaps_count, sizeof(*m->gaps));
    uint64_t step_ns = m->now_ns - before_ns; // no more can have been slept through
    m->gaps[m->gaps_count++] = (struct gap){m->now_ns, slept_ns < step_ns ? slept_ns : step_ns};
    join_gaps(m);
}

static void apply_started(struct model *m, const struct command_started *c, uint64_t before_ns)
{
    if (!m->was_started) m->salt = c->salt;
    m->was_started = true;
    m->request_ttl_ns = c->request_ttl_ns;
    apply_grace(m, before_ns, c->downtime_ns);
}

static void import_cycle(struct model *m, const struct sm_entry *e)
{
    bool is_new;
    struct sm_life_cycle *cycle = model_cycle_slot(m, e->type, &is_new);
    if (!is_new) return;
    *cycle = (struct sm_life_cycle){.type = model_text(e->type),
                                    .state = model_text(e->state),
                                    .min_count = e->min_count,
                                    .max_count = e->max_count,
                                    .has_lifespan = e->has_lifespan,
                                    .lifespan_ns = e->has_lifespan ? e->lifespan_ns : 0,
                                    .is_fading = e->max_count == 0};
    model_sort_cycles(m);
}

static void import_resource(struct model *m, const struct sm_imported *i)
{
    if (model_find(m, i->name) != NULL) return;
    model_add(m, i->name, i->type, i->state);
    struct sm_resource *r = model_find(m, i->name);
    model_text_set(&r->owner, i->owner);
    // What is not known, or not over yet, is now.
    if (i->lastupdate_ns > 0 && i->lastupdate_ns < m->now_ns) r->lastupdate_ns = i->lastupdate_ns;
    r->has_expiration = i->expires_ns > 0;
    r->expiration_ns = i->expires_ns;
    set_userdata(r, pairs_copy(i->userdata, i->userdata_count), i->userdata_count);
}

static void apply_import(struct model *m, const struct command_import *c)
{
    for (uint32_t i = 0; i < c->cycles_count; i++)
        import_cycle(m, &c->cycles[i]);
    for (uint32_t i = 0; i < c->resources_count; i++)
        import_resource(m, &c->resources[i]);
    m->awaits_config = true;
}

void model_apply(struct model *m, const struct command *c, struct model_reply *ret_reply)
{
    ASSERT(c->seq > m->seq && c->time_ns >= m->now_ns);
    struct model_reply reply = {.reason = SM_OK};
    uint64_t before_ns = m->now_ns;
    m->seq = c->seq;
    m->now_ns = c->time_ns;
    forget_made(m);

    switch (c->kind) {
    case COMMAND_ACQUIRE: apply_acquire(m, &c->as.acquire, &reply); break;
    case COMMAND_ACQUIREBYSTATE: apply_acquirebystate(m, &c->as.acquirebystate, &reply); break;
    case COMMAND_RELEASE: apply_release(m, &c->as.release, &reply); break;
    case COMMAND_UPDATE: apply_update(m, &c->as.update, &reply); break;
    case COMMAND_RESET: apply_reset(m, &c->as.reset, &reply); break;
    case COMMAND_CONFIG: model_take_config(m, &c->as.config); break;
    case COMMAND_EXPIRE: delete_dead_entries(m, m->now_ns); break;
    case COMMAND_REAP: apply_reap(m); break;
    case COMMAND_CLEAN: apply_clean(m, &c->as.clean); break;
    case COMMAND_CLOCK: apply_grace(m, before_ns, c->as.clock.ahead_ns); break;
    case COMMAND_STARTED: apply_started(m, &c->as.started, before_ns); break;
    case COMMAND_REPAIRED: apply_grace(m, before_ns, c->as.repaired.downtime_ns); break;
    case COMMAND_IMPORT: apply_import(m, &c->as.import); break;
    }
    if (!m->awaits_config) model_upkeep(m);
    forget_ended(m);
    *ret_reply = reply;
}
