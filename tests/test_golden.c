// tests/test_golden.c
//
// The bytes on the disk, held fast: golden/vN/commands.txt has, for version N of the rules, a
// sequence of commands with every kind in it, the payload and the result row of each, and the
// snapshot of the state they end in. A change of the format or of the rules fails here;
// docs/FORMAT.md, `A new version of the format`, says what to do then.
//
// `test_golden print` prints the file of the present version instead of testing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "statemachine/state_machine.h"

#define COUNT(array) (uint32_t)(sizeof(array) / sizeof((array)[0]))
#define BYTES_MAX 4096u // of a payload, row or snapshot in a golden file
#define FILE_BYTES_MAX (1u << 20)
#define LINE_BYTES 32u // of hex in a line of the file
#define HASH_SEED 1u   // any: nothing of it can be seen

#define START_NS (UINT64_C(1772357400) * NS_PER_S) // 2026-03-01T09:30:00Z
#define JUMP_NS (7200 * NS_PER_S)

// The names that the state machine gives to the resources made by the commands 2 and 17.
#define FIRST_ENV "019ca8bb-b5c0-7000-8000-000800000abc"
#define SECOND_ENV "019ca92a-5de0-7000-8000-004400000abc"

// ---- the commands -----------------------------------------------------------

#define STEPS_MAX 40u

struct script {
    struct command steps[STEPS_MAX];
    uint32_t count;
};

// Adds a command with the next number, `after_s` seconds after the start.
static struct command *step(struct script *s, enum command_kind kind, uint64_t after_s)
{
    assert_true(s->count < STEPS_MAX);
    struct command *c = &s->steps[s->count++];
    *c = (struct command){.kind = kind, .seq = s->count, .time_ns = START_NS + after_s * NS_PER_S};
    return c;
}

static void acquire(struct script *s, uint64_t after_s, const char *type, const char *state,
                    const char *owner, const char *id)
{
    step(s, COMMAND_ACQUIRE, after_s)->as.acquire =
        (struct command_acquire){text_from(type),  text_from(state), TEXT("busy"),
                                 text_from(owner), text_from(id),    TEXT_NONE};
}

static void release(struct script *s, uint64_t after_s, const char *name, const char *dest)
{
    step(s, COMMAND_RELEASE, after_s)->as.release =
        (struct command_release){text_from(name), text_from(dest), TEXT("ann")};
}

static void config(struct script *s)
{
    static const struct text vms[] = {{"vm-1", 4}, {"vm-2", 4}};
    static const struct text ips[] = {{"ip-1", 4}};
    static const struct text reaped[] = {{"busy", 4}};
    static const struct sm_need needs[] = {{{"ip", 2}, 1}, {{"vm", 2}, 300}};
    static struct sm_entry entries[3];
    entries[0] = (struct sm_entry){
        .type = TEXT("vm"), .state = TEXT("free"), .names = vms, .names_count = COUNT(vms)};
    entries[1] = (struct sm_entry){.type = TEXT("ip"),
                                   .state = TEXT("free"),
                                   .names = ips,
                                   .names_count = COUNT(ips),
                                   .reaper = SM_REAPER_OFF};
    entries[2] = (struct sm_entry){.type = TEXT("env"),
                                   .state = TEXT("free"),
                                   .is_dynamic = true,
                                   .min_count = 1,
                                   .max_count = 2,
                                   .has_lifespan = true,
                                   .lifespan_ns = INT64_C(3600) * (int64_t)NS_PER_S,
                                   .needs = needs,
                                   .needs_count = COUNT(needs),
                                   .has_config = true,
                                   .config_type = TEXT("maker"),
                                   .config_content = TEXT("{}"),
                                   .reaper = SM_REAPER_EXPIRE,
                                   .reaper_expire_ns = -1};
    step(s, COMMAND_CONFIG, 0)->as.config =
        (struct command_config){.entries = entries,
                                .entries_count = COUNT(entries),
                                .reaper_enabled = true,
                                .reaper_expire_ns = INT64_C(1800) * (int64_t)NS_PER_S,
                                .reaper_period_ns = INT64_C(60) * (int64_t)NS_PER_S,
                                .reaper_states = reaped,
                                .reaper_states_count = COUNT(reaped),
                                .reaper_target = TEXT("dirty"),
                                .cleaner_enabled = true};
}

