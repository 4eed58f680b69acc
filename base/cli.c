#include "base/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/duration.h"

#include "base/banned.h"

#define LINE_BYTES 4096u

// ---- flags and words ----------------------------------------------------------

bool cli_wrong(struct cli *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(c->why, c->why_size, format, arguments);
    va_end(arguments);
    return false;
}

static bool is_flag(const struct cli *c, const char *argument)
{
    if (c->has_ended || argument[0] != '-' || argument[1] == '\0') return false;
    return c->is_word == NULL || !c->is_word(argument);
}

static const struct cli_flag *find(const struct cli *c, const char *name, size_t size)
{
    for (const struct cli_flag *f = c->flags; f->name != NULL; f++) {
        if (strlen(f->name) == size && memcmp(f->name, name, size) == 0) return f;
    }
    return NULL;
}

enum cli_step cli_next(struct cli *c, struct cli_argument *ret_argument)
{
    if (c->at == 0) c->at = 1; // behind the program's name
    if (c->at < c->argc && !c->has_ended && strcmp(c->argv[c->at], "--") == 0) {
        c->has_ended = true;
        c->at++;
    }
    if (c->at >= c->argc) return CLI_END;
    struct cli_argument a = {.text = c->argv[c->at++]};
    if (is_flag(c, a.text)) {
        const char *name = a.text + (a.text[1] == '-' ? 2 : 1);
        const char *equals = strchr(name, '=');
        a.flag = find(c, name, equals != NULL ? (size_t)(equals - name) : strlen(name));
        a.value = equals != NULL ? equals + 1 : NULL;
        if (a.flag == NULL || (a.flag->form == CLI_ALONE && a.value != NULL)) {
            (void)cli_wrong(c, "%s: %s", a.text, c->unknown);
            return CLI_WRONG;
        }
        if (a.flag->form == CLI_VALUE && a.value == NULL) {
            if (c->at >= c->argc) {
                (void)cli_wrong(c, "%s: a value is missing", a.text);
                return CLI_WRONG;
            }
            a.value = c->argv[c->at++];
        }
    }
    *ret_argument = a;
    return a.flag != NULL ? CLI_FLAG : CLI_WORD;
}

// ---- values -------------------------------------------------------------------

bool cli_bool(struct cli *c, const char *name, const char *value, bool *ret_value)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        bool is_yes = value == NULL || strcmp(value, yes[i]) == 0;
        if (!is_yes && strcmp(value, no[i]) != 0) continue;
        *ret_value = is_yes;
        return true;
    }
    return cli_wrong(c, "--%s: \"%s\" is neither true nor false", name, value);
}

bool cli_span(struct cli *c, const char *name, const char *value, int64_t *ret_ns)
{
    struct buffer error;
    buffer_init(&error);
    int64_t ns = 0;
    bool good = duration_parse(text_from(value), &ns, &error) == 0;
    if (!good)
        (void)cli_wrong(c, "--%s: %.*s", name, TEXT_ARG(buffer_as_text(&error)));
    else if (ns <= 0)
        good = cli_wrong(c, "--%s: \"%s\" is not above zero", name, value);
    if (good) *ret_ns = ns;
    buffer_release(&error);
    return good;
}

bool cli_number(const char *value, uint64_t most, uint64_t *ret_number)
{
    char *end;
    if (value[0] < '0' || value[0] > '9') return false;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (errno != 0 || *end != '\0' || number > most) return false;
    *ret_number = number;
    return true;
}

// ---- what every program says --------------------------------------------------

// Appends the text to the line, as it can be shown, as far as there is room.
static void show(struct text t, char line[LINE_BYTES], size_t *size)
{
    for (uint32_t at = 0; at < t.size;) {
        struct text rest = text_of(t.data + at, t.size - at);
        char escape[TEXT_ESCAPE_BYTES + 1];
        uint32_t rune;
        uint32_t length = text_rune(rest, &rune);
        uint32_t shown = length > 0 ? text_escape(rune, escape) : 0;
        if (length == 0)
            shown = (uint32_t)snprintf(escape, sizeof(escape), "\\x%02x",
                                       (unsigned)(unsigned char)rest.data[0]);
        const char *from = shown > 0 ? escape : rest.data;
        size_t more = shown > 0 ? shown : length;
        if (*size + more > LINE_BYTES - 1) return;
        memcpy(line + *size, from, more);
        *size += more;
        at += length > 0 ? length : 1;
    }
}

void cli_complain(const char *program, const char *format, ...)
{
    char text[LINE_BYTES], line[LINE_BYTES];
    size_t size = 0;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    show(text_from(program), line, &size);
    show(TEXT(": "), line, &size);
    show(text_from(text), line, &size);
    line[size++] = '\n';
    (void)fwrite(line, 1, size, stderr);
}

int cli_print(const char *program, struct text text)
{
    errno = 0;
    (void)fwrite(text.data, 1, text.size, stdout);
    if (fflush(stdout) == 0 && ferror(stdout) == 0) return 0;
    cli_complain(program, "cannot write to stdout: %s", strerror(errno));
    return 1;
}
