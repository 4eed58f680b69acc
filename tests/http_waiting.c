// Connections while the engine has a request of theirs.
#include "tests/http_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define KEYED ACQUIRE "Idempotency-Key: a key of some length\r\n\r\n"
#define REFUSED_CLIENTS 8
#define REFUSED_ROUNDS 2000

// Closes with a reset.
static void reset_connection(int fd)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

void test_clients_that_leave(void **state)
{
    struct fixture *f = *state;
    fake_engine_hold(f->engine, true);
    int half = api_connect(f);
    client_string(half, SMUGGLED);
    shutdown(half, SHUT_WR);
    int gone = api_connect(f);
    client_string(gone, SMUGGLED);
    int reset = api_connect(f);
    client_string(reset, SMUGGLED);
    wait_submitted(f, 3);
    close(gone);
    reset_connection(reset);
    fake_engine_hold(f->engine, false);
    assert_int_equal(client_status(half), 200);
    assert_true(client_ended(half, 3000));
    close(half);
    for (int i = 0; i < 1000 && fake_engine_commands(f->engine) < 3; i++)
        pause_ms(5);
    assert_int_equal(fake_engine_commands(f->engine), 3); // the commands went on
    half = api_connect(f);
    shutdown(half, SHUT_WR);
    assert_true(client_ended(half, 3000));
    close(half);
}

// The connection is over, with the library's memory of it, before the engine looks at the command.
void test_key_of_the_gone(void **state)
{
    struct fixture *f = *state;
    struct client_reply r;
    fake_engine_hold(f->engine, true);
    int gone = api_connect(f);
    client_string(gone, KEYED);
    wait_submitted(f, 1);
    reset_connection(gone);
    pause_ms(50);
    fake_engine_hold(f->engine, false);

    int fd = api_connect(f);
    client_string(fd, KEYED); // the same lease again
    client_read(fd, false, &r);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body.data, "\"name\":\"r-000\""));
    assert_int_equal(atoi(client_header(&r, "Boskos-Seq")), 3);
    client_reply_release(&r);
    close(fd);
}

// All is answered that came before the end, also where it comes in one piece with the requests.
void test_end_behind_requests(void **state)
{
    struct fixture *f = *state;
    for (int held = 0; held < 2; held++) {
        fake_engine_hold(f->engine, held != 0);
        pthread_mutex_lock(&f->gate);
        int fd = api_connect(f);
        for (int i = 0; i < 10; i++)
            client_string(fd, i % 2 == 0 ? SMUGGLED : "GET /acquire HTTP/1.1\r\nHost: h\r\n\r\n");
        shutdown(fd, SHUT_WR);
        pthread_mutex_unlock(&f->gate);
        pause_ms(20);
        fake_engine_hold(f->engine, false);
        for (int i = 0; i < 10; i++)
            assert_int_equal(client_status(fd), i % 2 == 0 ? 200 : 405);
        assert_true(client_ended(fd, 3000));
        close(fd);
    }
}

// A request that waits holds nobody up: long heads, bodies and what is refused at once.
void test_beside_waiting(void **state)
{
    struct fixture *f = *state;
    fake_engine_hold(f->engine, true);
    int waiting = api_connect(f), fd = api_connect(f);
    client_string(waiting, SMUGGLED);
    wait_submitted(f, 1);

    client_string(fd, "GET /acquire?long=");
    for (int i = 0; i < 15 * 1024; i++)
        client_send(fd, "x", 1);
    client_string(fd, " HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(client_status(fd), 405);
    client_string(fd, "POST /acquire HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                      "Content-Length: 200000\r\n\r\n");
    struct client_reply r;
    client_read(fd, true, &r);
    assert_int_equal(r.status, 100);
    client_reply_release(&r);
    static const char zeros[200000] = {0};
    client_send(fd, zeros, sizeof zeros);
    assert_int_equal(client_status(fd), 400);
    uint64_t before_us = cpu_us();
    pause_ms(200);
    assert_true(cpu_us() - before_us < 100000); // and none of it in circles

    fake_engine_hold(f->engine, false);
    assert_int_equal(client_status(waiting), 200);
    close(waiting);
    close(fd);
}

// The engine's thread makes the refusal while the loop asks the waiting connections again and
// again.
void test_refused_by_the_engine(void **state)
{
    struct fixture *f = *state;
    int fds[REFUSED_CLIENTS];
    fake_engine_fail(f->engine, BOSKOS_E_NOSPACE);
    for (int i = 0; i < REFUSED_CLIENTS; i++)
        fds[i] = api_connect(f);
    for (int round = 0; round < REFUSED_ROUNDS; round++) {
        for (int i = 0; i < REFUSED_CLIENTS; i++)
            client_string(fds[i], SMUGGLED);
        for (int i = 0; i < REFUSED_CLIENTS; i++)
            assert_int_equal(client_status(fds[i]), 503);
    }
    fake_engine_fail(f->engine, 0);
    for (int i = 0; i < REFUSED_CLIENTS; i++) {
        client_string(fds[i], SMUGGLED);
        assert_int_equal(client_status(fds[i]), 200);
        close(fds[i]);
    }
}
