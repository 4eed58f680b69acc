#include "replay/state_json.h"

#include <inttypes.h>

#include "replay/say.h"
#include "wire/wire.h"

#include "base/banned.h"

struct list {
    struct output *out;
    bool is_begun;
};

static bool add_resource(void *context, const struct sm_resource *r)
{
    struct list *l = context;
    if (l->is_begun) output_string(l->out, ",");
    l->is_begun = true;
    wire_json_resource(&l->out->line, r, WIRE_TIMES_NANO);
    output_drain(l->out);
    return true;
}

static bool add_queue_entry(void *context, const struct sm_queue_entry *e)
{
    struct list *l = context;
    wire_json_queue_entry(e, !l->is_begun, &l->out->line);
    l->is_begun = true;
    output_drain(l->out);
    return true;
}

static int add_config(struct output *out, struct sm *sm)
{
    struct command c = {0};
    struct command_decoder *decoder = command_decoder_new();
    int err = 0;
    if (sm_has_config(sm)) err = command_decode(decoder, COMMAND_CONFIG, sm_config_bytes(sm), &c);
    if (err == 0) wire_json_config(sm_has_config(sm) ? &c.as.config : NULL, &out->line);
    command_decoder_free(decoder);
    return err;
}

int replay_state_json(struct output *out, struct sm *sm, const struct sm_filter *filter)
{
    struct list resources = {.out = out}, queues = {.out = out};
    say_json_number(out, "{\"seq\":", sm_seq(sm));
    if (sm_seq(sm) == 0)
        output_string(out, ",\"time\":null"); // before the first command there is no time
    else
        say_json_time(out, ",\"time\":", sm_time_ns(sm));
    output_string(out, ",\"resources\":[");
    (void)sm_list(sm, filter, add_resource, &resources);
    output_string(out, "],\"queues\":[");
    sm_queues(sm, sm_time_ns(sm), add_queue_entry, &queues);
    output_string(out, queues.is_begun ? "]}],\"dynamic\":" : "],\"dynamic\":");
    wire_json_life_cycles(sm, &out->line);
    output_string(out, ",\"config\":");
    int err = add_config(out, sm);
    struct hash128 digest = sm_digest(sm);
    output_format(out, ",\"digest\":\"%016" PRIx64 "%016" PRIx64 "\"}\n", digest.high, digest.low);
    return err;
}
