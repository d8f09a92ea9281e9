/* test_base.c - arena, text, JSON, time, money, ids. */
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "unit.h"

static void arena_limit_and_reset(void **state)
{
    (void)state;
    arena *a = arena_new(100000);
    assert_null(arena_try(a, 100001));
    assert_null(arena_try(a, SIZE_MAX));
    for (int i = 0; i < 50; i++) {
        char *p = arena_alloc(a, 1000);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (int j = 0; j < 1000; j++)
            assert_int_equal(p[j], 0);
        memset(p, 7, 1000);
    }
    assert_null(arena_try(a, 60000));
    arena_reset(a);
    assert_int_equal(arena_used(a), 0);
    assert_non_null(arena_try(a, 60000));
    arena_free(a);
}

static void numbers_are_read_exactly(void **state)
{
    (void)state;
    int64_t v;
    assert_true(str_to_int(SL("-9223372036854775808"), &v));
    assert_true(v == INT64_MIN);
    assert_true(str_to_int(SL("9223372036854775807"), &v));
    assert_true(v == INT64_MAX);
    assert_true(str_to_int(SL("0"), &v) && v == 0);
    assert_true(str_to_int(SL("1"), &v) && v == 1);
    assert_false(str_to_int(SL("9223372036854775808"), &v));
    assert_false(str_to_int(SL("-9223372036854775809"), &v));
    assert_false(str_to_int(SL(""), &v));
    assert_false(str_to_int(SL("-"), &v));
    assert_false(str_to_int(SL("12x"), &v));
}

static void times_round_trip(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } good[] = {
        { "2026-11-21T00:28:52Z", "2026-11-21T00:28:52.000000Z" },
        { "2024-02-29T23:59:59.123456789+02:00", "2024-02-29T21:59:59.123456Z" },
        { "1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z" },
        { "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z" },
        { "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z" },
    };
    static const char *const bad[] = { "2023-02-29T00:00:00Z",
                                       "2026-13-01T00:00:00Z",
                                       "2026-01-01",
                                       "2026-01-01T24:00:00Z",
                                       "2026-01-01T00:00:00",
                                       "2026-01-01T00:00:00.Z",
                                       "2026-01-01T00:00:00Zx",
                                       "" };
    char text[CLOCK_TEXT];
    int64_t us;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(clock_parse(sl_cstr(good[i].in), &us));
        assert_int_equal(clock_format(us, text), 27);
        assert_string_equal(text, good[i].out);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(clock_parse(sl_cstr(bad[i]), &us));
}

static void durations_and_money(void **state)
{
    (void)state;
    int64_t v;
    char text[64];
    assert_true(duration_parse(SL("1h30m"), &v) && v == 5400000);
    assert_true(duration_parse(SL("250ms"), &v) && v == 250);
    assert_true(duration_parse(SL("15"), &v) && v == 15000);
    assert_false(duration_parse(SL("15x"), &v));
    assert_false(duration_parse(SL(""), &v));
    assert_false(duration_parse(SL("9223372036854775807h"), &v));
    duration_format(5400000, text, sizeof text);
    assert_string_equal(text, "1h30m");
    assert_true(money_parse(SL("6.5"), &v) && v == 650000000);
    assert_true(money_parse(SL("-0.00000001"), &v) && v == -1);
    assert_true(money_parse(SL("92233720368.54775807"), &v) && v == INT64_MAX);
    assert_false(money_parse(SL("92233720368.54775808"), &v));
    assert_false(money_parse(SL("1.000000001"), &v));
    assert_false(money_parse(SL("1e3"), &v));
    assert_false(money_parse(SL(".5"), &v));
    money_format(650000000, text, sizeof text);
    assert_string_equal(text, "6.5");
    money_format(-1, text, sizeof text);
    assert_string_equal(text, "-0.00000001");
    money_format(0, text, sizeof text);
    assert_string_equal(text, "0");
}

static void utf8_is_strict(void **state)
{
    (void)state;
    assert_true(str_is_utf8(SL("gr\xc3\xbc\xc3\x9f \xf0\x9f\x99\x82")));
    assert_false(str_is_utf8(SL("\xc0\xaf")));
    assert_false(str_is_utf8(SL("\xed\xa0\x80")));
    assert_false(str_is_utf8(SL("\xf4\x90\x80\x80")));
    assert_false(str_is_utf8(SL("\xe2\x82")));
}

