#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/duration.h"
#include "config/read.h"

#include "base/banned.h"

#define DURATION_BYTES_MAX 256u // far longer than any duration with a meaning
#define PATH_BYTES 48           // ".18446744073709551615.reaper" and the like

#define REAPER_EXPIRE_DEFAULT_NS ((int64_t)(30 * 60 * NS_PER_S))
#define REAPER_PERIOD_DEFAULT_NS ((int64_t)(60 * NS_PER_S))
#define REAPER_PERIOD_MIN_NS ((int64_t)NS_PER_S)

// A config with the memory it points into; the config comes first, so that its address is this
// one's.
struct config_memory {
    struct config config;
    struct config_entry *entries;
    size_t entries_size;
    struct arena memory;
};

struct reader {
    struct report report;
    struct checker checker;
    struct config_memory *made;
    struct yaml_pairs pairs;
    struct buffer text;
    size_t names_count; // of all entries
    bool names_too_many;
    size_t texts_bytes; // of all entries
};

// A key of a mapping whose keys are known, with what the file has for it.
struct field {
    struct text name;
    struct yaml_node *key; // NULL when the file has none
    struct yaml_node *value;
    uint32_t source;
};

static const struct text reaper_states_default[] = {TEXT("busy"), TEXT("cleaning"), TEXT("leased")};

static void wrong_kind(struct reader *r, uint32_t line, const char *path, const char *key,
                       const char *expected)
{
    config_report_error(&r->report, line, "%s%s%s: must be %s", path, path[0] != '\0' ? "." : "",
                        key, expected);
}

static char to_small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static struct field *find_field(struct field *fields, size_t count, struct text key)
{
    for (size_t i = 0; i < count; i++) {
        if (key.size != fields[i].name.size) continue;
        uint32_t at = 0;
        while (at < key.size && to_small(key.data[at]) == fields[i].name.data[at])
            at++;
        if (at == key.size) return &fields[i];
    }
    return NULL;
}

static void warn_key(struct reader *r, struct yaml_node *key, const char *before, const char *after)
{
    if (key->seen) return; // one place in the file can be read very often
    key->seen = true;
    config_report_warning(&r->report, key->line, before, key->text, after);
}

// Fills the fields from a mapping. Of a key given twice the last counts, own keys before merged
// ones. Like Boskos's JSON library it takes keys in capitals too, and of several spellings the one
// that is last by bytes: the exact one.
static void read_fields(struct reader *r, struct yaml_node *map, struct field *fields, size_t count)
{
    if (!config_yaml_flatten(map, &r->pairs, &r->report)) r->checker.incomplete = true;
    for (size_t i = 0; i < r->pairs.count; i++) {
        struct yaml_pair *pair = &r->pairs.items[i];
        struct field *f = find_field(fields, count, pair->key->text);
        if (f == NULL) {
            warn_key(r, pair->key, "unknown key \"", "\"");
            continue;
        }
        if (f->key != NULL) {
            int order = text_compare(pair->key->text, f->key->text);
            bool twice = order == 0 && pair->source == f->source;
            if (twice) warn_key(r, pair->key, "key \"", "\" given twice, the last one counts");
            if (order < 0 || (order == 0 && !twice)) continue;
        }
        if (!text_equal(pair->key->text, f->name))
            warn_key(r, pair->key, "key \"", "\" is taken in small letters");
        f->key = pair->key;
        f->value = pair->value;
        f->source = pair->source;
    }
}

static bool is_set(const struct field *f)
{
    return f->key != NULL && !config_yaml_is_null(f->value);
}

// A scalar as its text; null is the empty one. False when it is no scalar.
static bool read_text(struct reader *r, const char *path, const struct field *f,
                      struct text *ret_text)
{
    if (!is_set(f)) return true;
    if (f->value->kind != YAML_SCALAR) {
        wrong_kind(r, f->key->line, path, f->name.data, "a string");
        return false;
    }
    *ret_text = f->value->text;
    return true;
}

