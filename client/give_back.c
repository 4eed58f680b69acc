// Ends a lease exactly once.
#include "client/give_back.h"

#include <time.h>

#include "base/clock.h"

#include "base/banned.h"

#define TRY_MS 10000 // one release, with what the client repeats of it
#define PAUSE_FIRST_MS 1000
#define PAUSE_MOST_MS 30000
#define PAUSE_ENDING_MS 300

void give_back_options(struct boskos_options *options)
{
    options->attempts_max = 3;
    options->backoff_first_ms = 200;
    options->backoff_most_ms = 2000;
    options->request_timeout_ms = 10000;
    options->call_timeout_ms = 15000;
}

// One try. True when there is nothing more to do.
static bool try_it(const struct program *p, const struct boskos_resource *r, const char *dest,
                   int64_t timeout_ms, int *ret_err, bool *ret_is_doubted)
{
    struct boskos_call call;
    boskos_call_init(&call); // not cancelled by what ends the program
    call.timeout_ms = timeout_ms;
    *ret_err = BOSKOS_ERR_NO_RESOURCE;
    if (boskos_forget(p->client, r->name) != 0) return true;
    *ret_err = boskos_release(p->client, r->name, dest, &call);
    *ret_is_doubted = call.is_doubted != 0;
    if (*ret_err == 0) return true;
    program_log(p, LOG_ERROR, "%s is not released as %s%s: %s", r->name, dest,
                *ret_is_doubted ? " yet" : "", call.text);
    return *ret_is_doubted || *ret_err == BOSKOS_ERR_OWNER || *ret_err == BOSKOS_ERR_NO_RESOURCE ||
           *ret_err == BOSKOS_ERR_ARGUMENT;
}

static void pause_before_next(const struct program *p, int64_t *pause_ms)
{
    if (program_sleep(p, *pause_ms)) {
        *pause_ms = *pause_ms * 2 < PAUSE_MOST_MS ? *pause_ms * 2 : PAUSE_MOST_MS;
        return;
    }
    struct timespec pause = {.tv_nsec = PAUSE_ENDING_MS * (long)NS_PER_MS};
    (void)nanosleep(&pause, NULL);
}

int give_back(const struct program *p, const struct boskos_resource *r, const atomic_bool *is_lost,
              const char *dest, bool *ret_is_doubted)
{
    int64_t pause_ms = PAUSE_FIRST_MS;
    int err = BOSKOS_ERR_TIMEOUT;
    *ret_is_doubted = false;
    for (int64_t left; (left = program_time_left_ms(p)) > 0;) {
        if (is_lost != NULL && atomic_load(is_lost)) return BOSKOS_ERR_NO_RESOURCE;
        if (try_it(p, r, dest, left < TRY_MS ? left : TRY_MS, &err, ret_is_doubted)) return err;
        (void)boskos_hold(p->client, r); // it gets heartbeats, and a loss is seen
        pause_before_next(p, &pause_ms);
    }
    program_log(p, LOG_ERROR, "%s is left as it is: a reaper must see to it", r->name);
    return err;
}

bool is_of_type(const struct program *p, const struct boskos_resource *resource, const char *type)
{
    if (strcmp(resource->type, type) == 0) return true;
    program_log(p, LOG_ERROR, "asked for type %s, and was given %s of type %s", type,
                resource->name, resource->type);
    return false;
}
