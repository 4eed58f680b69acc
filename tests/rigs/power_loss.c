// tests/rigs/power_loss.c
//
// What it proves: at whatever point the power goes, and whatever the disk then has of what was not
// flushed, the journal's folder opens again, has every record whose append had returned, and
// nothing but what was appended, byte by byte, with rows and digests that fit.
//
// How: the real engine runs under a random load through several lives (first start, growth,
// snapshots, stop, start). All its calls on the folder, LMDB's among them, are recorded
// (syscalls.h). From random points of the recording images of the disk are made (disk.h says what
// may be on it), and each is opened by the real recovery, in a process of its own, twice. On some
// of them that recovery is recorded too, and cut again: a second power loss during the first start
// after one.
//
// What it does not prove: anything about a disk that loses or changes what it said was flushed,
// about sectors written in part, or about a file system that breaks POSIX. That the calls of
// shared libraries are none on the folder is checked by building the whole folder from the
// recording at the end of each run and comparing it with the real one.
//
// With --no-sync one kind of flush is left out of the recording, and the rig must find images that
// break the promise: it fails when it finds none.
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "engine/internal.h"
#include "tests/rigs/disk.h"
#include "tests/rigs/load.h"

#include "base/banned.h"

#define LIVES 3u
#define CHAINS_MAX 40u  // in a life
#define AGAIN_CHAINS 4u // in the life after a power loss
#define AGAIN_EVERY 10u // images whose recovery is cut again
#define AGAIN_IMAGES 8u // made from each
#define PATH_BYTES 512
#define WATCHDOG_S 120u // for one image
#define RECORDS_MAX 100000u
#define NO_IMAGE UINT64_MAX
#define LAST_FOUND UINT64_MAX

static const char help[] =
    "usage: rig_power_loss [--seed N] [--images N] [--runs N] [--image N] [--no-sync WHAT] "
    "[--keep]\n"
    "\n"
    "  --seed N        of the first run; each run has the next one (1)\n"
    "  --images N      images of each run (200)\n"
    "  --runs N        runs (1)\n"
    "  --image N       only this image of each run\n"
    "  --no-sync WHAT  leave flushes out of the recording: data (data.mdb), meta (LMDB's "
    "O_DSYNC),\n"
    "                  folder (of names), ahead (the write-ahead file). Exit code 0 when that is\n"
    "                  found, else 1\n"
    "  --keep          keep what is made, in the folder that is printed\n"
    "\n"
    "A failure is printed with what repeats it: --seed S --image N. Images are in $TMPDIR,\n"
    "else in /dev/shm or /tmp.\n";

struct options {
    uint64_t seed, images, runs, image;
    enum disk_blind blind;
    bool keep;
};

// What was appended, by sequence number.
struct appended {
    struct hash128 chain;
    uint64_t row; // hash of its row; 0: none yet
};

struct rig {
    const struct options *options;
    char dir[LOAD_PATH_BYTES];
    uint64_t seed;     // of this run
    struct disk *disk; // being recorded
    struct appended *appended;
    uint64_t records; // appended up to this one
    uint32_t depth;   // power losses before
    int log_fd;
    // Counts.
    uint64_t lives, records_all, operations, images, failures, empty, again;
    uint64_t fates[DISK_FATES_COUNT];
};

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// ---- the recorded run -------------------------------------------------------

static void note_appended(void *context, const struct record *records, size_t count,
                          const struct journal_row *rows, size_t rows_count)
{
    struct rig *r = context;
    for (size_t i = 0; i < count; i++) {
        ASSERT(records[i].seq < RECORDS_MAX);
        r->appended[records[i].seq] = (struct appended){records[i].chain, 0};
        r->records = records[i].seq;
    }
    for (size_t i = 0; i < rows_count; i++) {
        r->appended[rows[i].seq].row = hash64(rows[i].bytes.data, rows[i].bytes.size, 1);
    }
    if (count > 0 && r->disk != NULL) disk_note_promise(r->disk, r->records);
}

static void live(struct rig *r, struct load *l, unsigned chains, bool is_first)
{
    ASSERT(load_open(l) == 0);
    if (is_first) load_configure(l);
    for (unsigned i = 0; i < chains; i++) {
        load_send(l, 1);
        if (disk_random(&l->random, 3) == 0) load_shadow_turn(l);
    }
    load_stop(l);
    r->lives++;
}

