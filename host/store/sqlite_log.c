/* sqlite_log.c - appends the records of a batch's calls to their log: once each, in the order of their commits, right
 * before the batch's COMMIT and outside the calls' savepoints. */
#include "store/sqlite.h"

bool log_note(const struct tx *t)
{
    for (const struct appended *a = t->appended; a; a = a->next)
        if (!sqlite_note(a->head) || !sqlite_note(a->insert) || !sqlite_note(a->advance)) return false;
    return true;
}

static sl_err run(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **rows)
{
    return sqlite_run(&sqlite.conn[CONN_WRITE], c, s, args, n, rows);
}

static sl_err read_head(struct log_writer *w, const struct appended *a)
{
    const sl_rows *rows = NULL;
    sl_err e = run(w->c, a->head, NULL, 0, &rows);
    if (e) return e;
    if (rows->rows != 1 || rows->cols > LOG_HEAD)
        return store_fail(w->c, SL_EINTERNAL, "the log has no head: its table was changed");
    w->n = rows->cols;
    memcpy(w->head, rows->cells, w->n * sizeof *w->head);
    return SL_OK;
}

static sl_err append(struct log_writer *w, const struct appended *a)
{
    const sl_rows *rows;
    sl_err e = w->last ? SL_OK : read_head(w, a);
    if (!e && a->log->link(a->values, w->head)) e = store_fail(w->c, SL_EINTERNAL, "the log's head was changed");
    if (e) return e;
    memcpy(a->values + a->n, w->head, w->n * sizeof *w->head);
    w->last = a;
    return run(w->c, a->insert, a->values, a->n + w->n, &rows);
}

sl_err log_append(struct log_writer *w, call *c)
{
    sl_err e = SL_OK;
    for (const struct appended *a = c->tx->appended; a && !e; a = a->next) {
        w->c = c;
        e = !w->last || w->last->log == a->log ? append(w, a) : store_fail(c, SL_EINTERNAL, "one log at a time");
    }
    return e;
}

sl_err log_end(struct log_writer *w)
{
    const sl_rows *rows = NULL;
    if (!w->last) return SL_OK;
    sl_err e = run(w->c, w->last->advance, w->head, w->n, &rows);
    if (!e && rows->changed != 1) e = store_fail(w->c, SL_EINTERNAL, "the log has no head: its table was changed");
    return e;
}
