// Resources in diff: what each was is kept from its first change on.
#include "replay/diff_resources.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "replay/changes.h"
#include "replay/kept.h"
#include "replay/say.h"
#include "statemachine/table.h"
#include "wire/wire.h"

#include "base/banned.h"

#ifdef BOSKOS_IN_PARTS // a test
#define KEPT_BYTES_MAX 600u
#else
#define KEPT_BYTES_MAX (24u * 1024 * 1024)
#endif
#define BESIDE_BYTES 56u // of a resource: what malloc takes, a slot of the table, one of the list

// A resource that was changed since the earlier point. Its owner has memory of its own.
struct touched {
    struct table_item item;
    uint8_t kind; // of the last command that changed it; its owner and number:
    uint8_t name_size;
    bool was_there;
    uint32_t owner_size, before_size;
    char *owner;
    uint64_t seq, time_ns, changes;
    char bytes[]; // the name, and what it was, as kept.h has it
};

struct diff_resources {
    const struct options *options;
    // The window: the names after `from` up to `to`.
    bool has_from, has_to, is_over;
    struct buffer from, to;
    struct table touched;
    size_t bytes; // that they take
    bool is_full;
    uint64_t gone; // in the window: made and removed again
    uint64_t differences, returned;
    struct buffer scratch, pairs;
};

static struct text touched_name(const struct touched *t)
{
    return text_of(t->bytes, t->name_size);
}

static bool has_name(const void *item, const void *key)
{
    return text_equal(touched_name(item), *(const struct text *)key);
}

// The options fit what was, or what is.
static bool fits(const struct options *o, const struct sm_change *c)
{
    if (!option_fits(o->resource, c->name)) return false;
    return (c->was_there && option_fits(o->type, c->before.type) &&
            option_fits(o->owner, c->before.owner)) ||
           (c->is_there && option_fits(o->type, c->after.type) &&
            option_fits(o->owner, c->after.owner));
}

struct diff_resources *diff_resources_new(const struct options *options)
{
    struct diff_resources *d = must_calloc(1, sizeof(*d));
    d->options = options;
    return d;
}

static size_t touched_bytes(const struct touched *t)
{
    return sizeof(*t) + t->name_size + t->before_size + t->owner_size + BESIDE_BYTES;
}

static void touched_free(struct touched *t)
{
    free(t->owner);
    free(t);
}

static void forget(struct diff_resources *d)
{
    uint32_t at = 0;
    for (struct touched *t; (t = table_next(&d->touched, &at)) != NULL;)
        touched_free(t);
    table_release(&d->touched);
    d->bytes = 0;
    d->gone = 0;
    d->is_full = false;
}

void diff_resources_free(struct diff_resources *d)
{
    if (d == NULL) return;
    forget(d);
    buffer_release(&d->from);
    buffer_release(&d->to);
    buffer_release(&d->scratch);
    buffer_release(&d->pairs);
    free(d);
}

// ---- on the way -----------------------------------------------------------------------

static bool is_in_window(const struct diff_resources *d, struct text name)
{
    return (!d->has_from || text_compare(name, buffer_as_text(&d->from)) > 0) &&
           (!d->has_to || text_compare(name, buffer_as_text(&d->to)) <= 0);
}

static struct touched *touch(struct diff_resources *d, const struct sm_change *c)
{
    uint32_t hash = (uint32_t)hash64(c->name.data, c->name.size, 0);
    struct touched *t = table_find(&d->touched, hash, has_name, &c->name);
    if (t != NULL) return t;
    buffer_clear(&d->scratch);
    if (c->was_there) kept_write(&c->before, &d->scratch);
    t = must_malloc(sizeof(*t) + c->name.size + d->scratch.size);
    *t = (struct touched){.item = {hash},
                          .name_size = (uint8_t)c->name.size,
                          .was_there = c->was_there,
                          .before_size = (uint32_t)d->scratch.size};
    memcpy(t->bytes, c->name.data, c->name.size);
    if (d->scratch.size > 0) memcpy(t->bytes + c->name.size, d->scratch.data, d->scratch.size);
    table_add(&d->touched, t);
    d->bytes += touched_bytes(t);
    return t;
}

static void remove_touched(struct diff_resources *d, struct touched *t)
{
    table_remove(&d->touched, t);
    d->bytes -= touched_bytes(t);
    touched_free(t);
}

static void set_owner(struct diff_resources *d, struct touched *t, struct text owner)
{
    if (owner.size != t->owner_size) {
        free(t->owner);
        t->owner = owner.size > 0 ? must_malloc(owner.size) : NULL;
    }
    if (owner.size > 0) memcpy(t->owner, owner.data, owner.size);
    d->bytes = d->bytes - t->owner_size + owner.size;
    t->owner_size = owner.size;
}

static int by_name(const void *a, const void *b)
{
    const struct touched *x = *(const struct touched *const *)a;
    const struct touched *y = *(const struct touched *const *)b;
    return text_compare(touched_name(x), touched_name(y));
}

