// statemachine/state.h
//
// What the state is made of; private to this folder.
//
// Every resource is in the table by name and in the order by name, and in one of the two orders of
// its pool (its type and state): unowned or owned, by (lastupdate, name). resource_place and
// resource_unplace keep all of them, the counts and the digest in step; nobody else touches them.
#ifndef STATEMACHINE_STATE_H
#define STATEMACHINE_STATE_H

#include "statemachine/order.h"
#include "statemachine/state_machine.h"
#include "statemachine/table.h"

// An interned text: a state, an owner, a type. Freed when nothing uses it.
struct symbol {
    struct table_item item;
    uint32_t refs;
    uint32_t size;
    char data[];
};

// The userdata of a resource; immutable. One block of memory: the pairs, then their bytes.
struct userdata {
    struct hash128 digest;
    uint32_t count;
    uint32_t bytes;               // keys and values
    struct userdata_pair pairs[]; // sorted by key
};

struct resource {
    struct table_item item;
    uint8_t name_size;
    bool is_static; // its name is in the config
    bool is_new;    // made by the present command
    bool is_seen;   // scratch of a config being applied
    struct pool *pool;
    struct symbol *owner;      // NULL: unowned
    struct userdata *userdata; // NULL: none
    uint64_t lastupdate_ns;
    uint64_t expires_ns; // 0: never
    char name[];
};

// The idempotency key of a lease, kept apart from the resource: few leases have one. The type and
// the dest of its acquire are those of the resource, as long as the lease lasts.
struct lease_key {
    struct table_item item; // in sm's keys
    // In sm's key_holders; aligned as a table wants the addresses of its items.
    _Alignas(8) struct table_item holder;
    struct resource *resource;
    struct symbol *state; // that the acquire asked for
    uint8_t size;
    char key[];
};

// The resources of a type in a state.
struct pool {
    struct table_item item;
    struct type *type;
    struct symbol *state;
    struct order unowned, owned; // by (lastupdate, name)
    struct pool *before, *after; // in the type's list
};

// How many resources of a type an owner has.
struct holder {
    struct table_item item;
    struct type *type;
    struct symbol *owner;
    uint64_t count;
    struct holder *before, *after; // in the type's list
};

struct life_cycle {
    struct symbol *state; // of new resources
    int64_t min_count, max_count;
    bool has_lifespan, is_fading;
    int64_t lifespan_ns;
};

struct type {
    struct table_item item;
    struct symbol *name;
    struct pool *pools;
    struct holder *holders;
    uint64_t count, unowned; // resources
    bool in_config;
    // Resources that are not static, as upkeep looks at them. The orders hold the unowned ones, by
    // name:
    uint64_t dynamic;         // all
    struct order live;        // in no state of the two below
    struct order doomed;      // toBeDeleted
    struct order tombstones;  // tombstone
    struct life_cycle *cycle; // NULL: none
    enum sm_entry_reaper reaper;
    int64_t reaper_expire_ns;
    bool is_touched;              // it is in sm's list for upkeep
    const struct sm_entry *entry; // scratch of a config being applied
};

// A queued request.
struct request {
    struct table_item item;
    struct queue *queue;
    uint64_t ticket; // the seq of the command that brought it
    uint64_t first_poll_ns;
    uint64_t deadline_ns;
    struct request *queue_before, *queue_after; // by last poll, in its queue
    struct request *all_before, *all_after;     // and in all
    uint32_t id_size;
    char id[];
};

struct queue {
    struct table_item item;
    struct symbol *type, *state;
    struct order entries;         // by ticket
    struct request *first, *last; // by last poll
};

// A static name that is owned under another type: it changes when it is released.
struct retype {
    struct table_item item;
    struct symbol *name, *type, *state;
    struct retype *next_due;
    bool is_due; // the name is unowned now
};

// A time slept through: it does not count as age of leases from before its end.
struct gap {
    uint64_t end_ns, length_ns;
};

#define SM_GAPS_MAX 64u

struct reaper {
    bool enabled;
    int64_t expire_ns, period_ns;
    struct symbol **states;
    uint32_t states_count;
    struct symbol *target;
};

// For sm_changes: notes of what the present command did to resources (trace.c).
struct trace {
    bool is_wanted;
    bool is_settled; // the notes are those of changes only, by name
    char **blocks;   // of bytes, in which notes lie one after the other
    uint32_t blocks_count, blocks_capacity;
    uint32_t end;    // offset behind the last note, counted through all blocks
    uint32_t *notes; // the offset of each, counted the same
    uint32_t count, capacity;
    const struct resource *last; // that a note is of
};

struct sm {
    uint64_t hash_seed;
    uint64_t seq, time_ns;
    struct hash128 digest;
    uint64_t effect; // of the present command
    bool has_started;
    uint32_t salt;
    int64_t request_ttl_ns;

    struct table symbols;
    struct symbol *dirty, *to_be_deleted, *tombstone;

