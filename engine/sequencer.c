#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "engine/internal.h"
#include "engine/repair.h"

#include "base/banned.h"

// ---- the batch --------------------------------------------------------------

void batch_init(struct batch *b, uint64_t next_seq)
{
    *b = (struct batch){.next_seq = next_seq};
    buffer_init(&b->bytes);
    buffer_init(&b->row_bytes);
}

void batch_release(struct batch *b)
{
    buffer_release(&b->bytes);
    buffer_release(&b->row_bytes);
    free(b->slots);
    free(b->records);
    free(b->rows);
    free(b->row_offsets);
}

static struct slot *batch_slot(struct batch *b)
{
    if (b->count == b->capacity) {
        b->capacity = b->capacity == 0 ? 64 : b->capacity * 2;
        b->slots = must_realloc(b->slots, b->capacity * sizeof(b->slots[0]));
    }
    struct slot *slot = &b->slots[b->count++];
    *slot = (struct slot){0};
    return slot;
}

// Puts a command into the batch under the next sequence number.
static void batch_add(struct batch *b, struct engine_request *request, const struct command *c,
                      uint64_t time_ns)
{
    struct slot *slot = batch_slot(b);
    slot->request = request;
    slot->seq = b->next_seq++;
    slot->time_ns = time_ns;
    slot->kind = c->kind;
    slot->payload = b->bytes.size;
    command_encode(c, &b->bytes);
    slot->payload_size = b->bytes.size - slot->payload;
    b->commands++;
}

void batch_add_row(struct batch *b, uint64_t seq, const struct sm_result *r)
{
    if (b->rows_count == b->rows_capacity) {
        b->rows_capacity = b->rows_capacity == 0 ? 64 : b->rows_capacity * 2;
        b->rows = must_realloc(b->rows, b->rows_capacity * sizeof(b->rows[0]));
        b->row_offsets =
            must_realloc(b->row_offsets, (b->rows_capacity + 1ul) * sizeof(b->row_offsets[0]));
    }
    b->rows[b->rows_count].seq = seq;
    b->row_offsets[b->rows_count++] = b->row_bytes.size;
    sm_result_encode(r, &b->row_bytes);
    b->row_offsets[b->rows_count] = b->row_bytes.size;
}

// The rows' bytes stand still now: point to them.
static void batch_settle_rows(struct batch *b)
{
    for (uint32_t i = 0; i < b->rows_count; i++) {
        b->rows[i].bytes = text_of(b->row_bytes.data + b->row_offsets[i],
                                   b->row_offsets[i + 1] - b->row_offsets[i]);
    }
}

static uint32_t batch_settle_records(struct batch *b)
{
    if (b->commands > b->records_capacity) {
        b->records_capacity = b->commands;
        b->records = must_realloc(b->records, b->records_capacity * sizeof(b->records[0]));
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct slot *s = &b->slots[i];
        if (s->seq == 0) continue;
        b->records[count++] = (struct record){
            .seq = s->seq,
            .time_ns = s->time_ns,
            .kind = (uint16_t)s->kind,
            .semantics = command_semantics((enum command_kind)s->kind),
            .payload = text_of(b->bytes.data + s->payload, s->payload_size),
        };
    }
    return count;
}

static void batch_clear(struct batch *b)
{
    b->count = 0;
    b->commands = 0;
    if (b->bytes.capacity > BATCH_BYTES_KEPT)
        buffer_release(&b->bytes); // it had a config
    else
        buffer_clear(&b->bytes);
}

static void batch_clear_rows(struct batch *b)
{
    b->rows_count = 0;
    buffer_clear(&b->row_bytes);
}

// ---- commit and apply -------------------------------------------------------

void sequencer_failed(void *engine, int err, const struct journal_problem *problem)
{
    struct engine *e = engine;
    char why[WHY_BYTES], what[WHY_BYTES];
    snprintf(what, sizeof(what), "the journal cannot go on: %s (%s)", problem->text,
             boskos_error_text(err));
    if (err == BOSKOS_E_CORRUPT)
        engine_repair_advise(e->options.data_dir, what, why, sizeof(why));
    else
        snprintf(why, sizeof(why), "%s", what);
    e->options.fatal(e->options.context, err == BOSKOS_E_CORRUPT ? 4 : 1, why);
    ASSERT(false && "fatal does not return");
}

