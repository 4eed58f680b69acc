#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "wire/internal.h"

#include "base/banned.h"

static inline bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct text skip_space(struct text t)
{
    while (t.size > 0 && is_space(t.data[0]))
        t = text_of(t.data + 1, t.size - 1);
    return t;
}

// The size of the JSON string at the front of `t`, quotes included.
static uint32_t string_size(struct text t)
{
    uint32_t i = 1;
    while (t.data[i] != '"')
        i += t.data[i] == '\\' ? 2 : 1;
    return i + 1;
}

// True when every value of the object at the front of `t` is a string or null, those too that a
// later value of the same key hides in what jansson returns. The object has been read by jansson:
// its form is right, so no step needs a check against the end.
static bool has_only_strings(struct text t)
{
    bool is_value = false; // a value comes next

    for (uint32_t i = 1; t.data[i] != '}';) {
        char c = t.data[i];
        if (is_value && !is_space(c)) {
            if (c != '"' && c != 'n') return false;
            i += c == '"' ? string_size(text_of(t.data + i, t.size - i)) : 4;
            is_value = false;
        } else if (c == '"') {
            i += string_size(text_of(t.data + i, t.size - i));
        } else {
            is_value = is_value || c == ':';
            i++;
        }
    }
    return true;
}

static struct text keep(struct buffer *memory, const char *data, size_t size)
{
    ASSERT(memory->capacity - memory->size >= size);
    struct text t = text_of(memory->data + memory->size, size);
    buffer_append(memory, data, size);
    return t;
}

static int compare_keys(const void *a, const void *b)
{
    const struct userdata_pair *left = a, *right = b;
    return text_compare(left->key, right->key);
}

// Copies the pairs: nothing of jansson's memory is kept.
static void take_pairs(struct wire_request *r, json_t *object)
{
    struct userdata_pair *pairs =
        request_lists(r, (json_object_size(object) + 1) * sizeof(struct userdata_pair));
    uint32_t count = 0;

    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        const char *key = json_object_iter_key(at); // it has no NUL: jansson refuses one
        const json_t *value = json_object_iter_value(at);
        pairs[count].key = keep(&r->memory, key, strlen(key));
        pairs[count].value = TEXT_NONE;
        if (json_is_string(value))
            pairs[count].value =
                keep(&r->memory, json_string_value(value), json_string_length(value));
        count++;
    }
    if (count > 1) qsort(pairs, count, sizeof(pairs[0]), compare_keys);

    r->command.as.update.has_body = true;
    r->command.as.update.pairs = pairs;
    r->command.as.update.pairs_count = count;
}

int body_read(struct wire_request *r, struct text body, char fault[FAULT_BYTES])
{
    static const char not_strings[] =
        "Bad request: the body must be a JSON object whose values are strings or null.";

    body = skip_space(body);
    if (body.size == 0) return 0;
    if (body.size >= 4 && memcmp(body.data, "null", 4) == 0)
        return 0; // what follows does not count
    if (body.data[0] != '{') {
        memcpy(fault, not_strings, sizeof(not_strings));
        return BOSKOS_E_MALFORMED;
    }

    json_error_t error;
    json_t *object =
        json_loadb(body.data, body.size, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &error);
    if (object == NULL) {
        if (json_error_code(&error) == json_error_out_of_memory) out_of_memory();
        (void)snprintf(fault, FAULT_BYTES,
                       "Bad request: the body is not valid JSON (near byte %d of its first value).",
                       error.position);
        return BOSKOS_E_MALFORMED;
    }

    int err = 0;
    if (has_only_strings(body)) {
        take_pairs(r, object);
    } else {
        memcpy(fault, not_strings, sizeof(not_strings));
        err = BOSKOS_E_MALFORMED;
    }
    json_decref(object);
    return err;
}
