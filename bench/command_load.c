// load: the command line of the generator, and its figures as JSON.
#include "bench/commands.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/error.h"
#include "bench/load.h"
#include "bench/process.h"
#include "bench/script.h"

#include "base/banned.h"

#define BODY_BYTES_MAX (1u << 20)

struct arguments {
    const char *peer, *workload, *type, *state, *script;
    double port, clients, rate, poll_rate, beaters, idle, warmup, seconds, body_bytes, pid, cpu;
};

static const struct option flags[] = {
    {"peer", required_argument, NULL, 'p'},
    {"workload", required_argument, NULL, 'w'},
    {"type", required_argument, NULL, 't'},
    {"state", required_argument, NULL, 's'},
    {"script", required_argument, NULL, 'f'},
    {"port", required_argument, NULL, 'P'},
    {"clients", required_argument, NULL, 'c'},
    {"rate", required_argument, NULL, 'r'},
    {"poll-rate", required_argument, NULL, 'q'},
    {"beaters", required_argument, NULL, 'b'},
    {"idle", required_argument, NULL, 'i'},
    {"warmup", required_argument, NULL, 'W'},
    {"seconds", required_argument, NULL, 'S'},
    {"body-bytes", required_argument, NULL, 'B'},
    {"server-pid", required_argument, NULL, 'x'},
    {"cpu", required_argument, NULL, 'C'},
    {NULL, 0, NULL, 0},
};

static bool read_flag(struct arguments *a, int flag, const char *value)
{
    switch (flag) {
    case 'p': a->peer = value; return true;
    case 'w': a->workload = value; return true;
    case 't': a->type = value; return true;
    case 's': a->state = value; return true;
    case 'f': a->script = value; return true;
    case 'P': return read_number(value, 1, 65535, &a->port);
    case 'c': return read_number(value, 1, LOAD_CLIENTS_MAX, &a->clients);
    case 'r': return read_number(value, 0.1, 1e6, &a->rate);
    case 'q': return read_number(value, 0.1, 1e6, &a->poll_rate);
    case 'b': return read_number(value, 0, LOAD_CLIENTS_MAX, &a->beaters);
    case 'i': return read_number(value, 0, LOAD_CLIENTS_MAX, &a->idle);
    case 'W': return read_number(value, 0, 600, &a->warmup);
    case 'S': return read_number(value, 0.1, 3600, &a->seconds);
    case 'B': return read_number(value, 1, BODY_BYTES_MAX, &a->body_bytes);
    case 'x': return read_number(value, 1, INT32_MAX, &a->pid);
    case 'C': return read_number(value, 0, 1023, &a->cpu);
    default: return false;
    }
}

static bool read_arguments(int argc, char **argv, struct arguments *a)
{
    int flag, index = 0;
    while ((flag = getopt_long(argc, argv, "", flags, &index)) != -1) {
        if (flag == '?') return false;
        if (!read_flag(a, flag, optarg)) {
            complain("--%s cannot be %s", flags[index].name, optarg);
            return false;
        }
    }
    if (optind != argc || a->port == 0) {
        complain("load wants --port, and nothing but flags; see --help");
        return false;
    }
    if (a->beaters > a->clients) {
        complain("--beaters are among the --clients");
        return false;
    }
    return true;
}

static void streams(const struct arguments *a, struct load_options *o)
{
    uint32_t clients = (uint32_t)a->clients, beaters = (uint32_t)a->beaters;
    bool is_heartbeat = strcmp(a->workload, "heartbeat") == 0;
    if (a->rate > 0) {
        o->streams[o->streams_count++] =
            (struct load_stream){.rate = a->rate,
                                 .clients = is_heartbeat ? beaters : clients,
                                 .takes_turns = is_heartbeat};
    }
    if (is_heartbeat && a->poll_rate > 0 && beaters < clients) {
        o->streams[o->streams_count++] = (struct load_stream){.rate = a->poll_rate,
                                                              .first_client = beaters,
                                                              .clients = clients - beaters,
                                                              .takes_turns = true};
    }
}

