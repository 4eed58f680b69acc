#include "replay/redact.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"
#include "config/config.h"
#include "replay/ranks.h"

#include "base/banned.h"

#define HASH_SEED 1u // any: nobody aims at the tables of a tool
#define SALTS_MAX 2u
#define BLOCK_BYTES ((size_t)1 << 16)
#define NONCE_BYTES 32u // so that what is hashed is never short
#define DIGITS 16u      // of a hash

// Lists of the present command from the front on, texts from the back.
struct block {
    struct block *next;
    size_t size, lists, texts; // bytes
    max_align_t bytes[];
};

struct redact {
    bool replaces;
    uint8_t secret[HASH_SECRET_BYTES], nonce[NONCE_BYTES];
    struct ranks *names, *types;
    // What a name that the server made has in it.
    uint32_t salts[SALTS_MAX], salts_count;
    bool has_command;
    uint64_t first_ns, last_ns, last_seq;
    bool is_marked;

    struct block *blocks; // newest first
    struct buffer input;  // of a hash
    struct buffer scratch, payload;
    struct command_decoder *decoder;
};

static const struct text leased_key = {"leasedResources", sizeof("leasedResources") - 1};

// ---- memory -------------------------------------------------------------------

static void forget(struct redact *r)
{
    while (r->blocks != NULL && (r->blocks->next != NULL || r->blocks->size > BLOCK_BYTES)) {
        struct block *b = r->blocks;
        r->blocks = b->next;
        free(b);
    }
    if (r->blocks != NULL) r->blocks->lists = r->blocks->texts = 0;
}

static struct block *block_with(struct redact *r, size_t size)
{
    struct block *b = r->blocks;
    if (b != NULL && b->size - b->lists - b->texts >= size) return b;
    size_t block_size = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    b = must_malloc(sizeof(*b) + block_size);
    *b = (struct block){.next = r->blocks, .size = block_size};
    r->blocks = b;
    return b;
}

static void *take(struct redact *r, size_t size)
{
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct block *b = block_with(r, size);
    void *memory = (char *)b->bytes + b->lists;
    b->lists += size;
    return memory;
}

static struct text keep(struct redact *r, const char *bytes, size_t size)
{
    struct block *b = block_with(r, size);
    b->texts += size;
    char *memory = (char *)b->bytes + b->size - b->texts;
    if (size > 0) memcpy(memory, bytes, size);
    return text_of(memory, size);
}

static bool random_bytes(uint8_t *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = getrandom(to + done, size - done, 0);
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

int redact_new(bool replaces, struct redact **ret_redact)
{
    struct redact *r = must_calloc(1, sizeof(*r));
    r->replaces = replaces;
    r->names = ranks_new("r");
    r->types = ranks_new("type-");
    r->decoder = command_decoder_new();
    if (!random_bytes(r->secret, sizeof(r->secret)) || !random_bytes(r->nonce, sizeof(r->nonce))) {
        redact_free(r);
        return BOSKOS_E_IO;
    }
    *ret_redact = r;
    return 0;
}

void redact_free(struct redact *r)
{
    if (r == NULL) return;
    ranks_free(r->names);
    ranks_free(r->types);
    forget(r);
    free(r->blocks);
    buffer_release(&r->input);
    buffer_release(&r->scratch);
    buffer_release(&r->payload);
    command_decoder_free(r->decoder);
    free(r);
}

// ---- what stays ---------------------------------------------------------------

// The number that `digits` hexadecimal digits say, capitals not among them.
static bool read_hex(const char *at, uint32_t digits, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < digits; i++) {
        char c = at[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (c < 'a' || c > 'f')) return false;
        number = number << 4 | (uint64_t)(is_digit ? c - '0' : c - 'a' + 10);
    }
    *ret_number = number;
    return true;
}

