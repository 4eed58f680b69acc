#include "journal/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

int journal_error_of(int rc)
{
    switch (rc) {
    case 0: return BOSKOS_OK;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return BOSKOS_E_NOSPACE;
    case ENOMEM: return BOSKOS_E_NOMEM;
    case EACCES:
    case EPERM:
    case EROFS: return BOSKOS_E_READ_ONLY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_NOTFOUND: return BOSKOS_E_CORRUPT;
    default: return BOSKOS_E_IO;
    }
}

int journal_problem(struct journal_problem *p, int error, uint64_t seq, const char *format, ...)
{
    if (p == NULL) return error;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(p->text, sizeof(p->text), format, arguments);
    va_end(arguments);
    p->seq = seq;
    return error;
}

static const char *advice(int rc)
{
    switch (journal_error_of(rc)) {
    case BOSKOS_E_NOSPACE:
        if (rc == MDB_MAP_FULL) return "; its map is full: keep less of the log or reserve more";
        return "; make room on its file system, or raise the limit that is met";
    case BOSKOS_E_READ_ONLY: return "; let this user write there or choose another --data-dir";
    case BOSKOS_E_CORRUPT: return "; it is damaged or was not made by boskosd";
    default: return "";
    }
}

int journal_failed(struct journal_problem *p, int rc, const char *path, const char *what)
{
    int error =
        journal_problem(p, journal_error_of(rc), 0, "%s: cannot %s: %s%s", path, what,
                        rc == NOT_PLAIN ? "it is no plain file" : mdb_strerror(rc), advice(rc));
    if (rc > 0) errno = rc == NOT_PLAIN ? EINVAL : rc;
    return error;
}

char *journal_path(const char *folder, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) return NULL;
    return path;
}
