#include "config/yaml_tree.h"

#include <stdlib.h>
#include <yaml.h>

#include "base/assert.h"
#include "config/text_table.h"

#include "base/banned.h"

#define DIRECTIVES_MAX 64u // libyaml compares each with those before it

struct anchor {
    struct text name;
    struct yaml_node *node; // the latest of this name
};

struct builder {
    yaml_parser_t parser;
    struct text yaml;
    struct arena *nodes, *texts;
    struct report *report;
    struct text_table anchors;

    struct yaml_node *root;
    struct yaml_node *open[CONFIG_DEPTH_MAX]; // the collections around the next node
    struct yaml_node *last[CONFIG_DEPTH_MAX]; // the last child of each
    size_t depth;
    size_t count; // nodes made
};

static uint32_t line_of(yaml_mark_t mark)
{
    return (uint32_t)mark.line + 1;
}

static int too_deep(struct builder *b, uint32_t line)
{
    config_report_limit(b->report, line, "yaml: nested more than %u deep", CONFIG_DEPTH_MAX);
    return BOSKOS_E_TOO_LARGE;
}

static int too_many(struct builder *b, uint32_t line)
{
    config_report_limit(b->report, line, "yaml: more than %u nodes, aliases expanded",
                        CONFIG_NODES_MAX);
    return BOSKOS_E_TOO_LARGE;
}

static int syntax_error(struct builder *b)
{
    if (b->parser.error == YAML_MEMORY_ERROR) out_of_memory();

    uint32_t line = line_of(b->parser.problem_mark);
    if (b->parser.error == YAML_READER_ERROR) {
        // The reader knows the byte only.
        size_t end =
            b->parser.problem_offset < b->yaml.size ? b->parser.problem_offset : b->yaml.size;
        line = 1;
        for (size_t i = 0; i < end; i++)
            line += b->yaml.data[i] == '\n';
    }
    const char *problem = b->parser.problem != NULL ? b->parser.problem : "not understood";
    const char *context = b->parser.context;
    config_report_error(b->report, line, "yaml: %s%s%s", context != NULL ? context : "",
                        context != NULL ? ", " : "", problem);
    return BOSKOS_E_MALFORMED;
}

static void name_anchor(struct builder *b, const yaml_char_t *name, struct yaml_node *n)
{
    if (name == NULL) return;
    struct text t = text_from((const char *)name);
    struct anchor *a = config_table_find(&b->anchors, t);
    if (a == NULL) {
        a = config_arena_alloc(b->nodes, 1, sizeof(*a));
        a->name = config_arena_text(b->nodes, t);
        config_table_put(&b->anchors, &a->name);
    }
    a->node = n;
}

// Makes a node and puts it where the document is. `expanded` and `depth` are what it counts for.
static int add_node(struct builder *b, struct yaml_node made, struct yaml_node **ret_node)
{
    if (b->depth + made.depth > CONFIG_DEPTH_MAX) return too_deep(b, made.line);
    if (++b->count > CONFIG_NODES_MAX) return too_many(b, made.line);

    struct yaml_node *n = config_arena_alloc(b->nodes, 1, sizeof(*n));
    *n = made;
    if (b->depth == 0) {
        ASSERT(b->root == NULL);
        b->root = n;
    } else {
        struct yaml_node *parent = b->open[b->depth - 1];
        struct yaml_node **last = &b->last[b->depth - 1];
        if (*last == NULL)
            parent->first = n;
        else
            (*last)->next = n;
        *last = n;
        parent->count++;
    }
    *ret_node = n;
    return 0;
}

// Counts a finished node in the collection around it.
static int count_node(struct builder *b, const struct yaml_node *n)
{
    if (b->depth == 0) return 0;
    struct yaml_node *parent = b->open[b->depth - 1];
    // Both are at most CONFIG_NODES_MAX, so the sum fits.
    parent->expanded += n->expanded;
    if (parent->expanded > CONFIG_NODES_MAX) return too_many(b, n->line);
    if (parent->depth < n->depth + 1) parent->depth = (uint8_t)(n->depth + 1);
    return 0;
}

static int add_scalar(struct builder *b, const yaml_event_t *e)
{
    const char *tag = (const char *)e->data.scalar.tag;
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (tag != NULL) {
        static const char ours[] = "tag:yaml.org,2002:";
        bool known = strncmp(tag, ours, sizeof(ours) - 1) == 0;
        plain = known && strcmp(tag, YAML_STR_TAG) != 0;
    }
    struct text t = text_of((const char *)e->data.scalar.value, e->data.scalar.length);
    struct yaml_node *n = NULL;
    int err = add_node(b,
                       (struct yaml_node){.kind = YAML_SCALAR,
                                          .line = line_of(e->start_mark),
                                          .expanded = 1,
                                          .plain = plain,
                                          .text = config_arena_text(b->texts, t)},
                       &n);
    if (err != 0) return err;
    name_anchor(b, e->data.scalar.anchor, n);
    return count_node(b, n);
}

