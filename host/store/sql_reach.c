/* sql_reach.c - which tables and functions a statement names, read without an engine: what a plugin's grants are
 * checked against. */
#include "store/sql.h"

/* Both engines must read the text as it is read here, so whatever they read differently is "unclear": escape and dollar
 * strings, [names], carriage returns, numbers that run into words, parameters other than $1. A table can stand behind
 * FROM, JOIN, INTO, UPDATE, TABLE, IN (SQLite) and USING, and behind commas in such lists; nothing else reaches one but
 * functions that are handed a query or a name, so functions are known ones or none. */
enum { DEPTH_MAX = 64, CTES_MAX = 32 };

/* One pair of parentheses. */
struct level {
    bool query, deleting, listing, expecting,
        target;                      /* target: of a write; a WITH's name does not hide a table there */
    bool ordinary_from, ordinary_in; /* extract(x from y), position(x in y) */
    bool body;                       /* of a name in the WITH */
};

struct reader {
    sl_str sql;
    const struct sql_reach *ask;
    struct level levels[DEPTH_MAX];
    size_t depth;
    struct sql_token before, before2; /* the two tokens before this one */
    bool with, recursive, naming;     /* in the list of a WITH that begins the statement; its next name is due */
    struct cte {
        struct sql_token name;
        bool visible;
    } ctes[CTES_MAX];
    size_t n_ctes;
    bool columns; /* a name was taken whose parentheses hold columns */
    enum sql_reached result;
    char *why;
    size_t why_size;
};

static bool is_any(sl_str word, const char *list)
{
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, " ");
        if (n == word.n && str_equal_nocase(sl_lit(p, n), word)) return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

static sl_str text(const struct reader *r, struct sql_token t) { return sl_lit(r->sql.p + t.at, t.n); }
static bool word(const struct reader *r, struct sql_token t, const char *list)
{
    return t.kind == SQL_WORD && is_any(text(r, t), list);
}
static char first(const struct reader *r, struct sql_token t) { return t.n ? r->sql.p[t.at] : 0; }
static char byte(const struct reader *r, size_t i) { return i < r->sql.n ? r->sql.p[i] : 0; }
static bool sign(const struct reader *r, struct sql_token t, char c) { return t.kind == SQL_OTHER && first(r, t) == c; }
static bool letter(char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }
static bool word_byte(char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_' || (unsigned char)c >= 0x80; }

static bool unclear(struct reader *r, const char *what)
{
    r->result = SQL_UNCLEAR;
    snprintf(r->why, r->why_size, "%s", what);
    return false;
}

/* ---- texts that the engines read differently ---- */
/* 12, 1.5, 1e9, 1.5e-9; not 1from, which was 1 FROM to older PostgreSQL. */
static bool plain_number(const struct reader *r, struct sql_token t)
{
    size_t i = t.at, end = t.at + t.n;
    while (i < end && (byte(r, i) == '.' || (byte(r, i) >= '0' && byte(r, i) <= '9')))
        i++;
    if (i == end) return true;
    if ((byte(r, i) | 32) != 'e') return false;
    if (i + 1 == end) return byte(r, end) == '-' || byte(r, end) == '+';
    while (++i < end && byte(r, i) >= '0' && byte(r, i) <= '9')
        continue;
    return i == end;
}

static bool plain(struct reader *r, struct sql_token t)
{
    char c = first(r, t), next = byte(r, t.at + t.n);
    size_t end = t.at + t.n;
    switch (t.kind) {
    case SQL_QUOTED:
        return c == '\'' || c == '"' || unclear(r, "uses an escape or dollar string: write '...'");
    case SQL_PARAM:
        for (; byte(r, end) == ':' || word_byte(byte(r, end)); end++)
            continue;
        return byte(r, end) != '(' || unclear(r, "has a parenthesis right behind a parameter: put a blank between");
    case SQL_WORD:
        return t.n != 1 || (c | 32) != 'u' || next != '&' || unclear(r, "uses a U& name or string");
    case SQL_OTHER:
        if (c >= '0' && c <= '9') return plain_number(r, t) || unclear(r, "has a number that runs into a word");
        if (c == '[') return unclear(r, "uses square brackets");
        if ((c == '@' || c == '#') && (word_byte(next) || next == '(' || next == ':'))
            return unclear(r, "uses named parameters: write $1");
        if (c == ':' && byte(r, t.at - 1) != ':' && (next != ':' || byte(r, end + 1) == ':'))
            return unclear(r, "uses named parameters: write $1");
        return true;
    case SQL_BAD:
        return unclear(r, "is malformed");
    default:
        return true;
    }
}

/* ---- names ---- */
/* Lower case, without its quotes; empty when it does not fit. */
static sl_str name_of(const struct reader *r, struct sql_token t, char room[64])
{
    sl_str s = text(r, t);
    size_t n = 0;
    if (t.kind == SQL_QUOTED) s = sl_lit(s.p + 1, s.n - 2);
    for (size_t i = 0; i < s.n; i++) {
        if (n == 63) return sl_lit("", 0);
        if (t.kind == SQL_QUOTED && s.p[i] == r->sql.p[t.at]) i++; /* doubled */
        if (i < s.n) room[n++] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 32 : s.p[i]);
    }
    room[n] = 0;
    return sl_lit(room, n);
}

