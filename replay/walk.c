#include "replay/walk.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#include "base/banned.h"

#define REPORT_EVERY 4096u // commands

struct walk {
    struct source *source;
    struct sm *sm;
    struct hash128 chain; // of the record the state is at
    struct source_cursor *cursor;
    struct command_decoder *decoder;
    struct buffer made; // the bytes of a row
    uint64_t missing;   // the first command on the way without a row, 0: none
    bool is_gap;        // a later one has a row
    bool is_peeked;
    struct walk_step step;
};

int walk_open(struct source *s, uint64_t at, const struct walk_report *report,
              struct walk **ret_walk, struct journal_problem *problem)
{
    struct walk *w = must_calloc(1, sizeof(*w));
    w->source = s;
    buffer_init(&w->made);
    w->decoder = command_decoder_new();
#ifdef __GLIBC__
    (void)malloc_trim(0); // what a state before had would lie between what this one has
#endif
    int err = source_load(s, at, &w->sm, &w->chain, problem);
    if (err == 0) err = source_cursor_open(s, sm_seq(w->sm) + 1, &w->chain, &w->cursor, problem);
    if (err == 0) err = walk_to(w, at, report, problem);
    if (err != 0) {
        walk_close(w);
        return err;
    }
    *ret_walk = w;
    return 0;
}

void walk_close(struct walk *w)
{
    if (w == NULL) return;
    source_cursor_close(w->cursor);
    command_decoder_free(w->decoder);
    buffer_release(&w->made);
    sm_free(w->sm);
    free(w);
}

void walk_leave(struct walk *w)
{
#ifndef __SANITIZE_ADDRESS__ // which would call it a leak
    if (w != NULL) w->sm = NULL;
#endif
    walk_close(w);
}

struct sm *walk_state(struct walk *w)
{
    return w->sm;
}

struct sm *walk_take_state(struct walk *w)
{
    struct sm *sm = w->sm;
    w->sm = NULL;
    return sm;
}

struct hash128 walk_chain(const struct walk *w)
{
    return w->chain;
}

void walk_trace(struct walk *w)
{
    sm_trace(w->sm);
}

// What recovery says names the log of a folder. Here it is the one that is read.
static int name_file(const struct walk *w, int err, struct journal_problem *problem)
{
    static const char log[] = "data.mdb: ";
    struct journal_problem found = *problem;
    const char *text = found.text;
    if (strncmp(text, log, strlen(log)) == 0) text += strlen(log);
    bool is_folder = source_journal(w->source) != NULL;
    (void)snprintf(problem->text, sizeof(problem->text), "%.200s%s: %.280s", source_name(w->source),
                   is_folder ? "/journal/data.mdb" : "", text);
    return err;
}

int walk_peek(struct walk *w, const struct walk_step **ret_step, struct journal_problem *problem)
{
    struct walk_step *step = &w->step;
    int err = 0;
    if (!w->is_peeked) {
        source_cursor_expect(w->cursor, w->sm);
        err = source_cursor_next(w->cursor, &step->record, &step->row, problem);
        if (err != 0) return err;
        err = recovery_decode(w->sm, w->decoder, &step->record, &step->command, problem);
        if (err != 0) return name_file(w, err, problem);
        w->is_peeked = true;
    }
    if (err == 0) *ret_step = step;
    return err;
}

int walk_next(struct walk *w, const struct walk_step **ret_step, struct journal_problem *problem)
{
    const struct walk_step *peeked = NULL;
    int err = walk_peek(w, &peeked, problem);
    if (err != 0) return err;
    struct walk_step *step = &w->step;
    w->is_peeked = false;
    buffer_clear(&w->made); // of the command before
    step->match = recovery_apply(w->sm, &step->command, &step->row, &w->made, &step->result);
    w->chain = step->record.chain;
    if (step->match != REPLAY_NO_ROW)
        w->is_gap = w->is_gap || w->missing != 0;
    else if (w->missing == 0)
        w->missing = step->record.seq;
    *ret_step = step;
    if (step->match != REPLAY_RESULT && step->match != REPLAY_DIGEST) return 0;
    recovery_explain(step->match, step->record.seq, problem);
    return name_file(w, BOSKOS_E_CORRUPT, problem);
}

int walk_check_rows(struct walk *w, struct journal_problem *problem)
{
    struct source_cursor *c = NULL;
    struct record record;
    struct journal_row row;
    if (!w->is_gap) return 0;
    int err = source_cursor_open(w->source, w->missing, NULL, &c, problem);
    if (err == 0) err = source_cursor_next(c, &record, &row, problem);
    source_cursor_close(c);
    if (err != 0 || row.seq != 0) return err;
    problem->seq = w->missing;
    (void)snprintf(problem->text, sizeof(problem->text),
                   "the result of command %" PRIu64 " is missing, and a later one is there",
                   w->missing);
    return name_file(w, BOSKOS_E_CORRUPT, problem);
}

int walk_to(struct walk *w, uint64_t seq, const struct walk_report *report,
            struct journal_problem *problem)
{
    uint64_t begun = sm_seq(w->sm);
    const struct walk_step *step = NULL;
    while (sm_seq(w->sm) < seq) {
        int err = walk_next(w, &step, problem);
        if (err == BOSKOS_E_NOT_FOUND) {
            problem->seq = seq;
            (void)snprintf(problem->text, sizeof(problem->text),
                           "%s: the log ends before command %" PRIu64, source_name(w->source), seq);
        }
        if (err != 0) return err;
        uint64_t done = sm_seq(w->sm) - begun;
        if (report != NULL && done % REPORT_EVERY == 0)
            report->done(report->context, done, seq - begun);
    }
    return 0;
}

uint32_t walk_changes(struct walk *w)
{
    return sm_changes(w->sm);
}

void walk_change(struct walk *w, uint32_t number, struct sm_change *ret_change)
{
    sm_change(w->sm, number, ret_change);
}

struct text walk_row_made(struct walk *w)
{
    if (w->made.size == 0) sm_result_encode(&w->step.result, &w->made);
    return buffer_as_text(&w->made);
}
