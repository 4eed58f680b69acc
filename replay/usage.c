// usage: leases, how long they were held and waited for, and refusals, of a stretch of the past, by
// type, owner or resource.
//
// A stretch begins and ends at the instants that --from and --to name, whether commands are there
// or not: what is held throughout counts. A number stands for an instant: of --from that of the
// command before it, of --to its own. Nothing is counted before the first command, nor after the
// last one, as what comes after it is not known. A lease counts for the part of it that is within.
// Waiting is what an
// acquire that was granted had waited since its first poll, 0 for one that did not queue; being
// told again of a lease by its key is no grant. The memory it takes has a bound: keys beyond
// KEYS_MAX, or beyond KEY_BYTES_MAX of them, are counted together.
//
// With --json an object a line, by held time, the largest first:
//
//   {"type":KEY | "owner":KEY | "resource":KEY | "others":true | "total":true,
//    "at-start":N,"begun":N,"ended":N,"at-end":N   leases: when the stretch begins, within, and
//    after "held-seconds":S                              of all leases together
//    "existed-seconds":S,"utilisation":U           by type and resource: how long resources were
//                                                  there together, and held / existed
//    "average":A                                   by owner: leases at once, held / length
//    "grants":N,"waited":N                         acquires granted; of them those that had waited
//    "wait-p50-seconds":S,"wait-p99-seconds":S,    of all grants, null without one; percentiles are
//    "wait-max-seconds":S                          exact when up to 10,000 had waited, and else up
//                                                  to 2 % too long, or what stderr says
//    "refused":N}                                  acquires refused; not by resource
//
// What cannot be divided is null. The last line is the total; it also has first, last (commands,
// null without one), since and until (times) of the stretch, null when it ends before the first
// command.
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "replay/histogram.h"
#include "replay/replay.h"
#include "statemachine/table.h"
#include "wire/wire.h"

#include "base/banned.h"

#define KEYS_MAX 65536u
#define KEY_BYTES_MAX (8u * 1024 * 1024)
#define WAITS_EXACT_MAX 10000u            // of all that waited
#define WAIT_PARTS_MAX (4u * 1024 * 1024) // of 8 bytes

// Sums of nanoseconds: a million resources have more than 2^64 of them in a week.
__extension__ typedef unsigned __int128 sum_ns;

enum by { BY_TYPE, BY_OWNER, BY_RESOURCE };

// Of something that begins and ends again and again: of leases, or of resources being there. How
// long all of them took together is what the ends' offsets into the stretch add up to, without what
// the begins' do.
struct spans {
    uint64_t at_start, begun, ended;
    sum_ns begun_at, ended_at;
};

struct row {
    struct table_item item;
    struct spans leases, existence;
    uint64_t grants, waited, refused;
    uint64_t wait_most_ns;
    struct histogram waits; // those above 0
    sum_ns held_ns;         // at the end
    uint32_t key_size;
    char key[];
};

struct usage {
    struct replay *r;
    struct walk *walk;
    enum by by;
    uint64_t from, to;           // commands; to + 1, to: none
    uint64_t since_ns, until_ns; // 0 for both: before the first command
    struct table rows;
    uint64_t key_bytes;
    struct row *others, *total;
    bool has_others;
    struct histogram_pool pool;
};

static const char *const by_names[] = {
    [BY_TYPE] = "type", [BY_OWNER] = "owner", [BY_RESOURCE] = "resource"};

// ---- rows -----------------------------------------------------------------------------

static struct text row_key(const struct row *row)
{
    return text_of(row->key, row->key_size);
}

static bool has_key(const void *item, const void *key)
{
    return text_equal(row_key(item), *(const struct text *)key);
}

static struct row *row_take(struct usage *u, struct text key)
{
    uint32_t hash = (uint32_t)hash64(key.data, key.size, 0);
    struct row *row = table_find(&u->rows, hash, has_key, &key);
    if (row != NULL) return row;
    if (u->rows.count >= KEYS_MAX || u->key_bytes + key.size > KEY_BYTES_MAX) {
        u->has_others = true;
        return u->others;
    }
    row = must_calloc(1, sizeof(*row) + key.size);
    row->item.hash = hash;
    row->key_size = key.size;
    memcpy(row->key, key.data, key.size);
    u->key_bytes += key.size;
    table_add(&u->rows, row);
    return row;
}