// Can the server have made the name (docs/FORMAT.md, `Names of resources made by the server`)? It
// has only numbers that are no secret.
static bool is_made(const struct redact *r, struct text t)
{
    const char *at = t.data;
    uint64_t time_high, time_low, third, fourth, fifth;
    if (t.size != 36 || at[8] != '-' || at[13] != '-' || at[18] != '-' || at[23] != '-')
        return false;
    if (!read_hex(at, 8, &time_high) || !read_hex(at + 9, 4, &time_low) ||
        !read_hex(at + 14, 4, &third) || !read_hex(at + 19, 4, &fourth) ||
        !read_hex(at + 24, 12, &fifth)) {
        return false;
    }
    uint64_t time_ms = time_high << 16 | time_low;
    uint64_t low = fourth << 48 | fifth;
    uint64_t seq = (third & 0xfff) << 28 | (low >> 34 & 0xfffffff);
    bool is_form = third >> 12 == 7 && low >> 62 == 2;
    if (!is_form || time_ms > r->last_ns / NS_PER_MS || seq == 0 || seq > r->last_seq) return false;
    for (uint32_t i = 0; i < r->salts_count; i++) {
        if ((low & 0xfff) == r->salts[i]) return true;
    }
    return false;
}

static bool stays(const void *redact, struct text t)
{
    static const struct text known[] = {TEXT("free"),     TEXT("busy"),   TEXT("dirty"),
                                        TEXT("cleaning"), TEXT("leased"), TEXT("toBeDeleted"),
                                        TEXT("tombstone")};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (text_equal(known[i], t)) return true;
    }
    return is_made(redact, t);
}

static bool none_stays(const void *redact, struct text t)
{
    (void)redact;
    (void)t;
    return false;
}

// ---- what there is ------------------------------------------------------------

static void learn_name(struct redact *r, struct text name)
{
    if (!text_is_empty(name)) ranks_add(r->names, name);
}

static void learn_type(struct redact *r, struct text type)
{
    if (!text_is_empty(type)) ranks_add(r->types, type);
}

static void learn_names(struct redact *r, const struct text *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        learn_name(r, names[i]);
}

// Of a value of leasedResources.
static void learn_leased(struct redact *r, struct text value)
{
    struct text *names = NULL;
    size_t count = 0;
    if (config_parse_names(value, &names, &count) != 0) return;
    learn_names(r, names, (uint32_t)count);
    free(names);
}

static void learn_userdata(struct redact *r, const struct userdata_pair *pairs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (text_equal(pairs[i].key, leased_key)) learn_leased(r, pairs[i].value);
    }
}

static void learn_entries(struct redact *r, const struct sm_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct sm_entry *e = &entries[i];
        learn_type(r, e->type);
        learn_names(r, e->names, e->names_count);
        for (uint32_t k = 0; k < e->needs_count; k++)
            learn_type(r, e->needs[k].type);
    }
}

static void learn_import(struct redact *r, const struct command_import *c)
{
    learn_entries(r, c->cycles, c->cycles_count);
    for (uint32_t i = 0; i < c->resources_count; i++) {
        const struct sm_imported *one = &c->resources[i];
        learn_name(r, one->name);
        learn_type(r, one->type);
        learn_userdata(r, one->userdata, one->userdata_count);
    }
}

static bool learn_resource(void *context, const struct sm_resource *resource)
{
    struct redact *r = context;
    learn_name(r, resource->name);
    learn_type(r, resource->type);
    learn_userdata(r, resource->userdata, resource->userdata_count);
    return true;
}

static bool learn_request(void *context, const struct sm_queue_entry *e)
{
    learn_type(context, e->type);
    return true;
}

void redact_learn_state(struct redact *r, struct sm *sm)
{
    const struct sm_filter all = {0};
    const struct sm_life_cycle *cycles;
    uint32_t count;
    struct command c;
    (void)sm_list(sm, &all, learn_resource, r);
    sm_queues(sm, 0, learn_request, r); // dead ones too
    sm_life_cycles(sm, &cycles, &count);
    for (uint32_t i = 0; i < count; i++)
        learn_type(r, cycles[i].type);
    if (sm_has_config(sm) &&
        command_decode(r->decoder, COMMAND_CONFIG, sm_config_bytes(sm), &c) == 0) {
        learn_entries(r, c.as.config.entries, c.as.config.entries_count);
    }
    if (sm_imported_bytes(sm).size > 0 &&
        command_decode(r->decoder, COMMAND_IMPORT, sm_imported_bytes(sm), &c) == 0) {
        learn_import(r, &c.as.import);
    }
    r->salts[r->salts_count++] = sm_salt(sm);
    r->last_seq = sm_seq(sm);
    r->first_ns = r->last_ns = sm_time_ns(sm);
}

