#include "statemachine/command.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "statemachine/canonical.h"

static const char *const kind_names[COMMAND_KINDS] = {
    [COMMAND_ACQUIRE] = "acquire", [COMMAND_ACQUIREBYSTATE] = "acquirebystate",
    [COMMAND_RELEASE] = "release", [COMMAND_UPDATE] = "update",
    [COMMAND_RESET] = "reset",     [COMMAND_CONFIG] = "config",
    [COMMAND_EXPIRE] = "expire",   [COMMAND_REAP] = "reap",
    [COMMAND_CLEAN] = "clean",     [COMMAND_CLOCK] = "clock",
    [COMMAND_STARTED] = "started", [COMMAND_REPAIRED] = "repaired",
    [COMMAND_IMPORT] = "import",
};

const char *command_kind_name(uint32_t kind)
{
    return kind < COMMAND_KINDS ? kind_names[kind] : NULL;
}

uint16_t command_semantics(enum command_kind kind)
{
    return kind == COMMAND_IMPORT ? 3 : 2;
}

struct text command_owner(const struct command *c)
{
    switch (c->kind) {
    case COMMAND_ACQUIRE: return c->as.acquire.owner;
    case COMMAND_ACQUIREBYSTATE: return c->as.acquirebystate.owner;
    case COMMAND_RELEASE: return c->as.release.owner;
    case COMMAND_UPDATE: return c->as.update.owner;
    case COMMAND_RESET:
    case COMMAND_CONFIG:
    case COMMAND_EXPIRE:
    case COMMAND_REAP:
    case COMMAND_CLEAN:
    case COMMAND_CLOCK:
    case COMMAND_STARTED:
    case COMMAND_REPAIRED:
    case COMMAND_IMPORT: return TEXT_NONE;
    }
    ASSERT(false && "a kind that exists");
    return TEXT_NONE;
}

bool command_next_name(struct text names, uint32_t *at, struct text *ret_name)
{
    if (*at > names.size) return false;
    uint32_t end = *at;
    while (end < names.size && names.data[end] != ',')
        end++;
    *ret_name = text_of(names.data + *at, end - *at);
    *at = end + 1;
    return true;
}

// ---- encoding ---------------------------------------------------------------

static void encode_texts(struct buffer *out, const struct text *texts, uint32_t count)
{
    canonical_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        canonical_text(out, texts[i]);
    }
}

#define TEXTS(...)        \
    (const struct text[]) \
    {                     \
        __VA_ARGS__       \
    }

// Without a key it is what it was before there were keys.
static void encode_acquire(struct buffer *out, const struct command_acquire *a)
{
    encode_texts(out, TEXTS(a->type, a->state, a->dest, a->owner, a->request_id, a->key),
                 text_is_empty(a->key) ? 5 : 6);
}

static void encode_update(struct buffer *out, const struct command_update *c)
{
    canonical_array(out, 4);
    canonical_text(out, c->name);
    canonical_text(out, c->owner);
    canonical_text(out, c->state);
    if (!c->has_body) {
        canonical_nil(out);
        return;
    }
    canonical_map(out, c->pairs_count);
    for (uint32_t i = 0; i < c->pairs_count; i++) {
        canonical_text(out, c->pairs[i].key);
        canonical_text_or_nil(out, c->pairs[i].value);
    }
}

static void encode_entry_reaper(struct buffer *out, const struct sm_entry *e)
{
    switch (e->reaper) {
    case SM_REAPER_INHERIT: canonical_nil(out); return;
    case SM_REAPER_OFF: canonical_bool(out, false); return;
    case SM_REAPER_EXPIRE: canonical_i64(out, e->reaper_expire_ns); return;
    }
}

static void encode_entry(struct buffer *out, const struct sm_entry *e)
{
    canonical_array(out, e->is_dynamic ? 9 : 5);
    canonical_bool(out, e->is_dynamic);
    canonical_text(out, e->type);
    canonical_text(out, e->state);
    encode_entry_reaper(out, e);
    if (!e->is_dynamic) {
        encode_texts(out, e->names, e->names_count);
        return;
    }
    canonical_i64(out, e->min_count);
    canonical_i64(out, e->max_count);
    if (e->has_lifespan) {
        canonical_i64(out, e->lifespan_ns);
    } else {
        canonical_nil(out);
    }
    canonical_map(out, e->needs_count);
    for (uint32_t i = 0; i < e->needs_count; i++) {
        canonical_text(out, e->needs[i].type);
        canonical_i64(out, e->needs[i].count);
    }
    if (e->has_config) {
        canonical_array(out, 2);
        canonical_text(out, e->config_type);
        canonical_text(out, e->config_content);
    } else {
        canonical_nil(out);
    }
}

