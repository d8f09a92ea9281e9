/* sqlite_run.c - runs one statement on one SQLite connection: prepare, bind, step, rows, error codes, time limits. */
#include "base/clock.h"
#include "loop/loop.h"
#include "store/sqlite.h"
#include <stdlib.h>

/* The engine's note about a statement: its prepared form on each connection, touched only by that connection's thread.
 */
struct note {
    sqlite3_stmt *prepared[CONNECTIONS];
    bool in_order[CONNECTIONS]; /* slot n is $n: its names need no look */
};

bool sqlite_note(struct statement *s)
{
    if (!s->engine) s->engine = calloc(1, sizeof(struct note));
    return s->engine != NULL;
}

void sqlite_forget(struct statement *s)
{
    free(s->engine); /* what it had prepared went with the connections, or after its one use */
    s->engine = NULL;
}

sl_err sqlite_code(int rc)
{
    switch (rc) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return SL_OK;
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
        return SL_ECONFLICT;
    case SQLITE_CONSTRAINT_FOREIGNKEY:
        return SL_ENOENT;
    default:
        break;
    }
    switch (rc & 0xff) {
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_SCHEMA: /* a statement that does not fit the schema, found out on the second try */
        return SL_EINVAL;
    case SQLITE_TOOBIG:
        return SL_ETOOBIG;
    case SQLITE_AUTH:
    case SQLITE_PERM:
        return SL_EDENIED;
    case SQLITE_INTERRUPT:
        return SL_ETIME;
    case SQLITE_MISUSE:
    case SQLITE_INTERNAL:
        return SL_EINTERNAL;
    default:
        return SL_EUNAVAIL; /* FULL, IOERR, CANTOPEN, READONLY, BUSY, LOCKED, NOMEM, CORRUPT, NOTADB, PROTOCOL, ... */
    }
}

int64_t sqlite_deadline(const call *c)
{
    uint32_t left = call_left(c);
    return left == UINT32_MAX ? 0 : clock_monotonic() + (int64_t)left * 1000000;
}

/* ---- time ---- */

static void on_turn(uv_idle_t *h)
{
    uv_idle_stop(h);
    call_wake(h->data, SL_OK);
}

/* Let the loop go round once. Only the holder of the write connection gets here, so one handle is enough. */
static void yield_turn(call *c)
{
    sqlite.turn.data = c;
    uv_idle_start(&sqlite.turn, on_turn);
    call_wait(c, NULL, NULL);
}

/* SQLite asks every 1000 steps of its machine, some 20 us. Nonzero stops the statement. */
int sqlite_on_progress(void *connection)
{
    struct connection *k = connection;
    if (k->stop && (atomic_load_explicit(k->stop, memory_order_relaxed) || atomic_load(&sqlite.closing))) return 1;
    if (!k->slice_end && !k->deadline) return 0;
    int64_t now = clock_monotonic();
    if (k->deadline && now >= k->deadline) return 1;
    if (!k->slice_end || now < k->slice_end) return 0;
    if (!k->may_yield) {
        k->over = true;
        return 1;
    }
    yield_turn(k->c);
    k->slice_end = clock_monotonic() + SLICE_US * 1000;
    return 0;
}

/* ---- a statement ---- */

static sl_err fail(struct connection *k, call *c)
{
    int rc = sqlite3_extended_errcode(k->db);
    sl_err e = sqlite_code(rc);
    if (k->over) return SL_EBUSY;
    if ((rc & 0xff) == SQLITE_BUSY) {
        store_fail(c, SL_EUNAVAIL, "another process has locked the database");
        return SL_EBUSY;
    }
    if (e == SL_ETIME) return store_fail(c, e, "the statement was stopped at the call's deadline");
    return store_fail(c, e, "%s", sqlite3_errmsg(k->db));
}

static bool in_order(sqlite3_stmt *st)
{
    for (int slot = sqlite3_bind_parameter_count(st); slot > 0; slot--) {
        char number[16];
        const char *name = sqlite3_bind_parameter_name(st, slot);
        (void)snprintf(number, sizeof number, "$%d", slot);
        if (!name || strcmp(name, number) != 0) return false;
    }
    return true;
}

static sl_err prepare(struct connection *k, call *c, struct statement *s, sqlite3_stmt **out)
{
    struct note *note = s->engine;
    if ((*out = note->prepared[k->number])) return SL_OK;
    const char *tail = NULL;
    unsigned flags = s->once ? 0 : SQLITE_PREPARE_PERSISTENT;
    if (sqlite3_prepare_v3(k->db, s->sql.p, (int)s->sql.n, flags, out, &tail)) return fail(k, c);
    if (!*out || tail != s->sql.p + s->sql.n) { /* SQLite sees an end where sql.c saw none */
        sqlite3_finalize(*out);
        return store_fail(c, SL_EINVAL, "the text holds several statements; one at a time");
    }
    if (s->reads && !sqlite3_stmt_readonly(*out)) {
        sqlite3_finalize(*out);
        return store_fail(c, SL_EINVAL, "the statement starts like a query but writes");
    }
    note->prepared[k->number] = *out;
    note->in_order[k->number] = in_order(*out);
    return SL_OK;
}

