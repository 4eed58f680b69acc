// client/client.h
//
// The inside of libboskos. Layers, lowest first: credentials (who is asking), transport (one
// request, one reply), exchange (what came back as a code), calls (repetition), leases (what is
// held, and the thread behind it).
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <jansson.h>

#include "base/buffer.h"
#include "client/boskos.h"

#define CLIENT_REPLY_BYTES_MAX (16u * 1024 * 1024)
#define CLIENT_LIST_BYTES_MAX (512u * 1024 * 1024)
#define CLIENT_LIST_PAGE 500u  // resources asked for at once
#define CLIENT_HANDLES_MAX 16u // connections kept for later
#define CLIENT_SECRET_BYTES_MAX (64u * 1024)
#define CLIENT_HELD_MAX 1000000u
#define CLIENT_PENDING_MAX 100000u
#define CLIENT_ID_BYTES 33u // 128 random bits in hexadecimal

struct boskos_cancel {
    int fd; // an eventfd that nobody reads
    atomic_bool is_set;
};

// ---- credentials.c ----

// The content of a file that may change.
struct secret {
    char *path; // NULL: there is none
    char *value;
    int64_t mtime_ns, size;
    uint64_t inode;
    bool has_failed; // said once
};

struct boskos_client;

// Reads the file anew if it has changed. What was read before stays when it cannot be read now.
// Returns 0, or BOSKOS_ERR_SYSTEM with nothing there yet; errno says why.
int secret_refresh(struct boskos_client *client, struct secret *secret);
void secret_release(struct secret *secret);

// ---- transport.c ----

// One request: a method, a path with its query, a body.
struct request {
    const char *method; // "GET" or "POST"
    const char *path;   // "/acquire"
    struct buffer query;
    const char *body; // NULL: none; JSON
    size_t body_size;
    const char *idempotency_key; // NULL: none
    bool is_alone;               // on a connection of its own
    size_t reply_max;            // bytes
};

struct reply {
    int status;
    uint64_t seq;    // Boskos-Seq, 0: none
    bool has_seq;    // so it is boskosd
    bool is_problem; // application/problem+json
    int64_t retry_after_ms;
    char location[256];
    struct buffer body;
};

// When a call must end, and by what it may be ended earlier.
struct limits {
    int64_t deadline_ms; // of the monotonic clock; INT64_MAX: none
    struct boskos_cancel *cancel;
    struct boskos_cancel *stop; // the client's own, for its thread; NULL in calls
};

int64_t client_now_ms(void);

// Waits; false when it was cancelled.
bool client_sleep(const struct limits *limits, int64_t ms);

void request_init(struct request *request, const char *method, const char *path);
void request_release(struct request *request);

// Appends a parameter, as Go's url.Values.Encode writes it. NULL is left out.
void request_parameter(struct request *request, const char *key, const char *value);

void reply_init(struct reply *reply);
void reply_release(struct reply *reply);

// What happened to a request that failed.
enum fate {
    FATE_UNSENT, // the server cannot have seen it
    FATE_DOUBT,  // it may have done it
    FATE_REPLIED // it answered
};

// Sends it and reads the reply, whatever its status is. `text` gets why not.
int transport(struct boskos_client *c, const struct request *q, const struct limits *l,
              struct reply *reply, enum fate *ret_fate, char *text, size_t text_size);

struct handle;
void transport_free_handles(struct boskos_client *client);

// ---- calls.c: requests with repetition ----

enum call_kind {
    CALL_ACQUIRE,
    CALL_ACQUIRE_BY_STATE,
    CALL_RELEASE,
    CALL_UPDATE,
    CALL_RESET,
    CALL_METRIC,
    CALL_READ // below /v1/
};

// One go: transport, and the code of what came back. fate is also FATE_DOUBT for a 5xx that may
// come from something between.
int exchange(struct boskos_client *client, enum call_kind kind, const struct request *request,
             const struct limits *limits, struct reply *reply, enum fate *ret_fate,
             struct boskos_call *call);

// A call in progress: how often it was tried, whether it may have been done.
struct attempt {
    struct boskos_client *client;
    enum call_kind kind;
    struct limits limits;
    struct boskos_call *call;
    int64_t began_ms;
    int count;
    int last;        // the code of the last one
    bool is_doubted; // it may have been done
    bool is_late;    // by a request that may still be on its way
    bool is_waiting; // an acquire with a wait: no end but the deadline
};

