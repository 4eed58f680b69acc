// bench/load.h
//
// The load generator: clients with a connection each, all in one thread around one epoll. It does
// not know what it sends: that is a workload's.
//
// A closed loop sends a client's next request when its last one was answered. An open loop sends at
// a rate, and a request's time counts from when it was due: if the server stalls, everything that
// should have been sent meanwhile counts as late, although it was not sent.
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/latency.h"
#include "bench/peer.h"

#define LOAD_CLIENTS_MAX 20000u
#define LOAD_STREAMS_MAX 2u
#define LOAD_BACKLOG_MAX (1u << 20) // requests that are due and have no client

// Requests at even intervals.
struct load_stream {
    double rate;                    // a second
    uint32_t first_client, clients; // whose they are
    bool takes_turns; // each is of one client, in turn; otherwise of any that has time
};

struct load_options {
    const struct workload *workload;
    struct plan *plan; // borrowed; changed
    uint16_t port;     // on 127.0.0.1
    uint32_t idle;     // connections beside the clients', which were used once
    uint64_t warmup_ns, measure_ns;
    struct load_stream streams[LOAD_STREAMS_MAX]; // none: a closed loop
    uint32_t streams_count;
    int64_t server_pid; // whose processor time is told; 0: nobody's
};

struct load_result {
    struct latency *latency; // of what was measured; borrowed from the caller
    uint64_t good, refused, wrong;
    uint64_t skipped;        // were due while their own client still waited for two others
    uint64_t measured_ns;    // how long
    uint64_t longest_gap_ns; // without any answer, in that time
    double generator_cpu;    // of one processor, in that time
    double server_cpu;       // of one processor, children included; negative: not known
    double connect_seconds;  // to connect and set up all clients
};

// Runs the load once. `*stop` set by a signal's handler ends it at once. Returns 0, or a code with
// one line in `why`: BOSKOS_E_STOPPED; BOSKOS_E_IO a connection cannot be made or ends;
// BOSKOS_E_MALFORMED what comes is no answer; BOSKOS_E_TOO_LARGE the backlog.
int load_run(const struct load_options *options, const volatile int *stop,
             struct load_result *ret_result, char *why, size_t why_size);

#endif
