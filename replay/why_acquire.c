// Why an acquire got what it got.
#include <inttypes.h>

#include "base/assert.h"
#include "replay/foresee.h"
#include "replay/why.h"
#include "statemachine/canonical.h"

#include "base/banned.h"

// Where a request is in no queue, its last acquire is looked for so far back. One that lost its
// place looks like a new one once its entry is swept.
#define LOOK_BACK_NS (3600 * NS_PER_S)

struct polls {
    uint64_t count, first_seq;
    bool is_whole;                                // all that there were are kept
    uint64_t last_seq, last_time_ns, last_status; // the last: 0 for none; status 0: not known
};

struct explained {
    struct why *y;
    const struct command_acquire *c;
    struct foreseen f;
    struct polls polls; // since the first one of f.own or f.lost, or within LOOK_BACK_NS
    uint64_t ttl_ns;
    uint64_t count; // candidates so far
    uint64_t counts[PASSED_KINDS];
    uint32_t width; // of names
};

// ---- polls ------------------------------------------------------------------------

static bool is_poll(const struct explained *x, const struct command *c)
{
    const struct command_acquire *a = &c->as.acquire;
    return text_equal(a->request_id, x->c->request_id) && text_equal(a->type, x->c->type) &&
           text_equal(a->state, x->c->state);
}

// What the row of a result says of the status.
static uint64_t status_of(const struct journal_row *row)
{
    struct canonical_reader r = canonical_reader_of(row->bytes);
    if (row->seq == 0) return 0;
    (void)canonical_read_array(&r);
    return canonical_read_u64(&r);
}

static void count_poll(void *context, const struct command *c, const struct journal_row *row)
{
    struct explained *x = context;
    if (!is_poll(x, c)) return;
    if (x->polls.count++ == 0) x->polls.first_seq = c->seq;
    x->polls.last_seq = c->seq;
    x->polls.last_time_ns = c->time_ns;
    x->polls.last_status = status_of(row);
}

// Counts the polls from an instant on to before the command, as far as they are kept.
static int count_polls(struct explained *x, uint64_t since_ns)
{
    struct replay *r = x->y->r;
    uint64_t from = 0;
    uint64_t before_ns = since_ns > 0 ? since_ns - 1 : 0;
    int err = source_find_time(r->source, before_ns, &from, &r->problem);
    if (err != 0) return err;
    x->polls.is_whole = from >= r->span.oldest;
    from = (x->polls.is_whole ? from : r->span.oldest) + 1;
    err = why_each_acquire(x->y, from, x->y->seq - 1, count_poll, x);
    if (err != BOSKOS_E_TRIMMED) return err;
    x->polls = (struct polls){0}; // meanwhile
    return 0;
}

static uint64_t heard_ns(const struct explained *x, const struct sm_queue_entry *e)
{
    return e->deadline_ns > x->ttl_ns ? e->deadline_ns - x->ttl_ns : 0;
}

// ---- for programs -------------------------------------------------------------------

static void json_entry(struct explained *x, const char *before, const struct sm_queue_entry *e)
{
    struct output *out = x->y->out;
    say_json_text(out, before, e->request_id);
    if (e->rank > 0) say_json_number(out, ",\"rank\":", e->rank);
    say_json_time(out, ",\"since\":", e->first_poll_ns);
    say_json_time(out, ",\"heard\":", heard_ns(x, e));
    say_json_time(out, ",\"expires\":", e->deadline_ns);
}

static void json_own(struct explained *x, const char *key, const struct sm_queue_entry *e)
{
    struct output *out = x->y->out;
    output_string(out, key);
    if (e == NULL) {
        output_string(out, "null");
        return;
    }
    json_entry(x, "{\"id\":", e);
    say_json_number(out, ",\"polls\":", x->polls.count);
    if (x->polls.count > 0 && x->polls.is_whole)
        say_json_number(out, ",\"first\":", x->polls.first_seq);
    else
        output_string(out, ",\"first\":null");
    output_string(out, "}");
}

