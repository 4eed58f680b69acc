// The rules are those of Boskos's validation, and so are their order and their texts.
#include <stdlib.h>

#include "base/assert.h"
#include "config/read.h"

#include "base/banned.h"

#define NAME_BYTES_MAX 253u // RFC 1123 subdomain

void config_checker_init(struct checker *c, struct arena *memory, struct report *r)
{
    *c = (struct checker){.report = r, .memory = memory};
    config_table_init(&c->names);
    config_table_init(&c->types);
}

void config_checker_release(struct checker *c)
{
    config_table_release(&c->names);
    config_table_release(&c->types);
}

static struct type_use *type_of(struct checker *c, struct text type)
{
    struct type_use *use = config_table_find(&c->types, type);
    if (use == NULL) {
        use = config_arena_alloc(c->memory, 1, sizeof(*use));
        use->type = type;
        config_table_put(&c->types, &use->type);
    }
    return use;
}

static bool is_alphanumeric(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9');
}

// [a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*
static bool is_subdomain(struct text name)
{
    char before = '.';
    for (uint32_t i = 0; i < name.size; i++) {
        char ch = name.data[i];
        if (ch == '.' || ch == '-') {
            if (before == '.' || (ch == '.' && before == '-')) return false;
        } else if (!is_alphanumeric(ch)) {
            return false;
        }
        before = ch;
    }
    return before != '.' && before != '-';
}

static void name_error(struct checker *c, const struct entry_draft *d, size_t i, uint32_t line,
                       const char *problem)
{
    struct buffer *out = config_report_error_begin(c->report);
    if (out == NULL) return;
    buffer_format(out, ".%zu.names.%zu(", d->index, i);
    config_report_text(out, d->entry.names[i]);
    buffer_string(out, ") is ");
    buffer_string(out, problem);
    config_report_error_end(c->report, line);
}

#define MUST_BE_SUBDOMAIN                                                                         \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "  \
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used " \
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define MUST_BE_SHORT "must be no more than 253 characters"

static void check_name(struct checker *c, const struct entry_draft *d, size_t i, uint32_t line)
{
    struct text name = d->entry.names[i];
    if (name.size > CONFIG_TEXT_MAX) {
        // One huge text can be named very often: its bytes are not gone through.
        name_error(c, d, i, line, "invalid: [" MUST_BE_SHORT "]");
        return;
    }
    bool is_short = name.size <= NAME_BYTES_MAX, is_good = is_subdomain(name);
    if (!is_short && !is_good)
        name_error(c, d, i, line, "invalid: [" MUST_BE_SHORT " " MUST_BE_SUBDOMAIN "]");
    else if (!is_short)
        name_error(c, d, i, line, "invalid: [" MUST_BE_SHORT "]");
    else if (!is_good)
        name_error(c, d, i, line, "invalid: [" MUST_BE_SUBDOMAIN "]");

    // The table only reads; it wants things it could hand out for change.
    struct text *item = (struct text *)(uintptr_t)&d->entry.names[i];
    if (config_table_put(&c->names, item) != item) name_error(c, d, i, line, "a duplicate");
}

static void check_names(struct checker *c, const struct entry_draft *d)
{
    const struct yaml_node *n = d->names_node->first;
    for (size_t i = 0; i < d->entry.names_count; i++, n = n->next)
        check_name(c, d, i, n->line);
}

// What min-count asks for is made at once: as many resources as there may be names.
static void check_made(struct checker *c, const struct entry_draft *d)
{
    uint64_t before = c->made_count;
    c->made_count += (uint64_t)d->entry.min_count;
    if (c->made_count < before) c->made_count = UINT64_MAX;
    if (before <= CONFIG_NAMES_MAX && c->made_count > CONFIG_NAMES_MAX)
        config_report_limit(c->report, d->min_line,
                            ".%zu.min-count: more than %u dynamic resources in all", d->index,
                            CONFIG_NAMES_MAX);
}

