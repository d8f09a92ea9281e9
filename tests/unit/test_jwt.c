/* test_jwt.c - JSON Web Tokens: the examples of RFC 7515, and everything by which a token could be more than it is. */
#include "base/jwt_keys.h"
#include "base/id.h"
#include "unit.h"

static arena *a;
static int setup(void **state) { return (void)state, a = arena_new(0), 0; }
static int teardown(void **state) { return (void)state, arena_free(a), 0; }

/* RFC 7515 appendix A.1 to A.3: one payload, three ways to sign it. */
#define PAYLOAD "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define HS256   "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define RS256   "eyJhbGciOiJSUzI1NiJ9." PAYLOAD "." RS_SIGNATURE
#define ES256   "eyJhbGciOiJFUzI1NiJ9." PAYLOAD "." ES_SIGNATURE
#define RS_SIGNATURE                                                                                                   \
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t" \
    "1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j" \
    "zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ" \
    "Ge77Rw"
#define ES_SIGNATURE "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define RSA_KEY                                                                                                        \
    "\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt" \
    "0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB" \
    "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkM" \
    "Ls91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\""
#define EC_KEY                                                                                                         \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                          \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""

#define EC_PEM                                                                                                         \
    "-----BEGIN PUBLIC KEY-----\n"                                                                                     \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAED1AvXF+bUF5ZBZ7xfR5+RrgyUS9/\n"                                               \
    "EzKVq6fpUU7ca5uCZ8VWx19kfbiJZg8E2g9KgJ55fLZwXh6RVN4iuVC/dA==\n-----END PUBLIC KEY-----\n"

static sl_str secret_of_the_rfc(void)
{
    sl_str secret;
    assert_true(base64_decode(
        a, SL("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"), &secret));
    return secret;
}

static jwt_keys *keys_of(const char *jwks)
{
    char why[200] = "";
    jwt_keys *k = jwt_keys_read(sl_cstr(jwks), why, sizeof why);
    if (!k) fail_msg("%s", why);
    return k;
}

static void verify(sl_str secret, const jwt_keys *keys, const char *token, const char *refused)
{
    bool own;
    const char *why;
    json_t *claims = jwt_verify(a, secret, keys, sl_cstr(token), &own, &why);
    if (refused ? claims != NULL || !strstr(why, refused) : !claims || why)
        fail_msg("%.60s: expected %s, got %s", token, refused ? refused : "good", why ? why : "good");
    if (!refused) assert_string_equal(json_string_value(json_object_get(claims, "iss")), "joe");
    json_decref(claims);
}

static void examples_of_the_rfc(void **state)
{
    (void)state;
    jwt_keys *keys = keys_of("{\"keys\":[{" RSA_KEY "},{" EC_KEY "}]}");
    verify(secret_of_the_rfc(), NULL, HS256, NULL);
    verify(sl_lit(NULL, 0), keys, RS256, NULL);
    verify(sl_lit(NULL, 0), keys, ES256, NULL);
    verify(SL("some other secret of 32 bytes or so"), NULL, HS256, "signature does not hold");
    verify(SL(""), keys, HS256, "algorithm is not accepted");
    verify(secret_of_the_rfc(), NULL, RS256, "key is not known");
    verify(secret_of_the_rfc(), keys, "eyJhbGciOiJSUzI1NiJ9." PAYLOAD "." ES_SIGNATURE, "signature does not hold");
    verify(secret_of_the_rfc(), keys, "eyJhbGciOiJFUzI1NiJ9." PAYLOAD "." RS_SIGNATURE, "signature does not hold");
    jwt_keys_free(keys);
}

/* The oldest trick: a token signed by HMAC with the public key's text as the secret. */
static void a_public_key_is_never_a_secret(void **state)
{
    static const char jwks[] = "{\"keys\":[{" RSA_KEY "}]}";
    (void)state;
    jwt_keys *keys = keys_of(jwks);
    json_t *claims = json_pack("{s:s}", "iss", "joe");
    verify(secret_of_the_rfc(), keys, jwt_sign(a, sl_cstr(jwks), claims).p, "signature does not hold");
    verify(SL(""), keys, jwt_sign(a, sl_cstr(jwks), claims).p, "algorithm is not accepted");
    verify(SL(""), keys, jwt_sign(a, SL(""), claims).p,
           "algorithm is not accepted"); /* no secret is not the empty one */
    json_decref(claims);
    jwt_keys_free(keys);
}

static void a_key_id_names_the_key(void **state)
{
    static const char head_b[] = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImIifQ."; /* {"alg":"ES256","kid":"b"} */
    (void)state;
    jwt_keys *keys = keys_of("{\"keys\":[{" EC_KEY ",\"kid\":\"a\"},{" RSA_KEY ",\"kid\":\"b\"}]}");
    verify(SL(""), keys, ES256, NULL); /* names none: each of its algorithm is tried */
    char token[1024];
    snprintf(token, sizeof token, "%s%s.%s", head_b, PAYLOAD, ES_SIGNATURE);
    verify(SL(""), keys, token, "key is not known"); /* the one of that name is for another algorithm */
    jwt_keys_free(keys);
}

