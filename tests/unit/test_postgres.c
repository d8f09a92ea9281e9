/* test_postgres.c - the PostgreSQL engine on a real server: values, errors, transactions, deferred writes, deadlines,
 * the pool. */
#include "postgres_fixture.h"
#include <math.h>

/* ---- values ---- */

static bool text_is(sl_value v, const char *s) { return v.type == SL_TEXT && sl_is(v.s, s); }

static void check_round_trip(call *c)
{
    static const char bytes[] = { 0, 1, '\\', (char)255, 0 };
    const sl_rows *r;
    CHECK_ERR(query(c, NULL, "create table kinds (i bigint, r double precision, t text, b bytea, n text)"), SL_OK);
    CHECK_ERR(query(c, &r, "insert into kinds values ($1, $2, $3, $4, $5) returning *", I(INT64_MIN), R(0.1),
                    T("h\xc3\xa4'\\"), B(bytes, 5), N),
              SL_OK);
    CHECK(r && r->rows == 1 && r->cols == 5 && r->changed == 1);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR(query(c, &r, "select * from kinds where i = $1", I(INT64_MIN)), SL_OK);
    if (!r || r->rows != 1) {
        failures++;
        return;
    }
    CHECK(sl_is(r->names[0], "i") && sl_is(r->names[4], "n") && r->changed == 0);
    CHECK(r->cells[0].type == SL_INT && r->cells[0].i == INT64_MIN);
    CHECK(r->cells[1].type == SL_REAL && r->cells[1].d == 0.1);
    CHECK(text_is(r->cells[2], "h\xc3\xa4'\\"));
    CHECK(r->cells[3].type == SL_BLOB && r->cells[3].s.n == 5 && !memcmp(r->cells[3].s.p, bytes, 5));
    CHECK(r->cells[4].type == SL_NULL);
}

static void check_server_types(call *c)
{
    const sl_rows *r;
    CHECK_ERR(
        query(
            c, &r,
            "select true, 7::smallint, 8::int, sum(x::bigint), count(*), 1.50::numeric, 1e30::numeric, 2.00::numeric, "
            "1.5::real, 'infinity'::float8, '{\"a\": 1}'::jsonb, ''::bytea, ''::text "
            "from generate_series(1, 3) x"),
        SL_OK);
    const sl_value *v = r->cells;
    CHECK(v[0].type == SL_INT && v[0].i == 1 && v[1].type == SL_INT && v[1].i == 7 && v[2].type == SL_INT &&
          v[2].i == 8);
    CHECK(v[3].type == SL_INT && v[3].i == 6 && v[4].type == SL_INT && v[4].i == 3);
    CHECK(v[5].type == SL_REAL && v[5].d == 1.5 && v[6].type == SL_REAL && v[6].d == 1e30 && v[7].type == SL_INT &&
          v[7].i == 2);
    CHECK(v[8].type == SL_REAL && v[8].d == 1.5 && v[9].type == SL_REAL && isinf(v[9].d));
    CHECK(text_is(v[10], "{\"a\": 1}"));
    CHECK(v[11].type == SL_BLOB && v[11].s.n == 0 && v[12].type == SL_TEXT && v[12].s.p && v[12].s.n == 0);
}

static void values(call *c)
{
    const sl_rows *r;
    char *dsns[] = { direct(), cluster_dsn };
    for (int i = 0; i < 2; i++) {
        if (open_store(c, dsns[i], 3)) {
            failures++;
            return;
        }
        CHECK_ERR(query(c, NULL, "drop table if exists kinds"), SL_OK);
        check_round_trip(c);
        check_server_types(c);
        /* One text with several parameter types: each type prepares its own, null fits all. */
        CHECK_ERR(query(c, &r, "select $1::text is null", N), SL_OK);
        CHECK_ERR(query(c, &r, "select count(*) from kinds where coalesce($1, i) = i", N), SL_OK);
        CHECK_ERR(query(c, &r, "select count(*) from kinds where coalesce($1, i) = i", I(5)), SL_OK);
        CHECK_ERR(query(c, &r, "select count(*) from kinds where coalesce($1, i) = i", T("6")), SL_OK);
        CHECK_ERR(query(c, &r, "select count(*) from kinds where coalesce($1, i) = i", T("six")), SL_EINVAL);
        store_close(c);
    }
}
static void values_go_there_and_back(void **state)
{
    (void)state;
    on_loop(values);
}

