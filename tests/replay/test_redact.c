// tests/replay/test_redact.c
//
// What redacting stands on: other texts in the same order around those that stay, the sets of texts
// that know it, and a comparison that sees every difference of two results.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "replay/proof.h"
#include "replay/ranks.h"
#include "replay/text_set.h"
#include "tests/reset_of.h"

#include "base/banned.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

// ---- ranks ----------------------------------------------------------------------

#define ROUNDS 2000u
#define TEXTS_MAX 40u
#define LONG_MAX 7u

static const struct text staying[] = {
    TEXT("019ca8a0-3e80-7000-8000-000800000abc"), TEXT("019ca8a0-3e80-7000-8000-000800001abc"),
    TEXT("019ca8b7-48f0-7000-8000-00b800000abc"), TEXT("busy"), TEXT("tombstone")};
static const struct text marks[] = {TEXT("019ca8a0-3e80-"), TEXT("019ca8b7-48f0-8")};

static uint64_t random_below(uint64_t *random, uint64_t bound)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*random >> 33) % bound;
}

static bool stays(const void *context, struct text t)
{
    (void)context;
    for (size_t i = 0; i < COUNT(staying); i++)
        if (text_equal(staying[i], t)) return true;
    return false;
}

// Mostly near the texts that stay: the beginning of one, and then anything.
static struct text random_text(uint64_t *random, char bytes[64])
{
    static const char letters[] = "-.019abrt~\xff\x01";
    uint32_t size = 0;
    if (random_below(random, 4) > 0) {
        struct text near = staying[random_below(random, COUNT(staying))];
        size = (uint32_t)random_below(random, near.size + 1);
        memcpy(bytes, near.data, size);
    }
    for (uint64_t more = 1 + random_below(random, LONG_MAX); more > 0; more--)
        bytes[size++] = letters[random_below(random, sizeof(letters) - 1)];
    return text_of(bytes, size);
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

struct texts {
    char bytes[TEXTS_MAX][64];
    char other_bytes[TEXTS_MAX][RANKS_TEXT_BYTES_MAX];
    struct text texts[TEXTS_MAX], others[TEXTS_MAX];
    uint32_t count;
};

static void fill(struct texts *t, uint64_t *random)
{
    t->count = 1 + (uint32_t)random_below(random, TEXTS_MAX);
    for (uint32_t i = 0; i < t->count; i++) {
        t->texts[i] = random_below(random, 5) == 0 ? staying[random_below(random, COUNT(staying))]
                                                   : random_text(random, t->bytes[i]);
    }
}

// Each pair is in the order that it was in, and each text on its side of every mark.
static void expect_order(const struct texts *t, bool has_marks)
{
    for (uint32_t i = 0; i < t->count; i++) {
        bool is_same = text_equal(t->texts[i], t->others[i]);
        assert_int_equal(is_same, stays(NULL, t->texts[i]));
        for (uint32_t k = 0; k < t->count; k++)
            assert_int_equal(sign(text_compare(t->texts[i], t->texts[k])),
                             sign(text_compare(t->others[i], t->others[k])));
        for (uint32_t k = 0; has_marks && k < COUNT(marks) && !is_same; k++) {
            bool is_below = text_compare(t->texts[i], marks[k]) < 0;
            assert_int_equal(is_below, text_compare(t->others[i], marks[k]) < 0);
        }
    }
}

static void test_ranks_keep_the_order(void **unused)
{
    (void)unused;
    uint64_t random = 1;
    struct texts t;
    char bytes[RANKS_TEXT_BYTES_MAX];
    for (uint32_t round = 0; round < ROUNDS; round++) {
        bool has_marks = round % 2 == 1, is_between = false;
        struct ranks *r = ranks_new("r");
        fill(&t, &random);
        for (uint32_t i = 0; has_marks && i < COUNT(marks); i++)
            ranks_mark(r, marks[i]);
        for (uint32_t i = 0; i < t.count; i++) {
            ranks_add(r, t.texts[i]);
            if (random_below(&random, 10) == 0) ranks_settle(r, stays, NULL); // and again later
            is_between = is_between || (has_marks && !stays(NULL, t.texts[i]) &&
                                        text_compare(t.texts[i], marks[0]) >= 0 &&
                                        text_compare(t.texts[i], marks[1]) < 0);
        }
        ranks_settle(r, stays, NULL);
        for (uint32_t i = 0; i < t.count; i++)
            t.others[i] = ranks_find(r, t.texts[i], t.other_bytes[i]);
        expect_order(&t, has_marks);
        assert_int_equal(ranks_between_marks(r), is_between);
        assert_null(ranks_find(r, TEXT("not in it"), bytes).data);
        ranks_free(r);
    }
}

// A name that the server makes later lies between the marks, wherever nothing else does.
static void test_ranks_leave_room(void **unused)
{
    (void)unused;
    struct ranks *r = ranks_new("r");
    const struct text all[] = {TEXT("0"),        TEXT("019ca8a0-3e7f-7000-8000-000800000abc"),
                               TEXT("019ca8a0"), TEXT("019ca8b8"),
                               TEXT("project"),  TEXT("zone")};
    const struct text wanted[] = {TEXT("0-r1"), TEXT("0-r3"), TEXT("0-r2"),
                                  TEXT("r4"),   TEXT("r5"),   TEXT("r6")};
    char bytes[RANKS_TEXT_BYTES_MAX];
    ranks_mark(r, marks[0]);
    ranks_mark(r, marks[1]);
    for (size_t i = 0; i < COUNT(all); i++)
        ranks_add(r, all[i]);
    ranks_settle(r, stays, NULL);
    for (size_t i = 0; i < COUNT(all); i++) {
        struct text other = ranks_find(r, all[i], bytes);
        assert_int_equal(other.size, wanted[i].size);
        assert_memory_equal(other.data, wanted[i].data, other.size);
    }
    assert_false(ranks_between_marks(r));
    ranks_free(r);
}

// ---- sets of texts --------------------------------------------------------------

#define SET_ROUNDS 200u
#define SET_TEXTS_MAX 300u
#define SET_TEXTS_MANY 120000u // more than are put in order together

// Of few letters and sizes, so that many have much in common, and of any size now and then.
static struct text random_member(uint64_t *random, struct buffer *bytes)
{
    uint64_t size = random_below(random, 12);
    if (random_below(random, 50) == 0) size = random_below(random, 40000);
    buffer_clear(bytes);
    for (uint64_t i = 0; i < size; i++)
        buffer_char(bytes, "ab\xff"[random_below(random, 3)]);
    return buffer_as_text(bytes);
}

static int by_text(const void *a, const void *b)
{
    return text_compare(*(const struct text *)a, *(const struct text *)b);
}

// Each is where it is in the sorted list, as is what is not in the set.
static void expect_set(struct text_set *s, struct text *texts, uint32_t count, uint64_t *random)
{
    struct buffer bytes = {0};
    uint32_t kept = 0;
    qsort(texts, count, sizeof(*texts), by_text);
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || !text_equal(texts[kept - 1], texts[i])) texts[kept++] = texts[i];
    ASSERT(kept > 0);
    assert_int_equal(text_set_count(s), kept);
    for (uint32_t i = 0; i < kept; i++)
        assert_true(text_equal(text_set_at(s, i), texts[i]));
    for (uint32_t i = 0; i < 2 * SET_TEXTS_MAX; i++) {
        bool is_in = false;
        uint32_t at = (uint32_t)random_below(random, kept), before = 0;
        assert_true(text_equal(text_set_at(s, at), texts[at]));
        assert_int_equal(text_set_before(s, texts[at], &is_in), at);
        assert_true(is_in);
        struct text t = random_member(random, &bytes);
        while (before < kept && text_compare(texts[before], t) < 0)
            before++;
        assert_int_equal(text_set_before(s, t, &is_in), before);
        assert_int_equal(is_in, before < kept && text_equal(texts[before], t));
    }
    buffer_release(&bytes);
}

