// wire/wire.h
//
// The Boskos protocol as text: from a decoded path, a query string and a body to a command or
// query, and from a result to the bytes of a reply. It knows nothing of connections or of time.
//
// Pure; callable from any thread, on data of the caller's own.
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "base/buffer.h"
#include "statemachine/state_machine.h"

// What a request asks for.
enum wire_call {
    WIRE_NOTHING, // any other path: 200, empty
    WIRE_ACQUIRE,
    WIRE_ACQUIREBYSTATE,
    WIRE_RELEASE,
    WIRE_UPDATE,
    WIRE_RESET,
    WIRE_METRIC,
    WIRE_V1_RESOURCES, // GET /v1/resources
    WIRE_V1_RESOURCE,  // GET /v1/resources/NAME
    WIRE_V1_QUEUES,
    WIRE_V1_STATUS,
    WIRE_V1_UNKNOWN // any other path below /v1/: 404
};

#define WIRE_NAMES_MAX 8192u   // names in acquirebystate; the request head's limit is met first
#define WIRE_FILTERS_MAX 1024u // repeats of one filter
#define WIRE_LIMIT_MAX 100000u // `limit` of a list

// A list below /v1/ that grows beyond this is refused, so that no reader can use up the memory.
#define WIRE_LIST_BYTES_MAX ((size_t)256 * 1024 * 1024)

enum wire_content { WIRE_CONTENT_NONE, WIRE_CONTENT_TEXT, WIRE_CONTENT_JSON, WIRE_CONTENT_PROBLEM };

// A reply's form. The body is appended to a buffer of the caller's.
struct wire_reply {
    uint32_t status;
    enum wire_content content; // NONE: no Content-Type header (and no body)
    bool nosniff;              // X-Content-Type-Options: nosniff
    uint32_t retry_after_s;    // 0: no Retry-After
    const char *allow;         // the Allow header of a 405 below /v1/, or NULL
};

// The value of a Content-Type header, NULL for WIRE_CONTENT_NONE.
const char *wire_content_type(enum wire_content content);

// Percent-decodes and cleans the path of a request target (absolute form, doubled slashes and "/./"
// are taken in), appends the decoded path to `path`, and points *ret_query at what follows the
// first `?` in `target`, undecoded. BOSKOS_E_MALFORMED for a bad escape, a control character or a
// target of no known form.
int wire_target(struct text target, struct buffer *path, struct text *ret_query);

// Which call a decoded path is.
enum wire_call wire_route(struct text path);

// The metrics' label of a call's path: a fixed set, "other" for WIRE_NOTHING.
const char *wire_call_label(enum wire_call call);

// True when the call takes a body into account (only update does).
bool wire_call_has_body(enum wire_call call);

// A parsed request: its memory belongs to it and is used again by wire_request_clear.
struct wire_request {
    enum wire_call call;
    bool is_command;         // `command` is set; otherwise a query, or answered already
    struct command command;  // texts point into `memory`
    struct text name;        // of WIRE_V1_RESOURCE
    struct text type;        // of WIRE_METRIC
    struct sm_filter filter; // of WIRE_V1_RESOURCES
    struct buffer memory;    // decoded parameters
    void *lists;             // pairs, filters; owned
    size_t lists_bytes;
};

void wire_request_init(struct wire_request *r);
void wire_request_clear(struct wire_request *r); // forgets the content, keeps memory up to 64 KiB
void wire_request_release(struct wire_request *r);

// Checks and decodes a request: method, parameters, limits of form, body, in this order. `body` is
// used by update only. On 0 the request is a command or query to be carried out (call tells),
// except for WIRE_NOTHING, which like every refusal is answered at once: then it returns 1 and has
// filled *ret_reply and appended its body to `out`.
int wire_parse(struct wire_request *r, struct text method, struct text path, struct text query,
               struct text body, struct wire_reply *ret_reply, struct buffer *out);

// Puts the request's Idempotency-Key header, which is borrowed as long as the command is used, into
// a parsed acquire; other calls pass over it, and an empty one is none. Returns as wire_parse does:
// 1 when the key is refused.
int wire_idempotency_key(struct wire_request *r, struct text key, struct wire_reply *ret_reply,
                         struct buffer *out);

// The reply to a command that was applied. `r->command` must be the command of `result`.
void wire_result(const struct command *c, const struct sm_result *result,
                 struct wire_reply *ret_reply, struct buffer *out);

// The same in parts, each with the same *ret_reply: a list is divided between entries, where a part
// has reached 64 KiB; anything else is one part. *at is where the next part begins, 0 at first.
// True when there are more.
bool wire_result_part(const struct command *c, const struct sm_result *result, uint32_t *at,
                      struct wire_reply *ret_reply, struct buffer *out);

