/* jobs.c - the job engine as a whole: settings, start, drain, numbers. */
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "jobs/engine.h"

struct engine engine;

static uint32_t or_else(uint32_t v, uint32_t otherwise) { return v ? v : otherwise; }

static void set_config(const struct jobs_config *from)
{
    struct jobs_config *cfg = &engine.cfg;
    *cfg = *from;
    cfg->lease_ms = or_else(cfg->lease_ms, 6000);
    if (cfg->lease_ms < 300) cfg->lease_ms = 300;
    cfg->poll_ms = or_else(cfg->poll_ms, 1000);
    cfg->deadline_ms = or_else(cfg->deadline_ms, 60000);
    cfg->attempts = or_else(cfg->attempts, ATTEMPTS_DEFAULT);
    cfg->backoff_ms = or_else(cfg->backoff_ms, 1000);
    cfg->backoff_max_ms = or_else(cfg->backoff_max_ms, 600000);
    if (cfg->history_ms <= 0) cfg->history_ms = INT64_C(7) * 86400 * 1000;
    cfg->dead_max_days = or_else(cfg->dead_max_days, 30);
}

static void scrape(void)
{
    struct jobs_stats s = jobs_stats();
    static metric *running, *waiting, *dead, *oldest, *reclaimed;
    static uint64_t told;
    if (!running) {
        running = metric_get(SL_GAUGE, "jobs_running", NULL, "Jobs that run in this process.");
        waiting = metric_get(SL_GAUGE, "jobs_waiting", NULL,
                             "Jobs that wait, over all replicas (counted up to 100000).");
        dead = metric_get(SL_GAUGE, "jobs_dead", NULL, "Dead letters, over all replicas (counted up to 100000).");
        oldest = metric_get(SL_GAUGE, "jobs_oldest_due_seconds", NULL,
                            "How long the longest waiting due job has been due.");
        reclaimed = metric_get(SL_COUNTER, "jobs_reclaimed_total", NULL,
                               "Jobs taken back from replicas whose lease ended.");
    }
    if (running) metric_set(running, s.running, NULL, 0);
    if (waiting) metric_set(waiting, (double)s.waiting_now, NULL, 0);
    if (dead) metric_set(dead, (double)s.dead_now, NULL, 0);
    if (oldest) metric_set(oldest, (double)s.oldest_waiting_us / 1e6, NULL, 0);
    if (reclaimed) metric_add(reclaimed, (double)(s.reclaimed - told), NULL, 0);
    told = s.reclaimed;
}

/* The store answers and has the tables; how far is its clock from ours? */
static sl_err first_look(call *c, char *why, size_t why_size)
{
    const sl_rows *rows;
    sl_err e = store_query(c, &rows, SL("select {{now}} as now, (select count(*) from sl_schedules) as schedules"),
                           NULL, 0);
    if (e) {
        (void)snprintf(why, why_size, "jobs: the store cannot be read: %s", store_error(c));
        return e;
    }
    engine.clock_offset = sl_cell_int(rows, 0, "now") - clock_now();
    int64_t off = engine.clock_offset / 1000;
    if (off > 5000 || off < -5000)
        log_warn("this machine's clock differs from the store's", LOG_I("difference_ms", off));
    return SL_OK;
}

void jobs_reconfigure(const struct jobs_config *cfg)
{
    struct jobs_config next = *cfg;
    next.lease_ms = engine.cfg.lease_ms; /* what has started runs by them */
    next.poll_ms = engine.cfg.poll_ms;
    set_config(&next);
    claim_kick();
}

sl_err jobs_start(call *c, const struct jobs_config *cfg, job_invoke *invoke, char *why, size_t why_size)
{
    static bool scraped;
    if (engine.on) {
        (void)snprintf(why, why_size, "jobs: the engine runs already");
        return SL_ESTATE;
    }
    set_config(cfg);
    sl_err e = first_look(c, why, why_size);
    if (e) return e;
    engine.invoke = invoke;
    id_new(engine.owner);
    run_list_init(&engine.queue);
    run_list_init(&engine.settling);
    engine.draining = engine.store_away = false;
    engine.on = engine.timers = engine.look = true;
    engine.rate_ns = clock_monotonic();
    engine.claim_max = CLAIM_MAX;
    uv_timer_init(loop_uv(), &engine.starter);
    uv_timer_init(loop_uv(), &engine.due);
    uv_timer_init(loop_uv(), &engine.tick);
    engine.pump = ticker_start("jobs.claim", engine.cfg.poll_ms, claim_tick, NULL);
    engine.settler = ticker_start("jobs.settle", 500, settle_tick, NULL);
    engine.leases = ticker_start("jobs.lease", engine.cfg.lease_ms / 3, lease_tick, NULL);
    engine.schedules = ticker_start("jobs.schedule", 1000, schedule_tick, NULL);
    engine.sweeper = ticker_start("jobs.sweep", 15000, sweep_tick, NULL);
    if (!scraped) metrics_on_scrape(scrape);
    scraped = true;
    ticker_kick(engine.pump);
    ticker_kick(engine.schedules);
    log_info("jobs start", LOG_C("replica", engine.owner), LOG_I("concurrency", engine.cfg.concurrency));
    return SL_OK;
}

static void return_queue(void)
{
    struct run *r;
    while ((r = run_list_take(&engine.queue))) {
        r->outcome = RUN_RETURNED;
        settle(r);
    }
}

static void cancel_runs(void)
{
    for (struct run *r = engine.runs, *next; r; r = next) {
        next = r->next;
        if (r->call) call_cancel(r->call);
    }
}

static void close_timers(void)
{
    engine.timers = false;
    uv_close((uv_handle_t *)&engine.starter, NULL);
    uv_close((uv_handle_t *)&engine.due, NULL);
    uv_close((uv_handle_t *)&engine.tick, NULL);
}

/* The last part of the time is kept for telling handlers to stop and for giving leases back. */
static void wait_for_runs(call *c)
{
    uint32_t all = call_left(c), reserve = all < 4000 ? all / 2 : 2000;
    bool told = false;
    while (engine.running || engine.settling.n) {
        uint32_t left = call_left(c);
        if (left <= reserve / 2) break;
        if (left <= reserve && !told) {
            cancel_runs();
            told = true;
        }
        if (call_sleep(c, 10) == SL_ETIME) break;
    }
}

void jobs_drain(call *c)
{
    if (!engine.on || engine.draining) return;
    bool shielded = c->shielded;
    c->shielded = true;
    engine.draining = true;
    ticker_stop(engine.pump);
    ticker_stop(engine.schedules);
    ticker_stop(engine.sweeper);
    return_queue();
    wait_for_runs(c);
    engine.on = false;
    ticker_stop(engine.settler);
    ticker_stop(engine.leases);
    lease_return_all(c);
    struct run *r;
    while ((r = run_list_take(&engine.settling)))
        run_free(r);
    close_timers();
    (void)call_sleep(c, 1); /* the handles are closed when this returns */
    c->shielded = shielded;
    log_info("jobs end", LOG_I("still_running", engine.running));
}

struct jobs_stats jobs_stats(void) { return engine.stats; }
