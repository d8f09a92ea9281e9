/* postgres_pool.c - the pool: hands out connections first come first served, and knows when the server is down. */
#include "base/log.h"
#include "loop/loop.h"
#include "store/postgres.h"
#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 25, QUIET_TICK_MS = 1000, SPARE_MS = 5000, CLOSE_MS = 2000 };
enum {
    READS_MAX = 16,
    WRITES_MAX = 2,
    BEHIND_MS = 5
}; /* at once on a connection; none behind what already takes long */

struct pg_pool pg_pool;

/* ---- operations and the queue ---- */

static void abandon(void *arg)
{
    struct pg_op *op = arg;
    struct pg_op **list = op->state == PG_WAITING ? &pg_pool.queue : &pg_pool.done;
    struct pg_op ***end = op->state == PG_WAITING ? &pg_pool.queue_end : &pg_pool.done_end;
    if (op->state == PG_SENT) {
        pg_conn_forget(op->conn, op);
        return;
    }
    for (struct pg_op **at = list; *at; at = &(*at)->next) {
        if (*at != op) continue;
        *at = op->next;
        if (!*at) *end = at;
        pg_pool.n_queue -= op->state == PG_WAITING;
        return;
    }
}

void pg_pool_again(struct pg_op *op)
{
    op->tries++;
    pg_pool.stats.retries++;
    op->state = PG_WAITING;
    op->next = pg_pool.queue;
    if (!op->next) pg_pool.queue_end = &op->next;
    pg_pool.queue = op;
    pg_pool.n_queue++;
}

void pg_pool_done(struct pg_op *op, sl_err e)
{
    op->result = e;
    op->state = PG_DONE;
    op->next = NULL;
    *pg_pool.done_end = op;
    pg_pool.done_end = &op->next;
}

static void wake_done(void)
{
    while (pg_pool.done) {
        struct pg_op *op = pg_pool.done;
        pg_pool.done = op->next;
        if (!pg_pool.done) pg_pool.done_end = &pg_pool.done;
        call_wake(op->c, op->result); /* runs the handler until it waits again, unless we are in one */
    }
}

static bool is_down(void) { return !pg_pool.n_ready && loop_now() - pg_pool.unready_since >= store_cfg()->connect_ms; }

static void fail_queue(void)
{
    while (pg_pool.queue) {
        struct pg_op *op = pg_pool.queue;
        pg_pool.queue = op->next;
        pg_pool.n_queue--;
        const char *why = pg_pool.closing ? "the store is closed" : *pg_pool.why ? pg_pool.why : "no answer";
        pg_pool_done(op, store_fail(op->c, SL_EUNAVAIL, "PostgreSQL cannot be reached: %s", why));
    }
    pg_pool.queue_end = &pg_pool.queue;
}

static void hand_out(void);

sl_err pg_pool_run(struct pg_op *op)
{
    call *c = op->c;
    if (!pg_pool.open || pg_pool.closing) return store_fail(c, SL_EUNAVAIL, "the store is closed");
    struct pg_conn *conn = op->tx ? op->tx->engine : NULL;
    if (conn) {
        pg_conn_send(conn, op);
        if (op->kind == PG_COMMIT)
            hand_out(); /* the next transaction's first statement leaves with this one's commit */
        if (conn->unsent) pg_conn_flush(conn);
    } else {
        op->state = PG_WAITING;
        *pg_pool.queue_end = op;
        pg_pool.queue_end = &op->next;
        pg_pool.n_queue++;
    }
    pg_pool_turn();
    return call_wait(c, abandon, op);
}

/* ---- handing out ---- */

/* Closes what must not be used again; true if conn can be given away. */
static bool settle(struct pg_conn *conn)
{
    if (conn->state != PG_READY || conn->count || conn->tx || pg_conn_cancelling(conn)) return false;
    conn->cancelled = false;
    conn->stop_by = conn->stops = 0;
    bool old = conn->epoch != pg_pool.epoch || (conn->expires && loop_now() >= conn->expires);
    if (!conn->retired && !old && PQtransactionStatus(conn->pq) == PQTRANS_IDLE) return true;
    pg_conn_close(conn);
    return false;
}

/* Operations may follow each other on a direct connection, behind the Sync of the one before: the server then goes on
 * without waiting for us. Behind a pooler not, since that may hand the server to another client at each Sync. */
static bool takes_more(const struct pg_conn *conn, const struct pg_op *op)
{
    return pg_pool.direct && conn->state == PG_READY && !conn->tx &&
           conn->ops < (op->kind == PG_READ ? READS_MAX : WRITES_MAX) && !conn->cancelled && !conn->retired &&
           conn->epoch == pg_pool.epoch && loop_now() - conn->head_since < BEHIND_MS;
}

/* An idle connection, or else the least busy. */
static struct pg_conn *pick(const struct pg_op *op)
{
    struct pg_conn *best = NULL;
    for (struct pg_conn *conn = pg_pool.conns, *next; conn; conn = next) {
        next = conn->next;
        if (settle(conn)) return conn;
        if (takes_more(conn, op) && (!best || conn->ops < best->ops)) best = conn;
    }
    return best;
}

