// A configuration file that is followed, and types of resources.
#include "client/watched.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

#include "base/banned.h"

// ---- the file -------------------------------------------------------------------

// The whole file; errno says why not.
static bool read_file(int fd, struct buffer *text)
{
    for (;;) {
        char *room = buffer_reserve(text, 65536);
        ssize_t got = read(fd, room, 65536);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got == 0;
        text->size += (size_t)got;
        if (text->size <= CONFIG_BYTES_MAX) continue;
        errno = EFBIG;
        return false;
    }
}

// Is it what was looked at last? Notes what it is now.
static bool is_same(struct watched *w, const struct stat *st)
{
    struct watched now = *w;
    now.was_seen = true;
    now.mtime_ns = st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
    now.size = st->st_size;
    now.inode = st->st_ino;
    now.device = st->st_dev;
    bool same = w->was_seen && now.mtime_ns == w->mtime_ns && now.size == w->size &&
                now.inode == w->inode && now.device == w->device;
    *w = now;
    return same;
}

static bool parse(struct program *p, struct watched *w, struct text text)
{
    struct config_report report;
    struct config *config = NULL;
    bool is_good = config_parse(text, &config, &report) == 0;
    for (size_t i = 0; i < report.errors_count; i++)
        program_log(p, LOG_ERROR, "%s:%u: %.*s", w->path, report.errors[i].line,
                    TEXT_ARG(report.errors[i].text));
    for (size_t i = 0; i < report.warnings_count; i++)
        program_log(p, LOG_WARNING, "%s:%u: %.*s", w->path, report.warnings[i].line,
                    TEXT_ARG(report.warnings[i].text));
    config_report_release(&report);
    if (!is_good) return false;
    config_free(w->config);
    w->config = config;
    return true;
}

int watched_refresh(struct program *p, struct watched *w, bool *ret_is_new)
{
    struct stat st;
    struct buffer text;
    bool is_new = false, is_bad = false;
    buffer_init(&text);
    int fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        is_bad = true;
        if (!w->is_bad) program_log(p, LOG_ERROR, "%s: %s", w->path, strerror(errno));
        w->was_seen = false;
    } else if (is_same(w, &st)) {
        is_bad = w->is_bad;
    } else if (!read_file(fd, &text)) {
        is_bad = true;
        program_log(p, LOG_ERROR, "%s: %s", w->path, strerror(errno));
    } else {
        is_new = parse(p, w, buffer_as_text(&text));
        is_bad = !is_new;
    }
    if (is_bad && !w->is_bad && w->config != NULL)
        program_log(p, LOG_WARNING, "%s is bad: what it said before stays in force", w->path);
    w->is_bad = is_bad;
    if (fd >= 0) (void)close(fd);
    buffer_release(&text);
    *ret_is_new = is_new;
    return w->config != NULL ? 0 : PROGRAM_FAILED;
}

void watched_release(struct watched *w)
{
    config_free(w->config);
    *w = (struct watched){.path = w->path};
}

// ---- types ----------------------------------------------------------------------

int program_types_refresh(struct program *p, struct program_types *types)
{
    bool is_first = types->all.items == NULL, has_changed = false;
    int code = types->file.path != NULL ? watched_refresh(p, &types->file, &has_changed) : 0;
    types->is_new = code == 0 && (is_first || has_changed);
    if (!types->is_new) return code;
    program_list_free(&types->all);
    for (size_t i = 0; i < types->given.count; i++)
        program_list_put_once(&types->all, text_from(types->given.items[i]));
    const struct config *c = types->file.config;
    for (size_t i = 0; c != NULL && i < c->entries_count; i++) {
        struct text type = c->entries[i].type;
        if (memchr(type.data, '\0', type.size) == NULL) // as no text of C can be
            program_list_put_once(&types->all, type);
    }
    return 0;
}

void program_types_free(struct program_types *types)
{
    program_list_free(&types->given);
    program_list_free(&types->all);
    watched_release(&types->file);
}
