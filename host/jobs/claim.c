/* claim.c - takes due jobs off the store in batches and starts them, as many as this process has hands for. */
#include "base/clock.h"
#include "base/log.h"
#include "jobs/engine.h"
#include <stdlib.h>

enum { ARMS_MAX = 16, AHEAD_MAX = 1000, SETTLING_MAX = 4000, LOOK_MAX = 128 };

/* Jobs are claimed ahead of free hands only as far as they finish within a tenth of a second, so slow ones stay in the
 * store for other replicas. */
static uint32_t claim_ahead(void)
{
    int64_t now = clock_monotonic(), past = now - engine.rate_ns;
    if (past >= 20000000) {
        double current = (double)(engine.finished - engine.rate_finished) * 1e9 / (double)past;
        engine.rate = past > 1000000000 ? current : engine.rate * 0.5 + current * 0.5;
        engine.rate_finished = engine.finished;
        engine.rate_ns = now;
    }
    double ahead = engine.rate * 0.1;
    return ahead > AHEAD_MAX ? AHEAD_MAX : (uint32_t)ahead;
}

/* How many more to claim now; 0 while the queue is still well filled, so that claims stay large. */
static uint32_t claim_room(void)
{
    uint32_t all = engine.cfg.concurrency + claim_ahead(), held = engine.running + (uint32_t)engine.queue.n;
    if (!engine.cfg.concurrency || engine.settling.n >= SETTLING_MAX || held >= all) return 0;
    if (engine.queue.n && all - held < all / 2) return 0;
    return all - held < engine.claim_max ? all - held : engine.claim_max;
}

static uint32_t slot_room(const struct slot *s)
{
    if (!s->hot || !s->def) return 0;
    uint32_t limit = s->def->max_inflight;
    return !limit ? UINT32_MAX : limit > s->claimed ? limit - s->claimed : 0;
}

void claim_kick(void)
{
    if (engine.on && !engine.draining) ticker_kick(engine.pump);
}

void jobs_wake(void *unused)
{
    (void)unused;
    engine.look = true;
    claim_kick();
}

static void on_due(uv_timer_t *t)
{
    (void)t;
    jobs_wake(NULL);
}

/* ---- look: which kinds have something due, and when the next one will be ---- */
static sl_str look_sql(call *c, size_t n)
{
    buf b;
    buf_init(&b, 1 << 18);
    buf_add_cstr(
        &b,
        "select k.column1 as kind, (select j.run_at from sl_jobs j where j.state = 'waiting' and j.kind = k.column1 "
        "order by j.run_at limit 1) as due, {{now}} as now from (values ");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s($%zu)", i ? "," : "", i + 1);
    buf_add_cstr(&b, ") as k");
    sl_str sql = arena_copy(c->arena, buf_str(&b));
    buf_free(&b);
    return sql;
}

static void look_row(sl_str kind, sl_value due, int64_t now)
{
    struct slot *s = slot_find(kind);
    if (!s) return;
    s->look_again = due.type == SL_INT && due.i <= now; /* what comes behind it is not known */
    if (due.type != SL_INT) return;
    if (due.i > now) {
        if (!engine.next_due || due.i < engine.next_due) engine.next_due = due.i;
        return;
    }
    if (now - due.i > engine.stats.oldest_waiting_us) engine.stats.oldest_waiting_us = now - due.i;
    if (s->def) s->hot = true;
}

static bool look_some(call *c, sl_value *args, size_t n)
{
    const sl_rows *rows;
    while (n % 8)
        args[n++] = sl_text(SL("")); /* few different statements */
    if (store_query(c, &rows, look_sql(c, n), args, n)) return false;
    for (uint32_t i = 0; i < rows->rows; i++) {
        int64_t now = sl_cell_int(rows, i, "now");
        engine.clock_offset = now - clock_now();
        look_row(sl_cell_text(rows, i, "kind"), sl_cell(rows, i, "due"), now);
    }
    return true;
}

static bool look(call *c)
{
    sl_value args[LOOK_MAX];
    size_t n = 0;
    engine.look = false;
    engine.looked_ms = loop_now();
    engine.next_due = 0;
    engine.stats.oldest_waiting_us = 0;
    for (struct slot *s = engine.slots; s; s = s->next) {
        if (s->def) args[n++] = sl_text(s->name);
        if (n == LOOK_MAX || (n && !s->next)) {
            if (!look_some(c, args, n)) return false;
            n = 0;
        }
    }
    return true;
}

