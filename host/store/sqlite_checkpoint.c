/* sqlite_checkpoint.c - moves the write-ahead log into the database file without holding up the loop or, for long, the
 * writer. */
#include "base/log.h"
#include "store/sqlite.h"

/* Most of the log is copied on a side thread over a connection of its own, beside readers and the writer. Under steady
 * load that never reaches the log's end, and the log would grow for ever; so the small rest is copied by the writer's
 * thread between two batches. A query that reads an old state can still hold it up; then the next one goes on. */
static struct {
    struct job side, rest;
    struct connection conn;
    bool running, rest_due;
    int next_pages, rc, log, copied;
    char why[200];
} checkpoint;

static void copy(struct connection *k)
{
    checkpoint.log = checkpoint.copied = 0;
    checkpoint.rc = sqlite3_wal_checkpoint_v2(k->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &checkpoint.log,
                                              &checkpoint.copied);
    if (checkpoint.rc) snprintf(checkpoint.why, sizeof checkpoint.why, "%s", sqlite3_errmsg(k->db));
}

static void side_run(struct job *j, int thread)
{
    (void)j;
    (void)thread;
    checkpoint.rc = checkpoint.conn.db ? SQLITE_OK
                                       : sqlite_connect(&checkpoint.conn, false, checkpoint.why, sizeof checkpoint.why);
    if (!checkpoint.rc) copy(&checkpoint.conn);
}

static void rest_run(struct job *j, int thread)
{
    (void)j;
    (void)thread;
    copy(&sqlite.conn[CONN_WRITE]);
}

static void finished(void)
{
    checkpoint.running = false;
    checkpoint.next_pages = checkpoint.copied < checkpoint.log ? checkpoint.log + CHECKPOINT_PAGES : CHECKPOINT_PAGES;
    if (checkpoint.rc && checkpoint.rc != SQLITE_BUSY && checkpoint.rc != SQLITE_LOCKED)
        log_error("a checkpoint of the SQLite database failed; the -wal file grows until one succeeds",
                  LOG_C("error", checkpoint.why));
}

static void side_done(struct job *j)
{
    (void)j;
    checkpoint.rest_due = !checkpoint.rc;
    if (checkpoint.rc) finished();
}

void checkpoint_rest_done(void) { finished(); }

void checkpoint_after_commit(void)
{
    if (sqlite.wal_pages < CHECKPOINT_PAGES) checkpoint.next_pages = CHECKPOINT_PAGES; /* the log has started anew */
    if (checkpoint.running || sqlite.wal_pages < checkpoint.next_pages) return;
    checkpoint.running = true;
    checkpoint.side = (struct job){ .run = side_run, .done = side_done };
    crew_push(CREW_SIDE, &checkpoint.side);
}

struct job *checkpoint_rest(void (*done)(struct job *j))
{
    if (!checkpoint.rest_due) return NULL;
    checkpoint.rest_due = false;
    checkpoint.rest = (struct job){ .run = rest_run, .done = done };
    return &checkpoint.rest;
}

void checkpoint_close(void)
{
    sqlite3_close(checkpoint.conn.db);
    checkpoint.conn.db = NULL;
    checkpoint.running = checkpoint.rest_due = false;
    checkpoint.next_pages = CHECKPOINT_PAGES;
}
