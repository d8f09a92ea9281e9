/* jwt_keys.c - reads a provider's public keys: a JWKS document (RFC 7517, 7518) or PEM. */
#include "base/jwt_keys.h"
#include "base/id.h"
#include "base/p256.h"
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdlib.h>

enum { RSA_MIN = 2048, RSA_MAX = 8192, FILE_MAX = 256 << 10 };

void jwt_keys_free(jwt_keys *k)
{
    for (size_t i = 0; k && i < k->n; i++)
        EVP_PKEY_free(k->key[i].key);
    free(k);
}

/* Takes `key` over. False: why. */
static bool add(jwt_keys *k, EVP_PKEY *key, sl_str id, char *why, size_t why_size)
{
    char group[32] = "";
    int bits = EVP_PKEY_get_bits(key);
    bool rsa = EVP_PKEY_is_a(key, "RSA"), ec = EVP_PKEY_is_a(key, "EC");
    if (ec) EVP_PKEY_get_group_name(key, group, sizeof group, NULL);
    const char *bad = NULL;
    if (rsa ? bits < RSA_MIN || bits > RSA_MAX : !ec || strcmp(group, "prime256v1") != 0)
        bad = "only RSA keys of 2048 to 8192 bits and EC keys on P-256 are taken";
    else if (k->n == JWT_KEYS_MAX)
        bad = "more than 32 keys";
    else if (id.n >= JWT_ID_MAX)
        bad = "a key id is longer than 255 bytes";
    if (bad) {
        EVP_PKEY_free(key);
        snprintf(why, why_size, "key %zu: %s", k->n + 1, bad);
        return false;
    }
    struct jwt_key *to = &k->key[k->n++];
    *to = (struct jwt_key){ .key = key, .alg = rsa ? JWT_RS256 : JWT_ES256 };
    if (id.n) memcpy(to->id, id.p, id.n);
    return true;
}

static bool number_of(arena *a, const json_t *jwk, const char *name, sl_str *out)
{
    sl_str text = json_str(json_object_get(jwk, name));
    return text.n > 0 && text.n < 4096 && base64_decode(a, text, out) && out->n > 0;
}

static EVP_PKEY *rsa_key(sl_str n, sl_str e)
{
    EVP_PKEY *key = NULL;
    BIGNUM *modulus = BN_bin2bn((const unsigned char *)n.p, (int)n.n, NULL);
    BIGNUM *exponent = BN_bin2bn((const unsigned char *)e.p, (int)e.n, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    if (!modulus || !exponent || !build || !ctx || !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) ||
        !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent))
        abort();
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    if (!params) abort();
    if (EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) key = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(ctx);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

static EVP_PKEY *ec_key(arena *a, sl_str x, sl_str y)
{
    char *point = arena_alloc(a, 65);
    if (x.n != 32 || y.n != 32) return NULL;
    point[0] = 4; /* SEC 1: both coordinates follow */
    memcpy(point + 1, x.p, 32);
    memcpy(point + 33, y.p, 32);
    return p256_key(sl_lit(point, 65));
}

/* Keys that are not for signatures are passed over; one that is must be good. */
static bool add_jwk(jwt_keys *k, arena *a, const json_t *jwk, char *why, size_t why_size)
{
    sl_str kty = json_str(json_object_get(jwk, "kty")), use = json_str(json_object_get(jwk, "use")), x, y;
    sl_str alg = json_str(json_object_get(jwk, "alg")), id = json_str(json_object_get(jwk, "kid"));
    bool rsa = sl_is(kty, "RSA"), ec = sl_is(kty, "EC");
    EVP_PKEY *key = NULL;
    if ((sl_given(use) && !sl_is(use, "sig")) || (!rsa && !ec)) return true;
    if (sl_given(alg) && !sl_is(alg, rsa ? "RS256" : "ES256")) return true;
    if (ec && !sl_is(json_str(json_object_get(jwk, "crv")), "P-256")) return true;
    if (rsa && number_of(a, jwk, "n", &x) && number_of(a, jwk, "e", &y)) key = rsa_key(x, y);
    if (ec && number_of(a, jwk, "x", &x) && number_of(a, jwk, "y", &y)) key = ec_key(a, x, y);
    if (key) return add(k, key, id, why, why_size);
    snprintf(why, why_size, "key %zu of the JWKS document is malformed", k->n + 1);
    return false;
}

static bool read_jwks(jwt_keys *k, sl_str text, char *why, size_t why_size)
{
    json_t *doc = json_read(text, why, why_size);
    const json_t *list = json_object_get(doc, "keys");
    bool good = doc != NULL;
    arena *a = arena_new(0);
    if (good && !json_is_array(list)) good = snprintf(why, why_size, "the JWKS document has no list `keys`") < 0;
    for (size_t i = 0; good && i < json_array_size(list); i++)
        good = add_jwk(k, a, json_array_get(list, i), why, why_size);
    arena_free(a);
    json_decref(doc);
    return good;
}

static bool malformed(const jwt_keys *k, char *why, size_t why_size)
{
    snprintf(why, why_size, "key %zu: the PEM text is malformed", k->n + 1);
    return false;
}

/* Block by block: PEM_read_bio_PUBKEY tells a malformed key like the text's end. Other blocks are passed over. */
static bool read_pem(jwt_keys *k, sl_str text, char *why, size_t why_size)
{
    BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
    char *name, *header;
    unsigned char *data;
    long n;
    bool good = true;
    if (!bio) abort();
    while (good && PEM_read_bio(bio, &name, &header, &data, &n)) {
        const unsigned char *at = data;
        if (strcmp(name, PEM_STRING_PUBLIC) == 0) {
            EVP_PKEY *key = d2i_PUBKEY(NULL, &at, n);
            good = key ? add(k, key, SL(""), why, why_size) : malformed(k, why, why_size);
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
    }
    if (good && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) good = malformed(k, why, why_size);
    ERR_clear_error();
    BIO_free(bio);
    return good;
}

jwt_keys *jwt_keys_read(sl_str text, char *why, size_t why_size)
{
    jwt_keys *k = calloc(1, sizeof *k);
    if (!k) abort();
    text = str_trim(text);
    bool good = true;
    if (text.n) good = text.p[0] == '{' ? read_jwks(k, text, why, why_size) : read_pem(k, text, why, why_size);
    if (good && k->n == 0)
        good = snprintf(why, why_size, "there is no key in it: a JWKS document or PEM public keys (BEGIN PUBLIC KEY)") <
               0;
    if (good) return k;
    jwt_keys_free(k);
    return NULL;
}

jwt_keys *jwt_keys_load(sl_str file, char *why, size_t why_size)
{
    static char text[FILE_MAX]; /* public keys: nothing to wipe */
    char path[4096];
    if (file.n >= sizeof path) return snprintf(why, why_size, "the path is too long"), NULL;
    memcpy(path, file.p, file.n);
    path[file.n] = 0;
    FILE *f = fopen(path, "re");
    if (!f) return snprintf(why, why_size, "%.200s cannot be read", path), NULL;
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    if (n == sizeof text) return snprintf(why, why_size, "%.200s is longer than 256 KiB", path), NULL;
    return jwt_keys_read(sl_lit(text, n), why, why_size);
}
