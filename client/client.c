// The client itself: its options, its log, and what ends calls.
#include "client/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/assert.h"

#include "base/banned.h"

#define LINE_BYTES 1024u

// ---- codes ----------------------------------------------------------------------

const char *boskos_version(void)
{
    return BOSKOSD_VERSION;
}

const char *boskos_code_text(int code)
{
    if (code == 0) return "no error";
    switch ((enum boskos_code)code) {
    case BOSKOS_ERR_ARGUMENT: return "an argument makes no sense";
    case BOSKOS_ERR_NONE: return "nothing to hand out";
    case BOSKOS_ERR_NO_TYPE: return "there is no resource of the type";
    case BOSKOS_ERR_NO_RESOURCE: return "there is no resource of the name";
    case BOSKOS_ERR_OWNER: return "it has another owner";
    case BOSKOS_ERR_STATE: return "it is in another state";
    case BOSKOS_ERR_KEY: return "the key belongs to another lease";
    case BOSKOS_ERR_REFUSED: return "refused";
    case BOSKOS_ERR_AUTH: return "not authorized";
    case BOSKOS_ERR_CONNECT: return "the server cannot be reached";
    case BOSKOS_ERR_TIMEOUT: return "no answer in time";
    case BOSKOS_ERR_LOST: return "the connection broke";
    case BOSKOS_ERR_REPLY: return "not a reply of Boskos";
    case BOSKOS_ERR_SERVER: return "the server has a fault";
    case BOSKOS_ERR_REDIRECT: return "redirected";
    case BOSKOS_ERR_CANCELLED: return "cancelled";
    case BOSKOS_ERR_UNSUPPORTED: return "the server is not boskosd";
    case BOSKOS_ERR_SYSTEM: return "the system refused";
    case BOSKOS_ERR_LEASED: return "leasedResources is no list of names";
    }
    return "unknown error";
}

int boskos_code_is_transient(int code)
{
    return code == BOSKOS_ERR_CONNECT || code == BOSKOS_ERR_TIMEOUT || code == BOSKOS_ERR_LOST ||
           code == BOSKOS_ERR_REPLY || code == BOSKOS_ERR_SERVER;
}

// ---- cancellation ---------------------------------------------------------------

struct boskos_cancel *boskos_cancel_new(void)
{
    struct boskos_cancel *c = must_calloc(1, sizeof(*c));
    c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->fd < 0) {
        free(c);
        return NULL;
    }
    return c;
}

void boskos_cancel_free(struct boskos_cancel *c)
{
    if (c == NULL) return;
    (void)close(c->fd);
    free(c);
}

void boskos_cancel(struct boskos_cancel *c)
{
    int saved = errno; // also in a signal handler
    uint64_t one = 1;
    atomic_store(&c->is_set, true);
    ssize_t ignored = write(c->fd, &one, sizeof(one));
    (void)ignored;
    errno = saved;
}

int boskos_cancel_is_set(const struct boskos_cancel *c)
{
    return atomic_load(&c->is_set);
}

int boskos_cancel_fd(const struct boskos_cancel *c)
{
    return c->fd;
}

// ---- what all parts use ---------------------------------------------------------

void client_log(struct boskos_client *client, enum boskos_log_level level, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    if (client->options.log == NULL) return;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    client->options.log(client->options.log_context, level, line);
}

// The kernel gives up to 256 bytes whole, once it has started.
static void random_bytes(void *ret_bytes, size_t size)
{
    while (getrandom(ret_bytes, size, 0) != (ssize_t)size)
        ASSERT(errno == EINTR);
}

void client_random_id(char ret_id[CLIENT_ID_BYTES])
{
    unsigned char bytes[16];
    random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        (void)snprintf(ret_id + 2 * i, 3, "%02x", bytes[i]);
}

int64_t client_random(int64_t most)
{
    uint64_t number;
    random_bytes(&number, sizeof(number));
    return most <= 0 ? 0 : (int64_t)(number % ((uint64_t)most + 1));
}

char *client_strdup(const char *text)
{
    if (text == NULL) return NULL;
    size_t size = strlen(text) + 1;
    char *copy = must_malloc(size);
    memcpy(copy, text, size);
    return copy;
}

// ---- options --------------------------------------------------------------------

void boskos_options_set_defaults(struct boskos_options *o, size_t size)
{
    struct boskos_options defaults = {
        .size = size,
        .connect_timeout_ms = 10000,
        .request_timeout_ms = 30000,
        .call_timeout_ms = 120000,
        .settle_timeout_ms = 5000,
        .attempts_max = 5,
        .backoff_first_ms = 1000,
        .backoff_most_ms = 15000,
        .poll_ms = 3000,
    };
    memcpy(o, &defaults, size < sizeof(defaults) ? size : sizeof(defaults));
}

