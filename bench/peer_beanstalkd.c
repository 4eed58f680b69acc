// beanstalkd: a job is put and deleted again, each durable with -f0.
#include "bench/peer.h"

#include "base/banned.h"

static void cycle_encode(struct plan *plan, struct client *c, struct buffer *out)
{
    (void)plan;
    c->is_releasing = c->holds;
    if (c->holds)
        buffer_format(out, "delete %.*s\r\n", (int)c->held_size, c->held);
    else
        buffer_string(out, "put 0 0 60 32\r\nt free busy owner-00000000000000\r\n");
}

static bool begins(struct text t, struct text with)
{
    return t.size >= with.size && memcmp(t.data, with.data, with.size) == 0;
}

static int64_t cycle_parse(struct plan *plan, struct client *c, struct text in,
                           enum outcome *ret_outcome)
{
    const char *end = in.size == 0 ? NULL : memmem(in.data, in.size, "\r\n", 2);
    (void)plan;
    if (end == NULL) return 0;
    struct text line = text_of(in.data, (size_t)(end - in.data));
    bool is_good = false;
    if (c->is_releasing) {
        is_good = text_equal(line, TEXT("DELETED"));
        if (is_good) c->holds = false;
    } else if (begins(line, TEXT("INSERTED "))) {
        is_good = client_take(c, text_of(line.data + 9, line.size - 9));
    }
    *ret_outcome = is_good ? OUTCOME_GOOD : OUTCOME_WRONG;
    return (int64_t)line.size + 2;
}

const struct workload beanstalkd_workloads[] = {
    {"beanstalkd", "cycle", 0, cycle_encode, cycle_parse},
    {NULL, NULL, 0, NULL, NULL},
};
