// Payloads of records, one behind the other, each behind its kind, a step of time and its size.
// What decodes encodes to the same bytes; what the engine could have appended is applied, and the
// state holds together.
#include "base/duration.h"
#include "statemachine/canonical.h"
#include "tests/fuzz/fuzz.h"

#include "base/banned.h"

#define START_NS UINT64_C(1700000000000000000)
#define COMMANDS_MAX 64
#define COUNT_MAX 200 // of a pool: more takes too long here
#define NS_MAX (INT64_C(1) << 61)

static bool is_count(int64_t count)
{
    return count >= 0 && count <= COUNT_MAX;
}

static bool is_span(int64_t ns)
{
    return ns >= 0 && ns <= NS_MAX;
}

// Has the config what config_parse sees to? No name twice, no type twice, counts in order.
static bool config_is_possible(const struct command_config *c)
{
    for (uint32_t i = 0; i < c->entries_count; i++) {
        const struct sm_entry *e = &c->entries[i];
        if (e->type.size == 0 || e->state.size == 0) return false;
        for (uint32_t j = 0; j < i; j++)
            if (text_equal(e->type, c->entries[j].type)) return false;
        if (!is_count(e->min_count) || !is_count(e->max_count)) return false;
        if (e->is_dynamic && (e->max_count < e->min_count || e->max_count == 0)) return false;
        if (!e->is_dynamic && e->names_count == 0) return false;
        if (!is_span(e->lifespan_ns) || !is_span(e->reaper_expire_ns)) return false;
        for (uint32_t n = 0; n < e->names_count; n++) {
            if (e->names[n].size == 0 || e->names[n].size > SM_NAME_BYTES_MAX) return false;
            for (uint32_t j = 0; j <= i; j++)
                for (uint32_t m = 0; m < (j == i ? n : c->entries[j].names_count); m++)
                    if (text_equal(e->names[n], c->entries[j].names[m])) return false;
        }
    }
    return is_span(c->reaper_expire_ns) && is_span(c->reaper_period_ns) &&
           (!c->reaper_enabled || c->reaper_period_ns >= 1000000000);
}

static bool is_possible(const struct command *c)
{
    switch (c->kind) {
    case COMMAND_CONFIG: return config_is_possible(&c->as.config);
    case COMMAND_STARTED: return is_span(c->as.started.request_ttl_ns);
    case COMMAND_ACQUIRE:
    case COMMAND_ACQUIREBYSTATE:
    case COMMAND_RELEASE:
    case COMMAND_UPDATE:
    case COMMAND_RESET:
    case COMMAND_EXPIRE:
    case COMMAND_REAP:
    case COMMAND_CLEAN:
    case COMMAND_CLOCK:
    case COMMAND_REPAIRED:
    case COMMAND_IMPORT: break;
    }
    return true;
}

static void check_result(const struct sm_result *result, struct hash128 before, struct buffer *row)
{
    buffer_clear(row);
    sm_result_encode(result, row);
    struct canonical_reader r = canonical_reader_of(buffer_as_text(row));
    canonical_expect_array(&r, 5);
    ASSERT(canonical_read_u64(&r) == sm_reason_status(result->reason));
    ASSERT(canonical_read_u64(&r) == (uint64_t)result->reason);
    struct text name = canonical_read_text(&r);
    ASSERT((name.size == 0) == (result->resources_count == 0));
    ASSERT(canonical_read_u64(&r) == result->effect);
    ASSERT(hash128_equal(canonical_read_hash(&r), result->digest));
    ASSERT(canonical_done(&r));
    if (result->effect == 0) ASSERT(hash128_equal(before, result->digest));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text rest = text_of((const char *)data, size);
    struct command_decoder *decoder = command_decoder_new();
    struct sm *sm = sm_new(1);
    struct buffer bytes;
    uint64_t seq = 0, time_ns = START_NS;
    buffer_init(&bytes);
    for (int i = 0; i < COMMANDS_MAX && rest.size > 0; i++) {
        uint32_t kind = fuzz_byte(&rest);
        uint32_t step = fuzz_byte(&rest); // up to 2^62 ns
        struct text payload = fuzz_block(&rest);
        struct command c;
        if (command_decode(decoder, kind, payload, &c) != 0) continue;
        ASSERT(command_kind_name(kind) != NULL && c.kind == kind);
        buffer_clear(&bytes);
        command_encode(&c, &bytes);
        ASSERT(text_equal(buffer_as_text(&bytes), payload));
        if (!is_possible(&c)) continue;

        struct sm_result result;
        struct hash128 before = sm_digest(sm);
        uint64_t later_ns = time_ns + (step == 0 ? 0 : UINT64_C(1) << (step % 48));
        time_ns = later_ns;
        c.seq = ++seq;
        c.time_ns = time_ns;
        sm_apply(sm, &c, &result);
        ASSERT(hash128_equal(result.digest, sm_digest(sm)));
        check_result(&result, before, &bytes);
        ASSERT(sm_seq(sm) == seq && sm_time_ns(sm) == time_ns);
    }
    fuzz_check_state(sm);
    sm_free(sm);
    buffer_release(&bytes);
    command_decoder_free(decoder);
    return 0;
}
