#include "replay/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cli.h"
#include "replay/invariants.h"

#include "base/banned.h"

#define DATA_DIR "/var/lib/boskosd"

// Below 32: each is a bit in the set of flags that a command takes.
enum flag {
    FLAG_AT,
    FLAG_BAD,
    FLAG_BY,
    FLAG_FOLLOW,
    FLAG_FROM,
    FLAG_GOOD,
    FLAG_INVARIANT,
    FLAG_KIND,
    FLAG_KUBERNETES,
    FLAG_OWNER,
    FLAG_REDACT,
    FLAG_REFUSED,
    FLAG_REQUEST,
    FLAG_RESOURCE,
    FLAG_REVERSE,
    FLAG_RUN,
    FLAG_STATE,
    FLAG_TO,
    FLAG_TYPE,
    FLAG_UNTIL,
    FLAG_WITH_USERDATA,
    FLAG_DATA_DIR = 256, // from here on they go with every command
    FLAG_FILE,
    FLAG_HELP,
    FLAG_JSON,
    FLAG_VERSION,
};

static const struct cli_flag flags[] = {
    {"at", CLI_VALUE, FLAG_AT},
    {"bad", CLI_VALUE, FLAG_BAD},
    {"by", CLI_VALUE, FLAG_BY},
    {"data-dir", CLI_VALUE, FLAG_DATA_DIR},
    {"file", CLI_VALUE, FLAG_FILE},
    {"follow", CLI_ALONE, FLAG_FOLLOW},
    {"from", CLI_VALUE, FLAG_FROM},
    {"good", CLI_VALUE, FLAG_GOOD},
    {"h", CLI_ALONE, FLAG_HELP},
    {"help", CLI_ALONE, FLAG_HELP},
    {"invariant", CLI_VALUE, FLAG_INVARIANT},
    {"json", CLI_ALONE, FLAG_JSON},
    {"kind", CLI_VALUE, FLAG_KIND},
    {"kubernetes", CLI_ALONE, FLAG_KUBERNETES},
    {"owner", CLI_VALUE, FLAG_OWNER},
    {"redact", CLI_ALONE, FLAG_REDACT},
    {"refused", CLI_ALONE, FLAG_REFUSED},
    {"request", CLI_VALUE, FLAG_REQUEST},
    {"resource", CLI_VALUE, FLAG_RESOURCE},
    {"reverse", CLI_ALONE, FLAG_REVERSE},
    {"run", CLI_VALUE, FLAG_RUN},
    {"state", CLI_VALUE, FLAG_STATE},
    {"to", CLI_VALUE, FLAG_TO},
    {"type", CLI_VALUE, FLAG_TYPE},
    {"until", CLI_VALUE, FLAG_UNTIL},
    {"version", CLI_ALONE, FLAG_VERSION},
    {"with-userdata", CLI_ALONE, FLAG_WITH_USERDATA},
    {NULL, CLI_ALONE, 0},
};

#define BIT(flag) (1u << (flag))

static const struct {
    const char *name;
    uint32_t arguments_least, arguments_most;
    uint32_t flags;
} commands[REPLAY_COMMANDS] = {
    [REPLAY_INFO] = {"info", 0, 0, 0},
    [REPLAY_LOG] = {"log", 0, 0,
                    BIT(FLAG_FROM) | BIT(FLAG_TO) | BIT(FLAG_UNTIL) | BIT(FLAG_RESOURCE) |
                        BIT(FLAG_OWNER) | BIT(FLAG_TYPE) | BIT(FLAG_KIND) | BIT(FLAG_REQUEST) |
                        BIT(FLAG_REFUSED) | BIT(FLAG_REVERSE) | BIT(FLAG_FOLLOW)},
    [REPLAY_SHOW] = {"show", 0, 0,
                     BIT(FLAG_AT) | BIT(FLAG_TYPE) | BIT(FLAG_STATE) | BIT(FLAG_OWNER) |
                         BIT(FLAG_KUBERNETES)},
    [REPLAY_WHO] = {"who", 1, 1, BIT(FLAG_AT)},
    [REPLAY_HELD_BY] = {"held-by", 1, 1, BIT(FLAG_AT)},
    [REPLAY_DIFF] = {"diff", 2, 2, BIT(FLAG_RESOURCE) | BIT(FLAG_OWNER) | BIT(FLAG_TYPE)},
    [REPLAY_WHY] = {"why", 0, 1, BIT(FLAG_REQUEST)},
    [REPLAY_USAGE] = {"usage", 0, 0,
                      BIT(FLAG_FROM) | BIT(FLAG_TO) | BIT(FLAG_UNTIL) | BIT(FLAG_BY)},
    [REPLAY_VERIFY] = {"verify", 0, 0, BIT(FLAG_FROM)},
    [REPLAY_BISECT] = {"bisect", 0, 0,
                       BIT(FLAG_GOOD) | BIT(FLAG_BAD) | BIT(FLAG_RUN) | BIT(FLAG_INVARIANT)},
    [REPLAY_EXPORT] = {"export", 0, 0,
                       BIT(FLAG_TO) | BIT(FLAG_FROM) | BIT(FLAG_UNTIL) | BIT(FLAG_REDACT) |
                           BIT(FLAG_WITH_USERDATA)},
    [REPLAY_BACKUP] = {"backup", 0, 0, BIT(FLAG_TO)},
};

