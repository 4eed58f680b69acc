#include "wire/internal.h"

#include "wire/printable.h"

#include "base/banned.h"

// The letter of a short escape, or 0.
static char short_escape(uint32_t rune)
{
    switch (rune) {
    case '\a': return 'a';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    case '\v': return 'v';
    case '"': return '"';
    case '\\': return '\\';
    }
    return 0;
}

void wire_go_quote(struct buffer *out, struct text t)
{
    buffer_char(out, '"');
    while (t.size > 0) {
        uint32_t rune;
        uint32_t size = text_rune(t, &rune);
        if (size == 0) { // a parameter is valid UTF-8; whatever else comes here, Go shows its bytes
            buffer_format(out, "\\x%02x", (unsigned)(unsigned char)t.data[0]);
            size = 1;
        } else if (short_escape(rune) != 0) {
            char escape[2] = {'\\', short_escape(rune)};
            buffer_append(out, escape, sizeof(escape));
        } else if (printable_rune(rune)) {
            buffer_append(out, t.data, size);
        } else if (rune < 0x80) {
            buffer_format(out, "\\x%02x", rune);
        } else if (rune < 0x10000) {
            buffer_format(out, "\\u%04x", rune);
        } else {
            buffer_format(out, "\\U%08x", rune);
        }
        t = text_of(t.data + size, t.size - size);
    }
    buffer_char(out, '"');
}
