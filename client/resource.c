// Resources and counts, from JSON and back, as Boskos writes them.
#include "client/client.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "config/config.h"

#include "base/banned.h"

#define ITEMS_MAX 2000000u // of any list in a reply

// ---- freeing and copying --------------------------------------------------------

void boskos_pairs_free(struct boskos_pairs *p)
{
    if (p == NULL) return;
    for (size_t i = 0; i < p->count; i++) {
        free(p->items[i].key);
        free(p->items[i].value);
    }
    free(p->items);
    free(p);
}

void boskos_resource_free(struct boskos_resource *r)
{
    if (r == NULL) return;
    free(r->type);
    free(r->name);
    free(r->state);
    free(r->owner);
    free(r->lastupdate);
    free(r->expiration_date);
    for (size_t i = 0; i < r->userdata.count; i++) {
        free(r->userdata.items[i].key);
        free(r->userdata.items[i].value);
    }
    free(r->userdata.items);
    free(r);
}

void boskos_resources_free(struct boskos_resources *list)
{
    if (list == NULL) return;
    for (size_t i = 0; i < list->count; i++)
        boskos_resource_free(list->items[i]);
    free(list->items);
    free(list);
}

void boskos_names_free(struct boskos_names *names)
{
    if (names == NULL) return;
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    free(names);
}

static void free_counts(struct boskos_count *counts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(counts[i].key);
    free(counts);
}

void boskos_metric_free(struct boskos_metric *m)
{
    if (m == NULL) return;
    free(m->type);
    free_counts(m->current, m->current_count);
    free_counts(m->owner, m->owner_count);
    free(m);
}

static char *copy_bytes(const char *bytes, size_t size)
{
    char *copy = must_malloc(size + 1);
    if (size > 0) memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

struct boskos_resource *boskos_resource_copy(const struct boskos_resource *r)
{
    struct boskos_resource *copy = must_calloc(1, sizeof(*copy));
    copy->type = client_strdup(r->type);
    copy->name = client_strdup(r->name);
    copy->state = client_strdup(r->state);
    copy->owner = client_strdup(r->owner);
    copy->lastupdate = client_strdup(r->lastupdate);
    copy->expiration_date = client_strdup(r->expiration_date);
    copy->userdata.count = r->userdata.count;
    copy->userdata.items = must_calloc(r->userdata.count + 1, sizeof(*copy->userdata.items));
    for (size_t i = 0; i < r->userdata.count; i++) {
        const struct boskos_pair *from = &r->userdata.items[i];
        copy->userdata.items[i] = (struct boskos_pair){
            client_strdup(from->key), copy_bytes(from->value, from->value_size), from->value_size};
    }
    return copy;
}

const char *boskos_resource_userdata(const struct boskos_resource *r, const char *key)
{
    for (size_t i = 0; i < r->userdata.count; i++) {
        if (strcmp(r->userdata.items[i].key, key) == 0) return r->userdata.items[i].value;
    }
    return NULL;
}

// ---- reading --------------------------------------------------------------------

static int compare_pairs(const void *a, const void *b)
{
    return strcmp(((const struct boskos_pair *)a)->key, ((const struct boskos_pair *)b)->key);
}

// A text of the object, or NULL when it is none, or holds a NUL.
static char *text_member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) return NULL;
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    return memchr(text, '\0', size) == NULL ? copy_bytes(text, size) : NULL;
}

static bool read_pairs(const json_t *object, struct boskos_pairs *pairs)
{
    const char *key;
    json_t *value;
    size_t most = json_object_size(object);
    pairs->items = must_calloc(most + 1, sizeof(*pairs->items));
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (!json_is_string(value)) return false;
        pairs->items[pairs->count++] = (struct boskos_pair){
            client_strdup(key), copy_bytes(json_string_value(value), json_string_length(value)),
            json_string_length(value)};
    }
    qsort(pairs->items, pairs->count, sizeof(*pairs->items), compare_pairs);
    return true;
}

