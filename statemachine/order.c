#include "statemachine/order.h"

#include <stdlib.h>

#include "base/assert.h"

// The largest nodes stay below 1 KiB: from there on malloc first puts all its freed small blocks in
// order.
#define LEAF_MIN 4u    // capacity of a small set's leaf
#define LEAF_MAX 62u   // and of a large one's
#define INNER_MAX 31u  // children of an inner node
#define HEIGHT_MAX 12u // enough for 2^32 entries in badly filled nodes

struct leaf {
    uint32_t count, capacity;
    struct order_entry entries[];
};

struct kid {
    struct order_entry low; // the lowest entry below it
    void *node;
    uint32_t size; // entries below it
};

struct inner {
    uint32_t count;
    struct kid kids[INNER_MAX];
};

// The way from the root to a leaf.
struct path {
    struct inner *node[HEIGHT_MAX];
    uint32_t kid[HEIGHT_MAX]; // which child was taken
};

void order_init(struct order *o, struct text (*name)(const void *item))
{
    *o = (struct order){.name = name};
}

void order_release(struct order *o)
{
    // Frees level by level from the left, bending each inner node's children under its parent's
    // walk.
    struct path path = {0};
    uint32_t depth = 0;
    void *node = o->root;
    while (node != NULL) {
        if (depth < o->height) {
            path.node[depth] = node;
            path.kid[depth] = 0;
            node = path.node[depth]->kids[0].node;
            depth++;
            continue;
        }
        free(node);
        node = NULL;
        while (depth > 0 && node == NULL) {
            struct inner *parent = path.node[depth - 1];
            if (++path.kid[depth - 1] < parent->count) {
                node = parent->kids[path.kid[depth - 1]].node;
            } else {
                free(parent);
                depth--;
            }
        }
    }
    *o = (struct order){.name = o->name};
}

static struct text name_of(const struct order *o, const void *item)
{
    return o->name != NULL ? o->name(item) : TEXT_NONE;
}

static inline const struct order_entry *entry_at(const void *first, size_t stride, uint32_t index)
{
    return (const void *)((const char *)first + index * stride);
}