static void json_entries(struct explained *x, const char *key, const struct sm_queue_entry *list,
                         uint32_t count)
{
    output_string(x->y->out, key);
    for (uint32_t i = 0; i < count; i++) {
        json_entry(x, i == 0 ? "{\"id\":" : ",{\"id\":", &list[i]);
        output_string(x->y->out, "}");
        output_drain(x->y->out);
    }
    output_string(x->y->out, "]");
}

static void json_last_acquire(struct explained *x)
{
    struct output *out = x->y->out;
    bool is_in_queue = x->f.own != NULL || x->f.lost != NULL;
    if (is_in_queue || x->polls.last_seq == 0) {
        output_string(out, ",\"last\":null");
        return;
    }
    say_json_number(out, ",\"last\":{\"seq\":", x->polls.last_seq);
    say_json_time(out, ",\"time\":", x->polls.last_time_ns);
    if (x->polls.last_status == 0)
        output_string(out, ",\"status\":null}");
    else
        output_format(out, ",\"status\":%" PRIu64 "}", x->polls.last_status);
}

static void json_queue(struct explained *x)
{
    struct output *out = x->y->out;
    const struct foreseen *f = &x->f;
    say_json_number(out, ",\"queue\":{\"live\":", f->live_count);
    json_own(x, ",\"own\":", f->own);
    json_own(x, ",\"lost\":", f->own == NULL ? f->lost : NULL);
    json_entries(x, ",\"ahead\":[", f->live, f->ahead);
    json_entries(x, ",\"dead\":[", f->dead, f->dead_count);
    json_last_acquire(x);
    if (f->is_queued)
        say_json_number(out, ",\"rank-after\":", f->ahead + 1);
    else
        output_string(out, ",\"rank-after\":null");
    output_string(out, "}");
}

static bool json_candidate(void *context, const struct candidate *c)
{
    static const char *const names[PASSED_KINDS] = {[PASSED_NOT] = "granted",
                                                    [PASSED_KEPT] = "kept",
                                                    [PASSED_YOUNGER] = "later",
                                                    [PASSED_OWNED] = "owned",
                                                    [PASSED_STATE] = "state"};
    struct explained *x = context;
    struct output *out = x->y->out;
    say_json_text(out, x->count++ == 0 ? "{\"resource\":" : ",{\"resource\":", c->resource.name);
    say_json_text(out, ",\"state\":", c->resource.state);
    say_json_text(out, ",\"owner\":", c->resource.owner);
    say_json_time(out, ",\"lastupdate\":", c->resource.lastupdate_ns);
    output_format(out, ",\"passed\":\"%s\"", names[c->passed]);
    if (c->kept_for != NULL) say_json_text(out, ",\"for\":", c->kept_for->request_id);
    output_string(out, "}");
    output_drain(out);
    return true;
}

static bool is_full(enum sm_reason reason)
{
    return reason == SM_QUEUE_FULL || reason == SM_QUEUES_FULL;
}

static void json_answer(struct explained *x)
{
    struct output *out = x->y->out;
    const struct foreseen *f = &x->f;
    if (f->has_resource)
        say_json_text(out, ",\"resource\":", f->resource.name);
    else
        output_string(out, ",\"resource\":null");
    if (f->reason == SM_OK) say_json_span(out, ",\"waited\":", f->waited_ns);
    say_json_number(out, ",\"available\":", f->available);
    say_json_number(out, ",\"type-count\":", f->type_count);
    json_queue(x);
    if (f->has_cycle)
        output_format(out,
                      ",\"life-cycle\":{\"min-count\":%" PRId64 ",\"max-count\":%" PRId64
                      ",\"makes-one\":%s}",
                      f->cycle.min_count, f->cycle.max_count, f->is_making ? "true" : "false");
    else
        output_string(out, ",\"life-cycle\":null");
    if (is_full(f->reason)) return;
    output_string(out, ",\"candidates\":[");
    foreseen_candidates(walk_state(x->y->walk), x->c, f, json_candidate, x);
    output_string(out, "]");
}

// ---- for people ----------------------------------------------------------------------

static void say_unowned_in_state(struct explained *x)
{
    struct output *out = x->y->out;
    output_format(out, "%" PRIu64 " of %" PRIu64 " of type ", x->f.available, x->f.type_count);
    output_word(out, x->c->type);
    output_string(out, x->f.available == 1 ? " is unowned in state " : " are unowned in state ");
    output_word(out, x->c->state);
}