static bool is_cte(const struct reader *r, sl_str name)
{
    char room[64];
    for (size_t i = 0; i < r->n_ctes; i++)
        if (r->ctes[i].visible && sl_same(name_of(r, r->ctes[i].name, room), name)) return true;
    return false;
}

static bool take_table(struct reader *r, struct sql_token t, struct sql_token next)
{
    struct level *l = &r->levels[r->depth];
    char room[64];
    sl_str name = name_of(r, t, room);
    if (sign(r, next, '(') && !l->target) { /* a function that gives rows: looked at with the parenthesis */
        l->expecting = false;
        return true;
    }
    if (sign(r, next, '.')) return unclear(r, "names a table by its schema");
    bool hidden = !l->target && is_cte(r, name);
    l->expecting = l->target = false;
    r->columns = true;
    if (hidden || (name.n && r->ask->table(r->ask->arg, name))) return true;
    r->result = SQL_DENIED;
    snprintf(r->why, r->why_size, "names the table %.*s, which is not among the plugin's grants (store:TABLE)",
             (int)(t.n < 63 ? t.n : 63), r->sql.p + t.at);
    return false;
}

/* Functions that both engines, or one of them, bring, and that see nothing but their arguments; and types with a size.
 */
static const char functions[] =
    "abs acos asin atan atan2 avg bit_length btrim ceil ceiling char_length character_length chr coalesce concat "
    "concat_ws "
    "cos count cume_dist date date_part date_trunc datetime decode degrees dense_rank encode every exp extract "
    "first_value floor format gen_random_uuid glob greatest group_concat hex ifnull iif initcap instr json json_agg "
    "json_array json_array_elements json_array_elements_text json_array_length json_build_array json_build_object "
    "json_each "
    "json_each_text json_extract json_extract_path json_extract_path_text json_group_array json_group_object "
    "json_insert "
    "json_object json_object_agg json_object_keys json_patch json_quote json_remove json_replace json_set json_tree "
    "json_type json_typeof json_valid jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length "
    "jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text "
    "jsonb_object_agg jsonb_object_keys jsonb_set jsonb_typeof julianday lag last_value lead least left length ln log "
    "log10 log2 lower lpad ltrim make_interval max md5 min mod now nth_value ntile nullif octet_length percent_rank pi "
    "position pow power printf quote radians random rank regexp_match regexp_replace repeat replace reverse right "
    "round "
    "row_number row_to_json rpad rtrim sha256 sign sin split_part sqrt starts_with stddev strftime string_agg strpos "
    "substr substring sum tan time timezone to_char to_date to_json to_jsonb to_number to_timestamp total translate "
    "trim "
    "trunc typeof unhex unicode unixepoch unnest upper array_agg array_length bool_and bool_or generate_series overlay "
    "var_pop var_samp variance width_bucket zeroblob cast bit char character decimal interval numeric timestamp "
    "timestamptz varchar varying";
/* Words that parentheses may follow without being a call. */
static const char with_parentheses[] =
    "all and any array as asc between by case conflict cube desc distinct do else end except exists filter first from "
    "group having ilike in intersect into is join key lateral like limit materialized not nothing nulls of offset on "
    "only or "
    "order over partition range recursive returning rollup row rows select set sets some then union using values when "
    "where with within";

static bool take_function(struct reader *r)
{
    struct sql_token t = r->before;
    char room[64];
    bool quoted = t.kind == SQL_QUOTED && first(r, t) == '"';
    if (t.kind != SQL_WORD && !quoted) return true;
    if (sign(r, r->before2, '.')) return unclear(r, "calls a function by its schema");
    if (r->columns || word(r, r->before2, "as") || sign(r, r->before2, ')') || word(r, t, with_parentheses))
        return true;
    sl_str name = name_of(r, t, room);
    if (is_any(name, functions)) return true;
    r->result = SQL_UNCLEAR;
    snprintf(r->why, r->why_size, "calls the function %.*s, which is not one that plugins may call",
             (int)(t.n < 63 ? t.n : 63), r->sql.p + t.at);
    return false;
}

/* ---- the walk ---- */
static bool open_level(struct reader *r)
{
    struct level *l = &r->levels[r->depth];
    if (!l->expecting && !take_function(r)) return false;
    if (r->depth + 1 == DEPTH_MAX) return unclear(r, "is nested too deep");
    struct level *in = &r->levels[++r->depth];
    *in = (struct level){ .expecting = l->expecting, .listing = l->expecting };
    in->ordinary_from = word(r, r->before, "extract substring trim overlay");
    in->ordinary_in = word(r, r->before, "position");
    in->body = r->depth == 1 && r->with && word(r, r->before, "as materialized");
    l->expecting = false;
    return !l->target || unclear(r, "writes to something in parentheses");
}

