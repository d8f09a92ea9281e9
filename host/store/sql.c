/* sql.c - reading SQL text without an engine: tokens, statement boundaries, what kind of statement it is, placeholders.
 */
#include "store/sql.h"

static bool word_start(unsigned char c) { return ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c >= 0x80; }
static bool word_part(unsigned char c) { return word_start(c) || (c >= '0' && c <= '9'); }
static bool blank(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool digit(unsigned char c) { return c >= '0' && c <= '9'; }
static unsigned char at(sl_str s, size_t i) { return i < s.n ? (unsigned char)s.p[i] : 0; }

static struct sql_token bad(size_t from, const char *why) { return (struct sql_token){ SQL_BAD, from, 0, why }; }

/* Skips blanks and comments; SIZE_MAX when a comment does not end. PostgreSQL nests comments and SQLite does not, so a
 * nested one would mean different statements to them: it counts as not ended. */
static size_t skip(sl_str sql, size_t i)
{
    for (;;) {
        while (blank(at(sql, i)))
            i++;
        if (at(sql, i) == '-' && at(sql, i + 1) == '-') {
            while (i < sql.n && sql.p[i] != '\n')
                i++;
        } else if (at(sql, i) == '/' && at(sql, i + 1) == '*') {
            for (i += 2; !(at(sql, i) == '*' && at(sql, i + 1) == '/'); i++)
                if (i >= sql.n || (at(sql, i) == '/' && at(sql, i + 1) == '*')) return SIZE_MAX;
            i += 2;
        } else {
            return i;
        }
    }
}

static struct sql_token quoted(sl_str sql, size_t from, size_t open, bool backslash)
{
    char quote = sql.p[open];
    for (size_t i = open + 1; i < sql.n; i++) {
        if (backslash && sql.p[i] == '\\')
            i++;
        else if (sql.p[i] == quote) {
            if (at(sql, i + 1) != (unsigned char)quote)
                return (struct sql_token){ SQL_QUOTED, from, i + 1 - from, NULL };
            i++;
        }
    }
    return bad(from, quote == '\'' ? "a string is not closed" : "a quoted name is not closed");
}

/* $1 or $tag$ ... $tag$ */
static struct sql_token dollar(sl_str sql, size_t from)
{
    size_t i = from + 1;
    if (digit(at(sql, i))) {
        while (digit(at(sql, i)))
            i++;
        return (struct sql_token){ SQL_PARAM, from, i - from, NULL };
    }
    while (word_part(at(sql, i)))
        i++;
    if (at(sql, i) != '$') return bad(from, "a parameter is not $ and a number");
    size_t tag = i + 1 - from;
    for (i++; i + tag <= sql.n; i++)
        if (memcmp(sql.p + i, sql.p + from, tag) == 0)
            return (struct sql_token){ SQL_QUOTED, from, i + tag - from, NULL };
    return bad(from, "a dollar-quoted text is not closed");
}

struct sql_token sql_token(sl_str sql, size_t from)
{
    size_t i = skip(sql, from);
    if (i == SIZE_MAX) return bad(from, "a comment is not closed or holds another");
    if (i >= sql.n) return (struct sql_token){ SQL_END, sql.n, 0, NULL };
    unsigned char c = at(sql, i);
    if (c == 0) return bad(i, "a NUL byte");
    if (c == '`') return bad(i, "a backquote; names are quoted with \"");
    if ((c | 32) == 'e' && at(sql, i + 1) == '\'') return quoted(sql, i, i + 1, true);
    if (word_start(c)) {
        size_t end = i + 1;
        while (word_part(at(sql, end)) || at(sql, end) == '$')
            end++;
        return (struct sql_token){ SQL_WORD, i, end - i, NULL };
    }
    if (c == '\'' || c == '"') return quoted(sql, i, i, false);
    if (c == '$') return dollar(sql, i);
    if (c == '{' && at(sql, i + 1) == '{') {
        size_t end = i + 2;
        while (word_part(at(sql, end)))
            end++;
        if (at(sql, end) != '}' || at(sql, end + 1) != '}') return bad(i, "{{ without a name and }}");
        return (struct sql_token){ SQL_PLACEHOLDER, i, end + 2 - i, NULL };
    }
    size_t end = i + 1; /* numbers as a whole, so that 1e5 is no word; the rest one character each */
    if (digit(c))
        while (word_part(at(sql, end)) || at(sql, end) == '.')
            end++;
    return (struct sql_token){ c == ';' ? SQL_SEMICOLON : SQL_OTHER, i, end - i, NULL };
}

bool sql_is(sl_str sql, struct sql_token t, const char *word)
{
    return t.kind == SQL_WORD && str_equal_nocase(sl_lit(sql.p + t.at, t.n), sl_cstr(word));
}

/* The end of the statement that starts at `from`: its semicolon or the end of the text. Bodies of triggers and SQL
 * functions hold semicolons between BEGIN and "; END". *first and *last: where its tokens begin and end; equal when
 * there are none. */
static struct sql_token statement_end(sl_str sql, size_t from, size_t *first, size_t *last)
{
    bool create = false, body = false, any = false;
    struct sql_token t, before = { SQL_END, 0, 0, NULL }, before2 = before;
    *first = *last = from;
    for (size_t i = from;; i = t.at + t.n) {
        t = sql_token(sql, i);
        if (t.kind == SQL_END || t.kind == SQL_BAD) return t;
        if (t.kind == SQL_SEMICOLON) {
            bool ended = sql_is(sql, before, "end") && before2.kind == SQL_SEMICOLON;
            if (!body || ended) return t;
        }
        if (!any) {
            any = true;
            *first = t.at;
            create = sql_is(sql, t, "create");
        } else if (create && sql_is(sql, t, "begin")) {
            body = true;
        }
        *last = t.at + t.n;
        before2 = before;
        before = t;
    }
}

bool sql_next(struct sql_script *s, sl_str *one)
{
    while (s->at < s->text.n) {
        size_t first, last;
        struct sql_token end = statement_end(s->text, s->at, &first, &last);
        if (end.kind == SQL_BAD) first = end.at;
        for (; s->counted < first; s->counted++)
            s->line += s->text.p[s->counted] == '\n';
        s->why = end.why;
        if (s->why) return false;
        s->at = end.at + end.n;
        *one = sl_lit(s->text.p + first, last - first);
        if (last > first) return true;
    }
    return false;
}

static const char *const reading[] = { "select", "values", "with", "explain", NULL };
static const char *const writing[] = { "insert", "update", "delete",   "merge",   "replace", "create",
                                       "alter",  "drop",   "truncate", "comment", NULL };
/* Inside a statement that starts like a query these mean that it writes or takes locks. A query that uses such a word
 * as a name is taken for a write, which costs a transaction and is never wrong. */
static const char *const writes_inside[] = { "insert", "update", "delete", "merge", "into", "share", NULL };

static const char *const hosts[] = {
    "begin",  "start",    "commit",  "end",     "rollback", "abort",      "savepoint",  "release", "pragma", "attach",
    "detach", "vacuum",   "analyze", "reindex", "cluster",  "set",        "reset",      "show",    "copy",   "lock",
    "listen", "unlisten", "notify",  "prepare", "execute",  "deallocate", "discard",    "declare", "fetch",  "close",
    "move",   "do",       "call",    "load",    "grant",    "revoke",     "checkpoint", NULL
};

static bool is_one_of(sl_str sql, struct sql_token t, const char *const *words)
{
    for (; *words; words++)
        if (sql_is(sql, t, *words)) return true;
    return false;
}

enum sql_class sql_classify(sl_str sql, char *why, size_t why_size)
{
    struct sql_token t = sql_token(sql, 0);
    while (t.kind == SQL_OTHER && sql.p[t.at] == '(')
        t = sql_token(sql, t.at + 1);
    struct sql_token verb = t;
    size_t first, last;
    struct sql_token end = t.kind == SQL_BAD ? t : statement_end(sql, 0, &first, &last);
    if (end.kind == SQL_BAD) {
        snprintf(why, why_size, "malformed SQL: %s", end.why);
        return SQL_MALFORMED;
    }
    if (t.kind == SQL_END || t.kind == SQL_SEMICOLON) {
        snprintf(why, why_size, "the statement is empty");
        return SQL_MALFORMED;
    }
    for (struct sql_token more = end; more.kind != SQL_END; more = sql_token(sql, more.at + more.n))
        if (more.kind != SQL_SEMICOLON) {
            snprintf(why, why_size, "the text holds several statements; one at a time");
            return SQL_MALFORMED;
        }
    if (is_one_of(sql, verb, writing)) return SQL_WRITES;
    bool known = is_one_of(sql, verb, reading), host = !known && is_one_of(sql, verb, hosts);
    sl_str word = str_sub(sql, verb.at, verb.n > 40 ? 40 : verb.n);
    if (host)
        snprintf(why, why_size, "%.*s is not allowed here; transactions and settings are the host's", STR_ARG(word));
    else if (!known)
        snprintf(why, why_size, "no statement begins with %.*s", STR_ARG(word));
    if (!known) return host ? SQL_REFUSED : SQL_MALFORMED;
    for (size_t i = verb.at + verb.n; (t = sql_token(sql, i)).kind != SQL_END; i = t.at + t.n)
        if (is_one_of(sql, t, writes_inside)) return SQL_WRITES;
    return SQL_READS;
}

bool sql_expand(buf *out, sl_str sql, const struct sql_names *names, char *why, size_t why_size)
{
    size_t copied = 0;
    struct sql_token t;
    for (size_t i = 0; (t = sql_token(sql, i)).kind != SQL_END; i = t.at + t.n) {
        if (t.kind == SQL_BAD) {
            snprintf(why, why_size, "malformed SQL: %s", t.why);
            return false;
        }
        if (t.kind != SQL_PLACEHOLDER) continue;
        const struct sql_names *name = names;
        while (name->name && !sl_is(sl_lit(sql.p + t.at + 2, t.n - 4), name->name))
            name++;
        if (!name->name) {
            snprintf(why, why_size, "unknown placeholder %.*s", (int)(t.n > 60 ? 60 : t.n), sql.p + t.at);
            return false;
        }
        buf_add(out, sql.p + copied, t.at - copied);
        buf_add_cstr(out, name->text);
        copied = t.at + t.n;
    }
    buf_add(out, sql.p + copied, sql.n - copied);
    return true;
}
