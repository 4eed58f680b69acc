#include "tests/rigs/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

#include "base/banned.h"

#define SECTOR 512u
#define NAME_BYTES 64
#define PATH_BYTES 1024
#define FDS_MAX 1024
#define DEPTH_MAX 4
#define NONE UINT32_MAX // no file

enum op_kind { OP_NAME, OP_WRITE, OP_SIZE, OP_FLUSH, OP_PROMISE };

struct op {
    enum op_kind kind;
    uint32_t file;   // written, sized, flushed; of OP_NAME: what `name` then stands for, or NONE
    uint32_t folder; // OP_NAME: the folder of both names
    char name[NAME_BYTES], from[NAME_BYTES]; // OP_NAME; `from` is no name then; empty: none
    uint64_t offset, size;                   // OP_WRITE; OP_SIZE
    uint8_t *bytes;                          // OP_WRITE
    bool is_flushed;                         // OP_WRITE through O_DSYNC
    bool may_shrink;                         // OP_SIZE
    uint64_t seq;                            // OP_PROMISE
};

struct bytes {
    uint8_t *data;
    uint64_t size;     // of the file
    uint64_t capacity; // what lies beyond is zero
};

struct file {
    bool is_folder, is_mapped;
    struct bytes flushed;
    uint32_t *pending; // operations since the last flush
    size_t pending_count, pending_capacity;
};

struct name {
    uint32_t folder, file; // file NONE: the name is free
    char text[NAME_BYTES];
};

struct names {
    struct name *list;
    size_t count, capacity;
};

struct disk {
    char root[PATH_BYTES];
    enum disk_blind blind;
    char unknown[PATH_BYTES + 128];
    struct op *ops;
    size_t ops_count, ops_capacity;
    struct file *files; // 0 is the root
    size_t files_count, files_capacity;

    // While recording: the names as the program sees them, what its descriptors stand for.
    struct names now;
    uint32_t of_fd[FDS_MAX];
    bool is_dsync[FDS_MAX];

    // While playing.
    struct names flushed;
    size_t point;
    uint64_t promised;
};

uint64_t disk_random(uint64_t *state, uint64_t bound)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % bound;
}

#define FATE_TEXT(name) #name,

const char *disk_fate_name(enum disk_fate fate)
{
    static const char *const names[] = {DISK_FATES(FATE_TEXT)};
    return names[fate];
}

// ---- bytes and names --------------------------------------------------------

static void bytes_put(struct bytes *b, uint64_t offset, const uint8_t *from, uint64_t size)
{
    if (offset + size > b->capacity) {
        uint64_t capacity = (offset + size) * 2;
        b->data = must_realloc(b->data, capacity);
        memset(b->data + b->capacity, 0, capacity - b->capacity);
        b->capacity = capacity;
    }
    if (size == 0) return;
    ASSERT(b->data != NULL);
    memcpy(b->data + offset, from, size);
}

static void bytes_resize(struct bytes *b, uint64_t size)
{
    if (size < b->size && size < b->capacity) memset(b->data + size, 0, b->capacity - size);
    b->size = size;
}

static struct bytes bytes_copy(const struct bytes *b)
{
    struct bytes copy = {.size = b->size, .capacity = b->capacity};
    if (b->capacity == 0) return copy;
    copy.data = must_malloc(b->capacity);
    memcpy(copy.data, b->data, b->capacity);
    return copy;
}

static struct name *names_find(const struct names *n, uint32_t folder, const char *text)
{
    for (size_t i = 0; i < n->count; i++) {
        if (n->list[i].folder == folder && strcmp(n->list[i].text, text) == 0) return &n->list[i];
    }
    return NULL;
}

static void names_put(struct names *n, uint32_t folder, const char *text, uint32_t file)
{
    struct name *name = names_find(n, folder, text);
    if (name == NULL) {
        if (n->count == n->capacity) {
            n->capacity = n->capacity * 2 + 16;
            n->list = must_realloc(n->list, n->capacity * sizeof(n->list[0]));
        }
        name = &n->list[n->count++];
        *name = (struct name){.folder = folder};
        snprintf(name->text, sizeof(name->text), "%s", text);
    }
    name->file = file;
}

static void names_apply(struct names *n, const struct op *op)
{
    if (op->from[0] != '\0') names_put(n, op->folder, op->from, NONE);
    names_put(n, op->folder, op->name, op->file);
}

