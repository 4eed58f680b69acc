// daemon/maintain.h
//
// What boskosd does in place of serving: --compact, --repair and --import. Each works on a data
// folder that nobody has, says on stdout what it did, on stderr what went wrong (and, on a
// terminal, how far it is), and returns the exit code.
#ifndef DAEMON_MAINTAIN_H
#define DAEMON_MAINTAIN_H

#include "base/log.h"
#include "daemon/options.h"

int maintain(const struct options *options, const struct log *log);

#endif
