// What an import brought.
#include <inttypes.h>

#include "replay/why.h"

#include "base/banned.h"

int why_import(struct why *y)
{
    struct output *out = y->out;
    uint64_t owned = 0;
    int err = why_apply(y);
    if (err != 0) return err;
    const struct command_import *c = &y->step->command.as.import;
    for (uint32_t i = 0; i < c->resources_count; i++)
        owned += !text_is_empty(c->resources[i].owner);
    why_say_head(y, OUTCOME_DONE, SM_OK);
    if (y->is_json) {
        output_format(out, ",\"owned\":%" PRIu64, owned);
    } else {
        say_count(out, c->resources_count, "resource", "resources");
        output_string(out, " and ");
        say_count(out, c->cycles_count, "life cycle", "life cycles");
        output_format(out, " of another Boskos, %" PRIu64 " of the resources owned\n", owned);
        say_label(out, "upkeep");
        output_string(out, "there is none until the first config: what that does not name goes "
                           "then, as soon as it is unowned\n");
    }
    why_say_tail(y, SAID_NOTHING);
    return 0;
}
