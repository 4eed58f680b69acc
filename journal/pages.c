// LMDB trusts its pages: over a damaged one it reads astray, divides by zero, asks for absurd
// amounts of memory, or takes pages into use that are in use already, so that a later commit
// destroys an earlier one. So before LMDB gets to see data.mdb all pages on which others depend are
// looked through: both meta pages, the branches of every tree, the leaves that lead to overflow
// pages, the list of free pages. No page may have two uses; a root that points to an older tree is
// found by that too, since its pages are in the free list.
//
// What is known here of LMDB's form is version 1 of its data, in the byte order and word size of
// this machine. The cost is one read of the pages: of a log beyond LEAVES_READ_MAX pages the leaves
// of the log and of the results are passed over, but for the outermost ones of each tree, and with
// them what overflows from them.
//
// Who reads the log from one end to the other can have these leaves looked at shortly before it
// comes to them (journal_pages_begin): the disk then gives the later ones while the earlier ones
// are worked on. Everything else is looked at before, as always.
#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/banned.h"

#define LEAVES_READ_MAX 262144u // pages in use: 1 GiB
#define DEPTH_MAX 32u           // LMDB's own bound
#define PAGE_BYTES_MIN 256u
#define PAGE_BYTES_MAX 65536u
#define FIRST_PAGE 2 // behind the meta pages
#define NO_PAGE UINT64_MAX
#define TREES_MAX 8    // tables with a name; we have three
#define NUMBERED_MAX 2 // of these: the log and the results
#define KEY_BYTES_MAX 511

// Where LMDB has what, in bytes.
enum {
    PAGE_NUMBER = 0,
    PAGE_FLAGS = 10,
    PAGE_LOWER = 12,
    PAGE_UPPER = 14,
    PAGE_COUNT = 12, // of an overflow page
    PAGE_HEAD = 16,

    NODE_FLAGS = 4,
    NODE_KEY_SIZE = 6,
    NODE_HEAD = 8,

    META_MAGIC = 16,
    META_VERSION = 20,
    META_FREE = 40, // the tree of free pages; its first number is the size of a page
    META_MAIN = 88,
    META_LAST_PAGE = 136,
    META_TRANSACTION = 144,
    META_END = 152,

    TREE_FLAGS = 4,
    TREE_DEPTH = 6,
    TREE_ROOT = 40,
    TREE_BYTES = 48,
};

#define MAGIC 0xBEEFC0DEu
#define VERSION 1u

enum page_kind { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8 };
enum node_flag { NODE_BIG = 1, NODE_TREE = 2 };
// TREE_NUMBERED: a table whose keys are sequence numbers.
enum tree_kind { TREE_FREE, TREE_MAIN, TREE_TABLE, TREE_NUMBERED };

#define TREE_FLAGS_FREE 8 // its keys are integers

// What is looked at. Of each page that is taken it is noted that it has its one use.
enum look {
    LOOK_WHOLE,  // at all pages
    LOOK_OUTER,  // but not at the inner leaves of numbered tables
    LOOK_FIRST,  // the same, and what overflows from leaves of these is not taken
    LOOK_SECOND, // at all leaves of numbered tables, after LOOK_FIRST has taken them
    LOOK_ALONE,  // at one leaf, and nothing is taken
};

// The way from a root to a page.
struct walk {
    enum tree_kind kind;
    uint32_t depth, leaf_depth; // leaf_depth 0: not known yet
    uint64_t pages[DEPTH_MAX];
    uint32_t next[DEPTH_MAX]; // the node that comes next
    const uint8_t *key;       // the one before
    uint32_t key_size;
    bool key_is_leaf, has_key;
    const uint8_t *branch_key; // the last one of a branch; NULL: none came
};

