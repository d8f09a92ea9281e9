/* test_render.c - rows as JSON by an out schema: each format, order, what does not fit. */
#include "http/http.h"
#include "http/render.h"
#include "rest/schema.h"
#include "unit.h"
#include <math.h>

static void assert_rendered(const char *field, sl_value v, const char *expected)
{
    char text[300], why[200];
    snprintf(text, sizeof text, "{\"properties\":{\"f\":{%s}}}", field);
    json_t *schema = schema_read(sl_cstr(text), why, sizeof why);
    assert_non_null(schema);
    const sl_str name = SL("f");
    sl_rows rows = { .size = sizeof rows, .cols = 1, .rows = 1, .names = &name, .cells = &v };
    buf out;
    buf_init(&out, 4096);
    sl_err e = render_row(&out, schema, &rows, 0);
    if (!expected) {
        assert_int_equal(e, SL_EINVAL);
        assert_string_equal(render_field_failed(), "f");
    } else {
        buf_add_char(&out, 0);
        snprintf(text, sizeof text, "{\"f\":%s}", expected);
        assert_int_equal(e, SL_OK);
        assert_string_equal(out.p, text);
    }
    buf_free(&out);
    json_decref(schema);
}

static void each_format(void **state)
{
    (void)state;
    assert_rendered(SL_TEXT_OR_NULL, sl_text(sl_lit(NULL, 0)), "null");
    assert_rendered(SL_STRING(0, 9), sl_ctext("a\"\n"), "\"a\\\"\\n\"");
    assert_rendered(SL_TIME, sl_int(1767225600000001), "\"2026-01-01T00:00:00.000001Z\"");
    assert_rendered(SL_TIME, sl_text(sl_lit(NULL, 0)), "null");
    assert_rendered(SL_MONEY, sl_int(650000000), "\"6.5\"");
    assert_rendered(SL_DURATION, sl_int(15000), "\"15s\"");
    assert_rendered(SL_BOOLEAN, sl_int(0), "false");
    assert_rendered(SL_BOOLEAN, sl_int(1), "true");
    assert_rendered(SL_INTEGER(0, 9), sl_int(INT64_MIN), "-9223372036854775808");
    assert_rendered(SL_INTEGER(0, 9), sl_ctext("42"), "42"); /* PostgreSQL's sum(bigint) */
    assert_rendered(SL_INTEGER(0, 9), sl_real(3), "3");
    assert_rendered("\"type\":\"number\"", sl_real(0.1), "0.1");
    assert_rendered("\"type\":\"number\"", sl_real(1.0 / 3), "0.33333333333333331");
    assert_rendered("\"type\":\"number\"", sl_int(5), "5");
    assert_rendered(SL_ANY_OBJECT, sl_ctext("{\"a\":[1]}"), "{\"a\":[1]}");
    assert_rendered(SL_LIST(SL_ID, 9), sl_ctext("[]"), "[]");
    assert_rendered(SL_ANY, sl_ctext("\"x\""), "\"x\"");
    assert_rendered(SL_ANY_OBJECT, sl_ctext(""), "null");
    assert_rendered(SL_BASE64, sl_blob(sl_lit("\0\1\2", 3)), "\"AAEC\"");
    assert_rendered(SL_BASE64, sl_blob(sl_lit("", 0)), "\"\"");
    assert_rendered(SL_BASE64, sl_blob(SL("hi")), "\"aGk=\"");
    assert_rendered("\"description\":\"untyped\"", sl_int(5), "5");
}

static void what_does_not_fit(void **state)
{
    (void)state;
    assert_rendered(SL_STRING(0, 9), sl_int(5), NULL);
    assert_rendered(SL_BOOLEAN, sl_int(2), NULL);
    assert_rendered(SL_INTEGER(0, 9), sl_ctext("x"), NULL);
    assert_rendered(SL_INTEGER(0, 9), sl_real(1.5), NULL);
    assert_rendered(SL_STRING(0, 9), sl_blob(SL("x")), NULL);
    assert_rendered("\"type\":\"number\"", sl_real(NAN), NULL);
}

static void order_and_columns(void **state)
{
    char why[100];
    json_t *schema = schema_read(SL("{\"properties\":{\"b\":{},\"missing\":{},\"a\":{}}}"), why, sizeof why);
    const sl_str names[] = { SL("a"), SL("secret"), SL("b") };
    const sl_value cells[] = { sl_int(1), sl_int(2), sl_int(3), sl_int(4), sl_int(5), sl_int(6) };
    sl_rows rows = { .size = sizeof rows, .cols = 3, .rows = 2, .names = names, .cells = cells };
    buf out;
    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(render_row(&out, schema, &rows, 1), SL_OK);
    buf_add_char(&out, 0);
    assert_string_equal(out.p, "{\"b\":6,\"a\":4}");
    buf_free(&out);
    json_decref(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_format), cmocka_unit_test(what_does_not_fit),
                                        cmocka_unit_test(order_and_columns) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
