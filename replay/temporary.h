// replay/temporary.h
//
// Temporary files without a name, for what is more than memory should hold.
#ifndef REPLAY_TEMPORARY_H
#define REPLAY_TEMPORARY_H

#include "replay/replay.h"

// BOSKOS_E_IO with the problem's line when there can be none. Returned, caller closes.
int temporary_open(struct replay *r, FILE **ret_file);

// It cannot be "written" or "read", as `what` says: BOSKOS_E_IO with the problem's line.
int temporary_failed(struct replay *r, const char *what);

#endif
