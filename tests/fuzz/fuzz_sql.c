/* fuzz_sql.c - statement texts of plugins: the tokenizer that classifies and splits them for both engines. */
#include "fuzz.h"
#include "store/sql.h"

static bool granted(void *arg, sl_str name)
{
    (void)arg;
    return name.n > 0 && name.p[0] == 'm';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sql_names names[] = { { "blob", "bytea" }, { "now", "1" }, { NULL, NULL } };
    sl_str sql = sl_lit(size ? (const char *)data : "", size), one;
    char why[256] = "";
    struct sql_script script = { .text = sql, .line = 1 };
    for (size_t at = 0;;) {
        struct sql_token t = sql_token(sql, at);
        if (t.kind == SQL_END || t.kind == SQL_BAD) break;
        if (t.n == 0 || t.at < at || t.at + t.n > size) abort();
        at = t.at + t.n;
    }
    while (sql_next(&script, &one))
        if (one.n == 0 || one.p < sql.p || one.p + one.n > sql.p + sql.n) abort();
    enum sql_class class = sql_classify(sql, why, sizeof why);
    if ((class == SQL_REFUSED || class == SQL_MALFORMED) && !*why) abort();
    if (class != SQL_REFUSED && class != SQL_MALFORMED) {
        static const struct sql_reach ask = { .table = granted };
        why[0] = 0;
        if ((sql_reach(sql, &ask, why, sizeof why) == SQL_WITHIN) != (why[0] == 0)) abort();
    }
    buf out = { .max = 1 << 20 };
    sql_expand(&out, sql, names, why, sizeof why);
    buf_free(&out);
    return 0;
}
