#include "journal/ahead.h"
#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/banned.h"

// The bytes (docs/FORMAT.md).
#define MAGIC "BOSKOSWT"
#define WITNESS_FORMAT 1u
#define FIELDS_BYTES 48

// ---- the file ---------------------------------------------------------------

static void encode(const struct witness *w, uint8_t ret_bytes[WITNESS_BYTES])
{
    memset(ret_bytes, 0, WITNESS_BYTES);
    memcpy(ret_bytes, MAGIC, 8);
    bytes_put_u16(ret_bytes + 8, WITNESS_FORMAT);
    bytes_put_u64(ret_bytes + 16, w->seq);
    bytes_put_u64(ret_bytes + 24, w->time_ns);
    hash128_encode(w->chain, ret_bytes + 32);
    hash128_encode(hash128(ret_bytes, FIELDS_BYTES), ret_bytes + FIELDS_BYTES);
}

// 0 or an errno. One write: whoever reads it later finds the old one or the new one, or, when the
// power went just then and the disk is a bad one, a checksum that does not fit.
static int put(int fd, const struct witness *w)
{
    uint8_t bytes[WITNESS_BYTES];
    encode(w, bytes);
    ssize_t n = pwrite(fd, bytes, sizeof(bytes), 0);
    if (n < 0) return errno;
    return n == (ssize_t)sizeof(bytes) ? 0 : ENOSPC;
}

int witness_make(const char *folder, const struct witness *w, int *ret_fd)
{
    int fd = -1;
    int rc = ENOMEM;
    char *path = journal_path(folder, WITNESS_NAME);
    if (path == NULL) goto out;
    fd = journal_file_open(path, O_RDWR | O_CREAT);
    rc = fd < 0 ? -fd : 0;
    if (rc == 0 && ftruncate(fd, WITNESS_BYTES) != 0) rc = errno;
    if (rc == 0) rc = put(fd, w);
    if (rc == 0 && fsync(fd) != 0) rc = errno;
    if (rc == 0) rc = journal_folder_sync(folder);
    if (rc == 0 || (fd >= 0 && journal_error_of(rc) == BOSKOS_E_NOSPACE)) {
        *ret_fd = fd;
        fd = -1;
    }
out:
    if (fd >= 0) (void)close(fd);
    free(path);
    return rc;
}

int witness_read(const char *folder, struct witness *ret_witness, struct journal_problem *problem)
{
    uint8_t bytes[WITNESS_BYTES + 1];
    int err = 0;
    char *path = journal_path(folder, WITNESS_NAME);
    if (path == NULL) return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory", folder);
    int fd = journal_plain_open(path, O_RDONLY);
    ssize_t size = fd < 0 ? -1 : pread(fd, bytes, sizeof(bytes), 0);
    if (fd == -ENOENT) {
        err = journal_problem(problem, BOSKOS_E_NOT_FOUND, 0, "%s is missing", path);
    } else if (size < 0) {
        err = journal_failed(problem, fd < 0 ? -fd : errno, path, "read it");
    } else if (size != WITNESS_BYTES || memcmp(bytes, MAGIC, 8) != 0 ||
               !hash128_equal(hash128(bytes, FIELDS_BYTES), hash128_decode(bytes + FIELDS_BYTES))) {
        err = journal_problem(problem, BOSKOS_E_CORRUPT, 0, "%s is damaged", path);
    } else if (bytes_get_u16(bytes + 8) != WITNESS_FORMAT) {
        err = journal_problem(problem, BOSKOS_E_TOO_NEW, 0,
                              "%s was written by a newer boskosd (format %u, this one knows %u); "
                              "start that one",
                              path, bytes_get_u16(bytes + 8), WITNESS_FORMAT);
    } else {
        *ret_witness = (struct witness){.seq = bytes_get_u64(bytes + 16),
                                        .time_ns = bytes_get_u64(bytes + 24),
                                        .chain = hash128_decode(bytes + 32)};
    }
    if (fd >= 0) (void)close(fd);
    free(path);
    return err;
}

// ---- the journal's ----------------------------------------------------------

static struct witness witness_of(const struct journal *j)
{
    return (struct witness){
        .seq = journal_end(j) - 1, .time_ns = j->last_time_ns, .chain = j->last_chain};
}

static void notice(struct journal *j, const char *what)
{
    if (j->noticed != NULL) j->noticed(j->context, what);
}

// Without space for it the log is as durable as ever, and only less well watched over: it is said
// once.
static void notice_full(struct journal *j, int rc)
{
    char what[512];
    if (j->witness_is_full) return;
    j->witness_is_full = true;
    (void)snprintf(what, sizeof(what),
                   "%s/" WITNESS_NAME " cannot be written (%s): the log is complete without, but a "
                   "loss of its end may not be noticed",
                   j->path, strerror(rc));
    notice(j, what);
}