#define TO_MAX 2u // export has two

struct reader {
    struct options *options;
    bool has_command;
    uint32_t given; // bits of the flags above
    const char *to[TO_MAX];
    uint32_t to_count;
    struct cli cli;
};

bool options_command_find(const char *name, enum replay_command *ret_command)
{
    for (uint32_t i = 0; i < REPLAY_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        *ret_command = (enum replay_command)i;
        return true;
    }
    return false;
}

static bool read_point(struct reader *r, const char *name, const char *value, struct point *point)
{
    if (point_parse(value, point)) return true;
    return cli_wrong(&r->cli,
                     "--%s: \"%s\" is no point in time; give the number of a command, a time as "
                     "2026-03-01T14:02:00Z, or a span before the end as -10m",
                     name, value);
}

// What it is depends on the command, which may come later.
static bool keep_to(struct reader *r, const char *value)
{
    if (r->to_count == TO_MAX) return cli_wrong(&r->cli, "--to: given more than twice");
    r->to[r->to_count++] = value;
    return true;
}

static bool read_flag(struct reader *r, enum flag flag, const char *name, const char *value)
{
    struct options *o = r->options;
    if (flag < FLAG_DATA_DIR) r->given |= BIT(flag);
    switch (flag) {
    case FLAG_AT: return read_point(r, name, value, &o->at);
    case FLAG_BAD: return read_point(r, name, value, &o->bad);
    case FLAG_BY: o->by = value; return true;
    case FLAG_DATA_DIR: o->data_dir = value; return true;
    case FLAG_FILE: o->file = value; return true;
    case FLAG_FOLLOW: o->follow = true; return true;
    case FLAG_FROM: return read_point(r, name, value, &o->from);
    case FLAG_GOOD: return read_point(r, name, value, &o->good);
    case FLAG_INVARIANT: o->invariant = value; return true;
    case FLAG_JSON: o->json = true; return true;
    case FLAG_KIND: o->kind = value; return true;
    case FLAG_KUBERNETES: o->kubernetes = true; return true;
    case FLAG_OWNER: o->owner = value; return true;
    case FLAG_REDACT: o->redact = true; return true;
    case FLAG_REFUSED: o->refused = true; return true;
    case FLAG_REQUEST: o->request = value; return true;
    case FLAG_RESOURCE: o->resource = value; return true;
    case FLAG_REVERSE: o->reverse = true; return true;
    case FLAG_RUN: o->run = value; return true;
    case FLAG_STATE: o->state = value; return true;
    case FLAG_TO: return keep_to(r, value);
    case FLAG_TYPE: o->type = value; return true;
    case FLAG_UNTIL: return read_point(r, name, value, &o->to);
    case FLAG_WITH_USERDATA: o->with_userdata = true; return true;
    case FLAG_HELP:
    case FLAG_VERSION: return true; // seen to by the caller
    }
    return true;
}

