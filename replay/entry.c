#include "replay/entry.h"

#include <inttypes.h>

#include "base/assert.h"
#include "replay/say.h"
#include "wire/wire.h"

#include "base/banned.h"

#define NAMES_SHOWN_MAX 8u // of an acquirebystate

bool entry_has_client(const struct command *c)
{
    return c->kind <= COMMAND_RESET;
}

void entry_json_head(struct output *out, const struct command *c)
{
    say_json_number(out, "{\"seq\":", c->seq);
    say_json_time(out, ",\"time\":", c->time_ns);
    output_format(out, ",\"kind\":\"%s\",\"params\":", command_kind_name(c->kind));
    wire_json_params(c, &out->line);
}

void entry_json_effects(struct output *out, struct walk *w, bool may_drain)
{
    struct sm_change change;
    uint32_t count = walk_changes(w);
    output_string(out, ",\"effects\":[");
    for (uint32_t i = 0; i < count; i++) {
        walk_change(w, i, &change);
        if (i > 0) output_string(out, ",");
        wire_json_change(&change, &out->line);
        if (may_drain) output_drain(out);
    }
    output_string(out, "]}\n");
}

// In parts: a reset names all that it took back.
static void add_reply(struct output *out, const struct command *c, const struct sm_result *result)
{
    struct wire_reply reply;
    struct buffer part;
    uint32_t at = 0;
    bool has_more = true;
    buffer_init(&part);
    say_json_number(out, ",\"status\":", sm_reason_status(result->reason));
    output_string(out, ",\"reply\":\"");
    while (has_more) {
        buffer_clear(&part);
        has_more = wire_result_part(c, result, &at, &reply, &part);
        wire_json_characters(&out->line, buffer_as_text(&part));
        output_drain(out);
    }
    output_string(out, "\"");
    buffer_release(&part);
}

void entry_json(struct output *out, struct walk *w, const struct walk_step *step)
{
    const struct command *c = &step->command;
    entry_json_head(out, c);
    if (entry_has_client(c)) add_reply(out, c, &step->result);
    entry_json_effects(out, w, true);
}

static void refusal(struct output *out, const struct sm_result *result)
{
    switch (result->reason) {
    case SM_OK: return;
    case SM_NO_AVAILABLE: output_string(out, "nothing to hand out"); return;
    case SM_NO_SUCH_TYPE: output_string(out, "no resource of the type"); return;
    case SM_NO_SUCH_RESOURCE: output_string(out, "no such resource"); return;
    case SM_OWNER_MISMATCH:
        if (text_is_empty(result->current_owner)) {
            output_string(out, "nobody owns it");
            return;
        }
        output_string(out, "owned by ");
        output_word(out, result->current_owner);
        return;
    case SM_STATE_MISMATCH:
        output_string(out, "its state is ");
        output_word(out, result->current_state);
        return;
    case SM_QUEUE_FULL: output_string(out, "the queue is full"); return;
    case SM_QUEUES_FULL: output_string(out, "the queues together are full"); return;
    case SM_USERDATA_TOO_LARGE: output_string(out, "the userdata would be too large"); return;
    case SM_KEY_MISMATCH: output_string(out, "its key is that of another acquire"); return;
    }
    ASSERT(false && "a reason that exists");
}

// What a command came to, in a few words: `200 project-01`, `404 nothing to hand out`, `2 changed`.
static void append_result(struct output *out, const struct command *c,
                          const struct sm_result *result, uint32_t changes_count)
{
    if (!entry_has_client(c)) {
        output_format(out, "%" PRIu32 " changed", changes_count);
        return;
    }
    bool is_refused = result->reason != SM_OK;
    output_colour(out, is_refused ? COLOUR_RED : COLOUR_GREEN);
    output_format(out, "%" PRIu32, sm_reason_status(result->reason));
    output_colour(out, COLOUR_NONE);
    if (is_refused) {
        output_string(out, " ");
        refusal(out, result);
    }
    for (uint32_t i = 0; i < result->resources_count && i < NAMES_SHOWN_MAX; i++) {
        output_string(out, " ");
        output_word(out, result->resources[i].name);
    }
    if (result->resources_count > NAMES_SHOWN_MAX)
        output_format(out, " and %" PRIu32 " more", result->resources_count - NAMES_SHOWN_MAX);
    if (result->is_repeat) output_string(out, " again");
    if (c->kind == COMMAND_RESET)
        output_format(out, " %" PRIu32 " taken back", result->reset_count);
}

static int digits(uint64_t number)
{
    int count = 1;
    for (; number >= 10; number /= 10)
        count++;
    return count;
}

void entry_line(struct output *out, const struct walk_step *step, uint32_t changes_count,
                uint64_t last)
{
    const struct command *c = &step->command;
    output_format(out, "%*" PRIu64 "  ", digits(last), c->seq);
    size_t before = out->line.size;
    output_colour(out, COLOUR_DIM);
    size_t colours = out->line.size - before;
    output_time(out, c->time_ns);
    while (out->line.size - before - colours < sizeof("2026-03-01T14:02:00.123456789Z") + 1)
        buffer_char(&out->line, ' ');
    output_colour(out, COLOUR_NONE);
    output_format(out, "%-14s  ", command_kind_name(c->kind));
    before = out->line.size;
    wire_text_params(c, &out->line);
    if (out->line.size > before) output_string(out, "  ");
    output_string(out, "-> ");
    append_result(out, c, &step->result, changes_count);
    output_string(out, "\n");
}
