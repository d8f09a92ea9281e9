/* tick.c - schedules: each tick becomes one job, however many replicas there are. */
#include "base/log.h"
#include "jobs/engine.h"

/* The latest tick at or before `now` and after `from`, or 0: what was missed while no replica ran is made up for once.
 */
static int64_t latest_tick(sl_str schedule, int64_t from, int64_t now)
{
    int64_t back = INT64_C(120) * 1000000, found = 0;
    for (;; back *= 4) { /* a window that grows until it holds a tick, so that only few are counted through */
        int64_t start = now - back > from ? now - back : from;
        for (int64_t t = schedule_next(schedule, start); t && t <= now; t = schedule_next(schedule, t))
            found = t;
        if (found || start == from) return found;
    }
}

/* Whoever moves last_tick forward enqueues the job, in the same transaction. */
static sl_err tick_once(call *c, sl_str name, int64_t tick)
{
    const sl_rows *rows;
    sl_err e = store_query(c, &rows, SL("update sl_schedules set last_tick = $2 where name = $1 and last_tick < $2"),
                           SL_ARRAY(name, tick), 2);
    if (!e && rows->changed == 1) {
        sl_job job = { .size = sizeof job, .kind = name, .key = arena_printf(c->arena, "%lld", (long long)tick) };
        e = jobs_enqueue(c, &job, sl_lit(NULL, 0));
    }
    if (!e) return store_commit(c);
    store_rollback(c);
    return e;
}

/* A schedule seen for the first time ever starts from now. */
static sl_err last_tick(call *c, sl_str name, int64_t *last)
{
    const sl_rows *rows;
    for (int i = 0; i < 2; i++) {
        sl_err e = store_query(c, &rows, SL("select last_tick from sl_schedules where name = $1"), SL_ARRAY(name), 1);
        if (e) return e;
        if (rows->rows) {
            *last = sl_cell_int(rows, 0, "last_tick");
            return SL_OK;
        }
        e = store_query(c, &rows,
                        SL("insert into sl_schedules (name, last_tick) values ($1, {{now}}) on conflict do nothing"),
                        SL_ARRAY(name), 1);
        if (!e)
            e = store_commit(c);
        else
            store_rollback(c);
        if (e) return e;
    }
    return SL_EINTERNAL;
}

static sl_err slot_tick(call *c, struct slot *s, int64_t now)
{
    const struct job_kind *def = s->def;
    sl_str schedule = sl_cstr(def->schedule);
    int64_t due = s->next_tick, last;
    if (due > now) return SL_OK;
    sl_err e = SL_OK;
    if (!due) {
        e = last_tick(c, s->name, &last);
        if (e || s->def != def) return e;
        due = last;
    } else
        due--; /* itself counts */
    int64_t tick = latest_tick(schedule, due, now);
    if (tick) e = tick_once(c, s->name, tick);
    if (e) return e;
    int64_t next = schedule_next(schedule, now);
    if (s->def == def) s->next_tick = next ? next : INT64_MAX; /* never again */
    return SL_OK;
}

static void on_next_tick(uv_timer_t *t)
{
    (void)t;
    if (engine.on && !engine.draining) ticker_kick(engine.schedules);
}

/* Between two rounds of the ticker: wake up when the next tick is due. */
static void arm_tick(void)
{
    if (!engine.timers || engine.draining) return;
    uv_timer_stop(&engine.tick);
    int64_t wait = engine.next_tick == INT64_MAX ? 0 : (engine.next_tick - store_now()) / 1000 + 1;
    if (engine.next_tick != INT64_MAX && wait < 1000)
        uv_timer_start(&engine.tick, on_next_tick, wait > 0 ? (uint64_t)wait : 1, 0);
}

void schedule_tick(call *c, void *unused)
{
    (void)unused;
    call_deadline(c, 10000);
    int64_t now = store_now(), next = INT64_MAX;
    struct slot *all[256], *s;
    size_t n = 0;
    for (s = engine.slots; s; s = s->next) /* the list may be reordered while this waits */
        if (s->def && s->def->schedule && s->next_tick <= now && n < sizeof all / sizeof *all) all[n++] = s;
    for (size_t i = 0; i < n; i++) {
        s = all[i];
        if (!s->def || !s->def->schedule || engine.draining) continue;
        sl_err e = slot_tick(c, s, now);
        if (!e) continue;
        log_warn("a schedule cannot be ticked now", LOG_S("schedule", s->name), LOG_C("error", store_error(c)));
        break; /* the store is away; what is due stays due */
    }
    for (s = engine.slots; s; s = s->next)
        if (s->def && s->def->schedule && s->next_tick && s->next_tick < next) next = s->next_tick;
    engine.next_tick = next;
    arm_tick();
}
