#include "http/series.h"

#include "base/assert.h"
#include "base/hash.h"

#include <stdlib.h>

#include "base/banned.h"

#define PLACES (2u * SERIES_MAX)

void family_init(struct family *f, const struct family_form *form)
{
    ASSERT(form->bounds_count <= SERIES_BUCKETS_MAX);
    *f = (struct family){.form = form};
    f->table = must_calloc(PLACES, sizeof *f->table);
}

void family_release(struct family *f)
{
    for (uint32_t i = 0; f->table != NULL && i < PLACES; i++)
        free(f->table[i].labels);
    free(f->table);
    *f = (struct family){.form = f->form};
}

struct series *family_series(struct family *f, struct text labels)
{
    ASSERT(labels.size > 0);
    uint64_t place = hash64(labels.data, labels.size, 0) % PLACES;
    while (f->table[place].labels != NULL) { // ends: half of the places are free
        struct series *s = &f->table[place];
        if (text_equal(text_of(s->labels, s->labels_size), labels)) return s;
        place = (place + 1) % PLACES;
    }
    if (f->used == SERIES_MAX) return &f->other;

    struct series *s = &f->table[place];
    s->labels = must_malloc(labels.size + 1ul);
    memcpy(s->labels, labels.data, labels.size);
    s->labels_size = labels.size;
    f->used++;
    return s;
}

void series_observe(const struct family *f, struct series *s, uint64_t value)
{
    s->count++;
    s->sum += value;
    for (uint32_t i = 0; i < f->form->bounds_count; i++) {
        if (value > f->form->bounds[i].value) continue;
        s->buckets[i]++;
        return;
    }
}

void family_observe(struct family *f, struct text labels, uint64_t value)
{
    series_observe(f, family_series(f, labels), value);
}

static void series_print(const struct family_form *form, const struct series *s, struct text labels,
                         struct buffer *out)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < form->bounds_count; i++) {
        total += s->buckets[i];
        buffer_format(out, "%s_bucket{%.*s,le=\"%s\"} %llu\n", form->name, TEXT_ARG(labels),
                      form->bounds[i].text, (unsigned long long)total);
    }
    buffer_format(out, "%s_bucket{%.*s,le=\"+Inf\"} %llu\n", form->name, TEXT_ARG(labels),
                  (unsigned long long)s->count);
    buffer_format(out, "%s_sum{%.*s} ", form->name, TEXT_ARG(labels));
    if (form->is_ns)
        series_seconds(out, s->sum);
    else
        buffer_format(out, "%llu", (unsigned long long)s->sum);
    buffer_format(out, "\n%s_count{%.*s} %llu\n", form->name, TEXT_ARG(labels),
                  (unsigned long long)s->count);
}

void family_print(const struct family *f, struct buffer *out)
{
    series_head(out, f->form->name, f->form->help, "histogram");
    for (uint32_t i = 0; i < PLACES; i++) {
        const struct series *s = &f->table[i];
        if (s->labels == NULL) continue;
        series_print(f->form, s, text_of(s->labels, s->labels_size), out);
    }
    if (f->other.count > 0) series_print(f->form, &f->other, text_from(f->form->other), out);
}

static bool needs_escape(char c)
{
    return c == '\n' || c == '\0' || c == '"' || c == '\\';
}

void series_label(struct buffer *labels, const char *name, struct text value)
{
    if (value.size > SERIES_LABEL_BYTES) value = TEXT("other");
    if (labels->size > 0) buffer_char(labels, ',');
    buffer_string(labels, name);
    buffer_append(labels, "=\"", 2);
    uint32_t start = 0; // as nearly always: nothing to escape
    while (start < value.size && !needs_escape(value.data[start]))
        start++;
    buffer_append(labels, value.data, start);
    for (uint32_t i = start; i < value.size; i++) {
        char c = value.data[i];
        if (c == '\n') {
            buffer_string(labels, "\\n");
        } else if (c == '\0') {
            buffer_string(labels, "\xEF\xBF\xBD"); // U+FFFD: the format has no NUL
        } else {
            if (c == '"' || c == '\\') buffer_char(labels, '\\');
            buffer_char(labels, c);
        }
    }
    buffer_char(labels, '"');
}

void series_seconds(struct buffer *out, uint64_t ns)
{
    buffer_format(out, "%llu.%09llu", (unsigned long long)(ns / 1000000000),
                  (unsigned long long)(ns % 1000000000));
}

void series_head(struct buffer *out, const char *name, const char *help, const char *type)
{
    buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void series_number(struct buffer *out, const char *name, const char *help, const char *type,
                   uint64_t value)
{
    series_head(out, name, help, type);
    buffer_format(out, "%s %llu\n", name, (unsigned long long)value);
}
