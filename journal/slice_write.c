#include "journal/slice_format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

#define STEP_BYTES (256u * 1024) // written and waited for at a time
#define FILE_MODE 0600

struct slice_writer {
    char *folder;    // of PATH
    char *path;      // PATH
    char *path_temp; // PATH.tmp
    int fd;
    int rc;         // the first errno
    bool too_large; // or this
    struct hash128 header_checksum;
    struct hash128_stream *base_hash;
    uint64_t base_seq, base_bytes;
    uint64_t at; // bytes of the file so far
    uint64_t last_seq, last_time_ns;
    struct hash128 last_chain;
    uint8_t *index;
    size_t index_size, index_capacity;
    size_t used;
    uint8_t step[STEP_BYTES];
};

static void writer_free(struct slice_writer *w)
{
    if (w == NULL) return;
    if (w->fd >= 0) (void)close(w->fd);
    hash128_stream_free(w->base_hash);
    free(w->index);
    free(w->folder);
    free(w->path);
    free(w->path_temp);
    free(w);
}

// Writes what is gathered and waits until the disk has it: a daemon's flush on the same disk must
// never find much of it before it.
static void step_write(struct slice_writer *w)
{
    for (size_t done = 0; done < w->used && w->rc == 0;) {
        ssize_t n = write(w->fd, w->step + done, w->used - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            w->rc = n == 0 ? EIO : errno;
    }
    unsigned whole =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    // Where the file system has no such call, the flush at the end does it all.
    (void)sync_file_range(w->fd, 0, 0, whole);
    w->used = 0;
}

static void bytes_add(struct slice_writer *w, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    w->at += size;
    while (size > 0 && w->rc == 0) {
        size_t part = STEP_BYTES - w->used < size ? STEP_BYTES - w->used : size;
        memcpy(w->step + w->used, from, part);
        w->used += part;
        from += part;
        size -= part;
        if (w->used == STEP_BYTES) step_write(w);
    }
}

// The folder that PATH is in. Returned, caller frees; NULL without memory.
static char *folder_of(const char *path)
{
    char *folder = NULL;
    const char *slash = strrchr(path, '/');
    int size = slash == NULL ? 0 : (int)(slash - path);
    if (slash == NULL) return strdup(".");
    if (size == 0) return strdup("/");
    return asprintf(&folder, "%.*s", size, path) < 0 ? NULL : folder;
}

static int taken(struct journal_problem *problem, const char *path)
{
    (void)journal_problem(problem, BOSKOS_E_IO, 0,
                          "%s is there already, and is not written over: choose another name",
                          path);
    errno = EEXIST;
    return BOSKOS_E_IO;
}

// Without following a link, and never what is there: PATH may lie where others write too.
static int temp_open(struct slice_writer *w, struct journal_problem *problem)
{
    struct stat status;
    if (lstat(w->path, &status) == 0) return taken(problem, w->path);
    w->fd = open(w->path_temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (w->fd >= 0) return 0;
    if (errno != EEXIST) return slice_failed(problem, errno, w->path_temp, "write it");
    (void)journal_problem(problem, BOSKOS_E_IO, 0,
                          "%s is there already: an export is being written, or was killed; "
                          "remove it if none is, or choose another name",
                          w->path_temp);
    errno = EEXIST;
    return BOSKOS_E_IO;
}

int slice_begin(const char *path, const struct slice_about *about, struct slice_writer **ret_writer,
                struct journal_problem *problem)
{
    struct text version = about->created_by;
    ASSERT(version.size <= SLICE_CREATED_BY_BYTES_MAX);
    ASSERT(version.size == 0 || memchr(version.data, 0, version.size) == NULL);
    ASSERT(about->base_seq > 0 ||
           (about->base_time_ns == 0 && hash128_equal(about->base_chain, (struct hash128){0, 0})));

    int err = 0;
    struct slice_writer *w = calloc(1, sizeof(*w));
    if (w != NULL) {
        w->fd = -1;
        w->folder = folder_of(path);
        w->path = strdup(path);
        if (asprintf(&w->path_temp, "%s.tmp", path) < 0) w->path_temp = NULL;
        w->base_hash = hash128_stream_new();
    }
    if (w == NULL || w->folder == NULL || w->path == NULL || w->path_temp == NULL ||
        w->base_hash == NULL) {
        err = journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory to write it", path);
        goto out;
    }
    err = temp_open(w, problem);
    if (err != 0) goto out;

    uint8_t header[SLICE_HEADER_BYTES];
    slice_header_encode(about, header);
    bytes_add(w, header, sizeof(header));
    w->header_checksum = hash128_decode(header + SLICE_HEADER_FIELDS_BYTES);
    w->base_seq = w->last_seq = about->base_seq;
    w->last_time_ns = about->base_time_ns;
    w->last_chain = about->base_chain;

    *ret_writer = w;
    w = NULL;
out:
    writer_free(w);
    return err;
}

// What went wrong so far.
static int writer_error(const struct slice_writer *w)
{
    if (w->too_large) return BOSKOS_E_TOO_LARGE;
    if (w->rc != 0) errno = w->rc;
    return journal_error_of(w->rc);
}

int slice_add_base(struct slice_writer *w, const void *bytes, size_t size)
{
    ASSERT(w->base_seq > 0 && w->last_seq == w->base_seq);
    if (size > JOURNAL_SNAPSHOT_BYTES_MAX - w->base_bytes) w->too_large = true;
    if (!w->too_large) {
        w->base_bytes += size;
        hash128_stream_add(w->base_hash, bytes, size);
        bytes_add(w, bytes, size);
    }
    return writer_error(w);
}

// Notes where the next record begins.
static void index_add(struct slice_writer *w)
{
    if (w->index_size == w->index_capacity) {
        size_t more = w->index_capacity == 0 ? 64 * SLICE_INDEX_ENTRY_BYTES : w->index_capacity * 2;
        uint8_t *moved = realloc(w->index, more);
        if (moved == NULL) {
            w->rc = ENOMEM;
            return;
        }
        w->index = moved;
        w->index_capacity = more;
    }
    bytes_put_u64(w->index + w->index_size, w->at);
    hash128_encode(w->last_chain, w->index + w->index_size + 8);
    w->index_size += SLICE_INDEX_ENTRY_BYTES;
}

int slice_add(struct slice_writer *w, struct record *record, const struct journal_row *row)
{
    if (w->rc != 0 || w->too_large) return writer_error(w);
    ASSERT(w->last_seq < UINT64_MAX - 1 && record->seq == w->last_seq + 1);
    ASSERT(record->payload.size <= JOURNAL_PAYLOAD_BYTES_MAX);
    ASSERT(row->seq == 0 || row->seq == record->seq);
    ASSERT(row->bytes.size <= JOURNAL_ROW_BYTES_MAX);
    uint8_t chained[RECORD_CHAINED_BYTES];
    record_chained_encode(record, w->last_chain, chained);
    if (record_checksum(chained, record->payload, &record->chain) != 0) w->rc = ENOMEM;
    if ((w->last_seq - w->base_seq) % SLICE_INDEX_EVERY == 0) index_add(w);
    if (w->rc != 0) return writer_error(w);

    bool has_row = row->seq != 0;
    uint8_t frame[SLICE_FRAME_BYTES], checksum[HASH128_BYTES];
    bytes_put_u64(frame, RECORD_HEAD_BYTES + (uint64_t)record->payload.size);
    bytes_put_u64(frame + 8, has_row ? (uint64_t)row->bytes.size + ROW_CHECKSUM_BYTES : 0);
    bytes_put_u64(frame + SLICE_SIZES_BYTES, slice_frame_checksum(record->seq, frame));
    hash128_encode(record->chain, checksum);
    bytes_add(w, frame, sizeof(frame));
    bytes_add(w, chained + HASH128_BYTES + KEY_BYTES, RECORD_FIELDS_BYTES);
    bytes_add(w, checksum, sizeof(checksum));
    bytes_add(w, record->payload.data, record->payload.size);
    if (has_row) {
        uint8_t row_end[ROW_CHECKSUM_BYTES];
        bytes_put_u64(row_end, slice_row_checksum(record->seq, row->bytes.data, row->bytes.size));
        bytes_add(w, row->bytes.data, row->bytes.size);
        bytes_add(w, row_end, sizeof(row_end));
    }
    w->last_seq = record->seq;
    w->last_time_ns = record->time_ns;
    w->last_chain = record->chain;
    return writer_error(w);
}

// The index and the trailer, and all of it on the disk.
static void end_write(struct slice_writer *w)
{
    struct slice_trailer t = {
        .base_bytes = w->base_bytes,
        .records_bytes = w->at - SLICE_HEADER_BYTES - w->base_bytes,
        .file_bytes = w->at + w->index_size + SLICE_TRAILER_BYTES,
        .base_checksum = hash128_stream_value(w->base_hash),
        .index_checksum = hash128(w->index, w->index_size),
        .last_seq = w->last_seq,
        .last_time_ns = w->last_time_ns,
        .last_chain = w->last_chain,
    };
    uint8_t trailer[SLICE_TRAILER_BYTES];
    slice_trailer_encode(&t, w->header_checksum, trailer);
    bytes_add(w, w->index, w->index_size);
    bytes_add(w, trailer, sizeof(trailer));
    if (w->rc == 0) step_write(w);
    if (w->rc == 0 && fsync(w->fd) != 0) w->rc = errno;
}

// Renames to a name that nobody has. 0 or an errno: EEXIST.
static int name_take(const char *path_temp, const char *path)
{
    if (renameat2(AT_FDCWD, path_temp, AT_FDCWD, path, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return errno;

    // The file system cannot: an empty file of ours holds the name, and is the one written over.
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0) return errno;
    (void)close(fd);
    if (rename(path_temp, path) == 0) return 0;
    int rc = errno;
    (void)unlink(path);
    return rc;
}

int slice_commit(struct slice_writer *w, struct journal_problem *problem)
{
    int err = 0;
    int rc = 0;
    if (w->too_large) {
        err = journal_problem(problem, BOSKOS_E_TOO_LARGE, 0,
                              "%s: its snapshot can have %u bytes and not more", w->path,
                              JOURNAL_SNAPSHOT_BYTES_MAX);
        goto out;
    }
    if (w->rc == 0) end_write(w);
    if (w->rc != 0) {
        err = slice_failed(problem, w->rc, w->path, "write it");
        goto out;
    }
    rc = name_take(w->path_temp, w->path);
    if (rc != 0) {
        err = rc == EEXIST ? taken(problem, w->path)
                           : slice_failed(problem, rc, w->path, "give it its name");
        goto out;
    }
    rc = journal_folder_sync(w->folder);
    if (rc != 0) {
        (void)unlink(w->path);
        err = slice_failed(problem, rc, w->folder, "flush the folder");
    }
    writer_free(w);
    return err;
out:
    slice_abort(w);
    return err;
}

void slice_abort(struct slice_writer *w)
{
    if (w == NULL) return;
    int error = errno;
    (void)unlink(w->path_temp);
    writer_free(w);
    errno = error; // of what led here
}
