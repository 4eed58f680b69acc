// client/mason/mason.h
//
// boskos-mason: makes resources out of other resources. It takes a dirty one, leases what the life
// cycle says it needs, has a builder make it, and gives it back free. What a builder does is not
// known here.
//
// main.c reads the command line, take.c takes, jobs.c keeps the list of jobs, crews.c has the
// threads that work on them, cycle.c what is done at each stage, build.c speaks with the builder,
// figures.c tells what of all this.
//
// A job is worked on by one thread at a time (is_busy). `lock` guards the list of jobs, their
// stages, and what they have leased, which others look at.
#ifndef CLIENT_MASON_MASON_H
#define CLIENT_MASON_MASON_H

#include "client/pages.h"
#include "client/watched.h"

#define MASON_POOL_MAX 1000u // threads of one pool
#define MASON_JOBS_MAX 1000u
#define MASON_BUILDERS_MAX 1000u
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

// A lease of a job. What is lost is not given back: it may be another job's by now.
struct part {
    struct boskos_resource *resource;
    atomic_bool is_lost;
};

struct job {
    struct job *next; // the older ones come first
    enum stage stage;
    bool is_busy;
    int64_t due_ms;
    struct plan plan;
    struct part whole;   // what is made
    struct part *leased; // what it is made of: those of one need after those of another
    size_t leased_count;
    size_t released;            // of leased, to the state that is the whole's name
    bool is_waiting;            // a release is in doubt: nothing more until it is settled
    struct boskos_pairs *made;  // by the builder
    struct boskos_cancel *lost; // set when one of them is
    int64_t began_ms;
};

// Of one type.
struct tally {
    char *type;
    uint64_t made, failed;
};

enum crew_kind { CREW_FULFILL, CREW_BUILD, CREW_SYNC };
#define CREWS 3u

struct mason;

// Threads for some stages.
struct crew {
    struct mason *mason;
    enum crew_kind kind;
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
    bool has_port; // the command line gave it
    struct watched config;
    struct crew crews[CREWS];
    size_t next; // the entry of the config that is asked for first

    pthread_mutex_t lock; // of what follows
    pthread_cond_t changed;
    struct job *jobs;
    size_t jobs_count;
    bool is_ending; // no more jobs come
    struct tally *tallies;
    size_t tallies_count;
};

void mason_lock(struct mason *m);
void mason_unlock(struct mason *m);

// ---- jobs.c ----

// A job for a resource, which it takes over. NULL, and the resource is not taken, when there is no
// descriptor.
struct job *mason_job_new(const struct config_entry *e, const struct builder *builder,
                          struct boskos_resource *resource);

// To the end of the list. Another job that had its resource has lost it.
void mason_job_add(struct mason *m, struct job *job);

// Off the list, and counted. With the lock held.
void mason_job_end(struct mason *m, struct job *job, bool has_failed);

// How many jobs there are of a type; NULL: of all.
size_t mason_jobs_of(struct mason *m, const char *type);

// May the job ask for one more of that type? Not before older ones have all they need of it: so two
// jobs never wait for each other. Always false when the job is to fail.
bool mason_may_ask(struct mason *m, const struct job *job, const struct need *need);

// Takes the lease into the job. Another job that had it has lost it.
void mason_add_leased(struct mason *m, struct job *job, struct boskos_resource *resource);

// Has any job leased that?
bool mason_has_leased(struct mason *m, const char *name);

// A lease is lost: its job is to fail. For boskos_heartbeat; context is the mason.
boskos_lost_function mason_on_lost;

void mason_free_tallies(struct mason *m);

// ---- crews.c ----

// Starts the threads. Returns 0, or PROGRAM_FAILED after it was said why not.
int mason_start_crews(struct mason *m);

// Gives up all jobs, and waits until all they had is given back.
void mason_end_crews(struct mason *m);

// ---- take.c ----

// Until the program is to end. Then all that is held goes back.
int mason_work(struct mason *m);

// ---- cycle.c ----

// One stage of a job; what the next one is.
enum stage mason_step(struct mason *m, struct job *job, enum stage stage);

// ---- build.c ----

// Runs the builder. False, after it was logged, when it failed; else *ret_made is what it said,
// caller frees.
bool mason_build(struct mason *m, struct job *job, struct boskos_pairs **ret_made);

// ---- figures.c ----

pages_figures mason_figures;

#endif
