/* test_oracle_jsonpath.c - result filters against the cases that Neo's nodes are tested with, their limits and
 * notation. */
#include "../../plugins/oracle/jsontext.c"
#include "../../plugins/oracle/jsonpath.c"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char *filtered(const char *json, const char *path)
{
    char *out = NULL;
    size_t n = 0;
    const char *wrong = jsonpath_filter(sl_cstr(json), sl_cstr(path), 65535, &out, &n);
    if (wrong) return NULL;
    out = realloc(out, n + 1);
    out[n] = 0;
    return out;
}

static void expect(const char *json, const char *path, const char *result)
{
    char *out = filtered(json, path);
    if (!result && out) fail_msg("%s should be refused, gave %s", path, out);
    if (result && !out) fail_msg("%s was refused", path);
    if (result && strcmp(out, result) != 0) fail_msg("%s gave %s, not %s", path, out, result);
    free(out);
}

static void malformed_filters_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       ".",
                                       "$1",
                                       "&",
                                       "$&",
                                       "$.&",
                                       "$.[0]",
                                       "$..",
                                       "$..*",
                                       "$..&",
                                       "$..1",
                                       "$[&]",
                                       "$[**]",
                                       "$[1&]",
                                       "$[2147483648]",
                                       "$[2147483648:]",
                                       "$[:2147483648]",
                                       "$[1,2147483648]",
                                       "$[2147483648[]]",
                                       "$['a'&]",
                                       "$['a'1]",
                                       "$['a",
                                       "$['\\u123']",
                                       "$['s','\\u123']",
                                       "$[[]]",
                                       "$[1,'a']",
                                       "$[1,1&",
                                       "$[1,1[]]",
                                       "$[1:&]",
                                       "$[1:1[]]",
                                       "$[1:[]]",
                                       "$[",
                                       "$..book[*].author\"",
                                       "$ .a",
                                       "$.a b",
                                       "$['a\"b']",
                                       "$[-]",
                                       "$.",
                                       "$[]",
                                       "$[*",
                                       "a" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!jsonpath_check(sl_cstr(bad[i]))) fail_msg("%s passed the check", bad[i]);
        expect("{}", bad[i], NULL);
    }
}

