// bench_parts: what the figures of boskos-bench rest on: percentiles, answers, recorded leases.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "bench/latency.h"
#include "bench/script.h"

#include "base/banned.h"

#define COUNT 20000u

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 16;
}

// Every percentile is the sorted list's, within a part in a thousand, and never below it.
static void test_percentiles(void **state)
{
    static const uint32_t asked[] = {0, 1, 10000, 500000, 900000, 990000, 999000, 999999, 1000000};
    static uint64_t times[COUNT];
    (void)state;
    struct latency *l = calloc(1, sizeof(*l));
    assert_non_null(l);
    uint64_t seed = 7;
    for (uint32_t i = 0; i < COUNT; i++) {
        times[i] = next_random(&seed) >> (i % 40); // of every size
        if (times[i] > LATENCY_NS_MAX) times[i] = LATENCY_NS_MAX;
        latency_add(l, times[i]);
    }
    qsort(times, COUNT, sizeof(times[0]), compare);
    for (uint32_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        uint64_t rank = ((uint64_t)COUNT * asked[i] + 999999) / 1000000;
        uint64_t exact = times[rank == 0 ? 0 : rank - 1];
        uint64_t found = latency_at(l, asked[i]);
        assert_true(found >= exact);
        assert_true(found - exact <= exact / 1000);
    }
    assert_int_equal(l->max_ns, times[COUNT - 1]);
    latency_clear(l);
    assert_int_equal(latency_at(l, 500000), 0);
    latency_add(l, UINT64_MAX);
    assert_int_equal(latency_at(l, 500000), LATENCY_NS_MAX);
    free(l);
}

// An answer is whole only with its last byte, wherever it was cut.
static void test_http(void **state)
{
    static const char answer[] =
        "HTTP/1.1 404 Not Found\r\nDate: x\r\nContent-Length: 5\r\n\r\nabcde";
    struct http_answer a = {0};
    (void)state;
    size_t size = sizeof(answer) - 1;
    for (size_t i = 0; i < size; i++)
        assert_int_equal(http_parse(text_of(answer, i), &a), 0);
    assert_int_equal(http_parse(text_of(answer, size), &a), size);
    assert_int_equal(a.status, 404);
    assert_true(text_equal(a.body, TEXT("abcde")));
    assert_int_equal(http_parse(TEXT("HTTP/1.1 200 OK\r\n\r\n"), &a), -1);
    assert_int_equal(http_parse(TEXT("SSH-2.0 nonsense of some kind\r\n\r\n"), &a), -1);
    assert_int_equal(http_parse(TEXT("HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n"), &a), -1);
}

static void put_script(char *path, const char *content)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    (void)close(fd);
}

static const struct workload *mixed(void)
{
    const struct workload *w = workload_find("boskos", "mixed");
    assert_non_null(w);
    return w;
}

// What a client sends next.
static void check_next(struct plan *plan, struct client *c, const char *begins)
{
    struct buffer out;
    buffer_init(&out);
    mixed()->encode(plan, c, &out);
    assert_true(out.size >= strlen(begins));
    assert_memory_equal(out.data, begins, strlen(begins));
    buffer_release(&out);
}

static void check_answer(struct plan *plan, struct client *c, const char *answer,
                         enum outcome expected)
{
    enum outcome outcome = OUTCOME_WRONG;
    struct text in = text_from(answer);
    assert_int_equal(mixed()->parse(plan, c, in, &outcome), in.size);
    assert_int_equal(outcome, expected);
}

// A lease of a log is played with the name that is given now; after a refusal comes the next lease.
static void test_script(void **state)
{
    char path[] = "/tmp/test_bench_XXXXXX";
    struct plan plan = {.clients = 1, .type = "t", .state = "free"};
    struct client c = {0};
    (void)state;
    put_script(path,
               "POST /acquire?type=t\nPOST /update?name=\x01&x=y\t{\"a\":\"b\"}\n"
               "POST /release?name=\x01\n\nPOST /acquire?type=u\nPOST /release?name=\x01\n\n");
    assert_int_equal(scripts_read(path, &plan), 0);
    (void)unlink(path);
    assert_int_equal(plan.scripts_count, 2);

    check_next(&plan, &c, "POST /acquire?type=t HTTP/1.1\r\n");
    check_answer(&plan, &c, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"name\":\"n\"}",
                 OUTCOME_GOOD);
    assert_true(c.holds);
    check_next(&plan, &c,
               "POST /update?name=n&x=y HTTP/1.1\r\nHost: bench\r\nContent-Length: 9\r\n"
               "\r\n{\"a\":\"b\"}");
    check_answer(&plan, &c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", OUTCOME_GOOD);
    check_next(&plan, &c, "POST /release?name=n HTTP/1.1\r\n");
    check_answer(&plan, &c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", OUTCOME_GOOD);
    assert_false(c.holds);
    check_next(&plan, &c, "POST /acquire?type=u HTTP/1.1\r\n");
    check_answer(&plan, &c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", OUTCOME_REFUSED);
    check_next(&plan, &c, "POST /acquire?type=t HTTP/1.1\r\n");
    check_answer(&plan, &c, "HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n", OUTCOME_WRONG);
    scripts_release(&plan);

    struct plan none = {0};
    assert_int_equal(scripts_read("/nowhere/at/all", &none), BOSKOS_E_IO);
    char empty[] = "/tmp/test_bench_XXXXXX";
    put_script(empty, "\n\n");
    assert_int_equal(scripts_read(empty, &none), BOSKOS_E_MALFORMED);
    (void)unlink(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_percentiles),
                                       cmocka_unit_test(test_http), cmocka_unit_test(test_script)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
