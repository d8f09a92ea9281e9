/* test_schedule.c - when schedules tick: fields, names, month ends, leap years, two day fields, what never comes. */
#include "base/clock.h"
#include "jobs/jobs.h"
#include <setjmp.h>
#include <stdlib.h>
#include <stdarg.h>
#include <cmocka.h>

static int64_t at(const char *text)
{
    int64_t us;
    assert_true(clock_parse(sl_cstr(text), &us));
    return us;
}

#define NEXT(schedule, after, expected) expect_next(schedule, after, expected, __LINE__)
static void expect_next(const char *schedule, const char *after, const char *expected, int line)
{
    char text[CLOCK_TEXT] = "never";
    int64_t next = schedule_next(sl_cstr(schedule), at(after));
    if (next) {
        clock_format(next, text);
        memcpy(text + 19, "Z", 2);
    }
    if (strcmp(text, expected) != 0)
        fail_msg("line %d: \"%s\" after %s: %s, not %s", line, schedule, after, text, expected);
}

static void test_fields(void **state)
{
    (void)state;
    NEXT("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z");
    NEXT("* * * * *", "2026-01-01T00:00:59.999999Z", "2026-01-01T00:01:00Z");
    NEXT("*/15 * * * *", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z");
    NEXT("7-59/15 * * * *", "2026-01-01T00:52:00Z", "2026-01-01T01:07:00Z");
    NEXT("5/20 * * * *", "2026-01-01T00:26:00Z", "2026-01-01T00:45:00Z");
    NEXT("0,30 9-17 * * *", "2026-01-01T17:30:00Z", "2026-01-02T09:00:00Z");
    NEXT("0 0 * * *", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z");
    NEXT("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z");
    NEXT("  0\t12   * * *  ", "2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z");
    NEXT("0 0 ? * ?", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    NEXT("*/60 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
    NEXT("0 0 1,15,31 * *", "2026-04-15T00:00:00Z", "2026-05-01T00:00:00Z");
    NEXT("30 4 * jun-AUG mon", "2026-01-01T00:00:00Z", "2026-06-01T04:30:00Z");
}

static void test_names_and_sunday(void **state)
{
    (void)state;
    NEXT("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
    NEXT("0 0 * * 0", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
    NEXT("0 0 * * SUN", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
    NEXT("0 0 * * 5-7", "2026-01-03T12:00:00Z", "2026-01-04T00:00:00Z");
    NEXT("0 0 * * Mon-Fri", "2026-01-02T00:00:00Z", "2026-01-05T00:00:00Z");
    NEXT("0 0 1 FEB,dec *", "2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z");
    NEXT("0 0 * * 4", "1969-12-31T00:00:00Z", "never"); /* tick 0 itself cannot be told from never */
    NEXT("0 0 * * 3", "1969-12-20T00:00:00Z", "1969-12-24T00:00:00Z");
}

static void test_both_day_fields_are_an_or(void **state)
{
    (void)state;
    NEXT("0 0 13 * FRI", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z");  /* a Friday */
    NEXT("0 0 13 * FRI", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z");  /* a Tuesday the 13th */
    NEXT("0 0 */2 * FRI", "2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"); /* a star: odd day and Friday */
    NEXT("0 0 13 * *", "2026-01-14T00:00:00Z", "2026-02-13T00:00:00Z");
    NEXT("0 0 30 2 FRI", "2026-01-01T00:00:00Z", "2026-02-06T00:00:00Z"); /* no such date, but Fridays in February */
}

static void test_month_ends_and_leap_years(void **state)
{
    (void)state;
    NEXT("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z");
    NEXT("0 0 31 4,6,9,11,12 *", "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z");
    NEXT("0 0 30 * *", "2026-01-30T00:00:00Z", "2026-03-30T00:00:00Z");
    NEXT("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z");
    NEXT("0 0 29 2 *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"); /* 2100 is none */
    NEXT("0 0 29 2 *", "1999-12-31T00:00:00Z", "2000-02-29T00:00:00Z"); /* 2000 is one */
    NEXT("0 12 28-31 2 *", "2027-02-28T12:00:00Z", "2028-02-28T12:00:00Z");
    NEXT("0 0 29 2 ?", "2028-02-28T23:59:59Z", "2028-02-29T00:00:00Z");
}

static void test_dates_that_never_come(void **state)
{
    (void)state;
    NEXT("0 0 31 2 *", "2026-01-01T00:00:00Z", "never");
    NEXT("0 0 30 2 *", "2026-01-01T00:00:00Z", "never");
    NEXT("0 0 31 4,6,9,11 *", "2026-01-01T00:00:00Z", "never");
    NEXT("* * * * *", "9999-12-31T23:59:30Z", "never");
}

static void test_every(void **state)
{
    (void)state;
    NEXT("@every 30s", "2026-01-01T00:00:00Z", "2026-01-01T00:00:30Z");
    NEXT("@every 30s", "2026-01-01T00:00:29.999999Z", "2026-01-01T00:00:30Z");
    NEXT("@every 5m", "2026-01-01T00:03:00Z", "2026-01-01T00:05:00Z");
    NEXT("@every 1h30m", "1970-01-01T00:00:00Z", "1970-01-01T01:30:00Z");
    NEXT("@every 7s", "1970-01-01T00:00:08Z", "1970-01-01T00:00:14Z");
    NEXT(" @every   1h ", "2026-01-01T00:59:59Z", "2026-01-01T01:00:00Z");
    assert_int_equal(schedule_next(SL("@every 1s"), -1500000), -1000000);
    static const char *const wrong[] = { "@every",     "@every ",         "@every 0s",
                                         "@every -5s", "@every 10",       "@every 500ms",
                                         "@every x",   "@every 5m later", "@every 9999999999999999h",
                                         "@every 400d" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (i != 4) assert_int_equal(schedule_next(sl_cstr(wrong[i]), at("2026-01-01T00:00:00Z")), 0);
    NEXT("@every 10", "2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z"); /* a bare number is seconds, as everywhere */
}

static void test_names_of_schedules(void **state)
{
    (void)state;
    NEXT("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
    NEXT("@daily", "2026-02-28T12:00:00Z", "2026-03-01T00:00:00Z");
    NEXT("@midnight", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z");
    NEXT("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
    NEXT("@monthly", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
    NEXT("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    NEXT("@annually", "2026-06-01T00:00:00Z", "2027-01-01T00:00:00Z");
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        " ",
        "*",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * * 8",
        "-1 * * * *",
        "1- * * * *",
        "-5 * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "*/ * * * *",
        "*/x * * * *",
        "1,,2 * * * *",
        ",1 * * * *",
        "1, * * * *",
        "1.5 * * * *",
        "+1 * * * *",
        "a * * * *",
        "* * * JANUARY *",
        "* * * MON *",
        "* * MON * *",
        "* * * * JAN",
        "0x5 * * * *",
        "** * * * *",
        "1/2/3 * * * *",
        "1-2-3 * * * *",
        "@",
        "@dayly",
        "@daily x",
        "@reboot",
        "daily",
        "99999999999999999999 * * * *",
        "* * * * */",
        "FRI-MON * * * *",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (schedule_next(sl_cstr(wrong[i]), at("2026-01-01T00:00:00Z"))) fail_msg("\"%s\" was taken", wrong[i]);
    assert_int_equal(schedule_next(sl_lit(NULL, 0), 0), 0);
    assert_int_equal(schedule_next(SL("* * * * *"), INT64_MAX), 0);
    assert_int_equal(schedule_next(SL("@every 1s"), INT64_MIN), 0);
}

/* Every minute of two years, a leap year among them, against the plainest reading of the fields. */
static void test_agrees_with_counting_minutes(void **state)
{
    (void)state;
    const int64_t minute = 60000000;
    int64_t t = at("2027-12-30T00:00:00Z"), end = at("2029-01-05T00:00:00Z"), next = 0;
    size_t ticks = 0;
    for (; t < end; t += minute) {
        if (next <= t) next = schedule_next(SL("13 */7 3,29 2-11/3 WED"), t);
        char text[CLOCK_TEXT];
        clock_format(t + minute, text);
        int month = atoi(text + 5), day = atoi(text + 8), hour = atoi(text + 11), min = atoi(text + 14);
        bool wednesday = ((t + minute) / minute / 1440 + 4) % 7 == 3;
        bool expected = min == 13 && hour % 7 == 0 && month % 3 == 2 && (day == 3 || day == 29 || wednesday);
        if (expected != (next == t + minute)) fail_msg("wrong at %s", text);
        ticks += expected;
    }
    assert_true(ticks > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_names_and_sunday),
        cmocka_unit_test(test_both_day_fields_are_an_or),
        cmocka_unit_test(test_month_ends_and_leap_years),
        cmocka_unit_test(test_dates_that_never_come),
        cmocka_unit_test(test_every),
        cmocka_unit_test(test_names_of_schedules),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_agrees_with_counting_minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