static void names_are_followed(void **state)
{
    (void)state;
    static const char json[] = "{\"store\":{\"name\":\"big\",\"sub\":[{\"name\":\"sub1\"},{\"name\":\"sub2\"}],"
                               "\"partner\":{\"name\":\"ppp\"}},\"another\":{\"name\":\"small\"}}";
    static const char *const cases[][2] = { { "$.store.name", "[\"big\"]" },
                                            { "$['store']['name']", "[\"big\"]" },
                                            { "$[*].name", "[\"big\",\"small\"]" },
                                            { "$.*.name", "[\"big\",\"small\"]" },
                                            { "$..store.name", "[\"big\"]" },
                                            { "$.store..name", "[\"big\",\"ppp\",\"sub1\",\"sub2\"]" },
                                            { "$..sub.name", "[]" },
                                            { "$..sub..name", NULL },
                                            { "$.store.missing", "[]" },
                                            { "$.store.name.deeper", "[]" },
                                            { "$['st\\u006fre']['name']", "[\"big\"]" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(json, cases[i][0], cases[i][1]);
    expect(json, "$",
           "[{\"store\":{\"name\":\"big\",\"sub\":[{\"name\":\"sub1\"},{\"name\":\"sub2\"}],"
           "\"partner\":{\"name\":\"ppp\"}},\"another\":{\"name\":\"small\"}}]");
}

static void elements_slices_and_unions_are_picked(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[0]", "[\"a\"]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[3]", "[\"d\"]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[1:2]", "[\"b\"]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[1:-1]", "[\"b\",\"c\"]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[-3:-1]", "[\"b\",\"c\"]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[-3:3]", "[\"b\",\"c\"]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[:3]", "[\"a\",\"b\",\"c\"]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[1:]", "[\"b\",\"c\",\"d\"]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[:100]", "[\"a\",\"b\",\"c\",\"d\"]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[2:1]", "[]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[-100:2]", "[\"a\",\"b\"]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[4]", "[]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[-5]", "[]" },
        { "[\"a\",\"b\",\"c\",\"d\"]", "$[-1]", "[\"d\"]" },
        { "[[1,2],{\"1\":\"4\"},[5,6]]", "$[:][1]", "[2,6]" },
        { "[[1,2],{\"1\":\"4\"},[5,6]]", "$[*].*", "[1,2,\"4\",5,6]" },
        { "[[1,2],3,{\"1\":\"4\"},[5,6]]", "$[*][1:]", "[2,6]" },
        { "[\"a\",{\"x\":1,\"y\":2,\"z\":3},\"c\",\"d\"]", "$[0,2]", "[\"a\",\"c\"]" },
        { "[\"a\",{\"x\":1,\"y\":2,\"z\":3},\"c\",\"d\"]", "$[1]['x','z']", "[1,3]" },
        { "[1,2]", "$[2147483647]", "[]" },
        { "[1,2]", "$[-2147483648:]", "[1,2]" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(cases[i][0], cases[i][1], cases[i][2]);
}

static void the_book_store_is_read_as_by_neo(void **state)
{
    (void)state;
    static const char json[] =
        "{ \"store\": { \"book\": [ "
        "{ \"category\": \"reference\", \"author\": \"Nigel Rees\", \"title\": \"Sayings of the Century\", \"price\": "
        "8.95 },"
        "{ \"category\": \"fiction\", \"author\": \"Evelyn Waugh\", \"title\": \"Sword of Honour\", \"price\": 12.99 },"
        "{ \"category\": \"fiction\", \"author\": \"Herman Melville\", \"title\": \"Moby Dick\", \"isbn\": "
        "\"0-553-21311-3\", \"price\": 8.99 },"
        "{ \"category\": \"fiction\", \"author\": \"J. R. R. Tolkien\", \"title\": \"The Lord of the Rings\", "
        "\"isbn\": \"0-395-19395-8\","
        " \"price\": 22.99 } ], \"bicycle\": { \"color\": \"red\", \"price\": 19.95 } }, \"expensive\": 10 }";
#define MOBY                                                                                                           \
    "{\"category\":\"fiction\",\"author\":\"Herman Melville\",\"title\":\"Moby "                                       \
    "Dick\",\"isbn\":\"0-553-21311-3\",\"price\":8.99}"
#define SWORD "{\"category\":\"fiction\",\"author\":\"Evelyn Waugh\",\"title\":\"Sword of Honour\",\"price\":12.99}"
#define REES                                                                                                           \
    "{\"category\":\"reference\",\"author\":\"Nigel Rees\",\"title\":\"Sayings of the Century\",\"price\":8.95}"
#define RINGS                                                                                                          \
    "{\"category\":\"fiction\",\"author\":\"J. R. R. Tolkien\",\"title\":\"The Lord of the "                           \
    "Rings\",\"isbn\":\"0-395-19395-8\",\"price\":22.99}"
    static const char *const cases[][2] = {
        { "$.store.book[*].author", "[\"Nigel Rees\",\"Evelyn Waugh\",\"Herman Melville\",\"J. R. R. Tolkien\"]" },
        { "$..author", "[\"Nigel Rees\",\"Evelyn Waugh\",\"Herman Melville\",\"J. R. R. Tolkien\"]" },
        { "$.store.*", "[[" REES "," SWORD "," MOBY "," RINGS "],{\"color\":\"red\",\"price\":19.95}]" },
        { "$.store..price", "[19.95,8.95,12.99,8.99,22.99]" },
        { "$..book[2]", "[" MOBY "]" },
        { "$..book[-2]", "[" MOBY "]" },
        { "$..book[0,1]", "[" REES "," SWORD "]" },
        { "$..book[:2]", "[" REES "," SWORD "]" },
        { "$..book[1:2]", "[" SWORD "]" },
        { "$..book[-2:]", "[" MOBY "," RINGS "]" },
        { "$..book[2:]", "[" MOBY "," RINGS "]" },
        { "$..invalidfield", "[]" },
        { "$.expensive", "[10]" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(json, cases[i][0], cases[i][1]);
}

static void depth_and_number_of_values_are_limited(void **state)
{
    (void)state;
    static const char names[] = "{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":1}}}}}}}",
                      lists[] = "[[[[[[[1]]]]]]]";
    expect(names, "$.a.b.c.d.e.f", "[{\"g\":1}]");
    expect(names, "$.a.b.c.d.e.f.g", NULL);
    expect(names, "$.*.*.*.*.*.*", "[{\"g\":1}]");
    expect(names, "$.*.*.*.*.*.*.*", NULL);
    expect(lists, "$[0][0][0][0][0][0]", "[[1]]");
    expect(lists, "$[0][0][0][0][0][0][0]", NULL);
    expect(lists, "$[0:][0:][0:][0:][0:][0:]", "[[1]]");
    expect(lists, "$[0:][0:][0:][0:][0:][0:][0:]", NULL);
    char big[3000] = "[";
    for (int i = 0; i < 1024; i++)
        strcat(big, i ? ",1" : "1");
    strcat(big, "]");
    char *out = filtered(big, "$[*]");
    assert_non_null(out);
    free(out);
    strcpy(strrchr(big, ']'), ",1]");
    expect(big, "$[*]", NULL);
}