// The same for a type or a state.
static bool read_short_text(struct reader *r, const char *path, const struct field *f,
                            struct text *ret_text)
{
    struct text t = *ret_text;
    if (!read_text(r, path, f, &t)) return false;
    if (t.size > CONFIG_TEXT_MAX) {
        config_report_limit(&r->report, f->key->line, "%s.%s: must be no more than %u bytes", path,
                            f->name.data, CONFIG_TEXT_MAX);
        return false;
    }
    *ret_text = t;
    return true;
}

static bool read_count(struct reader *r, const char *path, const struct field *f,
                       int64_t *ret_count)
{
    if (!is_set(f)) return true;
    if (config_yaml_int(f->value, ret_count)) return true;
    wrong_kind(r, f->key->line, path, f->name.data, "a whole number");
    return false;
}

// False when there is none, or an error, which is then reported.
static bool read_duration(struct reader *r, const char *path, const struct field *f,
                          int64_t *ret_ns)
{
    if (!is_set(f)) return false;
    if (config_yaml_int(f->value, ret_ns)) return true;
    if (f->value->kind != YAML_SCALAR || f->value->text.size > DURATION_BYTES_MAX) {
        wrong_kind(r, f->key->line, path, f->name.data, "a duration");
        return false;
    }
    buffer_clear(&r->text);
    if (duration_parse(f->value->text, ret_ns, &r->text) == 0) return true;

    struct buffer *out = config_report_error_begin(&r->report);
    if (out != NULL) {
        buffer_format(out, "%s.%s: ", path, f->name.data);
        buffer_text(out, buffer_as_text(&r->text));
        config_report_error_end(&r->report, f->key->line);
    }
    return false;
}

// A duration that must be at least `min_ns`, which `min_text` says.
static bool read_duration_min(struct reader *r, const char *path, const struct field *f,
                              int64_t min_ns, const char *min_text, int64_t *ret_ns)
{
    int64_t ns = 0;
    if (!read_duration(r, path, f, &ns)) return false;
    if (ns < min_ns) {
        wrong_kind(r, f->key->line, path, f->name.data, min_text);
        return false;
    }
    *ret_ns = ns;
    return true;
}

// The mapping of a field, or NULL when there is none, or an error, which is then reported.
static struct yaml_node *read_map(struct reader *r, const char *path, const struct field *f)
{
    if (!is_set(f)) return NULL;
    if (f->value->kind == YAML_MAPPING) return f->value;
    wrong_kind(r, f->key->line, path, f->name.data, "a mapping");
    return NULL;
}

static void read_names(struct reader *r, const char *path, const struct field *f,
                       struct entry_draft *d)
{
    d->entry.is_dynamic = true;
    if (!is_set(f)) return;
    if (f->value->kind != YAML_SEQUENCE) {
        wrong_kind(r, f->key->line, path, "names", "a list of strings");
        d->names_bad = true;
        return;
    }
    if (r->names_too_many || f->value->count > CONFIG_NAMES_MAX - r->names_count) {
        if (!r->names_too_many)
            config_report_limit(&r->report, f->key->line, "%s.names: more than %u names in all",
                                path, CONFIG_NAMES_MAX);
        r->names_too_many = true;
        d->names_bad = true;
        return;
    }
    struct text *names = config_arena_alloc(&r->made->memory, f->value->count, sizeof(*names));
    size_t count = 0;
    for (struct yaml_node *n = f->value->first; n != NULL; n = n->next, count++) {
        struct yaml_node *name = config_yaml_resolve(n);
        if (name->kind != YAML_SCALAR) {
            config_report_error(&r->report, n->line, "%s.names.%zu: must be a string", path, count);
            d->names_bad = true;
        } else {
            names[count] = config_yaml_is_null(name) ? TEXT("") : name->text;
        }
    }
    if (d->names_bad || count == 0) return;
    r->names_count += count;
    d->entry.is_dynamic = false;
    d->entry.names = names;
    d->entry.names_count = count;
    d->names_node = f->value;
}

