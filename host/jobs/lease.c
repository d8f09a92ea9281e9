/* lease.c - keeps this process's leases alive, notices lost ones, and takes back those of replicas that are gone. */
#include "base/clock.h"
#include "base/log.h"
#include "jobs/engine.h"
#include <stdlib.h>

enum { REAP_MAX = 200, RENEW_MAX = 200, SUSPECTS_MAX = 16, ORPHAN_AFTER_US = 20000000 };

static int by_id(const void *a, const void *b)
{
    const struct run *x = *(struct run *const *)a, *y = *(struct run *const *)b;
    int d = memcmp(x->job.id.p, y->job.id.p, x->job.id.n < y->job.id.n ? x->job.id.n : y->job.id.n);
    return d ? d : (x->job.id.n > y->job.id.n) - (x->job.id.n < y->job.id.n);
}

static struct run *find(struct run **runs, size_t n, sl_str id)
{
    struct run key = { .job.id = id }, *k = &key, **hit = n ? bsearch(&k, runs, n, sizeof *runs, by_id) : NULL;
    return hit ? *hit : NULL;
}

static struct run **sorted_runs(call *c, size_t *n)
{
    struct run **runs = arena_alloc(c->arena, (engine.claimed + 1) * sizeof *runs);
    *n = 0;
    for (struct run *r = engine.runs; r; r = r->next)
        runs[(*n)++] = r;
    qsort(runs, *n, sizeof *runs, by_id);
    return runs;
}

/* A claim whose commit was answered by a broken connection leaves rows that nobody runs: give them back. */
static void return_orphan(call *c, sl_str id)
{
    log_warn("a lease without a run is given back", LOG_S("job_id", id));
    (void)store_defer(c,
                      SL("update sl_jobs set state = 'waiting', attempts = attempts - 1, lease_until = null, "
                         "updated_at = {{now}} where id = $1 and owner = $2 and state = 'running'"),
                      SL_ARRAY(id, (const char *)engine.owner), 2, 0);
}

static void lose(struct run *r)
{
    r->lost = true;
    if (r->call) call_cancel(r->call);
}

/* Rows that were locked at the time of the renewal were skipped; those that are not there at all are lost. */
static sl_err check_suspects(call *c, bool *more)
{
    const sl_rows *rows;
    sl_value args[1 + SUSPECTS_MAX] = { sl_ctext(engine.owner) };
    struct run *asked[SUSPECTS_MAX];
    size_t n = 0;
    for (struct run *r = engine.runs; r && n < SUSPECTS_MAX; r = r->next)
        if (r->suspect) args[1 + n++] = sl_text(arena_copy(c->arena, r->job.id));
    *more = n == SUSPECTS_MAX;
    if (!n) return SL_OK;
    while (n < SUSPECTS_MAX)
        args[1 + n++] = sl_text(SL("")); /* one statement for any number */
    sl_err e = store_query(c, &rows,
                           SL("select id, attempts from sl_jobs where owner = $1 and state = 'running' and id in "
                              "($2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17)"),
                           args, 1 + SUSPECTS_MAX);
    if (e) return e;
    n = 0;
    for (struct run *r = engine.runs; r && n < SUSPECTS_MAX; r = r->next) /* those that ended meanwhile are gone */
        for (size_t i = 1; r->suspect && i <= SUSPECTS_MAX; i++)
            if (sl_same(args[i].s, r->job.id)) asked[n++] = r;
    for (size_t k = 0; k < n; k++) {
        struct run *r = asked[k];
        r->suspect = false;
        bool ours = r->leaves || r->settling;
        for (uint32_t i = 0; i < rows->rows && !ours; i++)
            ours = sl_same(rows->cells[(size_t)i * rows->cols].s, r->job.id) &&
                   rows->cells[(size_t)i * rows->cols + 1].i == r->job.attempt;
        if (!ours) lose(r);
    }
    return SL_OK;
}

/* Leases younger than a third of their length are left alone: most jobs end within that time. Locked rows are just
 * being finished; skipping them also keeps this statement out of deadlocks. */
static sl_err renew_rows(call *c, const sl_rows **rows)
{
    int64_t lease = (int64_t)engine.cfg.lease_ms * 1000;
    return store_query(
        c, rows,
        SL("with mine as materialized (select id from sl_jobs where owner = $1 and state = 'running' and "
           "lease_until < {{now}} + $2 limit $4 {{skip_locked}}) update sl_jobs set lease_until = {{now}} + $3 "
           "where id in (select id from mine) returning id, attempts, updated_at, {{now}} as now"),
        SL_ARRAY((const char *)engine.owner, lease / 3 * 2, lease, (int64_t)RENEW_MAX), 4);
}

