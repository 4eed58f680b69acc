// driver OPTION=VALUE...: libboskos, by lines. Each line of stdin is one call, its words apart by
// spaces ("-" is an empty one); the answer is one line: the code, the status, whether it is in
// doubt, and the reply or the reason. What the log and the heartbeats say comes as lines of their
// own, with "log" or "lost" in front. `cancel MS` cancels what follows after so long.
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/boskos.h"

#define WORDS_MAX 16
#define LINE_BYTES 8192

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *first, const char *second, const char *third)
{
    (void)pthread_mutex_lock(&output);
    (void)printf("%s %s %s\n", first, second, third);
    (void)fflush(stdout);
    (void)pthread_mutex_unlock(&output);
}

static void on_log(void *context, enum boskos_log_level level, const char *line)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    (void)context;
    say("log", levels[level], line);
}

static void on_lost(void *context, const struct boskos_resource *resource, int code)
{
    (void)context;
    say("lost", resource->name, boskos_code_text(code));
}

static void answer(int code, const struct boskos_call *call, const char *text)
{
    char head[64];
    (void)snprintf(head, sizeof(head), "%d %d", code, call->status);
    say(head, call->is_doubted ? "doubted" : "clear", code == 0 ? text : call->text);
}

// ---- options --------------------------------------------------------------------

static const struct {
    const char *name;
    size_t at;
} texts[] = {{"url", offsetof(struct boskos_options, url)},
             {"owner", offsetof(struct boskos_options, owner)},
             {"username", offsetof(struct boskos_options, username)},
             {"password_file", offsetof(struct boskos_options, password_file)},
             {"token_file", offsetof(struct boskos_options, token_file)},
             {"ca_file", offsetof(struct boskos_options, ca_file)}},
  numbers[] = {{"connect_timeout", offsetof(struct boskos_options, connect_timeout_ms)},
               {"request_timeout", offsetof(struct boskos_options, request_timeout_ms)},
               {"call_timeout", offsetof(struct boskos_options, call_timeout_ms)},
               {"settle_timeout", offsetof(struct boskos_options, settle_timeout_ms)},
               {"backoff_first", offsetof(struct boskos_options, backoff_first_ms)},
               {"backoff_most", offsetof(struct boskos_options, backoff_most_ms)},
               {"poll", offsetof(struct boskos_options, poll_ms)}};

static void set_option(struct boskos_options *o, char *argument)
{
    char *value = strchr(argument, '=');
    if (value == NULL) exit(2);
    *value++ = '\0';
    if (strcmp(argument, "attempts") == 0) {
        o->attempts_max = atoi(value);
        return;
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(texts[i].name, argument) == 0) {
            memcpy((char *)o + texts[i].at, &value, sizeof(value));
            return;
        }
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        int64_t number = atoll(value);
        if (strcmp(numbers[i].name, argument) != 0) continue;
        memcpy((char *)o + numbers[i].at, &number, sizeof(number));
        return;
    }
    (void)fprintf(stderr, "no option %s\n", argument);
    exit(2);
}

// ---- calls ----------------------------------------------------------------------

struct words {
    char *at[WORDS_MAX];
    size_t count;
};

static void answer_list(int code, const struct boskos_call *call, struct boskos_resources *list)
{
    size_t size = 3, at = 1;
    for (size_t i = 0; code == 0 && i < list->count; i++) {
        char *json = boskos_resource_json(list->items[i]);
        size += strlen(json) + 1;
        free(json);
    }
    char *text = malloc(size);
    if (text == NULL) abort();
    text[0] = '[';
    for (size_t i = 0; code == 0 && i < list->count; i++) {
        char *json = boskos_resource_json(list->items[i]);
        if (i > 0) text[at++] = ',';
        memcpy(text + at, json, strlen(json));
        at += strlen(json);
        free(json);
    }
    text[at++] = ']';
    text[at] = '\0';
    answer(code, call, text);
    free(text);
    boskos_resources_free(list);
}

static void answer_resource(int code, const struct boskos_call *call, struct boskos_resource *r)
{
    char *json = code == 0 ? boskos_resource_json(r) : NULL;
    answer(code, call, json);
    free(json);
    boskos_resource_free(r);
}

static void acquire(struct boskos_client *c, const struct words *w, struct boskos_call *call)
{
    struct boskos_resource *r = NULL;
    struct boskos_resources *list = NULL;
    if (strcmp(w->at[0], "acquire") == 0) {
        if (w->count > 5 && w->at[5][0] != '\0') call->request_id = w->at[5];
        if (w->count > 6) call->idempotency_key = w->at[6];
        int code = boskos_acquire(c, w->at[1], w->at[2], w->at[3], atoll(w->at[4]), &r, call);
        answer_resource(code, call, r);
    } else if (strcmp(w->at[0], "leased") == 0) {
        int code = boskos_acquire_leased(c, w->at[1], w->at[2], w->at[3], atoll(w->at[4]), &r,
                                         &list, call);
        boskos_resources_free(list);
        answer_resource(code, call, r);
    } else {
        int code = boskos_acquire_by_state(c, w->at[1], w->at[2], (const char *const *)(w->at + 4),
                                           w->count - 4, atoll(w->at[3]), &list, call);
        answer_list(code, call, list);
    }
}