// By bytes; but texts that are too long all count as equal, behind the others: one huge text can be
// a key very often, so its bytes are not gone through.
static int compare_keys(struct text a, struct text b)
{
    bool a_is_long = a.size > CONFIG_TEXT_MAX, b_is_long = b.size > CONFIG_TEXT_MAX;
    if (a_is_long || b_is_long) return (int)a_is_long - (int)b_is_long;
    return text_compare(a, b);
}

// By key; of equal ones the one that counts first.
static int compare_needs(const void *a, const void *b)
{
    const struct yaml_pair *left = a, *right = b;
    int order = compare_keys(left->key->text, right->key->text);
    if (order != 0) return order;
    if (left->source != right->source) return left->source < right->source ? -1 : 1;
    return left->index > right->index ? -1 : left->index < right->index;
}

static void read_need(struct reader *r, const char *path, const struct yaml_pair *pair,
                      struct entry_draft *d, struct config_need *needs)
{
    if (pair->key->text.size > CONFIG_TEXT_MAX) {
        config_report_limit(&r->report, pair->key->line,
                            "%s.needs: a type must be no more than %u bytes", path,
                            CONFIG_TEXT_MAX);
        return;
    }
    int64_t count = 0;
    if (!config_yaml_is_null(pair->value) && !config_yaml_int(pair->value, &count)) {
        struct buffer *out = config_report_error_begin(&r->report);
        if (out == NULL) return;
        buffer_format(out, "%s.needs.", path);
        config_report_text(out, pair->key->text);
        buffer_string(out, ": must be a whole number");
        config_report_error_end(&r->report, pair->key->line);
        return;
    }
    d->needs_nodes[d->entry.needs_count] = pair->key;
    needs[d->entry.needs_count++] = (struct config_need){pair->key->text, count};
}

static void read_needs(struct reader *r, const char *path, const struct field *f,
                       struct entry_draft *d)
{
    struct yaml_node *map = read_map(r, path, f);
    if (map == NULL) return;
    config_yaml_flatten(map, &r->pairs, &r->report);
    size_t count = r->pairs.count;
    if (count == 0) return;

    struct yaml_pair *pairs = r->pairs.items;
    qsort(pairs, count, sizeof(*pairs), compare_needs);
    struct config_need *needs = config_arena_alloc(&r->made->memory, count, sizeof(*needs));
    d->needs_nodes = config_arena_alloc(&r->made->memory, count, sizeof(struct yaml_node *));
    d->entry.needs = needs;
    for (size_t i = 0; i < count; i++) {
        const struct yaml_pair *pair = &pairs[i];
        if (i == 0 || compare_keys(pairs[i - 1].key->text, pair->key->text) != 0)
            read_need(r, path, pair, d, needs);
        else if (pairs[i - 1].source == pair->source)
            warn_key(r, pairs[i - 1].key, "key \"", "\" given twice, the last one counts");
    }
}

static void read_mason_config(struct reader *r, const char *path, const struct field *f,
                              struct entry_draft *d)
{
    struct yaml_node *map = read_map(r, path, f);
    if (map == NULL) return;
    char inner[PATH_BYTES + 8];
    snprintf(inner, sizeof(inner), "%s.config", path);
    struct field fields[] = {{.name = TEXT("type")}, {.name = TEXT("content")}};
    read_fields(r, map, fields, 2);
    read_text(r, inner, &fields[0], &d->entry.config_type);
    read_text(r, inner, &fields[1], &d->entry.config_content);
    d->entry.has_config =
        !text_is_empty(d->entry.config_type) || !text_is_empty(d->entry.config_content);
}

