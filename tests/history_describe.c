#include <inttypes.h>

#include "tests/history_make.h"

#include "base/banned.h"

static void word(struct buffer *out, struct text t)
{
    if (t.data == NULL)
        buffer_string(out, " -");
    else
        buffer_format(out, " '%.*s'", TEXT_ARG(t));
}

static void words(struct buffer *out, const struct text *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        word(out, list[i]);
}

static void describe_entry(struct buffer *out, const struct sm_entry *e)
{
    buffer_string(out, "\n      entry");
    word(out, e->type);
    word(out, e->state);
    if (e->is_dynamic) {
        buffer_format(out, " min %" PRId64 " max %" PRId64, e->min_count, e->max_count);
        if (e->has_lifespan) buffer_format(out, " lifespan %" PRId64, e->lifespan_ns);
    }
    words(out, e->names, e->names_count);
    if (e->reaper == SM_REAPER_OFF) buffer_string(out, " reaper off");
    if (e->reaper == SM_REAPER_EXPIRE) buffer_format(out, " reaper %" PRId64, e->reaper_expire_ns);
}

static void describe_config(struct buffer *out, const struct command_config *c)
{
    buffer_string(out, c->cleaner_enabled ? " cleaner" : "");
    if (c->reaper_enabled) {
        buffer_format(out, " reaper expire %" PRId64 " period %" PRId64 " of", c->reaper_expire_ns,
                      c->reaper_period_ns);
        words(out, c->reaper_states, c->reaper_states_count);
        buffer_string(out, " to");
        word(out, c->reaper_target);
    }
    for (uint32_t i = 0; i < c->entries_count; i++)
        describe_entry(out, &c->entries[i]);
}

static void describe_update(struct buffer *out, const struct command_update *u)
{
    words(out, (const struct text[]){u->name, u->owner, u->state}, 3);
    if (!u->has_body) buffer_string(out, " no body");
    for (uint32_t i = 0; i < u->pairs_count; i++) {
        word(out, u->pairs[i].key);
        buffer_char(out, '=');
        word(out, u->pairs[i].value);
    }
}

static void describe_import(struct buffer *out, const struct command_import *c)
{
    for (uint32_t i = 0; i < c->cycles_count; i++)
        describe_entry(out, &c->cycles[i]);
    for (uint32_t i = 0; i < c->resources_count; i++) {
        const struct sm_imported *r = &c->resources[i];
        buffer_string(out, "\n      resource");
        words(out, (const struct text[]){r->name, r->type, r->state, r->owner}, 4);
        buffer_format(out, " updated %" PRIu64 " expires %" PRIu64, r->lastupdate_ns,
                      r->expires_ns);
        for (uint32_t k = 0; k < r->userdata_count; k++) {
            word(out, r->userdata[k].key);
            buffer_char(out, '=');
            word(out, r->userdata[k].value);
        }
    }
}

#define WORDS(...)                                 \
    words(out, (const struct text[]){__VA_ARGS__}, \
          sizeof((const struct text[]){__VA_ARGS__}) / sizeof(struct text))

void command_describe(const struct command *c, struct buffer *out)
{
    buffer_format(out, "%6" PRIu64 " %" PRIu64 " %s", c->seq, c->time_ns,
                  command_kind_name(c->kind));
    switch (c->kind) {
    case COMMAND_ACQUIRE:
        WORDS(c->as.acquire.type, c->as.acquire.state, c->as.acquire.dest, c->as.acquire.owner,
              c->as.acquire.request_id, c->as.acquire.key);
        break;
    case COMMAND_ACQUIREBYSTATE:
        WORDS(c->as.acquirebystate.state, c->as.acquirebystate.dest, c->as.acquirebystate.owner,
              c->as.acquirebystate.names);
        break;
    case COMMAND_RELEASE: WORDS(c->as.release.name, c->as.release.dest, c->as.release.owner); break;
    case COMMAND_UPDATE: describe_update(out, &c->as.update); break;
    case COMMAND_RESET:
        WORDS(c->as.reset.type, c->as.reset.state, c->as.reset.dest, c->as.reset.expire);
        break;
    case COMMAND_CONFIG: describe_config(out, &c->as.config); break;
    case COMMAND_EXPIRE:
    case COMMAND_REAP: break;
    case COMMAND_CLEAN:
        WORDS(c->as.clean.name, c->as.clean.leased);
        buffer_string(out, " names");
        words(out, c->as.clean.names, c->as.clean.names_count);
        break;
    case COMMAND_CLOCK: buffer_format(out, " ahead %" PRIu64, c->as.clock.ahead_ns); break;
    case COMMAND_STARTED:
        buffer_format(out, " downtime %" PRIu64 " ttl %" PRId64, c->as.started.downtime_ns,
                      c->as.started.request_ttl_ns);
        break;
    case COMMAND_REPAIRED:
        buffer_format(out, " downtime %" PRIu64, c->as.repaired.downtime_ns);
        break;
    case COMMAND_IMPORT: describe_import(out, &c->as.import); break;
    }
    buffer_char(out, '\n');
}