static void check_counts(struct checker *c, const struct entry_draft *d)
{
    struct report *r = c->report;
    const struct config_entry *e = &d->entry;
    if (!e->is_dynamic) {
        if (!d->min_bad && e->min_count != 0)
            config_report_error(r, d->min_line,
                                ".%zu.min-count must be unset when the names property is set",
                                d->index);
        if (!d->max_bad && e->max_count != 0)
            config_report_error(r, d->max_line,
                                ".%zu.max-count must be unset when the names property is set",
                                d->index);
        return;
    }
    if (!d->max_bad && e->max_count <= 0)
        config_report_error(r, d->max_line, ".%zu.max-count: must be >0", d->index);
    if (!d->min_bad && e->min_count < 0)
        config_report_error(r, d->min_line, ".%zu.min-count: must be >=0", d->index);
    if (!d->max_bad && !d->min_bad && e->min_count > e->max_count)
        config_report_error(r, d->min_line, ".%zu.min-count: must be <= .%zu.max-count", d->index,
                            d->index);
    if (!d->min_bad && e->min_count > 0) check_made(c, d);
}

static void count_needs(struct checker *c, const struct entry_draft *d)
{
    for (size_t i = 0; i < d->entry.needs_count; i++) {
        const struct config_need *need = &d->entry.needs[i];
        struct type_use *use = type_of(c, need->type);
        if (!use->needed) {
            use->needed = true;
            use->needs_line = d->needs_nodes[i]->line;
            c->types_needed++;
        }
        int64_t product = 0;
        if (__builtin_mul_overflow(need->count, d->entry.max_count, &product) ||
            __builtin_add_overflow(use->needs, product, &use->needs)) {
            use->needs = 0;
            use->needs_too_many = true;
        }
    }
}

void config_check_entry(struct checker *c, const struct entry_draft *d)
{
    const struct config_entry *e = &d->entry;
    if (!d->type_bad && text_is_empty(e->type))
        config_report_error(c->report, d->type_line, ".%zu.type: must be set", d->index);
    if (d->names_bad || d->type_bad || d->max_bad) c->incomplete = true;

    // Without the names it is not known whether they are missing.
    if (!d->names_bad) check_counts(c, d);
    if (!e->is_dynamic) check_names(c, d);
    if (c->incomplete) return;

    if (e->is_dynamic) count_needs(c, d);
    struct type_use *use = type_of(c, e->type);
    use->exists = true;
    int64_t more = (int64_t)e->names_count;
    if (e->is_dynamic) more = e->max_count > 0 ? e->max_count : 0;
    if (__builtin_add_overflow(use->count, more, &use->count)) use->count = INT64_MAX;
}

static int compare_uses(const void *a, const void *b)
{
    const struct type_use *const *left = a, *const *right = b;
    return text_compare((*left)->type, (*right)->type);
}

static void needs_error(struct checker *c, const struct type_use *use, const char *before,
                        const char *after)
{
    struct buffer *out = config_report_error_begin(c->report);
    if (out == NULL) return;
    buffer_string(out, before);
    config_report_text(out, use->type);
    buffer_string(out, after);
    config_report_error_end(c->report, use->needs_line);
}

void config_check_needs(struct checker *c)
{
    if (c->incomplete || c->types_needed == 0) return;

    // By the bytes of the type, so that the same file gives the same report (Boskos: any order).
    struct type_use **uses = must_calloc(c->types_needed, sizeof(struct type_use *));
    size_t count = 0;
    for (size_t i = 0; i < c->types.size; i++) {
        struct type_use *use = (struct type_use *)(void *)c->types.slots[i];
        if (use != NULL && use->needed) uses[count++] = use;
    }
    ASSERT(count == c->types_needed);
    qsort(uses, count, sizeof(struct type_use *), compare_uses);
    for (size_t i = 0; i < count; i++) {
        if (!uses[i]->exists) needs_error(c, uses[i], "need for resource ", " that does not exist");
        if (uses[i]->needs_too_many || uses[i]->needs > uses[i]->count)
            needs_error(c, uses[i], "not enough resource of type ", " for provisioning");
    }
    free(uses);
}
