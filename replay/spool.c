#include "replay/spool.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "replay/temporary.h"

#include "base/banned.h"

#define SIZE_BYTES 8
#define PIECE_BYTES (64u * 1024) // read back at once

// Each line lies before its size, so that the file can be read from its end.
struct spool {
    struct replay *replay;
    FILE *file;
    uint64_t end;      // of the lines that are complete
    FILE *file_before; // of the output
    enum output_sink sink_before;
};

int spool_begin(struct replay *r, struct spool **ret_spool)
{
    FILE *file = NULL;
    int err = temporary_open(r, &file);
    if (err != 0) return err;
    output_flush(&r->out);
    struct spool *s = must_calloc(1, sizeof(*s));
    *s = (struct spool){
        .replay = r, .file = file, .file_before = r->out.file, .sink_before = r->out.sink};
    r->out.file = file;
    r->out.sink = SINK_FILE;
    *ret_spool = s;
    return 0;
}

// Where what was written so far ends; false when not all of it could be written.
static bool tell(struct spool *s, uint64_t *ret_at)
{
    output_flush(&s->replay->out);
    off_t at = ftello(s->file);
    *ret_at = (uint64_t)at;
    return at >= 0 && !ferror(s->file);
}

int spool_end_line(struct spool *s)
{
    uint64_t at = 0;
    uint8_t size[SIZE_BYTES];
    bool is_good = tell(s, &at);
    bytes_put_u64(size, at - s->end);
    if (!is_good || fwrite(size, 1, SIZE_BYTES, s->file) != SIZE_BYTES)
        return temporary_failed(s->replay, "written");
    s->end = at + SIZE_BYTES;
    return 0;
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

// Ends the last line, if it was not, and writes out what the system does not have yet.
static int complete(struct spool *s)
{
    uint64_t at = 0;
    int err = 0;
    if (!tell(s, &at) || at != s->end) err = spool_end_line(s);
    if (err != 0 || fflush(s->file) == 0) return err;
    return temporary_failed(s->replay, "written");
}

int spool_end(struct spool *s, int err)
{
    struct output *out = &s->replay->out;
    if (err == 0) err = complete(s);
    buffer_clear(&out->line);
    out->file = s->file_before;
    out->sink = s->sink_before;
    while (err == 0 && s->end > 0) {
        if (!print_last(s, out)) err = temporary_failed(s->replay, "read");
    }
    (void)fclose(s->file);
    free(s);
    if (err == 0) output_flush(out);
    return err;
}
