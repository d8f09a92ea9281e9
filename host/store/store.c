/* store.c - the one store of the process: picks the engine by DSN, and all that transactions have in common on every
 * engine. */
#include "store/statement.h"
#include "observe/span.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ARGS_MAX = 1000,
    DEFERRED_MAX = 10000,
    ROWS_DEFAULT = 10000,
    BYTES_DEFAULT = 16 << 20,
    CONNECT_DEFAULT_MS = 5000
};

static struct {
    const struct backend *backend; /* NULL until opened */
    enum store_engine engine;
    struct store_config cfg;
    bool up;
    char *dsn;
    uint64_t queries, errors, commits, rollbacks;
} store;

const struct store_config *store_cfg(void) { return &store.cfg; }
enum store_engine store_engine(void) { return store.engine; }
bool store_durable(void) { return store.backend && store.engine != STORE_MEMORY; }
bool store_in_transaction(const call *c) { return c->tx && c->tx->open; }
bool store_pending(const call *c) { return c->tx && (c->tx->open || c->tx->deferred || c->tx->appended); }
bool store_one_writer(void) { return store.engine != STORE_POSTGRES; }
bool store_may_retry(const call *c) { return c->tx && c->tx->retry; }
const char *store_error(const call *c) { return c->tx ? c->tx->error : ""; }

const char *store_engine_name(void)
{
    static const char *const names[] = { "memory", "sqlite", "postgres" };
    return names[store.engine];
}

/* The call's note of its transaction; it also keeps the last error, so it stays attached when the transaction has
 * ended. */
static struct tx *note_of(call *c)
{
    if (!c->tx) {
        c->tx = arena_alloc(c->arena, sizeof *c->tx);
        c->tx->deferred_end = &c->tx->deferred;
        c->tx->after_end = &c->tx->after;
        c->tx->appended_end = &c->tx->appended;
    }
    return c->tx;
}

sl_err store_fail(call *c, sl_err e, const char *format, ...)
{
    struct tx *t = note_of(c);
    va_list ap;
    va_start(ap, format);
    vsnprintf(t->error, sizeof t->error, format, ap);
    va_end(ap);
    return e;
}

/* ---- open and close ---- */

static enum store_engine engine_of(sl_str dsn, char *why, size_t why_size)
{
    if (!dsn.n || sl_is(dsn, "sqlite::memory:")) return STORE_MEMORY;
    if (str_starts(dsn, "sqlite:") && dsn.n > strlen("sqlite:")) return STORE_SQLITE;
    if (str_starts(dsn, "postgres://") || str_starts(dsn, "postgresql://")) return STORE_POSTGRES;
    /* Only the scheme is named: what follows may hold a password. */
    size_t scheme = 0;
    while (scheme < dsn.n && scheme < 20 && dsn.p[scheme] != ':')
        scheme++;
    snprintf(why, why_size, "database.dsn: \"%.*s...\" is neither empty (memory) nor sqlite:PATH nor postgres://...",
             (int)scheme, dsn.p);
    return (enum store_engine) - 1;
}

static void forget(void)
{
    store.up = false;
    store.backend = NULL;
    free(store.dsn);
    store.dsn = NULL;
}

sl_err store_open(call *c, const struct store_config *cfg, char *why, size_t why_size)
{
    if (why_size) why[0] = 0;
    if (store.backend) {
        snprintf(why, why_size, "the store is open already");
        return SL_ESTATE;
    }
    enum store_engine engine = engine_of(cfg->dsn, why, why_size);
    if ((int)engine < 0) return SL_EINVAL;
    store.cfg = *cfg;
    store.dsn = strndup(cfg->dsn.n ? cfg->dsn.p : "", cfg->dsn.n);
    if (!store.dsn) abort();
    store.cfg.dsn = sl_cstr(store.dsn);
    if (!store.cfg.max_rows) store.cfg.max_rows = ROWS_DEFAULT;
    if (!store.cfg.max_bytes) store.cfg.max_bytes = BYTES_DEFAULT;
    if (!store.cfg.connect_ms) store.cfg.connect_ms = CONNECT_DEFAULT_MS;
    store.engine = engine;
    store.backend = engine == STORE_POSTGRES ? &postgres_backend : &sqlite_backend;
    store.queries = store.errors = store.commits = store.rollbacks = 0;
    statements_engine(engine);
    sl_err e = store.backend->open(c, &store.cfg, why, why_size);
    if (e)
        forget();
    else
        store.up = true;
    return e;
}

void store_close(call *c)
{
    if (!store.backend) return;
    store.up = false;
    store.backend->close(c);
    statements_free(store.backend->forget);
    forget();
}

struct store_stats store_stats(void)
{
    struct store_stats s = { 0 };
    if (store.backend) s = store.backend->stats();
    s.queries = store.queries;
    s.errors = store.errors;
    s.commits = store.commits;
    s.rollbacks = store.rollbacks;
    s.up = s.up && store.up;
    return s;
}

