#include "base/assert.h"
#include "wire/internal.h"

#include "base/banned.h"

// When a queue is full or the server ends: a few polls of the usual three seconds.
#define RETRY_AFTER_S 10u

#define PART_BYTES ((size_t)64 * 1024)

const char *wire_content_type(enum wire_content content)
{
    switch (content) {
    case WIRE_CONTENT_NONE: return NULL;
    case WIRE_CONTENT_TEXT: return "text/plain; charset=utf-8";
    case WIRE_CONTENT_JSON: return "application/json";
    case WIRE_CONTENT_PROBLEM: return "application/problem+json";
    }
    ASSERT(false);
    return NULL;
}

bool call_is_v1(enum wire_call call)
{
    return call >= WIRE_V1_RESOURCES;
}

static uint32_t retry_after_s(uint32_t status)
{
    return status == 503 ? RETRY_AFTER_S : 0;
}

struct wire_reply reply_error(uint32_t status)
{
    return (struct wire_reply){.status = status,
                               .content = WIRE_CONTENT_TEXT,
                               .nosniff = true,
                               .retry_after_s = retry_after_s(status)};
}

static const char *status_title(uint32_t status)
{
    static const struct {
        uint32_t status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
        if (titles[i].status == status) return titles[i].title;
    return "Error";
}

struct wire_reply reply_problem(uint32_t status, struct text detail, struct buffer *out)
{
    buffer_format(out, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":",
                  status_title(status), status);
    wire_json_string(out, detail);
    buffer_char(out, '}');
    return (struct wire_reply){.status = status,
                               .content = WIRE_CONTENT_PROBLEM,
                               .nosniff = true,
                               .retry_after_s = retry_after_s(status),
                               .allow = status == 405 ? "GET" : NULL};
}

void wire_refusal(enum wire_call call, uint32_t status, const char *message,
                  struct wire_reply *ret_reply, struct buffer *out)
{
    if (call_is_v1(call)) {
        *ret_reply = reply_problem(status, text_from(message), out);
        return;
    }
    buffer_string(out, message);
    buffer_char(out, '\n');
    *ret_reply = reply_error(status);
}

// Appends "no available resource WHAT, try again later."
static void append_no_available(struct buffer *out, struct text what)
{
    buffer_string(out, "no available resource ");
    buffer_text(out, what);
    buffer_string(out, ", try again later.");
}

static void append_acquire_refusal(const struct command_acquire *c, const struct sm_result *result,
                                   struct buffer *out)
{
    buffer_string(out, "Acquire failed: ");
    switch (result->reason) {
    case SM_NO_AVAILABLE: append_no_available(out, c->type); return;
    case SM_NO_SUCH_TYPE:
        buffer_string(out, "resource type ");
        wire_go_quote(out, c->type);
        buffer_string(out, " does not exist");
        return;
    case SM_QUEUE_FULL:
        buffer_string(out, "the queue for type ");
        buffer_text(out, c->type);
        buffer_string(out, " and state ");
        buffer_text(out, c->state);
        buffer_format(out, " is full (%u requests), try again later.", SM_QUEUE_ENTRIES_MAX);
        return;
    case SM_QUEUES_FULL:
        buffer_format(out, "the queues together are full (%u requests), try again later.",
                      SM_QUEUE_ENTRIES_TOTAL_MAX);
        return;
    case SM_KEY_MISMATCH:
        buffer_string(out, "the Idempotency-Key of ");
        buffer_text(out, c->owner);
        buffer_string(out, " belongs to a lease that was acquired with other parameters");
        return;
    case SM_OK:
    case SM_NO_SUCH_RESOURCE:
    case SM_OWNER_MISMATCH:
    case SM_STATE_MISMATCH:
    case SM_USERDATA_TOO_LARGE: break;
    }
    ASSERT(false); // no reason of an acquire
}

// What release and update have in common: "N - STATE (OWNER): " and why it failed. `before` stands
// before the owner.
static void append_named_refusal(const char *failed, struct text name, struct text state,
                                 const char *before, struct text owner,
                                 const struct sm_result *result, struct buffer *out)
{
    buffer_string(out, failed);
    buffer_text(out, name);
    buffer_string(out, " - ");
    buffer_text(out, state);
    buffer_string(out, before);
    buffer_text(out, owner);
    buffer_string(out, "): ");

    switch (result->reason) {
    case SM_NO_SUCH_RESOURCE: append_no_available(out, name); return;
    case SM_OWNER_MISMATCH:
        buffer_string(out, "owner mismatch request by ");
        buffer_text(out, owner);
        buffer_string(out, ", currently owned by ");
        buffer_text(out, result->current_owner);
        return;
    case SM_STATE_MISMATCH:
        buffer_string(out, "state mismatch - expected ");
        buffer_text(out, result->current_state);
        buffer_string(out, ", current ");
        buffer_text(out, state);
        return;
    case SM_USERDATA_TOO_LARGE:
        buffer_format(out, "the userdata would be larger than 1 MiB (%u bytes of keys and values)",
                      SM_USERDATA_BYTES_MAX);
        return;
    case SM_OK:
    case SM_NO_AVAILABLE:
    case SM_NO_SUCH_TYPE:
    case SM_QUEUE_FULL:
    case SM_QUEUES_FULL:
    case SM_KEY_MISMATCH: break;
    }
    ASSERT(false); // no reason of a release or an update
}

static struct wire_reply refusal(const struct command *c, const struct sm_result *result,
                                 struct buffer *out)
{
    switch (c->kind) {
    case COMMAND_ACQUIRE: append_acquire_refusal(&c->as.acquire, result, out); break;
    case COMMAND_ACQUIREBYSTATE:
        ASSERT(result->reason == SM_NO_AVAILABLE);
        buffer_string(out, "AcquireByState: ");
        append_no_available(out, c->as.acquirebystate.state);
        break;
    case COMMAND_RELEASE:
        append_named_refusal("Done failed: ", c->as.release.name, c->as.release.dest, " (from ",
                             c->as.release.owner, result, out);
        break;
    case COMMAND_UPDATE:
        append_named_refusal("Update failed: ", c->as.update.name, c->as.update.state, " (",
                             c->as.update.owner, result, out);
        break;
    case COMMAND_RESET:
    case COMMAND_CONFIG:
    case COMMAND_EXPIRE:
    case COMMAND_REAP:
    case COMMAND_CLEAN:
    case COMMAND_CLOCK:
    case COMMAND_STARTED:
    case COMMAND_REPAIRED:
    case COMMAND_IMPORT: ASSERT(false); break; // these are never refused
    }
    buffer_char(out, '\n');
    return reply_error(sm_reason_status(result->reason));
}

// Of a list the next part, from *at on; are there more?
static bool append_resources(const struct sm_result *result, uint32_t *at, struct buffer *out)
{
    size_t end = out->size + PART_BYTES;
    if (*at == 0) buffer_char(out, '[');
    for (; *at < result->resources_count && out->size < end; ++*at) {
        if (*at > 0) buffer_char(out, ',');
        wire_json_resource(out, &result->resources[*at], WIRE_TIMES_SECONDS);
    }
    if (*at < result->resources_count) return true;
    buffer_string(out, "]\n");
    return false;
}

static bool append_reset(const struct sm_result *result, uint32_t *at, struct buffer *out)
{
    size_t end = out->size + PART_BYTES;
    if (*at == 0) buffer_char(out, '{');
    for (; *at < result->reset_count && out->size < end; ++*at) {
        struct sm_reset reset = sm_reset(result, *at);
        json_member(out, *at == 0 ? "" : ",", reset.name);
        json_member(out, ":", reset.owner);
    }
    if (*at < result->reset_count) return true;
    buffer_char(out, '}');
    return false;
}

bool wire_result_part(const struct command *c, const struct sm_result *result, uint32_t *at,
                      struct wire_reply *ret_reply, struct buffer *out)
{
    if (result->reason != SM_OK) {
        *ret_reply = refusal(c, result, out);
        return false;
    }
    bool has_more = false;
    // What these calls print is JSON, but Boskos leaves the naming to Go, which finds text in it.
    enum wire_content content = WIRE_CONTENT_TEXT;
    switch (c->kind) {
    case COMMAND_ACQUIRE:
        ASSERT(result->resources_count == 1);
        wire_json_resource(out, &result->resources[0], WIRE_TIMES_SECONDS);
        break;
    case COMMAND_ACQUIREBYSTATE: has_more = append_resources(result, at, out); break;
    case COMMAND_RESET: has_more = append_reset(result, at, out); break;
    case COMMAND_RELEASE:
    case COMMAND_UPDATE: content = WIRE_CONTENT_NONE; break;
    case COMMAND_CONFIG:
    case COMMAND_EXPIRE:
    case COMMAND_REAP:
    case COMMAND_CLEAN:
    case COMMAND_CLOCK:
    case COMMAND_STARTED:
    case COMMAND_REPAIRED:
    case COMMAND_IMPORT: ASSERT(false); break; // nobody waits for a reply to these
    }
    *ret_reply = (struct wire_reply){.status = 200, .content = content};
    return has_more;
}

void wire_result(const struct command *c, const struct sm_result *result,
                 struct wire_reply *ret_reply, struct buffer *out)
{
    uint32_t at = 0;
    while (wire_result_part(c, result, &at, ret_reply, out)) {
    }
}
