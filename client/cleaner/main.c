// boskos-cleaner: ends the life of dynamic resources that are to be deleted.
#include "client/cleaner/cleaner.h"

#include "base/banned.h"

enum flag { CONFIG, RESOURCE_TYPE, COUNT, PERIOD, ONCE, IGNORED_VALUE, IGNORED_BOOL };

static const struct cli_flag flags[] = {
    {"config", CLI_VALUE, CONFIG},
    {"resource-type", CLI_VALUE, RESOURCE_TYPE},
    {"cleaner-count", CLI_VALUE, COUNT},
    {"period", CLI_VALUE, PERIOD},
    {"once", CLI_BOOL, ONCE},
    {"namespace", CLI_VALUE, IGNORED_VALUE},
    {"kubeconfig", CLI_VALUE, IGNORED_VALUE},
    {"use-v2-implementation", CLI_BOOL, IGNORED_BOOL},
    PROGRAM_DAEMON_FLAGS,
    {NULL, CLI_ALONE, 0},
};

static const char help[] =
    "boskos-cleaner - ends the life of dynamic resources that are to be deleted\n"
    "\n"
    "Usage: boskos-cleaner --config FILE [flags]\n"
    "\n"
    "Every 15 s: what is unowned in the state toBeDeleted becomes a tombstone, which the\n"
    "server deletes. What was leased for it goes to dirty before. Not needed where the\n"
    "config has boskosd's built-in cleaner; both may run.\n"
    "\n"
    "Flags (one dash or two; --flag value or --flag=value)\n"
    "  --config FILE            the server's config, for its dynamic types; read anew when it\n"
    "                           changes\n"
    "  --resource-type A,B      these types too. One of the two is needed\n"
    "  --cleaner-count N        how many are cleaned at a time, up to 256 (15)\n"
    "  --period DURATION        from one round to the next (15s)\n"
    "  --once                   one round; exit code 1 when a part of it failed\n"
    "  --namespace, --kubeconfig, --use-v2-implementation\n"
    "                           of Boskos; have no effect\n" PROGRAM_DAEMON_HELP "\n"
    "Examples\n"
    "  boskos-cleaner --boskos-url http://boskos --config /etc/boskos/config\n"
    "  boskos-cleaner --config /etc/boskos/config --once --log-level debug\n";

static bool argument(struct program *p, const struct cli_argument *a, void *context)
{
    struct cleaner *c = context;
    if (a->flag == NULL) return cli_wrong(&p->cli, "\"%s\": takes no words", a->text);
    const char *name = a->flag->name;
    bool unused;
    switch ((enum flag)a->flag->number) {
    case CONFIG: c->file.path = a->value[0] == '\0' ? NULL : a->value; return true;
    case RESOURCE_TYPE: return program_list_add(p, name, a->value, &c->given);
    case COUNT:
        if (cli_number(a->value, CLEANER_COUNT_MAX, &c->count) && c->count > 0) return true;
        return cli_wrong(&p->cli, "--cleaner-count: \"%s\" is no number from 1 to %u", a->value,
                         CLEANER_COUNT_MAX);
    case PERIOD: return cli_span(&p->cli, name, a->value, &c->period_ns);
    case ONCE: return cli_bool(&p->cli, name, a->value, &c->is_once);
    case IGNORED_BOOL: return cli_bool(&p->cli, name, a->value, &unused);
    case IGNORED_VALUE: return true;
    }
    return true;
}

static bool clean(struct cleaner *c)
{
    struct program_list types = {0};
    (void)cleaner_refresh(c); // what was read before stays
    bool is_paid = cleaner_pay(c);
    bool is_good = cleaner_types(c, &types) == 0 && is_paid;
    for (size_t i = 0; i < types.count && !program_is_ending(&c->program); i++)
        if (!cleaner_clean(c, types.items[i])) is_good = false;
    program_list_free(&types);
    return cleaner_pay(c) && is_good;
}

static int run(struct cleaner *c)
{
    int code = cleaner_refresh(c);
    if (code == PROGRAM_OK) code = program_start(&c->program);
    if (code != 0) return code;
    program_log(&c->program, LOG_INFO, "boskos-cleaner is ready");
    for (;;) {
        bool is_good = clean(c);
        if (c->is_once)
            return is_good && !program_is_ending(&c->program) ? PROGRAM_OK : PROGRAM_FAILED;
        if (!program_sleep(&c->program, program_ms(c->period_ns))) return PROGRAM_OK;
    }
}

int main(int argc, char **argv)
{
    struct cleaner c = {
        .count = 15, .period_ns = INT64_C(15000000000), .lock = PTHREAD_MUTEX_INITIALIZER};
    int code;
    program_init(&c.program, "boskos-cleaner", "cleaner", help);
    c.program.options.attempts_max = 3;
    c.program.options.backoff_first_ms = 200;
    c.program.options.backoff_most_ms = 2000;
    c.program.options.request_timeout_ms = 10000;
    c.program.options.call_timeout_ms = 20000;
    if (program_read(&c.program, argc, argv, flags, argument, &c, &code)) {
        if (c.given.count == 0 && c.file.path == NULL)
            code = program_usage(&c.program, "--config or --resource-type must be set");
        else
            code = program_end(&c.program, run(&c));
    }
    cleaner_release(&c);
    return code;
}
