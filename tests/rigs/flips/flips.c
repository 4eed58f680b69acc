// flips [CASES [LEASES]]: damages copies of a journal, one file a case, and starts on them. A start
// must either end with exit code 4 and a line that names the file, or find exactly what is in the
// undamaged one, also after going on from there and starting again; no signal, no hang. Damage to
// the locks has no effect at all. The journal has four times LEASES (300).
//
// The environment: BOSKOS_SEED repeats a run, BOSKOS_CASE one case of it (its folder stays),
// BOSKOSD is a daemon, which then does every 50th case.
#include "tests/rigs/flips/flips.h"
#include "daemon/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

#define FILES_MAX 64
#define NAME_BYTES 64
#define BITS_MAX 8
#define SECTOR_BYTES 512u
#define PAGE_BYTES 4096u
#define HANG_S 300 // the machine may be busy; what hangs does so for ever
#define DAEMON_EVERY 50
#define FILE_BYTES_MAX ((rlim_t)4 << 30)
#define MEMORY_BYTES_MAX ((rlim_t)2 << 30)
#define OUTPUT_BYTES 8192

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

enum outcome { OUTCOME_SAME, OUTCOME_REFUSED, OUTCOME_NEWER, OUTCOME_WRONG, OUTCOMES };

struct rig {
    uint64_t seed, random;
    char dir[PATH_BYTES], copy[PATH_BYTES];
    char files[FILES_MAX][NAME_BYTES];
    uint64_t sizes[FILES_MAX]; // up to the last byte that is not 0
    int files_count;
    const char *daemon; // NULL: none
    struct found wanted;
    struct found *found; // shared with the process that recovers
    char what[256];      // was done in this case
    const char *file;    // to which
    char output[OUTPUT_BYTES];
    uint64_t counts[OUTCOMES], daemons;
};

// splitmix64
static uint64_t random_below(struct rig *r, uint64_t bound)
{
    r->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = r->random;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % bound;
}

static void said(struct rig *r, const char *format, uint64_t a, uint64_t b)
{
    size_t size = strlen(r->what);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(r->what + size, sizeof(r->what) - size, format, a, b);
#pragma GCC diagnostic pop
}

// ---- damage -----------------------------------------------------------------

// A place in a file; in the pages of data.mdb often where LMDB's own numbers are.
static uint64_t place(struct rig *r, uint64_t size)
{
    uint64_t at = random_below(r, size);
    uint64_t kind = random_below(r, 8);
    if (strcmp(r->file, "data.mdb") != 0 || kind < 4) return at;
    if (kind < 5 && size > 2 * PAGE_BYTES) // the meta pages
        return random_below(r, 2) * PAGE_BYTES + random_below(r, 152);
    at = at / PAGE_BYTES * PAGE_BYTES + random_below(r, 40); // a page's head and first numbers
    return at < size ? at : size - 1;
}

static void flip(struct rig *r, int fd, uint64_t size)
{
    uint64_t bits = 1 + random_below(r, random_below(r, 2) == 0 ? 1 : BITS_MAX);
    for (uint64_t i = 0; i < bits; i++) {
        uint8_t byte = 0;
        uint64_t at = place(r, size), bit = random_below(r, 8);
        ASSERT(pread(fd, &byte, 1, (off_t)at) == 1);
        byte = (uint8_t)(byte ^ 1u << bit);
        ASSERT(pwrite(fd, &byte, 1, (off_t)at) == 1);
        said(r, " bit %" PRIu64 ".%" PRIu64, at, bit);
    }
}

// Overwrites a sector or a page with zeros, noise, or what another place has.
static void overwrite(struct rig *r, int fd, uint64_t size)
{
    uint8_t bytes[PAGE_BYTES] = {0};
    uint64_t span = random_below(r, 2) == 0 ? SECTOR_BYTES : PAGE_BYTES;
    uint64_t at = random_below(r, size) / span * span, kind = random_below(r, 3);
    if (kind == 1)
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)random_below(r, 256);
    if (kind == 2) {
        uint64_t from = random_below(r, size) / span * span;
        ASSERT(pread(fd, bytes, span, (off_t)from) >= 0);
        said(r, " from %" PRIu64 "%.0" PRIu64, from, 0);
    }
    uint64_t left = size - at < span ? size - at : span;
    ASSERT(pwrite(fd, bytes, left, (off_t)at) == (ssize_t)left);
    said(r, " overwritten %" PRIu64 " at %" PRIu64, left, at);
}

