/* sql.h - reading SQL text without an engine: tokens, statement boundaries, what kind of statement it is, placeholders.
 */
#ifndef STORE_SQL_H
#define STORE_SQL_H
#include "base/text.h"

enum sql_kind { SQL_END, SQL_BAD, SQL_WORD, SQL_QUOTED, SQL_PARAM, SQL_PLACEHOLDER, SQL_SEMICOLON, SQL_OTHER };
struct sql_token {
    enum sql_kind kind;
    size_t at, n;
    const char *why; /* of SQL_BAD */
};

/* The token at or after `from`; blanks and comments are skipped. */
struct sql_token sql_token(sl_str sql, size_t from);
bool sql_is(sl_str sql, struct sql_token t, const char *word); /* an unquoted word, any case; `word` in lower case */

/* A script of several statements. Start with { .text = ..., .line = 1 }. */
struct sql_script {
    sl_str text;
    size_t at, counted, line;
    const char *why;
};
/* The next statement without its semicolon and the blanks around it; s->line is the line it starts on. False when none
 * is left or the text is malformed from s->line on: then s->why is set. */
bool sql_next(struct sql_script *s, sl_str *one);

enum sql_class { SQL_READS, SQL_WRITES, SQL_REFUSED, SQL_MALFORMED };
/* What a single statement is. Anything that might write counts as writing. SQL_REFUSED: transaction control, PRAGMA and
 * whatever else belongs to the host; SQL_MALFORMED: unbalanced quotes,
 * more than one statement, no statement at all. `why` gets the sentence. */
enum sql_class sql_classify(sl_str sql, char *why, size_t why_size);

/* ---- sql_reach.c: what a statement touches, for plugins that may touch only some tables ---- */
enum sql_reached { SQL_WITHIN, SQL_DENIED, SQL_UNCLEAR };
struct sql_reach {
    bool (*table)(void *arg, sl_str name); /* may this table be named? Lower case, without quotes */
    void *arg;
};
/* SQL_DENIED: it names a table that `ask` refuses. SQL_UNCLEAR: it calls a function that could reach further, makes or
 * drops tables, or is written so that the engines or this reader might disagree about it. `why` goes on "the statement
 * ...". The text has been classified. */
enum sql_reached sql_reach(sl_str sql, const struct sql_reach *ask, char *why, size_t why_size);

struct sql_names {
    const char *name, *text;
}; /* a table of placeholders, ended by name == NULL */
/* Replaces each {{name}} outside quotes and comments. False: an unknown name, named in why. */
bool sql_expand(buf *out, sl_str sql, const struct sql_names *names, char *why, size_t why_size);
#endif
