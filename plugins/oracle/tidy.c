/* tidy.c - what passes by itself: requests that expire, leases that run out, and the age of the oldest one waiting. */
#include "oracle.h"

#define EXPIRED "expires_at <= $1"
#define DUE     "status in ('pending', 'running') and (" EXPIRED " or (status = 'running' and lease_until < $1))"

/* A schedule is of no tenant, and what it published would reach none: a job of the request's tenant does the work. */
static sl_err find_due(sl_call *c)
{
    const sl_rows *rows;
    sl_err e = sl_query(
        c, &rows, "select id, tenant, run from oracle_requests where " DUE " order by updated_at limit 400", sl_now(c));
    for (uint32_t i = 0; !e && i < rows->rows; i++)
        e = request_job(c, sl_cell_text(rows, i, "tenant"), "oracle.due", sl_cell_text(rows, i, "id"),
                        sl_cell_int(rows, i, "run"), 0);
    return e;
}

static sl_err return_lease(sl_call *c, const struct oracle *o, const struct work *w)
{
    struct attempt a = { .recorded = 1, .at_once = 1, .error_class = SL("lease") };
    attempt_fail(&a, ATTEMPT_RETRY, "lease_expired", "timeout",
                 SL("The runner that leased the request did not answer in time."));
    return work_settle(c, o, w, &a, &a, 1);
}

/* It may have ended, or its lease been extended, since it was found. */
sl_err due_job(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_err e = sl_query(c, &rows,
                        "select *, case when " EXPIRED " then 1 else 0 end as expired from oracle_requests where "
                        "tenant = $2 and id = $3 and " DUE,
                        sl_now(c), sl_fact(c, "tenant"), sl_body(c, "id"));
    if (e || rows->rows == 0) return e;
    struct work w = work_of(rows, 0);
    return sl_cell_int(rows, 0, "expired") ? work_expire(c, &w) : return_lease(c, self, &w);
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
    (void)self;
    sl_err e = measure(c);
    return e ? e : find_due(c);
}
