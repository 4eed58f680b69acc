// replay_make_folder SCRIPT DIR: makes the data folder DIR (DIR/journal) from a script, the same
// one each time. The script has the commands of tests/script_commands.h, at times counted from
// 2026-03-01T09:00:00Z, and lines that say what becomes of the folder:
//
//   semantics N      the records from here on have version N of the rules
//   snapshot         of the state here
//   trim             the log is trimmed at the newest snapshot, older ones are removed
//   rows-missing     the last command's result row is not written, as after a kill
//
// A line with `=>` must come out as it says.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "tests/replay/folder_write.h"
#include "tests/script_commands.h"

#include "base/banned.h"

#define START_NS (UINT64_C(1772355600) * NS_PER_S) // 2026-03-01T09:00:00Z
#define BATCH 8u

struct maker {
    struct folder_writer writer;
    struct script_commands script;
    struct buffer got;
    bool rows_missing;
};

// What a record of the version may hold.
static bool is_of_semantics(const struct command *c, uint32_t semantics)
{
    if (semantics >= 2) return true;
    return c->kind != COMMAND_REPAIRED &&
           (c->kind != COMMAND_ACQUIRE || text_is_empty(c->as.acquire.key));
}

static bool add_command(struct maker *m)
{
    struct script_commands *s = &m->script;
    struct sm_result result;
    if (!is_of_semantics(&s->command, m->writer.semantics))
        return script_complain(s, "the version of the rules has no such command", s->words[1]);
    if (!folder_add(&m->writer, &s->command, &result)) return false;
    buffer_clear(&m->got);
    script_commands_result(s, &result, &m->got);
    script_commands_learn(s);
    struct text wanted = buffer_as_text(&s->wanted), got = buffer_as_text(&m->got);
    if (!s->has_wanted || text_equal(wanted, got)) return true;
    (void)script_complain(s, "wanted", wanted);
    return script_complain(s, "got", got);
}

static bool set_semantics(struct maker *m)
{
    struct text number = script_word(&m->script, 1);
    bool is_one = number.size == 1 && number.data[0] >= '1' &&
                  (uint32_t)(number.data[0] - '0') <= SM_SEMANTICS;
    if (!is_one) return script_complain(&m->script, "no version of the rules", number);
    m->writer.semantics = (uint16_t)(number.data[0] - '0');
    return true;
}

static bool play_words(struct maker *m)
{
    struct text verb = script_word(&m->script, 0);
    if (text_equal(verb, TEXT("semantics"))) return set_semantics(m);
    if (text_equal(verb, TEXT("snapshot"))) return folder_snapshot(&m->writer);
    if (text_equal(verb, TEXT("trim"))) return folder_trim(&m->writer);
    if (text_equal(verb, TEXT("rows-missing"))) {
        m->rows_missing = true;
        return true;
    }
    return script_commands_make(&m->script) && add_command(m);
}

static bool play(struct maker *m)
{
    for (uint32_t i = 0; i <= SCRIPT_LINES_MAX; i++) {
        bool is_right = true;
        switch (script_commands_next(&m->script)) {
        case SCRIPT_END:
            return folder_append(&m->writer) && folder_append_rows(&m->writer, !m->rows_missing);
        case SCRIPT_BAD: is_right = false; break;
        case SCRIPT_EMPTY: break;
        case SCRIPT_WORDS: is_right = play_words(m); break;
        case SCRIPT_CONFIG:
            m->script.has_wanted = false;
            is_right = add_command(m);
            break;
        }
        if (!is_right) return false;
    }
    return false;
}

int main(int argc, char **argv)
{
    if (argc != 3 || argv[1][0] == '-') {
        fputs("usage: replay_make_folder SCRIPT DIR\n", stderr);
        return 2;
    }
    struct maker *m = must_calloc(1, sizeof(*m));
    bool is_made = folder_writer_open(&m->writer, argv[2], BATCH);
    if (is_made) {
        is_made = script_commands_open(&m->script, argv[1], START_NS, m->writer.sm);
        if (is_made) {
            is_made = play(m);
            script_commands_close(&m->script);
        }
    }
    folder_writer_close(&m->writer);
    buffer_release(&m->got);
    free(m);
    return is_made ? 0 : 1;
}