static void say_granted(struct explained *x)
{
    struct output *out = x->y->out;
    const struct foreseen *f = &x->f;
    output_word(out, f->resource.name);
    if (f->own != NULL) {
        output_string(out, " after waiting ");
        say_age(out, f->waited_ns);
    }
    output_string(out, "; ");
    say_unowned_in_state(x);
    if (f->ahead == 0) {
        output_string(out, f->available > 1 ? ", and it is the one unchanged for longest\n" : "\n");
        return;
    }
    output_string(out, ", and each of the ");
    say_count(out, f->ahead, "request", "requests");
    output_string(out, " ahead has one kept for it\n");
}

static void say_no_such_type(struct explained *x, uint64_t names, bool is_listed)
{
    struct output *out = x->y->out;
    output_string(out, "there is no resource of type ");
    output_word(out, x->c->type);
    if (x->f.has_cycle) {
        output_format(out, "; the config has it as dynamic, from %" PRId64 " to %" PRId64 "\n",
                      x->f.cycle.min_count, x->f.cycle.max_count);
    } else if (is_listed) {
        output_string(out, "; the config has it, with ");
        say_count(out, names, "name", "names");
        output_string(out, "\n");
    } else {
        output_string(out, "; the config has no such type\n");
    }
}

static void say_full(struct explained *x)
{
    struct output *out = x->y->out;
    bool is_this = x->f.reason == SM_QUEUE_FULL;
    say_count(out, is_this ? x->f.live_count : x->f.live_everywhere, "request waits",
              "requests wait");
    output_string(out, is_this ? " in this queue" : " in all queues");
    output_format(out, ", and there may be %" PRIu32 "; a new one is not taken\n",
                  is_this ? SM_QUEUE_ENTRIES_MAX : SM_QUEUE_ENTRIES_TOTAL_MAX);
}

static void say_refused(struct explained *x)
{
    struct output *out = x->y->out;
    say_unowned_in_state(x);
    if (x->f.available > 0) {
        output_string(out, ", kept for ");
        if (x->f.ahead > x->f.available && x->f.available > 1)
            output_format(out, "the first %" PRIu64 " of %" PRIu32 " requests ahead",
                          x->f.available, x->f.ahead);
        else if (x->f.ahead > x->f.available)
            output_format(out, "the first of %" PRIu32 " requests ahead", x->f.ahead);
        else
            say_count(out, x->f.ahead, "request ahead", "requests ahead");
    }
    output_string(out, "\n");
}

static void say_polls(struct explained *x, const struct sm_queue_entry *e)
{
    struct output *out = x->y->out;
    output_string(out, "waited ");
    say_age(out, x->y->time_ns - e->first_poll_ns);
    output_string(out, " since ");
    if (x->polls.count > 0 && x->polls.is_whole)
        say_command(out, x->polls.first_seq, e->first_poll_ns);
    else
        output_time(out, e->first_poll_ns);
    output_string(out, ", ");
    say_count(out, x->polls.count, "poll", "polls");
    output_format(out, " before%s, the last ", x->polls.is_whole ? "" : " that are kept");
    say_age(out, x->y->time_ns - heard_ns(x, e));
    output_string(out, " ago");
}

// Of a request that is in no queue.
static void say_new(struct explained *x)
{
    struct output *out = x->y->out;
    const struct polls *p = &x->polls;
    if (p->last_seq == 0) {
        output_string(out, " is new");
        return;
    }
    bool has_got = p->last_status == sm_reason_status(SM_OK);
    bool has_waited = p->last_status == sm_reason_status(SM_NO_AVAILABLE);
    output_string(out, has_got      ? " is new again: it got one by "
                       : has_waited ? " has lost its place: it was silent since "
                                    : " is new; it asked before, by ");
    say_command(out, p->last_seq, p->last_time_ns);
    output_string(out, ", ");
    say_age(out, x->y->time_ns - p->last_time_ns);
    output_string(out, " ago");
}

