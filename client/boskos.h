// boskos.h
//
// libboskos: a client of Boskos, for boskosd and for the original server. It takes leases, keeps
// them alive, gives them back, and knows nothing of what is leased.
//
// Threads. Every function may be called from any thread at any time, several at once on one
// client, except that boskos_client_free must be the last call on it. A client has at most one
// thread of its own, which begins when there is something to do in the background; callbacks may
// come from it. A client does not outlive fork(): make it after. With https a program should ignore
// SIGPIPE.
//
// Memory. What is passed in is borrowed until the function returns. What is returned belongs to
// the caller, who frees it with the function named there; freeing NULL does nothing. Memory that
// cannot be had ends the process with exit code 5; replies have a limit in size, so that no server
// can bring that about.
//
// Errors. A function that can fail returns 0 or a negative code of enum boskos_code and writes
// ret_* only on success. Why is in the struct boskos_call, if one was passed: the server's own
// words where it answered.
//
// All texts are UTF-8, ended by NUL.
#ifndef BOSKOS_H
#define BOSKOS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BOSKOS_API __attribute__((visibility("default")))

enum boskos_code {
    BOSKOS_ERR_ARGUMENT = -1,     // an argument or option that makes no sense
    BOSKOS_ERR_NONE = -2,         // acquire: nothing to hand out
    BOSKOS_ERR_NO_TYPE = -3,      // acquire, metric: there is no resource of the type
    BOSKOS_ERR_NO_RESOURCE = -4,  // there is no resource of the name
    BOSKOS_ERR_OWNER = -5,        // it has another owner, or none
    BOSKOS_ERR_STATE = -6,        // update: it is in another state
    BOSKOS_ERR_KEY = -7,          // acquire: the key belongs to a lease with other parameters
    BOSKOS_ERR_REFUSED = -8,      // any other refusal (4xx)
    BOSKOS_ERR_AUTH = -9,         // user, password or token are not accepted
    BOSKOS_ERR_CONNECT = -10,     // the server cannot be reached
    BOSKOS_ERR_TIMEOUT = -11,     // no answer in time
    BOSKOS_ERR_LOST = -12,        // the connection broke before the reply was complete
    BOSKOS_ERR_REPLY = -13,       // what was answered is no reply of Boskos
    BOSKOS_ERR_SERVER = -14,      // the server has a fault, or no room (5xx, 429)
    BOSKOS_ERR_REDIRECT = -15,    // a redirect: it is not followed
    BOSKOS_ERR_CANCELLED = -16,   // boskos_cancel
    BOSKOS_ERR_UNSUPPORTED = -17, // only boskosd can do that, and this server is not one
    BOSKOS_ERR_SYSTEM = -18,      // a file, a thread or a descriptor cannot be had here
    BOSKOS_ERR_LEASED = -19,      // the userdata's leasedResources is no list of names
};

// A short text for a code, 0 included; never NULL, static.
BOSKOS_API const char *boskos_code_text(int code);

// True when trying again later may help: the server was not reached or has a fault of its own.
BOSKOS_API int boskos_code_is_transient(int code);

// The library's version, as "0.4.0". Static.
BOSKOS_API const char *boskos_version(void);

// ---- resources ------------------------------------------------------------------

struct boskos_pair {
    char *key;
    char *value;
    size_t value_size; // in bytes: a value may hold NUL; one more is behind its end
};

struct boskos_pairs {
    struct boskos_pair *items; // sorted by key
    size_t count;
};

struct boskos_resource {
    char *type, *name, *state, *owner;
    char *lastupdate;      // as the server writes it, RFC 3339
    char *expiration_date; // the same, or NULL
    struct boskos_pairs userdata;
};

struct boskos_resources {
    struct boskos_resource **items;
    size_t count;
};

struct boskos_names {
    char **items;
    size_t count;
};

struct boskos_count {
    char *key;
    int64_t count;
};

struct boskos_metric {
    char *type;
    struct boskos_count *current; // by state, sorted
    size_t current_count;
    struct boskos_count *owner; // by owner; "" is nobody
    size_t owner_count;
};