static void encode_config(struct buffer *out, const struct command_config *c)
{
    canonical_array(out, 3);
    canonical_array(out, c->entries_count);
    for (uint32_t i = 0; i < c->entries_count; i++) {
        encode_entry(out, &c->entries[i]);
    }
    if (c->reaper_enabled) {
        canonical_array(out, 4);
        canonical_i64(out, c->reaper_expire_ns);
        canonical_i64(out, c->reaper_period_ns);
        encode_texts(out, c->reaper_states, c->reaper_states_count);
        canonical_text(out, c->reaper_target);
    } else {
        canonical_nil(out);
    }
    canonical_bool(out, c->cleaner_enabled);
}

static void encode_started(struct buffer *out, const struct command_started *c)
{
    canonical_array(out, 5);
    canonical_text(out, c->version);
    canonical_text(out, c->host);
    canonical_u64(out, c->downtime_ns);
    canonical_i64(out, c->request_ttl_ns);
    canonical_u64(out, c->salt);
}

static void encode_repaired(struct buffer *out, const struct command_repaired *c)
{
    canonical_array(out, 6);
    canonical_text(out, c->version);
    canonical_text(out, c->host);
    canonical_u64(out, c->lost_first);
    canonical_u64(out, c->lost_last);
    canonical_u64(out, c->downtime_ns);
    canonical_text(out, c->why);
}

static void encode_clean(struct buffer *out, const struct command_clean *c)
{
    canonical_array(out, 3);
    canonical_text(out, c->name);
    canonical_text_or_nil(out, c->leased);
    encode_texts(out, c->names, c->names_count);
}

static void encode_imported(struct buffer *out, const struct sm_imported *r)
{
    canonical_array(out, 7);
    canonical_text(out, r->name);
    canonical_text(out, r->type);
    canonical_text(out, r->state);
    canonical_text(out, r->owner);
    canonical_u64(out, r->lastupdate_ns);
    canonical_u64(out, r->expires_ns);
    canonical_map(out, r->userdata_count);
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        canonical_text(out, r->userdata[i].key);
        canonical_text(out, r->userdata[i].value);
    }
}

static void encode_import(struct buffer *out, const struct command_import *c)
{
    canonical_array(out, 4);
    canonical_text(out, c->version);
    canonical_text(out, c->host);
    canonical_array(out, c->cycles_count);
    for (uint32_t i = 0; i < c->cycles_count; i++) {
        encode_entry(out, &c->cycles[i]);
    }
    canonical_array(out, c->resources_count);
    for (uint32_t i = 0; i < c->resources_count; i++) {
        encode_imported(out, &c->resources[i]);
    }
}

void command_encode(const struct command *c, struct buffer *out)
{
    switch (c->kind) {
    case COMMAND_ACQUIRE: encode_acquire(out, &c->as.acquire); return;
    case COMMAND_ACQUIREBYSTATE: {
        const struct command_acquirebystate *a = &c->as.acquirebystate;
        encode_texts(out, TEXTS(a->state, a->dest, a->owner, a->names), 4);
        return;
    }
    case COMMAND_RELEASE: {
        const struct command_release *r = &c->as.release;
        encode_texts(out, TEXTS(r->name, r->dest, r->owner), 3);
        return;
    }
    case COMMAND_RESET: {
        const struct command_reset *r = &c->as.reset;
        encode_texts(out, TEXTS(r->type, r->state, r->dest, r->expire), 4);
        return;
    }
    case COMMAND_UPDATE: encode_update(out, &c->as.update); return;
    case COMMAND_CONFIG: encode_config(out, &c->as.config); return;
    case COMMAND_EXPIRE:
    case COMMAND_REAP: canonical_array(out, 0); return;
    case COMMAND_CLEAN: encode_clean(out, &c->as.clean); return;
    case COMMAND_CLOCK:
        canonical_array(out, 1);
        canonical_u64(out, c->as.clock.ahead_ns);
        return;
    case COMMAND_STARTED: encode_started(out, &c->as.started); return;
    case COMMAND_REPAIRED: encode_repaired(out, &c->as.repaired); return;
    case COMMAND_IMPORT: encode_import(out, &c->as.import); return;
    }
    ASSERT(false && "a kind of command that exists");
}

