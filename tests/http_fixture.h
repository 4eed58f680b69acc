// tests/http_fixture.h
//
// A server with a fake engine behind it, on free ports, for the tests of http/.
#ifndef TESTS_HTTP_FIXTURE_H
#define TESTS_HTTP_FIXTURE_H

#include "http/http.h"
#include "tests/fake_engine.h"
#include "tests/http_client.h"

#include <pthread.h>
#include <stdatomic.h>

#define ACQUIRE "POST /acquire?type=t&state=free&dest=busy&owner=o HTTP/1.1\r\nHost: h\r\n"
#define SMUGGLED ACQUIRE "\r\n"

// While `gate` is locked the server's loop stands still at
// its next look at the clock, so that what arrives meanwhile is ready at once.
struct fixture {
    struct http_server *server;
    struct engine *engine;
    struct http_options options;
    pthread_mutex_t gate;
    atomic_bool drained;
};

// Fills in the options, which may then be changed; fixture_serve opens the server and serves.
void fixture_open(struct fixture *f);
void fixture_serve(struct fixture *f);

// Both, for cmocka.
int fixture_setup(void **state);
int fixture_teardown(void **state);

int api_connect(const struct fixture *f);
uint16_t free_port(void);
void pause_ms(int ms);

// Waits until so many requests came to the engine.
void wait_submitted(struct fixture *f, uint64_t count);

// What this process has used so far.
uint64_t cpu_us(void);

// http_form.c: a table of what is refused and one of what is not.
void test_malformed(void **state);
void test_lenient(void **state);
void test_long_chunk_line(void **state);

// http_waiting.c: what happens to connections while the engine has a request.
void test_clients_that_leave(void **state);
void test_key_of_the_gone(void **state);
void test_refused_by_the_engine(void **state);
void test_end_behind_requests(void **state);
void test_beside_waiting(void **state);

// http_form.c
void test_many_headers(void **state);

// http_key.c
void test_idempotency_key(void **state);

#endif
