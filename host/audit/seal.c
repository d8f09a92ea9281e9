/* seal.c - the chain over the store's audit rows: with their commit where the store has one writer, otherwise a
 * moment later by one sealer at a time over all replicas; and removal by age. */
#include "audit/private.h"

enum { BATCH = 200, ROUNDS = 4 }; /* a call's memory is given back at its end only */
enum { MEMORY_KEEP = 10000 };     /* records, some 5 MB: a store in memory must not grow with every change */

/* Makes `head` the record's. `line` and `hasher` are the thread's own. */
static void chain_on(const struct audit_record *r, struct chain *head, buf *line, struct chain_hasher *hasher)
{
    if (!line->max) buf_init(line, CHAIN_LINE);
    buf_clear(line);
    audit_open_line(line, r, head->seq + 1, head->hash);
    chain_hash(hasher, line->p, line->n, head->hash);
    head->seq++;
}

/* ---- with the commit ---- */
static sl_err link_record(const sl_value *record, sl_value *head)
{
    static buf line;
    static struct chain_hasher hasher;
    static struct chain last;
    struct audit_record r;
    if (head[0].type != SL_INT || head[1].type != SL_TEXT || head[1].s.n != CHAIN_HASH - 1) return SL_EINTERNAL;
    last.seq = (uint64_t)head[0].i;
    memmove(last.hash, head[1].s.p, CHAIN_HASH - 1);
    last.hash[CHAIN_HASH - 1] = 0;
    audit_from_values(record, &r);
    chain_on(&r, &last, &line, &hasher);
    head[0].i = (int64_t)last.seq;
    head[1].s = sl_cstr(last.hash);
    return SL_OK;
}

const struct store_log audit_chain = {
    .head = "select seq, hash from sl_audit_chain where name = 'head'",
    .insert = "insert into sl_audit (" AUDIT_COLUMNS ", seq, hash) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
              "$11, $12, $13, $14, $15, $16, $17)",
    .advance = "update sl_audit_chain set seq = $1, hash = $2, at = {{now}} where name = 'head'",
    .link = link_record,
};

/* ---- later ---- */

static sl_err read_head(call *c, struct chain *head)
{
    const sl_rows *rows;
    sl_err e = store_query(c, &rows, SL("select seq, hash from sl_audit_chain where name = 'head'"), NULL, 0);
    if (e) return e;
    sl_str hash = sl_cell_text(rows, 0, "hash");
    if (rows->rows != 1 || hash.n != CHAIN_HASH - 1) {
        log_error("the audit log's chain has no head: its table was changed");
        return SL_EINTERNAL;
    }
    head->seq = (uint64_t)sl_cell_int(rows, 0, "seq");
    memcpy(head->hash, hash.p, CHAIN_HASH - 1);
    head->hash[CHAIN_HASH - 1] = 0;
    return SL_OK;
}

/* Gives a row its place behind `head`, which becomes this row. */
static sl_err seal_row(call *c, const sl_rows *rows, uint32_t i, struct chain *head)
{
    static buf line;
    static struct chain_hasher hasher;
    struct audit_record r;
    audit_from_row(rows, i, &r);
    chain_on(&r, head, &line, &hasher);
    return store_defer_row(c, SL("update sl_audit set seq = $1, hash = $2 where id = $3 and seq is null"),
                           SL_ARRAY((int64_t)head->seq, (const char *)head->hash, (const char *)r.id), 3, 1);
}

static sl_err seal_some(call *c, uint32_t *n)
{
    const sl_rows *rows = NULL;
    struct chain head = { 0 };
    sl_err e = store_lock(c, SL("audit.chain"));
    if (!e) e = read_head(c, &head);
    int64_t old = (int64_t)head.seq;
    if (!e)
        e = store_query(c, &rows, SL("select " AUDIT_COLUMNS " from sl_audit where seq is null order by id limit $1"),
                        SL_ARRAY((int64_t)BATCH), 1);
    *n = e ? 0 : rows->rows;
    for (uint32_t i = 0; !e && i < *n; i++)
        e = seal_row(c, rows, i, &head);
    if (!e && *n)
        e = store_defer(
            c, SL("update sl_audit_chain set seq = $1, hash = $2, at = {{now}} where name = 'head' and seq = $3"),
            SL_ARRAY((int64_t)head.seq, (const char *)head.hash, old), 3, 1);
    return e ? e : store_commit(c);
}

sl_err audit_seal(call *c, bool *more)
{
    const sl_rows *rows;
    uint32_t n = BATCH;
    sl_err e = store_query(c, &rows, SL("select 1 as there from sl_audit where seq is null limit 1"), NULL, 0);
    *more = false;
    if (e || !rows->rows) return e;
    for (int i = 0; !e && n == BATCH && i < ROUNDS; i++)
        e = seal_some(c, &n);
    *more = !e && n == BATCH;
    if (e) store_rollback(c);
    return e;
}

/* One portion of the rows before that time, and of those beyond the newest `newest`; the last row that goes becomes the
 * base on which the rest of the chain stands. */
static sl_err expire_some(call *c, int64_t before, int64_t newest, int64_t *removed)
{
    const sl_rows *rows = NULL;
    *removed = 0;
    sl_err e = store_lock(c, SL("audit.chain"));
    if (!e)
        e = store_query(
            c, &rows,
            SL("select seq, hash from sl_audit where (at < $1 or seq <= (select seq - $2 from sl_audit_chain "
               "where name = 'head')) and seq > (select seq from sl_audit_chain where name = 'base') "
               "and seq <= (select seq + 1000 from sl_audit_chain where name = 'base') order by seq desc limit 1"),
            SL_ARRAY(before, newest), 2);
    if (e || !rows->rows) return e;
    sl_value seq = sl_cell(rows, 0, "seq"), hash = sl_cell(rows, 0, "hash");
    e = store_query(c, &rows, SL("delete from sl_audit where seq <= $1"), &seq, 1);
    if (!e) *removed = rows->changed;
    if (!e)
        e = store_query(c, NULL, SL("update sl_audit_chain set seq = $1, hash = $2, at = {{now}} where name = 'base'"),
                        SL_ARRAY(seq, hash), 2);
    return e;
}

sl_err audit_expire(call *c)
{
    bool memory = store_engine() == STORE_MEMORY;
    int64_t removed = 1, total = 0, before = 0;
    sl_err e = SL_OK;
    if (!audit_cfg.keep_days && !memory) return SL_OK;
    if (audit_cfg.keep_days) before = clock_now() - audit_cfg.keep_days * 24 * 3600 * 1000000;
    while (!e && removed) {
        e = expire_some(c, before, memory ? MEMORY_KEEP : INT64_MAX / 2, &removed);
        if (e)
            store_rollback(c);
        else
            e = store_commit(c);
        total += removed;
    }
    if (total && !memory) log_info("old audit records were removed", LOG_I("records", total));
    return e;
}