struct boskos_resource *resource_from_json(const json_t *object)
{
    if (!json_is_object(object)) return NULL;
    struct boskos_resource *r = must_calloc(1, sizeof(*r));
    const json_t *userdata = json_object_get(object, "userdata");
    r->type = text_member(object, "type");
    r->name = text_member(object, "name");
    r->state = text_member(object, "state");
    r->owner = text_member(object, "owner");
    r->lastupdate = text_member(object, "lastupdate");
    r->expiration_date = text_member(object, "expiration-date");
    bool is_good = r->type != NULL && r->name != NULL && r->name[0] != '\0' && r->state != NULL &&
                   r->owner != NULL && r->lastupdate != NULL;
    if (is_good && userdata != NULL && !json_is_null(userdata))
        is_good = json_is_object(userdata) && read_pairs(userdata, &r->userdata);
    if (is_good) return r;
    boskos_resource_free(r);
    return NULL;
}

struct boskos_resources *resources_from_json(const json_t *array)
{
    size_t count = json_array_size(array);
    if (!json_is_array(array) || count > ITEMS_MAX) return NULL;
    struct boskos_resources *list = must_calloc(1, sizeof(*list));
    list->items = must_calloc(count + 1, sizeof(struct boskos_resource *));
    for (size_t i = 0; i < count; i++) {
        struct boskos_resource *r = resource_from_json(json_array_get(array, i));
        if (r == NULL) {
            boskos_resources_free(list);
            return NULL;
        }
        list->items[list->count++] = r;
    }
    return list;
}

struct boskos_pairs *pairs_from_json(const json_t *object)
{
    struct boskos_pairs *pairs = must_calloc(1, sizeof(*pairs));
    if (read_pairs(object, pairs)) return pairs;
    boskos_pairs_free(pairs);
    return NULL;
}

static int compare_counts(const void *a, const void *b)
{
    return strcmp(((const struct boskos_count *)a)->key, ((const struct boskos_count *)b)->key);
}

static bool read_counts(const json_t *object, struct boskos_count **counts, size_t *count)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) return false;
    *counts = must_calloc(json_object_size(object) + 1, sizeof(**counts));
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (!json_is_integer(value)) return false;
        (*counts)[(*count)++] =
            (struct boskos_count){client_strdup(key), json_integer_value(value)};
    }
    qsort(*counts, *count, sizeof(**counts), compare_counts);
    return true;
}

struct boskos_metric *metric_from_json(const json_t *object)
{
    struct boskos_metric *m = must_calloc(1, sizeof(*m));
    m->type = text_member(object, "type");
    if (m->type != NULL &&
        read_counts(json_object_get(object, "current"), &m->current, &m->current_count) &&
        read_counts(json_object_get(object, "owner"), &m->owner, &m->owner_count))
        return m;
    boskos_metric_free(m);
    return NULL;
}

void resource_path(struct buffer *path, const char *name)
{
    static const char digits[] = "0123456789ABCDEF";
    buffer_init(path);
    buffer_string(path, "/v1/resources/");
    for (const char *at = name; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '~' ||
                        (c == '.' && at != name);
        if (is_plain) {
            buffer_char(path, (char)c);
        } else {
            buffer_char(path, '%');
            buffer_char(path, digits[c >> 4]);
            buffer_char(path, digits[c & 15]);
        }
    }
    buffer_char(path, '\0');
}

int boskos_resource_parse(const char *json, size_t size, struct boskos_resource **ret_resource)
{
    json_t *object = size > 0 ? json_loadb(json, size, JSON_ALLOW_NUL, NULL) : NULL;
    struct boskos_resource *r = resource_from_json(object);
    json_decref(object);
    if (r == NULL) return BOSKOS_ERR_REPLY;
    *ret_resource = r;
    return 0;
}

