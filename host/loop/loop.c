/* loop.c - the one libuv loop of the process: start, stop, work at the end of each turn, tickers. */
#include "loop/loop.h"
#include "base/log.h"
#include "loop/watchdog.h"
#include <stdlib.h>

enum { TURN_END_MAX = 64 };

static struct {
    uv_loop_t uv;
    uv_prepare_t turn_end;
    struct {
        void (*fn)(void *arg);
        void *arg;
    } work[TURN_END_MAX];
    size_t n_work;
    bool ready;
} loop;

uv_loop_t *loop_uv(void) { return &loop.uv; }
uint64_t loop_now(void) { return uv_now(&loop.uv); }

static void on_turn_end(uv_prepare_t *p)
{
    /* Work may ask for more work, also for itself again: what it adds runs in the same turn. */
    for (size_t i = 0; i < loop.n_work; i++) {
        void (*fn)(void *arg) = loop.work[i].fn;
        loop.work[i].fn = NULL;
        fn(loop.work[i].arg);
    }
    loop.n_work = 0;
    uv_unref((uv_handle_t *)p);
    log_flush();
}

void loop_at_turn_end(void (*fn)(void *arg), void *arg)
{
    for (size_t i = 0; i < loop.n_work; i++)
        if (loop.work[i].fn == fn && loop.work[i].arg == arg) return;
    if (loop.n_work == TURN_END_MAX) {
        fn(arg);
        return;
    }
    uv_ref((uv_handle_t *)&loop.turn_end); /* the loop does not end before its turn did */
    loop.work[loop.n_work].fn = fn;
    loop.work[loop.n_work++].arg = arg;
}

void loop_setup(const struct loop_config *cfg, loop_slow_fn *slow)
{
    if (uv_loop_init(&loop.uv)) abort();
    uv_prepare_init(&loop.uv, &loop.turn_end);
    uv_prepare_start(&loop.turn_end, on_turn_end);
    uv_unref((uv_handle_t *)&loop.turn_end);
    call_limit(cfg->max_calls);
    watchdog_start(cfg->slow_ms, slow);
    loop.ready = true;
}

int loop_run(void) { return uv_run(&loop.uv, UV_RUN_DEFAULT); }
void loop_stop(void) { uv_stop(&loop.uv); }

void loop_close(void)
{
    if (!loop.ready) return;
    watchdog_stop();
    call_close_all();
    uv_close((uv_handle_t *)&loop.turn_end, NULL);
    for (int i = 0; i < 100 && uv_run(&loop.uv, UV_RUN_NOWAIT); i++) {
    }
    if (uv_loop_close(&loop.uv)) log_warn("the loop still has open handles at exit");
    fiber_pool_clear();
    log_flush();
    loop.ready = false;
}

struct ticker {
    uv_timer_t timer;
    const char *name;
    uint32_t ms;
    void (*fn)(call *c, void *arg);
    void *arg;
    bool running, again, stopped;
    call *waiter;
};

static void on_tick(uv_timer_t *timer);
static void ticker_free(uv_handle_t *h) { free(h->data); }

static void ticker_run(call *c)
{
    ticker *t = c->context;
    t->fn(c, t->arg);
    t->running = false;
    if (t->waiter)
        call_wake(t->waiter, SL_OK);
    else if (t->stopped)
        uv_close((uv_handle_t *)&t->timer, ticker_free);
    if (t->stopped || !t->again) return;
    t->again = false;
    uv_timer_start(&t->timer, on_tick, 0, t->ms);
}

static void ticker_init(call *c, void *arg)
{
    ticker *t = arg;
    c->context = t;
    c->name = t->name;
}

static void on_tick(uv_timer_t *timer)
{
    ticker *t = timer->data;
    if (t->running || t->stopped) return;
    t->running = true;
    uint32_t limit = t->ms < 6000 ? 60000 : t->ms * 10;
    if (!call_start(0, limit, ticker_init, t, ticker_run)) t->running = false; /* too busy: the next tick comes */
}

ticker *ticker_start(const char *name, uint32_t ms, void (*fn)(call *c, void *arg), void *arg)
{
    ticker *t = calloc(1, sizeof *t);
    if (!t) abort();
    t->name = name;
    t->ms = ms;
    t->fn = fn;
    t->arg = arg;
    uv_timer_init(&loop.uv, &t->timer);
    t->timer.data = t;
    uv_timer_start(&t->timer, on_tick, ms, ms);
    return t;
}

void ticker_kick(ticker *t)
{
    if (t->running)
        t->again = true;
    else if (!t->stopped)
        uv_timer_start(&t->timer, on_tick, 0, t->ms);
}

void ticker_stop(ticker *t)
{
    if (!t) return;
    t->stopped = true;
    uv_timer_stop(&t->timer);
    if (t->running) {
        t->waiter = call_current();
        if (!t->waiter) return; /* ticker_run frees it */
        call_wait(t->waiter, NULL, NULL);
    }
    uv_close((uv_handle_t *)&t->timer, ticker_free);
}
