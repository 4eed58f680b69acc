// One request and its reply, by libcurl. Any number of threads; each has a connection of its own
// while it asks, and leaves it for the next one.
#include "client/client.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <curl/curl.h>

#include "base/assert.h"

#include "base/banned.h"

#define POLL_MS 1000 // libcurl's own timers are looked at as often, at least
#define RETRY_AFTER_S_MAX 3600

// What a request needs of libcurl. The connections are in the multi handle.
struct handle {
    CURLM *multi;
    CURL *easy;
};

// ---- time -----------------------------------------------------------------------

int64_t client_now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static bool is_cancelled(const struct limits *l)
{
    return (l->cancel != NULL && boskos_cancel_is_set(l->cancel)) ||
           (l->stop != NULL && boskos_cancel_is_set(l->stop));
}

bool client_sleep(const struct limits *l, int64_t ms)
{
    int64_t end = client_now_ms() + ms;
    struct pollfd fds[2] = {{.fd = l->cancel != NULL ? l->cancel->fd : -1, .events = POLLIN},
                            {.fd = l->stop != NULL ? l->stop->fd : -1, .events = POLLIN}};
    while (!is_cancelled(l)) {
        int64_t left = end - client_now_ms();
        if (left <= 0) return true;
        (void)poll(fds, 2, left > 60000 ? 60000 : (int)left);
    }
    return false;
}

// ---- requests and replies -------------------------------------------------------

void request_init(struct request *r, const char *method, const char *path)
{
    *r = (struct request){.method = method, .path = path, .reply_max = CLIENT_REPLY_BYTES_MAX};
    buffer_init(&r->query);
}

void request_release(struct request *r)
{
    buffer_release(&r->query);
}

void request_parameter(struct request *r, const char *key, const char *value)
{
    if (value == NULL) return;
    if (r->query.size > 0) buffer_char(&r->query, '&');
    buffer_string(&r->query, key);
    buffer_char(&r->query, '=');
    for (const char *c = value; *c != '\0'; c++) {
        if (isalnum((unsigned char)*c) || strchr("-_.~", *c) != NULL)
            buffer_char(&r->query, *c);
        else if (*c == ' ')
            buffer_char(&r->query, '+');
        else
            buffer_format(&r->query, "%%%02X", (unsigned)(unsigned char)*c);
    }
}

void reply_init(struct reply *r)
{
    *r = (struct reply){0};
    buffer_init(&r->body);
}

void reply_release(struct reply *r)
{
    buffer_release(&r->body);
}

// ---- handles --------------------------------------------------------------------

static struct handle *take_handle(struct boskos_client *c)
{
    struct handle *h = NULL;
    (void)pthread_mutex_lock(&c->lock);
    if (c->handles_count > 0) h = c->handles[--c->handles_count];
    (void)pthread_mutex_unlock(&c->lock);
    if (h != NULL) return h;
    h = must_calloc(1, sizeof(*h));
    h->multi = curl_multi_init();
    h->easy = curl_easy_init();
    if (h->multi == NULL || h->easy == NULL) out_of_memory();
    return h;
}

static void free_handle(struct handle *h)
{
    curl_easy_cleanup(h->easy);
    (void)curl_multi_cleanup(h->multi);
    free(h);
}

static void give_handle(struct boskos_client *c, struct handle *h)
{
    curl_easy_reset(h->easy); // with it go the credentials
    (void)pthread_mutex_lock(&c->lock);
    bool is_kept = c->handles_count < CLIENT_HANDLES_MAX;
    if (is_kept) c->handles[c->handles_count++] = h;
    (void)pthread_mutex_unlock(&c->lock);
    if (!is_kept) free_handle(h);
}

void transport_free_handles(struct boskos_client *c)
{
    while (c->handles_count > 0)
        free_handle(c->handles[--c->handles_count]);
}

// ---- what libcurl tells ---------------------------------------------------------

struct incoming {
    struct reply *reply;
    size_t most;
    bool is_too_large;
};

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct incoming *in = context;
    size_t more = size * count;
    if (in->reply->body.size + more > in->most) {
        in->is_too_large = true;
        return 0;
    }
    buffer_append(&in->reply->body, bytes, more);
    return more;
}

// The value of a header line when it is the one named (in lower case), without white space at its
// ends; the length in *ret_size.
static const char *header_is(const char *line, size_t size, const char *name, size_t *ret_size)
{
    size_t length = strlen(name);
    if (size <= length || line[length] != ':') return NULL;
    for (size_t i = 0; i < length; i++) {
        if (tolower((unsigned char)line[i]) != name[i]) return NULL;
    }
    size_t from = length + 1;
    while (from < size && isspace((unsigned char)line[from]))
        from++;
    while (size > from && isspace((unsigned char)line[size - 1]))
        size--;
    *ret_size = size - from;
    return line + from;
}

