// The command line of boskosctl.
#include <stdio.h>
#include <stdlib.h>

#include "base/duration.h"
#include "client/boskosctl/ctl.h"

#include "base/banned.h"

const struct cli_flag ctl_flags[] = {
    {"count", CLI_VALUE, CTL_COUNT},
    {"expire", CLI_VALUE, CTL_EXPIRE},
    {"grace", CLI_VALUE, CTL_GRACE},
    {"name", CLI_VALUE, CTL_NAME},
    {"o", CLI_VALUE, CTL_OUTPUT},
    {"output", CLI_VALUE, CTL_OUTPUT},
    {"owner", CLI_VALUE, CTL_OWNER},
    {"owner-name", CLI_VALUE, CTL_OWNER_NAME},
    {"period", CLI_VALUE, CTL_PERIOD},
    {"release-state", CLI_VALUE, CTL_RELEASE_STATE},
    {"resource", CLI_VALUE, CTL_RESOURCE},
    {"retries", CLI_VALUE, CTL_RETRIES},
    {"server-url", CLI_VALUE, CTL_SERVER_URL},
    {"state", CLI_VALUE, CTL_STATE},
    {"strict", CLI_BOOL, CTL_STRICT},
    {"target-state", CLI_VALUE, CTL_TARGET_STATE},
    {"timeout", CLI_VALUE, CTL_TIMEOUT},
    {"type", CLI_VALUE, CTL_TYPE},
    {"userdata", CLI_VALUE, CTL_USERDATA},
    {"with-leased", CLI_BOOL, CTL_WITH_LEASED},
    PROGRAM_REQUEST_TIMEOUT_FLAG,
    PROGRAM_FLAGS,
    {NULL, CLI_ALONE, 0},
};

// ---- values ---------------------------------------------------------------------

static bool read_userdata(struct ctl *ctl, const char *value)
{
    struct cli *c = &ctl->program.cli;
    const char *equals = strchr(value, '=');
    if (equals == NULL) return cli_wrong(c, "--userdata: \"%s\" is not KEY=VALUE", value);
    if (ctl->userdata_count == CTL_USERDATA_MAX)
        return cli_wrong(c, "--userdata: given more than %u times", CTL_USERDATA_MAX);
    char *key = strndup(value, (size_t)(equals - value));
    char *text = strdup(equals + 1);
    if (key == NULL || text == NULL) {
        free(key);
        free(text);
        return cli_wrong(c, "out of memory");
    }
    ctl->userdata[ctl->userdata_count++] = (struct boskos_pair){key, text, strlen(text)};
    return true;
}

static bool read_output(struct ctl *ctl, const char *value)
{
    static const char *const names[] = {"json", "table", "name"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(value, names[i]) != 0) continue;
        ctl->output = (enum ctl_output)i;
        return true;
    }
    return cli_wrong(&ctl->program.cli, "-o: \"%s\" is none of json, table, name", value);
}

// Also 0 and below: an acquire with a timeout of 0 asks once, a reset may take all.
static bool read_duration(struct ctl *ctl, const char *name, const char *value, int64_t *ret_ns)
{
    struct buffer error;
    buffer_init(&error);
    bool is_good = duration_parse(text_from(value), ret_ns, &error) == 0;
    if (!is_good)
        (void)cli_wrong(&ctl->program.cli, "--%s: %.*s", name, TEXT_ARG(buffer_as_text(&error)));
    buffer_release(&error);
    return is_good;
}

static bool read_number(struct ctl *ctl, const char *name, const char *value, uint64_t *ret_number)
{
    return cli_number(value, 1000000000, ret_number) ||
           cli_wrong(&ctl->program.cli, "--%s: \"%s\" is no number", name, value);
}

static bool read_list(struct ctl *ctl, const char *name, const char *value, const char **first,
                      struct program_list *list)
{
    *first = value;
    program_list_free(list);
    return program_list_add(&ctl->program, name, value, list);
}