static void learn_listed(struct redact *r, struct text names)
{
    struct text name;
    for (uint32_t at = 0; command_next_name(names, &at, &name);)
        learn_name(r, name);
}

static void learn_clean(struct redact *r, const struct command_clean *c)
{
    learn_name(r, c->name);
    learn_names(r, c->names, c->names_count);
    if (c->leased.data != NULL) learn_leased(r, c->leased);
}

void redact_learn_command(struct redact *r, const struct command *c)
{
    if (!r->has_command) r->first_ns = c->time_ns;
    r->has_command = true;
    r->last_ns = c->time_ns;
    r->last_seq = c->seq;
    switch (c->kind) {
    case COMMAND_ACQUIRE: learn_type(r, c->as.acquire.type); return;
    case COMMAND_ACQUIREBYSTATE: learn_listed(r, c->as.acquirebystate.names); return;
    case COMMAND_RELEASE: learn_name(r, c->as.release.name); return;
    case COMMAND_UPDATE:
        learn_name(r, c->as.update.name);
        learn_userdata(r, c->as.update.pairs, c->as.update.pairs_count);
        return;
    case COMMAND_RESET: learn_type(r, c->as.reset.type); return;
    case COMMAND_CONFIG: learn_entries(r, c->as.config.entries, c->as.config.entries_count); return;
    case COMMAND_IMPORT: learn_import(r, &c->as.import); return;
    case COMMAND_CLEAN: learn_clean(r, &c->as.clean); return;
    case COMMAND_STARTED: // the first one's counts, which may be this
        if (r->salts_count < SALTS_MAX) r->salts[r->salts_count++] = c->as.started.salt;
        return;
    case COMMAND_EXPIRE:
    case COMMAND_REAP:
    case COMMAND_CLOCK:
    case COMMAND_REPAIRED: return;
    }
}

void redact_learn_made(struct redact *r, struct text name)
{
    if (is_made(r, name)) learn_name(r, name);
}

// Around all names that the server may make in the commands' time. They begin with it.
static void mark_made(struct redact *r)
{
    char bytes[RANKS_KEPT_BYTES_MAX];
    uint64_t first = r->first_ns / NS_PER_MS, last = r->last_ns / NS_PER_MS;
    int size =
        snprintf(bytes, sizeof(bytes), "%08" PRIx64 "-%04" PRIx64 "-", first >> 16, first & 0xffff);
    ranks_mark(r->names, text_of(bytes, (size_t)size));
    size =
        snprintf(bytes, sizeof(bytes), "%08" PRIx64 "-%04" PRIx64 "-8", last >> 16, last & 0xffff);
    ranks_mark(r->names, text_of(bytes, (size_t)size));
}

bool redact_settle(struct redact *r)
{
    if (r->has_command && !r->is_marked) mark_made(r);
    r->is_marked = true;
    ranks_settle(r->names, stays, r);
    ranks_settle(r->types, none_stays, r);
    return ranks_between_marks(r->names);
}

// ---- other texts ----------------------------------------------------------------

// A hash in hexadecimal digits behind `prefix`, which is hashed too.
static void add_hash(struct redact *r, struct buffer *out, const char *prefix, struct text t)
{
    buffer_clear(&r->input);
    buffer_append(&r->input, r->nonce, sizeof(r->nonce));
    buffer_append(&r->input, prefix, strlen(prefix) + 1);
    buffer_text(&r->input, t);
    struct hash128 h = hash128_secret(r->secret, r->input.data, r->input.size);
    buffer_format(out, "%s%0*" PRIx64, prefix, (int)DIGITS, h.high ^ h.low);
}

static void fill_up(struct buffer *out, uint64_t size)
{
    while (out->size < size)
        buffer_char(out, '.');
}

// Of at least `size` bytes. Empty and no texts stay.
static struct text hashed(struct redact *r, const char *prefix, struct text t, uint64_t size)
{
    if (text_is_empty(t)) return t;
    buffer_clear(&r->scratch);
    add_hash(r, &r->scratch, prefix, t);
    fill_up(&r->scratch, size);
    return keep(r, r->scratch.data, r->scratch.size);
}

// NULL for a text that nothing was learnt of.
static struct text ranked(struct redact *r, struct ranks *ranks, struct text t)
{
    char bytes[RANKS_TEXT_BYTES_MAX];
    struct text other = ranks_find(ranks, t, bytes);
    return other.data == bytes ? keep(r, other.data, other.size) : other;
}

