// The canonical encoding of commands: what is written is read, and nothing else is.
#include <stdlib.h>

#include "base/assert.h"
#include "tests/test_statemachine.h"

#include "base/banned.h"

#define LIST(array) (array), sizeof(array) / sizeof((array)[0])

static const struct text names[] = {TEXT("n1"), TEXT("n2"), TEXT("")};
static const struct userdata_pair pairs[] = {{TEXT(""), TEXT("v")},
                                             {TEXT("a"), TEXT("")},
                                             {TEXT("b"), {NULL, 0}},
                                             {TEXT("b0"), TEXT("a text of more than 31 bytes, so "
                                                               "that its form is another one")}};
static const struct sm_need needs[] = {{TEXT("a"), 1}, {TEXT("b"), 70000}};
static const struct sm_entry entries[] = {
    {.type = TEXT("s"), .state = TEXT("free"), .names = names, .names_count = 3},
    {.type = TEXT("s"), .state = TEXT("dirty"), .reaper = SM_REAPER_OFF},
    {.type = TEXT("d"),
     .state = TEXT("free"),
     .is_dynamic = true,
     .min_count = 1,
     .max_count = 300,
     .has_lifespan = true,
     .lifespan_ns = -5,
     .needs = needs,
     .needs_count = 2,
     .has_config = true,
     .config_type = TEXT("T"),
     .config_content = TEXT(""),
     .reaper = SM_REAPER_EXPIRE,
     .reaper_expire_ns = INT64_C(7200000000000)},
    {.type = TEXT("e"), .state = TEXT("x"), .is_dynamic = true, .max_count = 1}};
static const struct userdata_pair kept[] = {{TEXT(""), TEXT("v")}, {TEXT("a"), TEXT("w")}};
static const struct sm_imported imported[] = {
    {TEXT("n1"), TEXT("e"), TEXT("busy"), TEXT("ann"), 5, UINT64_MAX - 1, kept, 2},
    {.name = TEXT("n2"), .type = TEXT("s"), .state = TEXT("free"), .owner = TEXT("")}};

static const struct command commands[] = {
    {.kind = COMMAND_ACQUIRE,
     .as.acquire = {TEXT("t"), TEXT("free"), TEXT("busy"), TEXT("ann"), TEXT("id"), TEXT_NONE}},
    {.kind = COMMAND_ACQUIRE,
     .as.acquire = {TEXT("t"), TEXT("free"), TEXT("busy"), TEXT("ann"), TEXT(""), TEXT_NONE}},
    {.kind = COMMAND_ACQUIRE,
     .as.acquire = {TEXT("t"), TEXT("free"), TEXT("busy"), TEXT("ann"), TEXT(""), TEXT("k")}},
    {.kind = COMMAND_ACQUIREBYSTATE,
     .as.acquirebystate = {TEXT("free"), TEXT("busy"), TEXT("ann"), TEXT("a,,b")}},
    {.kind = COMMAND_RELEASE, .as.release = {TEXT("n"), TEXT("free"), TEXT("ann")}},
    {.kind = COMMAND_UPDATE, .as.update = {TEXT("n"), TEXT("ann"), TEXT("busy"), true, pairs, 4}},
    {.kind = COMMAND_UPDATE, .as.update = {TEXT("n"), TEXT("ann"), TEXT("busy"), true, NULL, 0}},
    {.kind = COMMAND_UPDATE, .as.update = {.name = TEXT("n"), .owner = TEXT("ann")}},
    {.kind = COMMAND_RESET, .as.reset = {TEXT("t"), TEXT("busy"), TEXT("dirty"), TEXT("-1h30m")}},
    {.kind = COMMAND_CONFIG, .as.config = {.entries = entries, .entries_count = 4}},
    {.kind = COMMAND_CONFIG,
     .as.config = {.entries = entries,
                   .entries_count = 1,
                   .reaper_enabled = true,
                   .reaper_expire_ns = 1,
                   .reaper_period_ns = INT64_C(60000000000),
                   .reaper_states = names,
                   .reaper_states_count = 2,
                   .reaper_target = TEXT("dirty"),
                   .cleaner_enabled = true}},
    {.kind = COMMAND_EXPIRE},
    {.kind = COMMAND_REAP},
    {.kind = COMMAND_CLEAN, .as.clean = {TEXT("n"), TEXT("[n1]"), names, 1}},
    {.kind = COMMAND_CLEAN, .as.clean = {.name = TEXT("n")}},
    {.kind = COMMAND_CLOCK, .as.clock = {UINT64_MAX}},
    {.kind = COMMAND_STARTED,
     .as.started = {TEXT("0.1.0"), TEXT("host"), 5, INT64_C(30000000000), 0xfff}},
    {.kind = COMMAND_REPAIRED,
     .as.repaired = {TEXT("0.2.0"), TEXT("host"), 7, 1000, 5, TEXT("a bad checksum")}},
    {.kind = COMMAND_REPAIRED, .as.repaired = {.lost_first = 1}},
    {.kind = COMMAND_IMPORT,
     .as.import = {TEXT("0.4.0"), TEXT("host"), &entries[3], 1, imported, 2}},
    {.kind = COMMAND_IMPORT}};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void assert_bytes(struct text had, struct text wanted)
{
    assert_int_equal(had.size, wanted.size);
    assert_memory_equal(had.data, wanted.data, wanted.size);
}

