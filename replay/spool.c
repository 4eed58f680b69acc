#include "replay/spool.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"

#include "base/banned.h"

#define SIZE_BYTES 8

// Each line lies before its size, so that the file can be read from its end.
struct spool {
    FILE *file;
    uint64_t end;  // of what is not taken yet
    uint64_t left; // of the line that is read
    bool has_failed;
};

int spool_open(struct spool **ret_spool)
{
    FILE *file = tmpfile();
    if (file == NULL) return BOSKOS_E_IO;
    struct spool *s = must_calloc(1, sizeof(*s));
    s->file = file;
    *ret_spool = s;
    return 0;
}

void spool_close(struct spool *s)
{
    if (s == NULL) return;
    (void)fclose(s->file);
    free(s);
}

FILE *spool_file(struct spool *s)
{
    return s->file;
}

bool spool_end_line(struct spool *s)
{
    uint8_t size[SIZE_BYTES];
    off_t at = ftello(s->file);
    if (at >= 0) bytes_put_u64(size, (uint64_t)at - s->end);
    s->has_failed = s->has_failed || at < 0 || ferror(s->file) ||
                    fwrite(size, 1, SIZE_BYTES, s->file) != SIZE_BYTES;
    s->end = (uint64_t)at + SIZE_BYTES;
    return !s->has_failed;
}

bool spool_take_last(struct spool *s)
{
    uint8_t bytes[SIZE_BYTES];
    if (s->has_failed || s->end == 0) return false;
    s->has_failed = fseeko(s->file, (off_t)(s->end - SIZE_BYTES), SEEK_SET) != 0 ||
                    fread(bytes, 1, SIZE_BYTES, s->file) != SIZE_BYTES;
    if (s->has_failed) return false;
    s->left = bytes_get_u64(bytes);
    s->end -= SIZE_BYTES + s->left;
    s->has_failed = fseeko(s->file, (off_t)s->end, SEEK_SET) != 0;
    return !s->has_failed;
}

size_t spool_read(struct spool *s, char *to, size_t size)
{
    if (size > s->left) size = (size_t)s->left;
    if (s->has_failed || size == 0) return 0;
    s->left -= size;
    s->has_failed = fread(to, 1, size, s->file) != size;
    return s->has_failed ? 0 : size;
}

bool spool_has_failed(const struct spool *s)
{
    return s->has_failed;
}