/* ---- statements ---- */

/* What one engine would take and another refuse is refused here, so that a plugin behaves alike on all. */
static sl_err check_args(call *c, const sl_value *args, size_t n)
{
    if (n > ARGS_MAX) return store_fail(c, SL_EINVAL, "%zu parameters; at most %d", n, ARGS_MAX);
    for (size_t i = 0; i < n; i++) {
        const sl_value *v = &args[i];
        if (v->type > SL_BLOB) return store_fail(c, SL_EINVAL, "parameter $%zu has no known type", i + 1);
        if (v->type == SL_REAL && isnan(v->d))
            return store_fail(c, SL_EINVAL, "parameter $%zu is not a number (NaN)", i + 1);
        if (v->type != SL_TEXT && v->type != SL_BLOB) continue;
        if (v->s.n > store.cfg.max_bytes)
            return store_fail(c, SL_ETOOBIG, "parameter $%zu is larger than %zu bytes (database.max_result_bytes)",
                              i + 1, store.cfg.max_bytes);
        if (v->type == SL_TEXT && v->s.n && (memchr(v->s.p, 0, v->s.n) || !str_is_utf8(v->s)))
            return store_fail(c, SL_EINVAL, "parameter $%zu is not UTF-8 text without NUL", i + 1);
    }
    return SL_OK;
}

static sl_err usable(call *c)
{
    if (!store.up) return store_fail(c, SL_EUNAVAIL, "the store is closed");
    if (c->tx && c->tx->open && c->tx->broken) return SL_ESTATE; /* store_error keeps the sentence of what broke it */
    return SL_OK;
}

/* A failure inside a transaction leaves only the way back, on every engine. */
static sl_err finish(call *c, sl_err e)
{
    if (!e) return SL_OK;
    store.errors++;
    if (c->tx && c->tx->open) c->tx->broken = true;
    return e;
}

static sl_err prepare(call *c, sl_str sql, const sl_value *args, size_t n, struct statement **s)
{
    sl_err e = usable(c);
    if (!e) e = statement_get(c, sql, s);
    if (!e) e = check_args(c, args, n);
    return e;
}

static void done_with(struct statement *s)
{
    if (s->once && s->engine && store.backend) store.backend->forget(s);
}

static sl_err run(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out)
{
    if (s->reads && !store_in_transaction(c)) return store.backend->read(c, s, args, n, out);
    struct tx *t = note_of(c);
    if (!t->open) t->retry = false;
    return store.backend->write(c, s, args, n, out);
}

static sl_err query(call *c, const sl_rows **out, sl_str sql, const sl_value *args, size_t n)
{
    const sl_rows *unused;
    struct statement *s;
    if (!out) out = &unused;
    *out = NULL;
    store.queries++;
    sl_err e = prepare(c, sql, args, n, &s);
    if (!e) {
        e = run(c, s, args, n, out);
        done_with(s);
    }
    if (e) *out = NULL;
    return finish(c, e);
}

/* The statement's text, without its parameters' values. The name is its first word. */
static void end_span(struct span *s, call *c, sl_str sql, sl_err e)
{
    static const char *const systems[] = { "sqlite", "sqlite", "postgresql" };
    size_t n = 0;
    while (n < sql.n && n < 20 && sql.p[n] > ' ')
        n++;
    const struct span_attribute attributes[] = { SPAN_C("db.system.name", systems[store.engine]),
                                                 SPAN_S("db.query.text", sql) };
    span_close(s, SPAN_CLIENT, str_sub(sql, 0, n), e ? sl_cstr(store_error(c)) : sl_lit(NULL, 0), attributes, 2);
}

sl_err store_query(call *c, const sl_rows **out, sl_str sql, const sl_value *args, size_t n)
{
    struct span span;
    span_open(&span, c);
    sl_err e = query(c, out, sql, args, n);
    if (span_recorded(&span)) end_span(&span, c, sql, e);
    return e;
}

static sl_err lock(call *c, sl_str name)
{
    sl_err e = usable(c);
    if (!e && (!name.n || name.n > 200)) e = store_fail(c, SL_EINVAL, "a lock's name has 1 to 200 bytes");
    if (e) return finish(c, e);
    struct tx *t = note_of(c);
    if (!t->open) t->retry = false;
    return finish(c, store.backend->lock(c, name));
}

sl_err store_lock(call *c, sl_str name)
{
    struct span span;
    span_open(&span, c);
    sl_err e = lock(c, name);
    if (span_recorded(&span)) end_span(&span, c, SL("lock"), e);
    return e;
}

