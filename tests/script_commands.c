#include "tests/script_commands.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "engine/config_command.h"

#include "base/banned.h"

#define SCRIPT_VALUE_BYTES_MAX (UINT64_C(16) << 20)

bool script_complain(const struct script_commands *s, const char *what, struct text of)
{
    fprintf(stderr, "%s:%" PRIu32 ": %s: %.*s\n", s->path, s->line, what, TEXT_ARG(of));
    return false;
}

bool script_commands_open(struct script_commands *s, const char *path, uint64_t start_ns,
                          struct sm *sm)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fprintf(stderr, "%s cannot be read\n", path);
        return false;
    }
    *s = (struct script_commands){
        .path = path, .start_ns = start_ns, .now_ns = start_ns, .sm = sm, .file = file};
    buffer_init(&s->wanted);
    buffer_init(&s->yaml);
    buffer_init(&s->joined);
    return true;
}

static void drop_config(struct script_commands *s)
{
    free(s->config_command);
    config_free(s->config);
    s->config_command = NULL;
    s->config = NULL;
}

void script_commands_close(struct script_commands *s)
{
    drop_config(s);
    buffer_release(&s->wanted);
    buffer_release(&s->yaml);
    buffer_release(&s->joined);
    free(s->text);
    (void)fclose(s->file);
}

// ---- words ------------------------------------------------------------------

struct text script_word(const struct script_commands *s, uint32_t index)
{
    return index < s->count ? s->words[index] : TEXT_NONE;
}

bool script_starts_with(struct text t, const char *prefix, struct text *ret_rest)
{
    size_t size = strlen(prefix);
    if (t.size < size || memcmp(t.data, prefix, size) != 0) return false;
    *ret_rest = text_of(t.data + size, t.size - size);
    return true;
}

struct text script_name(const struct script_commands *s, struct text t)
{
    struct text digits;
    if (!script_starts_with(t, "made-", &digits) || digits.size == 0 || digits.size > 4) return t;
    uint32_t number = 0;
    for (uint32_t i = 0; i < digits.size; i++)
        number = number * 10 + (uint32_t)(digits.data[i] - '0');
    if (number < 1 || number > s->made_count) return t;
    return text_of(s->made[number - 1], SCRIPT_MADE_BYTES);
}

void script_put_word(struct buffer *out, struct text t)
{
    if (out->size > 0) buffer_char(out, ' ');
    buffer_text(out, t);
}

void script_put_name(const struct script_commands *s, struct text name, struct buffer *out)
{
    for (uint32_t i = 0; i < s->made_count && name.size == SCRIPT_MADE_BYTES; i++) {
        if (memcmp(s->made[i], name.data, SCRIPT_MADE_BYTES) != 0) continue;
        script_put_word(out, TEXT("made-"));
        buffer_format(out, "%" PRIu32, i + 1);
        return;
    }
    script_put_word(out, name);
}

void script_put_owner(struct buffer *out, struct text owner)
{
    script_put_word(out, text_is_empty(owner) ? TEXT("-") : owner);
}

static bool read_time(const struct script_commands *s, struct text t, int64_t *ret_ns)
{
    return duration_parse(t, ret_ns, NULL) == 0 || script_complain(s, "not a duration", t);
}

static bool read_number(const struct script_commands *s, struct text t, uint64_t *ret_number)
{
    uint64_t number = 0;
    bool is_number = t.size > 0 && t.size < 20;
    for (uint32_t i = 0; i < t.size && is_number; i++) {
        is_number = t.data[i] >= '0' && t.data[i] <= '9';
        number = number * 10 + (uint64_t)(t.data[i] - '0');
    }
    if (!is_number) return script_complain(s, "not a number", t);
    *ret_number = number;
    return true;
}

// A, B and C of "A,B,C".
static uint32_t split_names(struct script_commands *s, struct text list)
{
    uint32_t count = 0, start = 0;
    for (uint32_t i = 0; i <= list.size && list.size > 0 && count < SCRIPT_WORDS_MAX; i++) {
        if (i < list.size && list.data[i] != ',') continue;
        s->names[count++] = script_name(s, text_of(list.data + start, i - start));
        start = i + 1;
    }
    return count;
}

