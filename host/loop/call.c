/* call.c - one unit of work on one fiber: its memory, its deadline, and the one way to wait. */
#include "loop/call.h"
#include "loop/loop.h"
#include "loop/watchdog.h"
#include <stdlib.h>

enum { ARENA_LIMIT = 64 << 20, POOL_MAX = 4096 };

static struct {
    call *all, *pool, *running, *ready, **ready_end;
    size_t count, pooled, max;
} calls = { .ready_end = &calls.ready, .max = SIZE_MAX };

void call_limit(size_t max) { calls.max = max ? max : SIZE_MAX; }
size_t call_count(void) { return calls.count; }
call *call_current(void) { return calls.running; }

static void enter(call *c);

/* End a wait from outside: the fiber goes on with `result`, now if the loop itself is asking, else when control is back
 * there, so that one handler never runs inside another's wake-up. */
static void go_on(call *c, sl_err result)
{
    c->waiting = false;
    c->result = result;
    if (!fiber_current()) {
        enter(c);
        return;
    }
    c->ready_next = NULL;
    *calls.ready_end = c;
    calls.ready_end = &c->ready_next;
}

static void run_ready(void)
{
    static bool running; /* enter comes back here: one loop is enough */
    if (running) return;
    running = true;
    while (calls.ready) {
        call *c = calls.ready;
        calls.ready = c->ready_next;
        if (!calls.ready) calls.ready_end = &calls.ready;
        enter(c);
    }
    running = false;
}

static void give_up(call *c, sl_err why)
{
    c->abandon(c->op);
    go_on(c, why);
}

static void on_deadline(uv_timer_t *t)
{
    call *c = t->data;
    if (c->waiting && c->abandon) give_up(c, SL_ETIME);
}

static call *take(void)
{
    call *c = calls.pool;
    if (c) {
        calls.pool = c->next;
        calls.pooled--;
        c->woken = false; /* whoever woke a call that was over woke nobody */
        return c;
    }
    c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->arena = arena_new(ARENA_LIMIT);
    uv_timer_init(loop_uv(), &c->timer);
    c->timer.data = c;
    return c;
}

static void on_closed(uv_handle_t *h) { free(h->data); }

