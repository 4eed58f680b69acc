// replay/place.h
//
// Where export and backup may write to.
#ifndef REPLAY_PLACE_H
#define REPLAY_PLACE_H

#include "replay/replay.h"

// Refuses --to for a place in the journal that is read, or beside it under a name that a daemon
// would take for one. BOSKOS_E_IN_USE; BOSKOS_E_IO when its parent is not there.
int place_check(struct replay *r);

#endif
