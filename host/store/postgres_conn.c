/* postgres_conn.c - one connection on the loop: sends operations in pipeline mode and takes the answers in order. */
#include "base/log.h"
#include "loop/loop.h"
#include "store/postgres.h"
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRIES_MAX = 3 };

static void on_poll(uv_poll_t *poll, int status, int events);

static struct pg_cmd *cmd_at(struct pg_conn *conn, unsigned i) { return &conn->cmds[(conn->head + i) % conn->room]; }

static struct pg_cmd *cmd_push(struct pg_conn *conn, int type, struct pg_op *op)
{
    if (conn->count == conn->room) {
        unsigned room = conn->room ? conn->room * 2 : 16;
        struct pg_cmd *cmds = calloc(room, sizeof *cmds);
        if (!cmds) abort();
        for (unsigned i = 0; i < conn->count; i++)
            cmds[i] = *cmd_at(conn, i);
        free(conn->cmds);
        conn->cmds = cmds;
        conn->room = room;
        conn->head = 0;
    }
    if (!conn->count) conn->head_since = loop_now();
    struct pg_cmd *cmd = cmd_at(conn, conn->count++);
    *cmd = (struct pg_cmd){ .op = op, .type = (uint8_t)type, .bit = -1 };
    return cmd;
}

/* ---- sending ---- */

static bool send_note(struct pg_conn *conn, struct pg_op *op, struct pg_note *note, const sl_value *args, size_t n,
                      int64_t count)
{
    const struct pg_params *p = pg_params(args, n, count);
    int bit = pg_pool.direct ? pg_note_variant(note, args, n) : -1;
    if (bit < 0) {
        cmd_push(conn, PG_CMD_RUN, op);
        return PQsendQueryParams(conn->pq, note->sql, p->n, p->types, p->values, p->lengths, p->formats, 0);
    }
    char name[16];
    snprintf(name, sizeof name, "s%d", bit);
    bool ok = true;
    if (!(conn->prepared[bit / 64] >> (bit % 64) & 1)) {
        conn->prepared[bit / 64] |= 1ull << (bit % 64);
        cmd_push(conn, PG_CMD_PREPARE, op)->bit = bit;
        ok = PQsendPrepare(conn->pq, name, note->sql, p->n, p->types);
    }
    cmd_push(conn, PG_CMD_RUN, op);
    return ok && PQsendQueryPrepared(conn->pq, name, p->n, p->values, p->lengths, p->formats, 0);
}

static bool send_deferred(struct pg_conn *conn, struct pg_op *op, const struct deferred *d)
{
    struct pg_note *note = pg_note_deferred(d);
    struct pg_note *counted = d->changes && op->kind == PG_COMMIT ? pg_note_counted(note, d->n) : NULL;
    bool ok = send_note(conn, op, counted ? counted : note, d->args, d->n, counted ? d->changes : -1);
    struct pg_cmd *cmd = cmd_at(conn, conn->count - 1);
    cmd->deferred = d;
    cmd->counted = counted != NULL;
    return ok;
}

static bool send_sync(struct pg_conn *conn, struct pg_op *op)
{
    cmd_push(conn, PG_CMD_SYNC, op);
    return PQpipelineSync(conn->pq);
}

void pg_conn_flush(struct pg_conn *conn)
{
    conn->unsent = false;
    if (conn->state != PG_READY) return;
    int left = PQflush(conn->pq);
    if (left < 0) {
        pg_conn_lost(conn, PQerrorMessage(conn->pq));
        return;
    }
    int events = left ? UV_READABLE | UV_WRITABLE : UV_READABLE;
    if (events != conn->events) uv_poll_start(&conn->poll, conn->events = events, on_poll);
}

static void leave_transaction(struct pg_conn *conn, struct tx *tx)
{
    if (tx && tx->engine == conn) tx->engine = NULL;
    if (conn->tx == tx) conn->tx = NULL;
}

void pg_conn_send(struct pg_conn *conn, struct pg_op *op)
{
    bool ok = true;
    op->state = PG_SENT;
    op->conn = conn;
    op->has_rows = op->again = false;
    op->out = NULL;
    op->result = SL_OK;
    conn->ops++;
    if (op->kind == PG_FIRST) {
        conn->tx = op->tx;
        op->tx->engine = conn;
    } else if (op->kind == PG_COMMIT)
        leave_transaction(conn, op->tx); /* behind its Sync the connection is free for others */
    if (op->note) ok = send_note(conn, op, op->note, op->args, op->n, -1);
    for (const struct deferred *d = op->deferred; d; d = d->next)
        ok = send_deferred(conn, op, d) && ok;
    if (op->kind == PG_READ || op->kind == PG_COMMIT)
        ok = send_sync(conn, op) && ok;
    else
        ok = PQsendFlushRequest(conn->pq) && ok;
    cmd_at(conn, conn->count - 1)->last = true;
    if (!ok)
        pg_conn_lost(conn, PQerrorMessage(conn->pq));
    else
        conn->unsent = true;
}