// What is taken is exactly what would be written: there is one spelling. Returns whether it was
// taken.
static bool decodes(struct command_decoder *d, uint32_t kind, struct text payload)
{
    struct command c;
    struct buffer again;
    int err = command_decode(d, kind, payload, &c);
    if (err != 0) {
        assert_int_equal(err, BOSKOS_E_MALFORMED);
        return false;
    }
    buffer_init(&again);
    command_encode(&c, &again);
    assert_bytes(buffer_as_text(&again), payload);
    buffer_release(&again);
    return true;
}

void test_commands_round_trip(void **unused)
{
    (void)unused;
    struct command_decoder *d = command_decoder_new();
    struct buffer bytes;
    buffer_init(&bytes);
    bool seen[COMMAND_KINDS] = {false};
    for (size_t i = 0; i < COMMANDS; i++) {
        buffer_clear(&bytes);
        command_encode(&commands[i], &bytes);
        assert_true(decodes(d, commands[i].kind, buffer_as_text(&bytes)));
        seen[commands[i].kind] = true;

        // A byte more, or any number of bytes less, is something else.
        buffer_char(&bytes, '\xc0');
        assert_false(decodes(d, commands[i].kind, buffer_as_text(&bytes)));
        for (size_t size = 0; size + 1 < bytes.size; size++) {
            // In memory of its own, so that reading beyond it is seen.
            struct buffer cut;
            buffer_init(&cut);
            buffer_append(&cut, bytes.data, size);
            assert_false(decodes(d, commands[i].kind, buffer_as_text(&cut)));
            buffer_release(&cut);
        }
    }
    for (uint32_t kind = 1; kind < COMMAND_KINDS; kind++) {
        assert_true(seen[kind]);
        assert_non_null(command_kind_name(kind));
    }
    buffer_release(&bytes);
    command_decoder_free(d);
}

void test_commands_numbers(void **unused)
{
    (void)unused;
    static const int64_t values[] = {0,
                                     1,
                                     127,
                                     128,
                                     255,
                                     256,
                                     32767,
                                     32768,
                                     65535,
                                     65536,
                                     INT32_MAX,
                                     UINT32_MAX,
                                     1 + (int64_t)UINT32_MAX,
                                     INT64_MAX,
                                     -1,
                                     -32,
                                     -33,
                                     -128,
                                     -129,
                                     -32768,
                                     -32769,
                                     INT32_MIN,
                                     INT32_MIN - INT64_C(1),
                                     INT64_MIN};
    struct command_decoder *d = command_decoder_new();
    struct buffer bytes;
    buffer_init(&bytes);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct sm_entry entry = entries[2];
        entry.lifespan_ns = values[i];
        struct command c = {.kind = COMMAND_CONFIG, .as.config = {&entry, .entries_count = 1}};
        struct command decoded;
        buffer_clear(&bytes);
        command_encode(&c, &bytes);
        assert_true(decodes(d, c.kind, buffer_as_text(&bytes)));
        assert_int_equal(command_decode(d, c.kind, buffer_as_text(&bytes), &decoded), 0);
        assert_true(decoded.as.config.entries[0].lifespan_ns == values[i]);

        c = (struct command){.kind = COMMAND_CLOCK, .as.clock = {(uint64_t)values[i]}};
        buffer_clear(&bytes);
        command_encode(&c, &bytes);
        assert_true(decodes(d, c.kind, buffer_as_text(&bytes)));
        assert_int_equal(command_decode(d, c.kind, buffer_as_text(&bytes), &decoded), 0);
        assert_true(decoded.as.clock.ahead_ns == (uint64_t)values[i]);
    }
    buffer_release(&bytes);
    command_decoder_free(d);
}

