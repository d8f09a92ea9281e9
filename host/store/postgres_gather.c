/* postgres_gather.c - many deferred rows for one statement become one statement over arrays. */
#include "store/postgres.h"
#include "store/sql.h"
#include <endian.h>
#include <string.h>

/* A statement for many rows is parsed, planned and started once: 1,000 jobs cost PostgreSQL a sixth of 1,000 inserts.
 * Below ROWS_MIN single ones are as good. */
enum { ROWS_MIN = 4, ROWS_MAX = 1000, GATHER_BYTES = 1 << 20, HEADER = 20 };

/* ---- the statement ---- */

/* Appends the text from `from` with $n as sl_row.pn, up to `end` or the parenthesis that closes it; where that is, or
 * SIZE_MAX: what stands there cannot be done for many rows at once. */
static size_t add_values(buf *b, sl_str sql, size_t from, size_t end)
{
    size_t copied = from;
    int depth = 0;
    for (struct sql_token t; (t = sql_token(sql, from)).at < end; from = t.at + t.n) {
        if (t.kind == SQL_BAD || sql_is(sql, t, "select") || sql_is(sql, t, "default")) return SIZE_MAX;
        if (t.kind == SQL_OTHER) depth += sql.p[t.at] == '(' ? 1 : sql.p[t.at] == ')' ? -1 : 0;
        if (depth < 0) {
            end = t.at;
            break;
        }
        if (t.kind != SQL_PARAM) continue;
        buf_add_str(b, str_sub(sql, copied, t.at - copied));
        buf_printf(b, "sl_row.p%.*s", (int)t.n - 1, sql.p + t.at + 1);
        copied = t.at + t.n;
    }
    buf_add_str(b, str_sub(sql, copied, end - copied));
    return end;
}

/* Where the word stands outside parentheses; SIZE_MAX: nowhere. */
static size_t find(sl_str sql, const char *word)
{
    int depth = 0;
    struct sql_token t = sql_token(sql, 0);
    for (; t.kind != SQL_END && t.kind != SQL_BAD; t = sql_token(sql, t.at + t.n)) {
        if (!depth && sql_is(sql, t, word)) return t.at;
        if (t.kind == SQL_OTHER) depth += sql.p[t.at] == '(' ? 1 : sql.p[t.at] == ')' ? -1 : 0;
    }
    return SIZE_MAX;
}

/* Behind the values: nothing, or "on conflict ... do nothing". DO UPDATE may not meet a row twice in one statement. */
static bool ends_well(sl_str sql, size_t from)
{
    struct sql_token before = { SQL_END, 0, 0, NULL }, last = before;
    for (struct sql_token t; (t = sql_token(sql, from)).kind != SQL_END; from = t.at + t.n) {
        if (t.kind == SQL_BAD || t.kind == SQL_PARAM) return false;
        before = last;
        last = t;
    }
    return last.kind == SQL_END || (sql_is(sql, before, "do") && sql_is(sql, last, "nothing"));
}

static void add_source(buf *b, size_t params, const uint8_t *types)
{
    static const char *const names[] = {
        [SL_INT] = "bigint", [SL_REAL] = "float8", [SL_TEXT] = "text", [SL_BLOB] = "bytea"
    };
    for (size_t i = 0; i < params; i++)
        buf_printf(b, "%s$%zu::%s[]", i ? "," : " from unnest(", i + 1, names[types[i]]);
    for (size_t i = 0; i < params; i++)
        buf_printf(b, "%sp%zu", i ? "," : ") as sl_row (", i + 1);
    buf_add_cstr(b, ") ");
}

/* insert into t (...) values (f($1), $2) -> insert into t (...) select f(sl_row.p1), sl_row.p2 from ... */
static bool write_insert(buf *b, sl_str sql, size_t params, const uint8_t *types)
{
    size_t values = find(sql, "values");
    struct sql_token t = sql_token(sql, values == SIZE_MAX ? sql.n : values + strlen("values"));
    if (t.kind != SQL_OTHER || sql.p[t.at] != '(') return false;
    buf_add_str(b, str_sub(sql, 0, values));
    buf_add_cstr(b, "select ");
    size_t end = add_values(b, sql, t.at + 1, sql.n);
    if (end == SIZE_MAX || end >= sql.n || !ends_well(sql, end + 1)) return false;
    add_source(b, params, types);
    buf_add_str(b, str_sub(sql, end + 1, SIZE_MAX));
    return true;
}

/* update t set x = $1 where id = $2 -> update t set x = sl_row.p1 from ... where id = sl_row.p2 */
static bool write_update(buf *b, sl_str sql, size_t params, const uint8_t *types)
{
    size_t where = find(sql, "where");
    if (where == SIZE_MAX || find(sql, "from") != SIZE_MAX || find(sql, "returning") != SIZE_MAX) return false;
    if (add_values(b, sql, 0, where) != where) return false;
    add_source(b, params, types);
    return add_values(b, sql, where, sql.n) == sql.n;
}