static bool read_flag(struct ctl *ctl, const struct cli_argument *a)
{
    struct cli *c = &ctl->program.cli;
    const char *name = a->flag->name, *value = a->value;
    ctl->given |= CTL_BIT(a->flag->number);
    switch ((enum ctl_flag)a->flag->number) {
    case CTL_COUNT: return read_number(ctl, name, value, &ctl->count);
    case CTL_EXPIRE: return read_duration(ctl, name, value, &ctl->expire_ns);
    case CTL_GRACE: return cli_span(c, name, value, &ctl->grace_ns);
    case CTL_NAME: ctl->name = value; return true;
    case CTL_OUTPUT: return read_output(ctl, value);
    case CTL_OWNER: return read_list(ctl, name, value, &ctl->owner_filter, &ctl->owners);
    case CTL_OWNER_NAME: ctl->program.owner = value; return true;
    case CTL_PERIOD: return cli_span(c, name, value, &ctl->period_ns);
    case CTL_RELEASE_STATE: ctl->release_state = value; return true;
    case CTL_RESOURCE: ctl->resource = value; return true;
    case CTL_RETRIES: return read_number(ctl, name, value, &ctl->retries);
    case CTL_SERVER_URL: ctl->program.url = value; return true;
    case CTL_STATE: return read_list(ctl, name, value, &ctl->state, &ctl->states);
    case CTL_STRICT: return cli_bool(c, name, value, &ctl->is_strict);
    case CTL_TARGET_STATE: ctl->target_state = value; return true;
    case CTL_TIMEOUT: return read_duration(ctl, name, value, &ctl->timeout_ns);
    case CTL_TYPE: return read_list(ctl, name, value, &ctl->type, &ctl->types);
    case CTL_USERDATA: return read_userdata(ctl, value);
    case CTL_WITH_LEASED: return cli_bool(c, name, value, &ctl->with_leased);
    }
    return true;
}

// ---- words ----------------------------------------------------------------------

static bool read_word(struct ctl *ctl, const struct cli_argument *a)
{
    struct cli *c = &ctl->program.cli;
    if (ctl->command == NULL) {
        ctl->command = ctl_command_find(a->text);
        if (ctl->command == NULL)
            return cli_wrong(c, "unknown command \"%s\" for \"boskosctl\"", a->text);
        ctl->program.help = ctl->command->help;
        return true;
    }
    if (ctl->command->run == ctl_run) { // it takes all that follows
        ctl->argv = c->argv + c->at - 1;
        c->at = c->argc;
        return true;
    }
    bool takes = ctl->command->run == ctl_get || ctl->command->run == ctl_completion ||
                 ctl->command->run == ctl_config || ctl->command->run == ctl_print_help;
    if (!takes || ctl->word != NULL)
        return cli_wrong(c, "\"%s\": %s takes no further argument", a->text, ctl->command->name);
    ctl->word = a->text;
    return true;
}

static bool read_argument(struct program *p, const struct cli_argument *a, void *context)
{
    (void)p;
    return a->flag != NULL ? read_flag(context, a) : read_word(context, a);
}

// ---- the whole ------------------------------------------------------------------

// As the original program names what is missing: in alphabetical order.
static bool check_required(struct ctl *ctl)
{
    uint32_t missing = ctl->command->required & ~ctl->given;
    if (ctl->command->needs_owner && ctl->program.owner == NULL) missing |= CTL_BIT(CTL_OWNER_NAME);
    if (ctl->command->needs_server && ctl->program.url == NULL) missing |= CTL_BIT(CTL_SERVER_URL);
    if (missing == 0) return true;
    struct buffer names;
    buffer_init(&names);
    for (const struct cli_flag *f = ctl_flags; f->name != NULL; f++) {
        if (f->number >= PROGRAM_FLAG_URL || (missing & CTL_BIT(f->number)) == 0) continue;
        buffer_format(&names, "%s\"%s\"", names.size > 0 ? ", " : "", f->name);
    }
    cli_complain("Error", "required flag(s) %.*s not set", TEXT_ARG(buffer_as_text(&names)));
    (void)ctl_say("See boskosctl %s --help", ctl->command->name);
    buffer_release(&names);
    return false;
}

static bool check_allowed(struct ctl *ctl)
{
    uint32_t shared = CTL_BIT(CTL_OWNER_NAME) | CTL_BIT(CTL_SERVER_URL);
    uint32_t wrong = ctl->given & ~(ctl->command->flags | ctl->command->required | shared);
    for (const struct cli_flag *f = ctl_flags; f->name != NULL; f++) {
        if (f->number >= PROGRAM_FLAG_URL || (wrong & CTL_BIT(f->number)) == 0) continue;
        cli_complain("Error", "unknown flag: --%s", f->name);
        (void)ctl_say("See boskosctl %s --help", ctl->command->name);
        return false;
    }
    return true;
}

bool ctl_read(struct ctl *ctl, int argc, char **argv, int *ret_code)
{
    if (!program_read(&ctl->program, argc, argv, ctl_flags, read_argument, ctl, ret_code)) {
        if (*ret_code == PROGRAM_USAGE) *ret_code = PROGRAM_FAILED; // as the original program
        return false;
    }
    if (ctl->command == NULL) {
        *ret_code = ctl_print_help(ctl);
        return false;
    }
    if ((ctl->given & CTL_BIT(CTL_OUTPUT)) == 0) ctl->output = ctl->command->output;
    if (check_allowed(ctl) && check_required(ctl)) return true;
    *ret_code = PROGRAM_FAILED;
    return false;
}
