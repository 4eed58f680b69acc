// base/log.h
//
// Log lines on stderr: one line an event, as text or as JSON, both with the keys and in the form of
// logrus (level, msg, time, then the fields); times have milliseconds or more, durations are texts.
// Userdata and credentials must never be passed in. Any thread may log through the same struct log;
// lines do not mix.
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/clock.h"
#include "base/text.h"

// As logrus has them, most severe first.
enum log_level { LOG_PANIC, LOG_FATAL, LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_TRACE };

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log {
    int fd;
    enum log_level level; // what is less severe is dropped
    enum log_format format;
    struct clock clock;
};

struct log_field {
    const char *key;
    enum { LOG_TEXT, LOG_U64, LOG_I64, LOG_DURATION_NS } kind;
    struct text text;
    uint64_t number; // also the bits of an I64 or DURATION_NS
};

#define LOG_F_TEXT(k, t) ((struct log_field){(k), LOG_TEXT, (t), 0})
#define LOG_F_STRING(k, s) ((struct log_field){(k), LOG_TEXT, text_from(s), 0})
#define LOG_F_U64(k, n) ((struct log_field){(k), LOG_U64, TEXT_NONE, (n)})
#define LOG_F_I64(k, n) ((struct log_field){(k), LOG_I64, TEXT_NONE, (uint64_t)(n)})
#define LOG_F_DURATION(k, ns) ((struct log_field){(k), LOG_DURATION_NS, TEXT_NONE, (uint64_t)(ns)})

// log_event(log, LOG_INFO, "recovered", LOG_F_U64("seq", 17), LOG_F_STRING("snapshot", path))
// Writes one line with write(2). A NULL log drops it. Texts are escaped, cut after 4 KiB each.
#define log_event(log, level, message, ...)                                        \
    log_fields((log), (level), (message),                                          \
               (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}},          \
               sizeof((const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}}) / \
                       sizeof(struct log_field) -                                  \
                   1)

void log_fields(const struct log *log, enum log_level level, const char *message,
                const struct log_field *fields, size_t count);

// "info" -> LOG_INFO, in any case, and "warn" too, as logrus does. BOSKOS_E_MALFORMED when there is
// no such level.
int log_level_parse(const char *name, enum log_level *ret_level);

#endif
