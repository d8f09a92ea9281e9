/* test_store_rows.c - many deferred rows in one transaction: the same table in the end on PostgreSQL, which takes them
 * together, and on SQLite, which takes one after the other. */
#include "postgres_fixture.h"

static void table(call *c)
{
    CHECK_ERR(query(c, NULL, "drop table if exists rows_of"), SL_OK);
    CHECK_ERR(query(c, NULL, "drop table if exists others"), SL_OK);
    CHECK_ERR(query(c, NULL,
                    "create table rows_of (seq {{serial}}, id text unique, n bigint, r double precision, b {{blob}}, "
                    "word text)"),
              SL_OK);
    CHECK_ERR(query(c, NULL, "create table others (seq {{serial}}, id text not null)"), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
}

#define INTO "insert into rows_of (id, n, r, b, word) values "
#define ROW  INTO "($1, $2, $3, $4, nullif($5, '')) on conflict do nothing"

static sl_err add(call *c, const char *sql, int i, bool sparse)
{
    char id[16], bytes[] = { 0, 1, (char)255 };
    snprintf(id, sizeof id, "%d", i);
    const sl_value args[] = { T(id), sparse && i % 3 ? N : I((int64_t)i << 33), R(i / 8.0),
                              sparse && i % 2 ? N : B(bytes, 3), T(i % 5 ? "it's {\"a\\b\", NULL}" : "") };
    return store_defer_row(c, sl_cstr(sql), args, 5, 0);
}

/* How many statements wrote the rows that are there: PostgreSQL notes it in each row. */
static void statements(call *c, int want)
{
    if (store_engine() == STORE_POSTGRES)
        CHECK_ERR((int)number(c, "select count(distinct cmin::text::bigint) from rows_of"), want);
}

static void what_is_written(call *c)
{
    table(c);
    for (int i = 0; i < 2500; i++)
        CHECK_ERR(add(c, ROW, i, true), SL_OK);
    CHECK_ERR(add(c, ROW, 7, true), SL_OK); /* once more, in the same statement perhaps */
    CHECK_ERR(store_commit(c), SL_OK);
    statements(c, 3);
    CHECK_ERR((int)number(c, "select count(*) from rows_of"), 2500);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where cast(id as bigint) + 1 <> seq"), 0);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where n = 8589934592 * cast(id as bigint)"), 834);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where n is null"), 1666);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where r * 8 = cast(id as bigint)"), 2500);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where b is null"), 1250);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where length(b) = 3"), 1250);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where word = 'it''s {\"a\\b\", NULL}'"), 2000);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where word is null"), 500);
}

static void what_keeps_its_place(call *c)
{
    const sl_value one[] = { T("1") }, other[] = { T("other") };
    table(c);
    for (int i = 0; i < 20; i++) { /* two texts in turn, and a write between that has to see the rows before it */
        CHECK_ERR(add(c, ROW, i, false), SL_OK);
        CHECK_ERR(store_defer_row(c, SL("insert into others (id) values ($1)"), other, 1, 0), SL_OK);
        if (i == 9) CHECK_ERR(store_defer(c, SL("delete from rows_of where id <> $1"), one, 1, 9), SL_OK);
    }
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from rows_of"), 11);
    CHECK_ERR((int)number(c, "select count(*) from others"), 20);
    statements(c, 2);
    /* Nothing of it is there after a rollback, nor when a statement fails. */
    for (int i = 100; i < 200; i++)
        CHECK_ERR(add(c, ROW, i, false), SL_OK);
    store_rollback(c);
    for (int i = 100; i < 200; i++)
        CHECK_ERR(add(c, INTO "($1, $2, $3, $4, $5)", i < 199 ? i : 150, false), SL_OK);
    CHECK_ERR(store_commit(c), SL_ECONFLICT);
    CHECK_ERR((int)number(c, "select count(*) from rows_of"), 11);
}