// ---- lines ------------------------------------------------------------------

// Takes the next word out of the line, without its quotes. The word is written over the line, of
// which it is a part.
static struct text take_word(char **at)
{
    bool is_quoted = false;
    char *start = *at, *end = *at;
    for (; **at != '\0' && (is_quoted || strchr(" \n", **at) == NULL); ++*at) {
        if (**at == '"')
            is_quoted = !is_quoted;
        else
            *end++ = **at;
    }
    return text_of(start, (size_t)(end - start));
}

// Splits a line; what follows `=>` is what is wanted.
static bool read_words(struct script_commands *s)
{
    s->count = 0;
    s->has_wanted = false;
    buffer_clear(&s->wanted);
    char *at = s->text + strspn(s->text, " \n");
    while (*at != '\0' && *at != '#') {
        struct text w = take_word(&at);
        if (text_equal(w, TEXT("=>"))) {
            s->has_wanted = true;
        } else if (s->has_wanted) {
            script_put_word(&s->wanted, w);
        } else {
            if (s->count == SCRIPT_WORDS_MAX) return script_complain(s, "too many words", w);
            s->words[s->count++] = w;
        }
        at += strspn(at, " \n");
    }
    return true;
}

static bool set_time(struct script_commands *s, struct text t)
{
    int64_t since_ns = 0;
    if (duration_parse(t, &since_ns, NULL) != 0)
        return script_complain(s, "neither a time nor a check", t);
    uint64_t now_ns = s->start_ns + (uint64_t)since_ns;
    if (now_ns < s->now_ns) return script_complain(s, "time goes back", t);
    s->now_ns = now_ns;
    return true;
}

static void stamp(struct script_commands *s)
{
    s->command.seq = sm_seq(s->sm) + 1;
    s->command.time_ns = s->now_ns;
}

// Reads the lines up to one that is `end` into s->yaml.
static bool read_document(struct script_commands *s, const char *end)
{
    struct buffer last;
    bool is_whole = false;
    buffer_init(&last);
    buffer_string(&last, end);
    buffer_clear(&s->yaml);
    while (s->line < SCRIPT_LINES_MAX && !is_whole &&
           getline(&s->text, &s->capacity, s->file) > 0) {
        s->line++;
        size_t size = strcspn(s->text, "\n");
        is_whole = text_equal(text_of(s->text, size), buffer_as_text(&last));
        if (!is_whole) buffer_string(&s->yaml, s->text);
    }
    if (!is_whole) (void)script_complain(s, "the config has no end", buffer_as_text(&last));
    buffer_release(&last);
    return is_whole;
}

// A config may name what the server made.
static void put_names(struct script_commands *s, struct text yaml)
{
    buffer_clear(&s->joined);
    for (uint32_t i = 0; i < yaml.size;) {
        uint32_t end = i;
        while (end < yaml.size && strchr(" \n,[]{}", yaml.data[end]) == NULL)
            end++;
        buffer_text(&s->joined, script_name(s, text_of(yaml.data + i, end - i)));
        if (end < yaml.size) buffer_char(&s->joined, yaml.data[end]);
        i = end + 1;
    }
}

static bool make_config(struct script_commands *s, struct text yaml)
{
    struct config *config = NULL;
    struct config_report report;
    put_names(s, yaml);
    drop_config(s);
    int err = config_parse(buffer_as_text(&s->joined), &config, &report);
    if (err != 0) {
        (void)script_complain(s, "the config", report.joined);
    } else {
        s->config = config;
        s->config_command = config_command_new(config);
        s->command = *s->config_command;
        stamp(s);
    }
    config_report_release(&report);
    return err == 0;
}

// What follows the word `config`.
static bool read_config(struct script_commands *s, const char *config)
{
    struct text time = text_of(s->text, strcspn(s->text, " "));
    if (config != s->text && !set_time(s, time)) return false;
    config += strlen("config ");
    config += strspn(config, " ");
    struct text rest = text_of(config, strcspn(config, "#\n"));
    if (!script_starts_with(rest, "<<", &rest)) return make_config(s, rest);
    char end[32];
    (void)snprintf(end, sizeof(end), "%.*s", (int)strcspn(rest.data, " #\n"), rest.data);
    return read_document(s, end) && make_config(s, buffer_as_text(&s->yaml));
}

