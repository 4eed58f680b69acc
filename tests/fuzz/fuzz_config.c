// The config file: what is accepted makes a command that decodes, and a state that holds together;
// what is refused says why. The same bytes are read as a value of `leasedResources` too.
#include "config/config.h"
#include "engine/config_command.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "base/banned.h"

#define TIME_NS UINT64_C(1700000000000000000)
#define RESOURCES_MAX 10000 // in a state: applying more takes too long here

static int64_t resources_of(const struct config *c)
{
    int64_t sum = 0;
    for (size_t i = 0; i < c->entries_count; i++)
        sum +=
            c->entries[i].is_dynamic ? c->entries[i].min_count : (int64_t)c->entries[i].names_count;
    return sum;
}

static void check_config(const struct config *config)
{
    struct command *c = config_command_new(config);
    struct sm_result result;
    fuzz_check_command(c);
    if (resources_of(config) <= RESOURCES_MAX) {
        struct sm *sm = sm_new(1);
        c->seq = 1;
        c->time_ns = TIME_NS;
        sm_apply(sm, c, &result);
        fuzz_check_state(sm);
        sm_free(sm);
    }
    free(c);
}

static void check_report(const struct config_report *report, int err)
{
    ASSERT((err == 0) == (report->errors_count == 0));
    ASSERT((err == 0) == text_is_empty(report->joined));
    for (size_t i = 0; i < report->errors_count; i++)
        ASSERT(report->errors[i].text.size > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text yaml = text_of((const char *)data, size);
    struct config *config = NULL;
    struct config_report report;
    int err = config_parse(yaml, &config, &report);
    ASSERT(err == 0 || err == BOSKOS_E_MALFORMED || err == BOSKOS_E_TOO_LARGE);
    ASSERT((err == 0) == (config != NULL));
    check_report(&report, err);
    if (config != NULL) check_config(config);
    config_free(config);
    config_report_release(&report);

    struct text *names = NULL;
    size_t count = 0;
    err = config_parse_names(yaml, &names, &count);
    ASSERT(err == 0 || err == BOSKOS_E_MALFORMED || err == BOSKOS_E_TOO_LARGE);
    for (size_t i = 0, bytes = 0; err == 0 && i < count; i++) {
        bytes += names[i].size;
        ASSERT(bytes <= CONFIG_NAMES_BYTES_MAX);
    }
    free(names);
    return 0;
}