/* One part of the leases, so that a result is never larger than a store may give. */
static sl_err renew_some(call *c, uint32_t *done)
{
    const sl_rows *rows;
    int64_t now = clock_monotonic();
    size_t n;
    sl_err e = renew_rows(c, &rows);
    *done = e ? 0 : rows->rows;
    struct run **runs = sorted_runs(c, &n);
    for (uint32_t i = 0; i < *done; i++) {
        struct run *r = find(runs, n, sl_cell_text(rows, i, "id"));
        if (r && r->job.attempt == sl_cell_int(rows, i, "attempts"))
            r->renewed_ns = now;
        else if (!r && sl_cell_int(rows, i, "now") - sl_cell_int(rows, i, "updated_at") > ORPHAN_AFTER_US)
            return_orphan(c, sl_cell_text(rows, i, "id"));
    }
    if (e) store_rollback(c);
    return e ? e : store_commit(c);
}

static sl_err renew(call *c)
{
    uint32_t done = RENEW_MAX;
    int64_t third = (int64_t)engine.cfg.lease_ms * 1000000 / 3, now = clock_monotonic();
    if (!engine.claimed) return SL_OK;
    for (int i = 0; i < 50 && done == RENEW_MAX; i++) {
        sl_err e = renew_some(c, &done);
        if (e) return e;
    }
    for (struct run *r = engine.runs; r; r = r->next)
        r->suspect = !r->lost && now - r->renewed_ns > third;
    sl_err e = SL_OK;
    for (bool more = true; more && !e;) /* each round clears up to SUSPECTS_MAX and makes none */
        e = check_suspects(c, &more);
    return e;
}

/* ---- take back ---- */
static sl_err take_back(call *c, const sl_rows *rows, uint32_t i)
{
    static const char lost[] = "the lease ended: the replica was killed, stalled or cut off from the store";
    bool dead = sl_cell_int(rows, i, "attempts") >= sl_cell_int(rows, i, "max_attempts");
    sl_value id = sl_cell(rows, i, "id"), owner = sl_cell(rows, i, "owner"), attempt = sl_cell(rows, i, "attempts");
    sl_err e = store_defer(
        c,
        SL("update sl_jobs set state = $4, run_at = {{now}}, last_error = $5, updated_at = {{now}}, "
           "lease_until = null where id = $1 and owner = $2 and attempts = $3 and state = 'running'"),
        SL_ARRAY(id, owner, attempt, dead ? "dead" : "waiting", lost), 5, 1);
    if (e) return e;
    e = store_defer(
        c,
        SL("insert into sl_job_runs (job_id, kind, key, tenant, attempt, started_at, finished_at, outcome, error, "
           "replica) values ($1, $2, $3, $4, $5, $6, {{now}}, 'lost', $7, $8)"),
        SL_ARRAY(id, sl_cell(rows, i, "kind"), sl_cell(rows, i, "key"), sl_cell(rows, i, "tenant"), attempt,
                 sl_cell(rows, i, "updated_at"), lost, owner),
        8, 0);
    if (!e)
        log_warn("a job is taken back from another replica", LOG_S("kind", sl_cell_text(rows, i, "kind")),
                 LOG_S("job_id", id.s), LOG_S("replica", owner.s), LOG_C("state", dead ? "dead" : "waiting"));
    return e;
}

static sl_err reap(call *c)
{
    const sl_rows *rows;
    sl_err e = store_query(c, &rows,
                           SL("select id, kind, key, tenant, attempts, max_attempts, owner, updated_at from sl_jobs "
                              "where state = 'running' and lease_until < {{now}} limit $1 {{skip_locked}}"),
                           SL_ARRAY((int64_t)REAP_MAX), 1);
    for (uint32_t i = 0; !e && i < rows->rows; i++)
        e = take_back(c, rows, i);
    uint32_t n = e ? 0 : rows->rows;
    if (e)
        store_rollback(c);
    else
        e = store_commit(c);
    if (e == SL_ECONFLICT) return SL_OK; /* another replica was quicker, or the owner is back: look again next time */
    if (e || !n) return e;
    engine.stats.reclaimed += n;
    jobs_wake(NULL);
    return SL_OK;
}

void lease_tick(call *c, void *unused)
{
    (void)unused;
    call_deadline(c, engine.cfg.lease_ms);
    sl_err e = renew(c);
    if (!e && engine.grace)
        engine.grace--;
    else if (!e && !engine.draining)
        e = reap(c);
    if (!e) return;
    /* The store was away for all replicas perhaps: their leases ran out without their fault. Let them renew first. */
    engine.grace = 2;
    log_warn("leases of jobs cannot be renewed", LOG_C("error", store_error(c)));
}

/* Nothing of this process may run any longer; the attempts do not count. */
void lease_return_all(call *c)
{
    const sl_rows *rows;
    for (struct run *r = engine.runs; r; r = r->next)
        lose(r);
    sl_err e = store_query(c, &rows,
                           SL("update sl_jobs set state = 'waiting', attempts = attempts - 1, lease_until = null, "
                              "updated_at = {{now}} where owner = $1 and state = 'running'"),
                           SL_ARRAY((const char *)engine.owner), 1);
    int64_t n = e ? 0 : rows->changed;
    if (!e)
        e = store_commit(c);
    else
        store_rollback(c);
    if (e)
        log_warn("leases of jobs could not be given back; they end by themselves", LOG_C("error", store_error(c)));
    else if (n)
        log_info("jobs were given back", LOG_I("jobs", n));
}