static void test_text_sets(void **unused)
{
    (void)unused;
    uint64_t random = 2;
    struct buffer bytes = {0};
    for (uint32_t round = 0; round < SET_ROUNDS; round++) {
        struct text_set *s = text_set_new();
        struct text texts[SET_TEXTS_MAX];
        uint32_t count = 1 + (uint32_t)random_below(&random, SET_TEXTS_MAX);
        for (uint32_t i = 0; i < count; i++) {
            struct text t = random_member(&random, &bytes);
            char *copy = must_malloc((size_t)t.size + 1);
            memcpy(copy, bytes.data != NULL ? bytes.data : "", t.size);
            texts[i] = text_of(copy, t.size);
            text_set_add(s, t);
            if (random_below(&random, 100) == 0) text_set_settle(s); // and more come later
        }
        text_set_settle(s);
        struct text sorted[SET_TEXTS_MAX];
        memcpy(sorted, texts, count * sizeof(*texts));
        expect_set(s, sorted, count, &random);
        for (uint32_t i = 0; i < count; i++)
            free((void *)(uintptr_t)texts[i].data);
        text_set_free(s);
    }
    buffer_release(&bytes);
}

// They come in no order, each twice, and are put in order several times.
static void test_large_text_set(void **unused)
{
    (void)unused;
    struct text_set *s = text_set_new();
    char bytes[32];
    bool is_in = false;
    assert_int_equal(text_set_before(s, TEXT("a"), &is_in), 0);
    assert_false(is_in);
    for (uint32_t i = 0; i < 2 * SET_TEXTS_MANY; i++) {
        uint32_t number = (uint32_t)((uint64_t)i * 7919 % SET_TEXTS_MANY);
        int size = snprintf(bytes, sizeof(bytes), "a name of some size %06u", number);
        text_set_add(s, text_of(bytes, (size_t)size));
    }
    text_set_settle(s);
    assert_int_equal(text_set_count(s), SET_TEXTS_MANY);
    for (uint32_t i = 0; i < SET_TEXTS_MANY; i++) {
        int size = snprintf(bytes, sizeof(bytes), "a name of some size %06u", i);
        assert_true(text_equal(text_set_at(s, i), text_of(bytes, (size_t)size)));
        if (i % 100 == 0)
            assert_int_equal(text_set_before(s, text_of(bytes, (size_t)size), &is_in), i);
    }
    text_set_free(s);
}

