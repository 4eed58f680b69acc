#include "replay/diff_queues.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "replay/say.h"
#include "statemachine/table.h"

#include "base/banned.h"

// Of requests: from so many on they are not had beside other things, and a window ends with the
// one with which it has so many.
#ifdef BOSKOS_IN_PARTS // a test
#define LARGE_BYTES 300u
#define WINDOW_BYTES 600u
#else
#define LARGE_BYTES (2u * 1024 * 1024)
#define WINDOW_BYTES (24u * 1024 * 1024)
#endif
#define BESIDE_BYTES 40u // of a request: what malloc takes, a slot of the table, one of the list

// A command, as far as it is told.
struct by {
    uint64_t seq, time_ns; // seq 0: none
    uint8_t kind;
};

// A request of the earlier point.
struct waiting {
    struct table_item item;
    bool is_granted;
    bool is_there; // at the later point; and how then:
    uint32_t rank_then;
    uint32_t rank;
    uint32_t type_size, state_size, id_size;
    uint64_t first_poll_ns;
    uint64_t deadline_ns, deadline_then_ns; // the second one as of now, on the way
    struct by by;                           // that it went with, or that moved its end last
    char texts[];                           // type, state, id
};

// A place of the earlier point in the order of queues and ranks.
struct bound {
    bool is_set;
    struct buffer type, state;
    uint32_t rank;
};

#define RANK_BEHIND_ALL UINT32_MAX // of who comes

struct diff_queues {
    const char *type;
    struct bound from, to; // the window: what is after the one, up to the other
    uint64_t earlier;      // the command
    uint64_t now_ns;
    struct waiting **list; // by queue, then by rank
    size_t count, capacity, bytes;
    struct table by_id;

    // While it is printed:
    struct replay *replay;
    size_t at;       // of the list
    struct by ahead; // the last command with which one of this queue went
    uint64_t lines;
};

static struct text type_of(const struct waiting *w)
{
    return text_of(w->texts, w->type_size);
}

static struct text state_of(const struct waiting *w)
{
    return text_of(w->texts + w->type_size, w->state_size);
}

static struct text id_of(const struct waiting *w)
{
    return text_of(w->texts + w->type_size + w->state_size, w->id_size);
}

// ---- finding them ---------------------------------------------------------------------

struct place {
    struct text type, state, id;
};

static bool is_at(const void *item, const void *key)
{
    const struct waiting *w = item;
    const struct place *p = key;
    return text_equal(id_of(w), p->id) && text_equal(type_of(w), p->type) &&
           text_equal(state_of(w), p->state);
}

static uint32_t hash_of(struct text id)
{
    return (uint32_t)hash64(id.data, id.size, 0);
}

static struct waiting *find(const struct diff_queues *q, struct place p)
{
    return table_find(&q->by_id, hash_of(p.id), is_at, &p);
}

// ---- the window -----------------------------------------------------------------------

static int compare_names(struct text type, struct text state, const struct sm_queue_entry *e)
{
    int order = text_compare(type, e->type);
    return order != 0 ? order : text_compare(state, e->state);
}

// Is this rank of the entry's queue behind the bound?
static bool is_behind(const struct bound *b, const struct sm_queue_entry *e, uint32_t rank)
{
    int order = compare_names(buffer_as_text(&b->type), buffer_as_text(&b->state), e);
    return order != 0 ? order < 0 : rank > b->rank;
}

static int compare_queue(const struct waiting *w, const struct sm_queue_entry *e)
{
    return compare_names(type_of(w), state_of(w), e);
}

static bool is_wanted(const struct diff_queues *q, const struct sm_queue_entry *e, uint32_t rank)
{
    return option_fits(q->type, e->type) && (!q->from.is_set || is_behind(&q->from, e, rank)) &&
           (!q->to.is_set || !is_behind(&q->to, e, rank));
}

static void set_bound(struct bound *b, struct text type, struct text state, uint32_t rank)
{
    b->is_set = true;
    b->rank = rank;
    buffer_clear(&b->type);
    buffer_text(&b->type, type);
    buffer_clear(&b->state);
    buffer_text(&b->state, state);
}

static void release_bound(struct bound *b)
{
    buffer_release(&b->type);
    buffer_release(&b->state);
}

bool diff_queues_next(struct diff_queues *q)
{
    struct bound before = q->from;
    if (!q->to.is_set) return false;
    q->from = q->to;
    q->to = before; // its memory is used again
    return true;
}

// ---- the earlier point ----------------------------------------------------------------

bool diff_queues_is_large(const struct diff_queues *q)
{
    return q->bytes >= LARGE_BYTES;
}