static uint32_t file_add(struct disk *d, bool is_folder)
{
    if (d->files_count == d->files_capacity) {
        d->files_capacity = d->files_capacity * 2 + 16;
        d->files = must_realloc(d->files, d->files_capacity * sizeof(d->files[0]));
    }
    d->files[d->files_count] = (struct file){.is_folder = is_folder};
    return (uint32_t)d->files_count++;
}

// ---- recording --------------------------------------------------------------

static void unknown(struct disk *d, const struct sys_op *op, const char *why)
{
    if (d->unknown[0] != '\0') return;
    snprintf(d->unknown, sizeof(d->unknown), "%s %s: %s", sys_call_name(op->call),
             op->path == NULL ? "" : op->path, why);
}

static struct op *op_add(struct disk *d, enum op_kind kind)
{
    if (d->ops_count == d->ops_capacity) {
        d->ops_capacity = d->ops_capacity * 2 + 1024;
        d->ops = must_realloc(d->ops, d->ops_capacity * sizeof(d->ops[0]));
    }
    d->ops[d->ops_count] = (struct op){.kind = kind};
    return &d->ops[d->ops_count++];
}

// Follows a path from the root. Its last name need not be there: *ret_file is NONE then. False when
// a folder on the way is not there.
static bool path_find(const struct disk *d, const char *path, uint32_t *ret_folder,
                      char ret_name[NAME_BYTES], uint32_t *ret_file)
{
    uint32_t way[DEPTH_MAX + 1] = {0}; // the folders above
    size_t depth = 0;
    uint32_t file = 0;
    ASSERT(path != NULL);
    const char *at = path + strlen(d->root);
    *ret_folder = NONE;
    ret_name[0] = '\0';
    while (*at != '\0') {
        at += strspn(at, "/");
        size_t size = strcspn(at, "/");
        if (size == 0) break;
        if (size >= NAME_BYTES || file == NONE || !d->files[file].is_folder) return false;
        if (size == 2 && memcmp(at, "..", 2) == 0) {
            if (depth == 0) return false;
            file = way[--depth];
        } else if (depth == DEPTH_MAX) {
            return false;
        } else {
            memcpy(ret_name, at, size);
            ret_name[size] = '\0';
            way[depth++] = *ret_folder = file;
            const struct name *name = names_find(&d->now, file, ret_name);
            file = name == NULL ? NONE : name->file;
        }
        at += size;
    }
    *ret_file = file;
    return true;
}

static void note_name(struct disk *d, uint32_t folder, const char *from, const char *to,
                      uint32_t file)
{
    struct op *op = op_add(d, OP_NAME);
    op->folder = folder;
    op->file = file;
    snprintf(op->from, sizeof(op->from), "%s", from);
    snprintf(op->name, sizeof(op->name), "%s", to);
    names_apply(&d->now, op);
}

static void note_size(struct disk *d, uint32_t file, uint64_t size, bool may_shrink)
{
    struct op *op = op_add(d, OP_SIZE);
    op->file = file;
    op->size = size;
    op->may_shrink = may_shrink;
}

static void note_open(struct disk *d, const struct sys_op *call)
{
    uint32_t folder, file;
    char name[NAME_BYTES];
    int fd = (int)call->result;
    if (fd >= FDS_MAX || !path_find(d, call->path, &folder, name, &file) ||
        (call->flags & O_TMPFILE) == O_TMPFILE) {
        unknown(d, call, "of a kind or at a place that is not known");
        return;
    }
    if (file == NONE && (call->flags & O_CREAT) == 0) {
        unknown(d, call, "opens what nobody made");
        return;
    }
    if (file == NONE) {
        file = file_add(d, false);
        note_name(d, folder, "", name, file);
    } else if ((call->flags & O_TRUNC) != 0) {
        note_size(d, file, 0, true);
    }
    d->of_fd[fd] = file;
    d->is_dsync[fd] = (call->flags & O_DSYNC) != 0;
}

static void note_write(struct disk *d, const struct sys_op *call, uint32_t file)
{
    uint64_t offset = call->offset;
    uint64_t left = (uint64_t)call->result;
    bool is_flushed = d->is_dsync[call->fd] && d->blind != DISK_NO_META;
    for (int i = 0; i < call->pieces_count && left > 0; i++) {
        uint64_t size = call->pieces[i].iov_len < left ? call->pieces[i].iov_len : left;
        struct op *op = op_add(d, OP_WRITE);
        op->file = file;
        op->offset = offset;
        op->size = size;
        op->bytes = must_malloc(size);
        op->is_flushed = is_flushed;
        memcpy(op->bytes, call->pieces[i].iov_base, size);
        offset += size;
        left -= size;
    }
}

