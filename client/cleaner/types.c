// Which types boskos-cleaner looks at. A type that has left the config still has resources to be
// deleted; boskosd can be asked for those, and at the original server the types are remembered.
#include <stdlib.h>

#include "base/assert.h"
#include "client/cleaner/cleaner.h"

#include "base/banned.h"

static int by_text(const void *a, const void *b)
{
    return text_compare(*(const struct text *)a, *(const struct text *)b);
}

static void gather_statics(struct cleaner *c)
{
    const struct config *config = c->file.config;
    size_t total = 0, entries = config == NULL ? 0 : config->entries_count;
    for (size_t i = 0; i < entries; i++)
        total += config->entries[i].names_count;
    free(c->statics);
    c->statics = total == 0 ? NULL : must_calloc(total, sizeof(struct text));
    c->statics_count = 0;
    for (size_t i = 0; i < entries; i++)
        for (size_t j = 0; j < config->entries[i].names_count; j++) {
            ASSERT(c->statics != NULL);
            c->statics[c->statics_count++] = config->entries[i].names[j];
        }
    if (total > 1) qsort(c->statics, total, sizeof(struct text), by_text);
}

bool cleaner_is_static(const struct cleaner *c, const char *name)
{
    struct text key = text_from(name);
    return c->statics_count > 0 &&
           bsearch(&key, c->statics, c->statics_count, sizeof(key), by_text) != NULL;
}

// Notes the dynamic types, also for when they leave the config.
static void remember(struct cleaner *c)
{
    const struct config *config = c->file.config;
    for (size_t i = 0; i < config->entries_count && c->known.count < PROGRAM_LIST_MAX; i++) {
        const struct config_entry *e = &config->entries[i];
        if (!e->is_dynamic) continue;
        program_list_put_once(&c->known, e->type);
    }
}

int cleaner_refresh(struct cleaner *c)
{
    bool is_new;
    if (c->file.path == NULL) return 0;
    int code = watched_refresh(&c->program, &c->file, &is_new);
    if (!is_new) return code;
    gather_statics(c);
    remember(c);
    return code;
}

void cleaner_release(struct cleaner *c)
{
    for (size_t i = 0; i < c->owed_count; i++)
        free(c->owed[i].name);
    free(c->owed);
    free(c->statics);
    program_list_free(&c->known);
    program_list_free(&c->given);
    watched_release(&c->file);
}

// A type that the config has with names only is not the cleaner's.
static bool may_clean(const struct cleaner *c, const char *type)
{
    const struct config *config = c->file.config;
    bool is_static = false;
    if (program_list_has(&c->given, text_from(type))) return true;
    for (size_t i = 0; config != NULL && i < config->entries_count; i++) {
        if (!text_equal(config->entries[i].type, text_from(type))) continue;
        if (config->entries[i].is_dynamic) return true;
        is_static = true;
    }
    return !is_static;
}

// At boskosd: the types of what is to be deleted.
static int ask_types(struct cleaner *c, struct program_list *ret_types)
{
    static const char *const states[] = {CLEANER_STATE};
    static const char *const nobody[] = {""};
    struct boskos_filter filter = {
        .states = states, .states_count = 1, .owners = nobody, .owners_count = 1};
    struct boskos_call call = program_call(&c->program);
    struct boskos_resources *found;
    int err = boskos_list(c->program.client, &filter, &found, &call);
    if (err == BOSKOS_ERR_UNSUPPORTED || err == BOSKOS_ERR_CANCELLED) return err;
    if (err != 0) {
        program_log(&c->program, LOG_WARNING, "could not look for what is to be deleted: %s",
                    call.text);
        return err;
    }
    for (size_t i = 0; i < found->count && ret_types->count < PROGRAM_LIST_MAX; i++) {
        const struct boskos_resource *r = found->items[i];
        if (program_list_has(ret_types, text_from(r->type)) || cleaner_is_static(c, r->name))
            continue;
        if (may_clean(c, r->type)) program_list_put(ret_types, text_from(r->type));
    }
    boskos_resources_free(found);
    return 0;
}

// Each round asks whether the server can list, for one answer says little: what stands between may
// have given it, and a server may be put in the place of another.
int cleaner_types(struct cleaner *c, struct program_list *ret_types)
{
    int err = ask_types(c, ret_types);
    if (err == 0 && c->cannot_list)
        program_log(&c->program, LOG_INFO, "the server is boskosd: it is asked what there is");
    if (err == BOSKOS_ERR_UNSUPPORTED && !c->cannot_list)
        program_log(&c->program, c->could_list ? LOG_WARNING : LOG_INFO,
                    "the server is not boskosd%s: each type is asked for",
                    c->could_list ? " any more" : "");
    if (err == 0) c->could_list = true;
    if (err == 0 || err == BOSKOS_ERR_UNSUPPORTED) c->cannot_list = err != 0;
    if (err != BOSKOS_ERR_UNSUPPORTED) return err;
    for (size_t i = 0; i < c->given.count; i++)
        program_list_put_once(ret_types, text_from(c->given.items[i]));
    for (size_t i = 0; i < c->known.count; i++)
        if (may_clean(c, c->known.items[i]))
            program_list_put_once(ret_types, text_from(c->known.items[i]));
    return 0;
}