void pg_conn_rollback(struct pg_conn *conn)
{
    leave_transaction(conn, conn->tx);
    /* BEGIN adopts what ran since the last Sync. After an error the server skips both and Sync alone ends it. */
    cmd_push(conn, PG_CMD_RUN, NULL);
    bool ok = PQsendQueryParams(conn->pq, "begin", 0, NULL, NULL, NULL, NULL, 0);
    cmd_push(conn, PG_CMD_RUN, NULL);
    ok = ok && PQsendQueryParams(conn->pq, "rollback", 0, NULL, NULL, NULL, NULL, 0);
    ok = send_sync(conn, NULL) && ok;
    if (ok)
        pg_conn_flush(conn);
    else
        pg_conn_lost(conn, PQerrorMessage(conn->pq));
}

/* ---- what becomes of an operation ---- */

/* Reads and a transaction's first statement have had no effect when they fail by the connection's fault. Nor has a
 * whole transaction in one when the server refused a statement of it (`refused`) instead of going silent. */
static bool may_go_again(const struct pg_op *op, bool refused)
{
    bool harmless = op->kind == PG_READ || op->kind == PG_FIRST || (op->kind == PG_COMMIT && !op->tx->open && refused);
    return harmless && op->tries < TRIES_MAX && !pg_pool.closing;
}

static void fail(struct pg_op *op, sl_err e, const char *state, const char *text)
{
    if (op->result) return; /* the first error is the cause */
    size_t n = text ? strcspn(text, "\n") : 0;
    op->result = store_fail(op->c, e, "%.*s%s%s%s", (int)(n > 200 ? 200 : n), text ? text : "",
                            *state ? " (SQLSTATE " : "", state, *state ? ")" : "");
}

static void detach(struct pg_conn *conn, struct pg_op *op)
{
    op->conn = NULL;
    conn->ops--;
    if (op->tx && (op->result || op->again)) leave_transaction(conn, op->tx);
}

static void op_over(struct pg_conn *conn, struct pg_op *op)
{
    bool failed = op->result || op->again;
    detach(conn, op);
    if (failed && (op->kind == PG_FIRST || op->kind == PG_NEXT)) pg_conn_rollback(conn);
    if (op->again) {
        op->result = SL_OK;
        pg_pool_again(op);
        return;
    }
    if (op->tx) {
        op->tx->open = op->kind != PG_COMMIT;
        op->tx->broken = failed;
    }
    pg_pool_done(op, op->result);
}

static void fail_lost(struct pg_op *op, bool refused, const char *state, const char *why)
{
    if (op->result) return;
    bool nothing_done = op->kind != PG_COMMIT || refused; /* before Sync nothing is committed */
    if (op->tx) op->tx->retry = nothing_done;
    if (nothing_done)
        fail(op, SL_EUNAVAIL, state, why);
    else
        fail(op, SL_EUNAVAIL, "", "the connection to PostgreSQL was lost while committing: the outcome is not known");
}

static void op_lost(struct pg_conn *conn, struct pg_op *op, const char *why)
{
    detach(conn, op);
    if (op->tx) leave_transaction(conn, op->tx);
    if (!op->result && may_go_again(op, false)) {
        pg_pool_again(op);
        return;
    }
    fail_lost(op, false, "", why);
    if (op->tx) op->tx->open = op->tx->broken = true;
    pg_pool_done(op, op->result);
}

/* ---- errors ---- */

static bool is_class(const char *state, const char *prefix)
{
    while (*prefix && *prefix == *state)
        prefix++, state++;
    return !*prefix;
}

static void count_differs(struct pg_op *op, const struct deferred *d, int64_t touched)
{
    char text[100];
    snprintf(text, sizeof text, "a deferred write touched %lld rows where %lld were expected", (long long)touched,
             (long long)d->changes);
    fail(op, SL_ECONFLICT, "", text);
}

