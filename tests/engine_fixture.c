#include "tests/engine_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/assert.h"

#include "base/banned.h"

static const char config_text[] = "resources:\n"
                                  "- type: a\n"
                                  "  state: free\n"
                                  "  names: [a1, a2, a3, a4, a5, a6, a7, a8]\n"
                                  "- type: d\n"
                                  "  state: free\n"
                                  "  min-count: 1\n"
                                  "  max-count: 1\n"
                                  "  lifespan: 10s\n";

// ---- the clock --------------------------------------------------------------

static uint64_t stepped_wall_ns(void *context)
{
    struct stepped *c = context;
    int looks = atomic_load(&c->looks_to_jump);
    if (looks > 0 && atomic_fetch_sub(&c->looks_to_jump, 1) == 1) {
        atomic_fetch_add(&c->wall_ns, atomic_load(&c->jump_ns));
    }
    return atomic_load(&c->wall_ns);
}

static uint64_t stepped_mono_ns(void *context)
{
    struct stepped *c = context;
    return atomic_load(&c->mono_ns);
}

// The monotonic clock first: nothing sees a wall clock that is ahead of it.
void step(struct fixture *f, uint64_t ns)
{
    atomic_fetch_add(&f->clock.mono_ns, ns);
    atomic_fetch_add(&f->clock.wall_ns, ns);
}

void jump(struct fixture *f, int64_t ns)
{
    atomic_fetch_add(&f->clock.wall_ns, (uint64_t)ns);
}

// ---- the engine -------------------------------------------------------------

static void batch_done(void *context)
{
    struct fixture *f = context;
    atomic_store(&f->done_before_wake, atomic_load(&f->calls_done));
}

