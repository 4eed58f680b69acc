// replay/kubernetes.h
//
// A state in the form in which Boskos keeps it in Kubernetes: what `kubectl apply -f` takes, and
// what `boskosd --import` reads. One thread.
#ifndef REPLAY_KUBERNETES_H
#define REPLAY_KUBERNETES_H

#include "replay/replay.h"

// Prints the resources that the filter takes and the life cycles of its types as one list. The
// queues, the config's names and what is ours alone have no place in it. A life cycle under a name
// that Kubernetes does not take is said on stderr.
int replay_kubernetes(struct replay *r, struct sm *sm, const struct sm_filter *filter);

#endif
