/* test_openapi.c - the names of operations, patterns of another dialect, and examples that fit their schema. */
#include "http_unit.h"
#include "../../host/openapi/example.c"
#include "../../host/openapi/operation.c"

static sl_err nothing(void *self, sl_call *c) { return (void)self, (void)c, SL_OK; }

#define ITEM SL_OBJECT(SL_REQUIRED("id", SL_ID, "It."), SL_REQUIRED("version", "\"type\":\"integer\"", "Its version."))

#define R(path, ...)                                                                                                   \
    {                                                                                                                  \
        .kind = SL_ROUTE, .name = path, .run = nothing, __VA_ARGS__                                                    \
    }

static const struct operation *of(const struct operation *all, size_t n, const char *route)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].entry->spec.name, route) == 0) return &all[i];
    fail_msg("no operation %s", route);
    return all;
}

static void test_an_operation_is_called_what_a_user_would_type(void **state)
{
    static const sl_entry table[] = {
        R("GET /unit", .out = ITEM),
        R("POST /accounts/{account}/unit/things", .out = ITEM),
        R("GET /accounts/{account}/unit/things", .flags = SL_LIST, .out = ITEM),
        R("GET /accounts/{account}/unit/things/{thing}", .out = ITEM),
        R("PUT /accounts/{account}/unit/things/{id}", .out = ITEM),
        R("PATCH /accounts/{account}/unit/things/{thing}", .out = ITEM),
        R("DELETE /accounts/{account}/unit/things/{thing}", .status = 204),
        R("POST /accounts/{account}/unit/things/{thing}/retry", .out = ITEM),
        R("POST /unit/things/retry", .out = ITEM),
        R("POST /accounts/{account}/things/{thing}/unit", .out = ITEM),
        R("GET /admin/boxes/{box}", .out = ITEM),
        R("GET /unit/public-key.pem", .out = ITEM),
        R("GET /unit/settings", .out = ITEM),
        R("PUT /unit/settings", .out = ITEM),
        R("POST /unit/login", .doc = "Log in."),
        R("POST /other/unit/login", .doc = "Log in."),
        R("POST /Other/unit/login", .doc = "Log in."),
    };
    static const char *const wanted[] = {
        "unit.get",
        "unit.things.create",
        "unit.things.list",
        "unit.things.get",
        "unit.things.replace",
        "unit.things.update",
        "unit.things.delete",
        "unit.things.retry",
        "unit.things.retry-all",
        "unit.things.unit",
        "unit.boxes.get",
        "unit.public-key",
        "unit.settings.get",
        "unit.settings.update",
        "unit.login",
        "unit.other.unit.login",
        "unit.other.unit.login-2",
    };
    arena *a = arena_new(0);
    size_t n;
    (void)state;
    unit_modules(table, sizeof table / sizeof *table);
    const struct operation *all = operations_find(a, &n);
    assert_int_equal(n, sizeof wanted / sizeof *wanted);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(all[i].id, wanted[i]);
    /* One path whatever its parameters are called. */
    const struct operation *get = of(all, n, "GET /accounts/{account}/unit/things/{thing}");
    const struct operation *put = of(all, n, "PUT /accounts/{account}/unit/things/{id}");
    assert_int_equal(put->group, get->group);
    assert_true(sl_same(put->path, get->path));
    assert_true(put->editable && get->tagged && !get->editable);
    assert_true(of(all, n, "DELETE /accounts/{account}/unit/things/{thing}")->editable);
    assert_false(of(all, n, "POST /accounts/{account}/unit/things")->editable);
    unit_modules_free();
    arena_free(a);
}

static void test_answers_follow_from_the_table(void **state)
{
    static char none[] = "";
    static const sl_entry table[] = {
        R("GET /unit/open", .doc = "Open."),
        R("POST /unit/things/{thing}/do", .scope = "unit:write", .in = SL_OBJECT(SL_OPTIONAL("a", SL_BOOLEAN, "")),
          .problems = "409 taken,410 gone , 409 busy, 423"),
    };
    arena *a = arena_new(0);
    size_t n;
    (void)state;
    unit_modules(table, 2);
    unit_module.grants = none;
    const struct operation *all = operations_find(a, &n), *open = &all[0], *act = &all[1];
    static const int always[] = { 400, 422, 429, 500, 503, 504 }, never[] = { 401, 403, 404, 409, 410, 412, 415, 502 };
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        assert_true(operation_may_answer(open, always[i]) && operation_may_answer(act, always[i]));
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        assert_false(operation_may_answer(open, never[i]));
    static const int also[] = { 401, 403, 404, 409, 410, 413, 415, 423 };
    for (size_t i = 0; i < sizeof also / sizeof *also; i++)
        assert_true(operation_may_answer(act, also[i]));
    assert_false(operation_may_answer(act, 412) || operation_may_answer(act, 502) || operation_may_answer(act, 418));
    assert_true(sl_is(operation_codes(act, 409, a), "`taken`, `busy`"));
    assert_true(sl_is(operation_codes(act, 423, a), ""));
    assert_false(sl_given(operation_codes(act, 404, a)));
    unit_modules_free();
    arena_free(a);
}