enum script_line script_commands_next(struct script_commands *s)
{
    bool has_line = s->line < SCRIPT_LINES_MAX && getline(&s->text, &s->capacity, s->file) > 0;
    if (!has_line) return SCRIPT_END;
    s->line++;
    const char *config = strstr(s->text, "config ");
    if (s->text[strspn(s->text, " ")] != '#' && config != NULL)
        return read_config(s, config) ? SCRIPT_CONFIG : SCRIPT_BAD;
    if (!read_words(s)) return SCRIPT_BAD;
    return s->count > 0 ? SCRIPT_WORDS : SCRIPT_EMPTY;
}

// ---- commands ---------------------------------------------------------------

// A value as it is written, or of `*N` so many letters.
static bool read_value(struct script_commands *s, struct text written, struct text *ret_value)
{
    struct text digits;
    uint64_t size = 0;
    if (!script_starts_with(written, "*", &digits)) {
        *ret_value = written;
        return true;
    }
    if (!read_number(s, digits, &size)) return false;
    if (size > SCRIPT_VALUE_BYTES_MAX || s->joined.size > 0)
        return script_complain(s, "one long value a line, and of 16 MiB at most", written);
    memset(buffer_reserve(&s->joined, size), 'x', size);
    s->joined.size = size;
    *ret_value = buffer_as_text(&s->joined);
    return true;
}

// KEY=VALUE or KEY!
static bool read_pair(struct script_commands *s, struct text w, struct userdata_pair *ret_pair)
{
    uint32_t size = 0;
    while (size < w.size && w.data[size] != '=' && w.data[size] != '!')
        size++;
    if (size == w.size) return script_complain(s, "neither KEY=VALUE nor KEY!", w);
    *ret_pair = (struct userdata_pair){text_of(w.data, size), TEXT_NONE};
    if (w.data[size] == '!') return true;
    return read_value(s, text_of(w.data + size + 1, w.size - size - 1), &ret_pair->value);
}

static bool make_update(struct script_commands *s)
{
    uint32_t count = 0;
    buffer_clear(&s->joined);
    for (uint32_t i = 5; i < s->count && count < SCRIPT_PAIRS_MAX; i++) {
        if (text_equal(s->words[i], TEXT("{}"))) continue; // a body without keys
        struct userdata_pair *pair = &s->pairs[count];
        if (!read_pair(s, s->words[i], pair)) return false;
        if (count > 0 && text_compare(pair[-1].key, pair->key) >= 0)
            return script_complain(s, "keys must be sorted", s->words[i]);
        count++;
    }
    s->command = (struct command){.kind = COMMAND_UPDATE,
                                  .as.update = {.name = script_name(s, script_word(s, 2)),
                                                .owner = script_word(s, 3),
                                                .state = script_word(s, 4),
                                                .has_body = s->count > 5,
                                                .pairs = s->pairs,
                                                .pairs_count = count}};
    return true;
}

// The names of acquirebystate, with commas again.
static struct text join_names(struct script_commands *s, struct text list)
{
    buffer_clear(&s->joined);
    uint32_t count = split_names(s, list);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) buffer_char(&s->joined, ',');
        buffer_text(&s->joined, s->names[i]);
    }
    return buffer_as_text(&s->joined);
}

static void make_clean(struct script_commands *s, bool has_condition)
{
    uint32_t at = has_condition ? 3 : 2;
    struct command_clean clean = {.name = script_name(s, script_word(s, at))};
    clean.names_count = split_names(s, script_word(s, at + 1));
    clean.names = s->names;
    struct sm_resource r;
    if (has_condition) {
        if (!text_equal(script_word(s, 2), TEXT("-"))) clean.leased = script_word(s, 2);
    } else if (sm_find(s->sm, clean.name, &r) == 0) {
        for (uint32_t i = 0; i < r.userdata_count; i++) {
            if (text_equal(r.userdata[i].key, TEXT("leasedResources")))
                clean.leased = r.userdata[i].value;
        }
    }
    s->command = (struct command){.kind = COMMAND_CLEAN, .as.clean = clean};
}