static void what_is_not_well_formed(void **state)
{
    static const char *const bad[] = { "",
                                       ".",
                                       "..",
                                       "a.b",
                                       "eyJhbGciOiJIUzI1NiJ9..",
                                       HS256 ".",
                                       HS256 "=",
                                       "e30." PAYLOAD ".AAAA",
                                       "W10." PAYLOAD ".AAAA",
                                       "bnVsbA." PAYLOAD ".AAAA",
                                       "eyJhbGciOiJub25lIn0." PAYLOAD ".",
                                       "eyJhbGciOiJub25lIn0." PAYLOAD ".AAAA",
                                       "eyJhbGciOjV9." PAYLOAD ".AAAA",
                                       "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD
                                       ".dBjftJeZ4CVP+mB92K27uhbUJU1p1r/wW1gFWFOEjXk" };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        verify(secret_of_the_rfc(), NULL, bad[i], "The token");
    char *big = arena_alloc(a, JWT_MAX + 2);
    memset(big, 'a', JWT_MAX + 1);
    verify(secret_of_the_rfc(), NULL, big, "not well formed");
    json_t *list = json_pack("[s]", "iss");
    sl_str token = jwt_sign(a, secret_of_the_rfc(), list);
    verify(secret_of_the_rfc(), NULL, token.p, "no JSON object");
    json_decref(list);
}

static void times(void **state)
{
    static const struct {
        const char *claims, *refused;
    } cases[] = {
        { "{\"exp\":1000}", NULL },
        { "{\"exp\":991}", NULL }, /* within the leeway of 10 seconds */
        { "{\"exp\":990}", "expired" },
        { "{\"exp\":990.5}", NULL },
        { "{\"exp\":1e300}", "not numbers" },
        { "{\"exp\":-1}", "not numbers" },
        { "{\"exp\":\"1001\"}", "not numbers" },
        { "{\"exp\":null}", "not numbers" },
        { "{}", "no expiry" },
        { "{\"exp\":2000,\"nbf\":1010}", NULL },
        { "{\"exp\":2000,\"nbf\":1011}", "not good yet" },
        { "{\"exp\":2000,\"iat\":1010}", NULL },
        { "{\"exp\":2000,\"iat\":1011}", "in the future" },
        { "{\"exp\":2000,\"nbf\":true}", "not numbers" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[100];
        int64_t until;
        json_t *claims = json_read(sl_cstr(cases[i].claims), why, sizeof why);
        const char *refused = jwt_check_times(claims, 1000 * 1000000LL, 10, &until);
        if (cases[i].refused ? !refused || !strstr(refused, cases[i].refused) : refused != NULL)
            fail_msg("%s: %s", cases[i].claims, refused ? refused : "good");
        json_decref(claims);
    }
}

static void claims(void **state)
{
    char why[100];
    (void)state;
    json_t *c = json_read(SL("{\"aud\":[\"x\",5,\"y\"],\"a\":{\"b\":\"deep\"},\"https://x.example/role\":\"whole\"}"),
                          why, sizeof why);
    assert_true(jwt_for_audience(c, SL("y")));
    assert_false(jwt_for_audience(c, SL("z")));
    assert_string_equal(json_string_value(jwt_claim(c, SL("a.b"))), "deep");
    assert_string_equal(json_string_value(jwt_claim(c, SL("https://x.example/role"))), "whole");
    assert_null(jwt_claim(c, SL("a.b.c")));
    assert_null(jwt_claim(c, SL("aud.x")));
    assert_null(jwt_claim(c, SL("")));
    json_object_set_new(c, "aud", json_string("one"));
    assert_true(jwt_for_audience(c, SL("one")));
    json_object_del(c, "aud");
    assert_false(jwt_for_audience(c, SL("one")));
    json_decref(c);
}

static void which_keys_are_taken(void **state)
{
    static const struct {
        const char *text, *refused;
    } cases[] = {
        { "{\"keys\":[{" EC_KEY "}]}", NULL },
        { "{\"keys\":[{" EC_KEY ",\"use\":\"sig\",\"alg\":\"ES256\"},{" RSA_KEY ",\"use\":\"enc\"}]}", NULL },
        { "{\"keys\":[{" RSA_KEY ",\"use\":\"enc\"}]}", "no key" },
        { "{\"keys\":[{" RSA_KEY ",\"alg\":\"RS512\"}]}", "no key" },
        { "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}", "no key" },
        { "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", "2048" },
        { "{\"keys\":[{\"kty\":\"RSA\"}]}", "malformed" },
        { "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}", "malformed" },
        { "{\"keys\":[5]}", "no key" },
        { "{\"keys\":5}", "no list" },
        { "{\"keys\":", "line" },
        { "", "no key" },
        { "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "malformed" },
        { EC_PEM, NULL },
        { "a note\n" EC_PEM "\nanother\n", NULL },
        { EC_PEM "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "key 2" }, /* was left out unsaid */
        { EC_PEM "-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n", "key 2" },
        { EC_PEM "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0C\n", "key 2" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[200] = "";
        jwt_keys *k = jwt_keys_read(sl_cstr(cases[i].text), why, sizeof why);
        if (cases[i].refused ? k != NULL || !strstr(why, cases[i].refused) : !k || k->n != 1)
            fail_msg("%.80s: %s", cases[i].text, k ? "taken" : why);
        jwt_keys_free(k);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(examples_of_the_rfc),
        T(a_public_key_is_never_a_secret),
        T(a_key_id_names_the_key),
        T(what_is_not_well_formed),
        T(times),
        T(claims),
        T(which_keys_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
