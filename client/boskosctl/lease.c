// boskosctl acquire, release, update, heartbeat: one lease.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/duration.h"
#include "client/boskosctl/ctl.h"

#include "base/banned.h"

int ctl_acquire(struct ctl *ctl)
{
    char reason[CTL_REASON_BYTES];
    struct program *p = &ctl->program;
    struct boskos_call call = program_call(p);
    struct boskos_resource *r = NULL;
    struct boskos_resources *leased = NULL;
    int64_t wait_ms = ctl->timeout_ns > 0 ? program_ms(ctl->timeout_ns) : 0;
    int err = ctl->with_leased
                  ? boskos_acquire_leased(p->client, ctl->type, ctl->state, ctl->target_state,
                                          wait_ms, &r, &leased, &call)
                  : boskos_acquire(p->client, ctl->type, ctl->state, ctl->target_state, wait_ms, &r,
                                   &call);
    if (err != 0)
        return ctl_say("failed to acquire a resource: %s", ctl_reason(err, &call, NULL, reason));
    int code = ctl_print_resource(ctl, r);
    // Nobody knows of a lease that was not printed.
    if (code != 0) (void)boskos_release_all(p->client, ctl->state, NULL);
    boskos_resource_free(r);
    boskos_resources_free(leased);
    return code;
}

// Another boskosctl acquired it, so what belongs to it is looked up. Only boskosd can be asked.
static int hold_leased(struct ctl *ctl, struct boskos_names **ret_names, struct boskos_call *call)
{
    struct boskos_resource *r = NULL;
    int err = boskos_get(ctl->program.client, ctl->name, &r, call);
    if (err == 0) err = boskos_resource_leased(r, ret_names);
    boskos_resource_free(r);
    return err;
}

int ctl_release(struct ctl *ctl)
{
    char reason[CTL_REASON_BYTES], what[CTL_REASON_BYTES];
    struct program *p = &ctl->program;
    struct boskos_call call = program_call(p);
    struct boskos_names *names = NULL;
    const char *name = ctl->name;
    int err = ctl->with_leased ? hold_leased(ctl, &names, &call) : 0;
    if (err == 0) err = boskos_release(p->client, name, ctl->target_state, &call);
    for (size_t i = 0; err == 0 && names != NULL && i < names->count; i++) {
        name = names->items[i];
        err = boskos_release(p->client, name, ctl->target_state, &call);
    }
    (void)snprintf(what, sizeof(what), " releasing %s", name);
    int code = err == 0 ? ctl_print_line("released resource \"%s\"", ctl->name)
                        : ctl_say("failed to release resource \"%s\": %s", name,
                                  ctl_reason(err, &call, what, reason));
    boskos_names_free(names);
    return code;
}

int ctl_update(struct ctl *ctl)
{
    char reason[CTL_REASON_BYTES], what[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    int err = boskos_update(ctl->program.client, ctl->name, ctl->state, ctl->userdata,
                            ctl->userdata_count, &call);
    if (err == 0) return ctl_print_line("updated resource \"%s\"", ctl->name);
    (void)snprintf(what, sizeof(what), " updating %s", ctl->name);
    return ctl_say("failed to update resource \"%s\": %s", ctl->name,
                   ctl_reason(err, &call, what, reason));
}

// ---- heartbeat ------------------------------------------------------------------

static uint64_t now_ns(void)
{
    struct clock clock = clock_system();
    return clock_mono_ns(&clock);
}

// What a heartbeat needs of a resource. It may come from acquire or be put together by a script, so
// nothing else of it is asked for; its userdata is not sent, which would undo what was stored
// since. The texts are borrowed from the JSON.
struct beaten {
    const char *name;
    const char *state;
};

static const char *text_member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    bool is_text = text != NULL && strlen(text) == json_string_length(value) && text[0] != '\0';
    return is_text ? text : NULL;
}

// One heartbeat, with the line about it. False when there were too many failures.
static bool beat(struct ctl *ctl, const struct beaten *r, uint64_t *failures)
{
    char reason[CTL_REASON_BYTES], what[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    int err = boskos_update(ctl->program.client, r->name, r->state, NULL, 0, &call);
    if (err == BOSKOS_ERR_CANCELLED) return true;
    if (err == 0) {
        *failures = 0;
        return ctl_print_line("heartbeat sent for resource \"%s\"", r->name) == 0;
    }
    (void)snprintf(what, sizeof(what), " updating %s", r->name);
    (void)ctl_say("failed to send heartbeat for resource \"%s\": %s", r->name,
                  ctl_reason(err, &call, what, reason));
    return ++*failures <= ctl->retries;
}

static int end_at_timeout(struct ctl *ctl, const struct beaten *r)
{
    struct buffer span;
    buffer_init(&span);
    duration_format(ctl->timeout_ns, &span);
    (void)ctl_print_line("reached timeout, stopping heartbeats for resource \"%s\"", r->name);
    int code = ctl_say("the timeout of %.*s is over: nothing keeps the lease of \"%s\" alive now",
                       TEXT_ARG(buffer_as_text(&span)), r->name);
    buffer_release(&span);
    return code;
}

static int beat_until(struct ctl *ctl, const struct beaten *r)
{
    uint64_t failures = 0, began = now_ns(), next = began + (uint64_t)ctl->period_ns;
    uint64_t end = ctl->timeout_ns > 0 ? began + (uint64_t)ctl->timeout_ns : began;
    while (!program_is_ending(&ctl->program)) {
        uint64_t now = now_ns();
        if (now >= end) return end_at_timeout(ctl, r);
        uint64_t at = next < end ? next : end;
        if (at > now) {
            (void)program_sleep(&ctl->program, program_ms((int64_t)(at - now)));
            continue;
        }
        if (!beat(ctl, r, &failures)) return PROGRAM_FAILED;
        // A period that a slow server took is left out.
        while (next <= now)
            next += (uint64_t)ctl->period_ns;
    }
    return ctl_print_line("received interrupt, stopping heartbeats for resource \"%s\"", r->name);
}

int ctl_heartbeat(struct ctl *ctl)
{
    json_t *json = json_loads(ctl->resource, 0, NULL);
    struct beaten r = {text_member(json, "name"), text_member(json, "state")};
    int code = r.name != NULL && r.state != NULL
                   ? beat_until(ctl, &r)
                   : ctl_say("failed to parse resource: it is no JSON object with name and state");
    json_decref(json);
    return code;
}
