// tests/test_statemachine_rewrite.c
//
// sm_rewrite over random histories: a state with the same texts is the same and goes on as the
// original does; one with other texts is the same again when those are taken back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/history_make.h"

#include "base/banned.h"

#define SEEDS 10u
#define STEPS 1000u
#define REWRITE_EVERY 25u
#define MARK "other "
#define MARK_SIZE (sizeof(MARK) - 1)

// ---- other texts --------------------------------------------------------------

// Marks the texts whose order and value mean nothing to the rules, or takes the mark away again.
struct marker {
    bool takes_away;
    bool has[SM_TEXT_KEY + 1]; // kinds that were there
    bool has_import;
    struct buffer text;
    struct buffer config;
    struct userdata_pair pair;
    struct command_decoder *decoder;
};

static struct text marked(struct marker *m, struct text t)
{
    buffer_clear(&m->text);
    if (m->takes_away) {
        assert_true(t.size > MARK_SIZE && memcmp(t.data, MARK, MARK_SIZE) == 0);
        buffer_append(&m->text, t.data + MARK_SIZE, t.size - MARK_SIZE);
    } else {
        buffer_string(&m->text, MARK);
        buffer_text(&m->text, t);
    }
    return buffer_as_text(&m->text);
}

static struct text mark_text(void *context, enum sm_text what, struct text t)
{
    struct marker *m = context;
    assert_false(text_is_empty(t));
    m->has[what] = true;
    switch (what) {
    case SM_TEXT_NAME:
    case SM_TEXT_STATE: return t;
    case SM_TEXT_TYPE:
    case SM_TEXT_OWNER:
    case SM_TEXT_REQUEST:
    case SM_TEXT_KEY: return marked(m, t);
    }
    return TEXT_NONE;
}

static void mark_userdata(void *context, const struct userdata_pair *pairs, uint32_t count,
                          const struct userdata_pair **ret_pairs, uint32_t *ret_count)
{
    (void)context;
    *ret_pairs = pairs;
    *ret_count = count;
}

// Entries' types alone; the payload lives until the next call.
static struct text mark_entries(struct marker *m, enum command_kind kind, struct text payload)
{
    struct command c = {.kind = kind};
    assert_int_equal(command_decode(m->decoder, kind, payload, &c), 0);
    bool is_import = kind == COMMAND_IMPORT;
    const struct sm_entry *given = is_import ? c.as.import.cycles : c.as.config.entries;
    uint32_t count = is_import ? c.as.import.cycles_count : c.as.config.entries_count;
    struct sm_entry *entries = must_calloc((size_t)count + 1, sizeof(*entries));
    struct buffer *texts = must_calloc((size_t)count + 1, sizeof(*texts));
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = given[i];
        buffer_text(&texts[i], marked(m, entries[i].type));
        entries[i].type = buffer_as_text(&texts[i]);
    }
    if (is_import)
        c.as.import.cycles = entries;
    else
        c.as.config.entries = entries;
    buffer_clear(&m->config);
    command_encode(&c, &m->config);
    for (uint32_t i = 0; i < count; i++)
        buffer_release(&texts[i]);
    free(texts);
    free(entries);
    return buffer_as_text(&m->config);
}

static struct text mark_config(void *context, struct text payload)
{
    return mark_entries(context, COMMAND_CONFIG, payload);
}

static struct text mark_import(void *context, struct text payload)
{
    struct marker *m = context;
    m->has_import = true;
    return mark_entries(m, COMMAND_IMPORT, payload);
}

static void marker_release(struct marker *m)
{
    buffer_release(&m->text);
    buffer_release(&m->config);
    command_decoder_free(m->decoder);
}

static struct text same_text(void *context, enum sm_text what, struct text t)
{
    (void)context;
    (void)what;
    return t;
}

static struct text same_config(void *context, struct text payload)
{
    (void)context;
    return payload;
}

static const struct sm_rewriting same = {NULL, same_text, mark_userdata, same_config, same_config};

// ---- comparing ----------------------------------------------------------------

static int take_bytes(void *context, const void *bytes, size_t size)
{
    buffer_append(context, bytes, size);
    return 0;
}

// Of everything that is in a state, but what a snapshot need not hold.
static bool is_same_state(struct sm *a, struct sm *b)
{
    struct buffer bytes[2] = {0};
    (void)sm_snapshot_write(a, take_bytes, &bytes[0]);
    (void)sm_snapshot_write(b, take_bytes, &bytes[1]);
    bool is_same = text_equal(buffer_as_text(&bytes[0]), buffer_as_text(&bytes[1])) &&
                   hash128_equal(sm_digest(a), sm_digest_from_scratch(b));
    buffer_release(&bytes[0]);
    buffer_release(&bytes[1]);
    return is_same;
}

// ---- histories ------------------------------------------------------------------

struct history {
    struct maker maker;
    struct model *model;
    struct sm *original, *copy; // the copy is rewritten now and then
    struct command_decoder *decoder;
    struct marker marks, unmarks;
    struct buffer payload, complaint;
};