    struct table resources;
    struct order names;     // all resources by name
    struct order expiring;  // those whose expiry upkeep waits for, by (expires, name)
    struct resource **made; // by the present command
    uint32_t made_count, made_capacity;
    struct table pools, holders;
    struct table keys;        // of leases, by (owner, key)
    struct table key_holders; // the same by resource
    struct type **types;      // sorted by name
    uint32_t types_count, types_capacity;
    struct type **touched; // those that the present command changed, for upkeep
    uint32_t touched_count, touched_capacity;

    struct table queues, requests;
    struct request *first_request, *last_request; // by last poll

    struct buffer config; // the config in force, as encoded; empty: none
    struct hash128 config_hash;
    struct buffer imported; // the life cycles of an import that waits for a config; empty: none
    struct table retypes;
    struct retype *first_due;
    struct reaper reaper;
    bool cleaner_enabled;
    uint64_t reaped_ns; // the last reap
    uint64_t grace_ns;  // the last started, clock or repaired: no reap within a period after it
    struct gap gaps[SM_GAPS_MAX];
    uint32_t gaps_count;
    struct hash128
        core_hash; // of the element that holds the fields without an element of their own

    struct trace trace;

    // Scratch, borrowed by results until the next call.
    void **graveyard; // memory to be freed then
    uint32_t graveyard_count, graveyard_capacity;
    struct sm_resource *views;
    uint32_t views_capacity;
    struct resource **picked;
    uint32_t picked_count, picked_capacity;
    struct buffer answer; // of a query; the previous owners of a reset
    struct buffer scratch;
};

static inline struct text symbol_text(const struct symbol *s)
{
    return s == NULL ? TEXT_NONE : text_of(s->data, s->size);
}

static inline struct text resource_name(const struct resource *r)
{
    return text_of(r->name, r->name_size);
}

static inline struct text lease_key_text(const struct lease_key *k)
{
    return text_of(k->key, k->size);
}

static inline struct type *resource_type(const struct resource *r)
{
    return r->pool->type;
}

static inline struct symbol *resource_state(const struct resource *r)
{
    return r->pool->state;
}

// Adds a signed duration to an instant; stays within 1..UINT64_MAX-1, so that 0 and SM_NEVER stay
// free.
uint64_t instant_add(uint64_t time_ns, int64_t duration_ns);

// ---- symbols.c --------------------------------------------------------------

uint32_t sm_hash(const struct sm *sm, struct text t);
struct symbol *symbol_find(const struct sm *sm, struct text t); // NULL when there is none
struct symbol *symbol_take(struct sm *sm, struct text t);       // with one more reference
struct symbol *symbol_share(struct symbol *s);                  // one more reference
void symbol_drop(struct sm *sm, struct symbol *s);              // NULL is nothing

// Memory that a result or a note of the trace may still point to is freed by the next sm_apply.
void bury(struct sm *sm, void *memory);
void free_buried(struct sm *sm);

// ---- types.c ----------------------------------------------------------------

struct type *type_find(const struct sm *sm, struct text name); // NULL when there is none
struct type *type_take(struct sm *sm, struct text name);       // made when there is none
void type_drop_if_empty(struct sm *sm, struct type *t);
struct pool *pool_find(const struct sm *sm, const struct type *t, const struct symbol *state);
struct pool *pool_take(struct sm *sm, struct type *t, struct symbol *state); // shares `state`
void pool_drop_if_empty(struct sm *sm, struct pool *p);
struct order *type_order_of(struct sm *sm, struct resource *r); // where upkeep finds it, or NULL
void holder_add(struct sm *sm, struct type *t, struct symbol *owner);
void holder_remove(struct sm *sm, struct type *t, struct symbol *owner);

// Sets or, with NULL, removes the life cycle; takes over `cycle`.
void type_set_cycle(struct sm *sm, struct type *t, struct life_cycle *cycle);
void type_touch(struct sm *sm, struct type *t); // upkeep must look at it
void types_release(struct sm *sm);

// ---- resources.c ------------------------------------------------------------

struct resource *resource_find(const struct sm *sm, struct text name);

// The same in a table that has only some of them.
struct resource *resource_find_in(const struct sm *sm, const struct table *some, struct text name);

// Adds an unowned resource, lastupdate = the present stamp. The name must be new.
struct resource *resource_add(struct sm *sm, struct type *t, struct symbol *state, struct text name,
                              bool is_static);
// The same without a place yet: the caller sets the fields and calls resource_place. Of
// resource_make it is not in the table either: the caller adds it.
struct resource *resource_make(struct sm *sm, struct text name);
struct resource *resource_new(struct sm *sm, struct text name);
void resource_delete(struct sm *sm, struct resource *r);
// Names in byte order have keys in order: the first eight bytes as a number.
uint64_t name_key(struct text name);

// Changes owner (NULL: none) and state at the present stamp; `state` and `owner` are shared.
void resource_move(struct sm *sm, struct resource *r, struct symbol *owner, struct symbol *state);

