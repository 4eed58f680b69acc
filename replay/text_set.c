#include "replay/text_set.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/hash.h"

#include "base/banned.h"

#define HASH_SEED 1u // any: nobody aims at the tables of a tool
#define SLOTS_MIN 16u
#define GROUP_TEXTS 16u                 // of which the first is whole
#define NEW_BYTES_MIN ((size_t)1 << 20) // that are put in order together, at least
#define NEW_SHARE 8u                    // and at least a part of what is in order
#define VARINT_BYTES_MAX 5u

// Texts in order. Each is how many bytes it begins with as the one before, how many others follow,
// and those.
struct sorted {
    struct buffer bytes;
    size_t *groups; // where each begins
    uint32_t groups_capacity, count;
    struct buffer last; // the text added last
};

// A place in it: the text that is there, and where the next one lies.
struct reader {
    uint32_t number; // of the text; count: behind the last
    size_t next;
    struct buffer text;
};

// Texts as they came, found by an open-addressing table of 1 and where they lie in `bytes`.
struct unsorted {
    struct buffer bytes;
    size_t *slots;
    uint32_t slots_count, count;
};

struct text_set {
    struct sorted sorted;
    struct reader reader;
    struct unsorted unsorted;
};

struct text_set *text_set_new(void)
{
    return must_calloc(1, sizeof(struct text_set));
}

static void sorted_release(struct sorted *s)
{
    buffer_release(&s->bytes);
    buffer_release(&s->last);
    free(s->groups);
    *s = (struct sorted){0};
}

static void unsorted_release(struct unsorted *u)
{
    buffer_release(&u->bytes);
    free(u->slots);
    *u = (struct unsorted){0};
}

void text_set_free(struct text_set *s)
{
    if (s == NULL) return;
    sorted_release(&s->sorted);
    unsorted_release(&s->unsorted);
    buffer_release(&s->reader.text);
    free(s);
}

// ---- in order -----------------------------------------------------------------

static void put_number(struct buffer *out, uint32_t number)
{
    for (; number >= 0x80; number >>= 7)
        buffer_char(out, (char)(number | 0x80));
    buffer_char(out, (char)number);
}

static uint32_t get_number(const struct buffer *from, size_t *at)
{
    uint32_t number = 0;
    for (uint32_t shift = 0;; shift += 7) {
        uint8_t byte = (uint8_t)from->data[(*at)++];
        number |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return number;
    }
}

static uint32_t common_bytes(struct text a, struct text b)
{
    uint32_t size = a.size < b.size ? a.size : b.size, common = 0;
    while (common < size && a.data[common] == b.data[common])
        common++;
    return common;
}

static void begin_group(struct sorted *s)
{
    uint32_t group = s->count / GROUP_TEXTS;
    if (group == s->groups_capacity) {
        s->groups_capacity = group == 0 ? SLOTS_MIN : group * 2;
        s->groups = must_realloc(s->groups, s->groups_capacity * sizeof(*s->groups));
    }
    s->groups[group] = s->bytes.size;
}

// The next one in order.
static void sorted_add(struct sorted *s, struct text t)
{
    bool is_first = s->count % GROUP_TEXTS == 0;
    uint32_t common = is_first ? 0 : common_bytes(buffer_as_text(&s->last), t);
    if (is_first) begin_group(s);
    put_number(&s->bytes, common);
    put_number(&s->bytes, t.size - common);
    buffer_append(&s->bytes, t.data + common, t.size - common);
    s->last.size = common;
    buffer_append(&s->last, t.data + common, t.size - common);
    s->count++;
}

static void read_text(const struct sorted *s, struct reader *r)
{
    if (r->number >= s->count) return;
    uint32_t common = get_number(&s->bytes, &r->next), rest = get_number(&s->bytes, &r->next);
    r->text.size = common;
    buffer_append(&r->text, s->bytes.data + r->next, rest);
    r->next += rest;
}

static void go_to_group(const struct sorted *s, struct reader *r, uint32_t group)
{
    r->number = group * GROUP_TEXTS;
    r->next = r->number < s->count ? s->groups[group] : s->bytes.size;
    read_text(s, r);
}

static void go_on(const struct sorted *s, struct reader *r)
{
    r->number++;
    read_text(s, r);
}

static struct text first_of(const struct sorted *s, uint32_t group)
{
    size_t at = s->groups[group];
    (void)get_number(&s->bytes, &at);
    uint32_t size = get_number(&s->bytes, &at);
    return text_of(s->bytes.data + at, size);
}

