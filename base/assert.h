// base/assert.h
//
// ASSERT is for programmer errors only and is always on: it prints the place and the condition and
// ends the process with abort(). Input, disk and peers get error codes, never an ASSERT.
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#define ASSERT(condition) ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))

_Noreturn void assert_failed(const char *condition, const char *file, int line);

// Memory that cannot be had where going on is impossible (the state machine's apply: the record is
// durable, a restart applies it). Prints one line and ends the process with exit code 5.
_Noreturn void out_of_memory(void);

// malloc, calloc and realloc that never return NULL: they end in out_of_memory(). realloc to a size
// of zero is a programmer error.
void *must_malloc(unsigned long size);
void *must_calloc(unsigned long count, unsigned long size);
void *must_realloc(void *memory, unsigned long size);

#endif
