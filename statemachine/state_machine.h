// statemachine/state_machine.h
//
// The state machine: resources, queues, life cycles and config, changed by commands and by nothing
// else. It knows no clock, no disk, no threads and no randomness: the same commands give the same
// state, the same results and the same digest on every machine, for ever.
//
// Not thread-safe: each struct sm belongs to one thread at a time. Memory that cannot be had ends
// the process (base/assert.h): the record is durable, a restart applies it.
#ifndef STATEMACHINE_STATE_MACHINE_H
#define STATEMACHINE_STATE_MACHINE_H

#include "base/hash.h"
#include "statemachine/command.h"

// Limits that depend on state: beyond them a command is refused by the rules.
#define SM_QUEUE_ENTRIES_MAX 100000u        // a queue
#define SM_QUEUE_ENTRIES_TOTAL_MAX 1000000u // all queues

#define SM_REQUEST_TTL_DEFAULT_NS INT64_C(30000000000)

struct sm; // opaque, as are struct resource and struct symbol

// A new, empty state. `hash_seed` mixes the hash tables, so that clients cannot aim at them;
// nothing that can be observed depends on it. Returned, caller frees with sm_free.
struct sm *sm_new(uint64_t hash_seed);
void sm_free(struct sm *sm);

// ---- what a command comes to ------------------------------------------------

// Why a command ended as it did. The numbers are on disk: never change or reuse one.
enum sm_reason {
    SM_OK = 0,                 // done; for commands without a client always this
    SM_NO_AVAILABLE = 1,       // acquire, acquirebystate: nothing to hand out (404)
    SM_NO_SUCH_TYPE = 2,       // acquire: there was no resource of the type before (404)
    SM_NO_SUCH_RESOURCE = 3,   // release, update (404)
    SM_OWNER_MISMATCH = 4,     // release, update (401)
    SM_STATE_MISMATCH = 5,     // update (409)
    SM_QUEUE_FULL = 6,         // acquire: this queue has SM_QUEUE_ENTRIES_MAX (503)
    SM_QUEUES_FULL = 7,        // acquire: all queues have SM_QUEUE_ENTRIES_TOTAL_MAX (503)
    SM_USERDATA_TOO_LARGE = 8, // update: more than SM_USERDATA_BYTES_MAX afterwards (413)
    SM_KEY_MISMATCH = 9,       // acquire: a lease has that key with other parameters (409)
};

// The HTTP status of a reason: 200, 401, 404, 409, 413, 503.
uint32_t sm_reason_status(enum sm_reason reason);

// A resource as replies show it. Borrowed until the next sm_apply.
struct sm_resource {
    struct text type, name, state, owner; // owner empty: unowned
    uint64_t lastupdate_ns;
    bool has_expiration;
    uint64_t expiration_ns;
    const struct userdata_pair *userdata; // sorted by key; values never empty
    uint32_t userdata_count;
};

// Do two views show the same userdata? And the same resource, but for its name?
bool sm_same_userdata(const struct sm_resource *a, const struct sm_resource *b);
bool sm_same_resource(const struct sm_resource *a, const struct sm_resource *b);

struct sm_result {
    enum sm_reason reason;
    // acquire: one; acquirebystate: all granted, oldest lastupdate first, ties by name. Otherwise
    // none.
    const struct sm_resource *resources;
    uint32_t resources_count;
    // reset: what was reset, sorted by name, and their previous owners; sm_reset shows them.
    struct resource *const *reset;
    const struct symbol *const *reset_owners;
    uint32_t reset_count;
    struct text current_owner; // with SM_OWNER_MISMATCH, may be empty
    struct text current_state; // with SM_STATE_MISMATCH
    bool is_repeat; // acquire: not a grant, but what an earlier one with the same key came to
    // acquire granted: how long since the request's first poll; 0 without request id or queueing.
    uint64_t waited_ns;
    uint64_t effect;       // hash of everything the command changed, 0 when nothing
    struct hash128 digest; // of the whole state afterwards
};

// A resource that was reset. Views are borrowed as the result is. They are not kept as they are
// shown, for there may be as many as there are resources.
struct sm_reset {
    struct text name, owner; // the previous owner
};

// Of a result the one of that number, from 0; there are reset_count.
struct sm_reset sm_reset(const struct sm_result *r, uint32_t number);

// Applies a command. It cannot fail: what the rules refuse is a result. The command must be
// well-formed (wire and command_decode see to it), its seq one above the last and its time not
// below the last. *ret_result and what it points to are borrowed until the next call that takes
// this sm, but for sm_changes and sm_change.
void sm_apply(struct sm *sm, const struct command *c, struct sm_result *ret_result);