// `off` or `false`, quoted or not.
static bool is_off(const struct yaml_node *n)
{
    bool value = true;
    if (config_yaml_bool(n, &value)) return !value;
    return n->kind == YAML_SCALAR &&
           (text_equal(n->text, TEXT("off")) || text_equal(n->text, TEXT("false")));
}

static void read_entry_reaper(struct reader *r, const char *path, const struct field *f,
                              struct config_entry *e)
{
    if (!is_set(f)) return;
    if (is_off(f->value)) {
        e->reaper = CONFIG_REAPER_OFF;
        return;
    }
    if (f->value->kind != YAML_MAPPING) {
        wrong_kind(r, f->key->line, path, "reaper", "a mapping or off");
        return;
    }
    char inner[PATH_BYTES + 8];
    snprintf(inner, sizeof(inner), "%s.reaper", path);
    struct field fields[] = {{.name = TEXT("expire")}};
    read_fields(r, f->value, fields, 1);
    if (read_duration_min(r, inner, &fields[0], 1, ">0", &e->reaper_expire_ns))
        e->reaper = CONFIG_REAPER_EXPIRE;
}

enum entry_field {
    ENTRY_TYPE,
    ENTRY_STATE,
    ENTRY_NAMES,
    ENTRY_MIN_COUNT,
    ENTRY_MAX_COUNT,
    ENTRY_LIFESPAN,
    ENTRY_NEEDS,
    ENTRY_CONFIG,
    ENTRY_REAPER,
    ENTRY_FIELDS
};

static void read_entry_fields(struct reader *r, struct yaml_node *map, struct entry_draft *d)
{
    struct field f[ENTRY_FIELDS] = {
        [ENTRY_TYPE] = {.name = TEXT("type")},
        [ENTRY_STATE] = {.name = TEXT("state")},
        [ENTRY_NAMES] = {.name = TEXT("names")},
        [ENTRY_MIN_COUNT] = {.name = TEXT("min-count")},
        [ENTRY_MAX_COUNT] = {.name = TEXT("max-count")},
        [ENTRY_LIFESPAN] = {.name = TEXT("lifespan")},
        [ENTRY_NEEDS] = {.name = TEXT("needs")},
        [ENTRY_CONFIG] = {.name = TEXT("config")},
        [ENTRY_REAPER] = {.name = TEXT("reaper")},
    };
    struct config_entry *e = &d->entry;
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), ".%zu", d->index);

    read_fields(r, map, f, ENTRY_FIELDS);
    d->type_bad = !read_short_text(r, path, &f[ENTRY_TYPE], &e->type);
    read_short_text(r, path, &f[ENTRY_STATE], &e->state);
    read_names(r, path, &f[ENTRY_NAMES], d);
    d->min_bad = !read_count(r, path, &f[ENTRY_MIN_COUNT], &e->min_count);
    d->max_bad = !read_count(r, path, &f[ENTRY_MAX_COUNT], &e->max_count);
    if (f[ENTRY_MIN_COUNT].key != NULL) d->min_line = f[ENTRY_MIN_COUNT].key->line;
    if (f[ENTRY_MAX_COUNT].key != NULL) d->max_line = f[ENTRY_MAX_COUNT].key->line;
    if (f[ENTRY_TYPE].key != NULL) d->type_line = f[ENTRY_TYPE].key->line;
    e->has_lifespan = read_duration(r, path, &f[ENTRY_LIFESPAN], &e->lifespan_ns);
    read_needs(r, path, &f[ENTRY_NEEDS], d);
    read_mason_config(r, path, &f[ENTRY_CONFIG], d);
    read_entry_reaper(r, path, &f[ENTRY_REAPER], e);
}

// The bytes of an entry's texts, each as often as it stands there.
static size_t texts_bytes(const struct config_entry *e)
{
    size_t bytes = (size_t)e->type.size + e->state.size + e->config_type.size;
    bytes += e->config_content.size;
    for (size_t i = 0; i < e->names_count; i++)
        bytes += e->names[i].size;
    for (size_t i = 0; i < e->needs_count; i++)
        bytes += e->needs[i].type.size;
    return bytes;
}

