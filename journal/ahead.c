#include "journal/ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "journal/internal.h"

#include "base/banned.h"

#define ZEROS_BYTES (256u * 1024)

// ---- the file -------------------------------------------------------------------

// Written, not only reserved: a write over blocks that never were would be flushed like one that
// makes the file longer. 0 or an errno.
static int zeros_write(int fd, uint64_t size)
{
    int rc = 0;
    uint8_t *zeros = calloc(1, ZEROS_BYTES);
    if (zeros == NULL) return ENOMEM;
    for (uint64_t at = 0; at < size && rc == 0; at += ZEROS_BYTES) {
        size_t piece = size - at < ZEROS_BYTES ? (size_t)(size - at) : ZEROS_BYTES;
        rc = ahead_ring_write(fd, size, at, zeros, piece);
    }
    free(zeros);
    if (rc == 0 && fsync(fd) != 0) rc = errno;
    return rc;
}

// Makes AHEAD under another name first: it is whole or not there. 0 or an errno.
static int file_make(const char *folder, uint64_t size, int *ret_fd)
{
    int fd = -1, rc = ENOMEM;
    char *path = journal_path(folder, AHEAD_NAME);
    char *made = journal_path(folder, AHEAD_NEW_NAME);
    if (path == NULL || made == NULL) goto out;
    fd = journal_file_open(made, O_RDWR | O_CREAT | O_TRUNC);
    rc = fd < 0 ? -fd : zeros_write(fd, size);
    if (rc == 0 && rename(made, path) != 0) rc = errno;
    if (rc == 0) rc = journal_folder_sync(folder);
    if (rc != 0) (void)unlink(made);
    if (rc != 0) goto out;
    *ret_fd = fd;
    fd = -1;
out:
    if (fd >= 0) (void)close(fd);
    free(path);
    free(made);
    return rc;
}

static int file_open(const char *folder, int *ret_fd, uint64_t *ret_size)
{
    struct stat status;
    char *path = journal_path(folder, AHEAD_NAME);
    if (path == NULL) return ENOMEM;
    int fd = journal_file_open(path, O_RDWR);
    int rc = fd < 0 ? -fd : 0;
    if (rc == 0 && fstat(fd, &status) != 0) rc = errno;
    free(path);
    if (rc != 0) {
        if (fd >= 0) (void)close(fd);
        return rc;
    }
    *ret_fd = fd;
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

static uint64_t ring_bytes(const struct journal *j)
{
    uint64_t bytes = j->step_bytes / AHEAD_PART_OF_STEP / FRAME_RING_UNIT * FRAME_RING_UNIT;
    return bytes > AHEAD_BYTES_MIN ? bytes : AHEAD_BYTES_MIN;
}

// ---- open ---------------------------------------------------------------------

// What stands in AHEAD beyond data.mdb must follow from it: then the log ends with that.
static int tail_follow(struct journal *j, struct journal_problem *problem)
{
    const struct ahead_run *run = &j->tail.run;
    struct hash128 before = j->last_chain;
    struct ahead_record r;
    uint64_t time_ns = j->last_time_ns;
    bool is_known = run->first == 1 || journal_first(j) < run->first;
    for (size_t at = 0; ahead_record_at(run, at, &r); at = r.next) {
        struct record fields = {.seq = r.seq};
        int err =
            record_fields_decode(j->path, r.chained + HASH128_BYTES + KEY_BYTES, &fields, problem);
        if (err != 0) return err;
        struct hash128 checksum = hash128(r.chained, RECORD_CHAINED_BYTES + (size_t)r.payload.size);
        if ((is_known && !hash128_equal(hash128_decode(r.chained), before)) ||
            !hash128_equal(checksum, r.chain) || fields.time_ns < time_ns) {
            return journal_problem(problem, BOSKOS_E_CORRUPT, r.seq,
                                   "%s/" AHEAD_NAME ": record %" PRIu64
                                   " does not follow from the one before: it is damaged, or of "
                                   "another journal",
                                   j->path, r.seq);
        }
        before = r.chain;
        time_ns = fields.time_ns;
        is_known = true;
    }
    j->last_chain = before;
    j->last_time_ns = time_ns;
    atomic_store(&j->end, run->end);
    return 0;
}

static int tail_find(struct journal *j, struct journal_problem *problem)
{
    MDB_txn *txn = NULL;
    int err = journal_read_begin(j, &txn, problem);
    if (err != 0) return err;
    err = ahead_tail_read(j, txn, true, problem);
    journal_read_end(j, txn);
    return err == 0 ? tail_follow(j, problem) : err;
}

// The file, or none: *ret_fd is -1 then.
static int file_get(struct journal *j, bool wanted, int *ret_fd, uint64_t *ret_size,
                    struct journal_problem *problem)
{
    int rc = file_open(j->path, ret_fd, ret_size);
    if (rc == ENOENT && !wanted) return 0;
    if (rc == ENOENT) {
        *ret_size = ring_bytes(j);
        rc = file_make(j->path, *ret_size, ret_fd);
        if (journal_error_of(rc) == BOSKOS_E_NOSPACE) return 0; // it goes without, slower
    }
    return rc == 0 ? 0 : journal_failed(problem, rc, j->path, "open " AHEAD_NAME);
}

int ahead_open(struct journal *j, bool wanted, struct journal_problem *problem)
{
    int fd = -1;
    uint64_t size = 0;
    int err = file_get(j, wanted, &fd, &size, problem);
    if (err != 0 || fd < 0) return err;
    struct ahead *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        (void)close(fd);
        return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory", j->path);
    }
    a->fd = fd;
    a->bytes = size;
    (void)pthread_mutex_init(&a->lock, NULL); // fails on no system we know
    j->ahead = a;
    return tail_find(j, problem);
}