// What clock, started and repaired have beside the time slept through.
struct grace {
    int64_t slept_ns, ttl_ns;
    uint64_t salt, lost_first, lost_last;
    struct text version, host, why;
};

static bool read_lost(const struct script_commands *s, struct text range, struct grace *g)
{
    uint32_t size = 0;
    while (size < range.size && range.data[size] != '-')
        size++;
    if (!read_number(s, text_of(range.data, size), &g->lost_first)) return false;
    if (size == range.size) return true; // the last one is not known
    struct text last = text_of(range.data + size + 1, range.size - size - 1);
    return read_number(s, last, &g->lost_last);
}

static bool read_grace(const struct script_commands *s, struct grace *g)
{
    if (!read_time(s, script_word(s, 2), &g->slept_ns)) return false;
    for (uint32_t i = 3; i < s->count; i++) {
        struct text rest, w = s->words[i];
        bool is_right = true;
        if (script_starts_with(w, "ttl=", &rest))
            is_right = read_time(s, rest, &g->ttl_ns);
        else if (script_starts_with(w, "salt=", &rest))
            is_right = read_number(s, rest, &g->salt);
        else if (script_starts_with(w, "lost=", &rest))
            is_right = read_lost(s, rest, g);
        else if (script_starts_with(w, "version=", &rest))
            g->version = rest;
        else if (script_starts_with(w, "host=", &rest))
            g->host = rest;
        else if (script_starts_with(w, "why=", &rest))
            g->why = rest;
        else
            is_right = script_complain(s, "no option of this command", w);
        if (!is_right) return false;
    }
    return true;
}

static bool make_grace(struct script_commands *s, enum command_kind kind)
{
    struct grace g = {.ttl_ns = SM_REQUEST_TTL_DEFAULT_NS};
    if (!read_grace(s, &g)) return false;
    struct command c = {.kind = kind};
    if (kind == COMMAND_CLOCK) {
        c.as.clock.ahead_ns = (uint64_t)g.slept_ns;
    } else if (kind == COMMAND_REPAIRED) {
        c.as.repaired = (struct command_repaired){.version = g.version,
                                                  .host = g.host,
                                                  .lost_first = g.lost_first,
                                                  .lost_last = g.lost_last,
                                                  .downtime_ns = (uint64_t)g.slept_ns,
                                                  .why = g.why};
    } else {
        c.as.started = (struct command_started){.version = g.version,
                                                .host = g.host,
                                                .downtime_ns = (uint64_t)g.slept_ns,
                                                .request_ttl_ns = g.ttl_ns,
                                                .salt = (uint32_t)g.salt};
    }
    s->command = c;
    return true;
}

// What a client asks. False when the verb is none of these.
static bool make_call(struct script_commands *s, struct text verb)
{
    struct command c = {0};
    struct text third = script_name(s, script_word(s, 2)),
                fourth = script_name(s, script_word(s, 3));
    if (text_equal(verb, TEXT("acquire"))) {
        c.kind = COMMAND_ACQUIRE;
        c.as.acquire = (struct command_acquire){.type = script_word(s, 2),
                                                .state = fourth,
                                                .dest = script_name(s, script_word(s, 4)),
                                                .owner = script_word(s, 5)};
        for (uint32_t i = 6; i < s->count; i++) {
            (void)script_starts_with(s->words[i], "id=", &c.as.acquire.request_id);
            (void)script_starts_with(s->words[i], "key=", &c.as.acquire.key);
        }
    } else if (text_equal(verb, TEXT("bystate"))) {
        c.kind = COMMAND_ACQUIREBYSTATE;
        c.as.acquirebystate = (struct command_acquirebystate){third, fourth, script_word(s, 4),
                                                              join_names(s, script_word(s, 5))};
    } else if (text_equal(verb, TEXT("release"))) {
        c.kind = COMMAND_RELEASE;
        c.as.release = (struct command_release){third, fourth, script_word(s, 4)};
    } else if (text_equal(verb, TEXT("reset"))) {
        c.kind = COMMAND_RESET;
        c.as.reset = (struct command_reset){script_word(s, 2), script_word(s, 3), script_word(s, 5),
                                            script_word(s, 4)};
    } else {
        return false;
    }
    s->command = c;
    return true;
}

