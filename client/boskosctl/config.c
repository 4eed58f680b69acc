// boskosctl config: the same as boskos-checkconfig.
#include "client/boskosctl/ctl.h"
#include "client/check.h"

#include "base/banned.h"

int ctl_config(struct ctl *ctl)
{
    struct program *p = &ctl->program;
    struct config *config = NULL;
    if (ctl->word == NULL) return ctl_say("Error: config needs a FILE");
    p->options.attempts_max = 3;
    p->options.backoff_first_ms = 200;
    int code = check_file(p, ctl->word, ctl->is_strict, &config);
    if (code == PROGRAM_OK && p->url != NULL) {
        code = program_start(p);
        if (code == PROGRAM_OK) code = check_against(p, config);
        code = program_end(p, code == PROGRAM_OK ? PROGRAM_OK : PROGRAM_FAILED);
    }
    config_free(config);
    return code;
}