static void on_error(struct pg_conn *conn, struct pg_cmd *cmd, const PGresult *res)
{
    struct pg_op *op = cmd->op;
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE),
               *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (!state) state = "";
    if (!text) text = PQresultErrorMessage(res);
    /* Without a state the error is libpq's own: the connection broke. */
    bool dying = !*state || is_class(state, "57P") || is_class(state, "08"), read_only = is_class(state, "25006");
    bool stale_plan = pg_pool.direct && (is_class(state, "26000") || is_class(state, "0A000"));
    bool hit = is_class(state, "57014") && conn->cancelled; /* by a cancel that was meant for the statement before */
    bool refused = !dying && cmd->type != PG_CMD_SYNC;
    if (dying || stale_plan) conn->retired = true;
    if (read_only || stale_plan) pg_pool_stale(conn);
    if (!op || op->result || op->again) return;
    if (dying || read_only || stale_plan || hit) {
        if (may_go_again(op, refused))
            op->again = true;
        else if (dying || hit)
            fail_lost(op, refused, state, text);
        if (op->again || op->result) return;
    }
    const char *mark = cmd->counted && is_class(state, "22P02") ? strstr(text, PG_COUNT_MARK) : NULL;
    if (mark) {
        count_differs(op, cmd->deferred, strtoll(mark + strlen(PG_COUNT_MARK), NULL, 10));
        return;
    }
    if (op->tx) op->tx->retry = is_class(state, "40001") || is_class(state, "40P01") || (stale_plan && refused);
    fail(op, pg_error(state), state, text);
}

/* ---- answers ---- */

static void take_rows(struct pg_conn *conn, struct pg_cmd *cmd, const PGresult *res, bool end)
{
    struct pg_op *op = cmd->op;
    if (!op || op->result || op->again) return;
    if (cmd->deferred) {
        if (end && cmd->deferred->changes && !cmd->counted && pg_changed(res) != cmd->deferred->changes)
            count_differs(op, cmd->deferred, pg_changed(res));
        return;
    }
    if (!op->has_rows) {
        op->has_rows = true;
        int cols = PQnfields(res);
        rows_start(&op->rows, op->c, (uint32_t)cols);
        for (int i = 0; i < cols; i++)
            rows_name(&op->rows, (uint32_t)i, sl_cstr(PQfname(res, i)));
    }
    pg_rows_add(&op->rows, res);
    if (op->rows.failed) {
        op->result = op->rows.failed;
        pg_conn_stop(conn); /* the rest is read and dropped, if the server is not stopped before */
    } else if (end)
        op->out = rows_end(&op->rows, pg_changed(res));
}

static void pop(struct pg_conn *conn)
{
    struct pg_cmd cmd = *cmd_at(conn, 0);
    conn->head = (conn->head + 1) % conn->room;
    conn->count--;
    conn->head_since = loop_now();
    if (cmd.type == PG_CMD_SYNC) conn->stop_by = conn->stops = 0;
    if (cmd.last && cmd.op) op_over(conn, cmd.op);
    if (conn->state != PG_READY || !conn->count) return;
    if (cmd_at(conn, 0)->forgotten && cmd_at(conn, 0)->type == PG_CMD_RUN) pg_conn_stop(conn);
}

static void on_result(struct pg_conn *conn, struct pg_cmd *cmd, const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    switch (status) {
    case PGRES_SINGLE_TUPLE:
        take_rows(conn, cmd, res, false);
        return;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        if (cmd->type == PG_CMD_RUN) take_rows(conn, cmd, res, true);
        return;
    case PGRES_PIPELINE_SYNC:
        pop(conn);
        return;
    case PGRES_EMPTY_QUERY:
        if (cmd->op) fail(cmd->op, SL_EINVAL, "", "the statement is empty");
        return;
    case PGRES_PIPELINE_ABORTED:
    case PGRES_FATAL_ERROR:
        if (cmd->bit >= 0) conn->prepared[cmd->bit / 64] &= ~(1ull << (cmd->bit % 64));
        if (status == PGRES_FATAL_ERROR) on_error(conn, cmd, res);
        return;
    default: /* COPY: a statement that this contract does not offer */
        if (cmd->op) fail(cmd->op, SL_EINVAL, "", "COPY cannot be used here");
        pg_conn_lost(conn, "a statement switched the connection to COPY");
    }
}

