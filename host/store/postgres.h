/* postgres.h - what the files of the PostgreSQL engine share: operations of calls, connections and the pool. Internal
 * to store/. */
#ifndef STORE_POSTGRES_H
#define STORE_POSTGRES_H
#include "store/backend.h"
#include "store/libpq.h"

/* How a transaction goes over the wire. Statements between two Syncs of the extended protocol are one transaction
 * without any BEGIN (protocol documentation 55.2.4, "Pipelining"). So a write is sent with Flush: its answer comes at
 * once and the transaction stays open; Sync then is the commit. Reads outside a transaction are sent with a Sync each.
 * A connection that is lost before Sync has committed nothing. Rolling back is BEGIN (which adopts what ran so far),
 * ROLLBACK, Sync. */

enum { PG_VARIANTS = 4, PG_NOTES_MAX = 4096, PG_BITS = PG_VARIANTS * PG_NOTES_MAX };

/* A statement's text as libpq wants it, and under which parameter types it may be prepared; one per process and text.
 */
struct pg_note {
    char *sql;
    uint32_t id;
    unsigned n_variants;
    struct {
        uint8_t *types;
        size_t n;
    } variant[PG_VARIANTS];
    bool wrap_tried;
    size_t counted_params, rows_params;
    struct pg_note *rows; /* the same for many rows, from arrays */
    uint8_t *rows_types;
    bool rows_tried;
    struct pg_note *counted; /* the same statement, failing unless it touches as many rows as one more parameter says */
};
struct pg_note *pg_note(struct statement *s);
void pg_note_free(struct statement *s);
struct pg_note *pg_note_deferred(const struct deferred *d);        /* of what is sent for it */
struct pg_note *pg_note_counted(struct pg_note *n, size_t params); /* NULL: this text cannot be wrapped */
void pg_note_rows(struct pg_note *n, sl_str sql, size_t params, const uint8_t *types); /* sets n->rows */
#define PG_COUNT_MARK "rows touched: " /* in the message of a wrong count */
/* Which prepared statement fits these arguments: 0..PG_BITS-1, or -1 = send it unnamed. */
int pg_note_variant(struct pg_note *n, const sl_value *args, size_t count);

/* Values (postgres_value.c) */
struct pg_params {
    int n;
    Oid *types;
    const char **values;
    int *lengths, *formats;
};
enum { PG_ARRAY = 8 };     /* added to a value's type: `s` is a binary array of that type */
Oid pg_type(uint8_t type); /* of SL_INT to SL_BLOB */
sl_err pg_check_args(call *c, const sl_value *args, size_t n);
/* Valid until the next use. `count` >= 0 adds one more int8 parameter. */
const struct pg_params *pg_params(const sl_value *args, size_t n, int64_t count);
sl_err pg_error(const char *sqlstate);
void pg_rows_add(struct rows_builder *b, const PGresult *res);
int64_t pg_changed(const PGresult *res);

/* Many rows in one statement (postgres_gather.c). Rewrites tx->deferred; arguments were checked. */
enum { PG_ROW_PARAMS = 100 };
void pg_gather(call *c, struct tx *tx);

/* One wait of a call on the store; lies on the fiber's stack. */
enum pg_kind { PG_READ, PG_FIRST, PG_NEXT, PG_COMMIT };
struct pg_op {
    struct pg_op *next;
    call *c;
    enum pg_kind kind;
    enum { PG_NEW, PG_WAITING, PG_SENT, PG_DONE } state;
    unsigned tries;
    struct tx *tx; /* not for PG_READ */
    struct pg_note *note;
    const sl_value *args;
    size_t n;
    const struct deferred *deferred; /* instead of note, or nothing but a commit */
    struct pg_conn *conn;            /* while PG_SENT */
    struct rows_builder rows;
    bool has_rows, again; /* again: ends by going back to the queue */
    const sl_rows *out;
    sl_err result;
};

