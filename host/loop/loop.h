/* loop.h - the one libuv loop of the process: start, stop, watchdog, work at the end of each turn. */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H
#include "loop/call.h"

struct loop_config {
    uint32_t slow_ms; /* 0 = no watchdog */
    size_t max_calls; /* see call_limit */
};
/* Called on the watchdog thread while an entry has held the loop for slow_ms, and again on the loop when it let go. */
typedef void loop_slow_fn(const char *module, const char *name, uint64_t held_ms, bool over);

void loop_setup(const struct loop_config *cfg, loop_slow_fn *slow);
uv_loop_t *loop_uv(void);
uint64_t loop_now(void); /* milliseconds, this turn's */
int loop_run(void);      /* until loop_stop, or nothing is left to wait for */
void loop_stop(void);    /* ends loop_run after this turn */
void loop_close(void);
/* Run fn(arg) at the end of the current turn, before the loop sleeps; each (fn, arg) once a turn. */
void loop_at_turn_end(void (*fn)(void *arg), void *arg);
/* Run fn(arg) every ms on a fiber, never two at once; returns a handle to stop it. The fiber is a call named `name`. */
typedef struct ticker ticker;
ticker *ticker_start(const char *name, uint32_t ms, void (*fn)(call *c, void *arg), void *arg);
void ticker_kick(ticker *t); /* run as soon as possible */
void ticker_stop(ticker *t); /* [S] or outside fibers: waits for a run in progress when in a fiber; frees */
#endif