// http://host or https://host, with what may follow a host, and nothing that would hide the path.
static int check_url(const char *url, struct boskos_call *call)
{
    if (url == NULL || url[0] == '\0')
        return call_fail(call, BOSKOS_ERR_ARGUMENT, "the server's URL is missing");
    CURLU *parsed = curl_url();
    if (parsed == NULL) out_of_memory();
    char *scheme = NULL, *query = NULL, *fragment = NULL;
    bool is_good = curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
                   curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                   (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
                   curl_url_get(parsed, CURLUPART_QUERY, &query, 0) != CURLUE_OK &&
                   curl_url_get(parsed, CURLUPART_FRAGMENT, &fragment, 0) != CURLUE_OK;
    curl_free(scheme);
    curl_free(query);
    curl_free(fragment);
    curl_url_cleanup(parsed);
    if (is_good) return 0;
    return call_fail(call, BOSKOS_ERR_ARGUMENT,
                     "\"%s\" is not the URL of a server: http://HOST:PORT or https://HOST:PORT",
                     url);
}

static int check_options(const struct boskos_options *o, struct boskos_call *call)
{
    if ((o->username == NULL) != (o->password_file == NULL))
        return call_fail(call, BOSKOS_ERR_ARGUMENT,
                         "username and passwordFile must be specified together");
    if (o->username != NULL && o->token_file != NULL)
        return call_fail(call, BOSKOS_ERR_ARGUMENT, "a username and a token exclude each other");
    if (o->username != NULL && strchr(o->username, ':') != NULL)
        return call_fail(call, BOSKOS_ERR_ARGUMENT, "a username cannot hold a colon");
    if (o->connect_timeout_ms <= 0 || o->request_timeout_ms <= 0 || o->call_timeout_ms <= 0 ||
        o->settle_timeout_ms < 0 || o->attempts_max <= 0 || o->backoff_first_ms <= 0 ||
        o->backoff_most_ms <= 0 || o->poll_ms <= 0)
        return call_fail(call, BOSKOS_ERR_ARGUMENT, "a time or number is not above zero");
    return check_url(o->url, call);
}

static void copy_options(struct boskos_client *c, const struct boskos_options *o)
{
    c->options = *o;
    c->options.url = NULL;
    c->options.owner = client_strdup(o->owner);
    c->options.username = client_strdup(o->username);
    c->options.ca_file = client_strdup(o->ca_file);
    c->options.user_agent =
        client_strdup(o->user_agent != NULL ? o->user_agent : "libboskos/" BOSKOSD_VERSION);
    c->password.path = client_strdup(o->password_file);
    c->token.path = client_strdup(o->token_file);
    c->options.password_file = c->options.token_file = NULL;
    c->base = client_strdup(o->url);
    for (size_t size = strlen(c->base); size > 0 && c->base[size - 1] == '/'; size--)
        c->base[size - 1] = '\0';
}

// ---- the client -----------------------------------------------------------------

static void client_free(struct boskos_client *c)
{
    if (c == NULL) return;
    transport_free_handles(c);
    secret_release(&c->password);
    secret_release(&c->token);
    free((char *)(uintptr_t)c->options.owner);
    free((char *)(uintptr_t)c->options.username);
    free((char *)(uintptr_t)c->options.ca_file);
    free((char *)(uintptr_t)c->options.user_agent);
    free(c->base);
    boskos_cancel_free(c->stop);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
    curl_global_cleanup();
}

static int read_secret(struct boskos_client *c, struct secret *s, struct boskos_call *call)
{
    if (secret_refresh(c, s) == 0) return 0;
    return call_fail(call, BOSKOS_ERR_SYSTEM, "%s: %s", s->path, strerror(errno));
}

int boskos_client_new(const struct boskos_options *options, struct boskos_client **ret_client,
                      struct boskos_call *call)
{
    struct boskos_call own;
    call = call_begin(call, &own);
    struct boskos_options o;
    if (options == NULL || options->size > sizeof(o))
        return call_fail(call, BOSKOS_ERR_ARGUMENT, "options of a newer libboskos");
    boskos_options_init(&o);
    memcpy(&o, options, options->size);
    o.size = sizeof(o);

    // Counted by libcurl, and safe in several threads since 7.84.
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return call_fail(call, BOSKOS_ERR_SYSTEM, "libcurl cannot be started");
    int err = check_options(&o, call);
    if (err != 0) {
        curl_global_cleanup();
        return err;
    }
    struct boskos_client *c = must_calloc(1, sizeof(*c));
    (void)pthread_mutex_init(&c->lock, NULL);
    copy_options(c, &o);
    c->stop = boskos_cancel_new();
    if (c->stop == NULL)
        err = call_fail(call, BOSKOS_ERR_SYSTEM, "no file descriptor: %s", strerror(errno));
    if (err == 0) err = read_secret(c, &c->password, call);
    if (err == 0) err = read_secret(c, &c->token, call);
    if (err != 0) {
        client_free(c);
        return err;
    }
    leases_init(c);
    if ((c->password.path != NULL || c->token.path != NULL) && strncmp(c->base, "https:", 6) != 0)
        client_log(c, BOSKOS_LOG_WARNING, "the password is sent to %s without TLS", c->base);
    *ret_client = c;
    return 0;
}

void boskos_client_free(struct boskos_client *c)
{
    if (c == NULL) return;
    if (c->options.settle_timeout_ms > 0) (void)boskos_settle(c, c->options.settle_timeout_ms);
    leases_end(c);
    client_free(c);
}
