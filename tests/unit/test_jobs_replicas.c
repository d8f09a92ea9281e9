/* test_jobs_replicas.c - schedules, and several processes on one store: each tick once, a killed one's jobs move on. */
#include "jobs_unit.h"
#include <signal.h>
#include <sys/wait.h>

static int runs;
static sl_err does_nothing(call *c)
{
    (void)c;
    runs++;
    return SL_OK;
}
static sl_err waits_long(call *c) { return call_sleep(c, 60000); }

/* ---- schedules ---- */
static char last_tick_seen[32];
static sl_err ticked(call *c)
{
    sl_str tick = seen(c, SL_IN_FACT, "tick");
    snprintf(last_tick_seen, sizeof last_tick_seen, "%.*s", STR_ARG(tick));
    runs++;
    return SL_OK;
}
static void schedule(const char *text)
{
    jobs_set_kinds(
        &(struct job_kind){ .kind = "schedule:unit/beat", .module = "unit", .schedule = text, .entry = (void *)ticked },
        1);
}
static void missed_body(call *c)
{
    runs = 0;
    int64_t now = clock_now(), tick = schedule_next(SL("@every 1h"), now - INT64_C(3600000000));
    DO(c, "insert into sl_schedules (name, last_tick) values ('schedule:unit/beat', $1)",
       now - INT64_C(50) * 3600000000);
    start_engine(c);
    schedule("@every 1h");
    CHECK(wait_for(c, 2000, 1, "select count(*) from sl_job_runs where outcome = 'succeeded'"));
    call_sleep(c, 100);
    CHECK_INT(runs, 1); /* of fifty */
    CHECK_INT(strtoll(last_tick_seen, NULL, 10), tick);
    CHECK_INT(N(c, "select last_tick from sl_schedules"), tick);
}
static void missed_ticks_are_made_up_for_once(void **state)
{
    (void)state;
    on_all(missed_body);
}

static void fresh_body(call *c)
{
    runs = 0;
    start_engine(c);
    schedule("@every 1h");
    call_sleep(c, 150);
    CHECK_INT(runs, 0); /* the first tick is the next one */
    CHECK_INT(N(c, "select count(*) from sl_schedules"), 1);
    schedule("0 0 31 2 *");
    call_sleep(c, 50);
    CHECK_INT(runs, 0);
    schedule("@every 1s");
    CHECK(wait_for(c, 2500, 2, "select count(*) from sl_job_runs where outcome = 'succeeded'"));
    CHECK_INT(strtoll(last_tick_seen, NULL, 10) % 1000000, 0);
}
static void a_new_schedule_starts_with_its_next_tick(void **state)
{
    (void)state;
    on_all(fresh_body);
}

/* ---- replicas as processes: a file or a server between them ---- */
static void (*replica_job)(call *c);
static void replica_main(call *c)
{
    open_store(c, false);
    unit_jobs =
        (struct jobs_config){ .concurrency = 4, .lease_ms = 900, .poll_ms = 100, .attempts = 5, .backoff_ms = 20 };
    start_engine(c);
    replica_job(c);
}
static pid_t replica(void (*job)(call *c))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid) return pid;
    replica_job = job;
    loop_setup(&(struct loop_config){ .max_calls = 1000 }, NULL);
    call_start(256, 0, NULL, NULL, replica_main);
    loop_run();
    _exit(unit_failures != 0);
}
static void prepare_tables(call *c) { (void)c; }
static void beat_for_a_while(call *c)
{
    schedule("@every 1s");
    call_sleep(c, 3600);
    call_deadline(c, 2000);
    jobs_drain(c);
    store_close(c);
}
static void hang_for_ever(call *c)
{
    one_kind("long", waits_long, 5, 20);
    (void)c;
}

