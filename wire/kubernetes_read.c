#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/time.h"
#include "wire/internal.h"
#include "wire/kubernetes.h"

#include "base/banned.h"

#define API_VERSION "boskos.k8s.io/v1"
#define ZERO_TIME "0001-01-01T00:00:00Z" // Go's, for a time that was never set

// Where in the dump something stands.
struct place {
    uint32_t document; // from 1
    bool is_item;      // of a list, at `index`
    uint32_t index;
    struct text kind, name; // empty: not known yet
};

struct found_resource {
    struct sm_imported resource;
    struct place place;
};

struct found_cycle {
    struct sm_entry cycle;
    struct place place;
};

// What is freed with the dump.
struct kept {
    struct kept *next;
    max_align_t bytes[];
};

struct wire_dump {
    struct command_import import;
    struct sm_imported *resources;
    struct sm_entry *cycles;
    json_t **documents; // the texts above are theirs
    uint32_t documents_count;
    struct kept *kept; // lists
};

struct reader {
    struct wire_dump *dump;
    struct buffer *faults;
    uint32_t faults_count;
    struct place at;
    struct text namespace; // of the first object that has one
    struct found_resource *resources;
    size_t resources_count, resources_capacity;
    struct found_cycle *cycles;
    size_t cycles_count, cycles_capacity;
};

// ---- memory -----------------------------------------------------------------

static void *take(struct wire_dump *d, size_t count, size_t each)
{
    if (count == 0) return NULL;
    struct kept *k = must_malloc(sizeof(*k) + count * each);
    k->next = d->kept;
    d->kept = k;
    return k->bytes;
}

// Room for one more.
static void *grow(void *list, size_t count, size_t *capacity, size_t each)
{
    if (count < *capacity) return list;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    return must_realloc(list, *capacity * each);
}

void wire_dump_free(struct wire_dump *d)
{
    if (d == NULL) return;
    for (struct kept *k = d->kept, *next = NULL; k != NULL; k = next) {
        next = k->next;
        free(k);
    }
    for (uint32_t i = 0; i < d->documents_count; i++)
        json_decref(d->documents[i]);
    free(d->documents);
    free(d->resources);
    free(d->cycles);
    free(d);
}

const struct command_import *wire_dump_import(const struct wire_dump *d)
{
    return &d->import;
}

// ---- faults -----------------------------------------------------------------

static void append_place(struct buffer *out, const struct place *p)
{
    if (p->document > 1) buffer_format(out, "document %u, ", p->document);
    if (p->is_item)
        buffer_format(out, "items[%u]", p->index);
    else
        buffer_string(out, "the object");
    if (text_is_empty(p->kind)) return;
    buffer_string(out, " (");
    wire_text_word(p->kind, out);
    if (!text_is_empty(p->name)) {
        buffer_char(out, ' ');
        wire_text_word(p->name, out);
    }
    buffer_char(out, ')');
}

// Begins the line of a fault at the present place and, unless it is NULL, the member there. NULL
// when there were enough of them.
static struct buffer *fault_begin(struct reader *r, const char *member)
{
    if (r->faults_count++ >= WIRE_DUMP_FAULTS_MAX) return NULL;
    append_place(r->faults, &r->at);
    buffer_string(r->faults, ": ");
    if (member == NULL) return r->faults;
    buffer_string(r->faults, member);
    buffer_string(r->faults, ": ");
    return r->faults;
}

static void fault(struct reader *r, const char *member, const char *what)
{
    struct buffer *out = fault_begin(r, member);
    if (out == NULL) return;
    buffer_string(out, what);
    buffer_char(out, '\n');
}

static void fault_quoted(struct reader *r, const char *member, struct text t, const char *what)
{
    struct buffer *out = fault_begin(r, member);
    if (out == NULL) return;
    wire_go_quote(out, t);
    buffer_char(out, ' ');
    buffer_string(out, what);
    buffer_char(out, '\n');
}

// ---- members ----------------------------------------------------------------

// NULL when it is absent or null.
static const json_t *member_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value == NULL || json_is_null(value) ? NULL : value;
}

static struct text text_of_json(const json_t *string)
{
    return text_of(json_string_value(string), json_string_length(string));
}