// Appends the batch's commands, and the rows of the batch before.
static int append(struct engine *e)
{
    struct batch *b = &e->batch;
    struct journal_problem problem = {0};
    if (e->journal == NULL) {
        batch_clear_rows(b);
        return 0;
    }
    uint32_t count = batch_settle_records(b);
    batch_settle_rows(b);
    uint64_t started_ns = clock_mono_ns(&e->options.clock);
    atomic_store(&e->counters.commit_since_ns, started_ns);
    int err = journal_append(e->journal, b->records, count, b->rows, b->rows_count, &problem);
    atomic_store(&e->counters.commit_since_ns, 0);
    if (err == BOSKOS_E_NOSPACE) return err;
    if (err != 0) sequencer_failed(e, err, &problem);
    histogram_add(&e->counters.commit_us,
                  (clock_mono_ns(&e->options.clock) - started_ns) / NS_PER_US);
    batch_clear_rows(b);
    return 0;
}

// Commands of our own are applied from their bytes: what they were made of may be gone by now.
static const struct command *command_of(struct engine *e, const struct slot *s,
                                        struct command *memory)
{
    if (s->request != NULL) {
        s->request->command->seq = s->seq;
        s->request->command->time_ns = s->time_ns;
        return s->request->command;
    }
    struct text payload = text_of(e->batch.bytes.data + s->payload, s->payload_size);
    int err = command_decode(e->decoder, s->kind, payload, memory);
    ASSERT(err == 0); // we have just encoded it
    memory->seq = s->seq;
    memory->time_ns = s->time_ns;
    return memory;
}

// Counts and logs a command of our own, now that it is durable.
static void note_own(struct engine *e, const struct slot *s)
{
    struct counters *c = &e->counters;
    switch ((enum command_kind)s->kind) {
    case COMMAND_CONFIG:
        atomic_fetch_add(&c->config_loads, 1);
        log_event(e->options.log, LOG_INFO, "the config changed", LOG_F_U64("seq", s->seq));
        config_free(e->config);
        e->config = NULL;
        command_decoder_clear(e->decoder);
        break;
    case COMMAND_REAP:
        atomic_fetch_add(&c->reaped, 1);
        log_event(e->options.log, LOG_INFO, "the reaper takes back abandoned leases",
                  LOG_F_U64("seq", s->seq));
        break;
    case COMMAND_CLEAN: atomic_fetch_add(&c->cleaned, 1); break;
    case COMMAND_CLOCK: atomic_fetch_add(&c->clock_jumps, 1); break;
    case COMMAND_ACQUIRE:
    case COMMAND_ACQUIREBYSTATE:
    case COMMAND_RELEASE:
    case COMMAND_UPDATE:
    case COMMAND_RESET:
    case COMMAND_EXPIRE:
    case COMMAND_STARTED:
    case COMMAND_REPAIRED:
    case COMMAND_IMPORT: break;
    }
}

static void apply_slot(struct engine *e, const struct slot *s)
{
    struct sm_result result;
    struct command memory;
    sm_apply(e->sm, command_of(e, s, &memory), &result);
    if (e->journal != NULL) batch_add_row(&e->batch, s->seq, &result);
    if (s->request != NULL) {
        s->request->done(s->request, 0, e->sm, &result, s->time_ns);
    } else {
        note_own(e, s);
    }
}

// A query sees the time of the last stamp.
static void answer_query(struct engine *e, const struct slot *s)
{
    s->request->done(s->request, 0, e->sm, NULL, e->time.last_ns);
}

static void refuse_batch(struct engine *e, int error)
{
    struct batch *b = &e->batch;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct slot *s = &b->slots[i];
        if (s->request == NULL) continue;
        if (s->seq == 0) {
            answer_query(e, s);
            continue;
        }
        // Counted first, as all figures are: who has the answer finds it in them.
        atomic_fetch_add(&e->counters.refused_nospace, 1);
        s->request->done(s->request, error, NULL, NULL, s->time_ns);
    }
    b->next_seq -= b->commands;
    batch_clear(b);
}

static void note_space(struct engine *e, bool is_full)
{
    if (is_full == e->is_full) return;
    e->is_full = is_full;
    atomic_store(&e->counters.is_full, is_full);
    if (is_full) {
        log_event(e->options.log, LOG_ERROR,
                  "the disk or the journal's map is full: commands are refused until there is room",
                  LOG_F_STRING("data_dir", e->options.data_dir));
    } else {
        log_event(e->options.log, LOG_WARNING, "there is room again: commands are served");
    }
}