static sl_value *copy_args(arena *a, const sl_value *args, size_t n, size_t more)
{
    sl_value *copy = arena_alloc(a, (n + more) * sizeof *copy);
    if (!n) return copy;
    memcpy(copy, args, n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        if (copy[i].type == SL_TEXT || copy[i].type == SL_BLOB) copy[i].s = arena_copy(a, copy[i].s);
    return copy;
}

static sl_err defer(call *c, sl_str sql, const sl_value *args, size_t n, int64_t changes, bool row)
{
    struct statement *s;
    struct tx *t = note_of(c);
    sl_err e = prepare(c, sql, args, n, &s);
    if (!e && s->reads) e = store_fail(c, SL_EINVAL, "a query cannot be deferred: its rows would go nowhere");
    if (!e && t->n_deferred >= DEFERRED_MAX)
        e = store_fail(c, SL_ETOOBIG, "more than %d events, jobs and other deferred writes in one transaction",
                       DEFERRED_MAX);
    if (e) return finish(c, e);
    struct deferred *d = arena_alloc(c->arena, sizeof *d);
    *d = (struct deferred){
        .statement = s, .args = copy_args(c->arena, args, n, 0), .n = n, .changes = changes, .row = row
    };
    *t->deferred_end = d;
    t->deferred_end = &d->next;
    t->n_deferred++;
    return SL_OK;
}

sl_err store_defer(call *c, sl_str sql, const sl_value *args, size_t n, int64_t changes)
{
    return defer(c, sql, args, n, changes, false);
}

sl_err store_defer_row(call *c, sl_str sql, const sl_value *args, size_t n, int64_t changes)
{
    return defer(c, sql, args, n, changes, true);
}

sl_err store_append(call *c, const struct store_log *log, const sl_value *record, size_t n)
{
    struct tx *t = note_of(c);
    struct appended *a = arena_alloc(c->arena, sizeof *a);
    *a = (struct appended){ .log = log, .n = n };
    sl_err e = store_one_writer() ? SL_OK : store_fail(c, SL_ESTATE, "this engine has many writers");
    if (!e) e = prepare(c, sl_cstr(log->insert), record, n, &a->insert);
    if (!e) e = statement_get(c, sl_cstr(log->head), &a->head);
    if (!e) e = statement_get(c, sl_cstr(log->advance), &a->advance);
    if (e) return finish(c, e);
    a->values = copy_args(c->arena, record, n, LOG_HEAD);
    *t->appended_end = a;
    t->appended_end = &a->next;
    return SL_OK;
}

void store_after_commit(call *c, void (*fn)(void *arg), void *arg)
{
    struct tx *t = note_of(c);
    struct after *a = arena_alloc(c->arena, sizeof *a);
    *a = (struct after){ .fn = fn, .arg = arg };
    *t->after_end = a;
    t->after_end = &a->next;
}

/* ---- the end of a transaction ---- */

static struct after *end_transaction(struct tx *t)
{
    struct after *after = t->after;
    for (struct deferred *d = t->deferred; d; d = d->next)
        done_with(d->statement);
    for (struct appended *a = t->appended; a; a = a->next) {
        done_with(a->head);
        done_with(a->insert);
        done_with(a->advance);
    }
    t->open = t->broken = false;
    t->deferred = NULL;
    t->deferred_end = &t->deferred;
    t->n_deferred = 0;
    t->appended = NULL;
    t->appended_end = &t->appended;
    t->after = NULL;
    t->after_end = &t->after;
    t->engine = NULL;
    return after;
}

sl_err store_commit(call *c)
{
    struct tx *t = c->tx;
    if (!t) return SL_OK;
    if (t->broken) { /* the handler went on after a failure: what it wrote would be incomplete */
        char why[sizeof t->error];
        memcpy(why, t->error, sizeof why);
        store_rollback(c);
        return store_fail(c, SL_ESTATE, "rolled back: an earlier statement failed: %.180s", why);
    }
    sl_err e = SL_OK;
    if (store_pending(c)) {
        struct span span;
        if (!t->open) t->retry = false;
        span_open(&span, c);
        e = store.up ? store.backend->commit(c) : store_fail(c, SL_EUNAVAIL, "the store is closed");
        if (span_recorded(&span)) end_span(&span, c, SL("commit"), e);
        if (e && t->open && store.backend) store.backend->rollback(c);
        if (e)
            store.errors++, store.rollbacks++;
        else
            store.commits++;
    }
    struct after *after = end_transaction(t);
    if (e) return e;
    t->retry = false;
    for (; after; after = after->next)
        after->fn(after->arg);
    return SL_OK;
}

void store_rollback(call *c)
{
    struct tx *t = c->tx;
    if (!t) return;
    if (t->open) {
        store.rollbacks++;
        if (store.backend) store.backend->rollback(c);
    }
    end_transaction(t);
}

sl_err store_ping(call *c) { return store_query(c, NULL, SL("select 1"), NULL, 0); }
