/* test_bearers.c - the table of known tokens: it never grows beyond its size, forgets what it must, believes nothing
 * stale; and the delays of those who fail to sign in. */
#include "unit.h"
#include "../../host/identity/bearers.c"
#undef SLOTS

/* ---- doubles of what else fills the table ---- */
static bool fresh = true;
static int reads;
bool token_looks_ours(sl_str plain) { return str_starts(plain, "slt_"); }
sl_err token_ask(call *c, const unsigned char hash[HASH], bearer **out)
{
    struct identity who = { .kind = IDENTITY_TOKEN, .actor = SL("token:asked"), .tenants = SL("t") };
    (void)c;
    *out = bearer_put(hash, &who);
    return SL_OK;
}
bool jwt_looks_like_one(sl_str plain) { return str_starts(plain, "eyJ"); }
bearer *jwt_bearer(sl_str plain, const unsigned char hash[HASH], const char **why)
{
    (void)plain, (void)hash;
    *why = "The token has expired.";
    return NULL;
}
bool revocations_fresh(void) { return fresh; }
sl_err revocations_read(call *c)
{
    (void)c;
    reads++;
    return reads > 1 ? SL_OK : SL_EUNAVAIL;
}

static int setup(void **state)
{
    (void)state;
    fresh = true;
    reads = 0;
    bearers_clear();
    bearer_configure(SL("configured"), "service");
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    bearers_clear();
    assert_int_equal(n_passing, 0);
    return 0;
}

static void add(sl_str plain, const char *id, int64_t expires_at)
{
    unsigned char hash[HASH];
    struct identity who = {
        .kind = IDENTITY_TOKEN, .token_id = sl_cstr(id), .actor = SL("a"), .only = SL("x:y"), .expires_at = expires_at
    };
    token_hash(plain, hash);
    bearer_drop(bearer_put(hash, &who));
}

static enum bearer_state find_it(sl_str plain)
{
    bearer *b;
    const char *why;
    enum bearer_state s = bearer_find(plain, &b, &why);
    assert_true((s == BEARER_KNOWN) == (b != NULL));
    bearer_drop(b);
    return s;
}

static sl_str numbered(size_t i)
{
    static char text[40];
    return sl_lit(text, (size_t)snprintf(text, sizeof text, "slt_%zu", i));
}

static void the_table_has_a_size(void **state)
{
    (void)state;
    size_t known = 0;
    for (size_t i = 0; i < 3 * BEARERS_MAX; i++) {
        add(numbered(i), "id", 0);
        assert_true(n_passing <= BEARERS_MAX);
        assert_int_equal(find_it(SL("slt_0")), BEARER_KNOWN); /* whoever comes all the time stays */
    }
    for (size_t i = 0; i < 3 * BEARERS_MAX; i++)
        known += find_it(numbered(i)) == BEARER_KNOWN;
    assert_int_equal(known, BEARERS_MAX);
    assert_int_equal(find_it(SL("configured")), BEARER_KNOWN);
}

static void a_held_one_outlives_the_table(void **state)
{
    bearer *b;
    const char *why;
    (void)state;
    add(SL("slt_held"), "held", 0);
    assert_int_equal(bearer_find(SL("slt_held"), &b, &why), BEARER_KNOWN);
    bearers_forget(SL("held"));
    assert_int_equal(find_it(SL("slt_held")), BEARER_ASK);
    assert_true(sl_is(bearer_identity(b)->only, "x:y"));
    assert_true(sl_given(bearer_identity(b)->token_id) && !sl_given(bearer_identity(b)->scopes));
    bearer_drop(b);
}

static void what_is_over_is_not_known(void **state)
{
    bearer *b;
    const char *why;
    (void)state;
    add(SL("slt_over"), "over", clock_now() - 1);
    assert_int_equal(bearer_find(SL("slt_over"), &b, &why), BEARER_UNKNOWN);
    assert_string_equal(why, "The token has expired.");
    add(SL("slt_not"), "not", clock_now() + 60000000);
    assert_int_equal(find_it(SL("slt_not")), BEARER_KNOWN);
    assert_int_equal(find_it(SL("nonsense")), BEARER_UNKNOWN);
    assert_int_equal(find_it(SL("")), BEARER_UNKNOWN);
    assert_int_equal(find_it(sl_lit(NULL, 0)), BEARER_UNKNOWN);
    assert_int_equal(find_it(SL("eyJ")), BEARER_UNKNOWN);
}

