// base/text.h
//
// A text is a borrowed run of bytes with a length: it may hold NUL and is not terminated. Texts
// compare by bytes. Pure; callable from any thread.
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    const char *data; // NULL only together with size 0, and then the text is "absent"
    uint32_t size;    // bytes
};

#define TEXT_NONE ((struct text){NULL, 0})
#define TEXT(literal) ((struct text){"" literal "", sizeof(literal) - 1})

// For "%.*s".
#define TEXT_ARG(t) (int)(t).size, ((t).data != NULL ? (t).data : "")

static inline struct text text_of(const char *data, size_t size)
{
    return (struct text){data, (uint32_t)size};
}

// The text of a C string, or TEXT_NONE for NULL.
static inline struct text text_from(const char *string)
{
    return string == NULL ? TEXT_NONE : (struct text){string, (uint32_t)strlen(string)};
}

static inline bool text_is_empty(struct text t)
{
    return t.size == 0;
}

static inline bool text_equal(struct text a, struct text b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

// Below, at or above zero, as memcmp: by bytes, a prefix before what it is a prefix of.
static inline int text_compare(struct text a, struct text b)
{
    uint32_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

// True when the bytes are valid UTF-8: shortest forms only, no surrogates, at most U+10FFFF.
bool text_is_utf8(struct text t);

// Decodes the character that starts at t.data[0] and returns its length in bytes, or 0 when the
// bytes there are not valid UTF-8 (then *ret_rune is untouched). t must not be empty.
uint32_t text_rune(struct text t, uint32_t *ret_rune);

#define TEXT_ESCAPE_BYTES 6u

// What is written in the place of a character that a terminal or a line reader obeys rather than
// shows, of controls, line separators and what turns the direction of writing: "\n", "\u001b".
// Returns its length, 0 for any other character (then nothing is written).
uint32_t text_escape(uint32_t rune, char ret_escape[TEXT_ESCAPE_BYTES]);

#endif