// What the server makes need not have been met before.
static struct text other_name(struct redact *r, struct text t)
{
    if (text_is_empty(t) || stays(r, t)) return t;
    struct text other = ranked(r, r->names, t);
    return other.data != NULL ? other : hashed(r, "name-", t, 0);
}

static struct text other_type(struct redact *r, struct text t)
{
    if (text_is_empty(t)) return t;
    struct text other = ranked(r, r->types, t);
    return other.data != NULL ? other : hashed(r, "other-type-", t, 0);
}

static struct text other_state(struct redact *r, struct text t)
{
    if (text_is_empty(t) || stays(r, t)) return t;
    struct text other = ranked(r, r->names, t);
    return other.data != NULL ? other : hashed(r, "state-", t, 0);
}

static struct text other_text(struct redact *r, enum sm_text what, struct text t)
{
    if (!r->replaces) return t;
    switch (what) {
    case SM_TEXT_NAME: return other_name(r, t);
    case SM_TEXT_TYPE: return other_type(r, t);
    case SM_TEXT_STATE: return other_state(r, t);
    case SM_TEXT_OWNER: return hashed(r, "owner-", t, 0);
    case SM_TEXT_REQUEST: return hashed(r, "request-", t, 0);
    case SM_TEXT_KEY: return hashed(r, "key-", t, 0);
    }
    ASSERT(false && "a kind of text that exists");
    return TEXT_NONE;
}

static const struct text *other_names(struct redact *r, const struct text *names, uint32_t count)
{
    struct text *others = take(r, count * sizeof(*others));
    for (uint32_t i = 0; i < count; i++)
        others[i] = other_name(r, names[i]);
    return others;
}

static struct text other_listed(struct redact *r, struct text names)
{
    struct text name;
    buffer_clear(&r->scratch);
    for (uint32_t at = 0; command_next_name(names, &at, &name);) {
        char bytes[RANKS_TEXT_BYTES_MAX];
        if (at > name.size + 1) buffer_char(&r->scratch, ',');
        buffer_text(&r->scratch, ranks_find(r->names, name, bytes));
    }
    return keep(r, r->scratch.data, r->scratch.size);
}

// ---- userdata -------------------------------------------------------------------

// The list in YAML, of which texts like these need nothing but the quotes. What follows it keeps
// two spellings of a list apart.
static struct text other_leased(struct redact *r, struct text value, uint64_t size)
{
    struct text *names = NULL;
    size_t count = 0;
    if (text_is_empty(value)) return value;
    if (config_parse_names(value, &names, &count) != 0) return hashed(r, "value-", value, size);
    buffer_clear(&r->scratch);
    buffer_char(&r->scratch, '[');
    for (size_t i = 0; i < count; i++) {
        char bytes[RANKS_TEXT_BYTES_MAX];
        struct text name = ranks_find(r->names, names[i], bytes);
        buffer_format(&r->scratch, "%s\"%.*s\"", i == 0 ? "" : ", ", TEXT_ARG(name));
    }
    buffer_string(&r->scratch, "] # ");
    add_hash(r, &r->scratch, "", value);
    fill_up(&r->scratch, size);
    free(names);
    return keep(r, r->scratch.data, r->scratch.size);
}

static struct userdata_pair other_pair(struct redact *r, const struct userdata_pair *pair)
{
    struct userdata_pair other = *pair;
    if (text_equal(pair->key, leased_key)) {
        other.value = other_leased(r, pair->value, pair->value.size);
        return other;
    }
    uint64_t size = (uint64_t)pair->key.size + pair->value.size;
    other.key = hashed(r, "key-", pair->key, pair->key.size);
    other.value =
        hashed(r, "value-", pair->value, size > other.key.size ? size - other.key.size : 0);
    return other;
}

static int by_key(const void *a, const void *b)
{
    const struct userdata_pair *x = a, *y = b;
    return text_compare(x->key, y->key);
}

