#include "replay/say_lease.h"

#include <inttypes.h>

#include "base/banned.h"

void say_lease_begin(struct output *out, const struct lease *l, uint64_t now_ns)
{
    if (l->begin.seq == 0) {
        output_format(out, "before command %" PRIu64 " (no longer kept)", l->begin_before);
        return;
    }
    say_command(out, l->begin.seq, l->begin.time_ns);
    output_string(out, ", ");
    say_age(out, now_ns - l->begin.time_ns);
    output_format(out, " before: %s", command_kind_name(l->begin.kind));
    if (text_is_empty(l->request_id)) return;
    output_string(out, ", request ");
    output_word(out, l->request_id);
    if (l->waited_ns == 0) return;
    output_string(out, ", waited ");
    say_age(out, l->waited_ns);
}

static const char *end_verb(enum command_kind kind)
{
    switch (kind) {
    case COMMAND_RELEASE: return "released";
    case COMMAND_RESET: return "taken back by reset";
    case COMMAND_REAP: return "taken back by the reaper";
    case COMMAND_ACQUIRE:
    case COMMAND_ACQUIREBYSTATE:
    case COMMAND_UPDATE:
    case COMMAND_CONFIG:
    case COMMAND_EXPIRE:
    case COMMAND_CLEAN:
    case COMMAND_CLOCK:
    case COMMAND_STARTED:
    case COMMAND_REPAIRED:
    case COMMAND_IMPORT: break;
    }
    return command_kind_name(kind);
}

void say_lease_end(struct output *out, const struct lease *l)
{
    say_command(out, l->end.seq, l->end.time_ns);
    output_format(out, ": %s", end_verb(l->end.kind));
    if (l->is_removed) {
        output_string(out, ", and removed");
    } else {
        output_string(out, " to ");
        output_word(out, l->end_state);
    }
    if (l->end.kind == COMMAND_RELEASE) return;
    output_string(out, ", last heard of ");
    say_age(out, l->end.time_ns - l->heard_ns);
    output_string(out, " before");
}

void say_lease_heartbeats(struct output *out, const struct lease *l, uint64_t now_ns)
{
    output_format(out, "%" PRIu64 "%s, last heard of ", l->heartbeats,
                  l->begin.seq == 0 ? " that are kept" : "");
    say_age(out, now_ns - l->lastupdate_ns);
    output_string(out, " before");
}

void say_json_event(struct output *out, const char *before, const struct lease_event *e)
{
    output_string(out, before);
    say_json_number(out, "{\"seq\":", e->seq);
    say_json_time(out, ",\"time\":", e->time_ns);
    output_format(out, ",\"kind\":\"%s\"", command_kind_name(e->kind));
}

void say_json_lease(struct output *out, const struct lease *l)
{
    if (l->begin.seq == 0) {
        output_string(out, "\"since\":null");
        say_json_number(out, ",\"since-before\":", l->begin_before);
    } else {
        say_json_event(out, "\"since\":", &l->begin);
        if (!text_is_empty(l->request_id)) {
            say_json_text(out, ",\"request_id\":", l->request_id);
            say_json_span(out, ",\"waited\":", l->waited_ns);
        }
        output_string(out, "}");
    }
    say_json_number(out, ",\"heartbeats\":", l->heartbeats);
}

void say_json_lease_end(struct output *out, const struct lease *l)
{
    if (l->end.seq == 0) {
        output_string(out, ",\"end\":null");
        return;
    }
    say_json_event(out, ",\"end\":", &l->end);
    if (l->is_removed)
        output_string(out, ",\"state\":null");
    else
        say_json_text(out, ",\"state\":", l->end_state);
    say_json_time(out, ",\"lastupdate\":", l->heard_ns);
    output_string(out, "}");
}

void say_json_past_lease(struct output *out, const char *before, const struct lease *l)
{
    output_string(out, before);
    if (l->end.seq == 0) {
        output_string(out, "null");
        return;
    }
    say_json_text(out, "{\"owner\":", l->owner);
    output_string(out, ",");
    say_json_lease(out, l);
    say_json_lease_end(out, l);
    output_string(out, "}");
}
