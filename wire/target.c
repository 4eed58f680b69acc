#include "wire/internal.h"

#include "base/banned.h"

// The fixed paths and the labels of all calls. A label never depends on what a client sent.
static const struct route {
    const char *path; // NULL: matched by prefix
    const char *label;
} routes[] = {
    [WIRE_NOTHING] = {NULL, "other"},
    [WIRE_ACQUIRE] = {"/acquire", "/acquire"},
    [WIRE_ACQUIREBYSTATE] = {"/acquirebystate", "/acquirebystate"},
    [WIRE_RELEASE] = {"/release", "/release"},
    [WIRE_UPDATE] = {"/update", "/update"},
    [WIRE_RESET] = {"/reset", "/reset"},
    [WIRE_METRIC] = {"/metric", "/metric"},
    [WIRE_V1_RESOURCES] = {"/v1/resources", "/v1/resources"},
    [WIRE_V1_RESOURCE] = {NULL, "/v1/resources/{name}"},
    [WIRE_V1_QUEUES] = {"/v1/queues", "/v1/queues"},
    [WIRE_V1_STATUS] = {"/v1/status", "/v1/status"},
    [WIRE_V1_UNKNOWN] = {NULL, "other"},
};

#define ROUTES (sizeof(routes) / sizeof(routes[0]))

static inline struct text skip(struct text t, size_t size)
{
    return text_of(t.data + size, t.size - size);
}

static bool has_prefix(struct text t, const char *prefix)
{
    size_t size = strlen(prefix);
    return t.size >= size && memcmp(t.data, prefix, size) == 0;
}

static inline bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// As Go: a target with a control character in it is no target.
static bool has_control(struct text t)
{
    for (uint32_t i = 0; i < t.size; i++) {
        unsigned char c = (unsigned char)t.data[i];
        if (c < 0x20 || c == 0x7F) return true;
    }
    return false;
}

// Takes "http://host" from the front of an absolute target.
static int skip_authority(struct text target, struct text *ret_path)
{
    if (target.size == 0 || !is_letter(target.data[0])) return BOSKOS_E_MALFORMED;

    uint32_t i = 1;
    while (i < target.size &&
           (is_letter(target.data[i]) || memchr("0123456789+-.", target.data[i], 13) != NULL))
        i++;
    struct text rest = skip(target, i);
    if (!has_prefix(rest, "://")) return BOSKOS_E_MALFORMED;

    rest = skip(rest, 3);
    const char *slash = rest.size == 0 ? NULL : memchr(rest.data, '/', rest.size);
    *ret_path = slash == NULL ? TEXT("/") : skip(rest, (size_t)(slash - rest.data));
    return 0;
}

static int decode_path(struct text raw, struct buffer *path)
{
    char *to = buffer_reserve(path, raw.size);
    size_t size = 0;

    for (uint32_t i = 0; i < raw.size; i++) {
        char c = raw.data[i];
        if (c == '%') {
            int high = i + 2 < raw.size ? hex_value(raw.data[i + 1]) : -1;
            int low = i + 2 < raw.size ? hex_value(raw.data[i + 2]) : -1;
            if (high < 0 || low < 0) return BOSKOS_E_MALFORMED;
            c = (char)(high * 16 + low);
            i += 2;
        }
        to[size++] = c;
    }
    path->size += size;
    return 0;
}

// Cleans the path that starts at `start` in place, as Go's router does: no empty, `.` or `..`
// segment is left, and a slash at the end stays. What is written is never longer than what was
// read.
static void clean_path(struct buffer *path, size_t start)
{
    char *p = path->data + start;
    size_t size = path->size - start;
    bool has_slash = p[size - 1] == '/';
    size_t written = 0;

    for (size_t i = 0; i < size;) {
        size_t end = i;
        while (end < size && p[end] != '/')
            end++;
        size_t length = end - i;
        if (length == 2 && p[i] == '.' && p[i + 1] == '.') {
            while (written > 0 && p[--written] != '/')
                ;
        } else if (length > 1 || (length == 1 && p[i] != '.')) {
            p[written++] = '/';
            memmove(p + written, p + i, length);
            written += length;
        }
        i = end + 1;
    }
    if (has_slash || written == 0) p[written++] = '/';
    path->size = start + written;
}

int wire_target(struct text target, struct buffer *path, struct text *ret_query)
{
    if (target.size == 0 || has_control(target)) return BOSKOS_E_MALFORMED;

    struct text raw = target, query = TEXT("");
    const char *mark = memchr(target.data, '?', target.size);
    if (mark != NULL) {
        raw.size = (uint32_t)(mark - target.data);
        query = skip(target, raw.size + 1);
    }

    size_t start = path->size;
    if (text_equal(raw, TEXT("*"))) { // OPTIONS *
        buffer_text(path, raw);
        *ret_query = query;
        return 0;
    }
    if (raw.size == 0 || raw.data[0] != '/') {
        int err = skip_authority(raw, &raw);
        if (err != 0) return err;
    }
    int err = decode_path(raw, path);
    if (err != 0) return err;
    clean_path(path, start);

    *ret_query = query;
    return 0;
}

enum wire_call wire_route(struct text path)
{
    for (uint32_t call = 0; call < ROUTES; call++)
        if (routes[call].path != NULL && text_equal(path, text_from(routes[call].path)))
            return (enum wire_call)call;

    if (has_prefix(path, V1_RESOURCE_PREFIX)) {
        struct text name = skip(path, strlen(V1_RESOURCE_PREFIX));
        if (name.size > 0 && memchr(name.data, '/', name.size) == NULL) return WIRE_V1_RESOURCE;
    }
    return has_prefix(path, V1_PREFIX) ? WIRE_V1_UNKNOWN : WIRE_NOTHING;
}

const char *wire_call_label(enum wire_call call)
{
    return routes[call].label;
}

bool wire_call_has_body(enum wire_call call)
{
    return call == WIRE_UPDATE;
}
