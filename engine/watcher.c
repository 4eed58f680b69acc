#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "engine/internal.h"

#include "base/banned.h"

// The watcher reads the config file when it has changed: after it was closed by a writer, renamed
// into place, or when a symlink on the way was swapped (a Kubernetes config map). What is being
// written is not read: only a text that is the same twice, 100 ms apart, counts.

#define STABLE_WAIT_NS (100 * NS_PER_MS)
#define STABLE_ROUNDS_MAX 100u // 10 s of a file that keeps changing
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR)

static void sleep_ns(uint64_t ns)
{
    struct timespec span = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    while (nanosleep(&span, &span) != 0 && errno == EINTR) {
    }
}

// The file's bytes; one more than the limit is enough to see that it is over.
static int read_file(const char *path, struct buffer *out)
{
    int err = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return BOSKOS_E_IO;
    buffer_clear(out);
    while (out->size <= CONFIG_BYTES_MAX) {
        char *at = buffer_reserve(out, 65536);
        ssize_t got = read(fd, at, 65536);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) err = BOSKOS_E_IO;
        if (got <= 0) break;
        out->size += (size_t)got;
    }
    close(fd);
    return err;
}

// Reads until two reads in a row are equal.
static int read_stable(const char *path, struct buffer *ret_text)
{
    struct buffer other;
    buffer_init(&other);
    int err = read_file(path, ret_text);
    for (uint32_t i = 0; err == 0 && i < STABLE_ROUNDS_MAX; i++) {
        sleep_ns(STABLE_WAIT_NS);
        err = read_file(path, &other);
        if (err != 0) break;
        if (text_equal(buffer_as_text(ret_text), buffer_as_text(&other))) goto out;
        struct buffer swap = *ret_text;
        *ret_text = other;
        other = swap;
    }
    if (err == 0) err = BOSKOS_E_MALFORMED;
out:
    buffer_release(&other);
    return err;
}

static void report(struct engine *e, const struct config_report *r)
{
    for (size_t i = 0; i < r->errors_count; i++) {
        log_event(e->options.log, LOG_ERROR, "the config is not valid",
                  LOG_F_STRING("file", e->options.config_path),
                  LOG_F_U64("line", r->errors[i].line), LOG_F_TEXT("error", r->errors[i].text));
    }
    for (size_t i = 0; i < r->warnings_count; i++) {
        log_event(e->options.log, LOG_WARNING, "the config has something odd",
                  LOG_F_STRING("file", e->options.config_path),
                  LOG_F_U64("line", r->warnings[i].line),
                  LOG_F_TEXT("warning", r->warnings[i].text));
    }
}

int watcher_read(struct engine *e, struct config **ret_config)
{
    struct buffer text;
    struct config_report r = {0};
    buffer_init(&text);
    int err = read_stable(e->options.config_path, &text);
    if (err != 0) {
        log_event(e->options.log, LOG_ERROR, "the config cannot be read",
                  LOG_F_STRING("file", e->options.config_path),
                  LOG_F_STRING("error",
                               err == BOSKOS_E_IO ? strerror(errno) : "it does not stop changing"));
        goto out;
    }
    e->watcher.content = hash128(text.data, text.size);
    err = config_parse(buffer_as_text(&text), ret_config, &r);
    report(e, &r);
    atomic_store(&e->counters.config_warnings, r.warnings_count);
    config_report_release(&r);
out:
    if (err != 0) atomic_fetch_add(&e->counters.config_errors, 1);
    atomic_store(&e->counters.config_bad, err != 0);
    atomic_fetch_add(&e->counters.config_reads, 1);
    buffer_release(&text);
    return err;
}

static void hand_over(struct engine *e, struct config *config)
{
    struct inbox *inbox = &e->inbox;
    pthread_mutex_lock(&inbox->lock);
    struct config *before = inbox->config;
    inbox->config = config;
    pthread_cond_signal(&inbox->wake);
    pthread_mutex_unlock(&inbox->lock);
    config_free(before);
}

static void reload(struct engine *e)
{
    struct config *config;
    if (watcher_read(e, &config) == 0) {
        hand_over(e, config);
    } else {
        log_event(e->options.log, LOG_ERROR, "the config before stays in force");
    }
}

// True when the file now has other bytes than those read last.
static bool has_changed(struct engine *e)
{
    struct buffer text;
    buffer_init(&text);
    bool changed = read_file(e->options.config_path, &text) == 0 &&
                   !hash128_equal(hash128(text.data, text.size), e->watcher.content);
    buffer_release(&text);
    return changed;
}

