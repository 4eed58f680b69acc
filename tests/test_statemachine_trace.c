// tests/test_statemachine_trace.c
//
// What sm_changes tells of a command is how the model's resources differ before and after it, over
// random histories; and noting it changes nothing.
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

struct tally {
    uint64_t made, removed, changed, retyped, userdata, expiration;
    uint64_t several, none; // commands that changed more than one resource, or none
};

struct history {
    struct maker maker;
    struct model *model;
    struct sm *traced, *plain;
    struct command_decoder *decoder;
    struct tally *tally;
    struct buffer payload, complaint;
};

// ---- copies of the model's resources ----------------------------------------

struct copy {
    struct sm_resource *list; // by name
    uint32_t count;
};

static struct text copy_text(struct text t)
{
    char *bytes = must_malloc((size_t)t.size + 1);
    if (t.size > 0) memcpy(bytes, t.data, t.size);
    return text_of(bytes, t.size);
}

static void copy_take(struct copy *copy, const struct model *model)
{
    const struct sm_resource *list = NULL;
    model_resources(model, &list, &copy->count);
    copy->list = must_calloc((size_t)copy->count + 1, sizeof(copy->list[0]));
    for (uint32_t i = 0; i < copy->count; i++) {
        struct sm_resource *r = &copy->list[i];
        *r = list[i];
        r->type = copy_text(list[i].type);
        r->name = copy_text(list[i].name);
        r->state = copy_text(list[i].state);
        r->owner = copy_text(list[i].owner);
        struct userdata_pair *pairs = must_calloc((size_t)r->userdata_count + 1, sizeof(*pairs));
        for (uint32_t k = 0; k < r->userdata_count; k++) {
            pairs[k].key = copy_text(list[i].userdata[k].key);
            pairs[k].value = copy_text(list[i].userdata[k].value);
        }
        r->userdata = pairs;
    }
}

static void free_text(struct text t)
{
    free((void *)(uintptr_t)t.data);
}

static void copy_release(struct copy *copy)
{
    for (uint32_t i = 0; i < copy->count; i++) {
        struct sm_resource *r = &copy->list[i];
        for (uint32_t k = 0; k < r->userdata_count; k++) {
            free_text(r->userdata[k].key);
            free_text(r->userdata[k].value);
        }
        free((void *)(uintptr_t)r->userdata);
        free_text(r->type);
        free_text(r->name);
        free_text(r->state);
        free_text(r->owner);
    }
    free(copy->list);
}

// ---- comparing --------------------------------------------------------------

static bool same_userdata(const struct sm_resource *a, const struct sm_resource *b)
{
    bool is_same = a->userdata_count == b->userdata_count;
    for (uint32_t i = 0; is_same && i < a->userdata_count; i++)
        is_same = text_equal(a->userdata[i].key, b->userdata[i].key) &&
                  text_equal(a->userdata[i].value, b->userdata[i].value);
    return is_same;
}

static bool same_expiration(const struct sm_resource *a, const struct sm_resource *b)
{
    return a->has_expiration == b->has_expiration &&
           (!a->has_expiration || a->expiration_ns == b->expiration_ns);
}

static bool same(const struct sm_resource *a, const struct sm_resource *b)
{
    return text_equal(a->name, b->name) && text_equal(a->type, b->type) &&
           text_equal(a->state, b->state) && text_equal(a->owner, b->owner) &&
           a->lastupdate_ns == b->lastupdate_ns && same_expiration(a, b) && same_userdata(a, b);
}

static void describe_side(struct buffer *out, const char *what, const struct sm_resource *r)
{
    buffer_string(out, what);
    if (r == NULL)
        buffer_string(out, "nothing\n");
    else
        model_dump_resource(r, out);
}

static void complain(struct history *h, const char *what, const struct sm_resource *before,
                     const struct sm_resource *after, const struct sm_change *had)
{
    struct buffer *out = &h->complaint;
    buffer_format(out, "%s\n", what);
    describe_side(out, "  the model before: ", before);
    describe_side(out, "  the model after: ", after);
    if (had == NULL) return;
    describe_side(out, "  the change before: ", had->was_there ? &had->before : NULL);
    describe_side(out, "  the change after: ", had->is_there ? &had->after : NULL);
}

// NULL stands for a resource that is not there.
static bool check_change(struct history *h, const struct sm_change *had,
                         const struct sm_resource *before, const struct sm_resource *after)
{
    const struct sm_resource *any = before != NULL ? before : after;
    ASSERT(any != NULL);
    bool is_right = text_equal(had->name, any->name) && had->was_there == (before != NULL) &&
                    had->is_there == (after != NULL);
    if (is_right && before != NULL) is_right = same(&had->before, before);
    if (is_right && after != NULL) is_right = same(&had->after, after);
    if (!is_right) complain(h, "another change", before, after, had);

    struct tally *t = h->tally;
    t->made += before == NULL;
    t->removed += after == NULL;
    if (before == NULL || after == NULL) return is_right;
    t->changed++;
    t->retyped += !text_equal(before->type, after->type);
    t->userdata += !same_userdata(before, after);
    t->expiration += !same_expiration(before, after);
    return is_right;
}

