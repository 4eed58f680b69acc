// Whose turn it is, and what is told of it.
//
// The types take turns, so that one with many dirty resources does not keep others waiting. A place
// is held back for each other type that has nothing running, up to half of the pool: so a type
// whose cleanings all hang cannot fill the pool.
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/janitor/janitor.h"

#include "base/banned.h"

#define CONFIG_LOOK_MS 1000
#define WAIT_MOST_MS 60000

static const char *const outcome_names[OUTCOMES] = {"cleaned", "failed", "timeout", "lost",
                                                    "stopped"};

int64_t janitor_now_ms(void)
{
    struct clock clock = clock_system();
    return (int64_t)(clock_mono_ns(&clock) / NS_PER_MS);
}

// ---- the list -------------------------------------------------------------------

static const char *last_word(const char *type)
{
    const char *dash = strrchr(type, '-');
    return dash != NULL ? dash + 1 : type;
}

static struct kind *find(struct janitor *j, struct text type)
{
    for (size_t i = 0; i < j->kinds_count; i++) {
        if (text_equal(text_from(j->kinds[i]->type), type)) return j->kinds[i];
    }
    return NULL;
}

static struct kind *add(struct janitor *j, struct text type)
{
    struct kind *kind = find(j, type);
    if (kind != NULL) return kind;
    kind = must_calloc(1, sizeof(*kind));
    kind->type = must_malloc(type.size + 1ul);
    memcpy(kind->type, type.data, type.size);
    kind->type[type.size] = '\0';
    kind->word = last_word(kind->type);
    j->kinds = must_realloc(j->kinds, (j->kinds_count + 1) * sizeof(struct kind *));
    j->kinds[j->kinds_count++] = kind;
    return kind;
}

bool janitor_add_types(struct janitor *j, const char *flag, const char *value)
{
    struct program_list list = {0};
    bool is_good = program_list_add(&j->program, flag, value, &list);
    for (size_t i = 0; is_good && i < list.count; i++) {
        if (*last_word(list.items[i]) == '\0') {
            is_good = cli_wrong(&j->program.cli,
                                "--%s: \"%s\" ends with a dash: there is no word "
                                "to make a flag of",
                                flag, list.items[i]);
            break;
        }
        struct kind *kind = add(j, text_from(list.items[i]));
        kind->is_given = kind->is_wanted = true;
    }
    program_list_free(&list);
    return is_good;
}

static void take_config(struct janitor *j)
{
    const struct config *c = j->config.config;
    for (size_t i = 0; i < j->kinds_count; i++)
        j->kinds[i]->is_wanted = j->kinds[i]->is_given;
    for (size_t i = 0; i < c->entries_count; i++) {
        struct text type = c->entries[i].type;
        bool is_cut = type.size == 0 || memchr(type.data, '\0', type.size) != NULL;
        if (is_cut || type.data[type.size - 1] == '-')
            program_log(&j->program, LOG_WARNING, "type %.*s: there is no word to make a flag of",
                        TEXT_ARG(type));
        else if (j->kinds_count < JANITOR_TYPES_MAX || find(j, type) != NULL)
            add(j, type)->is_wanted = true;
    }
}

void janitor_follow_config(struct janitor *j)
{
    int64_t now = janitor_now_ms();
    if (j->config.path == NULL || now < j->config_due_ms) return;
    j->config_due_ms = now + CONFIG_LOOK_MS;
    bool is_new;
    if (watched_refresh(&j->program, &j->config, &is_new) != 0 || !is_new) return;
    (void)pthread_mutex_lock(&j->lock);
    take_config(j);
    (void)pthread_mutex_unlock(&j->lock);
}

// ---- turns ----------------------------------------------------------------------

// May it have one more place? With the lock held.
static bool has_room(const struct janitor *j, const struct kind *kind)
{
    size_t left = j->pool_size - j->running, idle = 0;
    if (left == 0) return false;
    if (kind->running == 0) return true;
    for (size_t i = 0; i < j->kinds_count; i++) {
        const struct kind *other = j->kinds[i];
        if (other != kind && other->is_wanted && other->running == 0) idle++;
    }
    size_t held_back = idle < j->pool_size / 2 ? idle : j->pool_size / 2;
    return left > held_back;
}

