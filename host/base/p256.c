/* p256.c - ECDSA signatures over the curve P-256 (secp256r1) with SHA-256, by OpenSSL. */
#include "base/p256.h"
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <stdlib.h>

enum { SIZE = 32 };

EVP_PKEY *p256_key(sl_str point)
{
    EVP_PKEY *key = NULL;
    char group[] = "prime256v1";
    if (point.n != 1 + SIZE && point.n != 1 + 2 * SIZE) return NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)point.p, point.n),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (!ctx) abort();
    bool made = EVP_PKEY_fromdata_init(ctx) == 1 && EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (made) return key;
    EVP_PKEY_free(key);
    return NULL;
}

/* OpenSSL takes the numbers as DER (RFC 3279 2.2.3); it checks their range. */
static int to_der(sl_str signature, unsigned char **der)
{
    const unsigned char *p = (const unsigned char *)signature.p;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(p, SIZE, NULL), *s = BN_bin2bn(p + SIZE, SIZE, NULL);
    if (!sig || !r || !s || !ECDSA_SIG_set0(sig, r, s)) abort();
    *der = NULL;
    int n = i2d_ECDSA_SIG(sig, der);
    ECDSA_SIG_free(sig);
    return n;
}

bool p256_verify(EVP_PKEY *key, sl_str message, sl_str signature)
{
    unsigned char *der;
    if (signature.n != 2 * SIZE) return false;
    int n = to_der(signature, &der);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (n <= 0 || !md) abort();
    bool good = EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(md, der, (size_t)n, (const unsigned char *)(message.p ? message.p : ""), message.n) ==
                    1;
    EVP_MD_CTX_free(md);
    OPENSSL_free(der);
    return good;
}
