// tests/http_client.h
//
// A client of raw bytes for the tests of http/: it sends what it is given and takes replies apart.
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include "base/buffer.h"

#define CLIENT_WAIT_MS 10000 // a reply that has not come by then is a failure

struct client_reply {
    int status;  // 0: the connection ended without one
    bool closed; // the server closes after it
    struct buffer head, body;
};

// A connection to the loopback, IPv4 or IPv6. Ends the test when there is none.
int client_connect(uint16_t port, bool is_ipv6);

// Sends everything; what a closed connection does not take is no failure.
void client_send(int fd, const void *bytes, size_t size);
void client_string(int fd, const char *string);

// Reads one reply, no byte more. `is_head`: it has no body whatever its headers say.
void client_read(int fd, bool is_head, struct client_reply *ret_reply);
void client_reply_release(struct client_reply *r);

// The reply's status, nothing else of it.
int client_status(int fd);

// Waits until the server has closed; false when it has not within `ms`.
bool client_ended(int fd, int ms);

// A header's value, or NULL; borrowed from the reply, ends at the line's end.
const char *client_header(const struct client_reply *r, const char *name);

#endif
