// replay_rows [--stored] DIR: the result rows of the data folder DIR, one a line, without any
// comparing: what planted.py holds `boskos-replay verify` against. Without --stored they are made
// anew: every command of the log, which must begin with the first, is applied by the state machine
// that this program is linked with. With it they are as they are kept.
//
// A line has, separated by tabs: sequence number, the row's bytes counted, status, reason,
// resource, effect, digest. Of a row that has not the form of one there are the first two only, of
// one that is missing the number 0 in their second place.
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "journal/journal.h"
#include "statemachine/canonical.h"
#include "statemachine/state_machine.h"

#include "base/banned.h"

#define HASH_SEED 3u // any: nothing of it can be seen
#define DIGEST_BYTES 16u

// The digest is printed as its bytes are, so that nobody's idea of their order enters.
static void print_row(uint64_t seq, struct text bytes)
{
    struct canonical_reader reader = canonical_reader_of(bytes);
    canonical_expect_array(&reader, 5);
    uint64_t status = canonical_read_u64(&reader);
    uint64_t reason = canonical_read_u64(&reader);
    struct text resource = canonical_read_text(&reader);
    uint64_t effect = canonical_read_u64(&reader);
    (void)canonical_read_hash(&reader);
    printf("%" PRIu64 "\t%" PRIu32, seq, bytes.size);
    if (canonical_done(&reader)) {
        printf("\t%" PRIu64 "\t%" PRIu64 "\t%.*s\t%" PRIu64 "\t", status, reason,
               TEXT_ARG(resource), effect);
        for (uint32_t i = bytes.size - DIGEST_BYTES; i < bytes.size; i++)
            printf("%02x", (unsigned)(uint8_t)bytes.data[i]);
    }
    putchar('\n');
}

static int print_made(struct sm *sm, struct command_decoder *decoder, const struct record *record)
{
    struct command c;
    struct sm_result result;
    struct buffer bytes;
    int err = command_decode(decoder, record->kind, record->payload, &c);
    if (err != 0) {
        fprintf(stderr, "record %" PRIu64 " is no command\n", record->seq);
        return err;
    }
    c.seq = record->seq;
    c.time_ns = record->time_ns;
    buffer_init(&bytes);
    sm_apply(sm, &c, &result);
    sm_result_encode(&result, &bytes);
    print_row(record->seq, buffer_as_text(&bytes));
    buffer_release(&bytes);
    return 0;
}

static int print_all(struct journal *j, bool stored, struct journal_problem *problem)
{
    struct sm *sm = sm_new(HASH_SEED);
    struct command_decoder *decoder = command_decoder_new();
    struct journal_cursor *cursor = NULL;
    int err = journal_cursor_open(j, 1, NULL, &cursor, problem);
    for (uint64_t seq = 1; err == 0 && seq < journal_end(j); seq++) {
        struct record record;
        struct journal_row row;
        err = journal_cursor_next(cursor, &record, &row, problem);
        if (err != 0) break;
        ASSERT(record.seq == seq);
        if (!stored)
            err = print_made(sm, decoder, &record);
        else
            print_row(seq, row.seq == 0 ? TEXT_NONE : row.bytes);
    }
    journal_cursor_close(cursor);
    command_decoder_free(decoder);
    sm_free(sm);
    return err;
}

int main(int argc, char **argv)
{
    bool stored = argc == 3 && text_equal(text_from(argv[1]), TEXT("--stored"));
    if ((argc != 2 && !stored) || argv[argc - 1][0] == '-') {
        fputs("usage: replay_rows [--stored] DIR\n", stderr);
        return 2;
    }
    struct journal_options options = {.dir = argv[argc - 1], .must_exist = true};
    struct journal_problem problem = {0};
    struct journal *j = NULL;
    int err = journal_open_read(&options, &j, &problem);
    if (err == 0) {
        err = print_all(j, stored, &problem);
        journal_close(j);
    }
    if (err != 0) fprintf(stderr, "%s (%s)\n", problem.text, boskos_error_text(err));
    return err == 0 && fflush(stdout) == 0 ? 0 : 1;
}
