/* test_scope.c - which scopes a pattern covers, what a role may look like, and for whom a caller may act. */
#include "identity/identity.h"
#include "unit.h"

static void patterns(void **state)
{
    static const struct {
        const char *patterns, *scope;
        bool covered;
    } cases[] = {
        { "oracle:read", "oracle:read", true },
        { "oracle:read", "oracle:readers", false },
        { "oracle:readers", "oracle:read", false },
        { "oracle:*", "oracle:write", true },
        { "oracle:*", "oracle", false },
        { "oracle:*", "oracles:write", false },
        { "*:read", "oracle:read", true },
        { "*:read", "oracle:write", false },
        { "*:read", "read", false },
        { "*:read", "admin:read", false },
        { "*", "metrics", true },
        { "*", "admin", false },
        { "*", "admin:jobs", false },
        { "*", "administrators:read", true },
        { "admin", "admin", true },
        { "admin", "admin:jobs", false },
        { "admin:*", "admin:jobs", true },
        { "admin:*", "admin", false },
        { "a:b  oracle:read", "oracle:read", true },
        { "", "oracle:read", false },
        { "", "", false },
        { " ", "x", false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (scope_covers(sl_cstr(cases[i].patterns), sl_cstr(cases[i].scope)) != cases[i].covered)
            fail_msg("`%s` and `%s`", cases[i].patterns, cases[i].scope);
    assert_false(scope_covers(sl_lit(NULL, 0), SL("x")));
}

static void what_may_stand_in_the_configuration(void **state)
{
    static const char *const good[] = { "auditor *:read admin:audit", "none", "a-b_c.d  x:y", "service oracle:*",
                                        "ops *" };
    static const char *const bad[] = { "",           "admin *",     "metrics *", "anonymous x",  " x:y",
                                       "a b:c:d",    "a *:*",       "a x:",      "a or*:read",   "a/b x:y",
                                       "a x:y;drop", "a x\ty:read", "a ää:read", "a oracle:re*", "x,y z" };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (role_check(sl_cstr(good[i]))) fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!role_check(sl_cstr(bad[i]))) fail_msg("taken: %s", bad[i]);
    assert_null(tenant_check(SL("Team_1.a-b")));
    assert_non_null(tenant_check(SL("")));
    assert_non_null(tenant_check(sl_lit("a\0b", 3)));
    assert_non_null(scope_check(sl_lit("a\0b", 3)));
}

static void rights_are_the_role_narrowed_by_the_token(void **state)
{
    struct identity who = { .kind = IDENTITY_TOKEN, .scopes = SL("oracle:* accounts:read"), .tenants = SL("a b") };
    (void)state;
    assert_true(identity_may(&who, SL("oracle:write")));
    who.only = SL("*:read");
    assert_false(identity_may(&who, SL("oracle:write")));
    assert_true(identity_may(&who, SL("oracle:read")));
    assert_false(identity_may(&who, SL("secrets:read"))); /* the token asks for more than its role has */
    assert_true(identity_may(&who, SL("self")));
    who.only = SL("");
    assert_false(identity_may(&who, SL("oracle:read")));
    assert_true(identity_acts_for(&who, SL("b")));
    assert_false(identity_acts_for(&who, SL("c")));
    assert_false(identity_acts_for(&who, SL("*")));
    who.scopes = SL("* admin admin:*");
    assert_false(identity_acts_for(&who, SL("c"))); /* narrowed: it is no administrator's token any more */
    who.only = sl_lit(NULL, 0);
    assert_true(identity_acts_for(&who, SL("c")));
    assert_false(identity_may(&(struct identity){ 0 }, SL("self")));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(patterns),
                                        cmocka_unit_test(what_may_stand_in_the_configuration),
                                        cmocka_unit_test(rights_are_the_role_narrowed_by_the_token) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