// Another one: the settings are off, `ip` and `env` are gone, and a life cycle has the least that
// one can have.
static void second_config(struct script *s, uint64_t after_s)
{
    static const struct text vms[] = {{"vm-1", 4}, {"vm-2", 4}};
    static struct sm_entry entries[2];
    entries[0] = (struct sm_entry){
        .type = TEXT("vm"), .state = TEXT("free"), .names = vms, .names_count = COUNT(vms)};
    entries[1] = (struct sm_entry){
        .type = TEXT("net"), .state = TEXT("dirty"), .is_dynamic = true, .max_count = 200};
    step(s, COMMAND_CONFIG, after_s)->as.config =
        (struct command_config){.entries = entries, .entries_count = COUNT(entries)};
}

static void update(struct script *s, uint64_t after_s, const char *name, const char *owner,
                   const struct userdata_pair *pairs, uint32_t count)
{
    step(s, COMMAND_UPDATE, after_s)->as.update = (struct command_update){.name = text_from(name),
                                                                          .owner = text_from(owner),
                                                                          .state = TEXT("busy"),
                                                                          .has_body = pairs != NULL,
                                                                          .pairs = pairs,
                                                                          .pairs_count = count};
}

// The first day: every call of a client, granted and refused.
static void calls(struct script *s)
{
    static const struct userdata_pair zone[] = {{{"old", 3}, {NULL, 0}}, {{"zone", 4}, {"b", 1}}};
    static const struct userdata_pair leased[] = {{{"leasedResources", 15}, {"- vm-2\n", 7}}};
    acquire(s, 1, "vm", "free", "ann", "");                  // 3: vm-1
    acquire(s, 2, "ip", "free", "ann", "");                  // 4: ip-1
    acquire(s, 3, "ip", "free", "bob", "job-6");             // 5: waits
    step(s, COMMAND_EXPIRE, 40);                             // 6: job-6 is swept
    update(s, 41, "vm-1", "ann", zone, COUNT(zone));         // 7
    update(s, 42, "vm-1", "eve", NULL, 0);                   // 8: not eve's
    update(s, 43, "nobody", "ann", zone, 0);                 // 9: no such resource
    step(s, COMMAND_ACQUIREBYSTATE, 44)->as.acquirebystate = // 10: vm-2
        (struct command_acquirebystate){TEXT("free"), TEXT("leased"), TEXT("ann"), TEXT("vm-2")};
    release(s, 45, "vm-2", FIRST_ENV);     // 11
    step(s, COMMAND_RESET, 46)->as.reset = // 12: ip-1
        (struct command_reset){TEXT("ip"), TEXT("busy"), TEXT("free"), TEXT("-1h30m")};
    acquire(s, 47, "env", "free", "ann", "");               // 13: the first env
    update(s, 48, FIRST_ENV, "ann", leased, COUNT(leased)); // 14
    release(s, 49, FIRST_ENV, "free");                      // 15: expires in an hour
}