// ---- decoding ---------------------------------------------------------------

// Lists of a decoded command live in chained blocks that are used again by the next decode.
struct block {
    struct block *next;
    size_t size, used;
    max_align_t bytes[];
};

#define BLOCK_BYTES ((size_t)4096)
#define KEEP_BYTES ((size_t)1 << 20) // larger blocks, as of a config, are given back

struct command_decoder {
    struct block *blocks; // newest first
};

struct command_decoder *command_decoder_new(void)
{
    return must_calloc(1, sizeof(struct command_decoder));
}

static void free_blocks(struct block *b)
{
    while (b != NULL) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
}

void command_decoder_free(struct command_decoder *d)
{
    if (d == NULL) return;
    free_blocks(d->blocks);
    free(d);
}

void command_decoder_clear(struct command_decoder *d)
{
    if (d->blocks == NULL) return;
    free_blocks(d->blocks->next);
    d->blocks->next = NULL;
    d->blocks->used = 0;
    if (d->blocks->size > KEEP_BYTES) {
        free(d->blocks);
        d->blocks = NULL;
    }
}

// Memory for `count` values; NULL for none.
static void *decoder_take(struct command_decoder *d, size_t count, size_t each)
{
    if (count == 0) return NULL;
    size_t size =
        (count * each + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (d->blocks == NULL || d->blocks->size - d->blocks->used < size) {
        size_t block_size = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        struct block *b = must_malloc(sizeof(*b) + block_size);
        *b = (struct block){.next = d->blocks, .size = block_size, .used = 0};
        d->blocks = b;
    }
    void *memory = (char *)d->blocks->bytes + d->blocks->used;
    d->blocks->used += size;
    return memory;
}

static uint32_t decode_texts(struct canonical_reader *r, struct command_decoder *d,
                             const struct text **ret_texts)
{
    uint32_t count = canonical_read_array(r);
    struct text *texts = decoder_take(d, count, sizeof(*texts));
    for (uint32_t i = 0; i < count; i++) {
        texts[i] = canonical_read_text(r);
    }
    *ret_texts = texts;
    return count;
}

#define PLACES(...)        \
    (struct text *const[]) \
    {                      \
        __VA_ARGS__        \
    }

static void decode_places(struct canonical_reader *r, struct text *const places[], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        *places[i] = canonical_read_text(r);
    }
}

// Reads an array of exactly `count` texts into the given places.
static void decode_fixed(struct canonical_reader *r, struct text *const places[], uint32_t count)
{
    canonical_expect_array(r, count);
    decode_places(r, places, count);
}

static void decode_acquire(struct canonical_reader *r, struct command_acquire *c)
{
    uint32_t count = canonical_read_array(r);
    if (count != 5 && count != 6) r->failed = true;
    decode_places(r, PLACES(&c->type, &c->state, &c->dest, &c->owner, &c->request_id), 5);
    if (count != 6) return;
    c->key = canonical_read_text(r);
    if (text_is_empty(c->key) || c->key.size > SM_KEY_BYTES_MAX) r->failed = true;
}

// Fails the reader unless keys ascend: a map has one canonical order.
static void check_order(struct canonical_reader *r, bool first, struct text before, struct text key)
{
    if (!first && text_compare(before, key) >= 0) r->failed = true;
}

static void decode_update(struct canonical_reader *r, struct command_decoder *d,
                          struct command_update *c)
{
    canonical_expect_array(r, 4);
    c->name = canonical_read_text(r);
    c->owner = canonical_read_text(r);
    c->state = canonical_read_text(r);
    c->has_body = !canonical_read_nil(r);
    if (!c->has_body) return;

    c->pairs_count = canonical_read_map(r);
    struct userdata_pair *pairs = decoder_take(d, c->pairs_count, sizeof(*pairs));
    for (uint32_t i = 0; i < c->pairs_count; i++) {
        pairs[i].key = canonical_read_text(r);
        pairs[i].value = canonical_read_text_or_nil(r);
        check_order(r, i == 0, i == 0 ? TEXT_NONE : pairs[i - 1].key, pairs[i].key);
    }
    c->pairs = pairs;
}

static void decode_entry_reaper(struct canonical_reader *r, struct sm_entry *e)
{
    if (canonical_read_nil(r)) {
        e->reaper = SM_REAPER_INHERIT;
    } else if (canonical_next_is_bool(r)) {
        e->reaper = SM_REAPER_OFF;
        if (canonical_read_bool(r)) r->failed = true;
    } else {
        e->reaper = SM_REAPER_EXPIRE;
        e->reaper_expire_ns = canonical_read_i64(r);
    }
}

