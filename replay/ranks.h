// replay/ranks.h
//
// Other texts for a set of texts, in the same byte order and saying nothing but that: a word and
// the rank in the set, as `r000123`. Some texts of the set stay as they are, and the others keep
// their places among them: where `r000123` would not, what comes before is put in front of it, as
// in `tombstone-r000123`, and a 0 where nothing comes before.
//
// One thread.
#ifndef REPLAY_RANKS_H
#define REPLAY_RANKS_H

#include "base/text.h"

#define RANKS_KEPT_BYTES_MAX 40u // of a text that stays, and of a mark
#define RANKS_WORD_BYTES_MAX 8u
#define RANKS_TEXT_BYTES_MAX 64u // of another text
#define RANKS_MARKS_MAX 2u

struct ranks; // opaque

// `word` is borrowed. Returned, caller frees.
struct ranks *ranks_new(const char *word);
void ranks_free(struct ranks *r);

// Puts a copy of a text into the set, unless it is there.
void ranks_add(struct ranks *r, struct text t);

// The others keep their places also around this text, which need not be in the set. Marks and texts
// that stay begin with two digits or letters, and where one is the beginning of another, a digit or
// a letter follows there.
void ranks_mark(struct ranks *r, struct text t);

// Gives each text of the set its other one; again after more were added. `stays` says which stay as
// they are. It must say the same each time.
void ranks_settle(struct ranks *r, bool (*stays)(const void *context, struct text t),
                  const void *context);

// Does a text that does not stay lie between the lowest mark and the highest one?
bool ranks_between_marks(const struct ranks *r);

// The other text, written to `bytes` unless it is `t` itself; TEXT_NONE when `t` is not in the set.
struct text ranks_find(struct ranks *r, struct text t, char bytes[RANKS_TEXT_BYTES_MAX]);

#endif