static int64_t in_parent;
static void count_beats(call *c)
{
    in_parent = N(c, "select count(*) from sl_job_runs");
    CHECK_INT(N(c, "select count(distinct key) from sl_job_runs"), in_parent);
    CHECK(in_parent >= 3 && in_parent <= 5);
    const sl_rows *r;
    if (!Q(c, &r, "select key from sl_job_runs order by key"))
        for (uint32_t i = 1; i < r->rows; i++)
            CHECK_INT(sl_to_int(r->cells[i].s, 0) - sl_to_int(r->cells[i - 1].s, 0), 1000000);
}

/* As on_one, but leaves the tables as they are. */
static void (*kept_body)(call *c);
static void kept_main(call *c)
{
    open_store(c, false);
    kept_body(c);
    store_rollback(c);
    call_deadline(c, 3000);
    jobs_drain(c);
    store_close(c);
}
static void on_kept(void (*body)(call *c))
{
    kept_body = body;
    loop_setup(&(struct loop_config){ .max_calls = 1000 }, NULL);
    assert_true(call_start(256, 0, NULL, NULL, kept_main));
    loop_run();
    assert_int_equal(call_count(), 0);
    loop_close();
}

static void once_per_tick(const char *dsn)
{
    int status;
    on_one(dsn, prepare_tables);
    pid_t a = replica(beat_for_a_while), b = replica(beat_for_a_while);
    assert_int_equal(waitpid(a, &status, 0), a);
    assert_int_equal(status, 0);
    assert_int_equal(waitpid(b, &status, 0), b);
    assert_int_equal(status, 0);
    on_kept(count_beats);
}

static int64_t killed_at;
static void takes_over(call *c)
{
    unit_jobs =
        (struct jobs_config){ .concurrency = 4, .lease_ms = 900, .poll_ms = 100, .attempts = 5, .backoff_ms = 20 };
    runs = 0;
    start_engine(c);
    one_kind("long", does_nothing, 5, 20);
    CHECK(wait_for(c, 15000, 4, "select count(*) from sl_job_runs where outcome = 'succeeded' and attempt = 2"));
    int64_t took = (clock_monotonic() - killed_at) / 1000000;
    CHECK(took < 10000); /* the promise, with a lease of 900 ms instead of 6000 */
    CHECK_INT(N(c, "select count(*) from sl_job_runs where outcome = 'lost' and attempt = 1"), 4);
    CHECK_INT(runs, 4);
}
static void four_jobs(call *c)
{
    for (int i = 0; i < 4; i++)
        enqueue(c, "long", NULL);
}
static pid_t victim;
static void wait_until_running(call *c)
{
    CHECK(wait_for(c, 15000, 4, "select count(*) from sl_jobs where state = 'running'"));
    kill(victim, SIGKILL);
    killed_at = clock_monotonic();
}
static void taken_over(const char *dsn)
{
    int status;
    on_one(dsn, four_jobs);
    victim = replica(hang_for_ever);
    on_kept(wait_until_running);
    assert_int_equal(waitpid(victim, &status, 0), victim);
    on_kept(takes_over);
}

static void on_shared(void (*test)(const char *dsn))
{
    char dsn[100], command[128];
    unit_failures = 0;
    snprintf(unit_dir, sizeof unit_dir, "/tmp/sl-unit-jobs-XXXXXX");
    assert_non_null(mkdtemp(unit_dir));
    snprintf(dsn, sizeof dsn, "sqlite:%s/store.db", unit_dir);
    test(dsn);
    snprintf(command, sizeof command, "rm -rf %s", unit_dir);
    assert_int_equal(system(command), 0);
    if (unit_pg[0]) test(unit_pg);
    assert_int_equal(unit_failures, 0);
}
static void each_tick_runs_once_with_two_replicas(void **state)
{
    (void)state;
    on_shared(once_per_tick);
}
static void jobs_of_a_killed_process_move_to_another(void **state)
{
    (void)state;
    on_shared(taken_over);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missed_ticks_are_made_up_for_once),
        cmocka_unit_test(a_new_schedule_starts_with_its_next_tick),
        cmocka_unit_test(each_tick_runs_once_with_two_replicas),
        cmocka_unit_test(jobs_of_a_killed_process_move_to_another),
    };
    return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