// The last group that begins at or before the text, or the first one.
static uint32_t group_of(const struct sorted *s, struct text t)
{
    uint32_t low = 0, high = (s->count + GROUP_TEXTS - 1) / GROUP_TEXTS;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (text_compare(first_of(s, middle), t) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static uint32_t sorted_before(const struct sorted *s, struct reader *r, struct text t,
                              bool *ret_is_in)
{
    int order = 1;
    go_to_group(s, r, group_of(s, t));
    while (r->number < s->count && (order = text_compare(buffer_as_text(&r->text), t)) < 0)
        go_on(s, r);
    *ret_is_in = r->number < s->count && order == 0;
    return r->number;
}

// ---- as they came -------------------------------------------------------------

static struct text text_in(const struct unsorted *u, size_t place)
{
    uint32_t size = get_number(&u->bytes, &place);
    return text_of(u->bytes.data + place, size);
}

// Where a text's place is, or would be.
static size_t *slot_of(const struct unsorted *u, struct text t)
{
    uint32_t mask = u->slots_count - 1;
    uint32_t i = (uint32_t)hash64(t.data, t.size, HASH_SEED) & mask;
    while (u->slots[i] != 0 && !text_equal(text_in(u, u->slots[i] - 1), t))
        i = (i + 1) & mask;
    return &u->slots[i];
}

static void grow(struct unsorted *u)
{
    struct unsorted old = *u;
    ASSERT(old.slots_count < UINT32_C(1) << 31);
    u->slots_count = old.slots_count == 0 ? SLOTS_MIN : old.slots_count * 2;
    u->slots = must_calloc(u->slots_count, sizeof(*u->slots));
    for (uint32_t i = 0; i < old.slots_count; i++)
        if (old.slots[i] != 0) *slot_of(u, text_in(u, old.slots[i] - 1)) = old.slots[i];
    free(old.slots);
}

static void unsorted_add(struct unsorted *u, struct text t)
{
    if (u->count >= u->slots_count / 4 * 3) grow(u);
    size_t *slot = slot_of(u, t);
    if (*slot != 0) return;
    *slot = u->bytes.size + 1;
    u->count++;
    put_number(&u->bytes, t.size);
    buffer_append(&u->bytes, t.data, t.size);
}

static int by_text(const void *a, const void *b, void *unsorted)
{
    return text_compare(text_in(unsorted, *(const size_t *)a - 1),
                        text_in(unsorted, *(const size_t *)b - 1));
}

// The table becomes the list of its places, in order.
static void unsorted_sort(struct unsorted *u)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < u->slots_count; i++)
        if (u->slots[i] != 0) u->slots[count++] = u->slots[i];
    qsort_r(u->slots, count, sizeof(*u->slots), by_text, u);
}

// ---- the set ------------------------------------------------------------------

// No text is in both.
static void merge(struct text_set *s)
{
    struct sorted all = {0};
    struct reader *r = &s->reader;
    struct unsorted *u = &s->unsorted;
    unsorted_sort(u);
    go_to_group(&s->sorted, r, 0);
    for (uint32_t i = 0; i < u->count; i++) {
        struct text t = text_in(u, u->slots[i] - 1);
        for (; r->number < s->sorted.count && text_compare(buffer_as_text(&r->text), t) < 0;
             go_on(&s->sorted, r))
            sorted_add(&all, buffer_as_text(&r->text));
        sorted_add(&all, t);
    }
    for (; r->number < s->sorted.count; go_on(&s->sorted, r))
        sorted_add(&all, buffer_as_text(&r->text));
    sorted_release(&s->sorted);
    unsorted_release(u);
    s->sorted = all;
}

void text_set_add(struct text_set *s, struct text t)
{
    bool is_in = false;
    if (s->sorted.count > 0) (void)sorted_before(&s->sorted, &s->reader, t, &is_in);
    if (is_in) return;
    unsorted_add(&s->unsorted, t);
    size_t bytes = s->unsorted.bytes.size;
    if (bytes >= NEW_BYTES_MIN && bytes >= s->sorted.bytes.size / NEW_SHARE) merge(s);
}

void text_set_settle(struct text_set *s)
{
    if (s->unsorted.count > 0) merge(s);
    go_to_group(&s->sorted, &s->reader, 0);
}

uint32_t text_set_count(const struct text_set *s)
{
    return s->sorted.count;
}

uint32_t text_set_before(struct text_set *s, struct text t, bool *ret_is_in)
{
    ASSERT(s->unsorted.count == 0);
    return sorted_before(&s->sorted, &s->reader, t, ret_is_in);
}

struct text text_set_at(struct text_set *s, uint32_t before)
{
    struct reader *r = &s->reader;
    ASSERT(s->unsorted.count == 0 && before < s->sorted.count);
    if (before < r->number || before - r->number >= GROUP_TEXTS)
        go_to_group(&s->sorted, r, before / GROUP_TEXTS);
    while (r->number < before)
        go_on(&s->sorted, r);
    return buffer_as_text(&r->text);
}
