/* test_store.c - one store, memory and SQLite alike: transactions, isolation, deferred writes, parameters, errors,
 * limits. */
#include "store_unit.h"

static bool in_memory;
static void open_table(call *c)
{
    unit_open(c, in_memory ? "" : unit_dsn);
    GOOD(c, "create table t (id text primary key, n bigint not null check (n >= 0))");
    GOOD(c, "create table child (id text primary key, t text references t (id))");
    CHECK(store_commit(c) == SL_OK);
}
static void on_both(void (*body)(call *c))
{
    in_memory = true;
    in_store(body);
    in_memory = false;
    in_store(body);
}

static void commit_and_rollback_body(call *c)
{
    open_table(c);
    CHECK(!store_in_transaction(c));
    GOOD(c, "insert into t values ($1, $2)", "a", 1);
    CHECK(store_in_transaction(c));
    CHECK(N(c, "select n from t where id = 'a'") == 1);
    store_rollback(c);
    CHECK(!store_in_transaction(c));
    CHECK(N(c, "select count(*) from t") == 0);
    GOOD(c, "insert into t values ($1, $2)", "a", 1);
    CHECK(store_commit(c) == SL_OK);
    CHECK(!store_in_transaction(c));
    CHECK(N(c, "select n from t") == 1);
    CHECK(store_commit(c) == SL_OK); /* nothing to commit is fine */
    store_rollback(c);
    CHECK(N(c, "select n from t") == 1);
    CHECK(store_stats().commits == 2 && store_stats().rollbacks == 1 && store_stats().up);
    CHECK(store_ping(c) == SL_OK);
    CHECK(strcmp(store_engine_name(), in_memory ? "memory" : "sqlite") == 0);
    CHECK(store_durable() == !in_memory);
}
static void what_is_committed_stays_and_what_is_rolled_back_goes(void **state)
{
    (void)state;
    on_both(commit_and_rollback_body);
}

static void failure_breaks_body(call *c)
{
    open_table(c);
    GOOD(c, "insert into t values ('a', 1)");
    CHECK(Q(c, "insert into t values ('a', 2)") == SL_ECONFLICT);
    CHECK(strstr(store_error(c), "UNIQUE") != NULL);
    CHECK(Q(c, "insert into t values ('b', 2)") == SL_ESTATE);
    CHECK(Q(c, "select 1") == SL_ESTATE);
    CHECK(store_commit(c) == SL_ESTATE);
    CHECK(strstr(store_error(c), "UNIQUE") != NULL);
    CHECK(!store_in_transaction(c));
    CHECK(N(c, "select count(*) from t") == 0);
}
static void a_failed_statement_leaves_only_the_way_back(void **state)
{
    (void)state;
    on_both(failure_breaks_body);
}

static void visible(call *c, void *arg) { *(int64_t *)arg = N(c, "select count(*) from t"); }
static void wrote_and_waits(call *c, void *arg)
{
    GOOD(c, "insert into t values ($1, 1)", (const char *)arg);
    call_sleep(c, 20);
    if (*(const char *)arg == 'r')
        store_rollback(c);
    else
        CHECK(store_commit(c) == SL_OK);
}
static void isolation_body(call *c)
{
    int64_t during = -1;
    open_table(c);
    static char first[] = "commits", second[] = "rolls back", third[] = "x commits too";
    spawn(0, wrote_and_waits, first);
    spawn(0, wrote_and_waits, second);
    spawn(0, wrote_and_waits, third);
    spawn(0, visible, &during);
    call_sleep(c, 5);
    /* In memory the reader waited for the line of writers; beside a file it saw the state before them. */
    CHECK(in_memory ? during == -1 : during == 0);
    join(c);
    CHECK(in_memory ? during == 2 : during == 0);
    CHECK(N(c, "select count(*) from t") == 2);
    CHECK(N(c, "select count(*) from t where id = 'rolls back'") == 0);
}
static void concurrent_calls_do_not_see_or_undo_each_other(void **state)
{
    (void)state;
    on_both(isolation_body);
}

