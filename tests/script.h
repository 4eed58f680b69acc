// tests/script.h
//
// Scripts of the rules: text that reads like the contract, one command or check a line, played
// against the state machine. A line that does not come out as written is printed with its file and
// line, what was wanted and what came. `#` begins a comment, words are separated by blanks.
//
// clang-format off
//   config YAML                                    on one line, at the present time
//   TIME config YAML
//   TIME acquire TYPE STATE DEST OWNER [id=ID] [key=KEY]   => 200 NAME [waited=TIME]
//                                       => 200 NAME again | 404 none | 404 no-type | 409 key
//   TIME bystate STATE DEST OWNER NAME,NAME        => 200 NAME NAME | 404 none
//   TIME release NAME DEST OWNER                   => 200 | 401 OWNER | 404
//   TIME update NAME OWNER STATE [KEY=VALUE | KEY!]...   => 200 | 401 OWNER | 404 | 409 STATE
//   TIME reset TYPE STATE EXPIRE DEST              => 200 NAME:OWNER... | 200 none
//   TIME expire
//   TIME reap
//   TIME clean NAME [NAME,NAME]                    with the leasedResources it has
//   TIME clean-if LEASED NAME [NAME,NAME]          with these; `-` for none
//   TIME clock AHEAD
//   TIME started DOWNTIME [ttl=TIME]
//   TIME repaired DOWNTIME
//
//   state NAME STATE OWNER [since=TIME] [expires=TIME] [KEY=VALUE]...   `-`: nobody, nothing, never
//   state NAME gone
//   metric TYPE STATE=N... owners OWNER=N...       or none; `-` counts the unowned
//   queue TYPE STATE ID...                         those live now, or none
//   cycle TYPE STATE MIN MAX [fading]              or none
//   names TYPE NAME...                             or none
//   due expiry|queue|reap TIME                     or `-`
// clang-format on
//
// TIME is a duration since the script's start; what is wanted is written as durations are printed
// (1m0s). The Nth name the server made is written made-N.
#ifndef TESTS_SCRIPT_H
#define TESTS_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

// Plays a file and adds the lines that were played to *lines. False when any line came out
// differently.
bool script_play(const char *path, uint32_t *lines);

#endif
