/* jwt_keys.h - private to jwt*.c: the public keys by which tokens of a provider are judged. */
#ifndef BASE_JWT_KEYS_H
#define BASE_JWT_KEYS_H
#include "base/jwt.h"
#include <openssl/evp.h>

enum jwt_alg { JWT_RS256, JWT_ES256 };
struct jwt_key {
    EVP_PKEY *key;
    enum jwt_alg alg; /* the only one it is good for */
    char id[JWT_ID_MAX];
};
struct jwt_keys {
    size_t n;
    struct jwt_key key[JWT_KEYS_MAX];
};
#endif