BOSKOS_API void boskos_resource_free(struct boskos_resource *resource);
BOSKOS_API void boskos_resources_free(struct boskos_resources *resources);
BOSKOS_API void boskos_pairs_free(struct boskos_pairs *pairs);
BOSKOS_API void boskos_names_free(struct boskos_names *names);
BOSKOS_API void boskos_metric_free(struct boskos_metric *metric);

// A copy. Free with boskos_resource_free.
BOSKOS_API struct boskos_resource *boskos_resource_copy(const struct boskos_resource *resource);

// The value of a key of the userdata, borrowed from the resource; NULL when it is not there.
BOSKOS_API const char *boskos_resource_userdata(const struct boskos_resource *resource,
                                                const char *key);

// The resource as Boskos writes it, in one line without a newline. Free with free().
BOSKOS_API char *boskos_resource_json(const struct boskos_resource *resource);
BOSKOS_API char *boskos_metric_json(const struct boskos_metric *metric);
BOSKOS_API char *boskos_pairs_json(const struct boskos_pairs *pairs);

// Reads what boskos_resource_json writes. BOSKOS_ERR_REPLY when it is something else.
BOSKOS_API int boskos_resource_parse(const char *json, size_t size,
                                     struct boskos_resource **ret_resource);

// The names in the userdata's leasedResources; an empty list when there are none.
// BOSKOS_ERR_LEASED when it is no list of names.
BOSKOS_API int boskos_resource_leased(const struct boskos_resource *resource,
                                      struct boskos_names **ret_names);

// ---- cancellation ---------------------------------------------------------------

// What ends calls from outside. One may be given to any number of calls, and must outlive them.
struct boskos_cancel;

// NULL when there is no file descriptor to be had.
BOSKOS_API struct boskos_cancel *boskos_cancel_new(void);
BOSKOS_API void boskos_cancel_free(struct boskos_cancel *cancel);

// Calls that have it, now and later, end with BOSKOS_ERR_CANCELLED. May be called in a signal
// handler.
BOSKOS_API void boskos_cancel(struct boskos_cancel *cancel);
BOSKOS_API int boskos_cancel_is_set(const struct boskos_cancel *cancel);

// A file descriptor that can be read when it is set: for poll(), never to be read.
BOSKOS_API int boskos_cancel_fd(const struct boskos_cancel *cancel);

// ---- a client -------------------------------------------------------------------

enum boskos_log_level {
    BOSKOS_LOG_DEBUG,   // each request with its status
    BOSKOS_LOG_INFO,    // something in doubt was settled
    BOSKOS_LOG_WARNING, // something is tried again, or is not as it should be
    BOSKOS_LOG_ERROR,   // something was given up
};

// A line without a newline. Neither passwords nor userdata are in it. From any thread that has a
// call in progress, and from the client's own.
typedef void boskos_log_function(void *context, enum boskos_log_level level, const char *line);

struct boskos_client;

// Set all but the texts by boskos_options_init; 0 is never "none" unless it says so here.
struct boskos_options {
    size_t size; // of this struct, by boskos_options_init

    const char *url;   // http://host:port or https://...; a path in it goes before those of Boskos
    const char *owner; // may be NULL where nothing is acquired, released or updated

    const char *username;      // basic authentication: with password_file, or both NULL
    const char *password_file; // looked at before each request, read anew when it has changed;
                               // white space at its ends does not count
    const char *token_file;    // bearer authentication, the same; not with a username
    const char *ca_file;       // certificates to trust; NULL: the system's

    int64_t connect_timeout_ms; // 10 s
    int64_t request_timeout_ms; // 30 s: one request, from its begin to its reply's end
    int64_t call_timeout_ms;    // 2 min: one call, with all that is repeated
    int64_t settle_timeout_ms;  // 5 s: how long boskos_client_free may take; 0: not at all

    int attempts_max;         // 5: of one call; 1: nothing is repeated
    int64_t backoff_first_ms; // 1 s before the second attempt; doubled each time
    int64_t backoff_most_ms;  // 15 s; also of what a server asks for with Retry-After
    int64_t poll_ms;          // 3 s between two questions while an acquire waits

    boskos_log_function *log; // may be NULL
    void *log_context;

    const char *user_agent; // NULL: libboskos/VERSION
};

BOSKOS_API void boskos_options_set_defaults(struct boskos_options *options, size_t size);

static inline void boskos_options_init(struct boskos_options *options)
{
    boskos_options_set_defaults(options, sizeof(*options));
}

