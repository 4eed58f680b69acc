// The library takes heads that RFC 9112 does not allow: folded lines, bare LF, NUL, several spaces.
// It cuts the head up in place, so the pieces it hands out tell what stood between them: exactly
// one space, one CRLF, one colon and white space, or the head is refused. What a later version of
// the library copies elsewhere would be refused too, never taken by mistake.

#include "http/internal.h"

#include <strings.h>

#include "base/banned.h"

#define LENGTH_DIGITS_MAX 18u // of a Content-Length; no overflow

struct scan {
    uintptr_t end; // behind the last piece seen
    uint32_t headers, hosts, lengths, encodings;
    struct text length, encoding;
    const char *fault;
};

static bool is_token(struct text t)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (uint32_t i = 0; i < t.size; i++) {
        char c = t.data[i];
        bool fits = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                    (c != '\0' && strchr(others, c) != NULL);
        if (!fits) return false;
    }
    return t.size > 0;
}

static bool is_value(struct text t)
{
    for (uint32_t i = 0; i < t.size; i++) {
        unsigned char c = (unsigned char)t.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

static bool is_named(struct text name, const char *wanted)
{
    return name.size == strlen(wanted) && strncasecmp(name.data, wanted, name.size) == 0;
}

static enum MHD_Result scan_header(void *context, enum MHD_ValueKind kind, const char *key,
                                   size_t key_size, const char *value, size_t value_size)
{
    struct scan *scan = context;
    (void)kind;
    struct text name = text_of(key, key_size);
    struct text content = text_of(value != NULL ? value : "", value_size);
    if (value == NULL || (uintptr_t)key != scan->end + 2 ||
        (uintptr_t)value < (uintptr_t)key + key_size + 1) {
        scan->fault = "malformed header lines.";
        return MHD_NO;
    }
    scan->end = (uintptr_t)value + value_size;

    scan->headers++;
    if (!is_token(name)) scan->fault = "malformed header name.";
    if (!is_value(content)) scan->fault = "control character in a header.";
    if (is_named(name, "Host")) scan->hosts++;
    if (is_named(name, "Content-Length")) {
        scan->lengths++;
        scan->length = content;
    }
    if (is_named(name, "Transfer-Encoding")) {
        scan->encodings++;
        scan->encoding = content;
    }
    return scan->fault == NULL ? MHD_YES : MHD_NO;
}

static bool length_read(struct text t, uint64_t *ret_length)
{
    uint64_t length = 0;
    if (t.size == 0 || t.size > LENGTH_DIGITS_MAX) return false;
    for (uint32_t i = 0; i < t.size; i++) {
        if (t.data[i] < '0' || t.data[i] > '9') return false;
        length = length * 10 + (uint64_t)(t.data[i] - '0');
    }
    *ret_length = length;
    return true;
}

// How long the body is, from what the headers say of it.
static uint32_t check_body(const struct scan *scan, bool is_1_1, struct head *ret_head,
                           const char **ret_message)
{
    *ret_head = (struct head){.is_chunked = false};
    const char *fault = NULL;
    if (scan->encodings > 0) {
        if (scan->lengths > 0)
            fault = "both Transfer-Encoding and Content-Length.";
        else if (!is_1_1)
            fault = "Transfer-Encoding needs HTTP/1.1.";
        else if (scan->encodings > 1 || !is_named(scan->encoding, "chunked"))
            fault = "Transfer-Encoding must be chunked.";
        ret_head->is_chunked = true;
    } else if (scan->lengths > 0) {
        if (scan->lengths > 1)
            fault = "more than one Content-Length.";
        else if (!length_read(scan->length, &ret_head->length))
            fault = "malformed Content-Length.";
    }
    if (fault != NULL) {
        *ret_message = fault;
        return MHD_HTTP_BAD_REQUEST;
    }
    if (ret_head->length > HTTP_BODY_BYTES_MAX) {
        *ret_message = WIRE_BODY_TOO_LARGE;
        return MHD_HTTP_CONTENT_TOO_LARGE;
    }
    return 0;
}

uint32_t check_head(struct request *r, const char *method, const char *version,
                    struct head *ret_head, const char **ret_message)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t head_size = info != NULL ? info->header_size : SIZE_MAX;
    if (r->target.size > HTTP_HEAD_BYTES_MAX) {
        *ret_message = "the request target is limited by the head's 16384 bytes.";
        return MHD_HTTP_URI_TOO_LONG;
    }
    if (head_size > HTTP_HEAD_BYTES_MAX) {
        *ret_message = "the request line and headers are limited to 16384 bytes.";
        return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }

    *ret_message = "malformed request line.";
    struct text target = buffer_as_text(&r->target);
    size_t method_size = strlen(method), version_size = strlen(version);
    bool is_1_1 = strcmp(version, "HTTP/1.1") == 0;
    if (!is_1_1 && strcmp(version, "HTTP/1.0") != 0) return MHD_HTTP_BAD_REQUEST;
    if (!is_token(text_of(method, method_size))) return MHD_HTTP_BAD_REQUEST;
    if ((uintptr_t)r->raw_target != (uintptr_t)method + method_size + 1 ||
        (uintptr_t)version != (uintptr_t)r->raw_target + target.size + 1)
        return MHD_HTTP_BAD_REQUEST;
    for (uint32_t i = 0; i < target.size; i++) {
        // Bytes above ASCII are taken, as Boskos takes them; wire checks what they make.
        unsigned char c = (unsigned char)target.data[i];
        if (c <= 0x20 || c == 0x7f) return MHD_HTTP_BAD_REQUEST;
    }

    struct scan scan = {.end = (uintptr_t)version + version_size};
    (void)MHD_get_connection_values_n(r->connection->mhd, MHD_HEADER_KIND, scan_header, &scan);
    // The last line's end and the empty line are all that may follow.
    if (scan.fault == NULL && scan.end + 4 != (uintptr_t)method + head_size)
        scan.fault = "malformed header lines.";
    if (scan.fault == NULL && (scan.hosts > 1 || (is_1_1 && scan.hosts == 0)))
        scan.fault = "exactly one Host header must be there.";
    if (scan.fault != NULL) {
        *ret_message = scan.fault;
        return MHD_HTTP_BAD_REQUEST;
    }
    // Without room for the reply's head the library would close without a word, after the commit.
    if (head_size + (size_t)scan.headers * HEADER_BYTES > POOL_BYTES - REPLY_HEAD_BYTES) {
        *ret_message = "the request has too many headers.";
        return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    return check_body(&scan, is_1_1, ret_head, ret_message);
}