static struct text key_of(const struct usage *u, const struct sm_resource *r)
{
    switch (u->by) {
    case BY_TYPE: return r->type;
    case BY_OWNER: return r->owner;
    case BY_RESOURCE: return r->name;
    }
    ASSERT(false && "a key that exists");
    return r->type;
}

// ---- counting ---------------------------------------------------------------------------

static void span_begin(struct spans *s, uint64_t offset_ns)
{
    s->begun++;
    s->begun_at += offset_ns;
}

static void span_end(struct spans *s, uint64_t offset_ns)
{
    s->ended++;
    s->ended_at += offset_ns;
}

static uint64_t spans_now(const struct spans *s)
{
    return s->at_start + s->begun - s->ended;
}

static sum_ns spans_sum(const struct spans *s, uint64_t length_ns)
{
    return s->ended_at + (sum_ns)spans_now(s) * length_ns - s->begun_at;
}

static bool is_owned(bool is_there, const struct sm_resource *r)
{
    return is_there && !text_is_empty(r->owner);
}

static bool count_at_start(void *context, const struct sm_resource *r)
{
    struct usage *u = context;
    if (u->by == BY_OWNER && !is_owned(true, r)) return true;
    struct row *row = row_take(u, key_of(u, r));
    row->existence.at_start++;
    u->total->existence.at_start++;
    if (!is_owned(true, r)) return true;
    row->leases.at_start++;
    u->total->leases.at_start++;
    return true;
}

static void count_existence(struct usage *u, const struct sm_change *c, uint64_t offset_ns)
{
    if (u->by == BY_OWNER) return;
    bool is_moved =
        c->was_there && c->is_there && !text_equal(key_of(u, &c->before), key_of(u, &c->after));
    if (c->was_there && (!c->is_there || is_moved)) {
        span_end(&row_take(u, key_of(u, &c->before))->existence, offset_ns);
        span_end(&u->total->existence, offset_ns);
    }
    if (c->is_there && (!c->was_there || is_moved)) {
        span_begin(&row_take(u, key_of(u, &c->after))->existence, offset_ns);
        span_begin(&u->total->existence, offset_ns);
    }
}

static void count_leases(struct usage *u, const struct sm_change *c, uint64_t offset_ns)
{
    bool was_owned = is_owned(c->was_there, &c->before);
    bool is_now = is_owned(c->is_there, &c->after);
    if (was_owned && is_now && text_equal(c->before.owner, c->after.owner) &&
        text_equal(c->before.type, c->after.type)) {
        return; // it goes on
    }
    if (was_owned) {
        span_end(&row_take(u, key_of(u, &c->before))->leases, offset_ns);
        span_end(&u->total->leases, offset_ns);
    }
    if (is_now) {
        span_begin(&row_take(u, key_of(u, &c->after))->leases, offset_ns);
        span_begin(&u->total->leases, offset_ns);
    }
}

static void count_wait(struct usage *u, struct row *row, uint64_t waited_ns)
{
    row->grants++;
    if (waited_ns == 0) return;
    row->waited++;
    if (waited_ns > row->wait_most_ns) row->wait_most_ns = waited_ns;
    histogram_add(&u->pool, &row->waits, waited_ns);
}

static void count_acquire(struct usage *u, const struct command_acquire *c,
                          const struct sm_result *result)
{
    if (result->is_repeat) return;
    bool is_granted = result->reason == SM_OK;
    if (u->by == BY_RESOURCE && !is_granted) return;
    struct text key = u->by == BY_TYPE    ? c->type
                      : u->by == BY_OWNER ? c->owner
                                          : result->resources[0].name;
    struct row *row = row_take(u, key);
    if (is_granted) {
        count_wait(u, row, result->waited_ns);
        count_wait(u, u->total, result->waited_ns);
    } else {
        row->refused++;
        u->total->refused++;
    }
}

