// Tests of an open that looks at most leaves of data.mdb only when a cursor comes to them: whatever
// is damaged, it comes to what an open comes to that looks at all pages at once, LMDB meets nothing
// that it would end over, and nothing is written before all is looked at.
#include "tests/test_journal.h"

#include <sys/wait.h>

#include "base/assert.h"

#include "base/banned.h"

#define RECORDS 6000u
#define BATCH 500u
#define LARGE_EVERY 97u // records that lie on pages of their own
#define LARGE_BYTES 5000u
#define TRIMMED 800u
#define MUTATIONS 1500u
#define PAIRS 1500u
#define STEP_BYTES (1u << 20)
#define HEAD_BYTES 64u // of a page, where most is that others depend on

static uint64_t random_below(uint64_t *random, uint64_t bound)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*random >> 33) % bound;
}

// ---- the journal ----------------------------------------------------------------

static void append_batch(struct journal *j, char *large)
{
    struct record records[BATCH];
    struct journal_row rows[BATCH];
    struct journal_problem problem;
    uint64_t first = journal_end(j);
    for (uint32_t i = 0; i < BATCH; i++) {
        uint64_t seq = first + i;
        bool is_large = seq % LARGE_EVERY == 0;
        records[i] = (struct record){.seq = seq,
                                     .time_ns = 1000 + seq,
                                     .kind = 7,
                                     .semantics = 3,
                                     .payload = text_of(large, is_large ? LARGE_BYTES : seq % 60)};
        rows[i] = (struct journal_row){seq, text_of(large, seq % 30)};
    }
    assert_int_equal(journal_append(j, records, BATCH, NULL, 0, &problem), 0);
    assert_int_equal(journal_append(j, NULL, 0, rows, BATCH, &problem), 0);
}

static void make(struct folder *f)
{
    char *large = calloc(1, LARGE_BYTES);
    struct journal *j = must_open(f);
    assert_non_null(large);
    while (journal_end(j) <= RECORDS)
        append_batch(j, large);
    journal_trim(j, TRIMMED); // so that there are free pages
    while (journal_is_trimming(j))
        assert_int_equal(journal_append(j, NULL, 0, NULL, 0, &f->problem), 0);
    journal_close(j);
    free(large);
}

struct file {
    char path[PATH_BYTES];
    uint8_t *bytes;
    size_t size, page, pages;
};

static struct file data_read(const struct folder *f)
{
    struct file file;
    struct stat status = {0};
    int fd = open(path_in(f, "journal/data.mdb", file.path), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &status) == 0);
    file.size = (size_t)status.st_size;
    file.page = (size_t)sysconf(_SC_PAGESIZE);
    file.pages = file.size / file.page;
    ASSERT(file.pages > 0);
    file.bytes = malloc(file.size + 1);
    assert_non_null(file.bytes);
    assert_int_equal(read(fd, file.bytes, file.size), file.size);
    (void)close(fd);
    return file;
}

static void data_write(const struct file *file)
{
    int fd = open(file->path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, file->bytes, file->size, 0), file->size);
    (void)close(fd);
}

static int open_later(struct folder *f, struct journal **ret_journal)
{
    struct journal_options options = {.dir = f->dir, .map_bytes = MAP_BYTES, .leaves_later = true};
    return journal_open(&options, ret_journal, &f->problem);
}

static int read_on(struct journal *j, uint64_t from, struct journal_problem *problem)
{
    struct journal_cursor *c = NULL;
    struct record r;
    struct journal_row row;
    int err = journal_cursor_open(j, from, NULL, &c, problem);
    while (err == 0)
        err = journal_cursor_next(c, &r, &row, problem);
    journal_cursor_close(c);
    return err == BOSKOS_E_NOT_FOUND ? 0 : err;
}

// What comes of opening it and reading it from a record on, as a start behind a snapshot does.
static int come_to(struct folder *f, uint64_t from, bool leaves_later)
{
    struct journal *j = NULL;
    f->problem = (struct journal_problem){0};
    int err = leaves_later ? open_later(f, &j) : try_open(f, MAP_BYTES, 0, &j);
    if (err == 0) err = read_on(j, from, &f->problem);
    if (err == 0) err = journal_finish_open(j, &f->problem);
    journal_close(j);
    return err;
}

// ---- what it comes to -------------------------------------------------------------

// One of two starts begins with the first record. Returns whether there was damage.
static bool expect_same(struct folder *f, uint32_t round, uint64_t *random)
{
    bool is_from_first = random_below(random, 2) == 0;
    uint64_t from = TRIMMED + (is_from_first ? 0 : random_below(random, RECORDS - TRIMMED));
    int whole = come_to(f, from, false), later = come_to(f, from, true);
    if (whole != later)
        fail_msg("round %" PRIu32 ", from %" PRIu64 ": %d and %d, %s", round, from, whole, later,
                 f->problem.text);
    return whole != 0;
}

static void whatever_is_damaged_it_comes_to_the_same(void **state)
{
    struct folder *f = *state;
    uint64_t random = 1;
    uint32_t damaged = 0;
    make(f);
    struct file file = data_read(f);
    size_t page = file.page;
    assert_int_equal(come_to(f, TRIMMED, true), 0);
    for (uint32_t i = 0; i < MUTATIONS; i++) {
        bool is_head = random_below(&random, 3) != 0;
        size_t at = random_below(&random, file.pages) * page +
                    random_below(&random, is_head ? HEAD_BYTES : page);
        uint8_t before = file.bytes[at];
        file.bytes[at] =
            (uint8_t)(random_below(&random, 2) == 0 ? random_below(&random, 256)
                                                    : before ^ 1u << random_below(&random, 8));
        data_write(&file);
        damaged += expect_same(f, i, &random);
        file.bytes[at] = before;
    }
    data_write(&file);
    assert_int_equal(come_to(f, TRIMMED, true), 0);
    assert_true(damaged > MUTATIONS / 4 && damaged < MUTATIONS);
    free(file.bytes);
}

