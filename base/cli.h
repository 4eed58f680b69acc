// base/cli.h
//
// The command line of all our programs, which is that of Go's flag package: one dash or two,
// `-flag value` or `-flag=value`, a boolean alone or with `=`, names in full only, and behind `--`
// no flags. Flags and words come in their order; what they mean, how often one may come, and
// whether words may stand between flags is the caller's. Beside it what every program says: its
// help, and what is wrong.
//
// Nothing is allocated; texts are borrowed from argv. One thread.
#ifndef BASE_CLI_H
#define BASE_CLI_H

#include "base/text.h"

enum cli_form {
    CLI_VALUE, // what follows is its value, also where that begins with a dash
    CLI_BOOL,  // alone, or with a value behind =
    CLI_ALONE, // never with a value
};

struct cli_flag {
    const char *name; // without dashes; NULL ends a table
    enum cli_form form;
    int number; // the caller's
};

// A command line that is being read: the first fields are the caller's to fill in, the rest zero.
struct cli {
    int argc;
    char **argv;
    const struct cli_flag *flags;
    const char *unknown; // what is said of a flag that is none: "there is no such flag; see ..."
    bool (*is_word)(const char *argument); // of one that begins with a dash; NULL: none is
    char *why;                             // the line that says what is wrong
    size_t why_size;

    int at;
    bool has_ended; // `--` came
};

struct cli_argument {
    const char *text;            // as it stands there
    const struct cli_flag *flag; // NULL: a word
    const char *value;           // NULL: none
};

enum cli_step { CLI_FLAG, CLI_WORD, CLI_END, CLI_WRONG };

// The next flag or word. With CLI_WRONG (a flag that is none, a value that is missing) the line is
// written.
enum cli_step cli_next(struct cli *c, struct cli_argument *ret_argument);

// Writes the line that says what is wrong. Returns false, for the readers of values.
bool cli_wrong(struct cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

// As Go's strconv.ParseBool; NULL is true. False, and the line, when it is neither.
bool cli_bool(struct cli *c, const char *name, const char *value, bool *ret_value);

// A Go duration above zero. False, and the line, when it is none.
bool cli_span(struct cli *c, const char *name, const char *value, int64_t *ret_ns);

// Decimal digits and nothing else, up to `most`. False when it is none: what should have been given
// is the caller's to say.
bool cli_number(const char *value, uint64_t most, uint64_t *ret_number);

// ---- what every program says --------------------------------------------------

// One line on stderr: "PROGRAM: ...". What a terminal would obey is escaped, for texts of a command
// line, of a file or of a server may be in it; a line beyond 4 KiB is cut. Also when memory is out.
void cli_complain(const char *program, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Prints --help or --version, of a program that then ends. Returns its exit code: 0, or 1 when
// stdout cannot be written, which is said.
int cli_print(const char *program, struct text text);

#endif