// After the jump: what only the daemon asks for, then a state with something of everything.
static void timers(struct script *s)
{
    static const struct text names[] = {{"vm-2", 4}};
    step(s, COMMAND_CLOCK, 7201 + 50)->as.clock = (struct command_clock){JUMP_NS}; // 16
    step(s, COMMAND_CLEAN, 7201 + 51)->as.clean =                                  // 17
        (struct command_clean){TEXT(FIRST_ENV), TEXT("- vm-2\n"), names, COUNT(names)};
    step(s, COMMAND_REAP, 7201 + 1850); // 18: vm-1 was last heard of 1810 s ago, the jump aside
    step(s, COMMAND_CLEAN, 7201 + 1851)->as.clean = // 19: there is none
        (struct command_clean){.name = TEXT("nobody")};
    acquire(s, 7201 + 1852, "env", "free", "ann", "job-7"); // 20: the second env
    release(s, 7201 + 1853, SECOND_ENV, "free");            // 21
    second_config(s, 7201 + 1854);                          // 22: env fades, ip-1 goes
    acquire(s, 7201 + 1855, "vm", "dirty", "cyd", "");      // 23: vm-2
    acquire(s, 7201 + 1856, "vm", "free", "bob", "job-8");  // 24: waits
    acquire(s, 7201 + 1857, "vm", "free", "cyd", "job-9");  // 25: waits
    acquire(s, 7201 + 1858, "vm", "dirty", "dan", "");      // 26: vm-1, which has userdata
    update(s, 7201 + 1859, "vm-1", "dan", NULL, 0);         // 27: the heartbeat
}

static void keyed_acquire(struct script *s, uint64_t after_s, const char *owner, const char *dest)
{
    step(s, COMMAND_ACQUIRE, after_s)->as.acquire =
        (struct command_acquire){.type = TEXT("net"),
                                 .state = TEXT("dirty"),
                                 .dest = text_from(dest),
                                 .owner = text_from(owner),
                                 .request_id = TEXT("job-10"),
                                 .key = TEXT("build/4711")};
}

// What semantics 2 brought.
static void second_semantics(struct script *s, uint64_t after_s)
{
    step(s, COMMAND_REPAIRED, after_s)->as.repaired = // 28: job-8 and job-9 get a new TTL
        (struct command_repaired){.version = TEXT("0.2.0"),
                                  .host = TEXT("ci-1"),
                                  .lost_first = 28,
                                  .lost_last = 300,
                                  .downtime_ns = 20 * NS_PER_S,
                                  .why = TEXT("record 28: the checksum does not fit")};
    keyed_acquire(s, after_s + 1, "ann", "busy"); // 29: waits, and makes the first net
    keyed_acquire(s, after_s + 2, "ann", "busy"); // 30: gets it
    keyed_acquire(s, after_s + 3, "ann", "busy"); // 31: has it
    keyed_acquire(s, after_s + 4, "ann", "free"); // 32: asks for something else under that key
}

// What semantics 3 brought: of what it has, ann's vm-1 is there already, and the life cycle of net.
static void third_semantics(struct script *s, uint64_t after_s)
{
    static const struct sm_need needs[] = {{{"vm", 2}, 1}};
    static const struct userdata_pair pairs[] = {{{"leasedResources", 15}, {"[vm-9]", 6}}};
    static struct sm_entry cycles[2];
    static struct sm_imported resources[3];
    cycles[0] = (struct sm_entry){.type = TEXT("net"), .state = TEXT("free"), .is_dynamic = true};
    cycles[1] = (struct sm_entry){.type = TEXT("old"),
                                  .state = TEXT("dirty"),
                                  .is_dynamic = true,
                                  .min_count = 1,
                                  .max_count = 3,
                                  .has_lifespan = true,
                                  .lifespan_ns = INT64_C(60) * (int64_t)NS_PER_S,
                                  .needs = needs,
                                  .needs_count = COUNT(needs),
                                  .has_config = true,
                                  .config_type = TEXT("maker"),
                                  .config_content = TEXT("")};
    resources[0] = (struct sm_imported){.name = TEXT("old-1"),
                                        .type = TEXT("old"),
                                        .state = TEXT("busy"),
                                        .owner = TEXT("eve"),
                                        .lastupdate_ns = START_NS,
                                        .expires_ns = START_NS + 60 * NS_PER_S,
                                        .userdata = pairs,
                                        .userdata_count = COUNT(pairs)};
    resources[1] = (struct sm_imported){
        .name = TEXT("vm-1"), .type = TEXT("old"), .state = TEXT("free"), .owner = TEXT("")};
    resources[2] = (struct sm_imported){
        .name = TEXT("vm-9"), .type = TEXT("vm"), .state = TEXT("old-1"), .owner = TEXT("")};
    step(s, COMMAND_IMPORT, after_s)->as.import = // 33
        (struct command_import){.version = TEXT("0.4.0"),
                                .host = TEXT("ci-1"),
                                .cycles = cycles,
                                .cycles_count = COUNT(cycles),
                                .resources = resources,
                                .resources_count = COUNT(resources)};
    step(s, COMMAND_EXPIRE, after_s + 1);              // 34: it waits for a config
    second_config(s, after_s + 2);                     // 35: vm-9 goes, old fades
    acquire(s, after_s + 3, "old", "busy", "fay", ""); // 36: eve has it
    step(s, COMMAND_IMPORT, after_s + 4)->as.import =  // 37: nothing is new
        (struct command_import){.cycles = cycles, .cycles_count = COUNT(cycles)};
}

