/* postgres_cancel.c - stops a statement that nobody waits for any more, so that its connection can be used again. */
#include "loop/loop.h"
#include "store/postgres.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { STOP_MS = 250, STOPS_MAX = 20, CANCELS_MAX = 2 };

/* PQcancel blocks, without any limit when the server is frozen, so it has a thread of its own that nobody ever waits
 * for. What the two share is freed by the one who lets go last. */
struct pg_cancel {
    PGcancel *handle;
    atomic_bool done;
    atomic_int refs;
};
static atomic_int n_cancelling;

void pg_cancel_unref(struct pg_cancel *x)
{
    if (!x || atomic_fetch_sub(&x->refs, 1) > 1) return;
    PQfreeCancel(x->handle);
    free(x);
}

static void *cancel_thread(void *arg)
{
    struct pg_cancel *x = arg;
    char why[256];
    PQcancel(x->handle, why, sizeof why); /* whether it helped is seen by the answer */
    atomic_fetch_sub(&n_cancelling, 1);
    atomic_store(&x->done, true);
    pg_cancel_unref(x);
    return NULL;
}

bool pg_conn_cancelling(struct pg_conn *conn)
{
    if (conn->cancel && atomic_load(&conn->cancel->done)) {
        pg_cancel_unref(conn->cancel);
        conn->cancel = NULL;
    }
    return conn->cancel != NULL;
}

void pg_conn_stop(struct pg_conn *conn)
{
    conn->stop_by = loop_now() + STOP_MS;
    pg_pool.stopping = true;
    if (pg_conn_cancelling(conn) || atomic_load(&n_cancelling) >= CANCELS_MAX) return;
    struct pg_cancel *x = calloc(1, sizeof *x);
    if (!x) abort();
    x->handle = PQgetCancel(conn->pq);
    atomic_init(&x->refs, 2);
    atomic_fetch_add(&n_cancelling, 1);
    pthread_t thread;
    if (!x->handle || pthread_create(&thread, NULL, cancel_thread, x)) {
        atomic_fetch_sub(&n_cancelling, 1);
        PQfreeCancel(x->handle);
        free(x);
        return;
    }
    pthread_detach(thread);
    conn->cancel = x;
    conn->cancelled = true;
}

/* The request may overtake the statement and find nothing to stop, so it is repeated until there is an answer. */
bool pg_conn_stop_again(struct pg_conn *conn)
{
    if (!conn->stop_by) return false;
    if (loop_now() < conn->stop_by) return true;
    if (++conn->stops < STOPS_MAX)
        pg_conn_stop(conn);
    else
        pg_conn_lost(conn, "a statement did not stop when it was told to");
    return conn->state == PG_READY;
}
