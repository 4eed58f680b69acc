#include "tests/replay/folder_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

#define HASH_SEED 1u              // any: nothing of it can be seen
#define TRIM_APPENDS_MAX 1000000u // each removes some records

static bool failed(const char *what, int err, const struct journal_problem *problem)
{
    fprintf(stderr, "%s: %s (%s)\n", what, problem->text, boskos_error_text(err));
    return false;
}

static void notice(void *context, const char *what)
{
    (void)context;
    fprintf(stderr, "the journal says: %s\n", what);
}

static bool open_it(struct folder_writer *w, const char *dir, uint32_t batch_max, bool has_ahead)
{
    struct journal_options options = {
        .dir = dir, .step_bytes = FOLDER_STEP_BYTES, .ahead = has_ahead, .noticed = notice};
    struct journal_problem problem = {0};
    ASSERT(batch_max > 0 && batch_max <= FOLDER_BATCH_MAX);
    *w = (struct folder_writer){.batch_max = batch_max};
    for (uint32_t i = 0; i < 2; i++) {
        w->batches[i].first = 1;
        buffer_init(&w->batches[i].payloads);
        buffer_init(&w->batches[i].rows);
    }
    w->sm = sm_new(HASH_SEED);
    int err = journal_open(&options, &w->journal, &problem);
    if (err != 0) return failed("the journal cannot be made", err, &problem);
    if (journal_end(w->journal) == 1) return true;
    fprintf(stderr, "%s has a journal already\n", dir);
    return false;
}

bool folder_writer_open(struct folder_writer *w, const char *dir, uint32_t batch_max)
{
    return open_it(w, dir, batch_max, false);
}

bool folder_writer_open_ahead(struct folder_writer *w, const char *dir, uint32_t batch_max)
{
    return open_it(w, dir, batch_max, true);
}

void folder_writer_close(struct folder_writer *w)
{
    for (uint32_t i = 0; i < 2; i++) {
        buffer_release(&w->batches[i].payloads);
        buffer_release(&w->batches[i].rows);
    }
    sm_free(w->sm);
    if (w->journal != NULL) journal_close(w->journal);
}

bool folder_add(struct folder_writer *w, const struct command *c, struct sm_result *ret_result)
{
    if (w->batches[w->filled].count == w->batch_max && !folder_append(w)) return false;
    struct folder_batch *b = &w->batches[w->filled];
    struct folder_entry *e = &b->entries[b->count++];
    *e = (struct folder_entry){.time_ns = c->time_ns,
                               .kind = (uint16_t)c->kind,
                               .semantics =
                                   w->semantics != 0 ? w->semantics : command_semantics(c->kind),
                               .payload_at = b->payloads.size,
                               .row_at = b->rows.size};
    command_encode(c, &b->payloads);
    e->payload_size = b->payloads.size - e->payload_at;
    sm_apply(w->sm, c, ret_result);
    sm_result_encode(ret_result, &b->rows);
    e->row_size = b->rows.size - e->row_at;
    return true;
}

// The rows of the batch before the one being filled, but for the last `left`. How many.
static size_t waiting_rows(struct folder_writer *w, uint32_t left)
{
    const struct folder_batch *b = &w->batches[1 - w->filled];
    uint32_t count = b->count < left ? 0 : b->count - left;
    for (uint32_t i = 0; i < count; i++) {
        const struct folder_entry *e = &b->entries[i];
        w->rows[i] = (struct journal_row){.seq = b->first + i,
                                          .bytes = text_of(b->rows.data + e->row_at, e->row_size)};
    }
    return count;
}

bool folder_append(struct folder_writer *w)
{
    struct journal_problem problem = {0};
    struct folder_batch *b = &w->batches[w->filled], *other = &w->batches[1 - w->filled];
    if (b->count == 0) return true;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct folder_entry *e = &b->entries[i];
        w->records[i] =
            (struct record){.seq = b->first + i,
                            .time_ns = e->time_ns,
                            .kind = e->kind,
                            .semantics = e->semantics,
                            .payload = text_of(b->payloads.data + e->payload_at, e->payload_size)};
    }
    int err = journal_make_room(w->journal, &problem);
    if (err == 0)
        err =
            journal_append(w->journal, w->records, b->count, w->rows, waiting_rows(w, 0), &problem);
    if (err == 0 && !w->is_ahead) err = journal_drain(w->journal, &problem);
    if (err != 0) return failed("a batch cannot be appended", err, &problem);
    other->first = b->first + b->count;
    other->count = 0;
    buffer_clear(&other->payloads);
    buffer_clear(&other->rows);
    w->filled = 1 - w->filled;
    return true;
}

bool folder_leave_ahead(struct folder_writer *w, uint32_t batch_max)
{
    ASSERT(batch_max > 0 && batch_max <= FOLDER_BATCH_MAX);
    if (!folder_append(w)) return false;
    w->batch_max = batch_max;
    w->is_ahead = true;
    return true;
}

bool folder_append_rows(struct folder_writer *w, bool all)
{
    struct journal_problem problem = {0};
    size_t count = waiting_rows(w, all ? 0 : 1);
    int err = journal_append(w->journal, NULL, 0, w->rows, count, &problem);
    return err == 0 || failed("rows cannot be appended", err, &problem);
}

static int add_piece(void *context, const void *bytes, size_t size)
{
    return journal_snapshot_add(context, bytes, size);
}

bool folder_snapshot(struct folder_writer *w)
{
    struct journal_problem problem = {0};
    struct journal_snapshot_writer *writer = NULL;
    if (!folder_append(w)) return false;
    struct journal_snapshot about = {.seq = sm_seq(w->sm),
                                     .time_ns = sm_time_ns(w->sm),
                                     .chain = journal_last_chain(w->journal),
                                     .digest = sm_digest(w->sm)};
    int err = journal_snapshot_begin(w->journal, &about, &writer, &problem);
    if (err != 0) return failed("a snapshot cannot be begun", err, &problem);
    (void)sm_snapshot_write(w->sm, add_piece, writer); // the commit returns an error of it
    err = journal_snapshot_commit(writer, &problem);
    return err == 0 || failed("a snapshot cannot be written", err, &problem);
}

bool folder_trim(struct folder_writer *w)
{
    struct journal_problem problem = {0};
    uint64_t *seqs = NULL;
    size_t count = 0;
    if (!folder_append(w)) return false;
    int err = journal_snapshots(w->journal, false, &seqs, &count);
    if (err != 0 || count == 0 || seqs[0] + 1 >= journal_end(w->journal)) {
        fprintf(stderr, "there is no snapshot at which the log can be trimmed\n");
        free(seqs);
        return false;
    }
    journal_trim(w->journal, seqs[0] + 1);
    for (uint32_t i = 0; i < TRIM_APPENDS_MAX && err == 0 && journal_is_trimming(w->journal); i++)
        err = journal_append(w->journal, NULL, 0, NULL, 0, &problem);
    for (size_t i = 1; i < count && err == 0; i++)
        err = journal_snapshot_remove(w->journal, seqs[i]);
    free(seqs);
    return err == 0 || failed("the log cannot be trimmed", err, &problem);
}