static bool is_leaf(const uint8_t *page)
{
    return page[10] == 2 && page[11] == 0;
}

// The highest byte of the last key of a leaf: as if it had all that follows.
static void raise_last_key(uint8_t *page)
{
    size_t lower = page[12] | (size_t)page[13] << 8;
    size_t at = page[lower - 2] | (size_t)page[lower - 1] << 8;
    page[at + 8] = 0x7f;
}

static void break_leaf(uint8_t *page, uint64_t way)
{
    if (way == 0) page[10] = 1;    // a branch
    if (way == 1) page[13] = 0x7f; // 16,000 entries
    if (way == 2) page[17] = 0xff; // an entry outside
}

// Where the first one is good but for its keys, nobody must think that there are no more leaves.
static void two_damaged_leaves_come_to_the_same(void **state)
{
    struct folder *f = *state;
    uint64_t random = 2;
    uint32_t tried = 0;
    make(f);
    struct file file = data_read(f);
    uint8_t *whole = malloc(file.size + 1);
    ASSERT(whole != NULL);
    memcpy(whole, file.bytes, file.size);
    for (uint32_t i = 0; i < PAIRS; i++) {
        uint8_t *first = file.bytes + random_below(&random, file.pages) * file.page;
        uint8_t *second = file.bytes + random_below(&random, file.pages) * file.page;
        if (first == second || !is_leaf(first) || !is_leaf(second)) continue;
        raise_last_key(first);
        break_leaf(second, random_below(&random, 3));
        data_write(&file);
        (void)expect_same(f, i, &random);
        memcpy(file.bytes, whole, file.size);
        tried++;
    }
    assert_true(tried > PAIRS / 10);
    free(whole);
    free(file.bytes);
}

// Damages a leaf that is not looked at by the open: its first entry lies outside.
static struct journal *open_damaged(struct folder *f, struct file *file)
{
    size_t page = file->page;
    for (size_t at = file->size / 2 / page * page; at < file->size; at += page) {
        struct journal *j = NULL;
        uint8_t *bytes = file->bytes + at, before = bytes[17];
        bytes[17] = 0xff;
        data_write(file);
        if (bytes[10] == 2 && come_to(f, TRIMMED, false) == BOSKOS_E_CORRUPT &&
            open_later(f, &j) == 0)
            return j;
        bytes[17] = before;
    }
    fail_msg("there is no such leaf");
    return NULL;
}

static void nothing_is_written_before_all_is_looked_at(void **state)
{
    struct folder *f = *state;
    struct record r = {.kind = 7, .semantics = 3, .time_ns = UINT64_MAX / 2};
    make(f);
    struct file file = data_read(f);
    struct journal *j = open_damaged(f, &file);
    r.seq = journal_end(j);
    assert_int_equal(journal_append(j, &r, 1, NULL, 0, &f->problem), BOSKOS_E_CORRUPT);
    assert_non_null(strstr(f->problem.text, "has an entry outside"));
    assert_int_equal(journal_finish_open(j, &f->problem), BOSKOS_E_CORRUPT);
    assert_int_equal(read_on(j, TRIMMED, &f->problem), BOSKOS_E_CORRUPT);
    journal_close(j);
    struct file after = data_read(f);
    assert_int_equal(after.size, file.size);
    assert_memory_equal(after.bytes, file.bytes, file.size);
    free(after.bytes);
    free(file.bytes);
}

static struct journal *open_ahead(struct folder *f)
{
    struct journal_options options = {.dir = f->dir,
                                      .map_bytes = MAP_BYTES,
                                      .step_bytes = STEP_BYTES,
                                      .ahead = true,
                                      .leaves_later = true};
    struct journal *j = NULL;
    assert_int_equal(journal_open(&options, &j, &f->problem), 0);
    return j;
}

// Records that a crash left in AHEAD are part of the log at once, and wait there.
static void what_is_in_ahead_waits_too(void **state)
{
    struct folder *f = *state;
    int status = 0;
    make(f);
    struct file file = data_read(f);
    journal_close(open_damaged(f, &file));
    pid_t pid = fork();
    if (pid == 0) {
        struct journal *j = open_ahead(f);
        if (journal_make_room(j, NULL) != 0) _exit(1); // else nothing goes to AHEAD
        _exit(append_numbered(j, 3, NULL) == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    struct journal *j = open_ahead(f);
    assert_int_equal(journal_end(j), RECORDS + 1 + 3);
    assert_int_equal(journal_drain(j, &f->problem), BOSKOS_E_CORRUPT);
    assert_int_equal(read_on(j, TRIMMED, &f->problem), BOSKOS_E_CORRUPT);
    journal_close(j);
    struct file after = data_read(f);
    assert_memory_equal(after.bytes, file.bytes, file.size);
    free(after.bytes);
    free(file.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whatever_is_damaged_it_comes_to_the_same),
        TEST(two_damaged_leaves_come_to_the_same),
        TEST(nothing_is_written_before_all_is_looked_at),
        TEST(what_is_in_ahead_waits_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
