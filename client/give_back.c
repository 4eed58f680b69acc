// Ends a lease exactly once.
#include "client/give_back.h"

#include <time.h>

#include "base/clock.h"

#include "base/banned.h"

#define PAUSE_FIRST_MS 1000
#define PAUSE_MOST_MS 30000
#define LAST_TRIES 3 // when the program is to end
#define LAST_PAUSE_MS 300

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

int give_back(const struct program *p, const struct boskos_resource *r, const char *dest,
              int64_t timeout_ms, bool *ret_is_doubted)
{
    int64_t pause_ms = PAUSE_FIRST_MS;
    int err = 0;
    *ret_is_doubted = false;
    for (int last = 0; !try_it(p, r, dest, timeout_ms, &err, ret_is_doubted);) {
        if (program_is_ending(p) && ++last == LAST_TRIES) return err;
        (void)boskos_hold(p->client, r); // it gets heartbeats, and a loss is seen
        if (program_sleep(p, pause_ms)) {
            pause_ms = pause_ms * 2 < PAUSE_MOST_MS ? pause_ms * 2 : PAUSE_MOST_MS;
        } else {
            struct timespec pause = {.tv_nsec = LAST_PAUSE_MS * (long)NS_PER_MS};
            (void)nanosleep(&pause, NULL);
        }
    }
    return err;
}
