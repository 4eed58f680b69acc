#include "journal/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/banned.h"

#define FOLDER_MODE 0700
#define FILE_MODE 0600
#define LEFTOVER_FILES_MAX (JOURNAL_SNAPSHOTS_MAX + 1000) // in a folder that a crash left
#define NEIGHBOURS_MAX 65536                              // looked at in DIR
#define LOCK_POLL_MS 10

int journal_plain_open(const char *path, int flags)
{
    struct stat status;
    int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC, FILE_MODE);
    if (fd < 0) return errno == ENXIO ? -NOT_PLAIN : -errno; // a pipe that nobody reads
    int rc = fstat(fd, &status) != 0 ? errno : 0;
    if (rc == 0 && !S_ISREG(status.st_mode)) rc = NOT_PLAIN;
    if (rc == 0) return fd;
    (void)close(fd);
    return -rc;
}

int journal_file_open(const char *path, int flags)
{
    int fd = journal_plain_open(path, flags);
    if (fd < 0) return fd;

    int rc = 0;
    struct stat status;
    if (fstat(fd, &status) != 0)
        rc = errno;
    else if ((status.st_mode & 07777) != FILE_MODE && fchmod(fd, FILE_MODE) != 0)
        rc = errno;
    if (rc == 0) return fd;
    (void)close(fd);
    return -rc;
}

int journal_folder_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    int rc = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    return rc;
}

// 0 or an errno, EEXIST among them.
static int folder_make(const char *path)
{
    if (mkdir(path, FOLDER_MODE) != 0) return errno;
    return chmod(path, FOLDER_MODE) == 0 ? 0 : errno;
}

int journal_dir_make(const char *dir, bool *ret_made, struct journal_problem *problem)
{
    int rc = folder_make(dir);
    *ret_made = rc == 0;
    if (rc == EEXIST) {
        struct stat status;
        rc = stat(dir, &status) == 0 ? 0 : errno;
        if (rc == 0 && !S_ISDIR(status.st_mode)) rc = ENOTDIR;
        return rc == 0 ? 0 : journal_failed(problem, rc, dir, "use it as the data folder");
    }
    if (rc == ENOENT) {
        errno = rc;
        return journal_problem(problem, BOSKOS_E_IO, 0,
                               "%s: its parent folder does not exist; make it, or choose another "
                               "--data-dir",
                               dir);
    }
    if (rc != 0) return journal_failed(problem, rc, dir, "make the data folder");

    char *parent = journal_path(dir, "..");
    rc = parent == NULL ? ENOMEM : journal_folder_sync(parent);
    free(parent);
    return rc == 0 ? 0 : journal_failed(problem, rc, dir, "flush its parent folder");
}

// Tries for the lock once and says what stands in the way: F_UNLCK for nothing, F_RDLCK, F_WRLCK.
static int lock_try(int fd, short *ret_held)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
        *ret_held = F_UNLCK;
        return 0;
    }
    if (errno != EAGAIN && errno != EACCES) return errno;
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0) return errno;
    // It may have been let go in between: then it is tried again as after a reader.
    *ret_held = lock.l_type == F_WRLCK ? F_WRLCK : F_RDLCK;
    return 0;
}

bool journal_is_still(int fd, const char *path)
{
    struct stat locked, named;
    return fstat(fd, &locked) == 0 && stat(path, &named) == 0 && locked.st_ino == named.st_ino &&
           locked.st_dev == named.st_dev;
}

int journal_folder_lock(const char *folder, uint32_t wait_ms, int *ret_fd,
                        struct journal_problem *problem)
{
    int err = 0;
    int fd = -1;
    char *path = journal_path(folder, LOCK_NAME);
    if (path == NULL) return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory", folder);
    fd = journal_file_open(path, O_RDWR | O_CREAT);
    if (fd < 0) {
        err = journal_failed(problem, -fd, path, "open it for writing");
        goto out;
    }

