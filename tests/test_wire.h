// tests/test_wire.h
//
// What the programs test_wire and test_wire_recorded share: an exchange with wire/.
#ifndef TESTS_TEST_WIRE_H
#define TESTS_TEST_WIRE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "wire/wire.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define EPOCH_NS (UINT64_C(1700000000) * 1000000000) // 2023-11-14T22:13:20Z

struct exchange {
    struct wire_request request;
    struct wire_reply reply;
    struct buffer path, out;
    bool is_answered; // by wire_parse alone
};

static inline void exchange_init(struct exchange *x)
{
    *x = (struct exchange){0};
    wire_request_init(&x->request);
    buffer_init(&x->path);
    buffer_init(&x->out);
}

static inline void exchange_release(struct exchange *x)
{
    wire_request_release(&x->request);
    buffer_release(&x->path);
    buffer_release(&x->out);
}

// Sends a request of that target as far as wire_parse takes it.
static inline void ask(struct exchange *x, const char *method, const char *target, struct text body)
{
    struct text query;
    buffer_clear(&x->path);
    buffer_clear(&x->out);
    x->reply = (struct wire_reply){0};
    assert_int_equal(wire_target(text_from(target), &x->path, &query), 0);
    x->is_answered = wire_parse(&x->request, text_from(method), buffer_as_text(&x->path), query,
                                body, &x->reply, &x->out) != 0;
}

static inline void expect_text(struct text got, struct text want)
{
    if (!text_equal(got, want))
        fail_msg("want \"%.*s\", got \"%.*s\"", TEXT_ARG(want), TEXT_ARG(got));
}

static inline void expect_out(const struct buffer *out, const char *want)
{
    expect_text(buffer_as_text(out), text_from(want));
}

static inline void expect_problem(const struct exchange *x, uint32_t status, const char *detail)
{
    assert_int_equal(x->reply.status, status);
    assert_int_equal(x->reply.content, WIRE_CONTENT_PROBLEM);
    json_t *problem = json_loadb(x->out.data, x->out.size, 0, NULL);
    assert_non_null(problem);
    assert_int_equal(json_integer_value(json_object_get(problem, "status")), status);
    assert_string_equal(json_string_value(json_object_get(problem, "detail")), detail);
    json_decref(problem);
}

#endif
