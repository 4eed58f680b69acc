// Checking a config file.
#include "client/check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"

#include "base/banned.h"

#define PIECE_BYTES 65536u

// ---- lines ----------------------------------------------------------------------

// One line; what a terminal would obey is escaped, for names may come from anywhere.
static void print_line(FILE *out, const struct buffer *line)
{
    struct text rest = buffer_as_text(line);
    char escape[TEXT_ESCAPE_BYTES];
    while (rest.size > 0) {
        uint32_t rune = 0, size = text_rune(rest, &rune);
        uint32_t escaped = size > 0 ? text_escape(rune, escape) : 0;
        if (size == 0)
            (void)fprintf(out, "\\x%02x", (unsigned char)rest.data[0]);
        else
            (void)fwrite(escaped > 0 ? escape : rest.data, 1, escaped > 0 ? escaped : size, out);
        if (size == 0) size = 1;
        rest.data += size;
        rest.size -= size;
    }
    (void)fputc('\n', out);
}

static int end_output(struct program *p)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0) return PROGRAM_OK;
    return program_fail(p, "cannot write to stdout: %s", strerror(errno));
}

// ---- the file -------------------------------------------------------------------

// The content of a file, or of stdin for "-". 0, BOSKOS_E_IO (errno says why), or
// BOSKOS_E_TOO_LARGE.
static int read_file(const char *path, struct buffer *text)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int err = 0, fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return BOSKOS_E_IO;
    while (err == 0) {
        ssize_t got = read(fd, buffer_reserve(text, PIECE_BYTES), PIECE_BYTES);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            err = got == 0 ? 0 : BOSKOS_E_IO;
            break;
        }
        text->size += (size_t)got;
        if (text->size > CONFIG_BYTES_MAX) err = BOSKOS_E_TOO_LARGE;
    }
    int why = errno;
    if (!is_stdin) (void)close(fd);
    errno = why;
    return err;
}

static void print_messages(const char *path, const char *kind,
                           const struct config_message *messages, size_t count)
{
    struct buffer line;
    buffer_init(&line);
    for (size_t i = 0; i < count; i++) {
        buffer_clear(&line);
        buffer_string(&line, path);
        if (messages[i].line > 0) buffer_format(&line, ":%" PRIu32, messages[i].line);
        buffer_format(&line, ": %s: ", kind);
        buffer_text(&line, messages[i].text);
        print_line(stderr, &line);
    }
    buffer_release(&line);
}

static void print_contents(const char *path, const struct config *c)
{
    size_t names = 0, dynamic = 0, entries = c->entries_count;
    struct buffer line;
    for (size_t i = 0; i < entries; i++) {
        names += c->entries[i].names_count;
        if (c->entries[i].is_dynamic) dynamic++;
    }
    buffer_init(&line);
    buffer_format(&line, "%s: good: %zu static %s with %zu %s, %zu dynamic", path,
                  entries - dynamic, entries - dynamic == 1 ? "entry" : "entries", names,
                  names == 1 ? "name" : "names", dynamic);
    print_line(stdout, &line);
    buffer_release(&line);
}

int check_file(struct program *p, const char *path, bool is_strict, struct config **ret_config)
{
    const char *shown = strcmp(path, "-") == 0 ? "stdin" : path;
    struct config_report report = {0};
    struct config *config = NULL;
    struct buffer text;
    buffer_init(&text);
    int err = read_file(path, &text);
    if (err != 0) {
        (void)program_fail(p, "%s: %s", shown,
                           err == BOSKOS_E_IO ? strerror(errno) : "longer than 64 MiB");
    } else {
        err = config_parse(buffer_as_text(&text), &config, &report);
        print_messages(shown, "error", report.errors, report.errors_count);
        print_messages(shown, is_strict ? "error" : "warning", report.warnings,
                       report.warnings_count);
        if (is_strict && report.warnings_count > 0) err = BOSKOS_E_MALFORMED;
        config_report_release(&report);
    }
    buffer_release(&text);
    if (err != 0) {
        config_free(config);
        return PROGRAM_FAILED;
    }
    print_contents(shown, config);
    if (end_output(p) != PROGRAM_OK) {
        config_free(config);
        return PROGRAM_FAILED;
    }
    *ret_config = config;
    return PROGRAM_OK;
}

