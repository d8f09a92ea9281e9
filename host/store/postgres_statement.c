/* postgres_statement.c - what the engine remembers of a statement's text: prepared variants and its row-counting form.
 */
#include "store/postgres.h"
#include "store/sql.h"
#include <stdlib.h>
#include <string.h>

static uint32_t n_notes;

static struct pg_note *note_new(char *sql, bool once)
{
    struct pg_note *n = calloc(1, sizeof *n);
    if (!n || !sql) abort();
    n->sql = sql;
    n->id = !once && n_notes < PG_NOTES_MAX ? n_notes++ : PG_NOTES_MAX; /* never given twice: connections know it */
    return n;
}

struct pg_note *pg_note(struct statement *s)
{
    if (!s->engine) s->engine = note_new(strndup(s->sql.p ? s->sql.p : "", s->sql.n), s->once);
    return s->engine;
}

static void free_note(struct pg_note *n)
{
    if (!n) return;
    for (unsigned v = 0; v < n->n_variants; v++)
        free(n->variant[v].types);
    free_note(n->counted);
    free_note(n->rows);
    free(n->rows_types);
    free(n->sql);
    free(n);
}

void pg_note_free(struct statement *s)
{
    free_note(s->engine);
    s->engine = NULL;
}

/* A prepared statement has fixed parameter types. A NULL fits any, so that one variant serves most calls. */
int pg_note_variant(struct pg_note *n, const sl_value *args, size_t count)
{
    if (n->id >= PG_NOTES_MAX) return -1;
    for (unsigned v = 0; v < n->n_variants; v++) {
        if (n->variant[v].n != count) continue;
        size_t i = 0;
        while (i < count && (args[i].type == SL_NULL || args[i].type == n->variant[v].types[i]))
            i++;
        if (i == count) return (int)(n->id * PG_VARIANTS + v);
    }
    if (n->n_variants == PG_VARIANTS) return -1;
    uint8_t *types = malloc(count + 1);
    if (!types) abort();
    for (size_t i = 0; i < count; i++)
        types[i] = (uint8_t)args[i].type;
    unsigned v = n->n_variants++;
    n->variant[v].types = types;
    n->variant[v].n = count;
    return (int)(n->id * PG_VARIANTS + v);
}

void pg_note_rows(struct pg_note *n, sl_str sql, size_t params, const uint8_t *types)
{
    n->rows = note_new(strndup(sql.p, sql.n), false);
    n->rows_params = params;
    n->rows_types = malloc(params);
    if (!n->rows_types) abort();
    memcpy(n->rows_types, types, params);
}

/* The server itself must refuse the commit when a deferred write did not touch as many rows as asked, because COMMIT is
 * already on its way. So the write runs in a WITH, and a wrong count makes a cast fail, its text naming the count. The
 * cast's argument is an aggregate, so the planner cannot evaluate it early. */
static char *wrap(const char *sql, unsigned params)
{
    sl_str text = sl_cstr(sql);
    struct sql_token t = sql_token(text, 0);
    if (!sql_is(text, t, "insert") && !sql_is(text, t, "update") && !sql_is(text, t, "delete")) return NULL;
    bool returning = false;
    for (int depth = 0; (t = sql_token(text, t.at + t.n)).kind != SQL_END;) {
        if (t.kind == SQL_BAD) return NULL; /* the server will say it better */
        if (t.kind == SQL_OTHER) depth += sql[t.at] == '(' ? 1 : sql[t.at] == ')' ? -1 : 0;
        returning |= !depth && sql_is(text, t, "returning");
    }
    char *out = NULL;
    if (asprintf(&out,
                 "with sl_write as (%s\n%s) select case when count(*) = $%u then 0 else ('" PG_COUNT_MARK
                 "' || count(*))::bigint end from sl_write",
                 sql, returning ? "" : " returning 1", params + 1) < 0)
        abort();
    return out;
}

struct pg_note *pg_note_deferred(const struct deferred *d)
{
    struct pg_note *n = pg_note(d->statement);
    return d->rows ? n->rows : n;
}

struct pg_note *pg_note_counted(struct pg_note *n, size_t params)
{
    if (!n->wrap_tried) {
        n->wrap_tried = true;
        char *sql = wrap(n->sql, (unsigned)params);
        if (sql) n->counted = note_new(sql, n->id == PG_NOTES_MAX);
        n->counted_params = params;
    }
    return n->counted && n->counted_params == params ? n->counted : NULL;
}
