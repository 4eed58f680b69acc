// Tests of an open that looks at most leaves of data.mdb only when a cursor comes to them: whatever
// is damaged, it comes to what an open comes to that looks at all pages at once, LMDB meets nothing
// that it would end over, and nothing is written before all is looked at.
#include "tests/test_journal.h"

#include "base/assert.h"

#include "base/banned.h"

#define RECORDS 6000u
#define BATCH 500u
#define LARGE_EVERY 97u // records that lie on pages of their own
#define LARGE_BYTES 5000u
#define TRIMMED 800u
#define MUTATIONS 1500u
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
    size_t size;
};

static struct file data_read(const struct folder *f)
{
    struct file file;
    struct stat status = {0};
    int fd = open(path_in(f, "journal/data.mdb", file.path), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &status) == 0);
    file.size = (size_t)status.st_size;
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

static int read_all(struct journal *j, struct journal_problem *problem)
{
    struct journal_cursor *c = NULL;
    struct record r;
    struct journal_row row;
    int err = journal_cursor_open(j, journal_first(j), NULL, &c, problem);
    while (err == 0)
        err = journal_cursor_next(c, &r, &row, problem);
    journal_cursor_close(c);
    return err == BOSKOS_E_NOT_FOUND ? 0 : err;
}

// What comes of opening it and reading all.
static int come_to(struct folder *f, bool leaves_later)
{
    struct journal *j = NULL;
    f->problem = (struct journal_problem){0};
    int err = leaves_later ? open_later(f, &j) : try_open(f, MAP_BYTES, 0, &j);
    if (err == 0) err = read_all(j, &f->problem);
    if (err == 0) err = journal_finish_open(j, &f->problem);
    journal_close(j);
    return err;
}

// ---- what it comes to -------------------------------------------------------------

static void whatever_is_damaged_it_comes_to_the_same(void **state)
{
    struct folder *f = *state;
    uint64_t seed = 1, random = seed;
    uint32_t damaged = 0;
    make(f);
    struct file file = data_read(f);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = file.size / page;
    ASSERT(pages > 0);
    assert_int_equal(come_to(f, true), 0);
    for (uint32_t i = 0; i < MUTATIONS; i++) {
        bool is_head = random_below(&random, 3) != 0;
        size_t at = random_below(&random, pages) * page +
                    random_below(&random, is_head ? HEAD_BYTES : page);
        uint8_t before = file.bytes[at];
        file.bytes[at] =
            (uint8_t)(random_below(&random, 2) == 0 ? random_below(&random, 256)
                                                    : before ^ 1u << random_below(&random, 8));
        data_write(&file);
        int whole = come_to(f, false), later = come_to(f, true);
        if (whole != later)
            fail_msg("seed %" PRIu64 ", byte %zu of page %zu, %u -> %u: %d and %d, %s", seed,
                     at % page, at / page, before, file.bytes[at], whole, later, f->problem.text);
        damaged += whole != 0;
        file.bytes[at] = before;
    }
    data_write(&file);
    assert_int_equal(come_to(f, true), 0);
    assert_true(damaged > MUTATIONS / 4 && damaged < MUTATIONS);
    free(file.bytes);
}

// Damages a leaf that is not looked at by the open: its first entry lies outside.
static struct journal *open_damaged(struct folder *f, struct file *file)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t at = file->size / 2 / page * page; at < file->size; at += page) {
        struct journal *j = NULL;
        uint8_t *bytes = file->bytes + at, before = bytes[17];
        bytes[17] = 0xff;
        data_write(file);
        if (bytes[10] == 2 && come_to(f, false) == BOSKOS_E_CORRUPT && open_later(f, &j) == 0)
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
    assert_int_equal(read_all(j, &f->problem), BOSKOS_E_CORRUPT);
    journal_close(j);
    struct file after = data_read(f);
    assert_int_equal(after.size, file.size);
    assert_memory_equal(after.bytes, file.bytes, file.size);
    free(after.bytes);
    free(file.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whatever_is_damaged_it_comes_to_the_same),
        TEST(nothing_is_written_before_all_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
