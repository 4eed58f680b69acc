// bench/peer.h
//
// What the load generator asks of a server it speaks to: the bytes of a client's next request, and
// what the answer says. A workload is one way to use one kind of server. It does no I/O and knows
// no time, so that every server is met by the same generator.
//
// One thread.
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "base/buffer.h"

#define HELD_BYTES 96u
#define SCRIPTS_MAX (1u << 20)

enum outcome {
    OUTCOME_GOOD,
    OUTCOME_REFUSED, // as was to be expected: nothing free
    OUTCOME_WRONG    // nothing that the workload expects
};

// Requests that one client sends one after the other, with the name that its acquire brought where
// they hold the byte 1: one lease of a recorded log, or a request without one.
struct script {
    struct text *requests; // whole, ready to be sent but for the name
    uint32_t count;
};

// What all clients of a run share.
struct plan {
    uint32_t clients;
    const char *type;  // of the resources
    const char *state; // in which they are free
    uint32_t beaters;  // of the clients, the first: they hold a lease each; the others poll
    struct text body;  // of updates
    bool is_ending;    // who holds something gives it back, the others are finished

    struct script *scripts;
    uint32_t scripts_count, scripts_next;

    char redis_sha[2][41]; // of the scripts to acquire and to release; learned when they are loaded
};

struct client {
    uint32_t number;
    uint32_t step;         // requests sent since it connected
    bool holds;            // a lease, by its name below
    bool is_acquiring;     // the request under way asks for one
    bool is_releasing;     // or gives it back
    uint32_t script, line; // where it is in the plan's scripts
    char held[HELD_BYTES]; // not terminated
    uint32_t held_size;
};

struct workload {
    const char *peer, *name;
    uint32_t setup; // requests of each client that come before anything is measured

    // Appends the client's next request. While `plan->is_ending` it is called for clients that hold
    // something only.
    void (*encode)(struct plan *plan, struct client *c, struct buffer *out);

    // Looks at what has come in since the request. Returns how many bytes the answer has, 0 when
    // more must come, -1 when it is no answer.
    int64_t (*parse)(struct plan *plan, struct client *c, struct text in,
                     enum outcome *ret_outcome);
};

// NULL when there is none of that name.
const struct workload *workload_find(const char *peer, const char *name);

// Appends "PEER WORKLOAD" of each, one a line.
void workload_list(struct buffer *out);

// The lists, one a server; they end with a row of NULLs.
extern const struct workload boskos_workloads[];
extern const struct workload redis_workloads[];
extern const struct workload postgres_workloads[];
extern const struct workload etcd_workloads[];
extern const struct workload beanstalkd_workloads[];

// ---- HTTP, for those who speak it -------------------------------------------------------

struct http_answer {
    uint32_t status;
    struct text body;
    int64_t size; // of head and body
};

// Looks for a whole answer with a Content-Length. Returns its size, 0 when more must come, -1 when
// it is none.
int64_t http_parse(struct text in, struct http_answer *ret_answer);

// ---- shared -------------------------------------------------------------------------------

// Keeps the name that the client was given; false when it is too long.
bool client_take(struct client *c, struct text name);

#endif