static bool take(void *context, const struct sm_queue_entry *e)
{
    struct diff_queues *q = context;
    if (!is_wanted(q, e, e->rank)) return true;
    if (q->bytes >= WINDOW_BYTES) {
        const struct waiting *last = q->list[q->count - 1];
        set_bound(&q->to, type_of(last), state_of(last), last->rank);
        return false;
    }
    if (q->count == q->capacity) {
        q->capacity = q->capacity == 0 ? 64 : q->capacity * 2;
        q->list = must_realloc(q->list, q->capacity * sizeof(struct waiting *));
    }
    size_t size = (size_t)e->type.size + e->state.size + e->request_id.size;
    struct waiting *w = must_malloc(sizeof(*w) + size);
    *w = (struct waiting){.item = {hash_of(e->request_id)},
                          .rank = e->rank,
                          .type_size = e->type.size,
                          .state_size = e->state.size,
                          .id_size = e->request_id.size,
                          .first_poll_ns = e->first_poll_ns,
                          .deadline_ns = e->deadline_ns,
                          .deadline_then_ns = e->deadline_ns};
    memcpy(w->texts, e->type.data, e->type.size);
    memcpy(w->texts + e->type.size, e->state.data, e->state.size);
    memcpy(w->texts + e->type.size + e->state.size, e->request_id.data, e->request_id.size);
    q->list[q->count++] = w;
    q->bytes += sizeof(*w) + size + BESIDE_BYTES;
    table_add(&q->by_id, w);
    return true;
}

void diff_queues_forget(struct diff_queues *q)
{
    for (size_t i = 0; i < q->count; i++)
        free(q->list[i]);
    free(q->list);
    q->list = NULL;
    q->count = q->capacity = q->bytes = 0;
    table_release(&q->by_id);
}

struct diff_queues *diff_queues_new(const char *type)
{
    struct diff_queues *q = must_calloc(1, sizeof(*q));
    q->type = type;
    return q;
}

void diff_queues_free(struct diff_queues *q)
{
    if (q == NULL) return;
    diff_queues_forget(q);
    release_bound(&q->from);
    release_bound(&q->to);
    free(q);
}

void diff_queues_begin(struct diff_queues *q, struct walk *w)
{
    diff_queues_forget(q);
    q->to.is_set = false;
    q->earlier = sm_seq(walk_state(w));
    sm_queues(walk_state(w), sm_time_ns(walk_state(w)), take, q);
}

// ---- on the way -----------------------------------------------------------------------

// One who comes too late has lost the place, and comes anew under the same id.
static bool is_new(const struct diff_queues *q, const struct sm_queue_entry *e)
{
    return e->seq > q->earlier;
}

static struct by by_of(const struct command *c)
{
    return (struct by){c->seq, c->time_ns, (uint8_t)c->kind};
}

static void set_end(struct waiting *w, uint64_t deadline_ns, const struct command *c)
{
    if (w->deadline_then_ns == deadline_ns) return;
    w->deadline_then_ns = deadline_ns;
    w->by = by_of(c);
}

// A lease that is told again by its key, and a key that is another acquire's, leave the queue as it
// is.
static void note_acquire(struct diff_queues *q, struct sm *sm, const struct walk_step *step)
{
    const struct command *c = &step->command;
    const struct command_acquire *a = &c->as.acquire;
    bool is_poll = !step->result.is_repeat && step->result.reason != SM_KEY_MISMATCH;
    if (text_is_empty(a->request_id) || !is_poll) return;
    struct waiting *w = find(q, (struct place){a->type, a->state, a->request_id});
    if (w == NULL || w->is_granted || c->time_ns > w->deadline_then_ns) return;
    if (step->result.reason == SM_OK) {
        w->is_granted = true;
        w->by = by_of(c);
        return;
    }
    uint64_t ttl_ns = (uint64_t)sm_request_ttl_ns(sm), most = SM_NEVER - 1 - c->time_ns;
    set_end(w, c->time_ns + (ttl_ns < most ? ttl_ns : most), c);
}

struct renewal {
    struct diff_queues *q;
    const struct command *command;
};

static bool note_end(void *context, const struct sm_queue_entry *e)
{
    const struct renewal *n = context;
    struct waiting *w = find(n->q, (struct place){e->type, e->state, e->request_id});
    if (w != NULL && !w->is_granted && !is_new(n->q, e)) set_end(w, e->deadline_ns, n->command);
    return true;
}

