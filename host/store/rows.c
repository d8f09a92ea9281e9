/* rows.c - builds the result of a statement in the call's arena and enforces the limits on its size. */
#include "store/backend.h"

void rows_start(struct rows_builder *b, call *c, uint32_t cols)
{
    *b = (struct rows_builder){ .c = c };
    b->rows = arena_alloc(c->arena, sizeof *b->rows);
    b->rows->size = sizeof *b->rows;
    b->rows->cols = cols;
    b->rows->names = cols ? arena_alloc(c->arena, cols * sizeof *b->rows->names) : NULL;
}

void rows_name(struct rows_builder *b, uint32_t col, sl_str name)
{
    ((sl_str *)b->rows->names)[col] = arena_copy(b->c->arena, name.p ? name : SL(""));
}

static sl_err over(struct rows_builder *b, size_t n)
{
    const struct store_config *cfg = store_cfg();
    if (n > cfg->max_bytes || b->bytes > cfg->max_bytes - n)
        return b->failed = store_fail(
                   b->c, SL_ETOOBIG, "the result is larger than %zu bytes (database.max_result_bytes)", cfg->max_bytes);
    b->bytes += n;
    return SL_OK;
}

sl_value *rows_next(struct rows_builder *b)
{
    sl_rows *r = b->rows;
    size_t cols = r->cols, used = (size_t)r->rows * cols;
    if (b->failed) return NULL;
    if (r->rows >= store_cfg()->max_rows) {
        b->failed = store_fail(b->c, SL_ETOOBIG, "the result has more than %zu rows (database.max_rows)",
                               store_cfg()->max_rows);
        return NULL;
    }
    if (over(b, cols * sizeof *b->cells)) return NULL;
    if (used + cols > b->room) { /* the first block fits one row: most results are one row */
        size_t room = b->room ? b->room * 2 : cols;
        sl_value *bigger = arena_alloc(b->c->arena, room * sizeof *bigger);
        if (used) memcpy(bigger, b->cells, used * sizeof *bigger);
        b->cells = bigger;
        b->room = room;
    }
    r->rows++;
    return b->cells + used;
}

sl_str rows_bytes(struct rows_builder *b, const void *p, size_t n)
{
    if (b->failed || over(b, n)) return sl_lit("", 0);
    return arena_copy(b->c->arena, sl_lit(n ? p : "", n));
}

const sl_rows *rows_end(struct rows_builder *b, int64_t changed)
{
    b->rows->cells = b->cells;
    b->rows->changed = changed;
    return b->rows;
}
