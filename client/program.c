// What the programs around the server share.
#include "client/program.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

#include "base/banned.h"

#define LINE_BYTES 4096u
#define HELP_HINT_BYTES 128u

// ---- signals --------------------------------------------------------------------
//
// They are blocked in every thread and read by one of their own, so that no handler is needed, nor
// anything global that it could reach.

static void *watch_signals(void *context)
{
    struct program *p = context;
    struct pollfd fds[2] = {{.fd = p->signal_fd, .events = POLLIN},
                            {.fd = p->watch_end_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    for (;;) {
        (void)poll(fds, 2, -1);
        if ((fds[1].revents & POLLIN) != 0) return NULL;
        if ((fds[0].revents & POLLIN) == 0 || read(p->signal_fd, &info, sizeof(info)) <= 0)
            continue;
        int none = 0;
        if (atomic_compare_exchange_strong(&p->signal, &none, (int)info.ssi_signo))
            atomic_store(&p->ending_ms, program_now_ms());
        boskos_cancel(p->stop);
    }
}

static int start_watching(struct program *p)
{
    p->signal_fd = signalfd(-1, &p->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    p->watch_end_fd = eventfd(0, EFD_CLOEXEC);
    if (p->signal_fd < 0 || p->watch_end_fd < 0)
        return program_fail(p, "no file descriptor: %s", strerror(errno));
    p->has_watch = pthread_create(&p->watch, NULL, watch_signals, p) == 0;
    return p->has_watch ? 0 : program_fail(p, "no thread can be had");
}

static void end_watching(struct program *p)
{
    uint64_t one = 1;
    if (p->has_watch && write(p->watch_end_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
        (void)pthread_join(p->watch, NULL);
    p->has_watch = false;
    if (p->signal_fd >= 0) (void)close(p->signal_fd);
    if (p->watch_end_fd >= 0) (void)close(p->watch_end_fd);
    p->signal_fd = p->watch_end_fd = -1;
}

bool program_is_ending(const struct program *p)
{
    return p->stop != NULL && boskos_cancel_is_set(p->stop);
}

int program_signal(const struct program *p)
{
    return atomic_load(&p->signal);
}

int64_t program_now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

int64_t program_ms(int64_t ns)
{
    int64_t ms = ns / 1000000;
    return ms > 0 ? ms : 1;
}

int64_t program_time_left_ms(const struct program *p)
{
    if (!program_is_ending(p)) return INT64_MAX;
    int64_t left = atomic_load(&p->ending_ms) + p->end_within_ms - program_now_ms();
    return left > 0 ? left : 0;
}

bool program_sleep(const struct program *p, int64_t ms)
{
    int64_t end = program_now_ms() + ms;
    struct pollfd fd = {.fd = boskos_cancel_fd(p->stop), .events = POLLIN};
    for (int64_t left; !program_is_ending(p) && (left = end - program_now_ms()) > 0;)
        (void)poll(&fd, 1, left > 60000 ? 60000 : (int)left);
    return !program_is_ending(p);
}

// ---- lines ----------------------------------------------------------------------

void program_log(const struct program *p, enum log_level level, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    if (level > p->log.level) return;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    log_event(&p->log, level, line);
}

int program_fail(struct program *p, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    cli_complain(p->name, "%s", line);
    return PROGRAM_FAILED;
}

int program_usage(struct program *p, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    cli_complain(p->name, "%s; see %s --help", line, p->name);
    return PROGRAM_USAGE;
}

static void on_client_log(void *context, enum boskos_log_level level, const char *line)
{
    static const enum log_level levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR};
    const struct program *p = context;
    log_event(&p->log, levels[level], line);
}

// ---- the command line -----------------------------------------------------------

void program_init(struct program *p, const char *name, const char *owner, const char *help)
{
    *p = (struct program){.name = name,
                          .help = help,
                          .owner = owner,
                          .url = "http://boskos",
                          .log = {.fd = 2, .level = LOG_INFO, .clock = clock_system()},
                          .signal_fd = -1,
                          .watch_end_fd = -1};
    (void)sigemptyset(&p->signals);
    (void)sigaddset(&p->signals, SIGTERM);
    (void)sigaddset(&p->signals, SIGINT);
    boskos_options_init(&p->options);
}

static bool read_log_format(struct program *p, const char *value)
{
    if (strcmp(value, "text") == 0)
        p->log.format = LOG_FORMAT_TEXT;
    else if (strcmp(value, "json") == 0)
        p->log.format = LOG_FORMAT_JSON;
    else
        return cli_wrong(&p->cli, "--log-format: \"%s\" is neither text nor json", value);
    return true;
}

// One limit for whoever waits: for a request, and for all that is repeated of it.
static bool read_request_timeout(struct program *p, const struct cli_argument *a)
{
    int64_t ns;
    if (!cli_span(&p->cli, a->flag->name, a->value, &ns)) return false;
    int64_t ms = program_ms(ns);
    struct boskos_options *o = &p->options;
    o->call_timeout_ms = ms;
    if (o->request_timeout_ms > ms) o->request_timeout_ms = ms;
    if (o->connect_timeout_ms > ms) o->connect_timeout_ms = ms;
    return true;
}

static bool read_shared(struct program *p, const struct cli_argument *a)
{
    switch (a->flag->number) {
    case PROGRAM_FLAG_URL: p->url = a->value; return true;
    case PROGRAM_FLAG_USERNAME: p->username = a->value; return true;
    case PROGRAM_FLAG_PASSWORD_FILE: p->password_file = a->value; return true;
    case PROGRAM_FLAG_TOKEN_FILE: p->token_file = a->value; return true;
    case PROGRAM_FLAG_CA_FILE: p->ca_file = a->value; return true;
    case PROGRAM_FLAG_OWNER: p->owner = a->value; return true;
    case PROGRAM_FLAG_REQUEST_TIMEOUT: return read_request_timeout(p, a);
    case PROGRAM_FLAG_LOG_FORMAT: return read_log_format(p, a->value);
    case PROGRAM_FLAG_LOG_LEVEL:
        if (log_level_parse(a->value, &p->log.level) == 0) return true;
        return cli_wrong(&p->cli,
                         "--log-level: \"%s\" is none of panic fatal error warning info "
                         "debug trace",
                         a->value);
    }
    return true;
}

// --help and --version count wherever they stand.
static bool ends_here(struct program *p, const struct cli_argument *a, int *ret_code)
{
    if (a->flag == NULL) return false;
    if (a->flag->number == PROGRAM_FLAG_HELP) {
        *ret_code = cli_print(p->name, text_from(p->help));
        return true;
    }
    if (a->flag->number != PROGRAM_FLAG_VERSION) return false;
    char line[LINE_BYTES];
    (void)snprintf(line, sizeof(line), "%s %s\n", p->name, boskos_version());
    *ret_code = cli_print(p->name, text_from(line));
    return true;
}

bool program_read(struct program *p, int argc, char **argv, const struct cli_flag *flags,
                  program_argument *argument, void *context, int *ret_code)
{
    char unknown[HELP_HINT_BYTES];
    (void)snprintf(unknown, sizeof(unknown), "there is no such flag; see %s --help", p->name);
    p->cli = (struct cli){.argc = argc,
                          .argv = argv,
                          .flags = flags,
                          .unknown = unknown,
                          .why = p->why,
                          .why_size = sizeof(p->why)};
    struct cli_argument a;
    enum cli_step step;
    bool is_good = true;
    while (is_good && (step = cli_next(&p->cli, &a)) != CLI_END) {
        if (step == CLI_WRONG) {
            is_good = false;
        } else if (ends_here(p, &a, ret_code)) {
            return false;
        } else if (a.flag != NULL && a.flag->number >= PROGRAM_FLAG_URL) {
            is_good = read_shared(p, &a);
        } else {
            is_good = argument(p, &a, context);
        }
    }
    p->cli.unknown = NULL; // it was of this function
    if (is_good) return true;
    cli_complain(p->name, "%s", p->why);
    *ret_code = PROGRAM_USAGE;
    return false;
}

// ---- lists ----------------------------------------------------------------------

char *program_copy(const char *bytes, size_t size)
{
    char *copy = must_malloc(size + 1);
    if (size > 0) memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

bool program_list_has(const struct program_list *list, struct text item)
{
    for (size_t i = 0; i < list->count; i++) {
        if (text_equal(text_from(list->items[i]), item)) return true;
    }
    return false;
}

void program_list_put(struct program_list *list, struct text item)
{
    list->items = must_realloc(list->items, (list->count + 1) * sizeof(char *));
    list->items[list->count++] = program_copy(item.data, item.size);
}

void program_list_put_once(struct program_list *list, struct text item)
{
    if (!program_list_has(list, item)) program_list_put(list, item);
}

bool program_list_add(struct program *p, const char *flag, const char *value,
                      struct program_list *list)
{
    for (const char *at = value; *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (size > 0) {
            if (list->count == PROGRAM_LIST_MAX)
                return cli_wrong(&p->cli, "--%s: more than %u values", flag, PROGRAM_LIST_MAX);
            program_list_put(list, text_of(at, size));
        }
        at += size;
        if (*at == ',') at++;
    }
    return true;
}

void program_list_free(struct program_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct program_list){0};
}

// ---- begin and end --------------------------------------------------------------

int program_start(struct program *p)
{
    struct boskos_call call;
    boskos_call_init(&call);
    p->stop = boskos_cancel_new();
    if (p->stop == NULL) return program_fail(p, "no file descriptor: %s", strerror(errno));
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL); // where it is ignored the end of a child is not to be seen
    (void)pthread_sigmask(SIG_BLOCK, &p->signals, &p->signals_before);
    int code = p->sees_signals ? 0 : start_watching(p);
    if (code != 0) return code;
    p->options.url = p->url;
    p->options.owner = p->owner;
    p->options.username = p->username;
    p->options.password_file = p->password_file;
    p->options.token_file = p->token_file;
    p->options.ca_file = p->ca_file;
    p->options.log = on_client_log;
    p->options.log_context = p;
    int err = boskos_client_new(&p->options, &p->client, &call);
    if (err == 0) return 0;
    (void)program_fail(p, "failed to initialize the Boskos client: %s", call.text);
    return err == BOSKOS_ERR_ARGUMENT ? PROGRAM_USAGE : PROGRAM_FAILED;
}

int program_end(struct program *p, int code)
{
    boskos_client_free(p->client);
    end_watching(p);
    boskos_cancel_free(p->stop);
    p->client = NULL;
    p->stop = NULL;
    return code;
}

struct boskos_call program_call(const struct program *p)
{
    struct boskos_call call;
    boskos_call_init(&call);
    call.cancel = p->stop;
    return call;
}
