// boskosctl metrics, list, get, wait, reset: what there is.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buffer.h"
#include "base/duration.h"
#include "client/boskosctl/ctl.h"

#include "base/banned.h"

#define WAIT_POLL_MS 1000
#define LAST_LOOK_MS 2000 // for an answer when the time is all but over

int ctl_metrics(struct ctl *ctl)
{
    char reason[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    struct boskos_metric *metric = NULL;
    int err = boskos_metric(ctl->program.client, ctl->type, &metric, &call);
    if (err != 0)
        return ctl_say("failed to get metrics for resource \"%s\": %s", ctl->type,
                       ctl_reason(err, &call, "", reason));
    char *json = boskos_metric_json(metric);
    int code = ctl_print_line("%s", json);
    free(json);
    boskos_metric_free(metric);
    return code;
}

int ctl_list(struct ctl *ctl)
{
    static const char *const nobody[] = {""};
    char reason[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    struct boskos_resources *list = NULL;
    struct boskos_filter filter = {
        .types = (const char *const *)ctl->types.items,
        .types_count = ctl->types.count,
        .states = (const char *const *)ctl->states.items,
        .states_count = ctl->states.count,
        .owners = (const char *const *)ctl->owners.items,
        .owners_count = ctl->owners.count,
    };
    if (ctl->owner_filter != NULL && ctl->owner_filter[0] == '\0') {
        filter.owners = nobody;
        filter.owners_count = 1;
    }
    int err = boskos_list(ctl->program.client, &filter, &list, &call);
    if (err != 0)
        return ctl_say("failed to list resources: %s", ctl_reason(err, &call, "", reason));
    int code = ctl_print_resources(ctl, list);
    boskos_resources_free(list);
    return code;
}

int ctl_get(struct ctl *ctl)
{
    char reason[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    struct boskos_resource *r = NULL;
    const char *name = ctl->word != NULL ? ctl->word : ctl->name;
    if (name == NULL) return ctl_say("Error: get needs the NAME of a resource");
    int err = boskos_get(ctl->program.client, name, &r, &call);
    if (err != 0)
        return ctl_say("failed to get resource \"%s\": %s", name,
                       ctl_reason(err, &call, "", reason));
    int code = ctl_print_resource(ctl, r);
    boskos_resource_free(r);
    return code;
}

int ctl_reset(struct ctl *ctl)
{
    char reason[CTL_REASON_BYTES];
    struct boskos_call call = program_call(&ctl->program);
    struct boskos_pairs *owners = NULL;
    int err = boskos_reset(ctl->program.client, ctl->type, ctl->state, ctl->expire_ns,
                           ctl->target_state, &owners, &call);
    if (err != 0)
        return ctl_say("failed to reset resources of type \"%s\": %s", ctl->type,
                       ctl_reason(err, &call, "", reason));
    char *json = boskos_pairs_json(owners);
    int code = ctl_print_line("%s", json);
    free(json);
    boskos_pairs_free(owners);
    return code;
}

// ---- wait -----------------------------------------------------------------------

// Is it so by now? *ret_is_so; an error of the call otherwise.
static int look(struct ctl *ctl, bool *ret_is_so, struct boskos_call *call)
{
    if (ctl->name != NULL) {
        struct boskos_resource *r = NULL;
        int err = boskos_get(ctl->program.client, ctl->name, &r, call);
        if (err == 0) *ret_is_so = strcmp(r->state, ctl->state) == 0;
        boskos_resource_free(r);
        return err == BOSKOS_ERR_NO_RESOURCE ? 0 : err; // it may come
    }
    struct boskos_metric *metric = NULL;
    int err = boskos_metric(ctl->program.client, ctl->type, &metric, call);
    uint64_t there = 0;
    for (size_t i = 0; err == 0 && i < metric->current_count; i++) {
        if (strcmp(metric->current[i].key, ctl->state) == 0)
            there = (uint64_t)metric->current[i].count;
    }
    *ret_is_so = there >= ctl->count;
    boskos_metric_free(metric);
    return err == BOSKOS_ERR_NO_TYPE ? 0 : err;
}

int ctl_wait(struct ctl *ctl)
{
    char reason[CTL_REASON_BYTES];
    struct program *p = &ctl->program;
    if ((ctl->name == NULL) == (ctl->type == NULL))
        return ctl_say("Error: wait needs --type or --name, and not both");
    int64_t end = ctl->timeout_ns > 0 ? program_now_ms() + program_ms(ctl->timeout_ns) : INT64_MAX;
    for (;;) {
        struct boskos_call call = program_call(p);
        int64_t left = end - program_now_ms();
        bool is_so = false;
        if (end != INT64_MAX) call.timeout_ms = left > LAST_LOOK_MS ? left : LAST_LOOK_MS;
        int err = look(ctl, &is_so, &call);
        if (err == 0 && is_so) return PROGRAM_OK;
        if (err != 0 && !boskos_code_is_transient(err))
            return ctl_say("failed to wait: %s", ctl_reason(err, &call, "", reason));
        left = end - program_now_ms();
        if (left <= 0)
            return ctl_say("failed to wait: %s%s", err != 0 ? call.text : "",
                           err != 0 ? "" : "the timeout is over, and it is not so yet");
        if (!program_sleep(p, left < WAIT_POLL_MS ? left : WAIT_POLL_MS))
            return ctl_say("failed to wait: interrupted");
    }
}
