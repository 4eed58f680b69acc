// tests/rigs/disk.h
//
// A model of what a disk keeps over a power loss. It records the calls on a folder in their order
// (through syscalls.h) and makes from any point of the recording what may be found afterwards:
//
//   - what was flushed before that point is there: the bytes and the size of a file after fsync or
//     fdatasync of it, or written through a descriptor with O_DSYNC; the names in a folder after
//     fsync of that folder;
//   - everything since then is there or not, each write, size and name by itself, in any
//     combination; a write may be there in part, in whole sectors of 512 bytes. The call that was
//     under way at the point counts as not flushed;
//   - what is written through a mapping (LMDB's lock.mdb) is any bytes.
//
// So it promises a file system no more than POSIX and a disk with atomic sectors do: a name's
// flush is not that of the file, nor the other way round; no order holds without a flush. It does
// not know disks that lose or change what they said was flushed.
//
// A sector has whatever was in the system's cache when some write to it was there last: two writes
// to one sector may both be there, the first alone, or none, never the second without the first.
//
// Calls it does not know on what lies below the folder are remembered as such: a rig must fail on
// them (disk_unknown).
#ifndef TESTS_RIGS_DISK_H
#define TESTS_RIGS_DISK_H

#include "tests/rigs/syscalls.h"

struct disk; // opaque

// Of what the recording forgets the flushes: to show that a rig finds such a fault.
enum disk_blind { DISK_SEES_ALL, DISK_NO_DATA, DISK_NO_META, DISK_NO_FOLDER, DISK_NO_AHEAD };

// Starts with the files below `root` as they are, all flushed. Ends the process without memory.
struct disk *disk_new(const char *root, enum disk_blind blind);
void disk_free(struct disk *d);

// To be given to sys_watch with the disk as context.
void disk_note(void *disk, const struct sys_op *op);

// From here on record `seq` is promised to be there.
void disk_note_promise(struct disk *d, uint64_t seq);

// The first call that is not known, or NULL.
const char *disk_unknown(const struct disk *d);

// The number of operations recorded: points to cut at are 0 up to this.
size_t disk_size(const struct disk *d);

// Plays the recording on to a point, which must not lie before the one it is at. Returns the last
// record that is promised there.
uint64_t disk_play(struct disk *d, size_t point);

// What operation is under way at the point, for people; `bytes` of at least 256.
const char *disk_describe(const struct disk *d, char *bytes, size_t size);

// What becomes of everything that was not flushed.
#define DISK_FATES(X) X(all) X(none) X(early) X(some) X(torn) X(mixed)
#define DISK_FATE_NAME(name) DISK_##name,
enum disk_fate { DISK_FATES(DISK_FATE_NAME) DISK_FATES_COUNT };
const char *disk_fate_name(enum disk_fate fate);

// Writes an image of the point into the folder `to`, which must not exist. Equal seeds make equal
// images.
void disk_image(struct disk *d, enum disk_fate fate, uint64_t seed, const char *to);

// splitmix64: the next number of a sequence, below `bound`.
uint64_t disk_random(uint64_t *state, uint64_t bound);

#endif