struct journal_pages {
    const char *path;
    struct journal_problem *problem;
    const uint8_t *bytes; // NULL: not mapped
    size_t size;
    uint64_t page_bytes;
    uint64_t count; // pages there may be: below LMDB's last one and the end of the file
    uint64_t last;
    uint8_t *used; // a bit a page
    enum look look;
    uint64_t transaction; // the last one
    uint64_t freed;       // the last one that freed pages, as the list of free pages has it
    struct table_root {
        const uint8_t *tree; // what LMDB notes of it
        enum tree_kind kind;
    } roots[TREES_MAX]; // of the tables
    size_t roots_count;
    struct walk second[NUMBERED_MAX]; // LOOK_SECOND, through the numbered tables
    size_t second_count;
    int found; // by that, once and for all, with its text
    struct journal_problem found_problem;
};

static uint16_t get_u16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static int damaged(const struct journal_pages *p, uint64_t page, const char *what)
{
    (void)journal_problem(p->problem, BOSKOS_E_CORRUPT, 0,
                          "%s/data.mdb is damaged: page %" PRIu64 " %s", p->path, page, what);
    return BOSKOS_E_CORRUPT;
}

// Notes that a run of pages has its one use.
static int pages_take(struct journal_pages *p, uint64_t page, uint64_t count)
{
    if (page < FIRST_PAGE || page > p->last || count > p->last - page + 1)
        return damaged(p, page, "is none it can have");
    for (uint64_t i = page; i < page + count; i++) {
        if ((p->used[i / 8] >> (i % 8) & 1) != 0) return damaged(p, i, "is used twice");
        p->used[i / 8] = (uint8_t)(p->used[i / 8] | 1u << (i % 8));
    }
    return 0;
}

// NULL when the file ends before the run of pages does.
static const uint8_t *page_at(const struct journal_pages *p, uint64_t page, uint64_t count)
{
    if (page >= p->count || count > p->count - page) return NULL;
    return p->bytes + page * p->page_bytes;
}

// ---- nodes ------------------------------------------------------------------

struct node {
    uint32_t flags;
    const uint8_t *key;
    uint32_t key_size;
    uint64_t child;      // of a branch
    uint64_t size;       // of a leaf's value
    const uint8_t *data; // the value, or the number of the page it is on
};

static uint32_t nodes_count(const uint8_t *page)
{
    return (get_u16(page + PAGE_LOWER) - PAGE_HEAD) / 2u;
}

// The size of a leaf's value; of a branch the low half of its child's number.
static uint32_t value_size(const uint8_t *node)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return get_u16(node) | (uint32_t)get_u16(node + 2) << 16;
#else
    return get_u16(node + 2) | (uint32_t)get_u16(node) << 16;
#endif
}

// The node must lie within its page. *ret_bytes is the room it takes.
static int node_read(const struct journal_pages *p, uint64_t number, const uint8_t *page,
                     uint32_t index, struct node *ret_node, uint64_t *ret_bytes)
{
    uint32_t at = get_u16(page + PAGE_HEAD + 2 * index);
    bool is_leaf = get_u16(page + PAGE_FLAGS) == PAGE_LEAF;
    if (at < get_u16(page + PAGE_UPPER) || at % 2 != 0 || at > p->page_bytes - NODE_HEAD)
        return damaged(p, number, "has an entry outside");

    const uint8_t *node = page + at;
    struct node n = {.flags = get_u16(node + NODE_FLAGS), .key = node + NODE_HEAD};
    n.key_size = get_u16(node + NODE_KEY_SIZE);
    n.data = n.key + n.key_size;
    uint64_t bytes = NODE_HEAD + (uint64_t)n.key_size;
    uint64_t number_in_node = value_size(node);
    if (is_leaf) {
        n.size = number_in_node;
        bytes += (n.flags & NODE_BIG) != 0 ? sizeof(uint64_t) : n.size;
    } else {
        n.child = number_in_node | (uint64_t)n.flags << 32;
    }
    if (n.key_size > KEY_BYTES_MAX || bytes > p->page_bytes - at)
        return damaged(p, number, "has an entry that is too long");
    *ret_node = n;
    *ret_bytes = (bytes + 1) / 2 * 2;
    return 0;
}

