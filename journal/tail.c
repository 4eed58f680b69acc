#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "journal/ahead.h"
#include "journal/internal.h"

#include "base/banned.h"

// Reading what AHEAD has beyond data.mdb. A frame counts when its position, its sequence number and
// its checksum are what they must be; the first that does not is the end. While a daemon writes,
// what is read may be written over at any moment: that is an end, too.

#define LOOK_BYTES (1024u * 1024) // looked through at once for frames behind the end
#define AT_FIRST 1024u

static int cannot_read(const struct journal *j, int rc, struct journal_problem *problem)
{
    return journal_failed(problem, rc, j->path, "read " AHEAD_NAME);
}

// The position that data.mdb says. 0 or an MDB_ code.
static int from_read(const struct journal *j, MDB_txn *txn, uint64_t *ret_from)
{
    MDB_val key = {strlen(META_AHEAD), (void *)(uintptr_t)META_AHEAD}, value;
    int rc = mdb_get(txn, j->meta, &key, &value);
    if (rc == MDB_NOTFOUND) *ret_from = 0;
    if (rc == 0 && value.mv_size != 8) return MDB_CORRUPTED;
    if (rc == 0) *ret_from = bytes_get_u64(value.mv_data);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static void reset(struct ahead_tail *t, uint64_t from, uint64_t first)
{
    buffer_clear(&t->run.bytes);
    t->run.first = t->run.end = first;
    t->run.until = t->from = from;
}

void ahead_tail_release(struct journal *j)
{
    buffer_release(&j->tail.run.bytes);
    free(j->tail.at);
    j->tail = (struct ahead_tail){0};
}

// Notes where the records of a new frame stand.
static bool places_note(struct ahead_tail *t, size_t at)
{
    struct ahead_record r;
    for (size_t i = (size_t)(t->run.end - t->run.first); ahead_record_at(&t->run, at, &r); i++) {
        if (i == t->at_size) {
            size_t more = i == 0 ? AT_FIRST : i * 2;
            uint32_t *grown = realloc(t->at, more * sizeof(*grown));
            if (grown == NULL) return false;
            t->at = grown;
            t->at_size = more;
        }
        t->at[i] = (uint32_t)at;
        at = r.next;
    }
    return true;
}

// Reads the frame at a position into `frame`, if there is one. 0 or an errno.
static int frame_read(int fd, uint64_t ring, uint64_t position, struct buffer *frame,
                      struct frame_head *ret_head, bool *ret_is_one)
{
    uint8_t *bytes = (uint8_t *)buffer_reserve(frame, FRAME_HEAD_BYTES);
    *ret_is_one = false;
    int rc = ahead_ring_read(fd, ring, position, bytes, FRAME_HEAD_BYTES);
    if (rc != 0 || !frame_head_decode(bytes, position, ring, ret_head)) return rc;
    frame->size = FRAME_HEAD_BYTES;
    size_t size = (size_t)ret_head->bytes;
    uint8_t *records = (uint8_t *)buffer_reserve(frame, size);
    rc = ahead_ring_read(fd, ring, position + FRAME_HEAD_BYTES, records, size);
    *ret_is_one = rc == 0 &&
                  hash128_equal(frame_checksum((uint8_t *)frame->data, size), ret_head->checksum) &&
                  ahead_records_check(records, size, ret_head->first, ret_head->count);
    frame->size = 0;
    return rc;
}

// Reads on from where the tail ends now. *ret_next is written when the frame that follows there
// is of other records. 0 or an errno.
static int frames_read(struct ahead_tail *t, int fd, uint64_t ring, uint64_t *ret_next)
{
    struct buffer frame;
    buffer_init(&frame);
    int rc = 0;
    bool is_one = true;
    while (t->run.until - t->from < ring) { // then it has gone round
        struct frame_head h = {0};
        rc = frame_read(fd, ring, t->run.until, &frame, &h, &is_one);
        if (rc == 0 && is_one && h.first != t->run.end) *ret_next = h.first;
        if (rc != 0 || !is_one || h.first != t->run.end) break;
        size_t at = t->run.bytes.size;
        buffer_append(&t->run.bytes, frame.data + FRAME_HEAD_BYTES, (size_t)h.bytes);
        t->run.chain = h.chain;
        if (!places_note(t, at)) {
            t->run.bytes.size = at;
            rc = ENOMEM;
            break;
        }
        t->run.end += h.count;
        t->run.until += FRAME_HEAD_BYTES + h.bytes;
    }
    buffer_release(&frame);
    return rc;
}

// Is there a frame at this place of the ring that was written behind the end, in whatever round?
// 0 or an errno.
static int later_look(const struct ahead_tail *t, int fd, uint64_t ring, uint64_t at,
                      struct buffer *frame, bool *ret_is_later)
{
    uint8_t head[FRAME_HEAD_BYTES];
    struct frame_head h = {0};
    bool is_one = false;
    int rc = ahead_ring_read(fd, ring, at, head, sizeof(head));
    uint64_t position = frame_position(head);
    if (rc != 0 || position <= t->run.until || position % ring != at % ring) return rc;
    rc = frame_read(fd, ring, position, frame, &h, &is_one);
    *ret_is_later = rc == 0 && is_one && h.first > t->run.end;
    return rc;
}

// A frame is written when the one before it is flushed. So where there is a good one of a higher
// position, what is at the end was acknowledged once: it is damaged, or data.mdb is an older one
// and the ring has gone round since. 0 or an errno.
static int behind_look(const struct ahead_tail *t, int fd, uint64_t ring, bool *ret_is_damaged)
{
    int rc = 0;
    struct buffer bytes, frame;
    buffer_init(&bytes);
    buffer_init(&frame);
    for (uint64_t at = 0; at < ring && rc == 0 && !*ret_is_damaged; at += LOOK_BYTES) {
        size_t size = ring - at < LOOK_BYTES ? (size_t)(ring - at) : LOOK_BYTES;
        const uint8_t *look = (uint8_t *)buffer_reserve(&bytes, size);
        rc = ahead_ring_read(fd, ring, at, (uint8_t *)(uintptr_t)look, size);
        for (size_t i = 0; i < size && rc == 0 && !*ret_is_damaged; i += 8) {
            if (frame_magic_is_at(look + i))
                rc = later_look(t, fd, ring, at + i, &frame, ret_is_damaged);
        }
    }
    buffer_release(&bytes);
    buffer_release(&frame);
    return rc;
}

static int tail_read(struct journal *j, int fd, uint64_t ring, bool is_quiet,
                     struct journal_problem *problem)
{
    bool is_damaged = false;
    uint64_t next = 0;
    struct ahead_tail *t = &j->tail;
    if (ring == 0 || ring % FRAME_RING_UNIT != 0 || ring > AHEAD_BYTES_MAX) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, 0,
                               "%s/" AHEAD_NAME " is damaged: its size is impossible", j->path);
    }
    int rc = frames_read(t, fd, ring, &next);
    if (rc == 0 && is_quiet && next != 0) {
        return journal_problem(problem, BOSKOS_E_CORRUPT, t->run.end - 1,
                               "%s/" DATA_NAME ": the log ends at record %" PRIu64
                               ", but " AHEAD_NAME " goes on with record %" PRIu64
                               ": acknowledged commands are lost",
                               j->path, t->run.end - 1, next);
    }
    if (rc == 0 && is_quiet) rc = behind_look(t, fd, ring, &is_damaged);
    if (rc != 0) return cannot_read(j, rc, problem);
    if (!is_damaged) return 0;
    return journal_problem(problem, BOSKOS_E_CORRUPT, t->run.end,
                           "%s/" AHEAD_NAME ": record %" PRIu64
                           " is damaged there, and not in " DATA_NAME
                           ", though later ones are there: acknowledged commands are "
                           "lost",
                           j->path, t->run.end);
}

