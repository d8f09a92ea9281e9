/* test_metrics.c - label values in the text of metrics: what is cut stays UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "observe/metrics.h"

static void a_long_label_is_cut_between_characters(void **state)
{
    (void)state;
    char value[200];
    buf out;
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = "\xc3\xa9"[(i + 1) % 2]; /* 128 falls between the bytes of one character */
    value[0] = 'x';
    metric *m = metric_get(SL_COUNTER, "long_total", "name", "Long.");
    assert_non_null(m);
    metric_add(m, 1, (const sl_str[]){ sl_lit(value, sizeof value - 1) }, 1);
    buf_init(&out, 1 << 20);
    metrics_write(&out, false);
    assert_non_null(memmem(out.p, out.n, "long_total{name=\"x\xc3\xa9", 20));
    assert_true(str_is_utf8(buf_str(&out)));
    buf_free(&out);
    metrics_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_long_label_is_cut_between_characters) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
