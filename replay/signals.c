#include "replay/signals.h"

#include <stddef.h>

#include "base/banned.h"

static const int ends[] = {SIGINT, SIGTERM, SIGHUP};

#define ENDS_COUNT (sizeof(ends) / sizeof(ends[0]))

void signals_hold(struct signals *s)
{
    (void)sigemptyset(&s->held);
    for (size_t i = 0; i < ENDS_COUNT; i++) {
        // One that is ignored would wait too, were it held.
        struct sigaction action;
        bool is_ignored = sigaction(ends[i], NULL, &action) == 0 && action.sa_handler == SIG_IGN;
        if (!is_ignored) (void)sigaddset(&s->held, ends[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &s->held, &s->before);
}

bool signals_are_waiting(const struct signals *s)
{
    sigset_t waiting;
    if (sigpending(&waiting) != 0) return false;
    for (size_t i = 0; i < ENDS_COUNT; i++) {
        if (sigismember(&s->held, ends[i]) == 1 && sigismember(&waiting, ends[i]) == 1) return true;
    }
    return false;
}

void signals_release(const struct signals *s)
{
    (void)sigprocmask(SIG_SETMASK, &s->before, NULL);
}
