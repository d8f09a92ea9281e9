/* test_oracle_aggregate.c - exact decimal medians and majorities. */
#include "../../plugins/oracle/aggregate.c"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *median(const char *a, const char *b, const char *d, const char *e)
{
    static char out[DECIMAL_MAX];
    const char *const all[] = { a, b, d, e };
    sl_str texts[4];
    size_t n = 0;
    for (size_t i = 0; i < 4; i++)
        if (all[i]) texts[n++] = sl_cstr(all[i]);
    return decimal_median(texts, n, out) ? out : NULL;
}

static void medians_are_exact(void **state)
{
    (void)state;
    assert_string_equal(median("1", "3", "2", NULL), "2");
    assert_string_equal(median("0.1", "0.2", NULL, NULL), "0.15");
    assert_string_equal(median("0.1", "0.2", "0.3", "0.4"), "0.25");
    assert_string_equal(median("100.10", NULL, NULL, NULL), "100.1");
    assert_string_equal(median("9999999999999999999999.9", "9999999999999999999999.7", NULL, NULL),
                        "9999999999999999999999.8");
    assert_string_equal(median("-1", "1", NULL, NULL), "0");
    assert_string_equal(median("-3", "1", NULL, NULL), "-1");
    assert_string_equal(median("-1", "3", NULL, NULL), "1");
    assert_string_equal(median("-0.5", "-0.25", NULL, NULL), "-0.375");
    assert_string_equal(median("-10", "-2", "5", NULL), "-2");
    assert_string_equal(median("-0", "0", "-0.0", NULL), "0");
    assert_string_equal(median("1e3", "1000.5", "999", NULL), "1000");
    assert_string_equal(median("1e30", NULL, NULL, NULL), "1000000000000000000000000000000");
    assert_string_equal(median("1.5e-3", "0.0016", NULL, NULL), "0.00155");
    assert_string_equal(median("1e64", "1e-64", NULL, NULL),
                        "5000000000000000000000000000000000000000000000000000000000000000."
                        "00000000000000000000000000000000000000000000000000000000000000005");
    assert_string_equal(median("99.99", "100.01", NULL, NULL), "100");
    assert_string_equal(median("0.05", "10", "2", NULL), "2");
}

static void numbers_are_taken_from_json(void **state)
{
    (void)state;
    assert_string_equal(median(" 12.5\n", "[13.5]", "[\"14\"]", NULL), "13.5");
    assert_string_equal(median("\"7\"", NULL, NULL, NULL), "7");
    assert_string_equal(median("+7", ".5", "1.", NULL), "1");
    static const char *const bad[] = {
        "",    "abc",  "1,5",  "[1,2]",
        "{}",  "null", "1e",   "1e65",
        "--1", "1 2",  "0x10", ".",
        "-",   "[]",   "NaN",  "12345678901234567890123456789012345678901234567890123456789012345"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (decimal_readable(sl_cstr(bad[i]))) fail_msg("%s is taken for a number", bad[i]);
}

static void a_majority_is_more_than_half(void **state)
{
    (void)state;
    const sl_str texts[] = { SL("a"), SL("b"), SL("a"), SL("b"), SL("b") };
    assert_int_equal(majority(texts, 5), 1);
    assert_int_equal(majority(texts, 4), -1);
    assert_int_equal(majority(texts, 3), 0);
    assert_int_equal(majority(texts, 2), -1);
    assert_int_equal(majority(texts, 1), 0);
    assert_int_equal(majority(texts, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(medians_are_exact),
                                        cmocka_unit_test(numbers_are_taken_from_json),
                                        cmocka_unit_test(a_majority_is_more_than_half) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