static void make(struct history *h, struct command *ret_command)
{
    struct command c;
    maker_next(&h->maker, &c);
    buffer_clear(&h->complaint);
    command_describe(&c, &h->complaint);
    buffer_clear(&h->payload);
    command_encode(&c, &h->payload);
    assert_int_equal(command_decode(h->decoder, c.kind, buffer_as_text(&h->payload), ret_command),
                     0);
    ret_command->seq = c.seq;
    ret_command->time_ns = c.time_ns;
}

static bool apply(struct history *h, const struct command *c)
{
    struct sm_result result;
    struct buffer rows[2] = {0};
    sm_apply(h->original, c, &result);
    sm_result_encode(&result, &rows[0]);
    sm_apply(h->copy, c, &result);
    sm_result_encode(&result, &rows[1]);
    bool is_same = text_equal(buffer_as_text(&rows[0]), buffer_as_text(&rows[1]));
    buffer_release(&rows[0]);
    buffer_release(&rows[1]);
    struct model_reply reply;
    model_apply(h->model, c, &reply);
    model_reply_release(&reply);
    return is_same;
}

static void rewrite_again(struct history *h, uint64_t seed)
{
    struct sm *again = NULL;
    assert_int_equal(sm_rewrite(h->copy, &same, seed * 7 + 3, &again), 0);
    assert_true(is_same_state(h->original, again));
    h->copy = again;
}

static struct sm *copy_of(struct sm *sm)
{
    struct buffer bytes = {0};
    struct sm *copy = NULL;
    (void)sm_snapshot_write(sm, take_bytes, &bytes);
    assert_int_equal(sm_snapshot_read(buffer_as_text(&bytes), 4, &copy), 0);
    buffer_release(&bytes);
    return copy;
}

static void mark_and_unmark(struct history *h)
{
    const struct sm_rewriting marking = {&h->marks, mark_text, mark_userdata, mark_config,
                                         mark_import};
    const struct sm_rewriting unmarking = {&h->unmarks, mark_text, mark_userdata, mark_config,
                                           mark_import};
    struct sm *other = NULL, *back = NULL;
    assert_int_equal(sm_rewrite(copy_of(h->original), &marking, 5, &other), 0);
    assert_true(hash128_equal(sm_digest(other), sm_digest_from_scratch(other)));
    assert_false(hash128_equal(sm_digest(other), sm_digest(h->original)));
    assert_int_equal(sm_rewrite(other, &unmarking, 6, &back), 0);
    assert_true(is_same_state(h->original, back));
    sm_free(back);
}

static void play(uint64_t seed, bool ret_has[SM_TEXT_KEY + 1], bool *ret_has_import)
{
    struct history h = {.model = model_new()};
    h.original = sm_new(seed * 3 + 1);
    h.copy = sm_new(seed * 3 + 2);
    h.decoder = command_decoder_new();
    h.marks.decoder = command_decoder_new();
    h.unmarks = (struct marker){.takes_away = true, .decoder = command_decoder_new()};
    maker_init(&h.maker, seed, h.model);
    for (uint32_t number = 1; number <= STEPS; number++) {
        struct command c;
        make(&h, &c);
        if (!apply(&h, &c))
            fail_msg("seed %" PRIu64 ", step %" PRIu32 ": the copy comes to something else\n%.*s",
                     seed, number, TEXT_ARG(buffer_as_text(&h.complaint)));
        if (number % REWRITE_EVERY != 0) continue;
        rewrite_again(&h, seed);
        if (sm_resources_count(h.original) > 0) mark_and_unmark(&h);
    }
    for (uint32_t i = 0; i <= SM_TEXT_KEY; i++)
        ret_has[i] = ret_has[i] || h.marks.has[i];
    *ret_has_import = *ret_has_import || h.marks.has_import;
    maker_release(&h.maker);
    model_free(h.model);
    sm_free(h.original);
    sm_free(h.copy);
    command_decoder_free(h.decoder);
    marker_release(&h.marks);
    marker_release(&h.unmarks);
    buffer_release(&h.payload);
    buffer_release(&h.complaint);
}

static void test_rewritten_goes_on_as_the_original(void **unused)
{
    (void)unused;
    bool has[SM_TEXT_KEY + 1] = {false}, has_import = false;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        play(seed, has, &has_import);
    assert_true(has_import);
    for (uint32_t i = 0; i <= SM_TEXT_KEY; i++)
        assert_true(has[i]);
}

// ---- what cannot be -------------------------------------------------------------

