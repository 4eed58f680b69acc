// wire/printable.h
//
// Which characters Go's strconv.IsPrint calls printable: letters, marks, numbers, punctuation,
// symbols and the ASCII space, by Unicode 15.0. Private to wire/. Pure; callable from any thread.
#ifndef WIRE_PRINTABLE_H
#define WIRE_PRINTABLE_H

#include <stdbool.h>
#include <stdint.h>

// `rune` is at most U+10FFFF; a surrogate is not printable.
bool printable_rune(uint32_t rune);

#endif
