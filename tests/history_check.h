// tests/history_check.h
//
// Comparisons of a state machine with the model, each by plain scans of the model's lists. Each
// returns whether all agree, and otherwise appends to `out` what does not, with both sides.
#ifndef TESTS_HISTORY_CHECK_H
#define TESTS_HISTORY_CHECK_H

#include "tests/history_make.h"

// The reply to one command.
bool check_reply(const struct sm_result *had, const struct model_reply *wanted, struct buffer *out);

// Resources, live queue entries, life cycles.
bool check_dump(struct sm *sm, const struct model *model, struct buffer *out);

// The state machine's dump, in the model's form.
void sm_dump(struct sm *sm, struct buffer *out);

// Every query, with filters chosen by the maker. `reaped_ns` is when the last round of the reaper
// was.
bool check_queries(struct sm *sm, const struct model *model, struct maker *maker,
                   uint64_t reaped_ns, struct buffer *out);

#endif
