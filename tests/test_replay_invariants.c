// The invariants of bisect, on states that keep them and on ones that were broken by hand: the
// rules never lead to most of them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "replay/invariants.h"
#include "statemachine/state.h"

#include "base/banned.h"

#define START_NS (UINT64_C(1700000000) * NS_PER_S)

static void apply(struct sm *sm, struct command c, uint64_t after_s)
{
    struct sm_result result;
    c.seq = sm_seq(sm) + 1;
    c.time_ns = START_NS + after_s * NS_PER_S;
    sm_apply(sm, &c, &result);
    assert_int_equal(result.reason, SM_OK);
}

static void acquire(struct sm *sm, const char *type, const char *dest, const char *owner,
                    uint64_t after_s)
{
    struct command c = {.kind = COMMAND_ACQUIRE,
                        .as.acquire = {text_from(type), TEXT("free"), text_from(dest),
                                       text_from(owner), TEXT_NONE, TEXT_NONE}};
    apply(sm, c, after_s);
}

// `d` has a life cycle of at least two, and a static name beside; `s` has three static names.
static struct sm *sm_of_test(void)
{
    static const struct text beside[] = {TEXT("beside")};
    static const struct text names[] = {TEXT("a1"), TEXT("a2"), TEXT("b")};
    struct sm_entry entries[3] = {
        {.type = TEXT("d"),
         .state = TEXT("free"),
         .is_dynamic = true,
         .min_count = 2,
         .max_count = 4},
        {.type = TEXT("d"), .state = TEXT("free"), .names = beside, .names_count = 1},
        {.type = TEXT("s"), .state = TEXT("free"), .names = names, .names_count = 3}};
    struct command config = {.kind = COMMAND_CONFIG,
                             .as.config = {.entries = entries, .entries_count = 3}};
    struct sm *sm = sm_new(1);
    apply(sm, config, 0);
    acquire(sm, "s", "busy", "ann", 10);
    acquire(sm, "s", "busy", "ann", 20);
    acquire(sm, "s", "busy", "bob", 30);
    acquire(sm, "d", "busy", "ann", 40);
    return sm;
}

static void assert_holds(const char *name, struct sm *sm)
{
    struct invariant v;
    struct buffer why;
    bool holds = false;
    buffer_init(&why);
    assert_true(invariant_parse(name, &v));
    assert_int_equal(invariant_check(&v, sm, &holds, &why), 0);
    assert_true(holds);
    assert_int_equal(why.size, 0);
    buffer_release(&why);
}

static void assert_broken(const char *name, struct sm *sm, const char *wanted)
{
    struct invariant v;
    struct buffer why;
    bool holds = true;
    buffer_init(&why);
    assert_true(invariant_parse(name, &v));
    assert_int_equal(invariant_check(&v, sm, &holds, &why), 0);
    assert_false(holds);
    buffer_char(&why, '\0');
    assert_string_equal(why.data, wanted);
    buffer_release(&why);
}

static void names_are_parsed(void **state)
{
    (void)state;
    struct invariant v = {0};
    assert_true(invariant_parse("stuck:1h30m", &v));
    assert_int_equal(v.kind, INVARIANT_STUCK);
    assert_int_equal(v.age_ns, 5400 * NS_PER_S);
    static const char *const wrong[] = {"",        "stuck",     "stuck:",         "stuck:0",
                                        "stuck:x", "stuck:-1s", "no-double-leas", "min-count "};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(invariant_parse(wrong[i], &v));
}

static void a_good_state_is_good(void **state)
{
    (void)state;
    struct sm *sm = sm_of_test();
    struct sm *empty = sm_new(1);
    assert_holds("no-double-lease", sm);
    assert_holds("min-count", sm);
    assert_holds("no-double-lease", empty);
    assert_holds("min-count", empty);
    assert_holds("stuck:1ns", empty);
    sm_free(sm);
    sm_free(empty);
}

static void a_name_is_there_twice(void **state)
{
    (void)state;
    struct sm *sm = sm_of_test();
    struct resource *r = resource_find(sm, TEXT("a2"));
    r->name[1] = '1';
    assert_broken("no-double-lease", sm, "\"a1\" is twice in the list, or out of order");
    r->name[1] = '2';
    assert_holds("no-double-lease", sm);
    sm_free(sm);
}

static void owners_count_something_else(void **state)
{
    (void)state;
    struct sm *sm = sm_of_test();
    struct holder *h = type_find(sm, TEXT("s"))->holders;
    while (!text_equal(symbol_text(h->owner), TEXT("ann")))
        h = h->after;
    h->count = 3;
    assert_broken("no-double-lease", sm, "\"ann\" is said to own more than the list has");
    h->count = 1;
    assert_broken("no-double-lease", sm, "\"a2\" has an owner who does not count it");
    h->count = 2;
    struct resource *r = resource_find(sm, TEXT("b"));
    struct symbol *bob = r->owner;
    r->owner = resource_find(sm, TEXT("a1"))->owner;
    assert_broken("no-double-lease", sm, "\"b\" has an owner who does not count it");
    r->owner = bob;
    assert_holds("no-double-lease", sm);
    sm_free(sm);
}

static void the_dead_are_owned(void **state)
{
    (void)state;
    struct sm *sm = sm_of_test();
    acquire(sm, "d", "tombstone", "cyd", 50);
    struct invariant v;
    struct buffer why;
    bool holds = true;
    buffer_init(&why);
    assert_true(invariant_parse("no-double-lease", &v));
    assert_int_equal(invariant_check(&v, sm, &holds, &why), 0);
    assert_false(holds);
    static const char end[] = " is dynamic and owned in the state tombstone";
    assert_true(why.size > sizeof(end));
    assert_memory_equal(why.data + why.size - sizeof(end) + 1, end, sizeof(end) - 1);
    buffer_release(&why);
    sm_free(sm);
}

// The static name of the type does not count.
static void there_are_too_few(void **state)
{
    (void)state;
    struct sm *sm = sm_of_test();
    struct life_cycle *cycle = type_find(sm, TEXT("d"))->cycle;
    cycle->min_count = 3;
    assert_broken("min-count", sm, "\"d\" has 2 dynamic resources, min-count is 3");
    cycle->min_count = 2;
    assert_holds("min-count", sm);
    sm_free(sm);
}

// The leases are 30, 20, 10 and 0 seconds old.
static void a_lease_is_stuck(void **state)
{
    (void)state;
    struct sm *sm = sm_of_test();
    assert_holds("stuck:30s", sm);
    assert_broken("stuck:29.9s", sm, "\"a1\" of \"ann\" was last updated 30s before");
    struct command release = {.kind = COMMAND_RELEASE,
                              .as.release = {TEXT("a1"), TEXT("free"), TEXT("ann")}};
    apply(sm, release, 40);
    assert_broken("stuck:19s", sm, "\"a2\" of \"ann\" was last updated 20s before");
    assert_holds("stuck:20s", sm);
    sm_free(sm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_parsed),      cmocka_unit_test(a_good_state_is_good),
        cmocka_unit_test(a_name_is_there_twice), cmocka_unit_test(owners_count_something_else),
        cmocka_unit_test(the_dead_are_owned),    cmocka_unit_test(there_are_too_few),
        cmocka_unit_test(a_lease_is_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
