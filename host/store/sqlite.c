/* sqlite.c - the SQLite engine: opening and closing a database (memory or file), its settings, and the backend table.
 */
#include "base/clock.h"
#include "base/log.h"
#include "loop/loop.h"
#include "store/sqlite.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_TRIES = 100, OPEN_PAUSE_US = 20000 };

struct sqlite sqlite;

/* ---- one connection ---- */

static void sql_now(sqlite3_context *ctx, int n, sqlite3_value **v)
{
    (void)n;
    (void)v;
    sqlite3_result_int64(ctx, clock_now());
}

/* SQLite's JSON functions parse recursively, deeper than a fiber's stack; they are no part of the portable dialect
 * anyway. */
static int authorize(void *arg, int action, const char *a, const char *name, const char *db, const char *trigger)
{
    (void)arg;
    (void)a;
    (void)db;
    (void)trigger;
    if (action != SQLITE_FUNCTION || !name) return SQLITE_OK;
    bool denied = strncasecmp(name, "json", 4) == 0 || name[0] == '-' || strcasecmp(name, "load_extension") == 0;
    return denied ? SQLITE_DENY : SQLITE_OK;
}

static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)arg;
    (void)db;
    (void)name;
    sqlite.wal_pages = pages;
    return SQLITE_OK;
}

static void limit(sqlite3 *db)
{
    static const struct {
        int what, value;
    } limits[] = {
        { SQLITE_LIMIT_LENGTH, 64 << 20 },    { SQLITE_LIMIT_EXPR_DEPTH, 64 },
        { SQLITE_LIMIT_COMPOUND_SELECT, 32 }, { SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256 },
        { SQLITE_LIMIT_ATTACHED, 0 },         { SQLITE_LIMIT_TRIGGER_DEPTH, 20 },
        { SQLITE_LIMIT_WORKER_THREADS, 0 },   { SQLITE_LIMIT_COLUMN, 500 },
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        sqlite3_limit(db, limits[i].what, limits[i].value);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL); /* "x" is a name, never a string, as in PostgreSQL */
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
}

/* journal_mode answers with the mode that it got, which may not be the one asked for. */
static int use_wal(sqlite3 *db, char *why, size_t why_size)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, "pragma journal_mode=wal", -1, &st, NULL);
    if (!rc) rc = sqlite3_step(st);
    bool wal = rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(st, 0), "wal") == 0;
    if (rc != SQLITE_ROW)
        snprintf(why, why_size, "%s: %s", sqlite.path, sqlite3_errmsg(db));
    else if (!wal)
        snprintf(why, why_size, "%s: this file system does not support a write-ahead log", sqlite.path);
    sqlite3_finalize(st);
    return wal ? SQLITE_OK : rc == SQLITE_ROW ? SQLITE_CANTOPEN : rc;
}

/* 4000 ms: what an opening connection or a thread may wait for another process; the loop's own connections never wait.
 */
static const char common_settings[] =
    "pragma foreign_keys=on; pragma case_sensitive_like=on; pragma cell_size_check=on; "
    "pragma cache_size=-8192; pragma busy_timeout=4000;";
static const char write_settings[] =
    "pragma synchronous=full; pragma journal_size_limit=67108864; pragma temp_store=memory;";