// Returned, caller frees.
static struct touched **sorted(const struct diff_resources *d)
{
    uint32_t at = 0, count = 0;
    struct touched **list = must_malloc((d->touched.count + 1u) * sizeof(struct touched *));
    for (struct touched *t; (t = table_next(&d->touched, &at)) != NULL;)
        list[count++] = t;
    qsort(list, count, sizeof(struct touched *), by_name);
    return list;
}

// Leaves the last names to the next window: an eighth, or half of them where the way must be begun
// anew, because some that are gone were counted, and nobody knows of which names.
static void narrow(struct diff_resources *d)
{
    d->is_full = d->gone > 0;
    uint32_t count = d->touched.count, left = d->is_full ? count / 2 : count / 8 + 1;
    uint32_t kept = count - left;
    struct touched **list = sorted(d);
    d->has_to = true;
    buffer_clear(&d->to);
    buffer_text(&d->to, touched_name(list[kept - 1]));
    for (uint32_t i = kept; i < count; i++)
        remove_touched(d, list[i]);
    free(list);
}

void diff_resources_note(struct diff_resources *d, const struct command *c,
                         const struct sm_change *change)
{
    if (d->is_full || d->is_over || !option_fits(d->options->resource, change->name)) return;
    if (!is_in_window(d, change->name)) return;
    struct touched *t = touch(d, change);
    if (!t->was_there && !change->is_there) { // it is of no point
        struct sm_change gone = {.name = change->name, .was_there = true, .before = change->before};
        d->gone += fits(d->options, &gone);
        remove_touched(d, t);
        return;
    }
    t->seq = c->seq;
    t->time_ns = c->time_ns;
    t->kind = (uint8_t)c->kind;
    t->changes++;
    set_owner(d, t, command_owner(c));
    if (d->bytes > KEPT_BYTES_MAX && d->touched.count > 1) narrow(d);
}

bool diff_resources_is_full(const struct diff_resources *d)
{
    return d->is_full;
}

void diff_resources_begin(struct diff_resources *d)
{
    forget(d);
}

bool diff_resources_is_part(const struct diff_resources *d)
{
    return d->has_to;
}

bool diff_resources_next(struct diff_resources *d)
{
    bool has_more = d->has_to;
    buffer_clear(&d->from);
    buffer_text(&d->from, buffer_as_text(&d->to));
    d->has_from = has_more;
    d->has_to = false;
    d->is_over = !has_more;
    return has_more;
}

bool diff_resources_is_over(const struct diff_resources *d)
{
    return d->is_over;
}

// ---- what differs ---------------------------------------------------------------------

static void print_json(struct output *out, const struct touched *t, const struct sm_change *c)
{
    wire_json_change(c, &out->line);
    out->line.size--; // its brace: more follows
    say_json_number(out, ",\"seq\":", t->seq);
    say_json_time(out, ",\"time\":", t->time_ns);
    output_format(out, ",\"kind\":\"%s\"", command_kind_name(t->kind));
    if (t->owner_size > 0) say_json_text(out, ",\"owner\":", text_of(t->owner, t->owner_size));
    output_format(out, ",\"changes\":%" PRIu64 "}\n", t->changes);
}

static const char *what_happened(const struct touched *t, const struct sm_change *c)
{
    if (!c->is_there) return "removed";
    if (!c->was_there) return t->changes > 1 ? "made, last changed" : "made";
    return t->changes > 1 ? "last changed" : "changed";
}

static void print_readable(struct output *out, const struct touched *t, const struct sm_change *c)
{
    output_colour(out, COLOUR_BOLD);
    output_word(out, c->name);
    output_colour(out, COLOUR_NONE);
    output_format(out, "  %s by %" PRIu64 " ", what_happened(t, c), t->seq);
    output_time(out, t->time_ns);
    output_format(out, " %s", command_kind_name(t->kind));
    if (t->owner_size > 0) {
        output_string(out, " of ");
        output_word(out, text_of(t->owner, t->owner_size));
    }
    if (t->changes > 1) output_format(out, ", of %" PRIu64 " changes", t->changes);
    output_string(out, "\n");
    output_change(out, c);
}

static void print_touched(struct diff_resources *d, struct replay *r, struct walk *w,
                          const struct touched *t)
{
    struct sm_change c = {.name = touched_name(t), .was_there = t->was_there};
    if (t->was_there)
        kept_read(c.name, text_of(t->bytes + t->name_size, t->before_size), &d->pairs, &c.before);
    c.is_there = sm_find(walk_state(w), c.name, &c.after) == 0;
    if (!fits(d->options, &c)) return;
    if (c.was_there && c.is_there && sm_same_resource(&c.before, &c.after)) {
        d->returned++;
        return;
    }
    d->differences++;
    if (r->options->json)
        print_json(&r->out, t, &c);
    else
        print_readable(&r->out, t, &c);
    output_drain(&r->out);
}

void diff_resources_print(struct diff_resources *d, struct replay *r, struct walk *w)
{
    struct touched **list = sorted(d);
    for (uint32_t i = 0; i < d->touched.count; i++)
        print_touched(d, r, w, list[i]);
    d->returned += d->gone;
    free(list);
}

uint64_t diff_resources_differences(const struct diff_resources *d)
{
    return d->differences;
}

uint64_t diff_resources_returned(const struct diff_resources *d)
{
    return d->returned;
}