    const struct timespec pause = {.tv_nsec = LOCK_POLL_MS * 1000000L};
    for (uint64_t waited_ms = 0;; waited_ms += LOCK_POLL_MS) {
        short held = F_UNLCK;
        int rc = lock_try(fd, &held);
        if (rc != 0) {
            err = journal_failed(problem, rc, path, "lock it");
            goto out;
        }
        if (held == F_UNLCK) break;
        if (held == F_WRLCK) {
            err = journal_problem(problem, BOSKOS_E_LOCKED, 0,
                                  "%s is held by another boskosd; stop it or choose another "
                                  "--data-dir",
                                  folder);
            goto out;
        }
        if (waited_ms >= wait_ms) {
            err = journal_problem(problem, BOSKOS_E_LOCKED, 0,
                                  "%s is being read by another program, which did not let go of "
                                  "it within %u ms; stop it and try again",
                                  folder, wait_ms);
            goto out;
        }
        (void)nanosleep(&pause, NULL);
    }
    if (!journal_is_still(fd, path)) { // a repair came while the lock was waited for
        err = journal_problem(problem, BOSKOS_E_LOCKED, 0,
                              "%s was replaced at this moment; start again", folder);
        goto out;
    }
    *ret_fd = fd;
    fd = -1;
out:
    if (fd >= 0) (void)close(fd);
    free(path);
    return err;
}

// Removes a folder with the plain files in it. 0 or an errno.
static int folder_remove(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) return errno;
    int rc = 0;
    for (uint32_t i = 0; rc == 0; i++) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            rc = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (i >= LEFTOVER_FILES_MAX)
            rc = ENOTEMPTY;
        else if (unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            rc = errno;
    }
    (void)closedir(dir);
    if (rc == 0 && rmdir(path) != 0) rc = errno;
    return rc;
}

int journal_leftover_remove(const char *path, struct journal_problem *problem)
{
    struct stat status;
    int lock_fd = -1;
    ASSERT(path != NULL);
    if (stat(path, &status) != 0 && errno == ENOENT) return 0;
    int err = journal_folder_lock(path, 0, &lock_fd, problem);
    if (err != 0) return err;
    int rc = folder_remove(path);
    (void)close(lock_fd);
    return rc == 0 ? 0 : journal_failed(problem, rc, path, "remove it");
}

int journal_fresh_make(const char *fresh, int *ret_lock_fd, struct journal_problem *problem)
{
    int lock_fd = -1, witness_fd = -1;
    int err = journal_leftover_remove(fresh, problem);
    if (err != 0) return err;
    int rc = folder_make(fresh);
    if (rc != 0) return journal_failed(problem, rc, fresh, "make it");

    err = journal_folder_lock(fresh, 0, &lock_fd, problem);
    if (err != 0) goto out;
    err = journal_environment_make(fresh, problem);
    if (err != 0) goto out;
    rc = witness_make(fresh, &(struct witness){0}, &witness_fd); // flushes the folder, too
    if (rc != 0) {
        err = journal_failed(problem, rc, fresh, "make " WITNESS_NAME);
        goto out;
    }
    *ret_lock_fd = lock_fd;
    lock_fd = -1;
out:
    if (witness_fd >= 0) (void)close(witness_fd);
    if (lock_fd >= 0) (void)close(lock_fd);
    return err;
}

// Renames a whole journal to its place. The lock is on a file in it and goes with it, so that of
// two first starts at one moment only one goes on.
static int journal_place(const char *dir, const char *whole, const char *path,
                         struct journal_problem *problem)
{
    int rc = rename(whole, path) == 0 ? 0 : errno;
    if (rc == 0) rc = journal_folder_sync(dir);
    return rc == 0 ? 0 : journal_failed(problem, rc, path, "put the journal in its place");
}

// Looks for a journal that was replaced by a repair. 0 or an errno; *ret_name is empty without one.
static int before_find(const char *path, char ret_name[NAME_MAX + 1])
{
    ret_name[0] = '\0';
    DIR *dir = opendir(path);
    if (dir == NULL) return errno;
    int rc = 0;
    for (int i = 0; i < NEIGHBOURS_MAX && ret_name[0] == '\0'; i++) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        rc = entry == NULL ? errno : 0;
        if (entry == NULL) break;
        if (strncmp(entry->d_name, BEFORE_NAME, strlen(BEFORE_NAME)) == 0)
            (void)snprintf(ret_name, NAME_MAX + 1, "%s", entry->d_name);
    }
    (void)closedir(dir);
    return rc;
}

