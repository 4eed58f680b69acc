#include "base/error.h"

#include "base/banned.h"

const char *boskos_error_text(int error)
{
    switch ((enum boskos_error)error) {
    case BOSKOS_OK: return "no error";
    case BOSKOS_E_NOMEM: return "out of memory";
    case BOSKOS_E_IO: return "input or output failed";
    case BOSKOS_E_NOSPACE: return "no space left";
    case BOSKOS_E_CORRUPT: return "data is damaged";
    case BOSKOS_E_TOO_NEW: return "written by a newer version";
    case BOSKOS_E_NOT_FOUND: return "not found";
    case BOSKOS_E_LOCKED: return "held by another process";
    case BOSKOS_E_READ_ONLY: return "cannot be written";
    case BOSKOS_E_MALFORMED: return "malformed";
    case BOSKOS_E_TOO_LARGE: return "too large";
    case BOSKOS_E_STOPPED: return "shutting down";
    case BOSKOS_E_IN_USE: return "address in use";
    case BOSKOS_E_TRIMMED: return "no longer kept";
    }
    return "unknown error";
}