static void keep_entry(struct reader *r, const struct entry_draft *d)
{
    if (config_report_has_errors(&r->report)) return; // there will be no config
    struct config_entry e = d->entry;
    if (!e.is_dynamic) {
        // Boskos looks at these in a dynamic entry only.
        e.has_lifespan = e.has_config = false;
        e.lifespan_ns = 0;
        e.needs = NULL;
        e.needs_count = 0;
        e.config_type = e.config_content = TEXT_NONE;
    }
    if (text_is_empty(e.state)) e.state = TEXT("free");

    // Aliases can name one text very often, and the config goes into one record of the log.
    r->texts_bytes += texts_bytes(&e);
    if (r->texts_bytes > CONFIG_TEXTS_BYTES_MAX) {
        config_report_limit(&r->report, e.line, ".%zu: more than %u bytes of texts in all",
                            d->index, CONFIG_TEXTS_BYTES_MAX);
        return;
    }
    struct config_memory *m = r->made;
    if (m->config.entries_count == m->entries_size) {
        m->entries_size = m->entries_size == 0 ? 16 : m->entries_size * 2;
        m->entries = must_realloc(m->entries, m->entries_size * sizeof(*m->entries));
        m->config.entries = m->entries;
    }
    m->entries[m->config.entries_count++] = e;
}

static void read_entry(struct reader *r, struct yaml_node *n, size_t index)
{
    struct entry_draft d = {.index = index, .entry = {.line = n->line, .is_dynamic = true}};
    d.type_line = d.min_line = d.max_line = n->line;
    n = config_yaml_resolve(n);
    if (n->kind == YAML_MAPPING) {
        read_entry_fields(r, n, &d);
    } else if (!config_yaml_is_null(n)) {
        config_report_error(&r->report, d.entry.line, ".%zu: must be a mapping", index);
        r->checker.incomplete = true;
        return;
    }
    config_check_entry(&r->checker, &d);
    keep_entry(r, &d);
}

static void read_resources(struct reader *r, const struct field *f)
{
    if (is_set(f) && f->value->kind != YAML_SEQUENCE) {
        wrong_kind(r, f->key->line, "", "resources", "a list");
        return;
    }
    if (!is_set(f) || f->value->count == 0) {
        config_report_error(&r->report, f->key != NULL ? f->key->line : 0, "empty config");
        return;
    }
    size_t index = 0;
    for (struct yaml_node *n = f->value->first; n != NULL; n = n->next)
        read_entry(r, n, index++);
    config_check_needs(&r->checker);
}

static void read_reaper_states(struct reader *r, const struct field *f)
{
    if (!is_set(f)) return;
    if (f->value->kind != YAML_SEQUENCE || f->value->count == 0) {
        wrong_kind(r, f->key->line, "boskosd.reaper", "states", "a list of at least one state");
        return;
    }
    struct text *states = config_arena_alloc(&r->made->memory, f->value->count, sizeof(*states));
    size_t count = 0;
    for (struct yaml_node *n = f->value->first; n != NULL; n = n->next, count++) {
        struct yaml_node *state = config_yaml_resolve(n);
        if (state->kind != YAML_SCALAR || config_yaml_is_null(state) || state->text.size == 0)
            config_report_error(&r->report, n->line, "boskosd.reaper.states.%zu: must be a state",
                                count);
        else if (state->text.size > CONFIG_TEXT_MAX)
            config_report_limit(&r->report, n->line,
                                "boskosd.reaper.states.%zu: must be no more than %u bytes", count,
                                CONFIG_TEXT_MAX);
        else
            states[count] = state->text;
    }
    r->made->config.reaper_states = states;
    r->made->config.reaper_states_count = count;
}

