// replay/output.h
//
// What is printed, for programs (JSON) or for people: columns, colours on a terminal only, and on
// stderr how far a long piece of work is. Whether all could be written is known at output_close.
#ifndef REPLAY_OUTPUT_H
#define REPLAY_OUTPUT_H

#include <stdio.h>

#include "base/buffer.h"
#include "base/clock.h"

enum colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_DIM, COLOUR_RED, COLOUR_GREEN, COLOUR_YELLOW };

// Where it goes. A pipe may end in a pager, which has the terminal.
enum output_sink { SINK_FILE, SINK_PIPE, SINK_TERMINAL };

struct progress;

struct output {
    FILE *file;
    bool is_coloured;
    enum output_sink sink;
    struct progress *progress; // that makes way for what is written; NULL: none does
    struct buffer line;        // what is gathered until output_flush
};

// stdout. Colours when it is a terminal, TERM is not dumb and NO_COLOR is not set. `progress` is
// borrowed.
void output_init(struct output *o, struct progress *progress);

// Writes out what is gathered. What cannot be written is said by output_close. The progress line is
// taken away first, unless this goes to a file. On a terminal it may come back below whole lines;
// after a part of a line, or anything into a pipe, it stays away for good.
void output_flush(struct output *o);

// Flushes when much has gathered: for answers of any size.
void output_drain(struct output *o);

// 0 or BOSKOS_E_IO: then errno says why.
int output_close(struct output *o);

// All of these add to o->line.
void output_string(struct output *o, const char *text);
void output_format(struct output *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
void output_colour(struct output *o, enum colour c); // COLOUR_NONE ends one
void output_time(struct output *o, uint64_t time_ns);

// How many columns output_time takes, and a time in a column of `width` and two more.
uint32_t output_time_width(uint64_t time_ns);
void output_time_cell(struct output *o, uint64_t time_ns, uint32_t width);

// A name, a state, an owner, as wire_text_word.
void output_word(struct output *o, struct text word);

// How many columns output_word takes.
uint32_t output_width(struct text word);

// A word and the blanks that make it a column of `width`, and two more.
void output_cell(struct output *o, struct text word, uint32_t width);

// ---- progress ---------------------------------------------------------------

// A line on stderr about work that takes more than a second, when that is a terminal and TERM
// is not dumb. output_flush takes care that it never stands among what is printed.
struct progress {
    struct clock clock;
    bool is_wanted;
    bool is_shown;
    uint64_t started_ns, said_ns; // monotonic
    const char *what;             // "commands"
};

void progress_init(struct progress *p);
void progress_begin(struct progress *p, const char *what);
// `total` 0: not known.
void progress_said(void *progress, uint64_t done, uint64_t total);
// Takes the line away; before anything else is written to stderr.
void progress_end(struct progress *p);

#endif
