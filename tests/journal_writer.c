#include "tests/journal_writer.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "tests/test_journal.h"

#include "base/banned.h"

#define PART 200 // records appended at once
#define STEP_BYTES_AHEAD (256u * 1024)
#define STRAIGHT 700 // records that do not fit into half of AHEAD

struct message {
    enum writer_order order;
    uint64_t number;
};

static int append_one(struct journal *j, uint64_t time_ns, struct text payload)
{
    struct record r = {.seq = journal_end(j),
                       .time_ns = time_ns != 0 ? time_ns : 1000 + journal_end(j),
                       .kind = 7,
                       .semantics = 3,
                       .payload = payload};
    struct journal_row row = {r.seq, TEXT("row")};
    int err = journal_append(j, &r, 1, NULL, 0, NULL);
    return err != 0 ? err : journal_append(j, NULL, 0, &row, 1, NULL);
}

static int append_with_rows(struct journal *j, uint64_t count)
{
    int err = 0;
    while (count > 0 && err == 0) {
        uint64_t part = count < PART ? count : PART, from = journal_end(j);
        struct journal_row rows[PART];
        err = append_numbered(j, part, NULL);
        for (uint64_t i = 0; i < part; i++)
            rows[i] = (struct journal_row){from + i, TEXT("row")};
        if (err == 0) err = journal_append(j, NULL, 0, rows, part, NULL);
        count -= part;
    }
    return err;
}

static int append_large(struct journal *j, uint64_t bytes)
{
    char *payload = calloc(1, bytes);
    if (payload == NULL) return BOSKOS_E_NOMEM;
    int err = append_one(j, 0, text_of(payload, (size_t)bytes));
    free(payload);
    return err;
}

static int trim(struct journal *j, uint64_t before)
{
    int err = 0;
    journal_trim(j, before);
    while (journal_is_trimming(j) && err == 0)
        err = journal_append(j, NULL, 0, NULL, 0, NULL);
    return err;
}

static int snapshot(struct journal *j, uint64_t seq)
{
    struct journal_snapshot about = {.seq = seq};
    struct journal_snapshot_writer *w = NULL;
    int err = journal_snapshot_begin(j, &about, &w, NULL);
    if (err == 0) err = journal_snapshot_add(w, "state", 5);
    return err != 0 ? err : journal_snapshot_commit(w, NULL);
}

static int repair(const struct journal_options *options, uint64_t keep)
{
    struct journal *old = NULL, *built = NULL;
    const struct record before = {0};
    char *kept = NULL;
    int err = journal_damaged_open(options, &old, NULL);
    if (err == 0) err = journal_build(old, &before, &built, NULL);
    if (err == 0) err = append_with_rows(built, keep);
    if (err == 0) err = append_one(built, 1001 + keep, TEXT("repaired"));
    if (err == 0) err = journal_build_end(built, NULL);
    if (err == 0) err = journal_swap(old, keep, &kept, NULL);
    journal_close(old);
    free(kept);
    return err;
}

static int come_and_go(const struct journal_options *options, uint64_t rounds)
{
    int err = 0;
    for (uint64_t i = 0; i < rounds && err == 0; i++) {
        struct journal *j = NULL;
        struct journal_compaction c;
        err = journal_open(options, &j, NULL);
        if (err == 0) err = append_with_rows(j, 1 + i % 3);
        if (err == 0 && i % 5 == 4) err = trim(j, journal_end(j) - 2);
        journal_close(j);
        if (err == 0 && i % 7 == 6) err = journal_compact(options, NULL, &c, NULL);
    }
    return err;
}

static int lock_and_open(struct journal_options *options, uint64_t ms, struct journal **j)
{
    const struct timespec pause = {.tv_nsec = (long)(ms * NS_PER_MS)};
    (void)nanosleep(&pause, NULL);
    journal_close(*j);
    *j = NULL;
    return journal_open(options, j, NULL);
}

static int open_ahead(struct journal_options *options, struct journal **j)
{
    options->step_bytes = STEP_BYTES_AHEAD;
    options->ahead = true;
    int err = journal_open(options, j, NULL);
    return err != 0 ? err : journal_make_room(*j, NULL);
}

// Each batch has the rows of the one before, as the daemon's have.
static int append_ahead(struct journal *j, uint64_t count, uint64_t *rows_from)
{
    uint64_t from = journal_end(j), rows_count = from - *rows_from;
    struct record *records = calloc(count, sizeof(*records));
    struct journal_row *rows = calloc(rows_count + 1, sizeof(*rows));
    char(*payloads)[32] = calloc(count, sizeof(*payloads));
    if (records == NULL || rows == NULL || payloads == NULL) abort();
    for (uint64_t i = 0; i < count; i++) {
        int size = snprintf(payloads[i], sizeof(payloads[i]), "record %" PRIu64, from + i);
        records[i] = (struct record){.seq = from + i,
                                     .time_ns = 1000 + from + i,
                                     .kind = 7,
                                     .semantics = 3,
                                     .payload = text_of(payloads[i], (size_t)size)};
    }
    for (uint64_t i = 0; i < rows_count; i++)
        rows[i] = (struct journal_row){*rows_from + i, TEXT("row")};
    int err = journal_append(j, records, count, rows, rows_count, NULL);
    if (err == 0) *rows_from = from;
    free(records);
    free(rows);
    free(payloads);
    return err;
}