void watcher_step(struct engine *e)
{
    if (has_changed(e)) reload(e);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static void watch_folder_of(struct engine *e, const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL) {
        snprintf(folder, sizeof(folder), ".");
    } else {
        slash[slash == folder] = '\0'; // keep the slash of "/"
    }
    inotify_add_watch(e->watcher.inotify_fd, folder, EVENTS);
}

// Watches the folder the path names and the one that the file really is in. True when the file's
// real place is another than before: a symlink on the way was swapped. A watch that is there is
// never set again: the kernel may lose an event that comes at that very moment.
static bool watch_folders(struct engine *e)
{
    struct watcher *w = &e->watcher;
    char real[PATH_MAX];
    bool is_there = realpath(e->options.config_path, real) != NULL;
    struct hash128 place = is_there ? hash128(real, strlen(real)) : w->place;
    if (w->is_watching && hash128_equal(place, w->place)) return false;
    watch_folder_of(e, e->options.config_path);
    if (is_there) watch_folder_of(e, real);
    w->is_watching = true;
    w->place = place;
    return true;
}

// Takes the events that wait. True when one of them says that the file is complete, under its own
// name or the one a symlink gives it. What happens to other files in the folders is no reason to
// look: the config may be half-written just then. A file that was only made is still being written.
static bool drain_events(struct engine *e)
{
    _Alignas(struct inotify_event) char bytes[16384];
    char real[PATH_MAX];
    bool matters = false;
    ssize_t got;
    if (realpath(e->options.config_path, real) == NULL) real[0] = '\0';
    while ((got = read(e->watcher.inotify_fd, bytes, sizeof(bytes))) > 0) {
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *event = (const void *)(bytes + at);
            at += (ssize_t)(sizeof(*event) + event->len);
            if ((event->mask & IN_Q_OVERFLOW) != 0) matters = true;
            if ((event->mask & IN_IGNORED) != 0) e->watcher.is_watching = false; // a folder went
            if (event->len == 0 || (event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) == 0) continue;
            if (strcmp(event->name, base_name(e->options.config_path)) == 0 ||
                strcmp(event->name, base_name(real)) == 0) {
                matters = true;
            }
        }
    }
    return matters;
}

static void *watcher_main(void *context)
{
    struct engine *e = context;
    struct watcher *w = &e->watcher;
    struct pollfd fds[] = {{.fd = w->event_fd, .events = POLLIN},
                           {.fd = w->inotify_fd, .events = POLLIN}};
    while (!atomic_load(&w->is_stopping)) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
        uint64_t asked = 0;
        bool was_asked = read(w->event_fd, &asked, sizeof(asked)) == sizeof(asked);
        if (atomic_load(&w->is_stopping)) break;
        bool matters = drain_events(e);
        if (watch_folders(e)) matters = true;
        if (was_asked) {
            reload(e);
        } else if (matters) {
            watcher_step(e);
        }
    }
    return NULL;
}

int watcher_start(struct engine *e)
{
    struct watcher *w = &e->watcher;
    if (e->options.config_path == NULL) return 0;
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->event_fd < 0) return BOSKOS_E_IO;
    if (w->inotify_fd < 0) {
        atomic_store(&e->counters.config_unwatched, 1);
        log_event(e->options.log, LOG_WARNING,
                  "the config file cannot be watched; send SIGHUP after a change");
    } else {
        watch_folders(e);
    }
    // The file may have changed between its reading at the start and the first watch.
    if (has_changed(e)) engine_reload(e);
    if (pthread_create(&w->thread, NULL, watcher_main, e) != 0) return BOSKOS_E_NOMEM;
    w->is_running = true;
    return 0;
}

static void wake(struct watcher *w)
{
    uint64_t one = 1;
    ssize_t ignored = write(w->event_fd, &one, sizeof(one)); // full is fine: it wakes all the same
    (void)ignored;
}

void engine_reload(struct engine *e)
{
    if (e->watcher.event_fd >= 0) wake(&e->watcher);
}

void watcher_stop(struct engine *e)
{
    struct watcher *w = &e->watcher;
    if (!w->is_running) return;
    atomic_store(&w->is_stopping, true);
    wake(w);
    pthread_join(w->thread, NULL);
    w->is_running = false;
}

// Apart from the end of the thread: until here engine_reload may still be called.
void watcher_release(struct engine *e)
{
    struct watcher *w = &e->watcher;
    if (w->event_fd >= 0) close(w->event_fd);
    if (w->inotify_fd >= 0) close(w->inotify_fd);
    w->event_fd = w->inotify_fd = -1;
}
