// bench/process.h
//
// What the system says of processes: processor time, and where they may run.
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdint.h>

// The processor time of a process and of its children that are alive, in nanoseconds; negative when
// there is no such process.
int64_t process_cpu_ns(int64_t pid);

// The same of this thread's process.
int64_t process_own_cpu_ns(void);

// Makes this process run on one processor only. 0, or BOSKOS_E_NOT_FOUND.
int process_pin(uint32_t processor);

// Raises the limit of open files as far as it goes and returns it.
uint64_t process_files_max(void);

#endif
