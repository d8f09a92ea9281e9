/* test_auth.c - tokens, scopes and tenants: who gets in, as whom, and what is said to those who do not. */
#include "http_unit.h"

static sl_err who(void *self, sl_call *c)
{
    (void)self;
    call *k = (call *)c;
    const struct identity *i = http_identity(k);
    sl_str seen = request_ops.input(k, SL_IN_HEADER, SL("authorization"));
    return request_ops.reply(k, 200, SL("text/plain"),
                             arena_printf(k->arena, "%.*s %.*s %.*s %s", STR_ARG(i->role), STR_ARG(i->actor),
                                          STR_ARG(i->tenant), sl_given(seen) ? "token seen" : "token hidden"));
}
static const sl_entry table[] = {
    { .kind = SL_ROUTE, .name = "GET /open", .run = who },
    { .kind = SL_ROUTE, .name = "GET /things", .run = who, .scope = "things:read" },
    { .kind = SL_ROUTE, .name = "GET /admin", .run = who, .scope = "admin" },
    { .kind = SL_ROUTE, .name = "GET /admin/jobs", .run = who, .scope = "admin:jobs" },
    { .kind = SL_ROUTE, .name = "GET /administrators", .run = who, .scope = "administrators:read" },
    { .kind = SL_ROUTE, .name = "GET /metrics", .run = who, .scope = "metrics" },
};
static int setup(void **state)
{
    (void)state;
    unit_setup(table, sizeof table / sizeof *table);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    unit_teardown();
    return 0;
}
static void get(const char *path, const char *headers, int status, const char *body, const char *in_headers)
{
    assert_answer(unit_ask("GET", path, headers, NULL), status, body, in_headers);
}

static void bearer_is_two_words(void **state)
{
    static const char *const good[] = { "Bearer service-token", "bearer service-token", "BEARER  service-token",
                                        "Bearer service-token " };
    static const char *const bad[] = { "service-token",
                                       "Bearer",
                                       "Bearer ",
                                       "Bearer service-token x",
                                       "Bearer service-tokenx",
                                       "Bearer service-toke",
                                       "Basic service-token",
                                       "Bearerservice-token",
                                       "Bearer\tservice-token",
                                       "" };
    char line[80];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(line, sizeof line, "authorization: %s\n", good[i]);
        get("/things", line, 200, "service token:", NULL);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(line, sizeof line, "authorization: %s\n", bad[i]);
        get("/things", line, 401, "\"code\":\"unauthorized\"", "WWW-Authenticate: Bearer error=\"invalid_token\"\n");
    }
    get("/things", "", 401, "Authorization: Bearer <token>", "WWW-Authenticate: Bearer\n");
}

static void roles_and_scopes(void **state)
{
    (void)state;
    get("/administrators", TOKEN, 200, "service token:", NULL); /* begins like admin, but is another word */
    get("/admin", TOKEN, 403, "does not hold the scope `admin`", "error=\"insufficient_scope\", scope=\"admin\"");
    get("/admin/jobs", TOKEN, 403, "`admin:jobs`", NULL);
    get("/admin/jobs", ADMIN, 200, "admin token:", NULL);
    get("/things", ADMIN, 200, "admin token:", NULL);
}

static void public_routes(void **state)
{
    (void)state;
    get("/open", "", 200, "anonymous anonymous default", NULL);
    get("/open", "authorization: Bearer wrong\n", 200, "anonymous anonymous default token seen", NULL);
    get("/open", TOKEN "x-tenant-id: t1\n", 200, "service token:", NULL);
    get("/open", "x-tenant-id: t1\n", 200, "anonymous anonymous default", NULL); /* a tenant is a right, not a header */
    get("/things", TOKEN, 200, "token hidden", NULL);
}

static void tenants(void **state)
{
    (void)state;
    get("/things", TOKEN, 200, " default ", NULL);
    get("/things", TOKEN "x-tenant-id: Team_1.a-b\n", 200, " Team_1.a-b ", NULL);
    get("/things", TOKEN "x-tenant-id: a/b\n", 400, "invalid_tenant", NULL);
    get("/things", TOKEN "x-tenant-id:\n", 400, "invalid_tenant", NULL);
    get("/things", TOKEN "x-tenant-id: 12345678901234567890123456789012345678901234567890123456789012345\n", 400,
        "invalid_tenant", NULL);
    http_cfg.require_tenant = true;
    get("/things", TOKEN, 403, "This needs the header X-Tenant-ID.", NULL);
    get("/things", TOKEN "x-tenant-id: t\n", 200, " t ", NULL);
    get("/open", "", 200, " default ", NULL);
    get("/metrics", "", 200, NULL, NULL);
    http_cfg.require_tenant = false;
}

static void roles_of_the_configuration(void **state)
{
    static const sl_str roles[] = { { "service things:read admin:jobs", 30 }, { "nothing", 7 } };
    (void)state;
    unit_config.identity.roles = roles;
    unit_config.identity.n_roles = 2;
    http_setup(&unit_config);
    get("/things", TOKEN, 200, "service token:", NULL);
    get("/admin/jobs", TOKEN, 200, "service token:", NULL);
    get("/admin", TOKEN, 403, "`admin`", NULL);
    get("/administrators", TOKEN, 403, "`administrators:read`", NULL);
    get("/administrators", ADMIN, 200, "admin token:", NULL);
    sl_str scopes;
    assert_true(role_find(SL("nothing"), &scopes) && scopes.n == 0);
    assert_false(role_find(SL("unheard"), &scopes));
    arena *a = arena_new(0);
    assert_string_equal(role_names(a).p, "admin, metrics, service, user, reader, nothing");
    arena_free(a);
}

static void metrics_token(void **state)
{
    (void)state;
    get("/metrics", "", 200, "anonymous", NULL); /* open until a token is configured */
    unit_config.identity.metrics_token = SL("scrape");
    http_setup(&unit_config);
    get("/metrics", "", 401, NULL, NULL);
    get("/metrics", "authorization: Bearer scrape\n", 200, "metrics token:", NULL);
    get("/metrics", ADMIN, 200, "admin", NULL);
    get("/things", "authorization: Bearer scrape\n", 403, "`things:read`", NULL);
    unit_config.identity.metrics_token = SL("");
}

static void no_tokens_let_nobody_in(void **state)
{
    (void)state;
    unit_config.identity.n_api_tokens = unit_config.identity.n_admin_tokens = 0;
    http_setup(&unit_config);
    get("/things", TOKEN, 401, NULL, NULL);
    get("/things", "authorization: Bearer \n", 401, NULL, NULL);
    get("/open", "", 200, NULL, NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(bearer_is_two_words),        T(roles_and_scopes), T(public_routes),          T(tenants),
        T(roles_of_the_configuration), T(metrics_token),    T(no_tokens_let_nobody_in)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