// Takes a resource out of the indexes and the digest, to change any field, and puts it back.
// Between the two calls nothing else may look at it.
void resource_unplace(struct sm *sm, struct resource *r);
void resource_place(struct sm *sm, struct resource *r, struct type *t, struct symbol *state);

void resource_view(const struct resource *r, struct sm_resource *ret_view);
void picked_clear(struct sm *sm);
void picked_add(struct sm *sm, struct resource *r);
void picked_sort_by_name(struct sm *sm);
void picked_sort_by_age(struct sm *sm); // by (lastupdate, name)
void resources_release(struct sm *sm);

// ---- trace.c ----------------------------------------------------------------

// Note, when that is wanted, that a resource is about to be changed, or was put in its place.
void trace_before(struct sm *sm, const struct resource *r);
void trace_placed(struct sm *sm, const struct resource *r);
void trace_clear(struct sm *sm); // another command comes
void trace_release(struct sm *sm);

// ---- lease_keys.c -----------------------------------------------------------

// The key that a lease of the owner has, or NULL.
struct lease_key *lease_key_find(const struct sm *sm, struct text owner, struct text key);
struct lease_key *lease_key_of(const struct sm *sm, const struct resource *r); // NULL: none
// Gives a lease a key, which no other of the owner has.
void lease_key_add(struct sm *sm, struct resource *r, struct text key, struct text state);
// Takes the owner, and with it the key, from a resource that is out of the indexes.
void lease_end(struct sm *sm, struct resource *r);
void lease_keys_release(struct sm *sm);

// ---- userdata.c -------------------------------------------------------------

// The merge of `old` (may be NULL) with `pairs`: a non-empty value sets the key, an empty or absent
// one deletes it. *ret_bytes is its size; the result is NULL when it is empty.
struct userdata *userdata_merge(const struct userdata *old, const struct userdata_pair *pairs,
                                uint32_t count, uint64_t *ret_bytes);
struct text userdata_value(const struct userdata *u, struct text key); // TEXT_NONE: no such key

// ---- queues.c ---------------------------------------------------------------

struct queue *queue_find(const struct sm *sm, struct text type, struct text state);
struct request *request_find(const struct sm *sm, const struct queue *q, struct text id);
struct request *request_add(struct sm *sm, struct text type, struct text state, struct text id,
                            uint64_t ticket, uint64_t first_poll_ns, uint64_t deadline_ns);
void request_poll(struct sm *sm, struct request *r, uint64_t deadline_ns);
// Removes a request, and its queue with the last one.
void request_remove(struct sm *sm, struct request *r);
void queue_sweep(struct sm *sm, struct queue *q, uint64_t now_ns); // q may be gone afterwards
void queues_sweep(struct sm *sm, uint64_t now_ns);
void queues_renew(struct sm *sm, uint64_t alive_at_ns, uint64_t deadline_ns);
uint32_t request_rank(const struct request *r); // entries ahead, live or not
struct queue **queues_sorted(struct sm *sm);    // by (type, state); in sm->answer
void queues_release(struct sm *sm);

// ---- upkeep.c ---------------------------------------------------------------

// What follows necessarily from a command (docs/ARCHITECTURE.md, `Upkeep`).
void upkeep(struct sm *sm);
struct resource *make_dynamic(struct sm *sm, struct type *t);

// ---- config_apply.c, reaper.c -----------------------------------------------

void apply_config(struct sm *sm, const struct command *c);
// Takes what a snapshot says is the config: settings, and the names that are owned under another
// type, found anew. BOSKOS_E_CORRUPT when it is none. After the resources were read.
int config_restore(struct sm *sm, struct text bytes);
// Gives the static names that became unowned under another type their new one.
void config_retype(struct sm *sm);
void config_release(struct sm *sm);
void apply_reap(struct sm *sm);
void apply_clean(struct sm *sm, const struct command_clean *c);
// A time slept through ends now: it does not count as age of what is leased, and the reaper waits.
void slept(struct sm *sm, uint64_t length_ns);
// Unowned resources whose state is `name` go to dirty.
void free_leased_by(struct sm *sm, struct text name);

// ---- import.c ---------------------------------------------------------------

void apply_import(struct sm *sm, const struct command_import *c);
// A config is in force from now on: nothing waits for one any more.
void import_end(struct sm *sm);
// Takes what a snapshot says that an import brought. BOSKOS_E_CORRUPT when it is no such thing.
int import_restore(struct sm *sm, struct text bytes);

// Is there an import that no config has followed?
static inline bool import_waits(const struct sm *sm)
{
    return sm->imported.size > 0;
}

// ---- digest.c ---------------------------------------------------------------

void digest_resource(struct sm *sm, const struct resource *r, bool add);
void digest_request(struct sm *sm, const struct request *r, bool add);
void digest_key(struct sm *sm, const struct lease_key *k, bool add);
void digest_cycle(struct sm *sm, const struct type *t, bool add);
void digest_import(struct sm *sm, bool add); // what waits for a config
void digest_core(struct sm *sm);             // after a change of what has no element of its own

#endif