// Sees to it that the disk has room before it is needed. When it has none, what is left is for the
// commands that give something back.
static void look_for_room(struct engine *e)
{
    struct journal_problem problem = {0};
    if (e->journal == NULL) return;
    bool has_reserve = !atomic_load(&e->has_no_reserve);
    if (journal_has_room(e->journal) && has_reserve == !e->is_low) return;
    uint64_t now_ns = clock_mono_ns(&e->options.clock);
    if (e->room_checked_ns != 0 && now_ns < e->room_checked_ns + ROOM_CHECK_NS) return;
    atomic_store(&e->counters.commit_since_ns, now_ns); // it may hang as a commit may
    int err = journal_make_room(e->journal, &problem);
    atomic_store(&e->counters.commit_since_ns, 0);
    if (err != 0 && err != BOSKOS_E_NOSPACE) sequencer_failed(e, err, &problem);
    bool is_low = err != 0 || !has_reserve;
    // Only where there was no more, or what there is are free pages, is the next look put off.
    e->room_checked_ns = is_low || !journal_has_room(e->journal) ? now_ns : 0;
    if (is_low == e->is_low) return;
    e->is_low = is_low;
    atomic_store(&e->counters.space_low, is_low);
    if (is_low) {
        log_event(e->options.log, LOG_ERROR,
                  "ALARM: the disk or the journal's map is nearly full: acquires are refused, the "
                  "room that is left is for release, update, reset and expiry",
                  LOG_F_STRING("problem",
                               err != 0 ? problem.text : "no room can be kept for a snapshot"));
    } else {
        log_event(e->options.log, LOG_WARNING, "there is room again: acquires are served");
    }
}

int sequencer_commit(struct engine *e)
{
    struct batch *b = &e->batch;
    struct counters *counters = &e->counters;
    if (b->commands > 0) {
        int err = append(e);
        note_space(e, err != 0);
        if (err != 0) {
            refuse_batch(e, err);
            return err;
        }
        atomic_fetch_add(&counters->commits, 1);
        atomic_fetch_add(&counters->commands, b->commands);
        histogram_add(&counters->batch_commands, b->commands);
        atomic_store(&counters->seq, b->next_seq - 1);
        e->ahead_ns = 0;
    }
    for (uint32_t i = 0; i < b->count; i++) {
        const struct slot *s = &b->slots[i];
        if (s->seq != 0) {
            apply_slot(e, s);
        } else {
            answer_query(e, s);
        }
    }
    batch_clear(b);
    return 0;
}

void sequencer_flush_rows(struct engine *e)
{
    if (e->journal != NULL && e->batch.rows_count > 0) append(e);
}

// ---- what time asks for -----------------------------------------------------

static void add_clock(struct engine *e, uint64_t time_ns, uint64_t ahead_ns)
{
    struct command c = {.kind = COMMAND_CLOCK, .as.clock = {.ahead_ns = ahead_ns}};
    batch_add(&e->batch, NULL, &c, time_ns);
}

static void watch_slew(struct engine *e, bool was_behind)
{
    atomic_store(&e->counters.clock_behind_ns, e->time.behind_ns);
    if (e->time.is_behind && !was_behind) {
        atomic_fetch_add(&e->counters.clock_jumps_back, 1);
        log_event(e->options.log, LOG_WARNING,
                  "the clock went back; logged time runs at half speed until it has caught up",
                  LOG_F_DURATION("behind", e->time.behind_ns));
    }
}

// The stamp of what comes next in the batch. A jump of the clock, whenever it happens, brings a
// `clock` command before whatever gets the new time.
static uint64_t stamp(struct engine *e)
{
    uint64_t ahead_ns;
    bool was_behind = e->time.is_behind;
    uint64_t time_ns = logged_time_now(&e->time, &ahead_ns);
    watch_slew(e, was_behind);
    if (ahead_ns > 0) {
        log_event(e->options.log, LOG_WARNING,
                  "the clock jumped ahead; leases and queues get grace",
                  LOG_F_DURATION("ahead", ahead_ns));
        e->ahead_ns += ahead_ns;
        add_clock(e, time_ns, ahead_ns);
    }
    return time_ns;
}

void sequencer_add_own(struct engine *e, const struct command *c)
{
    uint64_t time_ns = stamp(e);
    batch_add(&e->batch, NULL, c, time_ns);
}

// Adds `expire` when something is due. Dead queue entries alone bring one at most once a second.
static void add_expire(struct engine *e, uint64_t time_ns)
{
    bool sweep = sm_queue_due_ns(e->sm) < time_ns && time_ns >= e->swept_ns + SWEEP_PERIOD_NS;
    if (!sweep && sm_expiry_due_ns(e->sm) >= time_ns) return;
    struct command c = {.kind = COMMAND_EXPIRE};
    e->swept_ns = time_ns;
    batch_add(&e->batch, NULL, &c, time_ns);
}

