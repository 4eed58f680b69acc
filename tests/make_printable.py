#!/usr/bin/env python3
"""Writes wire/printable.c: the characters Go's %q leaves as they are.

    python3 tests/make_printable.py > wire/printable.c

Go's tables are those of Unicode 15.0, so Python must be 3.12, or have the package unicodedata2 15.0.0.
"""
import sys

try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

RUNES = 0x110000

HEAD = """\
// Made by tests/make_printable.py from the tables of Unicode 15.0; do not edit.
#include "wire/printable.h"

#include <stddef.h>

#include "base/banned.h"

// The ranges of what is not printable, first and last, in order.
static const struct range {
    uint32_t first, last;
} ranges[] = {
    // clang-format off
"""

TAIL = """\
    // clang-format on
};

bool printable_rune(uint32_t rune)
{
    size_t low = 0, high = sizeof(ranges) / sizeof(ranges[0]);

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rune > ranges[middle].last)
            low = middle + 1;
        else if (rune < ranges[middle].first)
            high = middle;
        else
            return false;
    }
    return true;
}
"""


def is_printable(rune):
    """Letters, marks, numbers, punctuation, symbols and the ASCII space."""
    return rune == 0x20 or unicodedata.category(chr(rune))[0] in "LMNPS"


def ranges():
    first = None
    for rune in range(RUNES + 1):
        hidden = rune < RUNES and not is_printable(rune)
        if hidden and first is None:
            first = rune
        elif not hidden and first is not None:
            yield first, rune - 1
            first = None


def main():
    if unicodedata.unidata_version != "15.0.0":
        sys.exit(f"Unicode 15.0.0 is wanted, this Python has {unicodedata.unidata_version}")
    out, line = HEAD, "   "
    for first, last in ranges():
        item = f" {{0x{first:X}, 0x{last:X}}},"
        if len(line) + len(item) > 100:
            out, line = out + line + "\n", "   "
        line += item
    sys.stdout.write(out + line + "\n" + TAIL)


main()