// A hint that a command of that kind and payload comes soon: what it will touch is brought near,
// first with `is_close` false, and some commands later with true. The bytes need not be good.
// Nothing changes.
void sm_expect(const struct sm *sm, uint32_t kind, struct text payload, bool is_close);

// The row that the results table keeps of a result: canonical msgpack of status, reason, resource
// name, effect and digest. Appended to `out`.
void sm_result_encode(const struct sm_result *r, struct buffer *out);

// ---- what a command changed -------------------------------------------------

// A resource before and after a command.
struct sm_change {
    struct text name;
    bool was_there, is_there;
    struct sm_resource before, after; // each where it was, or is, there
};

// From now on it is noted what commands change of resources, for sm_changes. What they come to is
// the same with and without.
void sm_trace(struct sm *sm);

// How many resources the last sm_apply changed, as sm_resource shows them; one that was made and
// removed by the same command does not count.
uint32_t sm_changes(struct sm *sm);

// One of these changes, by name, from 0; sm_changes said that there are so many. Views are borrowed
// until the next sm_apply; they are not kept as they are shown either.
void sm_change(struct sm *sm, uint32_t number, struct sm_change *ret_change);

// ---- what is due ------------------------------------------------------------

#define SM_NEVER UINT64_MAX

// The first instant at which an `expire` command would do something to resources (an expired one to
// be marked); SM_NEVER when none waits. "At" means: due when now > this.
uint64_t sm_expiry_due_ns(const struct sm *sm);

// The same for dead queue entries, which are swept at most once a second for them alone.
uint64_t sm_queue_due_ns(const struct sm *sm);

// The first instant at which the built-in reaper has its next round and would reset something;
// SM_NEVER when it is off or nothing is owned. Due when now >= this.
uint64_t sm_reap_due_ns(const struct sm *sm);

// The last started, clock or repaired; 0 before the first. The built-in reaper does nothing within
// a period after it.
uint64_t sm_grace_ns(const struct sm *sm);

// How much of the time since an instant was slept through: it does not count as age of a lease.
uint64_t sm_slept_since_ns(const struct sm *sm, uint64_t since_ns);

// ---- queries ----------------------------------------------------------------

uint64_t sm_seq(const struct sm *sm);     // of the last command, 0 for none
uint64_t sm_time_ns(const struct sm *sm); // and its stamp
uint32_t sm_salt(const struct sm *sm);    // of the first `started`, 0 before it
struct hash128 sm_digest(const struct sm *sm);
uint64_t sm_resources_count(const struct sm *sm);
bool sm_has_config(const struct sm *sm); // a config command was applied
// The canonical bytes of the config in force (command_encode of the command), empty without one.
struct text sm_config_bytes(const struct sm *sm);
// The life cycles that an import brought, as long as no config has followed it: the payload of an
// `import` without resources, version and host. Empty when there is none. Until then upkeep does
// nothing, and the state says of a life cycle neither needs nor config otherwise.
struct text sm_imported_bytes(const struct sm *sm);
int64_t sm_request_ttl_ns(const struct sm *sm);
bool sm_cleaner_enabled(const struct sm *sm);

// BOSKOS_E_NOT_FOUND when there is none of that name. Borrowed until the next sm_apply or query.
int sm_find(struct sm *sm, struct text name, struct sm_resource *ret_resource);

// Which resources to list: each list is "any of these", an empty one is "all". Lists of at most
// 1024.
struct sm_filter {
    const struct text *types, *states, *owners;
    uint32_t types_count, states_count, owners_count;
    struct text after; // only names above this one; empty: from the start
    uint32_t limit;    // at most so many; 0: all
};

// Calls `each` for every resource that fits, by name. Stops early when it returns false. Returns
// whether a limit cut the list.
bool sm_list(struct sm *sm, const struct sm_filter *filter,
             bool (*each)(void *context, const struct sm_resource *r), void *context);

// Calls `each` for the unowned resources of a type in a state, in the order in which acquire hands
// them out: longest unchanged first, ties by name. Stops when it returns false. Views are borrowed
// until the next sm_apply.
void sm_unowned(struct sm *sm, struct text type, struct text state,
                bool (*each)(void *context, const struct sm_resource *r), void *context);

// The lease of an owner that has this idempotency key, and the state that its acquire asked for.
// BOSKOS_E_NOT_FOUND when there is none. Both are borrowed until the next sm_apply.
int sm_find_lease(struct sm *sm, struct text owner, struct text key,
                  struct sm_resource *ret_resource, struct text *ret_state);

struct sm_count {
    struct text key; // a state or an owner
    uint64_t count;
};

struct sm_metric {
    const struct sm_count *states, *owners; // sorted by key; "" counts the unowned
    uint32_t states_count, owners_count;
};

