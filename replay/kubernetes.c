#include "replay/kubernetes.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/cli.h"
#include "wire/kubernetes.h"

#include "base/banned.h"

struct listing {
    struct output *out;
    bool is_begun;
};

// What a life cycle has beside what is in the state, by type.
struct known {
    const struct sm_entry **entries;
    uint32_t count;
};

// Of two entries of a type the last one counts: they stand one behind the other in one array.
static int by_type(const void *a, const void *b)
{
    const struct sm_entry *x = *(const struct sm_entry *const *)a;
    const struct sm_entry *y = *(const struct sm_entry *const *)b;
    int order = text_compare(x->type, y->type);
    return order != 0 ? order : (x > y) - (x < y);
}

static struct known known_of(const struct sm_entry *entries, uint32_t count)
{
    struct known k = {.entries = must_calloc((size_t)count + 1, sizeof(k.entries[0]))};
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].is_dynamic) k.entries[k.count++] = &entries[i];
    }
    if (k.count > 1) qsort(k.entries, k.count, sizeof(k.entries[0]), by_type);
    return k;
}

// The last one of the type, or NULL.
static const struct sm_entry *known_find(const struct known *k, struct text type)
{
    uint32_t low = 0, high = k->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (text_compare(k->entries[middle]->type, type) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool is_there = low > 0 && text_equal(k->entries[low - 1]->type, type);
    return is_there ? k->entries[low - 1] : NULL;
}

static void begin_object(struct listing *l)
{
    output_string(l->out, l->is_begun ? WIRE_KUBERNETES_BETWEEN : WIRE_KUBERNETES_BEGIN);
    l->is_begun = true;
}

static bool add_resource(void *context, const struct sm_resource *resource)
{
    struct listing *l = context;
    begin_object(l);
    wire_kubernetes_resource(&l->out->line, resource);
    output_drain(l->out);
    return true;
}

static void add_cycles(struct listing *l, struct sm *sm, const struct known *known,
                       const struct sm_filter *filter)
{
    const struct sm_life_cycle *cycles = NULL;
    uint32_t count = 0;
    sm_life_cycles(sm, &cycles, &count);
    for (uint32_t i = 0; i < count; i++) {
        const struct sm_life_cycle *c = &cycles[i];
        if (filter->types_count > 0 && !text_equal(filter->types[0], c->type)) continue;
        begin_object(l);
        wire_kubernetes_cycle(&l->out->line, c, known_find(known, c->type));
        output_drain(l->out);
        if (!wire_kubernetes_takes(c->type))
            cli_complain("boskos-replay", "the type %.*s is no name that Kubernetes takes",
                         TEXT_ARG(c->type));
    }
}

// What the state's life cycles were made of: a config, or an import that no config has followed.
static int decode_known(struct sm *sm, struct command_decoder *decoder, struct known *ret_known)
{
    struct command c = {0};
    struct text imported = sm_imported_bytes(sm);
    int err = 0;
    *ret_known = known_of(NULL, 0);
    if (imported.size > 0)
        err = command_decode(decoder, COMMAND_IMPORT, imported, &c);
    else if (sm_has_config(sm))
        err = command_decode(decoder, COMMAND_CONFIG, sm_config_bytes(sm), &c);
    if (err != 0 || c.kind == 0) return err;
    free(ret_known->entries);
    *ret_known = imported.size > 0 ? known_of(c.as.import.cycles, c.as.import.cycles_count)
                                   : known_of(c.as.config.entries, c.as.config.entries_count);
    return 0;
}

int replay_kubernetes(struct replay *r, struct sm *sm, const struct sm_filter *filter)
{
    struct listing l = {.out = &r->out};
    struct known known;
    struct command_decoder *decoder = command_decoder_new();
    int err = decode_known(sm, decoder, &known);
    if (err != 0) {
        (void)replay_fail(r, err, "the config of the state cannot be decoded");
    } else {
        (void)sm_list(sm, filter, add_resource, &l);
        add_cycles(&l, sm, &known, filter);
        output_string(&r->out, l.is_begun ? WIRE_KUBERNETES_END : WIRE_KUBERNETES_NONE);
    }
    free(known.entries);
    command_decoder_free(decoder);
    return err;
}
