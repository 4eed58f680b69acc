#include "tests/http_fixture.h"

#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t gated_mono_ns(void *context)
{
    struct fixture *f = context;
    pthread_mutex_lock(&f->gate);
    pthread_mutex_unlock(&f->gate);
    const struct clock clock = clock_system();
    return clock_mono_ns(&clock);
}

static uint64_t wall_ns(void *context)
{
    (void)context;
    const struct clock clock = clock_system();
    return clock_wall_ns(&clock);
}

uint16_t free_port(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin6_port);
}

void fixture_open(struct fixture *f)
{
    *f = (struct fixture){.server = NULL};
    pthread_mutex_init(&f->gate, NULL);
    f->options.clock = (struct clock){wall_ns, gated_mono_ns, f};
    f->options.version = "1.2.3";
    f->options.api = (struct http_port){free_port(), true};
    f->options.health = (struct http_port){free_port(), true};
    f->options.metrics = (struct http_port){free_port(), true};
}

void fixture_serve(struct fixture *f)
{
    char why[256] = "";
    if (http_open(&f->options, &f->server, why, sizeof why) != 0) fail_msg("%s", why);
    f->engine = fake_engine_new(http_batch_done);
    fake_engine_context(f->engine, f->server);
    if (http_serve(f->server, f->engine, why, sizeof why) != 0) fail_msg("%s", why);
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    fixture_open(f);
    fixture_serve(f);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    fake_engine_hold(f->engine, false);
    http_drain(f->server);
    fake_engine_free(f->engine);
    http_close(f->server);
    pthread_mutex_destroy(&f->gate);
    free(f);
    return 0;
}

int api_connect(const struct fixture *f)
{
    return client_connect(f->options.api.number, false);
}

uint64_t cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

void pause_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

void wait_submitted(struct fixture *f, uint64_t count)
{
    for (int i = 0; i < 1000 && fake_engine_submitted(f->engine) < count; i++)
        pause_ms(5);
    assert_int_equal(fake_engine_submitted(f->engine), count);
}
