#include "replay/changes.h"

#include "base/banned.h"

// The two sides of a change; NULL where there is none.
struct sides {
    const struct sm_resource *before, *after;
};

static void begin(struct output *out, const char *field)
{
    output_format(out, "  %-10s  ", field);
}

static void either(struct output *out, const struct sides *s,
                   void (*add)(struct output *, const struct sm_resource *))
{
    if (s->before != NULL) add(out, s->before);
    if (s->before != NULL && s->after != NULL) output_string(out, " -> ");
    if (s->after != NULL) add(out, s->after);
    output_string(out, "\n");
}

static void add_type(struct output *out, const struct sm_resource *r)
{
    output_word(out, r->type);
}

static void add_state(struct output *out, const struct sm_resource *r)
{
    output_word(out, r->state);
}

static void add_owner(struct output *out, const struct sm_resource *r)
{
    output_word(out, text_is_empty(r->owner) ? TEXT("-") : r->owner);
}

static void add_lastupdate(struct output *out, const struct sm_resource *r)
{
    output_time(out, r->lastupdate_ns);
}

static void add_expiration(struct output *out, const struct sm_resource *r)
{
    if (r->has_expiration)
        output_time(out, r->expiration_ns);
    else
        output_string(out, "-");
}

static bool is_same_text(const struct sides *s, struct text before, struct text after)
{
    return s->before != NULL && s->after != NULL && text_equal(before, after);
}

static void add_pair(struct output *out, const struct sides *s, struct text key,
                     const struct text *before, const struct text *after)
{
    begin(out, "userdata");
    output_word(out, key);
    output_string(out, "  ");
    if (s->before != NULL) output_word(out, before != NULL ? *before : TEXT("-"));
    if (s->before != NULL && s->after != NULL) output_string(out, " -> ");
    if (s->after != NULL) output_word(out, after != NULL ? *after : TEXT("-"));
    output_string(out, "\n");
    output_drain(out);
}

// Both lists are sorted by key.
static void add_userdata(struct output *out, const struct sides *s)
{
    uint32_t i = 0, j = 0;
    uint32_t before_count = s->before != NULL ? s->before->userdata_count : 0;
    uint32_t after_count = s->after != NULL ? s->after->userdata_count : 0;
    while (i < before_count || j < after_count) {
        const struct userdata_pair *a = i < before_count ? &s->before->userdata[i] : NULL;
        const struct userdata_pair *b = j < after_count ? &s->after->userdata[j] : NULL;
        int order = a == NULL ? 1 : b == NULL ? -1 : text_compare(a->key, b->key);
        if (order <= 0) i++;
        if (order >= 0) j++;
        if (order < 0)
            add_pair(out, s, a->key, &a->value, NULL);
        else if (order > 0)
            add_pair(out, s, b->key, NULL, &b->value);
        else if (!text_equal(a->value, b->value))
            add_pair(out, s, a->key, &a->value, &b->value);
    }
}

void output_change(struct output *out, const struct sm_change *change)
{
    const struct sm_resource *a = &change->before, *b = &change->after;
    struct sides s = {change->was_there ? a : NULL, change->is_there ? b : NULL};
    bool is_both = s.before != NULL && s.after != NULL;
    if (!is_same_text(&s, a->type, b->type)) {
        begin(out, "type");
        either(out, &s, add_type);
    }
    if (!is_same_text(&s, a->state, b->state)) {
        begin(out, "state");
        either(out, &s, add_state);
    }
    if (!is_same_text(&s, a->owner, b->owner)) {
        begin(out, "owner");
        either(out, &s, add_owner);
    }
    if (!is_both || a->lastupdate_ns != b->lastupdate_ns) {
        begin(out, "lastupdate");
        either(out, &s, add_lastupdate);
    }
    bool is_expiration_same =
        a->has_expiration == b->has_expiration && a->expiration_ns == b->expiration_ns;
    const struct sm_resource *one = s.before != NULL ? a : b;
    if (is_both ? !is_expiration_same : one->has_expiration) {
        begin(out, "expires");
        either(out, &s, add_expiration);
    }
    add_userdata(out, &s);
}