int ahead_tail_read(struct journal *j, MDB_txn *txn, bool is_quiet, struct journal_problem *problem)
{
    struct stat status;
    uint64_t from = 0, first = atomic_load(&j->drained);
    struct ahead_tail *t = &j->tail;
    int rc = from_read(j, txn, &from);
    if (rc != 0) return journal_failed(problem, rc, j->path, "read data.mdb");
    if (t->from != from || t->run.first != first || !t->is_acknowledged) reset(t, from, first);
    t->is_acknowledged = false; // whoever knows better says so

    char *path = journal_path(j->path, AHEAD_NAME);
    int fd = path == NULL ? -ENOMEM : journal_plain_open(path, O_RDONLY);
    rc = fd < 0 ? -fd : 0;
    if (rc == 0 && fstat(fd, &status) != 0) rc = errno;
    free(path);
    if (rc == 0 || rc == ENOENT) t->is_there = rc == 0;
    if (rc == ENOENT) {
        reset(t, from, first);
        return 0;
    }
    int err = rc == 0 ? tail_read(j, fd, (uint64_t)status.st_size, is_quiet, problem)
                      : cannot_read(j, rc, problem);
    if (fd >= 0) (void)close(fd);
    return err;
}

bool ahead_tail_find(const struct journal *j, uint64_t seq, struct ahead_record *ret_record)
{
    const struct ahead_tail *t = &j->tail;
    if (seq < t->run.first || seq >= t->run.end) return false;
    return ahead_record_at(&t->run, t->at[seq - t->run.first], ret_record);
}
