// replay/spool.h
//
// Lines of output that are wanted in the reverse order, kept in a temporary file without a name:
// there may be any number of them, and each may be of any size. One thread.
#ifndef REPLAY_SPOOL_H
#define REPLAY_SPOOL_H

#include <stdbool.h>
#include <stdio.h>

struct spool; // opaque

// BOSKOS_E_IO when there can be no temporary file. Returned, caller frees.
int spool_open(struct spool **ret_spool);
void spool_close(struct spool *s);

// Where the next line is to be written, in any number of pieces, until spool_end_line.
FILE *spool_file(struct spool *s);

// False when it could not be written.
bool spool_end_line(struct spool *s);

// Goes to the last line that was not taken yet. False when none is left, or when it cannot be read.
bool spool_take_last(struct spool *s);

// Reads on in that line, at most `size` bytes. 0 at its end, or when it cannot be read.
size_t spool_read(struct spool *s, char *to, size_t size);

bool spool_has_failed(const struct spool *s);

#endif