static bool header_number(const char *value, size_t size, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (size == 0 || size > 19) return false;
    for (size_t i = 0; i < size; i++) {
        if (value[i] < '0' || value[i] > '9') return false;
        number = number * 10 + (uint64_t)(value[i] - '0');
    }
    *ret_number = number;
    return true;
}

static size_t on_header(char *line, size_t one, size_t size, void *context)
{
    struct reply *r = ((struct incoming *)context)->reply;
    const char *value;
    size_t length;
    uint64_t number;
    if (size > 5 && memcmp(line, "HTTP/", 5) == 0) { // a reply begins, perhaps after a 100
        struct buffer body = r->body;
        *r = (struct reply){.body = body};
    } else if ((value = header_is(line, size, "boskos-seq", &length)) != NULL) {
        r->has_seq = header_number(value, length, &r->seq);
    } else if ((value = header_is(line, size, "content-type", &length)) != NULL) {
        static const char problem[] = "application/problem+json";
        r->is_problem =
            length >= sizeof(problem) - 1 && memcmp(value, problem, sizeof(problem) - 1) == 0;
    } else if ((value = header_is(line, size, "location", &length)) != NULL) {
        (void)snprintf(r->location, sizeof(r->location), "%.*s", (int)length, value);
    } else if ((value = header_is(line, size, "retry-after", &length)) != NULL &&
               header_number(value, length, &number)) {
        r->retry_after_ms =
            (int64_t)(number > RETRY_AFTER_S_MAX ? RETRY_AFTER_S_MAX : number) * 1000;
    }
    return one * size;
}

// What a program starts while a connection is open must not keep it open.
static int on_socket(void *context, curl_socket_t fd, curlsocktype purpose)
{
    (void)context;
    (void)purpose;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return CURL_SOCKOPT_OK;
}

// ---- one request ----------------------------------------------------------------

static struct curl_slist *add_header(struct curl_slist *list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(list, line);
    if (longer == NULL) out_of_memory();
    return longer;
}

static struct curl_slist *make_headers(const struct request *q)
{
    struct curl_slist *list = add_header(NULL, "Expect:");
    list = add_header(list, q->body != NULL ? "Content-Type: application/json" : "Content-Type:");
    list = add_header(list, "Accept:");
    if (q->idempotency_key != NULL) {
        struct buffer line;
        buffer_init(&line);
        buffer_format(&line, "Idempotency-Key: %s", q->idempotency_key);
        buffer_char(&line, '\0');
        list = add_header(list, line.data);
        buffer_release(&line);
    }
    return list;
}

static void set_credentials(struct boskos_client *c, CURL *e)
{
    (void)pthread_mutex_lock(&c->lock);
    (void)secret_refresh(c, &c->password);
    (void)secret_refresh(c, &c->token);
    if (c->password.value != NULL) {
        (void)curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        (void)curl_easy_setopt(e, CURLOPT_USERNAME, c->options.username);
        (void)curl_easy_setopt(e, CURLOPT_PASSWORD, c->password.value);
    } else if (c->token.value != NULL) {
        (void)curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        (void)curl_easy_setopt(e, CURLOPT_XOAUTH2_BEARER, c->token.value);
    }
    (void)pthread_mutex_unlock(&c->lock);
}

static void set_options(struct boskos_client *c, CURL *e, const struct request *q, const char *url,
                        struct curl_slist *headers, int64_t timeout_ms)
{
    (void)curl_easy_setopt(e, CURLOPT_URL, url);
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_socket);
    (void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(e, CURLOPT_USERAGENT, c->options.user_agent);
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)c->options.connect_timeout_ms);
    (void)curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    if (c->options.ca_file != NULL) (void)curl_easy_setopt(e, CURLOPT_CAINFO, c->options.ca_file);
    if (strcmp(q->method, "POST") == 0) {
        (void)curl_easy_setopt(e, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_size);
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, q->body != NULL ? q->body : "");
    }
    // libcurl itself repeats a request on a new connection when a kept one turns out to be dead,
    // and nobody would know that it was sent twice.
    (void)curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, q->is_alone ? 1L : 0L);
    set_credentials(c, e);
}

