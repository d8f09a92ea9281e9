/* p256.h - ECDSA signatures over the curve P-256 (secp256r1) with SHA-256, as JWTs (ES256) and Neo wallets make them.
 */
#ifndef BASE_P256_H
#define BASE_P256_H
#include "base/text.h"
#include <openssl/evp.h>

/* A public key from an encoded point (SEC 1: 33 bytes compressed or 65 not). The caller frees it (EVP_PKEY_free); NULL:
 * it is no point of the curve. */
EVP_PKEY *p256_key(sl_str point);
bool p256_verify(EVP_PKEY *key, sl_str message, sl_str signature); /* signature: r and s, 32 bytes each */
#endif
