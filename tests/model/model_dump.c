#include "tests/model/model_private.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

static void append_quoted(struct buffer *out, struct text t)
{
    buffer_char(out, '"');
    for (uint32_t i = 0; i < t.size; i++) {
        unsigned char c = (unsigned char)t.data[i];
        if (c == '"' || c == '\\') {
            buffer_char(out, '\\');
            buffer_char(out, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            buffer_format(out, "\\x%02x", c);
        } else {
            buffer_char(out, (char)c);
        }
    }
    buffer_char(out, '"');
}

static void append_word(struct buffer *out, struct text t)
{
    buffer_char(out, ' ');
    append_quoted(out, t);
}

void model_dump_resource(const struct sm_resource *r, struct buffer *out)
{
    buffer_string(out, "resource");
    append_word(out, r->name);
    append_word(out, r->type);
    append_word(out, r->state);
    append_word(out, r->owner);
    buffer_format(out, " %" PRIu64, r->lastupdate_ns);
    if (r->has_expiration)
        buffer_format(out, " %" PRIu64, r->expiration_ns);
    else
        buffer_string(out, " -");
    buffer_string(out, " userdata");
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        append_word(out, r->userdata[i].key);
        buffer_char(out, '=');
        append_quoted(out, r->userdata[i].value);
    }
    buffer_char(out, '\n');
}

void model_dump_queue_entry(const struct sm_queue_entry *e, struct buffer *out)
{
    buffer_string(out, "queue");
    append_word(out, e->type);
    append_word(out, e->state);
    buffer_format(out, " %" PRIu32, e->rank);
    append_word(out, e->request_id);
    buffer_format(out, " %" PRIu64 " %" PRIu64 "\n", e->first_poll_ns, e->deadline_ns);
}

void model_dump_life_cycle(const struct sm_life_cycle *c, struct buffer *out)
{
    buffer_string(out, "cycle");
    append_word(out, c->type);
    append_word(out, c->state);
    buffer_format(out, " %" PRId64 " %" PRId64, c->min_count, c->max_count);
    if (c->has_lifespan)
        buffer_format(out, " %" PRId64, c->lifespan_ns);
    else
        buffer_string(out, " -");
    buffer_string(out, c->is_fading ? " fading\n" : " kept\n");
}

static int compare_entries(const void *a, const void *b)
{
    const struct sm_queue_entry *x = a, *y = b;
    int order = text_compare(x->type, y->type);
    if (order == 0) order = text_compare(x->state, y->state);
    return order != 0 ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static uint32_t rank_of(const struct model *m, uint32_t index)
{
    const struct queue_entry *e = &m->entries[index];
    uint32_t rank = 1;
    for (uint32_t i = 0; i < index; i++) {
        const struct queue_entry *other = &m->entries[i];
        if (text_equal(other->type, e->type) && text_equal(other->state, e->state) &&
            m->now_ns <= other->deadline_ns)
            rank++;
    }
    return rank;
}

void model_dump(const struct model *m, struct buffer *out)
{
    for (uint32_t i = 0; i < m->resources_count; i++)
        model_dump_resource(&m->resources[i], out);

    struct sm_queue_entry *live = must_calloc(m->entries_count + 1u, sizeof(*live));
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->entries_count; i++) {
        const struct queue_entry *e = &m->entries[i];
        if (m->now_ns > e->deadline_ns) continue;
        live[count++] = (struct sm_queue_entry){.type = e->type,
                                                .state = e->state,
                                                .request_id = e->request_id,
                                                .rank = rank_of(m, i),
                                                .first_poll_ns = e->first_poll_ns,
                                                .deadline_ns = e->deadline_ns};
    }
    qsort(live, count, sizeof(*live), compare_entries);
    for (uint32_t i = 0; i < count; i++)
        model_dump_queue_entry(&live[i], out);
    free(live);

    for (uint32_t i = 0; i < m->cycles_count; i++)
        model_dump_life_cycle(&m->cycles[i], out);
}