struct kind *janitor_turn(struct janitor *j, int64_t *ret_wait_ms)
{
    struct kind *turn = NULL;
    int64_t now = janitor_now_ms(), wait = j->config.path != NULL ? CONFIG_LOOK_MS : WAIT_MOST_MS;
    (void)pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < j->kinds_count && turn == NULL; i++) {
        size_t at = (j->next + i) % j->kinds_count;
        struct kind *kind = j->kinds[at];
        if (!kind->is_wanted || !has_room(j, kind)) continue; // a cleaning's end wakes us
        if (kind->due_ms > now) {
            if (kind->due_ms - now < wait) wait = kind->due_ms - now;
            continue;
        }
        turn = kind;
        j->next = (at + 1) % j->kinds_count;
    }
    (void)pthread_mutex_unlock(&j->lock);
    *ret_wait_ms = wait;
    return turn;
}

void janitor_rest(struct janitor *j, struct kind *kind)
{
    (void)pthread_mutex_lock(&j->lock);
    kind->due_ms = janitor_now_ms() + j->poll_ns / (int64_t)NS_PER_MS;
    program_list_free(&kind->setbacks);
    (void)pthread_mutex_unlock(&j->lock);
}

// ---- the page -------------------------------------------------------------------

static void head(struct buffer *out, const char *name, const char *form, const char *help)
{
    buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, form);
}

static void figure(struct buffer *out, const char *name, const struct kind *kind)
{
    buffer_format(out, "%s{type=\"", name);
    page_label(out, kind->type);
    buffer_string(out, "\"");
}

void janitor_page(void *context, struct buffer *out)
{
    struct janitor *j = context;
    (void)pthread_mutex_lock(&j->lock);
    head(out, "boskos_janitor_cleanings_total", "counter", "Cleanings that have ended.");
    for (size_t i = 0; i < j->kinds_count; i++) {
        for (size_t o = 0; o < OUTCOMES; o++) {
            figure(out, "boskos_janitor_cleanings_total", j->kinds[i]);
            buffer_format(out, ",result=\"%s\"} %llu\n", outcome_names[o],
                          (unsigned long long)j->kinds[i]->counts[o]);
        }
    }
    head(out, "boskos_janitor_cleaning_seconds_total", "counter", "How long cleanings took.");
    for (size_t i = 0; i < j->kinds_count; i++) {
        int64_t ms = j->kinds[i]->took_ms;
        figure(out, "boskos_janitor_cleaning_seconds_total", j->kinds[i]);
        buffer_format(out, "} %lld.%03lld\n", (long long)(ms / 1000), (long long)(ms % 1000));
    }
    head(out, "boskos_janitor_acquire_errors_total", "counter",
         "Acquires that failed, other than for want of a resource.");
    for (size_t i = 0; i < j->kinds_count; i++) {
        figure(out, "boskos_janitor_acquire_errors_total", j->kinds[i]);
        buffer_format(out, "} %llu\n", (unsigned long long)j->kinds[i]->refusals);
    }
    head(out, "boskos_janitor_running", "gauge", "Cleanings under way.");
    for (size_t i = 0; i < j->kinds_count; i++) {
        figure(out, "boskos_janitor_running", j->kinds[i]);
        buffer_format(out, "} %zu\n", j->kinds[i]->running);
    }
    head(out, "boskos_janitor_pool_size", "gauge", "Cleanings that may be under way at once.");
    buffer_format(out, "boskos_janitor_pool_size %zu\n", j->pool_size);
    (void)pthread_mutex_unlock(&j->lock);
}

void janitor_free_types(struct janitor *j)
{
    for (size_t i = 0; i < j->kinds_count; i++) {
        program_list_free(&j->kinds[i]->setbacks);
        free(j->kinds[i]->type);
        free(j->kinds[i]);
    }
    free(j->kinds);
    j->kinds = NULL;
    j->kinds_count = 0;
}