static void note_flush(struct disk *d, uint32_t file)
{
    bool is_folder = d->files[file].is_folder;
    if (d->blind == DISK_NO_FOLDER && is_folder) return;
    const char *forgotten = d->blind == DISK_NO_DATA    ? "data.mdb"
                            : d->blind == DISK_NO_AHEAD ? "AHEAD"
                                                        : NULL;
    for (size_t i = 0; forgotten != NULL && i < d->now.count; i++) {
        const struct name *name = &d->now.list[i];
        if (name->file == file && strcmp(name->text, forgotten) == 0) return;
    }
    op_add(d, OP_FLUSH)->file = file;
}

static void note_rename(struct disk *d, const struct sys_op *call)
{
    uint32_t folder, to_folder, file, to_file;
    char name[NAME_BYTES], to[NAME_BYTES];
    if (!path_find(d, call->path, &folder, name, &file) || file == NONE || call->flags != 0 ||
        !path_find(d, call->to, &to_folder, to, &to_file) || folder != to_folder) {
        unknown(d, call, "between folders, or of a kind that is not known");
        return;
    }
    note_name(d, folder, name, to, file);
}

static void note_path(struct disk *d, const struct sys_op *call)
{
    uint32_t folder, file;
    char name[NAME_BYTES];
    if (!path_find(d, call->path, &folder, name, &file) || folder == NONE ||
        (file == NONE) != (call->call == SYS_mkdir)) {
        unknown(d, call, "at a place that is not known");
        return;
    }
    note_name(d, folder, "", name, call->call == SYS_mkdir ? file_add(d, true) : NONE);
}

static void note_opendir(struct disk *d, const struct sys_op *call)
{
    uint32_t folder, file;
    char name[NAME_BYTES];
    if (!path_find(d, call->path, &folder, name, &file) || file == NONE)
        unknown(d, call, "a folder that nobody made");
}

static void note_allocation(struct disk *d, const struct sys_op *call, uint32_t file)
{
    if (call->call == SYS_fallocate && call->flags == FALLOC_FL_KEEP_SIZE) return;
    if (call->call == SYS_fallocate && call->flags != 0) {
        unknown(d, call, "of a kind that is not known");
        return;
    }
    note_size(d, file, call->offset + call->size, false);
}

static void note_map(struct disk *d, const struct sys_op *call, uint32_t file)
{
    if ((call->flags & PROT_WRITE) == 0 || call->is_private) return;
    for (size_t i = 0; i < d->now.count; i++) {
        const struct name *name = &d->now.list[i];
        if (name->file == file && strcmp(name->text, "lock.mdb") != 0)
            unknown(d, call, "a writable mapping of a file other than lock.mdb");
    }
    d->files[file].is_mapped = true;
}

void disk_note(void *disk, const struct sys_op *call)
{
    struct disk *d = disk;
    uint32_t file = call->fd >= 0 && call->fd < FDS_MAX ? d->of_fd[call->fd] : NONE;
    if (call->path == NULL && file == NONE && call->call != SYS_pthread_create &&
        call->call != SYS_readdir) {
        unknown(d, call, "on a descriptor that is not known");
        return;
    }
    switch (call->call) {
    case SYS_open: note_open(d, call); break;
    case SYS_write:
    case SYS_pwrite:
    case SYS_writev:
    case SYS_pwritev: note_write(d, call, file); break;
    case SYS_fsync:
    case SYS_fdatasync: note_flush(d, file); break;
    case SYS_ftruncate: note_size(d, file, call->size, true); break;
    case SYS_fallocate:
    case SYS_posix_fallocate: note_allocation(d, call, file); break;
    case SYS_rename: note_rename(d, call); break;
    case SYS_mkdir:
    case SYS_rmdir:
    case SYS_unlink: note_path(d, call); break;
    case SYS_mmap: note_map(d, call, file); break;
    case SYS_opendir: note_opendir(d, call); break;
    case SYS_close: d->of_fd[call->fd] = NONE; break;
    case SYS_link:
    case SYS_msync: unknown(d, call, "not known"); break;
    // They promise nothing, and change nothing that recovery asks for.
    case SYS_sync_file_range:
    case SYS_pread:
    case SYS_read:
    case SYS_readdir:
    case SYS_chmod:
    case SYS_fchmod:
    case SYS_fcntl:
    case SYS_lseek:
    case SYS_stat:
    case SYS_fstat:
    case SYS_pthread_create:
    case SYS_CALLS_COUNT: break;
    }
}

