#include "replay/kept.h"

#include "base/assert.h"

#include "base/banned.h"

// Never on disk or on a wire: numbers are as the machine has them. Sizes are small, mostly: those
// below 255 have a byte, the others five.
#define SIZE_FOLLOWS 255u

static void put_size(struct buffer *out, uint32_t size)
{
    uint8_t byte = size < SIZE_FOLLOWS ? (uint8_t)size : SIZE_FOLLOWS;
    buffer_append(out, &byte, sizeof(byte));
    if (byte == SIZE_FOLLOWS) buffer_append(out, &size, sizeof(size));
}

void kept_write(const struct sm_resource *r, struct buffer *out)
{
    buffer_append(out, &r->lastupdate_ns, sizeof(r->lastupdate_ns));
    buffer_char(out, r->has_expiration);
    if (r->has_expiration) buffer_append(out, &r->expiration_ns, sizeof(r->expiration_ns));
    put_size(out, r->type.size);
    put_size(out, r->state.size);
    put_size(out, r->owner.size);
    put_size(out, r->userdata_count);
    buffer_text(out, r->type);
    buffer_text(out, r->state);
    buffer_text(out, r->owner);
    for (uint32_t i = 0; i < r->userdata_count; i++) {
        const struct userdata_pair *pair = &r->userdata[i];
        put_size(out, pair->key.size);
        put_size(out, pair->value.size);
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

static uint32_t take_size(struct text *bytes)
{
    uint8_t byte = 0;
    uint32_t size = 0;
    take(bytes, &byte, sizeof(byte));
    if (byte < SIZE_FOLLOWS) return byte;
    take(bytes, &size, sizeof(size));
    return size;
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
    struct sm_resource r = {.name = name};
    char has_expiration = 0;
    take(&bytes, &r.lastupdate_ns, sizeof(r.lastupdate_ns));
    take(&bytes, &has_expiration, sizeof(has_expiration));
    r.has_expiration = has_expiration != 0;
    if (r.has_expiration) take(&bytes, &r.expiration_ns, sizeof(r.expiration_ns));
    uint32_t type_size = take_size(&bytes), state_size = take_size(&bytes);
    uint32_t owner_size = take_size(&bytes);
    r.userdata_count = take_size(&bytes);
    r.type = take_text(&bytes, type_size);
    r.state = take_text(&bytes, state_size);
    r.owner = take_text(&bytes, owner_size);
    buffer_clear(pairs);
    for (uint32_t i = 0; i < r.userdata_count; i++) {
        uint32_t key_size = take_size(&bytes), value_size = take_size(&bytes);
        struct userdata_pair pair = {.key = take_text(&bytes, key_size)};
        pair.value = take_text(&bytes, value_size);
        buffer_append(pairs, &pair, sizeof(pair));
    }
    r.userdata = (const struct userdata_pair *)(const void *)pairs->data;
    *ret_resource = r;
}
