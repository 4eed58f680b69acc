// PostgreSQL, in its own protocol (version 3): a connection a client, two statements prepared once,
// then one bind and one execute a call. Each call is a transaction of its own. The library of
// PostgreSQL is not used, so that its cost is not taken for the server's. bench/run.py makes the
// table.
#include "bench/peer.h"

#include <endian.h>
#include <stdio.h>

#include "base/banned.h"

#define MESSAGE_BYTES_MAX (1u << 20)

static const char acquire_sql[] =
    "update lease set state = 'busy', owner = $1, updated = clock_timestamp() where name = "
    "(select name from lease where type = $2 and state = 'free' and owner = '' "
    "order by updated, name for update skip locked limit 1) returning name";
static const char release_sql[] =
    "update lease set state = 'free', owner = '', updated = clock_timestamp() "
    "where name = $2 and owner = $1 returning name";

static void put_u16(struct buffer *out, uint16_t number)
{
    number = htobe16(number);
    buffer_append(out, &number, sizeof(number));
}

static void put_u32(struct buffer *out, uint32_t number)
{
    number = htobe32(number);
    buffer_append(out, &number, sizeof(number));
}

static void put_string(struct buffer *out, const char *string)
{
    buffer_append(out, string, strlen(string) + 1);
}

// Begins a message; what it returns goes to message_end.
static size_t message(struct buffer *out, char kind)
{
    if (kind != 0) buffer_char(out, kind);
    put_u32(out, 0);
    return out->size - 4;
}

static void message_end(struct buffer *out, size_t start)
{
    uint32_t size = htobe32((uint32_t)(out->size - start));
    memcpy(out->data + start, &size, sizeof(size));
}

static void sync(struct buffer *out)
{
    message_end(out, message(out, 'S'));
}

static void startup(struct buffer *out)
{
    size_t start = message(out, 0);
    put_u32(out, 3u << 16);
    put_string(out, "user");
    put_string(out, "bench");
    put_string(out, "database");
    put_string(out, "postgres");
    buffer_char(out, 0);
    message_end(out, start);
}

static void prepare(struct buffer *out, const char *name, const char *sql)
{
    size_t start = message(out, 'P');
    put_string(out, name);
    put_string(out, sql);
    put_u16(out, 0);
    message_end(out, start);
}

static void execute(struct buffer *out, const char *statement, struct text first,
                    struct text second)
{
    size_t start = message(out, 'B');
    put_string(out, "");
    put_string(out, statement);
    put_u16(out, 0); // all as text
    put_u16(out, 2);
    put_u32(out, first.size);
    buffer_text(out, first);
    put_u32(out, second.size);
    buffer_text(out, second);
    put_u16(out, 0);
    message_end(out, start);
    start = message(out, 'E');
    put_string(out, "");
    put_u32(out, 0);
    message_end(out, start);
    sync(out);
}

static void cycle_encode(struct plan *plan, struct client *c, struct buffer *out)
{
    if (c->step == 0) {
        startup(out);
        return;
    }
    if (c->step == 1) {
        prepare(out, "acquire", acquire_sql);
        prepare(out, "release", release_sql);
        sync(out);
        return;
    }
    char owner[24];
    int size = snprintf(owner, sizeof(owner), "owner-%u", c->number);
    struct text who = text_of(owner, (size_t)size);
    c->is_releasing = c->holds;
    c->is_acquiring = !c->holds;
    if (c->holds)
        execute(out, "release", who, text_of(c->held, c->held_size));
    else
        execute(out, "acquire", who, text_from(plan->type));
}

// The first column of a row.
static struct text column(struct text message)
{
    uint32_t size;
    if (message.size < 11) return TEXT_NONE;
    memcpy(&size, message.data + 7, sizeof(size));
    size = be32toh(size);
    return size > message.size - 11 ? TEXT_NONE : text_of(message.data + 11, size);
}

// Messages up to the one that says that the server is ready.
static int64_t cycle_parse(struct plan *plan, struct client *c, struct text in,
                           enum outcome *ret_outcome)
{
    struct text row = TEXT_NONE;
    bool has_error = false;
    uint32_t at = 0;
    (void)plan;
    while (in.size - at >= 5) {
        char kind = in.data[at];
        uint32_t size;
        memcpy(&size, in.data + at + 1, sizeof(size));
        size = be32toh(size);
        if (size < 4 || size > MESSAGE_BYTES_MAX) return -1;
        if (in.size - at - 1 < size) return 0;
        if (kind == 'E') has_error = true;
        if (kind == 'D') row = column(text_of(in.data + at, size + 1));
        at += size + 1;
        if (kind == 'E' && c->step == 1) { // it refuses the connection, and says no more
            *ret_outcome = OUTCOME_WRONG;
            return at;
        }
        if (kind != 'Z') continue;
        bool is_good = !has_error;
        if (c->is_acquiring) is_good = is_good && client_take(c, row);
        if (c->is_releasing) is_good = is_good && row.size > 0;
        if (c->is_releasing && is_good) c->holds = false;
        *ret_outcome = is_good ? OUTCOME_GOOD : OUTCOME_WRONG;
        return at;
    }
    return 0;
}

const struct workload postgres_workloads[] = {
    {"postgres", "cycle", 2, cycle_encode, cycle_parse},
    {NULL, NULL, 0, NULL, NULL},
};
