#include "tests/http_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define ROW(what, literal, status)                 \
    {                                              \
        what, literal, sizeof(literal) - 1, status \
    }

// Heads that are refused and end the connection; 0: any status of 4xx or 5xx, or none. What is sent
// with them must never be taken for a request.
static const struct {
    const char *what, *bytes;
    size_t size; // a NUL may be in it
    int status;
} malformed[] = {
    ROW("no version", "GET /acquire\r\n\r\n", 0),
    ROW("version 0.9", "GET / HTTP/0.9\r\n\r\n", 0),
    ROW("version 1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", 400),
    ROW("version 2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 0),
    ROW("version in lower case", "GET / http/1.1\r\nHost: h\r\n\r\n", 0),
    ROW("version with more", "GET / HTTP/1.1x\r\nHost: h\r\n\r\n", 0),
    ROW("space behind the version", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 0),
    ROW("two spaces before the target", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ROW("two spaces behind the target", "GET /  HTTP/1.1\r\nHost: h\r\n\r\n", 0),
    ROW("a tab for a space", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 0),
    ROW("a tab in the target", "GET /\tx HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ROW("a space in front", " GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0),
    ROW("a space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 0),
    ROW("a control character in the target", "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ROW("DEL in the target", "GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ROW("NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ROW("NUL in the query", "GET /a?b\0c HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ROW("a bad escape in the path", "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ROW("no method", "/ HTTP/1.1\r\nHost: h\r\n\r\n", 0),
    ROW("a bad method", "GE(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ROW("NUL in the method", "GE\0T / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ROW("bare CR in the request line", "GET / HTTP/1.1\rx\r\nHost: h\r\n\r\n", 0),
    ROW("bare LF behind the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
    ROW("bare LF behind a header", "GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", 400),
    ROW("bare LF at the end", "GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
    ROW("bare LFs alone", "GET / HTTP/1.1\nHost: h\n\n", 400),
    ROW("bare CR in a value", "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", 400),
    ROW("CR CR LF", "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 400),
    ROW("NUL in a value", "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", 400),
    ROW("NUL in a name", "GET / HTTP/1.1\r\nHost: h\r\nA\0: b\r\n\r\n", 0),
    ROW("NUL in front of a header", "GET / HTTP/1.1\r\nHost: h\r\n\0A: b\r\n\r\n", 400),
    ROW("a control character in a value", "GET / HTTP/1.1\r\nHost: h\r\nA: b\x02\r\n\r\n", 400),
    ROW("a folded line", "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
    ROW("a folded line with a tab", "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc\r\n\r\n", 400),
    ROW("a folded line in front", "GET / HTTP/1.1\r\n Host: h\r\nHost: h\r\n\r\n", 400),
    ROW("a folded Content-Length",
        "POST /update HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n 4\r\n\r\nabc", 400),
    ROW("no colon", "GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", 0),
    ROW("an empty name", "GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", 400),
    ROW("a space before the colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
    ROW("a tab before the colon", "GET / HTTP/1.1\r\nHost: h\r\nA\t: b\r\n\r\n", 400),
    ROW("a bad name", "GET / HTTP/1.1\r\nHost: h\r\nA(: b\r\n\r\n", 400),
    ROW("a name in UTF-8", "GET / HTTP/1.1\r\nHost: h\r\n\xc3\xa4: b\r\n\r\n", 400),
    ROW("no Host", "GET / HTTP/1.1\r\n\r\n", 400),
    ROW("no Host but others", "GET / HTTP/1.1\r\nA: b\r\n\r\n", 400),
    ROW("two Hosts", "GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n", 400),
    ROW("two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: h\r\nhost: h\r\n\r\n", 400),
    ROW("two lengths",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    ROW("a list of lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc", 0),
    ROW("a length with a sign", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", 0),
    ROW("a negative length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\nabc", 0),
    ROW("a length with a space", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3 3\r\n\r\nabc", 0),
    ROW("a length in hex", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3\r\n\r\nabc", 0),
    ROW("an empty length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\nabc", 0),
    ROW("a length too long",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\nabc", 0),
    ROW("a length with zeros in front",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0000000000000000000000003\r\n\r\nabc", 0),
    ROW("length and encoding",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        400),
    ROW("another encoding", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        400),
    ROW("two encodings",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    ROW("chunked twice",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400),
    ROW("an encoding in quotes",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
    ROW("an encoding in 1.0",
        "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ROW("a broken chunk",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        0),
    ROW("a chunk with a sign",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        0),
    ROW("a chunk without its end",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        0),
    ROW("an authority for a target", "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
};

void test_malformed(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        int fd = api_connect(f);
        client_send(fd, malformed[i].bytes, malformed[i].size);
        client_string(fd, SMUGGLED);
        int status = client_status(fd);
        bool is_right =
            malformed[i].status != 0 ? status == malformed[i].status : status == 0 || status >= 400;
        bool is_ended = client_ended(fd, 3000);
        close(fd);
        if (!is_right || !is_ended || fake_engine_submitted(f->engine) != 0)
            fail_msg("%s: status %d, %s, %d requests", malformed[i].what, status,
                     is_ended ? "ended" : "not ended", (int)fake_engine_submitted(f->engine));
    }
}

static const struct {
    const char *what, *bytes;
    int status;
} lenient[] = {
    {"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 200},
    {"1.1", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200},
    {"an empty line in front", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 200},
    {"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 200},
    {"white space round a value", "GET / HTTP/1.1\r\nHost: \t h\t \r\n\r\n", 200},
    {"Latin-1 in a value", "GET / HTTP/1.1\r\nHost: h\r\nA: \xe4\r\n\r\n", 200},
    {"absolute form", "GET http://h/acquire HTTP/1.1\r\nHost: h\r\n\r\n", 405},
    {"raw UTF-8 in the path", "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", 200},
    {"raw UTF-8 in a parameter",
     "POST /release?name=\xc3\xa4&owner=o&dest=d HTTP/1.1\r\nHost: h\r\n\r\n", 404},
    {"raw Latin-1 in a parameter",
     "POST /release?name=\xe4&owner=o&dest=d HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"a path in escapes", "GET /%61cquire HTTP/1.1\r\nHost: h\r\n\r\n", 405},
    {"a cookie", "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b; c=d\r\nA: b\r\n\r\n", 200},
    {"a body nobody reads", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 200},
    {"many parameters", "GET /?a&b=c&d&=&&e=%zz HTTP/1.1\r\nHost: h\r\n\r\n", 200},
    {"an acquire", SMUGGLED, 200},
    {"a release of a name that is not there",
     "POST /release?name=x&owner=o&dest=d HTTP/1.1\r\nHost: h\r\n\r\n", 404},
    {"an acquire without parameters", "POST /acquire HTTP/1.1\r\nHost: h\r\n\r\n", 400},
};

void test_lenient(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof lenient / sizeof lenient[0]; i++) {
        int fd = api_connect(f);
        client_string(fd, lenient[i].bytes);
        int status = client_status(fd);
        close(fd);
        if (status != lenient[i].status) fail_msg("%s: status %d", lenient[i].what, status);
    }
}

// The library can neither take nor refuse a chunk whose size line fills its memory.
void test_long_chunk_line(void **state)
{
    struct fixture *f = *state;
    for (int in_size = 0; in_size < 2; in_size++) {
        int fd = api_connect(f);
        struct buffer b;
        buffer_init(&b);
        buffer_string(&b, "POST /update?name=x&owner=o&state=s HTTP/1.1\r\nHost: h\r\n"
                          "Transfer-Encoding: chunked\r\n\r\n");
        buffer_string(&b, in_size != 0 ? "0" : "1;");
        for (int i = 0; i < 64 * 1024; i++)
            buffer_char(&b, '0');
        client_send(fd, b.data, b.size);
        buffer_release(&b);
        assert_int_equal(client_status(fd), 400);
        assert_true(client_ended(fd, 3000));
        close(fd);
        assert_int_equal(fake_engine_submitted(f->engine), 0);
    }
}

// Each header takes of the connection's memory; what would leave none for the reply is not done.
void test_many_headers(void **state)
{
    struct fixture *f = *state;
    for (int many = 0; many < 2; many++) {
        int fd = api_connect(f);
        client_string(fd, ACQUIRE);
        char line[700];
        (void)snprintf(line, sizeof line, "A: %0674d\r\n", 0);
        int count = many != 0 ? 24 : 23; // with Host; 679 bytes each
        for (int i = 0; i < count; i++)
            client_string(fd, line);
        client_string(fd, "\r\n");
        struct client_reply r;
        client_read(fd, false, &r);
        assert_int_equal(r.status, many != 0 ? 431 : 200);
        if (many != 0) assert_string_equal(r.body.data, "the request has too many headers.\n");
        client_reply_release(&r);
        close(fd);
    }
    assert_int_equal(fake_engine_commands(f->engine), 1);
}
