#include "replay/ranks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "replay/text_set.h"

#include "base/banned.h"

struct ranks {
    const char *word;
    struct text_set *texts;
    // Marks, and of the texts that stay those that one which does not lies beside.
    struct text_set *kept;
    struct buffer marks[RANKS_MARKS_MAX];
    uint32_t marks_count;
    bool (*stays)(const void *context, struct text t);
    const void *context;
    bool between_marks;
};

struct ranks *ranks_new(const char *word)
{
    ASSERT(strlen(word) <= RANKS_WORD_BYTES_MAX);
    struct ranks *r = must_calloc(1, sizeof(*r));
    r->word = word;
    r->texts = text_set_new();
    r->kept = text_set_new();
    return r;
}

void ranks_free(struct ranks *r)
{
    if (r == NULL) return;
    text_set_free(r->texts);
    text_set_free(r->kept);
    for (uint32_t i = 0; i < r->marks_count; i++)
        buffer_release(&r->marks[i]);
    free(r);
}

void ranks_add(struct ranks *r, struct text t)
{
    text_set_add(r->texts, t);
}

void ranks_mark(struct ranks *r, struct text t)
{
    ASSERT(r->marks_count < RANKS_MARKS_MAX && t.size <= RANKS_KEPT_BYTES_MAX);
    buffer_text(&r->marks[r->marks_count++], t);
}

// ---- settling -----------------------------------------------------------------

static bool is_between_marks(const struct ranks *r, struct text t)
{
    bool has_below = false, has_above = false;
    for (uint32_t i = 0; i < r->marks_count; i++) {
        bool is_below = text_compare(buffer_as_text(&r->marks[i]), t) <= 0;
        has_below = has_below || is_below;
        has_above = has_above || !is_below;
    }
    return has_below && has_above;
}

// Looks through the texts in order.
static void find_kept(struct ranks *r)
{
    uint32_t count = text_set_count(r->texts);
    bool has_other = false;     // the one before does not stay
    struct buffer before = {0}; // the one before, when it stays and is not kept yet
    for (uint32_t i = 0; i < count; i++) {
        struct text t = text_set_at(r->texts, i);
        bool is_kept = r->stays(r->context, t);
        ASSERT(!is_kept || t.size <= RANKS_KEPT_BYTES_MAX);
        if (is_kept && has_other) text_set_add(r->kept, t);
        if (!is_kept && before.size > 0) text_set_add(r->kept, buffer_as_text(&before));
        if (!is_kept) r->between_marks = r->between_marks || is_between_marks(r, t);
        buffer_clear(&before);
        if (is_kept) buffer_text(&before, t);
        has_other = !is_kept;
    }
    buffer_release(&before);
}

void ranks_settle(struct ranks *r, bool (*stays)(const void *context, struct text t),
                  const void *context)
{
    r->stays = stays;
    r->context = context;
    r->between_marks = false;
    text_set_free(r->kept);
    r->kept = text_set_new();
    for (uint32_t i = 0; i < r->marks_count; i++)
        text_set_add(r->kept, buffer_as_text(&r->marks[i]));
    text_set_settle(r->texts);
    find_kept(r);
    text_set_settle(r->kept);
}

bool ranks_between_marks(const struct ranks *r)
{
    return r->between_marks;
}

// ---- other texts --------------------------------------------------------------

// What is put in front, to be written to `bytes`: nothing where every text that begins with the
// word, and goes on with a digit, lies between the kept ones that the text lies between.
static int write_front(struct ranks *r, struct text t, char bytes[RANKS_TEXT_BYTES_MAX])
{
    char beyond[RANKS_WORD_BYTES_MAX + 2];
    bool is_mark = false, is_plain = true;
    int size = snprintf(beyond, sizeof(beyond), "%s~", r->word);
    uint32_t before = text_set_before(r->kept, t, &is_mark) + (is_mark ? 1 : 0);
    if (before < text_set_count(r->kept)) {
        struct text high = text_set_at(r->kept, before);
        is_plain = text_compare(text_of(beyond, (size_t)size), high) < 0;
    }
    struct text low = before > 0 ? text_set_at(r->kept, before - 1) : TEXT("0");
    if (before > 0) is_plain = is_plain && text_compare(low, text_from(r->word)) < 0;
    return is_plain ? 0 : snprintf(bytes, RANKS_TEXT_BYTES_MAX, "%.*s-", TEXT_ARG(low));
}

struct text ranks_find(struct ranks *r, struct text t, char bytes[RANKS_TEXT_BYTES_MAX])
{
    bool is_in = false;
    uint32_t before = text_set_before(r->texts, t, &is_in);
    if (!is_in) return TEXT_NONE;
    if (r->stays(r->context, t)) return t;
    int digits = snprintf(NULL, 0, "%" PRIu32, text_set_count(r->texts));
    int front = write_front(r, t, bytes);
    int rest = snprintf(bytes + front, RANKS_TEXT_BYTES_MAX - (size_t)front, "%s%0*" PRIu32,
                        r->word, digits, before + 1);
    return text_of(bytes, (size_t)front + (size_t)rest);
}
