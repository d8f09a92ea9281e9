/* test_postgres_fault.c - the PostgreSQL engine when connections die, the server goes and comes, or a pooler stands
 * between. */
#include "postgres_fixture.h"
#include <libpq-fe.h>

static char bouncer_dsn[256];

/* Waits for what must become so, however busy the machine is. */
#define UNTIL(c, condition)                                                                                            \
    do {                                                                                                               \
        for (int waited = 0; waited < 15000 && !(condition); waited += 20)                                             \
            call_sleep(c, 20);                                                                                         \
        CHECK(condition);                                                                                              \
    } while (0)

/* A connection of the test's own, outside the pool. */
static void aside(const char *sql)
{
    char dsn[400];
    snprintf(dsn, sizeof dsn, "%s&options=-c%%20default_transaction_read_only%%3Doff", cluster_dsn);
    PGconn *pq = PQconnectdb(dsn);
    PGresult *r = PQexec(pq, sql);
    CHECK(PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK);
    PQclear(r);
    PQfinish(pq);
}
static void kill_all(void)
{
    aside("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'service-layer'");
}

/* ---- a connection dies ---- */

static void slow_insert(call *c)
{
    CHECK_ERR(query(c, NULL, "insert into things select 7, pg_sleep(0.5)::text"), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
}
static void slow_count(call *c)
{
    const sl_rows *r = NULL;
    CHECK_ERR(query(c, &r, "select count(*), pg_sleep(0.5) from things"), SL_OK);
    CHECK(r && r->cells[0].i == 0);
}
static void slow_commit(call *c)
{
    CHECK_ERR(query(c, NULL, "insert into things values (8, 'x')"), SL_OK);
    CHECK_ERR(defer(c, 0, "insert into things select 9, pg_sleep(5)::text"), SL_OK);
    CHECK_ERR(store_commit(c), SL_EUNAVAIL);
    CHECK(!store_may_retry(c));
    CHECK(strstr(store_error(c), "outcome is not known"));
}

static void killed(call *c)
{
    char *dsns[] = { direct(), cluster_dsn };
    for (int i = 0; i < 2; i++) {
        CHECK_ERR(open_store(c, dsns[i], 2), SL_OK);
        make_table(c);
        for (int n = 0; n < 5; n++) { /* idle; the call comes before the loop has seen the end of the connection */
            kill_all();
            CHECK_ERR((int)number(c, "select count(*) from things"), n);
            kill_all();
            CHECK_ERR(query(c, NULL, "insert into things values ($1, 'x')", I(n)), SL_OK);
            CHECK_ERR(store_commit(c), SL_OK);
        }
        CHECK_ERR(query(c, NULL, "delete from things"), SL_OK);
        CHECK_ERR(store_commit(c), SL_OK);
        spawn(slow_count, 20000); /* a read on its way */
        call_sleep(c, 200);
        kill_all();
        join(c);
        spawn(slow_insert, 20000); /* the first statement on its way */
        call_sleep(c, 200);
        kill_all();
        join(c);
        CHECK_ERR((int)number(c, "select count(*) from things where id = 7"), 1);
        for (int wait = 0; wait <= 200; wait += 200) { /* between two statements, seen and not seen yet */
            CHECK_ERR(query(c, NULL, "insert into things values (1, 'x')"), SL_OK);
            kill_all();
            call_sleep(c, (uint32_t)wait);
            CHECK_ERR(query(c, NULL, "insert into things values (2, 'x')"), SL_EUNAVAIL);
            CHECK(store_may_retry(c));
            store_rollback(c);
            CHECK_ERR(query(c, NULL, "insert into things values (1, 'x')"), SL_OK);
            kill_all();
            call_sleep(c, (uint32_t)wait);
            CHECK_ERR(store_commit(c), SL_EUNAVAIL);
            /* Seen: nothing was sent, so it may run again. Not seen: the commit was sent. */
            CHECK(store_may_retry(c) == !strstr(store_error(c), "outcome is not known") &&
                  (store_may_retry(c) || !wait));
            store_rollback(c);
        }
        spawn(slow_commit, 20000);
        call_sleep(c, 200);
        kill_all();
        join(c);
        CHECK_ERR((int)number(c, "select count(*) from things"), 1);
        store_close(c);
    }
}
static void a_killed_connection_loses_nothing_that_was_committed(void **state)
{
    (void)state;
    on_loop(killed);
}

/* ---- the server goes and comes ---- */

enum { ACKED_MAX = 100000 };
static struct {
    bool stop, acked[ACKED_MAX];
    int next, ok, unavailable;
    uint64_t longest;
} load;

static void one_load(call *c)
{
    int id = load.next++;
    uint64_t start = uv_hrtime();
    sl_err e = query(c, NULL, "insert into things values ($1, 'x')", I(id));
    if (!e)
        e = store_commit(c);
    else
        store_rollback(c);
    uint64_t took = (uv_hrtime() - start) / 1000000;
    if (took > load.longest) load.longest = took;
    if (!e) load.acked[id] = true;
    if (e != SL_OK) CHECK_ERR(e, SL_EUNAVAIL);
    if (e == SL_OK)
        load.ok++;
    else
        load.unavailable++;
    const sl_rows *r;
    e = query(c, &r, "select count(*) from things where id = $1", I(id));
    if (e != SL_OK) CHECK_ERR(e, SL_EUNAVAIL);
    if (e == SL_OK && load.acked[id]) CHECK(r->cells[0].i == 1);
    call_sleep(c, e ? 20 : 2);
}
static void loading(call *c)
{
    while (!load.stop && load.next < ACKED_MAX - 100) {
        one_load(c);
        arena_reset(c->arena);
        c->tx = NULL;
    }
}

static void stop_fast(void *arg)
{
    (void)arg;
    cluster(NULL, 0, "stop", "fast");
}
static void stop_hard(void *arg)
{
    (void)arg;
    cluster(NULL, 0, "stop", "immediate");
}
static void start_again(void *arg)
{
    (void)arg;
    cluster_start();
}

static void check_acked(call *c)
{
    for (int i = 0; i < load.next; i++) {
        const sl_rows *r = NULL;
        if (!load.acked[i]) continue;
        CHECK_ERR(query(c, &r, "select 1 from things where id = $1", I(i)), SL_OK);
        CHECK(r && r->rows == 1);
        arena_reset(c->arena);
        c->tx = NULL;
    }
}

static void goes_and_comes(call *c)
{
    for (int round = 0; round < 2; round++) {
        memset(&load, 0, sizeof load);
        CHECK_ERR(open_store(c, round ? cluster_dsn : direct(), 8), SL_OK);
        make_table(c);
        for (int i = 0; i < 20; i++)
            spawn(loading, 0);
        UNTIL(c, load.ok > 50);
        call_offload(c, round ? stop_hard : stop_fast, NULL);
        UNTIL(c, store_stats().open == 0);
        int before = load.ok;
        call_sleep(c, 2500); /* longer than connect_ms: calls fail at once now */
        CHECK(!store_stats().up);
        uint64_t start = uv_hrtime();
        CHECK_ERR(query(c, NULL, "select 1"), SL_EUNAVAIL);
        CHECK(uv_hrtime() - start < 100000000 && strstr(store_error(c), "cannot be reached"));
        call_offload(c, start_again, NULL);
        call_sleep(c, 1800);
        CHECK(load.ok > before + 50 && store_stats().up);
        load.stop = true;
        join(c);
        CHECK(load.unavailable > 0 && load.longest < 3500);
        check_acked(c);
        store_close(c);
    }
}
static void a_server_that_stops_and_starts_under_load(void **state)
{
    (void)state;
    on_loop(goes_and_comes);
}

/* ---- a server that is there and does not answer ---- */

static void freeze(const char *signal_name)
{
    char command[256];
    snprintf(command, sizeof command, "p=$(head -1 %s/data/postmaster.pid); kill -%s $p $(pgrep -P $p)", cluster_dir,
             signal_name);
    CHECK(system(command) == 0);
}
static void read_in_vain(call *c) { CHECK_ERR(query(c, NULL, "select 1"), world.seen[0]); }
static void write_in_vain(call *c) { CHECK_ERR(query(c, NULL, "insert into things values (1, 'x')"), world.seen[0]); }
static void frozen(call *c)
{
    CHECK_ERR(open_store(c, direct(), 3), SL_OK);
    make_table(c);
    freeze("STOP");
    uint64_t start = uv_hrtime();
    world.seen[0] = SL_ETIME;
    for (int i = 0; i < 4; i++)
        spawn(read_in_vain, 300), spawn(write_in_vain, 300);
    join(c);
    CHECK(uv_hrtime() - start < 1000000000);
    call_sleep(c, 6000); /* the statements did not stop; the connections are given up, and new ones are not to be had */
    CHECK_ERR(store_stats().open, 0);
    call_sleep(c, 2500);
    world.seen[0] = SL_EUNAVAIL;
    spawn(read_in_vain, 1000);
    join(c);
    freeze("CONT");
    call_sleep(c, 3000);
    CHECK_ERR((int)number(c, "select count(*) from things"), 0);
    store_close(c);
}
static void a_frozen_server_holds_nobody(void **state)
{
    (void)state;
    on_loop(frozen);
}

/* ---- fail-over ---- */

static void read_only(call *c)
{
    CHECK_ERR(open_store(c, direct(), 2), SL_OK);
    make_table(c);
    aside("alter database postgres set default_transaction_read_only = on");
    kill_all();
    call_sleep(c, 50);
    CHECK_ERR(query(c, NULL, "insert into things values (1, 'x')"), SL_EUNAVAIL);
    CHECK(strstr(store_error(c), "25006"));
    store_rollback(c);
    aside("alter database postgres reset default_transaction_read_only"); /* sessions keep the old value: only new ones
                                                                             can write */
    CHECK_ERR(query(c, NULL, "insert into things values (1, 'x')"), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    store_close(c);
}
static void a_server_that_became_read_only_is_left(void **state)
{
    (void)state;
    on_loop(read_only);
}

static void changed_table(call *c)
{
    const sl_rows *r;
    CHECK_ERR(open_store(c, direct(), 1), SL_OK);
    make_table(c);
    for (int i = 0; i < 2; i++)
        CHECK_ERR(query(c, &r, "select * from things"), SL_OK);
    aside("alter table things add column more text");
    CHECK_ERR(query(c, &r, "select * from things"), SL_OK);
    CHECK(r && r->cols == 3);
    store_close(c);
}
static void a_prepared_statement_survives_a_migration(void **state)
{
    (void)state;
    on_loop(changed_table);
}

/* ---- PgBouncer in transaction mode ---- */

static void work(call *c)
{
    for (int i = 0; i < 10; i++) {
        int id = world.seen[0]++;
        CHECK_ERR(query(c, NULL, "insert into things values ($1, $2)", I(id), T("x")), SL_OK);
        if (i % 3 == 0) CHECK_ERR(store_lock(c, SL("a lock")), SL_OK);
        CHECK_ERR(defer(c, 1, "update things set name = 'y' where id = $1", I(id)), SL_OK);
        if (i % 5 == 4)
            store_rollback(c);
        else
            CHECK_ERR(store_commit(c), SL_OK);
        const sl_rows *r = NULL;
        CHECK_ERR(query(c, &r, "select name from things where id = $1", I(id)), SL_OK);
        CHECK(r && r->rows == (i % 5 == 4 ? 0u : 1u));
        if (i % 4 == 0) {
            CHECK_ERR(query(c, NULL, "insert into things values ($1, $2)", I(id), T("x")),
                      i % 5 == 4 ? SL_OK : SL_ECONFLICT);
            store_rollback(c);
        }
    }
}
static void sleep_in_vain(call *c)
{
    CHECK_ERR(query(c, NULL, "insert into things select 100000, pg_sleep(30)::text"), SL_ETIME);
}
static void bouncer(call *c)
{
    CHECK_ERR(open_store(c, bouncer_dsn, 20), SL_OK);
    make_table(c);
    for (int i = 0; i < 40; i++)
        spawn(work, 30000);
    for (int i = 0; i < 4; i++)
        spawn(sleep_in_vain, 300);
    join(c);
    CHECK_ERR((int)number(c, "select count(*) from things where name = 'y'"), 320);
    CHECK_ERR((int)number(c, "select count(*) from things"), 320);
    kill_all(); /* the server connections behind the pooler carry the same application name */
    for (int i = 0; i < 20; i++)
        CHECK_ERR((int)number(c, "select count(*) from things where name = 'y'"), 320);
    store_close(c);
}
static void pgbouncer_in_transaction_mode(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "pgbouncer start %s/bouncer %s %d", cluster_dir, cluster_dir, getpid());
    helper(bouncer_dsn, sizeof bouncer_dsn, command);
    on_loop(bouncer);
    snprintf(command, sizeof command, "pgbouncer stop %s/bouncer", cluster_dir);
    helper(NULL, 0, command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_connection_loses_nothing_that_was_committed),
        cmocka_unit_test(a_server_that_stops_and_starts_under_load),
        cmocka_unit_test(a_server_that_became_read_only_is_left),
        cmocka_unit_test(a_prepared_statement_survives_a_migration),
        cmocka_unit_test(pgbouncer_in_transaction_mode),
        cmocka_unit_test(a_frozen_server_holds_nobody),
    };
    if (getenv("TEST")) cmocka_set_test_filter(getenv("TEST"));
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
