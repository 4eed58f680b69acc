// boskos-checkconfig: is a config file good, and what would it do?
#include "client/check.h"

#include "base/banned.h"

#define FILES_MAX 4096u

enum flag { CONFIG, AGAINST, STRICT };

static const struct cli_flag flags[] = {
    {"config", CLI_VALUE, CONFIG},
    {"against", CLI_VALUE, AGAINST},
    {"strict", CLI_BOOL, STRICT},
    PROGRAM_REQUEST_TIMEOUT_FLAG,
    PROGRAM_FLAGS,
    {NULL, CLI_ALONE, 0},
};

static const char help[] =
    "boskos-checkconfig - is a config file good, and what would it do?\n"
    "\n"
    "Usage: boskos-checkconfig [flags] FILE ...\n"
    "\n"
    "Each error and warning is a line, FILE:LINE: error: TEXT, on stderr. FILE - is stdin.\n"
    "\n"
    "Flags (one dash or two; --flag value or --flag=value)\n"
    "  --config FILE            a file, too\n"
    "  --strict                 a warning is an error\n"
    "  --against URL            asks this server (boskosd) for its resources, and prints what\n"
    "                           applying the one file would add, delete, and delay until an\n"
    "                           owner gives it back\n"
    "  --username NAME          basic authentication, with --password-file\n"
    "  --password-file FILE     its content is the password\n"
    "  --token-file FILE        a bearer token, in place of the two\n"
    "  --ca-file FILE           certificates to trust, in place of the system's\n"
    "  --request-timeout DURATION\n"
    "                           for how long a request to the server is tried (2m)\n"
    "  --log-level LEVEL        error, or warning to see what is tried again (error)\n"
    "  --log-format FORMAT      text or json (text)\n"
    "  --help, --version\n"
    "\n"
    "Exit code 0 when all files are good, 1 when one is not or the server cannot be asked,\n"
    "2 for a wrong command line.\n"
    "\n"
    "Examples\n"
    "  boskos-checkconfig boskos-resources.yaml\n"
    "  boskos-checkconfig --against http://boskos boskos-resources.yaml\n"
    "  helm template . | yq '.data.config' | boskos-checkconfig --strict -\n";

struct checkconfig {
    const char *files[FILES_MAX];
    size_t count;
    const char *against;
    bool is_strict;
};

static bool argument(struct program *p, const struct cli_argument *a, void *context)
{
    struct checkconfig *c = context;
    enum flag flag = a->flag == NULL ? CONFIG : (enum flag)a->flag->number;
    switch (flag) {
    case CONFIG:
        if (c->count == FILES_MAX) return cli_wrong(&p->cli, "more than %u files", FILES_MAX);
        c->files[c->count++] = a->flag == NULL ? a->text : a->value;
        return true;
    case AGAINST: c->against = a->value; return true;
    case STRICT: return cli_bool(&p->cli, a->flag->name, a->value, &c->is_strict);
    }
    return true;
}

static int run(struct program *p, const struct checkconfig *c)
{
    int worst = PROGRAM_OK;
    for (size_t i = 0; i < c->count; i++) {
        struct config *config = NULL;
        int code = check_file(p, c->files[i], c->is_strict, &config);
        if (code == PROGRAM_OK && c->against != NULL) {
            code = program_start(p);
            if (code == PROGRAM_OK) code = check_against(p, config);
            code = program_end(p, code);
        }
        config_free(config);
        if (code != PROGRAM_OK) worst = code;
    }
    return worst;
}

int main(int argc, char **argv)
{
    struct checkconfig c = {0};
    struct program p;
    int code;
    program_init(&p, "boskos-checkconfig", NULL, help);
    p.log.level = LOG_ERROR;
    p.options.attempts_max = 3;
    p.options.backoff_first_ms = 200;
    if (!program_read(&p, argc, argv, flags, argument, &c, &code)) return code;
    if (c.count == 0) return program_usage(&p, "a FILE is needed");
    if (c.against != NULL && c.count > 1) return program_usage(&p, "--against is for one FILE");
    p.url = c.against;
    return run(&p, &c);
}
