// tests/script.h
//
// Scripts of the rules: text that reads like the contract, one command or check a line, played
// against the state machine. A line that does not come out as written is printed with its file and
// line, what was wanted and what came.
//
// Commands and configs are those of tests/script_commands.h; the checks are
//
// clang-format off
//   state NAME STATE OWNER [since=TIME] [expires=TIME] [KEY=VALUE]...   `-`: nobody, nothing, never
//   state NAME gone
//   metric TYPE STATE=N... owners OWNER=N...       or none; `-` counts the unowned
//   queue TYPE STATE ID...                         those live now, or none
//   cycle TYPE STATE MIN MAX [fading]              or none
//   names TYPE NAME...                             or none
//   due expiry|queue|reap TIME                     or `-`
// clang-format on
//
// TIME is written as durations are printed (1m0s).
#ifndef TESTS_SCRIPT_H
#define TESTS_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

// Plays a file and adds the lines that were played to *lines. False when any line came out
// differently.
bool script_play(const char *path, uint32_t *lines);

#endif
