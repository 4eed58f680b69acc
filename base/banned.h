// base/banned.h
//
// Makes the C functions nobody here may call compile errors: those that write without a bound, and
// those that keep hidden state shared by all threads.
//
// Include it last in a .c file, in a block of its own: a system header read after it would trip
// over its own declarations. Headers never include it.
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strtok gets
#pragma GCC poison localtime gmtime asctime ctime

#endif