static void json_limits_and_pointers(void **state)
{
    (void)state;
    char why[200], deep[201];
    arena *a = arena_new(0);
    memset(deep, '[', 200);
    assert_null(json_read(sl_lit(deep, 200), why, sizeof why));
    assert_non_null(strstr(why, "64"));
    assert_null(json_read(SL("{\"a\":1,\"a\":2}"), why, sizeof why));
    assert_null(json_read(SL("{} x"), why, sizeof why));
    json_t *v = json_read(SL("{\"a/b\":{\"~\":[10,\"x\\u0000y\",null,1.5]}}"), why, sizeof why);
    assert_non_null(v);
    sl_str s = json_plain(a, json_point(v, SL("/a~1b/~0/1")));
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "x\0y", 3);
    assert_null(json_plain(a, json_point(v, SL("/a~1b/~0/2"))).p);
    assert_null(json_point(v, SL("/a~1b/~0/01")));
    assert_null(json_point(v, SL("/nothing")));
    assert_string_equal(json_plain(a, json_point(v, SL("/a~1b/~0/0"))).p, "10");
    json_decref(v);
    buf b;
    buf_init(&b, 1000);
    json_add_string(&b, SL("a\"\\\n\x01/"));
    assert_true(sl_is(buf_str(&b), "\"a\\\"\\\\\\n\\u0001/\""));
    buf_free(&b);
    arena_free(a);
}

static void buffers_stop_at_their_maximum(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, 10);
    buf_add_cstr(&b, "12345");
    buf_add_cstr(&b, "678901");
    assert_true(b.overflow);
    assert_int_equal(b.n, 5);
    buf_clear(&b);
    buf_printf(&b, "%d", 123456789);
    assert_true(sl_is(buf_str(&b), "123456789"));
    buf_printf(&b, "%d", 1); /* with its NUL it would not fit, as the first time */
    assert_true(b.overflow);
    buf_printf(&b, "%s", "");
    assert_int_equal(b.n, 9);
    buf_free(&b);
}

static void what_is_printed_is_whole_whatever_room_there_was(void **state)
{
    (void)state;
    char filler[300];
    memset(filler, 'x', sizeof filler);
    for (size_t before = 200; before < 260; before++) { /* the first piece of memory has 256 bytes */
        buf b;
        buf_init(&b, 1000);
        buf_add(&b, filler, before);
        buf_printf(&b, "%d-%s", 12345, "tail");
        assert_int_equal(b.n, before + 10);
        assert_memory_equal(b.p + before, "12345-tail", 10);
        buf_free(&b);
    }
}

static void ids_increase(void **state)
{
    (void)state;
    char last[ID_TEXT] = "", id[ID_TEXT];
    for (int i = 0; i < 20000; i++) {
        id_new(id);
        assert_true(id_valid(sl_cstr(id)));
        assert_int_equal(id[14], '7');
        assert_true(strchr("89ab", id[19]) != NULL);
        assert_true(strcmp(last, id) < 0);
        memcpy(last, id, sizeof id);
    }
}

static void base64_both_ways(void **state)
{
    (void)state;
    arena *a = arena_new(0);
    sl_str out;
    assert_string_equal(base64_encode(a, SL("\xff\xfe\x00")).p, "//4A");
    assert_string_equal(base64url_encode(a, SL("\xff\xfe")).p, "__4");
    assert_true(base64_decode(a, SL("//4="), &out) && out.n == 2);
    assert_true(base64_decode(a, SL("__4"), &out) && out.n == 2);
    assert_false(base64_decode(a, SL("a*b"), &out));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_limit_and_reset),
        cmocka_unit_test(numbers_are_read_exactly),
        cmocka_unit_test(times_round_trip),
        cmocka_unit_test(durations_and_money),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(json_limits_and_pointers),
        cmocka_unit_test(buffers_stop_at_their_maximum),
        cmocka_unit_test(what_is_printed_is_whole_whatever_room_there_was),
        cmocka_unit_test(ids_increase),
        cmocka_unit_test(base64_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