static bool has_witness(const struct rig *r)
{
    for (int i = 0; i < r->files_count; i++)
        if (strcmp(r->files[i], "WITNESS") == 0) return true;
    return false;
}

// Puts in what the file was at an earlier moment, or another file where there was none.
static void swap_old(struct rig *r, const char *path)
{
    char old[PATH_BYTES];
    // The newest of them ends where the last snapshot does: only the witness tells that it is old.
    uint64_t newest = has_witness(r) ? 1 : 2;
    uint64_t version = newest + random_below(r, OLD_VERSIONS + 1 - newest);
    uint64_t other = random_below(r, (uint64_t)r->files_count);
    (void)snprintf(old, sizeof(old), "%.200s/%" PRIu64 "/journal/%s", r->dir, version, r->file);
    if (access(old, F_OK) != 0)
        (void)snprintf(old, sizeof(old), "%.200s/0/journal/%s", r->dir, r->files[other]);
    char *command = NULL;
    ASSERT(asprintf(&command, "cp '%s' '%s'", old, path) > 0);
    ASSERT(system(command) == 0); // NOLINT(bugprone-command-processor,cert-env33-c): our own paths
    free(command);
    said(r, " version %" PRIu64 ", or file %" PRIu64, version, other);
}

static void damage(struct rig *r)
{
    char path[PATH_BYTES];
    int index = 0;
    while (random_below(r, 3) != 0 && strcmp(r->files[index], "data.mdb") != 0)
        index = (int)random_below(r, (uint64_t)r->files_count);
    r->file = r->files[index];
    (void)snprintf(path, sizeof(path), "%.200s/journal/%s", r->copy, r->file);
    uint64_t size = r->sizes[index], kind = random_below(r, 20);
    r->what[0] = '\0';
    if (kind == 0) {
        said(r, " removed%.0" PRIu64 "%.0" PRIu64, 0, 0);
        ASSERT(unlink(path) == 0);
        return;
    }
    if (kind == 1) {
        swap_old(r, path);
        return;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ASSERT(fd >= 0);
    if (size == 0 || kind == 2) { // an empty file can only grow
        uint64_t to = size == 0 ? random_below(r, PAGE_BYTES) : random_below(r, size);
        said(r, " size %" PRIu64 " of %" PRIu64, to, size);
        ASSERT(ftruncate(fd, (off_t)to) == 0);
    } else if (kind <= 5) {
        overwrite(r, fd, size);
    } else {
        flip(r, fd, size);
    }
    (void)close(fd);
}

// ---- one start --------------------------------------------------------------

static int output_open(struct rig *r)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%.200s/output", r->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0);
    return fd;
}

static void output_read(struct rig *r, int fd)
{
    ssize_t size = pread(fd, r->output, sizeof(r->output) - 1, 0);
    r->output[size > 0 ? size : 0] = '\0';
}

// What a start may take at most; more is a hang, or a signal, or an exit code that is none of ours.
static void limits_set(void)
{
    struct rlimit file = {FILE_BYTES_MAX, FILE_BYTES_MAX};
    struct rlimit memory = {MEMORY_BYTES_MAX, MEMORY_BYTES_MAX};
    struct rlimit core = {0, 0};
    (void)setrlimit(RLIMIT_FSIZE, &file);
    (void)setrlimit(RLIMIT_CORE, &core);
    if (!IS_SANITIZED) (void)setrlimit(RLIMIT_DATA, &memory);
    (void)alarm(HANG_S);
}

_Noreturn static void child(struct rig *r, int output, const char *dir)
{
    ASSERT(dup2(output, STDERR_FILENO) >= 0);
    limits_set();
    struct log log = {.fd = STDERR_FILENO, .level = LOG_WARNING, .clock = clock_system()};
    fault_watch(&log, dir);
    flips_recover(dir, r->found);
    _exit(0);
}

