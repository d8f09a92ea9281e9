/* statement.h - the process's cache of statements: SQL text to its class and its text for the engine. Internal to
 * store/. */
#ifndef STORE_STATEMENT_H
#define STORE_STATEMENT_H
#include "store/backend.h"

/* The statement of a text: from the cache, or checked, expanded for the engine and added. Once STATEMENTS_MAX are kept,
 * further ones live in the call's arena (`once`). SL_EINVAL malformed, several, or an unknown placeholder; SL_EDENIED
 * the host's own; SL_ETOOBIG over STATEMENT_BYTES. */
enum { STATEMENTS_MAX = 4096, STATEMENT_BYTES = 256 << 10 };
sl_err statement_get(call *c, sl_str sql, struct statement **out);
void statements_engine(enum store_engine engine);          /* whose placeholders; call before the first statement_get */
void statements_free(void (*forget)(struct statement *s)); /* after the engine closed */
#endif