// An object's member that is an object, or NULL, and then it was said what stands there instead.
static const json_t *object_of(struct reader *r, const json_t *object, const char *key,
                               const char *member)
{
    const json_t *value = member_of(object, key);
    if (value == NULL || json_is_object(value)) return value;
    fault(r, member, "it is no object");
    return NULL;
}

// What is not known may matter: it is not passed over.
static void check_known(struct reader *r, const json_t *object, const char *member,
                        const char *const *known)
{
    for (void *at = json_object_iter((json_t *)(uintptr_t)object); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)object, at)) {
        const char *key = json_object_iter_key(at);
        uint32_t i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0)
            i++;
        if (known[i] != NULL || json_is_null(json_object_iter_value(at))) continue;
        fault_quoted(r, member, text_from(key), "is no member that is known here");
    }
}

enum presence { MAY_BE_EMPTY, MUST_BE_THERE };

// Absent is empty. `most` bytes at most, 0: any number.
static struct text read_text(struct reader *r, const json_t *object, const char *key,
                             const char *member, enum presence presence, uint32_t most)
{
    const json_t *value = object == NULL ? NULL : member_of(object, key);
    struct text t = TEXT("");
    if (value != NULL && !json_is_string(value)) {
        fault(r, member, "it is no string");
        return t;
    }
    if (value != NULL) t = text_of_json(value);
    if (text_is_empty(t) && presence == MUST_BE_THERE) {
        fault(r, member, value == NULL ? "it is missing" : "it is empty");
    } else if (most > 0 && t.size > most) {
        struct buffer *out = fault_begin(r, member);
        if (out != NULL) buffer_format(out, "it is longer than %u bytes\n", most);
    }
    return t;
}

// Absent is 0.
static int64_t read_count(struct reader *r, const json_t *object, const char *key,
                          const char *member)
{
    const json_t *value = member_of(object, key);
    if (value == NULL) return 0;
    if (!json_is_integer(value)) {
        fault(r, member, "it is no whole number");
        return 0;
    }
    if (json_integer_value(value) < 0) fault(r, member, "it is negative");
    return json_integer_value(value);
}

// False when it is absent, or no time.
static bool read_time(struct reader *r, const json_t *object, const char *key, const char *member,
                      uint64_t *ret_time_ns)
{
    const json_t *value = member_of(object, key);
    if (value == NULL) return false;
    if (!json_is_string(value)) {
        fault(r, member, "it is no string");
        return false;
    }
    if (time_parse(text_of_json(value), ret_time_ns) == 0) return true;
    fault_quoted(r, member, text_of_json(value),
                 "is no time from 1970 to 2554 as 2026-03-01T14:02:00Z");
    return false;
}

// ---- resources --------------------------------------------------------------

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool wire_kubernetes_takes(struct text name)
{
    char before = '.';
    for (uint32_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool is_alone = c == '.' || c == '-';
        if (!is_alone && !is_alphanumeric(c)) return false;
        if (is_alone && (before == '.' || (c == '.' && before == '-'))) return false;
        before = c;
    }
    return before != '.' && before != '-' && name.size <= SM_NAME_BYTES_MAX;
}

static int by_key(const void *a, const void *b)
{
    const struct userdata_pair *x = a, *y = b;
    return text_compare(x->key, y->key);
}

static void read_userdata(struct reader *r, const json_t *status, struct sm_imported *to)
{
    const json_t *object = object_of(r, status, "userData", "status.userData");
    if (object == NULL) return;
    struct userdata_pair *pairs = take(r->dump, json_object_size(object), sizeof(*pairs));
    uint64_t bytes = 0;
    for (void *at = json_object_iter((json_t *)(uintptr_t)object); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)object, at)) {
        const json_t *value = json_object_iter_value(at);
        struct userdata_pair pair = {.key = text_from(json_object_iter_key(at))};
        if (json_is_string(value))
            pair.value = text_of_json(value);
        else if (!json_is_null(value))
            fault_quoted(r, "status.userData", pair.key, "has a value that is no string");
        if (text_is_empty(pair.value)) continue;
        bytes += (uint64_t)pair.key.size + pair.value.size;
        pairs[to->userdata_count++] = pair;
    }
    if (to->userdata_count > 1) qsort(pairs, to->userdata_count, sizeof(*pairs), by_key);
    to->userdata = pairs;
    if (bytes <= SM_USERDATA_BYTES_MAX) return;
    struct buffer *out = fault_begin(r, "status.userData");
    if (out != NULL)
        buffer_format(out, "keys and values have more than %u bytes\n", SM_USERDATA_BYTES_MAX);
}