static int hooks;
static void hook(void *arg) { hooks += *(int *)arg; }
static void deferred_body(call *c)
{
    static int one = 1, hundred = 100;
    char changing[8] = "later";
    sl_value v[] = { sl_ctext(changing), sl_int(7) };
    hooks = 0;
    open_table(c);
    GOOD(c, "insert into t values ('now', 1)");
    CHECK(store_defer(c, SL("insert into t values ($1, $2)"), v, 2, 1) == SL_OK);
    memset(changing, 'x', 5); /* arguments were copied */
    store_after_commit(c, hook, &one);
    CHECK(N(c, "select count(*) from t") == 1);
    CHECK(hooks == 0);
    CHECK(store_commit(c) == SL_OK);
    CHECK(hooks == 1);
    CHECK(N(c, "select n from t where id = 'later'") == 7);
    /* without a transaction */
    CHECK(store_defer(c, SL("update t set n = n + 1 where id = 'later'"), NULL, 0, 1) == SL_OK);
    CHECK(!store_in_transaction(c));
    CHECK(store_commit(c) == SL_OK);
    CHECK(N(c, "select n from t where id = 'later'") == 8);
    /* a wrong count undoes all of it and no hook runs */
    GOOD(c, "insert into t values ('gone', 1)");
    CHECK(store_defer(c, SL("update t set n = 0 where id = 'nobody'"), NULL, 0, 1) == SL_OK);
    store_after_commit(c, hook, &hundred);
    CHECK(store_commit(c) == SL_ECONFLICT);
    CHECK(!store_in_transaction(c));
    CHECK(hooks == 1);
    CHECK(N(c, "select count(*) from t") == 2);
    /* rolled back */
    CHECK(store_defer(c, SL("delete from t"), NULL, 0, 0) == SL_OK);
    store_after_commit(c, hook, &hundred);
    store_rollback(c);
    CHECK(store_commit(c) == SL_OK && hooks == 1);
    CHECK(N(c, "select count(*) from t") == 2);
    CHECK(store_defer(c, SL("select 1"), NULL, 0, 0) == SL_EINVAL);
    for (int i = 0; i < 10000; i++)
        CHECK(store_defer(c, SL("delete from child"), NULL, 0, 0) == SL_OK);
    CHECK(store_defer(c, SL("delete from child"), NULL, 0, 0) == SL_ETOOBIG);
    store_rollback(c);
}
static void deferred_writes_and_hooks_go_with_the_commit(void **state)
{
    (void)state;
    on_both(deferred_body);
}

static void parameters_body(call *c)
{
    const sl_rows *r;
    open_table(c);
    sl_value v[11];
    for (int i = 0; i < 11; i++)
        v[i] = sl_int(i + 1);
    CHECK(store_query(c, &r, SL("select $10, $2, $1, $11, $2, $3+$4+$5+$6+$7+$8+$9"), v, 11) == SL_OK);
    CHECK(r->cells[0].i == 10 && r->cells[1].i == 2 && r->cells[2].i == 1 && r->cells[3].i == 11 && r->cells[4].i == 2);
    CHECK(r->cols == 6 && r->rows == 1 && r->changed == 0 && r->size == sizeof *r);
    sl_value mixed[] = { sl_text(sl_lit(NULL, 0)), sl_real(1.5), sl_blob(sl_lit("a\0b", 3)), sl_text(SL("")),
                         sl_blob(SL("")) };
    CHECK(store_query(c, &r, SL("select $1 as absent, $2 as half, $3 as bytes, $4 as empty, $5 as none"), mixed, 5) ==
          SL_OK);
    CHECK(sl_cell(r, 0, "absent").type == SL_NULL);
    CHECK(sl_cell(r, 0, "half").type == SL_REAL && sl_cell(r, 0, "half").d == 1.5);
    CHECK(sl_cell(r, 0, "bytes").type == SL_BLOB && sl_same(sl_cell(r, 0, "bytes").s, sl_lit("a\0b", 3)));
    CHECK(sl_cell(r, 0, "empty").type == SL_TEXT && sl_cell(r, 0, "empty").s.p && sl_cell(r, 0, "empty").s.n == 0);
    CHECK(sl_cell(r, 0, "none").type == SL_BLOB && sl_cell(r, 0, "none").s.n == 0);
    CHECK(Q(c, "select $1, $2", 1) == SL_EINVAL);
    CHECK(strstr(store_error(c), "$2") != NULL);
    CHECK(Q(c, "select $1", 1, 2) == SL_EINVAL);
    CHECK(Q(c, "select $1", sl_lit("a\xff", 2)) == SL_EINVAL);
    CHECK(Q(c, "select $1", sl_lit("a\0b", 3)) == SL_EINVAL);
    CHECK(Q(c, "select $1::text", "x") == SL_EINVAL);
    CHECK(Q(c, "select ?", 1) == SL_EINVAL);
    CHECK(Q(c, "select :name", 1) == SL_EINVAL);
    CHECK(N(c, "select count(*) from (select 1) as x where 'ABC' like 'abc'") == 0); /* as in PostgreSQL */
    CHECK(Q(c, "select \"nobody\"") == SL_EINVAL);
}
static void parameters_go_by_number_and_keep_their_types(void **state)
{
    (void)state;
    on_both(parameters_body);
}

