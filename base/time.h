// base/time.h
//
// Instants as text. An instant is nanoseconds since 1970-01-01T00:00:00Z in a uint64_t, which ends
// in the year 2554. No locale, no time zone database. Pure; callable from any thread.
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include "base/text.h"

// Room for the longest text below with its NUL.
#define TIME_TEXT_BYTES 40

// RFC 3339 in UTC with whole seconds, cut off: 2023-11-14T22:13:20Z. Returns the length.
size_t time_format_seconds(uint64_t time_ns, char ret_text[TIME_TEXT_BYTES]);

// Go's RFC3339Nano in UTC: nanoseconds with trailing zeros cut, no dot at zero. Returns the length.
size_t time_format_nano(uint64_t time_ns, char ret_text[TIME_TEXT_BYTES]);

// Reads RFC 3339, its T and Z as capitals, with up to nine digits of fraction and Z or a numeric
// offset. BOSKOS_E_MALFORMED for anything else and for instants before 1970 or after 2554.
int time_parse(struct text t, uint64_t *ret_time_ns);

#endif
