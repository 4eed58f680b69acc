#include "replay/place.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

// Is it `folder`, or below it?
static bool is_in(const char *path, const char *folder)
{
    size_t size = strlen(folder);
    return strncmp(path, folder, size) == 0 && (path[size] == '\0' || path[size] == '/');
}

int place_check(struct replay *r)
{
    const char *to = r->options->to_path;
    if (r->options->file != NULL) return 0; // nothing is known of where it comes from
    char parent[PATH_MAX], named[PATH_MAX], data[PATH_MAX], journal[PATH_MAX];
    size_t size = strlen(to);
    while (size > 1 && to[size - 1] == '/')
        size--;
    size_t name = size;
    while (name > 0 && to[name - 1] != '/')
        name--;
    int written = snprintf(named, sizeof(named), "%.*s.", (int)name, to);
    if (size == 0 || size >= sizeof(named) || written < 0)
        return replay_fail(r, BOSKOS_E_IO, "--to: \"%s\" is no name of a place", to);
    if (realpath(named, parent) == NULL)
        return replay_fail(r, BOSKOS_E_IO, "--to: %s cannot be made: %s", to, strerror(errno));
    if (realpath(r->options->data_dir, data) == NULL)
        return replay_fail(r, BOSKOS_E_IO, "%s: %s", r->options->data_dir, strerror(errno));
    if (is_in(parent, data))
        return replay_fail(r, BOSKOS_E_IN_USE,
                           "--to: %s is in the folder that is read; choose another place", to);
    // The journal may be elsewhere, behind a link.
    written = snprintf(named, sizeof(named), "%s/journal", r->options->data_dir);
    if (written < 0 || (size_t)written >= sizeof(named) || realpath(named, journal) == NULL)
        return replay_fail(r, BOSKOS_E_IO, "%s: %s", r->options->data_dir, strerror(errno));
    bool is_journal = is_in(parent, journal);
    *strrchr(journal, '/') = '\0';
    bool is_beside = strcmp(parent, journal) == 0 && strncmp(to + name, "journal", 7) == 0;
    if (!is_journal && !is_beside) return 0;
    return replay_fail(r, BOSKOS_E_IN_USE,
                       "--to: %s belongs to the journal that is read; choose another place", to);
}