static bool read_word(struct reader *r, const char *word)
{
    struct options *o = r->options;
    if (!r->has_command) {
        r->has_command = options_command_find(word, &o->command);
        return r->has_command ||
               cli_wrong(&r->cli, "\"%s\" is no command; see boskos-replay --help", word);
    }
    if (o->arguments_count >= commands[o->command].arguments_most)
        return cli_wrong(&r->cli, "\"%s\": %s takes no further argument", word,
                         commands[o->command].name);
    o->arguments[o->arguments_count++] = word;
    return true;
}

static bool check_flags(struct reader *r)
{
    for (const struct cli_flag *f = flags; f->name != NULL; f++) {
        if (f->number >= FLAG_DATA_DIR || (r->given & BIT(f->number)) == 0) continue;
        if ((commands[r->options->command].flags & BIT(f->number)) != 0) continue;
        return cli_wrong(&r->cli, "--%s: %s has no such option; see boskos-replay %s --help",
                         f->name, commands[r->options->command].name,
                         commands[r->options->command].name);
    }
    return true;
}

// The end of a stretch, or where to write to: of export both are called --to, and what can be a
// point is one.
static bool read_to(struct reader *r)
{
    struct options *o = r->options;
    for (uint32_t i = 0; i < r->to_count; i++) {
        bool is_path = o->command == REPLAY_BACKUP ||
                       (o->command == REPLAY_EXPORT && !point_parse(r->to[i], &o->to));
        if (is_path && o->to_path != NULL)
            return cli_wrong(&r->cli, "--to: \"%s\" and \"%s\": give one", o->to_path, r->to[i]);
        if (is_path) o->to_path = r->to[i];
        if (!is_path && !read_point(r, "to", r->to[i], &o->to)) return false;
    }
    return true;
}

static bool check_kind(struct reader *r)
{
    const char *kind = r->options->kind;
    for (uint32_t i = 1; i < COMMAND_KINDS && kind != NULL; i++) {
        if (strcmp(command_kind_name(i), kind) == 0) return true;
    }
    return kind == NULL ||
           cli_wrong(&r->cli,
                     "--kind: \"%s\" is none of acquire acquirebystate release update reset config "
                     "expire reap clean clock started repaired import",
                     kind);
}

// Nothing has an empty name. An owner may be empty: then it is nobody.
static bool check_names(struct reader *r)
{
    const struct options *o = r->options;
    const struct {
        const char *name, *value;
    } filters[] = {
        {"resource", o->resource}, {"type", o->type}, {"state", o->state}, {"request", o->request}};
    for (uint32_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        if (filters[i].value != NULL && filters[i].value[0] == '\0')
            return cli_wrong(&r->cli, "--%s: it is empty", filters[i].name);
    }
    return true;
}

static bool check_why(struct reader *r)
{
    const struct options *o = r->options;
    struct point p;
    if ((o->arguments_count == 1) == (o->request != NULL))
        return cli_wrong(&r->cli, "why: give the number of a command, or --request ID");
    if (o->arguments_count == 0 || (point_parse(o->arguments[0], &p) && p.kind == POINT_SEQ))
        return true;
    return cli_wrong(&r->cli, "why: \"%s\" is no number of a command", o->arguments[0]);
}

static bool check_bisect(struct reader *r)
{
    const struct options *o = r->options;
    struct invariant invariant;
    if (o->good.kind == POINT_NONE || o->bad.kind == POINT_NONE)
        return cli_wrong(&r->cli, "bisect: give --good POINT and --bad POINT");
    if ((o->run == NULL) == (o->invariant == NULL))
        return cli_wrong(&r->cli, "bisect: give --run COMMAND or --invariant NAME");
    if (o->invariant != NULL && !invariant_parse(o->invariant, &invariant))
        return cli_wrong(&r->cli, "--invariant: \"%s\" is none of " INVARIANT_NAMES, o->invariant);
    return true;
}

static bool has_to_path(struct reader *r, const char *missing)
{
    const char *path = r->options->to_path;
    if (path == NULL) return cli_wrong(&r->cli, "%s", missing);
    return path[0] != '\0' || cli_wrong(&r->cli, "--to: it is empty");
}