static struct load load_of(struct rig *r, const char *root)
{
    struct load l = {.log_fd = r->log_fd};
    snprintf(l.dir, sizeof(l.dir), "%s/data", root);
    return l;
}

// Records what happens on the folder `root`; the caller plays it.
static void record(struct rig *r, const char *root, unsigned lives, unsigned chains_max)
{
    struct sys_counts counts;
    struct sys_plan plan = {.deed = SYS_PASS, .no_sync = true};
    struct load l = load_of(r, root);
    l.random = r->seed + r->depth;
    l.appended = note_appended;
    l.context = r;
    l.drains = true;
    l.snapshot_every = 20 + disk_random(&l.random, 40);
    r->disk = disk_new(root, r->options->blind);
    sys_watch(root, &plan, &counts, disk_note, r->disk);
    for (unsigned i = 0; i < lives; i++) {
        // After a power loss there may be no journal to compact.
        if (i > 0) ASSERT(load_compact(&l) == 0);
        if (r->depth > 0 && disk_random(&l.random, 2) == 0) (void)load_compact(&l);
        live(r, &l, 1 + (unsigned)disk_random(&l.random, chains_max), i == 0 && r->depth == 0);
    }
    sys_unwatch();
}

// Everything recorded, put together, must be the folder as it is.
static bool is_whole(struct rig *r, const char *root)
{
    char whole[PATH_BYTES], command[2 * PATH_BYTES + 64];
    snprintf(whole, sizeof(whole), "%s/whole", r->dir);
    (void)disk_play(r->disk, disk_size(r->disk));
    disk_image(r->disk, DISK_all, 0, whole);
    snprintf(command, sizeof(command), "diff -r --exclude=lock.mdb '%s' '%s' >&2", root, whole);
    bool is_same = system(command) == 0;
    remove_tree(whole);
    if (!is_same) fprintf(stderr, "the recording has not made the folder it was made of\n");
    return is_same;
}

// ---- one image --------------------------------------------------------------

static int is_as_appended(const struct rig *r, struct journal *j, uint64_t seq)
{
    struct journal_cursor *cursor = NULL;
    struct journal_problem problem = {0};
    struct record record;
    struct journal_row row;
    const struct appended *a = &r->appended[seq];
    if (seq == 0) return 1;
    int err = journal_cursor_open(j, seq, NULL, &cursor, &problem);
    if (err == 0) err = journal_cursor_next(cursor, &record, &row, &problem);
    bool is_it = err == 0 && hash128_equal(record.chain, a->chain);
    bool has_row =
        is_it &&
        (a->row == 0 || (row.seq == seq && hash64(row.bytes.data, row.bytes.size, 1) == a->row));
    journal_cursor_close(cursor);
    if (!has_row) {
        fprintf(stderr, "record %" PRIu64 " %s %s\n", seq,
                err != 0 ? "cannot be read:"
                : is_it  ? "has another row"
                         : "is another one",
                problem.text);
    }
    return has_row;
}

// Recovers the image and compares record `at`. *ret_seq is the last record found.
static int check_once(struct rig *r, const char *image, uint64_t least, uint64_t most, uint64_t at,
                      uint64_t *ret_seq)
{
    struct load l = load_of(r, image);
    l.snapshot_every = 1000;
    int exit_code = load_recover(&l);
    if (exit_code != 0) {
        fprintf(stderr, "it does not open: exit code %d\n", exit_code);
        return 1;
    }
    int wrong = 0;
    uint64_t found = l.found.seq;
    if (found < least || found > most) {
        fprintf(stderr, "the last record is %" PRIu64 ", not %" PRIu64 " to %" PRIu64 "\n", found,
                least, most);
        wrong = 1;
    }
    if (wrong == 0 && !is_as_appended(r, l.engine->journal, at == LAST_FOUND ? found : at))
        wrong = 1;
    if (wrong == 0 &&
        !hash128_equal(sm_digest(l.engine->sm), sm_digest_from_scratch(l.engine->sm))) {
        fprintf(stderr, "the state is not the one its digest is of\n");
        wrong = 1;
    }
    load_close(&l);
    *ret_seq = found;
    return wrong;
}

// The first recovery appends `started`, after which the second must find all of it.
static int check_image(struct rig *r, const char *image, uint64_t promised)
{
    uint64_t seq = 0, again = 0;
    int wrong = check_once(r, image, promised, r->records, LAST_FOUND, &seq);
    if (wrong != 0) return wrong;
    r->appended[seq + 1] = (struct appended){0};
    return check_once(r, image, seq + 1, seq + 1, seq, &again);
}

