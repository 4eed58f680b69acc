#include "tests/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/duration.h"
#include "config/config.h"
#include "engine/config_command.h"
#include "statemachine/state_machine.h"

#include "base/banned.h"

#define START_NS (UINT64_C(1700000000) * NS_PER_S)
#define WORDS_MAX 32u
#define LINES_MAX 10000u
#define MADE_MAX 1000u
#define MADE_BYTES 36u
#define PAIRS_MAX 16u

struct script {
    const char *path;
    uint32_t line;
    struct sm *sm;
    uint64_t now_ns;
    char made[MADE_MAX][MADE_BYTES];
    uint32_t made_count;

    struct text words[WORDS_MAX]; // of the present line, up to `=>`
    uint32_t count;
    struct buffer wanted, got;
    struct buffer joined; // a list of names
    struct userdata_pair pairs[PAIRS_MAX];
    struct text names[WORDS_MAX];
};

static bool complain(const struct script *s, const char *what, struct text of)
{
    fprintf(stderr, "%s:%" PRIu32 ": %s: %.*s\n", s->path, s->line, what, TEXT_ARG(of));
    return false;
}

// ---- words --------------------------------------------------------------------------------------

static struct text word(const struct script *s, uint32_t index)
{
    return index < s->count ? s->words[index] : TEXT_NONE;
}

static bool starts_with(struct text t, const char *prefix, struct text *ret_rest)
{
    size_t size = strlen(prefix);
    if (t.size < size || memcmp(t.data, prefix, size) != 0) return false;
    *ret_rest = text_of(t.data + size, t.size - size);
    return true;
}

static bool read_time(struct text t, int64_t *ret_ns)
{
    return duration_parse(t, ret_ns, NULL) == 0;
}

// made-N as the name it stands for; anything else as it is.
static struct text name_of(const struct script *s, struct text t)
{
    struct text digits;
    if (!starts_with(t, "made-", &digits) || digits.size == 0 || digits.size > 4) return t;
    uint32_t number = 0;
    for (uint32_t i = 0; i < digits.size; i++)
        number = number * 10 + (uint32_t)(digits.data[i] - '0');
    if (number < 1 || number > s->made_count) return t;
    return text_of(s->made[number - 1], MADE_BYTES);
}

static void put_word(struct buffer *out, struct text t)
{
    if (out->size > 0) buffer_char(out, ' ');
    buffer_text(out, t);
}

static void put_name(struct script *s, struct text name)
{
    for (uint32_t i = 0; i < s->made_count && name.size == MADE_BYTES; i++) {
        if (memcmp(s->made[i], name.data, MADE_BYTES) != 0) continue;
        put_word(&s->got, TEXT("made-"));
        buffer_format(&s->got, "%" PRIu32, i + 1);
        return;
    }
    put_word(&s->got, name);
}

static void put_owner(struct script *s, struct text owner)
{
    put_word(&s->got, text_is_empty(owner) ? TEXT("-") : owner);
}

static void put_time(struct script *s, const char *key, bool is_set, uint64_t time_ns)
{
    put_word(&s->got, text_from(key));
    if (is_set)
        duration_format((int64_t)(time_ns - START_NS), &s->got);
    else
        buffer_char(&s->got, '-');
}

// A, B and C of "A,B,C".
static uint32_t split_names(struct script *s, struct text list)
{
    uint32_t count = 0, start = 0;
    for (uint32_t i = 0; i <= list.size && list.size > 0 && count < WORDS_MAX; i++) {
        if (i < list.size && list.data[i] != ',') continue;
        s->names[count++] = name_of(s, text_of(list.data + start, i - start));
        start = i + 1;
    }
    return count;
}

// ---- commands -----------------------------------------------------------------------------------

