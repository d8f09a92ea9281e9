/* jobs.h - durable jobs and schedules: leases, retries with back-off, dead letters, history; for all replicas. */
#ifndef JOBS_JOBS_H
#define JOBS_JOBS_H
#include "loop/loop.h"
#include "store/store.h"

/* Delivery is at least once; what a handler writes to the store is applied exactly once: taking the job off the queue
 * is part of its transaction, and fails with it when the lease went to somebody else meanwhile. A handler that wrote
 * nothing is taken off together with others shortly after it returned. */
struct job_kind {     /* what this process can run; strings live until the next jobs_set_kinds */
    const char *kind; /* "oracle.fetch", "event:oracle/account.deleted", "schedule:oracle/expire" */
    const char *module;
    const char *schedule; /* NULL, or when the kind is ticked */
    uint32_t deadline_ms, attempts, backoff_ms,
        max_inflight;   /* 0 = default; max_inflight 0 = no limit but concurrency */
    void *entry;        /* for invoke */
    uint32_t stack_kib; /* 0 = 64 */
};
struct jobs_config {      /* 0 = the default in brackets */
    uint32_t concurrency; /* runs at once in this process; 0: it runs none (no default) */
    uint32_t lease_ms;    /* a killed replica's jobs move after this and up to a third more [6000] */
    uint32_t poll_ms;     /* look for other replicas' jobs this often when idle [1000] */
    uint32_t deadline_ms, attempts, backoff_ms, backoff_max_ms; /* defaults of a kind [60000, 8, 1000, 600000] */
    int64_t history_ms;                                         /* how long history of finished runs is kept [7 days] */
    uint32_t dead_max_days;                                     /* dead letters older than this are dropped [30] */
};
struct job_run { /* facts of the run in progress: call->context points to it */
    sl_str id, kind, key, tenant, json, tick,
        trace;    /* tick: microseconds since 1970, decimal; a scheduled kind's key */
    sl_str topic; /* of an event; its id is the key. Absent on other jobs */
    uint32_t attempt, attempts;
    uint32_t retry_ms; /* set by jobs_retry */
};
/* Run the entry of a kind as the current call, with `before_commit` joined to its transaction; set by module/. */
typedef sl_err job_invoke(call *c, void *entry, sl_err (*before_commit)(call *c));

enum {
    JOB_NAME_MAX = 200,
    JOB_KEY_MAX = 512,
    JOB_JSON_MAX = 1 << 20
}; /* bytes; beyond them SL_EINVAL, SL_ETOOBIG for json */

void jobs_reconfigure(const struct jobs_config *cfg); /* all but lease_ms and poll_ms */
sl_err jobs_start(call *c, const struct jobs_config *cfg, job_invoke *invoke, char *why, size_t why_size); /* [S] */
void jobs_set_kinds(const struct job_kind *kinds, size_t n); /* copied; swaps at once; runs in progress go on */
/* [S] Claim nothing more, wait for runs, give leases back (their attempt does not count). Takes at most what is left of
 * the call's deadline. The engine is off then; jobs_enqueue goes on working. */
void jobs_drain(call *c);
const struct job_kind *jobs_kind(sl_str kind); /* NULL if this process cannot run it */
uint32_t jobs_attempts(sl_str kind);           /* that a job of this kind gets when it names none */
/* Join the call's transaction (store_defer): nothing happens on rollback; runners wake after the commit. SL_EINVAL:
 * kind or key is empty, too long or not UTF-8, or json is not JSON; SL_ETOOBIG: json is over JOB_JSON_MAX. */
sl_err jobs_enqueue(call *c, const sl_job *job, sl_str tenant);
/* Drop the job whatever it does now: one that runs cannot commit any more. */
sl_err jobs_cancel(call *c, sl_str kind, sl_str key);
/* SL_ESTATE outside a job's handler, else SL_EBUSY, which the handler returns. */
sl_err jobs_retry(call *c, uint32_t delay_ms, sl_str why);
/* For bus/: the job of one subscriber to one event. Arguments were checked. */
sl_err jobs_enqueue_event(call *c, sl_str kind, sl_str event_id, sl_str topic, sl_str json, sl_str tenant);
void jobs_wake(void *unused); /* look into the store now; fits store_after_commit */
/* Next tick of a schedule text strictly after `after` (microseconds), or 0 if the text is malformed or never ticks.
 * "@every 30s" (1 s to 366 days, aligned to 1970), "@hourly" "@daily" "@midnight" "@weekly" "@monthly" "@annually"
 * "@yearly", or the five fields of crontab(5), UTC. */
int64_t schedule_next(sl_str schedule, int64_t after);
/* waiting and dead are counts over all replicas, up to 100,000 and some seconds old. */
struct jobs_stats {
    uint32_t running;
    uint64_t started, succeeded, failed, dead, reclaimed;
    int64_t oldest_waiting_us;
    int64_t waiting_now, dead_now;
};
struct jobs_stats jobs_stats(void);
/* Numbers of one kind in this process. */
struct job_kind_stats {
    const char *kind, *module, *schedule;
    uint32_t claimed;
    uint64_t succeeded, failed, dead;
    int64_t next_tick;
};
void jobs_each_kind(void (*visit)(const struct job_kind_stats *k, void *arg), void *arg);
#endif
