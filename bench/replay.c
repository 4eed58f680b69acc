// replay: how long one thread needs to replay a journal with all checks.
//
// It goes the way recovery goes: the newest good snapshot, then each record after it, with its
// checksum, its result and its digest verified; and it does nothing else. That is what a start of
// the daemon on the same folder is held against (bench/run.py). The folder is not changed.
// `commands_per_second` is without the time to open the journal and to load the snapshot, which is
// `load_seconds`.
#include "bench/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/recovery.h"

#include "base/banned.h"

struct replayed {
    uint64_t snapshot_seq;
    uint64_t commands;  // after the snapshot
    uint64_t compared;  // of them, with a stored row to compare with
    uint64_t resources; // at the end
    uint64_t load_ns;   // to open the journal and load the snapshot
    uint64_t took_ns;   // in all
};

static int replay_tail(struct journal *j, struct sm *sm, const struct hash128 *chain,
                       struct replayed *r, struct journal_problem *problem)
{
    struct command_decoder *decoder = command_decoder_new();
    struct journal_cursor *cursor = NULL;
    struct buffer scratch;
    buffer_init(&scratch);
    int err = journal_cursor_open(j, r->snapshot_seq + 1, chain, &cursor, problem);
    while (err == 0) {
        struct record record;
        struct journal_row row;
        struct sm_result result;
        enum replay_match match = REPLAY_NO_ROW;
        recovery_expect(sm, cursor);
        err = journal_cursor_next(cursor, &record, &row, problem);
        if (err != 0) break;
        err = recovery_step(sm, decoder, &scratch, &record, &row, &result, &match, problem);
        if (err != 0) break;
        r->commands++;
        if (match == REPLAY_NO_ROW) continue;
        r->compared++;
        if (match == REPLAY_SAME) continue;
        problem->seq = record.seq;
        snprintf(problem->text, sizeof(problem->text), "replaying gives another %s",
                 match == REPLAY_DIGEST ? "digest" : "result");
        err = BOSKOS_E_CORRUPT;
    }
    if (err == BOSKOS_E_NOT_FOUND && cursor != NULL) err = 0; // the end of the log
    journal_cursor_close(cursor);
    buffer_release(&scratch);
    command_decoder_free(decoder);
    return err;
}

static int replay(const char *dir, struct replayed *ret_replayed, struct journal_problem *problem)
{
    struct replayed r = {0};
    struct journal *j = NULL;
    struct sm *sm = NULL;
    struct hash128 chain;
    struct clock clock = clock_system();
    struct log log = {.fd = STDERR_FILENO, .level = LOG_ERROR, .clock = clock};
    struct journal_options options = {.dir = dir};
    uint64_t started_ns = clock_mono_ns(&clock);
    int err = journal_open_read(&options, &j, problem);
    if (err != 0) return err;
    err = recovery_load(j, UINT64_MAX, 1, &log, &sm, &r.snapshot_seq, &chain, NULL, problem);
    if (err != 0) goto out;
    r.load_ns = clock_mono_ns(&clock) - started_ns;
    err = replay_tail(j, sm, r.snapshot_seq > 0 ? &chain : NULL, &r, problem);
    if (err != 0) goto out;
    r.took_ns = clock_mono_ns(&clock) - started_ns;
    r.resources = sm_resources_count(sm);
    *ret_replayed = r;
out:
    sm_free(sm);
    journal_close(j);
    return err;
}

int command_replay(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-') {
        complain("usage: replay DIR");
        return 2;
    }
    struct replayed r;
    struct journal_problem problem = {0};
    int err = replay(argv[1], &r, &problem);
    if (err != 0) {
        complain("record %" PRIu64 ": %s (%s)", problem.seq, problem.text, boskos_error_text(err));
        return 1;
    }
    double seconds = (double)r.took_ns / (double)NS_PER_S;
    double load = (double)r.load_ns / (double)NS_PER_S;
    printf("{\"commands\": %" PRIu64 ", \"compared\": %" PRIu64 ", \"snapshot\": %" PRIu64
           ", \"resources\": %" PRIu64 ", \"seconds\": %.6f, \"load_seconds\": %.6f"
           ", \"commands_per_second\": %.0f}\n",
           r.commands, r.compared, r.snapshot_seq, r.resources, seconds, load,
           seconds > load ? (double)r.commands / (seconds - load) : 0);
    return 0;
}
