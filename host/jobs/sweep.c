/* sweep.c - drops old history and old dead letters in small batches, and counts what waits for the gauges. */
#include "base/log.h"
#include "jobs/engine.h"

enum { BATCH = 1000, BATCHES = 20, COUNT_MAX = 100000 };

/* Deletes in batches, each its own transaction, so that nobody waits long for one. */
static sl_err delete_batches(call *c, sl_str sql, int64_t age_us)
{
    for (int i = 0; i < BATCHES && !engine.draining; i++) {
        const sl_rows *rows;
        sl_err e = store_query(c, &rows, sql, SL_ARRAY(age_us, (int64_t)BATCH), 2);
        int64_t n = e ? 0 : rows->changed;
        if (!e)
            e = store_commit(c);
        else
            store_rollback(c);
        if (e || n < BATCH) return e;
    }
    return SL_OK;
}

static sl_err count(call *c, sl_str sql, int64_t *n)
{
    const sl_rows *rows;
    sl_err e = store_query(c, &rows, sql, SL_ARRAY((int64_t)COUNT_MAX), 1);
    if (!e && rows->rows) *n = sl_cell_int(rows, 0, "n");
    return e;
}

void sweep_tick(call *c, void *unused)
{
    (void)unused;
    /* Rows of history come in the order of seq: looking at the oldest is enough, and needs no index on times. */
    sl_err e = delete_batches(
        c,
        SL("delete from sl_job_runs where seq in (select seq from sl_job_runs order by seq limit $2) "
           "and finished_at < {{now}} - $1"),
        engine.cfg.history_ms * 1000);
    if (!e)
        e = delete_batches(c,
                           SL("delete from sl_jobs where id in (select id from sl_jobs where state = 'dead' and "
                              "updated_at < {{now}} - $1 limit $2) and state = 'dead'"),
                           (int64_t)engine.cfg.dead_max_days * 86400 * 1000000);
    if (!e)
        e = count(c,
                  SL("select count(*) as n from (select 1 as one from sl_jobs where state = 'waiting' limit $1) as w"),
                  &engine.stats.waiting_now);
    if (!e)
        e = count(c, SL("select count(*) as n from (select 1 as one from sl_jobs where state = 'dead' limit $1) as d"),
                  &engine.stats.dead_now);
    if (e && !engine.draining) log_warn("old jobs could not be swept", LOG_C("error", store_error(c)));
}
