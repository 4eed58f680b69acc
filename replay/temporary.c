#include "replay/temporary.h"

#include "base/error.h"

#include "base/banned.h"

int temporary_open(struct replay *r, FILE **ret_file)
{
    *ret_file = tmpfile();
    if (*ret_file != NULL) return 0;
    return replay_fail(r, BOSKOS_E_IO, "there can be no temporary file");
}

int temporary_failed(struct replay *r, const char *what)
{
    return replay_fail(r, BOSKOS_E_IO, "a temporary file cannot be %s", what);
}