static bool make_other(struct script_commands *s, struct text verb)
{
    if (text_equal(verb, TEXT("update"))) return make_update(s);
    if (text_equal(verb, TEXT("clock"))) return make_grace(s, COMMAND_CLOCK);
    if (text_equal(verb, TEXT("started"))) return make_grace(s, COMMAND_STARTED);
    if (text_equal(verb, TEXT("repaired"))) return make_grace(s, COMMAND_REPAIRED);
    if (text_equal(verb, TEXT("import"))) return script_import_make(s);
    if (text_equal(verb, TEXT("clean")) || text_equal(verb, TEXT("clean-if")))
        make_clean(s, text_equal(verb, TEXT("clean-if")));
    else if (text_equal(verb, TEXT("reap")))
        s->command = (struct command){.kind = COMMAND_REAP};
    else if (text_equal(verb, TEXT("expire")))
        s->command = (struct command){.kind = COMMAND_EXPIRE};
    else
        return script_complain(s, "no such command", verb);
    return true;
}

bool script_commands_make(struct script_commands *s)
{
    struct text verb = script_word(s, 1);
    if (!set_time(s, script_word(s, 0))) return false;
    if (!make_call(s, verb) && !make_other(s, verb)) return false;
    stamp(s);
    return true;
}

// ---- what they come to ------------------------------------------------------

void script_commands_result(const struct script_commands *s, const struct sm_result *r,
                            struct buffer *out)
{
    enum command_kind kind = s->command.kind;
    if (kind > COMMAND_RESET) return;
    buffer_format(out, "%" PRIu32, sm_reason_status(r->reason));
    bool is_acquire = kind == COMMAND_ACQUIRE || kind == COMMAND_ACQUIREBYSTATE;
    if (is_acquire && r->reason == SM_NO_AVAILABLE) script_put_word(out, TEXT("none"));
    if (r->reason == SM_NO_SUCH_TYPE) script_put_word(out, TEXT("no-type"));
    if (r->reason == SM_OWNER_MISMATCH) script_put_owner(out, r->current_owner);
    if (r->reason == SM_STATE_MISMATCH) script_put_word(out, r->current_state);
    if (r->reason == SM_KEY_MISMATCH) script_put_word(out, TEXT("key"));
    for (uint32_t i = 0; i < r->resources_count; i++)
        script_put_name(s, r->resources[i].name, out);
    if (r->is_repeat) script_put_word(out, TEXT("again"));
    if (r->waited_ns > 0) {
        script_put_word(out, TEXT("waited="));
        duration_format((int64_t)r->waited_ns, out);
    }
    for (uint32_t i = 0; i < r->reset_count; i++) {
        struct sm_reset reset = sm_reset(r, i);
        script_put_name(s, reset.name, out);
        buffer_char(out, ':');
        buffer_text(out, reset.owner);
    }
    if (kind == COMMAND_RESET && r->reset_count == 0) script_put_word(out, TEXT("none"));
}

static bool learn_made(void *context, const struct sm_resource *r)
{
    struct script_commands *s = context;
    if (r->name.size != SCRIPT_MADE_BYTES || r->name.data[14] != '7') return true;
    for (uint32_t i = 0; i < s->made_count; i++) {
        if (memcmp(s->made[i], r->name.data, SCRIPT_MADE_BYTES) == 0) return true;
    }
    ASSERT(s->made_count < SCRIPT_MADE_MAX);
    memcpy(s->made[s->made_count++], r->name.data, SCRIPT_MADE_BYTES);
    return true;
}

void script_commands_learn(struct script_commands *s)
{
    sm_list(s->sm, &(struct sm_filter){0}, learn_made, s);
}