static void limits(call *c)
{
    const sl_rows *r;
    CHECK_ERR(open_store(c, direct(), 2), SL_OK);
    CHECK_ERR(query(c, &r, "select x from generate_series(1, 1000) x"), SL_OK);
    CHECK(r && r->rows == 1000 && r->cells[999].i == 1000);
    CHECK_ERR(query(c, &r, "select x from generate_series(1, 1001) x"), SL_ETOOBIG);
    uint64_t start = uv_hrtime();
    CHECK_ERR(query(c, &r, "select generate_series(1, 100000000), repeat('x', 100)"), SL_ETOOBIG);
    CHECK(uv_hrtime() - start < 5000000000u); /* cancelled, not read to its end */
    CHECK_ERR(query(c, &r, "select repeat('x', 2000000)"), SL_ETOOBIG);
    CHECK_ERR(query(c, &r, "select repeat('x', 1000000)"), SL_OK);
    store_close(c);
}
static void results_are_limited_while_they_come(void **state)
{
    (void)state;
    on_loop(limits);
}

/* ---- errors ---- */

static void one_error(call *c, const char *sql, sl_err want, const char *state)
{
    CHECK_ERR(store_query(c, NULL, sl_cstr(sql), NULL, 0), want);
    if (!strstr(store_error(c), state)) {
        print_error("%s: error text is: %s\n", sql, store_error(c));
        failures++;
    }
    store_rollback(c);
}

