// What boskosctl prints.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "client/boskosctl/ctl.h"

#include "base/banned.h"

#define COLUMNS 5u

int ctl_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    return PROGRAM_FAILED;
}

static int flush(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && ferror(stdout) == 0) return PROGRAM_OK;
    cli_complain("boskosctl", "cannot write to stdout: %s", strerror(errno));
    return PROGRAM_FAILED;
}

int ctl_print_line(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    (void)putchar('\n');
    return flush();
}

// ---- reasons --------------------------------------------------------------------

static const char *phrase(int status)
{
    switch (status) {
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 409: return "Conflict";
    case 413: return "Request Entity Too Large";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    }
    return "";
}

const char *ctl_reason(int code, const struct boskos_call *call, const char *what,
                       char reason[CTL_REASON_BYTES])
{
    if (what == NULL && (code == BOSKOS_ERR_NONE || code == BOSKOS_ERR_NO_TYPE))
        (void)snprintf(reason, CTL_REASON_BYTES, "resources not found: %s", call->text);
    else if (what == NULL && code == BOSKOS_ERR_OWNER)
        (void)snprintf(reason, CTL_REASON_BYTES, "resources already used by another user: %s",
                       call->text);
    else if (call->status >= 400 && code != BOSKOS_ERR_CANCELLED)
        (void)snprintf(reason, CTL_REASON_BYTES, "status %d %s, status%s %d%s: %s", call->status,
                       phrase(call->status),
                       what != NULL && strncmp(what, " releasing", 10) == 0 ? "Code" : " code",
                       call->status, what != NULL ? what : "", call->text);
    else
        (void)snprintf(reason, CTL_REASON_BYTES, "%s", call->text);
    return reason;
}

// ---- resources ------------------------------------------------------------------

static void print_json(const struct boskos_resource *r)
{
    char *json = boskos_resource_json(r);
    (void)fputs(json, stdout);
    free(json);
}

// What a terminal would obey is not printed as it is.
static struct text shown(const char *text, struct buffer *out)
{
    buffer_clear(out);
    struct text rest = text_from(text);
    while (rest.size > 0) {
        char escape[TEXT_ESCAPE_BYTES];
        uint32_t rune, length = text_rune(rest, &rune);
        uint32_t size = length > 0 ? text_escape(rune, escape) : 0;
        if (length == 0)
            buffer_char(out, '?');
        else
            buffer_append(out, size > 0 ? escape : rest.data, size > 0 ? size : length);
        length = length > 0 ? length : 1;
        rest = text_of(rest.data + length, rest.size - length);
    }
    return buffer_as_text(out);
}

static void cells(const struct boskos_resource *r, const char *ret_cells[COLUMNS])
{
    ret_cells[0] = r->name;
    ret_cells[1] = r->type;
    ret_cells[2] = r->state;
    ret_cells[3] = r->owner[0] != '\0' ? r->owner : "-";
    ret_cells[4] = r->lastupdate;
}

static void print_table(const struct boskos_resources *list)
{
    static const char *const heads[COLUMNS] = {"NAME", "TYPE", "STATE", "OWNER", "UPDATED"};
    int widths[COLUMNS];
    const char *row[COLUMNS];
    struct buffer cell;
    buffer_init(&cell);
    for (size_t c = 0; c < COLUMNS; c++)
        widths[c] = (int)strlen(heads[c]);
    for (size_t i = 0; i < list->count; i++) {
        cells(list->items[i], row);
        for (size_t c = 0; c < COLUMNS; c++) {
            int width = (int)shown(row[c], &cell).size;
            if (width > widths[c]) widths[c] = width;
        }
    }
    for (size_t i = 0; i <= list->count; i++) {
        if (i > 0) cells(list->items[i - 1], row);
        for (size_t c = 0; c < COLUMNS; c++) {
            struct text t = shown(i > 0 ? row[c] : heads[c], &cell);
            if (c + 1 < COLUMNS)
                (void)printf("%-*.*s  ", widths[c], TEXT_ARG(t));
            else
                (void)printf("%.*s\n", TEXT_ARG(t));
        }
    }
    buffer_release(&cell);
}

int ctl_print_resource(struct ctl *ctl, const struct boskos_resource *r)
{
    struct boskos_resource *items[] = {(struct boskos_resource *)(uintptr_t)r};
    struct boskos_resources list = {items, 1};
    switch (ctl->output) {
    case CTL_JSON:
        print_json(r);
        (void)putchar('\n');
        break;
    case CTL_NAMES: (void)puts(r->name); break;
    case CTL_TABLE: print_table(&list); break;
    }
    return flush();
}

int ctl_print_resources(struct ctl *ctl, const struct boskos_resources *list)
{
    switch (ctl->output) {
    case CTL_JSON:
        (void)putchar('[');
        for (size_t i = 0; i < list->count; i++) {
            if (i > 0) (void)putchar(',');
            print_json(list->items[i]);
        }
        (void)puts("]");
        break;
    case CTL_NAMES:
        for (size_t i = 0; i < list->count; i++)
            (void)puts(list->items[i]->name);
        break;
    case CTL_TABLE: print_table(list); break;
    }
    return flush();
}
