/* derive.c - the construction of signed random bytes (derive.h states it) over libsodium's Ed25519 and HMAC-SHA512. */
#include "derive.h"
#include <sodium.h>

enum { MESSAGE_MAX = REQUEST_ID_MAX + 1 + 8 + 8 + 4 };

static size_t put_big_endian(unsigned char *out, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(v >> (8 * (bytes - 1 - i)));
    return bytes;
}

static size_t message(const struct draw *d, unsigned char out[MESSAGE_MAX])
{
    size_t n = d->request_id.n < REQUEST_ID_MAX ? d->request_id.n : REQUEST_ID_MAX;
    if (n) memcpy(out, d->request_id.p, n);
    out[n++] = 0;
    n += put_big_endian(out + n, d->counter, 8);
    n += put_big_endian(out + n, d->created_ns, 8);
    return n + put_big_endian(out + n, d->length, 4);
}

static void expand(const unsigned char signature[SIGNATURE], const unsigned char *text, size_t text_n, uint32_t length,
                   unsigned char *out)
{
    unsigned char block[crypto_auth_hmacsha512_BYTES];
    uint32_t done = 0;
    for (unsigned char n = 1; done < length; n++) { /* at most 16 blocks */
        crypto_auth_hmacsha512_state h;
        crypto_auth_hmacsha512_init(&h, signature, SIGNATURE);
        if (n > 1) crypto_auth_hmacsha512_update(&h, block, sizeof block);
        crypto_auth_hmacsha512_update(&h, text, text_n);
        crypto_auth_hmacsha512_update(&h, &n, 1);
        crypto_auth_hmacsha512_final(&h, block);
        uint32_t take = length - done < sizeof block ? length - done : (uint32_t)sizeof block;
        memcpy(out + done, block, take);
        done += take;
    }
}

void draw_sign(struct draw *d, const unsigned char secret_key[SECRET_KEY])
{
    unsigned char text[MESSAGE_MAX];
    size_t n = message(d, text);
    crypto_sign_detached(d->signature, NULL, text, n, secret_key);
    expand(d->signature, text, n, d->length, d->value);
}

const char *draw_verify(const struct draw *d, const unsigned char public_key[PUBLIC_KEY])
{
    unsigned char text[MESSAGE_MAX], value[LENGTH_MAX];
    size_t n = message(d, text);
    if (crypto_sign_verify_detached(d->signature, text, n, public_key) != 0)
        return "The signature does not belong to this request, counter, time, length and public key.";
    expand(d->signature, text, n, d->length, value);
    if (sodium_memcmp(value, d->value, d->length) != 0) return "The value does not follow from the signature.";
    return NULL;
}

int bytes_from_base64(sl_str text, void *out, size_t n)
{
    size_t got;
    return sodium_base642bin(out, n, text.p, text.n, NULL, &got, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 && got == n;
}

/* 32 or 64 bytes out of either notation; 0 if it is neither. */
static size_t key_bytes(sl_str text, unsigned char out[SECRET_KEY])
{
    size_t n = 0;
    const char *end = NULL;
    if (text.n == 64 || text.n == 128) {
        if (sodium_hex2bin(out, SECRET_KEY, text.p, text.n, NULL, &n, &end) == 0 && end == text.p + text.n) return n;
    }
    if (sodium_base642bin(out, SECRET_KEY, text.p, text.n, NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
        (n == 32 || n == 64))
        return n;
    return 0;
}

const char *signing_key_read(sl_str text, unsigned char secret_key[SECRET_KEY], unsigned char public_key[PUBLIC_KEY])
{
    unsigned char raw[SECRET_KEY];
    const char *wrong = NULL;
    size_t n = key_bytes(text, raw);
    if (n == 0)
        wrong = "it must be 32 bytes (seed) or 64 bytes (seed and public key) in base64 or hex";
    else
        crypto_sign_seed_keypair(public_key, secret_key, raw);
    if (n == 64 && sodium_memcmp(raw, secret_key, SECRET_KEY) != 0)
        wrong = "its last 32 bytes are not the public key of its first 32 bytes";
    sodium_memzero(raw, sizeof raw);
    return wrong;
}
