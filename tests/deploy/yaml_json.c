// yaml_json FILE...: prints the documents of the files as one JSON list, each an object with the
// keys `file` and `document`.
//
// For tests in Python, which has no reader of YAML by itself. As Kubernetes and docker compose read
// it: plain scalars are null, booleans and numbers where they look so, and texts else. Anchors,
// tags and keys that are no scalars are errors.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 64

struct level {
    bool is_map, is_at_value;
    size_t count;
};

struct printer {
    const char *path;
    bool is_first;
    size_t depth;
    struct level levels[DEPTH_MAX];
};

static void fail(const struct printer *p, const yaml_mark_t *mark, const char *why)
{
    fprintf(stderr, "%s:%zu: %s\n", p->path, mark->line + 1, why);
    exit(1);
}

static void print_text(const char *text, size_t size)
{
    putchar('"');
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == '"' || c == '\\') {
            printf("\\u%04x", c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

static bool is_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && text[digits] == '\0';
}

static void print_plain(const char *text)
{
    if (*text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0) {
        printf("null");
    } else if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        printf("%s", text);
    } else if (is_number(text)) {
        // With a zero before it is octal.
        printf("%llu", strtoull(text, NULL, text[0] == '0' ? 8 : 10));
    } else {
        print_text(text, strlen(text));
    }
}

// What stands between the value that comes and the one before. True when it is a key.
static bool begin_value(struct printer *p)
{
    if (p->depth == 0) return false;
    struct level *l = &p->levels[p->depth - 1];
    if (l->is_map && l->is_at_value) {
        putchar(':');
        l->is_at_value = false;
        return false;
    }
    if (l->count++ > 0) putchar(',');
    l->is_at_value = l->is_map;
    return l->is_map;
}

static void print_event(struct printer *p, const yaml_event_t *e)
{
    bool is_key;
    if (e->type == YAML_DOCUMENT_START_EVENT) {
        printf("%s{\"file\":", p->is_first ? "" : ",\n");
        p->is_first = false;
        print_text(p->path, strlen(p->path));
        printf(",\"document\":");
    } else if (e->type == YAML_DOCUMENT_END_EVENT) {
        putchar('}');
    } else if (e->type == YAML_SCALAR_EVENT) {
        const char *text = (const char *)e->data.scalar.value;
        is_key = begin_value(p);
        if (e->data.scalar.anchor != NULL || e->data.scalar.tag != NULL)
            fail(p, &e->start_mark, "an anchor or a tag");
        if (is_key || e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
            print_text(text, e->data.scalar.length);
        } else {
            print_plain(text);
        }
    } else if (e->type == YAML_MAPPING_START_EVENT || e->type == YAML_SEQUENCE_START_EVENT) {
        bool is_map = e->type == YAML_MAPPING_START_EVENT;
        if (begin_value(p)) fail(p, &e->start_mark, "a key that is no scalar");
        if (p->depth == DEPTH_MAX) fail(p, &e->start_mark, "too deep");
        p->levels[p->depth++] = (struct level){.is_map = is_map};
        putchar(is_map ? '{' : '[');
    } else if (e->type == YAML_MAPPING_END_EVENT || e->type == YAML_SEQUENCE_END_EVENT) {
        p->depth--;
        putchar(e->type == YAML_MAPPING_END_EVENT ? '}' : ']');
    } else if (e->type == YAML_ALIAS_EVENT) {
        fail(p, &e->start_mark, "an alias");
    }
}

static void print_file(struct printer *p)
{
    yaml_parser_t parser;
    yaml_event_t event;
    bool is_over = false;
    FILE *file = fopen(p->path, "rb");
    if (file == NULL || yaml_parser_initialize(&parser) == 0) {
        perror(p->path);
        exit(1);
    }
    yaml_parser_set_input_file(&parser, file);
    while (!is_over) {
        if (yaml_parser_parse(&parser, &event) == 0) fail(p, &parser.problem_mark, parser.problem);
        print_event(p, &event);
        is_over = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    (void)fclose(file);
}

int main(int argc, char **argv)
{
    struct printer p = {.is_first = true};
    putchar('[');
    for (int i = 1; i < argc; i++) {
        p.path = argv[i];
        print_file(&p);
    }
    puts("]");
    return 0;
}
