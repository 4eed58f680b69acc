// tests/script_commands.h
//
// The lines of a script as commands: words, times, configs, the names the server made. What is done
// with a command, and which other lines a script has, is its players' affair: tests/script.c plays
// scripts of the rules, tests/replay/make_folder.c makes data folders of them. Complaints go to
// stderr, with file and line.
//
// `#` begins a comment. Words are separated by blanks, but for those between two `"`. What follows
// `=>` is what the line's result must be.
//
// clang-format off
//   config YAML                                    on one line, at the present time
//   TIME config YAML
//   TIME config <<END                              the lines up to one that is END
//   TIME acquire TYPE STATE DEST OWNER [id=ID] [key=KEY]   => 200 NAME [waited=TIME]
//                                       => 200 NAME again | 404 none | 404 no-type | 409 key
//   TIME bystate STATE DEST OWNER NAME,NAME        => 200 NAME NAME | 404 none
//   TIME release NAME DEST OWNER                   => 200 | 401 OWNER | 404
//   TIME update NAME OWNER STATE [{} | KEY=VALUE | KEY!]...  => 200 | 401 OWNER | 404 | 409 STATE
//   TIME reset TYPE STATE EXPIRE DEST              => 200 NAME:OWNER... | 200 none
//   TIME expire
//   TIME reap
//   TIME clean NAME [NAME,NAME]                    with the leasedResources it has
//   TIME clean-if LEASED NAME [NAME,NAME]          with these; `-` for none
//   TIME clock AHEAD
//   TIME started DOWNTIME [ttl=TIME] [salt=N] [version=V] [host=H]
//   TIME import [cycle=TYPE:STATE:MIN:MAX[:LIFESPAN]]...
//        [NAME:TYPE:STATE[:OWNER[:LASTUPDATE[:EXPIRES]]] [+KEY=VALUE]...]...
//   TIME repaired DOWNTIME [lost=FIRST[-LAST]] [why=TEXT] [version=V] [host=H]
// clang-format on
//
// TIME is a duration since the script's start. A VALUE `*N` is N letters long. The Nth name the
// server made is written made-N.
//
// Not thread-safe: a struct script_commands belongs to one thread.
#ifndef TESTS_SCRIPT_COMMANDS_H
#define TESTS_SCRIPT_COMMANDS_H

#include <stdio.h>

#include "config/config.h"
#include "statemachine/state_machine.h"

#define SCRIPT_WORDS_MAX 32u
#define SCRIPT_LINES_MAX 10000u
#define SCRIPT_MADE_MAX 1000u // names
#define SCRIPT_MADE_BYTES 36u
#define SCRIPT_PAIRS_MAX 16u

// All of it may be read, and is changed by the functions below alone.
struct script_commands {
    const char *path;  // borrowed
    uint32_t line;     // the present one's number, from 1
    uint64_t start_ns; // what the script's times count from
    uint64_t now_ns;   // the present time
    struct sm *sm;     // borrowed

    struct text words[SCRIPT_WORDS_MAX]; // of the present line, up to `=>`
    uint32_t count;
    bool has_wanted; // it has a `=>`
    struct buffer wanted;

    // The present command, with seq and time. Borrowed until the next line.
    struct command command;

    char made[SCRIPT_MADE_MAX][SCRIPT_MADE_BYTES];
    uint32_t made_count;

    // What the command points to.
    struct buffer yaml, joined;
    struct config *config;
    struct command *config_command;
    struct userdata_pair pairs[SCRIPT_PAIRS_MAX];
    struct text names[SCRIPT_WORDS_MAX];
    struct sm_entry cycles[SCRIPT_WORDS_MAX];
    struct sm_imported imported[SCRIPT_WORDS_MAX];

    FILE *file;
    char *text; // the line as it was read
    size_t capacity;
};

// Opens a script that is played to `sm`, which is borrowed until script_commands_close. False, and
// a complaint, when it cannot be read; nothing is then to be closed.
bool script_commands_open(struct script_commands *s, const char *path, uint64_t start_ns,
                          struct sm *sm);
void script_commands_close(struct script_commands *s);

enum script_line {
    SCRIPT_END,    // there is none any more
    SCRIPT_BAD,    // what it is was complained about
    SCRIPT_EMPTY,  // or a comment
    SCRIPT_WORDS,  // split into words
    SCRIPT_CONFIG, // a config, which is the present command
};

// Reads the next line.
enum script_line script_commands_next(struct script_commands *s);

// Makes the present command of the line's words, TIME VERB ... False when it is none, or time goes
// back: then that was complained about.
bool script_commands_make(struct script_commands *s);

// Appends what the present command came to as it is written behind `=>`: nothing for one without a
// client.
void script_commands_result(const struct script_commands *s, const struct sm_result *r,
                            struct buffer *out);

// Learns the names the server made, after the present command was applied to `sm` and its result
// was used.
void script_commands_learn(struct script_commands *s);

// script_import.c: makes an import of the line's words. False, and a complaint, when it is none.
bool script_import_make(struct script_commands *s);

// ---- parts, for the other lines of a script ---------------------------------

// Prints the complaint with file and line. Returns false.
bool script_complain(const struct script_commands *s, const char *what, struct text of);

// TEXT_NONE beyond the last.
struct text script_word(const struct script_commands *s, uint32_t index);

bool script_starts_with(struct text t, const char *prefix, struct text *ret_rest);

// made-N as the name it stands for; anything else as it is.
struct text script_name(const struct script_commands *s, struct text t);

// Append a word, with a blank before it unless it is the first: as it is; a name as made-N when the
// server made it; an owner, or `-` for none.
void script_put_word(struct buffer *out, struct text t);
void script_put_name(const struct script_commands *s, struct text name, struct buffer *out);
void script_put_owner(struct buffer *out, struct text owner);

#endif
