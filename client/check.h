// client/check.h
//
// Checking a config file, as boskos-checkconfig and `boskosctl config` do: what is wrong in it, and
// what applying it to a server would do.
//
// One thread, the main one.
#ifndef CLIENT_CHECK_H
#define CLIENT_CHECK_H

#include "client/program.h"
#include "config/config.h"

// Reads and checks the file ("-": stdin). Each error and each warning is a line on stderr,
// "FILE:LINE: error: TEXT"; of a good one stdout says what it has. 0 and *ret_config, freed with
// config_free, or PROGRAM_FAILED. is_strict: a warning is an error.
int check_file(struct program *p, const char *path, bool is_strict, struct config **ret_config);

// Prints what applying the config to the server of p->client, which is started, would add, delete
// and delay. boskosd only. 0, or PROGRAM_FAILED after it was said why.
int check_against(struct program *p, const struct config *config);

#endif
