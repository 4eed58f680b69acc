// Whose turn it is.
//
// The types take turns, so that one with many dirty resources does not keep others waiting. A place
// is held back for each other type that has nothing running, up to half of the pool: so a type
// whose cleanings all hang cannot fill the pool.
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client/janitor/janitor.h"

#include "base/banned.h"

#define LOOK_MS 1000
#define WAIT_MOST_MS 60000

// ---- the list -------------------------------------------------------------------

static const char *last_word(const char *type)
{
    const char *dash = strrchr(type, '-');
    return dash != NULL ? dash + 1 : type;
}

bool janitor_can_clean(const char *type)
{
    return *last_word(type) != '\0';
}

static struct kind *find(const struct janitor *j, const char *type)
{
    for (size_t i = 0; i < j->kinds_count; i++) {
        if (strcmp(j->kinds[i]->type, type) == 0) return j->kinds[i];
    }
    return NULL;
}

static struct kind *add(struct janitor *j, const char *type)
{
    struct kind *kind = must_calloc(1, sizeof(*kind));
    kind->type = program_copy(type, strlen(type));
    kind->word = last_word(kind->type);
    j->kinds = must_realloc(j->kinds, (j->kinds_count + 1) * sizeof(struct kind *));
    j->kinds[j->kinds_count++] = kind;
    return kind;
}

// One that has left the config keeps its place and its figures: its cleanings may be under way.
static void take_types(struct janitor *j)
{
    for (size_t i = 0; i < j->kinds_count; i++)
        j->kinds[i]->is_wanted = false;
    for (size_t i = 0; i < j->types.all.count; i++) {
        const char *type = j->types.all.items[i];
        struct kind *kind = find(j, type);
        if (!janitor_can_clean(type)) {
            program_log(&j->program, LOG_WARNING,
                        "type %s ends with a dash: there is no word to make a flag of", type);
            continue;
        }
        if (kind == NULL && j->kinds_count < JANITOR_TYPES_MAX) kind = add(j, type);
        if (kind != NULL) kind->is_wanted = true;
    }
}

int janitor_follow_types(struct janitor *j)
{
    int64_t now = program_now_ms();
    if (now < j->types_due_ms) return 0;
    j->types_due_ms = now + LOOK_MS;
    int code = program_types_refresh(&j->program, &j->types);
    if (!j->types.is_new) return code;
    (void)pthread_mutex_lock(&j->lock);
    take_types(j);
    (void)pthread_mutex_unlock(&j->lock);
    return code;
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
    program_types_free(&j->types);
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
    int64_t now = program_now_ms(), wait = j->types.file.path != NULL ? LOOK_MS : WAIT_MOST_MS;
    (void)pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < j->kinds_count && turn == NULL; i++) {
        size_t at = (j->next + i) % j->kinds_count;
        struct kind *kind = j->kinds[at];
        if (!kind->is_wanted) continue;
        if (kind->due_ms > now) {
            if (kind->due_ms - now < wait) wait = kind->due_ms - now;
            continue;
        }
        if (!has_room(j, kind)) continue; // a cleaning's end wakes us
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
    kind->due_ms = program_now_ms() + program_ms(j->poll_ns);
    kind->round++;
    program_list_free(&kind->setbacks);
    (void)pthread_mutex_unlock(&j->lock);
}