static void errors(call *c)
{
    CHECK_ERR(open_store(c, direct(), 2), SL_OK);
    make_table(c);
    CHECK_ERR(query(c, NULL, "drop table if exists parts"), SL_OK);
    CHECK_ERR(query(c, NULL,
                    "create table parts (id bigint primary key references things(id) on delete cascade, "
                    "n bigint not null check (n > 0), late bigint unique deferrable initially deferred)"),
              SL_OK);
    CHECK_ERR(query(c, NULL, "insert into things values (1, 'a')"), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    one_error(c, "insert into things values (1, 'b')", SL_ECONFLICT, "23505");
    one_error(c, "insert into parts values (2, 1, 1)", SL_ENOENT, "23503");
    one_error(c, "insert into parts values (1, null, 1)", SL_EINVAL, "23502");
    one_error(c, "insert into parts values (1, 0, 1)", SL_EINVAL, "23514");
    one_error(c, "insert into nowhere values (1)", SL_EINVAL, "42P01");
    one_error(c, "select nonsense", SL_EINVAL, "42703");
    one_error(c, "select 1 / 0", SL_EINVAL, "22012");
    one_error(c, "selec", SL_EINVAL, "selec");
    CHECK_ERR(query(c, NULL, "select $1::text", T("\xff")), SL_EINVAL);
    store_rollback(c);
    /* A constraint that only speaks at the commit. */
    CHECK_ERR(query(c, NULL, "insert into things values (2, 'a'), (3, 'a')"), SL_OK);
    CHECK_ERR(query(c, NULL, "insert into parts values (2, 1, 7), (3, 1, 7)"), SL_OK);
    CHECK_ERR(store_commit(c), SL_ECONFLICT);
    CHECK(strstr(store_error(c), "23505"));
    CHECK_ERR((int)number(c, "select count(*) from things"), 1);
    store_close(c);
}
static void errors_have_their_codes(void **state)
{
    (void)state;
    on_loop(errors);
}

static void bad_dsn(call *c)
{
    char why[256], dsn[400];
    struct store_config cfg = config("postgres://nobody@/x?host=/nonexistent&sl_direct=1", 1);
    cfg.connect_ms = 300;
    uint64_t start = uv_hrtime();
    CHECK_ERR(store_open(c, &cfg, why, sizeof why), SL_EUNAVAIL);
    CHECK(strstr(why, "/nonexistent") && uv_hrtime() - start < 3000000000u);
    cfg.dsn = SL("postgres://h/x?sl_direct=yes");
    CHECK_ERR(store_open(c, &cfg, why, sizeof why), SL_EINVAL);
    CHECK(strstr(why, "sl_direct"));
    cfg.dsn = SL("postgres://h/x?no_such_option=1");
    CHECK_ERR(store_open(c, &cfg, why, sizeof why), SL_EINVAL);
    CHECK(strstr(why, "no_such_option"));
    snprintf(dsn, sizeof dsn, "%s&sl_direct=0&sslmode=prefer", cluster_dsn);
    CHECK_ERR(open_store(c, dsn, 1), SL_OK);
    store_close(c);
}
static void a_bad_dsn_is_named(void **state)
{
    (void)state;
    on_loop(bad_dsn);
}

/* libpq does not know sl_direct: a look at the whole DSN saw nothing when that stood in it. */
static void open_to_others(call *c)
{
    char why[256], said[1000] = "";
    FILE *to = tmpfile();
    CHECK(to);
    log_setup(SL_WARN, LOG_AS_TEXT, fileno(to));
    struct store_config cfg = config("postgres://nobody@db.example:1/x?hostaddr=127.0.0.1&sslmode=disable&sl_direct=1",
                                     1);
    cfg.connect_ms = 300;
    CHECK_ERR(store_open(c, &cfg, why, sizeof why), SL_EUNAVAIL);
    log_flush();
    log_setup(SL_ERROR, LOG_AS_TEXT, 2);
    rewind(to);
    said[fread(said, 1, sizeof said - 1, to)] = 0;
    fclose(to);
    CHECK(strstr(said, "the database connection is not encrypted") && strstr(said, "host=db.example"));
}
static void a_connection_without_encryption_is_warned_of_beside_sl_direct(void **state)
{
    (void)state;
    on_loop(open_to_others);
}

/* ---- transactions ---- */

static void transactions(call *c)
{
    const sl_rows *r;
    CHECK_ERR(open_store(c, direct(), 2), SL_OK);
    make_table(c);
    CHECK_ERR(query(c, NULL, "insert into things values (1, 'a')"), SL_OK);
    CHECK_ERR(query(c, &r, "select name from things"), SL_OK); /* in the transaction */
    CHECK(r && r->rows == 1);
    store_rollback(c);
    CHECK_ERR((int)number(c, "select count(*) from things"), 0);
    CHECK_ERR(query(c, NULL, "insert into things values (1, 'a'), (2, 'b')"), SL_OK);
    CHECK_ERR(query(c, &r, "update things set name = 'c'"), SL_OK);
    CHECK(r && r->changed == 2);
    CHECK_ERR(store_commit(c), SL_OK);
    /* An error breaks it: nothing more runs, a commit is refused, nothing stays. */
    CHECK_ERR(query(c, NULL, "insert into things values (3, 'd')"), SL_OK);
    CHECK_ERR(query(c, NULL, "insert into things values (1, 'again')"), SL_ECONFLICT);
    CHECK_ERR(query(c, NULL, "insert into things values (4, 'e')"), SL_ESTATE);
    CHECK_ERR(store_commit(c), SL_ESTATE);
    CHECK_ERR((int)number(c, "select count(*) from things"), 2);
    CHECK_ERR(store_lock(c, SL("a name")), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from pg_locks where locktype = 'advisory'"), 1);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from pg_locks where locktype = 'advisory'"), 0);
    CHECK_ERR((int)number(c, "select count(*) from pg_stat_activity where state like 'idle in%'"), 0);
    store_close(c);
}
static void a_call_commits_or_rolls_back(void **state)
{
    (void)state;
    on_loop(transactions);
}