// Reads the head of a branch or leaf and sees that its nodes fill exactly the room they have.
static int page_check(const struct journal_pages *p, uint64_t number, const uint8_t **ret_page)
{
    const uint8_t *page = page_at(p, number, 1);
    if (page == NULL) return damaged(p, number, "is beyond the end of the file");
    uint32_t flags = get_u16(page + PAGE_FLAGS);
    uint32_t lower = get_u16(page + PAGE_LOWER), upper = get_u16(page + PAGE_UPPER);
    if (get_u64(page + PAGE_NUMBER) != number || (flags != PAGE_BRANCH && flags != PAGE_LEAF))
        return damaged(p, number, "is another than it should be");
    if (lower <= PAGE_HEAD || lower % 2 != 0 || lower > upper || upper > p->page_bytes)
        return damaged(p, number, "has an impossible number of entries");

    uint64_t room = p->page_bytes - upper;
    for (uint32_t i = 0; i < nodes_count(page); i++) {
        struct node n;
        uint64_t bytes = 0;
        int err = node_read(p, number, page, i, &n, &bytes);
        if (err != 0) return err;
        if (bytes > room) return damaged(p, number, "has entries that overlap");
        room -= bytes;
    }
    if (room != 0) return damaged(p, number, "has entries that do not fill it");
    *ret_page = page;
    return 0;
}

// ---- leaves -----------------------------------------------------------------

// Keys ascend through the whole tree; one in a branch may come again as the first one below it.
static int key_check(const struct journal_pages *p, struct walk *w, uint64_t page,
                     const struct node *n, bool is_leaf)
{
    bool is_number = w->kind == TREE_FREE || w->kind == TREE_NUMBERED;
    if (is_number && n->key_size != sizeof(uint64_t))
        return damaged(p, page, "has an impossible key");
    int order = 1;
    if (w->has_key && w->kind == TREE_FREE) {
        uint64_t before = get_u64(w->key), key = get_u64(n->key);
        order = (key > before) - (key < before);
    } else if (w->has_key) {
        order = text_compare(text_of((const char *)n->key, n->key_size),
                             text_of((const char *)w->key, w->key_size));
    }
    if (order < 0 || (order == 0 && (w->key_is_leaf || !is_leaf)))
        return damaged(p, page, "has keys that are not in order");
    w->key = n->key;
    w->key_size = n->key_size;
    w->key_is_leaf = is_leaf;
    w->has_key = true;
    return 0;
}

// Finds a value that lies on pages of its own, and takes them. Where a leaf is looked at once more
// later they are taken then.
static int overflow_take(struct journal_pages *p, const struct walk *w, struct node *n)
{
    uint64_t page = get_u64(n->data);
    uint64_t needed = (PAGE_HEAD - 1 + n->size) / p->page_bytes + 1;
    const uint8_t *bytes = page_at(p, page, needed);
    if (bytes == NULL) return damaged(p, page, "is beyond the end of the file");
    uint64_t has = get_u32(bytes + PAGE_COUNT);
    if (get_u64(bytes + PAGE_NUMBER) != page || get_u16(bytes + PAGE_FLAGS) != PAGE_OVERFLOW ||
        has < needed)
        return damaged(p, page, "is another than it should be");
    n->data = bytes + PAGE_HEAD;
    bool is_left = p->look == LOOK_ALONE || (p->look == LOOK_FIRST && w->kind == TREE_NUMBERED);
    return is_left ? 0 : pages_take(p, page, has);
}

// A list of free pages: how many, and their numbers, which descend.
static int free_take(struct journal_pages *p, uint64_t page, const struct node *n)
{
    uint64_t count = n->size < sizeof(uint64_t) ? UINT64_MAX : get_u64(n->data);
    if (n->size % sizeof(uint64_t) != 0 || count > n->size / sizeof(uint64_t) - 1)
        return damaged(p, page, "has a list of free pages that is too long");
    p->freed = get_u64(n->key);
    uint64_t before = NO_PAGE;
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = get_u64(n->data + i * sizeof(uint64_t));
        if (number >= before) return damaged(p, page, "has free pages that are not in order");
        int err = pages_take(p, number, 1);
        if (err != 0) return err;
        before = number;
    }
    return 0;
}