static void read_results(struct pg_conn *conn)
{
    unsigned nothing = 0;
    while (conn->state == PG_READY && conn->count) {
        struct pg_cmd *cmd = cmd_at(conn, 0);
        if (!cmd->started && cmd->type == PG_CMD_RUN)
            PQsetSingleRowMode(conn->pq); /* so that a limit on rows binds while they come */
        cmd->started = true;
        if (PQisBusy(conn->pq)) return;
        PGresult *res = PQgetResult(conn->pq);
        if (res) {
            on_result(conn, cmd, res);
            PQclear(res);
            nothing = 0;
        } else if (cmd->type != PG_CMD_SYNC)
            pop(conn);
        else if (++nothing > 2)
            pg_conn_lost(conn, "libpq has lost count of the answers"); /* never seen; rather this than a spin */
    }
    if (conn->state == PG_READY) PQisBusy(conn->pq); /* reads notices */
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct pg_conn *conn = poll->data;
    if (conn->state != PG_READY) return;
    if (status < 0)
        pg_conn_lost(conn, uv_strerror(status));
    else {
        if (events & UV_WRITABLE) pg_conn_flush(conn);
        if (conn->state == PG_READY && events & UV_READABLE) {
            bool alive = PQconsumeInput(conn->pq);
            read_results(conn);
            /* A TLS record can be larger than libpq's buffer; what OpenSSL still holds makes no socket readable. */
            while (alive && conn->state == PG_READY && PQsslInUse(conn->pq) &&
                   SSL_pending(PQsslStruct(conn->pq, "OpenSSL")) > 0) {
                alive = PQconsumeInput(conn->pq);
                read_results(conn);
            }
            if (conn->state == PG_READY && (!alive || PQstatus(conn->pq) == CONNECTION_BAD))
                pg_conn_lost(conn, PQerrorMessage(conn->pq));
        }
    }
    pg_pool_turn();
}

/* ---- life ---- */

static void on_notice(void *arg, const PGresult *res)
{
    (void)arg;
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    log_debug("postgres notice", LOG_C("text", text ? text : PQresultErrorMessage(res)));
}

bool pg_conn_adopt(struct pg_conn *conn)
{
    if (PQsetnonblocking(conn->pq, 1) || !PQenterPipelineMode(conn->pq)) return false;
    /* A descriptor of our own: libpq closes its one when the connection breaks, and the thread that connects may have
     * the number again before we have stopped polling it. */
    conn->fd = fcntl(PQsocket(conn->pq), F_DUPFD_CLOEXEC, 0);
    if (conn->fd < 0) return false;
    if (uv_poll_init(loop_uv(), &conn->poll, conn->fd)) {
        close(conn->fd);
        return false;
    }
    PQsetNoticeReceiver(conn->pq, on_notice, NULL);
    conn->poll.data = conn;
    conn->refs++;
    conn->state = PG_READY;
    uv_poll_start(&conn->poll, conn->events = UV_READABLE, on_poll);
    return true;
}

void pg_conn_unref(struct pg_conn *conn)
{
    if (--conn->refs) return;
    pg_cancel_unref(conn->cancel);
    free(conn->cmds);
    free(conn);
}

static void on_closed(uv_handle_t *h) { pg_conn_unref(h->data); }

static void shut(struct pg_conn *conn)
{
    conn->state = PG_CLOSED;
    uv_poll_stop(&conn->poll);
    uv_close((uv_handle_t *)&conn->poll, on_closed);
    close(conn->fd);
    PQfinish(conn->pq);
    conn->pq = NULL;
}

void pg_conn_close(struct pg_conn *conn)
{
    shut(conn);
    pg_pool_gone(conn, false);
}

void pg_conn_lost(struct pg_conn *conn, const char *text)
{
    char why[200];
    snprintf(why, sizeof why, "the connection to PostgreSQL was lost: %.*s", (int)strcspn(text, "\n"), text);
    shut(conn);
    for (unsigned i = conn->count; i-- > 0;) { /* last first: each goes to the front of the queue */
        struct pg_cmd *cmd = cmd_at(conn, i);
        if (cmd->last && cmd->op) op_lost(conn, cmd->op, why);
    }
    conn->count = 0;
    if (conn->tx) conn->tx->retry = true; /* between two statements: nothing is committed */
    leave_transaction(conn, conn->tx);
    pg_pool_gone(conn, true);
}

void pg_conn_forget(struct pg_conn *conn, struct pg_op *op)
{
    bool first = cmd_at(conn, 0)->op == op;
    for (unsigned i = 0; i < conn->count; i++) {
        struct pg_cmd *cmd = cmd_at(conn, i);
        if (cmd->op != op) continue;
        cmd->op = NULL;
        cmd->deferred = NULL;
        cmd->forgotten = true;
    }
    op->result = SL_ETIME; /* any error: the transaction is detached */
    detach(conn, op);
    if (op->tx) op->tx->open = op->tx->broken = true;
    if (first) pg_conn_stop(conn); /* else when its turn comes: now it would hit another */
    if (op->kind == PG_FIRST || op->kind == PG_NEXT) pg_conn_rollback(conn);
}
