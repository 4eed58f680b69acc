// bench/commands.h
//
// The commands of boskos-bench. Each gets the words after its name, prints one JSON object on
// stdout as its last line, and returns the exit code: 0, 1 for what failed (one line on stderr), 2
// for a wrong command line, 130 when it was stopped by SIGINT or SIGTERM.
#ifndef BENCH_COMMANDS_H
#define BENCH_COMMANDS_H

#include <stdbool.h>

int command_load(int argc, char **argv);
int command_raw_server(int argc, char **argv);
int command_disk(int argc, char **argv);
int command_pauses(int argc, char **argv);
int command_replay(int argc, char **argv);

// Catches SIGINT and SIGTERM: what it returns points to a number that is not 0 after one came.
const volatile int *watch_signals(void);

// A number in the given range, written in decimal; false for all else.
bool read_number(const char *text, double least, double most, double *ret_number);

// Prints one line on stderr, with the program's name before it.
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