static void script_make(struct script *s)
{
    s->count = 0;
    step(s, COMMAND_STARTED, 0)->as.started =
        (struct command_started){.version = TEXT("0.1.0"),
                                 .host = TEXT("ci-1"),
                                 .request_ttl_ns = INT64_C(30) * (int64_t)NS_PER_S,
                                 .salt = 0xabc};
    config(s);
    calls(s);
    timers(s);
    second_semantics(s, 7201 + 1880);
    third_semantics(s, 7201 + 1890);
}

// ---- the text of a golden file ----------------------------------------------

static void put_hex(struct buffer *out, const char *label, struct text bytes)
{
    buffer_string(out, label);
    for (uint32_t i = 0; i < bytes.size; i++) {
        if (i % LINE_BYTES == 0) buffer_string(out, "\n ");
        buffer_format(out, " %02x", (unsigned)(unsigned char)bytes.data[i]);
    }
    buffer_char(out, '\n');
}

static int gather(void *context, const void *bytes, size_t size)
{
    buffer_append(context, bytes, size);
    return 0;
}

// The whole file of the present version.
static void file_make(struct buffer *out)
{
    static struct script script;
    struct buffer bytes;
    struct sm *sm = sm_new(HASH_SEED);
    buffer_init(&bytes);
    script_make(&script);
    buffer_string(out, "# Made by `test_golden print`, read by test_golden.c; docs/FORMAT.md says "
                       "what the bytes are.\n");
    for (uint32_t i = 0; i < script.count; i++) {
        struct command *c = &script.steps[i];
        struct sm_result result;
        buffer_format(out, "command %" PRIu64 " %s %" PRIu64 "\n", c->seq,
                      command_kind_name(c->kind), c->time_ns);
        buffer_clear(&bytes);
        command_encode(c, &bytes);
        put_hex(out, " payload", buffer_as_text(&bytes));
        sm_apply(sm, c, &result);
        buffer_clear(&bytes);
        sm_result_encode(&result, &bytes);
        put_hex(out, " row", buffer_as_text(&bytes));
    }
    buffer_clear(&bytes);
    assert_int_equal(sm_snapshot_write(sm, gather, &bytes), 0);
    put_hex(out, "snapshot", buffer_as_text(&bytes));
    buffer_release(&bytes);
    sm_free(sm);
}

// ---- reading one ------------------------------------------------------------

static const char *tests_folder(void)
{
    const char *folder = getenv("BOSKOS_TESTS");
    return folder != NULL ? folder : "tests";
}

// The content of a file below tests/, ended by a NUL. The caller frees it.
static char *file_read(const char *name, bool must_exist)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", tests_folder(), name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        if (must_exist) fail_msg("%s cannot be read", path);
        return NULL;
    }
    char *text = calloc(1, FILE_BYTES_MAX);
    assert_non_null(text);
    assert_true(fread(text, 1, FILE_BYTES_MAX - 1, file) < FILE_BYTES_MAX - 1);
    (void)fclose(file);
    return text;
}

// Reads word by word. Lines that start with # are passed over.
struct reader {
    char *at;
    char word[256];
};

