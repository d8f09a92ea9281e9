/* test_jobs_load.c - many small jobs all run exactly once; says how many a second, on which nothing depends. */
#include "jobs_unit.h"

static int runs, load = 5000;
static sl_err does_nothing(call *c)
{
    (void)c;
    runs++;
    return SL_OK;
}
static sl_err writes(call *c)
{
    runs++;
    return store_query(c, NULL, SL("insert into effects (what) values ($1)"), SL_ARRAY(seen(c, SL_IN_FACT, "job_id")),
                       1);
}

static double per_second(int n, int64_t since) { return n * 1e9 / (double)(clock_monotonic() - since); }

static void fill(call *c, const char *kind, int n)
{
    for (int i = 0; i < n; i++) {
        CHECK(add_job(c, kind, NULL, "{\"n\":1}", 0) == SL_OK);
        if (i % 500 == 499) CHECK(store_commit(c) == SL_OK);
    }
    CHECK(store_commit(c) == SL_OK);
}

static void run_all(call *c, const char *what, job_handler *h, int n)
{
    runs = 0;
    DO(c, "delete from sl_job_runs");
    int64_t start = clock_monotonic();
    fill(c, "load", n);
    print_message("%-8s %-22s %8.0f enqueued/s", store_engine_name(), what, per_second(n, start));
    start = clock_monotonic();
    one_kind("load", h, 0, 0);
    while ((runs < n || engine.claimed) && clock_monotonic() - start < INT64_C(40000000000))
        call_sleep(c, 2);
    print_message(" %8.0f run/s\n", per_second(n, start));
    jobs_set_kinds(NULL, 0);
    CHECK_INT(runs, n);
    CHECK_INT(N(c, "select count(*) from sl_jobs"), 0);
    CHECK_INT(N(c, "select count(*) from sl_job_runs where outcome = 'succeeded'"), n);
    CHECK_INT(N(c, "select count(distinct job_id) from sl_job_runs"), n);
}

static void load_body(call *c)
{
    unit_jobs.concurrency = 64;
    unit_jobs.lease_ms = 6000;
    start_engine(c);
    run_all(c, "no-op", does_nothing, load);
    run_all(c, "one write each", writes, load / 4);
    CHECK_INT(N(c, "select count(*) from effects"), load / 4);
}
static const char *only_dsn;
static void all_jobs_of_a_load_run_once(void **state)
{
    (void)state;
    if (!only_dsn) {
        on_all(load_body);
        return;
    }
    on_one(only_dsn, load_body);
    assert_int_equal(unit_failures, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) load = atoi(argv[1]); /* number of jobs, and one store instead of all */
    if (argc > 2) only_dsn = argv[2];
    const struct CMUnitTest tests[] = { cmocka_unit_test(all_jobs_of_a_load_run_once) };
    return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
