/* fuzz_identity.c - what strangers send to be let in: JWTs, public keys, wallets' keys and signatures; and the texts of
 * roles and users in the configuration. */
#include "fuzz.h"
#include "base/id.h"
#include "base/jwt.h"
#include "base/neo.h"
#include "base/scope.h"
#include <openssl/hmac.h>

static const char secret[] = "a secret that the input does not know";

static void never_let_in(arena *a, sl_str token)
{
    bool own;
    const char *why;
    json_t *claims = jwt_verify(a, sl_cstr(secret), NULL, token, &own, &why);
    if (claims || !why) abort(); /* a signature out of nothing */
}

/* A good signature over whatever head and claims: what is behind it is reached too. */
static void rightly_signed(arena *a, sl_str head, sl_str body)
{
    unsigned char mac[32];
    unsigned n = sizeof mac;
    bool own;
    const char *why;
    int64_t until;
    sl_str h = base64url_encode(a, head), b = base64url_encode(a, body);
    sl_str text = arena_printf(a, "%.*s.%.*s", STR_ARG(h), STR_ARG(b));
    HMAC(EVP_sha256(), secret, sizeof secret - 1, (const unsigned char *)text.p, text.n, mac, &n);
    sl_str tail = base64url_encode(a, sl_lit((char *)mac, sizeof mac));
    json_t *claims = jwt_verify(a, sl_cstr(secret), NULL, arena_printf(a, "%.*s.%.*s", STR_ARG(text), STR_ARG(tail)),
                                &own, &why);
    if (!claims) return;
    jwt_check_times(claims, 1000000000000000, 30, &until);
    jwt_for_audience(claims, SL("a"));
    jwt_claim(claims, SL("a.b.c"));
    jwt_claim(claims, head);
    json_decref(claims);
}

static void wallet(sl_str s)
{
    char address[NEO_ADDRESS_TEXT];
    unsigned char key[NEO_KEY] = { 0 };
    neo_address_ok(s);
    memcpy(key, s.p ? s.p : "", s.n < NEO_KEY ? s.n : NEO_KEY);
    neo_address(key, address);
    if (!neo_address_ok(sl_cstr(address))) abort();
    if (s.n < NEO_KEY + NEO_SIGNATURE) return;
    neo_message_signed(sl_lit((char *)key, NEO_KEY), str_sub(s, NEO_KEY + NEO_SIGNATURE, s.n), SL("salt"),
                       str_sub(s, NEO_KEY, NEO_SIGNATURE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[200];
    sl_str whole = sl_lit(size ? (const char *)data : "", size), rest, first = fuzz_first(data, size, &rest), word;
    arena *a = arena_new(0);
    never_let_in(a, whole);
    rightly_signed(a, SL("{\"alg\":\"HS256\"}"), whole);
    rightly_signed(a, first, rest);
    jwt_keys_free(jwt_keys_read(whole, why, sizeof why));
    wallet(whole);
    role_check(whole);
    user_check(whole);
    if (!scope_check(first) && !scope_covers(first, first) && memchr(first.p, '*', first.n) == NULL) abort();
    sl_str words = words_of_json(a, whole);
    while (next_word(&words, &word))
        if (!word.n || memchr(word.p, '"', word.n)) abort();
    arena_free(a);
    return 0;
}