// What a call may be told, and what it tells. All zero but the size: boskos_call_init.
struct boskos_call {
    size_t size; // of this struct, by boskos_call_init

    int64_t timeout_ms;           // 0: call_timeout_ms of the options
    struct boskos_cancel *cancel; // NULL: none
    const char *request_id;       // acquire: a place in the queue. NULL: one is made when it waits
    const char *idempotency_key;  // acquire, up to 255 bytes; NULL: one is made

    // Written by each call:
    int status;     // of the last reply, 0 when none came
    int is_doubted; // the server may have done it though it failed: see boskos_settle
    uint64_t seq;   // the command's number in boskosd's journal, 0 when it has none
    char text[512]; // why it failed, in one line; "" after success
};

static inline void boskos_call_init(struct boskos_call *call)
{
    memset(call, 0, sizeof(*call));
    call->size = sizeof(*call);
}

// Makes a client. Nothing is sent yet. BOSKOS_ERR_ARGUMENT: an option makes no sense;
// BOSKOS_ERR_SYSTEM: the password file cannot be read, or there is no descriptor. Of `call` only
// the text is used. Free with boskos_client_free.
BOSKOS_API int boskos_client_new(const struct boskos_options *options,
                                 struct boskos_client **ret_client, struct boskos_call *call);

// Settles what is in doubt (settle_timeout_ms), ends heartbeats and the client's thread, and frees
// it. Leases it holds are left as they are: boskos_release_all comes before. No other call may be
// in progress, and it must not be called from a callback.
BOSKOS_API void boskos_client_free(struct boskos_client *client);

// ---- calls ----------------------------------------------------------------------
//
// `call` may be NULL. What is safe is repeated, with growing and uneven pauses, up to attempts_max
// times: everything that did not reach the server; any 5xx and 429; a reply that was lost or is no
// reply of Boskos. So that nothing is done twice by that:
//
// - acquire has an Idempotency-Key, by which boskosd knows the repetition. The original server does
//   not know such keys: when its reply is lost the lease is lost with it, until a reaper comes.
// - release looks (at boskosd, below /v1/) whether it was done, and by whom, before it is repeated;
//   acquire_by_state is repeated, and looks before a refusal counts. The original server cannot be
//   asked: there both are repeated unseen, as its own client does.
//
// 401, 404 and 409 are a server's word only in the words of a Boskos, and once the client has met
// boskosd only with boskosd's number (seq); else they are no reply of Boskos, and so is a 200.
//
// A call that is given up although the server may have done it says is_doubted, and the client goes
// on by itself: what an acquire took is given back, a release is repeated, see boskos_settle. A
// request that something between holds back until after that is done when it arrives: what it takes
// is left to a reaper.

#define BOSKOS_FOREVER INT64_C(-1)

// Takes a resource of the type in the state, and puts it into the state dest. wait_ms is for how
// long it asks again while there is none: 0 is one question, BOSKOS_FOREVER no end but
// cancellation; the answer to the last question may take 2 s more. While it waits a server that
// fails is asked again too, until then (timeout_ms does not count). The client holds the resource
// from then on. Free with boskos_resource_free.
BOSKOS_API int boskos_acquire(struct boskos_client *client, const char *type, const char *state,
                              const char *dest, int64_t wait_ms,
                              struct boskos_resource **ret_resource, struct boskos_call *call);

// Takes all the named ones that are in the state. boskosd gives all or none; from the original
// server, which gives none and keeps some when one is missing, those cannot be told. Free with
// boskos_resources_free.
BOSKOS_API int boskos_acquire_by_state(struct boskos_client *client, const char *state,
                                       const char *dest, const char *const *names, size_t count,
                                       int64_t wait_ms, struct boskos_resources **ret_resources,
                                       struct boskos_call *call);

// Mason's client: takes a resource and with it those that its userdata's leasedResources names
// (they are in the state that is its name) into the same dest. When these cannot be had it is given
// back as dirty. boskos_release gives them back together.
BOSKOS_API int boskos_acquire_leased(struct boskos_client *client, const char *type,
                                     const char *state, const char *dest, int64_t wait_ms,
                                     struct boskos_resource **ret_resource,
                                     struct boskos_resources **ret_leased,
                                     struct boskos_call *call);