// Of the entries from `begin` on that have this key, how many are below the name, or equal to it.
// Kept out of line, so that what compares keys stays short.
__attribute__((noinline)) static uint32_t
count_below_named(const struct order *o, const void *first, size_t stride, uint32_t begin,
                  uint32_t count, uint64_t key, struct text name, bool or_equal)
{
    uint32_t low = begin, high = count;
    if (o->name == NULL) return or_equal ? 1 : 0; // keys are unique
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct order_entry *e = entry_at(first, stride, middle);
        int order = e->key != key ? 1 : text_compare(o->name(e->item), name);
        if (order < 0 || (order == 0 && or_equal)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - begin;
}

// Of `count` entries that lie `stride` bytes apart, in order, how many are below (key, name); with
// `or_equal` how many are not above it. Without branches that depend on the keys: which way a
// search goes cannot be foreseen.
static inline uint32_t count_below(const struct order *o, const void *first, size_t stride,
                                   uint32_t count, uint64_t key, struct text name, bool or_equal)
{
    uint32_t low = 0;
    for (uint32_t left = count; left > 0;) {
        uint32_t half = (left + 1) / 2;
        const struct order_entry *e = entry_at(first, stride, low + half - 1);
        low += e->key < key ? half : 0;
        left -= half;
    }
    if (low == count || entry_at(first, stride, low)->key != key) return low;
    return low + count_below_named(o, first, stride, low, count, key, name, or_equal);
}

// Most insertions go to the end: what was touched last is newest, and the names of a config ascend.
static inline bool is_behind(const struct order *o, const struct order_entry *e, uint64_t key,
                             struct text name)
{
    if (e->key != key) return e->key < key;
    return o->name != NULL && text_compare(o->name(e->item), name) < 0;
}

// The place of the first entry of the leaf that is not below (key, name).
static uint32_t leaf_place(const struct order *o, const struct leaf *l, uint64_t key,
                           struct text name)
{
    if (l->count > 0 && is_behind(o, &l->entries[l->count - 1], key, name)) return l->count;
    return count_below(o, l->entries, sizeof(l->entries[0]), l->count, key, name, false);
}

// The child that holds (key, name): the last whose lowest entry is not above it, or the first.
static uint32_t inner_place(const struct order *o, const struct inner *n, uint64_t key,
                            struct text name)
{
    if (is_behind(o, &n->kids[n->count - 1].low, key, name)) return n->count - 1;
    uint32_t below = count_below(o, n->kids, sizeof(n->kids[0]), n->count, key, name, true);
    return below == 0 ? 0 : below - 1;
}

static struct leaf *descend(const struct order *o, uint64_t key, struct text name,
                            struct path *path)
{
    void *node = o->root;
    for (uint32_t depth = 0; depth < o->height; depth++) {
        struct inner *n = node;
        path->node[depth] = n;
        path->kid[depth] = inner_place(o, n, key, name);
        node = n->kids[path->kid[depth]].node;
    }
    return node;
}

// Puts `node` where the path's child at `depth` was; depth 0 is the root.
static void replace_node(struct order *o, struct path *path, uint32_t depth, void *node)
{
    if (depth == 0) {
        o->root = node;
    } else {
        path->node[depth - 1]->kids[path->kid[depth - 1]].node = node;
    }
}

static struct leaf *leaf_resize(struct leaf *l, uint32_t capacity)
{
    l = must_realloc(l, sizeof(*l) + capacity * sizeof(l->entries[0]));
    l->capacity = capacity;
    return l;
}

static struct leaf *leaf_new(uint32_t capacity)
{
    struct leaf *l = must_malloc(sizeof(*l) + capacity * sizeof(l->entries[0]));
    l->count = 0;
    l->capacity = capacity;
    return l;
}

// After a change in a leaf: counts and lowest entries on the way up. `delta` is +1, -1 or 0.
static void refresh_path(struct order *o, struct path *path, int delta)
{
    for (uint32_t depth = o->height; depth-- > 0;) {
        struct kid *k = &path->node[depth]->kids[path->kid[depth]];
        k->size += (uint32_t)delta;
        k->low = depth + 1 == o->height ? ((struct leaf *)k->node)->entries[0]
                                        : ((struct inner *)k->node)->kids[0].low;
    }
}

static uint32_t inner_size(const struct inner *n)
{
    uint32_t size = 0;
    for (uint32_t i = 0; i < n->count; i++) {
        size += n->kids[i].size;
    }
    return size;
}

static void grow_root(struct order *o, struct kid left, struct kid right)
{
    ASSERT(o->height + 1 < HEIGHT_MAX);
    struct inner *n = must_malloc(sizeof(*n));
    n->count = 2;
    n->kids[0] = left;
    n->kids[1] = right;
    o->root = n;
    o->height++;
}

// Puts a new child after the path's one at each level from `depth` up, splitting what is full. The
// sizes and lows of the path's own children are right already.
static void add_kid(struct order *o, struct path *path, uint32_t depth, struct kid added)
{
    while (depth > 0) {
        struct inner *n = path->node[depth - 1];
        uint32_t place = path->kid[depth - 1] + 1;
        struct inner *into = n;
        struct inner *right = NULL;
        if (n->count == INNER_MAX) {
            // A split at the end leaves the left node full: sets that grow there stay dense.
            uint32_t keep = place == n->count ? n->count : n->count / 2;
            right = must_malloc(sizeof(*right));
            right->count = n->count - keep;
            memcpy(right->kids, n->kids + keep, right->count * sizeof(n->kids[0]));
            n->count = keep;
            if (place > keep || right->count == 0) {
                into = right;
                place -= keep;
            }
        }
        memmove(into->kids + place + 1, into->kids + place,
                (into->count - place) * sizeof(into->kids[0]));
        into->kids[place] = added;
        into->count++;
        if (right == NULL) {
            if (depth > 1) {
                path->node[depth - 2]->kids[path->kid[depth - 2]].size = inner_size(n);
            }
            return;
        }
        struct kid left = {n->kids[0].low, n, inner_size(n)};
        added = (struct kid){right->kids[0].low, right, inner_size(right)};
        if (depth == 1) {
            grow_root(o, left, added);
            return;
        }
        path->node[depth - 2]->kids[path->kid[depth - 2]] = left;
        depth--;
    }
}

// Splits a full leaf into two and returns the new right one; `place` says where the next entry
// goes.
static struct leaf *leaf_split(struct leaf *l, uint32_t place)
{
    uint32_t keep = place == l->count ? l->count : l->count / 2;
    struct leaf *right = leaf_new(LEAF_MAX);
    right->count = l->count - keep;
    memcpy(right->entries, l->entries + keep, right->count * sizeof(l->entries[0]));
    l->count = keep;
    return right;
}

static void leaf_insert(struct leaf *l, uint32_t place, struct order_entry e)
{
    memmove(l->entries + place + 1, l->entries + place, (l->count - place) * sizeof(l->entries[0]));
    l->entries[place] = e;
    l->count++;
}

void order_insert(struct order *o, uint64_t key, void *item)
{
    struct order_entry e = {key, item};
    struct text name = name_of(o, item);
    struct path path;
    if (o->root == NULL) o->root = leaf_new(LEAF_MIN);
    struct leaf *l = descend(o, key, name, &path);
    uint32_t place = leaf_place(o, l, key, name);
    ASSERT(place == l->count || l->entries[place].key != key ||
           !text_equal(name_of(o, l->entries[place].item), name));
    o->size++;

    if (l->count == l->capacity && l->capacity < LEAF_MAX) {
        l = leaf_resize(l, l->capacity * 2 < LEAF_MAX ? l->capacity * 2 : LEAF_MAX);
        replace_node(o, &path, o->height, l);
    }
    if (l->count < l->capacity) {
        leaf_insert(l, place, e);
        refresh_path(o, &path, +1);
        return;
    }
    struct leaf *right = leaf_split(l, place);
    if (place > l->count || right->count == 0) {
        leaf_insert(right, place - l->count, e);
    } else {
        leaf_insert(l, place, e);
    }
    refresh_path(o, &path, +1);
    struct kid added = {right->entries[0], right, right->count};
    if (o->height == 0) {
        grow_root(o, (struct kid){l->entries[0], l, l->count}, added);
        return;
    }
    path.node[o->height - 1]->kids[path.kid[o->height - 1]].size = l->count;
    add_kid(o, &path, o->height, added);
}

// Takes the child at `place` out of an inner node.
static void inner_drop(struct inner *n, uint32_t place)
{
    n->count--;
    memmove(n->kids + place, n->kids + place + 1, (n->count - place) * sizeof(n->kids[0]));
}

// Joins the children at place and place+1 of `n` into the left one, when together they fill at most
// three quarters. Returns whether it did.
static bool join_kids(struct inner *n, uint32_t place, bool are_leaves)
{
    if (place + 1 >= n->count) return false;
    struct kid *a = &n->kids[place];
    struct kid *b = &n->kids[place + 1];
    if (are_leaves) {
        struct leaf *left = a->node;
        struct leaf *right = b->node;
        uint32_t count = left->count + right->count;
        if (count > LEAF_MAX * 3 / 4) return false;
        if (left->capacity < LEAF_MAX) left = leaf_resize(left, LEAF_MAX);
        memcpy(left->entries + left->count, right->entries,
               right->count * sizeof(right->entries[0]));
        left->count = count;
        a->node = left;
        free(right);
    } else {
        struct inner *left = a->node;
        struct inner *right = b->node;
        if (left->count + right->count > INNER_MAX * 3 / 4) return false;
        memcpy(left->kids + left->count, right->kids, right->count * sizeof(right->kids[0]));
        left->count += right->count;
        free(right);
    }
    a->size += b->size;
    inner_drop(n, place + 1);
    return true;
}

// Drops an empty leaf from its parent, and parents that have become empty with it.
static void drop_empty(struct order *o, struct path *path)
{
    uint32_t depth = o->height;
    while (depth > 0) {
        struct inner *n = path->node[depth - 1];
        free(n->kids[path->kid[depth - 1]].node);
        inner_drop(n, path->kid[depth - 1]);
        if (n->count > 0) break;
        depth--;
    }
    ASSERT(depth > 0); // the set is not empty: some node has another child
    for (depth--; depth > 0; depth--) {
        struct kid *k = &path->node[depth - 1]->kids[path->kid[depth - 1]];
        k->size--;
        k->low = ((struct inner *)k->node)->kids[0].low;
    }
}

static void shrink_root(struct order *o)
{
    while (o->height > 0) {
        struct inner *n = o->root;
        if (n->count > 1) return;
        o->root = n->kids[0].node;
        free(n);
        o->height--;
    }
}

// Joins thin nodes on the path with a neighbour, so that the tree stays low.
static void join_path(struct order *o, struct path *path)
{
    for (uint32_t depth = o->height; depth-- > 0;) {
        // The path is as long as the tree is high.
        // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign)
        struct inner *n = path->node[depth];
        uint32_t place = path->kid[depth];
        bool are_leaves = depth + 1 == o->height;
        uint32_t count = are_leaves ? ((struct leaf *)n->kids[place].node)->count
                                    : ((struct inner *)n->kids[place].node)->count;
        if (count >= (are_leaves ? LEAF_MAX : INNER_MAX) / 4) return;
        if (!join_kids(n, place, are_leaves) && place > 0) {
            join_kids(n, place - 1, are_leaves);
        }
    }
}

// The leaf that has an entry which is there, and its place. The lowest goes most often, and is
// found without a look at other items, which may be far from the processor.
static struct leaf *find_item(const struct order *o, uint64_t key, const void *item,
                              struct path *path, uint32_t *ret_place)
{
    void *node = o->root;
    for (uint32_t depth = 0; depth < o->height; depth++) {
        path->node[depth] = node;
        path->kid[depth] = 0;
        node = path->node[depth]->kids[0].node;
    }
    struct leaf *l = node;
    uint32_t place = 0;
    if (l->entries[0].item != item) {
        struct text name = name_of(o, item);
        l = descend(o, key, name, path);
        place = leaf_place(o, l, key, name);
    }
    ASSERT(place < l->count && l->entries[place].item == item && l->entries[place].key == key);
    *ret_place = place;
    return l;
}

void order_remove(struct order *o, uint64_t key, void *item)
{
    struct path path;
    uint32_t place;
    ASSERT(o->size > 0);
    struct leaf *l = find_item(o, key, item, &path, &place);

    o->size--;
    l->count--;
    memmove(l->entries + place, l->entries + place + 1, (l->count - place) * sizeof(l->entries[0]));
    if (o->size == 0) {
        order_release(o);
        return;
    }
    if (l->count == 0) {
        drop_empty(o, &path);
    } else {
        refresh_path(o, &path, -1);
        join_path(o, &path);
    }
    shrink_root(o);
}

uint32_t order_below(const struct order *o, uint64_t key, struct text name)
{
    uint32_t below = 0;
    const void *node = o->root;
    if (node == NULL) return 0;
    for (uint32_t depth = 0; depth < o->height; depth++) {
        const struct inner *n = node;
        uint32_t place = inner_place(o, n, key, name);
        for (uint32_t i = 0; i < place; i++) {
            below += n->kids[i].size;
        }
        node = n->kids[place].node;
    }
    return below + leaf_place(o, node, key, name);
}

const struct order_entry *order_run(const struct order *o, uint32_t rank, uint32_t *ret_count)
{
    *ret_count = 0;
    if (rank >= o->size) return NULL;
    const void *node = o->root;
    for (uint32_t depth = 0; depth < o->height; depth++) {
        const struct inner *n = node;
        uint32_t i = 0;
        while (rank >= n->kids[i].size) {
            rank -= n->kids[i].size;
            i++;
        }
        node = n->kids[i].node;
    }
    const struct leaf *l = node;
    *ret_count = l->count - rank;
    return &l->entries[rank];
}

struct order_entry order_at(const struct order *o, uint32_t rank)
{
    uint32_t count;
    const struct order_entry *run = order_run(o, rank, &count);
    ASSERT(run != NULL);
    return *run;
}
