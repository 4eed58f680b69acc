// why: how a command came to end as it did. Here is what all kinds of commands have in common; the
// rest is in why_acquire.c, why_lease.c, why_take.c, why_config.c and why_time.c.
#include "replay/why.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "replay/entry.h"
#include "wire/wire.h"

#include "base/banned.h"

#define TRIES_MAX 3u          // of reading a log that is being trimmed
#define PROGRESS_EVERY 65536u // records

// ---- the head and the tail ------------------------------------------------------

static const char *reason_name(enum sm_reason reason)
{
    switch (reason) {
    case SM_OK: return "ok";
    case SM_NO_AVAILABLE: return "no-available";
    case SM_NO_SUCH_TYPE: return "no-such-type";
    case SM_NO_SUCH_RESOURCE: return "no-such-resource";
    case SM_OWNER_MISMATCH: return "owner-mismatch";
    case SM_STATE_MISMATCH: return "state-mismatch";
    case SM_QUEUE_FULL: return "queue-full";
    case SM_QUEUES_FULL: return "queues-full";
    case SM_USERDATA_TOO_LARGE: return "userdata-too-large";
    case SM_KEY_MISMATCH: return "key-mismatch";
    }
    return "ok";
}

static const char *const outcome_names[] = {[OUTCOME_GRANTED] = "granted",
                                            [OUTCOME_REPEATED] = "repeated",
                                            [OUTCOME_REFUSED] = "refused",
                                            [OUTCOME_DONE] = "done"};

static void say_request(struct why *y)
{
    const char *id = y->r->options->request;
    if (id == NULL) return;
    struct output *out = y->out;
    if (y->is_json) {
        say_json_text(out, ",\"request\":{\"id\":", text_from(id));
        say_json_number(out, ",\"acquires\":", y->request.count);
        say_json_number(out, ",\"first\":{\"seq\":", y->request.first_seq);
        say_json_time(out, ",\"time\":", y->request.first_time_ns);
        output_string(out, "}}");
        return;
    }
    output_string(out, "request ");
    output_word(out, text_from(id));
    output_string(out, ": ");
    say_count(out, y->request.count, "acquire is kept", "acquires are kept");
    if (y->request.count > 1) {
        output_string(out, ", the first one ");
        say_command(out, y->request.first_seq, y->request.first_time_ns);
        output_string(out, "; this is the last one");
    }
    output_string(out, "\n");
}

void why_say_head(struct why *y, enum outcome outcome, enum sm_reason reason)
{
    struct output *out = y->out;
    const struct command *c = &y->step->command;
    if (y->is_json) {
        entry_json_head(out, c);
        if (entry_has_client(c)) say_json_number(out, ",\"status\":", sm_reason_status(reason));
        output_format(out, ",\"outcome\":\"%s\",\"reason\":\"%s\"", outcome_names[outcome],
                      reason_name(reason));
        say_request(y);
        return;
    }
    say_request(y);
    say_command(out, y->seq, y->time_ns);
    output_format(out, ": %s", command_kind_name(c->kind));
    size_t size = out->line.size;
    output_string(out, " ");
    wire_text_params(c, &out->line);
    if (out->line.size == size + 1) out->line.size = size; // it has none
    output_string(out, "\n");
    output_colour(out, outcome == OUTCOME_REFUSED ? COLOUR_RED : COLOUR_GREEN);
    output_string(out, outcome_names[outcome]);
    output_colour(out, COLOUR_NONE);
    if (entry_has_client(c)) output_format(out, ", %" PRIu32, sm_reason_status(reason));
    output_string(out, ": ");
}

// What a config changes can be everything: it is written out as it goes, where that may be.
static void say_tail(struct why *y, struct said said, bool may_drain)
{
    if (y->is_json)
        entry_json_effects(y->out, y->walk, may_drain);
    else
        say_changes(y->out, y->walk, said);
}

void why_say_tail(struct why *y, struct said said)
{
    say_tail(y, said, true);
}

static bool is_of(const void *context, const struct sm_change *change)
{
    return text_equal(change->name, *(const struct text *)context);
}

struct said why_said_of(const struct text *name)
{
    return (struct said){is_of, name};
}

void why_keep_tail(struct why *y, struct said said, struct buffer *tail)
{
    struct buffer *line = &y->out->line;
    size_t before = line->size;
    say_tail(y, said, false);
    buffer_append(tail, line->data + before, line->size - before);
    line->size = before;
}

int why_find_leases(struct why *y, struct leases *l)
{
    walk_close(y->walk); // one state at a time
    y->walk = NULL;
    y->step = NULL;
    return leases_begin(y->r, l, y->seq - 1, 0);
}

int why_config_in_force(struct why *y, struct command_decoder *decoder, struct command *ret_config)
{
    struct sm *sm = walk_state(y->walk);
    struct command none = {.kind = COMMAND_CONFIG};
    if (!sm_has_config(sm)) {
        *ret_config = none;
        return 0;
    }
    int err = command_decode(decoder, COMMAND_CONFIG, sm_config_bytes(sm), ret_config);
    return err == 0 ? 0 : replay_fail(y->r, err, "the config of the state cannot be decoded");
}

int why_apply(struct why *y)
{
    return walk_next(y->walk, &y->step, &y->r->problem);
}

// ---- which command ----------------------------------------------------------------

