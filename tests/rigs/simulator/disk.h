// tests/rigs/simulator/disk.h
//
// The disk of the simulation: the program's own write, rename, unlink and sync calls, which reach
// the files below a folder only until a crash comes. After it nothing reaches them: the process is
// dead, though its code runs on until it has been put away. A loss of power also takes back, sector
// by sector and by chance, what was written and not synced.
//
// Nothing is ever really synced: the simulation keeps no file beyond its end. One thread.
#ifndef TESTS_RIGS_SIMULATOR_DISK_H
#define TESTS_RIGS_SIMULATOR_DISK_H

#include <stdbool.h>
#include <stdint.h>

// The folder whose file system it is. `pause` is called in place of a sleep.
void disk_init(const char *dir, void (*pause)(void *context, uint64_t ns), void *context,
               uint64_t random);
// From here on `calls` calls go through, and the one after is a crash.
void disk_arm(uint32_t calls, bool loses_power);
// The crash may have come or not: everything goes through again. Call after the engine was closed.
// Returns whether the power was lost.
bool disk_disarm(void);
bool disk_is_dead(void);
// While the disk is full no file below the folder grows.
void disk_fill(bool is_full);

#endif
