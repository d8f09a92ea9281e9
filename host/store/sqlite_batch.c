/* sqlite_batch.c - the write queue of SQLite and group commit: many calls, each in a savepoint of its own, under one
 * fsync. */
#include "base/clock.h"
#include "base/log.h"
#include "loop/loop.h"
#include "store/sqlite.h"

/* One call at a time holds the write connection, from its first write to its end; the others wait in line. A call that
 * ends well releases its savepoint and waits for the batch's COMMIT, which the writer's thread runs at the end of a
 * loop turn in which nobody holds, while new calls queue for the next batch. */
struct waiter {
    call *c;
    struct waiter *prev, *next;
};
struct member {
    call *c;
    bool released;
    struct member *next;
}; /* not released: rolled back, but waits for what it saw */
struct own {
    bool wrote, lost;
}; /* tx->engine: this transaction has written; its batch is gone */

static struct {
    call *holder;
    struct waiter *head, *tail;
    struct member *members, **members_end;
    unsigned n_members, n_waiting;
    bool begun; /* BEGIN IMMEDIATE succeeded */
    bool dirty; /* a released call has written */
    bool away;  /* the write connection is at work on the writer's thread for nobody in particular */
    struct job commit;
    int rc;
    char why[200];
} batch = { .members_end = &batch.members };

unsigned batch_active(void) { return batch.holder != NULL; }
unsigned batch_waiting(void) { return batch.n_waiting; }

static void commit_start(void);
static void turn_end(void *arg);

/* ---- the line ---- */

static void leave_line(void *op)
{
    struct waiter *w = op;
    batch.n_waiting--;
    if (w->prev)
        w->prev->next = w->next;
    else
        batch.head = w->next;
    if (w->next)
        w->next->prev = w->prev;
    else
        batch.tail = w->prev;
}

static void next_holder(void)
{
    if (batch.holder || batch.away) return;
    if (batch.n_members >= BATCH_MAX) {
        commit_start();
        return;
    }
    struct waiter *w = batch.head;
    if (w) {
        leave_line(w);
        batch.holder = w->c;
        call_wake(w->c, SL_OK);
    } else if (batch.begun) {
        loop_at_turn_end(turn_end, NULL);
    }
}

sl_err batch_enter(call *c, bool wait_for_ever)
{
    if (!sqlite.open) return store_fail(c, SL_EUNAVAIL, "the store is closed");
    if (!batch.holder && !batch.away && !batch.head) {
        batch.holder = c;
        return SL_OK;
    }
    struct waiter w = { .c = c, .prev = batch.tail };
    if (batch.tail)
        batch.tail->next = &w;
    else
        batch.head = &w;
    batch.tail = &w;
    batch.n_waiting++;
    sl_err e = call_wait(c, wait_for_ever ? NULL : leave_line, &w);
    if (e == SL_ETIME) return store_fail(c, e, "the deadline passed in the line of writers");
    if (e) return store_fail(c, e, "the call was cancelled in the line of writers");
    return SL_OK;
}

void batch_leave(call *c)
{
    if (batch.holder != c) return;
    batch.holder = NULL;
    next_holder();
}

/* ---- the batch ---- */

static int run_plain(sqlite3_stmt *st)
{
    sqlite3_step(st);
    return sqlite3_reset(st); /* the extended code of the step */
}

/* Ends the batch for its released calls; they wake up once control is back in the loop. */
static void end_batch(sl_err e, bool retry)
{
    struct member *m = batch.members;
    batch.members = NULL;
    batch.members_end = &batch.members;
    batch.n_members = 0;
    batch.begun = batch.dirty = false;
    for (struct member *next; m; m = next) {
        next = m->next; /* m lies on the stack of the fiber that wakes up */
        if (e && m->released) store_fail(m->c, e, "the commit failed and nothing was stored: %s", batch.why);
        if (e && m->c->tx) m->c->tx->retry = retry || !m->released;
        call_wake(m->c, e);
    }
}

/* A full disk fails batch after batch: a line a second is enough. */
static void log_failure(const char *text)
{
    static uint64_t quiet_until;
    if (loop_now() < quiet_until) return;
    quiet_until = loop_now() + 1000;
    log_error(text, LOG_C("error", batch.why), LOG_I("calls", batch.n_members));
}

/* SQLite gave up the whole transaction by itself (disk full, I/O error, interrupted write): so every call of the batch
 * failed. */
static bool batch_lost(struct own *own)
{
    if (!batch.begun || !sqlite3_get_autocommit(sqlite.conn[CONN_WRITE].db)) return false;
    snprintf(batch.why, sizeof batch.why, "%s", sqlite3_errmsg(sqlite.conn[CONN_WRITE].db));
    log_failure("SQLite rolled a whole batch of calls back");
    own->lost = true;
    end_batch(SL_EUNAVAIL, true);
    return true;
}

