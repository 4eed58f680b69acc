// replay/place.h
//
// Where export and backup may write to.
#ifndef REPLAY_PLACE_H
#define REPLAY_PLACE_H

#include "replay/replay.h"

// Refuses --to for a place in the folder that is read. Its journal may be elsewhere, behind a link:
// also for one in there, or beside it under a name that a daemon would take for a journal.
// BOSKOS_E_IN_USE; BOSKOS_E_IO when its parent is not there.
int place_check(struct replay *r);

#endif
