#include "replay/spool.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"

#include "base/banned.h"

#define SIZE_BYTES 8
#define PIECE_BYTES (64u * 1024) // read back at once

// Each line lies before its size, so that the file can be read from its end.
struct spool {
    FILE *file;
    uint64_t end; // of the lines that are complete
    bool has_failed;
    FILE *file_before; // of the output
    enum output_sink sink_before;
};

int spool_begin(struct output *out, struct spool **ret_spool)
{
    FILE *file = tmpfile();
    if (file == NULL) return BOSKOS_E_IO;
    output_flush(out);
    struct spool *s = must_calloc(1, sizeof(*s));
    *s = (struct spool){.file = file, .file_before = out->file, .sink_before = out->sink};
    out->file = file;
    out->sink = SINK_FILE;
    *ret_spool = s;
    return 0;
}

bool spool_end_line(struct spool *s, struct output *out)
{
    uint8_t size[SIZE_BYTES];
    output_flush(out);
    off_t at = ftello(s->file);
    if (at >= 0) bytes_put_u64(size, (uint64_t)at - s->end);
    s->has_failed = s->has_failed || at < 0 || ferror(s->file) ||
                    fwrite(size, 1, SIZE_BYTES, s->file) != SIZE_BYTES;
    s->end = (uint64_t)at + SIZE_BYTES;
    return !s->has_failed;
}

// Goes to the last line that is left.
static bool take_last(struct spool *s, uint64_t *ret_size)
{
    uint8_t bytes[SIZE_BYTES];
    if (fseeko(s->file, (off_t)(s->end - SIZE_BYTES), SEEK_SET) != 0 ||
        fread(bytes, 1, SIZE_BYTES, s->file) != SIZE_BYTES)
        return false;
    *ret_size = bytes_get_u64(bytes);
    s->end -= SIZE_BYTES + *ret_size;
    return fseeko(s->file, (off_t)s->end, SEEK_SET) == 0;
}

static bool print_last(struct spool *s, struct output *out)
{
    uint64_t left = 0;
    if (!take_last(s, &left)) return false;
    while (left > 0) {
        size_t size = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        char *to = buffer_reserve(&out->line, size);
        if (fread(to, 1, size, s->file) != size) return false;
        out->line.size += size;
        left -= size;
        output_drain(out);
    }
    return true;
}

int spool_end(struct spool *s, struct output *out, bool wanted)
{
    buffer_clear(&out->line); // a line that was not completed
    out->file = s->file_before;
    out->sink = s->sink_before;
    bool is_good = !s->has_failed && fflush(s->file) == 0;
    while (is_good && wanted && s->end > 0)
        is_good = print_last(s, out);
    (void)fclose(s->file);
    free(s);
    if (is_good) output_flush(out);
    return is_good ? 0 : BOSKOS_E_IO;
}