static void flush_all(void *arg)
{
    (void)arg;
    for (struct pg_conn *conn = pg_pool.conns, *next; conn; conn = next) {
        next = conn->next;
        if (conn->unsent) pg_conn_flush(conn);
    }
    pg_pool_turn();
}

static void hand_out(void)
{
    bool crowded = false;
    for (struct pg_op *op; (op = pg_pool.queue);) {
        struct pg_conn *conn = pick(op);
        if (!conn) break;
        crowded |= conn->count > 0;
        pg_pool.queue = op->next;
        if (!op->next) pg_pool.queue_end = &pg_pool.queue;
        pg_pool.n_queue--;
        bool busy = conn->count > 0;
        pg_conn_send(conn, op);
        if (busy)
            loop_at_turn_end(flush_all, NULL); /* the server has work: what else comes in this turn leaves together */
        else if (conn->unsent)
            pg_conn_flush(conn);
    }
    unsigned wanted = pg_pool.n_queue ? pg_pool.n_queue : crowded || !pg_pool.n_ready;
    if (wanted) pg_connect_if_wanted(wanted);
}

static void on_tick(uv_timer_t *t);

static void set_pace(void)
{
    bool fast = !pg_pool.n_ready || pg_pool.n_queue || pg_pool.stopping || pg_pool.closing;
    if (fast == pg_pool.fast) return;
    pg_pool.fast = fast;
    uv_timer_start(&pg_pool.timer, on_tick, fast ? TICK_MS : QUIET_TICK_MS, fast ? TICK_MS : QUIET_TICK_MS);
}

static void on_timer_closed(uv_handle_t *h)
{
    (void)h;
    pg_pool.open = false;
    call_wake(pg_pool.closer, SL_OK);
}

void pg_pool_turn(void)
{
    if (pg_pool.queue && (pg_pool.closing || is_down())) fail_queue();
    if (!pg_pool.closing) hand_out();
    set_pace();
    wake_done();
}

static void on_tick(uv_timer_t *t)
{
    (void)t;
    bool stopping = false;
    int spare = pg_pool.n_ready - (store_cfg()->max_idle > 1 ? store_cfg()->max_idle : 1);
    for (struct pg_conn *conn = pg_pool.conns, *next; conn; conn = next) {
        next = conn->next;
        if (pg_conn_stop_again(conn))
            stopping = true;
        else if (settle(conn) && spare > 0 && loop_now() - conn->head_since >= SPARE_MS) {
            pg_conn_close(conn);
            spare--;
        }
    }
    pg_pool.stopping = stopping;
    pg_pool_turn();
    if (pg_pool.closing && !pg_pool.n_conns && !uv_is_closing((uv_handle_t *)&pg_pool.timer))
        uv_close((uv_handle_t *)&pg_pool.timer, on_timer_closed);
}

/* ---- opening and closing ---- */

sl_err pg_pool_open(call *c, const struct store_config *cfg, char *why, size_t why_size)
{
    memset(&pg_pool, 0, sizeof pg_pool);
    if (!libpq_load(why, why_size)) return SL_EUNAVAIL;
    if (!pg_connect_options(cfg, why, why_size)) return SL_EINVAL;
    pg_pool.queue_end = &pg_pool.queue;
    pg_pool.done_end = &pg_pool.done;
    pg_pool.unready_since = loop_now();
    pg_pool.open = pg_pool.fast = true;
    uv_timer_init(loop_uv(), &pg_pool.timer);
    uv_timer_start(&pg_pool.timer, on_tick, TICK_MS, TICK_MS);
    static struct statement first = { .sql = { "select 1", 8 }, .reads = true };
    struct pg_op op = { .c = c, .kind = PG_READ, .note = pg_note(&first) };
    sl_err e = pg_pool_run(&op); /* waits until connect_ms, like any call */
    if (!e) return SL_OK;
    snprintf(why, why_size, "PostgreSQL cannot be reached: %s",
             *pg_pool.why ? pg_pool.why : "no answer within the time given");
    pg_pool_close(c);
    return e;
}

static bool any_under_way(void)
{
    for (struct pg_conn *conn = pg_pool.conns; conn; conn = conn->next)
        if (conn->state == PG_READY && conn->count) return true;
    return false;
}

void pg_pool_close(call *c)
{
    if (!pg_pool.open || pg_pool.closing) return;
    c->shielded = true;
    for (uint64_t until = loop_now() + CLOSE_MS; any_under_way() && loop_now() < until;)
        if (call_sleep(c, 10)) break;
    pg_pool.closing = true;
    pg_pool.closer = c;
    for (struct pg_conn *conn = pg_pool.conns, *next; conn; conn = next) {
        next = conn->next;
        if (conn->state == PG_READY) pg_conn_lost(conn, "the store is closed");
    }
    pg_pool_turn();
    call_wait(c, NULL, NULL);
    c->shielded = false;
    pg_connect_options_free();
}
