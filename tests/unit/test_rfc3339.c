/* test_rfc3339.c - durations as plugins read them: as the host does, which has checked them before. */
#include "../../sdk/rfc3339.h"
#include "base/clock.h"
#include "unit.h"

static void a_plugin_reads_a_duration_as_the_host_does(void **state)
{
    static const char *const texts[] = { "0", "15", "250ms", "15s", "5m", "1h30m", "24h", "30d", "1d12h", "1m1ms" };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t ms;
        assert_true(duration_parse(sl_cstr(texts[i]), &ms));
        assert_int_equal(sl_duration_ms(sl_cstr(texts[i]), -1), ms);
    }
}

static void what_is_no_duration_is_absent(void **state)
{
    static const char *const texts[] = {
        "", "x", "5x", "s", "-5s", "999999999999999999999s", "106751991168d", "999999999999h999999999999h999999999999h"
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(sl_duration_ms(sl_cstr(texts[i]), -7), -7);
    assert_int_equal(sl_duration_ms(sl_lit(NULL, 0), -7), -7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plugin_reads_a_duration_as_the_host_does),
        cmocka_unit_test(what_is_no_duration_is_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
