#include "replay/damage.h"

#include "replay/say.h"
#include "wire/wire.h"

#include "base/banned.h"

// The file of the journal that the line of a problem names first, behind the folder's own name.
// TEXT_NONE when it names none.
static struct text file_named(const struct options *o, const struct journal_problem *p)
{
    static const char *const names[] = {"data.mdb", "AHEAD", "WITNESS", "snapshot-"};
    const char *line = p->text, *first = NULL;
    size_t folder = strlen(o->data_dir), size = 0;
    if (strncmp(line, o->data_dir, folder) == 0) line += folder;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *at = strstr(line, names[i]);
        if (at == NULL || (first != NULL && at > first)) continue;
        first = at;
        size = strlen(names[i]);
        size += strspn(at + size, "0123456789"); // of a snapshot
    }
    return first == NULL ? TEXT_NONE : text_of(first, (uint32_t)size);
}

static void add_file(struct output *out, const struct options *o, const struct journal_problem *p)
{
    struct text name = o->file != NULL ? text_from(o->file) : file_named(o, p);
    if (name.data == NULL) {
        output_string(out, ",\"file\":null");
        return;
    }
    struct buffer path;
    buffer_init(&path);
    if (o->file == NULL) {
        buffer_string(&path, o->data_dir);
        buffer_string(&path, "/journal/");
    }
    buffer_text(&path, name);
    say_json_text(out, ",\"file\":", buffer_as_text(&path));
    buffer_release(&path);
}

void damage_json_end(struct output *out, const struct options *o, const struct journal_problem *p)
{
    add_file(out, o, p);
    say_json_text(out, ",\"error\":", text_from(p->text));
    output_string(out, "}\n");
}

void damage_json(struct output *out, const struct options *o, const struct journal_problem *p)
{
    if (p->seq > 0)
        say_json_number(out, "{\"seq\":", p->seq);
    else
        output_string(out, "{\"seq\":null");
    damage_json_end(out, o, p);
}