static void fatal(void *context, int exit_code, const char *why)
{
    (void)context;
    fprintf(stderr, "fatal, exit code %d: %s\n", exit_code, why);
    abort();
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    snprintf(f->dir, sizeof(f->dir), "/tmp/boskosd-test-engine-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->data, sizeof(f->data), "%s/data", f->dir);
    snprintf(f->config, sizeof(f->config), "%s/config.yaml", f->dir);
    snprintf(f->log_path, sizeof(f->log_path), "%s/log", f->dir);
    file_put(f->config, config_text);
    atomic_store(&f->clock.wall_ns, START_NS);
    atomic_store(&f->clock.mono_ns, 5 * NS_PER_S);
    int fd = open(f->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    f->log = (struct log){.fd = fd, .level = LOG_TRACE, .clock = clock_system()};
    f->options = (struct engine_options){
        .data_dir = f->data,
        .config_path = f->config,
        .request_ttl_ns = TTL_NS,
        .snapshot_every = ENGINE_SNAPSHOT_EVERY_DEFAULT,
        .map_bytes = 64u << 20,
        .version = "test",
        .host = "here",
        .clock = {stepped_wall_ns, stepped_mono_ns, &f->clock},
        .log = &f->log,
        .batch_done = batch_done,
        .fatal = fatal,
        .context = f,
    };
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    engine_close(f->engine);
    (void)close(f->log.fd);
    (void)nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

int fixture_try_open(struct fixture *f)
{
    f->why[0] = '\0';
    f->exit_code = 0;
    return engine_open(&f->options, &f->engine, &f->found, f->why, sizeof(f->why), &f->exit_code);
}

void fixture_open(struct fixture *f)
{
    int err = fixture_try_open(f);
    if (err != 0) fail_msg("engine_open: %d, exit code %d: %s", err, f->exit_code, f->why);
    assert_int_equal(engine_start(f->engine), 0);
}

void fixture_close(struct fixture *f)
{
    engine_close(f->engine);
    f->engine = NULL;
}

struct engine_figures figures_of(struct fixture *f)
{
    struct engine_figures figures;
    engine_figures(f->engine, &figures);
    return figures;
}

// ---- files ------------------------------------------------------------------

void file_put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

uint32_t log_count(const struct fixture *f, const char *text)
{
    char line[8192];
    uint32_t count = 0;
    FILE *file = fopen(f->log_path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        count += strstr(line, text) != NULL;
    }
    (void)fclose(file);
    return count;
}

static void file_copy(const char *from, const char *to)
{
    char bytes[65536];
    ssize_t got;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(in >= 0 && out >= 0);
    while ((got = read(in, bytes, sizeof(bytes))) > 0) {
        assert_int_equal(write(out, bytes, (size_t)got), got);
    }
    (void)close(in);
    (void)close(out);
}

void data_copy(const char *from, const char *to)
{
    char source[FILE_BYTES * 2 + 256], target[FILE_BYTES * 2 + 256];
    assert_int_equal(mkdir(to, 0700), 0);
    snprintf(target, sizeof(target), "%s/journal", to);
    assert_int_equal(mkdir(target, 0700), 0);
    snprintf(source, sizeof(source), "%s/journal", from);
    DIR *dir = opendir(source);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        bool is_witness = strcmp(entry->d_name, "WITNESS") == 0;
        if (strncmp(entry->d_name, "snapshot-", 9) != 0 && !is_witness) continue;
        if (strstr(entry->d_name, ".tmp") != NULL) continue;
        snprintf(source, sizeof(source), "%s/journal/%s", from, entry->d_name);
        snprintf(target, sizeof(target), "%s/journal/%s", to, entry->d_name);
        file_copy(source, target);
    }
    (void)closedir(dir);
    static const char *const names[] = {"data.mdb", "AHEAD"}; // in this order
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(source, sizeof(source), "%s/journal/%s", from, names[i]);
        snprintf(target, sizeof(target), "%s/journal/%s", to, names[i]);
        file_copy(source, target);
    }
}

// ---- calls ------------------------------------------------------------------

static void call_done(struct engine_request *r, int error, struct sm *sm,
                      const struct sm_result *result, uint64_t now_ns)
{
    struct call *c = (struct call *)r;
    c->error = error;
    c->now_ns = now_ns;
    c->seq = c->command.seq;
    if (result != NULL) c->reason = result->reason;
    if (result != NULL && result->resources_count > 0) {
        snprintf(c->name, sizeof(c->name), "%.*s", TEXT_ARG(result->resources[0].name));
    }
    if (c->look != NULL && error == 0) c->look(c, sm);
    c->order = atomic_fetch_add(&c->fixture->calls_done, 1) + 1;
    atomic_fetch_add(&c->times, 1);
    sem_post(&c->ready);
}

void call_init(struct call *c, struct fixture *f)
{
    *c = (struct call){.request = {.done = call_done}, .fixture = f};
    assert_int_equal(sem_init(&c->ready, 0, 0), 0);
}

void call_command(struct call *c, enum command_kind kind)
{
    c->command.kind = kind;
    c->request.command = &c->command;
}

void call_send(struct call *c)
{
    engine_submit(c->fixture->engine, &c->request);
}

void call_wait(struct call *c)
{
    while (sem_wait(&c->ready) != 0) {
    }
    sem_destroy(&c->ready);
}

struct call acquire(struct fixture *f, const char *type, const char *state, const char *owner,
                    const char *request_id)
{
    struct call c;
    call_init(&c, f);
    call_command(&c, COMMAND_ACQUIRE);
    c.command.as.acquire = (struct command_acquire){.type = text_from(type),
                                                    .state = text_from(state),
                                                    .dest = TEXT("busy"),
                                                    .owner = text_from(owner),
                                                    .request_id = text_from(request_id)};
    call_send(&c);
    call_wait(&c);
    return c;
}

struct call release(struct fixture *f, const char *name, const char *owner, const char *dest)
{
    struct call c;
    call_init(&c, f);
    call_command(&c, COMMAND_RELEASE);
    c.command.as.release = (struct command_release){
        .name = text_from(name), .dest = text_from(dest), .owner = text_from(owner)};
    call_send(&c);
    call_wait(&c);
    return c;
}

struct call update(struct fixture *f, const char *name, const char *owner, const char *state,
                   const char *key, struct text value)
{
    struct call c;
    struct userdata_pair pair = {text_from(key), value};
    call_init(&c, f);
    call_command(&c, COMMAND_UPDATE);
    c.command.as.update = (struct command_update){.name = text_from(name),
                                                  .owner = text_from(owner),
                                                  .state = text_from(state),
                                                  .has_body = true,
                                                  .pairs = &pair,
                                                  .pairs_count = 1};
    call_send(&c);
    call_wait(&c);
    return c;
}

void ask(struct fixture *f, void (*look)(struct call *c, struct sm *sm), void *context)
{
    struct call c;
    call_init(&c, f);
    c.look = look;
    c.context = context;
    call_send(&c);
    call_wait(&c);
    assert_int_equal(c.error, 0);
}

static void look_state(struct call *c, struct sm *sm)
{
    struct state_at *at = c->context;
    *at = (struct state_at){sm_seq(sm), sm_resources_count(sm), sm_digest(sm)};
}

struct state_at state_of(struct fixture *f)
{
    struct state_at at;
    ask(f, look_state, &at);
    return at;
}

struct look_for {
    struct text name;
    struct seen seen;
};

static void look_resource(struct call *c, struct sm *sm)
{
    struct look_for *l = c->context;
    struct sm_resource r;
    if (sm_find(sm, l->name, &r) != 0) return;
    snprintf(l->seen.state, sizeof(l->seen.state), "%.*s", TEXT_ARG(r.state));
    snprintf(l->seen.owner, sizeof(l->seen.owner), "%.*s", TEXT_ARG(r.owner));
}

struct seen see(struct fixture *f, const char *name)
{
    struct look_for l = {text_from(name), {"-", ""}};
    ask(f, look_resource, &l);
    return l.seen;
}

// ---- the log ----------------------------------------------------------------

static struct journal *journal_at(const char *data_dir)
{
    struct journal_options options = {.dir = data_dir, .map_bytes = 64u << 20};
    struct journal_problem problem = {0};
    struct journal *j = NULL;
    int err = journal_open(&options, &j, &problem);
    if (err != 0) fail_msg("journal_open: %d %s", err, problem.text);
    return j;
}

static void entry_fill(struct entry *e, const struct record *r, const struct journal_row *row,
                       struct command_decoder *decoder)
{
    struct command c;
    assert_int_equal(command_decode(decoder, r->kind, r->payload, &c), 0);
    *e = (struct entry){.seq = r->seq, .time_ns = r->time_ns, .kind = r->kind};
    if (r->kind == COMMAND_CLOCK) e->number = c.as.clock.ahead_ns;
    if (r->kind == COMMAND_STARTED) e->number = c.as.started.downtime_ns;
    if (row->seq == 0) return;
    assert_true(row->bytes.size > 0 && row->bytes.size <= sizeof(e->row));
    e->row_size = row->bytes.size;
    memcpy(e->row, row->bytes.data, row->bytes.size);
}

struct entries log_read(const char *data_dir)
{
    struct journal *j = journal_at(data_dir);
    struct journal_cursor *cursor = NULL;
    struct command_decoder *decoder = command_decoder_new();
    struct entries e = {calloc(journal_end(j), sizeof(struct entry)), 0};
    struct record r;
    struct journal_row row;
    assert_non_null(e.list);
    assert_int_equal(journal_cursor_open(j, 1, NULL, &cursor, NULL), 0);
    int err;
    while ((err = journal_cursor_next(cursor, &r, &row, NULL)) == 0) {
        assert_int_equal(r.seq, e.count + 1);
        if (e.count > 0) assert_true(r.time_ns >= e.list[e.count - 1].time_ns);
        entry_fill(&e.list[e.count++], &r, &row, decoder);
    }
    assert_int_equal(err, BOSKOS_E_NOT_FOUND);
    command_decoder_free(decoder);
    journal_cursor_close(cursor);
    journal_close(j);
    return e;
}

void entries_free(struct entries *e)
{
    free(e->list);
}

size_t entries_of(const struct entries *e, enum command_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < e->count; i++) {
        count += e->list[i].kind == kind;
    }
    return count;
}

