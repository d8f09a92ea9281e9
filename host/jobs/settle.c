/* settle.c - writes how attempts ended: many in one transaction, again and again while the store is away. */
#include "base/log.h"
#include "jobs/engine.h"
#include <stdlib.h>

enum { BATCH = 512, IDS = 128 };

void count_run(struct run *r)
{
    struct slot *s = r->slot;
    struct jobs_stats *st = &engine.stats;
    if (s->runs[r->outcome]) series_add(s->runs[r->outcome], 1);
    if (r->outcome == RUN_SUCCEEDED) s->succeeded++, st->succeeded++;
    if (r->outcome == RUN_FAILED || r->outcome == RUN_RETRIED) s->failed++, st->failed++;
    if (r->outcome == RUN_DEAD) s->dead++, st->dead++;
}

/* ---- statements ---- */
sl_err defer_delete(call *c, const struct run *r)
{
    return store_defer(c,
                       SL("delete from sl_jobs where id = $1 and owner = $2 and attempts = $3 and state = 'running'"),
                       SL_ARRAY(r->job.id, (const char *)engine.owner, (int64_t)r->job.attempt), 3, 1);
}

/* Lists come in few lengths, so that there are few different statements: 1, 8, 64 or 128 places. */
static size_t places(size_t n, size_t max)
{
    size_t p = n <= 1 ? 1 : n <= 8 ? 8 : n <= 64 ? 64 : 128;
    return p < max ? p : max;
}

static sl_str ids_sql(size_t n)
{
    static char *made[IDS + 1];
    buf b;
    if (made[n]) return sl_cstr(made[n]);
    buf_init(&b, 1 << 14);
    buf_add_cstr(&b, "delete from sl_jobs where owner = $1 and state = 'running' and id in (");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s$%zu", i ? "," : "", i + 2);
    buf_add_cstr(&b, ")");
    buf_add_char(&b, 0);
    made[n] = b.p; /* kept for the process */
    return sl_cstr(made[n]);
}

/* Several successes that wrote nothing else. No attempt is compared: a job that this process lost and claimed again has
 * had no effect in the store, and its second run then finds the row gone and has none either. */
static sl_err defer_deletes(call *c, struct run *const *runs, size_t n)
{
    while (n) {
        size_t some = n < IDS ? n : IDS, room = places(some, IDS);
        sl_value args[1 + IDS] = { sl_ctext(engine.owner) };
        for (size_t i = 0; i < room; i++)
            args[1 + i] = sl_text(i < some ? runs[i]->job.id : SL(""));
        sl_err e = store_defer(c, ids_sql(room), args, 1 + room, (int64_t)some);
        if (e) return e;
        runs += some;
        n -= some;
    }
    return SL_OK;
}

/* Absent text travels as '', so that a parameter has the same type in all rows. */
static sl_str or_empty(sl_str s) { return s.p ? s : SL(""); }

sl_err defer_history(call *c, const struct run *r)
{
    int64_t end = r->finished_at > r->claimed_at ? r->finished_at : r->claimed_at;
    return store_defer_row(
        c,
        SL("insert into sl_job_runs (job_id, kind, key, tenant, attempt, started_at, finished_at, outcome, error, "
           "replica) values ($1, $2, nullif($3, ''), nullif($4, ''), $5, $6, $7, $8, nullif($9, ''), $10)"),
        SL_ARRAY(r->job.id, r->job.kind, or_empty(r->job.key), or_empty(r->job.tenant), (int64_t)r->job.attempt,
                 r->claimed_at, end, outcome_name(r->outcome), (const char *)r->error, (const char *)engine.owner),
        10, 0);
}

static sl_err defer_end(call *c, const struct run *r)
{
    const sl_value v[] = { sl_text(r->job.id), sl_ctext(engine.owner), sl_int(r->job.attempt), sl_ctext(r->error),
                           sl_int(r->delay_us) };
    if (r->outcome == RUN_DEAD)
        return store_defer(
            c,
            SL("update sl_jobs set state = 'dead', last_error = $4, updated_at = {{now}}, lease_until = null "
               "where id = $1 and owner = $2 and attempts = $3 and state = 'running'"),
            v, 4, 1);
    if (r->outcome == RUN_RETURNED)
        return store_defer(c,
                           SL("update sl_jobs set state = 'waiting', attempts = attempts - 1, run_at = {{now}} + $5, "
                              "last_error = $4, updated_at = {{now}}, lease_until = null "
                              "where id = $1 and owner = $2 and attempts = $3 and state = 'running'"),
                           v, 5, 1);
    return store_defer(
        c,
        SL("update sl_jobs set state = 'waiting', run_at = {{now}} + $5, last_error = $4, updated_at = {{now}}, "
           "lease_until = null where id = $1 and owner = $2 and attempts = $3 and state = 'running'"),
        v, 5, 1);
}