int boskos_resource_leased(const struct boskos_resource *r, struct boskos_names **ret_names)
{
    struct text *names = NULL;
    size_t count = 0;
    const char *value = boskos_resource_userdata(r, "leasedResources");
    if (value != NULL && config_parse_names(text_from(value), &names, &count) != 0)
        return BOSKOS_ERR_LEASED;
    struct boskos_names *list = must_calloc(1, sizeof(*list));
    list->items = must_calloc(count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++)
        list->items[list->count++] = copy_bytes(names[i].data, names[i].size);
    free(names);
    *ret_names = list;
    return 0;
}

// ---- writing --------------------------------------------------------------------

// As Go's encoding/json does it.
static void write_text(struct buffer *out, const char *bytes, size_t size)
{
    static const char shorts[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    buffer_char(out, '"');
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        const char *at = c != 0 ? strchr(shorts, c) : NULL;
        bool is_separator = c == 0xe2 && size - i >= 3 && (unsigned char)bytes[i + 1] == 0x80 &&
                            ((unsigned char)bytes[i + 2] & 0xfe) == 0xa8;
        if (at != NULL) {
            buffer_char(out, '\\');
            buffer_char(out, letters[at - shorts]);
        } else if (c < ' ' || c == '<' || c == '>' || c == '&') {
            buffer_format(out, "\\u%04x", (unsigned)c);
        } else if (is_separator) {
            buffer_format(out, "\\u20%02x", (unsigned)((unsigned char)bytes[i + 2] - 0x80));
            i += 2;
        } else {
            buffer_char(out, (char)c);
        }
    }
    buffer_char(out, '"');
}

static void write_member(struct buffer *out, const char *key, const char *value)
{
    buffer_format(out, "\"%s\":", key);
    write_text(out, value, strlen(value));
}

static void write_pairs(struct buffer *out, const struct boskos_pairs *pairs)
{
    buffer_char(out, '{');
    for (size_t i = 0; i < pairs->count; i++) {
        const struct boskos_pair *p = &pairs->items[i];
        if (i > 0) buffer_char(out, ',');
        write_text(out, p->key, strlen(p->key));
        buffer_char(out, ':');
        write_text(out, p->value, p->value_size);
    }
    buffer_char(out, '}');
}

char *boskos_pairs_json(const struct boskos_pairs *pairs)
{
    struct buffer out;
    buffer_init(&out);
    write_pairs(&out, pairs);
    buffer_char(&out, '\0');
    return out.data; // the caller's now
}

char *boskos_resource_json(const struct boskos_resource *r)
{
    struct buffer out;
    buffer_init(&out);
    buffer_char(&out, '{');
    write_member(&out, "type", r->type);
    buffer_char(&out, ',');
    write_member(&out, "name", r->name);
    buffer_char(&out, ',');
    write_member(&out, "state", r->state);
    buffer_char(&out, ',');
    write_member(&out, "owner", r->owner);
    buffer_char(&out, ',');
    write_member(&out, "lastupdate", r->lastupdate);
    buffer_string(&out, ",\"userdata\":");
    write_pairs(&out, &r->userdata);
    if (r->expiration_date != NULL) {
        buffer_char(&out, ',');
        write_member(&out, "expiration-date", r->expiration_date);
    }
    buffer_char(&out, '}');
    buffer_char(&out, '\0');
    return out.data;
}

static void write_counts(struct buffer *out, const char *key, const struct boskos_count *counts,
                         size_t count)
{
    buffer_format(out, ",\"%s\":{", key);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) buffer_char(out, ',');
        write_text(out, counts[i].key, strlen(counts[i].key));
        buffer_format(out, ":%" PRId64, counts[i].count);
    }
    buffer_char(out, '}');
}

char *boskos_metric_json(const struct boskos_metric *m)
{
    struct buffer out;
    buffer_init(&out);
    buffer_char(&out, '{');
    write_member(&out, "type", m->type);
    write_counts(&out, "current", m->current, m->current_count);
    write_counts(&out, "owner", m->owner, m->owner_count);
    buffer_char(&out, '}');
    buffer_char(&out, '\0');
    return out.data;
}