static void decode_life_cycle(struct canonical_reader *r, struct command_decoder *d,
                              struct sm_entry *e)
{
    e->min_count = canonical_read_i64(r);
    e->max_count = canonical_read_i64(r);
    e->has_lifespan = !canonical_read_nil(r);
    if (e->has_lifespan) e->lifespan_ns = canonical_read_i64(r);

    e->needs_count = canonical_read_map(r);
    struct sm_need *needs = decoder_take(d, e->needs_count, sizeof(*needs));
    for (uint32_t i = 0; i < e->needs_count; i++) {
        needs[i].type = canonical_read_text(r);
        needs[i].count = canonical_read_i64(r);
        check_order(r, i == 0, i == 0 ? TEXT_NONE : needs[i - 1].type, needs[i].type);
    }
    e->needs = needs;

    e->has_config = !canonical_read_nil(r);
    if (e->has_config) {
        canonical_expect_array(r, 2);
        e->config_type = canonical_read_text(r);
        e->config_content = canonical_read_text(r);
    }
}

static void decode_entry(struct canonical_reader *r, struct command_decoder *d, struct sm_entry *e)
{
    *e = (struct sm_entry){0};
    uint32_t count = canonical_read_array(r);
    e->is_dynamic = canonical_read_bool(r);
    if (count != (e->is_dynamic ? 9u : 5u)) r->failed = true;
    e->type = canonical_read_text(r);
    e->state = canonical_read_text(r);
    decode_entry_reaper(r, e);
    if (e->is_dynamic) {
        decode_life_cycle(r, d, e);
    } else {
        e->names_count = decode_texts(r, d, &e->names);
    }
}

static void decode_config(struct canonical_reader *r, struct command_decoder *d,
                          struct command_config *c)
{
    canonical_expect_array(r, 3);
    c->entries_count = canonical_read_array(r);
    struct sm_entry *entries = decoder_take(d, c->entries_count, sizeof(*entries));
    for (uint32_t i = 0; i < c->entries_count && !r->failed; i++) {
        decode_entry(r, d, &entries[i]);
    }
    c->entries = entries;
    c->reaper_enabled = !canonical_read_nil(r);
    if (c->reaper_enabled) {
        canonical_expect_array(r, 4);
        c->reaper_expire_ns = canonical_read_i64(r);
        c->reaper_period_ns = canonical_read_i64(r);
        c->reaper_states_count = decode_texts(r, d, &c->reaper_states);
        c->reaper_target = canonical_read_text(r);
    }
    c->cleaner_enabled = canonical_read_bool(r);
}

static void decode_started(struct canonical_reader *r, struct command_started *c)
{
    canonical_expect_array(r, 5);
    c->version = canonical_read_text(r);
    c->host = canonical_read_text(r);
    c->downtime_ns = canonical_read_u64(r);
    c->request_ttl_ns = canonical_read_i64(r);
    uint64_t salt = canonical_read_u64(r);
    if (salt > 0xfff) r->failed = true;
    c->salt = (uint32_t)salt;
}

static void decode_repaired(struct canonical_reader *r, struct command_repaired *c)
{
    canonical_expect_array(r, 6);
    c->version = canonical_read_text(r);
    c->host = canonical_read_text(r);
    c->lost_first = canonical_read_u64(r);
    c->lost_last = canonical_read_u64(r);
    c->downtime_ns = canonical_read_u64(r);
    c->why = canonical_read_text(r);
}

static void decode_clean(struct canonical_reader *r, struct command_decoder *d,
                         struct command_clean *c)
{
    canonical_expect_array(r, 3);
    c->name = canonical_read_text(r);
    c->leased = canonical_read_text_or_nil(r);
    c->names_count = decode_texts(r, d, &c->names);
}

// A life cycle must be one that upkeep comes to an end with.
static void decode_import_cycles(struct canonical_reader *r, struct command_decoder *d,
                                 struct command_import *c)
{
    c->cycles_count = canonical_read_array(r);
    struct sm_entry *cycles = decoder_take(d, c->cycles_count, sizeof(*cycles));
    for (uint32_t i = 0; i < c->cycles_count && !r->failed; i++) {
        struct sm_entry *e = &cycles[i];
        decode_entry(r, d, e);
        check_order(r, i == 0, i == 0 ? TEXT_NONE : cycles[i - 1].type, e->type);
        if (!e->is_dynamic || e->reaper != SM_REAPER_INHERIT) r->failed = true;
        if (e->min_count < 0 || e->min_count > e->max_count) r->failed = true;
    }
    c->cycles = cycles;
}

