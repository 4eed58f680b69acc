// client/mason/mason.h
//
// boskos-mason: makes resources out of other resources. It takes a dirty one, leases what the life
// cycle says it needs, has a builder make it, and gives it back free. What a builder does is not
// known here.
//
// main.c reads the command line, jobs.c has the jobs and the threads that work on them, cycle.c is
// what is done at each stage, build.c speaks with the builder.
//
// A job is worked on by one thread at a time (is_busy). `lock` guards the list of jobs, their
// stages, and what they have leased, which others look at.
#ifndef CLIENT_MASON_MASON_H
#define CLIENT_MASON_MASON_H

#include "client/page.h"
#include "client/subprocess.h"
#include "client/watched.h"

#define MASON_POOL_MAX 1000u // threads of one pool
#define MASON_JOBS_MAX 1000u
#define MASON_BUILDERS_MAX 1000u
#define MASON_LEASED_MAX 10000u              // of one job
#define MASON_OUTPUT_BYTES_MAX (192u * 1024) // of a builder: less than a body of Boskos may have
#define MASON_LEASED_KEY "leasedResources"

struct builder {
    char *type;
    const char *path;
};

struct need {
    char *type;
    size_t count;
};

// What a job has to do, as the config was when it began.
struct plan {
    const struct builder *builder;
    struct text config_type, config_content; // copies
    struct need *needs;
    size_t needs_count;
};

enum stage {
    STAGE_RECYCLE, // what it was made of before goes back
    STAGE_FULFILL, // what it is made of is leased
    STAGE_STORE,   // the names of it are stored
    STAGE_BUILD,
    STAGE_SYNC, // the userdata is stored, all is released
    STAGE_FAIL, // all goes back as dirty
    STAGE_DONE
};

struct job {
    struct job *next; // the older ones come first
    enum stage stage;
    bool is_busy;
    int64_t due_ms;
    struct plan plan;
    struct boskos_resource *resource;
    struct boskos_resource **leased; // those of one need after those of another
    size_t leased_count;
    size_t released;            // of leased, to the state that is the resource's name
    bool is_waiting;            // a release is in doubt: nothing more until it is settled
    struct boskos_pairs *made;  // by the builder
    struct boskos_cancel *lost; // set when one of them is lost
    int64_t began_ms;
};

struct tally {
    char *type;
    uint64_t built, failed;
};

enum pool_kind { POOL_FULFILL, POOL_BUILD, POOL_SYNC };
#define POOLS 3u

struct mason;

struct crew {
    struct mason *mason;
    enum pool_kind kind;
    size_t size;
    pthread_t *threads;
    size_t started;
};

struct mason {
    struct program program;
    struct builder builders[MASON_BUILDERS_MAX];
    size_t builders_count;
    int64_t period_ns, heartbeat_ns, limit_ns, grace_ns;
    uint16_t port;
    bool has_port;
    struct watched config;
    struct crew crews[POOLS];
    size_t next; // the entry of the config that is asked for first

    pthread_mutex_t lock; // of what follows
    pthread_cond_t changed;
    struct job *jobs;
    size_t jobs_count;
    bool is_ending; // no more jobs come
    int64_t end_ms; // when releases should be done by, once it ends
    struct tally *tallies;
    size_t tallies_count;
};

int64_t mason_now_ms(void);

// ---- jobs.c ----

// Until the program is to end. Then all that is held goes back.
int mason_work(struct mason *m);
void mason_page(void *context, struct buffer *out);
void mason_free(struct mason *m);

// May the job ask for one more of that type? Not before older ones have all they need of it: so two
// jobs never wait for each other. Always false when the job is to fail.
bool mason_may_ask(struct mason *m, const struct job *job, const struct need *need);

// Takes the lease into the job.
void mason_add_leased(struct mason *m, struct job *job, struct boskos_resource *resource);

// ---- cycle.c ----

// One stage of a job; what the next one is.
enum stage mason_step(struct mason *m, struct job *job, enum stage stage);

// give_back, in less time when the program is to end.
int mason_give_back(struct mason *m, const struct boskos_resource *resource, const char *dest,
                    bool *ret_is_doubted);

// ---- build.c ----

// Runs the builder. False, after it was logged, when it failed; else *ret_made is what it said,
// caller frees.
bool mason_build(struct mason *m, struct job *job, struct boskos_pairs **ret_made);

#endif