static const struct {
    uint32_t kind;
    struct text bytes;
} refused[] = {
    {0, TEXT("\x90")},
    {COMMAND_KINDS, TEXT("\x90")},
    {COMMAND_EXPIRE, TEXT("\xdc\x00\x00")}, // longer forms
    {COMMAND_EXPIRE, TEXT("\xdd\x00\x00\x00\x00")},
    {COMMAND_CLOCK, TEXT("\x91\xcc\x7f")},
    {COMMAND_CLOCK, TEXT("\x91\xcd\x00\xff")},
    {COMMAND_CLOCK, TEXT("\x91\xce\x00\x00\xff\xff")},
    {COMMAND_CLOCK, TEXT("\x91\xcf\x00\x00\x00\x00\xff\xff\xff\xff")},
    {COMMAND_CLOCK, TEXT("\x91\xd0\x05")}, // signed forms
    {COMMAND_CLOCK, TEXT("\x91\xff")},
    {COMMAND_CLOCK, TEXT("\x91\xca\x00\x00\x00\x00")}, // other types
    {COMMAND_CLOCK, TEXT("\x91\xc0")},
    {COMMAND_CLOCK, TEXT("\x91\xa1"
                         "1")},
    {COMMAND_CLOCK, TEXT("\x92\x01\x01")}, // wrong counts
    {COMMAND_CLOCK, TEXT("\x90")},
    // An empty key, which is written as none is.
    {COMMAND_ACQUIRE, TEXT("\x96\xa1t\xa1s\xa1o\xa1h\xa0\xa0")},
    {COMMAND_RELEASE, TEXT("\x93\xd9\x01"
                           "a\xa1"
                           "b\xa1"
                           "c")},
    {COMMAND_RELEASE, TEXT("\x93\xda\x00\x01"
                           "a\xa1"
                           "b\xa1"
                           "c")},
    {COMMAND_RELEASE, TEXT("\x93\xc4\x01"
                           "a\xa1"
                           "b\xa1"
                           "c")}, // bin is no text
    {COMMAND_RELEASE, TEXT("\x93\xa1"
                           "a\xa1"
                           "b\xa9"
                           "c")},
    {COMMAND_RELEASE, TEXT("\x93\xa1"
                           "a\xa1"
                           "b\xdb\xff\xff\xff\xff"
                           "c")},
    {COMMAND_UPDATE, TEXT("\x94\xa1"
                          "a\xa1"
                          "b\xa1"
                          "c\x82\xa1"
                          "b\xa1"
                          "1\xa1"
                          "a\xa1"
                          "2")},
    {COMMAND_UPDATE, TEXT("\x94\xa1"
                          "a\xa1"
                          "b\xa1"
                          "c\x82\xa1"
                          "a\xa1"
                          "1\xa1"
                          "a\xa1"
                          "2")},
    {COMMAND_UPDATE, TEXT("\x94\xa1"
                          "a\xa1"
                          "b\xa1"
                          "c\xdf\xff\xff\xff\xff\xa1"
                          "a\xa1"
                          "1")},
    {COMMAND_RESET, TEXT("\x94\xa1"
                         "a\xa1"
                         "b\xa1"
                         "c\xa1"
                         "1")}, // no duration
    {COMMAND_STARTED, TEXT("\x95\xa1"
                           "1\xa1"
                           "h\x00\x01\xcd\x10\x00")}, // salt of 13 bits
    {COMMAND_CONFIG, TEXT("\x93\x91\x95\xc2\xa1"
                          "t\xa1"
                          "s\xc3\x90\xc0\xc2")}, // reaper: true
    {COMMAND_CONFIG, TEXT("\x93\x91\x99\xc2\xa1"
                          "t\xa1"
                          "s\xc0\x90\xc0\xc2")}, // 9 of 5
    {COMMAND_CONFIG, TEXT("\x93\xdd\xff\xff\xff\xff\xc0\xc2")},
};

void test_commands_refused(void **unused)
{
    (void)unused;
    struct command_decoder *d = command_decoder_new();
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (decodes(d, refused[i].kind, refused[i].bytes)) fail_msg("row %zu was taken", i);
    }
    // The same without the faults.
    assert_true(decodes(d, COMMAND_ACQUIRE, TEXT("\x96\xa1t\xa1s\xa1o\xa1h\xa0\xa1k")));
    assert_true(decodes(d, COMMAND_CLOCK, TEXT("\x91\x7f")));
    assert_true(decodes(d, COMMAND_RELEASE,
                        TEXT("\x93\xa1"
                             "a\xa1"
                             "b\xa1"
                             "c")));
    assert_true(decodes(d, COMMAND_STARTED,
                        TEXT("\x95\xa1"
                             "1\xa1"
                             "h\x00\x01\xcd\x0f\xff")));
    assert_true(decodes(d, COMMAND_CONFIG,
                        TEXT("\x93\x91\x95\xc2\xa1"
                             "t\xa1"
                             "s\xc2\x90\xc0\xc2")));
    command_decoder_free(d);
}

