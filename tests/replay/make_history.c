// replay_make_history DIR --seed S --commands N [--snapshot-every M] [--points K] [--ahead A]: a
// random history of N commands (tests/history_make.h) as the data folder DIR, with a snapshot after
// every M of them (0: none), and what the independent model of the rules says of K of its moments,
// chosen by the seed: DIR/points/SEQ.txt is the model's dump after command SEQ. The last A of them
// are left in the write-ahead file, as by a crash (0: there is none). The same arguments make the
// same history.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/history_make.h"
#include "tests/replay/folder_write.h"

#include "base/banned.h"

#define COMMANDS_MAX UINT64_C(100000000)
#define PATH_BYTES 4096
#define AHEAD_BATCH_MAX 7                    // so that there are several frames
#define POINTS_SEED UINT64_C(0x706f696e7473) // so that the points are not the commands' numbers

struct history {
    const char *dir;
    uint64_t seed, commands, snapshot_every, points, ahead;
    bool *is_point; // by sequence number
    struct folder_writer writer;
    struct maker maker;
    struct model *model;
    struct command_decoder *decoder;
    struct buffer payload, dump;
};

static void choose_points(struct history *h)
{
    struct maker numbers;
    maker_init(&numbers, h->seed ^ POINTS_SEED, h->model);
    h->is_point = must_calloc(h->commands + 1, sizeof(*h->is_point));
    // As many of those not seen yet as are needed: every choice is as likely, and it ends.
    uint64_t needed = h->points;
    for (uint64_t seq = 1; seq <= h->commands && needed > 0; seq++) {
        if (maker_random(&numbers, h->commands - seq + 1) >= needed) continue;
        h->is_point[seq] = true;
        needed--;
    }
    maker_release(&numbers);
}

static bool folder_make(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) return true;
    fprintf(stderr, "%s cannot be made\n", path);
    return false;
}

static bool write_point(struct history *h, uint64_t seq)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/points/%" PRIu64 ".txt", h->dir, seq);
    buffer_clear(&h->dump);
    model_dump(h->model, &h->dump);
    FILE *file = fopen(path, "we");
    bool is_written = file != NULL && fwrite(h->dump.data, 1, h->dump.size, file) == h->dump.size;
    if (file != NULL && fclose(file) != 0) is_written = false;
    if (!is_written) fprintf(stderr, "%s cannot be written\n", path);
    return is_written;
}

static bool step(struct history *h)
{
    struct command made, c;
    struct sm_result result;
    struct model_reply reply;
    maker_next(&h->maker, &made);
    // Its texts may be the model's own, which applying it changes.
    buffer_clear(&h->payload);
    command_encode(&made, &h->payload);
    int err = command_decode(h->decoder, made.kind, buffer_as_text(&h->payload), &c);
    ASSERT(err == 0);
    c.seq = made.seq;
    c.time_ns = made.time_ns;
    if (!folder_add(&h->writer, &c, &result)) return false;
    model_apply(h->model, &c, &reply);
    model_reply_release(&reply);
    if (h->is_point[c.seq] && !write_point(h, c.seq)) return false;
    bool has_snapshot = h->snapshot_every > 0 && c.seq % h->snapshot_every == 0;
    return !has_snapshot || folder_snapshot(&h->writer);
}

static bool make(struct history *h)
{
    char path[PATH_BYTES];
    bool is_open = h->ahead > 0 ? folder_writer_open_ahead(&h->writer, h->dir, FOLDER_BATCH_MAX)
                                : folder_writer_open(&h->writer, h->dir, FOLDER_BATCH_MAX);
    if (!is_open) return false;
    (void)snprintf(path, sizeof(path), "%s/points", h->dir);
    if (!folder_make(path)) return false;
    choose_points(h);
    for (uint64_t i = 0; i < h->commands; i++) {
        bool is_last = h->ahead > 0 && i == h->commands - h->ahead;
        if (is_last && !folder_leave_ahead(&h->writer, AHEAD_BATCH_MAX)) return false;
        if (!step(h)) return false;
    }
    return folder_append(&h->writer) && (h->ahead > 0 || folder_append_rows(&h->writer, true));
}

// ---- the command line -------------------------------------------------------

static bool read_number(const char *text, uint64_t most, uint64_t *ret_number)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || number > most) return false;
    *ret_number = number;
    return true;
}

static bool read_options(int argc, char **argv, struct history *h)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"commands", required_argument, NULL, 'n'},
                                            {"snapshot-every", required_argument, NULL, 'm'},
                                            {"points", required_argument, NULL, 'k'},
                                            {"ahead", required_argument, NULL, 'a'},
                                            {0}};
    bool is_right = true;
    for (int i = 0; i < argc && is_right; i++) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1) break;
        uint64_t *number = option == 's'   ? &h->seed
                           : option == 'n' ? &h->commands
                           : option == 'm' ? &h->snapshot_every
                           : option == 'a' ? &h->ahead
                                           : &h->points;
        is_right =
            option != '?' && read_number(optarg, option == 's' ? UINT64_MAX : COMMANDS_MAX, number);
    }
    if (!is_right || optind != argc - 1 || h->commands == 0 || h->points > h->commands ||
        h->ahead > h->commands)
        return false;
    h->dir = argv[optind];
    return strlen(h->dir) < PATH_BYTES - 40;
}

int main(int argc, char **argv)
{
    struct history *h = must_calloc(1, sizeof(*h));
    if (!read_options(argc, argv, h)) {
        fputs("usage: replay_make_history DIR --seed S --commands N [--snapshot-every M] "
              "[--points K] [--ahead A]\n",
              stderr);
        free(h);
        return 2;
    }
    h->model = model_new();
    h->decoder = command_decoder_new();
    maker_init(&h->maker, h->seed, h->model);
    bool is_made = make(h);
    if (is_made && h->ahead > 0) _exit(0); // what was acknowledged is left where it is
    folder_writer_close(&h->writer);
    maker_release(&h->maker);
    model_free(h->model);
    command_decoder_free(h->decoder);
    buffer_release(&h->payload);
    buffer_release(&h->dump);
    free(h->is_point);
    free(h);
    return is_made ? 0 : 1;
}