/* Between two polls: wake up when the next job is due. */
static void arm_due(void)
{
    int64_t wait = engine.next_due ? (engine.next_due - store_now()) / 1000 + 1 : 0;
    uv_timer_stop(&engine.due);
    if (engine.next_due && wait < engine.cfg.poll_ms)
        uv_timer_start(&engine.due, on_due, wait > 0 ? (uint64_t)wait : 1, 0);
}

/* ---- claim ---- */
/* One statement for up to n kinds, each with a limit of its own. MATERIALIZED: PostgreSQL must not run the locking part
 * twice; and the rows are locked, so that their ids are all that the update asks for: a planner is left no wrong way to
 * find them. The sub-select around {{now}} lets it use the index although the clock is volatile. */
static sl_str claim_sql(size_t n)
{
    static char *made[ARMS_MAX + 1];
    buf b;
    if (made[n]) return sl_cstr(made[n]);
    buf_init(&b, 1 << 16);
    buf_add_cstr(&b, "with picked as materialized (");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b,
                   "%sselect a%zu.id from (select id from sl_jobs where state = 'waiting' and kind = $%zu "
                   "and run_at <= (select {{now}}) order by run_at limit $%zu {{skip_locked}}) as a%zu",
                   i ? " union all " : "", i, 2 * i + 3, 2 * i + 4, i);
    buf_add_cstr(
        &b, ") update sl_jobs set state = 'running', owner = $1, attempts = attempts + 1, lease_until = {{now}} + $2, "
            "updated_at = {{now}} where id in (select id from picked) "
            "returning id, kind, key, tenant, json, topic, trace, attempts, max_attempts, updated_at");
    buf_add_char(&b, 0);
    made[n] = b.p; /* kept for the process */
    return sl_cstr(made[n]);
}

/* Field by position in the RETURNING list of claim_sql. */
enum { ID, KIND, KEY, TENANT, JSON, TOPIC, TRACE, ATTEMPTS, MAX_ATTEMPTS, CLAIMED_AT, FIELDS };

static sl_str put(char **room, sl_value v)
{
    if (v.type != SL_TEXT) return sl_lit(NULL, 0);
    sl_str s = sl_lit(*room, v.s.n);
    memcpy(*room, v.s.p, v.s.n);
    (*room)[v.s.n] = 0;
    *room += v.s.n + 1;
    return s;
}

static void run_new(const sl_value *v, struct slot *s)
{
    size_t n = 0;
    for (int i = ID; i <= TRACE; i++)
        n += v[i].type == SL_TEXT ? v[i].s.n + 1 : 0;
    struct run *r = calloc(1, sizeof *r + n);
    if (!r) abort();
    char *room = (char *)(r + 1);
    r->job.id = put(&room, v[ID]);
    r->job.kind = s->name;
    r->job.key = put(&room, v[KEY]);
    r->job.tenant = put(&room, v[TENANT]);
    r->job.json = put(&room, v[JSON]);
    r->job.topic = put(&room, v[TOPIC]);
    r->job.trace = put(&room, v[TRACE]);
    r->job.attempt = (uint32_t)v[ATTEMPTS].i;
    r->job.attempts = (uint32_t)v[MAX_ATTEMPTS].i;
    r->claimed_at = v[CLAIMED_AT].i;
    r->claimed_ns = r->renewed_ns = clock_monotonic();
    r->slot = s;
    s->claimed++;
    s->taken++;
    engine.claimed++;
    if ((r->next = engine.runs)) r->next->prev = r;
    engine.runs = r;
    run_list_add(&engine.queue, r);
}

static void take_rows(const sl_rows *rows)
{
    for (uint32_t i = 0; i < rows->rows; i++) {
        const sl_value *v = rows->cells + (size_t)i * rows->cols;
        struct slot *s = slot_find(v[KIND].s);
        if (s) run_new(v, s);
    }
    start_soon();
}

struct arm {
    struct slot *slot;
    uint32_t limit;
    uint64_t before;
};