static void other_pairs(struct redact *r, const struct userdata_pair *pairs, uint32_t count,
                        const struct userdata_pair **ret_pairs, uint32_t *ret_count)
{
    uint32_t kept = 0;
    struct userdata_pair *others = take(r, count * sizeof(*others));
    for (uint32_t i = 0; i < count; i++) {
        if (r->replaces)
            others[kept++] = other_pair(r, &pairs[i]);
        else if (text_equal(pairs[i].key, leased_key))
            others[kept++] = pairs[i];
    }
    if (kept > 1) qsort(others, kept, sizeof(*others), by_key);
    *ret_pairs = others;
    *ret_count = kept;
}

// ---- commands -------------------------------------------------------------------

static struct sm_entry other_entry(struct redact *r, const struct sm_entry *entry)
{
    struct sm_entry e = *entry;
    e.type = other_type(r, e.type);
    e.state = other_state(r, e.state);
    e.names = other_names(r, e.names, e.names_count);
    struct sm_need *needs = take(r, e.needs_count * sizeof(*needs));
    for (uint32_t i = 0; i < e.needs_count; i++)
        needs[i] = (struct sm_need){other_type(r, e.needs[i].type), e.needs[i].count};
    e.needs = needs;
    e.config_type = hashed(r, "text-", e.config_type, 0);
    e.config_content = hashed(r, "text-", e.config_content, 0);
    return e;
}

static const struct sm_entry *other_entries(struct redact *r, const struct sm_entry *entries,
                                            uint32_t count)
{
    struct sm_entry *others = take(r, count * sizeof(*others));
    for (uint32_t i = 0; i < count; i++)
        others[i] = other_entry(r, &entries[i]);
    return others;
}

static void other_config(struct redact *r, struct command_config *c)
{
    c->entries = other_entries(r, c->entries, c->entries_count);
    struct text *states = take(r, c->reaper_states_count * sizeof(*states));
    for (uint32_t i = 0; i < c->reaper_states_count; i++)
        states[i] = other_state(r, c->reaper_states[i]);
    c->reaper_states = states;
    c->reaper_target = other_state(r, c->reaper_target);
}

static void other_acquire(struct redact *r, struct command_acquire *a)
{
    a->type = other_type(r, a->type);
    a->state = other_state(r, a->state);
    a->dest = other_state(r, a->dest);
    a->owner = other_text(r, SM_TEXT_OWNER, a->owner);
    a->request_id = other_text(r, SM_TEXT_REQUEST, a->request_id);
    a->key = other_text(r, SM_TEXT_KEY, a->key);
}

static void other_acquirebystate(struct redact *r, struct command_acquirebystate *a)
{
    a->state = other_state(r, a->state);
    a->dest = other_state(r, a->dest);
    a->owner = other_text(r, SM_TEXT_OWNER, a->owner);
    a->names = other_listed(r, a->names);
}

static void other_update(struct redact *r, struct command_update *u)
{
    u->name = other_name(r, u->name);
    u->owner = other_text(r, SM_TEXT_OWNER, u->owner);
    u->state = other_state(r, u->state);
    other_pairs(r, u->pairs, u->pairs_count, &u->pairs, &u->pairs_count);
}

static void other_clean(struct redact *r, struct command_clean *c)
{
    c->name = other_name(r, c->name);
    c->leased = other_leased(r, c->leased, c->leased.size);
    c->names = other_names(r, c->names, c->names_count);
}

// Hashes can be longer than what they stand for: what goes beyond the limit is left out, for no
// reader would take the command.
static uint32_t count_fitting(const struct userdata_pair *pairs, uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += (uint64_t)pairs[i].key.size + pairs[i].value.size;
        if (bytes > SM_USERDATA_BYTES_MAX) return i;
    }
    return count;
}

// Without userdata only that is another.
static void other_imported(struct redact *r, struct command_import *c)
{
    struct sm_imported *others = take(r, c->resources_count * sizeof(*others));
    for (uint32_t i = 0; i < c->resources_count; i++) {
        struct sm_imported *o = &others[i];
        *o = c->resources[i];
        other_pairs(r, o->userdata, o->userdata_count, &o->userdata, &o->userdata_count);
        o->userdata_count = count_fitting(o->userdata, o->userdata_count);
        if (!r->replaces) continue;
        o->name = other_name(r, o->name);
        o->type = other_type(r, o->type);
        o->state = other_state(r, o->state);
        o->owner = other_text(r, SM_TEXT_OWNER, o->owner);
    }
    c->resources = others;
}

