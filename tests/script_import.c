#include "base/duration.h"
#include "tests/script_commands.h"

#include "base/banned.h"

#define FIELDS_MAX 6u

// A, B and C of "A:B:C"; how many there are.
static uint32_t split(struct text w, struct text ret_fields[FIELDS_MAX])
{
    uint32_t count = 0, start = 0;
    for (uint32_t i = 0; i <= w.size && count < FIELDS_MAX; i++) {
        if (i < w.size && w.data[i] != ':') continue;
        ret_fields[count++] = text_of(w.data + start, i - start);
        start = i + 1;
    }
    return count;
}

static bool read_span(const struct script_commands *s, struct text t, int64_t *ret_ns)
{
    return duration_parse(t, ret_ns, NULL) == 0 || script_complain(s, "not a duration", t);
}

// An instant by its distance from the script's start; empty is none.
static bool read_instant(const struct script_commands *s, struct text t, uint64_t *ret_ns)
{
    int64_t since_ns = 0;
    if (text_is_empty(t)) return true;
    if (!read_span(s, t, &since_ns)) return false;
    *ret_ns = s->start_ns + (uint64_t)since_ns;
    return true;
}

static bool read_count(const struct script_commands *s, struct text t, int64_t *ret_count)
{
    *ret_count = 0;
    for (uint32_t i = 0; i < t.size; i++) {
        if (t.data[i] < '0' || t.data[i] > '9' || t.size > 9)
            return script_complain(s, "not a number", t);
        *ret_count = *ret_count * 10 + t.data[i] - '0';
    }
    return true;
}

// cycle=TYPE:STATE:MIN:MAX[:LIFESPAN]
static bool add_cycle(struct script_commands *s, struct text w)
{
    struct text f[FIELDS_MAX] = {0};
    struct command_import *c = &s->command.as.import;
    struct sm_entry *e = &s->cycles[c->cycles_count];
    uint32_t count = split(w, f);
    *e = (struct sm_entry){.type = f[0], .state = f[1], .is_dynamic = true};
    e->has_lifespan = count == 5;
    if (count < 4 || count > 5) return script_complain(s, "TYPE:STATE:MIN:MAX[:LIFESPAN]", w);
    if (!read_count(s, f[2], &e->min_count) || !read_count(s, f[3], &e->max_count)) return false;
    if (e->has_lifespan && !read_span(s, f[4], &e->lifespan_ns)) return false;
    if (c->cycles_count > 0 && text_compare(e[-1].type, e->type) >= 0)
        return script_complain(s, "types must be sorted", w);
    c->cycles_count++;
    return true;
}

// NAME:TYPE:STATE[:OWNER[:LASTUPDATE[:EXPIRES]]]
static bool add_resource(struct script_commands *s, struct text w)
{
    struct text f[FIELDS_MAX] = {0};
    struct command_import *c = &s->command.as.import;
    struct sm_imported *r = &s->imported[c->resources_count];
    if (split(w, f) < 3)
        return script_complain(s, "NAME:TYPE:STATE[:OWNER[:LASTUPDATE[:EXPIRES]]]", w);
    *r = (struct sm_imported){
        .name = script_name(s, f[0]), .type = f[1], .state = f[2], .owner = f[3]};
    if (!read_instant(s, f[4], &r->lastupdate_ns) || !read_instant(s, f[5], &r->expires_ns))
        return false;
    if (c->resources_count > 0 && text_compare(r[-1].name, r->name) >= 0)
        return script_complain(s, "names must be sorted", w);
    c->resources_count++;
    return true;
}

// +KEY=VALUE of the resource before it
static bool add_pair(struct script_commands *s, struct text w, uint32_t *pairs)
{
    struct command_import *c = &s->command.as.import;
    uint32_t size = 0;
    while (size < w.size && w.data[size] != '=')
        size++;
    if (c->resources_count == 0 || size == w.size || *pairs == SCRIPT_PAIRS_MAX)
        return script_complain(s, "+KEY=VALUE behind a resource", w);
    struct sm_imported *r = &s->imported[c->resources_count - 1];
    if (r->userdata_count == 0) r->userdata = &s->pairs[*pairs];
    s->pairs[(*pairs)++] = (struct userdata_pair){text_of(w.data, size),
                                                  text_of(w.data + size + 1, w.size - size - 1)};
    r->userdata_count++;
    return true;
}

bool script_import_make(struct script_commands *s)
{
    uint32_t pairs = 0;
    s->command = (struct command){.kind = COMMAND_IMPORT,
                                  .as.import = {.version = TEXT("0.4.0"),
                                                .host = TEXT("lab-1"),
                                                .cycles = s->cycles,
                                                .resources = s->imported}};
    for (uint32_t i = 2; i < s->count; i++) {
        struct text rest, w = s->words[i];
        bool is_right = script_starts_with(w, "cycle=", &rest) ? add_cycle(s, rest)
                        : script_starts_with(w, "+", &rest)    ? add_pair(s, rest, &pairs)
                                                               : add_resource(s, w);
        if (!is_right) return false;
    }
    return true;
}