static void changed_body(call *c)
{
    const sl_rows *r;
    open_table(c);
    sl_value two[] = { sl_ctext("a"), sl_ctext("b") };
    CHECK(store_query(c, &r, SL("insert into t values ($1, 1), ($2, 2) returning id, n"), two, 2) == SL_OK);
    CHECK(r->changed == 2 && r->rows == 2 && sl_is(r->names[0], "id") && sl_cell_int(r, 1, "n") == 2);
    CHECK(store_query(c, &r, SL("create table other (a {{serial}}, b {{blob}}, at bigint default ({{now}}))"), NULL,
                      0) == SL_OK);
    CHECK(r->changed == 0);
    CHECK(store_query(c, &r, SL("update t set n = 3 where id = 'x'"), NULL, 0) == SL_OK && r->changed == 0);
    CHECK(store_query(c, &r, SL("insert into t values ('a', 9) on conflict do nothing"), NULL, 0) == SL_OK &&
          r->changed == 0);
    CHECK(store_query(c, &r, SL("delete from t"), NULL, 0) == SL_OK && r->changed == 2);
    GOOD(c, "insert into other (b) values (null), (null)");
    CHECK(N(c, "select max(a) from other") == 2);
    int64_t at = N(c, "select {{now}} - at from other");
    CHECK(at >= 0 && at < 60000000);
    CHECK(llabs(N(c, "select {{now}}") - clock_now()) < 60000000);
    CHECK(store_commit(c) == SL_OK);
    CHECK(N(c, "select count(*) from other {{skip_locked}}") == 2);
}
static void writes_tell_how_many_rows_they_touched(void **state)
{
    (void)state;
    on_both(changed_body);
}

static void errors_body(call *c)
{
    static const struct {
        const char *sql;
        sl_err e;
        const char *says;
    } cases[] = {
        { "insert into t values ('a', 1)", SL_ECONFLICT, "UNIQUE" },
        { "insert into child values ('x', 'nobody')", SL_ENOENT, "FOREIGN KEY" },
        { "delete from t where id = 'a'", SL_ENOENT, "FOREIGN KEY" },
        { "insert into t values ('b', -1)", SL_EINVAL, "CHECK" },
        { "insert into t values ('b', null)", SL_EINVAL, "NOT NULL" },
        { "insert into nowhere values (1)", SL_EINVAL, "no such table" },
        { "selec 1", SL_EINVAL, "no statement begins with selec" },
        { "select 1 from", SL_EINVAL, "" },
        { "select 1; select 2", SL_EINVAL, "several" },
        { "select 'x", SL_EINVAL, "not closed" },
        { "select {{what}}", SL_EINVAL, "{{what}}" },
        { "pragma journal_mode=off", SL_EDENIED, "pragma" },
        { "attach '/tmp/x' as y", SL_EDENIED, "attach" },
        { "commit", SL_EDENIED, "commit" },
        { "insert into late values (1, 5)", SL_OK, "" },
        { "select json_extract('{}', '$')", SL_EINVAL, "json_extract" },
        { "select '{}' ->> 'a'", SL_EINVAL, "not authorized" },
        { "select 'a' like $1", SL_EINVAL, "$1" },
    };
    open_table(c);
    GOOD(c, "create table late (id bigint primary key, up bigint references late (id) deferrable initially deferred)");
    GOOD(c, "insert into t values ('a', 1)");
    GOOD(c, "insert into child values ('c', 'a')");
    CHECK(store_commit(c) == SL_OK);
    CHECK(strcmp(store_error(c), "") == 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sl_err e = store_query(c, NULL, sl_cstr(cases[i].sql), NULL, 0);
        if (e != cases[i].e || !strstr(store_error(c), cases[i].says)) {
            print_error("%s: %d %s\n", cases[i].sql, e, store_error(c));
            CHECK(false);
        }
        store_rollback(c);
    }
    GOOD(c, "insert into late values (1, 5)");
    CHECK(store_commit(c) == SL_ENOENT); /* checked at this call's end, not at the batch's */
    CHECK(N(c, "select count(*) from late") == 0);
    CHECK(!store_may_retry(c));
}
static void errors_have_their_code_and_a_sentence(void **state)
{
    (void)state;
    on_both(errors_body);
}