static void count_step(struct usage *u, const struct walk_step *step)
{
    struct sm_change change;
    uint32_t count = walk_changes(u->walk);
    uint64_t offset_ns = step->command.time_ns - u->since_ns;
    for (uint32_t i = 0; i < count; i++) {
        walk_change(u->walk, i, &change);
        count_existence(u, &change, offset_ns);
        count_leases(u, &change, offset_ns);
    }
    if (step->command.kind == COMMAND_ACQUIRE)
        count_acquire(u, &step->command.as.acquire, &step->result);
}

// The walk is at the state that the stretch begins with.
static uint64_t find_since(const struct usage *u)
{
    uint64_t instant = 0;
    if (u->from == 1) return 0; // the first command will say
    if (point_instant(&u->r->span, &u->r->options->from, &instant)) return instant;
    return sm_time_ns(walk_state(u->walk));
}

// The walk is at the state that the stretch ends with. A later command is needed to know that it
// lasted until an instant.
static uint64_t find_until(const struct usage *u)
{
    uint64_t instant = 0;
    bool is_instant = point_instant(&u->r->span, &u->r->options->to, &instant);
    if (is_instant && u->to > 0 && u->to < u->r->span.last) return instant;
    return sm_time_ns(walk_state(u->walk));
}

static int count_all(struct usage *u)
{
    struct replay *r = u->r;
    struct sm *sm = walk_state(u->walk);
    const struct walk_step *step = NULL;
    (void)sm_list(sm, &(struct sm_filter){0}, count_at_start, u);
    u->since_ns = find_since(u);
    walk_trace(u->walk);
    progress_begin(&r->progress, "commands");
    while (sm_seq(sm) < u->to) {
        int err = walk_next(u->walk, &step, &r->problem);
        if (err == BOSKOS_E_NOT_FOUND)
            return replay_fail(r, err, "the log ends before command %" PRIu64, u->to);
        if (err != 0) return err;
        if (step->command.seq == 1) u->since_ns = step->command.time_ns;
        count_step(u, step);
        progress_said(&r->progress, sm_seq(sm) - u->from + 1, u->to - u->from + 1);
    }
    progress_end(&r->progress);
    u->until_ns = find_until(u);
    if (u->since_ns <= u->until_ns) return 0;
    if (u->to < r->span.last) return replay_backwards(r);
    return replay_fail(r, BOSKOS_E_NOT_FOUND, "--from %s is after the last command, %" PRIu64,
                       r->options->from.text, u->to);
}

// ---- figures of a row -----------------------------------------------------------------------

static uint64_t length_of(const struct usage *u)
{
    return u->until_ns - u->since_ns;
}

// The wait that so many per cent of the grants did not have to go beyond.
static uint64_t wait_percentile(const struct usage *u, const struct row *row, uint32_t percent)
{
    uint64_t rank = (row->grants * percent + 99) / 100, none = row->grants - row->waited;
    if (rank <= none) return 0;
    if (rank == row->grants) return row->wait_most_ns;
    uint64_t about = histogram_at(&u->pool, &row->waits, rank - none);
    return about < row->wait_most_ns ? about : row->wait_most_ns;
}

// Held by existed, or by the length of the stretch. False when that cannot be.
static bool share_of(const struct usage *u, const struct row *row, double *ret_share)
{
    uint64_t length = length_of(u);
    sum_ns whole = u->by == BY_OWNER ? length : spans_sum(&row->existence, length);
    if (whole == 0) return false;
    *ret_share = (double)row->held_ns / (double)whole;
    return true;
}

static int by_held(const void *a, const void *b)
{
    const struct row *x = *(const struct row *const *)a;
    const struct row *y = *(const struct row *const *)b;
    if (x->held_ns != y->held_ns) return x->held_ns > y->held_ns ? -1 : 1;
    return text_compare(row_key(x), row_key(y));
}

