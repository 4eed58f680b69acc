#include "wire/internal.h"

#include "base/assert.h"

#include "base/banned.h"

int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool is_well_formed(struct text pair)
{
    for (uint32_t i = 0; i < pair.size; i++) {
        if (pair.data[i] == ';') return false;
        if (pair.data[i] != '%') continue;
        if (pair.size - i < 3) return false;
        if (hex_value(pair.data[i + 1]) < 0 || hex_value(pair.data[i + 2]) < 0) return false;
        i += 2;
    }
    return true;
}

bool params_next(struct text *rest, struct param_pair *ret_pair)
{
    while (rest->size > 0) {
        const char *mark = memchr(rest->data, '&', rest->size);
        struct text pair = *rest;
        if (mark != NULL) pair.size = (uint32_t)(mark - rest->data);
        uint32_t taken = pair.size + (mark != NULL);
        *rest = text_of(rest->data + taken, rest->size - taken);
        if (pair.size == 0 || !is_well_formed(pair)) continue;

        const char *equals = memchr(pair.data, '=', pair.size);
        uint32_t key_size = equals == NULL ? pair.size : (uint32_t)(equals - pair.data);
        uint32_t value_at = equals == NULL ? pair.size : key_size + 1;
        ret_pair->key = text_of(pair.data, key_size);
        ret_pair->value = text_of(pair.data + value_at, pair.size - value_at);
        return true;
    }
    return false;
}

// The decoded byte at `at`, of which *ret_taken escaped bytes are used up.
static inline char decode_byte(struct text escaped, uint32_t at, uint32_t *ret_taken)
{
    char c = escaped.data[at];
    *ret_taken = 1;
    if (c == '+') return ' ';
    if (c != '%') return c;
    *ret_taken = 3;
    return (char)(hex_value(escaped.data[at + 1]) * 16 + hex_value(escaped.data[at + 2]));
}

bool params_key_is(struct text key, const char *name)
{
    for (uint32_t at = 0, taken; at < key.size; at += taken)
        if (*name == '\0' || decode_byte(key, at, &taken) != *name++) return false;
    return *name == '\0';
}

struct text params_decode(struct text escaped, struct buffer *out)
{
    ASSERT(out->capacity - out->size >= escaped.size && out->data != NULL);

    char *to = out->data + out->size;
    uint32_t size = 0;
    for (uint32_t at = 0, taken; at < escaped.size; at += taken)
        to[size++] = decode_byte(escaped, at, &taken);
    out->size += size;
    return text_of(to, size);
}
