// daemon/fault.h
//
// Memory faults while the journal is mapped. LMDB reads data.mdb as memory: a file that was cut
// short, a disk that fails or a page with wrong numbers in it shows as SIGBUS or SIGSEGV. Instead
// of a bare signal the process ends with one line that names the file, and exit code 4.
#ifndef DAEMON_FAULT_H
#define DAEMON_FAULT_H

#include "base/log.h"

// From now on a memory fault ends the process with a line in the form of `log`. The line is made
// now: then there may be no memory to make it in.
void fault_watch(const struct log *log, const char *data_dir);

#endif