static sl_err write_batch(call *c, struct run **runs, size_t n)
{
    struct run *done[BATCH];
    size_t n_done = 0;
    sl_err e = SL_OK;
    for (size_t i = 0; i < n && !e; i++) {
        if (runs[i]->outcome == RUN_SUCCEEDED)
            done[n_done++] = runs[i];
        else
            e = defer_end(c, runs[i]);
    }
    if (!e) e = defer_deletes(c, done, n_done);
    for (size_t i = 0; i < n && !e; i++)
        if (runs[i]->started_ns) e = defer_history(c, runs[i]); /* what never started has no history */
    if (e) store_rollback(c);
    return e ? e : store_commit(c);
}

/* ---- the list ---- */
static void settled(struct run *r)
{
    if (r->outcome == RUN_DEAD)
        log_warn("a job is dead", LOG_S("kind", r->job.kind), LOG_S("job_id", r->job.id),
                 LOG_I("attempt", r->job.attempt), LOG_C("error", r->error));
    else if (r->outcome == RUN_FAILED)
        log_info("a job failed and will run again", LOG_S("kind", r->job.kind), LOG_S("job_id", r->job.id),
                 LOG_I("attempt", r->job.attempt), LOG_I("delay_ms", r->delay_us / 1000), LOG_C("error", r->error));
    if (r->outcome != RUN_SUCCEEDED && r->outcome != RUN_DEAD) {
        int64_t due = store_now() + r->delay_us;
        if (!engine.next_due || due < engine.next_due) engine.next_due = due;
        jobs_wake(NULL);
    }
    if (r->started_ns) count_run(r);
    run_free(r);
}

static bool away(sl_err e) { return e == SL_EUNAVAIL || e == SL_ETIME || e == SL_EBUSY || e == SL_ECANCEL; }

/* The batch failed as a whole because of one of them: find out which. */
static sl_err settle_one_by_one(call *c, struct run **runs, size_t n, size_t *done)
{
    for (*done = 0; *done < n; ++*done) {
        struct run *r = runs[*done];
        sl_err e = write_batch(c, &r, 1);
        if (away(e)) return e;
        if (!e) {
            settled(r);
            continue;
        }
        if (e == SL_ECONFLICT)
            log_warn("a job's lease was lost before its end was written", LOG_S("kind", r->job.kind),
                     LOG_S("job_id", r->job.id));
        else
            log_error("a job's end cannot be written", LOG_S("kind", r->job.kind), LOG_S("job_id", r->job.id),
                      LOG_C("error", store_error(c)));
        r->outcome = RUN_LOST;
        count_run(r);
        run_free(r);
    }
    return SL_OK;
}

void settle(struct run *r)
{
    r->settling = true;
    run_list_add(&engine.settling, r);
    if (!engine.store_away && engine.on) ticker_kick(engine.settler);
}

void settle_tick(call *c, void *unused)
{
    (void)unused;
    struct run *runs[BATCH];
    size_t n = 0, done = 0;
    call_deadline(c, 10000);
    while (n < BATCH && engine.settling.n)
        runs[n++] = run_list_take(&engine.settling);
    if (!n) return;
    sl_err e = write_batch(c, runs, n);
    if (!e)
        for (; done < n; done++)
            settled(runs[done]);
    else if (!away(e))
        e = settle_one_by_one(c, runs, n, &done);
    for (; done < n; done++)
        run_list_add(&engine.settling, runs[done]);
    if (e) { /* the ticker's own rhythm, so that an absent store is not pressed */
        engine.store_away = true;
        log_warn("ends of jobs wait for the store", LOG_I("jobs", (int64_t)engine.settling.n));
        return;
    }
    engine.store_away = false;
    if (engine.settling.n) ticker_kick(engine.settler);
    claim_kick();
}