static int recover(struct rig *r, const char *dir)
{
    int status = 0;
    int output = output_open(r);
    memset(r->found, 0, sizeof(*r->found));
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) child(r, output, dir);
    while (waitpid(pid, &status, 0) < 0)
        ASSERT(errno == EINTR);
    output_read(r, output);
    (void)close(output);
    return status;
}

// The real daemon: until it is ready, then its end is asked for. It says what record it is at.
static int run_daemon(struct rig *r, const char *dir)
{
    char ready[64], config[PATH_BYTES];
    int status = 0, output = output_open(r);
    (void)snprintf(config, sizeof(config), "%.200s/config.yaml", r->dir);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        ASSERT(dup2(output, STDERR_FILENO) >= 0);
        limits_set();
        execl(r->daemon, r->daemon, "--data-dir", dir, "--config", config, "--port", "0",
              "--health-port", "0", "--metrics-port", "0", (char *)NULL);
        _exit(127);
    }
    bool was_asked = false;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        (void)usleep(2000);
        output_read(r, output);
        if (was_asked || strstr(r->output, "boskosd is ready") == NULL) continue;
        was_asked = true;
        (void)kill(pid, SIGTERM);
    }
    output_read(r, output);
    (void)close(output);
    (void)snprintf(ready, sizeof(ready), " seq=%" PRIu64 " ", r->wanted.seq);
    if (status == 0 && (!was_asked || strstr(r->output, ready) == NULL)) return -1;
    *r->found = r->wanted;
    r->daemons++;
    return status;
}

// ---- judging ----------------------------------------------------------------

static bool is_lock(const char *name)
{
    return strcmp(name, "LOCK") == 0 || strcmp(name, "lock.mdb") == 0;
}

// A line that names the file, or, of a snapshot that is missing or bad, the log that is then held
// against the others.
static bool names_file(const struct rig *r)
{
    return strstr(r->output, r->file) != NULL || strstr(r->output, "data.mdb") != NULL;
}

static enum outcome judge(const struct rig *r, int status)
{
    if (!WIFEXITED(status)) return OUTCOME_WRONG;
    int code = WEXITSTATUS(status);
    bool is_same = memcmp(r->found, &r->wanted, sizeof(r->wanted)) == 0;
    if (code == 0) return is_same ? OUTCOME_SAME : OUTCOME_WRONG;
    if (is_lock(r->file) || !names_file(r)) return OUTCOME_WRONG;
    if (code == 4) return OUTCOME_REFUSED;
    // The format is in no checksum: another one is a newer one.
    bool is_newer = code == 1 && strstr(r->output, "newer boskosd") != NULL;
    return is_newer ? OUTCOME_NEWER : OUTCOME_WRONG;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void folder_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// True when it came out as it may.
static bool run_case(struct rig *r, uint64_t number)
{
    char whole[PATH_BYTES];
    (void)snprintf(whole, sizeof(whole), "%.200s/0", r->dir);
    r->random = r->seed * UINT64_C(0xd1342543de82ef95) ^ number * UINT64_C(0xda942042e4dd58b5);
    folder_remove(r->copy);
    flips_copy(whole, r->copy);
    damage(r);
    bool has_daemon = r->daemon != NULL && number % DAEMON_EVERY == 0;
    int status = has_daemon ? run_daemon(r, r->copy) : recover(r, r->copy);
    enum outcome outcome = judge(r, status);
    r->counts[outcome]++;
    if (outcome != OUTCOME_WRONG && getenv("BOSKOS_CASE") == NULL) return true;
    (void)printf("case %" PRIu64 ": %s%s: %s %d; seq %" PRIu64 " of %" PRIu64 ", %" PRIu64
                 " of %" PRIu64 " at the end\n%s",
                 number, r->file, r->what, WIFEXITED(status) ? "exit code" : "signal",
                 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), r->found->seq,
                 r->wanted.seq, r->found->after_seq, r->wanted.after_seq, r->output);
    (void)printf("to repeat it: BOSKOS_SEED=%" PRIu64 " BOSKOS_CASE=%" PRIu64 " flips\n", r->seed,
                 number);
    return outcome != OUTCOME_WRONG;
}

