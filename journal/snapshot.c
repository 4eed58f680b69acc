#include "journal/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

// A snapshot file (docs/FORMAT.md): 80 bytes of header, the content, 24 bytes of trailer.
#define MAGIC "BOSKOSNP"
#define SNAPSHOT_FORMAT 1u
#define HEADER_FIELDS_BYTES 64
#define HEADER_BYTES (HEADER_FIELDS_BYTES + HASH128_BYTES)
#define TRAILER_BYTES (8 + HASH128_BYTES)

#define STEP_BYTES (256u * 1024) // written and waited for at a time
#define STEP_PAUSE_NS 3000000l   // afterwards, for others who want the disk and the processor
#define NAME_BYTES 48
#define NAME_PREFIX "snapshot-"
#define NAME_DIGITS 20
#define RESERVE_NAME "snapshot.reserve"
#define ENTRIES_MAX (4 * JOURNAL_SNAPSHOTS_MAX) // in the folder, of whatever name

struct journal_snapshot_writer {
    char *folder;
    char *path;      // snapshot-SEQ
    char *path_temp; // snapshot-SEQ.tmp
    int fd;
    int rc;         // the first errno
    bool too_large; // or this
    uint64_t content_bytes;
    struct hash128_stream *hash;
    size_t used;
    uint8_t step[STEP_BYTES];
};

struct journal_snapshot_map {
    void *bytes;
    size_t size;
};

char *snapshot_path(const struct journal *j, uint64_t seq, const char *suffix)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof(name), NAME_PREFIX "%020" PRIu64 "%s", seq, suffix);
    return journal_path(j->path, name);
}

// ---- header -----------------------------------------------------------------

static void header_encode(const struct journal_snapshot *about, uint8_t ret_bytes[HEADER_BYTES])
{
    memset(ret_bytes, 0, HEADER_BYTES);
    memcpy(ret_bytes, MAGIC, 8);
    bytes_put_u16(ret_bytes + 8, SNAPSHOT_FORMAT);
    bytes_put_u64(ret_bytes + 16, about->seq);
    bytes_put_u64(ret_bytes + 24, about->time_ns);
    hash128_encode(about->chain, ret_bytes + 32);
    hash128_encode(about->digest, ret_bytes + 48);
    hash128_encode(hash128(ret_bytes, HEADER_FIELDS_BYTES), ret_bytes + HEADER_FIELDS_BYTES);
}

static int header_decode(const char *path, const uint8_t bytes[HEADER_BYTES],
                         struct journal_snapshot *ret_about, struct journal_problem *problem)
{
    struct hash128 checksum = hash128_decode(bytes + HEADER_FIELDS_BYTES);
    if (memcmp(bytes, MAGIC, 8) != 0 ||
        !hash128_equal(hash128(bytes, HEADER_FIELDS_BYTES), checksum)) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0, "%s: the header is damaged", path);
    }
    uint16_t format = bytes_get_u16(bytes + 8);
    if (format > SNAPSHOT_FORMAT) {
        return journal_problem(problem, BOSKOS_E_TOO_NEW, 0,
                               "%s was written by a newer boskosd (format %u, this one knows %u)",
                               path, format, SNAPSHOT_FORMAT);
    }
    if (format == 0)
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0, "%s: it has no format", path);

    *ret_about = (struct journal_snapshot){
        .seq = bytes_get_u64(bytes + 16),
        .time_ns = bytes_get_u64(bytes + 24),
        .chain = hash128_decode(bytes + 32),
        .digest = hash128_decode(bytes + 48),
    };
    return 0;
}

// ---- write ------------------------------------------------------------------

static void writer_free(struct journal_snapshot_writer *w)
{
    if (w == NULL) return;
    if (w->fd >= 0) (void)close(w->fd);
    hash128_stream_free(w->hash);
    free(w->folder);
    free(w->path);
    free(w->path_temp);
    free(w);
}

