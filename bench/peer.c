#include "bench/peer.h"

#include "base/banned.h"

const struct workload *workload_find(const char *peer, const char *name)
{
    const struct workload *const lists[] = {boskos_workloads, redis_workloads, postgres_workloads,
                                            etcd_workloads, beanstalkd_workloads};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (const struct workload *w = lists[i]; w->name != NULL; w++)
            if (strcmp(w->peer, peer) == 0 && strcmp(w->name, name) == 0) return w;
    }
    return NULL;
}

void workload_list(struct buffer *out)
{
    const struct workload *const lists[] = {boskos_workloads, redis_workloads, postgres_workloads,
                                            etcd_workloads, beanstalkd_workloads};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (const struct workload *w = lists[i]; w->name != NULL; w++)
            buffer_format(out, "  %s %s\n", w->peer, w->name);
    }
}

bool client_take(struct client *c, struct text name)
{
    if (name.size == 0 || name.size > HELD_BYTES) return false;
    memcpy(c->held, name.data, name.size);
    c->held_size = name.size;
    c->holds = true;
    return true;
}

static int64_t content_length(struct text head)
{
    static const char key[] = "\r\nContent-Length: ";
    const char *found = memmem(head.data, head.size, key, sizeof(key) - 1);
    if (found == NULL) return -1;
    uint32_t size = 0;
    const char *end = head.data + head.size;
    for (const char *p = found + sizeof(key) - 1; p < end && *p >= '0' && *p <= '9'; p++) {
        size = size * 10 + (uint32_t)(*p - '0');
        if (size > (1u << 28)) return -1;
    }
    return size;
}

int64_t http_parse(struct text in, struct http_answer *ret_answer)
{
    const char *end = in.size == 0 ? NULL : memmem(in.data, in.size, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    struct text head = text_of(in.data, (size_t)(end - in.data) + 2);
    if (head.size < 14 || memcmp(head.data, "HTTP/1.1 ", 9) != 0) return -1;
    int64_t length = content_length(head);
    if (length < 0) return -1;
    int64_t size = (int64_t)head.size + 2 + length;
    if ((int64_t)in.size < size) return 0;
    uint32_t status = 0;
    for (uint32_t i = 9; i < 12; i++) {
        if (head.data[i] < '0' || head.data[i] > '9') return -1;
        status = status * 10 + (uint32_t)(head.data[i] - '0');
    }
    *ret_answer = (struct http_answer){
        .status = status, .body = text_of(end + 4, (size_t)length), .size = size};
    return size;
}