static void decode_imported(struct canonical_reader *r, struct command_decoder *d,
                            struct sm_imported *ret)
{
    canonical_expect_array(r, 7);
    decode_places(r, PLACES(&ret->name, &ret->type, &ret->state, &ret->owner), 4);
    if (text_is_empty(ret->name) || ret->name.size > SM_NAME_BYTES_MAX) r->failed = true;
    ret->lastupdate_ns = canonical_read_u64(r);
    ret->expires_ns = canonical_read_u64(r);
    if (ret->expires_ns == UINT64_MAX) r->failed = true; // it stands for never elsewhere
    ret->userdata_count = canonical_read_map(r);
    struct userdata_pair *pairs = decoder_take(d, ret->userdata_count, sizeof(*pairs));
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < ret->userdata_count; i++) {
        pairs[i].key = canonical_read_text(r);
        pairs[i].value = canonical_read_text(r);
        check_order(r, i == 0, i == 0 ? TEXT_NONE : pairs[i - 1].key, pairs[i].key);
        if (text_is_empty(pairs[i].value)) r->failed = true;
        bytes += (uint64_t)pairs[i].key.size + pairs[i].value.size;
    }
    if (bytes > SM_USERDATA_BYTES_MAX) r->failed = true;
    ret->userdata = pairs;
}

static void decode_import(struct canonical_reader *r, struct command_decoder *d,
                          struct command_import *c)
{
    canonical_expect_array(r, 4);
    decode_places(r, PLACES(&c->version, &c->host), 2);
    decode_import_cycles(r, d, c);
    c->resources_count = canonical_read_array(r);
    struct sm_imported *resources = decoder_take(d, c->resources_count, sizeof(*resources));
    for (uint32_t i = 0; i < c->resources_count && !r->failed; i++) {
        decode_imported(r, d, &resources[i]);
        check_order(r, i == 0, i == 0 ? TEXT_NONE : resources[i - 1].name, resources[i].name);
    }
    c->resources = resources;
}

static void decode_parameters(struct canonical_reader *r, struct command_decoder *d,
                              struct command *c)
{
    switch (c->kind) {
    case COMMAND_ACQUIRE: decode_acquire(r, &c->as.acquire); return;
    case COMMAND_ACQUIREBYSTATE: {
        struct command_acquirebystate *a = &c->as.acquirebystate;
        decode_fixed(r, PLACES(&a->state, &a->dest, &a->owner, &a->names), 4);
        return;
    }
    case COMMAND_RELEASE: {
        struct command_release *a = &c->as.release;
        decode_fixed(r, PLACES(&a->name, &a->dest, &a->owner), 3);
        return;
    }
    case COMMAND_RESET: {
        struct command_reset *a = &c->as.reset;
        int64_t ns;
        decode_fixed(r, PLACES(&a->type, &a->state, &a->dest, &a->expire), 4);
        if (!r->failed && duration_parse(a->expire, &ns, NULL) != 0) r->failed = true;
        return;
    }
    case COMMAND_UPDATE: decode_update(r, d, &c->as.update); return;
    case COMMAND_CONFIG: decode_config(r, d, &c->as.config); return;
    case COMMAND_EXPIRE:
    case COMMAND_REAP: canonical_expect_array(r, 0); return;
    case COMMAND_CLEAN: decode_clean(r, d, &c->as.clean); return;
    case COMMAND_CLOCK:
        canonical_expect_array(r, 1);
        c->as.clock.ahead_ns = canonical_read_u64(r);
        return;
    case COMMAND_STARTED: decode_started(r, &c->as.started); return;
    case COMMAND_REPAIRED: decode_repaired(r, &c->as.repaired); return;
    case COMMAND_IMPORT: decode_import(r, d, &c->as.import); return;
    }
}

int command_decode(struct command_decoder *d, uint32_t kind, struct text payload,
                   struct command *ret_command)
{
    if (command_kind_name(kind) == NULL) return BOSKOS_E_MALFORMED;
    command_decoder_clear(d);
    struct canonical_reader r = canonical_reader_of(payload);
    struct command c = {.kind = (enum command_kind)kind};
    decode_parameters(&r, d, &c);
    if (!canonical_done(&r)) return BOSKOS_E_MALFORMED;
    *ret_command = c;
    return 0;
}
