// config/report.h
//
// Gathers what is wrong or odd in a config while it is read, and makes the public report of it. It
// does not know the rules. What is beyond CONFIG_ERRORS_MAX is counted, and a last message tells
// how many.
//
// Private to this folder. Not thread-safe; each report has one owner.
#ifndef CONFIG_REPORT_H
#define CONFIG_REPORT_H

#include "config/arena.h"
#include "config/config.h"

struct report_list {
    struct config_message *items; // NULL, or room for CONFIG_ERRORS_MAX and one more
    size_t count;
    size_t dropped;
};

struct report {
    struct arena *memory; // goes to the public report
    struct report_list errors, warnings;
    struct buffer line;
    bool too_large; // one of the errors is about a limit
};

// init: the report must be ended with config_report_finish.
void config_report_init(struct report *r);

// Appends a text of the file to a message: raw as Boskos does it, cut where it is very long.
void config_report_text(struct buffer *line, struct text t);

// An error of one's own making: config_report_error_begin returns an empty buffer to write it in,
// or NULL when there are so many that this one was only counted; config_report_error_end takes it
// over.
struct buffer *config_report_error_begin(struct report *r);
void config_report_error_end(struct report *r, uint32_t line);

void config_report_error(struct report *r, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// The same for an error about a limit.
void config_report_limit(struct report *r, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// `before`, the text, `after`.
void config_report_warning(struct report *r, uint32_t line, const char *before, struct text t,
                           const char *after);

static inline bool config_report_has_errors(const struct report *r)
{
    return r->errors.count > 0;
}

// Makes the public report, which owns everything from here on. `r` must be initialised anew to be
// used again. Returns 0, or the code for config_parse when there is an error.
int config_report_finish(struct report *r, struct config_report *ret_report);

#endif
