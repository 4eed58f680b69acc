#include <inttypes.h>

#include "wire/internal.h"

#include "base/banned.h"

// Appends `before`, then the text as YAML takes it too.
static void member(struct buffer *out, const char *before, struct text value)
{
    buffer_string(out, before);
    json_yaml_string(out, value);
}

static void append_list(struct buffer *out, const char *before, const struct text *list,
                        uint32_t count)
{
    buffer_string(out, before);
    buffer_char(out, '[');
    for (uint32_t i = 0; i < count; i++)
        member(out, i == 0 ? "" : ",", list[i]);
    buffer_char(out, ']');
}

static void append_life_cycle(struct buffer *out, const struct sm_entry *e)
{
    buffer_format(out, ",\"min-count\":%" PRId64 ",\"max-count\":%" PRId64, e->min_count,
                  e->max_count);
    if (e->has_lifespan) json_duration(out, ",\"lifespan\":", e->lifespan_ns);
    for (uint32_t i = 0; i < e->needs_count; i++) {
        member(out, i == 0 ? ",\"needs\":{" : ",", e->needs[i].type);
        buffer_format(out, ":%" PRId64, e->needs[i].count);
    }
    if (e->needs_count > 0) buffer_char(out, '}');
    if (e->has_config) {
        member(out, ",\"config\":{\"type\":", e->config_type);
        member(out, ",\"content\":", e->config_content);
        buffer_char(out, '}');
    }
}

static void append_entry(struct buffer *out, const struct sm_entry *e)
{
    member(out, "{\"type\":", e->type);
    member(out, ",\"state\":", e->state);
    if (e->is_dynamic)
        append_life_cycle(out, e);
    else
        append_list(out, ",\"names\":", e->names, e->names_count);
    switch (e->reaper) {
    case SM_REAPER_INHERIT: break;
    case SM_REAPER_OFF: buffer_string(out, ",\"reaper\":\"off\""); break;
    case SM_REAPER_EXPIRE:
        json_duration(out, ",\"reaper\":{\"expire\":", e->reaper_expire_ns);
        buffer_char(out, '}');
        break;
    }
    buffer_char(out, '}');
}

// What boskosd has beyond Boskos: nothing unless something of it is on.
static void append_ours(struct buffer *out, const struct command_config *c)
{
    if (!c->reaper_enabled && !c->cleaner_enabled) return;
    buffer_string(out, ",\"boskosd\":{");
    if (c->reaper_enabled) {
        json_duration(out, "\"reaper\":{\"expire\":", c->reaper_expire_ns);
        append_list(out, ",\"states\":", c->reaper_states, c->reaper_states_count);
        member(out, ",\"target-state\":", c->reaper_target);
        json_duration(out, ",\"period\":", c->reaper_period_ns);
        buffer_char(out, '}');
    }
    if (c->cleaner_enabled) {
        if (c->reaper_enabled) buffer_char(out, ',');
        buffer_string(out, "\"cleaner\":{\"enabled\":true}");
    }
    buffer_char(out, '}');
}

void json_entries(struct buffer *out, const struct sm_entry *entries, uint32_t count)
{
    buffer_char(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) buffer_char(out, ',');
        append_entry(out, &entries[i]);
    }
    buffer_char(out, ']');
}

void wire_json_config(const struct command_config *config, struct buffer *out)
{
    if (config == NULL) {
        buffer_string(out, "null");
        return;
    }
    buffer_string(out, "{\"resources\":");
    json_entries(out, config->entries, config->entries_count);
    append_ours(out, config);
    buffer_char(out, '}');
}
