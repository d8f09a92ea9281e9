/* test_store_sql.c - telling queries from writes, refusing what is the host's, cutting scripts, filling in
 * placeholders. */
#include "store/sql.h"
#include "unit.h"

static char why[200];
static enum sql_class class_of(const char *sql) { return sql_classify(sl_cstr(sql), why, sizeof why); }

static void queries_are_told_from_writes(void **state)
{
    (void)state;
    static const char *const reads[] = {
        "select 1",
        "  SELECT 1;",
        "-- delete\nselect 1",
        "/* insert */ select 'update', \"delete\" from t -- into",
        "with x as (select 1) select * from x",
        "values (1)",
        "(select 1) union (select 2)",
        "explain select 1",
        "select substring(a from 1 for 2) from t",
        "select $$ insert into x $$",
        "select replace(a, 'x', 'y') from t; ; ",
        "select updated_at, e'it\\'s delete' from t",
    };
    static const char *const writes[] = {
        "insert into t values (1)",
        "\n\tUPDATE t set a = 1",
        "delete from t",
        "with x as (select 1) insert into t select * from x",
        "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
        "select * from t for update",
        "select * from t FOR UPDATE skip locked",
        "select * from t for no key update",
        "select * from t for share",
        "select 1 into t",
        "create table t (a text)",
        "/**/drop table t",
        "explain analyze insert into t values (1)",
        "truncate t",
        "create trigger x after insert on t begin insert into u values (1); delete from v; end;",
    };
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++)
        if (class_of(reads[i]) != SQL_READS) fail_msg("not a query: %s (%s)", reads[i], why);
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++)
        if (class_of(writes[i]) != SQL_WRITES) fail_msg("not a write: %s (%s)", writes[i], why);
}

static void what_is_the_hosts_is_refused(void **state)
{
    (void)state;
    static const char *const refused[] = { "pragma journal_mode=off",
                                           "/* x */ PRAGMA user_version",
                                           "attach 'x' as y",
                                           "begin",
                                           "COMMIT",
                                           "rollback",
                                           "savepoint a",
                                           "vacuum",
                                           "set role x",
                                           "copy t to '/x'",
                                           "lock t",
                                           "do $$ x $$",
                                           "listen x",
                                           "call f()",
                                           "prepare x as select 1" };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (class_of(refused[i]) != SQL_REFUSED) fail_msg("not refused: %s", refused[i]);
    class_of("pragma x");
    assert_string_equal(why, "pragma is not allowed here; transactions and settings are the host's");
}

static void several_statements_and_open_quotes_are_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "  -- only a comment",
                                       ";",
                                       "select 1; select 2",
                                       "select 1;/* */ delete from t",
                                       "select 'x",
                                       "select \"x",
                                       "select /* x",
                                       "select /* a /* b */ 1 */",
                                       "select $a",
                                       "select $x$ y",
                                       "select `a`",
                                       "insert into t values ('a'';delete from t" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (class_of(bad[i]) != SQL_MALFORMED) fail_msg("not malformed: %s", bad[i]);
}

static void a_script_is_cut_at_its_semicolons_only(void **state)
{
    (void)state;
    struct sql_script s = {
        .text = SL("-- first; comment\ncreate table a (b text default ';');\n\n;insert into a values ('x;''y');\n"
                   "create function f() as $body$ begin; end; $body$;\n/* ; */\n"
                   "create trigger t after insert on a begin\n delete from b;\n select case when 1 then 2 end;\nend;\n"
                   "select 1"),
        .line = 1
    };
    static const struct {
        size_t line;
        const char *text;
    } want[] = {
        { 2, "create table a (b text default ';')" },
        { 4, "insert into a values ('x;''y')" },
        { 5, "create function f() as $body$ begin; end; $body$" },
        { 7, "create trigger t after insert on a begin\n delete from b;\n select case when 1 then 2 end;\nend" },
        { 11, "select 1" },
    };
    sl_str one;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(sql_next(&s, &one));
        assert_int_equal(one.n, strlen(want[i].text));
        assert_memory_equal(one.p, want[i].text, one.n);
        assert_int_equal(s.line, want[i].line);
    }
    assert_false(sql_next(&s, &one));
    assert_null(s.why);
    s = (struct sql_script){ .text = SL("select 1;\n\nselect 'open"), .line = 1 };
    assert_true(sql_next(&s, &one));
    assert_false(sql_next(&s, &one));
    assert_string_equal(s.why, "a string is not closed");
    assert_int_equal(s.line, 3);
}

static void placeholders_are_filled_in_outside_quotes(void **state)
{
    (void)state;
    static const struct sql_names names[] = { { "now", "NOW()" }, { "none", "" }, { NULL, NULL } };
    buf b;
    buf_init(&b, 1000);
    assert_true(
        sql_expand(&b, SL("select {{now}}, '{{now}}', \"{{x}}\" -- {{y}}\n from t {{none}}"), names, why, sizeof why));
    static const char want[] = "select NOW(), '{{now}}', \"{{x}}\" -- {{y}}\n from t ";
    assert_int_equal(b.n, sizeof want - 1);
    assert_memory_equal(b.p, want, b.n);
    assert_false(sql_expand(&b, SL("select {{when}}"), names, why, sizeof why));
    assert_string_equal(why, "unknown placeholder {{when}}");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_are_told_from_writes),
        cmocka_unit_test(what_is_the_hosts_is_refused),
        cmocka_unit_test(several_statements_and_open_quotes_are_malformed),
        cmocka_unit_test(a_script_is_cut_at_its_semicolons_only),
        cmocka_unit_test(placeholders_are_filled_in_outside_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