static int table_take(struct journal_pages *p, uint64_t page, const struct node *n)
{
    if (n->size != TREE_BYTES || p->roots_count == TREES_MAX || get_u16(n->data + TREE_FLAGS) != 0)
        return damaged(p, page, "has a table that is none of ours");
    struct text name = text_of((const char *)n->key, n->key_size);
    bool is_numbered = text_equal(name, TEXT("log")) || text_equal(name, TEXT("results"));
    p->roots[p->roots_count++] =
        (struct table_root){n->data, is_numbered ? TREE_NUMBERED : TREE_TABLE};
    return 0;
}

static int leaf_take(struct journal_pages *p, struct walk *w, uint64_t number, const uint8_t *page)
{
    uint32_t allowed = w->kind == TREE_MAIN ? NODE_TREE : NODE_BIG;
    for (uint32_t i = 0; i < nodes_count(page); i++) {
        struct node n;
        uint64_t bytes = 0;
        int err = node_read(p, number, page, i, &n, &bytes);
        if (err == 0) err = key_check(p, w, number, &n, true);
        if (err != 0) return err;
        if ((n.flags & ~allowed) != 0 || (w->kind == TREE_MAIN && n.flags != NODE_TREE))
            return damaged(p, number, "has an entry of an unknown kind");
        if ((n.flags & NODE_BIG) != 0) err = overflow_take(p, w, &n);
        if (err == 0 && w->kind == TREE_FREE) err = free_take(p, number, &n);
        if (err == 0 && w->kind == TREE_MAIN) err = table_take(p, number, &n);
        if (err != 0) return err;
    }
    return 0;
}

// Most pages are leaves of numbered tables without anything unusual. One look at each of their
// entries sees all that page_check and leaf_take would see. False where these have more to say.
static bool leaf_is_plain(const struct journal_pages *p, struct walk *w, uint64_t number,
                          const uint8_t *page)
{
    enum { KEY = sizeof(uint64_t), PLAIN_HEAD = NODE_HEAD + KEY };
    uint32_t lower = get_u16(page + PAGE_LOWER), upper = get_u16(page + PAGE_UPPER);
    uint32_t end = (uint32_t)p->page_bytes, room = end - upper;
    if (get_u64(page + PAGE_NUMBER) != number || get_u16(page + PAGE_FLAGS) != PAGE_LEAF ||
        lower <= PAGE_HEAD || lower % 2 != 0 || lower > upper || upper > end)
        return false;

    uint64_t least = 0; // that the next key may be
    if (w->has_key) least = bytes_get_u64(w->key) + w->key_is_leaf;
    uint32_t at = 0;
    for (const uint8_t *slot = page + PAGE_HEAD; slot < page + lower; slot += 2) {
        at = get_u16(slot);
        if (at < upper || at % 2 != 0 || at > end - PLAIN_HEAD) return false;
        const uint8_t *node = page + at;
        uint64_t key = bytes_get_u64(node + NODE_HEAD);
        uint32_t size = value_size(node);
        if (get_u16(node + NODE_FLAGS) != 0 || get_u16(node + NODE_KEY_SIZE) != KEY) return false;
        if (key < least || key == UINT64_MAX || size > end - PLAIN_HEAD - at) return false;
        uint32_t bytes = (PLAIN_HEAD + size + 1) / 2 * 2;
        if (bytes > room) return false;
        room -= bytes;
        least = key + 1;
    }
    w->key = page + at + NODE_HEAD;
    w->key_size = KEY;
    w->key_is_leaf = w->has_key = true;
    return room == 0;
}

// ---- trees ------------------------------------------------------------------

// Looks at a page that the walk has come to, and goes down into it when it is a branch.
static int walk_look(struct journal_pages *p, struct walk *w, uint64_t number)
{
    int err = 0;
    const uint8_t *page = page_at(p, number, 1);
    bool is_plain = w->kind == TREE_NUMBERED && page != NULL && leaf_is_plain(p, w, number, page);
    if (!is_plain) err = page_check(p, number, &page);
    if (err != 0) return err;

    bool is_leaf = get_u16(page + PAGE_FLAGS) == PAGE_LEAF;
    if (is_leaf && w->leaf_depth == 0) w->leaf_depth = w->depth + 1;
    if (w->leaf_depth != 0 && is_leaf != (w->depth + 1 == w->leaf_depth))
        return damaged(p, number, "is not as deep in its tree as others");
    if (is_leaf) return is_plain ? 0 : leaf_take(p, w, number, page);
    w->pages[w->depth] = number;
    w->next[w->depth] = 0;
    w->depth++;
    return 0;
}

