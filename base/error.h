// base/error.h
//
// The one list of error codes. Every function that can fail returns 0 or one of these negative
// codes and writes its outputs only on success. A refusal by the rules (nothing free, wrong owner)
// is a reply, not an error, and has no code here.
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

enum boskos_error {
    BOSKOS_OK = 0,
    BOSKOS_E_NOMEM = -1,      // memory cannot be had
    BOSKOS_E_IO = -2,         // a system call on a file failed; errno says why
    BOSKOS_E_NOSPACE = -3,    // the disk or the map is full
    BOSKOS_E_CORRUPT = -4,    // a checksum, digest, sequence or form that does not fit
    BOSKOS_E_TOO_NEW = -5,    // written by a newer version of this program
    BOSKOS_E_NOT_FOUND = -6,  // there is no such thing
    BOSKOS_E_LOCKED = -7,     // another process holds the folder
    BOSKOS_E_READ_ONLY = -8,  // the folder cannot be written
    BOSKOS_E_MALFORMED = -9,  // the input does not have the form it must have
    BOSKOS_E_TOO_LARGE = -10, // the input is over a named limit
    BOSKOS_E_STOPPED = -11,   // the thing asked is shutting down
    BOSKOS_E_IN_USE = -12,    // the address is taken
    BOSKOS_E_TRIMMED = -13,   // it was there, and is no longer kept
};

// A short text for a code of the list, never NULL; "unknown error" for others. Static memory.
const char *boskos_error_text(int error);

#endif
