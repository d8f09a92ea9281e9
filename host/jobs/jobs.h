/* jobs.h - durable jobs and schedules: claimed with leases by any replica, retried with back-off, dead-lettered, kept as history. */
#ifndef JOBS_JOBS_H
#define JOBS_JOBS_H
#include "loop/loop.h"
#include "store/store.h"

struct job_kind { /* what this process can run; strings live until the next jobs_set_kinds */
    const char *kind;            /* "oracle.fetch", "event:oracle/account.deleted", "schedule:oracle/expire" */
    const char *module;
    const char *schedule;        /* NULL, or when the kind is ticked */
    uint32_t deadline_ms, attempts, backoff_ms, max_inflight; /* 0 = default */
    void *entry;                 /* for invoke */
};
struct jobs_config {
    uint32_t concurrency;        /* runs at once in this process */
    uint32_t lease_ms;           /* a killed replica's jobs move after this */
    uint32_t poll_ms;            /* look for other replicas' jobs this often when idle */
    uint32_t deadline_ms, attempts, backoff_ms, backoff_max_ms; /* defaults of a kind */
    int64_t history_ms;          /* how long history of finished runs is kept */
    uint32_t dead_max_days;
};
struct job_run {                 /* facts of the run in progress: call->context points to it */
    sl_str id, kind, key, tenant, json, tick, trace;
    uint32_t attempt, attempts;
    uint32_t retry_ms;           /* set by jobs_retry */
    sl_str why;
};
/* Run the entry of a kind as the current call, with `before_commit` joined to its transaction; set by module/. */
typedef sl_err job_invoke(call *c, void *entry, sl_err (*before_commit)(call *c));

sl_err jobs_start(call *c, const struct jobs_config *cfg, job_invoke *invoke, char *why, size_t why_size); /* [S] */
void jobs_set_kinds(const struct job_kind *kinds, size_t n);   /* copied; swaps at once; runs in progress go on */
void jobs_drain(call *c);        /* [S] claim nothing more, wait for runs, give leases back */
const struct job_kind *jobs_kind(sl_str kind);                 /* NULL if this process cannot run it */
/* Join the call's transaction (store_defer): nothing happens on rollback; runners wake after the commit. */
sl_err jobs_enqueue(call *c, const sl_job *job, sl_str tenant);
sl_err jobs_cancel(call *c, sl_str kind, sl_str key);
sl_err jobs_retry(call *c, uint32_t delay_ms, sl_str why);     /* SL_ESTATE outside a job's handler */
/* Next tick of a schedule text strictly after `after` (microseconds), or 0 if the text is malformed. */
int64_t schedule_next(sl_str schedule, int64_t after);
struct jobs_stats { uint32_t running; uint64_t started, succeeded, failed, dead, reclaimed; int64_t oldest_waiting_us; };
struct jobs_stats jobs_stats(void);
#endif
