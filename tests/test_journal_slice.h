// tests/test_journal_slice.h
//
// What the programs that test exported files share: files of numbered records, and their bytes.
#ifndef TESTS_TEST_JOURNAL_SLICE_H
#define TESTS_TEST_JOURNAL_SLICE_H

#include "tests/test_journal.h"

#include <string.h>

#include "journal/slice.h"

#define BASE "state 7" // the snapshot in them

static inline struct slice_about about_of(uint64_t base_seq)
{
    if (base_seq == 0) return (struct slice_about){.base_digest = {3, 4}};
    return (struct slice_about){.base_seq = base_seq,
                                .base_time_ns = 1000 + base_seq,
                                .base_chain = {1, 2},
                                .base_digest = {3, 4},
                                .created_by = TEXT("0.2.0"),
                                .flags = SLICE_NO_USERDATA};
}

static inline struct slice_writer *must_begin(struct folder *f, const char *path,
                                              const struct slice_about *about)
{
    struct slice_writer *w = NULL;
    int err = slice_begin(path, about, &w, &f->problem);
    if (err != 0) fail_msg("slice_begin: %d %s", err, f->problem.text);
    return w;
}

// Every third record has no row, and the row of every fifth is empty.
static inline bool has_row(uint64_t seq)
{
    return seq % 3 != 0;
}

static inline struct text row_of(uint64_t seq, char bytes[32])
{
    int size = seq % 5 == 0 ? 0 : snprintf(bytes, 32, "row %" PRIu64, seq);
    return text_of(bytes, (size_t)size);
}

static inline struct record record_of(uint64_t seq, char bytes[32])
{
    int size = snprintf(bytes, 32, "record %" PRIu64, seq);
    return (struct record){.seq = seq,
                           .time_ns = 1000 + seq,
                           .kind = 7,
                           .semantics = 3,
                           .payload = text_of(bytes, (size_t)size)};
}

static inline int add_numbered(struct slice_writer *w, uint64_t seq)
{
    char payload[32], row_bytes[32];
    struct record r = record_of(seq, payload);
    struct journal_row row = {0, TEXT_NONE};
    if (has_row(seq)) row = (struct journal_row){seq, row_of(seq, row_bytes)};
    return slice_add(w, &r, &row);
}

// A file of numbered records.
static inline void slice_write(struct folder *f, const char *path, uint64_t base_seq,
                               uint64_t count)
{
    struct slice_about about = about_of(base_seq);
    struct slice_writer *w = must_begin(f, path, &about);
    if (base_seq > 0) assert_int_equal(slice_add_base(w, BASE, sizeof(BASE) - 1), 0);
    for (uint64_t seq = base_seq + 1; seq <= base_seq + count; seq++)
        assert_int_equal(add_numbered(w, seq), 0);
    int err = slice_commit(w, &f->problem);
    if (err != 0) fail_msg("slice_commit: %d %s", err, f->problem.text);
}

static inline struct slice *must_open_slice(struct folder *f, const char *path)
{
    struct slice *s = NULL;
    int err = slice_open(path, &s, &f->problem);
    if (err != 0) fail_msg("slice_open: %d %s", err, f->problem.text);
    return s;
}

static inline int try_slice(struct folder *f, const char *path)
{
    struct slice *s = NULL;
    f->problem = (struct journal_problem){0};
    int err = slice_open(path, &s, &f->problem);
    assert_true((err == 0) == (s != NULL));
    slice_close(s);
    return err;
}

// Reads numbered records up to the end; returns how many, or the error below 0.
static inline int64_t slice_read(struct folder *f, struct slice *s, uint64_t from)
{
    struct slice_cursor *c = NULL;
    int64_t count = 0;
    int err = slice_cursor_open(s, from, &c, &f->problem);
    while (err == 0) {
        struct record r;
        struct journal_row row;
        char payload[32], row_bytes[32];
        err = slice_cursor_next(c, &r, &row, &f->problem);
        if (err != 0) break;
        struct record wanted = record_of(from + (uint64_t)count, payload);
        assert_int_equal(r.seq, wanted.seq);
        assert_int_equal(r.time_ns, wanted.time_ns);
        assert_int_equal(r.kind, wanted.kind);
        assert_int_equal(r.semantics, wanted.semantics);
        assert_true(text_equal(r.payload, wanted.payload));
        assert_int_equal(row.seq, has_row(r.seq) ? r.seq : 0);
        if (has_row(r.seq)) assert_true(text_equal(row.bytes, row_of(r.seq, row_bytes)));
        count++;
    }
    slice_cursor_close(c);
    return err == BOSKOS_E_NOT_FOUND ? count : err;
}

static inline size_t bytes_read(const char *path, uint8_t **ret_bytes)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    uint8_t *bytes = calloc(1, (size_t)status.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(read(fd, bytes, (size_t)status.st_size), status.st_size);
    (void)close(fd);
    *ret_bytes = bytes;
    return (size_t)status.st_size;
}

static inline void file_put(const char *path, const void *bytes, size_t size)
{
    (void)unlink(path);
    file_write(path, bytes, size);
}

#endif