// Writes what is gathered, waits until the disk has it, and pauses: the sequencer's flush must
// never find much of a snapshot before it. Only the last step asks the file system to record the
// file's size and place, which costs a commit of its own journal, that the sequencer's would wait
// for too.
static void step_write(struct journal_snapshot_writer *w, bool is_last)
{
    for (size_t done = 0; done < w->used && w->rc == 0;) {
        ssize_t n = write(w->fd, w->step + done, w->used - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            w->rc = n == 0 ? EIO : errno;
    }
    if (is_last) {
        // What was reserved may be more than it takes.
        uint64_t bytes = HEADER_BYTES + w->content_bytes + TRAILER_BYTES;
        if (w->rc == 0 && ftruncate(w->fd, (off_t)bytes) != 0) w->rc = errno;
        if (w->rc == 0 && fsync(w->fd) != 0) w->rc = errno;
        return;
    }
    unsigned whole =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    // Where the file system has no such call, the last flush does it all.
    (void)sync_file_range(w->fd, 0, 0, whole);
    (void)nanosleep(&(struct timespec){.tv_nsec = STEP_PAUSE_NS}, NULL);
    w->used = 0;
}

static void bytes_add(struct journal_snapshot_writer *w, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    hash128_stream_add(w->hash, from, size);
    while (size > 0 && w->rc == 0) {
        size_t part = STEP_BYTES - w->used < size ? STEP_BYTES - w->used : size;
        memcpy(w->step + w->used, from, part);
        w->used += part;
        from += part;
        size -= part;
        if (w->used == STEP_BYTES) step_write(w, false);
    }
}

// Opens the temporary file: the reserve, where there is one.
static int temp_open(const struct journal *j, const char *path_temp)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC;
    char *reserve = journal_path(j->path, RESERVE_NAME);
    if (reserve == NULL) return -ENOMEM;
    if (rename(reserve, path_temp) == 0) flags = O_WRONLY;
    free(reserve);
    return journal_file_open(path_temp, flags);
}

int journal_snapshot_begin(struct journal *j, const struct journal_snapshot *about,
                           struct journal_snapshot_writer **ret_writer,
                           struct journal_problem *problem)
{
    int err = BOSKOS_E_NOMEM;
    struct journal_snapshot_writer *w = calloc(1, sizeof(*w));
    if (w == NULL) goto out;
    w->fd = -1;
    w->hash = hash128_stream_new();
    w->folder = strdup(j->path);
    w->path = snapshot_path(j, about->seq, "");
    w->path_temp = snapshot_path(j, about->seq, ".tmp");
    if (w->hash == NULL || w->folder == NULL || w->path == NULL || w->path_temp == NULL) goto out;

    w->fd = temp_open(j, w->path_temp);
    if (w->fd < 0) {
        err = journal_failed(problem, -w->fd, w->path_temp, "write it");
        goto out;
    }
    uint8_t header[HEADER_BYTES];
    header_encode(about, header);
    bytes_add(w, header, sizeof(header));

    *ret_writer = w;
    w = NULL;
    err = 0;
out:
    writer_free(w);
    if (err == BOSKOS_E_NOMEM)
        (void)journal_problem(problem, err, about->seq, "%s: no memory for a snapshot", j->path);
    return err;
}

// What went wrong so far.
static int writer_error(const struct journal_snapshot_writer *w)
{
    if (w->too_large) return BOSKOS_E_TOO_LARGE;
    if (w->rc != 0) errno = w->rc;
    return journal_error_of(w->rc);
}

int journal_snapshot_add(struct journal_snapshot_writer *w, const void *bytes, size_t size)
{
    if (size > JOURNAL_SNAPSHOT_BYTES_MAX - w->content_bytes) w->too_large = true;
    if (!w->too_large) {
        w->content_bytes += size;
        bytes_add(w, bytes, size);
    }
    return writer_error(w);
}

int journal_snapshot_commit(struct journal_snapshot_writer *w, struct journal_problem *problem)
{
    if (w->too_large) {
        int err = journal_problem(problem, BOSKOS_E_TOO_LARGE, 0,
                                  "%s: a snapshot can have %u bytes and not more", w->path,
                                  JOURNAL_SNAPSHOT_BYTES_MAX);
        journal_snapshot_abort(w);
        return err;
    }

    uint8_t trailer[TRAILER_BYTES];
    bytes_put_u64(trailer, w->content_bytes);
    hash128_stream_add(w->hash, trailer, 8);
    hash128_encode(hash128_stream_value(w->hash), trailer + 8);
    bytes_add(w, trailer, sizeof(trailer));
    if (w->rc == 0) step_write(w, true);
    if (w->rc == 0 && rename(w->path_temp, w->path) != 0) w->rc = errno;
    if (w->rc == 0) w->rc = journal_folder_sync(w->folder);
    if (w->rc != 0) {
        int err = journal_failed(problem, w->rc, w->path, "write it");
        journal_snapshot_abort(w);
        return err;
    }
    writer_free(w);
    return 0;
}