/* Kinds take turns: those that this claim serves go to the end of the list. */
static size_t pick_arms(struct arm arms[ARMS_MAX], uint32_t room)
{
    size_t n = 0, hot = 0;
    for (struct slot *s = engine.slots; s; s = s->next)
        hot += slot_room(s) > 0;
    if (!hot) return 0;
    if (hot > ARMS_MAX) hot = ARMS_MAX;
    uint32_t share = (room + (uint32_t)hot - 1) / (uint32_t)hot;
    struct slot **at = &engine.slots, *served = NULL, **served_end = &served;
    while (*at && n < hot) {
        struct slot *s = *at;
        uint32_t most = slot_room(s);
        if (!most) {
            at = &s->next;
            continue;
        }
        arms[n++] = (struct arm){ s, most < share ? most : share, s->taken };
        *at = s->next;
        s->next = NULL;
        *served_end = s;
        served_end = &s->next;
    }
    while (*at)
        at = &(*at)->next;
    *at = served;
    return n;
}

static bool claim(call *c, uint32_t room)
{
    struct arm arms[ARMS_MAX];
    size_t n = pick_arms(arms, room), padded = 1;
    if (!n) return true;
    while (padded < n)
        padded *= 2;
    sl_value args[2 + 2 * ARMS_MAX] = { sl_ctext(engine.owner), sl_int((int64_t)engine.cfg.lease_ms * 1000) };
    for (size_t i = 0; i < padded; i++) {
        args[2 + 2 * i] = sl_text(i < n ? arms[i].slot->name : SL(""));
        args[3 + 2 * i] = sl_int(i < n ? arms[i].limit : 0);
        if (i < n) arms[i].slot->hot = false; /* a wake-up while the statement runs sets it again */
    }
    const sl_rows *rows;
    sl_err e = store_query(c, &rows, claim_sql(padded), args, 2 + 2 * padded);
    if (!e)
        e = store_commit(c);
    else
        store_rollback(c);
    if (e) {
        for (size_t i = 0; i < n; i++)
            arms[i].slot->hot = true;
        if (e == SL_ETOOBIG && engine.claim_max > 1)
            engine.claim_max = room < engine.claim_max ? room / 2 + 1 : engine.claim_max / 2;
        return e == SL_ETOOBIG && engine.claim_max > 1; /* their payloads are too much for one result: fewer at once */
    }
    engine.claim_max = engine.claim_max < CLAIM_MAX / 2 ? engine.claim_max * 2 : CLAIM_MAX;
    take_rows(rows);
    for (size_t i = 0; i < n; i++) {
        struct slot *s = arms[i].slot;
        if (s->taken - arms[i].before >= arms[i].limit)
            s->hot = true; /* there may be more */
        else if (s->look_again && s->taken > arms[i].before)
            engine.look = true; /* none: others hold them just now */
    }
    return true;
}

static bool more_to_claim(void)
{
    if (engine.draining || !claim_room()) return false;
    struct slot *s = engine.slots;
    while (s && !slot_room(s))
        s = s->next;
    return s != NULL;
}

void claim_tick(call *c, void *unused)
{
    (void)unused;
    if (engine.draining) return;
    call_deadline(c, 10000);
    start_soon();
    if ((engine.look || loop_now() >= engine.looked_ms + engine.cfg.poll_ms) && !look(c))
        return; /* the next poll tries again */
    uint32_t room = claim_room();
    if (room && !claim(c, room)) return;
    arm_due();
    if (more_to_claim() || engine.look) claim_kick();
}

/* ---- start ---- */
static void on_starter(uv_timer_t *t)
{
    uint32_t most = engine.cfg.concurrency ? engine.cfg.concurrency : 1; /* set to 0 while some waited here */
    while (engine.queue.n && engine.running < most && !engine.draining) {
        struct run *r = run_list_take(&engine.queue);
        if (run_start(r)) continue;
        r->later = engine.queue.first; /* back to the front; calls are short just now */
        engine.queue.first = r;
        if (engine.queue.n++ == 0) engine.queue.end = &r->later;
        uv_timer_start(t, on_starter, 20, 0);
        return;
    }
    if (more_to_claim()) claim_kick();
}

void start_soon(void)
{
    if (engine.timers && !uv_is_active((uv_handle_t *)&engine.starter))
        uv_timer_start(&engine.starter, on_starter, 0, 0);
}
