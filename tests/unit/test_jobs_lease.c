/* test_jobs_lease.c - leases: lost, taken back, renewed, given back; effects once whatever happens. */
#include "jobs_unit.h"

static int runs;
static sl_err slow_effect(call *c)
{
    runs++;
    sl_err e = call_sleep(c, 200);
    return e ? e
             : store_query(c, NULL, SL("insert into effects (what) values ($1)"),
                           SL_ARRAY(seen(c, SL_IN_FACT, "job_id")), 1);
}
static sl_err effect(call *c)
{
    runs++;
    return store_query(c, NULL, SL("insert into effects (what) values ($1)"), SL_ARRAY(seen(c, SL_IN_FACT, "job_id")),
                       1);
}

/* Claimed jobs start a moment later. */
static bool wait_running(call *c, uint32_t n)
{
    for (int i = 0; i < 400 && engine.running != n; i++)
        call_sleep(c, 5);
    return engine.running == n;
}

/* Another replica takes the job while it runs: as if our lease had ended unseen. */
static void steal(call *c, int64_t lease_us)
{
    DO(c,
       "update sl_jobs set owner = 'other', attempts = attempts + 1, lease_until = {{now}} + $1 where state = "
       "'running'",
       lease_us);
}

static void lost_body(call *c)
{
    runs = 0;
    start_engine(c);
    one_kind("slow", slow_effect, 5, 20);
    enqueue(c, "slow", "s");
    CHECK(wait_running(c, 1));
    steal(c, 60000000);
    call_sleep(c, 400); /* our run ends meanwhile and must not touch anything */
    CHECK_INT(runs, 1);
    CHECK_INT(N(c, "select count(*) from effects"), 0);
    CHECK_INT(N(c, "select count(*) from sl_job_runs"), 0);
    CHECK_INT(N(c, "select count(*) from sl_jobs where state = 'running' and owner = 'other' and attempts = 2"), 1);
    CHECK_INT(engine.claimed, 0);
    DO(c, "update sl_jobs set lease_until = {{now}} - 1"); /* the other one dies */
    CHECK(wait_for(c, 3000, 1, "select count(*) from sl_job_runs where outcome = 'succeeded' and attempt = 3"));
    CHECK_INT(N(c, "select count(*) from sl_job_runs where outcome = 'lost' and attempt = 2 and replica = 'other'"), 1);
    CHECK_INT(N(c, "select count(*) from sl_job_runs"), 2);
    CHECK_INT(N(c, "select count(*) from effects"), 1);
    CHECK_INT(runs, 2);
}
static void a_lost_lease_has_no_effect_and_the_next_run_has_one(void **state)
{
    (void)state;
    on_all(lost_body);
}

/* The renewal tells a handler early that its lease is gone. */
static sl_err ended;
static sl_err waits_long(call *c)
{
    runs++;
    ended = SL_OK;
    ended = call_sleep(c, 20000);
    return ended;
}
static void told_body(call *c)
{
    runs = 0;
    start_engine(c);
    one_kind("long", waits_long, 5, 20);
    enqueue(c, "long", "l");
    CHECK(wait_running(c, 1));
    steal(c, 60000000);
    for (int i = 0; i < 200 && engine.running; i++)
        call_sleep(c, 10);
    CHECK_INT(engine.running, 0);
    CHECK_INT(ended, SL_ECANCEL);
    CHECK_INT(N(c, "select count(*) from sl_jobs where owner = 'other' and state = 'running'"), 1);
}
static void a_handler_whose_lease_is_gone_is_told(void **state)
{
    (void)state;
    on_all(told_body);
}

static void renewed_body(call *c)
{
    runs = 0;
    unit_jobs.lease_ms = 300;
    start_engine(c);
    one_kind("long", waits_long, 5, 20);
    enqueue(c, "long", "l");
    CHECK(wait_running(c, 1));
    call_sleep(c, 1200); /* four leases long */
    CHECK_INT(N(c, "select count(*) from sl_jobs where state = 'running' and attempts = 1 and lease_until > {{now}}"),
              1);
    CHECK_INT(runs, 1);
    CHECK_INT(N(c, "select count(*) from sl_job_runs"), 0);
}
static void a_long_run_keeps_its_lease(void **state)
{
    (void)state;
    on_all(renewed_body);
}

