/* challenge.c - what a wallet is asked to sign. The nonce carries its own expiry and a MAC, so nothing is kept of it.
 */
#include "identity/private.h"
#include <openssl/hmac.h>
#include <stdlib.h>

/* 8 bytes of time (seconds, big endian), 16 random ones, 16 of the MAC. */
enum { TIME = 8, RANDOM = 16, MAC = 16, NONCE = TIME + RANDOM + MAC };

static void mac(sl_str wallet, const unsigned char nonce[NONCE], unsigned char out[MAC])
{
    unsigned char text[TIME + RANDOM + 64], full[32];
    unsigned n = sizeof full;
    size_t length = wallet.n < 64 ? wallet.n : 64;
    memcpy(text, nonce, TIME + RANDOM);
    memcpy(text + TIME + RANDOM, wallet.p, length);
    if (!HMAC(EVP_sha256(), auth.secret.p, (int)auth.secret.n, text, TIME + RANDOM + length, full, &n)) abort();
    memcpy(out, full, MAC);
}

/* It names who asks, so that a signature given to one server proves nothing to another. */
static sl_str message_of(arena *a, sl_str wallet, sl_str nonce, int64_t until)
{
    char text[CLOCK_TEXT];
    clock_format(until, text);
    return arena_printf(a, "Sign in to %.*s with %.*s.\nNonce: %.*s\nGood until: %s", STR_ARG(auth.issuer),
                        STR_ARG(wallet), STR_ARG(nonce), text);
}

void challenge_make(arena *a, sl_str wallet, int64_t until, sl_str *nonce, sl_str *message)
{
    unsigned char bytes[NONCE];
    uint64_t seconds = (uint64_t)(until / 1000000);
    for (size_t i = 0; i < TIME; i++)
        bytes[i] = (unsigned char)(seconds >> (8 * (TIME - 1 - i)));
    random_bytes(bytes + TIME, RANDOM);
    mac(wallet, bytes, bytes + TIME + RANDOM);
    *nonce = base64url_encode(a, sl_lit((char *)bytes, sizeof bytes));
    *message = message_of(a, wallet, *nonce, until);
}

bool challenge_read(arena *a, sl_str wallet, sl_str nonce, int64_t *until, sl_str *message)
{
    unsigned char expected[MAC];
    sl_str bytes;
    uint64_t seconds = 0;
    if (!base64_decode(a, nonce, &bytes) || bytes.n != NONCE) return false;
    mac(wallet, (const unsigned char *)bytes.p, expected);
    if (!equal_constant_time(sl_lit((char *)expected, MAC), str_sub(bytes, TIME + RANDOM, MAC))) return false;
    /* One form only: what was answered is remembered by its text. */
    if (!sl_same(base64url_encode(a, bytes), nonce)) return false;
    for (size_t i = 0; i < TIME; i++)
        seconds = seconds << 8 | (unsigned char)bytes.p[i];
    *until = (int64_t)seconds * 1000000;
    *message = message_of(a, wallet, nonce, *until);
    return true;
}
