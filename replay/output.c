#include "replay/output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/time.h"
#include "wire/wire.h"

#include "base/banned.h"

#define DRAIN_BYTES (256u * 1024)
#define KEEP_BYTES (1024u * 1024)
#define FORMAT_BYTES 1024u

// One that obeys escape sequences.
static bool is_terminal(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && (term == NULL || strcmp(term, "dumb") != 0);
}

static enum output_sink sink_of(int fd)
{
    struct stat s;
    if (isatty(fd)) return SINK_TERMINAL;
    return fstat(fd, &s) == 0 && (S_ISFIFO(s.st_mode) || S_ISSOCK(s.st_mode)) ? SINK_PIPE
                                                                              : SINK_FILE;
}

void output_init(struct output *o, struct progress *progress)
{
    const char *no_color = getenv("NO_COLOR");
    *o = (struct output){.file = stdout, .sink = sink_of(STDOUT_FILENO), .progress = progress};
    o->is_coloured = is_terminal(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0');
    buffer_init(&o->line);
}

static void make_way(struct output *o)
{
    struct progress *p = o->progress;
    if (p == NULL || !p->is_wanted || o->sink == SINK_FILE) return;
    progress_end(p);
    p->is_wanted = o->sink == SINK_TERMINAL && o->line.data[o->line.size - 1] == '\n';
}

void output_flush(struct output *o)
{
    if (o->line.size == 0) return;
    make_way(o);
    (void)fwrite(o->line.data, 1, o->line.size, o->file);
    buffer_clear(&o->line);
    if (o->line.capacity > KEEP_BYTES) buffer_release(&o->line); // that of a config
}

void output_drain(struct output *o)
{
    if (o->line.size >= DRAIN_BYTES) output_flush(o);
}

int output_close(struct output *o)
{
    output_flush(o);
    bool is_good = fflush(o->file) == 0 && ferror(o->file) == 0;
    buffer_release(&o->line);
    return is_good ? 0 : BOSKOS_E_IO;
}

void output_string(struct output *o, const char *text)
{
    buffer_string(&o->line, text);
}

void output_format(struct output *o, const char *format, ...)
{
    char text[FORMAT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (size > 0) buffer_string(&o->line, text);
}

void output_colour(struct output *o, enum colour c)
{
    static const char *const codes[] = {
        [COLOUR_NONE] = "\033[0m", [COLOUR_BOLD] = "\033[1m",   [COLOUR_DIM] = "\033[2m",
        [COLOUR_RED] = "\033[31m", [COLOUR_GREEN] = "\033[32m", [COLOUR_YELLOW] = "\033[33m"};
    if (o->is_coloured) buffer_string(&o->line, codes[c]);
}

void output_time(struct output *o, uint64_t time_ns)
{
    char text[TIME_TEXT_BYTES];
    buffer_append(&o->line, text, time_format_nano(time_ns, text));
}

void output_word(struct output *o, struct text word)
{
    wire_text_word(word, &o->line);
}

uint32_t output_time_width(uint64_t time_ns)
{
    char text[TIME_TEXT_BYTES];
    return (uint32_t)time_format_nano(time_ns, text);
}

void output_time_cell(struct output *o, uint64_t time_ns, uint32_t width)
{
    size_t before = o->line.size;
    output_time(o, time_ns);
    while (o->line.size < before + width + 2)
        buffer_char(&o->line, ' ');
}

// Every byte but the following ones of a character.
static uint32_t columns(const char *bytes, size_t size)
{
    uint32_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += ((unsigned char)bytes[i] & 0xc0) != 0x80;
    return count;
}

uint32_t output_width(struct text word)
{
    struct buffer shown;
    buffer_init(&shown);
    wire_text_word(word, &shown);
    uint32_t width = columns(shown.data, shown.size);
    buffer_release(&shown);
    return width;
}

void output_cell(struct output *o, struct text word, uint32_t width)
{
    size_t before = o->line.size;
    output_word(o, word);
    uint32_t is = columns(o->line.data + before, o->line.size - before);
    for (; is < width + 2; is++)
        buffer_char(&o->line, ' ');
}

// ---- progress -----------------------------------------------------------------

void progress_init(struct progress *p)
{
    *p = (struct progress){.clock = clock_system(), .is_wanted = is_terminal(STDERR_FILENO)};
    progress_begin(p, "commands");
}

void progress_begin(struct progress *p, const char *what)
{
    progress_end(p);
    p->what = what;
    p->started_ns = clock_mono_ns(&p->clock);
    p->said_ns = p->started_ns + NS_PER_S * 4 / 5; // the first line comes after a second
}

void progress_said(void *progress, uint64_t done, uint64_t total)
{
    struct progress *p = progress;
    if (!p->is_wanted) return;
    uint64_t now_ns = clock_mono_ns(&p->clock);
    if (now_ns < p->said_ns + NS_PER_S / 5) return;
    p->said_ns = now_ns;
    p->is_shown = true;
    uint64_t took_ms = (now_ns - p->started_ns) / NS_PER_MS;
    uint64_t rate = took_ms > 0 ? done * 1000 / took_ms : 0;
    (void)fprintf(stderr, "\r\033[K%" PRIu64, done);
    if (total > 0) (void)fprintf(stderr, " of %" PRIu64, total);
    (void)fprintf(stderr, " %s, %" PRIu64 "/s", p->what, rate);
    if (total > done && rate > 0)
        (void)fprintf(stderr, ", %" PRIu64 " s left", (total - done) / rate + 1);
    (void)fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (p->is_shown) (void)fputs("\r\033[K", stderr);
    p->is_shown = false;
}
