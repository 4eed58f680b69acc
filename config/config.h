// config/config.h
//
// Boskos's configuration file: YAML text in, checked entries out, or every error with its line.
// Beside Boskos's own keys it knows ours (`boskosd:` at the top, `reaper:` in an entry). It does
// not know what applying a config does, and it reads no files: the caller brings the text.
//
// Pure. One thread a call; a struct config is immutable once made.
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/buffer.h"
#include "base/error.h"

// Limits; a text beyond one is an error that names it.
#define CONFIG_BYTES_MAX (64u * 1024 * 1024)
#define CONFIG_NAMES_MAX 2000000u // also of the sum of all min-count
#define CONFIG_DEPTH_MAX 64u      // nesting of collections
#define CONFIG_NODES_MAX 8000000u // nodes visited, aliases expanded
#define CONFIG_TEXT_MAX 4096u     // bytes of a type or a state
#define CONFIG_ERRORS_MAX 1000u   // what comes after is counted, not kept

// Of the texts of all entries, aliases expanded: more than a file holds itself.
#define CONFIG_TEXTS_BYTES_MAX (128u * 1024 * 1024)
#define CONFIG_NAMES_BYTES_MAX (1024u * 1024) // of config_parse_names, aliases expanded

struct config_need {
    struct text type;
    int64_t count;
};

// What an entry says of the built-in reaper.
enum config_reaper_kind { CONFIG_REAPER_INHERIT, CONFIG_REAPER_OFF, CONFIG_REAPER_EXPIRE };

struct config_entry {
    struct text type;
    struct text state; // "free" where the file has none
    bool is_dynamic;   // it has no names

    const struct text *names; // static: in the file's order
    size_t names_count;

    int64_t min_count, max_count; // dynamic
    bool has_lifespan;
    int64_t lifespan_ns;
    const struct config_need *needs; // sorted by type, each type once
    size_t needs_count;
    bool has_config; // mason's part
    struct text config_type, config_content;

    enum config_reaper_kind reaper;
    int64_t reaper_expire_ns; // with CONFIG_REAPER_EXPIRE

    uint32_t line; // where it starts, from 1
};

struct config {
    const struct config_entry *entries; // in the file's order
    size_t entries_count;

    bool reaper_enabled;              // the file has boskosd.reaper
    int64_t reaper_expire_ns;         // default 30m
    int64_t reaper_period_ns;         // default 1m, at least 1s
    const struct text *reaper_states; // default busy, cleaning, leased
    size_t reaper_states_count;
    struct text reaper_target; // default dirty

    bool cleaner_enabled; // boskosd.cleaner.enabled
};

struct config_message {
    uint32_t line;    // from 1; 0 when it belongs to no line
    struct text text; // without newline
};

// What was found wrong (errors) or odd (warnings: unknown key, key given twice), in the file's
// order.
struct config_report {
    const struct config_message *errors;
    size_t errors_count;
    const struct config_message *warnings;
    size_t warnings_count;
    struct text joined; // all errors as Boskos joins them: `a`, or `[a, b]`, the same text once
    void *memory;       // owned by the report
};

// Parses and checks a config. On success *ret_config is returned, caller frees with config_free. On
// BOSKOS_E_MALFORMED (a text that does not parse, a value of the wrong kind, a rule broken) and
// BOSKOS_E_TOO_LARGE (a limit above) no config is made and `report` has at least one error.
// `report` is filled in every case and must be released with config_report_release.
int config_parse(struct text yaml, struct config **ret_config, struct config_report *report);
void config_free(struct config *c);
void config_report_release(struct config_report *report);

// Reads a YAML list of strings, as Mason stores `leasedResources` in userdata. Returned in
// *ret_names as one memory block, caller frees with free(); the texts point into it. An empty text
// is an empty list. BOSKOS_E_MALFORMED when it is anything else, BOSKOS_E_TOO_LARGE above
// CONFIG_NAMES_MAX names, or CONFIG_NAMES_BYTES_MAX bytes of them.
int config_parse_names(struct text yaml, struct text **ret_names, size_t *ret_count);

#endif