// Two resources of two types, with leases, keys, userdata and a queue.
static struct sm *small_state(void)
{
    const struct text names[] = {TEXT("n1"), TEXT("n2")}, other_names[] = {TEXT("m1"), TEXT("m2")};
    const struct sm_entry entries[] = {
        {.type = TEXT("a"), .state = TEXT("free"), .names = names, .names_count = 2},
        {.type = TEXT("b"), .state = TEXT("free"), .names = other_names, .names_count = 2},
        {.type = TEXT("c"), .state = TEXT("free"), .is_dynamic = true, .max_count = 1},
        {.type = TEXT("d"), .state = TEXT("free"), .is_dynamic = true, .max_count = 1}};
    const struct userdata_pair pair = {TEXT("k"), TEXT("v")};
    const struct command commands[] = {
        {.kind = COMMAND_CONFIG, .as.config = {.entries = entries, .entries_count = 4}},
        {.kind = COMMAND_ACQUIRE,
         .as.acquire = {TEXT("a"), TEXT("free"), TEXT("busy"), TEXT("ann"), TEXT(""), TEXT("x")}},
        {.kind = COMMAND_ACQUIRE,
         .as.acquire = {TEXT("a"), TEXT("free"), TEXT("busy"), TEXT("ann"), TEXT(""), TEXT("y")}},
        {.kind = COMMAND_UPDATE,
         .as.update = {TEXT("n1"), TEXT("ann"), TEXT("busy"), true, &pair, 1}},
        {.kind = COMMAND_ACQUIRE,
         .as.acquire = {TEXT("a"), TEXT("free"), TEXT("busy"), TEXT("bob"), TEXT("r"), TEXT("")}},
        {.kind = COMMAND_ACQUIRE,
         .as.acquire = {TEXT("a"), TEXT("free"), TEXT("busy"), TEXT("bob"), TEXT("s"), TEXT("")}}};
    struct sm *sm = sm_new(1);
    for (uint64_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        struct command c = commands[i];
        struct sm_result result;
        c.seq = i + 1;
        c.time_ns = 1000;
        sm_apply(sm, &c, &result);
    }
    assert_int_equal(sm_queue_entries(sm), 2);
    return sm;
}

// Makes one text of all of a kind.
static struct text join_text(void *context, enum sm_text what, struct text t)
{
    const enum sm_text *joined = context;
    return what == *joined ? TEXT("one") : t;
}

static struct text long_name(void *context, enum sm_text what, struct text t)
{
    static char bytes[SM_NAME_BYTES_MAX + 1];
    (void)context;
    memset(bytes, 'n', sizeof(bytes));
    return what == SM_TEXT_NAME ? text_of(bytes, sizeof(bytes)) : t;
}

static struct text no_config(void *context, struct text payload)
{
    (void)context;
    return text_of(payload.data, payload.size - 1);
}

static void large_userdata(void *context, const struct userdata_pair *pairs, uint32_t count,
                           const struct userdata_pair **ret_pairs, uint32_t *ret_count)
{
    struct userdata_pair *pair = context;
    (void)pairs;
    assert_int_equal(count, 1);
    *ret_pairs = pair;
    *ret_count = 1;
}

static void expect_error(struct sm *sm, struct sm_rewriting how, int wanted)
{
    struct sm *other = NULL;
    assert_int_equal(sm_rewrite(sm, &how, 1, &other), wanted);
    assert_null(other);
}

static void test_rewrite_refuses(void **unused)
{
    (void)unused;
    for (enum sm_text what = SM_TEXT_NAME; what <= SM_TEXT_KEY; what++) {
        // States and owners of several resources may be the same anyway.
        bool is_distinct = what != SM_TEXT_STATE && what != SM_TEXT_OWNER;
        if (!is_distinct) continue;
        expect_error(
            small_state(),
            (struct sm_rewriting){&what, join_text, mark_userdata, same_config, same_config},
            BOSKOS_E_MALFORMED);
    }
    expect_error(small_state(),
                 (struct sm_rewriting){NULL, long_name, mark_userdata, same_config, same_config},
                 BOSKOS_E_MALFORMED);
    expect_error(small_state(),
                 (struct sm_rewriting){NULL, same_text, mark_userdata, no_config, same_config},
                 BOSKOS_E_MALFORMED);
    struct sm *waiting = small_state();
    struct sm_result result;
    const struct command import = {.kind = COMMAND_IMPORT, .seq = 7, .time_ns = 1000};
    sm_apply(waiting, &import, &result);
    expect_error(waiting,
                 (struct sm_rewriting){NULL, same_text, mark_userdata, same_config, no_config},
                 BOSKOS_E_MALFORMED);

    char *bytes = must_malloc(SM_USERDATA_BYTES_MAX);
    memset(bytes, 'v', SM_USERDATA_BYTES_MAX);
    struct userdata_pair pair = {TEXT("k"), text_of(bytes, SM_USERDATA_BYTES_MAX)};
    const struct sm_rewriting how = {&pair, same_text, large_userdata, same_config, same_config};
    expect_error(small_state(), how, BOSKOS_E_TOO_LARGE);
    pair.value.size--;
    struct sm *other = NULL;
    assert_int_equal(sm_rewrite(small_state(), &how, 1, &other), 0);
    sm_free(other);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewritten_goes_on_as_the_original),
        cmocka_unit_test(test_rewrite_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
