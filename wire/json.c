#include "base/duration.h"
#include "base/time.h"
#include "wire/internal.h"

#include "base/banned.h"

// The letter of a short escape in JSON as Go writes it, or 0.
static char short_escape(unsigned char c)
{
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    }
    return 0;
}

// What is escaped: what Go's encoding/json escapes, or beside it what YAML does not take as it is.
enum dialect { AS_GO, AS_YAML };

// How many bytes at the front of `t` stand for themselves: ASCII without what is escaped.
static uint32_t plain_size(struct text t)
{
    uint32_t size = 0;
    while (size < t.size) {
        unsigned char c = (unsigned char)t.data[size];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&')
            break;
        size++;
    }
    return size;
}

// Beyond ASCII. In YAML U+0085, U+2028 and U+2029 end lines, other controls and what is no
// character are refused, and readers differ on the byte order mark.
static bool is_escaped(uint32_t rune, enum dialect dialect)
{
    if (rune == 0x2028 || rune == 0x2029) return true;
    return dialect == AS_YAML &&
           (rune < 0xa0 || rune == 0xfeff || rune == 0xfffe || rune == 0xffff);
}

static void append_escape(struct buffer *out, unsigned char c)
{
    char letter = short_escape(c);
    char escape[2] = {'\\', letter};
    if (letter != 0)
        buffer_append(out, escape, sizeof(escape));
    else
        buffer_format(out, "\\u%04x", (unsigned)c);
}

// Appends the character at the front of `t`, which is not plain, and returns its size.
static uint32_t append_special(struct buffer *out, struct text t, enum dialect dialect)
{
    unsigned char c = (unsigned char)t.data[0];
    if (c < 0x80) {
        if (c == 0x7f && dialect == AS_GO)
            buffer_char(out, '\x7f');
        else
            append_escape(out, c);
        return 1;
    }
    uint32_t rune;
    uint32_t size = text_rune(t, &rune);
    if (size == 0) { // cannot be in the state; Go would write the same
        buffer_string(out, "\\ufffd");
        return 1;
    }
    if (is_escaped(rune, dialect))
        buffer_format(out, "\\u%04x", rune);
    else
        buffer_append(out, t.data, size);
    return size;
}

static void append_characters(struct buffer *out, struct text t, enum dialect dialect)
{
    while (t.size > 0) {
        uint32_t size = plain_size(t);
        if (size > 0)
            buffer_append(out, t.data, size);
        else
            size = append_special(out, t, dialect);
        t = text_of(t.data + size, t.size - size);
    }
}

static void append_string(struct buffer *out, struct text t, enum dialect dialect)
{
    buffer_char(out, '"');
    append_characters(out, t, dialect);
    buffer_char(out, '"');
}

void wire_json_string(struct buffer *out, struct text t)
{
    append_string(out, t, AS_GO);
}

void wire_json_characters(struct buffer *out, struct text t)
{
    append_characters(out, t, AS_GO);
}

void json_yaml_string(struct buffer *out, struct text t)
{
    append_string(out, t, AS_YAML);
}

void json_member(struct buffer *out, const char *before, struct text value)
{
    buffer_string(out, before);
    wire_json_string(out, value);
}

void json_time(struct buffer *out, const char *before, uint64_t time_ns, enum wire_times times)
{
    char text[TIME_TEXT_BYTES];
    size_t size = times == WIRE_TIMES_SECONDS ? time_format_seconds(time_ns, text)
                                              : time_format_nano(time_ns, text);
    buffer_string(out, before);
    buffer_char(out, '"');
    buffer_append(out, text, size);
    buffer_char(out, '"');
}

void json_duration(struct buffer *out, const char *before, int64_t ns)
{
    buffer_string(out, before);
    buffer_char(out, '"');
    duration_format(ns, out);
    buffer_char(out, '"');
}

void json_userdata(struct buffer *out, const char *before, const struct userdata_pair *pairs,
                   uint32_t count)
{
    buffer_string(out, before);
    buffer_char(out, '{');
    for (uint32_t i = 0; i < count; i++) {
        json_member(out, i == 0 ? "" : ",", pairs[i].key);
        if (pairs[i].value.data == NULL)
            buffer_string(out, ":null");
        else
            json_member(out, ":", pairs[i].value);
    }
    buffer_char(out, '}');
}

void wire_json_resource(struct buffer *out, const struct sm_resource *r, enum wire_times times)
{
    json_member(out, "{\"type\":", r->type);
    json_member(out, ",\"name\":", r->name);
    json_member(out, ",\"state\":", r->state);
    json_member(out, ",\"owner\":", r->owner);
    json_time(out, ",\"lastupdate\":", r->lastupdate_ns, times);
    json_userdata(out, ",\"userdata\":", r->userdata, r->userdata_count);
    if (r->has_expiration) json_time(out, ",\"expiration-date\":", r->expiration_ns, times);
    buffer_char(out, '}');
}
