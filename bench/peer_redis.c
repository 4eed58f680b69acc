// Redis: each call is one Lua script by its hash, and each script changes something, so that with
// `appendfsync always` every answer waits for a flush. Free names are a list, oldest first; leases
// are a hash of name to owner. bench/run.py fills the list.
#include "bench/peer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

static const char *const lua[2] = {
    "local n = redis.call('LPOP', KEYS[1]) "
    "if not n then return false end "
    "redis.call('HSET', KEYS[2], n, ARGV[1]) "
    "return n",
    "if redis.call('HGET', KEYS[2], ARGV[2]) ~= ARGV[1] then return false end "
    "redis.call('HDEL', KEYS[2], ARGV[2]) "
    "redis.call('RPUSH', KEYS[1], ARGV[2]) "
    "return ARGV[2]",
};

static void bulk(struct buffer *out, const char *bytes, size_t size)
{
    buffer_format(out, "$%zu\r\n", size);
    buffer_append(out, bytes, size);
    buffer_append(out, "\r\n", 2);
}

static void bulk_string(struct buffer *out, const char *string)
{
    bulk(out, string, strlen(string));
}

static void cycle_encode(struct plan *plan, struct client *c, struct buffer *out)
{
    if (c->step < 2) {
        buffer_string(out, "*3\r\n");
        bulk_string(out, "SCRIPT");
        bulk_string(out, "LOAD");
        bulk_string(out, lua[c->step]);
        return;
    }
    char owner[24];
    int size = snprintf(owner, sizeof(owner), "owner-%u", c->number);
    c->is_releasing = c->holds;
    c->is_acquiring = !c->holds;
    buffer_string(out, c->holds ? "*7\r\n" : "*6\r\n");
    bulk_string(out, "EVALSHA");
    bulk(out, plan->redis_sha[c->holds ? 1 : 0], 40);
    bulk_string(out, "2");
    bulk_string(out, "free");
    bulk_string(out, "leases");
    bulk(out, owner, (size_t)size);
    if (c->holds) bulk(out, c->held, c->held_size);
}

// A bulk string, or the nil that a refusal is.
static int64_t cycle_parse(struct plan *plan, struct client *c, struct text in,
                           enum outcome *ret_outcome)
{
    const char *end = in.size == 0 ? NULL : memchr(in.data, '\n', in.size);
    if (end == NULL) return 0;
    int64_t head = end + 1 - in.data;
    *ret_outcome = OUTCOME_WRONG;
    if (in.data[0] != '$') return head; // an error in words
    int64_t size = strtoll(in.data + 1, NULL, 10);
    if (size < 0) return head;
    if (size > (1 << 20)) return -1;
    if ((int64_t)in.size < head + size + 2) return 0;
    struct text body = text_of(in.data + head, (size_t)size);
    if (c->is_acquiring) {
        if (client_take(c, body)) *ret_outcome = OUTCOME_GOOD;
    } else if (c->is_releasing) {
        c->holds = false;
        *ret_outcome = OUTCOME_GOOD;
    } else if (size == 40) { // the hash of a script that was loaded
        memcpy(plan->redis_sha[c->step - 1], body.data, 40);
        *ret_outcome = OUTCOME_GOOD;
    }
    return head + size + 2;
}

const struct workload redis_workloads[] = {
    {"redis", "cycle", 2, cycle_encode, cycle_parse},
    {NULL, NULL, 0, NULL, NULL},
};