static bool check_command(struct reader *r)
{
    const struct options *o = r->options;
    struct point p;
    switch (o->command) {
    case REPLAY_LOG:
        if (o->reverse && o->follow)
            return cli_wrong(&r->cli, "log: --reverse and --follow: give one");
        if (o->follow && o->to.kind != POINT_NONE)
            return cli_wrong(&r->cli, "log: --follow and --to: give one");
        if (o->follow && o->file != NULL)
            return cli_wrong(&r->cli, "log: --follow: to a --file nothing is added");
        return check_kind(r);
    case REPLAY_DIFF:
        for (uint32_t i = 0; i < o->arguments_count; i++) {
            if (!read_point(r, "diff", o->arguments[i], &p)) return false;
        }
        return true;
    case REPLAY_WHY: return check_why(r);
    case REPLAY_USAGE:
        if (o->by == NULL || strcmp(o->by, "owner") == 0 || strcmp(o->by, "type") == 0 ||
            strcmp(o->by, "resource") == 0) {
            return true;
        }
        return cli_wrong(&r->cli, "--by: \"%s\" is none of owner type resource", o->by);
    case REPLAY_BISECT: return check_bisect(r);
    case REPLAY_EXPORT:
        if (o->redact && o->with_userdata)
            return cli_wrong(&r->cli,
                             "export: --redact replaces userdata, --with-userdata keeps it: give "
                             "one");
        return has_to_path(r, "export: give --to FILE");
    case REPLAY_BACKUP: return has_to_path(r, "backup: give --to DIR");
    case REPLAY_SHOW:
        return !o->json || !o->kubernetes ||
               cli_wrong(&r->cli, "show: --json and --kubernetes: give one");
    case REPLAY_WHO:
        return o->arguments[0][0] != '\0' || cli_wrong(&r->cli, "who: the name is empty");
    case REPLAY_HELD_BY:
        return o->arguments[0][0] != '\0' || cli_wrong(&r->cli, "held-by: the owner is empty");
    case REPLAY_INFO:
    case REPLAY_VERIFY: return true;
    }
    ASSERT(false && "a command that exists");
    return true;
}

static bool check(struct reader *r)
{
    struct options *o = r->options;
    if (!r->has_command) return cli_wrong(&r->cli, "which command? see boskos-replay --help");
    if (o->arguments_count < commands[o->command].arguments_least)
        return cli_wrong(&r->cli, "%s: an argument is missing; see boskos-replay %s --help",
                         commands[o->command].name, commands[o->command].name);
    if (o->file != NULL && o->command == REPLAY_BACKUP)
        return cli_wrong(&r->cli, "backup: it is of a data folder, not of a --file");
    if (o->file != NULL && o->data_dir != NULL)
        return cli_wrong(&r->cli, "--file and --data-dir: give one");
    if (o->data_dir == NULL) o->data_dir = DATA_DIR;
    return check_flags(r) && check_names(r) && read_to(r) && check_command(r);
}

// What begins with a dash and a digit is a point in time.
static bool is_span(const char *text)
{
    return text[0] == '-' && text[1] >= '0' && text[1] <= '9';
}

enum options_next options_read(int argc, char **argv, struct options *ret_options, char *why,
                               size_t why_size)
{
    struct options options = {0};
    struct reader r = {.options = &options,
                       .cli = {.argc = argc,
                               .argv = argv,
                               .flags = flags,
                               .unknown = "there is no such option; see boskos-replay --help",
                               .is_word = is_span,
                               .why = why,
                               .why_size = why_size}};
    enum options_next next = OPTIONS_RUN;
    struct cli_argument a;
    enum cli_step step;
    while ((step = cli_next(&r.cli, &a)) != CLI_END) {
        if (step == CLI_WRONG || (step == CLI_WORD && !read_word(&r, a.text))) return OPTIONS_WRONG;
        if (step == CLI_WORD) continue;
        enum flag flag = (enum flag)a.flag->number;
        if (flag == FLAG_VERSION) return OPTIONS_VERSION;
        if (flag == FLAG_HELP) next = OPTIONS_HELP;
        if (!read_flag(&r, flag, a.flag->name, a.value)) return OPTIONS_WRONG;
    }
    if (next == OPTIONS_RUN && !check(&r)) return OPTIONS_WRONG;
    if (next == OPTIONS_HELP)
        options.arguments[0] = r.has_command ? commands[options.command].name : NULL;
    *ret_options = options;
    return next;
}