static void test_a_pattern_means_the_same_in_the_document(void **state)
{
    static const char *const pairs[][2] = {
        { "^[A-Za-z0-9][A-Za-z0-9._-]*$", "^[A-Za-z0-9][A-Za-z0-9._-]*$" },
        { "^[]a]+$", "^[\\]a]+$" },
        { "^[^]\\]x$", "^[^\\]\\\\]x$" },
        { "[[:alnum:]_]{2}", "[A-Za-z0-9_]{2}" },
        { "a\\.b(c|d)?", "a\\.b(c|d)?" },
        { "[ab", "[ab]" },
        { "\\", "\\" },
    };
    arena *a = arena_new(0);
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_true(sl_is(pattern_portable(a, sl_cstr(pairs[i][0])), pairs[i][1]));
    arena_free(a);
}

static void example_is(const char *schema_text, bool whole, const char *wanted)
{
    json_t *schema = unit_schema(schema_text), *v = openapi_example(schema, whole);
    char *text = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (wanted && text)
        assert_string_equal(text, wanted);
    else
        assert_true(!wanted && !text);
    free(text);
    json_decref(v);
    json_decref(schema);
}

static void test_an_example_fits_its_schema(void **state)
{
    (void)state;
    example_is("{" SL_NAME "}", true, "\"text\"");
    example_is("{" SL_STRING(6, 8) "}", true, "\"textxx\"");
    example_is("{" SL_STRING(1, 2) "}", true, "\"te\"");
    example_is("{" SL_INTEGER(3, 9) "}", true, "3");
    example_is("{" SL_INTEGER(-9, -3) "}", true, "-3");
    example_is("{" SL_MONEY "}", true, "\"6.5\"");
    example_is("{\"type\":\"string\",\"pattern\":\"^0x[0-9a-f]{4}(ab|cd)+[^a]$\"}", true, "\"0xaaaaabx\"");
    example_is("{\"type\":\"string\",\"minLength\":40,\"pattern\":\"^N[A-Z]+$\"}", true,
               "\"NAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"");
    example_is("{\"type\":\"string\",\"pattern\":\"^[[:digit:]]{3}\\\\.[]x]?$\"}", true, "\"111.x\"");
    example_is("{\"type\":\"string\",\"maxLength\":1,\"pattern\":\"^ab$\"}", true, NULL);
    example_is("{\"type\":\"string\",\"pattern\":\"^((((((((((((((((a+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+$\"}", true,
               "\"a\"");
    example_is("{\"type\":\"string\",\"minLength\":5,\"maxLength\":5,\"pattern\":\"^[0-9]*$\"}", true, "\"11111\"");
    example_is(SL_CHANGE(SL_OPTIONAL("a", SL_BOOLEAN, ""), SL_OPTIONAL("b", SL_ID, "")), false, "{\"a\":true}");
    example_is("{" SL_LIST(SL_ENUM("x", "y"), 5) ",\"minItems\":2}", true, "[\"x\",\"x\"]");
    example_is(SL_OBJECT(SL_REQUIRED("a", SL_BOOLEAN, ""), SL_OPTIONAL("b", SL_ID, ""),
                         SL_OPTIONAL("c", SL_INTEGER(0, 9) SL_EXAMPLE("7"), "")),
               false, "{\"a\":true,\"c\":7}");
    example_is(SL_OBJECT(SL_REQUIRED("a", SL_BOOLEAN, ""), SL_OPTIONAL("t", SL_TIME, "")), true,
               "{\"a\":true,\"t\":\"2026-01-31T12:00:00.000000Z\"}");
}

static sl_err tagged(void *self, sl_call *pub)
{
    call *c = (call *)pub;
    (void)self;
    c->ops->header(c, SL("ETag"), SL("\"seven\""));
    return c->ops->reply(c, 200, SL("application/json"), SL("{}"));
}

static void test_a_tag_of_the_handlers_own_is_compared_too(void **state)
{
    static const sl_entry table[] = { { SL_ROUTE, "GET /unit/tagged", tagged, .doc = "A tag." } };
    (void)state;
    unit_setup(table, 1);
    assert_answer(unit_ask("GET", "/unit/tagged", "if-none-match: \"six\"", NULL), 200, "{}", "ETag: \"seven\"");
    assert_answer(unit_ask("GET", "/unit/tagged", "if-none-match: \"six\", W/\"seven\"", NULL), 304, NULL,
                  "ETag: \"seven\"");
    unit_teardown();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_operation_is_called_what_a_user_would_type),
        cmocka_unit_test(test_answers_follow_from_the_table),
        cmocka_unit_test(test_a_pattern_means_the_same_in_the_document),
        cmocka_unit_test(test_an_example_fits_its_schema),
        cmocka_unit_test(test_a_tag_of_the_handlers_own_is_compared_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
