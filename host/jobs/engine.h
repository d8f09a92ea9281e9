/* engine.h - the parts of the job engine to each other: kinds, runs in progress, what is done when. Internal. */
#ifndef JOBS_ENGINE_H
#define JOBS_ENGINE_H
#include "base/json.h"
#include "jobs/jobs.h"
#include "observe/metrics.h"

enum { ATTEMPTS_DEFAULT = 8, CLAIM_MAX = 4096 };
enum outcome { RUN_SUCCEEDED, RUN_FAILED, RUN_RETRIED, RUN_DEAD, RUN_LOST, RUN_RETURNED, OUTCOMES };
const char *outcome_name(enum outcome o);

/* One jobs_set_kinds; lives until the next one and the end of its last run. */
struct kind_table {
    arena *memory;
    uint32_t refs;
};

/* A kind by name, for the life of the process: it outlives tables, so that jobs, wake-ups and metrics can point to it.
 */
struct slot {
    sl_str name;
    const struct job_kind *def; /* NULL: this process cannot run it now */
    struct kind_table *table;   /* of def */
    bool hot;                   /* it may have due jobs: claim */
    bool look_again;            /* once its due jobs are claimed: when is the next one due? */
    uint64_t taken;             /* claimed ever: `claimed` also falls while a claim waits for its answer */
    uint32_t claimed;           /* leases of this process */
    uint64_t succeeded, failed, dead;
    int64_t next_tick; /* of a schedule; 0 = not known yet */
    series *runs[OUTCOMES], *duration;
    struct slot *next; /* all, and in the hash chain */
    struct slot *chain;
};

/* One job claimed by this process. */
struct run {
    struct job_run job; /* first: call->context points to it */
    struct slot *slot;
    struct kind_table *table; /* pinned while it runs */
    uint32_t backoff_ms, deadline_ms;
    call *call;                                             /* while it runs */
    int64_t claimed_at, claimed_ns, started_ns, renewed_ns; /* the store's time, and the monotonic clock */
    bool suspect;                                           /* its lease was not among those renewed */
    bool settling;                                          /* the handler is over, its end is being written */
    bool lost;   /* the lease is somebody else's: nothing may be written any more */
    bool leaves; /* its row is deleted by the handler's transaction */
    bool retry;  /* jobs_retry was called */
    enum outcome outcome;
    int64_t finished_at;
    int64_t delay_us;
    char error[1024];
    json_t *body;            /* parsed on first use */
    struct run *prev, *next; /* all of this process */
    struct run *later;       /* queue or settle list */
};

struct run_list {
    struct run *first, **end;
    size_t n;
};
void run_list_init(struct run_list *l);
void run_list_add(struct run_list *l, struct run *r);
struct run *run_list_take(struct run_list *l);

extern struct engine {
    struct jobs_config cfg;
    job_invoke *invoke;
    bool on, draining;
    char owner[40];
    struct slot *slots, *table[512];
    size_t n_slots;
    struct run *runs; /* all: queued, running, settling */
    struct run_list queue, settling;
    uint32_t running, claimed;
    uint32_t claim_max;   /* jobs in one claim; fewer while their payloads are large */
    bool look;            /* ask the store what is due */
    uint64_t looked_ms;   /* loop time of the last look */
    int64_t next_due;     /* store time, 0 = none known */
    int64_t clock_offset; /* the store's clock minus ours, microseconds */
    double rate;          /* runs finished per second, smoothed */
    uint64_t finished, rate_finished;
    int64_t rate_ns;
    uint32_t grace; /* lease rounds to wait before taking leases of others, after the store was away */
    ticker *pump, *settler, *leases, *schedules, *sweeper;
    int64_t next_tick; /* store time of the next schedule's tick */
    uv_timer_t starter, due, tick;
    bool timers;
    bool store_away; /* ends could not be written: the settler keeps to its rhythm */
    struct jobs_stats stats;
} engine;

/* ---- kinds.c ---- */
struct slot *slot_find(sl_str kind);
void kind_table_drop(struct kind_table *t); /* one reference less */
/* ---- claim.c ---- */
void claim_tick(call *c, void *unused); /* [S] */
void claim_kick(void);
void start_soon(void); /* start queued runs when control is back in the loop */
/* ---- run.c ---- */
bool run_start(struct run *r); /* false: too many calls just now */
void run_free(struct run *r);  /* forget the lease */
int64_t store_now(void);       /* our guess of the store's clock */
/* ---- settle.c ---- */
void settle(struct run *r); /* outcome, error and delay are set; written soon, in a transaction of its own */
void settle_tick(call *c, void *unused); /* [S] */
sl_err defer_delete(call *c, const struct run *r);
sl_err defer_history(call *c, const struct run *r);
void count_run(struct run *r);
/* ---- lease.c ---- */
void lease_tick(call *c, void *unused); /* [S] renew ours, take back what expired */
void lease_return_all(call *c);         /* [S] */
/* ---- tick.c ---- */
void schedule_tick(call *c, void *unused); /* [S] */
/* ---- sweep.c ---- */
void sweep_tick(call *c, void *unused); /* [S] old history and dead letters, gauges */
#endif
