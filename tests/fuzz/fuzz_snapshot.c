// Snapshots, two ways by the first byte: as a whole file, through the journal; and as the state in
// it. Of the second a digest that does not fit is taken for right, or hardly an input would come
// past it: so the reader is compiled in here, with another look at the digest.
#include "journal/internal.h"
#include "tests/fuzz/fuzz.h"

static bool digest_is_taken;
static int digest_equal(struct hash128 a, struct hash128 b)
{
    return digest_is_taken || hash128_equal(a, b);
}
#define hash128_equal digest_equal
#include "statemachine/snapshot.c" // NOLINT(bugprone-suspicious-include)
#undef hash128_equal

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/banned.h"

#define HEADER_BYTES 80
#define TRAILER_BYTES 24
#define ZERO_AT 10 // behind the format
#define ZERO_BYTES 6
#define DIGEST_AT_MOST 80 // the head of the state ends before
#define FILE_SEQ 7

enum way { WAY_STATE, WAY_FILE, WAY_FILE_WITH_CHECKSUMS, WAYS };

static void file_write(const char *path, struct text bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && write(fd, bytes.data, bytes.size) == (ssize_t)bytes.size);
    (void)close(fd);
}

// Gives the bytes of a file the length and the two checksums they should have.
static void checksums_put(struct text bytes)
{
    uint8_t *at = (uint8_t *)(uintptr_t)bytes.data;
    if (bytes.size < HEADER_BYTES + TRAILER_BYTES) return;
    hash128_encode(hash128(at, HEADER_BYTES - HASH128_BYTES), at + HEADER_BYTES - HASH128_BYTES);
    bytes_put_u64(at + bytes.size - TRAILER_BYTES, bytes.size - HEADER_BYTES - TRAILER_BYTES);
    hash128_encode(hash128(at, bytes.size - HASH128_BYTES), at + bytes.size - HASH128_BYTES);
}

// Written by the journal from what was read it is the same file, but for what is to be zero.
static void check_written_again(struct journal *j, const char *path,
                                const struct journal_snapshot *about, struct text content,
                                struct text wanted)
{
    struct journal_snapshot_writer *w = NULL;
    uint8_t *had = must_malloc((size_t)wanted.size + 1);
    if (memcmp(wanted.data + ZERO_AT, (uint8_t[ZERO_BYTES]){0}, ZERO_BYTES) == 0) {
        ASSERT(journal_snapshot_begin(j, about, &w, NULL) == 0);
        ASSERT(journal_snapshot_add(w, content.data, content.size) == 0);
        ASSERT(journal_snapshot_commit(w, NULL) == 0);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ASSERT(fd >= 0 && read(fd, had, (size_t)wanted.size + 1) == (ssize_t)wanted.size);
        ASSERT(memcmp(had, wanted.data, wanted.size) == 0);
        (void)close(fd);
    }
    free(had);
}

static void check_file(struct text input, bool has_checksums)
{
    char path[128];
    struct journal j = {.path = (char *)(uintptr_t)fuzz_folder()};
    struct journal_snapshot about;
    struct journal_snapshot_map *map = NULL;
    struct journal_problem problem = {0};
    struct text content;
    struct buffer bytes;
    buffer_init(&bytes);
    buffer_text(&bytes, input);
    if (has_checksums) checksums_put(buffer_as_text(&bytes));
    (void)snprintf(path, sizeof(path), "%s/snapshot-%020d", j.path, FILE_SEQ);
    file_write(path, buffer_as_text(&bytes));

    int err = journal_snapshot_open(&j, FILE_SEQ, &about, &content, &map, &problem);
    ASSERT(err == 0 || err == BOSKOS_E_CORRUPT || err == BOSKOS_E_TOO_NEW);
    if (err == 0) {
        ASSERT(about.seq == FILE_SEQ && about.bytes == bytes.size);
        ASSERT(content.size == bytes.size - HEADER_BYTES - TRAILER_BYTES);
        check_written_again(&j, path, &about, content, buffer_as_text(&bytes));
    } else {
        ASSERT(strstr(problem.text, path) != NULL);
    }
    journal_snapshot_close(map);
    buffer_release(&bytes);
}

static void apply_some(struct sm *sm)
{
    struct sm_result result;
    uint64_t seq = sm_seq(sm), time_ns = sm_time_ns(sm);
    if (seq > UINT64_MAX / 2 || time_ns > UINT64_MAX / 2) return;
    struct command commands[] = {
        {.kind = COMMAND_EXPIRE},
        {.kind = COMMAND_ACQUIRE,
         .as.acquire = {TEXT("t"), TEXT("free"), TEXT("busy"), TEXT("ann"), TEXT("id"), TEXT("")}},
        {.kind = COMMAND_RELEASE, .as.release = {TEXT("vm-1"), TEXT("free"), TEXT("ann")}},
    };
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        commands[i].seq = ++seq;
        commands[i].time_ns = time_ns + 1;
        sm_apply(sm, &commands[i], &result);
    }
    ASSERT(hash128_equal(sm_digest(sm), sm_digest_from_scratch(sm)));
}

// Would the engine have made it? What only a crafted file with a right digest could have is not
// promised to be applied to.
static bool is_possible(const struct sm *sm)
{
    for (uint32_t i = 0; i < sm->types_count; i++) {
        const struct life_cycle *c = sm->types[i]->cycle;
        if (c != NULL && (c->min_count < 0 || c->min_count > 100 || c->max_count < c->min_count ||
                          c->lifespan_ns < 0))
            return false;
    }
    return sm->request_ttl_ns >= 0;
}

static void check_state(struct text input)
{
    struct sm *sm = NULL;
    struct buffer again;
    digest_is_taken = false;
    int err = sm_snapshot_read(input, 1, &sm);
    ASSERT(err == 0 || err == BOSKOS_E_CORRUPT || err == BOSKOS_E_TOO_NEW);
    if (err != 0) {
        digest_is_taken = true;
        err = sm_snapshot_read(input, 1, &sm);
        digest_is_taken = false;
    }
    if (err != 0) return;
    ASSERT(hash128_equal(sm_digest(sm), sm_digest_from_scratch(sm)));
    buffer_init(&again);
    fuzz_snapshot(sm, &again);
    ASSERT(again.size == input.size);
    // The head has the digest; all behind it is as it was.
    ASSERT(input.size <= DIGEST_AT_MOST ||
           memcmp(again.data + DIGEST_AT_MOST, input.data + DIGEST_AT_MOST,
                  input.size - DIGEST_AT_MOST) == 0);
    fuzz_check_state(sm);
    if (is_possible(sm)) apply_some(sm);
    buffer_release(&again);
    sm_free(sm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text rest = text_of((const char *)data, size);
    enum way way = (enum way)(fuzz_byte(&rest) % WAYS);
    if (way == WAY_STATE)
        check_state(rest);
    else
        check_file(rest, way == WAY_FILE_WITH_CHECKSUMS);
    return 0;
}
