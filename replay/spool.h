// replay/spool.h
//
// Output that is kept for a while in a temporary file without a name: lines that are wanted in the
// reverse order, or an answer that is wanted only when all of it is there. One thread.
#ifndef REPLAY_SPOOL_H
#define REPLAY_SPOOL_H

#include "replay/output.h"

struct spool; // opaque

// From now on what `out` writes is kept. BOSKOS_E_IO when there can be no temporary file. Returned,
// caller ends it with spool_end.
int spool_begin(struct output *out, struct spool **ret_spool);

// A line, of any size, is complete. False when it cannot be written.
bool spool_end_line(struct spool *s, struct output *out);

// `out` goes on where it did before. When that is `wanted` it gets the lines, the last one first.
// BOSKOS_E_IO when the file cannot be written or read.
int spool_end(struct spool *s, struct output *out, bool wanted);

#endif