static bool learn_made(void *context, const struct sm_resource *r)
{
    struct script *s = context;
    if (r->name.size != MADE_BYTES || r->name.data[14] != '7') return true;
    for (uint32_t i = 0; i < s->made_count; i++) {
        if (memcmp(s->made[i], r->name.data, MADE_BYTES) == 0) return true;
    }
    ASSERT(s->made_count < MADE_MAX);
    memcpy(s->made[s->made_count++], r->name.data, MADE_BYTES);
    return true;
}

static void put_result(struct script *s, const struct command *c, const struct sm_result *r)
{
    buffer_format(&s->got, "%" PRIu32, sm_reason_status(r->reason));
    bool is_acquire = c->kind == COMMAND_ACQUIRE || c->kind == COMMAND_ACQUIREBYSTATE;
    if (is_acquire && r->reason == SM_NO_AVAILABLE) put_word(&s->got, TEXT("none"));
    if (r->reason == SM_NO_SUCH_TYPE) put_word(&s->got, TEXT("no-type"));
    if (r->reason == SM_OWNER_MISMATCH) put_owner(s, r->current_owner);
    if (r->reason == SM_STATE_MISMATCH) put_word(&s->got, r->current_state);
    if (r->reason == SM_KEY_MISMATCH) put_word(&s->got, TEXT("key"));
    for (uint32_t i = 0; i < r->resources_count; i++)
        put_name(s, r->resources[i].name);
    if (r->is_repeat) put_word(&s->got, TEXT("again"));
    if (r->waited_ns > 0) {
        put_word(&s->got, TEXT("waited="));
        duration_format((int64_t)r->waited_ns, &s->got);
    }
    for (uint32_t i = 0; i < r->reset_count; i++) {
        put_name(s, r->reset[i].name);
        buffer_char(&s->got, ':');
        buffer_text(&s->got, r->reset[i].owner);
    }
    if (c->kind == COMMAND_RESET && r->reset_count == 0) put_word(&s->got, TEXT("none"));
}

static void apply(struct script *s, struct command *c)
{
    struct sm_result result;
    c->seq = sm_seq(s->sm) + 1;
    c->time_ns = s->now_ns;
    sm_apply(s->sm, c, &result);
    bool has_client = c->kind <= COMMAND_RESET;
    if (has_client) put_result(s, c, &result);
    sm_list(s->sm, &(struct sm_filter){0}, learn_made, s);
}

static bool apply_config(struct script *s, struct text yaml)
{
    struct config *config = NULL;
    struct config_report report;
    // A config may name what the server made.
    buffer_clear(&s->joined);
    for (uint32_t i = 0; i < yaml.size;) {
        uint32_t end = i;
        while (end < yaml.size && strchr(" ,[]{}", yaml.data[end]) == NULL)
            end++;
        buffer_text(&s->joined, name_of(s, text_of(yaml.data + i, end - i)));
        if (end < yaml.size) buffer_char(&s->joined, yaml.data[end]);
        i = end + 1;
    }
    int err = config_parse(buffer_as_text(&s->joined), &config, &report);
    if (err != 0) {
        complain(s, "the config", report.joined);
    } else {
        struct command *c = config_command_new(config);
        apply(s, c);
        free(c);
    }
    config_free(config);
    config_report_release(&report);
    return err == 0;
}

static bool apply_update(struct script *s)
{
    struct command c = {.kind = COMMAND_UPDATE,
                        .as.update = {.name = name_of(s, word(s, 2)),
                                      .owner = word(s, 3),
                                      .state = word(s, 4),
                                      .has_body = s->count > 5,
                                      .pairs = s->pairs}};
    for (uint32_t i = 5; i < s->count && i - 5 < PAIRS_MAX; i++) {
        struct text w = s->words[i];
        uint32_t size = 0;
        while (size < w.size && w.data[size] != '=' && w.data[size] != '!')
            size++;
        if (size == w.size) return complain(s, "neither KEY=VALUE nor KEY!", w);
        struct userdata_pair *pair = &s->pairs[c.as.update.pairs_count++];
        pair->key = text_of(w.data, size);
        pair->value =
            w.data[size] == '!' ? TEXT_NONE : text_of(w.data + size + 1, w.size - size - 1);
        if (i > 5 && text_compare(pair[-1].key, pair->key) >= 0)
            return complain(s, "keys must be sorted", w);
    }
    apply(s, &c);
    return true;
}