static int bind_one(sqlite3_stmt *st, int slot, const sl_value *v)
{
    switch (v->type) {
    case SL_INT:
        return sqlite3_bind_int64(st, slot, v->i);
    case SL_REAL:
        return sqlite3_bind_double(st, slot, v->d);
    case SL_TEXT:
        return v->s.p ? sqlite3_bind_text64(st, slot, v->s.p, v->s.n, SQLITE_STATIC, SQLITE_UTF8) : SQLITE_OK;
    case SL_BLOB:
        return v->s.p ? sqlite3_bind_blob64(st, slot, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC) : SQLITE_OK;
    default:
        return SQLITE_OK; /* unbound is NULL */
    }
}

/* To SQLite `$2` is a name, and names get slots in the order in which they appear: so the slot's name tells the value.
 */
static sl_err bind_by_name(struct connection *k, call *c, sqlite3_stmt *st, const sl_value *args, size_t n)
{
    int slots = sqlite3_bind_parameter_count(st);
    size_t highest = 0;
    for (int slot = 1; slot <= slots; slot++) {
        const char *name = sqlite3_bind_parameter_name(st, slot);
        size_t number = 0;
        const char *p = name ? name + 1 : "";
        if (!name || *name != '$') return store_fail(c, SL_EINVAL, "parameters are written $1, $2, ...");
        for (; *p >= '0' && *p <= '9' && number < 10000; p++)
            number = number * 10 + (size_t)(*p - '0');
        if (*p)
            return store_fail(c, SL_EINVAL, "parameter %.40s is not $ and a number; casts are written cast($1 as type)",
                              name);
        if (number < 1 || number > n)
            return store_fail(c, SL_EINVAL, "the statement has a parameter %.40s but %zu values came with it", name, n);
        if (bind_one(st, slot, &args[number - 1])) return fail(k, c);
        if (number > highest) highest = number;
    }
    if (highest < n)
        return store_fail(c, SL_EINVAL, "%zu values came, but the statement's last parameter is $%zu", n, highest);
    return SL_OK;
}

static sl_err bind_all(struct connection *k, call *c, const struct statement *s, sqlite3_stmt *st, const sl_value *args,
                       size_t n)
{
    const struct note *note = s->engine;
    if (!note->in_order[k->number] || (size_t)sqlite3_bind_parameter_count(st) != n)
        return bind_by_name(k, c, st, args, n);
    for (size_t i = 0; i < n; i++)
        if (bind_one(st, (int)i + 1, &args[i])) return fail(k, c);
    return SL_OK;
}

static void cell(struct rows_builder *b, sqlite3_stmt *st, int col, sl_value *v)
{
    switch (sqlite3_column_type(st, col)) {
    case SQLITE_INTEGER:
        v->type = SL_INT;
        v->i = sqlite3_column_int64(st, col);
        break;
    case SQLITE_FLOAT:
        v->type = SL_REAL;
        v->d = sqlite3_column_double(st, col);
        break;
    case SQLITE_TEXT:
        v->type = SL_TEXT;
        v->s.p = (const char *)sqlite3_column_text(st, col);
        v->s = rows_bytes(b, v->s.p, (size_t)sqlite3_column_bytes(st, col));
        break;
    case SQLITE_BLOB:
        v->type = SL_BLOB;
        v->s.p = sqlite3_column_blob(st, col);
        v->s = rows_bytes(b, v->s.p, (size_t)sqlite3_column_bytes(st, col));
        break;
    default:
        break; /* zeroed is SL_NULL */
    }
}

static sl_err step(struct connection *k, call *c, sqlite3_stmt *st, const sl_rows **out)
{
    struct rows_builder b;
    int64_t before = sqlite3_total_changes64(k->db);
    int rc = sqlite3_step(st); /* first: a changed schema may change the columns */
    int cols = sqlite3_column_count(st);
    rows_start(&b, c, (uint32_t)cols);
    for (int i = 0; i < cols; i++)
        rows_name(&b, (uint32_t)i, sl_cstr(sqlite3_column_name(st, i)));
    for (; rc == SQLITE_ROW; rc = sqlite3_step(st)) {
        sl_value *cells = rows_next(&b);
        for (int i = 0; cells && i < cols; i++)
            cell(&b, st, i, &cells[i]);
        if (b.failed) return b.failed;
    }
    if (rc != SQLITE_DONE) return fail(k, c);
    /* The change counter keeps its value over statements that change no rows. */
    bool changed = !sqlite3_stmt_readonly(st) && sqlite3_total_changes64(k->db) != before;
    *out = rows_end(&b, changed ? sqlite3_changes64(k->db) : 0);
    return SL_OK;
}

static sl_err run(struct connection *k, call *c, struct statement *s, const sl_value *args, size_t n,
                  const sl_rows **out)
{
    sqlite3_stmt *st;
    sl_err e = prepare(k, c, s, &st);
    if (e) return e;
    e = bind_all(k, c, s, st, args, n);
    if (!e) e = step(k, c, st, out);
    sqlite3_reset(st); /* at once: an open statement would keep its old view of the database */
    sqlite3_clear_bindings(st);
    if (s->once) { /* here, on the connection's own thread */
        sqlite3_finalize(st);
        ((struct note *)s->engine)->prepared[k->number] = NULL;
    }
    return e;
}

sl_err sqlite_run(struct connection *k, call *c, struct statement *s, const sl_value *args, size_t n,
                  const sl_rows **out)
{
    k->over = false;
    sl_err e = run(k, c, s, args, n, out);
    k->slice_end = k->deadline = 0; /* they are this statement's: a COMMIT on the writer's thread must not meet them */
    return e;
}
