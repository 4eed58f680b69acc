// daemon/import.h
//
// What boskosd does with --import: reads what a Boskos on Kubernetes had into a new data folder. As
// --compact and --repair it says on stdout what it did and on stderr what went wrong, and returns
// the exit code.
#ifndef DAEMON_IMPORT_H
#define DAEMON_IMPORT_H

#include "base/log.h"
#include "daemon/options.h"

// `damaged` and `noticed` are those of engine_import; `damaged` gets the options.
int import_dump(const struct options *options, const struct log *log,
                void (*damaged)(void *context, const char *why),
                void (*noticed)(void *context, const char *what));

#endif