static void many_body(call *c)
{
    enum { MANY = 450 };
    runs = 0;
    unit_jobs.concurrency = MANY;
    unit_jobs.lease_ms = 900;
    start_engine(c);
    one_kind("long", waits_long, 5, 20);
    for (int i = 0; i < MANY; i++)
        CHECK(add_job(c, "long", NULL, NULL, 0) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    CHECK(wait_running(c, MANY));
    call_sleep(c, 1500);
    CHECK_INT(N(c, "select count(*) from sl_jobs where state = 'running' and attempts = 1 and lease_until > {{now}}"),
              MANY);
    CHECK_INT(N(c, "select count(*) from sl_job_runs"), 0);
    DO(c, "update sl_jobs set owner = 'other', attempts = attempts + 1, lease_until = {{now}} + 60000000 where state = "
          "'running'"); /* and lost ones are found */
    for (int i = 0; i < 1500 && engine.running; i++)
        call_sleep(c, 10);
    CHECK_INT(engine.running, 0);
}
static void more_leases_than_one_statement_renews_are_kept(void **state)
{
    (void)state;
    on_all(many_body);
}

static void insert_running(call *c, const char *id, int64_t attempts, int64_t max)
{
    DO(c,
       "insert into sl_jobs (id, kind, key, state, run_at, attempts, max_attempts, lease_until, owner, created_at, "
       "updated_at) "
       "values ($1, 'left', $1, 'running', 1, $2, $3, {{now}} - 1, 'gone', 1, 1)",
       id, attempts, max);
}
static void reap_body(call *c)
{
    runs = 0;
    for (int i = 0; i < 5; i++)
        insert_running(c, (const char *[]){ "a", "b", "c", "d", "e" }[i], i == 4 ? 3 : 1, 3);
    DO(c, "insert into sl_jobs (id, kind, state, run_at, attempts, max_attempts, lease_until, owner, created_at, "
          "updated_at) "
          "values ('alive', 'left', 'running', 1, 1, 3, {{now}} + 60000000, 'other', 1, 1)");
    start_engine(c);
    one_kind("left", effect, 3, 20);
    CHECK(wait_for(c, 3000, 4, "select count(*) from sl_job_runs where outcome = 'succeeded' and attempt = 2"));
    CHECK_INT(N(c, "select count(*) from sl_job_runs where outcome = 'lost' and replica = 'gone'"), 5);
    CHECK_INT(
        N(c, "select count(*) from sl_jobs where state = 'dead' and id = 'e' and last_error like 'the lease ended%'"),
        1);
    CHECK_INT(N(c, "select count(*) from sl_jobs where state = 'running' and id = 'alive'"), 1);
    CHECK_INT(N(c, "select count(*) from effects"), 4);
    CHECK(jobs_stats().reclaimed >= 5);
}
static void jobs_of_a_dead_replica_are_taken_back(void **state)
{
    (void)state;
    on_all(reap_body);
}

/* A claim whose answer was lost: our rows without a run. */
static void orphan_body(call *c)
{
    runs = 0;
    start_engine(c);
    one_kind("other", waits_long, 3, 20);
    enqueue(c, "other", NULL);
    insert_running(c, "orphan", 1, 3);
    DO(c, "update sl_jobs set owner = $1, lease_until = {{now}} + 900000 where id = 'orphan'",
       (const char *)engine.owner);
    CHECK(wait_for(c, 3000, 1,
                   "select count(*) from sl_jobs where id = 'orphan' and state = 'waiting' and attempts = 0"));
}
static void a_lease_without_a_run_is_given_back(void **state)
{
    (void)state;
    on_all(orphan_body);
}

/* ---- drain ---- */
static void drain_body(call *c)
{
    runs = 0;
    unit_jobs.concurrency = 2;
    start_engine(c);
    jobs_set_kinds((struct job_kind[]){ { .kind = "long", .module = "unit", .entry = (void *)waits_long },
                                        { .kind = "short", .module = "unit", .entry = (void *)slow_effect } },
                   2);
    enqueue(c, "long", "l");
    enqueue(c, "short", "s");
    CHECK(wait_running(c, 2));
    CHECK(add_job(c, "short", "late", NULL, 0) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    call_deadline(c, 1000);
    int64_t start = clock_monotonic();
    jobs_drain(c);
    int64_t took = (clock_monotonic() - start) / 1000000;
    call_deadline(c, 0);
    CHECK(took < 10000); /* the long one would take for ever */
    CHECK_INT(engine.running, 0);
    CHECK_INT(N(c, "select count(*) from effects"), 1); /* what could end did */
    CHECK_INT(N(c, "select count(*) from sl_jobs where state = 'waiting' and attempts = 0 and key = 'l'"), 1);
    CHECK_INT(N(c, "select count(*) from sl_jobs where state = 'waiting' and attempts = 0 and key = 'late'"), 1);
    CHECK_INT(N(c, "select count(*) from sl_jobs"), 2);
    CHECK_INT(N(c, "select count(*) from sl_job_runs where key = 'l' and outcome not in ('returned')"), 0);
    enqueue(c, "short", "while it is off"); /* still can be enqueued */
    start_engine(c);
    CHECK(wait_for(c, 2000, 3, "select count(*) from effects"));
}
static void a_drain_ends_and_gives_back_what_did_not(void **state)
{
    (void)state;
    on_all(drain_body);
}

/* A handler that does not listen: the drain ends without it, and what it commits later fails. */
static sl_err deaf(call *c)
{
    c->shielded = true;
    sl_err e = call_sleep(c, 900);
    return e ? e : store_query(c, NULL, SL("insert into effects (what) values ('late')"), NULL, 0);
}
static void deaf_body(call *c)
{
    start_engine(c);
    one_kind("deaf", deaf, 3, 20);
    enqueue(c, "deaf", "d");
    CHECK(wait_running(c, 1));
    call_deadline(c, 400);
    jobs_drain(c);
    call_deadline(c, 0);
    CHECK_INT(N(c, "select count(*) from sl_jobs where state = 'waiting' and attempts = 0"), 1);
    call_sleep(c, 900);
    CHECK_INT(N(c, "select count(*) from effects"), 0);
    CHECK_INT(N(c, "select count(*) from sl_jobs where state = 'waiting' and attempts = 0"), 1);
    CHECK_INT(engine.running, 0);
    CHECK_INT(engine.claimed, 0);
}
static void a_run_that_outlives_the_drain_has_no_effect(void **state)
{
    (void)state;
    on_all(deaf_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_lease_has_no_effect_and_the_next_run_has_one),
        cmocka_unit_test(a_handler_whose_lease_is_gone_is_told),
        cmocka_unit_test(a_long_run_keeps_its_lease),
        cmocka_unit_test(more_leases_than_one_statement_renews_are_kept),
        cmocka_unit_test(jobs_of_a_dead_replica_are_taken_back),
        cmocka_unit_test(a_lease_without_a_run_is_given_back),
        cmocka_unit_test(a_drain_ends_and_gives_back_what_did_not),
        cmocka_unit_test(a_run_that_outlives_the_drain_has_no_effect),
    };
    return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