static void limits_body(call *c)
{
    char *big = malloc(2 << 20);
    memset(big, 'x', 2 << 20);
    open_table(c);
    CHECK(Q(c, "with recursive n (i) as (select 1 union all select i + 1 from n where i < 1001) select i from n") ==
          SL_ETOOBIG);
    CHECK(strstr(store_error(c), "1000 rows") != NULL);
    CHECK(N(c, "select count(*) from (with recursive n (i) as (select 1 union all select i + 1 from n where i < 1001) "
               "select i from n)") == 1001);
    CHECK(Q(c, "select $1", sl_lit(big, 2 << 20)) == SL_ETOOBIG);
    CHECK(Q(c, "select $1, $1, $1", sl_lit(big, 500000)) == SL_ETOOBIG);
    CHECK(strstr(store_error(c), "1048576 bytes") != NULL);
    CHECK(Q(c, "select $1, $1", sl_lit(big, 500000)) == SL_OK);
    CHECK(store_query(c, NULL, sl_lit(big, 300 << 10), NULL, 0) == SL_ETOOBIG);
    sl_value *many = calloc(1001, sizeof *many);
    CHECK(store_query(c, NULL, SL("select 1"), many, 1001) == SL_EINVAL);
    CHECK(store_lock(c, SL("")) == SL_EINVAL);
    free(many);
    free(big);
}
static void results_and_statements_have_limits(void **state)
{
    (void)state;
    on_both(limits_body);
}

static void many_texts_body(call *c)
{
    open_table(c);
    for (int i = 0; i < 4300; i++) { /* more than the cache keeps */
        sl_str sql = arena_printf(c->arena, i & 1 ? "select %d" : "insert into t values ('%d', 1)", i);
        CHECK(store_query(c, NULL, sql, NULL, 0) == SL_OK);
    }
    sl_str sql = SL("insert into t values ('deferred and not kept', 1)");
    CHECK(store_defer(c, sql, NULL, 0, 1) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    CHECK(N(c, "select count(*) from t") == 2151);
    CHECK(Q(c, "select 'outside a transaction', 17") == SL_OK);
}
static void more_statement_texts_than_the_cache_keeps_still_work(void **state)
{
    (void)state;
    on_both(many_texts_body);
}

static void locker(call *c, void *arg)
{
    int *order = arg;
    CHECK(store_lock(c, SL("x")) == SL_OK);
    CHECK(store_in_transaction(c));
    int64_t n = N(c, "select n from t");
    call_sleep(c, 1);
    GOOD(c, "update t set n = $1", n + 1);
    CHECK(store_commit(c) == SL_OK);
    ++*order;
}
static void lock_body(call *c)
{
    int done = 0;
    open_table(c);
    GOOD(c, "insert into t values ('n', 0)");
    CHECK(store_commit(c) == SL_OK);
    for (int i = 0; i < 8; i++)
        spawn(0, locker, &done);
    join(c);
    CHECK(done == 8);
    CHECK(N(c, "select n from t") == 8);
}
static void a_lock_has_one_holder_at_a_time(void **state)
{
    (void)state;
    on_both(lock_body);
}

static void after_close_body(call *c)
{
    open_table(c);
    GOOD(c, "insert into t values ('a', 1)");
    CHECK(store_commit(c) == SL_OK);
    store_close(c);
    CHECK(Q(c, "select 1") == SL_EUNAVAIL);
    CHECK(store_lock(c, SL("x")) == SL_EUNAVAIL);
    CHECK(!store_stats().up);
    char why[200];
    unit_config.dsn = SL("mysql://user:secret@host");
    CHECK(store_open(c, &unit_config, why, sizeof why) == SL_EINVAL && strstr(why, "mysql") && !strstr(why, "secret"));
    unit_config.dsn = SL("sqlite:/nowhere/at/all/x.db");
    CHECK(store_open(c, &unit_config, why, sizeof why) == SL_EUNAVAIL && strstr(why, "/nowhere/at/all/x.db"));
    unit_config.dsn = SL("sqlite:/tmp");
    CHECK(store_open(c, &unit_config, why, sizeof why) == SL_EUNAVAIL);
    unit_open(c, in_memory ? "" : unit_dsn);
    if (in_memory)
        CHECK(Q(c, "select * from t") == SL_EINVAL);
    else
        CHECK(N(c, "select count(*) from t") == 1);
}
static void a_closed_store_says_so_and_a_file_keeps_its_rows(void **state)
{
    (void)state;
    on_both(after_close_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_committed_stays_and_what_is_rolled_back_goes),
        cmocka_unit_test(a_failed_statement_leaves_only_the_way_back),
        cmocka_unit_test(concurrent_calls_do_not_see_or_undo_each_other),
        cmocka_unit_test(deferred_writes_and_hooks_go_with_the_commit),
        cmocka_unit_test(parameters_go_by_number_and_keep_their_types),
        cmocka_unit_test(writes_tell_how_many_rows_they_touched),
        cmocka_unit_test(errors_have_their_code_and_a_sentence),
        cmocka_unit_test(results_and_statements_have_limits),
        cmocka_unit_test(more_statement_texts_than_the_cache_keeps_still_work),
        cmocka_unit_test(a_lock_has_one_holder_at_a_time),
        cmocka_unit_test(a_closed_store_says_so_and_a_file_keeps_its_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
