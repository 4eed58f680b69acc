// statemachine/command.h
//
// A command is the only thing that changes state: what a client, a timer or a config asked, with
// its parameters as they were sent. Here are the commands and their canonical encoding
// (docs/FORMAT.md).
//
// Pure: no I/O, no clock, no locks. All texts of a command are borrowed from whoever made it.
#ifndef STATEMACHINE_COMMAND_H
#define STATEMACHINE_COMMAND_H

#include "base/buffer.h"
#include "base/error.h"

// The version of the rules that apply follows, written in every record. Old records keep their
// meaning for ever: a change of behaviour gets a new number and the old path stays.
#define SM_SEMANTICS 3u

// Limits of form, checked before the append (docs/API.md).
#define SM_NAME_BYTES_MAX 253u
#define SM_TEXT_BYTES_MAX 4096u // a type, state, owner or request id
#define SM_KEY_BYTES_MAX 255u   // an idempotency key
#define SM_BODY_BYTES_MAX (256u * 1024)
#define SM_USERDATA_BYTES_MAX (1024u * 1024) // keys and values of a resource

// The numbers are on disk: never change or reuse one.
enum command_kind {
    COMMAND_ACQUIRE = 1,
    COMMAND_ACQUIREBYSTATE = 2,
    COMMAND_RELEASE = 3,
    COMMAND_UPDATE = 4,
    COMMAND_RESET = 5,
    COMMAND_CONFIG = 6,
    COMMAND_EXPIRE = 7,    // what is due by time, now
    COMMAND_REAP = 8,      // the built-in reaper's round
    COMMAND_CLEAN = 9,     // the built-in cleaner's work on one resource
    COMMAND_CLOCK = 10,    // the wall clock jumped ahead
    COMMAND_STARTED = 11,  // the daemon started on this journal
    COMMAND_REPAIRED = 12, // a damaged log was cut; since semantics 2
    COMMAND_IMPORT = 13    // what another Boskos had; since semantics 3
};

#define COMMAND_KINDS 14u // one above the highest

// "acquire", "started"... NULL for a number that is no kind.
const char *command_kind_name(uint32_t kind);

// The semantics that a record of the kind is written under: not the newest, but the lowest version
// of the rules that knows all such a record can hold. A journal without an import so stays one that
// a boskosd from before there were imports can read.
uint16_t command_semantics(enum command_kind kind);

struct command_acquire {
    struct text type, state, dest, owner;
    struct text request_id; // empty: none
    struct text key;        // that of idempotency, empty: none; since semantics 2
};

struct command_acquirebystate {
    struct text state, dest, owner;
    struct text names; // separated by commas, as sent
};

struct command_release {
    struct text name, dest, owner;
};

// A pair of userdata. In a command a value of TEXT_NONE (data NULL) is JSON's null; "" is the empty
// string.
struct userdata_pair {
    struct text key, value;
};

struct command_update {
    struct text name, owner, state;
    bool has_body;                     // the request had a JSON object
    const struct userdata_pair *pairs; // sorted by key, each key once
    uint32_t pairs_count;
};

struct command_reset {
    struct text type, state, dest;
    struct text expire; // a duration as sent; duration_parse takes it
};

struct sm_need {
    struct text type;
    int64_t count;
};

enum sm_entry_reaper { SM_REAPER_INHERIT = 0, SM_REAPER_OFF = 1, SM_REAPER_EXPIRE = 2 };

struct sm_entry {
    struct text type, state;
    bool is_dynamic;
    const struct text *names; // static
    uint32_t names_count;
    int64_t min_count, max_count; // dynamic
    bool has_lifespan;
    int64_t lifespan_ns;
    const struct sm_need *needs; // sorted by type
    uint32_t needs_count;
    bool has_config;
    struct text config_type, config_content;
    enum sm_entry_reaper reaper;
    int64_t reaper_expire_ns;
};

// The whole config in force from here on. It has passed config_parse: names and counts are valid.
struct command_config {
    const struct sm_entry *entries;
    uint32_t entries_count;
    bool reaper_enabled;
    int64_t reaper_expire_ns, reaper_period_ns;
    const struct text *reaper_states;
    uint32_t reaper_states_count;
    struct text reaper_target;
    bool cleaner_enabled;
};

// Clean the resource `name`, if its userdata `leasedResources` is still `leased` (TEXT_NONE: it has
// none), of which `names` were read.
struct command_clean {
    struct text name;
    struct text leased;
    const struct text *names;
    uint32_t names_count;
};

// The wall clock is ahead of the monotonic one by `ahead_ns`: a jump, or a machine that was paused.
struct command_clock {
    uint64_t ahead_ns;
};

// A daemon started. Effective options that matter to the rules are here.
struct command_started {
    struct text version; // of the program
    struct text host;
    uint64_t downtime_ns;   // from the record before, 0 for the first
    int64_t request_ttl_ns; // --request-ttl
    uint32_t salt;          // 12 bits; only the journal's first one counts, for server-made names
};

// The log was found damaged and was cut before the record `lost_first`.
struct command_repaired {
    struct text version, host;      // of the program that cut it
    uint64_t lost_first, lost_last; // sequence numbers; the last is 0 when it is not known
    uint64_t downtime_ns;           // from the record before
    struct text why;                // what was found damaged
};

// A resource of a dump, as it was in the other Boskos.
struct sm_imported {
    struct text name, type, state, owner; // an empty owner: none
    uint64_t lastupdate_ns;               // 0: not known
    uint64_t expires_ns;                  // 0: never
    const struct userdata_pair *userdata; // sorted by key, no value empty
    uint32_t userdata_count;
};

// What a dump of another Boskos has. The life cycles are dynamic entries as a config has them, with
// min-count and max-count 0 where the type had left the other one's config.
struct command_import {
    struct text version, host;     // of the program that read it
    const struct sm_entry *cycles; // sorted by type
    uint32_t cycles_count;
    const struct sm_imported *resources; // sorted by name
    uint32_t resources_count;
};

struct command {
    enum command_kind kind;
    uint64_t seq;     // given by the sequencer
    uint64_t time_ns; // the logged time; never goes back
    union {
        struct command_acquire acquire;
        struct command_acquirebystate acquirebystate;
        struct command_release release;
        struct command_update update;
        struct command_reset reset;
        struct command_config config;
        struct command_clean clean;
        struct command_clock clock;
        struct command_started started;
        struct command_repaired repaired;
        struct command_import import;
    } as;
};

// Who sent it, as it says itself; TEXT_NONE for the kinds that name no owner.
struct text command_owner(const struct command *c);

// The next of names that commas separate, from *at on, 0 at first; it may be empty. False behind
// the last one.
bool command_next_name(struct text names, uint32_t *at, struct text *ret_name);

// Appends the canonical msgpack of the command's parameters: kind, seq and time are the record's.
// Equal commands have equal bytes.
void command_encode(const struct command *c, struct buffer *out);

// Keeps the memory of decoded lists; one a thread, used again and again.
struct command_decoder;
struct command_decoder *command_decoder_new(void); // returned, caller frees
void command_decoder_free(struct command_decoder *d);

// Gives back the memory of large lists, as of a config; what was decoded last is gone.
void command_decoder_clear(struct command_decoder *d);

// The command of a record. Its texts point into `payload`, its lists into the decoder: both are
// borrowed until the next decode. BOSKOS_E_MALFORMED for anything that command_encode does not
// write, also for encodings that are longer than they need be or keys out of order.
int command_decode(struct command_decoder *d, uint32_t kind, struct text payload,
                   struct command *ret_command);

#endif