/* The statement for rows whose parameters have these types; the first call decides which. NULL: there is none. */
static struct pg_note *rows_note(struct statement *s, size_t params, const uint8_t *types)
{
    struct pg_note *n = pg_note(s);
    if (!n->rows_tried) {
        buf b;
        n->rows_tried = true;
        buf_init(&b, 64 << 10);
        struct sql_token first = sql_token(s->sql, 0);
        bool ok = sql_is(s->sql, first, "insert")   ? write_insert(&b, s->sql, params, types)
                  : sql_is(s->sql, first, "update") ? write_update(&b, s->sql, params, types)
                                                    : false;
        if (ok && !b.overflow) pg_note_rows(n, buf_str(&b), params, types);
        buf_free(&b);
    }
    return n->rows && n->rows_params == params && !memcmp(n->rows_types, types, params) ? n->rows : NULL;
}

/* ---- the arrays ---- */

static bool absent(const sl_value *v)
{
    return v->type == SL_NULL || ((v->type == SL_TEXT || v->type == SL_BLOB) && !v->s.p);
}

static size_t size_of(const sl_value *v) { return v->type == SL_TEXT || v->type == SL_BLOB ? v->s.n : 8; }

static size_t bytes_of(const struct deferred *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        n += size_of(&d->args[i]);
    return n;
}

/* The type that parameter k has in all rows; SL_NULL: several, or it is absent from all. */
static uint8_t type_of(const struct deferred *first, size_t k)
{
    uint8_t type = SL_NULL;
    for (const struct deferred *d = first; d; d = d->with) {
        if (absent(&d->args[k])) continue;
        if (type != SL_NULL && type != d->args[k].type) return SL_NULL;
        type = (uint8_t)d->args[k].type;
    }
    return type;
}

static char *put32(char *at, uint32_t v)
{
    v = htobe32(v);
    memcpy(at, &v, 4);
    return at + 4;
}

/* array_recv's form: dimensions, is there a null, the elements' type, length, first index; then each element's length
 * and bytes. */
static sl_value column(arena *a, const struct deferred *first, size_t rows, size_t k, uint8_t type)
{
    size_t bytes = HEADER;
    bool null = false;
    for (const struct deferred *d = first; d; d = d->with) {
        bytes += 4 + (absent(&d->args[k]) ? 0 : size_of(&d->args[k]));
        null |= absent(&d->args[k]);
    }
    char *p = arena_alloc(a, bytes), *at = p;
    at = put32(put32(put32(put32(put32(at, 1), null), pg_type(type)), (uint32_t)rows), 1);
    for (const struct deferred *d = first; d; d = d->with) {
        const sl_value *v = &d->args[k];
        if (absent(v)) {
            at = put32(at, UINT32_MAX);
            continue;
        }
        size_t n = size_of(v);
        at = put32(at, (uint32_t)n);
        if (type == SL_TEXT || type == SL_BLOB)
            memcpy(at, v->s.p, n);
        else {
            uint64_t bits;
            memcpy(&bits, type == SL_INT ? (const void *)&v->i : (const void *)&v->d, 8);
            bits = htobe64(bits);
            memcpy(at, &bits, 8);
        }
        at += n;
    }
    return (sl_value){ .type = PG_ARRAY | type, .s = sl_lit(p, bytes) };
}

/* ---- the list ---- */

/* Links to `first` what may stand in one statement with it: rows for the same one, up to the next write of another
 * sort. */
static size_t collect(struct deferred *first)
{
    struct deferred *last = first;
    size_t n = 1, bytes = bytes_of(first);
    for (struct deferred *d = first->next; d && d->row && n < ROWS_MAX; d = d->next) {
        if (d->gathered || d->statement != first->statement || d->n != first->n || d->changes != first->changes)
            continue;
        bytes += bytes_of(d);
        if (bytes > GATHER_BYTES) break;
        last = last->with = d;
        n++;
    }
    last->with = NULL;
    return n;
}

/* The one write of all rows linked to `first`; `first` itself where there is none. */
static struct deferred *join(arena *a, struct deferred *first, size_t rows)
{
    uint8_t types[PG_ROW_PARAMS];
    if (rows < ROWS_MIN || !first->n || first->n > PG_ROW_PARAMS || first->statement->once) return first;
    for (size_t k = 0; k < first->n; k++)
        if ((types[k] = type_of(first, k)) == SL_NULL) return first;
    struct pg_note *note = rows_note(first->statement, first->n, types);
    if (!note) return first;
    sl_value *args = arena_alloc(a, first->n * sizeof *args);
    for (size_t k = 0; k < first->n; k++)
        args[k] = column(a, first, rows, k, types[k]);
    for (struct deferred *d = first; d; d = d->with)
        d->gathered = true;
    struct deferred *all = arena_alloc(a, sizeof *all);
    *all = (struct deferred){ .statement = first->statement,
                              .args = args,
                              .n = first->n,
                              .rows = true,
                              .changes = first->changes * (int64_t)rows };
    return all;
}

void pg_gather(call *c, struct tx *tx)
{
    struct deferred *list = tx->deferred, **end = &tx->deferred;
    if (tx->n_deferred < ROWS_MIN) return;
    for (struct deferred *d = list, *next; d; d = next) {
        next = d->next;
        if (d->gathered) continue;
        *end = d->row ? join(c->arena, d, collect(d)) : d;
        end = &(*end)->next;
    }
    *end = NULL;
}
