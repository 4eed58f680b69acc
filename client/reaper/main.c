// boskos-reaper: takes back what was leased and not heard of for some time.
#include <stdlib.h>

#include "base/duration.h"
#include "base/time.h"
#include "client/watched.h"

#include "base/banned.h"

#define NS_PER_MINUTE INT64_C(60000000000)

enum flag { RESOURCE_TYPE, FROM_CONFIG, EXTRA_STATES, EXPIRE, TARGET_STATE, PERIOD, ONCE, DRY_RUN };

static const struct cli_flag flags[] = {
    {"resource-type", CLI_VALUE, RESOURCE_TYPE},
    {"resource-type-from-config", CLI_VALUE, FROM_CONFIG},
    {"extra-source-states", CLI_VALUE, EXTRA_STATES},
    {"expire", CLI_VALUE, EXPIRE},
    {"target-state", CLI_VALUE, TARGET_STATE},
    {"period", CLI_VALUE, PERIOD},
    {"once", CLI_BOOL, ONCE},
    {"dry-run", CLI_BOOL, DRY_RUN},
    PROGRAM_DAEMON_FLAGS,
    {NULL, CLI_ALONE, 0},
};

static const char help[] =
    "boskos-reaper - takes back what was leased and not heard of for some time\n"
    "\n"
    "Usage: boskos-reaper --resource-type A,B [flags]\n"
    "\n"
    "Every minute, for each type: what has an owner, is in the state busy, cleaning or leased\n"
    "and was not updated for --expire goes to --target-state, without an owner.\n"
    "\n"
    "Flags (one dash or two; --flag value or --flag=value)\n"
    "  --resource-type A,B      these types\n"
    "  --resource-type-from-config FILE\n"
    "                           and those of a config file, which is read anew when it\n"
    "                           changes; what it says of `reaper:` for a type holds for it.\n"
    "                           One of the two is needed\n"
    "  --extra-source-states A,B\n"
    "                           these states too\n"
    "  --expire DURATION        not heard of for so long (30m)\n"
    "  --target-state STATE     the state they get (dirty)\n"
    "  --period DURATION        from one round to the next (1m)\n"
    "  --once                   one round; exit code 1 when a part of it failed\n"
    "  --dry-run                says what would be taken back, and does nothing (boskosd\n"
    "                           only)\n" PROGRAM_DAEMON_HELP "\n"
    "Examples\n"
    "  boskos-reaper --boskos-url http://boskos --resource-type gce-project,aws-account\n"
    "  boskos-reaper --resource-type-from-config /etc/boskos/config --expire 2h\n"
    "  boskos-reaper --resource-type gce-project --once --dry-run\n";

struct reaper {
    struct program_types types;
    struct program_list states; // after the three known ones
    int64_t expire_ns, period_ns;
    const char *target;
    bool is_once, is_dry;
};

// Also 0 and below, which take all, as Go's flags do.
static bool read_expire(struct program *p, const char *value, struct reaper *r)
{
    struct buffer why;
    buffer_init(&why);
    bool is_good = duration_parse(text_from(value), &r->expire_ns, &why) == 0;
    if (!is_good) (void)cli_wrong(&p->cli, "--expire: %.*s", TEXT_ARG(buffer_as_text(&why)));
    buffer_release(&why);
    return is_good;
}

static bool argument(struct program *p, const struct cli_argument *a, void *context)
{
    struct reaper *r = context;
    if (a->flag == NULL) return cli_wrong(&p->cli, "\"%s\": takes no words", a->text);
    const char *name = a->flag->name;
    switch ((enum flag)a->flag->number) {
    case RESOURCE_TYPE: return program_list_add(p, name, a->value, &r->types.given);
    case FROM_CONFIG: r->types.file.path = a->value[0] == '\0' ? NULL : a->value; return true;
    case EXTRA_STATES: return program_list_add(p, name, a->value, &r->states);
    case EXPIRE: return read_expire(p, a->value, r);
    case TARGET_STATE: r->target = a->value; return true;
    case PERIOD: return cli_span(&p->cli, name, a->value, &r->period_ns);
    case ONCE: return cli_bool(&p->cli, name, a->value, &r->is_once);
    case DRY_RUN: return cli_bool(&p->cli, name, a->value, &r->is_dry);
    }
    return true;
}

// ---- a round --------------------------------------------------------------------

static void say_taken(const struct program *p, const char *type, const char *state,
                      const struct reaper *r, const struct boskos_pairs *owners)
{
    for (size_t i = 0; i < owners->count; i++)
        log_event(&p->log, LOG_INFO, "Reset resource",
                  LOG_F_STRING("resource_name", owners->items[i].key),
                  LOG_F_STRING("previous_owner", owners->items[i].value),
                  LOG_F_STRING("resource_type", type), LOG_F_STRING("source_state", state),
                  LOG_F_STRING("target_state", r->target));
}

// Is it not heard of for so long? By the clock of this machine.
static bool is_expired(const struct program *p, const struct boskos_resource *resource,
                       int64_t expire_ns)
{
    uint64_t then_ns, now_ns = clock_wall_ns(&p->log.clock);
    if (time_parse(text_from(resource->lastupdate), &then_ns) != 0) return false;
    if (expire_ns < 0) return true;
    return now_ns >= then_ns && now_ns - then_ns >= (uint64_t)expire_ns;
}