static int add_alias(struct builder *b, const yaml_event_t *e)
{
    uint32_t line = line_of(e->start_mark);
    struct text name = text_from((const char *)e->data.alias.anchor);
    const struct anchor *a = config_table_find(&b->anchors, name);
    if (a == NULL || a->node->open) {
        struct buffer *out = config_report_error_begin(b->report);
        buffer_string(out, a == NULL ? "yaml: unknown anchor " : "yaml: contains itself: anchor ");
        config_report_text(out, name);
        config_report_error_end(b->report, line);
        return BOSKOS_E_MALFORMED;
    }
    struct yaml_node *n = NULL;
    int err = add_node(b,
                       (struct yaml_node){.kind = YAML_ALIAS,
                                          .line = line,
                                          .expanded = a->node->expanded,
                                          .depth = a->node->depth,
                                          .target = a->node},
                       &n);
    return err != 0 ? err : count_node(b, n);
}

static int open_collection(struct builder *b, const yaml_event_t *e, enum yaml_kind kind,
                           const yaml_char_t *anchor)
{
    struct yaml_node *n = NULL;
    int err = add_node(b,
                       (struct yaml_node){.kind = (uint8_t)kind,
                                          .line = line_of(e->start_mark),
                                          .expanded = 1,
                                          .depth = 1,
                                          .open = true},
                       &n);
    if (err != 0) return err;
    name_anchor(b, anchor, n);
    b->open[b->depth] = n;
    b->last[b->depth] = NULL;
    b->depth++;
    return 0;
}

static int close_collection(struct builder *b)
{
    ASSERT(b->depth > 0);
    b->depth--;
    b->open[b->depth]->open = false;
    return count_node(b, b->open[b->depth]);
}

// Takes one event; *ret_done when the first document is complete.
static int take_event(struct builder *b, const yaml_event_t *e, bool *ret_done)
{
    switch (e->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_START_EVENT: return 0;
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: *ret_done = true; return 0;
    case YAML_ALIAS_EVENT: return add_alias(b, e);
    case YAML_SCALAR_EVENT: return add_scalar(b, e);
    case YAML_SEQUENCE_START_EVENT:
        return open_collection(b, e, YAML_SEQUENCE, e->data.sequence_start.anchor);
    case YAML_MAPPING_START_EVENT:
        return open_collection(b, e, YAML_MAPPING, e->data.mapping_start.anchor);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return close_collection(b);
    }
    return BOSKOS_E_MALFORMED;
}

// Directives stand before all else, among comments and empty lines.
static bool has_too_many_directives(struct text yaml)
{
    unsigned count = 0;
    bool line_starts = true, in_line = false; // in a comment or a directive
    for (uint32_t i = 0; i < yaml.size; i++) {
        char c = yaml.data[i];
        if (c == '\n' || c == '\r') {
            line_starts = true;
            in_line = false;
        } else if (!in_line && (c == '#' || (c == '%' && line_starts))) {
            in_line = true;
            if (c == '%' && ++count > DIRECTIVES_MAX) return true;
        } else if (!in_line && c >= ' ' && c <= '~') {
            if (c != ' ') return false;
            line_starts = false;
        }
        // Other bytes are tabs, a byte order mark, or the halves of UTF-16.
    }
    return false;
}

int config_yaml_build(struct text yaml, struct arena *nodes, struct arena *texts, struct report *r,
                      struct yaml_node **ret_root)
{
    if (yaml.size > CONFIG_BYTES_MAX) {
        config_report_limit(r, 0, "yaml: more than %u bytes", CONFIG_BYTES_MAX);
        return BOSKOS_E_TOO_LARGE;
    }
    if (has_too_many_directives(yaml)) {
        config_report_limit(r, 1, "yaml: more than %u directives", DIRECTIVES_MAX);
        return BOSKOS_E_TOO_LARGE;
    }
    struct builder b = {.yaml = yaml, .nodes = nodes, .texts = texts, .report = r};
    config_table_init(&b.anchors);
    if (!yaml_parser_initialize(&b.parser)) out_of_memory();
    static const unsigned char nothing[1];
    yaml_parser_set_input_string(
        &b.parser, yaml.size > 0 ? (const unsigned char *)yaml.data : nothing, yaml.size);

    int err = 0;
    bool done = false;
    // Ends with the input: every node counts towards CONFIG_NODES_MAX.
    while (err == 0 && !done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&b.parser, &event)) {
            err = syntax_error(&b);
            break;
        }
        err = take_event(&b, &event, &done);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&b.parser);
    config_table_release(&b.anchors);
    if (err != 0) return err;
    *ret_root = b.root;
    return 0;
}