// The two ends of time stand for what is not known and for never.
static uint64_t clear_of_ends(uint64_t time_ns)
{
    if (time_ns == 0) return 1;
    return time_ns == UINT64_MAX ? time_ns - 1 : time_ns;
}

static void read_times(struct reader *r, const json_t *status, struct sm_imported *to)
{
    const json_t *last = member_of(status, "lastUpdate");
    bool is_zero =
        last != NULL && json_is_string(last) && text_equal(text_of_json(last), TEXT(ZERO_TIME));
    if (!is_zero && read_time(r, status, "lastUpdate", "status.lastUpdate", &to->lastupdate_ns))
        to->lastupdate_ns = clear_of_ends(to->lastupdate_ns);
    if (read_time(r, status, "expirationDate", "status.expirationDate", &to->expires_ns))
        to->expires_ns = clear_of_ends(to->expires_ns);
}

static void read_resource(struct reader *r, const json_t *item)
{
    static const char *const in_spec[] = {"type", NULL};
    static const char *const in_status[] = {"state",    "owner",          "lastUpdate",
                                            "userData", "expirationDate", NULL};
    const json_t *spec = object_of(r, item, "spec", "spec");
    const json_t *status = object_of(r, item, "status", "status");
    struct sm_imported to = {.name = r->at.name, .owner = TEXT("")};
    if (!text_is_empty(to.name) && !wire_kubernetes_takes(to.name))
        fault_quoted(r, "metadata.name", to.name,
                     "is no RFC 1123 subdomain of up to 253 characters");
    if (spec != NULL) check_known(r, spec, "spec", in_spec);
    if (status != NULL) check_known(r, status, "status", in_status);
    to.type = read_text(r, spec, "type", "spec.type", MUST_BE_THERE, SM_TEXT_BYTES_MAX);
    to.state = read_text(r, status, "state", "status.state", MUST_BE_THERE, SM_TEXT_BYTES_MAX);
    to.owner = read_text(r, status, "owner", "status.owner", MAY_BE_EMPTY, SM_TEXT_BYTES_MAX);
    if (status != NULL) {
        read_times(r, status, &to);
        read_userdata(r, status, &to);
    }
    r->resources =
        grow(r->resources, r->resources_count, &r->resources_capacity, sizeof(r->resources[0]));
    r->resources[r->resources_count++] = (struct found_resource){to, r->at};
}

// ---- life cycles ------------------------------------------------------------

static int by_type(const void *a, const void *b)
{
    const struct sm_need *x = a, *y = b;
    return text_compare(x->type, y->type);
}

static void read_needs(struct reader *r, const json_t *spec, struct sm_entry *to)
{
    const json_t *object = object_of(r, spec, "needs", "spec.needs");
    if (object == NULL) return;
    struct sm_need *needs = take(r->dump, json_object_size(object), sizeof(*needs));
    for (void *at = json_object_iter((json_t *)(uintptr_t)object); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)object, at)) {
        const json_t *value = json_object_iter_value(at);
        struct sm_need need = {text_from(json_object_iter_key(at)), json_integer_value(value)};
        if (!json_is_integer(value) || need.count < 0)
            fault_quoted(r, "spec.needs", need.type, "is not needed a whole number of times");
        if (need.type.size > SM_TEXT_BYTES_MAX)
            fault(r, "spec.needs", "a type is longer than 4096 bytes");
        needs[to->needs_count++] = need;
    }
    if (to->needs_count > 1) qsort(needs, to->needs_count, sizeof(*needs), by_type);
    to->needs = needs;
}