int journal_begin(const struct journal_options *options, const char *path, int *ret_lock_fd,
                  struct journal_problem *problem)
{
    const char *dir = options->dir;
    char before[NAME_MAX + 1];
    struct stat status;
    int lock_fd = -1;
    int err = BOSKOS_E_NOMEM;
    char *fresh = journal_path(dir, FRESH_NAME);
    char *repaired = journal_path(dir, REPAIRED_NAME);
    if (fresh == NULL || repaired == NULL) {
        (void)journal_problem(problem, err, 0, "%s: no memory", dir);
        goto out;
    }
    bool is_repaired = stat(repaired, &status) == 0;
    int rc = before_find(dir, before);
    if (is_repaired) {
        err = journal_folder_lock(repaired, 0, &lock_fd, problem);
        if (err == 0) err = journal_place(dir, repaired, path, problem);
    } else if (before[0] != '\0') {
        err = journal_problem(problem, BOSKOS_E_NOT_FOUND, 0,
                              "%s is missing, but %s/%s is there: rename that one back, or move it "
                              "out of %s to begin with nothing",
                              path, dir, before, dir);
    } else if (options->must_exist) {
        err = journal_problem(problem, BOSKOS_E_NOT_FOUND, 0, "%s is not there; check --data-dir",
                              path);
    } else if (rc != 0) {
        err = journal_failed(problem, rc, dir, "list it");
    } else {
        err = journal_fresh_make(fresh, &lock_fd, problem);
        if (err == 0) err = journal_place(dir, fresh, path, problem);
    }
    if (err != 0) goto out;
    if (is_repaired && options->noticed != NULL)
        options->noticed(options->context, "a repair that was interrupted is finished");
    *ret_lock_fd = lock_fd;
    lock_fd = -1;
out:
    if (lock_fd >= 0) (void)close(lock_fd);
    free(fresh);
    free(repaired);
    return err;
}

// Removes what whoever had the journal before did not finish, now that it is locked. Of two first
// starts the other one may still be at its own.
static int leftovers_remove(const char *dir, const char *path, struct journal_problem *problem)
{
    char *copy = journal_path(path, DATA_NEW_NAME);
    char *fresh = journal_path(dir, FRESH_NAME);
    char *repaired = journal_path(dir, REPAIRED_NAME);
    int rc = copy == NULL || fresh == NULL || repaired == NULL ? ENOMEM : 0;
    int err = 0;
    if (rc == 0 && unlink(copy) != 0 && errno != ENOENT) rc = errno;
    if (rc != 0) err = journal_failed(problem, rc, path, "remove what a compaction left");
    if (err == 0) err = journal_leftover_remove(fresh, problem);
    if (err == BOSKOS_E_LOCKED) err = 0;
    if (err == 0) err = journal_leftover_remove(repaired, problem);
    free(copy);
    free(fresh);
    free(repaired);
    return err;
}

int journal_folder_open(const struct journal_options *options, char **ret_path, int *ret_lock_fd,
                        struct journal_problem *problem)
{
    ASSERT(options->dir != NULL);
    int lock_fd = -1;
    int err = BOSKOS_E_NOMEM;
    char *path = journal_path(options->dir, JOURNAL_NAME);
    if (path == NULL) {
        (void)journal_problem(problem, err, 0, "%s: no memory", options->dir);
        goto out;
    }
    struct stat status;
    bool is_made = false;
    err = options->must_exist ? 0 : journal_dir_make(options->dir, &is_made, problem);
    if (err != 0) goto out;

    if (stat(path, &status) == 0) {
        err = journal_folder_lock(path, options->lock_wait_ms, &lock_fd, problem);
        if (err == 0) err = leftovers_remove(options->dir, path, problem);
    } else if (errno == ENOENT) {
        err = journal_begin(options, path, &lock_fd, problem);
    } else {
        err = journal_failed(problem, errno, path, "open it");
    }
    if (err != 0) goto out;

    *ret_path = path;
    *ret_lock_fd = lock_fd;
    path = NULL;
    lock_fd = -1;
out:
    if (lock_fd >= 0) (void)close(lock_fd);
    free(path);
    return err;
}
