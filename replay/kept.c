#include "replay/kept.h"

#include "base/assert.h"

#include "base/banned.h"

// Never on disk or on a wire: numbers are as the machine has them.
struct kept_head {
    uint64_t lastupdate_ns, expiration_ns;
    uint32_t type_size, state_size, owner_size, userdata_count;
    bool has_expiration;
};

void kept_write(const struct sm_resource *r, struct buffer *out)
{
    struct kept_head head = {0};
    head.lastupdate_ns = r->lastupdate_ns;
    head.expiration_ns = r->expiration_ns;
    head.type_size = r->type.size;
    head.state_size = r->state.size;
    head.owner_size = r->owner.size;
    head.userdata_count = r->userdata_count;
    head.has_expiration = r->has_expiration;
    buffer_append(out, &head, sizeof(head));
    buffer_text(out, r->type);
    buffer_text(out, r->state);
    buffer_text(out, r->owner);
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        const struct userdata_pair *pair = &r->userdata[i];
        buffer_append(out, &pair->key.size, sizeof(pair->key.size));
        buffer_append(out, &pair->value.size, sizeof(pair->value.size));
        buffer_text(out, pair->key);
        buffer_text(out, pair->value);
    }
}

static void take(struct text *bytes, void *ret_value, uint32_t size)
{
    ASSERT(bytes->size >= size);
    memcpy(ret_value, bytes->data, size);
    *bytes = text_of(bytes->data + size, bytes->size - size);
}

static struct text take_text(struct text *bytes, uint32_t size)
{
    ASSERT(bytes->size >= size);
    struct text t = text_of(bytes->data, size);
    *bytes = text_of(bytes->data + size, bytes->size - size);
    return t;
}

void kept_read(struct text name, struct text bytes, struct buffer *pairs,
               struct sm_resource *ret_resource)
{
    struct kept_head head;
    take(&bytes, &head, sizeof(head));
    struct sm_resource r = {.name = name,
                            .lastupdate_ns = head.lastupdate_ns,
                            .has_expiration = head.has_expiration,
                            .expiration_ns = head.expiration_ns,
                            .userdata_count = head.userdata_count};
    r.type = take_text(&bytes, head.type_size);
    r.state = take_text(&bytes, head.state_size);
    r.owner = take_text(&bytes, head.owner_size);
    buffer_clear(pairs);
    for (uint32_t i = 0; i < head.userdata_count; i++) {
        uint32_t key_size, value_size;
        take(&bytes, &key_size, sizeof(key_size));
        take(&bytes, &value_size, sizeof(value_size));
        struct userdata_pair pair = {.key = take_text(&bytes, key_size)};
        pair.value = take_text(&bytes, value_size);
        buffer_append(pairs, &pair, sizeof(pair));
    }
    r.userdata = (const struct userdata_pair *)(const void *)pairs->data;
    *ret_resource = r;
}