// The names of acquirebystate, with commas again.
static struct text join_names(struct script *s, struct text list)
{
    buffer_clear(&s->joined);
    uint32_t count = split_names(s, list);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) buffer_char(&s->joined, ',');
        buffer_text(&s->joined, s->names[i]);
    }
    return buffer_as_text(&s->joined);
}

static bool apply_clean(struct script *s, bool has_condition)
{
    uint32_t at = has_condition ? 3 : 2;
    struct command c = {.kind = COMMAND_CLEAN, .as.clean = {.name = name_of(s, word(s, at))}};
    c.as.clean.names_count = split_names(s, word(s, at + 1));
    c.as.clean.names = s->names;
    struct sm_resource r;
    if (has_condition) {
        if (!text_equal(word(s, 2), TEXT("-"))) c.as.clean.leased = word(s, 2);
    } else if (sm_find(s->sm, c.as.clean.name, &r) == 0) {
        for (uint32_t i = 0; i < r.userdata_count; i++) {
            if (text_equal(r.userdata[i].key, TEXT("leasedResources")))
                c.as.clean.leased = r.userdata[i].value;
        }
    }
    apply(s, &c);
    return true;
}

static bool apply_grace(struct script *s, enum command_kind kind)
{
    int64_t slept_ns = 0, ttl_ns = SM_REQUEST_TTL_DEFAULT_NS;
    struct text ttl;
    if (!read_time(word(s, 2), &slept_ns)) return complain(s, "not a duration", word(s, 2));
    if (starts_with(word(s, 3), "ttl=", &ttl) && !read_time(ttl, &ttl_ns))
        return complain(s, "not a duration", ttl);
    struct command c = {.kind = kind};
    if (kind == COMMAND_CLOCK) {
        c.as.clock.ahead_ns = (uint64_t)slept_ns;
    } else if (kind == COMMAND_REPAIRED) {
        c.as.repaired.downtime_ns = (uint64_t)slept_ns;
    } else {
        c.as.started.downtime_ns = (uint64_t)slept_ns;
        c.as.started.request_ttl_ns = ttl_ns;
    }
    apply(s, &c);
    return true;
}

// What a client asks. False when the verb is none of these.
static bool apply_call(struct script *s, struct text verb)
{
    struct command c = {0};
    if (text_equal(verb, TEXT("acquire"))) {
        c.kind = COMMAND_ACQUIRE;
        c.as.acquire = (struct command_acquire){.type = word(s, 2),
                                                .state = name_of(s, word(s, 3)),
                                                .dest = name_of(s, word(s, 4)),
                                                .owner = word(s, 5)};
        for (uint32_t i = 6; i < s->count; i++) {
            (void)starts_with(s->words[i], "id=", &c.as.acquire.request_id);
            (void)starts_with(s->words[i], "key=", &c.as.acquire.key);
        }
    } else if (text_equal(verb, TEXT("bystate"))) {
        c.kind = COMMAND_ACQUIREBYSTATE;
        c.as.acquirebystate = (struct command_acquirebystate){
            name_of(s, word(s, 2)), name_of(s, word(s, 3)), word(s, 4), join_names(s, word(s, 5))};
    } else if (text_equal(verb, TEXT("release"))) {
        c.kind = COMMAND_RELEASE;
        c.as.release =
            (struct command_release){name_of(s, word(s, 2)), name_of(s, word(s, 3)), word(s, 4)};
    } else if (text_equal(verb, TEXT("reset"))) {
        c.kind = COMMAND_RESET;
        c.as.reset = (struct command_reset){word(s, 2), word(s, 3), word(s, 5), word(s, 4)};
    } else {
        return false;
    }
    apply(s, &c);
    return true;
}