void diff_queues_step(struct diff_queues *q, struct walk *w, const struct walk_step *step)
{
    const struct command *c = &step->command;
    struct renewal renewal = {q, c};
    if (q->count == 0) return;
    switch (c->kind) {
    case COMMAND_ACQUIRE: note_acquire(q, walk_state(w), step); return;
    case COMMAND_STARTED:
    case COMMAND_CLOCK:
    case COMMAND_REPAIRED: // all who wait get more time
        sm_queues(walk_state(w), c->time_ns, note_end, &renewal);
        return;
    case COMMAND_ACQUIREBYSTATE:
    case COMMAND_RELEASE:
    case COMMAND_UPDATE:
    case COMMAND_RESET:
    case COMMAND_CONFIG:
    case COMMAND_EXPIRE:
    case COMMAND_REAP:
    case COMMAND_CLEAN:
    case COMMAND_IMPORT: return;
    }
}

// ---- the later point ------------------------------------------------------------------

// The first command after an instant, which is there.
static int first_after(struct replay *r, uint64_t instant_ns, struct by *ret_by)
{
    struct source_cursor *c = NULL;
    struct record record;
    struct journal_row row;
    uint64_t seq = 0;
    int err = source_find_time(r->source, instant_ns, &seq, &r->problem);
    if (err == 0) err = source_cursor_open(r->source, seq + 1, NULL, &c, &r->problem);
    if (err == 0) err = source_cursor_next(c, &record, &row, &r->problem);
    if (err == 0) *ret_by = (struct by){record.seq, record.time_ns, (uint8_t)record.kind};
    source_cursor_close(c);
    return err;
}

static bool note_then(void *context, const struct sm_queue_entry *e)
{
    struct diff_queues *q = context;
    struct waiting *w = find(q, (struct place){e->type, e->state, e->request_id});
    if (w == NULL || is_new(q, e)) return true;
    w->is_there = true;
    w->rank_then = e->rank;
    w->deadline_then_ns = e->deadline_ns;
    return true;
}

int diff_queues_end(struct diff_queues *q, struct replay *r, struct walk *w)
{
    uint64_t since_ns = 0; // from then up to `last` it is this command
    struct by last = {0};
    q->now_ns = sm_time_ns(walk_state(w));
    sm_queues(walk_state(w), q->now_ns, note_then, q);
    for (size_t i = 0; i < q->count; i++) {
        struct waiting *x = q->list[i];
        if (x->is_there || x->is_granted) continue;
        ASSERT(x->deadline_then_ns < q->now_ns);
        if (x->deadline_then_ns < since_ns || x->deadline_then_ns >= last.time_ns) {
            int err = first_after(r, x->deadline_then_ns, &last);
            if (err != 0) return err;
            since_ns = x->deadline_then_ns;
        }
        x->by = last;
    }
    return 0;
}

// ---- printing -------------------------------------------------------------------------

static void json_begin(struct output *out, struct text type, struct text state, struct text id)
{
    say_json_text(out, "{\"queue\":{\"type\":", type);
    say_json_text(out, ",\"state\":", state);
    say_json_text(out, "},\"request\":", id);
}

static void json_place(struct output *out, const char *before, uint32_t rank, uint64_t since_ns,
                       uint64_t expires_ns)
{
    output_string(out, before);
    say_json_number(out, "{\"rank\":", rank);
    say_json_time(out, ",\"since\":", since_ns);
    say_json_time(out, ",\"expires\":", expires_ns);
    output_string(out, "}");
}

static void json_by(struct output *out, struct by by)
{
    say_json_number(out, ",\"seq\":", by.seq);
    say_json_time(out, ",\"time\":", by.time_ns);
    output_format(out, ",\"kind\":\"%s\"", command_kind_name(by.kind));
}

static void say_begin(struct output *out, struct text type, struct text state, const char *what,
                      struct text id)
{
    output_string(out, "queue ");
    output_word(out, type);
    output_string(out, " ");
    output_word(out, state);
    output_string(out, what);
    output_word(out, id);
}

static void say_by(struct output *out, const char *how, struct by by)
{
    output_format(out, "; %s %" PRIu64 " ", how, by.seq);
    output_time(out, by.time_ns);
    output_format(out, " %s\n", command_kind_name(by.kind));
}

static void print_went(struct diff_queues *q, const struct waiting *w)
{
    struct output *out = &q->replay->out;
    q->lines++;
    if (q->replay->options->json) {
        json_begin(out, type_of(w), state_of(w), id_of(w));
        json_place(out, ",\"from\":", w->rank, w->first_poll_ns, w->deadline_ns);
        output_string(out, ",\"to\":null");
        json_by(out, w->by);
        output_format(out, ",\"granted\":%s}\n", w->is_granted ? "true" : "false");
    } else {
        say_begin(out, type_of(w), state_of(w), ": went  ", id_of(w));
        output_format(out, "  had rank %" PRIu32 ", since ", w->rank);
        output_time(out, w->first_poll_ns);
        if (!w->is_granted) {
            output_string(out, "; expired ");
            output_time(out, w->deadline_then_ns);
        }
        say_by(out, w->is_granted ? "granted by" : "gone by", w->by);
    }
    output_drain(out);
}