// What the status page shows beside the state.
struct wire_status {
    struct text version;
    uint64_t snapshot_seq; // of the newest snapshot, 0 for none
    uint64_t snapshot_time_ns;
    uint64_t uptime_ns;
    uint64_t now_ns; // the logged time of the query
};

// Carries out a query on `sm` and writes the reply: WIRE_METRIC and the WIRE_V1_ calls. On the
// thread that owns sm.
void wire_query(const struct wire_request *r, struct sm *sm, const struct wire_status *status,
                struct wire_reply *ret_reply, struct buffer *out);

// The text for a body above SM_BODY_BYTES_MAX, which http meets first.
#define WIRE_BODY_TOO_LARGE "the request body is limited to 262144 bytes."

// A refusal that names a limit or a fault of form, as the old calls answer (text) or as /v1/ does.
// `message` is one line without a newline; 503 gets a Retry-After.
void wire_refusal(enum wire_call call, uint32_t status, const char *message,
                  struct wire_reply *ret_reply, struct buffer *out);

// ---- texts, also for other programs -----------------------------------------

// Appends `t` as a JSON string, as Go's encoding/json writes it (with <, >, &, U+2028, U+2029
// escaped).
void wire_json_string(struct buffer *out, struct text t);

// The same without the quotes, for a long text that is written in parts, each of whole characters.
void wire_json_characters(struct buffer *out, struct text t);

// Appends `t` quoted as Go's %q does.
void wire_go_quote(struct buffer *out, struct text t);

// Appends a resource as JSON with the keys and order of Boskos; times with whole seconds, or with
// nanoseconds for /v1/.
enum wire_times { WIRE_TIMES_SECONDS, WIRE_TIMES_NANO };
void wire_json_resource(struct buffer *out, const struct sm_resource *r, enum wire_times times);

// ---- the past, for the replay tool -------------------------------------------

// Appends the parameters of a command as a JSON object, under the names they have in HTTP where a
// client sent them and exactly as sent. All values are strings where nothing else is said.
// downtime, request-ttl and ahead are durations of Go's; the longest one, of 292 years, stands for
// all above it.
//
//   acquire         type, state, dest, owner; request_id and Idempotency-Key where it had them
//   acquirebystate  state, dest, owner, names
//   release         name, dest, owner
//   update          name, owner, state; where it had a body userdata: an object of strings and null
//   reset           type, state, dest, expire
//   config          config: an object, see wire_json_config
//   clean           name; leasedResources where there was one; names: an array
//   clock           ahead
//   started         version, host, downtime, request-ttl; salt: a number
//   repaired        version, host; lost-first, lost-last: numbers, the last null when it is not
//                   known; downtime, why
//   import          version, host; life-cycles: an array of entries as wire_json_config has them;
//                   resources: an array as /v1/resources lists them, lastupdate null when unknown
//   expire, reap    nothing
void wire_json_params(const struct command *c, struct buffer *out);

// Appends the same for people, as `type=t state=free owner=ann`: nothing in it ends the line or
// moves a terminal. Values are as wire_text_word has them. Of a config it tells how many types and
// names there are (`types=3 names=17`), keys and values of userdata are all quoted
// (`userdata={"a":"b","c":null}`), and what is not known is left out.
void wire_text_params(const struct command *c, struct buffer *out);

// Appends a word for people: as it is, or, when it is empty or has a blank, a quote or what is not
// printable, quoted as Go's %q does.
void wire_text_word(struct text word, struct buffer *out);

// Appends what was changed of one resource: {"resource":NAME,"from":SIDE,"to":SIDE}. A side is null
// where the resource is not there, and then the other one has all of type, state, owner,
// lastupdate, userdata and, where there is one, expiration-date. Else both have those that differ,
// in this order: userdata whole, an expiration-date that is not there as null. Times are with
// nanoseconds. `change` may be of two points of time that are far apart.
void wire_json_change(const struct sm_change *change, struct buffer *out);

// Appends a config as a JSON object in the form of the config file, or null when `config` is NULL.
// Read as YAML it is the same config: it can be used as a config file. Two things stand against
// that: more than CONFIG_BYTES_MAX (config/config.h), to which one with less can grow as aliases
// are written out, and a need for a type that is longer than 1022 characters as it stands here,
// which YAML takes for a key in another form only.
void wire_json_config(const struct command_config *config, struct buffer *out);

// Appends a part of the array that /v1/queues has: an entry, as sm_queues tells them in order. A [
// comes before them all, behind them ]}], or ] when there is none.
void wire_json_queue_entry(const struct sm_queue_entry *e, bool is_first, struct buffer *out);

// Appends the life cycles in force as an array of {type, state, min-count, max-count, lifespan},
// sorted by type: counts are numbers, both 0 where the type is gone from the config and has
// resources left; lifespan is a Go duration, or null.
void wire_json_life_cycles(struct sm *sm, struct buffer *out);

#endif
