// boskosd: reads the command line, opens the parts, waits for signals, closes the parts. Nothing
// else.
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cli.h"
#include "daemon/fault.h"
#include "daemon/maintain.h"
#include "daemon/notify.h"
#include "daemon/options.h"

#include "base/banned.h"

#define WHY_BYTES 1024u
#define HOST_BYTES 256u
#define MMAP_BYTES (1024 * 1024)
#define TRIM_BYTES (8 * 1024 * 1024)

struct daemon {
    struct options options;
    struct log log;
    struct notify notify;
    struct http_server *http;
    struct engine *engine;
    struct engine_recovery recovery;
    char host[HOST_BYTES];
    char why[WHY_BYTES];
};

// What is large (a config on its way into the state, a table that has grown) gets memory of its own
// from the system and gives it back. By itself malloc comes to take it from among the small blocks,
// where it leaves holes that stay this process's memory.
static void memory_settle(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
}

static void end_for(void *context, int exit_code, const char *why)
{
    const struct daemon *d = context;
    log_event(&d->log, LOG_FATAL, why);
    _exit(exit_code);
}

static void batch_done(void *context)
{
    const struct daemon *d = context;
    if (d->http != NULL) http_batch_done(d->http);
}

static void recovering(void *context, uint64_t seq, uint64_t last_seq)
{
    const struct daemon *d = context;
    notify_recovering(&d->notify, seq, last_seq);
}

static int open_http(struct daemon *d)
{
    const struct options *o = &d->options;
    struct http_options options = {.address = o->address,
                                   .api = o->api,
                                   .health = o->health,
                                   .metrics = o->metrics,
                                   .clock = d->log.clock,
                                   .log = &d->log,
                                   .version = BOSKOSD_VERSION};
    return http_open(&options, &d->http, d->why, sizeof(d->why)) == 0 ? 0 : 1;
}

static int open_engine(struct daemon *d)
{
    const struct options *o = &d->options;
    int exit_code = 1;
    gethostname(d->host, sizeof(d->host) - 1);
    struct engine_options options = {.data_dir = o->in_memory ? NULL : o->data_dir,
                                     .config_path = o->config_path,
                                     .strict_config = o->strict_config,
                                     .request_ttl_ns = o->request_ttl_ns,
                                     .snapshot_every = o->snapshot_every,
                                     .retain_ns = o->retain_ns,
                                     .retain_bytes = o->retain_bytes,
                                     .map_bytes = o->map_bytes,
                                     .version = BOSKOSD_VERSION,
                                     .host = d->host,
                                     .clock = d->log.clock,
                                     .log = &d->log,
                                     .batch_done = batch_done,
                                     .fatal = end_for,
                                     .recovering = recovering,
                                     .context = d};
    int err = engine_open(&options, &d->engine, &d->recovery, d->why, sizeof(d->why), &exit_code);
    return err == 0 ? 0 : exit_code;
}

static int start(struct daemon *d)
{
    int err = engine_start(d->engine);
    if (err != 0) {
        snprintf(d->why, sizeof(d->why), "a thread cannot be started: %s", boskos_error_text(err));
        return 1;
    }
    return http_serve(d->http, d->engine, d->why, sizeof(d->why)) == 0 ? 0 : 1;
}

static void say_started(const struct daemon *d)
{
    const struct engine_recovery *r = &d->recovery;
    const struct options *o = &d->options;
    for (uint32_t i = 0; i < o->ignored_count; i++) {
        log_event(&d->log, LOG_WARNING, "a flag of Boskos has no effect here",
                  LOG_F_STRING("flag", o->ignored[i]));
    }
    log_event(&d->log, LOG_INFO, "boskosd is ready", LOG_F_STRING("version", BOSKOSD_VERSION),
              LOG_F_STRING("data_dir", o->in_memory ? "none (--in_memory)" : o->data_dir),
              LOG_F_U64("port", o->api.number), LOG_F_U64("seq", r->seq),
              LOG_F_U64("snapshot", r->snapshot_seq), LOG_F_U64("tail", r->tail),
              LOG_F_U64("resources", r->resources), LOG_F_DURATION("recovery", r->took_ns));
}

// Until then SIGTERM and SIGINT end the process at once: nothing was promised to anyone yet.
static void block_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(how, &set, NULL);
}

static void wait_for_end(struct daemon *d)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    for (;;) {
        struct timespec pause = notify_pause(&d->notify);
        int number = sigtimedwait(&set, NULL, &pause); // below 0: nothing came
        if (number == SIGTERM || number == SIGINT) break;
        if (number == SIGHUP) {
            log_event(&d->log, LOG_INFO, "SIGHUP: reading the config again");
            notify_reloading(&d->notify, d->engine);
            engine_reload(d->engine);
        }
        notify_beat(&d->notify, d->engine);
    }
    notify_stopping(&d->notify);
    log_event(&d->log, LOG_INFO, "ending: answering what is in flight");
}

static int run(struct daemon *d)
{
    sigset_t hangup;
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &hangup, NULL);
    block_signals(SIG_BLOCK); // for the threads to come
    notify_open(&d->notify, &d->log);
    int exit_code = open_http(d);
    if (exit_code != 0) goto out;
    block_signals(SIG_UNBLOCK);
    exit_code = open_engine(d);
    block_signals(SIG_BLOCK);
    if (exit_code == 0) exit_code = start(d);
    if (exit_code != 0) goto out;
    say_started(d);
    notify_ready(&d->notify);
    wait_for_end(d);
    http_drain(d->http);
    engine_stop(d->engine);
    log_event(&d->log, LOG_INFO, "ended");
out:
    if (exit_code != 0) log_event(&d->log, LOG_FATAL, d->why);
    if (d->engine != NULL) engine_stop(d->engine); // it tells http of each batch until then
    http_close(d->http);
    engine_close(d->engine);
    notify_close(&d->notify);
    return exit_code;
}

int main(int argc, char **argv)
{
    struct daemon d = {0};
    memory_settle();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a limit on file sizes is a full disk to us
    switch (options_read(argc, argv, &d.options, d.why, sizeof(d.why))) {
    case OPTIONS_RUN: break;
    case OPTIONS_HELP: return print_help();
    case OPTIONS_VERSION: return cli_print("boskosd", TEXT("boskosd " BOSKOSD_VERSION "\n"));
    case OPTIONS_WRONG: cli_complain("boskosd", "%s", d.why); return 2;
    }
    d.log = (struct log){.fd = STDERR_FILENO,
                         .level = d.options.log_level,
                         .format = d.options.log_format,
                         .clock = clock_system()};
    if (!d.options.in_memory) fault_watch(&d.log, d.options.data_dir);
    if (d.options.compact || d.options.repair || d.options.import != NULL)
        return maintain(&d.options, &d.log);
    if (access(d.options.config_path, R_OK) != 0) {
        cli_complain("boskosd", "--config: %s: %s", d.options.config_path, strerror(errno));
        return 2;
    }
    return run(&d);
}