const struct entry *entry_find(const struct entries *e, size_t from, enum command_kind kind)
{
    for (size_t i = from; i < e->count; i++) {
        if (e->list[i].kind == kind) return &e->list[i];
    }
    fail_msg("no %s in the log from entry %zu on", command_kind_name(kind), from);
    return NULL;
}

struct state_at log_replay(const char *data_dir)
{
    struct journal *j = journal_at(data_dir);
    struct journal_cursor *cursor = NULL;
    struct command_decoder *decoder = command_decoder_new();
    struct sm *sm = sm_new(1);
    struct record r;
    struct journal_row row;
    struct buffer made;
    buffer_init(&made);
    assert_int_equal(journal_cursor_open(j, 1, NULL, &cursor, NULL), 0);
    while (journal_cursor_next(cursor, &r, &row, NULL) == 0) {
        struct command c;
        struct sm_result result;
        assert_int_equal(command_decode(decoder, r.kind, r.payload, &c), 0);
        c.seq = r.seq;
        c.time_ns = r.time_ns;
        sm_apply(sm, &c, &result);
        buffer_clear(&made);
        sm_result_encode(&result, &made);
        if (row.seq != 0) assert_true(text_equal(row.bytes, buffer_as_text(&made)));
    }
    struct state_at at = {sm_seq(sm), sm_resources_count(sm), sm_digest_from_scratch(sm)};
    assert_int_equal(at.seq + 1, journal_end(j));
    buffer_release(&made);
    sm_free(sm);
    command_decoder_free(decoder);
    journal_cursor_close(cursor);
    journal_close(j);
    return at;
}

void row_put(const char *data_dir, uint64_t seq, const char *row, size_t size)
{
    struct journal *j = journal_at(data_dir);
    struct journal_row changed = {seq, text_of(row, size)};
    assert_int_equal(journal_append(j, NULL, 0, &changed, 1, NULL), 0);
    journal_close(j);
}

uint64_t *snapshots_of(const char *data_dir, size_t *ret_count)
{
    struct journal *j = journal_at(data_dir);
    uint64_t *seqs = NULL;
    *ret_count = 0;
    assert_int_equal(journal_snapshots(j, false, &seqs, ret_count), 0);
    journal_close(j);
    return seqs;
}

void snapshot_path_of(const char *data_dir, uint64_t seq, char ret_path[FILE_BYTES])
{
    snprintf(ret_path, FILE_BYTES, "%s/journal/snapshot-%020" PRIu64, data_dir, seq);
}
