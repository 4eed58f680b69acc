// tests/conformance.h
//
// Playing recordings of a running Boskos in this process, through the same wire, config and apply
// code as the server's, with a clock that is stepped by the recording. Each difference is printed
// to stderr with its file and line, what was wanted and what came.
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include <jansson.h>

#include "base/text.h"

#define RECORDED_LINES_MAX 1000000u

// Where in which file the player is, and how much agreed so far.
struct tally {
    const char *path;
    uint32_t line;
    uint64_t steps, agreed;
};

// Prints a difference and returns false.
bool tally_differs(const struct tally *t, const char *what, struct text wanted, struct text got);

// Calls `play` with each line's JSON and counts what it returns. False, with a line on stderr, when
// the file cannot be read.
bool tally_file(struct tally *t, const char *path, bool (*play)(void *context, const json_t *step),
                void *context);

static inline struct text json_text(const json_t *string)
{
    return text_of(json_string_value(string), json_string_length(string));
}

// Plays one file of histories.
bool play_rules(struct tally *t, const char *path);

#endif