// All rows in the order in which they are printed, the others and the total last. Returned, caller
// frees.
static struct row **sort_rows(struct usage *u, uint32_t *ret_count)
{
    uint32_t at = 0, count = 0;
    struct row **sorted = must_malloc(((size_t)u->rows.count + 2) * sizeof(struct row *));
    for (struct row *row; (row = table_next(&u->rows, &at)) != NULL;)
        sorted[count++] = row;
    for (uint32_t i = 0; i < count; i++)
        sorted[i]->held_ns = spans_sum(&sorted[i]->leases, length_of(u));
    qsort(sorted, count, sizeof(struct row *), by_held);
    if (u->has_others) sorted[count++] = u->others;
    sorted[count++] = u->total;
    u->others->held_ns = spans_sum(&u->others->leases, length_of(u));
    u->total->held_ns = spans_sum(&u->total->leases, length_of(u));
    *ret_count = count;
    return sorted;
}

// ---- for programs ---------------------------------------------------------------------------

static void json_seconds(struct output *out, const char *name, sum_ns ns)
{
    uint64_t rest = (uint64_t)(ns % NS_PER_S);
    output_format(out, ",\"%s\":%" PRIu64, name, (uint64_t)(ns / NS_PER_S));
    if (rest == 0) return;
    output_format(out, ".%09" PRIu64, rest);
    while (out->line.data[out->line.size - 1] == '0')
        out->line.size--;
}

static void json_waits(struct usage *u, const struct row *row)
{
    struct output *out = &u->r->out;
    output_format(out, ",\"grants\":%" PRIu64 ",\"waited\":%" PRIu64, row->grants, row->waited);
    if (row->grants == 0) {
        output_string(out, ",\"wait-p50-seconds\":null,\"wait-p99-seconds\":null"
                           ",\"wait-max-seconds\":null");
        return;
    }
    json_seconds(out, "wait-p50-seconds", wait_percentile(u, row, 50));
    json_seconds(out, "wait-p99-seconds", wait_percentile(u, row, 99));
    json_seconds(out, "wait-max-seconds", row->wait_most_ns);
}

static void json_stretch(struct usage *u)
{
    struct output *out = &u->r->out;
    if (u->from <= u->to)
        output_format(out, ",\"first\":%" PRIu64 ",\"last\":%" PRIu64, u->from, u->to);
    else
        output_string(out, ",\"first\":null,\"last\":null");
    if (u->to == 0) {
        output_string(out, ",\"since\":null,\"until\":null");
        return;
    }
    output_string(out, ",\"since\":\"");
    output_time(out, u->since_ns);
    output_string(out, "\",\"until\":\"");
    output_time(out, u->until_ns);
    output_string(out, "\"");
}

static void json_row(struct usage *u, const struct row *row)
{
    struct output *out = &u->r->out;
    const struct spans *leases = &row->leases;
    double share;
    if (row == u->others || row == u->total) {
        output_string(out, row == u->total ? "{\"total\":true" : "{\"others\":true");
    } else {
        output_format(out, "{\"%s\":", by_names[u->by]);
        wire_json_string(&out->line, row_key(row));
    }
    output_format(out,
                  ",\"at-start\":%" PRIu64 ",\"begun\":%" PRIu64 ",\"ended\":%" PRIu64
                  ",\"at-end\":%" PRIu64,
                  leases->at_start, leases->begun, leases->ended, spans_now(leases));
    json_seconds(out, "held-seconds", row->held_ns);
    if (u->by != BY_OWNER)
        json_seconds(out, "existed-seconds", spans_sum(&row->existence, length_of(u)));
    output_string(out, u->by == BY_OWNER ? ",\"average\":" : ",\"utilisation\":");
    if (share_of(u, row, &share))
        output_format(out, "%.6f", share);
    else
        output_string(out, "null");
    json_waits(u, row);
    if (u->by != BY_RESOURCE) output_format(out, ",\"refused\":%" PRIu64, row->refused);
    if (row == u->total) json_stretch(u);
    output_string(out, "}\n");
    output_drain(out);
}

// ---- for people -----------------------------------------------------------------------------

#define COLUMNS 9u
#define CELL_BYTES 48u

