// Passwords and tokens in files that may be changed while we run, as Kubernetes changes secrets.
#include "client/client.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

#include "base/banned.h"

// Not left in memory for the next one.
static void forget(char *value)
{
    if (value == NULL) return;
    explicit_bzero(value, strlen(value));
    free(value);
}

void secret_release(struct secret *s)
{
    forget(s->value);
    free(s->path);
}

// White space at the ends does not count: editors and `echo` put a newline there.
static char *trimmed(const char *bytes, size_t size)
{
    size_t from = 0;
    while (from < size && isspace((unsigned char)bytes[from]))
        from++;
    while (size > from && isspace((unsigned char)bytes[size - 1]))
        size--;
    char *value = must_malloc(size - from + 1);
    memcpy(value, bytes + from, size - from);
    value[size - from] = '\0';
    return value;
}

static int read_file(struct secret *s, int fd, const struct stat *st)
{
    char *bytes = must_malloc(CLIENT_SECRET_BYTES_MAX);
    size_t size = 0;
    ssize_t got = 1;
    while (got > 0 && size < CLIENT_SECRET_BYTES_MAX) {
        got = read(fd, bytes + size, CLIENT_SECRET_BYTES_MAX - size);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            size += (size_t)got;
    }
    int err = got < 0 ? BOSKOS_ERR_SYSTEM : 0;
    if (got > 0) {
        errno = EFBIG;
        err = BOSKOS_ERR_SYSTEM;
    }
    int saved = errno;
    if (err == 0) {
        forget(s->value);
        s->value = trimmed(bytes, size);
        s->mtime_ns = st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
        s->size = st->st_size;
        s->inode = st->st_ino;
    }
    explicit_bzero(bytes, size);
    free(bytes);
    errno = saved;
    return err;
}

int secret_refresh(struct boskos_client *client, struct secret *s)
{
    if (s->path == NULL) return 0;
    struct stat st;
    int err = 0, fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err = BOSKOS_ERR_SYSTEM;
    } else if (s->value == NULL || s->inode != st.st_ino || s->size != st.st_size ||
               s->mtime_ns != st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec) {
        err = read_file(s, fd, &st);
    }
    int saved = errno;
    if (fd >= 0) (void)close(fd);
    errno = saved;
    if (err != 0 && s->value == NULL) return err;
    if (err != 0 && !s->has_failed)
        client_log(client, BOSKOS_LOG_WARNING, "%s: %s; what it held before is used", s->path,
                   strerror(errno));
    s->has_failed = err != 0;
    return 0;
}