static void other_import(struct redact *r, struct command_import *c)
{
    c->host = hashed(r, "host-", c->host, 0);
    c->cycles = other_entries(r, c->cycles, c->cycles_count);
    other_imported(r, c);
}

static void replace(struct redact *r, struct command *c)
{
    switch (c->kind) {
    case COMMAND_ACQUIRE: other_acquire(r, &c->as.acquire); return;
    case COMMAND_ACQUIREBYSTATE: other_acquirebystate(r, &c->as.acquirebystate); return;
    case COMMAND_RELEASE:
        c->as.release.name = other_name(r, c->as.release.name);
        c->as.release.dest = other_state(r, c->as.release.dest);
        c->as.release.owner = other_text(r, SM_TEXT_OWNER, c->as.release.owner);
        return;
    case COMMAND_UPDATE: other_update(r, &c->as.update); return;
    case COMMAND_RESET:
        c->as.reset.type = other_type(r, c->as.reset.type);
        c->as.reset.state = other_state(r, c->as.reset.state);
        c->as.reset.dest = other_state(r, c->as.reset.dest);
        return;
    case COMMAND_CONFIG: other_config(r, &c->as.config); return;
    case COMMAND_CLEAN: other_clean(r, &c->as.clean); return;
    case COMMAND_STARTED: c->as.started.host = hashed(r, "host-", c->as.started.host, 0); return;
    case COMMAND_REPAIRED:
        c->as.repaired.host = hashed(r, "host-", c->as.repaired.host, 0);
        c->as.repaired.why = hashed(r, "text-", c->as.repaired.why, 0);
        return;
    case COMMAND_IMPORT: other_import(r, &c->as.import); return;
    case COMMAND_EXPIRE:
    case COMMAND_REAP:
    case COMMAND_CLOCK: return;
    }
}

static void other_command(struct redact *r, struct command *c)
{
    if (r->replaces) {
        replace(r, c);
    } else if (c->kind == COMMAND_UPDATE) {
        struct command_update *u = &c->as.update;
        other_pairs(r, u->pairs, u->pairs_count, &u->pairs, &u->pairs_count);
    } else if (c->kind == COMMAND_IMPORT) {
        other_imported(r, &c->as.import);
    }
}

bool redact_changes(const struct redact *r, uint32_t kind)
{
    return r->replaces || kind == COMMAND_UPDATE || kind == COMMAND_IMPORT;
}

int redact_payload(struct redact *r, uint32_t kind, struct text payload, struct buffer *out)
{
    struct command c;
    forget(r);
    int err = command_decode(r->decoder, kind, payload, &c);
    if (err != 0) return err;
    c.kind = (enum command_kind)kind;
    other_command(r, &c);
    command_encode(&c, out);
    // A config may have a million names.
    forget(r);
    command_decoder_clear(r->decoder);
    return 0;
}

struct text redact_text(struct redact *r, enum sm_text what, struct text t)
{
    forget(r);
    return other_text(r, what, t);
}

// ---- states ---------------------------------------------------------------------

static struct text rewrite_text(void *redact, enum sm_text what, struct text t)
{
    return redact_text(redact, what, t);
}

static void rewrite_pairs(void *redact, const struct userdata_pair *pairs, uint32_t count,
                          const struct userdata_pair **ret_pairs, uint32_t *ret_count)
{
    forget(redact);
    other_pairs(redact, pairs, count, ret_pairs, ret_count);
}

static struct text rewrite_payload(struct redact *r, enum command_kind kind, struct text payload)
{
    if (!r->replaces) return payload; // there is no userdata in it
    buffer_release(&r->payload);
    int err = redact_payload(r, kind, payload, &r->payload);
    return err == 0 ? buffer_as_text(&r->payload) : TEXT_NONE;
}

static struct text rewrite_config(void *redact, struct text payload)
{
    return rewrite_payload(redact, COMMAND_CONFIG, payload);
}

static struct text rewrite_import(void *redact, struct text payload)
{
    return rewrite_payload(redact, COMMAND_IMPORT, payload);
}

int redact_state(struct redact *r, struct sm *sm, struct sm **ret_sm)
{
    const struct sm_rewriting how = {r, rewrite_text, rewrite_pairs, rewrite_config,
                                     rewrite_import};
    int err = sm_rewrite(sm, &how, HASH_SEED, ret_sm);
    buffer_release(&r->payload);
    return err;
}
