#include "replay/spool.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/error.h"

#include "base/banned.h"

#define SIZE_BYTES 8

// Each piece lies before its size, so that the file can be read from its end.
struct spool {
    FILE *file;
    uint64_t end; // of what is left
    struct buffer piece;
    bool has_failed;
};

int spool_open(struct spool **ret_spool)
{
    FILE *file = tmpfile();
    if (file == NULL) return BOSKOS_E_IO;
    struct spool *s = must_calloc(1, sizeof(*s));
    s->file = file;
    buffer_init(&s->piece);
    *ret_spool = s;
    return 0;
}

void spool_close(struct spool *s)
{
    if (s == NULL) return;
    (void)fclose(s->file);
    buffer_release(&s->piece);
    free(s);
}

bool spool_add(struct spool *s, struct text piece)
{
    uint8_t size[SIZE_BYTES];
    bytes_put_u64(size, piece.size);
    s->has_failed = s->has_failed || fwrite(piece.data, 1, piece.size, s->file) != piece.size ||
                    fwrite(size, 1, sizeof(size), s->file) != sizeof(size);
    s->end += piece.size + sizeof(size);
    return !s->has_failed;
}

bool spool_take_last(struct spool *s, struct text *ret_piece)
{
    uint8_t bytes[SIZE_BYTES];
    if (s->has_failed || s->end == 0) return false;
    s->has_failed = fseeko(s->file, (off_t)(s->end - SIZE_BYTES), SEEK_SET) != 0 ||
                    fread(bytes, 1, SIZE_BYTES, s->file) != SIZE_BYTES;
    if (s->has_failed) return false;
    uint64_t size = bytes_get_u64(bytes);
    s->end -= SIZE_BYTES + size;
    buffer_clear(&s->piece);
    char *to = buffer_reserve(&s->piece, size);
    s->has_failed =
        fseeko(s->file, (off_t)s->end, SEEK_SET) != 0 || fread(to, 1, size, s->file) != size;
    if (s->has_failed) return false;
    *ret_piece = text_of(to, size);
    return true;
}

bool spool_has_failed(const struct spool *s)
{
    return s->has_failed;
}