// The same, and takes it.
static int walk_enter(struct journal_pages *p, struct walk *w, uint64_t number)
{
    if (w->depth == DEPTH_MAX) return damaged(p, number, "is too deep in its tree");
    int err = p->look == LOOK_SECOND ? 0 : pages_take(p, number, 1);
    return err == 0 ? walk_look(p, w, number) : err;
}

// Is the child of the present branch a leaf that need not be read? The first of the tree is always
// read: only then it is known how deep leaves are. The last is where the next append goes.
static bool leaf_is_passed_over(const struct journal_pages *p, const struct walk *w)
{
    bool is_passing = p->look == LOOK_OUTER || p->look == LOOK_FIRST;
    if (!is_passing || w->kind != TREE_NUMBERED || w->depth + 1 != w->leaf_depth) return false;
    for (uint32_t i = 0; i < w->depth; i++)
        if (w->next[i] < nodes_count(p->bytes + w->pages[i] * p->page_bytes)) return true;
    return false;
}

// One step of a walk that has begun. It ends: each step takes a page that nobody had, or goes up; a
// second walk goes where the first one went.
static int walk_step(struct journal_pages *p, struct walk *w)
{
    uint32_t top = w->depth - 1;
    uint64_t number = w->pages[top], bytes = 0;
    const uint8_t *page = p->bytes + number * p->page_bytes;
    struct node n;
    if (w->next[top] == nodes_count(page)) {
        w->depth--;
        return 0;
    }
    uint32_t index = w->next[top]++;
    int err = node_read(p, number, page, index, &n, &bytes);
    // The first key of a branch says nothing.
    if (err == 0 && index > 0) err = key_check(p, w, number, &n, false);
    if (err != 0) return err;
    if (index > 0) w->branch_key = n.key;
    if (leaf_is_passed_over(p, w) && n.child < p->count) return pages_take(p, n.child, 1);
    return walk_enter(p, w, n.child);
}

static int tree_take(struct journal_pages *p, enum tree_kind kind, const uint8_t *tree)
{
    uint64_t root = get_u64(tree + TREE_ROOT);
    if (root == NO_PAGE) return 0; // it is empty
    struct walk w = {.kind = kind};
    int err = walk_enter(p, &w, root);
    while (err == 0 && w.depth > 0)
        err = walk_step(p, &w);
    // A root that is a page below it is the root of a whole tree, too, of less.
    if (err == 0 && w.leaf_depth != get_u16(tree + TREE_DEPTH))
        err = damaged(p, root, "is not the root of its tree");
    return err;
}

// ---- meta pages -------------------------------------------------------------

static int meta_check(const struct journal_pages *p, uint64_t number)
{
    if (p->size < (number + 1) * p->page_bytes)
        return damaged(p, number, "is beyond the end of the file");
    const uint8_t *meta = p->bytes + number * p->page_bytes;
    if (get_u64(meta + PAGE_NUMBER) != number || get_u16(meta + PAGE_FLAGS) != PAGE_META ||
        get_u32(meta + META_MAGIC) != MAGIC || get_u32(meta + META_VERSION) != VERSION ||
        get_u32(meta + META_FREE) != p->page_bytes ||
        get_u16(meta + META_FREE + TREE_FLAGS) != TREE_FLAGS_FREE ||
        get_u16(meta + META_MAIN + TREE_FLAGS) != 0)
        return damaged(p, number, "is no meta page of this version");
    return 0;
}

