// tests/fuzz/fuzz.h
//
// What the fuzzers share. Each program has one LLVMFuzzerTestOneInput, which takes any bytes and
// ends the process where a property does not hold: under libFuzzer (preset `fuzz`) it is given what
// that makes up, elsewhere play.c gives it the files of its corpus, once.
//
// Not thread-safe: one input at a time.
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/assert.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "statemachine/state_machine.h"

// libFuzzer's name for it.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Takes up to `size` bytes from the front of an input.
static inline struct text fuzz_take(struct text *rest, size_t size)
{
    struct text taken = text_of(rest->data, size < rest->size ? size : rest->size);
    *rest = text_of(rest->data + taken.size, rest->size - taken.size);
    return taken;
}

// Takes one byte; 0 at the end.
static inline uint8_t fuzz_byte(struct text *rest)
{
    struct text t = fuzz_take(rest, 1);
    return t.size == 1 ? (uint8_t)t.data[0] : 0;
}

// Takes two bytes as a number and then as many bytes.
static inline struct text fuzz_block(struct text *rest)
{
    size_t high = fuzz_byte(rest);
    return fuzz_take(rest, high << 8 | fuzz_byte(rest));
}

// A command encodes, decodes and encodes to the same bytes again.
void fuzz_check_command(const struct command *c);

// The digest kept up step by step is the one made from scratch; a snapshot of the state reads back
// and is written as the same bytes.
void fuzz_check_state(struct sm *sm);

// The snapshot's bytes of a state, appended.
void fuzz_snapshot(struct sm *sm, struct buffer *out);

// A folder of this process's own, in memory where there is such a place. Removed at exit.
const char *fuzz_folder(void);

#endif