static int note_acquire(struct why *y, struct command_decoder *decoder, const struct record *record,
                        const struct journal_row *row,
                        void (*each)(void *context, const struct command *c,
                                     const struct journal_row *row),
                        void *context)
{
    struct command c;
    if (record->kind != COMMAND_ACQUIRE) return 0;
    int err = command_decode(decoder, record->kind, record->payload, &c);
    if (err != 0)
        return replay_fail(y->r, BOSKOS_E_CORRUPT, "%s%s: record %" PRIu64 " is no acquire",
                           source_name(y->r->source),
                           source_journal(y->r->source) != NULL ? "/journal/data.mdb" : "",
                           record->seq);
    c.seq = record->seq;
    c.time_ns = record->time_ns;
    each(context, &c, row);
    return 0;
}

int why_each_acquire(struct why *y, uint64_t from, uint64_t to,
                     void (*each)(void *context, const struct command *c,
                                  const struct journal_row *row),
                     void *context)
{
    struct replay *r = y->r;
    struct source_cursor *cursor = NULL;
    struct record record;
    struct journal_row row;
    if (from > to) return 0;
    struct command_decoder *decoder = command_decoder_new();
    int err = source_cursor_open(r->source, from, NULL, &cursor, &r->problem);
    progress_begin(&r->progress, "records");
    for (uint64_t seq = from; seq <= to && err == 0; seq++) {
        err = source_cursor_next(cursor, &record, &row, &r->problem);
        if (err == 0) err = note_acquire(y, decoder, &record, &row, each, context);
        if (seq % PROGRESS_EVERY == 0) progress_said(&r->progress, seq - from, to - from + 1);
    }
    progress_end(&r->progress);
    source_cursor_close(cursor);
    command_decoder_free(decoder);
    return err;
}

struct request_search {
    struct why *y;
    struct text id;
    uint64_t last;
};

static void note_request(void *context, const struct command *c, const struct journal_row *row)
{
    struct request_search *s = context;
    (void)row;
    if (!text_equal(c->as.acquire.request_id, s->id)) return;
    if (s->y->request.count++ == 0) {
        s->y->request.first_seq = c->seq;
        s->y->request.first_time_ns = c->time_ns;
    }
    s->last = c->seq;
}

static int search_log(struct request_search *s)
{
    const struct source_span *span = &s->y->r->span;
    return why_each_acquire(s->y, span->oldest + 1, span->last, note_request, s);
}

// The last acquire of a request. A daemon may trim the log behind what was just looked at.
static int find_request(struct why *y, uint64_t *ret_seq)
{
    struct replay *r = y->r;
    struct request_search s = {.y = y, .id = text_from(r->options->request)};
    int err = text_is_empty(s.id) ? 0 : search_log(&s);
    for (uint32_t i = 1; i < TRIES_MAX && err == BOSKOS_E_TRIMMED; i++) {
        s.last = 0;
        y->request.count = 0;
        err = source_look(r->source, &r->span, &r->problem);
        if (err == 0) err = search_log(&s);
    }
    if (err != 0) return err;
    if (s.last == 0)
        return replay_fail(r, BOSKOS_E_NOT_FOUND, "there is no acquire of the request %s",
                           r->options->request);
    *ret_seq = s.last;
    return 0;
}

static int find_seq(struct why *y, uint64_t *ret_seq)
{
    struct replay *r = y->r;
    struct point p = {0};
    if (r->options->request != NULL) return find_request(y, ret_seq);
    bool is_point = point_parse(r->options->arguments[0], &p);
    ASSERT(is_point && p.kind == POINT_SEQ); // options.c sees to it
    if (p.seq == 0 || p.seq > r->span.last)
        return replay_fail(r, BOSKOS_E_NOT_FOUND,
                           "there is no command %" PRIu64 ": the last is %" PRIu64, p.seq,
                           r->span.last);
    if (p.seq <= r->span.oldest)
        return replay_fail(r, BOSKOS_E_TRIMMED, "the state before %" PRIu64 " is no longer kept",
                           p.seq);
    *ret_seq = p.seq;
    return 0;
}

static int explain(struct why *y)
{
    switch (y->step->command.kind) {
    case COMMAND_ACQUIRE: return why_acquire(y);
    case COMMAND_ACQUIREBYSTATE: return why_acquirebystate(y);
    case COMMAND_RELEASE: return why_release(y);
    case COMMAND_UPDATE: return why_update(y);
    case COMMAND_RESET: return why_reset(y);
    case COMMAND_CONFIG: return why_config(y);
    case COMMAND_EXPIRE: return why_expire(y);
    case COMMAND_REAP: return why_reap(y);
    case COMMAND_CLEAN: return why_clean(y);
    case COMMAND_CLOCK:
    case COMMAND_STARTED:
    case COMMAND_REPAIRED: return why_grace(y);
    case COMMAND_IMPORT: return why_import(y);
    }
    ASSERT(false && "a kind that exists");
    return BOSKOS_E_MALFORMED;
}

int replay_why(struct replay *r)
{
    struct why y = {.r = r, .out = &r->out, .is_json = r->options->json};
    int err = find_seq(&y, &y.seq);
    if (err == 0) err = replay_walk(r, y.seq - 1, &y.walk);
    if (err != 0) return err;
    walk_trace(y.walk);
    err = walk_peek(y.walk, &y.step, &r->problem);
    if (err == 0) {
        y.time_ns = y.step->record.time_ns;
        err = explain(&y);
    }
    walk_close(y.walk);
    return err;
}
