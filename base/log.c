#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <strings.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/duration.h"
#include "base/error.h"
#include "base/time.h"

#include "base/banned.h"

// A longer text is cut here, and three points say so.
#define LOG_TEXT_BYTES_MAX 4096

// Interrupted and short writes of one line before the rest of it is given up.
#define LOG_WRITES_MAX 16

static const char *const level_names[] = {"panic", "fatal", "error", "warning",
                                          "info",  "debug", "trace"};

#define LOG_LEVELS (sizeof(level_names) / sizeof(level_names[0]))

// The length of `t` up to the maximum, without half a character at the end.
static uint32_t cut_size(struct text t)
{
    if (t.size <= LOG_TEXT_BYTES_MAX) return t.size;
    uint32_t size = LOG_TEXT_BYTES_MAX;
    for (uint32_t back = 0; back < 3 && ((unsigned char)t.data[size] & 0xC0) == 0x80; back++)
        size--;
    return size;
}

// Between double quotes: nothing may end them or the line, or move a cursor.
static void append_escaped(struct buffer *line, struct text t, enum log_format format)
{
    uint32_t end = cut_size(t);
    uint32_t at = 0;
    while (at < end) {
        struct text rest = text_of(t.data + at, end - at);
        uint32_t rune;
        uint32_t size = text_rune(rest, &rune);
        if (size == 0) {
            if (format == LOG_FORMAT_JSON)
                buffer_string(line, "\\ufffd"); // JSON has no way to write a byte
            else
                buffer_format(line, "\\x%02x", (unsigned)(unsigned char)rest.data[0]);
            at++;
            continue;
        }
        char escape[TEXT_ESCAPE_BYTES];
        uint32_t escape_size = text_escape(rune, escape);
        if (escape_size > 0) {
            buffer_append(line, escape, escape_size);
        } else {
            if (rune == '"' || rune == '\\') buffer_char(line, '\\');
            buffer_append(line, rest.data, size);
        }
        at += size;
    }
    if (end < t.size) buffer_string(line, "...");
}

// True when the value stands in a text line without quotes: what logrus leaves so.
static bool is_word(struct text t)
{
    if (t.size == 0 || t.size > LOG_TEXT_BYTES_MAX) return false;
    for (uint32_t i = 0; i < t.size; i++) {
        char c = t.data[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_plain && (c == '\0' || strchr("-._/@^+", c) == NULL)) return false;
    }
    return true;
}

static void append_text(struct buffer *line, struct text t, enum log_format format)
{
    if (format == LOG_FORMAT_TEXT && is_word(t)) {
        buffer_text(line, t);
        return;
    }
    buffer_char(line, '"');
    append_escaped(line, t, format);
    buffer_char(line, '"');
}

static void append_value(struct buffer *line, const struct log_field *field, enum log_format format)
{
    struct buffer duration;
    switch (field->kind) {
    case LOG_TEXT: append_text(line, field->text, format); break;
    case LOG_U64: buffer_format(line, "%" PRIu64, field->number); break;
    case LOG_I64: buffer_format(line, "%" PRId64, (int64_t)field->number); break;
    case LOG_DURATION_NS:
        buffer_init(&duration);
        duration_format((int64_t)field->number, &duration);
        append_text(line, buffer_as_text(&duration), format);
        buffer_release(&duration);
        break;
    }
}

static void append_text_head(struct buffer *line, uint64_t now_ns, enum log_level level,
                             struct text message)
{
    char time[TIME_TEXT_BYTES];
    size_t size = time_format_seconds(now_ns, time);
    buffer_string(line, "time=\"");
    buffer_append(line, time, size - 1); // all but the Z, which goes after the milliseconds
    buffer_format(line, ".%03uZ\" level=%s msg=", (unsigned)(now_ns % NS_PER_S / NS_PER_MS),
                  level_names[level]);
    append_text(line, message, LOG_FORMAT_TEXT);
}

static void append_json_head(struct buffer *line, uint64_t now_ns, enum log_level level,
                             struct text message)
{
    char time[TIME_TEXT_BYTES];
    size_t size = time_format_nano(now_ns, time);
    buffer_format(line, "{\"level\":\"%s\",\"msg\":", level_names[level]);
    append_text(line, message, LOG_FORMAT_JSON);
    buffer_string(line, ",\"time\":\"");
    buffer_append(line, time, size);
    buffer_char(line, '"');
}

// One write(2) unless the kernel takes only part of the line. What cannot be written is lost: there
// is no better place to say so.
static void write_line(int fd, const struct buffer *line)
{
    size_t done = 0;
    for (int i = 0; i < LOG_WRITES_MAX && done < line->size; i++) {
        ssize_t written = write(fd, line->data + done, line->size - done);
        if (written < 0 && errno != EINTR) return;
        if (written > 0) done += (size_t)written;
    }
}

void log_fields(const struct log *log, enum log_level level, const char *message,
                const struct log_field *fields, size_t count)
{
    if (log == NULL || level > log->level) return;
    ASSERT((size_t)level < LOG_LEVELS);

    int saved_errno = errno; // so that a caller may log before it looks at errno
    uint64_t now_ns = clock_wall_ns(&log->clock);
    struct buffer line;
    buffer_init(&line);

    if (log->format == LOG_FORMAT_JSON)
        append_json_head(&line, now_ns, level, text_from(message));
    else
        append_text_head(&line, now_ns, level, text_from(message));
    for (size_t i = 0; i < count; i++) {
        if (log->format == LOG_FORMAT_JSON)
            buffer_format(&line, ",\"%s\":", fields[i].key);
        else
            buffer_format(&line, " %s=", fields[i].key);
        append_value(&line, &fields[i], log->format);
    }
    if (log->format == LOG_FORMAT_JSON) buffer_char(&line, '}');
    buffer_char(&line, '\n');

    write_line(log->fd, &line);
    buffer_release(&line);
    errno = saved_errno;
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
    if (name == NULL) return BOSKOS_E_MALFORMED;
    // As logrus does it: in any case, and with its short name for warning.
    if (strcasecmp(name, "warn") == 0) name = "warning";
    for (size_t i = 0; i < LOG_LEVELS; i++) {
        if (strcasecmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return BOSKOS_E_MALFORMED;
}