static uint64_t run_images(struct rig *r, const char *root, uint64_t images, uint64_t promised);

// In a process of its own: what is recovered may be what nobody expects.
static int check_in_child(struct rig *r, const char *image, uint64_t number, uint64_t promised,
                          bool is_again)
{
    alarm(WATCHDOG_S);
    struct sys_counts counts;
    struct sys_plan plan = {.deed = SYS_PASS, .no_sync = true};
    if (is_again) {
        r->depth++;
        size_t size = strlen(r->dir);
        snprintf(r->dir + size, sizeof(r->dir) - size, "/again-%" PRIu64, number);
        ASSERT(mkdir(r->dir, 0700) == 0);
        record(r, image, 1, AGAIN_CHAINS);
        uint64_t failures = run_images(r, image, AGAIN_IMAGES, promised);
        if (failures == 0) remove_tree(r->dir);
        return failures == 0 ? 0 : 1;
    }
    sys_watch(image, &plan, &counts, NULL, NULL);
    return check_image(r, image, promised);
}

static bool image_is_good(struct rig *r, const char *image, uint64_t number, uint64_t promised,
                          bool is_again)
{
    int status = 0;
    (void)fflush(NULL);
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) _exit(check_in_child(r, image, number, promised, is_again));
    while (waitpid(child, &status, 0) < 0) {
        ASSERT(errno == EINTR);
    }
    if (WIFSIGNALED(status)) fprintf(stderr, "it ended by signal %d\n", WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// ---- all images -------------------------------------------------------------

struct cut {
    size_t point;
    enum disk_fate fate;
    uint64_t number, seed;
};

static int by_point(const void *a, const void *b)
{
    const struct cut *x = a, *y = b;
    if (x->point != y->point) return x->point < y->point ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

// The beginning has few operations and many cases.
static struct cut cut_of(const struct rig *r, uint64_t number)
{
    uint64_t random = (r->seed * 1000003 + number) * 7 + r->depth;
    size_t points = disk_size(r->disk) + 1;
    bool is_early = disk_random(&random, 5) == 0 && points > 60;
    struct cut cut = {.number = number};
    cut.point = (size_t)disk_random(&random, is_early ? 60 : points);
    cut.fate = (enum disk_fate)disk_random(&random, DISK_FATES_COUNT);
    cut.seed = random;
    return cut;
}

static void try_cut(struct rig *r, const struct cut *cut, uint64_t promised)
{
    char image[PATH_BYTES], what[256];
    uint64_t here = disk_play(r->disk, cut->point);
    if (here > promised) promised = here;
    snprintf(image, sizeof(image), "%s/image-%" PRIu64, r->dir, cut->number);
    disk_image(r->disk, cut->fate, cut->seed, image);
    bool is_again = r->depth == 0 && cut->number % AGAIN_EVERY == 0;
    if (!image_is_good(r, image, cut->number, promised, is_again)) {
        r->failures++;
        if (r->options->blind == DISK_SEES_ALL) {
            fprintf(stderr,
                    "%s: seed %" PRIu64 ", image %" PRIu64 ": point %zu of %zu (%s), not flushed: "
                    "%s; record %" PRIu64 " was promised; see %s\n",
                    r->depth == 0 ? "FAILED" : "after a second power loss", r->seed, cut->number,
                    cut->point, disk_size(r->disk), disk_describe(r->disk, what, sizeof(what)),
                    disk_fate_name(cut->fate), promised, image);
            return;
        }
    }
    r->images += is_again ? AGAIN_IMAGES : 1;
    r->again += is_again;
    r->empty += promised == 0;
    r->fates[cut->fate]++;
    if (!r->options->keep) remove_tree(image);
}

// Makes and tries the images of what was recorded on `root`. Returns the number of failures.
static uint64_t run_images(struct rig *r, const char *root, uint64_t images, uint64_t promised)
{
    if (disk_unknown(r->disk) != NULL) {
        fprintf(stderr, "a call that is not known on the journal's folder: %s\n",
                disk_unknown(r->disk));
        return 1;
    }
    uint64_t only = r->depth == 0 ? r->options->image : NO_IMAGE;
    struct cut *cuts = calloc(images, sizeof(*cuts));
    ASSERT(cuts != NULL);
    for (uint64_t i = 0; i < images; i++) {
        cuts[i] = cut_of(r, i);
    }
    qsort(cuts, images, sizeof(*cuts), by_point);
    for (uint64_t i = 0; i < images; i++) {
        if (only == NO_IMAGE || only == cuts[i].number) try_cut(r, &cuts[i], promised);
    }
    free(cuts);
    uint64_t failures = r->failures;
    if (r->depth == 0 && !is_whole(r, root)) failures++;
    r->operations += disk_size(r->disk);
    disk_free(r->disk);
    r->disk = NULL;
    return failures;
}

// ---- main -------------------------------------------------------------------

static int blind_of(const char *text, enum disk_blind *ret_blind)
{
    static const struct {
        const char *text;
        enum disk_blind blind;
    } all[] = {{"data", DISK_NO_DATA},
               {"meta", DISK_NO_META},
               {"folder", DISK_NO_FOLDER},
               {"ahead", DISK_NO_AHEAD}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(all[i].text, text) != 0) continue;
        *ret_blind = all[i].blind;
        return 0;
    }
    return -1;
}

static int options_read(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},    {"images", required_argument, NULL, 'i'},
        {"runs", required_argument, NULL, 'r'},    {"image", required_argument, NULL, 'o'},
        {"no-sync", required_argument, NULL, 'n'}, {"keep", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    *o = (struct options){.seed = 1, .images = 200, .runs = 1, .image = NO_IMAGE};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 's': o->seed = strtoull(optarg, NULL, 10); break;
        case 'i': o->images = strtoull(optarg, NULL, 10); break;
        case 'r': o->runs = strtoull(optarg, NULL, 10); break;
        case 'o': o->image = strtoull(optarg, NULL, 10); break;
        case 'k': o->keep = true; break;
        case 'n':
            if (blind_of(optarg, &o->blind) != 0) return 2;
            break;
        case 'h': (void)fputs(help, stdout); exit(0);
        default: (void)fputs(help, stderr); return 2;
        }
    }
    return 0;
}

