/* sqlite.h - what the files of the SQLite engine share: connections, threads, running a statement. Internal to store/.
 */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H
#include "store/backend.h"
#include <sqlite3.h>
#include <stdatomic.h>

/* Short statements run in place, on the loop thread: an insert takes 5 us, handing it to a thread and back 60 us. What
 * blocks runs elsewhere: COMMIT with its fsync and long statements of a transaction on the writer's thread, long
 * queries and checkpoints on the side threads. A connection is used by one thread at a time. */
enum {
    SIDE_THREADS = 2,
    CONN_WRITE = 0,
    CONN_READ,
    CONN_SIDE, /* numbers of connections: side thread t has CONN_SIDE + t */
    CONNECTIONS = CONN_SIDE + SIDE_THREADS,
    SLICE_US = 1000, /* how long a statement may hold the loop; one that ran longer goes to a thread next time */
    BATCH_MAX = 512, /* calls under one fsync */
    CHECKPOINT_PAGES = 4000, /* of write-ahead log, then a checkpoint starts */
    BUSY_MS = 10000          /* how long a call without a deadline waits for another process's lock */
};

struct connection {
    sqlite3 *db; /* NULL: not open */
    int number;
    /* what the progress handler looks at while a statement runs; clock_monotonic() or 0 */
    int64_t slice_end, deadline;
    bool may_yield;    /* at slice_end the fiber lets the loop go on; otherwise the statement is stopped */
    bool over;         /* it was stopped at slice_end */
    call *c;           /* who yields */
    atomic_bool *stop; /* NULL, or set by the loop when nobody waits for the result any more */
};

struct sqlite {
    bool memory, open;
    char *path;
    struct connection conn[CONNECTIONS];
    sqlite3_stmt *begin, *commit, *rollback, *savepoint, *release, *rollback_to;
    int wal_pages;       /* after the last commit; owned by whoever has the write connection */
    uv_idle_t turn;      /* wakes a fiber that yielded */
    unsigned reading;    /* queries on side threads */
    atomic_bool closing; /* they stop */
    uint64_t batches;
};
extern struct sqlite sqlite;

/* Connections (sqlite.c) */
int sqlite_connect(struct connection *k, bool read_only, char *why,
                   size_t why_size);               /* SQLITE_OK or what failed; blocks */
void sqlite_close_handle(call *c, uv_handle_t *h); /* [S] until libuv has let go of it */

/* Statements (sqlite_run.c) */
bool sqlite_note(struct statement *s); /* on the loop thread, before a statement goes to a connection */
void sqlite_forget(struct statement *s);
/* Runs s on k on the calling thread. SQLITE_BUSY of a query comes back as SL_EBUSY. Does not set last_us. */
sl_err sqlite_run(struct connection *k, call *c, struct statement *s, const sl_value *args, size_t n,
                  const sl_rows **out);
sl_err sqlite_code(int rc); /* an extended result code as the contract's */
int sqlite_on_progress(void *connection);
int64_t sqlite_deadline(const call *c); /* clock_monotonic() at the call's deadline, 0 = none */

/* Threads (sqlite_thread.c). A job is run on a thread, then `done` on the loop thread. */
struct job {
    void (*run)(struct job *j, int thread);
    void (*done)(struct job *j);
    struct job *next;
};
enum crew { CREW_WRITER, CREW_SIDE };
sl_err crews_start(void);
void crew_push(enum crew which, struct job *j);
void crews_stop(call *c); /* [S] waits for jobs under way and calls their `done` */

/* The write queue and its batches (sqlite_batch.c) and the backend's functions made of them */
sl_err sqlite_write(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out);
sl_err sqlite_lock(call *c, sl_str name);
sl_err sqlite_commit(call *c);
void sqlite_rollback(call *c);
unsigned batch_active(void);
unsigned batch_waiting(void);                    /* calls in the line of writers */
sl_err batch_enter(call *c, bool wait_for_ever); /* [S] become the one call that uses the write connection */
void batch_leave(call *c);
void batch_drain(call *c); /* [S] everything released is committed; nobody holds when it returns */

/* Logs (sqlite_log.c): what the calls of a batch append, on the thread that commits it. SL_OK or the failure, whose
 * sentence is the store_error of the call that it names. */
struct log_writer {
    call *c;                     /* of the last append */
    const struct appended *last; /* NULL: none yet */
    sl_value head[LOG_HEAD];
    size_t n;
};
bool log_note(const struct tx *t); /* on the loop thread, before its call joins the batch; false: out of memory */
sl_err log_append(struct log_writer *w, call *c);
sl_err log_end(struct log_writer *w);

/* Queries outside a transaction (sqlite_read.c) */
sl_err sqlite_read(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out);

/* Checkpoints (sqlite_checkpoint.c), on the loop thread */
void checkpoint_after_commit(void); /* starts one when the log has grown enough */
/* What is left for the writer's thread between two batches, or NULL; `done` calls checkpoint_rest_done. */
struct job *checkpoint_rest(void (*done)(struct job *j));
void checkpoint_rest_done(void);
void checkpoint_close(void);
#endif
