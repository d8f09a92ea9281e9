/* derive.h - signed random bytes: what is signed, how the bytes follow from the signature, how both are verified. */
#ifndef RANDOM_DERIVE_H
#define RANDOM_DERIVE_H
#include <service_layer/plugin.h>

enum { LENGTH_MAX = 1024, REQUEST_ID_MAX = 256, SECRET_KEY = 64, PUBLIC_KEY = 32, SIGNATURE = 64 };

/* message = request_id | 0x00 | counter u64 BE | created_at in nanoseconds since 1970 u64 BE | length u32 BE
 * signature = Ed25519(message); value = first `length` bytes of T(1) | T(2) | ... with T(0) empty and
 * T(n) = HMAC-SHA512(key = signature, T(n-1) | message | byte n). */
struct draw {
    sl_str request_id; /* at most REQUEST_ID_MAX bytes */
    uint64_t counter, created_ns;
    uint32_t length; /* 1 .. LENGTH_MAX */
    unsigned char signature[SIGNATURE];
    unsigned char value[LENGTH_MAX];
};

void draw_sign(struct draw *d, const unsigned char secret_key[SECRET_KEY]); /* fills signature and value */
/* NULL when the signature is the key's and the value follows from it, else what is wrong. */
const char *draw_verify(const struct draw *d, const unsigned char public_key[PUBLIC_KEY]);
/* A signing key from base64 or hex of 32 bytes (seed) or 64 bytes (seed and public key). NULL, or what is wrong with
 * it. */
const char *signing_key_read(sl_str text, unsigned char secret_key[SECRET_KEY], unsigned char public_key[PUBLIC_KEY]);
int bytes_from_base64(sl_str text, void *out, size_t n); /* exactly n bytes */
#endif
