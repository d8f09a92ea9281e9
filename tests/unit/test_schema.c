/* test_schema.c - the JSON Schema subset: what loads, what each keyword finds, pointers, defaults. */
#include "rest/schema.h"
#include "unit.h"
#include <service_layer/fields.h>

static char found[4096];

static void note(void *arg, const char *pointer, const char *detail)
{
    size_t n = strlen(found);
    (void)arg;
    snprintf(found + n, sizeof found - n, "%s%s: %s", n ? "\n" : "", pointer, detail);
}

static json_t *read_good(const char *text)
{
    char why[400] = "";
    json_t *schema = schema_read(sl_cstr(text), why, sizeof why);
    if (!schema) fail_msg("%s: %s", text, why);
    return schema;
}

static size_t run(const char *schema_text, const char *value, json_t **after)
{
    char why[200];
    json_t *schema = read_good(schema_text), *v = json_read(sl_cstr(value), why, sizeof why);
    if (!v) fail_msg("%s: %s", value, why);
    found[0] = 0;
    size_t n = schema_check(schema, v, note, NULL);
    json_decref(schema);
    if (after)
        *after = v;
    else
        json_decref(v);
    return n;
}

static void ok(const char *schema, const char *value)
{
    if (run(schema, value, NULL)) fail_msg("%s does not fit %s: %s", value, schema, found);
}
static void finds(const char *schema, const char *value, const char *expected)
{
    run(schema, value, NULL);
    assert_string_equal(found, expected);
}
static void refuses(const char *schema, const char *expected)
{
    char why[400] = "";
    json_t *v = schema_read(sl_cstr(schema), why, sizeof why);
    if (v) fail_msg("was accepted: %s", schema);
    if (!strstr(why, expected)) fail_msg("`%s` lacks `%s`", why, expected);
}

static void types(void **state)
{
    (void)state;
    finds("{\"type\":\"string\"}", "1", ": must be a string");
    finds("{\"type\":\"integer\"}", "1.5", ": must be a whole number");
    finds("{\"type\":\"string\"}", "\"a\\u0000\"", ": must not hold a NUL character");
    finds("{\"type\":\"string\",\"writeOnly\":true}", "\"a\\u0000\"", "");
    finds("{\"type\":\"integer\"}", "1.0", "");
    finds("{\"type\":\"integer\"}", "1e300", ": must be a whole number");
    finds("{\"type\":\"integer\",\"maximum\":4}", "5.0", ": must be at most 4");
    finds("{\"type\":[\"string\",\"null\"]}", "true", ": must be a string or null");
    finds("{\"type\":[\"number\",\"integer\"]}", "\"1\"", ": must be a number");
    finds("{\"type\":\"object\"}", "[]", ": must be an object");
    finds("{\"type\":\"boolean\"}", "0", ": must be true or false");
    ok("{\"type\":\"number\"}", "1");
    ok("{\"type\":[\"string\",\"null\"]}", "null");
    ok("{" SL_ANY "}", "[null]");
    ok("{}", "{\"anything\":1}");
}

static void objects(void **state)
{
    static const char schema[] = SL_OBJECT(SL_REQUIRED("name", SL_NAME, "The name."),
                                           SL_OPTIONAL("tags", SL_LIST(SL_STRING(1, 3), 2), "Tags."),
                                           SL_OPTIONAL("more", SL_MAP(SL_INTEGER(0, 9), 2), "More."));
    (void)state;
    ok(schema, "{\"name\":\"a.b\",\"tags\":[\"x\"],\"more\":{\"a\":1}}");
    finds(schema, "{}", "/name: is required");
    finds(schema, "{\"nmae\":\"x\",\"name\":\"y\"}", "/nmae: is not a known field, did you mean `name`?");
    finds(schema, "{\"name\":\"y\",\"zzzzzzzz\":1}", "/zzzzzzzz: is not a known field");
    finds(schema, "{\"name\":\"y\",\"tags\":[\"a\",\"long\"]}", "/tags/1: must have at most 3 characters");
    finds(schema, "{\"name\":\"y\",\"tags\":[\"a\",\"b\",\"c\"]}", "/tags: must have at most 2 elements");
    finds(schema, "{\"name\":\"y\",\"more\":{\"a/b\":10,\"c~d\":\"\"}}",
          "/more/a~1b: must be at most 9\n/more/c~0d: must be a whole number");
    finds(schema, "{\"name\":\"y\",\"more\":{\"a\":1,\"b\":2,\"c\":3}}", "/more: must have at most 2 fields");
    finds(schema, "{\"name\":\"-y\",\"tags\":1}",
          "/name: does not match the pattern ^[A-Za-z0-9][A-Za-z0-9._-]*$\n/tags: must be an array");
    ok("{\"type\":\"object\",\"properties\":{\"a\":{}}}", "{\"b\":1}"); /* additional fields are allowed by default */
}

static void strings_and_numbers(void **state)
{
    (void)state;
    ok("{" SL_STRING(2, 2) "}", "\"\xC3\xA9\xE2\x82\xAC\""); /* code points, not bytes */
    finds("{" SL_STRING(1, 9) "}", "\"\"", ": must have at least 1 character");
    finds("{\"minimum\":9007199254740993}", "9007199254740992",
          ": must be at least 9007199254740993"); /* past doubles */
    finds("{\"maximum\":1.5}", "2", ": must be at most 1.5");
    finds("{" SL_ENUM("a", "b") "}", "\"c\"", ": must be one of \"a\", \"b\"");
    finds("{\"const\":[1]}", "[2]", ": is not the value that is asked for");
    ok("{\"const\":{\"a\":1}}", "{\"a\":1}");
    finds("{\"minItems\":1}", "[]", ": must have at least 1 element");
    finds("{\"pattern\":\"^a+$\"}", "\"aa\\u0000\"", ": does not match the pattern ^a+$"); /* a NUL ends nothing */
}

