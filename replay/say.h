// replay/say.h
//
// Small pieces of answers that several commands print, for people and as JSON. All of them add to
// out->line. One thread.
#ifndef REPLAY_SAY_H
#define REPLAY_SAY_H

#include "replay/output.h"
#include "replay/walk.h"

#define SAY_MOST 50u // elements of a list for people; the rest is counted

// A length of time as Go prints durations, rounded to milliseconds.
void say_age(struct output *out, uint64_t age_ns);

// ", last heard of 20s ago".
void say_heard(struct output *out, uint64_t age_ns);

// "command 12, 2026-03-01T14:02:00Z".
void say_command(struct output *out, uint64_t seq, uint64_t time_ns);

// A line's beginning: two blanks, the label dimmed, and blanks up to a column of its own.
void say_label(struct output *out, const char *label);

// "3 requests", or "1 request".
void say_count(struct output *out, uint64_t count, const char *one, const char *many);

// "and 12 more" as a line of its own, when `count` is above SAY_MOST.
void say_more(struct output *out, uint64_t count);

// What was told of a command's changes already: all for which `is_said` returns true. NULL:
// nothing.
struct said {
    bool (*is_said)(const void *context, const struct sm_change *change);
    const void *context;
};

// Lines about what the walk's last command changed of resources, at most SAY_MOST, without what was
// told: the fields that differ, but for lastupdate. A heading comes before, unless nothing is
// listed.
void say_changes(struct output *out, struct walk *w, struct said said);

// Each adds `before` (a comma and a key), then the value.
void say_json_text(struct output *out, const char *before, struct text value);
void say_json_number(struct output *out, const char *before, uint64_t number);
void say_json_time(struct output *out, const char *before, uint64_t time_ns);
// A duration as Go prints it, exactly.
void say_json_span(struct output *out, const char *before, uint64_t span_ns);

#endif