static void read_construction(struct reader *r, const json_t *spec, struct sm_entry *to)
{
    static const char *const known[] = {"type", "content", NULL};
    const json_t *config = object_of(r, spec, "config", "spec.config");
    if (config == NULL) return;
    check_known(r, config, "spec.config", known);
    to->config_type = read_text(r, config, "type", "spec.config.type", MAY_BE_EMPTY, 0);
    to->config_content = read_text(r, config, "content", "spec.config.content", MAY_BE_EMPTY, 0);
    to->has_config = !text_is_empty(to->config_type) || !text_is_empty(to->config_content);
}

static void read_lifespan(struct reader *r, const json_t *spec, struct sm_entry *to)
{
    const json_t *lifespan = member_of(spec, "lifespan");
    if (lifespan == NULL) return;
    if (!json_is_integer(lifespan)) fault(r, "spec.lifespan", "it is no number of nanoseconds");
    to->has_lifespan = true;
    to->lifespan_ns = json_integer_value(lifespan);
}

static void read_cycle(struct reader *r, const json_t *item)
{
    static const char *const known[] = {"state",  "min-count", "max-count", "lifespan",
                                        "config", "needs",     NULL};
    const json_t *spec = object_of(r, item, "spec", "spec");
    struct sm_entry to = {.is_dynamic = true, .type = r->at.name};
    if (member_of(item, "status") != NULL)
        fault(r, "status", "a life cycle has none that is known here");
    if (to.type.size > SM_TEXT_BYTES_MAX) fault(r, "metadata.name", "it is longer than 4096 bytes");
    if (spec == NULL) {
        if (member_of(item, "spec") == NULL) fault(r, "spec", "it is missing");
        return;
    }
    check_known(r, spec, "spec", known);
    to.state = read_text(r, spec, "state", "spec.state", MAY_BE_EMPTY, SM_TEXT_BYTES_MAX);
    if (text_is_empty(to.state)) to.state = TEXT("free");
    to.min_count = read_count(r, spec, "min-count", "spec.min-count");
    to.max_count = read_count(r, spec, "max-count", "spec.max-count");
    if (to.min_count > to.max_count) fault(r, "spec.min-count", "it is above max-count");
    read_lifespan(r, spec, &to);
    read_needs(r, spec, &to);
    read_construction(r, spec, &to);
    r->cycles = grow(r->cycles, r->cycles_count, &r->cycles_capacity, sizeof(r->cycles[0]));
    r->cycles[r->cycles_count++] = (struct found_cycle){to, r->at};
}

// ---- objects and lists ------------------------------------------------------

// A name in two namespaces would be two resources, of which only one can be here.
static void check_namespace(struct reader *r, const json_t *metadata)
{
    struct text namespace =
        read_text(r, metadata, "namespace", "metadata.namespace", MAY_BE_EMPTY, 0);
    if (text_is_empty(namespace)) return;
    if (text_is_empty(r->namespace)) r->namespace = namespace;
    if (text_equal(r->namespace, namespace)) return;
    struct buffer *out = fault_begin(r, "metadata.namespace");
    if (out == NULL) return;
    wire_go_quote(out, namespace);
    buffer_string(out, " is not ");
    wire_go_quote(out, r->namespace);
    buffer_string(out, ", as before: a dump of one namespace is wanted\n");
}

static void read_metadata(struct reader *r, const json_t *item)
{
    const json_t *metadata = object_of(r, item, "metadata", "metadata");
    r->at.name = read_text(r, metadata, "name", "metadata.name", MUST_BE_THERE, 0);
    if (metadata == NULL) return;
    check_namespace(r, metadata);
    if (member_of(metadata, "deletionTimestamp") != NULL)
        fault(r, "metadata.deletionTimestamp",
              "it is being deleted; wait until it is gone, and dump again");
}