static void add_reap(struct engine *e, uint64_t time_ns)
{
    if (time_ns >= e->reap_checked_ns + REAP_CHECK_NS) {
        e->reap_checked_ns = time_ns;
        e->reap_due_ns = sm_reap_due_ns(e->sm);
    }
    if (time_ns < e->reap_due_ns) return;
    struct command c = {.kind = COMMAND_REAP};
    e->reap_due_ns = SM_NEVER; // looked up anew after this one
    batch_add(&e->batch, NULL, &c, time_ns);
}

// Names that a resource to be cleaned holds, but that are not there to be given back, are logged;
// of very many only the first.
static void log_missing(struct engine *e, struct text name, const struct text *names, size_t count)
{
    uint32_t logged = 0;
    for (size_t i = 0; i < count && logged < CLEAN_LINES_MAX; i++) {
        struct sm_resource r;
        if (sm_find(e->sm, names[i], &r) == 0 && text_is_empty(r.owner) &&
            text_equal(r.state, name)) {
            continue;
        }
        atomic_fetch_add(&e->counters.leased_missing, 1);
        log_event(e->options.log, LOG_WARNING, "a leased resource is not there to be cleaned",
                  LOG_F_TEXT("resource", name), LOG_F_TEXT("leased", names[i]));
        logged++;
    }
}

static void add_clean(struct engine *e, const struct sm_cleanable *cleanable, uint64_t time_ns)
{
    struct text *names = NULL;
    size_t count = 0;
    int err = config_parse_names(cleanable->leased, &names, &count);
    if (err != 0) {
        atomic_fetch_add(&e->counters.leased_bad, 1);
        log_event(e->options.log, LOG_WARNING,
                  "leasedResources is no list of names; cleaning anyway",
                  LOG_F_TEXT("resource", cleanable->name));
    }
    log_missing(e, cleanable->name, names, count);
    struct command c = {.kind = COMMAND_CLEAN,
                        .as.clean = {.name = cleanable->name,
                                     .leased = cleanable->leased,
                                     .names = names,
                                     .names_count = (uint32_t)count}};
    batch_add(&e->batch, NULL, &c, time_ns);
    free(names);
}

// Adds a round of the cleaner. No requests go with it: on a full disk it must not take them with
// it. Returns whether it did.
static bool add_cleans(struct engine *e)
{
    if (!sm_cleaner_enabled(e->sm) || e->time.last_ns < e->cleaned_ns + CLEAN_PERIOD_NS) {
        return false;
    }
    uint64_t time_ns = stamp(e);
    const struct sm_cleanable *list;
    uint32_t count;
    e->cleaned_ns = time_ns;
    sm_cleanable(e->sm, CLEAN_ROUND_MAX, &list, &count);
    // Requests wait behind this: what is left has its turn in the next round.
    size_t bytes = 0;
    for (uint32_t i = 0; i < count && bytes < CLEAN_ROUND_BYTES; i++) {
        bytes += list[i].leased.size;
        add_clean(e, &list[i], time_ns);
    }
    return count > 0;
}

bool sequencer_add_config(struct engine *e, const struct config *config)
{
    struct command *c = config_command_new(config);
    struct buffer bytes;
    buffer_init(&bytes);
    command_encode(c, &bytes);
    bool is_new = !text_equal(buffer_as_text(&bytes), sm_config_bytes(e->sm));
    if (is_new) sequencer_add_own(e, c);
    buffer_release(&bytes);
    free(c);
    return is_new;
}

// Adds the config that waits. No requests go with it: one that is too large for the room that is
// left is tried again and again, and must not take them with it. Returns whether it did.
static bool add_waiting_config(struct engine *e)
{
    if (e->config == NULL) return false;
    if (e->config_tried_ns > 0 && e->time.last_ns < e->config_tried_ns + CONFIG_RETRY_NS) {
        return false;
    }
    e->config_tried_ns = e->time.last_ns;
    if (sequencer_add_config(e, e->config)) return true;
    config_free(e->config);
    e->config = NULL;
    return false;
}

// Begins a batch: what must come before the requests.
static void begin(struct engine *e)
{
    uint64_t refused_ns = e->ahead_ns; // of a `clock` for which there was no space
    uint64_t time_ns = stamp(e);
    if (refused_ns > 0) add_clock(e, time_ns, refused_ns);
    // Renews first: what is due is looked at again with the next batch.
    if (e->ahead_ns > 0) return;
    add_expire(e, time_ns);
    add_reap(e, time_ns);
}

