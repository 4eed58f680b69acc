// Canonical msgpack and result rows: a value that is read, written again, has the same bytes; and a
// stored row counts as the same exactly when it is the same, byte for byte.
#include "engine/recovery.h"
#include "statemachine/canonical.h"
#include "tests/fuzz/fuzz.h"

#include "base/banned.h"

#define VALUES_MAX 4096
#define TIME_NS UINT64_C(1700000000000000000)

// Reads one value of whatever kind comes next and appends what it was. A header counts as one.
static void copy_value(struct canonical_reader *r, struct buffer *out)
{
    if (r->at == r->end) {
        r->failed = true;
        return;
    }
    uint8_t byte = *r->at;
    if (canonical_read_nil(r)) {
        canonical_nil(out);
    } else if (canonical_next_is_bool(r)) {
        canonical_bool(out, canonical_read_bool(r));
    } else if (byte == 0xc4) {
        canonical_hash(out, canonical_read_hash(r));
    } else if ((byte & 0xf0) == 0x90 || byte == 0xdc || byte == 0xdd) {
        canonical_array(out, canonical_read_array(r));
    } else if ((byte & 0xf0) == 0x80 || byte == 0xde || byte == 0xdf) {
        canonical_map(out, canonical_read_map(r));
    } else if ((byte & 0xe0) == 0xa0 || (byte >= 0xd9 && byte <= 0xdb)) {
        canonical_text(out, canonical_read_text(r));
    } else if (byte >= 0xd0) {
        canonical_i64(out, canonical_read_i64(r));
    } else {
        canonical_u64(out, canonical_read_u64(r));
    }
}

static void check_values(struct text input)
{
    struct canonical_reader r = canonical_reader_of(input);
    struct buffer out;
    buffer_init(&out);
    for (int i = 0; i < VALUES_MAX && !r.failed && r.at < r.end; i++) {
        const uint8_t *start = r.at;
        buffer_clear(&out);
        copy_value(&r, &out);
        ASSERT(r.at <= r.end);
        if (r.failed) break;
        ASSERT(out.size == (size_t)(r.at - start) && memcmp(out.data, start, out.size) == 0);
    }
    buffer_release(&out);
}

static void check_row(struct text input)
{
    struct sm *sm = sm_new(1);
    struct command_decoder *decoder = command_decoder_new();
    struct buffer payload, made;
    struct sm_result result;
    enum replay_match match = REPLAY_NO_ROW;
    struct journal_problem problem;
    buffer_init(&payload);
    buffer_init(&made);
    struct command c = {.kind = COMMAND_ACQUIRE};
    c.as.acquire = (struct command_acquire){TEXT("t"),   TEXT("free"), TEXT("busy"),
                                            TEXT("ann"), TEXT("id"),   TEXT_NONE};
    command_encode(&c, &payload);
    struct record record = {.seq = 1,
                            .time_ns = TIME_NS,
                            .kind = COMMAND_ACQUIRE,
                            .semantics = SM_SEMANTICS,
                            .payload = buffer_as_text(&payload)};
    struct journal_row row = {1, input};
    ASSERT(recovery_step(sm, decoder, &made, &record, &row, &result, &match, &problem) == 0);
    ASSERT((match == REPLAY_SAME) == text_equal(input, buffer_as_text(&made)));
    ASSERT(match != REPLAY_NO_ROW);
    buffer_release(&payload);
    buffer_release(&made);
    command_decoder_free(decoder);
    sm_free(sm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = text_of((const char *)data, size);
    check_values(input);
    check_row(input);
    return 0;
}
