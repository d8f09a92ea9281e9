/* test_rate.c - rates: their text, and buckets that empty, fill again, stay apart and never outgrow their table. */
#include "base/rate.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define SECOND 1000000000LL

static struct rate rate(const char *text)
{
    struct rate r;
    assert_null(rate_parse(sl_cstr(text), &r));
    return r;
}

static void rates_are_read(void **state)
{
    (void)state;
    assert_int_equal(rate("50/s").interval, 20000000);
    assert_int_equal(rate("50/s").burst, 50);
    assert_int_equal(rate("600/m").interval, 100000000);
    assert_int_equal(rate("600/m").burst, 100);
    assert_int_equal(rate("10/h").burst, 1);
    assert_int_equal(rate("10/h burst 5").burst, 5);
    assert_int_equal(rate(" 1000000/s ").interval, 1000);
    assert_int_equal(rate("").burst, 0);
    assert_int_equal(rate("0").burst, 0);
    static const char *const bad[] = { "50",
                                       "50/d",
                                       "/s",
                                       "0/s",
                                       "-1/s",
                                       "1.5/s",
                                       "50/s burst",
                                       "50/s burst 0",
                                       "50/s burst 2x",
                                       "50/sburst 2",
                                       "1000001/s",
                                       "99999999999/s",
                                       "50/s burst 1000001" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rate r = { 1, 1 };
        assert_non_null(rate_parse(sl_cstr(bad[i]), &r));
        assert_int_equal(r.burst, 0);
    }
}

static bool take(rate_table *t, const struct rate *r, const char *key, int64_t now, struct rate_state *s)
{
    return rate_take(t, r, 0, sl_cstr(key), now, true, s);
}

static void a_burst_then_the_rate(void **state)
{
    (void)state;
    struct rate r = rate("2/s burst 4");
    struct rate_state s;
    rate_table *t = rate_table_new(64);
    int64_t now = 77 * SECOND;
    for (unsigned i = 0; i < 4; i++) {
        assert_true(take(t, &r, "a", now, &s));
        assert_int_equal(s.remaining, 3 - i);
    }
    assert_int_equal(s.reset, 2);
    assert_false(take(t, &r, "a", now, &s));
    assert_int_equal(s.remaining, 0);
    assert_int_equal(s.retry, 1);
    assert_false(take(t, &r, "a", now + SECOND / 2 - 1, &s));
    assert_true(take(t, &r, "a", now + SECOND / 2, &s));
    assert_false(take(t, &r, "a", now + SECOND / 2, &s));
    assert_true(take(t, &r, "b", now, &s));                   /* another key has its own */
    assert_true(rate_take(t, &r, 1, SL("a"), now, true, &s)); /* and so has another kind */
    unsigned got = 0;
    for (int64_t at = now + SECOND; at < now + 101 * SECOND; at += SECOND / 10)
        got += take(t, &r, "a", at, &s);
    assert_in_range(got, 199, 201);
    assert_true(rate_take(t, &r, 0, SL("a"), now + 200 * SECOND, false, &s)); /* looking takes nothing */
    assert_int_equal(s.remaining, 4);
    rate_table_free(t);
}

static void a_lower_rate_does_not_lock_out(void **state)
{
    (void)state;
    struct rate high = rate("1/h burst 1000"), low = rate("10/s");
    struct rate_state s;
    rate_table *t = rate_table_new(64);
    for (int i = 0; i < 1000; i++)
        assert_true(take(t, &high, "a", SECOND, &s));
    assert_false(take(t, &low, "a", SECOND, &s));
    assert_int_equal(s.retry, 1);
    assert_true(take(t, &low, "a", 3 * SECOND, &s) || take(t, &low, "a", 4 * SECOND, &s));
    rate_table_free(t);
}

static void a_flood_of_keys_is_bounded(void **state)
{
    (void)state;
    struct rate r = rate("1/s burst 10");
    struct rate_state s;
    rate_table *t = rate_table_new(256);
    for (int i = 0; i < 10; i++)
        assert_true(take(t, &r, "held", SECOND, &s));
    for (int i = 0; i < 1000; i++) { /* each comes once: the emptiest buckets are given away first */
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        assert_true(take(t, &r, key, SECOND, &s));
    }
    assert_false(take(t, &r, "held", SECOND, &s));
    rate_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_read),
        cmocka_unit_test(a_burst_then_the_rate),
        cmocka_unit_test(a_lower_rate_does_not_lock_out),
        cmocka_unit_test(a_flood_of_keys_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
