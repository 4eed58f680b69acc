#include "base/assert.h"
#include "statemachine/canonical.h"
#include "statemachine/state.h"

#include <stdlib.h>

// Walks two sorted lists of pairs as one: the next key, and its pair in each list where it is
// there.
struct merge {
    const struct userdata_pair *old, *old_end;
    const struct userdata_pair *new, *new_end;
};

// The next pair of the merged userdata; false at the end. Deleted keys are passed over.
static bool merge_next(struct merge *m, struct userdata_pair *ret_pair)
{
    while (m->old < m->old_end || m->new < m->new_end) {
        int order = m->old == m->old_end   ? 1
                    : m->new == m->new_end ? -1
                                           : text_compare(m->old->key, m->new->key);
        const struct userdata_pair *pair = order < 0 ? m->old : m->new;
        if (order <= 0) m->old++;
        if (order >= 0) m->new ++;
        if (text_is_empty(pair->value)) continue;
        *ret_pair = *pair;
        return true;
    }
    return false;
}

// The digest of canonical bytes: a map of the pairs.
static struct hash128 digest_of(const struct userdata *u)
{
    struct buffer bytes;
    buffer_init(&bytes);
    canonical_map(&bytes, u->count);
    for (uint32_t i = 0; i < u->count; i++) {
        canonical_text(&bytes, u->pairs[i].key);
        canonical_text(&bytes, u->pairs[i].value);
    }
    struct hash128 digest = hash128(bytes.data, bytes.size);
    buffer_release(&bytes);
    return digest;
}

static struct text put_text(char **at, struct text t)
{
    if (t.size > 0) memcpy(*at, t.data, t.size);
    struct text copy = text_of(*at, t.size);
    *at += t.size;
    return copy;
}

struct userdata *userdata_merge(const struct userdata *old, const struct userdata_pair *pairs,
                                uint32_t count, uint64_t *ret_bytes)
{
    const struct userdata_pair *old_pairs = old != NULL ? old->pairs : pairs;
    struct merge start = {old_pairs, old_pairs + (old != NULL ? old->count : 0), pairs,
                          pairs + count};
    struct userdata_pair pair;
    uint64_t bytes = 0;
    uint32_t kept = 0;
    for (struct merge m = start; merge_next(&m, &pair);) {
        bytes += (uint64_t)pair.key.size + pair.value.size;
        kept++;
    }
    *ret_bytes = bytes;
    if (kept == 0 || bytes > SM_USERDATA_BYTES_MAX) return NULL;

    struct userdata *u = must_malloc(sizeof(*u) + kept * sizeof(u->pairs[0]) + bytes);
    u->count = 0;
    u->bytes = (uint32_t)bytes;
    char *at = (char *)(u->pairs + kept);
    for (struct merge m = start; merge_next(&m, &pair);) {
        u->pairs[u->count].key = put_text(&at, pair.key);
        u->pairs[u->count].value = put_text(&at, pair.value);
        u->count++;
    }
    u->digest = digest_of(u);
    return u;
}

struct text userdata_value(const struct userdata *u, struct text key)
{
    for (uint32_t i = 0; u != NULL && i < u->count; i++) {
        if (text_equal(u->pairs[i].key, key)) return u->pairs[i].value;
    }
    return TEXT_NONE;
}