static void say_place(struct explained *x)
{
    struct output *out = x->y->out;
    const struct foreseen *f = &x->f;
    say_label(out, "request");
    if (text_is_empty(x->c->request_id)) {
        output_string(out, "without an id: it does not queue");
        if (f->live_count > 0)
            output_format(out, ", and comes after all that wait, %" PRIu32, f->live_count);
        output_string(out, "\n");
        return;
    }
    output_word(out, x->c->request_id);
    if (f->own != NULL) {
        output_format(out, " had rank %" PRIu32 " of %" PRIu32 ", ", f->own->rank, f->live_count);
        say_polls(x, f->own);
    } else if (f->lost != NULL) {
        output_string(out, " had lost its place, for it was silent for ");
        say_age(out, x->y->time_ns - heard_ns(x, f->lost));
        output_string(out, "; it had ");
        say_polls(x, f->lost);
    } else {
        say_new(x);
    }
    if (f->is_queued)
        output_format(out, "; it %s rank %" PRIu32 "\n", f->own != NULL ? "keeps" : "gets",
                      f->ahead + 1);
    else if (f->own != NULL)
        output_string(out, "; it leaves the queue\n");
    else
        output_string(out, f->reason == SM_OK ? "\n" : "; it does not queue\n");
}

static void say_cycle(struct explained *x)
{
    struct output *out = x->y->out;
    const struct foreseen *f = &x->f;
    if (!f->has_cycle || f->reason == SM_OK) return;
    say_label(out, "life cycle");
    output_format(out, "from %" PRId64 " to %" PRId64 " of them, there are %" PRIu64 ": ",
                  f->cycle.min_count, f->cycle.max_count, f->type_count);
    if (f->is_making)
        output_string(out, "one is made for this first poll\n");
    else if (f->type_count >= (uint64_t)f->cycle.max_count)
        output_string(out, "max-count forbids another\n");
    else if (f->own != NULL)
        output_string(out, "one is made only for the first poll of a request\n");
    else
        output_string(out, "none is made for an acquire that does not queue\n");
}

static void say_entries(struct explained *x, const char *heading, const struct sm_queue_entry *list,
                        uint32_t count)
{
    struct output *out = x->y->out;
    uint32_t width = 0;
    if (count == 0) return;
    output_format(out, "%s: %" PRIu32 "\n", heading, count);
    for (uint32_t i = 0; i < count && i < SAY_MOST; i++) {
        uint32_t is = output_width(list[i].request_id);
        if (is > width) width = is;
    }
    for (uint32_t i = 0; i < count && i < SAY_MOST; i++) {
        output_string(out, "  ");
        if (list[i].rank > 0) output_format(out, "%3" PRIu32 "  ", list[i].rank);
        output_cell(out, list[i].request_id, width);
        output_string(out, "waited ");
        say_age(out, x->y->time_ns - list[i].first_poll_ns);
        say_heard(out, x->y->time_ns - heard_ns(x, &list[i]));
        output_string(out, "\n");
    }
    say_more(out, count);
}

static bool measure_candidate(void *context, const struct candidate *c)
{
    struct explained *x = context;
    uint32_t is = output_width(c->resource.name);
    if (is > x->width) x->width = is;
    return ++x->count < SAY_MOST;
}

static void say_passed(struct explained *x, const struct candidate *c)
{
    struct output *out = x->y->out;
    switch (c->passed) {
    case PASSED_NOT:
        output_colour(out, COLOUR_GREEN);
        output_string(out, "handed out");
        output_colour(out, COLOUR_NONE);
        output_string(out, ", unchanged for ");
        break;
    case PASSED_KEPT:
        output_string(out, "kept for request ");
        output_word(out, c->kept_for->request_id);
        output_format(out, ", rank %" PRIu32 "; unchanged for ", c->kept_for->rank);
        break;
    case PASSED_YOUNGER: output_string(out, "not needed, unchanged for "); break;
    case PASSED_OWNED:
        output_string(out, "owned by ");
        output_word(out, c->resource.owner);
        output_string(out, " in state ");
        output_word(out, c->resource.state);
        output_string(out, ", last heard of ");
        break;
    case PASSED_STATE:
        output_string(out, "in state ");
        output_word(out, c->resource.state);
        output_string(out, ", for ");
        break;
    }
    say_age(out, x->y->time_ns - c->resource.lastupdate_ns);
    output_string(out, c->passed == PASSED_OWNED ? " ago\n" : "\n");
}