// ---- against a server -----------------------------------------------------------
//
// The rules are the server's (statemachine/config_apply.c and upkeep.c), as far as they can be told
// from outside. Whether a resource that the config does not name was static or dynamic cannot: both
// end, one at once and the other by way of toBeDeleted.

struct place { // of a static name
    struct text name;
    const struct config_entry *entry;
    bool is_there;
};

struct cycle { // of a dynamic type
    struct text type;
    const struct config_entry *entry;
    size_t index; // in the config: the last one of a type wins
    int64_t count, doomed;
    const struct boskos_resource **live; // unowned and not doomed, by name
    size_t live_count;
};

struct plan {
    struct place *places; // by name
    size_t places_count;
    struct cycle *cycles; // by type
    size_t cycles_count;
    struct buffer line;
    uint64_t adds, deletes, delays;
};

static int by_place(const void *a, const void *b)
{
    return text_compare(((const struct place *)a)->name, ((const struct place *)b)->name);
}

static int by_type(const void *a, const void *b)
{
    return text_compare(((const struct cycle *)a)->type, ((const struct cycle *)b)->type);
}

static int by_type_and_index(const void *a, const void *b)
{
    size_t x = ((const struct cycle *)a)->index, y = ((const struct cycle *)b)->index;
    int order = by_type(a, b);
    return order != 0 ? order : (x > y) - (x < y);
}

static void plan_release(struct plan *plan)
{
    for (size_t i = 0; i < plan->cycles_count; i++)
        free(plan->cycles[i].live);
    free(plan->cycles);
    free(plan->places);
    buffer_release(&plan->line);
}

static void plan_init(struct plan *plan, const struct config *c)
{
    size_t names = 0, kept = 0;
    *plan = (struct plan){0};
    buffer_init(&plan->line);
    for (size_t i = 0; i < c->entries_count; i++)
        names += c->entries[i].names_count;
    plan->places = must_calloc(names + 1, sizeof(struct place));
    plan->cycles = must_calloc(c->entries_count + 1, sizeof(struct cycle));
    for (size_t i = 0; i < c->entries_count; i++) {
        const struct config_entry *e = &c->entries[i];
        for (size_t j = 0; j < e->names_count; j++)
            plan->places[plan->places_count++] = (struct place){.name = e->names[j], .entry = e};
        if (e->is_dynamic)
            plan->cycles[plan->cycles_count++] =
                (struct cycle){.type = e->type, .entry = e, .index = i};
    }
    qsort(plan->places, plan->places_count, sizeof(struct place), by_place);
    qsort(plan->cycles, plan->cycles_count, sizeof(struct cycle), by_type_and_index);
    for (size_t i = 0; i < plan->cycles_count; i++) {
        if (kept > 0 && by_type(&plan->cycles[kept - 1], &plan->cycles[i]) == 0) kept--;
        plan->cycles[kept++] = plan->cycles[i];
    }
    plan->cycles_count = kept;
}