// The caller's call, or `own`, with outputs cleared.
struct boskos_call *call_begin(struct boskos_call *call, struct boskos_call *own);
int call_fail(struct boskos_call *call, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int call_check(struct boskos_client *client, struct boskos_call *call, bool needs_owner,
               const char *const *texts, size_t count);

void attempt_init(struct attempt *attempt, struct boskos_client *client, enum call_kind kind,
                  struct boskos_call *call);

// Sends the request once. Notes doubt. reply is cleared before.
int attempt_send(struct attempt *attempt, const struct request *request, struct reply *reply);

// After *code: true when to try again, and the pause is over; false when the code stands, which is
// another one when it was cancelled meanwhile.
bool attempt_again(struct attempt *attempt, int *code, const struct reply *reply);

// ---- guard.c: was it done? ----

enum seen {
    SEEN_UNKNOWN, // the server cannot be asked: it is not boskosd
    SEEN_FAILED,  // it did not answer
    SEEN_OURS,    // this owner has it, in the state, and it was changed since
    SEEN_SAME,    // this owner has it, and it was not changed since
    SEEN_UNCLEAR, // the same, and it was changed just about then
    SEEN_OTHER    // it is not this owner's, or in another state, or gone
};

// Looks at a resource: what happened to it since `since_ms`, of the monotonic clock? state NULL:
// any.
enum seen guard_look(struct boskos_client *client, const char *name, const char *state,
                     int64_t since_ms, const struct limits *limits);

// ---- resource.c ----

struct boskos_resource *resource_from_json(const json_t *object);
struct boskos_resources *resources_from_json(const json_t *array);
struct boskos_pairs *pairs_from_json(const json_t *object);
struct boskos_metric *metric_from_json(const json_t *object);

// "/v1/resources/NAME", ended by NUL.
void resource_path(struct buffer *path, const char *name);
char *client_strdup(const char *text);

// ---- leases.c ----

struct lease {
    struct boskos_resource *resource;
    char **leased; // names that are given back with it
    size_t leased_count;
    int64_t due_ms;  // of the next heartbeat
    bool is_busy;    // a heartbeat of it is under way
    bool is_renewed; // it was acquired again since: what that heartbeat says does not count
};

enum pending_kind { PENDING_ACQUIRE, PENDING_TAKEN, PENDING_RELEASE };

struct pending {
    enum pending_kind kind;
    char *type, *state, *dest, *key; // acquire; taken: state and dest
    char *name;                      // taken; release, with dest
    bool is_doubted;                 // release: an attempt may have reached the server
    int64_t began_ms;                // of the first attempt
    int64_t due_ms;
    int64_t pause_ms;
};

// The names of an acquire by state, as long as it is under way: on the stack of who asks.
struct asked {
    const char *const *names;
    size_t count;
    struct asked *next;
};

struct leases {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct lease *held;
    size_t held_count, held_capacity;
    struct pending *pending;
    size_t pending_count, pending_capacity;
    char *in_hand; // the name of the one that the thread is at, NULL: it has none yet, or none
    enum pending_kind in_hand_kind;
    bool in_hand_is_dropped;
    struct asked *asked;  // acquires by state that are under way
    bool is_settling_one; // the thread has one in hand
    int64_t period_ms;    // of heartbeats, 0: none
    boskos_lost_function *lost;
    void *lost_context;
    bool is_telling; // the callback is running
    bool has_thread, is_ending;
    pthread_t thread;
};

void leases_init(struct boskos_client *client);
void leases_end(struct boskos_client *client);

// Takes the resource (a copy) into the list, and the names that are given back with it (or NULL).
void leases_add(struct boskos_client *c, const struct boskos_resource *r,
                const struct boskos_names *names);

// Takes it off the list, when no heartbeat of it is under way any more. False: it was not there.
bool leases_take(struct boskos_client *client, const char *name, struct lease *ret_lease);
void lease_release(struct lease *lease);

// A copy of the state in which it is held, or NULL. Free with free().
char *leases_state(struct boskos_client *client, const char *name);

void leases_doubt_acquire(struct boskos_client *client, const char *type, const char *state,
                          const char *dest, const char *key);
// While names are asked for, what was taken of them before is left to who asks.
void leases_asked_begin(struct boskos_client *client, struct asked *asked);
void leases_asked_end(struct boskos_client *client, const struct asked *asked);

// Those of the names that are not held may have been taken by the attempt.
void leases_doubt_taken(struct boskos_client *client, const char *const *names, size_t count,
                        const char *state, const char *dest, const struct attempt *attempt);
// The caller gives it back itself.
void leases_undoubt_taken(struct boskos_client *client, const char *name);
void leases_doubt_release(struct boskos_client *client, const char *name, const char *dest,
                          const struct attempt *attempt);

// One attempt to release, with a look before it if it is not the first. 0 when it is done.
int release_once(struct boskos_client *client, struct attempt *attempt, const char *name,
                 const char *dest);

// One attempt to acquire, by a key.
int acquire_once(struct attempt *attempt, const char *type, const char *state, const char *dest,
                 const char *request_id, const char *key, struct reply *reply,
                 struct boskos_resource **ret_resource);

// ---- client.c ----

struct boskos_client {
    struct boskos_options options; // with texts of its own
    char *base;                    // the URL without a slash at its end
    atomic_bool is_boskosd;        // it has shown so
    struct boskos_cancel *stop;    // set at the end, for the thread

    pthread_mutex_t lock; // of what follows
    struct secret password, token;
    struct handle *handles[CLIENT_HANDLES_MAX];
    size_t handles_count;

    struct leases leases;
};

void client_log(struct boskos_client *client, enum boskos_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Random bits: 128 of them as text, and a number from 0 up to `most`.
void client_random_id(char ret_id[CLIENT_ID_BYTES]);
int64_t client_random(int64_t most);

#endif