static bool say_candidate(void *context, const struct candidate *c)
{
    struct explained *x = context;
    if (x->count++ >= SAY_MOST) {
        x->counts[c->passed]++;
        return true;
    }
    output_string(x->y->out, "  ");
    output_cell(x->y->out, c->resource.name, x->width);
    say_passed(x, c);
    return true;
}

static void say_candidates(struct explained *x)
{
    static const char *const names[PASSED_KINDS] = {[PASSED_NOT] = "handed out",
                                                    [PASSED_KEPT] = "kept for requests ahead",
                                                    [PASSED_YOUNGER] = "not needed",
                                                    [PASSED_OWNED] = "owned",
                                                    [PASSED_STATE] = "in another state"};
    struct output *out = x->y->out;
    struct sm *sm = walk_state(x->y->walk);
    if (x->f.type_count == 0) return;
    output_format(out, "candidates: %" PRIu64 " of type ", x->f.type_count);
    output_word(out, x->c->type);
    output_string(out, "\n");
    foreseen_candidates(sm, x->c, &x->f, measure_candidate, x);
    x->count = 0;
    foreseen_candidates(sm, x->c, &x->f, say_candidate, x);
    if (x->count <= SAY_MOST) return;
    output_format(out, "  and %" PRIu64 " more", x->count - SAY_MOST);
    const char *before = ": ";
    for (uint32_t i = 0; i < PASSED_KINDS; i++) {
        if (x->counts[i] == 0) continue;
        output_format(out, "%s%" PRIu64 " %s", before, x->counts[i], names[i]);
        before = ", ";
    }
    output_string(out, "\n");
}

// ---- the answer -------------------------------------------------------------------------

// What the config in force says of a type that has no resource.
static int say_missing_type(struct explained *x)
{
    struct command config;
    struct command_decoder *decoder = command_decoder_new();
    uint64_t names = 0;
    bool is_listed = false, is_dynamic = false;
    int err = why_config_in_force(x->y, decoder, &config);
    for (uint32_t i = 0; err == 0 && i < config.as.config.entries_count; i++) {
        const struct sm_entry *e = &config.as.config.entries[i];
        if (!text_equal(e->type, x->c->type)) continue;
        is_listed = true;
        is_dynamic |= e->is_dynamic;
        names += e->names_count;
    }
    command_decoder_free(decoder);
    if (err != 0) return err;
    if (!x->y->is_json)
        say_no_such_type(x, names, is_listed);
    else if (is_listed)
        output_format(x->y->out, ",\"config\":{\"static-names\":%" PRIu64 ",\"dynamic\":%s}", names,
                      is_dynamic ? "true" : "false");
    else
        output_string(x->y->out, ",\"config\":null");
    return 0;
}

static int say_reason(struct explained *x)
{
    if (x->f.reason == SM_NO_SUCH_TYPE) return say_missing_type(x);
    if (x->y->is_json) return 0;
    if (x->f.reason == SM_OK)
        say_granted(x);
    else if (is_full(x->f.reason))
        say_full(x);
    else
        say_refused(x);
    return 0;
}

// What was told from the state before must be what applying comes to.
static void check(const struct explained *x)
{
    const struct sm_result *result = &x->y->step->result;
    const struct foreseen *f = &x->f;
    ASSERT(result->reason == f->reason && result->is_repeat == f->is_repeat);
    ASSERT(result->waited_ns == f->waited_ns);
    ASSERT(result->reason != SM_OK || (result->resources_count == 1 &&
                                       text_equal(result->resources[0].name, f->resource.name)));
}