// What /metric shows of a type. BOSKOS_E_NOT_FOUND when it has no resource. Borrowed until the next
// call.
int sm_metric(struct sm *sm, struct text type, struct sm_metric *ret_metric);

// The types that have resources, sorted. Borrowed until the next call.
void sm_types(struct sm *sm, const struct text **ret_types, uint32_t *ret_count);

// How many resources of the type are in the state, owned or not.
uint64_t sm_count_in_state(const struct sm *sm, struct text type, struct text state);
uint64_t sm_count_of_type(const struct sm *sm, struct text type);

struct sm_queue_entry {
    struct text type, state, request_id;
    uint32_t rank;          // from 1, among the live entries of its queue
    uint64_t first_poll_ns; // when it came
    uint64_t deadline_ns;   // dead when now is after this
    uint64_t seq;           // of the command that it came with
};

// Calls `each` for every queue entry live at `now_ns`, by (type, state), then by rank. Texts are
// borrowed until the next sm_apply.
void sm_queues(struct sm *sm, uint64_t now_ns,
               bool (*each)(void *context, const struct sm_queue_entry *e), void *context);

// Entries kept, live or not yet swept: of all queues, and of one.
uint64_t sm_queue_entries(const struct sm *sm);
uint64_t sm_queue_length(const struct sm *sm, struct text type, struct text state);

struct sm_life_cycle {
    struct text type, state;
    int64_t min_count, max_count; // both 0 when it fades
    bool has_lifespan;
    int64_t lifespan_ns;
    bool is_fading; // gone from the config, kept until its last resource is gone
};

// The life cycles in force, sorted by type. Borrowed until the next call.
void sm_life_cycles(struct sm *sm, const struct sm_life_cycle **ret_cycles, uint32_t *ret_count);

// What the built-in cleaner has to do: up to `max` unowned dynamic resources in toBeDeleted, with
// the value of their userdata key leasedResources (TEXT_NONE: none). Borrowed until the next call.
struct sm_cleanable {
    struct text name, leased;
};
void sm_cleanable(struct sm *sm, uint32_t max, const struct sm_cleanable **ret_list,
                  uint32_t *ret_count);

// ---- snapshots --------------------------------------------------------------

// Streams the whole state in canonical form to `write`, piece by piece; equal states give equal
// bytes. Stops and returns what `write` returns when that is not 0.
int sm_snapshot_write(struct sm *sm, int (*write)(void *context, const void *bytes, size_t size),
                      void *context);

// The state of a snapshot's bytes. Returned, caller frees with sm_free. BOSKOS_E_CORRUPT when the
// bytes have not the form or the digest they claim, BOSKOS_E_TOO_NEW for another version of the
// form.
int sm_snapshot_read(struct text bytes, uint64_t hash_seed, struct sm **ret_sm);

// ---- other texts ------------------------------------------------------------

// What a text of the state is.
enum sm_text {
    SM_TEXT_NAME,
    SM_TEXT_TYPE,
    SM_TEXT_STATE,
    SM_TEXT_OWNER,
    SM_TEXT_REQUEST, // the id of a queued request
    SM_TEXT_KEY      // an idempotency key
};

// How other texts come from those of a state. What is given back is borrowed until the next call of
// any of them. Texts of a kind that are different must stay different.
struct sm_rewriting {
    void *context;
    struct text (*text)(void *context, enum sm_text what, struct text t); // `t` is not empty
    // The userdata of a resource: sorted by key, no value empty; there may be none left.
    void (*userdata)(void *context, const struct userdata_pair *pairs, uint32_t count,
                     const struct userdata_pair **ret_pairs, uint32_t *ret_count);
    // The payload of the `config` in force.
    struct text (*config)(void *context, struct text payload);
    // What sm_imported_bytes gives; version and host must stay empty.
    struct text (*import)(void *context, struct text payload);
};

// The same state with other texts; all else is the same, sequence number and time too. With texts
// in the same byte order, the same states equal to the same names, and the states that the rules
// know (dirty, toBeDeleted, tombstone) as they were, it goes on as the original does. `sm` is given
// up, whatever comes of it: its parts go as the other one's come, and two states are never there.
// BOSKOS_E_MALFORMED: two texts became one, a name is too long, or the config or import is none;
// BOSKOS_E_TOO_LARGE: a resource's userdata is. Returned, caller frees with sm_free.
int sm_rewrite(struct sm *sm, const struct sm_rewriting *how, uint64_t hash_seed,
               struct sm **ret_sm);

// Recomputes the digest from scratch; equal to sm_digest unless there is a bug. For tests and
// verify.
struct hash128 sm_digest_from_scratch(struct sm *sm);

#endif