static bool play_command(struct script *s)
{
    struct text verb = word(s, 1);
    if (apply_call(s, verb)) return true;
    if (text_equal(verb, TEXT("update"))) return apply_update(s);
    if (text_equal(verb, TEXT("clean"))) return apply_clean(s, false);
    if (text_equal(verb, TEXT("clean-if"))) return apply_clean(s, true);
    if (text_equal(verb, TEXT("clock"))) return apply_grace(s, COMMAND_CLOCK);
    if (text_equal(verb, TEXT("started"))) return apply_grace(s, COMMAND_STARTED);
    if (text_equal(verb, TEXT("repaired"))) return apply_grace(s, COMMAND_REPAIRED);
    struct command c = {.kind = COMMAND_EXPIRE};
    if (text_equal(verb, TEXT("reap")))
        c.kind = COMMAND_REAP;
    else if (!text_equal(verb, TEXT("expire")))
        return complain(s, "no such command", verb);
    apply(s, &c);
    return true;
}

// ---- checks -------------------------------------------------------------------------------------

// From word `from` on, what the line wants.
static void want_words(struct script *s, uint32_t from)
{
    for (uint32_t i = from; i < s->count; i++)
        put_word(&s->wanted, s->words[i]);
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
    put_word(&s->got, key);
    buffer_char(&s->got, '=');
    buffer_text(&s->got, value);
}

static void check_state(struct script *s)
{
    struct sm_resource r;
    want_words(s, 2);
    if (sm_find(s->sm, name_of(s, word(s, 1)), &r) != 0) {
        put_word(&s->got, TEXT("gone"));
        return;
    }
    put_name(s, r.state);
    put_owner(s, r.owner);
    for (uint32_t i = 4; i < s->count; i++) {
        struct text rest;
        if (starts_with(s->words[i], "since=", &rest)) {
            put_time(s, "since=", true, r.lastupdate_ns);
        } else if (starts_with(s->words[i], "expires=", &rest)) {
            put_time(s, "expires=", r.has_expiration, r.expiration_ns);
        } else {
            put_userdata(s, &r, s->words[i]);
        }
    }
}

static void put_counts(struct script *s, const struct sm_count *counts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        put_owner(s, counts[i].key);
        buffer_format(&s->got, "=%" PRIu64, counts[i].count);
    }
}

static void check_metric(struct script *s)
{
    struct sm_metric metric;
    want_words(s, 2);
    if (sm_metric(s->sm, word(s, 1), &metric) != 0) {
        put_word(&s->got, TEXT("none"));
        return;
    }
    put_counts(s, metric.states, metric.states_count);
    put_word(&s->got, TEXT("owners"));
    put_counts(s, metric.owners, metric.owners_count);
}

static bool put_request(void *context, const struct sm_queue_entry *e)
{
    struct script *s = context;
    bool is_wanted = text_equal(e->type, word(s, 1)) && text_equal(e->state, word(s, 2));
    if (is_wanted) put_word(&s->got, e->request_id);
    return true;
}

static void check_queue(struct script *s)
{
    want_words(s, 3);
    sm_queues(s->sm, s->now_ns, put_request, s);
    if (s->got.size == 0) put_word(&s->got, TEXT("none"));
}

static void check_cycle(struct script *s)
{
    const struct sm_life_cycle *cycles = NULL;
    uint32_t count = 0;
    want_words(s, 2);
    sm_life_cycles(s->sm, &cycles, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (!text_equal(cycles[i].type, word(s, 1))) continue;
        put_word(&s->got, cycles[i].state);
        buffer_format(&s->got, " %" PRId64 " %" PRId64, cycles[i].min_count, cycles[i].max_count);
        if (cycles[i].is_fading) put_word(&s->got, TEXT("fading"));
    }
    if (s->got.size == 0) put_word(&s->got, TEXT("none"));
}