// ---- the rig ----------------------------------------------------------------

// Up to the last byte that is not 0: the rest was only reserved.
static uint64_t content_size(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ASSERT(fd >= 0 && fstat(fd, &status) == 0);
    size_t size = (size_t)status.st_size;
    if (size > 0) {
        const uint8_t *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        ASSERT(bytes != MAP_FAILED);
        size_t whole = size;
        while (size > 0 && bytes[size - 1] == 0)
            size--;
        (void)munmap((void *)(uintptr_t)bytes, whole);
    }
    (void)close(fd);
    return size;
}

static void files_list(struct rig *r)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%.200s/0/journal", r->dir);
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    ASSERT(count > 0);
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.' && r->files_count < FILES_MAX) {
            (void)snprintf(r->files[r->files_count], NAME_BYTES, "%.63s", entries[i]->d_name);
            (void)snprintf(path, sizeof(path), "%.200s/0/journal/%.200s", r->dir,
                           entries[i]->d_name);
            r->sizes[r->files_count] = content_size(path);
            (void)printf("%s: %" PRIu64 " bytes\n", r->files[r->files_count],
                         r->sizes[r->files_count]);
            r->files_count++;
        }
        free(entries[i]);
    }
    free(entries);
}

static void rig_open(struct rig *r, int leases)
{
    const char *seed = getenv("BOSKOS_SEED");
    ASSERT(getrandom(&r->seed, sizeof(r->seed), 0) == (ssize_t)sizeof(r->seed));
    r->seed %= 1000000000;
    if (seed != NULL) r->seed = strtoull(seed, NULL, 10);
    bool in_memory = access("/dev/shm", W_OK) == 0;
    (void)snprintf(r->dir, sizeof(r->dir), "%s/boskosd-flips-XXXXXX",
                   in_memory ? "/dev/shm" : "/tmp");
    ASSERT(mkdtemp(r->dir) != NULL);
    (void)snprintf(r->copy, sizeof(r->copy), "%.200s/copy", r->dir);
    r->daemon = getenv("BOSKOSD");
    r->found =
        mmap(NULL, sizeof(*r->found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(r->found != MAP_FAILED);
    (void)printf("seed %" PRIu64 "\n", r->seed);
    (void)fflush(stdout);

    int status = 0;
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        flips_make(r->dir, leases);
        _exit(0);
    }
    ASSERT(waitpid(pid, &status, 0) == pid && status == 0);
    files_list(r);
    char whole[PATH_BYTES];
    (void)snprintf(whole, sizeof(whole), "%.200s/0", r->dir);
    flips_copy(whole, r->copy);
    if (recover(r, r->copy) != 0) {
        (void)printf("the undamaged journal: %s", r->output);
        exit(1);
    }
    r->wanted = *r->found;
}

int main(int argc, char **argv)
{
    static struct rig r;
    uint64_t cases = argc > 1 ? strtoull(argv[1], NULL, 10) : 500, wrong = 0;
    const char *only = getenv("BOSKOS_CASE");
    rig_open(&r, argc > 2 ? (int)strtol(argv[2], NULL, 10) : 300);
    if (only != NULL) {
        bool is_right = run_case(&r, strtoull(only, NULL, 10));
        (void)printf("%s: its folder is %s\n", is_right ? "right" : "WRONG", r.copy);
        return is_right ? 0 : 1;
    }
    for (uint64_t i = 0; i < cases && wrong < 10; i++) {
        wrong += !run_case(&r, i);
        (void)fflush(stdout);
    }
    (void)printf("seed %" PRIu64 ": %" PRIu64 " the same, %" PRIu64 " refused, %" PRIu64
                 " as of a newer version, %" PRIu64 " WRONG; %" PRIu64 " by the daemon\n",
                 r.seed, r.counts[OUTCOME_SAME], r.counts[OUTCOME_REFUSED], r.counts[OUTCOME_NEWER],
                 r.counts[OUTCOME_WRONG], r.daemons);
    folder_remove(r.dir);
    return wrong == 0 ? 0 : 1;
}