// What no import holds: it would be taken for something else, or upkeep would not end.
void test_imports_refused(void **unused)
{
    (void)unused;
    struct command_decoder *d = command_decoder_new();
    const struct userdata_pair empty = {TEXT("k"), TEXT("")};
    const struct sm_entry backwards[] = {{.type = TEXT("b"), .is_dynamic = true},
                                         {.type = TEXT("a"), .is_dynamic = true}};
    char *large = must_malloc(SM_USERDATA_BYTES_MAX);
    char name[SM_NAME_BYTES_MAX + 1];
    memset(large, 'v', SM_USERDATA_BYTES_MAX);
    memset(name, 'n', sizeof(name));
    const struct userdata_pair too_large = {TEXT("k"), text_of(large, SM_USERDATA_BYTES_MAX)};
    const struct userdata_pair largest = {TEXT("k"), text_of(large, SM_USERDATA_BYTES_MAX - 1)};
    const struct sm_imported same[] = {{.name = TEXT("n")}, {.name = TEXT("n")}};
    const struct sm_imported ones[] = {{.name = TEXT("")},
                                       {.name = text_of(name, sizeof(name))},
                                       {.name = TEXT("n"), .expires_ns = UINT64_MAX},
                                       {.name = TEXT("n"), .userdata = &empty, .userdata_count = 1},
                                       {TEXT("n"), .userdata = &too_large, .userdata_count = 1}};
    const struct sm_entry cycles[] = {
        {.type = TEXT("t")}, // static
        {.type = TEXT("t"), .is_dynamic = true, .reaper = SM_REAPER_OFF},
        {.type = TEXT("t"), .is_dynamic = true, .min_count = -1},
        {.type = TEXT("t"), .is_dynamic = true, .min_count = 2, .max_count = 1}};
    struct command_import refused_imports[11] = {{.cycles = backwards, .cycles_count = 2},
                                                 {.resources = same, .resources_count = 2}};
    uint32_t count = 2;
    for (size_t i = 0; i < sizeof(ones) / sizeof(ones[0]); i++)
        refused_imports[count++] =
            (struct command_import){.resources = &ones[i], .resources_count = 1};
    for (size_t i = 0; i < sizeof(cycles) / sizeof(cycles[0]); i++)
        refused_imports[count++] = (struct command_import){.cycles = &cycles[i], .cycles_count = 1};
    const struct sm_imported good = {text_of(name, SM_NAME_BYTES_MAX), .userdata = &largest,
                                     .userdata_count = 1};
    struct buffer bytes;
    buffer_init(&bytes);
    for (uint32_t i = 0; i <= count; i++) {
        struct command c = {.kind = COMMAND_IMPORT,
                            .as.import = {.resources = &good, .resources_count = 1}};
        if (i < count) c.as.import = refused_imports[i];
        buffer_clear(&bytes);
        command_encode(&c, &bytes);
        if (decodes(d, c.kind, buffer_as_text(&bytes)) != (i == count))
            fail_msg("import %u", (unsigned)i);
    }
    buffer_release(&bytes);
    free(large);
    command_decoder_free(d);
}

// Every byte of every command changed to every value: it is refused, or it is a command that is
// written so.
void test_commands_damaged(void **unused)
{
    (void)unused;
    struct command_decoder *d = command_decoder_new();
    struct buffer bytes;
    buffer_init(&bytes);
    for (size_t i = 0; i < COMMANDS; i++) {
        buffer_clear(&bytes);
        command_encode(&commands[i], &bytes);
        for (size_t at = 0; at < bytes.size; at++) {
            for (uint32_t change = 1; change < 256; change++) {
                bytes.data[at] = (char)(bytes.data[at] ^ (char)change);
                for (uint32_t kind = commands[i].kind; kind < COMMAND_KINDS; kind += 4)
                    decodes(d, kind, buffer_as_text(&bytes));
                bytes.data[at] = (char)(bytes.data[at] ^ (char)change);
            }
        }
    }
    buffer_release(&bytes);
    command_decoder_free(d);
}