static void hostile_json_is_refused(void **state)
{
    (void)state;
    char deep[200000];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    expect(deep, "$", NULL);
    expect("{\"a\":", "$.a", NULL);
    expect("", "$", NULL);
    expect("\"\xff\"", "$", NULL);
    char *out = NULL;
    size_t n;
    assert_string_equal(jsonpath_filter(SL("[\"0123456789\"]"), SL("$[*]"), 8, &out, &n),
                        "The filtered result is too large.");
}

static void text_is_written_as_neo_writes_it(void **state)
{
    (void)state;
    expect("[\"<a href='x'>&+`\"]", "$[0]", "[\"\\u003Ca href=\\u0027x\\u0027\\u003E\\u0026\\u002B\\u0060\"]");
    expect("[\"\\\"\\\\\\b\\f\\n\\r\\t/\\u0001\\u007f\"]", "$[0]", "[\"\\u0022\\\\\\b\\f\\n\\r\\t/\\u0001\\u007F\"]");
    expect("[\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"]", "$[0]", "[\"\\u00E9\\u20AC\\uD83D\\uDE00\"]");
    expect("[true,false,null,{},[]]", "$[*]", "[true,false,null,{},[]]");
}

static void numbers_are_the_shortest_that_read_back(void **state)
{
    (void)state;
    static const char *const cases[][2] = { { "1", "1" },
                                            { "1.0", "1" },
                                            { "-0.5", "-0.5" },
                                            { "0.1", "0.1" },
                                            { "100", "100" },
                                            { "1e20", "100000000000000000000" },
                                            { "1e21", "1e+21" },
                                            { "1.5e300", "1.5e+300" },
                                            { "0.000001", "0.000001" },
                                            { "0.0000001", "1e-7" },
                                            { "123456.789", "123456.789" },
                                            { "12345678901234567890", "12345678901234567000" },
                                            { "-0", "-0" },
                                            { "5e-324", "5e-324" },
                                            { "1.7976931348623157e308", "1.7976931348623157e+308" },
                                            { "9007199254740993", "9007199254740992" },
                                            { "0.30000000000000004", "0.30000000000000004" },
                                            { "-12.25e-3", "-0.01225" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[64], result[64];
        (void)snprintf(json, sizeof json, "[%s]", cases[i][0]);
        (void)snprintf(result, sizeof result, "[%s]", cases[i][1]);
        expect(json, "$[0]", result);
    }
}

static void only_well_formed_text_is_kept(void **state)
{
    (void)state;
    static const struct {
        const char *p;
        size_t n;
        int ok;
    } cases[] = {
        { "", 0, 1 },     { "abc\xc3\xa9", 5, 1 },  { "\xf4\x8f\xbf\xbf", 4, 1 }, { "a\0b", 3, 0 },
        { "\xc3", 1, 0 }, { "\xc0\x80", 2, 0 },     { "\xed\xa0\x80", 3, 0 },     { "\xf4\x90\x80\x80", 4, 0 },
        { "\xff", 1, 0 }, { "\xe0\x80\x80", 3, 0 }, { "\xe2\x82", 2, 0 }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(text_is_utf8(sl_lit(cases[i].p, cases[i].n)), cases[i].ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_filters_are_refused),
        cmocka_unit_test(names_are_followed),
        cmocka_unit_test(elements_slices_and_unions_are_picked),
        cmocka_unit_test(the_book_store_is_read_as_by_neo),
        cmocka_unit_test(depth_and_number_of_values_are_limited),
        cmocka_unit_test(hostile_json_is_refused),
        cmocka_unit_test(text_is_written_as_neo_writes_it),
        cmocka_unit_test(numbers_are_the_shortest_that_read_back),
        cmocka_unit_test(only_well_formed_text_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
