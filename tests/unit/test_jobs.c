/* test_jobs.c - the life of a job: enqueue, run, fail, retry, die, be cancelled; what it leaves behind. */
#include "jobs_unit.h"

static int runs, in_flight, most_in_flight;
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

/* ---- a job and what its handler sees ---- */
static char facts[400];
static sl_err looks(call *c)
{
    struct {
        uint32_t from;
        const char *name;
    } ask[] = {
        { SL_IN_BODY, "name" },         { SL_IN_BODY, "n" },      { SL_IN_BODY, "list" },    { SL_IN_BODY, "missing" },
        { SL_IN_BODY, "nothing" },      { SL_IN_BODY, "" },       { SL_IN_FACT, "job_key" }, { SL_IN_FACT, "attempt" },
        { SL_IN_FACT, "max_attempts" }, { SL_IN_FACT, "tenant" }, { SL_IN_FACT, "topic" },   { SL_IN_FACT, "event_id" },
        { SL_IN_FACT, "tick" },         { SL_IN_PATH, "name" },
    };
    facts[0] = 0;
    for (size_t i = 0; i < sizeof ask / sizeof *ask; i++) {
        sl_str s = seen(c, ask[i].from, ask[i].name);
        size_t n = strlen(facts);
        snprintf(facts + n, sizeof facts - n, "%.*s|", s.p ? (int)s.n : 1, s.p ? s.p : "-");
    }
    CHECK_INT(seen(c, SL_IN_FACT, "job_id").n, 36);
    CHECK_INT(seen(c, SL_IN_FACT, "trace_id").n, 32);
    CHECK_INT(seen(c, SL_IN_FACT, "traceparent").n, 55);
    CHECK(sl_same(seen(c, SL_IN_FACT, "trace_id"), seen(c, SL_IN_FACT, "trace_id")));
    CHECK(c->ops->reply(c, 200, SL("text/plain"), SL("x")) == SL_OK);
    CHECK(c->ops->write(c, SL("x")) == SL_ESTATE);
    return SL_OK;
}
static void sees_body(call *c)
{
    start_engine(c);
    one_kind("looks", looks, 0, 0);
    CHECK(add_job(c, "looks", "k", "{\"name\":\"caf\\u00e9\",\"n\":5,\"list\":[1, 2],\"nothing\":null}", 0) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    CHECK(wait_for(c, 2000, 1, "select count(*) from sl_job_runs where outcome = 'succeeded' and error is null"));
    static const char expected[] =
        "caf\xc3\xa9|5|[1,2]|-|-|{\"name\":\"caf\\u00e9\",\"n\":5,\"list\":[1, 2],\"nothing\":null}|"
        "k|1|3|tenant-1|-|-|-|-|";
    if (strcmp(facts, expected)) print_error("%s\n%s\n", facts, expected);
    CHECK_INT(strcmp(facts, expected), 0);
    CHECK_INT(N(c, "select count(*) from sl_jobs"), 0);
    CHECK_INT(
        N(c,
          "select count(*) from sl_job_runs where kind = 'looks' and key = 'k' and tenant = 'tenant-1' and attempt = 1 "
          "and finished_at >= started_at and replica = $1",
          (const char *)engine.owner),
        1);
}
static void a_handler_sees_its_job(void **state)
{
    (void)state;
    on_all(sees_body);
}

/* ---- keys ---- */
static void keys_body(call *c)
{
    runs = 0;
    for (int i = 0; i < 3; i++)
        CHECK(add_job(c, "k1", "same", NULL, 0) == SL_OK);
    CHECK(add_job(c, "k2", "same", NULL, 0) == SL_OK); /* another kind */
    CHECK(add_job(c, "k1", NULL, NULL, 0) == SL_OK);   /* no key: as many as you like */
    CHECK(add_job(c, "k1", NULL, NULL, 0) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    enqueue(c, "k1", "same");
    CHECK_INT(N(c, "select count(*) from sl_jobs"), 4);
    CHECK_INT(N(c, "select count(*) from sl_jobs where key is null and tenant = 'tenant-1' and json is null"), 2);
    CHECK(add_job(c, "k1", "rolled back", NULL, 0) == SL_OK);
    store_rollback(c);
    CHECK_INT(N(c, "select count(*) from sl_jobs"), 4);
    start_engine(c);
    jobs_set_kinds((struct job_kind[]){ { .kind = "k1", .module = "unit", .entry = (void *)writes },
                                        { .kind = "k2", .module = "unit", .entry = (void *)does_nothing } },
                   2);
    CHECK(wait_for(c, 2000, 0, "select count(*) from sl_jobs"));
    CHECK_INT(runs, 4);
    enqueue(c, "k1", "same"); /* the key is free again */
    CHECK(wait_for(c, 2000, 5, "select count(*) from sl_job_runs where outcome = 'succeeded'"));
    CHECK_INT(runs, 5);
}
static void a_key_is_unique_while_its_job_waits_or_runs(void **state)
{
    (void)state;
    on_all(keys_body);
}

static void refused_body(call *c)
{
    char *big = malloc(JOB_JSON_MAX + 2), name[JOB_NAME_MAX + 2];
    memset(big, ' ', JOB_JSON_MAX + 1);
    big[0] = '1', big[JOB_JSON_MAX + 1] = 0;
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    CHECK(add_job(c, "", "k", "{}", 0) == SL_EINVAL);
    CHECK(add_job(c, NULL, "k", "{}", 0) == SL_EINVAL);
    CHECK(add_job(c, name, "k", "{}", 0) == SL_EINVAL);
    CHECK(add_job(c, "k", "", "{}", 0) == SL_EINVAL);
    CHECK(add_job(c, "k", "\xff", "{}", 0) == SL_EINVAL);
    CHECK(add_job(c, "k", "k", "{", 0) == SL_EINVAL);
    CHECK(add_job(c, "k", "k", "", 0) == SL_EINVAL);
    CHECK(add_job(c, "k", "k", big, 0) == SL_ETOOBIG);
    CHECK(add_job(c, "k", "k", "{}", -1) == SL_EINVAL);
    CHECK(jobs_cancel(c, SL("k"), sl_lit(NULL, 0)) == SL_EINVAL);
    CHECK(jobs_retry(c, 1, SL("not in a handler")) == SL_ESTATE);
    CHECK(!store_pending(c));
    free(big);
}
static void malformed_jobs_are_refused(void **state)
{
    (void)state;
    on_all(refused_body);
}

/* ---- when ---- */
static void run_at_body(call *c)
{
    runs = 0;
    unit_jobs.poll_ms = 20000; /* it is the due time that wakes the engine, not the poll */
    start_engine(c);
    one_kind("later", does_nothing, 0, 0);
    call_sleep(c, 50);
    int64_t due = clock_now() + 300000;
    CHECK(add_job(c, "later", "a", NULL, due) == SL_OK);
    CHECK(add_job(c, "later", "b", NULL, due + INT64_C(3600000000)) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    call_sleep(c, 200);
    CHECK_INT(runs, 0);
    CHECK(wait_for(c, 2000, 1, "select count(*) from sl_job_runs"));
    int64_t started = N(c, "select started_at from sl_job_runs");
    CHECK(started >= due && started < due + 500000);
    CHECK_INT(N(c, "select count(*) from sl_jobs where state = 'waiting' and key = 'b'"), 1);
}
static void a_job_runs_when_it_is_due(void **state)
{
    (void)state;
    on_all(run_at_body);
}

/* ---- failing ---- */
static sl_err fails(call *c)
{
    runs++;
    sl_err e = store_query(c, NULL, SL("insert into effects (what) values ('wrong')"), NULL, 0);
    return e ? e : c->ops->problem(c, 502, SL("source_down"), SL("The source says caf\xc3\xa9\xff."));
}
static void dead_body(call *c)
{
    runs = 0;
    start_engine(c);
    one_kind("fails", fails, 3, 20);
    enqueue(c, "fails", "f");
    CHECK(wait_for(c, 3000, 1, "select count(*) from sl_jobs where state = 'dead' and attempts = 3"));
    CHECK_INT(runs, 3);
    CHECK_INT(N(c, "select count(*) from effects"), 0);
    CHECK_INT(N(c, "select count(*) from sl_job_runs where outcome = 'failed'"), 2);
    CHECK_INT(N(c, "select count(*) from sl_job_runs where outcome = 'dead' and attempt = 3"), 1);
    CHECK(sl_is(text_of(c, "select last_error from sl_jobs"), "502 source_down: The source says caf??\?."));
    CHECK_INT(jobs_stats().dead >= 1, 1);
    /* the delays: 10 to 30 ms, then 20 to 60, and what the machine adds */
    int64_t first = N(c, "select started_at from sl_job_runs where attempt = 1"),
            second = N(c, "select started_at from sl_job_runs where attempt = 2"),
            third = N(c, "select started_at from sl_job_runs where attempt = 3");
    CHECK(second - first >= 10000 && third - second >= 20000 && third - first < 1500000);
    enqueue(c, "fails", "f"); /* a dead letter does not hold the key */
    CHECK(wait_for(c, 3000, 2, "select count(*) from sl_jobs where state = 'dead'"));
    CHECK_INT(runs, 6);
}
static void a_failing_job_is_tried_again_and_then_dead(void **state)
{
    (void)state;
    on_all(dead_body);
}

static sl_err gives_up(call *c)
{
    (void)c;
    runs++;
    return SL_EDEAD;
}
static void edead_body(call *c)
{
    runs = 0;
    start_engine(c);
    one_kind("gives-up", gives_up, 5, 20);
    enqueue(c, "gives-up", NULL);
    CHECK(wait_for(c, 2000, 1, "select count(*) from sl_job_runs where outcome = 'dead' and attempt = 1"));
    CHECK_INT(runs, 1);
    CHECK(
        sl_is(text_of(c, "select last_error from sl_jobs where state = 'dead'"), "the handler gave the job up (-15)"));
}
static void a_handler_can_give_up_at_once(void **state)
{
    (void)state;
    on_all(edead_body);
}

static sl_err asks_again(call *c)
{
    runs++;
    sl_err e = store_query(c, NULL, SL("insert into effects (what) values ('later')"), NULL, 0);
    if (e || sl_is(seen(c, SL_IN_FACT, "attempt"), "2")) return e;
    return jobs_retry(c, 300, SL("not ready"));
}
static void retry_body(call *c)
{
    runs = 0;
    start_engine(c);
    one_kind("asks", asks_again, 3, 5);
    enqueue(c, "asks", "a");
    CHECK(wait_for(c, 3000, 1, "select count(*) from sl_job_runs where outcome = 'succeeded' and attempt = 2"));
    CHECK_INT(
        N(c, "select count(*) from sl_job_runs where outcome = 'retried' and attempt = 1 and error = 'not ready'"), 1);
    CHECK_INT(N(c, "select count(*) from effects"), 1);
    int64_t wait = N(c, "select max(started_at) - min(started_at) from sl_job_runs");
    CHECK(wait >= 300000 && wait < 1500000);
}
static void a_handler_can_ask_to_run_again_later(void **state)
{
    (void)state;
    on_all(retry_body);
}

static sl_err sleeps(call *c)
{
    runs++;
    if (++in_flight > most_in_flight) most_in_flight = in_flight;
    sl_err e = store_query(c, NULL, SL("insert into effects (what) values ('slept')"), NULL, 0);
    if (!e) store_rollback(c); /* no transaction is open while it sleeps */
    if (!e) e = call_sleep(c, 150);
    in_flight--;
    return e;
}
static void deadline_body(call *c)
{
    start_engine(c);
    jobs_set_kinds(
        &(struct job_kind){
            .kind = "slow", .module = "unit", .deadline_ms = 40, .attempts = 1, .entry = (void *)sleeps },
        1);
    enqueue(c, "slow", NULL);
    CHECK(wait_for(c, 2000, 1,
                   "select count(*) from sl_job_runs where outcome = 'dead' and error = 'the deadline passed (-9)'"));
}
static void a_kind_has_a_deadline(void **state)
{
    (void)state;
    on_all(deadline_body);
}

static void inflight_body(call *c)
{
    runs = most_in_flight = in_flight = 0;
    start_engine(c);
    jobs_set_kinds((struct job_kind[]){ { .kind = "two", .module = "unit", .max_inflight = 2, .entry = (void *)sleeps },
                                        { .kind = "free", .module = "unit", .entry = (void *)does_nothing } },
                   2);
    for (int i = 0; i < 6; i++)
        CHECK(add_job(c, "two", NULL, NULL, 0) == SL_OK);
    CHECK(add_job(c, "free", NULL, NULL, 0) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    CHECK(wait_for(c, 120, 1,
                   "select count(*) from sl_job_runs where kind = 'free'")); /* a full kind holds up no other */
    CHECK(wait_for(c, 3000, 6, "select count(*) from sl_job_runs where kind = 'two' and outcome = 'succeeded'"));
    CHECK_INT(most_in_flight, 2);
}
static void a_kind_has_a_limit_of_its_own(void **state)
{
    (void)state;
    on_all(inflight_body);
}

/* ---- cancel ---- */
static void cancel_body(call *c)
{
    runs = in_flight = 0;
    start_engine(c);
    one_kind("slow", sleeps, 3, 20);
    CHECK(add_job(c, "slow", "waits", NULL, clock_now() + INT64_C(60000000)) == SL_OK);
    CHECK(add_job(c, "slow", "runs", NULL, 0) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    for (int i = 0; i < 200 && !engine.running; i++)
        call_sleep(c, 5);
    CHECK(jobs_cancel(c, SL("slow"), SL("waits")) == SL_OK);
    CHECK(jobs_cancel(c, SL("slow"), SL("runs")) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    CHECK_INT(N(c, "select count(*) from sl_jobs"), 0);
    call_sleep(c, 400);
    CHECK_INT(N(c, "select count(*) from sl_job_runs"), 0);
    CHECK_INT(N(c, "select count(*) from effects"), 0);
    CHECK_INT(engine.claimed, 0);
}
static void a_cancelled_job_has_no_effect(void **state)
{
    (void)state;
    on_all(cancel_body);
}

/* ---- kinds ---- */
static void kinds_body(call *c)
{
    runs = 0;
    start_engine(c);
    one_kind("old", does_nothing, 0, 0);
    CHECK(jobs_kind(SL("old")) && !jobs_kind(SL("new")));
    one_kind("new", does_nothing, 0, 0);
    CHECK(!jobs_kind(SL("old")) && jobs_kind(SL("new")));
    enqueue(c, "old", "o");
    enqueue(c, "new", "n");
    CHECK(wait_for(c, 1000, 1, "select count(*) from sl_job_runs where kind = 'new'"));
    call_sleep(c, 250);
    CHECK_INT(N(c, "select count(*) from sl_jobs where kind = 'old' and state = 'waiting' and attempts = 0"), 1);
    one_kind("old", does_nothing, 0, 0);
    CHECK(wait_for(c, 1000, 1, "select count(*) from sl_job_runs where kind = 'old'"));
}
static void jobs_of_a_kind_that_left_wait_for_its_return(void **state)
{
    (void)state;
    on_all(kinds_body);
}

static sl_err swaps(call *c)
{
    one_kind("other", does_nothing, 0, 0);
    return call_sleep(c, 30);
}
static void swap_body(call *c)
{
    start_engine(c);
    one_kind("swaps", swaps, 0, 0);
    enqueue(c, "swaps", NULL);
    CHECK(wait_for(c, 1000, 1, "select count(*) from sl_job_runs where kind = 'swaps' and outcome = 'succeeded'"));
}
static void a_run_ends_well_after_its_table_was_swapped(void **state)
{
    (void)state;
    on_all(swap_body);
}

/* Runs that ended while a claim waited for its answer once made a full claim look like the last one. */
static void backlog_body(call *c)
{
    runs = 0;
    unit_jobs.poll_ms = 60000;
    for (int i = 0; i < 1000; i++)
        CHECK(add_job(c, "many", NULL, NULL, 0) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    start_engine(c);
    one_kind("many", does_nothing, 0, 0);
    CHECK(wait_for(c, 20000, 1000, "select count(*) from sl_job_runs where outcome = 'succeeded'"));
    CHECK_INT(runs, 1000);
}
static void a_backlog_does_not_wait_for_the_poll(void **state)
{
    (void)state;
    on_all(backlog_body);
}

/* ---- large payloads, old rows ---- */
static void payload_body(call *c)
{
    enum { JOBS = 12, SIZE = 400000 }; /* together over the 2 MiB of one result */
    char *json = malloc(SIZE + 3);
    memset(json, 'x', SIZE + 2);
    json[0] = json[SIZE + 1] = '"', json[SIZE + 2] = 0;
    runs = 0;
    for (int i = 0; i < JOBS; i++) {
        CHECK(add_job(c, "large", NULL, json, 0) == SL_OK);
        CHECK(store_commit(c) == SL_OK);
    }
    free(json);
    unit_jobs.concurrency = 64;
    start_engine(c);
    one_kind("large", does_nothing, 0, 0);
    CHECK(wait_for(c, 8000, JOBS, "select count(*) from sl_job_runs where outcome = 'succeeded'"));
    CHECK_INT(runs, JOBS);
}
static void payloads_larger_than_a_result_are_claimed_in_parts(void **state)
{
    (void)state;
    on_all(payload_body);
}

static void sweep_body(call *c)
{
    int64_t old = clock_now() - INT64_C(8) * 86400 * 1000000, older = clock_now() - INT64_C(31) * 86400 * 1000000;
    for (int i = 0; i < 2; i++)
        DO(c,
           "insert into sl_job_runs (job_id, kind, attempt, started_at, finished_at, outcome, replica) values "
           "('j', 'k', 1, 1, $1, 'succeeded', 'r')",
           i ? clock_now() : old);
    for (int i = 0; i < 2; i++)
        DO(c,
           "insert into sl_jobs (id, kind, state, run_at, attempts, max_attempts, created_at, updated_at) values "
           "($2, 'k', 'dead', 1, 1, 1, 1, $1)",
           i ? older : old, i ? "a" : "b");
    start_engine(c);
    sweep_tick(c, NULL);
    CHECK_INT(N(c, "select count(*) from sl_job_runs"), 1);
    CHECK_INT(N(c, "select count(*) from sl_jobs where id = 'b'"), 1);
    CHECK_INT(N(c, "select count(*) from sl_jobs"), 1);
    CHECK_INT(jobs_stats().dead_now, 1);
    CHECK_INT(jobs_stats().waiting_now, 0);
}
static void old_history_and_dead_letters_are_swept(void **state)
{
    (void)state;
    on_all(sweep_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_sees_its_job),
        cmocka_unit_test(a_key_is_unique_while_its_job_waits_or_runs),
        cmocka_unit_test(malformed_jobs_are_refused),
        cmocka_unit_test(a_job_runs_when_it_is_due),
        cmocka_unit_test(a_failing_job_is_tried_again_and_then_dead),
        cmocka_unit_test(a_handler_can_give_up_at_once),
        cmocka_unit_test(a_handler_can_ask_to_run_again_later),
        cmocka_unit_test(a_kind_has_a_deadline),
        cmocka_unit_test(a_kind_has_a_limit_of_its_own),
        cmocka_unit_test(a_cancelled_job_has_no_effect),
        cmocka_unit_test(jobs_of_a_kind_that_left_wait_for_its_return),
        cmocka_unit_test(a_run_ends_well_after_its_table_was_swapped),
        cmocka_unit_test(payloads_larger_than_a_result_are_claimed_in_parts),
        cmocka_unit_test(old_history_and_dead_letters_are_swept),
        cmocka_unit_test(a_backlog_does_not_wait_for_the_poll),
    };
    return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