void ahead_take(struct journal *j)
{
    struct ahead *a = j->ahead;
    if (a == NULL) return;
    atomic_store(&a->position, j->tail.run.until);
    atomic_store(&a->drained, j->tail.from);
    a->taken.run = j->tail.run;
    buffer_init(&j->tail.run.bytes);
    ahead_tail_release(j);
}

void ahead_close(struct journal *j)
{
    struct ahead *a = j->ahead;
    if (a == NULL) return;
    j->ahead = NULL;
    buffer_release(&a->frame);
    buffer_release(&a->waiting.run.bytes);
    buffer_release(&a->waiting.rows);
    buffer_release(&a->taken.run.bytes);
    buffer_release(&a->taken.rows);
    (void)pthread_mutex_destroy(&a->lock);
    (void)close(a->fd);
    free(a);
}

// ---- put ----------------------------------------------------------------------

uint64_t ahead_used(const struct journal *j)
{
    const struct ahead *a = j->ahead;
    if (a == NULL) return 0;
    uint64_t drained = atomic_load_explicit(&a->drained, memory_order_acquire);
    return atomic_load_explicit(&a->position, memory_order_acquire) - drained;
}

uint64_t ahead_frame_bytes(const struct record *records, size_t count)
{
    uint64_t bytes = FRAME_HEAD_BYTES;
    for (size_t i = 0; i < count; i++)
        bytes += ahead_record_bytes(records[i].payload.size);
    return bytes;
}

static void frame_make(struct journal *j, struct record *records, size_t count)
{
    struct ahead *a = j->ahead;
    struct hash128 before = j->last_chain;
    uint64_t size = ahead_frame_bytes(records, count);
    buffer_clear(&a->frame);
    uint8_t *frame = (uint8_t *)buffer_reserve(&a->frame, (size_t)size);
    uint8_t *to = frame + FRAME_HEAD_BYTES;
    for (size_t i = 0; i < count; i++) {
        records[i].chain = ahead_record_put(to, &records[i], before);
        before = records[i].chain;
        to += ahead_record_bytes(records[i].payload.size);
    }
    struct frame_head head = {.position = atomic_load(&a->position),
                              .first = records[0].seq,
                              .bytes = size - FRAME_HEAD_BYTES,
                              .count = count,
                              .chain = before};
    frame_head_encode(&head, frame);
    head.checksum = frame_checksum(frame, head.bytes);
    frame_head_encode(&head, frame);
    a->frame.size = (size_t)size;
}

static void rows_add(struct ahead_pending *p, const struct journal_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t head[16];
        bytes_put_u64(head, rows[i].seq);
        bytes_put_u64(head + 8, rows[i].bytes.size);
        buffer_append(&p->rows, head, sizeof(head));
        buffer_text(&p->rows, rows[i].bytes);
    }
}

int ahead_put(struct journal *j, struct record *records, size_t count,
              const struct journal_row *rows, size_t rows_count)
{
    struct ahead *a = j->ahead;
    uint64_t position = atomic_load(&a->position);
    frame_make(j, records, count);
    ASSERT(a->frame.size <= a->bytes - ahead_used(j));
    int rc = ahead_ring_write(a->fd, a->bytes, position, a->frame.data, a->frame.size);
    if (rc != 0) return rc;
    // Whatever it says, another flush would prove nothing.
    if (fdatasync(a->fd) != 0) return errno == ENOSPC || errno == EDQUOT ? EIO : errno;

    pthread_mutex_lock(&a->lock);
    struct ahead_run *run = &a->waiting.run;
    if (run->first == run->end) run->first = records[0].seq;
    buffer_append(&run->bytes, a->frame.data + FRAME_HEAD_BYTES, a->frame.size - FRAME_HEAD_BYTES);
    run->end = records[count - 1].seq + 1;
    run->chain = records[count - 1].chain;
    run->until = position + a->frame.size;
    atomic_store_explicit(&a->position, run->until, memory_order_release);
    rows_add(&a->waiting, rows, rows_count);
    pthread_mutex_unlock(&a->lock);
    return 0;
}
