// The shared library is what the archive `client` holds; CMake wants a source of its own.
#include "client/boskos.h"

#include "base/banned.h"

// Also a check: the header's version of a call is the one that the library was built with.
_Static_assert(offsetof(struct boskos_call, size) == 0, "the size comes first");
_Static_assert(offsetof(struct boskos_options, size) == 0, "the size comes first");
