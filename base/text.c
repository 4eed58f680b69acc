#include "base/text.h"

#include "base/banned.h"

static inline bool is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

uint32_t text_rune(struct text t, uint32_t *ret_rune)
{
    const unsigned char *b = (const unsigned char *)t.data;
    uint32_t rune = b[0];

    if (rune < 0x80) {
        *ret_rune = rune;
        return 1;
    }
    if (rune < 0xC2) return 0; // a continuation byte, or a longer form of ASCII
    if (rune < 0xE0) {
        if (t.size < 2 || !is_continuation(b[1])) return 0;
        *ret_rune = (rune & 0x1F) << 6 | (b[1] & 0x3Fu);
        return 2;
    }
    if (rune < 0xF0) {
        if (t.size < 3 || !is_continuation(b[1]) || !is_continuation(b[2])) return 0;
        rune = (rune & 0x0F) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
        if (rune < 0x800 || (rune >= 0xD800 && rune <= 0xDFFF)) return 0;
        *ret_rune = rune;
        return 3;
    }
    if (rune > 0xF4) return 0;
    if (t.size < 4 || !is_continuation(b[1]) || !is_continuation(b[2]) || !is_continuation(b[3]))
        return 0;
    rune = (rune & 0x07) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
    if (rune < 0x10000 || rune > 0x10FFFF) return 0;
    *ret_rune = rune;
    return 4;
}

bool text_is_utf8(struct text t)
{
    const uint64_t high_bits = UINT64_C(0x8080808080808080);

    while (t.size > 0) {
        uint64_t eight;
        if (t.size >= sizeof(eight)) {
            // Nearly all of it is ASCII, eight bytes of which are seen at once.
            memcpy(&eight, t.data, sizeof(eight));
            if ((eight & high_bits) == 0) {
                t = text_of(t.data + sizeof(eight), t.size - sizeof(eight));
                continue;
            }
        }
        uint32_t rune;
        uint32_t size = text_rune(t, &rune);
        if (size == 0) return false;
        t = text_of(t.data + size, t.size - size);
    }
    return true;
}

static bool is_obeyed(uint32_t rune)
{
    return rune < ' ' || (rune >= 0x7F && rune < 0xA0) || (rune >= 0x2028 && rune <= 0x202E) ||
           (rune >= 0x2066 && rune <= 0x2069);
}

uint32_t text_escape(uint32_t rune, char ret_escape[TEXT_ESCAPE_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char letter = rune == '\n' ? 'n' : rune == '\r' ? 'r' : rune == '\t' ? 't' : 'u';
    if (!is_obeyed(rune)) return 0;
    ret_escape[0] = '\\';
    ret_escape[1] = letter;
    if (letter != 'u') return 2;
    for (uint32_t i = 0; i < 4; i++)
        ret_escape[2 + i] = digits[rune >> (12 - 4 * i) & 0xF];
    return TEXT_ESCAPE_BYTES;
}
