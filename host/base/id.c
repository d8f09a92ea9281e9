/* id.c - random bytes, UUIDv7 (RFC 9562), hex and base64. */
#include "base/id.h"
#include "base/clock.h"
#include <sodium.h>
#include <stdlib.h>

void random_bytes(void *out, size_t n)
{
    if (sodium_init() < 0) abort();
    randombytes_buf(out, n);
}

static void put_hex(char *out, const unsigned char *in, size_t n)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digit[in[i] >> 4];
        out[2 * i + 1] = digit[in[i] & 15];
    }
}

/* RFC 9562 section 5.7 with method 3 of 6.2: 48 bits of milliseconds, then 12 bits of the fraction of the millisecond,
 * so that ids of one process increase; the rest is random. Random bytes are drawn in bulk: a system call per id would
 * show. */
void id_new(char out[ID_TEXT])
{
    static _Thread_local unsigned char pool[4096]; /* handlers on the thread pool make ids too */
    static _Thread_local size_t left;
    static _Thread_local int64_t last;
    unsigned char id[16];
    int64_t us = clock_now();
    int64_t tick = us / 1000 * 4096 + us % 1000 * 4096 / 1000; /* 1/4096 ms */
    if (tick <= last) tick = last + 1;
    last = tick;
    if (left < 8) {
        random_bytes(pool, sizeof pool);
        left = sizeof pool;
    }
    uint64_t ms = (uint64_t)(tick / 4096);
    unsigned fraction = (unsigned)(tick % 4096);
    for (int i = 0; i < 6; i++)
        id[i] = (unsigned char)(ms >> (40 - 8 * i));
    id[6] = (unsigned char)(0x70 | fraction >> 8);
    id[7] = (unsigned char)fraction;
    left -= 8;
    memcpy(id + 8, pool + left, 8);
    id[8] = (unsigned char)(0x80 | (id[8] & 0x3f));
    put_hex(out, id, 4), out[8] = '-';
    put_hex(out + 9, id + 4, 2), out[13] = '-';
    put_hex(out + 14, id + 6, 2), out[18] = '-';
    put_hex(out + 19, id + 8, 2), out[23] = '-';
    put_hex(out + 24, id + 10, 6), out[36] = 0;
}

bool id_valid(sl_str s)
{
    if (s.n != 36) return false;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.p[i] != '-' : hex_digit(s.p[i]) < 0) return false;
    }
    return true;
}

void hex_encode(const void *in, size_t n, char *out)
{
    put_hex(out, in, n);
    out[2 * n] = 0;
}

bool hex_decode(sl_str s, void *out, size_t n)
{
    unsigned char *to = out;
    if (n > SIZE_MAX / 2 || s.n != 2 * n) return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(s.p[2 * i]), low = hex_digit(s.p[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        to[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static sl_str encode(arena *a, sl_str bytes, int variant)
{
    size_t room = sodium_base64_encoded_len(bytes.n, variant);
    char *p = arena_alloc(a, room);
    sodium_bin2base64(p, room, (const unsigned char *)(bytes.p ? bytes.p : ""), bytes.n, variant);
    return sl_lit(p, room - 1);
}

sl_str base64_encode(arena *a, sl_str bytes) { return encode(a, bytes, sodium_base64_VARIANT_ORIGINAL); }
sl_str base64url_encode(arena *a, sl_str bytes) { return encode(a, bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING); }

bool base64_decode(arena *a, sl_str text, sl_str *bytes)
{
    while (text.n && text.p[text.n - 1] == '=')
        text.n--;
    bool url = text.n && (memchr(text.p, '-', text.n) || memchr(text.p, '_', text.n));
    int variant = url ? sodium_base64_VARIANT_URLSAFE_NO_PADDING : sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
    size_t room = text.n / 4 * 3 + 3, n;
    unsigned char *p = arena_alloc(a, room);
    if (sodium_base642bin(p, room, text.p ? text.p : "", text.n, NULL, &n, NULL, variant)) return false;
    *bytes = sl_lit((char *)p, n);
    return true;
}

void sha256(sl_str s, unsigned char out[32]) { crypto_hash_sha256(out, (const unsigned char *)(s.p ? s.p : ""), s.n); }

bool equal_constant_time(sl_str a, sl_str b) { return a.n == b.n && (a.n == 0 || sodium_memcmp(a.p, b.p, a.n) == 0); }

bool bytes_decode(sl_str s, void *out, size_t n)
{
    sl_str bytes;
    if (s.n == 2 * n && hex_decode(s, out, n)) return true;
    arena *a = arena_new(0);
    bool good = s.n <= 2 * n && base64_decode(a, s, &bytes) && bytes.n == n;
    if (good) memcpy(out, bytes.p, n);
    arena_free(a);
    return good;
}
