// The header Idempotency-Key, from the bytes of a head to the lease. The rules are in
// tests/scripts/idempotency.txt.
#include "tests/http_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

// Sends an acquire with more header lines and returns the name in the reply, "" without one.
static void acquire_named(int fd, const char *lines, int status, int seq, char ret_name[8])
{
    struct client_reply r;
    client_string(fd, ACQUIRE);
    client_string(fd, lines);
    client_string(fd, "\r\n");
    client_read(fd, false, &r);
    assert_int_equal(r.status, status);
    const char *logged = client_header(&r, "Boskos-Seq");
    assert_int_equal(logged == NULL ? 0 : atoi(logged), seq);
    const char *name = strstr(r.body.data, "\"name\":\"");
    (void)snprintf(ret_name, 8, "%.5s", name == NULL ? "" : name + strlen("\"name\":\""));
    client_reply_release(&r);
}

// The metrics page must have this line.
static void expect_figure(const struct fixture *f, const char *line)
{
    struct client_reply r;
    int fd = client_connect(f->options.metrics.number, false);
    client_string(fd, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(fd, false, &r);
    if (strstr(r.body.data, line) == NULL) fail_msg("no %s in\n%s", line, r.body.data);
    client_reply_release(&r);
    close(fd);
}

void test_idempotency_key(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *lines;
        bool is_first; // it gets what the first one got
    } rows[] = {
        {"Idempotency-Key: k 1\r\n", true},
        {"IDEMPOTENCY-KEY:k 1\r\n", true},
        {"Idempotency-Key:   k 1 \t \r\n", true},
        {"Idempotency-Key: k 1\r\nIdempotency-Key: k 2\r\n", true}, // the first counts
        {"Idempotency-Key: k 2\r\n", false},
        {"Idempotency-Key: K 1\r\n", false},
        {"Idempotency-Key:\r\nIdempotency-Key: k 1\r\n", false},
        {"Idempotency-Key:  \r\n", false},
        {"X-Idempotency-Key: k 1\r\n", false},
        {"", false},
    };
    char first[8], name[8];
    int fd = api_connect(f), seq = 2;
    acquire_named(fd, rows[0].lines, 200, seq++, first);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        acquire_named(fd, rows[i].lines, 200, seq++, name);
        if ((strcmp(name, first) == 0) != rows[i].is_first)
            fail_msg("row %zu: %s after %s", i, name, first);
    }
    acquire_named(fd, "Idempotency-Key: a\tb\r\n", 400, 0, name);
    acquire_named(fd, "Idempotency-Key: \xFF\r\n", 400, 0, name);
    client_string(fd, "POST /acquire?type=t&state=free&dest=leased&owner=o HTTP/1.1\r\nHost: h\r\n"
                      "Idempotency-Key: k 1\r\n\r\n");
    assert_int_equal(client_status(fd), 409);
    // A repeat is no grant: the first one, and one each for the rows that got another.
    expect_figure(f, "boskos_acquire_duration_seconds_count{type=\"t\",state=\"free\","
                     "dest=\"busy\",has_request_id=\"false\"} 7\n");
    // It means nothing to any other call, whatever is in it.
    client_string(fd, "POST /update?name=x&owner=o&state=s HTTP/1.1\r\nHost: h\r\n"
                      "Idempotency-Key: \xFF\r\n\r\n");
    assert_int_equal(client_status(fd), 404);
    close(fd);
}
