#include "replay/proof.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "replay/temporary.h"

#include "base/banned.h"

#define NUMBER_BYTES 8

struct proof {
    struct replay *replay;
    struct redact *redact;
    FILE *file;
};

// ---- the number of a result -------------------------------------------------------

struct number {
    struct redact *redact; // NULL: the texts as they are
    uint64_t value;
};

static void add_u64(struct number *n, uint64_t value)
{
    uint8_t bytes[8];
    bytes_put_u64(bytes, value);
    n->value = hash64(bytes, sizeof(bytes), n->value);
}

static void add_text(struct number *n, enum sm_text what, struct text t)
{
    if (n->redact != NULL) t = redact_text(n->redact, what, t);
    add_u64(n, t.size);
    n->value = hash64(t.data, t.size, n->value);
}

static void add_resource(struct number *n, const struct sm_resource *r)
{
    add_text(n, SM_TEXT_NAME, r->name);
    add_text(n, SM_TEXT_TYPE, r->type);
    add_text(n, SM_TEXT_STATE, r->state);
    add_text(n, SM_TEXT_OWNER, r->owner);
    add_u64(n, r->lastupdate_ns);
    add_u64(n, r->has_expiration);
    add_u64(n, r->expiration_ns);
}

uint64_t proof_number(struct redact *redact, const struct sm_result *result)
{
    struct number n = {.redact = redact};
    add_u64(&n, result->reason);
    add_u64(&n, result->resources_count);
    for (uint32_t i = 0; i < result->resources_count; i++)
        add_resource(&n, &result->resources[i]);
    add_u64(&n, result->reset_count);
    for (uint32_t i = 0; i < result->reset_count; i++) {
        struct sm_reset reset = sm_reset(result, i);
        add_text(&n, SM_TEXT_NAME, reset.name);
        add_text(&n, SM_TEXT_OWNER, reset.owner);
    }
    add_text(&n, SM_TEXT_OWNER, result->current_owner);
    add_text(&n, SM_TEXT_STATE, result->current_state);
    add_u64(&n, result->is_repeat);
    add_u64(&n, result->waited_ns);
    add_u64(&n, result->effect != 0);
    return n.value;
}

// ---- the file -----------------------------------------------------------------------

int proof_new(struct replay *r, struct redact *redact, struct proof **ret_proof)
{
    FILE *file = NULL;
    int err = temporary_open(r, &file);
    if (err != 0) return err;
    struct proof *p = must_calloc(1, sizeof(*p));
    *p = (struct proof){.replay = r, .redact = redact, .file = file};
    *ret_proof = p;
    return 0;
}

void proof_free(struct proof *p)
{
    if (p == NULL) return;
    (void)fclose(p->file);
    free(p);
}

int proof_claim(struct proof *p, const struct sm_result *result)
{
    uint8_t bytes[NUMBER_BYTES];
    bytes_put_u64(bytes, proof_number(p->redact, result));
    if (fwrite(bytes, 1, NUMBER_BYTES, p->file) == NUMBER_BYTES) return 0;
    return temporary_failed(p->replay, "written");
}

int proof_turn(struct proof *p)
{
    bool is_written = fflush(p->file) == 0 && fseeko(p->file, 0, SEEK_SET) == 0;
    return is_written ? 0 : temporary_failed(p->replay, "written");
}

int proof_check(struct proof *p, const struct sm_result *result, bool *ret_is_same)
{
    uint8_t bytes[NUMBER_BYTES];
    if (fread(bytes, 1, NUMBER_BYTES, p->file) != NUMBER_BYTES)
        return temporary_failed(p->replay, "read");
    *ret_is_same = bytes_get_u64(bytes) == proof_number(NULL, result);
    return 0;
}