// Checks both meta pages and finds the one in force. Transactions take turns on them: so their
// numbers follow, and page 1 has the odd ones.
static int metas_check(struct journal_pages *p, const uint8_t **ret_meta)
{
    if (p->size < META_END) return damaged(p, 0, "is beyond the end of the file");
    p->page_bytes = get_u32(p->bytes + META_FREE);
    if (p->page_bytes < PAGE_BYTES_MIN || p->page_bytes > PAGE_BYTES_MAX ||
        (p->page_bytes & (p->page_bytes - 1)) != 0)
        return damaged(p, 0, "is no meta page of this version");
    int err = meta_check(p, 0);
    if (err == 0) err = meta_check(p, 1);
    if (err != 0) return err;

    const uint8_t *second = p->bytes + p->page_bytes;
    uint64_t even = get_u64(p->bytes + META_TRANSACTION);
    uint64_t odd = get_u64(second + META_TRANSACTION);
    bool is_new = even == 0 && odd == 0;
    if (!is_new && (even % 2 != 0 || (even + 1 != odd && odd + 1 != even)))
        return damaged(p, even % 2 != 0 ? 0 : 1, "has a transaction that cannot be the next");
    p->transaction = odd > even ? odd : even;
    *ret_meta = odd > even ? second : p->bytes;
    return 0;
}

static int all_check(struct journal_pages *p)
{
    const uint8_t *meta = NULL;
    int err = metas_check(p, &meta);
    if (err != 0) return err;

    p->count = p->size / p->page_bytes;
    p->last = get_u64(meta + META_LAST_PAGE);
    // The last pages of a transaction may have been given back before they were written.
    if (p->last >= 2 * p->count + FIRST_PAGE) return damaged(p, p->last, "is beyond the end");
    if (p->count > p->last + 1) p->count = p->last + 1;
    if (p->count > LEAVES_READ_MAX) p->look = LOOK_OUTER;
    p->used = calloc(1, p->last / 8 + 1);
    if (p->used == NULL)
        return journal_problem(p->problem, BOSKOS_E_NOMEM, 0, "%s: no memory", p->path);

    err = tree_take(p, TREE_MAIN, meta + META_MAIN);
    for (size_t i = 0; i < p->roots_count && err == 0; i++)
        err = tree_take(p, p->roots[i].kind, p->roots[i].tree);
    if (err == 0) err = tree_take(p, TREE_FREE, meta + META_FREE);
    // Every transaction but the first frees the root it replaces, under its own number: by that an
    // older meta page is found that claims to be the newer one.
    if (err == 0 && p->transaction > 1 && p->freed != p->transaction)
        err = damaged(p, p->transaction % 2, "is not that of the last transaction");
    return err;
}

// ---- the file ---------------------------------------------------------------

static int file_map(struct journal_pages *p)
{
    char *file = journal_path(p->path, DATA_NAME);
    if (file == NULL)
        return journal_problem(p->problem, BOSKOS_E_NOMEM, 0, "%s: no memory", p->path);

    struct stat status;
    void *bytes = MAP_FAILED;
    int rc = 0;
    int fd = journal_plain_open(file, O_RDONLY);
    if (fd < 0 || fstat(fd, &status) != 0)
        rc = fd < 0 ? -fd : errno;
    else if ((bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0)) ==
             MAP_FAILED)
        rc = errno;
    int err = bytes != MAP_FAILED ? 0 : journal_failed(p->problem, rc, file, "read it");
    if (bytes != MAP_FAILED) {
        p->bytes = bytes;
        p->size = (size_t)status.st_size;
        // Branches lie far from each other: what is around them need not be read with them.
        if (p->look != LOOK_WHOLE) (void)madvise(bytes, p->size, MADV_RANDOM);
    }
    if (fd >= 0) (void)close(fd);
    free(file);
    return err;
}

static void release(struct journal_pages *p)
{
    if (p->bytes != NULL) (void)munmap((void *)(uintptr_t)p->bytes, p->size);
    free(p->used);
}

int journal_pages_check(const char *path, bool only_to_read, struct journal_problem *problem)
{
    struct journal_pages p = {
        .path = path, .problem = problem, .look = only_to_read ? LOOK_OUTER : LOOK_WHOLE};
    int err = file_map(&p);
    if (err == 0) err = all_check(&p);
    release(&p);
    return err;
}

// ---- leaves shortly before they are read ------------------------------------