// Runs the transfer to its end. False when it was cancelled.
static bool perform(struct handle *h, const struct limits *l, CURLcode *ret_code)
{
    struct curl_waitfd fds[2] = {{.events = CURL_WAIT_POLLIN}, {.events = CURL_WAIT_POLLIN}};
    unsigned count = 0;
    if (l->cancel != NULL) fds[count++].fd = l->cancel->fd;
    if (l->stop != NULL) fds[count++].fd = l->stop->fd;
    for (int running = 1; running > 0;) {
        if (is_cancelled(l)) return false;
        if (curl_multi_perform(h->multi, &running) != CURLM_OK) out_of_memory();
        if (running > 0) (void)curl_multi_poll(h->multi, fds, count, POLL_MS, NULL);
    }
    CURLMsg *message;
    for (int left; (message = curl_multi_info_read(h->multi, &left)) != NULL;) {
        if (message->msg == CURLMSG_DONE) *ret_code = message->data.result;
    }
    return true;
}

static int code_of(CURLcode curl, const struct incoming *in)
{
    if (in->is_too_large) return BOSKOS_ERR_REPLY;
    if (curl == CURLE_OPERATION_TIMEDOUT) return BOSKOS_ERR_TIMEOUT;
    if (curl == CURLE_COULDNT_RESOLVE_HOST || curl == CURLE_COULDNT_RESOLVE_PROXY ||
        curl == CURLE_COULDNT_CONNECT || curl == CURLE_SSL_CONNECT_ERROR ||
        curl == CURLE_PEER_FAILED_VERIFICATION)
        return BOSKOS_ERR_CONNECT;
    if (curl == CURLE_GOT_NOTHING || curl == CURLE_RECV_ERROR || curl == CURLE_SEND_ERROR ||
        curl == CURLE_PARTIAL_FILE)
        return BOSKOS_ERR_LOST;
    if (curl == CURLE_SSL_CACERT_BADFILE || curl == CURLE_SSL_CERTPROBLEM ||
        curl == CURLE_URL_MALFORMAT)
        return BOSKOS_ERR_ARGUMENT;
    return BOSKOS_ERR_REPLY; // what came is not HTTP
}

static void say_why(struct boskos_client *c, CURLcode curl, const struct incoming *in,
                    const char *error, char *text, size_t size)
{
    if (in->is_too_large)
        (void)snprintf(text, size, "%s: the reply is larger than %zu bytes", c->base, in->most);
    else
        (void)snprintf(text, size, "%s: %s", c->base,
                       error[0] != '\0' ? error : curl_easy_strerror(curl));
}

int transport(struct boskos_client *c, const struct request *q, const struct limits *l,
              struct reply *reply, enum fate *ret_fate, char *text, size_t text_size)
{
    char error[CURL_ERROR_SIZE] = "";
    struct incoming in = {.reply = reply, .most = q->reply_max};
    int64_t left = l->deadline_ms == INT64_MAX ? INT64_MAX : l->deadline_ms - client_now_ms();
    int64_t timeout = left < c->options.request_timeout_ms ? left : c->options.request_timeout_ms;
    struct buffer url;
    buffer_init(&url);
    buffer_format(&url, "%s%s%s%.*s", c->base, q->path, q->query.size > 0 ? "?" : "",
                  TEXT_ARG(buffer_as_text(&q->query)));
    buffer_char(&url, '\0');

    struct handle *h = take_handle(c);
    struct curl_slist *headers = make_headers(q);
    set_options(c, h->easy, q, url.data, headers, timeout > 0 ? timeout : 1);
    (void)curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, error);
    (void)curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(h->easy, CURLOPT_WRITEDATA, &in);
    (void)curl_easy_setopt(h->easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(h->easy, CURLOPT_HEADERDATA, &in);
    if (curl_multi_add_handle(h->multi, h->easy) != CURLM_OK) out_of_memory();
    CURLcode curl = CURLE_OK;
    bool is_done = perform(h, l, &curl);
    long sent = 0, status = 0;
    (void)curl_easy_getinfo(h->easy, CURLINFO_REQUEST_SIZE, &sent);
    (void)curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_multi_remove_handle(h->multi, h->easy);
    int err = is_done && curl == CURLE_OK ? 0 : BOSKOS_ERR_CANCELLED;
    if (!is_done) {
        (void)snprintf(text, text_size, "cancelled");
    } else if (err != 0) {
        err = code_of(curl, &in);
        say_why(c, curl, &in, error, text, text_size);
    } else {
        reply->status = (int)status;
    }
    *ret_fate = err == 0 ? FATE_REPLIED : sent == 0 ? FATE_UNSENT : FATE_DOUBT;
    give_handle(c, h);
    curl_slist_free_all(headers);
    buffer_release(&url);
    return err;
}
