/* sqlite_read.c - queries outside a transaction: in place while they are short, on a side thread when not. */
#include "base/clock.h"
#include "store/sqlite.h"

struct query {
    struct job job;
    call *c;
    struct statement *s;
    const sl_value *args;
    size_t n;
    const sl_rows **out;
    int64_t deadline, us;
    atomic_bool stop;
    sl_err e;
};

static void query_run(struct job *j, int thread)
{
    struct query *q = (struct query *)j;
    struct connection *k = &sqlite.conn[CONN_SIDE + thread];
    char why[200];
    int64_t start = clock_monotonic();
    if (atomic_load(&q->stop)) {
        q->e = SL_ETIME;
        return;
    }
    if (!k->db && sqlite_connect(k, true, why, sizeof why)) {
        q->e = store_fail(q->c, SL_EUNAVAIL, "%s", why);
        return;
    }
    k->deadline = q->deadline;
    k->stop = &q->stop;
    q->e = sqlite_run(k, q->c, q->s, q->args, q->n, q->out);
    k->stop = NULL;
    if (q->e == SL_EBUSY) q->e = SL_EUNAVAIL; /* this connection waited its busy time-out for it */
    q->us = (clock_monotonic() - start) / 1000;
}

static void query_done(struct job *j) { call_wake(((struct query *)j)->c, SL_OK); }
static void query_abandon(void *q) { atomic_store(&((struct query *)q)->stop, true); }

/* The thread builds the rows in the call's arena and reads the caller's arguments, so even when the wait is cut short
 * the fiber stays until the thread has let go, which `stop` makes soon. */
static sl_err read_aside(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out)
{
    struct query q = {
        .job = { .run = query_run, .done = query_done }, .c = c, .s = s, .args = args, .n = n, .out = out
    };
    q.deadline = sqlite_deadline(c);
    sqlite.reading++;
    crew_push(CREW_SIDE, &q.job);
    sl_err cut = call_wait(c, query_abandon, &q);
    if (cut) call_wait(c, NULL, NULL);
    s->last_us = q.us;
    sqlite.reading--;
    if (cut)
        return store_fail(c, cut,
                          cut == SL_ETIME ? "the query ran past the call's deadline" : "the call was cancelled");
    return q.e;
}

sl_err sqlite_read(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out)
{
    if (!sqlite_note(s)) return store_fail(c, SL_EUNAVAIL, "out of memory");
    if (sqlite.memory) { /* one connection: a turn in the queue keeps others' uncommitted rows out of sight */
        sl_err e = batch_enter(c, false);
        if (e) return e;
        struct connection *k = &sqlite.conn[CONN_WRITE];
        k->c = c;
        k->may_yield = true;
        k->deadline = sqlite_deadline(c);
        k->slice_end = clock_monotonic() + SLICE_US * 1000;
        e = sqlite_run(k, c, s, args, n, out);
        batch_leave(c);
        return e == SL_EBUSY ? SL_EUNAVAIL : e;
    }
    if (s->last_us > SLICE_US) return read_aside(c, s, args, n, out);
    struct connection *k = &sqlite.conn[CONN_READ];
    k->slice_end = clock_monotonic() + SLICE_US * 1000;
    sl_err e = sqlite_run(k, c, s, args, n, out);
    return e == SL_EBUSY ? read_aside(c, s, args, n, out) : e;
}
