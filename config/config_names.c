#include <stdlib.h>

#include "base/assert.h"
#include "config/yaml_tree.h"

#include "base/banned.h"

// How many bytes the texts of a list take, each text once wherever aliases name it again. What
// they would take written out is limited: the text comes from clients, and the list goes into the
// log.
static int measure(struct yaml_node *list, size_t *ret_bytes)
{
    size_t bytes = 0, expanded = 0;
    for (struct yaml_node *n = list->first; n != NULL; n = n->next) {
        struct yaml_node *name = config_yaml_resolve(n);
        if (name->kind != YAML_SCALAR) return BOSKOS_E_MALFORMED;
        expanded += name->text.size;
        if (expanded > CONFIG_NAMES_BYTES_MAX) return BOSKOS_E_TOO_LARGE;
        if (!name->seen && !config_yaml_is_null(name)) bytes += name->text.size;
        name->seen = true;
    }
    *ret_bytes = bytes;
    return 0;
}

static void copy(struct yaml_node *list, struct text *names, char *bytes)
{
    for (struct yaml_node *n = list->first; n != NULL; n = n->next, names++) {
        struct yaml_node *name = config_yaml_resolve(n);
        if (config_yaml_is_null(name)) {
            *names = TEXT("");
            continue;
        }
        if (name->seen) {
            name->seen = false; // from here on its text is the copy
            memcpy(bytes, name->text.data, name->text.size);
            name->text.data = bytes;
            bytes += name->text.size;
        }
        *names = name->text;
    }
}

int config_parse_names(struct text yaml, struct text **ret_names, size_t *ret_count)
{
    struct arena memory;
    struct report report;
    struct yaml_node *root = NULL;
    struct text *names = NULL;
    size_t count = 0, bytes = 0;
    config_arena_init(&memory);
    config_report_init(&report);

    int err = config_yaml_build(yaml, &memory, &memory, &report, &root);
    if (err != 0) goto out;
    if (root != NULL && !config_yaml_is_null(root)) {
        if (root->kind != YAML_SEQUENCE) {
            err = BOSKOS_E_MALFORMED;
            goto out;
        }
        if (root->count > CONFIG_NAMES_MAX) {
            err = BOSKOS_E_TOO_LARGE;
            goto out;
        }
        err = measure(root, &bytes);
        if (err != 0) goto out;
        count = root->count;
    }
    // One byte more, so that an empty list is memory too.
    names = must_malloc(count * sizeof(*names) + bytes + 1);
    if (count > 0) copy(root, names, (char *)(names + count));
    *ret_names = names;
    *ret_count = count;
out:;
    struct config_report unused;
    config_report_finish(&report, &unused);
    config_report_release(&unused);
    config_arena_release(&memory);
    return err;
}
