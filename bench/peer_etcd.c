// etcd, over its JSON gateway: a lease is a key whose value goes from `free` to the owner and back,
// each by a transaction that compares first. Each client has a key of its own, so that nobody
// has to look for a free one or to try again: the best that etcd could do.
#include "bench/peer.h"

#include <stdio.h>

#include "base/banned.h"

#define FREE "ZnJlZQ==" // `free` in base 64

static void base64(struct text t, struct buffer *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (uint32_t i = 0; i < t.size; i += 3) {
        uint32_t left = t.size - i, bits = 0;
        for (uint32_t j = 0; j < 3; j++)
            bits = bits << 8 | (j < left ? (uint8_t)t.data[i + j] : 0u);
        buffer_char(out, digits[bits >> 18]);
        buffer_char(out, digits[bits >> 12 & 63]);
        buffer_char(out, left > 1 ? digits[bits >> 6 & 63] : '=');
        buffer_char(out, left > 2 ? digits[bits & 63] : '=');
    }
}

static void post(struct buffer *out, const char *path, const struct buffer *body)
{
    buffer_format(out,
                  "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                  "Content-Length: %zu\r\n\r\n",
                  path, body->size);
    buffer_text(out, buffer_as_text(body));
}

static void cycle_encode(struct plan *plan, struct client *c, struct buffer *out)
{
    char text[32];
    struct buffer key, owner, body;
    (void)plan;
    buffer_init(&key);
    buffer_init(&owner);
    buffer_init(&body);
    int size = snprintf(text, sizeof(text), "lease-%u", c->number);
    base64(text_of(text, (size_t)size), &key);
    size = snprintf(text, sizeof(text), "owner-%u", c->number);
    base64(text_of(text, (size_t)size), &owner);
    if (c->step == 0) {
        buffer_format(&body, "{\"key\":\"%.*s\",\"value\":\"" FREE "\"}", (int)key.size, key.data);
        post(out, "/v3/kv/put", &body);
    } else {
        struct text before = c->holds ? buffer_as_text(&owner) : TEXT(FREE);
        struct text after = c->holds ? TEXT(FREE) : buffer_as_text(&owner);
        buffer_format(&body,
                      "{\"compare\":[{\"target\":\"VALUE\",\"key\":\"%.*s\",\"value\":\"%.*s\"}],"
                      "\"success\":[{\"requestPut\":{\"key\":\"%.*s\",\"value\":\"%.*s\"}}]}",
                      (int)key.size, key.data, TEXT_ARG(before), (int)key.size, key.data,
                      TEXT_ARG(after));
        post(out, "/v3/kv/txn", &body);
    }
    c->is_releasing = c->step > 0 && c->holds;
    c->is_acquiring = c->step > 0 && !c->holds;
    buffer_release(&key);
    buffer_release(&owner);
    buffer_release(&body);
}

static int64_t cycle_parse(struct plan *plan, struct client *c, struct text in,
                           enum outcome *ret_outcome)
{
    static const char yes[] = "\"succeeded\":true";
    struct http_answer a;
    (void)plan;
    int64_t size = http_parse(in, &a);
    if (size <= 0) return size;
    bool is_good = a.status == 200;
    if (c->is_acquiring || c->is_releasing) {
        is_good = is_good && memmem(a.body.data, a.body.size, yes, sizeof(yes) - 1) != NULL;
        if (is_good) c->holds = c->is_acquiring;
    }
    *ret_outcome = is_good ? OUTCOME_GOOD : OUTCOME_WRONG;
    return size;
}

const struct workload etcd_workloads[] = {
    {"etcd", "cycle", 1, cycle_encode, cycle_parse},
    {NULL, NULL, 0, NULL, NULL},
};