static void commit_run(struct job *j, int thread)
{
    (void)j;
    (void)thread;
    sqlite3 *db = sqlite.conn[CONN_WRITE].db;
    struct log_writer w = { 0 };
    sl_err e = SL_OK;
    for (struct member *m = batch.members; m && !e; m = m->next)
        if (m->released) e = log_append(&w, m->c);
    if (!e) e = log_end(&w);
    batch.rc = e ? SQLITE_ABORT : run_plain(sqlite.commit);
    if (!batch.rc) return;
    snprintf(batch.why, sizeof batch.why, "%s", e ? store_error(w.c) : sqlite3_errmsg(db));
    if (!sqlite3_get_autocommit(db)) run_plain(sqlite.rollback);
}

static void rest_done(struct job *j)
{
    (void)j;
    checkpoint_rest_done();
    batch.away = false;
    next_holder();
}

static void commit_finish(void)
{
    if (batch.rc)
        log_failure("SQLite did not commit a batch of calls");
    else
        sqlite.batches++;
    /* A lock or an interruption passes; a full or failing disk is not better for another try. */
    bool passing = (batch.rc & 0xff) == SQLITE_BUSY;
    end_batch(batch.rc ? SL_EUNAVAIL : SL_OK, passing);
}

static void commit_done(struct job *j)
{
    (void)j;
    struct job *rest = NULL;
    if (!batch.rc) {
        checkpoint_after_commit();
        rest = checkpoint_rest(rest_done);
    }
    batch.away = rest != NULL;
    if (rest) crew_push(CREW_WRITER, rest);
    commit_finish();
    next_holder();
}

static void commit_start(void)
{
    batch.away = true;
    batch.commit = (struct job){ .run = commit_run, .done = commit_done };
    crew_push(CREW_WRITER, &batch.commit);
}

static void turn_end(void *arg)
{
    (void)arg;
    if (batch.holder || batch.away || !batch.begun) return;
    if (batch.dirty) {
        commit_start();
    } else { /* all of it was rolled back: nothing to wait for */
        run_plain(sqlite.rollback);
        batch.begun = false;
    }
}

/* BEGIN IMMEDIATE; another process's lock is waited for. */
static sl_err begin(call *c)
{
    uint64_t give_up = loop_now() + BUSY_MS;
    for (uint32_t pause = 2;; pause = pause < 50 ? pause * 2 : 50) {
        int rc = run_plain(sqlite.begin);
        if (!rc) break;
        if ((rc & 0xff) != SQLITE_BUSY)
            return store_fail(c, sqlite_code(rc), "%s", sqlite3_errmsg(sqlite.conn[CONN_WRITE].db));
        sl_err e = call_sleep(c, pause);
        if (e == SL_ECANCEL)
            return store_fail(c, e, "the call was cancelled while another process had locked the database");
        if (e || loop_now() >= give_up) return store_fail(c, SL_EUNAVAIL, "another process has locked the database");
    }
    batch.begun = true;
    return SL_OK;
}

/* Become the holder and open the call's savepoint. */
static sl_err open_tx(call *c)
{
    sl_err e = batch_enter(c, false);
    if (e) return e;
    if (!batch.begun) e = begin(c);
    if (!e && run_plain(sqlite.savepoint))
        e = store_fail(c, SL_EUNAVAIL, "%s", sqlite3_errmsg(sqlite.conn[CONN_WRITE].db));
    if (e) {
        batch_leave(c);
        return e;
    }
    c->tx->engine = arena_alloc(c->arena, sizeof(struct own));
    c->tx->open = true;
    return SL_OK;
}

/* ---- statements of a transaction ---- */

struct slow_write {
    struct job job;
    call *c;
    struct statement *s;
    const sl_value *args;
    size_t n;
    const sl_rows **out;
    sl_err e;
};

static void slow_run(struct job *j, int thread)
{
    struct slow_write *w = (struct slow_write *)j;
    (void)thread;
    w->e = sqlite_run(&sqlite.conn[CONN_WRITE], w->c, w->s, w->args, w->n, w->out);
}
static void slow_done(struct job *j) { call_wake(((struct slow_write *)j)->c, SL_OK); }