// `kind` is what the list says of its items, empty when it says nothing.
static void read_object(struct reader *r, const json_t *item, struct text kind)
{
    static const char *const known[] = {"apiVersion", "kind", "metadata", "spec", "status", NULL};
    if (!json_is_object(item)) {
        fault(r, NULL, "it is no object");
        return;
    }
    struct text own = read_text(r, item, "kind", "kind", MAY_BE_EMPTY, 0);
    struct text version = read_text(r, item, "apiVersion", "apiVersion", MAY_BE_EMPTY, 0);
    r->at.kind = text_is_empty(own) ? kind : own;
    bool is_resource = text_equal(r->at.kind, TEXT("ResourceObject"));
    if (!is_resource && !text_equal(r->at.kind, TEXT("DRLCObject"))) {
        fault(r, "kind", "it is neither ResourceObject nor DRLCObject");
        return;
    }
    if (!text_is_empty(version) && !text_equal(version, TEXT(API_VERSION)))
        fault_quoted(r, "apiVersion", version, "is not " API_VERSION);
    read_metadata(r, item);
    check_known(r, item, NULL, known);
    if (is_resource)
        read_resource(r, item);
    else
        read_cycle(r, item);
}

static void read_list(struct reader *r, const json_t *list, struct text kind)
{
    const json_t *items = member_of(list, "items");
    if (items == NULL || !json_is_array(items)) {
        fault(r, "items", "it is no array");
        return;
    }
    for (size_t i = 0; i < json_array_size(items); i++) {
        r->at = (struct place){.document = r->at.document, .is_item = true, .index = (uint32_t)i};
        read_object(r, json_array_get(items, i), kind);
    }
}

static void read_document(struct reader *r, const json_t *document)
{
    const json_t *kind = json_is_object(document) ? member_of(document, "kind") : NULL;
    struct text text = json_is_string(kind) ? text_of_json(kind) : TEXT_NONE;
    if (text_equal(text, TEXT("List")))
        read_list(r, document, TEXT_NONE);
    else if (text_equal(text, TEXT("ResourceObjectList")))
        read_list(r, document, TEXT("ResourceObject"));
    else if (text_equal(text, TEXT("DRLCObjectList")))
        read_list(r, document, TEXT("DRLCObject"));
    else
        read_object(r, document, TEXT_NONE);
}

// ---- the whole --------------------------------------------------------------

static uint32_t line_of(struct text json, size_t at)
{
    uint32_t line = 1;
    for (size_t i = 0; i < at && i < json.size; i++)
        line += json.data[i] == '\n';
    return line;
}

