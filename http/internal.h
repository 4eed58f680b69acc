// http/internal.h
//
// What the files of http/ share: the server, its ports, connections and requests.
//
// Everything here belongs to the loop thread, except where a comment says otherwise.
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include "http/http.h"
#include "http/series.h"
#include "wire/wire.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

// A connection's memory of the library's, which clears one and a half times as much for each
// request: as small as can be. It holds a head of HTTP_HEAD_BYTES_MAX with HEADER_BYTES for each
// header of it (24 of them beside the longest head), and the reply's head. What is above
// HTTP_HEAD_BYTES_MAX and fits here gets our text, what does not fit the library's.
#define POOL_BYTES (18u * 1024)
#define HEADER_BYTES 64u
#define REPLY_HEAD_BYTES 512u

#define BUFFER_KEPT_BYTES (8u * 1024) // a request's buffers are freed above this
#define REPLY_DEADLINE_FACTOR 4u      // of the body's: from the reply to its last byte taken
#define FILES_OF_OURS 64u             // descriptors kept from connections
#define SIDE_CONNECTIONS_MAX 64u      // of the health port and of the metrics port
#define LINGER_MAX 16u
#define RUNS_MAX 8u      // of the library in a row, then the loop looks around
#define CIRCLES_MAX 64u  // runs that bring nothing: a long head is read in so many
#define CIRCLE_WAIT_MS 5 // and then it waits so long
#define FLIGHT_WAIT_MS 1 // before it is run again for what it may have beside those in flight
#define REPLY_KINDS 64u

enum port_kind { PORT_API, PORT_HEALTH, PORT_METRICS };
#define PORTS 3u

struct port {
    struct http_server *server;
    enum port_kind kind;
    int fd; // bound, -1: off or the library's
    unsigned connections_max;
    struct MHD_Daemon *daemon; // NULL: not listening
    unsigned connections;
    uint64_t in_flight; // requests that the engine has
    bool run_again;     // a place became free: the library listens again only when it is run
    uint32_t circles;   // runs in a row that brought nothing
    int wait_ms;        // before it is run again
};

// Which deadline a connection is under; at once where the client sends no more and has its replies.
enum phase { PHASE_HEAD, PHASE_BODY, PHASE_REPLY, PHASE_ENDED, PHASE_NONE };
#define PHASES_TIMED 4u

// What epoll tells of: a port's library by its number, the eventfd, the lingering ones; from there
// on it is the address of a connection whose client sends no more.
#define EVENT_WAKE PORTS
#define EVENT_LINGER (PORTS + 1u)
#define EVENTS_NAMED (EVENT_LINGER + LINGER_MAX)

enum request_stage {
    REQUEST_IDLE,      // between requests, or the request line is not complete
    REQUEST_LINE,      // the request line is there
    REQUEST_BODY,      // the head was accepted
    REQUEST_READY,     // complete, to be handed to the engine after this run of the library
    REQUEST_SUBMITTED, // the engine has it
    REQUEST_ANSWERED,  // the reply is made
    REQUEST_REPLYING   // and was given to the library
};

struct request {
    struct engine_request engine;
    struct request *next; // in the ready list, then in the done list
    enum request_stage stage;
    uint64_t started_ns;    // when the head was complete
    const char *raw_target; // where the library keeps it; only to be compared
    const char *method;     // its label among the metrics
    struct text query;      // in target
    enum wire_call call;
    bool body_counts;
    uint64_t body_bytes;
    struct wire_status status;
    struct wire_reply reply;
    const char *content_type; // instead of the reply's
    uint64_t seq;             // of the command, or of the state a query saw
    bool is_logged, is_read, close_after;
    bool is_granted;
    uint64_t waited_ns;
    // From here on it is the connection's: kept, with its memory, for the next request.
    struct connection *connection;
    struct buffer target, path, body, key, out;
    struct wire_request wire;
};

struct connection {
    struct port *port;
    struct MHD_Connection *mhd; // NULL: ended while the engine had its request
    int fd;                     // the library's
    enum phase phase;
    uint64_t deadline_ns;
    struct connection *prev, *next; // in the phase's list, oldest first
    bool linger;                    // unread input may be left when it closes
    bool has_ended;                 // the client sends no more
    bool had_unread;                // when bodies were looked at last: input was unread
    uint64_t body_bytes_seen;       // and so much of the body had come through
    struct request request;
};

struct connection_list {
    struct connection *first, *last;
};

struct lingering {
    int fd; // -1: free
    uint64_t deadline_ns;
    uint64_t bytes;
};

// Of replies: the series that they are counted in.
struct reply_kind {
    enum wire_call call;
    uint32_t status;
    const char *method; // its label
    struct series *duration, *bytes;
};

struct http_server {
    struct port ports[PORTS];
    struct clock clock;
    const struct log *log;
    const char *version;
    uint64_t phase_ns[PHASES_TIMED];
    uint64_t start_wall_ns;
    int epoll_fd;
    int wake_fd; // written by any thread
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    // Under lock.
    struct engine *wanted_engine;
    struct MHD_Daemon *wanted_api;
    bool serve_wanted, drain_wanted, drain_done, stop_wanted;

