/* test_router.c - route patterns, precedence, methods, percent-decoding. */
#include "http/router.h"
#include "unit.h"

static router *made;
static arena *a;
static struct route_match m;

static int setup(void **state)
{
    static const char *const names[] = { "GET /",
                                         "GET /accounts",
                                         "POST /accounts",
                                         "GET /accounts/{account}",
                                         "DELETE /accounts/{account}",
                                         "GET /accounts/me",
                                         "GET /accounts/{account}/things/{thing}",
                                         "GET /accounts/me/things",
                                         "PATCH /accounts/{a}/things",
                                         "GET /a/{x}/c",
                                         "GET /a/b/d",
                                         "PUT /files/{name}" };
    (void)state;
    made = router_new();
    a = arena_new(0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char why[128] = "";
        assert_true(route_check(names[i], why, sizeof why));
        assert_non_null(router_add(made, names[i]));
    }
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    router_drop(made);
    arena_free(a);
    return 0;
}
static enum route_result find(const char *method, const char *path)
{
    return router_find(made, sl_cstr(method), sl_cstr(path), a, &m);
}
static void assert_route(const char *method, const char *path, const char *name)
{
    assert_int_equal(find(method, path), ROUTE_FOUND);
    assert_string_equal(m.route->name, name);
}
static void assert_value(size_t i, const char *value)
{
    assert_int_equal(m.values[i].n, strlen(value));
    assert_memory_equal(m.values[i].p, value, strlen(value));
}

static void static_beats_param(void **state)
{
    (void)state;
    assert_route("GET", "/", "GET /");
    assert_route("GET", "/accounts", "GET /accounts");
    assert_route("GET", "/accounts/me", "GET /accounts/me");
    assert_route("GET", "/accounts/x1", "GET /accounts/{account}");
    assert_value(0, "x1");
    assert_route("GET", "/accounts/x1/things/y2", "GET /accounts/{account}/things/{thing}");
    assert_value(0, "x1");
    assert_value(1, "y2");
    assert_true(sl_is(m.route->params[1], "thing"));
}

static void goes_back_when_the_static_way_leads_nowhere(void **state)
{
    (void)state;
    assert_route("GET", "/a/b/c", "GET /a/{x}/c");
    assert_value(0, "b");
    assert_route("GET", "/accounts/me/things/z", "GET /accounts/{account}/things/{thing}");
    assert_value(0, "me");
    assert_route("DELETE", "/accounts/me", "DELETE /accounts/{account}"); /* the static node has no such method */
    assert_route("PATCH", "/accounts/me/things", "PATCH /accounts/{a}/things");
}

static void other_method_is_told_with_allow(void **state)
{
    char text[64];
    (void)state;
    assert_int_equal(find("PUT", "/accounts"), ROUTE_OTHER_METHOD);
    route_allow_text(m.allow, text, sizeof text);
    assert_string_equal(text, "GET, HEAD, POST, OPTIONS");
    assert_int_equal(find("TRACE", "/accounts/me"), ROUTE_OTHER_METHOD);
    route_allow_text(m.allow, text, sizeof text);
    assert_string_equal(text, "GET, HEAD, DELETE, OPTIONS"); /* of both routes that fit */
    assert_int_equal(find("OPTIONS", "/files/x"), ROUTE_OTHER_METHOD);
    assert_route("HEAD", "/accounts", "GET /accounts");
}

static void nothing_there(void **state)
{
    (void)state;
    assert_int_equal(find("GET", "/nothing"), ROUTE_NONE);
    assert_int_equal(find("GET", "/accounts/"), ROUTE_NONE);
    assert_int_equal(find("GET", "//accounts"), ROUTE_NONE);
    assert_int_equal(find("GET", "/accounts//things/x"), ROUTE_NONE);
    assert_int_equal(find("GET", "/Accounts"), ROUTE_NONE);
    char deep[300] = "";
    for (int i = 0; i < 100; i++)
        strcat(deep, "/a");
    assert_int_equal(find("GET", deep), ROUTE_NONE);
}

static void segments_are_decoded(void **state)
{
    (void)state;
    assert_route("PUT", "/files/a%20b%C3%A9", "PUT /files/{name}");
    assert_value(0, "a b\xC3\xA9");
    assert_route("GET", "/%61ccounts/%6De", "GET /accounts/me");
    assert_route("PUT", "/files/a+b", "PUT /files/{name}");
    assert_value(0, "a+b"); /* a plus is a plus in a path */
}

static void bad_encodings_are_refused(void **state)
{
    static const char *const bad[] = { "/files/%",      "/files/%4",    "/files/%zz", "/files/a%00",
                                       "/files/a%2fb",  "/files/a%2Fb", "/files/%ff", "/files/..",
                                       "/files/%2e%2e", "/files/%2E",   "files",      "" };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        m.why = NULL;
        assert_int_equal(find("PUT", bad[i]), ROUTE_BAD_PATH);
        assert_non_null(m.why);
    }
}

static void malformed_patterns(void **state)
{
    static const char *const bad[] = { "",          "GET",       "GET ",         "get /a",   "HEAD /a",  "GET a",
                                       "GET /a/",   "GET //a",   "GET /a//b",    "GET /{}",  "GET /{A}", "GET /{a",
                                       "GET /a{b}", "GET /{a}b", "GET /{a}/{a}", "GET /a b", "GET /a?b", "GET /%61",
                                       "GET /a/..", "GET  /a",   "BREW /pot" };
    char why[160];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        why[0] = 0;
        if (route_check(bad[i], why, sizeof why)) fail_msg("`%s` was accepted", bad[i]);
        assert_true(why[0]);
    }
    char many[400] = "GET ";
    for (int i = 0; i < 17; i++)
        sprintf(many + strlen(many), "/{p%d}", i);
    assert_false(route_check(many, why, sizeof why));
    assert_true(route_check("GET /", why, sizeof why));
    assert_true(route_check("POST /a/{b_2}/c.json", why, sizeof why));
}

static void clashes(void **state)
{
    (void)state;
    assert_true(route_clash("GET /a/{x}", "GET /a/{y}"));
    assert_true(route_clash("GET /", "GET /"));
    assert_false(route_clash("GET /a/{x}", "GET /a/b"));
    assert_false(route_clash("GET /a/{x}", "POST /a/{x}"));
    assert_false(route_clash("GET /a/{x}", "GET /a/{x}/c"));
    assert_false(route_clash("GET /", "GET /a"));
    assert_null(router_add(made, "GET /accounts/{other}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(static_beats_param, setup, teardown),
        cmocka_unit_test_setup_teardown(goes_back_when_the_static_way_leads_nowhere, setup, teardown),
        cmocka_unit_test_setup_teardown(other_method_is_told_with_allow, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_there, setup, teardown),
        cmocka_unit_test_setup_teardown(segments_are_decoded, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_encodings_are_refused, setup, teardown),
        cmocka_unit_test(malformed_patterns),
        cmocka_unit_test_setup_teardown(clashes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