// What jansson says quotes the input as far as it went, also to the middle of a character.
static void append_printable(struct buffer *out, struct text t)
{
    while (t.size > 0) {
        char escape[TEXT_ESCAPE_BYTES];
        uint32_t rune = 0, size = text_rune(t, &rune), escaped = 0;
        if (size > 0) escaped = text_escape(rune, escape);
        if (size == 0)
            buffer_char(out, '?');
        else if (escaped > 0)
            buffer_append(out, escape, escaped);
        else
            buffer_append(out, t.data, size);
        if (size == 0) size = 1;
        t = text_of(t.data + size, t.size - size);
    }
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void read_documents(struct reader *r, struct text json)
{
    struct wire_dump *d = r->dump;
    size_t capacity = 0, at = 0;
    for (;;) {
        while (at < json.size && is_space(json.data[at]))
            at++;
        if (at == json.size) break;
        json_error_t error;
        json_t *document =
            json_loadb(json.data + at, json.size - at,
                       JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
        if (document == NULL) {
            if (json_error_code(&error) == json_error_out_of_memory) out_of_memory();
            r->faults_count++;
            buffer_format(r->faults,
                          "line %u: it is no JSON: ", line_of(json, at + (size_t)error.position));
            append_printable(r->faults, text_from(error.text));
            buffer_char(r->faults, '\n');
            return;
        }
        at += (size_t)error.position;
        d->documents = grow(d->documents, d->documents_count, &capacity, sizeof(d->documents[0]));
        d->documents[d->documents_count++] = document;
        r->at = (struct place){.document = d->documents_count};
        read_document(r, document);
    }
}

static int by_resource(const void *a, const void *b)
{
    const struct found_resource *x = a, *y = b;
    int order = text_compare(x->resource.name, y->resource.name);
    if (order != 0) return order;
    if (x->place.document != y->place.document)
        return x->place.document < y->place.document ? -1 : 1;
    return (x->place.index > y->place.index) - (x->place.index < y->place.index);
}

static int by_cycle(const void *a, const void *b)
{
    const struct found_cycle *x = a, *y = b;
    int order = text_compare(x->cycle.type, y->cycle.type);
    if (order != 0) return order;
    if (x->place.document != y->place.document)
        return x->place.document < y->place.document ? -1 : 1;
    return (x->place.index > y->place.index) - (x->place.index < y->place.index);
}

static void fault_twice(struct reader *r, const struct place *first, const struct place *second)
{
    r->at = *second;
    struct buffer *out = fault_begin(r, NULL);
    if (out == NULL) return;
    buffer_string(out, "its name is there twice, the first time at ");
    append_place(out, &(struct place){.document = first->document,
                                      .is_item = first->is_item,
                                      .index = first->index});
    buffer_char(out, '\n');
}

static void settle_resources(struct reader *r)
{
    struct wire_dump *d = r->dump;
    size_t count = r->resources_count;
    if (count > 1) qsort(r->resources, count, sizeof(r->resources[0]), by_resource);
    d->resources = must_calloc(count + 1, sizeof(d->resources[0]));
    for (size_t i = 0; i < count; i++) {
        const struct found_resource *found = &r->resources[i];
        d->resources[i] = found->resource;
        bool is_twice = i > 0 && !text_is_empty(found->resource.name) &&
                        text_equal(r->resources[i - 1].resource.name, found->resource.name);
        if (is_twice) fault_twice(r, &r->resources[i - 1].place, &found->place);
    }
    d->import.resources = d->resources;
    d->import.resources_count = (uint32_t)count;
}

static void settle_cycles(struct reader *r)
{
    struct wire_dump *d = r->dump;
    size_t count = r->cycles_count;
    if (count > 1) qsort(r->cycles, count, sizeof(r->cycles[0]), by_cycle);
    d->cycles = must_calloc(count + 1, sizeof(d->cycles[0]));
    for (size_t i = 0; i < count; i++) {
        const struct found_cycle *found = &r->cycles[i];
        d->cycles[i] = found->cycle;
        bool is_twice = i > 0 && !text_is_empty(found->cycle.type) &&
                        text_equal(r->cycles[i - 1].cycle.type, found->cycle.type);
        if (is_twice) fault_twice(r, &r->cycles[i - 1].place, &found->place);
    }
    d->import.cycles = d->cycles;
    d->import.cycles_count = (uint32_t)count;
}

static void conclude(struct reader *r)
{
    settle_resources(r);
    settle_cycles(r);
    if (r->faults_count == 0 && r->resources_count == 0 && r->cycles_count == 0) {
        r->faults_count++;
        buffer_string(r->faults, "there is no resource and no life cycle in it; was it the right "
                                 "namespace?\n");
    }
    if (r->faults_count > WIRE_DUMP_FAULTS_MAX)
        buffer_format(r->faults, "and %u more\n", r->faults_count - WIRE_DUMP_FAULTS_MAX);
}

int wire_dump_read(struct text json, struct wire_dump **ret_dump, struct buffer *faults)
{
    struct reader r = {.dump = must_calloc(1, sizeof(struct wire_dump)), .faults = faults};
    int err = 0;
    if (json.size > WIRE_DUMP_BYTES_MAX) {
        buffer_format(faults, "it is larger than %zu bytes\n", WIRE_DUMP_BYTES_MAX);
        err = BOSKOS_E_TOO_LARGE;
        goto out;
    }
    read_documents(&r, json);
    conclude(&r);
    if (r.faults_count > 0) err = BOSKOS_E_MALFORMED;
    if (err == 0 &&
        (r.resources_count > WIRE_DUMP_ITEMS_MAX || r.cycles_count > WIRE_DUMP_ITEMS_MAX)) {
        buffer_format(faults, "it has more than %u objects of a kind\n", WIRE_DUMP_ITEMS_MAX);
        err = BOSKOS_E_TOO_LARGE;
    }
    if (err != 0) goto out;
    *ret_dump = r.dump;
    r.dump = NULL;
out:
    wire_dump_free(r.dump);
    free(r.resources);
    free(r.cycles);
    return err;
}