    _Atomic(struct request *) done; // pushed by the sequencer, emptied by the loop

    // The loop thread's.
    struct engine *engine; // NULL: before http_serve and after the drain
    bool draining, stopping;
    uint64_t drain_deadline_ns, stop_deadline_ns;
    struct connection_list phases[PHASES_TIMED];
    uint64_t bodies_checked_ns; // when bodies that get no further were looked for
    uint64_t calls;             // of ours by the library: what its runs brought
    uint64_t moves;             // those after which it has more to do at once
    struct request *ready_first, *ready_last;
    uint64_t in_flight;
    struct lingering lingering[LINGER_MAX];
    uint64_t timed_out; // connections closed over a deadline
    struct family http_duration, http_bytes, acquire_duration;
    struct reply_kind reply_kinds[REPLY_KINDS]; // those seen last
    struct buffer labels;                       // scratch
};

// ---- socket.c ---------------------------------------------------------------

// A bound socket, nonblocking and close-on-exec. `address` NULL: every address. See http_open for
// errors.
int socket_bind(const char *address, uint16_t number, int *ret_fd, char *why, size_t why_size);

// Raises the limit of descriptors as far as it goes and returns it.
uint64_t socket_files_max(void);

// ---- connection.c -----------------------------------------------------------

void connection_free(struct connection *c);

// epoll tells that the client sends no more.
void connection_ended(struct connection *c);

// For MHD_OPTION_NOTIFY_CONNECTION; context is the port.
void connection_notify(void *context, struct MHD_Connection *mhd, void **socket_context,
                       enum MHD_ConnectionNotificationCode code);

// Puts the connection under the deadline of a phase, counted from now.
void connection_phase(struct connection *c, enum phase phase);
void connection_phase_at(struct connection *c, enum phase phase, uint64_t now_ns);

// Shuts down what is over its deadline, and bodies that get no further; the library then sees the
// end and closes. Returns the next deadline of any, UINT64_MAX for none.
uint64_t connections_expire(struct http_server *s, uint64_t now_ns);

// Closes connections that wait for a request of which nothing has come.
void connections_close_idle(struct http_server *s);

// Reads and drops what comes in on a closed connection, so that its last reply is not lost to a
// reset.
void linger_readable(struct http_server *s, uint32_t slot);
void linger_close_all(struct http_server *s);

// ---- request.c --------------------------------------------------------------

void request_init(struct request *r, struct connection *c);
void request_release(struct request *r);

// For the library: MHD_OPTION_URI_LOG_CALLBACK, the handler, MHD_OPTION_NOTIFY_COMPLETED.
void *request_line(void *context, const char *target, struct MHD_Connection *mhd);
enum MHD_Result request_handle(void *context, struct MHD_Connection *mhd, const char *url,
                               const char *method, const char *version, const char *upload,
                               size_t *upload_size, void **request_context);
void request_completed(void *context, struct MHD_Connection *mhd, void **request_context,
                       enum MHD_RequestTerminationCode code);

// A reply of our own: a refusal that names what is wrong.
void request_refuse(struct request *r, uint32_t status, const char *message);

// For the health and the metrics port: true for GET and HEAD, else the request is refused.
bool request_only_reads(struct request *r, struct text method);

// Refuses a chunked body that the library cannot read on, on the socket itself.
void request_refuse_chunk(struct request *r);

// Marks the request as one for the engine, with `done` to be called there.
void request_to_engine(struct request *r, void (*done)(struct engine_request *, int, struct sm *,
                                                       const struct sm_result *, uint64_t));

// On the sequencer's thread: the reply is in r->out, the loop may have the request back.
void request_done(struct request *r, int error);

// Hands what became ready to the engine, as one chain.
void requests_submit(struct http_server *s);

// Takes back what the engine has answered.
void requests_take_back(struct http_server *s);

// ---- check.c ----------------------------------------------------------------

struct head {
    bool is_chunked;
    uint64_t length; // of the body, 0 without
};

// Checks the form of a head more strictly than the library. Returns 0, or the status of the refusal
// with its text in *ret_message.
uint32_t check_head(struct request *r, const char *method, const char *version,
                    struct head *ret_head, const char **ret_message);

// ---- health.c, metrics.c ----------------------------------------------------

void health_answer(struct request *r, struct text method);

// For how long a commit has been under way, once it is above HTTP_STALL_NS; else 0.
uint64_t health_stalled_ns(const struct http_server *s);

// Answers at once, or by the engine.
void metrics_answer(struct request *r, struct text method);
void metrics_finish(struct request *r);
void metrics_init(struct http_server *s);
void metrics_release(struct http_server *s);

// The label of a method.
const char *metrics_method(const char *method);

// Counts a reply. Returns the time it was counted at.
uint64_t metrics_count(struct request *r);

// ---- page.c -----------------------------------------------------------------

// Appends the resources' figures; on the sequencer's thread.
void page_resources(struct sm *sm, struct buffer *out);

// Appends all others.
void page_figures(struct http_server *s, struct buffer *out);

#endif