// Goes through both lists, which are sorted, and the changes beside them.
static bool check_changes(struct history *h, const struct copy *before,
                          const struct sm_resource *after, uint32_t after_count)
{
    struct sm_change change;
    uint32_t at = 0, b = 0, a = 0, count = sm_changes(h->traced);
    while (b < before->count || a < after_count) {
        const struct sm_resource *old = b < before->count ? &before->list[b] : NULL;
        const struct sm_resource *new = a < after_count ? &after[a] : NULL;
        int order = old == NULL ? 1 : new == NULL ? -1 : text_compare(old->name, new->name);
        if (order < 0) new = NULL;
        if (order > 0) old = NULL;
        b += old != NULL;
        a += new != NULL;
        if (old != NULL && new != NULL && same(old, new)) continue;
        if (at == count) {
            complain(h, "a change is missing at the end", old, new, NULL);
            return false;
        }
        sm_change(h->traced, at++, &change);
        if (!check_change(h, &change, old, new)) return false;
    }
    h->tally->several += count > 1;
    h->tally->none += count == 0;
    if (at == count) return true;
    sm_change(h->traced, at, &change);
    complain(h, "a change too many", NULL, NULL, &change);
    return false;
}

// ---- histories --------------------------------------------------------------

// The next command, decoded: what the maker's points to may be the model's own.
static void make(struct history *h, struct command *ret_command)
{
    struct command c;
    maker_next(&h->maker, &c);
    command_describe(&c, &h->complaint);
    buffer_clear(&h->payload);
    command_encode(&c, &h->payload);
    int err = command_decode(h->decoder, c.kind, buffer_as_text(&h->payload), ret_command);
    assert_int_equal(err, 0);
    ret_command->seq = c.seq;
    ret_command->time_ns = c.time_ns;
}

// To both state machines, which must come to the same.
static bool apply(struct history *h, const struct command *c)
{
    struct sm_result result;
    struct buffer rows[2] = {0};
    sm_apply(h->plain, c, &result);
    sm_result_encode(&result, &rows[0]);
    sm_apply(h->traced, c, &result);
    sm_result_encode(&result, &rows[1]);
    bool is_same = text_equal(buffer_as_text(&rows[0]), buffer_as_text(&rows[1]));
    if (!is_same) buffer_string(&h->complaint, "another result when changes are noted\n");
    buffer_release(&rows[0]);
    buffer_release(&rows[1]);
    return is_same;
}

static bool step(struct history *h)
{
    struct command c;
    struct copy before;
    make(h, &c);
    copy_take(&before, h->model);
    bool is_right = apply(h, &c);
    struct model_reply reply;
    model_apply(h->model, &c, &reply);
    model_reply_release(&reply);

    const struct sm_resource *after = NULL;
    uint32_t after_count = 0;
    model_resources(h->model, &after, &after_count);
    is_right = is_right && check_changes(h, &before, after, after_count);

    if (is_right && sm_changes(h->plain) != 0) {
        buffer_string(&h->complaint, "changes are noted unasked\n");
        is_right = false;
    }
    copy_release(&before);
    return is_right;
}

static void play(uint64_t seed, struct tally *tally)
{
    struct history h = {.tally = tally, .model = model_new()};
    h.traced = sm_new(seed * 3 + 1);
    h.plain = sm_new(seed * 3 + 1);
    h.decoder = command_decoder_new();
    sm_trace(h.traced);
    maker_init(&h.maker, seed, h.model);
    for (uint32_t number = 0; number < STEPS; number++) {
        buffer_clear(&h.complaint);
        if (!step(&h))
            fail_msg("seed %" PRIu64 ", step %" PRIu32 "\n%.*s", seed, number,
                     TEXT_ARG(buffer_as_text(&h.complaint)));
    }
    maker_release(&h.maker);
    model_free(h.model);
    sm_free(h.traced);
    sm_free(h.plain);
    command_decoder_free(h.decoder);
    buffer_release(&h.payload);
    buffer_release(&h.complaint);
}

static void test_changes_are_the_difference(void **unused)
{
    (void)unused;
    struct tally t = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        play(seed, &t);
    print_message("%u commands: made %" PRIu64 ", removed %" PRIu64 ", changed %" PRIu64
                  " (type %" PRIu64 ", userdata %" PRIu64 ", expiration %" PRIu64
                  "); several %" PRIu64 ", none %" PRIu64 "\n",
                  SEEDS * STEPS, t.made, t.removed, t.changed, t.retyped, t.userdata, t.expiration,
                  t.several, t.none);
    // Each is common enough that the histories test it.
    const uint64_t counts[] = {t.made,     t.removed,    t.changed, t.retyped,
                               t.userdata, t.expiration, t.several, t.none};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        assert_true(counts[i] >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_changes_are_the_difference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
