// client/give_back.h
//
// Ends a lease exactly once. It does not know why.
#ifndef CLIENT_GIVE_BACK_H
#define CLIENT_GIVE_BACK_H

#include "client/program.h"

// Strikes the lease off what the client holds and releases it to `dest`; one that was lost before
// is left alone, for somebody else with the same owner name may have it by now. timeout_ms is for
// one request with its repetitions.
//
// A refusal that is no loss (a redirect, a password that does not fit) is tried again, with
// heartbeats meanwhile, until it is done or the program is to end. Returns 0;
// BOSKOS_ERR_NO_RESOURCE or BOSKOS_ERR_OWNER when it was lost; or why not, which was logged: with
// *ret_is_doubted the client goes on trying by itself. Any thread but the client's.
int give_back(const struct program *p, const struct boskos_resource *resource, const char *dest,
              int64_t timeout_ms, bool *ret_is_doubted);

#endif
