// tests/test_journal_ahead.h
//
// What the programs that test the write-ahead file share: a journal that has one, of the smallest
// size, and images of its folder as a kill would leave it at this moment.
#ifndef TESTS_TEST_JOURNAL_AHEAD_H
#define TESTS_TEST_JOURNAL_AHEAD_H

#include "tests/test_journal.h"

#include <dirent.h>
#include <string.h>

#define RING_BYTES (64u * 1024) // AHEAD_BYTES_MIN
#define STEP_BYTES (4u * RING_BYTES)
#define HEAD_BYTES 80u                 // of a frame
#define BESIDE_BYTES (HEAD_BYTES + 48) // of a frame with one record, but its payload
#define PAYLOAD_BYTES_MAX 32768u
#define FILE_BYTES_MAX (64u << 20)
#define MAP_BYTES_AHEAD \
    (1ull << 30) // of a writer that runs as long as it is let, and trims nothing

static inline int try_ahead(struct folder *f, uint64_t map_bytes, struct journal **j)
{
    struct journal_options options = {
        .dir = f->dir, .map_bytes = map_bytes, .step_bytes = STEP_BYTES, .ahead = true};
    *j = NULL;
    f->problem = (struct journal_problem){0};
    int err = journal_open(&options, j, &f->problem);
    return err != 0 ? err : journal_make_room(*j, &f->problem);
}

static inline struct journal *must_ahead(struct folder *f)
{
    struct journal *j = NULL;
    int err = try_ahead(f, MAP_BYTES_AHEAD, &j);
    if (err != 0) fail_msg("journal_open: %d %s", err, f->problem.text);
    return j;
}

static inline void must_drain(struct folder *f, struct journal *j)
{
    int err = journal_drain(j, &f->problem);
    if (err != 0) fail_msg("journal_drain: %d %s", err, f->problem.text);
}

static inline uint64_t waiting_bytes(struct journal *j)
{
    struct journal_figures figures;
    journal_figures(j, &figures);
    return figures.ahead_bytes;
}

// Appends numbered records in one batch; room for them is made before, as the daemon does.
static inline void must_append(struct folder *f, struct journal *j, size_t count)
{
    int err = journal_make_room(j, &f->problem);
    if (err == 0) err = append_numbered(j, count, &f->problem);
    if (err != 0) fail_msg("journal_append: %d %s", err, f->problem.text);
}

// Appends a record that makes a frame of so many bytes.
static inline int append_frame(struct folder *f, struct journal *j, size_t frame_bytes)
{
    static char payload[PAYLOAD_BYTES_MAX];
    assert_in_range(frame_bytes, BESIDE_BYTES, BESIDE_BYTES + sizeof(payload));
    int err = journal_make_room(j, &f->problem);
    return err != 0 ? err
                    : append_payload(j, text_of(payload, frame_bytes - BESIDE_BYTES), &f->problem);
}

static inline uint8_t *file_read(const char *path, size_t *ret_size)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    assert_true(status.st_size <= (off_t)FILE_BYTES_MAX);
    uint8_t *bytes = malloc((size_t)status.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(read(fd, bytes, (size_t)status.st_size), status.st_size);
    (void)close(fd);
    *ret_size = (size_t)status.st_size;
    return bytes;
}

static inline void file_replace(const char *path, const void *bytes, size_t size)
{
    (void)unlink(path);
    file_write(path, bytes, size);
}

static inline void file_copy_to(const struct folder *from, const struct folder *to,
                                const char *name)
{
    char path[PATH_BYTES];
    size_t size;
    uint8_t *bytes = file_read(path_in(from, name, path), &size);
    file_replace(path_in(to, name, path), bytes, size);
    free(bytes);
}

// The folder as it is now, as if whoever has it had been killed, in a folder of its own beside.
static inline struct folder image_of(const struct folder *f, const char *name)
{
    char path[PATH_BYTES];
    struct folder image = folder_in(f, name);
    (void)nftw(image.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(mkdir(image.dir, 0700), 0);
    assert_int_equal(mkdir(path_in(&image, "journal", path), 0700), 0);
    DIR *dir = opendir(path_in(f, "journal", path));
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        char inner[64];
        (void)snprintf(inner, sizeof(inner), "journal/%.40s", entry->d_name);
        file_copy_to(f, &image, inner);
    }
    (void)closedir(dir);
    return image;
}

// Reads records that are not all numbered ones; returns how many, or the error below 0.
static inline int64_t read_all(struct folder *f, struct journal *j)
{
    struct journal_cursor *c = cursor_at(f, j, journal_first(j));
    struct record r;
    struct journal_row row;
    int64_t count = 0;
    int err = 0;
    while ((err = journal_cursor_next(c, &r, &row, &f->problem)) == 0)
        count++;
    journal_cursor_close(c);
    return err == BOSKOS_E_NOT_FOUND ? count : err;
}

// Opens a folder for appending and looks that it has so many records, of which one can read the
// numbers unless `is_mixed`.
static inline void assert_recovers(struct folder *f, uint64_t records, bool is_mixed)
{
    struct journal *j = must_ahead(f);
    int64_t found = is_mixed ? read_all(f, j) : read_numbered(f, j, 1);
    if (found < 0) fail_msg("%s", f->problem.text);
    assert_int_equal(found, records);
    assert_int_equal(journal_end(j), records + 1);
    assert_int_equal(waiting_bytes(j), 0);
    journal_close(j);
}

#endif
