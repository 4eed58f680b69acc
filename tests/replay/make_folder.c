// replay_make_folder SCRIPT DIR: makes the data folder DIR (DIR/journal) from a script, the same
// one each time. The script has the commands of tests/script_commands.h, at times counted from
// 2026-03-01T09:00:00Z, and lines that say what becomes of the folder:
//
//   semantics N      the records from here on have version N of the rules
//   snapshot         of the state here
//   trim             the log is trimmed at the newest snapshot, older ones are removed
//   rows-missing     the last command's result row is not written, as after a kill
//   spoil-snapshot   at the end a bit of the newest snapshot is flipped
//   TIME repeat N VERB ...   the command N times, in which `#` is 1, 2 and so on
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
#define PATH_BYTES 4096
#define SPOILED_BYTE 100 // of a snapshot: behind its head
#define REPEATS_MAX UINT64_C(1000000)

struct maker {
    struct folder_writer writer;
    struct script_commands script;
    struct buffer got, words;
    bool rows_missing, spoils_snapshot;
    uint64_t snapshot_seq; // the newest
};

// What a record of the version may hold.
static bool is_of_semantics(const struct command *c, uint32_t semantics)
{
    if (semantics == 0 || semantics >= 3) return true; // 0: each has its own
    if (c->kind == COMMAND_IMPORT) return false;
    if (semantics == 2) return true;
    return c->kind != COMMAND_REPAIRED &&
           (c->kind != COMMAND_ACQUIRE || text_is_empty(c->as.acquire.key));
}

// Looking through a large state after each command would take long.
static bool has_made(struct sm *sm)
{
    struct sm_change change = {.was_there = true};
    uint32_t count = sm_changes(sm);
    for (uint32_t i = 0; i < count && change.was_there; i++)
        sm_change(sm, i, &change);
    return !change.was_there;
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
    if (has_made(m->writer.sm)) script_commands_learn(s);
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

// A word of a repeated command, with the number in place of `#`, behind the others in m->words.
static size_t add_numbered(struct maker *m, struct text w, uint64_t number)
{
    size_t before = m->words.size;
    for (uint32_t i = 0; i < w.size; i++) {
        if (w.data[i] == '#')
            buffer_format(&m->words, "%" PRIu64, number);
        else
            buffer_char(&m->words, w.data[i]);
    }
    return m->words.size - before;
}

// Plays `TIME repeat N VERB ...`, of which `line` are the words, as one `TIME VERB ...` after the
// other.
static bool repeat(struct maker *m, const struct text *line, uint32_t count)
{
    struct script_commands *s = &m->script;
    char digits[24], *end = NULL;
    (void)snprintf(digits, sizeof(digits), "%.*s", TEXT_ARG(line[2]));
    uint64_t times = strtoull(digits, &end, 10);
    if (end == digits || *end != '\0' || times > REPEATS_MAX)
        return script_complain(s, "no number of repeats", line[2]);
    s->count = count - 2;
    for (uint64_t number = 1; number <= times; number++) {
        size_t sizes[SCRIPT_WORDS_MAX], at = 0;
        buffer_clear(&m->words);
        for (uint32_t i = 0; i < s->count; i++)
            sizes[i] = add_numbered(m, line[i == 0 ? 0 : i + 2], number);
        for (uint32_t i = 0; i < s->count; at += sizes[i++])
            s->words[i] = text_of(m->words.data + at, sizes[i]);
        if (!script_commands_make(s) || !add_command(m)) return false;
    }
    return true;
}

static bool play_words(struct maker *m)
{
    struct text verb = script_word(&m->script, 0);
    if (text_equal(verb, TEXT("semantics"))) return set_semantics(m);
    if (text_equal(verb, TEXT("snapshot"))) {
        m->snapshot_seq = sm_seq(m->writer.sm);
        return folder_snapshot(&m->writer);
    }
    if (text_equal(verb, TEXT("trim"))) return folder_trim(&m->writer);
    if (text_equal(verb, TEXT("rows-missing"))) {
        m->rows_missing = true;
        return true;
    }
    if (text_equal(verb, TEXT("spoil-snapshot"))) {
        m->spoils_snapshot = true;
        return true;
    }
    if (m->script.count > 3 && text_equal(m->script.words[1], TEXT("repeat"))) {
        struct text line[SCRIPT_WORDS_MAX];
        memcpy(line, m->script.words, sizeof(line));
        return repeat(m, line, m->script.count);
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

// Flips a bit in the state that the newest snapshot holds.
static bool spoil_snapshot(const struct maker *m, const char *dir)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/journal/snapshot-%020" PRIu64, dir, m->snapshot_seq);
    FILE *file = fopen(path, "r+e");
    int byte = file != NULL && fseek(file, SPOILED_BYTE, SEEK_SET) == 0 ? fgetc(file) : EOF;
    bool is_spoiled =
        byte != EOF && fseek(file, SPOILED_BYTE, SEEK_SET) == 0 && fputc(byte ^ 1, file) != EOF;
    if (file != NULL && fclose(file) != 0) is_spoiled = false;
    if (!is_spoiled) fprintf(stderr, "%s cannot be spoilt\n", path);
    return is_spoiled;
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
        sm_trace(m->writer.sm);
        is_made = script_commands_open(&m->script, argv[1], START_NS, m->writer.sm);
        if (is_made) {
            is_made = play(m);
            script_commands_close(&m->script);
        }
    }
    folder_writer_close(&m->writer);
    if (is_made && m->spoils_snapshot) is_made = spoil_snapshot(m, argv[2]);
    buffer_release(&m->got);
    buffer_release(&m->words);
    free(m);
    return is_made ? 0 : 1;
}