static bool close_level(struct reader *r)
{
    if (!r->depth) return unclear(r, "closes a parenthesis that was not opened");
    if (r->levels[r->depth].expecting) return unclear(r, "lacks a table's name");
    if (r->levels[r->depth--].body && r->n_ctes) r->ctes[r->n_ctes - 1].visible = true;
    return true;
}

static bool take_with(struct reader *r, struct sql_token t)
{
    if (word(r, t, "recursive") && r->naming && !r->n_ctes) {
        r->recursive = true;
        return true;
    }
    if (!r->naming) return true;
    if (r->n_ctes == CTES_MAX) return unclear(r, "has too many names in its WITH");
    r->ctes[r->n_ctes++] = (struct cte){ t, r->recursive };
    r->naming = false;
    r->columns = true;
    return true;
}

static bool expect(struct level *l, bool target)
{
    l->expecting = true;
    l->target = target;
    return true;
}

static bool take_from(struct reader *r, struct level *l)
{
    if (word(r, r->before, "distinct") && word(r, r->before2, "is not")) return true;
    if (!l->query) return l->ordinary_from || unclear(r, "has a FROM that belongs to no query");
    l->listing = true;
    return expect(l, word(r, r->before, "delete"));
}

static bool take_word(struct reader *r, struct sql_token t, struct sql_token next)
{
    struct level *l = &r->levels[r->depth];
    if (word(r, t, "select delete merge values insert replace")) {
        if (sign(r, next, '(') && word(r, t, "replace insert")) return true; /* functions of that name */
        if (r->depth == 0) r->with = false;
        l->query = l->query || word(r, t, "select delete merge");
        l->deleting = word(r, t, "delete merge");
        l->listing = l->expecting = false;
        return true;
    }
    if (word(r, t, "update")) {
        if (word(r, r->before, "for key do then")) return true;
        if (r->depth == 0) r->with = false;
        l->query = true;
        return expect(l, true);
    }
    if (word(r, t, "into table")) {
        r->with = r->with && r->depth;
        return expect(l, true);
    }
    if (r->depth == 0 && r->with) return take_with(r, t);
    if (word(r, t, "from")) return take_from(r, l);
    if (word(r, t, "join")) return expect(l, false);
    if (word(r, t, "using") && l->deleting) {
        l->listing = true;
        return expect(l, false);
    }
    if (word(r, t, "in") && !sign(r, next, '(') && !l->ordinary_in) return expect(l, false);
    if (word(r, t, "where group having order limit union intersect except returning")) /* reserved in both engines */
        l->listing = false;
    return true;
}

static bool take(struct reader *r, struct sql_token t, struct sql_token next)
{
    struct level *l = &r->levels[r->depth];
    bool named = t.kind == SQL_WORD || t.kind == SQL_QUOTED;
    if (!plain(r, t)) return false;
    if (sign(r, t, '(')) {
        bool good = open_level(r);
        r->columns = false;
        return good;
    }
    r->columns = false;
    if (sign(r, t, ')')) return close_level(r);
    if (l->expecting && word(r, t, "only lateral")) return true;
    if (l->expecting && !l->target &&
        word(r, t, "with")) { /* its names count as tables: only the first WITH's do not */
        l->expecting = false;
        return true;
    }
    if (l->expecting && (l->target || !word(r, t, "select values")))
        return named ? take_table(r, t, next) : unclear(r, "lacks a table's name");
    if (sign(r, t, ',')) {
        if (r->depth == 0 && r->with) r->naming = true;
        if (l->listing) l->expecting = true;
    }
    if (t.kind == SQL_QUOTED && r->depth == 0 && r->with) return take_with(r, t);
    return t.kind != SQL_WORD || sign(r, r->before, '.') || take_word(r, t, next);
}

enum sql_reached sql_reach(sl_str sql, const struct sql_reach *ask, char *why, size_t why_size)
{
    struct reader r = { .sql = sql, .ask = ask, .result = SQL_WITHIN, .why = why, .why_size = why_size };
    struct sql_token t = sql_token(sql, 0), next, verb = t;
    if (memchr(sql.p, '\r', sql.n)) unclear(&r, "holds a carriage return");
    while (sign(&r, verb, '('))
        verb = sql_token(sql, verb.at + 1);
    if (r.result == SQL_WITHIN && !word(&r, verb, "select insert update delete with values replace"))
        unclear(&r, "is none of select, insert, update, delete: what makes tables is for migrations");
    if (word(&r, t, "with")) {
        r.with = r.naming = true;
        r.before = t;
        t = sql_token(sql, t.at + t.n);
    }
    for (; r.result == SQL_WITHIN && t.kind != SQL_END; t = next) {
        next = t.kind == SQL_BAD ? t : sql_token(sql, t.at + t.n);
        if (!take(&r, t, next)) break;
        r.before2 = r.before;
        r.before = t;
    }
    if (r.result == SQL_WITHIN && (r.depth || r.levels[0].expecting)) unclear(&r, "ends too early");
    return r.result;
}