void disk_note_promise(struct disk *d, uint64_t seq)
{
    sys_lock();
    op_add(d, OP_PROMISE)->seq = seq;
    sys_unlock();
}

const char *disk_unknown(const struct disk *d)
{
    return d->unknown[0] == '\0' ? NULL : d->unknown;
}

size_t disk_size(const struct disk *d)
{
    return d->ops_count;
}

// ---- begin and end ----------------------------------------------------------

static void file_load(struct file *f, const char *path, uint64_t size)
{
    uint8_t bytes[65536];
    ssize_t got;
    uint64_t at = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ASSERT(fd >= 0);
    while ((got = read(fd, bytes, sizeof(bytes))) > 0) {
        // What is zero takes no memory at the end of a file that was extended ahead of use.
        size_t used = (size_t)got;
        while (used > 0 && bytes[used - 1] == 0)
            used--;
        if (used > 0) bytes_put(&f->flushed, at, bytes, used);
        at += (uint64_t)got;
    }
    (void)close(fd);
    f->flushed.size = size;
}

// The folders found are scanned in their turn: no recursion.
static void folder_scan(struct disk *d, uint32_t folder, const char *path)
{
    DIR *dir = opendir(path);
    ASSERT(dir != NULL);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char below[PATH_BYTES * 2];
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        ASSERT(stat(below, &status) == 0 && strlen(entry->d_name) < NAME_BYTES);
        uint32_t file = file_add(d, S_ISDIR(status.st_mode));
        if (S_ISREG(status.st_mode)) file_load(&d->files[file], below, (uint64_t)status.st_size);
        names_put(&d->now, folder, entry->d_name, file);
        names_put(&d->flushed, folder, entry->d_name, file);
    }
    (void)closedir(dir);
}

static void path_of(const struct disk *d, const struct names *names, uint32_t file,
                    const char *root, char ret_path[PATH_BYTES])
{
    char below[PATH_BYTES] = "", longer[PATH_BYTES];
    for (int depth = 0; file != 0 && depth <= DEPTH_MAX; depth++) {
        for (size_t i = 0; i < names->count; i++) {
            const struct name *name = &names->list[i];
            if (name->file != file) continue;
            snprintf(longer, sizeof(longer), "/%s%.512s", name->text, below);
            memcpy(below, longer, sizeof(below));
            file = name->folder;
            break;
        }
    }
    ASSERT(file == 0 && d->files_count > 0);
    snprintf(ret_path, PATH_BYTES, "%.400s%.600s", root, below);
}

struct disk *disk_new(const char *root, enum disk_blind blind)
{
    struct disk *d = must_calloc(1, sizeof(*d));
    ASSERT(strlen(root) < 256);
    snprintf(d->root, sizeof(d->root), "%s", root);
    d->blind = blind;
    memset(d->of_fd, 0xff, sizeof(d->of_fd));
    (void)file_add(d, true);
    for (uint32_t i = 0; i < d->files_count; i++) {
        char path[PATH_BYTES];
        if (!d->files[i].is_folder) continue;
        path_of(d, &d->now, i, root, path);
        folder_scan(d, i, path);
    }
    return d;
}

void disk_free(struct disk *d)
{
    if (d == NULL) return;
    for (size_t i = 0; i < d->ops_count; i++) {
        free(d->ops[i].bytes);
    }
    for (size_t i = 0; i < d->files_count; i++) {
        free(d->files[i].flushed.data);
        free(d->files[i].pending);
    }
    free(d->files);
    free(d->now.list);
    free(d->flushed.list);
    free(d->ops);
    free(d);
}

// ---- playing ----------------------------------------------------------------

static void op_apply(const struct op *op, struct bytes *b)
{
    if (op->kind == OP_WRITE) {
        bytes_put(b, op->offset, op->bytes, op->size);
        if (op->offset + op->size > b->size) b->size = op->offset + op->size;
    } else if (op->may_shrink || op->size > b->size) {
        bytes_resize(b, op->size);
    }
}

