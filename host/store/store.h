/* store.h - the one store of the process: transactions of calls over SQLite (memory or file) or PostgreSQL. */
#ifndef STORE_STORE_H
#define STORE_STORE_H
#include "base/text.h"
#include "loop/call.h"

/* SQL is one dialect for all engines: $1.. parameters, types text, bigint, double precision, {{blob}}; times are bigint
 * microseconds, money bigint 10^-8, booleans bigint 0/1, JSON text. Placeholders that differ by engine, in statements
 * and migrations: {{blob}} (bytea/blob), {{serial}} (increasing bigint primary key), {{now}} (the store's clock in
 * microseconds), {{skip_locked}} ("for update skip locked"/""). {{transaction}} numbers the transaction that writes,
 * and all transactions below {{oldest_transaction}} are over: rows kept under their number can be read in an order that
 * no later commit changes. (SQLite has one writer: there the numbers are 0 and 1.) Alike on both: names in "double
 * quotes" are never strings, LIKE heeds case, text is UTF-8 without NUL, casts are written cast($1 as type), a
 * statement that failed leaves only the rollback. SQLite refuses its JSON functions, which PostgreSQL spells
 * differently and which need more stack than a fiber has. */
struct store_config {
    sl_str dsn;                 /* "" = memory; sqlite:PATH; postgres://... or postgresql://... */
    int max_open, max_idle;     /* PostgreSQL connections */
    int64_t lifetime_ms;        /* of a connection; 0 = for ever */
    uint32_t connect_ms;        /* time to reach the server before a call is told SL_EUNAVAIL */
    size_t max_rows, max_bytes; /* of one result */
};
sl_err store_open(call *c, const struct store_config *cfg, char *why, size_t why_size); /* [S] */
void store_close(call *c); /* [S] ends the last batch; later calls get SL_EUNAVAIL */

enum store_engine { STORE_MEMORY, STORE_SQLITE, STORE_POSTGRES };
enum store_engine store_engine(void);
const char *store_engine_name(void); /* "memory" "sqlite" "postgres" */
bool store_durable(void);            /* false = memory */

/* [S] See sl_store.query. Rows live in c->arena. */
sl_err store_query(call *c, const sl_rows **out, sl_str sql, const sl_value *args, size_t n);
sl_err store_lock(call *c, sl_str name); /* [S] see sl_store.lock */
bool store_in_transaction(const call *c);
bool store_pending(const call *c); /* a commit would do something: a transaction is open, or writes wait for it */
/* Add a write that runs just before the commit, in the same round trip; never suspends. Arguments are copied. `changes`
 * nonzero: the commit fails with SL_ECONFLICT unless it touched exactly that many rows. SL_ETOOBIG: over 10,000 of
 * them. */
sl_err store_defer(call *c, sl_str sql, const sl_value *args, size_t n, int64_t changes);
/* The same for one row of many: "insert into t (...) values (...) [on conflict do nothing]", or "update t set ...
 * where" its key is a parameter. PostgreSQL takes rows of one text together, in their order, and may move them before
 * rows of other texts but not past store_defer; `changes` is checked for their sum. A text parameter has to be for a
 * column or function of text, not of another type that would read it. */
sl_err store_defer_row(call *c, sl_str sql, const sl_value *args, size_t n, int64_t changes);
/* A log: its head is one row, each record is linked to the head and becomes it, in the order of the commits. Only where
 * one writer at a time makes that order cheap (store_one_writer: SQLite). `link` runs on another thread: it moves
 * `head`, the row's values, on to the record with these values; texts it gives stay until its next call. Not SL_OK: the
 * whole batch of calls fails. */
enum { LOG_HEAD = 4 };
struct store_log {
    const char *head;    /* a query: the row */
    const char *insert;  /* of a record: its own values, then those of the head that it became */
    const char *advance; /* keeps the values of the last head */
    sl_err (*link)(const sl_value *record, sl_value *head);
};
bool store_one_writer(void);
/* Append a record with this transaction's commit; never suspends. Arguments are copied. */
sl_err store_append(call *c, const struct store_log *log, const sl_value *record, size_t n);
/* Run fn(arg) on the loop right after this transaction's commit succeeded (never on rollback); arg outlives the call.
 */
void store_after_commit(call *c, void (*fn)(void *arg), void *arg);
sl_err store_commit(call *c); /* [S] durable when it returns SL_OK; also sends deferred writes without a transaction */
void store_rollback(call *c); /* [S]; drops deferred writes too; harmless without a transaction */
/* After an error: may the whole handler be run again (serialisation failure, deadlock, lost before any effect)? */
bool store_may_retry(const call *c);
const char *store_error(const call *c); /* the engine's sentence for the last error of this call, "" if none */

/* Numbers for metrics and status. */
struct store_stats {
    int open, active, max_open;
    unsigned waiting; /* calls in line for a connection */
    uint64_t commits, batches, rollbacks, retries, queries, errors;
    bool up;
};
struct store_stats store_stats(void);
sl_err store_ping(call *c); /* [S] one round trip */

/* Migrations: DIR/NNNN_what.sql of each module, in number order, under a lock, once each, all pending of a module in
 * one transaction; recorded with SHA-256. A changed or missing applied file, a gap or a duplicate number is an error.
 */
struct migration_set {
    const char *module, *dir;
};
sl_err store_migrate(call *c, const struct migration_set *set, bool apply, unsigned *applied, unsigned *pending,
                     char *why, size_t why_size); /* [S] apply = false only checks */
#endif