static int look(const struct program *p, const struct reaper *r, const char *type,
                const char *state, int64_t expire_ns, struct boskos_call *call)
{
    struct boskos_resources *found;
    struct boskos_filter filter = {
        .types = &type, .types_count = 1, .states = &state, .states_count = 1};
    int err = boskos_list(p->client, &filter, &found, call);
    if (err != 0) return err;
    for (size_t i = 0; i < found->count; i++) {
        const struct boskos_resource *f = found->items[i];
        if (f->owner[0] == '\0' || !is_expired(p, f, expire_ns)) continue;
        log_event(&p->log, LOG_INFO, "Would reset resource", LOG_F_STRING("resource_name", f->name),
                  LOG_F_STRING("previous_owner", f->owner), LOG_F_STRING("resource_type", type),
                  LOG_F_STRING("source_state", state), LOG_F_STRING("target_state", r->target));
    }
    boskos_resources_free(found);
    return 0;
}

static int reset(const struct program *p, const struct reaper *r, const char *type,
                 const char *state, int64_t expire_ns)
{
    struct boskos_call call = program_call(p);
    struct boskos_pairs *owners;
    int err = r->is_dry
                  ? look(p, r, type, state, expire_ns, &call)
                  : boskos_reset(p->client, type, state, expire_ns, r->target, &owners, &call);
    if (err == BOSKOS_ERR_CANCELLED) return err;
    if (err != 0)
        log_event(&p->log, LOG_ERROR, "Reset failed", LOG_F_STRING("error", call.text),
                  LOG_F_STRING("resource_type", type), LOG_F_STRING("source_state", state),
                  LOG_F_STRING("target_state", r->target));
    if (err == 0 && !r->is_dry) {
        say_taken(p, type, state, r, owners);
        boskos_pairs_free(owners);
    }
    return err;
}

// A state given twice, or beside the known ones, is asked for once.
static bool is_known(const struct reaper *r, size_t extra)
{
    const char *state = r->states.items[extra];
    for (size_t i = 0; i < extra; i++)
        if (strcmp(r->states.items[i], state) == 0) return true;
    return false;
}

// For how long it may not be heard of; false: not at all. What the config says holds unless the
// command line has the type.
static bool expire_of(const struct reaper *r, const char *type, int64_t *ret_ns)
{
    const struct config *c = r->types.file.config;
    *ret_ns = r->expire_ns;
    for (size_t i = 0; i < r->types.given.count; i++)
        if (strcmp(r->types.given.items[i], type) == 0) return true;
    for (size_t i = 0; c != NULL && i < c->entries_count; i++) {
        const struct config_entry *e = &c->entries[i];
        if (e->reaper == CONFIG_REAPER_INHERIT || !text_equal(e->type, text_from(type))) continue;
        if (e->reaper == CONFIG_REAPER_EXPIRE) *ret_ns = e->reaper_expire_ns;
        return e->reaper == CONFIG_REAPER_EXPIRE;
    }
    return true;
}

// All states of a type. The last error, after all were tried; that the server cannot be reached is
// true for all of them.
static int reap_type(const struct program *p, const struct reaper *r, const char *type)
{
    int64_t expire_ns;
    int last = 0;
    if (!expire_of(r, type, &expire_ns)) return 0;
    for (size_t i = 0; i < r->states.count && !program_is_ending(p); i++) {
        if (is_known(r, i)) continue;
        int err = reset(p, r, type, r->states.items[i], expire_ns);
        if (err != 0) last = err;
        if (err == BOSKOS_ERR_CONNECT || err == BOSKOS_ERR_UNSUPPORTED) break;
    }
    return last;
}

static int reap(struct program *p, struct reaper *r)
{
    int code = PROGRAM_OK;
    (void)program_types_refresh(p, &r->types); // what was read before stays
    for (size_t i = 0; i < r->types.all.count && !program_is_ending(p); i++) {
        int err = reap_type(p, r, r->types.all.items[i]);
        if (err != 0) code = PROGRAM_FAILED;
        if (err == BOSKOS_ERR_CONNECT || err == BOSKOS_ERR_UNSUPPORTED) break;
    }
    return code;
}

// ---- the program ----------------------------------------------------------------

static int run(struct program *p, struct reaper *r)
{
    int code = program_types_refresh(p, &r->types);
    if (code == 0) code = program_start(p);
    if (code != 0) return code;
    program_log(p, LOG_INFO, "boskos-reaper is ready: %zu types, %zu states", r->types.all.count,
                r->states.count);
    for (;;) {
        code = reap(p, r);
        if (r->is_once) return program_is_ending(p) ? PROGRAM_FAILED : code;
        if (!program_sleep(p, program_ms(r->period_ns))) return PROGRAM_OK;
    }
}

int main(int argc, char **argv)
{
    struct program p;
    struct reaper r = {
        .expire_ns = 30 * NS_PER_MINUTE, .period_ns = NS_PER_MINUTE, .target = "dirty"};
    int code;
    program_init(&p, "boskos-reaper", "Reaper", help);
    // One type that fails, or a server that hangs, must not take the time of the others: what is
    // not done now is done in the next round.
    p.options.attempts_max = 3;
    p.options.backoff_first_ms = 200;
    p.options.backoff_most_ms = 2000;
    p.options.request_timeout_ms = 10000;
    p.options.call_timeout_ms = 15000;
    (void)program_list_add(&p, "", "busy,cleaning,leased", &r.states);
    if (program_read(&p, argc, argv, flags, argument, &r, &code)) {
        if (r.types.given.count == 0 && r.types.file.path == NULL)
            code = program_usage(&p, "--resource-type or --resource-type-from-config must be set");
        else if (r.target[0] == '\0')
            code = program_usage(&p, "--target-state must not be empty");
        else
            code = program_end(&p, run(&p, &r));
    }
    program_list_free(&r.states);
    program_types_free(&r.types);
    return code;
}
