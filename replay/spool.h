// replay/spool.h
//
// Output that is kept for a while in a temporary file without a name: lines that are wanted in the
// reverse order, or an answer that is wanted only when all of it is there. One thread.
#ifndef REPLAY_SPOOL_H
#define REPLAY_SPOOL_H

#include "replay/replay.h"

struct spool; // opaque

// From now on what r->out writes is kept. BOSKOS_E_IO with the problem's line when there can be no
// temporary file. Returned, caller ends it with spool_end. `r` is borrowed until then.
int spool_begin(struct replay *r, struct spool **ret_spool);

// A line, of any size, is complete. BOSKOS_E_IO with the problem's line when it cannot be written.
int spool_end_line(struct spool *s);

// r->out goes on where it did before. When `err` is 0 it gets the lines, the last one first; what
// was not completed is one, too. Returns `err`, or BOSKOS_E_IO with the problem's line when the
// file cannot be written or read.
int spool_end(struct spool *s, int err);

#endif