// A row's figures as they are printed, right-aligned below their headings.
struct cells {
    char text[COLUMNS][CELL_BYTES];
};

static const char *const headings[COLUMNS] = {
    "AT START", "BEGUN", "ENDED", "HELD", "IN USE", "WAIT P50", "WAIT P99", "WAIT MAX", "REFUSED"};
#define COLUMN_SHARE 4u
#define COLUMN_P50 5u
#define COLUMN_P99 6u

static const char *heading_of(const struct usage *u, uint32_t column)
{
    if (column == COLUMN_SHARE && u->by == BY_OWNER) return "AT ONCE";
    if (column == COLUMN_P50 && !u->pool.is_exact) return "ABOUT P50";
    if (column == COLUMN_P99 && !u->pool.is_exact) return "ABOUT P99";
    return headings[column];
}

static uint32_t columns_of(const struct usage *u)
{
    return u->by == BY_RESOURCE ? COLUMNS - 1 : COLUMNS; // refusals are of no resource
}

static void number_cell(char cell[CELL_BYTES], uint64_t number)
{
    (void)snprintf(cell, CELL_BYTES, "%" PRIu64, number);
}

// As a Go duration, without what nobody reads beside hours or seconds.
static void duration_cell(char cell[CELL_BYTES], sum_ns ns)
{
    if (ns > INT64_MAX) {
        (void)snprintf(cell, CELL_BYTES, "%" PRIu64 "h", (uint64_t)(ns / NS_PER_S / 3600));
        return;
    }
    uint64_t unit = ns >= 3600 * NS_PER_S ? NS_PER_S : ns >= NS_PER_S ? NS_PER_MS : NS_PER_US;
    struct buffer b;
    buffer_init(&b);
    duration_format((int64_t)((uint64_t)ns / unit * unit), &b);
    (void)snprintf(cell, CELL_BYTES, "%.*s", (int)b.size, b.data);
    buffer_release(&b);
}

static void fill_cells(const struct usage *u, const struct row *row, struct cells *cells)
{
    double share;
    uint32_t i = 0;
    number_cell(cells->text[i++], row->leases.at_start);
    number_cell(cells->text[i++], row->leases.begun);
    number_cell(cells->text[i++], row->leases.ended);
    duration_cell(cells->text[i++], row->held_ns);
    if (!share_of(u, row, &share))
        (void)snprintf(cells->text[i++], CELL_BYTES, "-");
    else if (u->by == BY_OWNER)
        (void)snprintf(cells->text[i++], CELL_BYTES, "%.2f", share);
    else
        (void)snprintf(cells->text[i++], CELL_BYTES, "%.1f %%", share * 100);
    if (row->grants == 0) {
        for (uint32_t j = 0; j < 3; j++)
            (void)snprintf(cells->text[i++], CELL_BYTES, "-");
    } else {
        duration_cell(cells->text[i++], wait_percentile(u, row, 50));
        duration_cell(cells->text[i++], wait_percentile(u, row, 99));
        duration_cell(cells->text[i++], row->wait_most_ns);
    }
    number_cell(cells->text[i++], row->refused);
    ASSERT(i == COLUMNS);
}

static struct text label_of(const struct usage *u, const struct row *row)
{
    if (row == u->total) return TEXT("total");
    return row == u->others ? TEXT("(others)") : row_key(row);
}

static void print_head(struct usage *u, uint32_t key_width, const uint32_t widths[COLUMNS])
{
    static const char *const names[] = {
        [BY_TYPE] = "TYPE", [BY_OWNER] = "OWNER", [BY_RESOURCE] = "RESOURCE"};
    struct output *out = &u->r->out;
    char length[CELL_BYTES];
    duration_cell(length, length_of(u));
    output_colour(out, COLOUR_DIM);
    if (u->to == 0) {
        output_string(out, "before the first command");
    } else {
        if (u->from <= u->to)
            output_format(out, "commands %" PRIu64 " to %" PRIu64 ", ", u->from, u->to);
        else
            output_string(out, "no commands, ");
        output_time(out, u->since_ns);
        output_string(out, " to ");
        output_time(out, u->until_ns);
        output_format(out, ", %s", length);
    }
    output_colour(out, COLOUR_NONE);
    output_string(out, "\n\n");
    output_colour(out, COLOUR_BOLD);
    output_cell(out, text_from(names[u->by]), key_width);
    for (uint32_t i = 0; i < columns_of(u); i++)
        output_format(out, "%s%*s", i == 0 ? "" : "  ", (int)widths[i], heading_of(u, i));
    output_colour(out, COLOUR_NONE);
    output_string(out, "\n");
}

