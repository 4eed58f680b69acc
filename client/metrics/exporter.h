// client/metrics/exporter.h
//
// What the parts of boskos-metrics share.
#ifndef CLIENT_METRICS_EXPORTER_H
#define CLIENT_METRICS_EXPORTER_H

#include "client/pages.h"
#include "client/watched.h"

struct exporter {
    struct program program;
    struct program_types types;
    struct program_list states; // shown by name; the rest is `other`
    struct program_list failed; // types that could not be read in the last round
    int64_t period_ns;
    uint16_t port, metrics_port; // 0: none

    pthread_mutex_t lock; // of what follows
    struct buffer text;   // the page of the last round; empty before the first one
};

// Asks for all types, and makes the page anew.
void exporter_update(struct exporter *e);

// The pages, called by their threads. context is the exporter.
pages_answer exporter_answer_json;
pages_figures exporter_figures;

#endif
