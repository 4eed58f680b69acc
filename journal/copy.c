#include "journal/internal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

#define RECORDS_MAX 4096u            // appended at once
#define BYTES_MAX (4u * 1024 * 1024) // and their payloads, beyond the first
#define ENTRIES_MAX 3                // of a folder with nothing in it but what a killed copy left

struct journal_copy {
    char *dir;
    bool dir_was_made;
    bool is_begun;      // DIR/journal.new is ours
    bool is_placed;     // and is DIR/journal now
    struct journal *to; // NULL once it is placed
    size_t count;       // records that wait to be appended, and their rows
    size_t rows_count;
    size_t payload_at[RECORDS_MAX], row_at[RECORDS_MAX];
    struct record records[RECORDS_MAX];
    struct journal_row rows[RECORDS_MAX];
    struct buffer payloads, row_bytes;
};

// ---- the folder ---------------------------------------------------------------

// There may be the beginning of a copy that was killed, which nobody else would want. A folder that
// is not there is an empty one.
static int dir_check(const char *dir, struct journal_problem *problem)
{
    DIR *open = opendir(dir);
    if (open == NULL && errno == ENOENT) return 0;
    if (open == NULL) return journal_failed(problem, errno, dir, "use it as a data folder");
    int rc = 0;
    bool is_empty = true;
    for (int i = 0; i <= ENTRIES_MAX && rc == 0; i++) {
        errno = 0;
        const struct dirent *entry = readdir(open);
        rc = entry == NULL ? errno : 0;
        if (entry == NULL) break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, FRESH_NAME) != 0)
            is_empty = false;
    }
    (void)closedir(open);
    if (rc != 0) return journal_failed(problem, rc, dir, "list it");
    if (is_empty) return 0;
    return journal_problem(problem, BOSKOS_E_IN_USE, 0,
                           "%s is not empty; choose a folder that is, or one that is not there",
                           dir);
}

// ---- the copy -----------------------------------------------------------------

// Removes what this copy made and nothing else.
static void made_remove(struct journal_copy *c)
{
    char *path = journal_path(c->dir, c->is_placed ? JOURNAL_NAME : FRESH_NAME);
    if (c->is_begun && path != NULL) (void)journal_leftover_remove(path, NULL);
    if (c->dir_was_made) (void)rmdir(c->dir);
    free(path);
}

void journal_copy_free(struct journal_copy *c)
{
    if (c == NULL) return;
    journal_close(c->to);
    buffer_release(&c->payloads);
    buffer_release(&c->row_bytes);
    free(c->dir);
    free(c);
}

void journal_copy_drop(struct journal_copy *c)
{
    if (c == NULL) return;
    journal_close(c->to); // lets go of its lock
    c->to = NULL;
    made_remove(c);
    journal_copy_free(c);
}

int journal_copy_begin(const struct journal_options *options, const struct record *before,
                       struct journal_copy **ret_copy, struct journal_problem *problem)
{
    int err = BOSKOS_E_NOMEM;
    struct journal_copy *c = calloc(1, sizeof(*c));
    char *dir = strdup(options->dir);
    if (c == NULL || dir == NULL) {
        free(dir);
        free(c);
        return journal_problem(problem, err, 0, "%s: no memory", options->dir);
    }
    c->dir = dir;
    buffer_init(&c->payloads);
    buffer_init(&c->row_bytes);
    c->to = journal_new(options);
    if (c->to != NULL) c->to->path = journal_path(dir, FRESH_NAME);
    if (c->to == NULL || c->to->path == NULL) {
        (void)journal_problem(problem, err, 0, "%s: no memory", dir);
        goto out;
    }
    err = dir_check(dir, problem);
    if (err == 0) err = journal_dir_make(dir, &c->dir_was_made, problem);
    if (err != 0) goto out;
    c->is_begun = true;
    err = journal_build_in(c->to, before, problem);
    if (err != 0) goto out;
    *ret_copy = c;
    c = NULL;
out:
    journal_copy_drop(c);
    return err;
}

static int flush(struct journal_copy *c, struct journal_problem *problem)
{
    if (c->count == 0) return 0;
    for (size_t i = 0; i < c->count; i++)
        c->records[i].payload =
            text_of(c->payloads.data + c->payload_at[i], c->records[i].payload.size);
    for (size_t i = 0; i < c->rows_count; i++)
        c->rows[i].bytes = text_of(c->row_bytes.data + c->row_at[i], c->rows[i].bytes.size);
    struct record last = c->records[c->count - 1];
    int err = journal_append(c->to, c->records, c->count, NULL, 0, problem);
    if (err == 0) err = journal_append(c->to, NULL, 0, c->rows, c->rows_count, problem);
    if (err != 0) return err;
    if (!hash128_equal(last.chain, journal_last_chain(c->to))) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, last.seq,
                               "%s: record %" PRIu64 " does not have its checksum in the copy",
                               c->dir, last.seq);
    }
    c->count = c->rows_count = 0;
    if (c->payloads.capacity > 2 * BYTES_MAX) buffer_release(&c->payloads); // it had a large one
    buffer_clear(&c->payloads);
    buffer_clear(&c->row_bytes);
    return 0;
}

int journal_copy_add(struct journal_copy *c, const struct record *record,
                     const struct journal_row *row, struct journal_problem *problem)
{
    ASSERT(c->to != NULL);
    size_t i = c->count++;
    c->records[i] = *record;
    c->payload_at[i] = c->payloads.size;
    buffer_text(&c->payloads, record->payload);
    if (row->seq != 0) {
        i = c->rows_count++;
        c->rows[i] = *row;
        c->row_at[i] = c->row_bytes.size;
        buffer_text(&c->row_bytes, row->bytes);
    }
    if (c->count < RECORDS_MAX && c->payloads.size < BYTES_MAX) return 0;
    return flush(c, problem);
}

int journal_copy_snapshot(struct journal_copy *c, const struct journal_snapshot *about,
                          struct text bytes, struct journal_problem *problem)
{
    struct journal_snapshot_writer *w = NULL;
    ASSERT(c->to != NULL);
    int err = journal_snapshot_begin(c->to, about, &w, problem);
    if (err != 0) return err;
    (void)journal_snapshot_add(w, bytes.data, bytes.size); // the commit has its error
    return journal_snapshot_commit(w, problem);
}

int journal_copy_end(struct journal_copy *c, struct journal_problem *problem)
{
    int err = flush(c, problem);
    if (err == 0) err = journal_build_place(c->to, JOURNAL_NAME, &c->is_placed, problem);
    journal_close(c->to);
    c->to = NULL;
    return err;
}