static void print_table(struct usage *u, struct row *const *rows, uint32_t count)
{
    struct output *out = &u->r->out;
    struct cells cells;
    uint32_t key_width = (uint32_t)strlen(by_names[u->by]);
    uint32_t widths[COLUMNS];
    for (uint32_t i = 0; i < COLUMNS; i++)
        widths[i] = (uint32_t)strlen(heading_of(u, i));
    for (uint32_t n = 0; n < count; n++) {
        uint32_t width = output_width(label_of(u, rows[n]));
        if (width > key_width) key_width = width;
        fill_cells(u, rows[n], &cells);
        for (uint32_t i = 0; i < COLUMNS; i++) {
            uint32_t size = (uint32_t)strlen(cells.text[i]); // of one byte a column
            if (size > widths[i]) widths[i] = size;
        }
    }
    print_head(u, key_width, widths);
    for (uint32_t n = 0; n < count; n++) {
        fill_cells(u, rows[n], &cells);
        if (rows[n] == u->total) output_colour(out, COLOUR_BOLD);
        output_cell(out, label_of(u, rows[n]), key_width);
        for (uint32_t i = 0; i < columns_of(u); i++)
            output_format(out, "%s%*s", i == 0 ? "" : "  ", (int)widths[i], cells.text[i]);
        if (rows[n] == u->total) output_colour(out, COLOUR_NONE);
        output_string(out, "\n");
        output_drain(out);
    }
}

// ---- all of it ------------------------------------------------------------------------------

static void say_limits(const struct usage *u)
{
    if (u->has_others)
        (void)fprintf(stderr,
                      "boskos-replay: more than %" PRIu32 " keys: the %ss beyond them are together "
                      "as others\n",
                      u->rows.count, by_names[u->by]);
    if (u->pool.bits < HISTOGRAM_BITS)
        (void)fprintf(stderr,
                      "boskos-replay: waiting times p50 and p99 may be up to %" PRIu32
                      " %% too long\n",
                      (100 + histogram_error(&u->pool) - 1) / histogram_error(&u->pool));
}

static void print_usage(struct usage *u)
{
    uint32_t count = 0;
    struct row **rows = sort_rows(u, &count);
    say_limits(u);
    for (uint32_t i = 0; i < count && u->r->options->json; i++)
        json_row(u, rows[i]);
    if (!u->r->options->json) print_table(u, rows, count);
    free(rows);
}

static enum by by_of(const char *name)
{
    if (name == NULL || strcmp(name, "type") == 0) return BY_TYPE;
    return strcmp(name, "owner") == 0 ? BY_OWNER : BY_RESOURCE;
}

int replay_usage(struct replay *r)
{
    struct usage u = {.r = r, .by = by_of(r->options->by)};
    int err = replay_stretch(r, &u.from, &u.to);
    if (err == 0) err = replay_walk(r, u.from - 1, &u.walk);
    if (err != 0) return err;
    histogram_pool_init(&u.pool, 2 * WAITS_EXACT_MAX, WAIT_PARTS_MAX); // of a row and of the total
    u.others = must_calloc(1, sizeof(*u.others));
    u.total = must_calloc(1, sizeof(*u.total));
    err = count_all(&u);
    if (err == 0) print_usage(&u);
    histogram_pool_release(&u.pool);
    uint32_t at = 0;
    for (struct row *row; (row = table_next(&u.rows, &at)) != NULL;)
        free(row);
    table_release(&u.rows);
    free(u.others);
    free(u.total);
    walk_leave(u.walk);
    return err;
}