// ---- the loop ---------------------------------------------------------------

// When something is due next, as a span from the last stamp; what the config asks for is looked at
// each second. It gives no stamp: a jump of the clock is for the next batch to see.
static uint64_t idle_ns(const struct engine *e)
{
    uint64_t time_ns = e->time.last_ns;
    uint64_t due = sm_expiry_due_ns(e->sm);
    uint64_t longest = NS_PER_S;
    if (due <= time_ns) return e->is_full ? longest : 1;
    if (e->journal != NULL && journal_is_trimming(e->journal) && !e->is_full) {
        longest = TRIM_PAUSE_NS;
    }
    return due - time_ns + 1 < longest ? due - time_ns + 1 : longest;
}

struct timespec wait_end(uint64_t span_ns)
{
    struct clock real = clock_system();
    uint64_t at = clock_mono_ns(&real) + span_ns;
    return (struct timespec){.tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S)};
}

// Waits for requests, a config, the end, or something due.
static void wait_for_work(struct engine *e)
{
    struct inbox *inbox = &e->inbox;
    struct timespec until = wait_end(idle_ns(e));
    pthread_mutex_lock(&inbox->lock);
    while (inbox->first == NULL && inbox->config == NULL && !inbox->is_stopping) {
        if (pthread_cond_timedwait(&inbox->wake, &inbox->lock, &until) != 0) break;
    }
    pthread_mutex_unlock(&inbox->lock);
}

// The chain of requests that waits; when *ret_stop is set no other will follow.
static struct engine_request *take(struct engine *e, bool *ret_stop)
{
    struct inbox *inbox = &e->inbox;
    pthread_mutex_lock(&inbox->lock);
    struct engine_request *first = inbox->first;
    inbox->first = inbox->last = NULL;
    struct config *config = inbox->config;
    inbox->config = NULL;
    *ret_stop = inbox->is_stopping;
    pthread_mutex_unlock(&inbox->lock);
    if (config != NULL) {
        config_free(e->config);
        e->config = config;
        e->config_tried_ns = 0;
    }
    return first;
}

static bool is_acquire(const struct command *c)
{
    return c->kind == COMMAND_ACQUIRE || c->kind == COMMAND_ACQUIREBYSTATE;
}

// Moves requests into the batch, up to its limits; returns what is left.
static struct engine_request *gather(struct engine *e, struct engine_request *first)
{
    struct batch *b = &e->batch;
    while (first != NULL && b->count < ENGINE_BATCH_COMMANDS_MAX &&
           b->bytes.size < ENGINE_BATCH_BYTES_MAX) {
        struct engine_request *r = first;
        first = r->next;
        if (r->command == NULL) {
            batch_slot(b)->request = r;
        } else if (e->is_low && is_acquire(r->command)) {
            atomic_fetch_add(&e->counters.refused_nospace, 1);
            r->done(r, BOSKOS_E_NOSPACE, NULL, NULL, e->time.last_ns);
        } else {
            uint64_t time_ns = stamp(e);
            batch_add(b, r, r->command, time_ns);
        }
    }
    return first;
}

// Lets the log be trimmed where the shadow wants it. Appends do it by and by; while there are none
// it has transactions of its own.
static void trim(struct engine *e)
{
    uint64_t before = atomic_load(&e->trim_before);
    if (e->journal == NULL || before == 0) return;
    journal_trim(e->journal, before);
    if (e->batch.commands == 0 && journal_is_trimming(e->journal)) append(e);
}

static void note_turn(struct engine *e)
{
    atomic_store(&e->counters.turn_ns, clock_mono_ns(&e->options.clock));
}

bool sequencer_step(struct engine *e)
{
    bool stop;
    struct engine_request *first = take(e, &stop);
    do {
        bool had_requests = first != NULL;
        note_turn(e);
        look_for_room(e);
        begin(e);
        if (!add_cleans(e) && !add_waiting_config(e)) first = gather(e, first);
        trim(e);
        sequencer_commit(e);
        if (had_requests) e->options.batch_done(e->options.context);
    } while (first != NULL);
    note_turn(e);
    return !stop;
}

void *sequencer_main(void *context)
{
    struct engine *e = context;
    do {
        wait_for_work(e);
    } while (sequencer_step(e));
    sequencer_flush_rows(e);
    return NULL;
}
