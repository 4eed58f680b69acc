// tests/fake_engine.h
//
// An engine for the tests of http/: a thread that applies what is submitted to a state machine in
// memory and keeps nothing. It can hold everything back, or answer with an error.
//
// Any thread may call these.
#ifndef TESTS_FAKE_ENGINE_H
#define TESTS_FAKE_ENGINE_H

#include "engine/engine.h"

#define FAKE_RESOURCES 1000u // free ones of the type "t", named r-000 and so on

// Returned, caller frees. batch_done as in engine_options.
struct engine *fake_engine_new(void (*batch_done)(void *context));
void fake_engine_free(struct engine *e); // answers what is held first

// Of batch_done; before the first request.
void fake_engine_context(struct engine *e, void *context);

// While held, requests wait.
void fake_engine_hold(struct engine *e, bool is_held);

// From now on every request fails with it; 0: no more.
void fake_engine_fail(struct engine *e, int error);

// A commit looks under way since then; 0: none.
void fake_engine_commit_since(struct engine *e, uint64_t mono_ns);

uint64_t fake_engine_submitted(struct engine *e); // requests
uint64_t fake_engine_chains(struct engine *e);    // calls of engine_submit
uint64_t fake_engine_commands(struct engine *e);  // applied for clients

#endif