// Is the record of the witness in the log, as it was acknowledged? One that was trimmed is not
// looked for.
static int check(struct journal *j, const struct witness *w, struct journal_problem *problem)
{
    uint64_t last = journal_end(j) - 1;
    bool has_ahead = j->ahead != NULL || j->tail.is_there; // it may be what has lost it
    if (w->seq > last) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, last,
                               "%s/data.mdb%s: the log ends at record %" PRIu64
                               ", but " WITNESS_NAME " says that record %" PRIu64
                               " was acknowledged: acknowledged commands are lost",
                               j->path, has_ahead ? " and " AHEAD_NAME : "", last, w->seq);
    }
    if (w->seq < journal_first(j)) return 0;

    MDB_txn *txn = NULL;
    struct hash128 chain = {0, 0};
    int err = journal_read_begin(j, &txn, problem);
    if (err != 0) return err;
    err = journal_chain_read(j, txn, w->seq, &chain, problem);
    journal_read_end(j, txn);
    if (err != 0 || hash128_equal(chain, w->chain)) return err;
    return journal_problem(problem, BOSKOS_E_CORRUPT, w->seq,
                           "%s/data.mdb: record %" PRIu64 " is another than the one that was "
                           "acknowledged, says " WITNESS_NAME "; the log ends at record %" PRIu64,
                           j->path, w->seq, last);
}

// One that is missing, of an older version's folder, or damaged itself says nothing.
static void notice_none(struct journal *j, const char *why, const char *then)
{
    char what[sizeof(((struct journal_problem *)NULL)->text) + 128];
    (void)snprintf(what, sizeof(what),
                   "%s: whether the log has lost its end cannot be told this time%s", why, then);
    notice(j, what);
}

static int make_anew(struct journal *j, const char *why, struct journal_problem *problem)
{
    struct witness w = witness_of(j);
    notice_none(j, why, "; it is made anew");
    int rc = witness_make(j->path, &w, &j->witness_fd);
    if (rc == 0) return 0;
    if (j->witness_fd < 0) return journal_failed(problem, rc, j->path, "make " WITNESS_NAME);
    notice_full(j, rc);
    return 0;
}

int witness_open(struct journal *j, struct journal_problem *problem)
{
    struct witness w = {0};
    struct journal_problem found = {0};
    int err = witness_read(j->path, &w, &found);
    if (err == BOSKOS_E_NOT_FOUND || err == BOSKOS_E_CORRUPT)
        return make_anew(j, found.text, problem);
    if (err != 0) return journal_problem(problem, err, 0, "%s", found.text);
    err = check(j, &w, problem);
    if (err != 0) return err;

    char *path = journal_path(j->path, WITNESS_NAME);
    int fd = path == NULL ? -ENOMEM : journal_file_open(path, O_RDWR);
    free(path);
    if (fd < 0) return journal_failed(problem, -fd, j->path, "write " WITNESS_NAME);
    j->witness_fd = fd;
    return 0;
}

// The witness is read first: it is written behind the log, so that a log that is looked at later
// has what it says, even if a daemon comes between. Only a repair may do so too, and then it is
// read once more.
int witness_check(struct journal *j, struct journal_problem *problem)
{
    for (int i = 0;; i++) {
        struct witness w = {0};
        struct journal_problem found = {0};
        int read = witness_read(j->path, &w, &found);
        int err = journal_ends_find(j, problem);
        if (err != 0 || j->is_beside) return err;
        if (read == BOSKOS_E_NOT_FOUND || read == BOSKOS_E_CORRUPT) {
            notice_none(j, found.text, "");
            j->witness =
                read == BOSKOS_E_CORRUPT ? JOURNAL_WITNESS_DAMAGED : JOURNAL_WITNESS_MISSING;
            return 0;
        }
        if (read != 0) return journal_problem(problem, read, 0, "%s", found.text);
        err = check(j, &w, problem);
        if (err == 0) j->witness = JOURNAL_WITNESS_GOOD;
        if (err != BOSKOS_E_CORRUPT || i > 0) return err;
    }
}

int witness_write(struct journal *j, struct journal_problem *problem)
{
    struct witness w = witness_of(j);
    int rc = put(j->witness_fd, &w);
    if (rc == 0) return 0;
    if (journal_error_of(rc) != BOSKOS_E_NOSPACE)
        return journal_failed(problem, rc, j->path, "write " WITNESS_NAME);
    notice_full(j, rc);
    return 0;
}
