// Requests as text: a target up to the first newline, behind a byte that chooses the method. The
// query string's decoding is held against rules written down here a second time.
#include "tests/fuzz/fuzz.h"
#include "wire/internal.h"

#include <stdlib.h>

#include "base/banned.h"

#define METHODS 4u

static void escape(struct text t, struct buffer *out)
{
    for (uint32_t i = 0; i < t.size; i++)
        buffer_format(out, "%%%02X", (unsigned)(uint8_t)t.data[i]);
}

// One pair as Go's url.ParseQuery has it. False: passed over. The other way round than wire/: by
// whole pairs, into memory of its own.
static bool unescape(struct text t, struct buffer *out)
{
    for (uint32_t i = 0; i < t.size; i++) {
        char digits[3] = {0};
        char *end = NULL;
        if (t.data[i] == '+') {
            buffer_char(out, ' ');
        } else if (t.data[i] != '%') {
            buffer_char(out, t.data[i]);
        } else {
            if (t.size - i < 3) return false;
            memcpy(digits, t.data + i + 1, 2);
            bool is_sign = digits[0] == '-' || digits[0] == '+' || digits[0] == ' ' ||
                           (digits[0] >= '\t' && digits[0] <= '\r') || digits[1] == 'x' ||
                           digits[1] == 'X';
            unsigned long value = strtoul(digits, &end, 16);
            if (is_sign || end != digits + 2) return false;
            buffer_char(out, (char)value);
            i += 2;
        }
    }
    return true;
}

// The next pair that counts by those rules.
static bool reference_next(struct text *rest, struct buffer *key, struct buffer *value)
{
    while (rest->size > 0) {
        uint32_t size = 0, equals = UINT32_MAX;
        bool has_semicolon = false;
        for (; size < rest->size && rest->data[size] != '&'; size++) {
            if (rest->data[size] == ';') has_semicolon = true;
            if (rest->data[size] == '=' && equals == UINT32_MAX) equals = size;
        }
        struct text pair = fuzz_take(rest, size);
        (void)fuzz_byte(rest);
        if (pair.size == 0 || has_semicolon) continue;
        buffer_clear(key);
        buffer_clear(value);
        struct text after = pair;
        struct text before = fuzz_take(&after, equals);
        if (equals != UINT32_MAX) (void)fuzz_byte(&after);
        if (unescape(before, key) && unescape(after, value)) return true;
    }
    return false;
}

static void check_query(struct text query)
{
    struct buffer key, value, memory, escaped;
    struct text left = query, right = query;
    struct param_pair pair;
    buffer_init(&key);
    buffer_init(&value);
    buffer_init(&memory);
    buffer_init(&escaped);
    (void)buffer_reserve(&memory, (size_t)query.size + 1);
    for (;;) {
        bool has_one = params_next(&left, &pair);
        ASSERT(has_one == reference_next(&right, &key, &value));
        if (!has_one) break;
        struct text had_key = params_decode(pair.key, &memory);
        struct text had = params_decode(pair.value, &memory);
        ASSERT(text_equal(had_key, buffer_as_text(&key)));
        ASSERT(text_equal(had, buffer_as_text(&value)));
        ASSERT(had.data != NULL);

        // What was decoded, escaped anew, decodes to itself.
        buffer_clear(&escaped);
        escape(had, &escaped);
        buffer_clear(&value);
        (void)buffer_reserve(&value, escaped.size + 1);
        ASSERT(text_equal(params_decode(buffer_as_text(&escaped), &value), had));
    }
    buffer_release(&key);
    buffer_release(&value);
    buffer_release(&memory);
    buffer_release(&escaped);
}

// No empty, `.` or `..` segment is left; cleaned again it stays what it is.
static void check_path(struct text path)
{
    if (text_equal(path, TEXT("*"))) return;
    ASSERT(path.size > 0 && path.data[0] == '/');
    uint32_t start = 1;
    for (uint32_t i = 1; i <= path.size; i++) {
        if (i < path.size && path.data[i] != '/') continue;
        struct text segment = text_of(path.data + start, i - start);
        ASSERT(segment.size > 0 || i == path.size);
        ASSERT(!text_equal(segment, TEXT(".")) && !text_equal(segment, TEXT("..")));
        start = i + 1;
    }
    struct buffer target, again;
    struct text query;
    buffer_init(&target);
    buffer_init(&again);
    buffer_char(&target, '/');
    escape(text_of(path.data + 1, path.size - 1), &target);
    ASSERT(wire_target(buffer_as_text(&target), &again, &query) == 0);
    ASSERT(text_equal(buffer_as_text(&again), path));
    buffer_release(&target);
    buffer_release(&again);
}

static void check_request(struct wire_request *r, struct text method, struct text path,
                          struct text query, struct text body)
{
    struct wire_reply reply = {0};
    struct buffer out;
    buffer_init(&out);
    int had = wire_parse(r, method, path, query, body, &reply, &out);
    ASSERT(had == 0 || had == 1);
    ASSERT(r->call == wire_route(path));
    if (had == 1) {
        ASSERT(reply.status >= 200 && reply.status < 600 && (reply.status == 200 || out.size > 0));
        ASSERT(!r->is_command);
    } else {
        ASSERT(out.size == 0);
        if (r->is_command) fuzz_check_command(&r->command);
    }
    buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[METHODS] = {"GET", "POST", "HEAD", "BREW"};
    struct text rest = text_of((const char *)data, size);
    struct text method = text_from(methods[fuzz_byte(&rest) % METHODS]);
    const char *end = rest.size == 0 ? NULL : memchr(rest.data, '\n', rest.size);
    struct text target = fuzz_take(&rest, end == NULL ? rest.size : (size_t)(end - rest.data));
    (void)fuzz_byte(&rest);

    struct buffer path;
    struct text query;
    buffer_init(&path);
    check_query(target);
    if (wire_target(target, &path, &query) == 0) {
        struct wire_request r;
        check_query(query);
        check_path(buffer_as_text(&path));
        wire_request_init(&r);
        check_request(&r, method, buffer_as_text(&path), query, rest);
        // The memory is used again.
        check_request(&r, method, buffer_as_text(&path), query, rest);
        wire_request_release(&r);
    }
    buffer_release(&path);
    return 0;
}