static void read_reaper(struct reader *r, const struct field *f)
{
    if (!is_set(f) || is_off(f->value)) return;
    struct yaml_node *map = read_map(r, "boskosd", f);
    if (map == NULL) return;

    static const char path[] = "boskosd.reaper";
    struct config *c = &r->made->config;
    struct field fields[] = {{.name = TEXT("expire")},
                             {.name = TEXT("states")},
                             {.name = TEXT("target-state")},
                             {.name = TEXT("period")}};
    read_fields(r, map, fields, 4);
    c->reaper_enabled = true;
    read_duration_min(r, path, &fields[0], 1, ">0", &c->reaper_expire_ns);
    read_reaper_states(r, &fields[1]);
    if (is_set(&fields[2])) read_short_text(r, path, &fields[2], &c->reaper_target);
    if (text_is_empty(c->reaper_target)) c->reaper_target = TEXT("dirty");
    read_duration_min(r, path, &fields[3], REAPER_PERIOD_MIN_NS, "at least 1s",
                      &c->reaper_period_ns);
}

static void read_cleaner(struct reader *r, const struct field *f)
{
    if (!is_set(f) || is_off(f->value)) return;
    struct yaml_node *map = read_map(r, "boskosd", f);
    if (map == NULL) return;
    struct field fields[] = {{.name = TEXT("enabled")}};
    read_fields(r, map, fields, 1);
    if (is_set(&fields[0]) && !config_yaml_bool(fields[0].value, &r->made->config.cleaner_enabled))
        wrong_kind(r, fields[0].key->line, "boskosd.cleaner", "enabled", "true or false");
}

static void read_ours(struct reader *r, const struct field *f)
{
    struct yaml_node *map = read_map(r, "", f);
    if (map == NULL) return;
    struct field fields[] = {{.name = TEXT("reaper")}, {.name = TEXT("cleaner")}};
    read_fields(r, map, fields, 2);
    read_reaper(r, &fields[0]);
    read_cleaner(r, &fields[1]);
}

static void read_root(struct reader *r, struct yaml_node *root)
{
    struct field fields[] = {{.name = TEXT("resources")}, {.name = TEXT("boskosd")}};
    if (root != NULL && root->kind == YAML_MAPPING) {
        read_fields(r, root, fields, 2);
    } else if (root != NULL && !config_yaml_is_null(root)) {
        config_report_error(&r->report, root->line, "the config must be a mapping");
        return;
    }
    read_resources(r, &fields[0]);
    read_ours(r, &fields[1]);
}

int config_parse(struct text yaml, struct config **ret_config, struct config_report *report)
{
    struct config_memory *made = must_calloc(1, sizeof(*made));
    made->config = (struct config){
        .reaper_expire_ns = REAPER_EXPIRE_DEFAULT_NS,
        .reaper_period_ns = REAPER_PERIOD_DEFAULT_NS,
        .reaper_states = reaper_states_default,
        .reaper_states_count = sizeof(reaper_states_default) / sizeof(reaper_states_default[0]),
        .reaper_target = TEXT("dirty"),
    };
    config_arena_init(&made->memory);

    struct reader r = {.made = made};
    struct arena nodes;
    config_arena_init(&nodes);
    config_report_init(&r.report);
    config_checker_init(&r.checker, &nodes, &r.report);
    buffer_init(&r.text);

    struct yaml_node *root = NULL;
    if (config_yaml_build(yaml, &nodes, &made->memory, &r.report, &root) == 0) read_root(&r, root);

    int err = config_report_finish(&r.report, report);
    buffer_release(&r.text);
    config_yaml_pairs_release(&r.pairs);
    config_checker_release(&r.checker);
    config_arena_release(&nodes);
    if (err != 0) {
        config_free(&made->config);
        return err;
    }
    *ret_config = &made->config;
    return 0;
}

void config_free(struct config *c)
{
    if (c == NULL) return;
    struct config_memory *m = (struct config_memory *)(void *)c;
    config_arena_release(&m->memory);
    free(m->entries);
    free(m);
}