// Gives it back in the state dest, and with it what was taken by boskos_acquire_leased; also one
// that the client does not hold. It is not held afterwards, also when it failed: then it gets no
// more heartbeats, and where is_doubted says so the client goes on trying.
BOSKOS_API int boskos_release(struct boskos_client *client, const char *name, const char *dest,
                              struct boskos_call *call);

// Gives back all it holds. The first error is returned after all were tried.
BOSKOS_API int boskos_release_all(struct boskos_client *client, const char *dest,
                                  struct boskos_call *call);

// Sets lastupdate to now and merges the pairs into the userdata; an empty value removes its key.
// state is the one it is in; NULL: the one in which the client holds it. Keys and values are UTF-8.
BOSKOS_API int boskos_update(struct boskos_client *client, const char *name, const char *state,
                             const struct boskos_pair *userdata, size_t count,
                             struct boskos_call *call);

// Puts the owned resources of the type and state whose last update is expire_ns old into the state
// dest, without an owner. Names with their owners are returned; after a repetition those that
// were lost with a reply are not among them. Free with boskos_pairs_free.
BOSKOS_API int boskos_reset(struct boskos_client *client, const char *type, const char *state,
                            int64_t expire_ns, const char *dest, struct boskos_pairs **ret_owners,
                            struct boskos_call *call);

// Counts by state and by owner. Free with boskos_metric_free.
BOSKOS_API int boskos_metric(struct boskos_client *client, const char *type,
                             struct boskos_metric **ret_metric, struct boskos_call *call);

// Any of the values of a list fits; an empty list fits all. An owner "" is nobody.
struct boskos_filter {
    const char *const *types;
    size_t types_count;
    const char *const *states;
    size_t states_count;
    const char *const *owners;
    size_t owners_count;
};

// The resources, by name. It reads in parts: what changes meanwhile may be seen before or after.
// boskosd only (BOSKOS_ERR_UNSUPPORTED). filter may be NULL. Free with boskos_resources_free.
BOSKOS_API int boskos_list(struct boskos_client *client, const struct boskos_filter *filter,
                           struct boskos_resources **ret_resources, struct boskos_call *call);

// One resource. boskosd only. Free with boskos_resource_free.
BOSKOS_API int boskos_get(struct boskos_client *client, const char *name,
                          struct boskos_resource **ret_resource, struct boskos_call *call);

// ---- what the client holds ------------------------------------------------------

// A copy of the list of what is held, each as it was when acquired. Free with
// boskos_resources_free.
BOSKOS_API struct boskos_resources *boskos_held(struct boskos_client *client);

// Takes a lease that came from elsewhere into the list, as if acquired here.
BOSKOS_API int boskos_hold(struct boskos_client *client, const struct boskos_resource *resource);

// Strikes it off the list: it gets no more heartbeats. BOSKOS_ERR_NO_RESOURCE when it is not there.
BOSKOS_API int boskos_forget(struct boskos_client *client, const char *name);

// A lease is gone: the server says that it has another owner or state, or is not there; code is
// BOSKOS_ERR_OWNER, _STATE or _NO_RESOURCE. It is no longer held. Called from the client's thread,
// which waits meanwhile; any function but boskos_client_free may be called. The resource is
// borrowed until it returns.
typedef void boskos_lost_function(void *context, const struct boskos_resource *resource, int code);

// From now on every lease that is held, and those to come, gets an update each period_ms (the first
// one a period after it was acquired), by the client's thread. A heartbeat that does not reach the
// server is repeated sooner, until it does. period_ms 0: no more. `lost` may be NULL. When it
// returns the callback given before is not running, and is not called any more.
BOSKOS_API int boskos_heartbeat(struct boskos_client *client, int64_t period_ms,
                                boskos_lost_function *lost, void *context);

// Waits until nothing is in doubt. What is: an acquire that failed with a reply outstanding (it is
// asked for again by its key and given back in the state it was taken from), one by state (what of
// it is ours since is given back the same way, unless it is released by a call before), and a
// release that failed (it is repeated). The client's thread does so by itself, at growing
// intervals, from the moment they fail; this hurries it. BOSKOS_ERR_TIMEOUT when there is something
// left.
BOSKOS_API int boskos_settle(struct boskos_client *client, int64_t timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
