#include "engine/import.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "engine/logged_time.h"
#include "engine/repair.h"
#include "journal/journal.h"

#include "base/banned.h"

#define HASH_SEED 1u // any: what is in a dump was not sent by clients of this program

// The record and its row, each in a transaction of its own as everywhere.
static int append(struct journal *j, struct command *c, struct text payload,
                  struct journal_problem *problem)
{
    struct sm_result result;
    struct sm *sm = sm_new(HASH_SEED);
    struct buffer bytes;
    buffer_init(&bytes);
    struct record record = {.seq = c->seq,
                            .time_ns = c->time_ns,
                            .kind = (uint16_t)c->kind,
                            .semantics = command_semantics(c->kind),
                            .payload = payload};
    int err = journal_append(j, &record, 1, NULL, 0, problem);
    if (err != 0) goto out;
    sm_apply(sm, c, &result);
    sm_result_encode(&result, &bytes);
    struct journal_row row = {.seq = c->seq, .bytes = buffer_as_text(&bytes)};
    err = journal_append(j, NULL, 0, &row, 1, problem);
    if (err == BOSKOS_E_NOSPACE) err = 0; // a row that is missing is made again by the next start
out:
    buffer_release(&bytes);
    sm_free(sm);
    return err;
}

// What was encoded is decoded before it is appended: what recovery could not read must not get
// there.
static int append_checked(struct journal *j, const struct engine_import_options *o,
                          const struct command_import *import, struct journal_problem *problem)
{
    struct logged_time time;
    struct command c = {.kind = COMMAND_IMPORT, .as.import = *import}, again;
    struct command_decoder *decoder = command_decoder_new();
    struct buffer bytes;
    buffer_init(&bytes);
    command_encode(&c, &bytes);
    int err = command_decode(decoder, COMMAND_IMPORT, buffer_as_text(&bytes), &again);
    ASSERT(err == 0); // who read the dump sees to it
    logged_time_init(&time, o->clock, 0);
    again.seq = journal_end(j);
    again.time_ns = time.last_ns;
    err = append(j, &again, buffer_as_text(&bytes), problem);
    buffer_release(&bytes);
    command_decoder_free(decoder);
    return err;
}

int engine_import(const struct engine_import_options *options, const struct command_import *import,
                  char *why, size_t why_size, int *ret_exit_code)
{
    struct journal *j = NULL;
    struct journal_problem problem = {0};
    struct journal_options o = {.dir = options->data_dir,
                                .map_bytes = options->map_bytes,
                                .lock_wait_ms = JOURNAL_LOCK_WAIT_MS_DEFAULT,
                                .damaged = options->damaged,
                                .noticed = options->noticed,
                                .context = options->context};
    int err = journal_open(&o, &j, &problem);
    if (err == 0 && journal_end(j) != 1) {
        err = BOSKOS_E_IN_USE;
        snprintf(problem.text, sizeof(problem.text),
                 "%s/journal has commands already, the last one is %" PRIu64
                 "; an import needs a data folder of its own: choose another --data-dir",
                 options->data_dir, journal_end(j) - 1);
    }
    if (err == 0) err = append_checked(j, options, import, &problem);
    journal_close(j);
    if (err == 0) return 0;
    if (err == BOSKOS_E_CORRUPT)
        engine_repair_advise(options->data_dir, problem.text, why, why_size);
    else
        snprintf(why, why_size, "%s", problem.text);
    *ret_exit_code = err == BOSKOS_E_CORRUPT ? 4 : err == BOSKOS_E_NOMEM ? 5 : 1;
    return err;
}
