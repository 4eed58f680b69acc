#include "tests/fuzz/fuzz.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/banned.h"

#define FOLDERS_OPEN 8 // by nftw

void fuzz_check_command(const struct command *c)
{
    struct buffer first, second;
    struct command decoded;
    struct command_decoder *decoder = command_decoder_new();
    buffer_init(&first);
    buffer_init(&second);
    command_encode(c, &first);
    ASSERT(command_decode(decoder, c->kind, buffer_as_text(&first), &decoded) == 0);
    command_encode(&decoded, &second);
    ASSERT(text_equal(buffer_as_text(&first), buffer_as_text(&second)));
    buffer_release(&first);
    buffer_release(&second);
    command_decoder_free(decoder);
}

static int keep(void *context, const void *bytes, size_t size)
{
    buffer_append(context, bytes, size);
    return 0;
}

void fuzz_snapshot(struct sm *sm, struct buffer *out)
{
    ASSERT(sm_snapshot_write(sm, keep, out) == 0);
}

void fuzz_check_state(struct sm *sm)
{
    struct buffer first, second;
    struct sm *again = NULL;
    buffer_init(&first);
    buffer_init(&second);
    ASSERT(hash128_equal(sm_digest(sm), sm_digest_from_scratch(sm)));
    fuzz_snapshot(sm, &first);
    ASSERT(sm_snapshot_read(buffer_as_text(&first), 2, &again) == 0);
    ASSERT(hash128_equal(sm_digest(sm), sm_digest(again)));
    fuzz_snapshot(again, &second);
    ASSERT(text_equal(buffer_as_text(&first), buffer_as_text(&second)));
    sm_free(again);
    buffer_release(&first);
    buffer_release(&second);
}

static char folder[64];

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_folder(void)
{
    (void)nftw(folder, remove_one, FOLDERS_OPEN, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
    if (folder[0] != '\0') return folder;
    bool in_memory = access("/dev/shm", W_OK) == 0;
    (void)snprintf(folder, sizeof(folder), "%s/boskosd-fuzz-XXXXXX",
                   in_memory ? "/dev/shm" : "/tmp");
    ASSERT(mkdtemp(folder) != NULL);
    ASSERT(atexit(remove_folder) == 0);
    return folder;
}
