/* jwt.c - JSON Web Tokens: three parts, one signature, and the claims that say when it is good. */
#include "base/jwt.h"
#include "base/id.h"
#include "base/jwt_keys.h"
#include "base/p256.h"
#include <openssl/hmac.h>
#include <stdlib.h>

enum { MAC = 32, SIGNATURE_MAX = 1024 };
static const char header_hs256[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";

static void mac(sl_str secret, sl_str text, unsigned char out[MAC])
{
    unsigned n = MAC;
    if (!HMAC(EVP_sha256(), secret.p, (int)secret.n, (const unsigned char *)text.p, text.n, out, &n)) abort();
}

sl_str jwt_sign(arena *a, sl_str secret, const json_t *claims)
{
    unsigned char signature[MAC];
    sl_str head = base64url_encode(a, sl_cstr(header_hs256)), body = base64url_encode(a, json_write(a, claims));
    sl_str text = arena_printf(a, "%.*s.%.*s", STR_ARG(head), STR_ARG(body));
    mac(secret, text, signature);
    sl_str tail = base64url_encode(a, sl_lit((char *)signature, MAC));
    return arena_printf(a, "%.*s.%.*s", STR_ARG(text), STR_ARG(tail));
}

/* Base64url without padding, as RFC 7515 has it; the other alphabet would give one token two forms. */
static bool decode(arena *a, sl_str text, sl_str *bytes)
{
    for (size_t i = 0; i < text.n; i++)
        if (memchr("+/=", text.p[i], 3)) return false;
    return text.n > 0 && base64_decode(a, text, bytes);
}

static json_t *decode_object(arena *a, sl_str text)
{
    char ignored[160];
    sl_str bytes;
    json_t *v = decode(a, text, &bytes) ? json_read(bytes, ignored, sizeof ignored) : NULL;
    if (json_is_object(v)) return v;
    json_decref(v);
    return NULL;
}

static bool signed_by(const struct jwt_key *k, sl_str text, sl_str signature)
{
    if (k->alg == JWT_ES256) return p256_verify(k->key, text, signature);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md) abort();
    bool good = EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, k->key) == 1 &&
                EVP_DigestVerify(md, (const unsigned char *)signature.p, signature.n, (const unsigned char *)text.p,
                                 text.n) == 1;
    EVP_MD_CTX_free(md);
    return good;
}

/* A key id names the key; without one, and of keys that have no name (PEM), each of the algorithm is tried. */
static const char *check_keys(const jwt_keys *keys, enum jwt_alg alg, sl_str kid, sl_str text, sl_str signature)
{
    bool found = false;
    for (size_t i = 0; keys && i < keys->n; i++) {
        const struct jwt_key *k = &keys->key[i];
        if (k->alg != alg || (sl_given(kid) && k->id[0] && !sl_same(kid, sl_cstr(k->id)))) continue;
        found = true;
        if (signed_by(k, text, signature)) return NULL;
    }
    return found ? "The token's signature does not hold." : "The token's key is not known here.";
}

static const char *check_signature(sl_str secret, const jwt_keys *keys, const json_t *head, sl_str text,
                                   sl_str signature, bool *by_secret)
{
    unsigned char expected[MAC];
    sl_str alg = json_str(json_object_get(head, "alg")), kid = json_str(json_object_get(head, "kid"));
    *by_secret = sl_is(alg, "HS256");
    /* RFC 7515 4.1.11: what is marked critical must be understood, and we understand no extension. */
    if (json_object_get(head, "crit")) return "The token asks for an extension that is not known here.";
    if (*by_secret && sl_given(secret) && secret.n) {
        mac(secret, text, expected);
        return equal_constant_time(signature, sl_lit((char *)expected, MAC)) ? NULL
                                                                             : "The token's signature does not hold.";
    }
    if (sl_is(alg, "RS256")) return check_keys(keys, JWT_RS256, kid, text, signature);
    if (sl_is(alg, "ES256")) return check_keys(keys, JWT_ES256, kid, text, signature);
    return "The token's algorithm is not accepted here.";
}

json_t *jwt_verify(arena *a, sl_str secret, const jwt_keys *keys, sl_str token, bool *by_secret, const char **why)
{
    sl_str rest = token, head_text, body_text, tail_text, signature;
    *why = "The token is not well formed.";
    if (token.n > JWT_MAX || !str_split(&rest, '.', &head_text) || !str_split(&rest, '.', &body_text) ||
        !str_split(&rest, '.', &tail_text) || sl_given(rest) || !decode(a, tail_text, &signature) ||
        signature.n > SIGNATURE_MAX)
        return NULL;
    json_t *head = decode_object(a, head_text), *claims = NULL;
    sl_str text = sl_lit(token.p, head_text.n + 1 + body_text.n);
    if (head) *why = check_signature(secret, keys, head, text, signature, by_secret);
    json_decref(head);
    if (*why) return NULL;
    claims = decode_object(a, body_text);
    if (!claims) *why = "The token's claims are no JSON object.";
    return claims;
}

/* NumericDate (RFC 7519 2): seconds, perhaps with a fraction. False: there is one, and it is no such number. */
static bool time_of(const json_t *claims, const char *name, bool *given, int64_t *us)
{
    const json_t *v = json_object_get(claims, name);
    *given = v != NULL;
    if (!v) return true;
    double seconds = json_number_value(v);
    if (!json_is_number(v) || !(seconds >= 0 && seconds <= 253402300799.0)) return false;
    *us = json_is_integer(v) ? json_integer_value(v) * 1000000 : (int64_t)(seconds * 1e6);
    return true;
}

const char *jwt_check_times(const json_t *claims, int64_t now, int64_t leeway, int64_t *expires_at)
{
    bool given[3];
    int64_t from = 0, made = 0;
    leeway *= 1000000;
    if (!time_of(claims, "exp", &given[0], expires_at) || !time_of(claims, "nbf", &given[1], &from) ||
        !time_of(claims, "iat", &given[2], &made))
        return "The token's times are not numbers.";
    if (!given[0]) return "The token has no expiry (`exp`).";
    if (now >= *expires_at + leeway) return "The token has expired.";
    if (given[1] && from > now + leeway) return "The token is not good yet (`nbf`).";
    if (given[2] && made > now + leeway) return "The token was made in the future (`iat`).";
    return NULL;
}

bool jwt_for_audience(const json_t *claims, sl_str audience)
{
    const json_t *aud = json_object_get(claims, "aud");
    if (json_is_string(aud)) return sl_same(json_str(aud), audience);
    for (size_t i = 0; i < json_array_size(aud); i++)
        if (json_is_string(json_array_get(aud, i)) && sl_same(json_str(json_array_get(aud, i)), audience)) return true;
    return false;
}

const json_t *jwt_claim(const json_t *claims, sl_str path)
{
    const json_t *whole = json_object_getn(claims, path.p, path.n); /* names such as https://x.example/role have dots */
    sl_str part;
    if (whole) return whole;
    while (claims && str_split(&path, '.', &part))
        claims = json_object_getn(claims, part.p, part.n);
    return claims;
}