static void pending_add(struct disk *d, uint32_t file, size_t op)
{
    struct file *f = &d->files[file];
    if (f->pending_count == f->pending_capacity) {
        f->pending_capacity = f->pending_capacity * 2 + 16;
        f->pending = must_realloc(f->pending, f->pending_capacity * sizeof(f->pending[0]));
    }
    f->pending[f->pending_count++] = (uint32_t)op;
}

static void flush(struct disk *d, uint32_t file)
{
    struct file *f = &d->files[file];
    for (size_t i = 0; i < f->pending_count; i++) {
        const struct op *op = &d->ops[f->pending[i]];
        if (f->is_folder)
            names_apply(&d->flushed, op);
        else
            op_apply(op, &f->flushed);
    }
    f->pending_count = 0;
}

uint64_t disk_play(struct disk *d, size_t point)
{
    ASSERT(point >= d->point && point <= d->ops_count);
    for (; d->point < point; d->point++) {
        const struct op *op = &d->ops[d->point];
        switch (op->kind) {
        case OP_NAME: pending_add(d, op->folder, d->point); break;
        case OP_WRITE:
        case OP_SIZE: pending_add(d, op->file, d->point); break;
        case OP_FLUSH: flush(d, op->file); break;
        case OP_PROMISE: d->promised = op->seq; break;
        }
    }
    return d->promised;
}

const char *disk_describe(const struct disk *d, char *bytes, size_t size)
{
    const struct op *op = &d->ops[d->point];
    const char *name = "?";
    if (d->point == d->ops_count) return "the end";
    for (size_t i = 0; i < d->now.count && op->kind != OP_NAME; i++) {
        if (d->now.list[i].file == op->file) name = d->now.list[i].text;
    }
    switch (op->kind) {
    case OP_NAME:
        snprintf(bytes, size, "name %s%s%s%s", op->from, op->from[0] == '\0' ? "" : " -> ",
                 op->name, op->file == NONE ? " removed" : "");
        break;
    case OP_WRITE:
        snprintf(bytes, size, "write %s at %" PRIu64 ", %" PRIu64 " bytes%s", name, op->offset,
                 op->size, op->is_flushed ? ", O_DSYNC" : "");
        break;
    case OP_SIZE: snprintf(bytes, size, "size of %s: %" PRIu64, name, op->size); break;
    case OP_FLUSH: snprintf(bytes, size, "flush %s", name); break;
    case OP_PROMISE: snprintf(bytes, size, "record %" PRIu64 " is promised", op->seq); break;
    }
    return bytes;
}

// ---- images -----------------------------------------------------------------

struct choice {
    enum disk_fate fate;
    uint64_t random;
    size_t early; // with DISK_early: operations before this one are there
};

enum kept { KEPT, LOST, TORN };

static enum kept choose(struct choice *c, size_t op)
{
    switch (c->fate) {
    case DISK_all: return KEPT;
    case DISK_none: return LOST;
    case DISK_early: return op < c->early ? KEPT : LOST;
    case DISK_some: return disk_random(&c->random, 2) == 0 ? KEPT : LOST;
    case DISK_torn: return TORN;
    case DISK_mixed:
    case DISK_FATES_COUNT: break;
    }
    return (enum kept)disk_random(&c->random, 3);
}

// Takes over the sectors of a write from what the cache had after it.
static void sectors_take(struct choice *c, enum kept kept, const struct op *op,
                         const struct bytes *cache, struct bytes *image)
{
    uint64_t end = op->offset + op->size;
    for (uint64_t at = op->offset / SECTOR * SECTOR; at < end; at += SECTOR) {
        if (kept == TORN && disk_random(&c->random, 2) == 0) continue;
        uint64_t left = cache->capacity - at;
        bytes_put(image, at, cache->data + at, left < SECTOR ? left : SECTOR);
    }
}