/* Stopping a write takes the whole batch with it, so only the deadline does that, never the loss of the client. */
static sl_err run(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out)
{
    struct own *own = c->tx->engine;
    struct connection *k = &sqlite.conn[CONN_WRITE];
    sl_err e;
    if (!sqlite_note(s)) return store_fail(c, SL_EUNAVAIL, "out of memory");
    int64_t start = clock_monotonic();
    k->c = c;
    k->deadline = sqlite_deadline(c);
    k->may_yield = true;
    if (!sqlite.memory && s->last_us > SLICE_US) {
        struct slow_write w = {
            .job = { .run = slow_run, .done = slow_done }, .c = c, .s = s, .args = args, .n = n, .out = out
        };
        k->slice_end = 0;
        crew_push(CREW_WRITER, &w.job);
        call_wait(c, NULL, NULL);
        e = w.e;
    } else {
        k->slice_end = start + SLICE_US * 1000;
        e = sqlite_run(k, c, s, args, n, out);
    }
    s->last_us = (clock_monotonic() - start) / 1000;
    if (!s->reads) own->wrote = true;
    if (e) batch_lost(own);
    return e == SL_EBUSY ? SL_EUNAVAIL : e;
}

sl_err sqlite_write(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out)
{
    sl_err e = c->tx->open ? SL_OK : open_tx(c);
    return e ? e : run(c, s, args, n, out);
}

/* There is one writer at a time, so whoever has begun to write has every lock. */
sl_err sqlite_lock(call *c, sl_str name)
{
    (void)name;
    return c->tx->open ? SL_OK : open_tx(c);
}

/* ---- the end of a transaction ---- */

static sl_err run_deferred(call *c)
{
    for (struct deferred *d = c->tx->deferred; d; d = d->next) {
        const sl_rows *rows = NULL;
        sl_err e = run(c, d->statement, d->args, d->n, &rows);
        if (e) return e;
        if (d->changes && rows->changed != d->changes)
            return store_fail(c, SL_ECONFLICT, "a deferred write touched %lld rows where %lld were expected",
                              (long long)rows->changed, (long long)d->changes);
    }
    /* SQLite checks deferred foreign keys at COMMIT only, where they would fail the whole batch. */
    int open_keys = 0, unused = 0;
    sqlite3_db_status(sqlite.conn[CONN_WRITE].db, SQLITE_DBSTATUS_DEFERRED_FKS, &open_keys, &unused, 0);
    return open_keys ? store_fail(c, SL_ENOENT, "FOREIGN KEY constraint failed") : SL_OK;
}

/* Joins the batch and waits for its COMMIT, whatever the deadline: the outcome must be known. */
static sl_err wait_for_batch(call *c, bool released)
{
    struct member m = { .c = c, .released = released };
    *batch.members_end = &m;
    batch.members_end = &m.next;
    batch.n_members++;
    batch_leave(c);
    return call_wait(c, NULL, NULL);
}

static sl_err commit_memory(call *c)
{
    struct member m = { .c = c, .released = true };
    batch.members = &m;
    commit_run(NULL, 0);
    batch.members = NULL; /* it does not wait */
    commit_finish();
    sl_err e = batch.rc ? store_fail(c, SL_EUNAVAIL, "the commit failed and nothing was stored: %s", batch.why) : SL_OK;
    batch_leave(c);
    return e;
}

sl_err sqlite_commit(call *c)
{
    struct tx *t = c->tx;
    sl_err e = t->open ? SL_OK : open_tx(c);
    if (e) return e;
    struct own *own = t->engine;
    e = run_deferred(c);
    if (!e && !log_note(t)) e = store_fail(c, SL_EUNAVAIL, "out of memory");
    if (!e && run_plain(sqlite.release)) {
        e = store_fail(c, SL_EUNAVAIL, "%s", sqlite3_errmsg(sqlite.conn[CONN_WRITE].db));
        batch_lost(own);
    }
    if (e) {
        sqlite_rollback(c);
        return e;
    }
    t->open = false;
    if (own->wrote || t->appended) batch.dirty = true;
    if (batch.dirty) return sqlite.memory ? commit_memory(c) : wait_for_batch(c, true);
    batch_leave(c);
    return SL_OK;
}

void sqlite_rollback(call *c)
{
    struct own *own = c->tx->engine;
    c->tx->open = false;
    if (!sqlite.open || batch.holder != c) return;
    if (!own->lost) {
        if (run_plain(sqlite.rollback_to) || run_plain(sqlite.release)) batch_lost(own);
    }
    /* What this call saw, and perhaps failed at, are rows that are not durable yet: it is not answered before they are.
     */
    if (!own->lost && batch.dirty)
        wait_for_batch(c, false);
    else
        batch_leave(c);
}

void batch_drain(call *c)
{
    batch_enter(c, true);
    while (batch.begun) {
        if (batch.dirty)
            wait_for_batch(c, false);
        else {
            run_plain(sqlite.rollback);
            batch.begun = false;
            return;
        }
        batch_enter(c, true);
    }
}
