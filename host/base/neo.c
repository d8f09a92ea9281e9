/* neo.c - Neo N3 accounts: addresses, and messages that wallets signed with an account's key (secp256r1). */
#include "base/neo.h"
#include "base/id.h"
#include "base/p256.h"
#include <stdlib.h>

enum { VERSION = 0x35, PLAIN = 1 + NEO_HASH, CHECKED = PLAIN + 4 };
static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/* ---- addresses ---- */
static void checksum(const unsigned char *bytes, size_t n, unsigned char out[4])
{
    unsigned char once[32], twice[32];
    sha256(sl_lit((const char *)bytes, n), once);
    sha256(sl_lit((const char *)once, sizeof once), twice);
    memcpy(out, twice, 4);
}

/* RIPEMD-160 of SHA-256, as all Neo script hashes are made. */
static void script_hash(const unsigned char *script, size_t n, unsigned char out[NEO_HASH])
{
    unsigned char first[32];
    unsigned size = NEO_HASH;
    sha256(sl_lit((const char *)script, n), first);
    if (EVP_Digest(first, sizeof first, out, &size, EVP_ripemd160(), NULL) != 1 || size != NEO_HASH) abort();
}

static void base58(const unsigned char in[CHECKED], char out[NEO_ADDRESS_TEXT])
{
    unsigned char digits[NEO_ADDRESS_TEXT] = { 0 }; /* least first */
    size_t n = 0;
    for (size_t i = 0; i < CHECKED; i++) { /* the version byte is not 0, so there are no leading ones to write */
        unsigned carry = in[i];
        for (size_t j = 0; j < n || carry; j++) {
            carry += digits[j] * 256u;
            digits[j] = (unsigned char)(carry % 58);
            carry /= 58;
            if (j == n) n++;
        }
    }
    for (size_t i = 0; i < n; i++)
        out[i] = alphabet[digits[n - 1 - i]];
    out[n] = 0;
}

static bool base58_decode(sl_str text, unsigned char out[CHECKED])
{
    memset(out, 0, CHECKED);
    for (size_t i = 0; i < text.n; i++) {
        const char *at = text.p[i] ? strchr(alphabet, text.p[i]) : NULL;
        if (!at) return false;
        unsigned carry = (unsigned)(at - alphabet);
        for (size_t j = CHECKED; j-- > 0;) {
            carry += out[j] * 58u;
            out[j] = (unsigned char)carry;
            carry >>= 8;
        }
        if (carry) return false;
    }
    return true;
}

void neo_address(const unsigned char key[NEO_KEY], char out[NEO_ADDRESS_TEXT])
{
    /* PUSHDATA1 33 key, SYSCALL System.Crypto.CheckSig */
    unsigned char script[40] = { 0x0c, NEO_KEY }, bytes[CHECKED] = { VERSION };
    memcpy(script + 2, key, NEO_KEY);
    memcpy(script + 2 + NEO_KEY, "\x41\x56\xe7\xb3\x27", 5);
    script_hash(script, sizeof script, bytes + 1);
    checksum(bytes, PLAIN, bytes + PLAIN);
    base58(bytes, out);
}

bool neo_address_ok(sl_str address)
{
    unsigned char bytes[CHECKED], sum[4];
    if (address.n < 25 || address.n >= NEO_ADDRESS_TEXT || !base58_decode(address, bytes)) return false;
    checksum(bytes, PLAIN, sum);
    return bytes[0] == VERSION && memcmp(sum, bytes + PLAIN, 4) == 0;
}

/* ---- what wallets sign ---- */
static void add_length(buf *b, size_t n) /* Neo's variable-length integer */
{
    if (n < 0xfd) {
        buf_add_char(b, (char)n);
        return;
    }
    buf_add_char(b, (char)0xfd); /* messages are shorter than 64 KiB */
    buf_add_char(b, (char)(n & 0xff));
    buf_add_char(b, (char)(n >> 8 & 0xff));
}

static void add_text(buf *b, sl_str salt, sl_str message)
{
    buf_add_str(b, salt);
    buf_add_str(b, message);
}

/* NeoLine, OneGate and Neon's "classic": the text as the script of what only looks like a transaction. */
static void add_classic(buf *b, sl_str salt, sl_str message)
{
    buf_add(b, "\x01\x00\x01\xf0", 4);
    add_length(b, salt.n + message.n);
    add_text(b, salt, message);
    buf_add(b, "\0", 2);
}

/* The form for hardware wallets: the hash of a transaction of no fees and one empty signer, on network 0. */
static void add_transaction(buf *b, sl_str salt, sl_str message)
{
    static const char head[48] = { [25] = 1 };
    unsigned char hash[32];
    buf tx;
    buf_init(&tx, b->max);
    buf_add(&tx, head, sizeof head);
    add_length(&tx, salt.n + message.n);
    add_text(&tx, salt, message);
    sha256(buf_str(&tx), hash);
    buf_free(&tx);
    buf_add(b, "\0\0\0", 4);
    buf_add(b, hash, sizeof hash);
}

static void add_plain(buf *b, sl_str salt, sl_str message) { add_text(b, salt, message); }

bool neo_message_signed(sl_str key_bytes, sl_str message, sl_str salt, sl_str signature)
{
    static void (*const forms[])(buf * b, sl_str salt, sl_str message) = { add_classic, add_transaction, add_plain };
    bool good = false;
    buf b;
    if (key_bytes.n != NEO_KEY || message.n + salt.n > 32768) return false;
    EVP_PKEY *key = p256_key(key_bytes);
    if (!key) return false;
    buf_init(&b, 65536);
    /* Neon's own form names a salt that it did not sign: each form is tried with and without. */
    for (size_t i = 0; i < 2 * sizeof forms / sizeof *forms && !good; i++) {
        if (i % 2 && !salt.n) continue;
        buf_clear(&b);
        forms[i / 2](&b, i % 2 ? SL("") : salt, message);
        good = p256_verify(key, buf_str(&b), signature);
    }
    buf_free(&b);
    EVP_PKEY_free(key);
    return good;
}