static bool next_word(struct reader *r)
{
    while (*r->at == ' ' || *r->at == '\n' || *r->at == '#') {
        if (*r->at == '#') r->at += strcspn(r->at, "\n");
        if (*r->at != '\0') r->at++;
    }
    size_t size = strcspn(r->at, " \n");
    assert_true(size < sizeof(r->word));
    memcpy(r->word, r->at, size);
    r->word[size] = '\0';
    r->at += size;
    return size > 0;
}

static void expect_word(struct reader *r, const char *word)
{
    assert_true(next_word(r));
    assert_string_equal(r->word, word);
}

static uint64_t next_number(struct reader *r)
{
    assert_true(next_word(r));
    return strtoull(r->word, NULL, 10);
}

static bool is_hex_byte(const char *word)
{
    return strlen(word) == 2 && strspn(word, "0123456789abcdef") == 2;
}

// Reads bytes up to the first word that is none, which is left.
static void next_bytes(struct reader *r, struct buffer *out)
{
    buffer_clear(out);
    while (next_word(r) && is_hex_byte(r->word)) {
        buffer_char(out, (char)strtoul(r->word, NULL, 16));
    }
    r->at -= strlen(r->word);
    assert_true(out->size > 0 && out->size <= BYTES_MAX);
}

static uint32_t kind_of(const char *name)
{
    for (uint32_t kind = 0; kind < COMMAND_KINDS; kind++) {
        const char *known = command_kind_name(kind);
        if (known != NULL && strcmp(known, name) == 0) return kind;
    }
    fail_msg("there is no kind %s", name);
    return 0;
}

static void assert_bytes(const struct buffer *made, const struct buffer *stored, const char *what,
                         uint64_t seq)
{
    if (text_equal(buffer_as_text(made), buffer_as_text(stored))) return;
    struct buffer text;
    buffer_init(&text);
    put_hex(&text, "made", buffer_as_text(made));
    put_hex(&text, "stored", buffer_as_text(stored));
    buffer_char(&text, '\0');
    fail_msg("the %s of command %" PRIu64 " has changed\n%s", what, seq, text.data);
}

// What a golden file is played on.
struct player {
    struct reader reader;
    struct sm *sm;
    struct command_decoder *decoder;
    struct buffer stored, made;
    bool has_kind[COMMAND_KINDS];
};

static void player_init(struct player *p, char *text)
{
    *p = (struct player){.reader = {.at = text}, .sm = sm_new(HASH_SEED)};
    p->decoder = command_decoder_new();
    buffer_init(&p->stored);
    buffer_init(&p->made);
}

static void player_release(struct player *p)
{
    sm_free(p->sm);
    command_decoder_free(p->decoder);
    buffer_release(&p->stored);
    buffer_release(&p->made);
}

// Decodes, encodes again and applies one command of the file. False when the commands are over.
static bool play_command(struct player *p)
{
    struct reader *r = &p->reader;
    struct command c;
    struct sm_result result;
    assert_true(next_word(r));
    if (strcmp(r->word, "command") != 0) {
        assert_string_equal(r->word, "snapshot");
        return false;
    }
    uint64_t seq = next_number(r);
    assert_true(next_word(r));
    uint32_t kind = kind_of(r->word);
    uint64_t time_ns = next_number(r);
    expect_word(r, "payload");
    next_bytes(r, &p->stored);
    assert_int_equal(command_decode(p->decoder, kind, buffer_as_text(&p->stored), &c), 0);
    buffer_clear(&p->made);
    command_encode(&c, &p->made);
    assert_bytes(&p->made, &p->stored, "payload", seq);

    c.seq = seq;
    c.time_ns = time_ns;
    sm_apply(p->sm, &c, &result);
    buffer_clear(&p->made);
    sm_result_encode(&result, &p->made);
    expect_word(r, "row");
    next_bytes(r, &p->stored);
    assert_bytes(&p->made, &p->stored, "row", seq);
    assert_true(hash128_equal(sm_digest_from_scratch(p->sm), result.digest));
    p->has_kind[kind] = true;
    return true;
}