/* What libpq was told and has not answered yet, in order. */
struct pg_cmd {
    struct pg_op *op;                /* NULL: nobody waits for it any more */
    const struct deferred *deferred; /* whose answer it is */
    int32_t bit;                     /* prepare: which statement */
    uint8_t type;
    bool last, started, counted,
        forgotten; /* last: its end is the end of op; counted: fails by itself on a wrong count */
};
enum { PG_CMD_PREPARE = 1, PG_CMD_RUN, PG_CMD_SYNC };

struct pg_conn {
    struct pg_conn *prev, *next; /* all */
    PGconn *pq;
    uv_poll_t poll;
    int fd, events; /* of the poll handle */
    enum { PG_CONNECTING, PG_READY, PG_CLOSED } state;
    unsigned refs;       /* poll handle, attempt to connect: freed at 0 */
    struct tx *tx;       /* whose transaction is open behind all that was sent */
    struct pg_cmd *cmds; /* ring */
    unsigned head, count, room;
    unsigned stops;                           /* times that the server was asked to stop */
    unsigned ops;                             /* operations that were sent and are not over */
    struct pg_cancel *cancel;                 /* a request on its way */
    bool cancelled, unsent, retired, counted; /* counted: in n_ready */
    uint64_t expires, stop_by, head_since;    /* loop_now() */
    unsigned epoch;
    uint64_t prepared[PG_BITS / 64];
};

/* Connections (postgres_conn.c). Nothing here suspends. */
bool pg_conn_adopt(struct pg_conn *conn); /* a fresh PGconn joins the loop */
/* op becomes PG_SENT, or ends by pg_conn_lost. It leaves with the next pg_conn_flush. */
void pg_conn_send(struct pg_conn *conn, struct pg_op *op);
void pg_conn_rollback(struct pg_conn *conn);
void pg_conn_forget(struct pg_conn *conn, struct pg_op *op); /* nobody waits for op any more */
void pg_conn_flush(struct pg_conn *conn);
void pg_conn_lost(struct pg_conn *conn, const char *why); /* everything under way ends or goes back to the queue */
void pg_conn_close(struct pg_conn *conn);                 /* nothing is under way */
void pg_conn_unref(struct pg_conn *conn);

/* Stopping statements (postgres_cancel.c) */
struct pg_cancel;
void pg_conn_stop(struct pg_conn *conn); /* ask the server to stop what runs */
bool pg_conn_stop_again(
    struct pg_conn *conn); /* at times: true while that is awaited; the connection is closed in the end */
bool pg_conn_cancelling(struct pg_conn *conn); /* not to be used for anything else yet */
void pg_cancel_unref(struct pg_cancel *x);

/* Making connections (postgres_connect.c) */
bool pg_connect_options(const struct store_config *cfg, char *why, size_t why_size);
void pg_connect_options_free(void);
void pg_connect_if_wanted(unsigned wanted); /* starts attempts, if there may be more connections and it is time */
void pg_pool_gone(struct pg_conn *conn, bool failure); /* conn has left the pool */
void pg_pool_stale(struct pg_conn *conn);              /* no connection made before now is used again */

/* The pool (postgres_pool.c) */
struct pg_pool {
    bool open, closing, direct, failed, fast, stopping;
    char **keys, **values; /* libpq's parameters */
    struct pg_conn *conns;
    int n_conns, n_ready, n_connecting;
    struct pg_op *queue, **queue_end;
    unsigned n_queue;
    struct pg_op *done, **done_end;
    uv_timer_t timer;
    unsigned epoch;
    uint64_t unready_since, next_attempt, delay;
    call *closer;
    char why[256];
    struct store_stats stats;
};
extern struct pg_pool pg_pool;
sl_err pg_pool_open(call *c, const struct store_config *cfg, char *why, size_t why_size); /* [S] */
void pg_pool_close(call *c);                                                              /* [S] */
sl_err pg_pool_run(struct pg_op *op);          /* [S] until op is done; its result */
void pg_pool_again(struct pg_op *op);          /* back to the front of the queue */
void pg_pool_done(struct pg_op *op, sl_err e); /* its call is woken by the next pg_pool_turn */
void pg_pool_turn(void);                       /* hand out connections, wake calls: at the end of every callback */
#endif