static void change(struct boskos_client *c, const struct words *w, struct boskos_call *call)
{
    struct boskos_pair pair;
    if (strcmp(w->at[0], "release") == 0) {
        answer(boskos_release(c, w->at[1], w->at[2], call), call, "");
    } else if (strcmp(w->at[0], "release_all") == 0) {
        answer(boskos_release_all(c, w->at[1], call), call, "");
    } else {
        const char *state = w->count > 2 && w->at[2][0] != '\0' ? w->at[2] : NULL;
        if (w->count > 4) pair = (struct boskos_pair){w->at[3], w->at[4], strlen(w->at[4])};
        answer(boskos_update(c, w->at[1], state, &pair, w->count > 4 ? 1 : 0, call), call, "");
    }
}

static void reset(struct boskos_client *c, const struct words *w, struct boskos_call *call)
{
    struct boskos_pairs *owners = NULL;
    char text[LINE_BYTES] = "";
    int code = boskos_reset(c, w->at[1], w->at[2], atoll(w->at[3]), w->at[4], &owners, call);
    for (size_t i = 0; code == 0 && i < owners->count; i++) {
        size_t at = strlen(text);
        (void)snprintf(text + at, sizeof(text) - at, "%s=%s ", owners->items[i].key,
                       owners->items[i].value);
    }
    answer(code, call, text);
    boskos_pairs_free(owners);
}

static void read_some(struct boskos_client *c, const struct words *w, struct boskos_call *call)
{
    struct boskos_resource *r = NULL;
    struct boskos_resources *list = NULL;
    struct boskos_metric *metric = NULL;
    if (strcmp(w->at[0], "metric") == 0) {
        int code = boskos_metric(c, w->at[1], &metric, call);
        char *json = code == 0 ? boskos_metric_json(metric) : NULL;
        answer(code, call, json);
        free(json);
        boskos_metric_free(metric);
    } else if (strcmp(w->at[0], "get") == 0) {
        int code = boskos_get(c, w->at[1], &r, call);
        answer_resource(code, call, r);
    } else if (strcmp(w->at[0], "held") == 0) {
        answer_list(0, call, boskos_held(c));
    } else {
        struct boskos_filter filter = {.owners = (const char *const *)(w->at + 1),
                                       .owners_count = w->count - 1};
        int code = boskos_list(c, &filter, &list, call);
        answer_list(code, call, list);
    }
}

static void *cancel_later(void *context)
{
    void **both = context;
    (void)usleep((useconds_t)((uintptr_t)both[1] * 1000));
    boskos_cancel(both[0]);
    return NULL;
}

static bool is_any(const char *word, const char *list)
{
    const char *at = strstr(list, word);
    size_t size = strlen(word);
    return at != NULL && at[-1] == ' ' && at[size] == ' ';
}

static void run(struct boskos_client *c, const struct words *w, struct boskos_cancel *cancel)
{
    struct boskos_call call;
    boskos_call_init(&call);
    call.cancel = cancel;
    if (is_any(w->at[0], " acquire leased bystate "))
        acquire(c, w, &call);
    else if (is_any(w->at[0], " release release_all update "))
        change(c, w, &call);
    else if (strcmp(w->at[0], "reset") == 0)
        reset(c, w, &call);
    else if (is_any(w->at[0], " metric get list held "))
        read_some(c, w, &call);
    else if (strcmp(w->at[0], "heartbeat") == 0)
        answer(boskos_heartbeat(c, atoll(w->at[1]), on_lost, NULL), &call, "");
    else if (strcmp(w->at[0], "forget") == 0)
        answer(boskos_forget(c, w->at[1]), &call, "");
    else if (strcmp(w->at[0], "settle") == 0)
        answer(boskos_settle(c, atoll(w->at[1])), &call, "");
    else
        exit(2);
}

static void read_lines(struct boskos_client *c, struct boskos_cancel *cancel)
{
    static char line[LINE_BYTES];
    static char nothing[] = "";
    pthread_t thread;
    void *both[2] = {cancel, NULL};
    bool has_thread = false;
    while (fgets(line, sizeof(line), stdin) != NULL) {
        struct words w = {.count = 0};
        for (size_t i = 0; i < WORDS_MAX; i++)
            w.at[i] = nothing; // what is missing is empty
        char *rest = line;
        line[strcspn(line, "\n")] = '\0';
        for (char *word; w.count < WORDS_MAX && (word = strtok_r(rest, " ", &rest)) != NULL;)
            w.at[w.count++] = strcmp(word, "-") == 0 ? nothing : word;
        if (w.count == 0) continue;
        if (strcmp(w.at[0], "cancel") == 0 && !has_thread) {
            both[1] = (void *)(uintptr_t)atoll(w.at[1]);
            has_thread = pthread_create(&thread, NULL, cancel_later, both) == 0;
            continue;
        }
        run(c, &w, cancel);
    }
    if (has_thread) (void)pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    struct boskos_options o;
    struct boskos_client *c;
    struct boskos_call call;
    boskos_options_init(&o);
    boskos_call_init(&call);
    o.log = on_log;
    o.owner = "ann";
    for (int i = 1; i < argc; i++)
        set_option(&o, argv[i]);
    int err = boskos_client_new(&o, &c, &call);
    answer(err, &call, "made");
    if (err != 0) return 1;
    struct boskos_cancel *cancel = boskos_cancel_new();
    if (cancel == NULL) return 1;
    read_lines(c, cancel);
    boskos_client_free(c);
    boskos_cancel_free(cancel);
    say("end", "", "");
    return 0;
}