static int second_begin(struct journal_pages *p)
{
    int err = 0;
    p->look = LOOK_SECOND;
    (void)madvise((void *)(uintptr_t)p->bytes, p->size, MADV_NORMAL);
    for (size_t i = 0; i < p->roots_count && err == 0; i++) {
        uint64_t root = get_u64(p->roots[i].tree + TREE_ROOT);
        if (p->roots[i].kind != TREE_NUMBERED || root == NO_PAGE) continue;
        struct walk *w = &p->second[p->second_count++];
        *w = (struct walk){.kind = TREE_NUMBERED};
        err = walk_enter(p, w, root);
    }
    return err;
}

int journal_pages_begin(const char *path, struct journal_pages **ret_pages,
                        struct journal_problem *problem)
{
    struct journal_pages *p = calloc(1, sizeof(*p));
    *ret_pages = NULL;
    if (p == NULL) return journal_problem(problem, BOSKOS_E_NOMEM, 0, "%s: no memory", path);
    *p = (struct journal_pages){.path = path, .problem = problem, .look = LOOK_FIRST};
    int err = file_map(p);
    if (err == 0) err = all_check(p);
    bool has_more = err == 0 && p->look == LOOK_FIRST; // it is not a large one
    if (has_more) err = second_begin(p);
    if (err != 0 || !has_more) {
        journal_pages_end(p);
        return err;
    }
    *ret_pages = p;
    return 0;
}

void journal_pages_end(struct journal_pages *p)
{
    if (p == NULL) return;
    release(p);
    free(p);
}

// Has the walk looked at every leaf that keys before the number lead to, and at the one after
// those? The keys of branches say so. What a leaf has may be damaged: whether its last key is too
// high is seen at the next one of a branch.
static bool has_come_to(const struct walk *w, uint64_t seq)
{
    return w->depth == 0 ||
           (w->key_is_leaf && w->branch_key != NULL && bytes_get_u64(w->branch_key) >= seq);
}

int journal_pages_go(struct journal_pages *p, uint64_t seq, struct journal_problem *problem)
{
    p->problem = &p->found_problem;
    for (size_t i = 0; i < p->second_count; i++) {
        while (p->found == 0 && !has_come_to(&p->second[i], seq))
            p->found = walk_step(p, &p->second[i]);
    }
    // What was looked at stays in the system's cache, but does not count as this process's memory.
    (void)madvise((void *)(uintptr_t)p->bytes, p->size, MADV_DONTNEED);
    if (p->found != 0 && problem != NULL) *problem = p->found_problem;
    return p->found;
}

// The leaf in which LMDB looks for a key.
static int leaf_find(const struct journal_pages *p, uint64_t root, uint32_t depth, uint64_t seq,
                     uint64_t *ret_leaf)
{
    uint64_t number = root;
    for (; depth > 1; depth--) {
        const uint8_t *page = p->bytes + number * p->page_bytes;
        struct node n, at;
        uint64_t bytes = 0;
        int err = node_read(p, number, page, 0, &at, &bytes);
        for (uint32_t i = 1; i < nodes_count(page) && err == 0; i++) {
            err = node_read(p, number, page, i, &n, &bytes);
            if (err != 0 || bytes_get_u64(n.key) > seq) break;
            at = n;
        }
        if (err != 0) return err;
        number = at.child;
    }
    *ret_leaf = number;
    return 0;
}

int journal_pages_look(struct journal_pages *p, uint64_t seq, struct journal_problem *problem)
{
    int err = 0;
    p->problem = problem;
    p->look = LOOK_ALONE;
    for (size_t i = 0; i < p->roots_count && err == 0; i++) {
        const uint8_t *tree = p->roots[i].tree;
        uint64_t root = get_u64(tree + TREE_ROOT), leaf = 0;
        uint32_t depth = get_u16(tree + TREE_DEPTH);
        if (p->roots[i].kind != TREE_NUMBERED || root == NO_PAGE) continue;
        struct walk w = {.kind = TREE_NUMBERED, .depth = depth - 1, .leaf_depth = depth};
        err = leaf_find(p, root, depth, seq, &leaf);
        if (err == 0) err = walk_look(p, &w, leaf);
    }
    p->look = LOOK_SECOND;
    return err;
}