static int explain_by_queue(struct explained *x)
{
    struct why *y = x->y;
    const struct sm_queue_entry *polled = x->f.own != NULL ? x->f.own : x->f.lost;
    uint64_t since_ns = y->time_ns > LOOK_BACK_NS ? y->time_ns - LOOK_BACK_NS : 0;
    if (polled != NULL) since_ns = polled->first_poll_ns;
    int err = text_is_empty(x->c->request_id) ? 0 : count_polls(x, since_ns);
    if (err != 0) return err;
    bool is_granted = x->f.reason == SM_OK;
    why_say_head(y, is_granted ? OUTCOME_GRANTED : OUTCOME_REFUSED, x->f.reason);
    err = say_reason(x);
    if (err != 0) return err;
    if (y->is_json) {
        json_answer(x);
    } else {
        say_place(x);
        say_cycle(x);
        if (!is_full(x->f.reason)) {
            say_candidates(x);
            say_entries(x, "requests ahead", x->f.live, x->f.ahead);
        }
        say_entries(x, "requests that had lost their place", x->f.dead, x->f.dead_count);
    }
    // The resource handed out is shown above; its name stays until the next command.
    err = why_apply(y);
    if (err != 0) return err;
    check(x);
    why_say_tail(y, is_granted ? why_said_of(&x->f.resource.name) : SAID_NOTHING);
    return 0;
}

// ---- by key -------------------------------------------------------------------------------

static void say_asked(struct output *out, const char *label, struct text asked, struct text was)
{
    if (text_equal(asked, was)) return;
    say_label(out, label);
    output_string(out, "asked for ");
    output_word(out, asked);
    output_string(out, ", while the lease's is ");
    output_word(out, was);
    output_string(out, "\n");
}

static void say_key(struct explained *x)
{
    struct output *out = x->y->out;
    const struct foreseen *f = &x->f;
    output_word(out, x->c->owner);
    output_string(out, "'s lease of ");
    output_word(out, f->resource.name);
    output_string(out, " has the key ");
    output_word(out, x->c->key);
    output_string(out, f->is_repeat ? ", and this is the same acquire: the lease is told again\n"
                                    : ", and it was asked for otherwise\n");
    say_asked(out, "type", x->c->type, f->resource.type);
    say_asked(out, "state", x->c->state, f->key_state);
    say_asked(out, "dest", x->c->dest, f->resource.state);
}

static void json_key(struct explained *x)
{
    struct output *out = x->y->out;
    say_json_text(out, ",\"lease\":{\"resource\":", x->f.resource.name);
    say_json_text(out, ",\"type\":", x->f.resource.type);
    say_json_text(out, ",\"state\":", x->f.resource.state);
    say_json_text(out, ",\"asked-state\":", x->f.key_state);
    output_string(out, ",");
}

static int explain_by_key(struct explained *x)
{
    struct why *y = x->y;
    struct leases l;
    struct buffer tail;
    leases_init(&l);
    buffer_init(&tail);
    (void)leases_add(&l, LEASE_OPEN, &x->f.resource);
    why_say_head(y, x->f.is_repeat ? OUTCOME_REPEATED : OUTCOME_REFUSED, x->f.reason);
    if (y->is_json)
        json_key(x);
    else
        say_key(x);
    int err = why_apply(y);
    if (err != 0) goto out;
    check(x);
    why_keep_tail(y, SAID_NOTHING, &tail);
    err = why_find_leases(y, &l);
    if (err != 0) goto out;
    if (y->is_json) {
        say_json_lease(y->out, &l.list[0]);
        output_string(y->out, "}");
    } else {
        say_label(y->out, "lease since");
        say_lease_begin(y->out, &l.list[0], y->time_ns);
        output_string(y->out, "\n");
    }
    buffer_text(&y->out->line, buffer_as_text(&tail));
out:
    buffer_release(&tail);
    leases_release(&l);
    return err;
}

int why_acquire(struct why *y)
{
    struct sm *sm = walk_state(y->walk);
    int64_t ttl_ns = sm_request_ttl_ns(sm);
    struct explained x = {
        .y = y, .c = &y->step->command.as.acquire, .ttl_ns = ttl_ns > 0 ? (uint64_t)ttl_ns : 0};
    foresee_acquire(sm, x.c, y->time_ns, &x.f);
    bool is_by_key = x.f.is_repeat || x.f.reason == SM_KEY_MISMATCH;
    int err = is_by_key ? explain_by_key(&x) : explain_by_queue(&x);
    foreseen_release(&x.f);
    return err;
}
