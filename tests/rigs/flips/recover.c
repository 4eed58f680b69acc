#include "tests/rigs/flips/flips.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"
#include "base/bytes.h"

#define COMMANDS 40 // that go on from there: enough to take free pages into use
#define LATER_MINUTES 100

_Noreturn static void end(int exit_code, const char *why)
{
    (void)dprintf(STDERR_FILENO, "recover: %s\n", why);
    _exit(exit_code);
}

static void add_u64(struct hash128_stream *s, uint64_t value)
{
    uint8_t bytes[8];
    bytes_put_u64(bytes, value);
    hash128_stream_add(s, bytes, sizeof(bytes));
}

// Everything in the log through a cursor. `started` has a random number in it: of it only the form.
static struct hash128 log_read(struct engine *e, uint64_t first, uint64_t last)
{
    struct journal_problem problem = {0};
    struct journal_cursor *c = NULL;
    struct record r;
    struct journal_row row;
    struct hash128_stream *s = hash128_stream_new();
    if (s == NULL) out_of_memory();
    int err = journal_cursor_open(e->journal, first, NULL, &c, &problem);
    for (uint64_t seq = first; err == 0 && seq <= last; seq++) {
        err = journal_cursor_next(c, &r, &row, &problem);
        if (err != 0) break;
        ASSERT(r.seq == seq);
        add_u64(s, r.seq);
        add_u64(s, r.time_ns);
        add_u64(s, r.kind);
        if (r.kind != COMMAND_STARTED) hash128_stream_add(s, r.payload.data, r.payload.size);
        hash128_stream_add(s, row.bytes.data, row.bytes.size);
    }
    if (err == BOSKOS_E_NOT_FOUND) end(1, "the log is shorter than it says");
    if (err != 0) end(err == BOSKOS_E_CORRUPT ? 4 : 1, problem.text);
    journal_cursor_close(c);
    struct hash128 value = hash128_stream_value(s);
    hash128_stream_free(s);
    return value;
}

static struct engine *open_one(const char *dir, uint64_t minute, struct engine_recovery *found)
{
    struct engine_options o;
    struct engine *e = NULL;
    char why[WHY_BYTES] = "";
    int exit_code = 0;
    flips_options(&o, dir, NULL, minute);
    int err = engine_open(&o, &e, found, why, sizeof(why), &exit_code);
    if (err != 0) end(exit_code, why);
    return e;
}

// Leases of new names and giving back, with values large enough for pages of their own.
static void go_on(struct engine *e)
{
    static char big[9000];
    for (int i = 0; i < COMMANDS; i++) {
        memset(big, 'A' + i % 26, sizeof(big));
        struct command get = {.kind = COMMAND_ACQUIRE};
        get.as.acquire = (struct command_acquire){.type = TEXT("t"),
                                                  .state = TEXT("free"),
                                                  .dest = TEXT("busy"),
                                                  .owner = TEXT("eve"),
                                                  .request_id = TEXT(""),
                                                  .key = TEXT("")};
        flips_submit(e, &get);
        struct command put = {.kind = COMMAND_RELEASE};
        put.as.release = (struct command_release){text_of(big, i % 4 == 0 ? 4000 : 40),
                                                  TEXT("free"), TEXT("eve")};
        flips_submit(e, &put);
    }
}

void flips_recover(const char *dir, struct found *ret_found)
{
    struct engine_recovery recovery;
    struct found f = {0};
    struct engine *e = open_one(dir, LATER_MINUTES, &recovery);
    f.seq = recovery.seq;
    f.first = journal_first(e->journal);
    f.digest = sm_digest(e->sm);
    f.log = log_read(e, f.first, f.seq);
    ASSERT(engine_start(e) == 0);
    go_on(e);
    engine_stop(e);
    struct engine_figures figures;
    engine_figures(e, &figures);
    if (figures.result_mismatches + figures.digest_mismatches > 0) end(1, "the shadow differs");
    engine_close(e);

    e = open_one(dir, LATER_MINUTES + 1, &recovery);
    f.after_seq = recovery.seq;
    f.after_digest = sm_digest(e->sm);
    f.after_log = log_read(e, f.first, f.after_seq);
    engine_close(e);
    *ret_found = f;
}
