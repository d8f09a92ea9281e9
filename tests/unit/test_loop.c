/* test_loop.c - fibers, waiting, deadlines, cancellation, tickers, watchdog. */
#include "base/clock.h"
#include "loop/loop.h"
#include "unit.h"
#include <unistd.h>

static struct {
    int runs;
    sl_err result;
    call *c;
    bool abandoned;
    char slow[64];
    int slow_over;
} seen;

static void on_slow(const char *module, const char *name, uint64_t held_ms, bool over)
{
    (void)module, (void)held_ms;
    if (over)
        seen.slow_over++;
    else
        snprintf(seen.slow, sizeof seen.slow, "%s", name);
}

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    loop_setup(&(struct loop_config){ .slow_ms = 30, .max_calls = 20000 }, on_slow);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    assert_int_equal(call_count(), 0);
    loop_close();
    return 0;
}

static void sleeper(call *c)
{
    seen.result = call_sleep(c, 5);
    seen.runs++;
}
#if defined(__SANITIZE_THREAD__)
enum { SLEEPERS = 200 }; /* a fiber costs ThreadSanitizer over a megabyte */
#else
enum { SLEEPERS = 10000 };
#endif
static void sleeping_calls_all_wake(void **state)
{
    (void)state;
    for (int i = 0; i < SLEEPERS; i++)
        assert_true(call_start(0, 0, NULL, NULL, sleeper));
    assert_int_equal(call_count(), SLEEPERS);
    loop_run();
    assert_int_equal(seen.runs, SLEEPERS);
    assert_int_equal(seen.result, SL_OK);
}

/* The time was counted from the beginning of the loop's turn: what a handler had computed before was taken off it. */
static void computes_then_sleeps(call *c)
{
    int64_t began = clock_monotonic();
    while (clock_monotonic() - began < 60 * 1000000)
        continue;
    began = clock_monotonic();
    seen.result = call_sleep(c, 50);
    seen.runs = (int)((clock_monotonic() - began) / 1000000);
}
static void a_sleep_begins_when_it_is_asked_for(void **state)
{
    (void)state;
    assert_true(call_start(0, 0, NULL, NULL, computes_then_sleeps));
    loop_run();
    assert_int_equal(seen.result, SL_OK);
    assert_true(seen.runs >= 48); /* the clocks count whole milliseconds */
}

static void abandon(void *op)
{
    (void)op;
    seen.abandoned = true;
}
static void waiter(call *c)
{
    seen.c = c;
    seen.result = call_wait(c, abandon, NULL);
    seen.runs++;
}
static void deadline_ends_a_wait(void **state)
{
    (void)state;
    assert_true(call_start(0, 20, NULL, NULL, waiter));
    loop_run();
    assert_int_equal(seen.result, SL_ETIME);
    assert_true(seen.abandoned);
}
static void cancel_ends_a_wait(void **state)
{
    (void)state;
    assert_true(call_start(0, 0, NULL, NULL, waiter));
    call_cancel(seen.c);
    assert_int_equal(seen.runs, 1);
    assert_int_equal(seen.result, SL_ECANCEL);
    assert_true(seen.abandoned);
}
static void early_wake(call *c)
{
    call_wake(c, SL_EBUSY);
    seen.result = call_wait(c, abandon, NULL);
    seen.runs++;
}
static void wake_before_wait_is_kept(void **state)
{
    (void)state;
    assert_true(call_start(0, 0, NULL, NULL, early_wake));
    assert_int_equal(seen.result, SL_EBUSY);
    assert_false(seen.abandoned);
}
static void waker(call *c)
{
    (void)c;
    call_wake(seen.c, 7);
    assert_int_equal(seen.runs, 0); /* the other handler does not run inside this one */
}
static void wake_from_another_call_runs_later(void **state)
{
    (void)state;
    assert_true(call_start(0, 0, NULL, NULL, waiter));
    assert_true(call_start(0, 0, NULL, NULL, waker));
    assert_int_equal(seen.runs, 1);
    assert_int_equal(seen.result, 7);
}

static void cancel_then_wake(call *c)
{
    (void)c;
    call_cancel(seen.c);
    call_wake(seen.c, SL_OK); /* late: the wait has ended, its outcome must stand */
}
static void a_late_wake_does_not_change_how_a_wait_ended(void **state)
{
    (void)state;
    assert_true(call_start(0, 0, NULL, NULL, waiter));
    assert_true(call_start(0, 0, NULL, NULL, cancel_then_wake));
    assert_int_equal(seen.runs, 1);
    assert_int_equal(seen.result, SL_ECANCEL);
    assert_true(call_start(0, 0, NULL, NULL, waiter)); /* the recycled call must not think that it was woken */
    assert_int_equal(seen.runs, 1);
    call_wake(seen.c, 5);
    assert_int_equal(seen.result, 5);
}

static void work(void *arg)
{
    usleep(2000);
    ++*(int *)arg;
}
static void offloader(call *c)
{
    int n = 0;
    seen.result = call_offload(c, work, &n);
    seen.runs += n;
}
static void offload_returns_when_done_even_past_the_deadline(void **state)
{
    (void)state;
    assert_true(call_start(0, 1, NULL, NULL, offloader));
    loop_run();
    assert_int_equal(seen.runs, 1);
    assert_int_equal(seen.result, SL_OK);
}

static void hog(call *c)
{
    c->name = "hog";
    call_sleep(c, 1); /* the watchdog takes the name on the next entry */
    usleep(120000);
}
static void watchdog_names_the_hog(void **state)
{
    (void)state;
    assert_true(call_start(0, 0, NULL, NULL, hog));
    loop_run();
    assert_string_equal(seen.slow, "hog");
    assert_int_equal(seen.slow_over, 1);
}

static ticker *tick;
static void on_tick(call *c, void *arg)
{
    (void)arg;
    call_sleep(c, 3);
    if (++seen.runs == 1) ticker_kick(tick);
    if (seen.runs == 5) loop_stop();
}
static void stop_ticker(call *c)
{
    (void)c;
    ticker_stop(tick);
    seen.runs = 100;
}
static void tickers_tick_and_stop(void **state)
{
    (void)state;
    tick = ticker_start("tick", 1, on_tick, NULL);
    loop_run();
    assert_int_equal(seen.runs, 5);
    assert_true(call_start(0, 0, NULL, NULL, stop_ticker));
    loop_run();
    assert_int_equal(seen.runs, 100);
}

static __attribute__((noinline)) int deep(int n)
{
    volatile char room[1024];
    memset((char *)room, n, sizeof room);
    return n ? deep(n - 1) + room[5] - room[5] : 0;
}
static void stack_user(call *c)
{
    deep(30);
    seen.runs = (int)fiber_stack_used(c->fiber);
}
static void stack_use_is_measured(void **state)
{
    (void)state;
    assert_true(call_start(0, 0, NULL, NULL, stack_user));
    assert_in_range(seen.runs, 30 * 1024, 4 * 64 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sleeping_calls_all_wake, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sleep_begins_when_it_is_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(deadline_ends_a_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(cancel_ends_a_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(wake_before_wait_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(wake_from_another_call_runs_later, setup, teardown),
        cmocka_unit_test_setup_teardown(a_late_wake_does_not_change_how_a_wait_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(offload_returns_when_done_even_past_the_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(watchdog_names_the_hog, setup, teardown),
        cmocka_unit_test_setup_teardown(tickers_tick_and_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(stack_use_is_measured, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
