#include "replay/replay.h"

#include <stdarg.h>

#include "journal/slice.h"

#include "base/banned.h"

int replay_fail(struct replay *r, int err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(r->problem.text, sizeof(r->problem.text), format, arguments);
    va_end(arguments);
    r->problem.seq = 0;
    return err;
}

int replay_backwards(struct replay *r)
{
    r->is_backwards = true;
    return replay_fail(r, BOSKOS_E_NOT_FOUND, "--from %s is after --to %s",
                       r->options->from.text != NULL ? r->options->from.text : "the oldest",
                       r->options->to.text != NULL ? r->options->to.text : "the end");
}

int replay_stretch(struct replay *r, uint64_t *ret_from, uint64_t *ret_to)
{
    uint64_t from = 0, to = 0, begin = 0, end = 0;
    int err = point_find_first(r->source, &r->span, &r->options->from, r->span.oldest + 1, &from,
                               &r->problem);
    if (err == 0)
        err = point_find(r->source, &r->span, &r->options->to, r->span.last, &to, &r->problem);
    if (err != 0) return err;
    const struct point *first = &r->options->from, *last = &r->options->to;
    bool is_backwards = first->kind == POINT_SEQ && last->kind == POINT_SEQ
                            ? first->seq > last->seq
                            : point_instant(&r->span, first, &begin) &&
                                  point_instant(&r->span, last, &end) && begin > end;
    if (is_backwards || from > to + 1) return replay_backwards(r);
    *ret_from = from;
    *ret_to = to;
    return 0;
}

const char *replay_export_kind(uint32_t flags)
{
    bool has_userdata = (flags & SLICE_NO_USERDATA) == 0;
    if ((flags & SLICE_REDACTED) != 0)
        return has_userdata ? "redacted" : "redacted, without userdata";
    return has_userdata ? "with userdata" : "without userdata";
}

const char *replay_userdata(uint32_t flags)
{
    if ((flags & SLICE_NO_USERDATA) != 0) return "left out";
    return (flags & SLICE_REDACTED) != 0 ? "replaced" : "kept";
}

int replay_walk(struct replay *r, uint64_t at, struct walk **ret_walk)
{
    progress_begin(&r->progress, "commands");
    int err = walk_open(r->source, at, &r->report, ret_walk, &r->problem);
    progress_end(&r->progress);
    return err;
}