static void write_snapshot(struct sm *sm, struct buffer *out)
{
    buffer_clear(out);
    assert_int_equal(sm_snapshot_write(sm, gather, out), 0);
}

// Plays a whole file and holds the snapshot against it, both ways.
static void play_file(struct player *p)
{
    while (play_command(p)) {
    }
    next_bytes(&p->reader, &p->stored);
    write_snapshot(p->sm, &p->made);
    assert_bytes(&p->made, &p->stored, "snapshot", sm_seq(p->sm));

    struct sm *again = NULL;
    assert_int_equal(sm_snapshot_read(buffer_as_text(&p->stored), ~HASH_SEED, &again), 0);
    assert_int_equal(sm_seq(again), sm_seq(p->sm));
    assert_true(hash128_equal(sm_digest(again), sm_digest(p->sm)));
    assert_true(hash128_equal(sm_digest_from_scratch(again), sm_digest(p->sm)));
    write_snapshot(again, &p->made);
    assert_bytes(&p->made, &p->stored, "snapshot read and written again", sm_seq(again));
    sm_free(again);
    assert_false(next_word(&p->reader));
}

// ---- the tests --------------------------------------------------------------

static void file_name(uint32_t version, char name[64])
{
    (void)snprintf(name, 64, "golden/v%" PRIu32 "/commands.txt", version);
}

// What is written today has the bytes of the file of the present version.
static void the_bytes_written_are_those_of_the_format(void **state)
{
    (void)state;
    char name[64];
    struct buffer made;
    buffer_init(&made);
    file_make(&made);
    buffer_char(&made, '\0');
    file_name(SM_SEMANTICS, name);
    char *stored = file_read(name, true);
    for (uint32_t line = 1, at = 0; made.data[at] != '\0' || stored[at] != '\0'; at++) {
        if (made.data[at] != stored[at]) fail_msg("%s differs in line %" PRIu32, name, line);
        line += stored[at] == '\n';
    }
    free(stored);
    buffer_release(&made);
}

// What any version wrote is read, means what it meant, and has every kind of its time in it.
static void every_version_keeps_its_meaning(void **state)
{
    (void)state;
    for (uint32_t version = 1; version <= SM_SEMANTICS; version++) {
        char name[64];
        struct player p;
        file_name(version, name);
        char *text = file_read(name, true);
        player_init(&p, text);
        play_file(&p);
        for (uint32_t kind = 0; kind < COMMAND_KINDS && version == SM_SEMANTICS; kind++) {
            if (command_kind_name(kind) == NULL || p.has_kind[kind]) continue;
            fail_msg("%s has no command of the kind %s", name, command_kind_name(kind));
        }
        player_release(&p);
        free(text);
    }
}

// A cut, longer or changed snapshot is no state.
static void a_snapshot_that_is_not_whole_is_refused(void **state)
{
    (void)state;
    char name[64];
    struct player p;
    struct sm *sm = NULL;
    file_name(SM_SEMANTICS, name);
    char *text = file_read(name, true);
    player_init(&p, text);
    play_file(&p);
    struct text whole = buffer_as_text(&p.stored);
    for (uint32_t size = 0; size < whole.size; size++) {
        assert_int_not_equal(sm_snapshot_read(text_of(whole.data, size), HASH_SEED, &sm), 0);
    }
    for (uint32_t i = 0; i < whole.size; i++) {
        p.stored.data[i] ^= 1;
        int err = sm_snapshot_read(whole, HASH_SEED, &sm);
        p.stored.data[i] ^= 1;
        if (err != 0) continue;
        // Seq and time are not in the digest: the file around the state has them once more.
        assert_true(sm_seq(sm) != sm_seq(p.sm) || sm_time_ns(sm) != sm_time_ns(p.sm));
        sm_free(sm);
    }
    buffer_char(&p.stored, '\0');
    assert_int_not_equal(sm_snapshot_read(buffer_as_text(&p.stored), HASH_SEED, &sm), 0);
    player_release(&p);
    free(text);
}