// ---- the proof ------------------------------------------------------------------

// Is `b` what is claimed of `a`?
static void expect(struct redact *r, const struct sm_result *a, const struct sm_result *b,
                   bool is_same)
{
    assert_int_equal(proof_number(r, a) == proof_number(NULL, b), is_same);
}

static void change_resource(uint32_t field, struct sm_resource *s)
{
    switch (field) {
    case 0: s->name = TEXT("other"); return;
    case 1: s->type = TEXT("other"); return;
    case 2: s->state = TEXT("other"); return;
    case 3: s->owner = TEXT("other"); return;
    case 4: s->lastupdate_ns++; return;
    case 5: s->has_expiration = true; return;
    default: s->expiration_ns++; return;
    }
}

static void change_result(uint32_t field, struct sm_result *b)
{
    switch (field) {
    case 0: b->reason = SM_NO_AVAILABLE; return;
    case 1: b->resources_count = 1; return;
    case 2: b->reset_count = 0; return;
    case 3: b->current_owner = TEXT("other"); return;
    case 4: b->current_state = TEXT("other"); return;
    case 5: b->is_repeat = true; return;
    case 6: b->waited_ns++; return;
    default: b->effect = 0; return;
    }
}

static void test_proof_sees_each_difference(void **unused)
{
    (void)unused;
    struct redact *r = NULL;
    assert_int_equal(redact_new(false, &r), 0); // texts stay, so that they can be told here
    struct sm_resource resources[2] = {
        {.name = TEXT("n1"), .type = TEXT("t"), .state = TEXT("s"), .owner = TEXT("o")},
        {.name = TEXT("n2"), .type = TEXT("t"), .state = TEXT("s"), .owner = TEXT("o")}};
    static const struct sm_reset resets[] = {
        {TEXT("n3"), TEXT("o")}, {TEXT("other"), TEXT("o")}, {TEXT("n3"), TEXT("other")}};
    struct sm_result a;
    struct sm *sm = reset_of(&resets[0], 1, &a);
    a.resources = resources;
    a.resources_count = 2;
    for (uint32_t field = 0; field < 8; field++) {
        struct sm_result b = a;
        b.digest = (struct hash128){3, 4};
        b.effect++;
        expect(r, &a, &b, true);
        change_result(field, &b);
        expect(r, &a, &b, false);
    }
    for (uint32_t i = 0; i < COUNT(resets); i++) {
        struct sm_result other, b = a;
        struct sm *of_other = reset_of(&resets[i], 1, &other);
        b.reset = other.reset;
        b.reset_owners = other.reset_owners;
        expect(r, &a, &b, i == 0);
        sm_free(of_other);
    }
    for (uint32_t field = 0; field < 7; field++) {
        struct sm_resource others[2] = {resources[0], resources[1]};
        struct sm_result b = a;
        b.resources = others;
        expect(r, &a, &b, true);
        change_resource(field, &others[1]);
        expect(r, &a, &b, false);
    }
    sm_free(sm);
    redact_free(r);
}

// What stands for a text is asked for, and nothing else will do.
static void test_proof_wants_the_other_text(void **unused)
{
    (void)unused;
    struct redact *r = NULL;
    assert_int_equal(redact_new(true, &r), 0);
    struct command c = {.kind = COMMAND_RELEASE,
                        .seq = 1,
                        .time_ns = 1000,
                        .as.release = {TEXT("secret"), TEXT("free"), TEXT("ann")}},
                   other;
    struct command_decoder *decoder = command_decoder_new();
    struct buffer payload = {0}, other_payload = {0};
    redact_learn_command(r, &c);
    assert_false(redact_settle(r));
    command_encode(&c, &payload);
    assert_int_equal(redact_payload(r, c.kind, buffer_as_text(&payload), &other_payload), 0);
    assert_int_equal(command_decode(decoder, c.kind, buffer_as_text(&other_payload), &other), 0);
    assert_false(text_equal(other.as.release.name, c.as.release.name));
    assert_true(text_equal(other.as.release.dest, c.as.release.dest));
    assert_false(text_equal(other.as.release.owner, c.as.release.owner));
    payload.size--;
    assert_int_equal(redact_payload(r, c.kind, buffer_as_text(&payload), &other_payload),
                     BOSKOS_E_MALFORMED);
    struct sm_result a = {.reason = SM_OWNER_MISMATCH, .current_owner = TEXT("ann")}, b = a;
    expect(r, &a, &b, false);
    b.current_owner = other.as.release.owner;
    expect(r, &a, &b, true);
    buffer_release(&payload);
    buffer_release(&other_payload);
    command_decoder_free(decoder);
    redact_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_keep_the_order),
        cmocka_unit_test(test_ranks_leave_room),
        cmocka_unit_test(test_text_sets),
        cmocka_unit_test(test_large_text_set),
        cmocka_unit_test(test_proof_sees_each_difference),
        cmocka_unit_test(test_proof_wants_the_other_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
