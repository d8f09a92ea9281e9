/* call.h - one unit of work on one fiber: its memory, its deadline, and the one way to wait. */
#ifndef LOOP_CALL_H
#define LOOP_CALL_H
#include "base/arena.h"
#include "loop/fiber.h"
#include <uv.h>

typedef struct call call;

/* What input and output mean differs by kind of call (request, job, event, lifecycle); each kind brings this table. */
struct call_ops {
    sl_str (*input)(call *c, uint32_t from, sl_str name);
    sl_err (*reply)(call *c, int32_t status, sl_str type, sl_str body);
    sl_err (*header)(call *c, sl_str name, sl_str value);
    sl_err (*write)(call *c, sl_str piece);
    sl_err (*problem)(call *c, int32_t status, sl_str code, sl_str detail);
};

/* The W3C trace that a call is part of; see observe/span.h. */
struct call_trace {
    sl_str id;     /* 32 hex digits that outlive the call's work; absent = none */
    uint64_t span; /* the innermost open one, or the parent that the trace came with */
    uint8_t flags; /* as they are handed on: 1 = sampled */
    bool recorded; /* spans of it are kept and exported */
};

struct call {
    sl_call pub;  /* first: what the plugin sees. host tables are those of its generation */
    arena *arena; /* owned by the call */
    fiber *fiber;
    const char *name;     /* the entry, for logs and the watchdog; lives as long as its generation */
    const char *module;   /* the plugin's name, "" for the host's own work */
    uint64_t deadline;    /* uv_now() milliseconds; 0 = none */
    bool cancelled;       /* the client left or the module drains: the next wait ends with SL_ECANCEL */
    bool shielded;        /* cleanup in progress: waits ignore cancel (never the deadline of the cleanup) */
    bool sensitive;       /* its memory held secrets: wiped before it is used again */
    void (*run)(call *c); /* the body that call_start runs */
    const struct call_ops *ops;
    void *context;            /* the kind's own state (HTTP exchange, job, ...) */
    sl_err (*joins)(call *c); /* of the kind: joined to a commit that the handler itself asks for; NULL = nothing */
    struct tx *tx;            /* the store's open transaction, owned by store/; NULL = none */
    void *entry, *generation; /* set by module/ */
    struct call_trace trace;  /* set by whoever starts the call for somebody */
    /* ---- private to call.c ---- */
    uv_timer_t timer; /* the deadline's; started by the first wait */
    bool timer_on, waiting, woken, finished;
    sl_err result, early; /* of the wait that ended; of a wake that came before its wait */
    void (*abandon)(void *op);
    void *op;
    call *prev, *next, *ready_next;
};

/* Start `run` on a fiber; the call belongs to the loop until run returns, then it is recycled. `setup` fields (name,
 * module, ops, context, entry, generation, pub.host) are set on the call by `init` before run starts. deadline_ms from
 * now; 0 = none. The call may be over when this returns. false: too many calls (call_limit) or no stack; nothing ran.
 */
bool call_start(size_t stack_kib, uint32_t deadline_ms, void (*init)(call *c, void *arg), void *arg,
                void (*run)(call *c));
call *call_current(void); /* NULL outside a call */

/* The one way to wait. Suspends the current call until call_wake, deadline or cancellation. On the last two
 * `abandon(op)` is called, after which whoever works on op must not touch the call again; the wait then returns
 * SL_ETIME or SL_ECANCEL. With abandon == NULL the wait cannot be cut short. Returns what call_wake passed. */
sl_err call_wait(call *c, void (*abandon)(void *op), void *op);
void call_wake(call *c, sl_err result); /* on the loop thread; may come before call_wait (then that returns at once) */
sl_err call_check(call *c);             /* SL_OK, or SL_ECANCEL or SL_ETIME without waiting */
void call_cancel(call *c);              /* on the loop thread */
void call_deadline(call *c, uint32_t ms);                         /* a new deadline from now; 0 = none */
uint32_t call_left(const call *c);                                /* milliseconds to the deadline; UINT32_MAX = none */
sl_err call_sleep(call *c, uint32_t ms);                          /* [S] */
sl_err call_offload(call *c, void (*work)(void *arg), void *arg); /* [S] on the thread pool; never cut short */
size_t call_count(void);                                          /* calls alive */
void call_limit(size_t max);                                      /* call_start refuses beyond it; 0 = no limit */
void call_close_all(void);                                        /* free the pool, at exit, when call_count() is 0 */
void call_each(void (*visit)(call *c, void *arg), void *arg);
#endif
