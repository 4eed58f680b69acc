// The body of an update: what is taken becomes a command; its pairs, written as JSON, are read as
// the same pairs again.
#include "tests/fuzz/fuzz.h"
#include "wire/wire.h"

#include <stdlib.h>

#include "base/banned.h"

static int parse(struct wire_request *r, struct text body)
{
    struct wire_reply reply = {0};
    struct buffer out;
    buffer_init(&out);
    int had = wire_parse(r, TEXT("POST"), TEXT("/update"), TEXT("name=n&owner=o&state=s"), body,
                         &reply, &out);
    ASSERT(had == 0 || (had == 1 && (reply.status == 400 || reply.status == 413) && out.size > 0));
    ASSERT(had == 1 || r->is_command);
    buffer_release(&out);
    return had;
}

static void write_pairs(const struct command_update *u, struct buffer *out)
{
    buffer_char(out, '{');
    for (uint32_t i = 0; i < u->pairs_count; i++) {
        if (i > 0) buffer_char(out, ',');
        wire_json_string(out, u->pairs[i].key);
        buffer_char(out, ':');
        if (u->pairs[i].value.data == NULL)
            buffer_string(out, "null");
        else
            wire_json_string(out, u->pairs[i].value);
    }
    buffer_char(out, '}');
}

static void check_pairs(const struct command_update *u)
{
    for (uint32_t i = 0; i < u->pairs_count; i++) {
        ASSERT(u->pairs[i].key.data != NULL && text_is_utf8(u->pairs[i].key));
        ASSERT(text_is_utf8(u->pairs[i].value));
        ASSERT(i == 0 || text_compare(u->pairs[i - 1].key, u->pairs[i].key) < 0);
    }
    struct buffer json;
    struct wire_request again;
    buffer_init(&json);
    wire_request_init(&again);
    write_pairs(u, &json);
    if (json.size <= SM_BODY_BYTES_MAX) { // escapes take more room
        ASSERT(parse(&again, buffer_as_text(&json)) == 0);
        const struct command_update *v = &again.command.as.update;
        ASSERT(v->has_body && v->pairs_count == u->pairs_count);
        for (uint32_t i = 0; i < u->pairs_count; i++) {
            ASSERT(text_equal(u->pairs[i].key, v->pairs[i].key));
            ASSERT(text_equal(u->pairs[i].value, v->pairs[i].value));
            ASSERT((u->pairs[i].value.data == NULL) == (v->pairs[i].value.data == NULL));
        }
    }
    wire_request_release(&again);
    buffer_release(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_request r;
    wire_request_init(&r);
    if (parse(&r, text_of((const char *)data, size)) == 0) {
        fuzz_check_command(&r.command);
        if (r.command.as.update.has_body) check_pairs(&r.command.as.update);
    }
    wire_request_release(&r);
    return 0;
}
