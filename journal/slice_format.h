// journal/slice_format.h
//
// The bytes of an exported file (docs/FORMAT.md, `The exported file`): what its writer and its
// reader share, and nobody else includes. Pure.
//
// Header, the snapshot's content, the records, their index, trailer. What is known only at the end
// stands in the trailer: so a file is written from front to back.
#ifndef JOURNAL_SLICE_FORMAT_H
#define JOURNAL_SLICE_FORMAT_H

#include "journal/internal.h"
#include "journal/slice.h"

#define SLICE_HEADER_FIELDS_BYTES (72 + SLICE_CREATED_BY_BYTES_MAX)
#define SLICE_HEADER_BYTES (SLICE_HEADER_FIELDS_BYTES + HASH128_BYTES)

// Before a record's value and its row: the two sizes, and a checksum of the key and them.
#define SLICE_SIZES_BYTES 16
#define SLICE_FRAME_BYTES (SLICE_SIZES_BYTES + 8)

// Of each 4096th record from the first on: where it begins, and the checksum of the record before.
#define SLICE_INDEX_EVERY 4096u
#define SLICE_INDEX_ENTRY_BYTES (8 + HASH128_BYTES)

#define SLICE_TRAILER_FIELDS_BYTES 88
#define SLICE_TRAILER_BYTES (SLICE_TRAILER_FIELDS_BYTES + HASH128_BYTES)

struct slice_trailer {
    uint64_t base_bytes, records_bytes, file_bytes;
    struct hash128 base_checksum, index_checksum;
    uint64_t last_seq, last_time_ns;
    struct hash128 last_chain;
};

void slice_header_encode(const struct slice_about *about, uint8_t ret_bytes[SLICE_HEADER_BYTES]);

// Reads the header at the beginning of a file of `size` bytes; the version is borrowed from them.
// BOSKOS_E_MALFORMED: it is another kind of file; BOSKOS_E_CORRUPT, BOSKOS_E_TOO_NEW.
int slice_header_decode(const char *path, const uint8_t *bytes, uint64_t size,
                        struct slice_about *ret_about, struct journal_problem *problem);

// The checksum at the end of a trailer with these fields. It begins with the header's, so that the
// end of another file does not fit.
struct hash128 slice_trailer_checksum(struct hash128 header, const uint8_t *fields);

void slice_trailer_encode(const struct slice_trailer *t, struct hash128 header,
                          uint8_t ret_bytes[SLICE_TRAILER_BYTES]);
struct slice_trailer slice_trailer_decode(const uint8_t bytes[SLICE_TRAILER_BYTES]);

// Do the sizes add up to the file's, and does the end follow from the base?
bool slice_trailer_fits(const struct slice_trailer *t, const struct slice_about *about,
                        uint64_t size);

uint64_t slice_frame_checksum(uint64_t seq, const uint8_t sizes[SLICE_SIZES_BYTES]);

// Of up to JOURNAL_ROW_BYTES_MAX.
uint64_t slice_row_checksum(uint64_t seq, const void *bytes, size_t size);

// As journal_failed, without advice that is meant for a folder.
int slice_failed(struct journal_problem *p, int rc, const char *path, const char *what);

#endif
