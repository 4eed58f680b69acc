// boskosctl acquire, release, update, heartbeat: one lease.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/duration.h"
#include "client/boskosctl/ctl.h"

#include "base/banned.h"

#define LAST_BEAT_MS 2000 // for an answer when the time is all but over

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

// ---- release and update ---------------------------------------------------------

// What a command does to one resource: PROGRAM_OK, or PROGRAM_FAILED after it was said why.
typedef int act_function(struct ctl *ctl, const char *name);

// Another boskosctl acquired it, so what belongs to it is looked up. Only boskosd can be asked.
static int look_up_leased(struct ctl *ctl, struct boskos_names **ret_names)
{
    char reason[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    struct boskos_resource *r = NULL;
    int err = boskos_get(ctl->program.client, ctl->name, &r, &call);
    if (err == 0) {
        err = boskos_resource_leased(r, ret_names);
        boskos_resource_free(r);
        if (err == 0) return PROGRAM_OK;
        (void)snprintf(call.text, sizeof(call.text), "%s", boskos_code_text(err));
        call.status = 0;
    }
    return ctl_say("failed to look up what belongs to resource \"%s\": %s", ctl->name,
                   ctl_reason(err, &call, "", reason));
}

// The resource, and with --with-leased all that belong to it, whatever becomes of the others. The
// resource comes first, as in the library.
static int act_on_all(struct ctl *ctl, act_function *act)
{
    struct boskos_names *names = NULL;
    int code = ctl->with_leased ? look_up_leased(ctl, &names) : PROGRAM_OK;
    if (code != PROGRAM_OK) return code;
    code = act(ctl, ctl->name);
    for (size_t i = 0; names != NULL && i < names->count; i++) {
        if (act(ctl, names->items[i]) != PROGRAM_OK) code = PROGRAM_FAILED;
    }
    boskos_names_free(names);
    return code;
}

static int release_one(struct ctl *ctl, const char *name)
{
    char reason[CTL_REASON_BYTES], what[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    int err = boskos_release(ctl->program.client, name, ctl->target_state, &call);
    if (err == 0) return PROGRAM_OK;
    (void)snprintf(what, sizeof(what), " releasing %s", name);
    return ctl_say("failed to release resource \"%s\": %s", name,
                   ctl_reason(err, &call, what, reason));
}

int ctl_release(struct ctl *ctl)
{
    int code = act_on_all(ctl, release_one);
    return code == PROGRAM_OK ? ctl_print_line("released resource \"%s\"", ctl->name) : code;
}

// Notes are left at the resource alone.
static int update_one(struct ctl *ctl, const char *name)
{
    char reason[CTL_REASON_BYTES], what[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    size_t count = name == ctl->name ? ctl->userdata_count : 0;
    int err = boskos_update(ctl->program.client, name, ctl->state, ctl->userdata, count, &call);
    if (err == 0) return PROGRAM_OK;
    (void)snprintf(what, sizeof(what), " updating %s", name);
    return ctl_say("failed to update resource \"%s\": %s", name,
                   ctl_reason(err, &call, what, reason));
}

int ctl_update(struct ctl *ctl)
{
    int code = act_on_all(ctl, update_one);
    return code == PROGRAM_OK ? ctl_print_line("updated resource \"%s\"", ctl->name) : code;
}

// ---- heartbeat ------------------------------------------------------------------

static uint64_t now_ns(void)
{
    struct clock clock = clock_system();
    return clock_mono_ns(&clock);
}

// What is kept alive: the resource, and with --with-leased those that belong to it, which have the
// same state. Its JSON may come from acquire or be put together by a script, so nothing else of it
// is asked for; its userdata is not sent, which would undo what was stored since. Texts are
// borrowed from the JSON and the names.
struct beaten {
    const char *name;
    uint64_t failures; // in a row
};

struct beats {
    const char *state;
    struct beaten *items; // the first is the resource
    size_t count;
    uint64_t end_ns;
};

static const char *text_member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    bool is_text = text != NULL && strlen(text) == json_string_length(value) && text[0] != '\0';
    return is_text ? text : NULL;
}

// The names in the JSON's userdata; none when there are none.
static int leased_of(const json_t *resource, struct boskos_names **ret_names)
{
    const json_t *userdata = json_object_get(resource, "userdata");
    const json_t *value = json_object_get(userdata, "leasedResources");
    bool is_good = (userdata == NULL || json_is_null(userdata) || json_is_object(userdata)) &&
                   (value == NULL || json_is_string(value));
    if (!is_good) return BOSKOS_ERR_LEASED;
    char key[] = "leasedResources";
    char *text = program_copy(json_string_value(value), json_string_length(value));
    struct boskos_pair pair = {key, text, json_string_length(value)};
    struct boskos_resource r = {.userdata = {&pair, value != NULL ? 1 : 0}};
    int err = boskos_resource_leased(&r, ret_names);
    free(text);
    return err;
}

// One heartbeat, with the line about it. False when there were too many failures.
static bool beat(struct ctl *ctl, const struct beats *beats, struct beaten *b)
{
    char reason[CTL_REASON_BYTES], what[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    uint64_t now = now_ns();
    int64_t left_ms = beats->end_ns > now ? (int64_t)((beats->end_ns - now) / 1000000) : 0;
    int64_t most_ms = ctl->program.options.call_timeout_ms;
    if (left_ms < LAST_BEAT_MS) left_ms = LAST_BEAT_MS;
    call.timeout_ms = left_ms < most_ms ? left_ms : most_ms;
    int err = boskos_update(ctl->program.client, b->name, beats->state, NULL, 0, &call);
    if (err == BOSKOS_ERR_CANCELLED) return true;
    if (err == 0) {
        b->failures = 0;
        return ctl_print_line("heartbeat sent for resource \"%s\"", b->name) == 0;
    }
    (void)snprintf(what, sizeof(what), " updating %s", b->name);
    (void)ctl_say("failed to send heartbeat for resource \"%s\": %s", b->name,
                  ctl_reason(err, &call, what, reason));
    return ++b->failures <= ctl->retries;
}

// One of each. False when one of them had too many failures, which is said.
static bool beat_all(struct ctl *ctl, const struct beats *beats)
{
    const struct beaten *lost = NULL;
    for (size_t i = 0; i < beats->count; i++) {
        if (i > 0 && (program_is_ending(&ctl->program) || now_ns() >= beats->end_ns)) break;
        bool is_good = beat(ctl, beats, &beats->items[i]);
        if (!is_good && lost == NULL) lost = &beats->items[i];
    }
    if (lost != NULL && beats->count > 1)
        (void)ctl_say("no heartbeat reaches \"%s\": nothing keeps the lease of \"%s\" and of what "
                      "belongs to it alive now",
                      lost->name, beats->items[0].name);
    return lost == NULL;
}

static int end_at_timeout(struct ctl *ctl, const char *name)
{
    struct buffer span;
    buffer_init(&span);
    duration_format(ctl->timeout_ns, &span);
    (void)ctl_print_line("reached timeout, stopping heartbeats for resource \"%s\"", name);
    int code = ctl_say("the timeout of %.*s is over: nothing keeps the lease of \"%s\" alive now",
                       TEXT_ARG(buffer_as_text(&span)), name);
    buffer_release(&span);
    return code;
}

static int beat_until(struct ctl *ctl, struct beats *beats)
{
    const char *name = beats->items[0].name;
    uint64_t began = now_ns(), next = began + (uint64_t)ctl->period_ns;
    uint64_t end = ctl->timeout_ns > 0 ? began + (uint64_t)ctl->timeout_ns : began;
    beats->end_ns = end;
    while (!program_is_ending(&ctl->program)) {
        uint64_t now = now_ns();
        if (now >= end) return end_at_timeout(ctl, name);
        uint64_t at = next < end ? next : end;
        if (at > now) {
            (void)program_sleep(&ctl->program, program_ms((int64_t)(at - now)));
            continue;
        }
        if (!beat_all(ctl, beats)) return PROGRAM_FAILED;
        // A period that a slow server took is left out.
        while (next <= now)
            next += (uint64_t)ctl->period_ns;
    }
    return ctl_print_line("received interrupt, stopping heartbeats for resource \"%s\"", name);
}

static int beat_these(struct ctl *ctl, const char *name, const char *state,
                      const struct boskos_names *leased)
{
    size_t count = leased != NULL ? leased->count : 0;
    struct beats beats = {.state = state, .count = count + 1};
    beats.items = must_calloc(beats.count, sizeof(beats.items[0]));
    beats.items[0].name = name;
    for (size_t i = 0; i < count; i++)
        beats.items[i + 1].name = leased->items[i];
    int code = beat_until(ctl, &beats);
    free(beats.items);
    return code;
}

int ctl_heartbeat(struct ctl *ctl)
{
    json_t *json = json_loads(ctl->resource, 0, NULL);
    const char *name = text_member(json, "name"), *state = text_member(json, "state");
    struct boskos_names *leased = NULL;
    int code;
    if (name == NULL || state == NULL)
        code = ctl_say("failed to parse resource: it is no JSON object with name and state");
    else if (ctl->with_leased && leased_of(json, &leased) != 0)
        code = ctl_say("failed to parse resource: its userdata's leasedResources is no list of "
                       "names");
    else
        code = beat_these(ctl, name, state, leased);
    boskos_names_free(leased);
    json_decref(json);
    return code;
}