void journal_snapshot_abort(struct journal_snapshot_writer *w)
{
    if (w == NULL) return;
    (void)unlink(w->path_temp);
    writer_free(w);
}

int journal_snapshot_reserve(struct journal *j, uint64_t bytes, struct journal_problem *problem)
{
    int rc = ENOMEM;
    char *path = journal_path(j->path, RESERVE_NAME);
    int fd = path != NULL ? journal_file_open(path, O_WRONLY | O_CREAT) : -ENOMEM;
    struct stat status;
    if (fd < 0)
        rc = -fd;
    else if (fstat(fd, &status) != 0)
        rc = errno;
    else if ((uint64_t)status.st_size >= bytes)
        rc = 0;
    else
        rc = posix_fallocate(fd, 0, (off_t)bytes);
    if (fd >= 0) (void)close(fd);
    free(path);
    return rc == 0 ? 0 : journal_failed(problem, rc, j->path, "keep room for the next snapshot");
}

// ---- list -------------------------------------------------------------------

// Reads the sequence number out of snapshot-SEQ and says where the name goes on. NULL: another
// name.
static const char *name_parse(const char *name, uint64_t *ret_seq)
{
    size_t prefix = strlen(NAME_PREFIX);
    if (strncmp(name, NAME_PREFIX, prefix) != 0) return NULL;
    uint64_t seq = 0;
    const char *digits = name + prefix;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (digits[i] < '0' || digits[i] > '9') return NULL;
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (seq > (UINT64_MAX - digit) / 10) return NULL;
        seq = seq * 10 + digit;
    }
    *ret_seq = seq;
    return digits + NAME_DIGITS;
}

static int newest_first(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

static int seq_keep(uint64_t seq, uint64_t **seqs, size_t *count, size_t *capacity)
{
    if (*count == JOURNAL_SNAPSHOTS_MAX) return BOSKOS_E_TOO_LARGE;
    if (*count == *capacity) {
        size_t more = *capacity == 0 ? 16 : *capacity * 2;
        uint64_t *moved = realloc(*seqs, more * sizeof(*moved));
        if (moved == NULL) return BOSKOS_E_NOMEM;
        *seqs = moved;
        *capacity = more;
    }
    (*seqs)[(*count)++] = seq;
    return 0;
}

int journal_snapshots(struct journal *j, bool clean, uint64_t **ret_seqs, size_t *ret_count)
{
    uint64_t *seqs = NULL;
    size_t count = 0, capacity = 0;
    int err = 0;
    DIR *dir = opendir(j->path);
    if (dir == NULL) return journal_error_of(errno);

    for (uint32_t i = 0; err == 0; i++) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            err = journal_error_of(errno);
            break;
        }
        uint64_t seq = 0;
        const char *rest = name_parse(entry->d_name, &seq);
        if (i == ENTRIES_MAX) {
            err = BOSKOS_E_TOO_LARGE;
        } else if (rest != NULL && rest[0] == '\0') {
            err = seq_keep(seq, &seqs, &count, &capacity);
        } else if (rest != NULL && clean && strcmp(rest, ".tmp") == 0) {
            if (unlinkat(dirfd(dir), entry->d_name, 0) != 0) err = journal_error_of(errno);
        }
    }
    if (err != 0) goto out;

    if (count > 0) qsort(seqs, count, sizeof(*seqs), newest_first);
    *ret_seqs = seqs;
    *ret_count = count;
    seqs = NULL;
out:
    free(seqs);
    (void)closedir(dir);
    return err;
}

// ---- read -------------------------------------------------------------------

static int file_map(const char *path, struct journal_snapshot_map *ret_map,
                    struct journal_problem *problem)
{
    int err = 0;
    struct stat status;
    int fd = journal_plain_open(path, O_RDONLY);
    if (fd == -ENOENT)
        return journal_problem(problem, BOSKOS_E_NOT_FOUND, 0, "%s is not there", path);
    if (fd == -NOT_PLAIN)
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0, "%s: it is no plain file", path);
    if (fd < 0 || fstat(fd, &status) != 0) {
        err = journal_failed(problem, fd < 0 ? -fd : errno, path, "open it");
        goto out;
    }
    uint64_t size = (uint64_t)status.st_size;
    if (size < HEADER_BYTES + TRAILER_BYTES) {
        err = journal_problem(problem, BOSKOS_E_CORRUPT, 0,
                              "%s is cut short: it has %" PRIu64 " bytes", path, size);
        goto out;
    }
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        err = journal_failed(problem, errno, path, "map it");
        goto out;
    }
    (void)madvise(bytes, size, MADV_SEQUENTIAL);
    *ret_map = (struct journal_snapshot_map){bytes, size};