static void say(struct plan *plan, const char *verb, struct text type, struct text name,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

static void say(struct plan *plan, const char *verb, struct text type, struct text name,
                const char *format, ...)
{
    char why[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    buffer_clear(&plan->line);
    buffer_format(&plan->line, "%-6s  ", verb);
    buffer_text(&plan->line, type);
    buffer_string(&plan->line, "  ");
    buffer_text(&plan->line, name);
    if (why[0] != '\0') buffer_format(&plan->line, "  (%s)", why);
    print_line(stdout, &plan->line);
}

static bool is_owned(const struct boskos_resource *r)
{
    return r->owner[0] != '\0';
}

static void delete_or_delay(struct plan *plan, const struct boskos_resource *r, const char *why)
{
    struct text type = text_from(r->type), name = text_from(r->name);
    if (is_owned(r)) {
        plan->delays++;
        say(plan, "delay", type, name, "%s, when %.100s gives it back", why, r->owner);
    } else {
        plan->deletes++;
        say(plan, "delete", type, name, "%s", why);
    }
}

static void count_dynamic(struct cycle *cycle, const struct boskos_resource *r)
{
    if (!is_owned(r) && strcmp(r->state, "tombstone") == 0) return;
    cycle->count++;
    if (is_owned(r)) return;
    if (strcmp(r->state, "toBeDeleted") == 0) {
        cycle->doomed++;
        return;
    }
    if ((cycle->live_count & (cycle->live_count - 1)) == 0)
        cycle->live = must_realloc(cycle->live, (cycle->live_count * 2 + 1) * sizeof(*cycle->live));
    cycle->live[cycle->live_count++] = r;
}

static void plan_resource(struct plan *plan, const struct boskos_resource *r)
{
    const struct place place_key = {.name = text_from(r->name)};
    const struct cycle cycle_key = {.type = text_from(r->type)};
    struct place *place =
        bsearch(&place_key, plan->places, plan->places_count, sizeof(place_key), by_place);
    struct cycle *cycle =
        bsearch(&cycle_key, plan->cycles, plan->cycles_count, sizeof(cycle_key), by_type);
    if (place == NULL && cycle != NULL) {
        count_dynamic(cycle, r);
    } else if (place == NULL) {
        delete_or_delay(plan, r, "not in the config");
    } else if (text_equal(place->entry->type, cycle_key.type)) {
        place->is_there = true;
    } else {
        char why[160];
        (void)snprintf(why, sizeof(why), "its type becomes %.*s",
                       place->entry->type.size > 100 ? 100 : (int)place->entry->type.size,
                       place->entry->type.data);
        delete_or_delay(plan, r, why);
        place->is_there = is_owned(r);
    }
}

static void plan_cycle(struct plan *plan, const struct cycle *cycle)
{
    const struct config_entry *e = cycle->entry;
    int64_t excess = cycle->count - cycle->doomed - e->max_count;
    if (cycle->count < e->min_count) {
        plan->adds += (uint64_t)(e->min_count - cycle->count);
        buffer_clear(&plan->line);
        buffer_format(&plan->line, "%-6s  ", "add");
        buffer_text(&plan->line, e->type);
        buffer_format(&plan->line,
                      "  %" PRId64 " new  (min-count is %" PRId64 ", there are %" PRId64 ")",
                      e->min_count - cycle->count, e->min_count, cycle->count);
        print_line(stdout, &plan->line);
    }
    for (size_t i = cycle->live_count; i > 0 && excess > 0; i--, excess--)
        delete_or_delay(plan, cycle->live[i - 1], "more than max-count: to toBeDeleted");
    if (excess <= 0) return;
    plan->delays += (uint64_t)excess;
    buffer_clear(&plan->line);
    buffer_format(&plan->line, "%-6s  ", "delay");
    buffer_text(&plan->line, e->type);
    buffer_format(&plan->line,
                  "  %" PRId64 " more  (more than max-count, when they are given back)", excess);
    print_line(stdout, &plan->line);
}

int check_against(struct program *p, const struct config *config)
{
    struct boskos_call call = program_call(p);
    struct boskos_resources *found;
    struct plan plan;
    int err = boskos_list(p->client, NULL, &found, &call);
    if (err != 0) return program_fail(p, "cannot list the resources of %s: %s", p->url, call.text);
    plan_init(&plan, config);
    for (size_t i = 0; i < found->count; i++)
        plan_resource(&plan, found->items[i]);
    for (size_t i = 0; i < plan.places_count; i++) {
        const struct place *place = &plan.places[i];
        if (place->is_there) continue;
        plan.adds++;
        say(&plan, "add", place->entry->type, place->name, "%s", "");
    }
    for (size_t i = 0; i < plan.cycles_count; i++)
        plan_cycle(&plan, &plan.cycles[i]);
    (void)printf("adds %" PRIu64 ", deletes %" PRIu64 ", delays %" PRIu64 "\n", plan.adds,
                 plan.deletes, plan.delays);
    plan_release(&plan);
    boskos_resources_free(found);
    return end_output(p);
}