static void discard(call *c)
{
    if (c->sensitive) arena_wipe(c->arena);
    arena_free(c->arena);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void recycle(call *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        calls.all = c->next;
    if (c->next) c->next->prev = c->prev;
    calls.count--;
    if (c->timer_on) uv_timer_stop(&c->timer);
    if (calls.pooled >= POOL_MAX) {
        discard(c);
        return;
    }
    if (c->sensitive) arena_wipe(c->arena);
    arena_reset(c->arena);
    arena *a = c->arena;
    enum { TIMER = offsetof(call, timer), AFTER = TIMER + sizeof c->timer };
    memset(c, 0, TIMER); /* everything but the initialised handle */
    memset((char *)c + AFTER, 0, sizeof *c - AFTER);
    c->arena = a;
    c->next = calls.pool;
    calls.pool = c;
    calls.pooled++;
}

static void body(void *arg)
{
    call *c = arg;
    c->run(c);
    c->finished = true;
}

/* Run the call's fiber until it waits or ends. */
static void enter(call *c)
{
    call *outer = calls.running;
    bool outermost = fiber_current() == NULL;
    calls.running = c;
    watchdog_enter(c->module, c->name);
    fiber_resume(c->fiber);
    calls.running = outer;
    if (outer)
        watchdog_enter(outer->module, outer->name);
    else
        watchdog_leave();
    if (c->finished) recycle(c);
    if (outermost) run_ready();
}

bool call_start(size_t stack_kib, uint32_t deadline_ms, void (*init)(call *c, void *arg), void *arg,
                void (*run)(call *c))
{
    if (calls.count >= calls.max) return false;
    call *c = take();
    if (!c) return false;
    c->run = run;
    c->module = "";
    c->name = "";
    c->deadline = deadline_ms ? loop_now() + deadline_ms : 0;
    c->next = calls.all;
    if (calls.all) calls.all->prev = c;
    calls.all = c;
    calls.count++;
    if (init) init(c, arg);
    c->fiber = fiber_new(stack_kib, body, c);
    if (!c->fiber) {
        recycle(c);
        return false;
    }
    enter(c);
    return true;
}

sl_err call_check(call *c)
{
    if (c->cancelled && !c->shielded) return SL_ECANCEL;
    if (c->deadline && loop_now() >= c->deadline) return SL_ETIME;
    return SL_OK;
}

sl_err call_wait(call *c, void (*abandon)(void *op), void *op)
{
    if (c != calls.running) abort(); /* waiting in another call's name would resume the wrong fiber */
    if (c->woken) {
        c->woken = false;
        return c->early;
    }
    sl_err e = abandon ? call_check(c) : SL_OK;
    if (e) {
        abandon(op);
        return e;
    }
    if (c->deadline && !c->timer_on) {
        uint64_t now = loop_now();
        uv_timer_start(&c->timer, on_deadline, c->deadline > now ? c->deadline - now : 0, 0);
        c->timer_on = true;
    }
    c->abandon = abandon;
    c->op = op;
    c->waiting = true;
    fiber_yield();
    return c->result;
}

void call_wake(call *c, sl_err result)
{
    if (c->waiting) {
        go_on(c, result);
        return;
    }
    c->woken = true;
    c->early = result;
}

void call_cancel(call *c)
{
    c->cancelled = true;
    if (c->waiting && c->abandon && !c->shielded) give_up(c, SL_ECANCEL);
}

void call_deadline(call *c, uint32_t ms)
{
    c->deadline = ms ? loop_now() + ms : 0;
    if (c->timer_on) uv_timer_stop(&c->timer);
    c->timer_on = false;
}

uint32_t call_left(const call *c)
{
    if (!c->deadline) return UINT32_MAX;
    uint64_t now = loop_now();
    uint64_t left = c->deadline > now ? c->deadline - now : 0;
    return left >= UINT32_MAX ? UINT32_MAX - 1 : (uint32_t)left;
}

/* Timers for sleep are pooled: a libuv handle must outlive its closing, which an arena does not. */
struct sleeper {
    uv_timer_t timer;
    call *c;
    struct sleeper *next;
};
static struct sleeper *sleepers;

static void on_slept(uv_timer_t *t) { call_wake(((struct sleeper *)t)->c, SL_OK); }
static void stop_sleeping(void *op) { uv_timer_stop(&((struct sleeper *)op)->timer); }

sl_err call_sleep(call *c, uint32_t ms)
{
    struct sleeper *s = sleepers;
    if (s)
        sleepers = s->next;
    else {
        s = calloc(1, sizeof *s);
        if (!s) abort();
        uv_timer_init(loop_uv(), &s->timer);
    }
    s->c = c;
    /* The loop's time stands still during a turn: what this one has taken so far is not part of the sleep. */
    uint64_t taken = uv_hrtime() / 1000000 - loop_now();
    uv_timer_start(&s->timer, on_slept, ms + taken, 0);
    sl_err e = call_wait(c, stop_sleeping, s);
    s->next = sleepers;
    sleepers = s;
    return e;
}

struct offload {
    uv_work_t work;
    void (*fn)(void *arg);
    void *arg;
    call *c;
};
static void offload_run(uv_work_t *w)
{
    struct offload *o = w->data;
    o->fn(o->arg);
}
static void offload_done(uv_work_t *w, int status)
{
    struct offload *o = w->data;
    call_wake(o->c, status ? SL_ECANCEL : SL_OK);
}

sl_err call_offload(call *c, void (*work)(void *arg), void *arg)
{
    struct offload o = { .fn = work,
                         .arg = arg,
                         .c = c }; /* on this fiber's stack, which stays until the work is done */
    o.work.data = &o;
    if (uv_queue_work(loop_uv(), &o.work, offload_run, offload_done)) return SL_EINTERNAL;
    return call_wait(c, NULL, NULL);
}

void call_each(void (*visit)(call *c, void *arg), void *arg)
{
    for (call *c = calls.all, *next; c; c = next) {
        next = c->next;
        visit(c, arg);
    }
}

static void free_sleeper(uv_handle_t *h) { free(h); }

void call_close_all(void)
{
    while (calls.pool) {
        call *c = calls.pool;
        calls.pool = c->next;
        discard(c);
    }
    calls.pooled = 0;
    while (sleepers) {
        struct sleeper *s = sleepers;
        sleepers = s->next;
        uv_close((uv_handle_t *)&s->timer, free_sleeper);
    }
}