/* Rows that cannot stand in one statement with others are written all the same. */
static void what_goes_alone(call *c)
{
    static char large[100001];
    memset(large, 'l', sizeof large - 1);
    const sl_value empty[] = { T("999"), N, N, N, N }, heavy[] = { N, I(1), R(1), B("", 0), T(large) };
    table(c);
    for (int i = 0; i < 10; i++) /* a parameter that no row has */
        CHECK_ERR(store_defer_row(c, SL(INTO "($1, $2, $3, $4, $5) on conflict (id) do nothing"), empty, 5, 0), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from rows_of"), 1);
    for (int i = 0; i < 10; i++) /* each sees the rows before it */
        CHECK_ERR(add(c, INTO "($1, (select count(*) from rows_of) + $2 * 0, $3, $4, $5)", i, false), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where n = cast(id as bigint) + 1"), 10);
    CHECK_ERR(query(c, NULL, "delete from rows_of"), SL_OK);
    for (int i = 0; i < 24; i++) /* a megabyte at most in one statement; parameters stand in any order */
        CHECK_ERR(store_defer_row(c, SL("insert into rows_of (word, n, b, r, id) values ($5, $2, $4, $3 * 2, $1)"),
                                  heavy, 5, 0),
                  SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where id is null and n = 1 and length(word) = 100000"), 24);
    table(c);
    const sl_value light[] = { T("h"), I(1), R(1), B("", 0), T(large) };
    for (int i = 0; i < 24; i++)
        CHECK_ERR(store_defer_row(c,
                                  SL("insert into rows_of (word, n, b, r, id) values ($5 || $1, $2, $4, $3 * 2, null)"),
                                  light, 5, 0),
                  SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where r = 2 and length(b) = 0 and length(word) = 100001"),
              24);
    statements(c, 3);
}

static sl_err change(call *c, int i, const char *word)
{
    char id[16];
    snprintf(id, sizeof id, "%d", i);
    return store_defer_row(c, SL("update rows_of set word = $2 || '.', n = n + 1 where id = $1 and word = 'old'"),
                           (const sl_value[]){ T(id), T(word) }, 2, 1);
}

static void what_is_changed(call *c)
{
    table(c);
    for (int i = 0; i < 100; i++)
        CHECK_ERR(store_defer_row(c, SL("insert into rows_of (id, n, word) values ($1, 1, 'old')"),
                                  (const sl_value[]){ { .type = SL_TEXT, .s = arena_printf(c->arena, "%d", i) } }, 1,
                                  1),
                  SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    statements(c, 1);
    for (int i = 0; i < 50; i++)
        CHECK_ERR(change(c, i, i == 7 ? "seven" : "new"), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where word = 'new.' and n = 2"), 49);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where word = 'seven.' and id = '7'"), 1);
    CHECK_ERR((int)number(c, "select count(*) from rows_of where word = 'old' and n = 1"), 50);
    statements(c, 1); /* each of both was the first of its transaction */
    /* One of them is not there: nothing of it happened. */
    for (int i = 91; i <= 100; i++)
        CHECK_ERR(change(c, i, "never"), SL_OK);
    CHECK_ERR(store_commit(c), SL_ECONFLICT);
    CHECK(strstr(store_error(c), "where"));
    CHECK_ERR((int)number(c, "select count(*) from rows_of where word = 'old' and n = 1"), 50);
}

static void on_all(void (*body)(call *c))
{
    const char *dsns[] = { direct(), cluster_dsn, "" };
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(open_store(call_current(), dsns[i], 2), SL_OK);
        body(call_current());
        store_close(call_current());
    }
}

static void written(call *c)
{
    (void)c;
    on_all(what_is_written);
}
static void rows_of_all_types_arrive_in_order(void **state)
{
    (void)state;
    on_loop(written);
}

static void placed(call *c)
{
    (void)c;
    on_all(what_keeps_its_place);
}
static void rows_do_not_pass_other_writes(void **state)
{
    (void)state;
    on_loop(placed);
}

static void alone(call *c)
{
    (void)c;
    on_all(what_goes_alone);
}
static void rows_that_fit_with_no_others_are_written_too(void **state)
{
    (void)state;
    on_loop(alone);
}

static void changed(call *c)
{
    (void)c;
    on_all(what_is_changed);
}
static void changed_rows_are_counted_together(void **state)
{
    (void)state;
    on_loop(changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_all_types_arrive_in_order),
        cmocka_unit_test(rows_do_not_pass_other_writes),
        cmocka_unit_test(changed_rows_are_counted_together),
        cmocka_unit_test(rows_that_fit_with_no_others_are_written_too),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
