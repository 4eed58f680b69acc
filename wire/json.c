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

// How many bytes at the front of `t` stand for themselves: ASCII without what is escaped.
static uint32_t plain_size(struct text t)
{
    uint32_t size = 0;
    while (size < t.size) {
        unsigned char c = (unsigned char)t.data[size];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&')
            break;
        size++;
    }
    return size;
}

// Appends the character at the front of `t`, which is not plain, and returns its size.
static uint32_t append_special(struct buffer *out, struct text t)
{
    unsigned char c = (unsigned char)t.data[0];
    if (c < 0x80) {
        char letter = short_escape(c);
        char escape[2] = {'\\', letter};
        if (letter != 0)
            buffer_append(out, escape, sizeof(escape));
        else
            buffer_format(out, "\\u%04x", (unsigned)c);
        return 1;
    }
    uint32_t rune;
    uint32_t size = text_rune(t, &rune);
    if (size == 0) { // cannot be in the state; Go would write the same
        buffer_string(out, "\\ufffd");
        return 1;
    }
    if (rune == 0x2028 || rune == 0x2029)
        buffer_format(out, "\\u%04x", rune);
    else
        buffer_append(out, t.data, size);
    return size;
}

void wire_json_string(struct buffer *out, struct text t)
{
    buffer_char(out, '"');
    while (t.size > 0) {
        uint32_t size = plain_size(t);
        if (size > 0)
            buffer_append(out, t.data, size);
        else
            size = append_special(out, t);
        t = text_of(t.data + size, t.size - size);
    }
    buffer_char(out, '"');
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

void wire_json_resource(struct buffer *out, const struct sm_resource *r, enum wire_times times)
{
    json_member(out, "{\"type\":", r->type);
    json_member(out, ",\"name\":", r->name);
    json_member(out, ",\"state\":", r->state);
    json_member(out, ",\"owner\":", r->owner);
    json_time(out, ",\"lastupdate\":", r->lastupdate_ns, times);
    buffer_string(out, ",\"userdata\":{");
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        json_member(out, i == 0 ? "" : ",", r->userdata[i].key);
        json_member(out, ":", r->userdata[i].value);
    }
    buffer_char(out, '}');
    if (r->has_expiration) json_time(out, ",\"expiration-date\":", r->expiration_ns, times);
    buffer_char(out, '}');
}
