// bench/script.h
//
// The leases of a recorded log, as bench/run.py writes them: a line is a request, `METHOD TARGET`,
// then a tab and the body where there is one; the byte 1 stands for the name that the acquire
// brought. An empty line ends a lease.
#ifndef BENCH_SCRIPT_H
#define BENCH_SCRIPT_H

#include "bench/peer.h"

#define SCRIPT_BYTES_MAX (256u << 20)

// Fills in the plan's scripts, which scripts_release frees. BOSKOS_E_IO, BOSKOS_E_TOO_LARGE;
// BOSKOS_E_MALFORMED: no request in it.
int scripts_read(const char *path, struct plan *plan);
void scripts_release(struct plan *plan);

#endif