static void formats(void **state)
{
    static const struct {
        const char *schema, *good, *bad;
    } cases[] = {
        { "{" SL_ID "}", "\"01890a5d-ac96-774b-bcce-b302099a8057\"", "\"01890a5d\"" },
        { "{" SL_URL "}", "\"https://example.org/a?b#c\"", "\"example.org/a\"" },
        { "{" SL_URL "}", "\"mailto:a@b.org\"", "\"https://exa mple/\"" },
        { "{" SL_URL "}", "\"http://[::1]:80/\"", "\"https:///x/y\"" },
        { "{" SL_TIME "}", "\"2026-01-31T12:00:00.5+01:00\"", "\"2026-02-30T12:00:00Z\"" },
        { "{" SL_TIME "}", "null", "\"yesterday\"" },
        { "{" SL_DURATION "}", "\"1h30m\"", "\"soon\"" },
        { "{" SL_MONEY "}", "\"6.50000001\"", "\"6.500000001\"" },
        { "{" SL_BASE64 "}", "\"aGk=\"", "\"aGk\"" },
        { "{" SL_BASE64 "}", "\"\"", "\"a-_=\"" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ok(cases[i].schema, cases[i].good);
        if (!run(cases[i].schema, cases[i].bad, NULL)) fail_msg("%s fits %s", cases[i].bad, cases[i].schema);
    }
}

static void defaults(void **state)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{"
        "\"n\":{\"type\":\"integer\",\"default\":7},\"list\":{\"type\":\"array\",\"default\":[1]},"
        "\"deep\":{\"type\":\"object\",\"properties\":{\"on\":{\"type\":\"boolean\",\"default\":true}},\"default\":{}}}"
        "}";
    json_t *v;
    (void)state;
    assert_int_equal(run(schema, "{\"list\":[]}", &v), 0);
    char *text = json_dumps(v, JSON_COMPACT);
    assert_string_equal(text, "{\"list\":[],\"n\":7,\"deep\":{\"on\":true}}");
    free(text);
    json_decref(v);
    refuses("{\"type\":\"integer\",\"default\":\"x\"}", "default: must be a whole number");
    refuses("{\"properties\":{\"a\":{\"maximum\":3,\"default\":4}}}", "/properties/a: default: must be at most 3");
}

static void required_is_gathered(void **state)
{
    (void)state;
    json_t *schema = read_good(
        "{\"properties\":{\"a\":{\"required\":true},\"b\":{\"required\":false},\"c\":{}},\"required\":[\"c\"]}");
    char *text = json_dumps(schema, JSON_COMPACT);
    assert_string_equal(text, "{\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"required\":[\"c\",\"a\"]}");
    free(text);
    json_decref(schema);
}

static void bad_schemas_do_not_load(void **state)
{
    (void)state;
    refuses("{", "line 1");
    refuses("[]", "must be an object");
    refuses("{\"minLenght\":1}", "unknown keyword `minLenght`, did you mean `minLength`?");
    refuses("{\"$ref\":\"#\"}", "unknown keyword `$ref`");
    refuses("{\"type\":\"text\"}", "`text` is not a type");
    refuses("{\"type\":[]}", "type");
    refuses("{\"properties\":{\"a\":{\"format\":\"email\"}}}", "/properties/a: format: `email` is not known");
    refuses("{\"properties\":{\"a\":1}}", "/properties/a: must be an object");
    refuses("{\"properties\":{\"a b\":{}}}", "`a b` is not a name");
    refuses("{\"required\":true}", "required");
    refuses("{\"properties\":{},\"required\":[\"x\"]}", "`x` is not a property");
    refuses("{\"pattern\":\"(\"}", "pattern");
    refuses("{\"pattern\":\"\\\\d+\"}", "write a class such as [0-9]");
    refuses("{\"pattern\":\"(a)\\\\1\"}", "POSIX");
    refuses("{\"enum\":[]}", "enum");
    refuses("{\"maxItems\":-1}", "maxItems");
    refuses("{\"items\":[{}]}", "/items");
    refuses("{\"writeOnly\":1}", "writeOnly");
    refuses("{\"additionalProperties\":{\"nope\":1}}", "/additionalProperties: unknown keyword");
}

static void hostile_input_is_bounded(void **state)
{
    char text[8192] = "";
    (void)state;
    for (int i = 0; i < 40; i++)
        strcat(text, "{\"items\":");
    strcat(text, "{}");
    for (int i = 0; i < 40; i++)
        strcat(text, "}");
    refuses(text, "nested deeper");
    /* 200 unknown fields give 50 findings, and a name longer than any pointer is cut */
    json_t *schema = read_good("{\"additionalProperties\":false}"), *v = json_object();
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "field%d", i);
        json_object_set_new(v, text, json_null());
    }
    found[0] = 0;
    assert_int_equal(schema_check(schema, v, note, NULL), SCHEMA_FINDINGS);
    json_object_clear(v);
    memset(text, '~', 5000);
    text[5000] = 0;
    json_object_set_new(v, text, json_null());
    found[0] = 0;
    assert_int_equal(schema_check(schema, v, note, NULL), 1);
    assert_true(strlen(found) < SCHEMA_POINTER + 100);
    json_decref(v);
    json_decref(schema);
}

static int teardown(void **state)
{
    (void)state;
    schema_patterns_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),
        cmocka_unit_test(objects),
        cmocka_unit_test(strings_and_numbers),
        cmocka_unit_test(formats),
        cmocka_unit_test(defaults),
        cmocka_unit_test(required_is_gathered),
        cmocka_unit_test(bad_schemas_do_not_load),
        cmocka_unit_test(hostile_input_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