out:
    if (fd >= 0) (void)close(fd);
    return err;
}

static int file_check(const char *path, const struct journal_snapshot_map *map, uint64_t seq,
                      struct journal_snapshot *ret_about, struct journal_problem *problem)
{
    const uint8_t *bytes = map->bytes;
    struct journal_snapshot about = {0};
    int err = header_decode(path, bytes, &about, problem);
    if (err != 0) return err;
    if (about.seq != seq) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, seq,
                               "%s: it is the snapshot of record %" PRIu64, path, about.seq);
    }

    const uint8_t *trailer = bytes + map->size - TRAILER_BYTES;
    uint64_t content_bytes = map->size - HEADER_BYTES - TRAILER_BYTES;
    if (bytes_get_u64(trailer) != content_bytes || content_bytes > JOURNAL_SNAPSHOT_BYTES_MAX) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, seq,
                               "%s: its length is not the one it says", path);
    }
    struct hash128 checksum = hash128_decode(trailer + 8);
    if (!hash128_equal(hash128(bytes, map->size - HASH128_BYTES), checksum)) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, seq, "%s: its checksum does not fit",
                               path);
    }
    about.bytes = map->size;
    *ret_about = about;
    return 0;
}

int journal_snapshot_open(struct journal *j, uint64_t seq, struct journal_snapshot *ret_about,
                          struct text *ret_bytes, struct journal_snapshot_map **ret_map,
                          struct journal_problem *problem)
{
    int err = BOSKOS_E_NOMEM;
    char *path = snapshot_path(j, seq, "");
    struct journal_snapshot_map *map = calloc(1, sizeof(*map));
    if (path == NULL || map == NULL) {
        (void)journal_problem(problem, err, seq, "%s: no memory for a snapshot", j->path);
        goto out;
    }
    err = file_map(path, map, problem);
    if (err != 0) goto out;
    ASSERT(map->bytes != NULL);
    err = file_check(path, map, seq, ret_about, problem);
    if (err != 0) goto out;

    *ret_bytes =
        text_of((const char *)map->bytes + HEADER_BYTES, map->size - HEADER_BYTES - TRAILER_BYTES);
    *ret_map = map;
    map = NULL;
out:
    journal_snapshot_close(map);
    free(path);
    return err;
}

void journal_snapshot_close(struct journal_snapshot_map *m)
{
    if (m == NULL) return;
    if (m->bytes != NULL) (void)munmap(m->bytes, m->size);
    free(m);
}

int journal_snapshot_about(struct journal *j, uint64_t seq, struct journal_snapshot *ret_about,
                           struct journal_problem *problem)
{
    struct journal_snapshot about = {0};
    struct journal_snapshot_map map = {0};
    char *path = snapshot_path(j, seq, "");
    if (path == NULL)
        return journal_problem(problem, BOSKOS_E_NOMEM, seq, "%s: no memory", j->path);
    int err = file_map(path, &map, problem);
    if (err == 0) {
        ASSERT(map.bytes != NULL);
        err = header_decode(path, map.bytes, &about, problem);
    }
    if (err == 0) {
        about.bytes = map.size;
        *ret_about = about;
    }
    if (map.bytes != NULL) (void)munmap(map.bytes, map.size);
    free(path);
    return err;
}

// ---- put away ---------------------------------------------------------------

int journal_snapshot_set_aside(struct journal *j, uint64_t seq)
{
    int rc = 0;
    char *path = snapshot_path(j, seq, "");
    char *bad = snapshot_path(j, seq, ".bad");
    if (path == NULL || bad == NULL)
        rc = ENOMEM;
    else if (rename(path, bad) != 0)
        rc = errno;
    else
        rc = journal_folder_sync(j->path);
    free(path);
    free(bad);
    if (rc == ENOENT) return BOSKOS_E_NOT_FOUND;
    return journal_error_of(rc);
}

int journal_snapshot_remove(struct journal *j, uint64_t seq)
{
    int rc = 0;
    char *path = snapshot_path(j, seq, "");
    if (path == NULL)
        rc = ENOMEM;
    else if (unlink(path) != 0)
        rc = errno;
    else
        rc = journal_folder_sync(j->path);
    free(path);
    if (rc == ENOENT) return BOSKOS_E_NOT_FOUND;
    return journal_error_of(rc);
}
