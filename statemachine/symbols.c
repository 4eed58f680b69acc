#include "base/assert.h"
#include "statemachine/state.h"

#include <stdlib.h>

uint64_t instant_add(uint64_t time_ns, int64_t duration_ns)
{
    uint64_t most = SM_NEVER - 1;
    if (duration_ns >= 0) {
        uint64_t length = (uint64_t)duration_ns;
        return time_ns > most - length ? most : time_ns + length;
    }
    uint64_t length = (uint64_t) - (duration_ns + 1) + 1;
    return time_ns > length ? time_ns - length : 1;
}

uint32_t sm_hash(const struct sm *sm, struct text t)
{
    return (uint32_t)hash64(t.data, t.size, sm->hash_seed);
}

static bool symbol_is(const void *item, const void *key)
{
    return text_equal(symbol_text(item), *(const struct text *)key);
}

struct symbol *symbol_find(const struct sm *sm, struct text t)
{
    return table_find(&sm->symbols, sm_hash(sm, t), symbol_is, &t);
}

struct symbol *symbol_take(struct sm *sm, struct text t)
{
    uint32_t hash = sm_hash(sm, t);
    struct symbol *s = table_find(&sm->symbols, hash, symbol_is, &t);
    if (s != NULL) return symbol_share(s);

    s = must_malloc(sizeof(*s) + t.size);
    *s = (struct symbol){.item = {hash}, .refs = 1, .size = t.size};
    if (t.size > 0) memcpy(s->data, t.data, t.size);
    table_add(&sm->symbols, s);
    return s;
}

struct symbol *symbol_share(struct symbol *s)
{
    s->refs++;
    return s;
}

void symbol_drop(struct sm *sm, struct symbol *s)
{
    if (s == NULL || --s->refs > 0) return;
    table_remove(&sm->symbols, s);
    bury(sm, s);
}

void bury(struct sm *sm, void *memory)
{
    if (memory == NULL) return;
    if (sm->graveyard_count == sm->graveyard_capacity) {
        sm->graveyard_capacity = sm->graveyard_capacity == 0 ? 64 : sm->graveyard_capacity * 2;
        sm->graveyard =
            must_realloc(sm->graveyard, sm->graveyard_capacity * sizeof(sm->graveyard[0]));
    }
    sm->graveyard[sm->graveyard_count++] = memory;
}

void free_buried(struct sm *sm)
{
    for (uint32_t i = 0; i < sm->graveyard_count; i++) {
        free(sm->graveyard[i]);
    }
    sm->graveyard_count = 0;
}