int sqlite_connect(struct connection *k, bool read_only, char *why, size_t why_size)
{
    int flags = SQLITE_OPEN_NOMUTEX | (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    int rc = sqlite3_open_v2(sqlite.memory ? ":memory:" : sqlite.path, &k->db, flags, NULL);
    if (!rc) {
        sqlite3_extended_result_codes(k->db, 1);
        limit(k->db);
        rc = sqlite3_exec(k->db, common_settings, NULL, NULL, NULL);
    }
    if (!rc && !read_only) rc = sqlite3_exec(k->db, write_settings, NULL, NULL, NULL);
    if (!rc)
        rc = sqlite3_create_function_v2(k->db, "sl_now", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, NULL, sql_now, NULL, NULL,
                                        NULL);
    if (rc) {
        snprintf(why, why_size, "%s: %s", sqlite.memory ? "memory" : sqlite.path,
                 k->db ? sqlite3_errmsg(k->db) : "out of memory");
    } else if (!read_only && !sqlite.memory) {
        rc = use_wal(k->db, why, why_size);
    }
    if (rc) {
        sqlite3_close(k->db);
        k->db = NULL;
        return rc;
    }
    sqlite3_set_authorizer(k->db, authorize, NULL);
    sqlite3_progress_handler(k->db, 1000, sqlite_on_progress, k);
    return SQLITE_OK;
}

/* ---- open and close ---- */

/* The file is made before SQLite does, because only its owner may read it; -wal and -shm then get the same mode. */
static sl_err make_file(char *why, size_t why_size)
{
    char *slash = strrchr(sqlite.path, '/');
    struct stat st;
    *slash = 0;
    bool directory = stat(*sqlite.path ? sqlite.path : "/", &st) == 0 && S_ISDIR(st.st_mode);
    *slash = '/';
    if (!directory) {
        snprintf(why, why_size, "the directory of the database %s does not exist", sqlite.path);
        return SL_EUNAVAIL;
    }
    int fd = open(sqlite.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(why, why_size, "%s: %s", sqlite.path, strerror(errno));
        return SL_EUNAVAIL;
    }
    close(fd);
    return SL_OK;
}

static int prepare_own(sqlite3 *db)
{
    struct {
        sqlite3_stmt **st;
        const char *sql;
    } own[] = {
        { &sqlite.begin, "begin immediate" }, { &sqlite.commit, "commit" },
        { &sqlite.rollback, "rollback" },     { &sqlite.savepoint, "savepoint c" },
        { &sqlite.release, "release c" },     { &sqlite.rollback_to, "rollback to c" },
    };
    int rc = SQLITE_OK;
    for (size_t i = 0; !rc && i < sizeof own / sizeof *own; i++)
        rc = sqlite3_prepare_v3(db, own[i].sql, -1, SQLITE_PREPARE_PERSISTENT, own[i].st, NULL);
    return rc;
}

struct opening {
    sl_err e;
    char *why;
    size_t why_size;
};

static void open_connections(void *arg)
{
    struct opening *o = arg;
    struct connection *write = &sqlite.conn[CONN_WRITE], *read = &sqlite.conn[CONN_READ];
    if (!sqlite.memory && (o->e = make_file(o->why, o->why_size))) return;
    o->e = SL_EUNAVAIL;
    /* Two processes that make the same database meet here; SQLite does not wait by itself while the log is set up. */
    int rc, tries = 0;
    while ((rc = sqlite_connect(write, false, o->why, o->why_size) & 0xff) == SQLITE_BUSY && ++tries < OPEN_TRIES)
        usleep(OPEN_PAUSE_US);
    if (rc) return;
    if (prepare_own(write->db)) {
        snprintf(o->why, o->why_size, "%s", sqlite3_errmsg(write->db));
        return;
    }
    if (!sqlite.memory) {
        if (sqlite_connect(read, true, o->why, o->why_size)) return;
        sqlite3_wal_hook(write->db, on_wal, NULL);
        sqlite3_busy_timeout(write->db, 0);
        sqlite3_busy_timeout(read->db, 0);
    }
    o->e = SL_OK;
}

static void close_connections(void *arg)
{
    (void)arg;
    checkpoint_close();
    for (int i = CONNECTIONS - 1; i >= 0; i--) { /* the write connection last: it copies what is left of the log */
        sqlite3 *db = sqlite.conn[i].db;
        for (sqlite3_stmt *st; db && (st = sqlite3_next_stmt(db, NULL));)
            sqlite3_finalize(st);
        sqlite3_close(db);
        sqlite.conn[i].db = NULL;
    }
}

static void on_closed(uv_handle_t *h) { call_wake(h->data, SL_OK); }

void sqlite_close_handle(call *c, uv_handle_t *h)
{
    h->data = c;
    uv_close(h, on_closed);
    call_wait(c, NULL, NULL);
}

static void stop(call *c)
{
    atomic_store(&sqlite.closing, true);
    if (!sqlite.memory) crews_stop(c);
    sqlite_close_handle(c, (uv_handle_t *)&sqlite.turn);
    call_offload(c, close_connections, NULL);
    free(sqlite.path);
    sqlite.path = NULL;
}

static sl_err sqlite_open(call *c, const struct store_config *cfg, char *why, size_t why_size)
{
    static bool configured; /* counting its memory costs SQLite a lock at each allocation, 7 % of bench_store's time */
    if (!configured) configured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK;
    memset(&sqlite, 0, sizeof sqlite);
    for (int i = 0; i < CONNECTIONS; i++)
        sqlite.conn[i].number = i;
    sqlite.memory = store_engine() == STORE_MEMORY;
    if (!sqlite.memory) {
        sl_str path = str_sub(cfg->dsn, strlen("sqlite:"), SIZE_MAX);
        /* "./" keeps SQLite from reading a relative path as one of its special names. */
        if (asprintf(&sqlite.path, "%s%.*s", path.p[0] == '/' ? "" : "./", STR_ARG(path)) < 0) abort();
    }
    uv_idle_init(loop_uv(), &sqlite.turn);
    struct opening o = { .why = why, .why_size = why_size };
    sl_err e = sqlite.memory ? SL_OK : crews_start();
    if (e)
        snprintf(why, why_size, "no threads for the SQLite engine");
    else if (sqlite.memory)
        open_connections(&o);
    else
        e = call_offload(c, open_connections, &o);
    if (!e) e = o.e;
    if (e)
        stop(c);
    else
        sqlite.open = true;
    return e;
}

static void sqlite_close(call *c)
{
    batch_drain(c);
    sqlite.open = false;
    batch_leave(c);
    stop(c);
}

static struct store_stats sqlite_stats(void)
{
    struct store_stats s = { .up = sqlite.open, .batches = sqlite.batches };
    for (int i = 0; i < CONNECTIONS; i++)
        s.open += sqlite.conn[i].db != NULL;
    s.active = (int)(batch_active() + sqlite.reading);
    s.max_open = sqlite.memory ? 1 : CONNECTIONS;
    s.waiting = batch_waiting();
    return s;
}

const struct backend sqlite_backend = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .read = sqlite_read,
    .write = sqlite_write,
    .lock = sqlite_lock,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .stats = sqlite_stats,
    .forget = sqlite_forget,
};
