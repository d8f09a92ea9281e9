/* migrate.c - brings a module's tables up to date: its numbered SQL files, once each, in order, under a lock, all or
 * nothing. */
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "store/migrate_files.h"
#include "store/sql.h"
#include "store/store.h"
#include <stdarg.h>
#include <stdio.h>

struct run {
    call *c;
    const struct migration_set *set;
    struct migration_files files;
    size_t applied; /* how many of the files the store has already */
    char *why;
    size_t why_size;
};

static sl_err fail(struct run *r, sl_err e, const char *format, ...) __attribute__((format(printf, 3, 4)));
static sl_err fail(struct run *r, sl_err e, const char *format, ...)
{
    int n = snprintf(r->why, r->why_size, "migrations of %s: ", r->set->module);
    va_list ap;
    va_start(ap, format);
    if (n > 0 && (size_t)n < r->why_size) vsnprintf(r->why + n, r->why_size - (size_t)n, format, ap);
    va_end(ap);
    return e;
}

static sl_err store_failed(struct run *r, sl_err e) { return fail(r, e, "%s", store_error(r->c)); }

static sl_err table_exists(struct run *r, bool *exists)
{
    const sl_rows *rows;
    sl_str sql =
        store_engine() == STORE_POSTGRES
            ? SL("select 1 from information_schema.tables where table_name = 'sl_migrations' and table_schema = "
                 "current_schema()")
            : SL("select 1 from sqlite_schema where type = 'table' and name = 'sl_migrations'");
    sl_err e = store_query(r->c, &rows, sql, NULL, 0);
    *exists = !e && rows->rows > 0;
    return e ? store_failed(r, e) : SL_OK;
}

/* What is recorded must be exactly the first files, unchanged. */
static sl_err compare(struct run *r)
{
    const sl_rows *rows;
    sl_value module = sl_ctext(r->set->module);
    sl_err e = store_query(r->c, &rows,
                           SL("select number, name, checksum from sl_migrations where module = $1 order by number"),
                           &module, 1);
    if (e) return store_failed(r, e);
    for (uint32_t i = 0; i < rows->rows; i++) {
        int64_t number = sl_cell_int(rows, i, "number");
        sl_str name = sl_cell_text(rows, i, "name");
        const struct migration_file *f = i < r->files.n ? &r->files.file[i] : NULL;
        if (!f || f->number != number)
            return fail(r, SL_ECONFLICT, "%.*s was applied but the file is missing in %s", STR_ARG(name),
                        r->set->dir ? r->set->dir : "this build");
        if (!sl_same(sl_cell_text(rows, i, "checksum"), sl_cstr(f->checksum)))
            return fail(r, SL_ECONFLICT, "%s was changed after it was applied; restore it and add a new file instead",
                        f->name);
    }
    r->applied = rows->rows;
    return SL_OK;
}

static sl_err look(struct run *r)
{
    bool exists;
    r->applied = 0;
    sl_err e = table_exists(r, &exists);
    return e || !exists ? e : compare(r);
}

static sl_err apply_one(struct run *r, const struct migration_file *f)
{
    struct sql_script script = { .text = f->text, .line = 1 };
    sl_str statement;
    sl_err e = SL_OK;
    while (!e && sql_next(&script, &statement)) {
        e = store_query(r->c, NULL, statement, NULL, 0);
        if (e) return fail(r, e, "%s:%zu: %s", f->path, script.line, store_error(r->c));
    }
    if (script.why) return fail(r, SL_EINVAL, "%s:%zu: malformed SQL: %s", f->path, script.line, script.why);
    sl_value v[] = { sl_ctext(r->set->module), sl_int(f->number), sl_ctext(f->name), sl_ctext(f->checksum),
                     sl_int(clock_now()) };
    e = store_query(
        r->c, NULL,
        SL("insert into sl_migrations (module, number, name, checksum, applied_at) values ($1, $2, $3, $4, $5)"), v, 5);
    return e ? store_failed(r, e) : SL_OK;
}

/* In one transaction; the lock makes a second process wait here and then find nothing left to do. */
static sl_err apply_pending(struct run *r)
{
    sl_err e = store_lock(r->c, SL("sl_migrations"));
    if (!e)
        e = store_query(r->c, NULL,
                        SL("create table if not exists sl_migrations (module text not null, number bigint not null, "
                           "name text not null, checksum text not null, applied_at bigint not null, "
                           "primary key (module, number))"),
                        NULL, 0);
    if (e) return store_failed(r, e);
    e = compare(r);
    for (size_t i = r->applied; !e && i < r->files.n; i++)
        e = apply_one(r, &r->files.file[i]);
    if (e) return e;
    e = store_commit(r->c);
    return e ? store_failed(r, e) : SL_OK;
}

sl_err store_migrate(call *c, const struct migration_set *set, bool apply, unsigned *applied, unsigned *pending,
                     char *why, size_t why_size)
{
    struct run r = { .c = c, .set = set, .why = why, .why_size = why_size };
    unsigned unused;
    if (!applied) applied = &unused;
    if (!pending) pending = &unused;
    *applied = *pending = 0;
    if (why_size) why[0] = 0;
    if (store_in_transaction(c)) return fail(&r, SL_ESTATE, "not inside a transaction");
    char problem[400];
    sl_err e = migration_files_read(c->arena, set->dir, &r.files, problem, sizeof problem);
    if (e) return fail(&r, e, "%s", problem);
    e = look(&r);
    if (e) return e;
    *pending = (unsigned)(r.files.n - r.applied);
    if (!apply || !*pending) return SL_OK;
    e = apply_pending(&r);
    if (e) {
        store_rollback(c);
        return e;
    }
    *applied = (unsigned)(r.files.n - r.applied);
    *pending = 0;
    if (*applied)
        log_info("migrated", LOG_C("module", set->module), LOG_I("applied", *applied), LOG_I("version", r.files.n));
    return SL_OK;
}