static void deferred_body(call *c)
{
    make_table(c);
    /* No transaction is open: all in one. */
    for (int i = 1; i <= 5; i++)
        CHECK_ERR(defer(c, 1, "insert into things values ($1, $2)", I(i), T("x")), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from things"), 5);
    /* With one open, counted and not, with and without RETURNING. */
    CHECK_ERR(query(c, NULL, "insert into things values (10, 'a')"), SL_OK);
    CHECK_ERR(defer(c, 1, "update things set name = 'b' where id = $1 returning id", I(10)), SL_OK);
    CHECK_ERR(defer(c, 0, "delete from things where id = $1", I(99)), SL_OK);
    CHECK_ERR(defer(c, 5, "delete from things where id < $1;", I(10)), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from things where name = 'b'"), 1);
    /* A wrong count takes everything back. */
    CHECK_ERR(query(c, NULL, "insert into things values (11, 'a')"), SL_OK);
    CHECK_ERR(defer(c, 1, "update things set name = 'c' where id = $1", I(98)), SL_OK);
    CHECK_ERR(store_commit(c), SL_ECONFLICT);
    CHECK(strstr(store_error(c), "touched 0 rows where 1"));
    CHECK_ERR(defer(c, 1, "update things set name = 'c' where id <> $1", I(98)), SL_OK);
    CHECK_ERR(defer(c, 2, "insert into things values (12, 'x')"), SL_OK);
    CHECK_ERR(store_commit(c), SL_ECONFLICT);
    CHECK(strstr(store_error(c), "touched 1 rows where 2"));
    CHECK_ERR((int)number(c, "select count(*) from things where name = 'b'"), 1);
    CHECK_ERR((int)number(c, "select count(*) from things"), 1);
    /* Its own errors keep their codes, and a text that cannot be wrapped is counted all the same. */
    CHECK_ERR(defer(c, 1, "insert into things values ($1::text::bigint, 'x')", T("ten")), SL_OK);
    CHECK_ERR(store_commit(c), SL_EINVAL);
    CHECK_ERR(defer(c, 1, "with gone as (select 10 as id) delete from things using gone where things.id = gone.id"),
              SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR(defer(c, 0, "insert into things values (13, 'x')"), SL_OK);
    CHECK_ERR(defer(c, 1, "with gone as (select 10 as id) delete from things using gone where things.id = gone.id"),
              SL_OK);
    CHECK_ERR(store_commit(c), SL_ECONFLICT);
    CHECK_ERR((int)number(c, "select count(*) from things"), 0);
}
static void deferred(call *c)
{
    CHECK_ERR(open_store(c, direct(), 2), SL_OK);
    deferred_body(c);
    store_close(c);
    CHECK_ERR(open_store(c, cluster_dsn, 2), SL_OK);
    deferred_body(c);
    for (int i = 0; i < 10000; i++)
        CHECK_ERR(defer(c, 1, "insert into things values ($1, $2)", I(i), T("x")), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from things"), 10000);
    store_close(c);
}
static void deferred_writes_are_counted(void **state)
{
    (void)state;
    on_loop(deferred);
}

/* ---- many calls ---- */

static void insert_some(call *c)
{
    static int next;
    for (int i = 0; i < 10; i++) {
        int id = next++;
        CHECK_ERR(query(c, NULL, "insert into things values ($1, $2)", I(id), T("x")), SL_OK);
        const sl_rows *r = NULL;
        CHECK_ERR(query(c, &r, "select id from things where id = $1", I(id)), SL_OK);
        CHECK(r && r->rows == 1 && r->cells[0].i == id);
        CHECK_ERR(store_commit(c), SL_OK);
        CHECK_ERR(query(c, &r, "select id from things where id = $1", I(id)), SL_OK);
        CHECK(r && r->rows == 1 && r->cells[0].i == id);
    }
}
static void many(call *c)
{
    char *dsns[] = { direct(), cluster_dsn };
    for (int i = 0; i < 2; i++) {
        CHECK_ERR(open_store(c, dsns[i], 3), SL_OK);
        make_table(c);
        for (int n = 0; n < 50; n++)
            spawn(insert_some, 20000);
        join(c);
        CHECK_ERR((int)number(c, "select count(*) from things"), 500);
        struct store_stats s = store_stats();
        CHECK(s.open <= 3 && s.active == 0 && s.max_open == 3 && s.up && s.commits >= 500);
        store_close(c);
    }
}
static void many_calls_share_a_small_pool(void **state)
{
    (void)state;
    on_loop(many);
}

static void count_under_lock(call *c)
{
    CHECK_ERR(store_lock(c, SL("counter")), SL_OK);
    int64_t n = number(c, "select max(id) from things");
    CHECK_ERR(query(c, NULL, "insert into things values ($1, 'x')", I(n + 1)),
              SL_OK); /* twice the same without the lock */
    CHECK_ERR(store_commit(c), SL_OK);
}
static void locks(call *c)
{
    CHECK_ERR(open_store(c, direct(), 5), SL_OK);
    make_table(c);
    CHECK_ERR(query(c, NULL, "insert into things values (0, 'x')"), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    for (int n = 0; n < 30; n++)
        spawn(count_under_lock, 20000);
    join(c);
    CHECK_ERR((int)number(c, "select max(id) from things"), 30);
    store_close(c);
}
static void a_lock_has_one_holder(void **state)
{
    (void)state;
    on_loop(locks);
}

static void lock_both(call *c)
{
    int me = world.seen[0]++;
    CHECK_ERR(query(c, NULL, "update things set name = name where id = $1", I(me)), SL_OK);
    for (world.seen[3]++; world.seen[3] < 2;) /* each has its row before it asks for the other's */
        if (call_sleep(c, 5)) break;
    sl_err e = query(c, NULL, "update things set name = name where id = $1", I(1 - me));
    if (!e) e = store_commit(c);
    if (!e)
        world.seen[1]++;
    else {
        CHECK_ERR(e, SL_EUNAVAIL);
        CHECK(store_may_retry(c));
        world.seen[2]++;
    }
}
static void deadlock(call *c)
{
    CHECK_ERR(open_store(c, direct(), 3), SL_OK);
    make_table(c);
    CHECK_ERR(query(c, NULL, "insert into things values (0, 'x'), (1, 'x')"), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    spawn(lock_both, 20000);
    spawn(lock_both, 20000);
    join(c);
    CHECK_ERR(world.seen[1], 1);
    CHECK_ERR(world.seen[2], 1);
    CHECK_ERR(query(c, NULL, "insert into things values (0, 'x')"), SL_ECONFLICT);
    CHECK(!store_may_retry(c));
    store_rollback(c);
    store_close(c);
}
static void a_deadlock_may_be_run_again(void **state)
{
    (void)state;
    on_loop(deadlock);
}

/* ---- deadlines and cancellation ---- */

static void slow_read(call *c) { CHECK_ERR(query(c, NULL, "select pg_sleep(30)"), world.seen[0]); }
static void slow_write(call *c)
{
    CHECK_ERR(query(c, NULL, "insert into things select 1, pg_sleep(30)::text"), world.seen[0]);
}
static void slow_second(call *c)
{
    CHECK_ERR(query(c, NULL, "insert into things values ($1, 'x')", I(100 + world.seen[5]++)), SL_OK);
    CHECK_ERR(query(c, NULL, "insert into things select 1, pg_sleep(30)::text"), world.seen[0]);
    CHECK_ERR(query(c, NULL, "select 1"), SL_ESTATE);
}
static void slow_commit(call *c)
{
    CHECK_ERR(query(c, NULL, "insert into things values ($1, 'x')", I(200 + world.seen[5]++)), SL_OK);
    CHECK_ERR(defer(c, 0, "insert into things select 1, pg_sleep(30)::text"), SL_OK);
    CHECK_ERR(store_commit(c), SL_ETIME);
}
static void quick_read(call *c) { CHECK_ERR((int)number(c, "select 42"), 42); }
static void cancel_all(call *other, void *arg)
{
    if (other != arg) call_cancel(other);
}

static void check_calm(call *c, uint64_t start)
{
    CHECK(uv_hrtime() - start < 20000000000u); /* the statements would sleep for 30 s */
    /* The server has stopped as well, and the connections are in use again. */
    for (int i = 0; i < 1500 && store_stats().active; i++)
        call_sleep(c, 10);
    CHECK_ERR(store_stats().active, 0);
    CHECK_ERR(
        (int)number(c, "select count(*) from pg_stat_activity where query like '%pg_sl' || 'eep%' and state = 'active' "
                       "and pid <> pg_backend_pid()"),
        0);
    CHECK_ERR((int)number(c, "select count(*) from things"), 0);
}
static void deadlines(call *c)
{
    static void (*const bodies[])(call *) = { slow_read, slow_write, slow_second, slow_commit };
    CHECK_ERR(open_store(c, direct(), 2), SL_OK);
    make_table(c);
    for (size_t i = 0; i < 4; i++) {
        uint64_t start = uv_hrtime();
        world.seen[0] = SL_ETIME;
        spawn(bodies[i], 500);
        spawn(bodies[i], 500);
        spawn(quick_read, 20000); /* waits behind them */
        join(c);
        check_calm(c, start);
        if (i == 3) break; /* a commit is not cut short by a client that leaves */
        world.seen[0] = SL_ECANCEL;
        spawn(bodies[i], 20000);
        call_sleep(c, 100);
        call_each(cancel_all, c);
        join(c);
        check_calm(c, start);
    }
    store_close(c);
}
static void a_deadline_ends_a_running_statement(void **state)
{
    (void)state;
    on_loop(deadlines);
}

static void waits_in_vain(call *c) { CHECK_ERR(query(c, NULL, "select 1"), SL_ETIME); }
static void in_the_queue(call *c)
{
    CHECK_ERR(open_store(c, cluster_dsn, 1), SL_OK);
    make_table(c);
    CHECK_ERR(query(c, NULL, "insert into things values (1, 'x')"), SL_OK); /* holds the only connection */
    for (int i = 0; i < 5; i++)
        spawn(waits_in_vain, 100);
    join(c);
    CHECK_ERR(store_commit(c), SL_OK);
    quick_read(c);
    store_close(c);
}
static void a_deadline_ends_the_wait_for_a_connection(void **state)
{
    (void)state;
    on_loop(in_the_queue);
}

/* A read that was sent behind a slow one is not hurt when that one is cancelled. */
static void pipelined(call *c)
{
    CHECK_ERR(open_store(c, direct(), 1), SL_OK);
    make_table(c);
    for (int round = 0; round < 20; round++) {
        world.seen[0] = SL_ETIME;
        spawn(slow_read, 20);
        for (int i = 0; i < 10; i++)
            spawn(quick_read, 20000);
        join(c);
    }
    store_close(c);
}
static void a_cancelled_read_does_not_hurt_its_neighbours(void **state)
{
    (void)state;
    on_loop(pipelined);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_go_there_and_back),
        cmocka_unit_test(results_are_limited_while_they_come),
        cmocka_unit_test(errors_have_their_codes),
        cmocka_unit_test(a_bad_dsn_is_named),
        cmocka_unit_test(a_connection_without_encryption_is_warned_of_beside_sl_direct),
        cmocka_unit_test(a_call_commits_or_rolls_back),
        cmocka_unit_test(deferred_writes_are_counted),
        cmocka_unit_test(many_calls_share_a_small_pool),
        cmocka_unit_test(a_lock_has_one_holder),
        cmocka_unit_test(a_deadlock_may_be_run_again),
        cmocka_unit_test(a_deadline_ends_a_running_statement),
        cmocka_unit_test(a_deadline_ends_the_wait_for_a_connection),
        cmocka_unit_test(a_cancelled_read_does_not_hurt_its_neighbours),
    };
    if (getenv("TEST")) cmocka_set_test_filter(getenv("TEST"));
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