static struct bytes file_image(const struct disk *d, const struct file *f, struct choice *c)
{
    struct bytes image = bytes_copy(&f->flushed);
    if (f->pending_count == 0) return image;
    struct bytes cache = bytes_copy(&f->flushed);
    for (size_t i = 0; i < f->pending_count; i++) {
        const struct op *op = &d->ops[f->pending[i]];
        bool is_flushed = op->is_flushed && f->pending[i] < d->point;
        op_apply(op, &cache);
        enum kept kept = is_flushed ? KEPT : choose(c, f->pending[i]);
        if (op->kind == OP_WRITE && kept != LOST) sectors_take(c, kept, op, &cache, &image);
        // The size goes its own way.
        enum kept size_kept = is_flushed ? KEPT : choose(c, f->pending[i]);
        if (size_kept == TORN) size_kept = disk_random(&c->random, 2) == 0 ? KEPT : LOST;
        if (size_kept == KEPT) bytes_resize(&image, cache.size);
    }
    free(cache.data);
    return image;
}

// What a mapping may have left: nothing, zeros, any bytes.
static void mapped_image(struct choice *c, struct bytes *image)
{
    uint64_t kind = c->fate == DISK_all ? 3 : disk_random(&c->random, 4);
    if (kind == 0) bytes_resize(image, 0);
    for (uint64_t i = 0; kind == 1 && i < 8192; i++) {
        uint8_t byte = (uint8_t)disk_random(&c->random, 256);
        bytes_put(image, i, &byte, 1);
        if (image->size <= i) image->size = i + 1;
    }
}

static void file_write(const char *path, const struct bytes *b)
{
    uint64_t size = b->size < b->capacity ? b->size : b->capacity;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ASSERT(fd >= 0);
    for (uint64_t at = 0; at < size;) {
        ssize_t written = write(fd, b->data + at, size - at);
        ASSERT(written > 0);
        at += (uint64_t)written;
    }
    ASSERT(ftruncate(fd, (off_t)b->size) == 0);
    (void)close(fd);
}

// The names that are there. A file that would have two of them, because a rename in between is
// lost, keeps the newer.
static struct names names_image(const struct disk *d, struct choice *c)
{
    struct names names = {0};
    for (size_t i = 0; i < d->flushed.count; i++) {
        const struct name *name = &d->flushed.list[i];
        names_put(&names, name->folder, name->text, name->file);
    }
    for (size_t f = 0; f < d->files_count; f++) {
        const struct file *folder = &d->files[f];
        for (size_t i = 0; folder->is_folder && i < folder->pending_count; i++) {
            const struct op *op = &d->ops[folder->pending[i]];
            enum kept kept = choose(c, folder->pending[i]);
            if (kept == TORN) kept = disk_random(&c->random, 2) == 0 ? KEPT : LOST;
            if (kept == LOST) continue;
            for (size_t k = 0; op->file != NONE && k < names.count; k++) {
                if (names.list[k].file == op->file) names.list[k].file = NONE;
            }
            names_apply(&names, op);
        }
    }
    return names;
}

static void tree_write(const struct disk *d, const struct names *names, struct choice *c,
                       const char *to)
{
    uint32_t folders[64] = {0};
    size_t count = 1;
    ASSERT(mkdir(to, 0700) == 0);
    for (size_t done = 0; done < count; done++) {
        for (size_t i = 0; i < names->count; i++) {
            const struct name *name = &names->list[i];
            char path[PATH_BYTES];
            if (name->folder != folders[done] || name->file == NONE) continue;
            const struct file *f = &d->files[name->file];
            path_of(d, names, name->file, to, path);
            if (f->is_folder) {
                ASSERT(mkdir(path, 0700) == 0 && count < 64);
                folders[count++] = name->file;
                continue;
            }
            struct bytes image = file_image(d, f, c);
            if (f->is_mapped) mapped_image(c, &image);
            file_write(path, &image);
            free(image.data);
        }
    }
    free(names->list);
}

void disk_image(struct disk *d, enum disk_fate fate, uint64_t seed, const char *to)
{
    struct choice c = {.fate = fate, .random = seed};
    uint32_t changed = NONE; // by the operation under way, which is pending meanwhile
    if (d->point < d->ops_count) {
        const struct op *op = &d->ops[d->point];
        if (op->kind == OP_NAME) changed = op->folder;
        if (op->kind == OP_WRITE || op->kind == OP_SIZE) changed = op->file;
    }
    if (changed != NONE) pending_add(d, changed, d->point);
    size_t span = d->point < 64 ? d->point : 64;
    c.early = d->point + 1 - (size_t)disk_random(&c.random, span + 1);
    struct names names = names_image(d, &c);
    tree_write(d, &names, &c, to);
    if (changed != NONE) d->files[changed].pending_count--;
}