static bool put_listed(void *context, const struct sm_resource *r)
{
    put_name(context, r->name);
    return true;
}

static void check_names(struct script *s)
{
    want_words(s, 2);
    struct text type = word(s, 1);
    sm_list(s->sm, &(struct sm_filter){.types = &type, .types_count = 1}, put_listed, s);
    if (s->got.size == 0) put_word(&s->got, TEXT("none"));
}

static void check_due(struct script *s)
{
    want_words(s, 1);
    uint64_t due_ns = text_equal(word(s, 1), TEXT("reap"))     ? sm_reap_due_ns(s->sm)
                      : text_equal(word(s, 1), TEXT("expiry")) ? sm_expiry_due_ns(s->sm)
                                                               : sm_queue_due_ns(s->sm);
    put_word(&s->got, word(s, 1));
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

// Splits a line; what follows `=>` is what is wanted.
static bool read_words(struct script *s, const char *line)
{
    bool is_wanted = false;
    s->count = 0;
    buffer_clear(&s->wanted);
    buffer_clear(&s->got);
    for (const char *at = line + strspn(line, " \n"); *at != '\0' && *at != '#';
         at += strspn(at, " \n")) {
        struct text w = text_of(at, strcspn(at, " \n"));
        at += w.size;
        if (text_equal(w, TEXT("=>"))) {
            is_wanted = true;
        } else if (is_wanted) {
            put_word(&s->wanted, w);
        } else {
            if (s->count == WORDS_MAX) return complain(s, "too many words", w);
            s->words[s->count++] = w;
        }
    }
    return true;
}

static bool set_time(struct script *s, struct text t)
{
    int64_t since_ns = 0;
    if (!read_time(t, &since_ns)) return complain(s, "neither a time nor a check", t);
    uint64_t now_ns = START_NS + (uint64_t)since_ns;
    if (now_ns < s->now_ns) return complain(s, "time goes back", t);
    s->now_ns = now_ns;
    return true;
}

static bool play_line(struct script *s, const char *line)
{
    static const char config_word[] = "config ";
    const char *config = strstr(line, config_word);
    if (line[strspn(line, " ")] != '#' && config != NULL) {
        struct text time = text_of(line, strcspn(line, " "));
        if (config != line && !set_time(s, time)) return false;
        config += strlen(config_word);
        return apply_config(s, text_of(config, strcspn(config, "#\n")));
    }
    if (!read_words(s, line)) return false;
    if (s->count == 0) return true;
    if (!play_check(s) && (!set_time(s, word(s, 0)) || !play_command(s))) return false;
    if (text_equal(buffer_as_text(&s->wanted), buffer_as_text(&s->got))) return true;
    fprintf(stderr, "%s:%" PRIu32 ": %s", s->path, s->line, line);
    fprintf(stderr, "  wanted: %.*s\n", TEXT_ARG(buffer_as_text(&s->wanted)));
    fprintf(stderr, "  got:    %.*s\n", TEXT_ARG(buffer_as_text(&s->got)));
    return false;
}

bool script_play(const char *path, uint32_t *lines)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fprintf(stderr, "%s cannot be read\n", path);
        return false;
    }
    struct script *s = must_calloc(1, sizeof(*s));
    s->path = path;
    s->now_ns = START_NS;
    s->sm = sm_new(5);
    char *line = NULL;
    size_t capacity = 0;
    bool ok = true;
    while (s->line < LINES_MAX && getline(&line, &capacity, file) > 0) {
        s->line++;
        ok &= play_line(s, line);
    }
    *lines += s->line;
    free(line);
    fclose(file);
    sm_free(s->sm);
    buffer_release(&s->wanted);
    buffer_release(&s->got);
    buffer_release(&s->joined);
    free(s);
    return ok;
}
