// base/duration.h
//
// Go's durations, as Boskos takes them: time.ParseDuration and Duration.String of the Go standard
// library, from their published behaviour. Pure; callable from any thread.
#ifndef BASE_DURATION_H
#define BASE_DURATION_H

#include "base/buffer.h"

// Reads a duration like "1h30m", "-5m", "1.5h", "0". Returns 0, or BOSKOS_E_MALFORMED and appends
// to `error` Go's own text for it without a newline, e.g. `time: missing unit in duration "30"`.
// `error` may be NULL when the text is not wanted.
int duration_parse(struct text t, int64_t *ret_ns, struct buffer *error);

// A length of time as a duration: the longest one, of 292 years, stands for all above it.
static inline int64_t duration_of(uint64_t ns)
{
    return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}

// Appends the duration as Go prints it: 1h30m0s, 1.5s, 100ms, 0s, -5m0s.
void duration_format(int64_t ns, struct buffer *out);

// Appends `t` quoted for an error text of a duration, as Go's time package does it: in double
// quotes, `"` and `\` escaped, bytes below a space and from 0x80 as \xNN; DEL stays as it is.
void duration_quote(struct text t, struct buffer *out);

#endif
