#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "config/report.h"

#include "base/banned.h"

#define REPORT_TEXT_MAX CONFIG_TEXT_MAX // bytes of a text of the file in a message

void config_report_init(struct report *r)
{
    *r = (struct report){0};
    r->memory = must_malloc(sizeof(*r->memory));
    config_arena_init(r->memory);
    buffer_init(&r->line);
}

void config_report_text(struct buffer *line, struct text t)
{
    if (t.size <= REPORT_TEXT_MAX) {
        buffer_text(line, t);
        return;
    }
    uint32_t size = REPORT_TEXT_MAX;
    while (size > 0 && ((unsigned char)t.data[size] & 0xc0) == 0x80)
        size--; // not in the middle of a character
    buffer_text(line, text_of(t.data, size));
    buffer_string(line, "...");
}

static bool list_is_full(struct report_list *l)
{
    if (l->count < CONFIG_ERRORS_MAX) return false;
    l->dropped++;
    return true;
}

static void list_add(struct report *r, struct report_list *l, uint32_t line)
{
    if (l->items == NULL)
        l->items = config_arena_alloc(r->memory, CONFIG_ERRORS_MAX + 1, sizeof(*l->items));
    ASSERT(l->count <= CONFIG_ERRORS_MAX);
    l->items[l->count].line = line;
    l->items[l->count].text = config_arena_text(r->memory, buffer_as_text(&r->line));
    l->count++;
}

struct buffer *config_report_error_begin(struct report *r)
{
    if (list_is_full(&r->errors)) return NULL;
    buffer_clear(&r->line);
    return &r->line;
}

void config_report_error_end(struct report *r, uint32_t line)
{
    list_add(r, &r->errors, line);
}

static void __attribute__((format(printf, 3, 0)))
add_error(struct report *r, uint32_t line, const char *format, va_list arguments)
{
    struct buffer *out = config_report_error_begin(r);
    if (out == NULL) return;
    char text[512]; // the callers' texts are fixed ones with numbers and short paths
    vsnprintf(text, sizeof(text), format, arguments);
    buffer_string(out, text);
    config_report_error_end(r, line);
}

void config_report_error(struct report *r, uint32_t line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_error(r, line, format, arguments);
    va_end(arguments);
}

void config_report_limit(struct report *r, uint32_t line, const char *format, ...)
{
    r->too_large = true;
    va_list arguments;
    va_start(arguments, format);
    add_error(r, line, format, arguments);
    va_end(arguments);
}

void config_report_warning(struct report *r, uint32_t line, const char *before, struct text t,
                           const char *after)
{
    if (list_is_full(&r->warnings)) return;
    buffer_clear(&r->line);
    buffer_string(&r->line, before);
    config_report_text(&r->line, t);
    buffer_string(&r->line, after);
    list_add(r, &r->warnings, line);
}

static void end_list(struct report *r, struct report_list *l, const char *kind)
{
    if (l->dropped == 0) return;
    buffer_clear(&r->line);
    buffer_format(&r->line, "and %zu more %s", l->dropped, kind);
    list_add(r, l, 0);
}

// Joins the errors as Boskos does: each text once, brackets around more than one.
static struct text join(struct report *r)
{
    struct buffer out;
    buffer_init(&out);
    size_t texts = 0;
    for (size_t i = 0; i < r->errors.count; i++) {
        struct text t = r->errors.items[i].text;
        size_t before = 0; // at most CONFIG_ERRORS_MAX texts, so comparing each pair is cheap
        while (before < i && !text_equal(r->errors.items[before].text, t))
            before++;
        if (before < i) continue;
        buffer_string(&out, texts == 0 ? "[" : ", ");
        buffer_text(&out, t);
        texts++;
    }
    if (texts > 1) buffer_char(&out, ']');

    struct text joined = TEXT_NONE;
    if (texts > 0) joined = config_arena_text(r->memory, buffer_as_text(&out));
    if (texts == 1) joined = text_of(joined.data + 1, joined.size - 1);
    buffer_release(&out);
    return joined;
}

// Puts messages into the file's order; those of one line, and those of no line at the end, keep
// theirs.
static void sort_by_line(struct report *r, struct report_list *l)
{
    if (l->count < 2) return;
    struct config_message *from = l->items;
    struct config_message *to = config_arena_alloc(r->memory, CONFIG_ERRORS_MAX + 1, sizeof(*to));
    for (size_t run = 1; run < l->count; run *= 2) {
        for (size_t start = 0; start < l->count; start += 2 * run) {
            size_t middle = start + run < l->count ? start + run : l->count;
            size_t end = middle + run < l->count ? middle + run : l->count;
            size_t a = start, b = middle;
            for (size_t i = start; i < end; i++) {
                // Line 0 wraps around to the greatest number.
                bool first = a < middle && (b == end || from[a].line - 1 <= from[b].line - 1);
                to[i] = first ? from[a++] : from[b++];
            }
        }
        struct config_message *other = from;
        from = to;
        to = other;
    }
    l->items = from;
}

int config_report_finish(struct report *r, struct config_report *ret_report)
{
    bool failed = config_report_has_errors(r);
    end_list(r, &r->errors, "errors");
    end_list(r, &r->warnings, "warnings");
    struct text joined = join(r); // in Boskos's order, so before they are sorted
    sort_by_line(r, &r->errors);
    sort_by_line(r, &r->warnings);
    buffer_release(&r->line);

    *ret_report = (struct config_report){
        .errors = r->errors.items,
        .errors_count = r->errors.count,
        .warnings = r->warnings.items,
        .warnings_count = r->warnings.count,
        .joined = joined,
        .memory = r->memory,
    };
    if (!failed) return 0;
    return r->too_large ? BOSKOS_E_TOO_LARGE : BOSKOS_E_MALFORMED;
}

void config_report_release(struct config_report *report)
{
    struct arena *memory = report->memory;
    if (memory != NULL) config_arena_release(memory);
    free(memory);
    *report = (struct config_report){0};
}