static void print_came(struct diff_queues *q, const struct sm_queue_entry *e)
{
    struct output *out = &q->replay->out;
    struct by by = {e->seq, e->first_poll_ns, COMMAND_ACQUIRE};
    q->lines++;
    if (q->replay->options->json) {
        json_begin(out, e->type, e->state, e->request_id);
        output_string(out, ",\"from\":null");
        json_place(out, ",\"to\":", e->rank, e->first_poll_ns, e->deadline_ns);
        json_by(out, by);
        output_string(out, "}\n");
    } else {
        say_begin(out, e->type, e->state, ": came  ", e->request_id);
        output_format(out, "  rank %" PRIu32, e->rank);
        say_by(out, "by", by);
    }
    output_drain(out);
}

static void json_side(struct output *out, const char *before, const struct waiting *w, bool is_then)
{
    bool has_rank = w->rank != w->rank_then;
    output_string(out, before);
    if (has_rank) output_format(out, "\"rank\":%" PRIu32, is_then ? w->rank_then : w->rank);
    if (w->deadline_ns != w->deadline_then_ns)
        say_json_time(out, has_rank ? ",\"expires\":" : "\"expires\":",
                      is_then ? w->deadline_then_ns : w->deadline_ns);
    output_string(out, "}");
}

static void say_moved(struct output *out, const struct waiting *w)
{
    bool has_rank = w->rank != w->rank_then;
    say_begin(out, type_of(w), state_of(w), ": moved  ", id_of(w));
    if (has_rank) output_format(out, "  rank %" PRIu32 " -> %" PRIu32, w->rank, w->rank_then);
    if (w->deadline_ns == w->deadline_then_ns) return;
    output_string(out, has_rank ? ", expires " : "  expires ");
    output_time(out, w->deadline_ns);
    output_string(out, " -> ");
    output_time(out, w->deadline_then_ns);
}

// Ranks move when somebody ahead goes, ends when a request polls.
static void print_moved(struct diff_queues *q, const struct waiting *w)
{
    struct output *out = &q->replay->out;
    bool has_rank = w->rank != w->rank_then, has_end = w->deadline_ns != w->deadline_then_ns;
    struct by by = has_end ? w->by : (struct by){0};
    if (!has_rank && !has_end) return;
    if (has_rank && q->ahead.seq > by.seq) by = q->ahead;
    q->lines++;
    if (q->replay->options->json) {
        json_begin(out, type_of(w), state_of(w), id_of(w));
        json_side(out, ",\"from\":{", w, false);
        json_side(out, ",\"to\":{", w, true);
        json_by(out, by);
        output_string(out, "}\n");
    } else {
        say_moved(out, w);
        say_by(out, "last by", by);
    }
    output_drain(out);
}

// The first of its queue has nobody ahead; not so the first of a window that begins within one.
static bool is_first(const struct diff_queues *q, const struct waiting *w)
{
    struct text type = buffer_as_text(&q->from.type), state = buffer_as_text(&q->from.state);
    if (q->at > 0) {
        type = type_of(q->list[q->at - 1]);
        state = state_of(q->list[q->at - 1]);
    } else if (!q->from.is_set) {
        return true;
    }
    return !text_equal(type_of(w), type) || !text_equal(state_of(w), state);
}

static void print_next(struct diff_queues *q)
{
    const struct waiting *w = q->list[q->at];
    if (is_first(q, w)) q->ahead = (struct by){0};
    if (w->is_there) {
        print_moved(q, w);
    } else {
        print_went(q, w);
        if (w->by.seq > q->ahead.seq) q->ahead = w->by;
    }
    q->at++;
}

// What comes takes its place behind all that stay, so that the order of these never changes; it
// belongs to the window that has the last of the queue.
static bool print_entry(void *context, const struct sm_queue_entry *e)
{
    struct diff_queues *q = context;
    bool has_come = is_new(q, e);
    const struct waiting *w = NULL;
    if (!has_come) w = find(q, (struct place){e->type, e->state, e->request_id});
    if (has_come ? !is_wanted(q, e, RANK_BEHIND_ALL) : w == NULL) return true;
    while (q->at < q->count) {
        bool is_it = q->list[q->at] == w;
        if (compare_queue(q->list[q->at], e) > 0) break;
        print_next(q);
        if (is_it) return true;
    }
    if (has_come) print_came(q, e);
    return true;
}

uint64_t diff_queues_print(struct diff_queues *q, struct replay *r, struct walk *w)
{
    q->replay = r;
    q->at = 0;
    q->lines = 0;
    sm_queues(walk_state(w), q->now_ns, print_entry, q);
    while (q->at < q->count)
        print_next(q);
    return q->lines;
}
