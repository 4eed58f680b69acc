#include "tests/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/duration.h"
#include "tests/script_commands.h"

#include "base/banned.h"

#define START_NS (UINT64_C(1700000000) * NS_PER_S)

struct script {
    struct script_commands commands;
    struct sm *sm;
    struct buffer got;
};

static struct text word(const struct script *s, uint32_t index)
{
    return script_word(&s->commands, index);
}

static void put_word(struct script *s, struct text t)
{
    script_put_word(&s->got, t);
}

static void put_time(struct script *s, const char *key, bool is_set, uint64_t time_ns)
{
    put_word(s, text_from(key));
    if (is_set)
        duration_format((int64_t)(time_ns - START_NS), &s->got);
    else
        buffer_char(&s->got, '-');
}

// ---- checks -------------------------------------------------------------------------------------

// From word `from` on, what the line wants.
static void want_words(struct script *s, uint32_t from)
{
    for (uint32_t i = from; i < s->commands.count; i++)
        script_put_word(&s->commands.wanted, word(s, i));
}

static void put_userdata(struct script *s, const struct sm_resource *r, struct text wanted)
{
    uint32_t size = 0;
    while (size < wanted.size && wanted.data[size] != '=')
        size++;
    struct text key = text_of(wanted.data, size), value = TEXT("-");
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        if (text_equal(r->userdata[i].key, key)) value = r->userdata[i].value;
    }
    put_word(s, key);
    buffer_char(&s->got, '=');
    buffer_text(&s->got, value);
}

static void check_state(struct script *s)
{
    struct sm_resource r;
    want_words(s, 2);
    if (sm_find(s->sm, script_name(&s->commands, word(s, 1)), &r) != 0) {
        put_word(s, TEXT("gone"));
        return;
    }
    script_put_name(&s->commands, r.state, &s->got);
    script_put_owner(&s->got, r.owner);
    for (uint32_t i = 4; i < s->commands.count; i++) {
        struct text rest;
        if (script_starts_with(word(s, i), "since=", &rest)) {
            put_time(s, "since=", true, r.lastupdate_ns);
        } else if (script_starts_with(word(s, i), "expires=", &rest)) {
            put_time(s, "expires=", r.has_expiration, r.expiration_ns);
        } else {
            put_userdata(s, &r, word(s, i));
        }
    }
}

static void put_counts(struct script *s, const struct sm_count *counts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        script_put_owner(&s->got, counts[i].key);
        buffer_format(&s->got, "=%" PRIu64, counts[i].count);
    }
}

static void check_metric(struct script *s)
{
    struct sm_metric metric;
    want_words(s, 2);
    if (sm_metric(s->sm, word(s, 1), &metric) != 0) {
        put_word(s, TEXT("none"));
        return;
    }
    put_counts(s, metric.states, metric.states_count);
    put_word(s, TEXT("owners"));
    put_counts(s, metric.owners, metric.owners_count);
}

static bool put_request(void *context, const struct sm_queue_entry *e)
{
    struct script *s = context;
    bool is_wanted = text_equal(e->type, word(s, 1)) && text_equal(e->state, word(s, 2));
    if (is_wanted) put_word(s, e->request_id);
    return true;
}

static void check_queue(struct script *s)
{
    want_words(s, 3);
    sm_queues(s->sm, s->commands.now_ns, put_request, s);
    if (s->got.size == 0) put_word(s, TEXT("none"));
}

static void check_cycle(struct script *s)
{
    const struct sm_life_cycle *cycles = NULL;
    uint32_t count = 0;
    want_words(s, 2);
    sm_life_cycles(s->sm, &cycles, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (!text_equal(cycles[i].type, word(s, 1))) continue;
        put_word(s, cycles[i].state);
        buffer_format(&s->got, " %" PRId64 " %" PRId64, cycles[i].min_count, cycles[i].max_count);
        if (cycles[i].is_fading) put_word(s, TEXT("fading"));
    }
    if (s->got.size == 0) put_word(s, TEXT("none"));
}

static bool put_listed(void *context, const struct sm_resource *r)
{
    struct script *s = context;
    script_put_name(&s->commands, r->name, &s->got);
    return true;
}

static void check_names(struct script *s)
{
    want_words(s, 2);
    struct text type = word(s, 1);
    sm_list(s->sm, &(struct sm_filter){.types = &type, .types_count = 1}, put_listed, s);
    if (s->got.size == 0) put_word(s, TEXT("none"));
}

static void check_due(struct script *s)
{
    want_words(s, 1);
    uint64_t due_ns = text_equal(word(s, 1), TEXT("reap"))     ? sm_reap_due_ns(s->sm)
                      : text_equal(word(s, 1), TEXT("expiry")) ? sm_expiry_due_ns(s->sm)
                                                               : sm_queue_due_ns(s->sm);
    put_word(s, word(s, 1));
    put_time(s, "", due_ns != SM_NEVER, due_ns);
}

// False when the line is no check.
static bool play_check(struct script *s)
{
    static const struct {
        const char *name;
        void (*check)(struct script *s);
    } checks[] = {{"state", check_state}, {"metric", check_metric}, {"queue", check_queue},
                  {"cycle", check_cycle}, {"names", check_names},   {"due", check_due}};
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        if (!text_equal(word(s, 0), text_from(checks[i].name))) continue;
        checks[i].check(s);
        return true;
    }
    return false;
}

// ---- lines --------------------------------------------------------------------------------------

static void apply(struct script *s)
{
    struct sm_result result;
    sm_apply(s->sm, &s->commands.command, &result);
    script_commands_result(&s->commands, &result, &s->got);
    script_commands_learn(&s->commands);
}

static bool play_words(struct script *s)
{
    buffer_clear(&s->got);
    if (!play_check(s)) {
        if (!script_commands_make(&s->commands)) return false;
        apply(s);
    }
    struct text wanted = buffer_as_text(&s->commands.wanted), got = buffer_as_text(&s->got);
    if (text_equal(wanted, got)) return true;
    (void)script_complain(&s->commands, "wanted", wanted);
    return script_complain(&s->commands, "got", got);
}

bool script_play(const char *path, uint32_t *lines)
{
    struct script *s = must_calloc(1, sizeof(*s));
    s->sm = sm_new(5);
    bool ok = script_commands_open(&s->commands, path, START_NS, s->sm);
    enum script_line line = ok ? script_commands_next(&s->commands) : SCRIPT_END;
    for (; line != SCRIPT_END; line = script_commands_next(&s->commands)) {
        if (line == SCRIPT_CONFIG) apply(s);
        if (line == SCRIPT_WORDS) ok &= play_words(s);
        if (line == SCRIPT_BAD) ok = false;
    }
    *lines += s->commands.line;
    if (s->commands.file != NULL) script_commands_close(&s->commands);
    sm_free(s->sm);
    buffer_release(&s->got);
    free(s);
    return ok;
}
