// client/give_back.h
//
// Ends a lease exactly once. It does not know why.
#ifndef CLIENT_GIVE_BACK_H
#define CLIENT_GIVE_BACK_H

#include "client/program.h"

// How long what is held may take to be given back when a program that runs others is to end: once
// these have ended, which takes their grace.
#define GIVE_BACK_END_MS 10000

// How the client is set for programs that give back by this: what fails is tried again here, so
// that one call does not keep others waiting.
void give_back_options(struct boskos_options *options);

// Strikes the lease off what the client holds and releases it to `dest`; one that was lost before
// is left alone, for somebody else with the same owner name may have it by now, or we ourselves:
// is_lost is looked at before each try, and NULL where nobody would set it.
//
// A refusal that is no loss (a redirect, a password that does not fit) is tried again, with
// heartbeats meanwhile, until it is done or the program's time to end is up
// (program_time_left_ms). Returns 0; BOSKOS_ERR_NO_RESOURCE or BOSKOS_ERR_OWNER when it was lost;
// or why not, which was logged: with *ret_is_doubted the client goes on trying by itself. Any
// thread but the client's.
int give_back(const struct program *p, const struct boskos_resource *resource,
              const atomic_bool *is_lost, const char *dest, bool *ret_is_doubted);

// Is it of the type that was asked for? Says so when it is not: then it is to be given back.
bool is_of_type(const struct program *p, const struct boskos_resource *resource, const char *type);

#endif