static int run_ahead(struct journal *j, uint64_t batches, _Atomic uint64_t *acknowledged)
{
    uint64_t random = journal_end(j), rows_from = journal_rows_end(j);
    int err = 0;
    for (uint64_t i = 0; i < batches && err == 0; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        err = journal_make_room(j, NULL);
        if (err == 0)
            err = append_ahead(j, i % 50 == 49 ? STRAIGHT : 1 + (random >> 33) % 40, &rows_from);
        if (err == 0) atomic_store(acknowledged, journal_end(j) - 1);
        if (err == 0 && (random >> 50) % 8 == 0) err = journal_drain(j, NULL);
    }
    return err;
}

static int obey(struct journal_options *options, struct journal **j, struct message m,
                _Atomic uint64_t *acknowledged)
{
    struct journal_compaction c;
    switch (m.order) {
    case OPEN: options->map_bytes = m.number; return journal_open(options, j, NULL);
    case APPEND: return append_with_rows(*j, m.number);
    case APPEND_LARGE: return append_large(*j, m.number);
    case APPEND_TIME: return append_one(*j, m.number, TEXT("timed"));
    case TRIM: return trim(*j, m.number);
    case SNAPSHOT: return snapshot(*j, m.number);
    case COMPACT: return journal_compact(options, NULL, &c, NULL);
    case LOCK: return journal_damaged_open(options, j, NULL);
    case LOCK_AND_OPEN: return lock_and_open(options, m.number, j);
    case REPAIR: return repair(options, m.number);
    case COME_AND_GO: return come_and_go(options, m.number);
    case OPEN_AHEAD: options->map_bytes = m.number; return open_ahead(options, j);
    case DRAIN: return journal_drain(*j, NULL);
    case RUN_AHEAD: return run_ahead(*j, m.number, acknowledged);
    case CLOSE:
    case END:
        journal_close(*j);
        *j = NULL;
        return 0;
    }
    return 0;
}

static void writer_main(const char *dir, int from, int to, _Atomic uint64_t *acknowledged)
{
    struct journal_options options = {.dir = dir,
                                      .map_bytes = MAP_BYTES,
                                      .step_bytes = 64 * 1024,
                                      .lock_wait_ms = JOURNAL_LOCK_WAIT_MS_DEFAULT};
    struct journal *j = NULL;
    struct message m;
    while (read(from, &m, sizeof(m)) == (ssize_t)sizeof(m)) {
        int err = obey(&options, &j, m, acknowledged);
        if (write(to, &err, sizeof(err)) != (ssize_t)sizeof(err) || m.order == END) break;
    }
    _exit(0);
}

struct writer writer_start(const char *dir)
{
    int orders[2], answers[2];
    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(answers), 0);
    void *shared =
        mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    struct writer w = {.to = orders[1], .from = answers[0], .acknowledged = shared};
    w.pid = fork();
    assert_true(w.pid >= 0);
    if (w.pid == 0) {
        (void)close(orders[1]);
        (void)close(answers[0]);
        writer_main(dir, orders[0], answers[1], w.acknowledged);
    }
    (void)close(orders[0]);
    (void)close(answers[1]);
    return w;
}

void writer_order(struct writer *w, enum writer_order order, uint64_t number)
{
    struct message m = {.order = order, .number = number};
    assert_int_equal(write(w->to, &m, sizeof(m)), sizeof(m));
}

bool writer_has_answered(const struct writer *w)
{
    struct pollfd answer = {.fd = w->from, .events = POLLIN};
    return poll(&answer, 1, 0) == 1;
}

int writer_answer(struct writer *w)
{
    int err = -1;
    assert_int_equal(read(w->from, &err, sizeof(err)), sizeof(err));
    return err;
}

void must(struct writer *w, enum writer_order order, uint64_t number)
{
    writer_order(w, order, number);
    int err = writer_answer(w);
    if (err != 0) fail_msg("the writer failed at order %d: %s", (int)order, boskos_error_text(err));
}

void writer_end(struct writer *w, bool is_killed)
{
    if (is_killed)
        (void)kill(w->pid, SIGKILL);
    else
        must(w, END, 0);
    (void)waitpid(w->pid, NULL, 0);
    (void)close(w->to);
    (void)close(w->from);
    (void)munmap((void *)(uintptr_t)w->acknowledged, sizeof(uint64_t));
}
