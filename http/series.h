// http/series.h
//
// Histograms with labels and their text in Prometheus' format 0.0.4. The number of label
// combinations of a family is limited: what comes beyond is counted under labels that all say
// `other`.
//
// Not thread-safe; belongs to the loop thread.
#ifndef HTTP_SERIES_H
#define HTTP_SERIES_H

#include "base/buffer.h"

#define SERIES_MAX 1024u        // label combinations of a family, without the one that says `other`
#define SERIES_LABEL_BYTES 200u // of a label's value; a longer one becomes `other`
#define SERIES_BUCKETS_MAX 24u

struct series_bound {
    uint64_t value;   // the largest that counts, in the family's units
    const char *text; // as `le` shows it
};

struct family_form {
    const char *name, *help;
    const char *other; // the labels of what is over the limit
    const struct series_bound *bounds;
    uint32_t bounds_count;
    bool is_ns; // values are nanoseconds, shown as seconds
};

struct series {
    char *labels; // owned, NULL: free place
    uint32_t labels_size;
    uint64_t count, sum;
    uint64_t buckets[SERIES_BUCKETS_MAX]; // not cumulative; above the last bound: only in count
};

struct family {
    const struct family_form *form;
    struct series *table; // open addressing, 2 * SERIES_MAX places
    uint32_t used;
    struct series other;
};

void family_init(struct family *f, const struct family_form *form);
void family_release(struct family *f);

// The series of these labels, or of `other`; as long as the family. `labels` is what stands between
// the braces.
struct series *family_series(struct family *f, struct text labels);

// Counts a value in it.
void series_observe(const struct family *f, struct series *s, uint64_t value);

// Both. `labels` is what stands between the braces.
void family_observe(struct family *f, struct text labels, uint64_t value);

// Appends the whole family.
void family_print(const struct family *f, struct buffer *out);

// Appends `name="value"`, escaped, after a comma where something stands before. There is no NUL in
// what it appends, whatever the value.
void series_label(struct buffer *labels, const char *name, struct text value);

// Appends nanoseconds as seconds.
void series_seconds(struct buffer *out, uint64_t ns);

// Appends HELP and TYPE.
void series_head(struct buffer *out, const char *name, const char *help, const char *type);

// Appends one figure without labels, with its head.
void series_number(struct buffer *out, const char *name, const char *help, const char *type,
                   uint64_t value);

#endif