/* The store cannot be reached: who was known before may have been revoked since. */
static void nothing_stale_is_believed(void **state)
{
    bearer *b;
    const char *why;
    (void)state;
    add(SL("slt_known"), "known", 0);
    fresh = false;
    assert_int_equal(find_it(SL("slt_known")), BEARER_ASK);
    assert_int_equal(find_it(SL("eyJ")), BEARER_ASK);
    assert_int_equal(find_it(SL("configured")), BEARER_KNOWN); /* no store was ever asked about it */
    assert_int_equal(bearer_ask(NULL, SL("slt_known"), &b, &why), SL_EUNAVAIL);
    assert_null(b);
    assert_int_equal(bearer_ask(NULL, SL("slt_known"), &b, &why), SL_OK);
    assert_true(sl_is(bearer_identity(b)->actor, "token:asked"));
    bearer_drop(b);
}

/* ---- throttle.c ---- */
static int64_t now_ns = 1000000000;
static int64_t fake_monotonic(void) { return now_ns; }
#define clock_monotonic fake_monotonic
#include "../../host/identity/throttle.c"
#undef clock_monotonic

static void delays_double_up_to_a_quarter_of_an_hour(void **state)
{
    (void)state;
    sl_str who = SL("alice"), from = SL("192.0.2.1");
    for (int i = 0; i < 5; i++)
        assert_int_equal(throttle_take(who, from), 0);
    uint32_t expected = 1;
    for (int i = 0; i < 14; i++) {
        assert_int_equal(throttle_take(who, from), expected);
        assert_int_equal(throttle_take(who, from), expected); /* asking again costs nothing */
        assert_int_equal(throttle_take(SL("bob"), SL("192.0.2.9")), 0);
        throttle_clear(SL("bob"), SL("192.0.2.9"));
        now_ns += (int64_t)expected * SECOND;
        assert_int_equal(throttle_take(who, from), 0);
        expected = expected >= 512 ? 900 : expected * 2;
    }
    now_ns += (int64_t)expected * SECOND;
    assert_int_equal(throttle_take(who, from), 0);
    throttle_clear(who, from);
    for (int i = 0; i < 5; i++)
        assert_int_equal(throttle_take(who, from), 0); /* as at first */
    now_ns += (FORGET_S + 1) * SECOND;
}

static void one_address_tries_many_names(void **state)
{
    char name[20];
    (void)state;
    for (int i = 0; i < FREE_ADDRESS; i++) {
        snprintf(name, sizeof name, "user%d", i);
        assert_int_equal(throttle_take(sl_cstr(name), SL("198.51.100.7")), 0);
    }
    assert_int_equal(throttle_take(SL("fresh"), SL("198.51.100.7")), 1);
    assert_int_equal(throttle_take(SL("fresh"), SL("198.51.100.8")), 0);
    now_ns += (FORGET_S + 1) * SECOND;
    for (int i = 0; i < 5; i++)
        assert_int_equal(throttle_take(SL("fresh"), SL("198.51.100.7")), 0);
}

static void a_flood_of_names_pushes_nobody_out_for_good(void **state)
{
    char name[20];
    (void)state;
    for (int i = 0; i < 100000; i++) { /* more than the table has places */
        snprintf(name, sizeof name, "u%d", i);
        throttle_take(sl_cstr(name), sl_cstr(name));
    }
    for (int i = 0; i < 5; i++)
        assert_int_equal(throttle_take(SL("after"), SL("203.0.113.1")), 0);
    assert_int_equal(throttle_take(SL("after"), SL("203.0.113.1")), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_table_has_a_size),
        T(a_held_one_outlives_the_table),
        T(what_is_over_is_not_known),
        T(nothing_stale_is_believed),
        cmocka_unit_test(delays_double_up_to_a_quarter_of_an_hour),
        cmocka_unit_test(one_address_tries_many_names),
        cmocka_unit_test(a_flood_of_names_pushes_nobody_out_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