static void print_result(const struct arguments *a, const struct load_result *r)
{
    struct buffer out;
    buffer_init(&out);
    double seconds = (double)r->measured_ns / (double)NS_PER_S;
    buffer_format(&out,
                  "{\"peer\": \"%s\", \"workload\": \"%s\", \"clients\": %.0f, \"idle\": %.0f, "
                  "\"offered\": %.1f, \"seconds\": %.6f",
                  a->peer, a->workload, a->clients, a->idle, a->rate, seconds);
    buffer_format(&out,
                  ", \"rate\": %.1f, \"good\": %" PRIu64 ", \"refused\": %" PRIu64
                  ", \"wrong\": %" PRIu64 ", \"skipped\": %" PRIu64,
                  (double)(r->good + r->refused) / seconds, r->good, r->refused, r->wrong,
                  r->skipped);
    buffer_format(&out, ", \"longest_gap_ms\": %.3f", (double)r->longest_gap_ns / 1e6);
    buffer_format(&out, ", \"connect_seconds\": %.3f, \"generator_cpu\": %.3f, \"server_cpu\": ",
                  r->connect_seconds, r->generator_cpu);
    if (r->server_cpu < 0)
        buffer_string(&out, "null");
    else
        buffer_format(&out, "%.3f", r->server_cpu);
    buffer_string(&out, ", \"latency_us\": ");
    latency_json(r->latency, &out);
    (void)printf("%.*s}\n", (int)out.size, out.data);
    buffer_release(&out);
}

// {"data":"xxx..."}, of so many bytes of userdata.
static void make_body(uint32_t bytes, struct buffer *out)
{
    buffer_string(out, "{\"data\":\"");
    for (uint32_t i = 0; i < bytes; i++)
        buffer_char(out, (char)('a' + i % 26));
    buffer_string(out, "\"}");
}

static int run(const struct arguments *a, struct load_options *o, struct plan *plan)
{
    char why[512] = "";
    struct load_result result = {.latency = must_calloc(1, sizeof(struct latency))};
    const volatile int *stop = watch_signals();
    int err = load_run(o, stop, &result, why, sizeof(why));
    if (err == 0 && result.wrong > 0) {
        (void)snprintf(why, sizeof(why), "%" PRIu64 " answers were not what was asked for",
                       result.wrong);
        err = BOSKOS_E_MALFORMED;
    }
    if (err == 0)
        print_result(a, &result);
    else
        complain("%s", why);
    free(result.latency);
    scripts_release(plan);
    if (err == BOSKOS_E_STOPPED) return 130;
    return err == 0 ? 0 : 1;
}

int command_load(int argc, char **argv)
{
    struct arguments a = {.peer = "boskos",
                          .workload = "cycle",
                          .type = "t",
                          .state = "free",
                          .clients = 16,
                          .warmup = 1,
                          .seconds = 5,
                          .body_bytes = 1024,
                          .cpu = -1};
    if (!read_arguments(argc, argv, &a)) return 2;
    const struct workload *w = workload_find(a.peer, a.workload);
    if (w == NULL) {
        complain("there is no workload %s of %s; see --help", a.workload, a.peer);
        return 2;
    }
    if (a.cpu >= 0 && process_pin((uint32_t)a.cpu) != 0) {
        complain("cannot run on processor %.0f", a.cpu);
        return 1;
    }
    struct plan plan = {.clients = (uint32_t)a.clients,
                        .type = a.type,
                        .state = a.state,
                        .beaters = (uint32_t)a.beaters};
    if (strcmp(a.workload, "mixed") == 0 && scripts_read(a.script, &plan) != 0) {
        complain("--script: cannot read leases from %s", a.script != NULL ? a.script : "nothing");
        return 1;
    }
    struct buffer body;
    buffer_init(&body);
    make_body((uint32_t)a.body_bytes, &body);
    plan.body = buffer_as_text(&body);
    struct load_options o = {.workload = w,
                             .plan = &plan,
                             .port = (uint16_t)a.port,
                             .idle = (uint32_t)a.idle,
                             .warmup_ns = (uint64_t)(a.warmup * (double)NS_PER_S),
                             .measure_ns = (uint64_t)(a.seconds * (double)NS_PER_S),
                             .server_pid = (int64_t)a.pid};
    streams(&a, &o);
    int code = run(&a, &o, &plan);
    buffer_release(&body);
    return code;
}