// ---- the examples in docs/FORMAT.md -----------------------------------------

// Gathers the bytes of a table in FORMAT.md: the first cell, in `` ` ``, of each row below the
// heading, up to the next heading.
static void example_bytes(const char *format, const char *heading, struct buffer *out)
{
    buffer_clear(out);
    const char *at = strstr(format, heading);
    if (at == NULL) {
        fail_msg("docs/FORMAT.md has no heading %s", heading);
        return;
    }
    const char *end = strstr(at + 1, "\n#");
    for (at = strchr(at, '\n'); at != NULL && (end == NULL || at < end);
         at = strchr(at + 1, '\n')) {
        if (strncmp(at, "\n| `", 4) != 0) continue;
        for (const char *c = at + 4; *c != '`';) {
            char byte[3] = {c[0], c[1], '\0'};
            if (!is_hex_byte(byte)) fail_msg("%s: no bytes: %.40s", heading, at + 1);
            buffer_char(out, (char)strtoul(byte, NULL, 16));
            c += 2;
            if (*c == ' ') c++;
        }
    }
}

// The record of command 1: its fields, and the checksum chained to none.
static void check_record(const char *format, struct text payload, struct buffer *example)
{
    static const uint8_t before_and_key[24] = {[23] = 1};
    static const uint8_t fields[8] = {0, 1, 0, 1, 0, COMMAND_STARTED, 0, 0};
    struct buffer made, chained;
    uint8_t checksum[HASH128_BYTES];
    buffer_init(&made);
    buffer_init(&chained);
    buffer_append(&made, fields, sizeof(fields));
    for (int i = 0; i < 8; i++)
        buffer_char(&made, (char)(START_NS >> (56 - 8 * i)));
    buffer_append(&chained, before_and_key, sizeof(before_and_key));
    buffer_append(&chained, made.data, made.size);
    buffer_text(&chained, payload);
    hash128_encode(hash128(chained.data, chained.size), checksum);
    buffer_append(&made, checksum, sizeof(checksum));
    example_bytes(format, "### Its record", example);
    assert_bytes(example, &made, "record in FORMAT.md", 1);
    buffer_release(&made);
    buffer_release(&chained);
}

// What the text shows of command 1 is what the file of version 1 has.
static void the_examples_of_the_text_are_right(void **state)
{
    (void)state;
    struct player p;
    struct buffer example;
    char *format = file_read("../docs/FORMAT.md", true);
    char *text = file_read("golden/v1/commands.txt", true);
    player_init(&p, strstr(text, "command 1 "));
    buffer_init(&example);

    assert_true(play_command(&p));
    example_bytes(format, "### The payload of `started`", &example);
    char *payload = strstr(text, " payload") + strlen(" payload");
    struct reader r = {.at = payload};
    next_bytes(&r, &p.made);
    assert_bytes(&example, &p.made, "payload in FORMAT.md", 1);
    check_record(format, buffer_as_text(&p.made), &example);
    example_bytes(format, "### Its result row", &example);
    assert_bytes(&example, &p.stored, "row in FORMAT.md", 1);

    // No resource and no request is there yet: the digest is the hash of the one element.
    example_bytes(format, "### The element behind that digest", &example);
    assert_true(hash128_equal(hash128(example.data, example.size), sm_digest(p.sm)));
    buffer_release(&example);
    player_release(&p);
    free(text);
    free(format);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "print") == 0) {
        struct buffer out;
        buffer_init(&out);
        file_make(&out);
        bool written = fwrite(out.data, 1, out.size, stdout) == out.size && fflush(stdout) == 0;
        buffer_release(&out);
        return written ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_written_are_those_of_the_format),
        cmocka_unit_test(every_version_keeps_its_meaning),
        cmocka_unit_test(a_snapshot_that_is_not_whole_is_refused),
        cmocka_unit_test(the_examples_of_the_text_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
