#include "replay/point.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "base/time.h"

#include "base/banned.h"

static bool seq_parse(const char *text, uint64_t *ret_seq)
{
    char *end = NULL;
    errno = 0;
    unsigned long long seq = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || seq == UINT64_MAX) return false;
    *ret_seq = seq;
    return true;
}

bool point_parse(const char *text, struct point *ret_point)
{
    struct point p = {.text = text};
    int64_t ns = 0;
    if (text[0] == '-') {
        p.kind = POINT_BEFORE_END;
        if (duration_parse(text_from(text + 1), &ns, NULL) != 0 || ns < 0) return false;
        p.ns = (uint64_t)ns;
    } else if (text[strspn(text, "0123456789")] == '\0' && text[0] != '\0') {
        p.kind = POINT_SEQ;
        if (!seq_parse(text, &p.seq)) return false;
    } else {
        p.kind = POINT_TIME;
        if (time_parse(text_from(text), &p.ns) != 0) return false;
    }
    *ret_point = p;
    return true;
}

// The last command whose time is not after an instant. Before the first record that is kept there
// may still be the state it follows.
static int find_instant(struct source *s, const struct source_span *span, uint64_t instant_ns,
                        uint64_t *ret_seq, struct journal_problem *problem)
{
    uint64_t seq = 0;
    int err = source_find_time(s, instant_ns, &seq, problem);
    if (err != 0) return err;
    if (seq < span->oldest && instant_ns >= span->oldest_time_ns) seq = span->oldest;
    *ret_seq = seq;
    return 0;
}

bool point_instant(const struct source_span *span, const struct point *p, uint64_t *ret_ns)
{
    switch (p->kind) {
    case POINT_NONE:
    case POINT_SEQ: return false;
    case POINT_TIME: *ret_ns = p->ns; return true;
    case POINT_BEFORE_END:
        *ret_ns = span->last_time_ns > p->ns ? span->last_time_ns - p->ns : 0;
        return true;
    }
    ASSERT(false && "a kind that exists");
    return false;
}

static int trimmed(const struct point *p, const char *before, struct journal_problem *problem)
{
    problem->seq = 0;
    (void)snprintf(problem->text, sizeof(problem->text), "%s%s is no longer kept", before, p->text);
    return BOSKOS_E_TRIMMED;
}

static int beyond(const struct source_span *span, const struct point *p,
                  struct journal_problem *problem)
{
    problem->seq = p->seq;
    (void)snprintf(problem->text, sizeof(problem->text),
                   "there is no command %s: the last is %" PRIu64, p->text, span->last);
    return BOSKOS_E_NOT_FOUND;
}

int point_find(struct source *s, const struct source_span *span, const struct point *p,
               uint64_t none, uint64_t *ret_seq, struct journal_problem *problem)
{
    uint64_t seq = none, instant = 0;
    int err = 0;
    if (p->kind == POINT_SEQ)
        seq = p->seq;
    else if (point_instant(span, p, &instant))
        err = find_instant(s, span, instant, &seq, problem);
    if (err != 0) return err;
    if (p->kind == POINT_SEQ && seq > span->last) return beyond(span, p, problem);
    if (p->kind != POINT_NONE && seq < span->oldest) return trimmed(p, "", problem);
    *ret_seq = seq;
    return 0;
}

int point_find_first(struct source *s, const struct source_span *span, const struct point *p,
                     uint64_t none, uint64_t *ret_seq, struct journal_problem *problem)
{
    uint64_t seq = none, instant = 0;
    int err = 0;
    if (p->kind == POINT_SEQ) {
        seq = p->seq > 0 ? p->seq : 1;
        if (seq > span->last) return beyond(span, p, problem);
    } else if (point_instant(span, p, &instant)) {
        err = find_instant(s, span, instant > 0 ? instant - 1 : 0, &seq, problem);
        if (err != 0) return err;
        seq++;
    }
    if (p->kind != POINT_NONE && seq <= span->oldest)
        return trimmed(p, "the state before ", problem);
    *ret_seq = seq;
    return 0;
}
