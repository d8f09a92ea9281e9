/* tidy.c - what passes by itself: requests that expire, leases that run out, and the age of the oldest one waiting. */
#include "oracle.h"

static sl_err expire(sl_call *c)
{
    const sl_rows *rows;
    sl_err e = sl_query(c, &rows,
                        "select * from oracle_requests where status in ('pending', 'running') and expires_at <= $1 "
                        "order by expires_at limit 200",
                        sl_now(c));
    for (uint32_t i = 0; !e && i < rows->rows; i++) {
        struct work w = work_of(rows, i);
        e = work_expire(c, &w);
    }
    return e;
}

static sl_err return_leases(sl_call *c, const struct oracle *o)
{
    const sl_rows *rows;
    struct attempt a = { .recorded = 1, .at_once = 1, .error_class = SL("lease") };
    attempt_fail(&a, ATTEMPT_RETRY, "lease_expired", "timeout",
                 SL("The runner that leased the request did not answer in time."));
    sl_err e = sl_query(
        c, &rows,
        "select * from oracle_requests where status = 'running' and lease_until < $1 order by lease_until limit 200",
        sl_now(c));
    for (uint32_t i = 0; !e && i < rows->rows; i++) {
        struct work w = work_of(rows, i);
        e = work_settle(c, o, &w, &a, &a, 1);
    }
    return e;
}

static sl_err measure(sl_call *c)
{
    const sl_rows *rows;
    const sl_metrics *m = c->host->metrics;
    sl_err e = sl_query(
        c, &rows, "select min(created_at) as oldest, count(*) as n from oracle_requests where status = 'pending'");
    if (e) return e;
    int64_t oldest = sl_cell_int(rows, 0, "oldest");
    m->set(c, METRIC_OLDEST, oldest ? (double)(sl_now(c) - oldest) / 1e6 : 0, NULL, 0);
    m->set(c, METRIC_PENDING, (double)sl_cell_int(rows, 0, "n"), NULL, 0);
    return SL_OK;
}

sl_err tidy(void *self, sl_call *c)
{
    sl_err e = measure(c);
    if (!e) e = expire(c);
    return e ? e : return_leases(c, self);
}