static void run(struct rig *r, uint64_t seed)
{
    char root[PATH_BYTES];
    r->seed = seed;
    r->records = 0;
    memset(r->appended, 0, RECORDS_MAX * sizeof(*r->appended));
    snprintf(root, sizeof(root), "%s/disk", r->dir);
    ASSERT(mkdir(root, 0700) == 0);
    record(r, root, LIVES, CHAINS_MAX);
    r->records_all += r->records;
    r->failures = run_images(r, root, r->options->images, 0);
    if (!r->options->keep) remove_tree(root);
}

static int report(const struct rig *r)
{
    bool is_blind = r->options->blind != DISK_SEES_ALL;
    printf("not flushed:");
    for (enum disk_fate f = 0; f < DISK_FATES_COUNT; f++) {
        printf(" %s %" PRIu64, disk_fate_name(f), r->fates[f]);
    }
    printf("\npower_loss: seed %" PRIu64 ", %" PRIu64 " runs, %" PRIu64 " records, %" PRIu64
           " operations, %" PRIu64 " images (%" PRIu64 " before the first promise, %" PRIu64
           " cut twice), %" PRIu64 " failures%s\n",
           r->options->seed, r->options->runs, r->records_all, r->operations, r->images, r->empty,
           r->again * AGAIN_IMAGES, r->failures, is_blind ? ", which must be found" : "");
    return (r->failures == 0) == is_blind ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct options options;
    int exit_code = options_read(argc, argv, &options);
    if (exit_code != 0) return exit_code;
    struct rig r = {.options = &options};
    load_folder_make("power-loss", r.dir);
    if (options.keep) printf("everything is in %s\n", r.dir);
    char log[PATH_BYTES];
    snprintf(log, sizeof(log), "%s/log", r.dir);
    r.log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    r.appended = calloc(RECORDS_MAX, sizeof(*r.appended));
    ASSERT(r.log_fd >= 0 && r.appended != NULL);
    if (options.blind != DISK_SEES_ALL) ASSERT(freopen("/dev/null", "w", stderr) != NULL);
    for (uint64_t i = 0; i < options.runs; i++) {
        run(&r, options.seed + i);
    }
    exit_code = report(&r);
    if (!options.keep && (exit_code == 0 || r.failures == 0)) remove_tree(r.dir);
    free(r.appended);
    return exit_code;
}
