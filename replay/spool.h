// replay/spool.h
//
// Pieces of output that are wanted in the reverse order, kept in a temporary file without a name,
// so that there may be any number of them. One thread.
#ifndef REPLAY_SPOOL_H
#define REPLAY_SPOOL_H

#include "base/text.h"

struct spool; // opaque

// BOSKOS_E_IO when there can be no temporary file. Returned, caller frees.
int spool_open(struct spool **ret_spool);
void spool_close(struct spool *s);

// False when it cannot be written.
bool spool_add(struct spool *s, struct text piece);

// Takes the last piece. Borrowed until the next call. False when there is none left, or when it
// cannot be read.
bool spool_take_last(struct spool *s, struct text *ret_piece);
bool spool_has_failed(const struct spool *s);

#endif
