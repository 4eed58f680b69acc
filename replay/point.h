// replay/point.h
//
// Points of the past as people write them: the number of a command, an RFC 3339 time, or a duration
// before the end like -10m. Pure but for looking times up in a source.
#ifndef REPLAY_POINT_H
#define REPLAY_POINT_H

#include "replay/source.h"

enum point_kind { POINT_NONE, POINT_SEQ, POINT_TIME, POINT_BEFORE_END };

struct point {
    enum point_kind kind; // POINT_NONE: not given
    uint64_t seq;
    uint64_t ns;      // an instant, or how long before the end
    const char *text; // as written; borrowed
};

// False when the text is none.
bool point_parse(const char *text, struct point *ret_point);

// The instant of a point that is none by its number. False for one that is, or is not given.
bool point_instant(const struct source_span *span, const struct point *p, uint64_t *ret_ns);

// The command after which the state of a point is; `none` for POINT_NONE. BOSKOS_E_NOT_FOUND for a
// number beyond the last command, BOSKOS_E_TRIMMED for a point before span->oldest.
int point_find(struct source *s, const struct source_span *span, const struct point *p,
               uint64_t none, uint64_t *ret_seq, struct journal_problem *problem);

// The first command at or after a point, for the beginning of a stretch; `none` for POINT_NONE. It
// may be one beyond the last. BOSKOS_E_TRIMMED when it is not after span->oldest.
int point_find_first(struct source *s, const struct source_span *span, const struct point *p,
                     uint64_t none, uint64_t *ret_seq, struct journal_problem *problem);

#endif
