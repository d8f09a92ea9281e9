/* postgres.c - PostgreSQL behind the store's interface: one call's reads, writes, locks, commit and rollback. */
#include "store/postgres.h"

static sl_err pg_read(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out)
{
    sl_err e = pg_check_args(c, args, n);
    if (e) return e;
    struct pg_op op = { .c = c, .kind = PG_READ, .note = pg_note(s), .args = args, .n = n };
    e = pg_pool_run(&op);
    if (!e && out) *out = op.out;
    return e;
}

/* In the call's transaction: what it needs of a connection, or why it cannot go on. */
static sl_err next_kind(call *c, enum pg_kind *kind)
{
    struct tx *tx = c->tx;
    *kind = tx->open ? PG_NEXT : PG_FIRST;
    if (tx->broken) return store_fail(c, SL_ESTATE, "the transaction failed before; it can only be rolled back");
    if (tx->open && !tx->engine)
        return store_fail(c, SL_EUNAVAIL, "the connection to PostgreSQL was lost between two statements");
    return SL_OK;
}

static sl_err pg_write(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out)
{
    struct pg_op op = { .c = c, .tx = c->tx, .note = pg_note(s), .args = args, .n = n };
    sl_err e = next_kind(c, &op.kind);
    if (!e) e = pg_check_args(c, args, n);
    if (!e) e = pg_pool_run(&op);
    if (!e && out) *out = op.out;
    return e;
}

static sl_err pg_lock(call *c, sl_str name)
{
    static struct statement lock = {
        .sql = { "select pg_advisory_xact_lock(hashtextextended($1, 0))",
                 sizeof "select pg_advisory_xact_lock(hashtextextended($1, 0))" - 1 },
    };
    const sl_value arg = { .type = SL_TEXT, .s = name };
    return pg_write(c, &lock, &arg, 1, NULL);
}

static void pg_rollback(call *c)
{
    struct tx *tx = c->tx;
    if (!tx) return;
    if (tx->engine) {
        pg_conn_rollback(tx->engine); /* nobody waits for it; the connection comes back when the server has answered */
        pg_pool_turn();
    }
    tx->open = false;
}

/* A deferred write whose count the server cannot check by itself is sent before, and counted here. */
static bool needs_look(const struct tx *tx)
{
    for (const struct deferred *d = tx->deferred; d; d = d->next)
        if (d->changes && !pg_note_counted(pg_note_deferred(d), d->n)) return true;
    return false;
}

static sl_err pg_commit(call *c)
{
    struct tx *tx = c->tx;
    struct pg_op op = { .c = c, .tx = tx };
    if (!tx->open && !tx->deferred) return SL_OK;
    sl_err e = next_kind(c, &op.kind);
    for (const struct deferred *d = tx->deferred; d && !e; d = d->next)
        e = pg_check_args(c, d->args, d->n);
    if (!e) pg_gather(c, tx);
    op.deferred = tx->deferred;
    if (!e) e = call_check(c); /* the last moment at which the outcome is known */
    if (!e && needs_look(tx)) {
        e = pg_pool_run(&op);
        op.deferred = NULL;
    }
    if (e) {
        pg_rollback(c);
        return e;
    }
    op.kind = PG_COMMIT;
    bool shielded = c->shielded;
    c->shielded = true; /* a client that leaves now does not make the outcome unknown */
    e = pg_pool_run(&op);
    c->shielded = shielded;
    if (op.state == PG_DONE) e = op.result; /* the answer was there when the deadline came */
    tx->open = false;
    if (!e)
        pg_pool.stats.commits++;
    else if (e == SL_ETIME && op.state == PG_SENT)
        store_fail(c, e, "the deadline passed while committing: the outcome is not known");
    return e;
}

static struct store_stats pg_stats(void)
{
    struct store_stats s = pg_pool.stats;
    s.open = pg_pool.n_ready;
    s.max_open = store_cfg()->max_open;
    s.batches = s.commits;
    s.waiting = pg_pool.n_queue;
    s.up = pg_pool.open && !pg_pool.closing && (pg_pool.n_ready || !pg_pool.failed);
    for (const struct pg_conn *conn = pg_pool.conns; conn; conn = conn->next)
        s.active += conn->count || conn->tx || conn->cancel;
    return s;
}

const struct backend postgres_backend = {
    .name = "postgres",
    .open = pg_pool_open,
    .close = pg_pool_close,
    .read = pg_read,
    .write = pg_write,
    .lock = pg_lock,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .stats = pg_stats,
    .forget = pg_note_free,
};
