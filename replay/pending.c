#include "replay/replay.h"

int replay_why(struct replay *r)
{
    return replay_fail(r, BOSKOS_E_STOPPED, "not here yet");
}
