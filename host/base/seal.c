/* seal.c - envelope encryption: AES-256-GCM under a random data key, which AES-GCM wraps under a named master key. */
#include "base/seal.h"
#include "base/text.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sodium.h>

/* A blob describes itself: "SL", version 1, algorithm 1, key id (8 hex digits), nonce of the wrap (12), wrapped data
 * key (32), its tag (16), nonce of the data (12), ciphertext, tag (16). The wrap authenticates everything up to the key
 * id and the caller's aad; the data authenticates version and algorithm and the aad, so that a rewrap leaves it
 * untouched. */
enum {
    KEYS_MAX = 16,
    ID = 8,
    NONCE = 12,
    TAG = 16,
    DATA_KEY = 32,
    FIXED = 4,
    AT_WRAP = FIXED + ID,
    AT_KEY = AT_WRAP + NONCE,
    AT_KEY_TAG = AT_KEY + DATA_KEY,
    AT_DATA = AT_KEY_TAG + TAG,
    AT_TEXT = AT_DATA + NONCE,
    OVERHEAD = AT_TEXT + TAG,
    PLAIN_MAX = 1 << 30
};
static const unsigned char fixed[FIXED] = { 'S', 'L', 1, 1 };

struct master {
    unsigned char key[32];
    size_t n;
    char id[ID];
};
struct keyring {
    size_t n;
    struct master master[KEYS_MAX];
}; /* in sodium_malloc: guard pages, locked, wiped when freed */

static void set_id(struct master *m)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char hex[2 * 4 + 1];
    SHA256(m->key, m->n, digest);
    memcpy(m->id, sodium_bin2hex(hex, sizeof hex, digest, 4), ID);
    OPENSSL_cleanse(digest, sizeof digest);
}

static bool key_size(size_t n) { return n == 16 || n == 24 || n == 32; }

static bool from_raw(struct master *m, sl_str s)
{
    if (!key_size(s.n)) return false;
    memcpy(m->key, s.p, s.n);
    m->n = s.n;
    return true;
}

static bool from_base64(struct master *m, sl_str s)
{
    static const int variants[] = { sodium_base64_VARIANT_ORIGINAL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
                                    sodium_base64_VARIANT_URLSAFE, sodium_base64_VARIANT_URLSAFE_NO_PADDING };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (sodium_base642bin(m->key, sizeof m->key, s.p, s.n, NULL, &m->n, NULL, variants[i]) == 0 && key_size(m->n))
            return true;
    return false;
}

static bool from_hex(struct master *m, sl_str s)
{
    const char *end;
    return sodium_hex2bin(m->key, sizeof m->key, s.p, s.n, NULL, &m->n, &end) == 0 && end == s.p + s.n &&
           key_size(m->n);
}

static bool read_key(struct master *m, sl_str s)
{
    if (str_starts(s, "raw:")) return from_raw(m, str_sub(s, 4, s.n));
    if (str_starts(s, "base64:")) return from_base64(m, str_sub(s, 7, s.n));
    if (str_starts(s, "hex:")) return from_hex(m, str_sub(s, 4, s.n));
    return from_raw(m, s) || from_base64(m, s) || from_hex(m, s);
}

static keyring *empty_ring(void)
{
    if (sodium_init() < 0) return NULL;
    keyring *k = sodium_malloc(sizeof *k);
    if (k) sodium_memzero(k, sizeof *k);
    return k;
}

/* Reads one key into the ring; false: why says what is wrong with it. */
static bool add_key(keyring *k, sl_str text, size_t number, char *why, size_t why_size)
{
    struct master *m = &k->master[k->n];
    if (k->n == KEYS_MAX) {
        snprintf(why, why_size, "more than %d encryption keys", KEYS_MAX);
        return false;
    }
    if (!read_key(m, text)) {
        snprintf(why, why_size, "encryption key %zu is not 16, 24 or 32 bytes as raw text, base64 or hex", number);
        return false;
    }
    set_id(m);
    for (size_t i = 0; i < k->n; i++)
        if (memcmp(k->master[i].id, m->id, ID) == 0) {
            snprintf(why, why_size, "encryption keys %zu and %zu have the same id %.8s", i + 1, number, m->id);
            return false;
        }
    k->n++;
    return true;
}

keyring *keyring_new(sl_str keys, char *why, size_t why_size)
{
    keyring *k = empty_ring();
    sl_str part;
    size_t number = 0;
    if (!k) {
        snprintf(why, why_size, "no memory for encryption keys");
        return NULL;
    }
    while (str_split(&keys, ',', &part))
        if (!add_key(k, str_trim(part), ++number, why, why_size)) {
            keyring_free(k);
            return NULL;
        }
    if (k->n == 0) {
        snprintf(why, why_size, "no encryption key is given");
        keyring_free(k);
        return NULL;
    }
    (void)sodium_mprotect_readonly(k);
    return k;
}

keyring *keyring_random(void)
{
    keyring *k = empty_ring();
    if (!k) return NULL;
    k->master[0].n = sizeof k->master[0].key;
    randombytes_buf(k->master[0].key, sizeof k->master[0].key);
    set_id(&k->master[0]);
    k->n = 1;
    (void)sodium_mprotect_readonly(k);
    return k;
}

void keyring_free(keyring *k) { sodium_free(k); /* wipes; accepts NULL */ }

static const struct master *find_key(const keyring *k, const char *id)
{
    for (size_t i = 0; i < k->n; i++)
        if (memcmp(k->master[i].id, id, ID) == 0) return &k->master[i];
    return NULL;
}

static const EVP_CIPHER *cipher(size_t key_bytes)
{
    return key_bytes == 16 ? EVP_aes_128_gcm() : key_bytes == 24 ? EVP_aes_192_gcm() : EVP_aes_256_gcm();
}

/* One pass of AES-GCM over `in`; the header part has a fixed length per use, so header and aad cannot be confused. */
static bool gcm(bool encrypt, sl_str key, const unsigned char *nonce, sl_str header, sl_str aad, sl_str in,
                unsigned char *out, unsigned char *tag)
{
    EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
    int n = 0;
    bool ok = x && EVP_CipherInit_ex(x, cipher(key.n), NULL, (const unsigned char *)key.p, nonce, encrypt) == 1 &&
              EVP_CipherUpdate(x, NULL, &n, (const unsigned char *)header.p, (int)header.n) == 1 &&
              (aad.n == 0 || EVP_CipherUpdate(x, NULL, &n, (const unsigned char *)aad.p, (int)aad.n) == 1) &&
              (in.n == 0 || EVP_CipherUpdate(x, out, &n, (const unsigned char *)in.p, (int)in.n) == 1);
    if (ok && !encrypt) ok = EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1;
    if (ok) ok = EVP_CipherFinal_ex(x, out + in.n, &n) == 1;
    if (ok && encrypt) ok = EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_GCM_GET_TAG, TAG, tag) == 1;
    EVP_CIPHER_CTX_free(x);
    return ok;
}

static sl_str bytes(const void *p, size_t n) { return sl_lit(p, n); }

static bool wrap(const struct master *m, unsigned char *blob, sl_str aad, const unsigned char data_key[DATA_KEY])
{
    memcpy(blob, fixed, FIXED);
    memcpy(blob + FIXED, m->id, ID);
    randombytes_buf(blob + AT_WRAP, NONCE);
    return gcm(true, bytes(m->key, m->n), blob + AT_WRAP, bytes(blob, AT_WRAP), aad, bytes(data_key, DATA_KEY),
               blob + AT_KEY, blob + AT_KEY_TAG);
}

static bool well_formed(sl_str blob)
{
    if (blob.n < OVERHEAD || memcmp(blob.p, fixed, FIXED) != 0) return false;
    for (size_t i = FIXED; i < AT_WRAP; i++)
        if (!strchr("0123456789abcdef", blob.p[i]) || blob.p[i] == '\0') return false;
    return true;
}

static bool unwrap(const keyring *k, sl_str aad, sl_str blob, unsigned char data_key[DATA_KEY])
{
    const unsigned char *b = (const unsigned char *)blob.p;
    unsigned char tag[TAG];
    if (!well_formed(blob)) return false;
    const struct master *m = find_key(k, blob.p + FIXED);
    if (!m) return false;
    memcpy(tag, b + AT_KEY_TAG, TAG);
    return gcm(false, bytes(m->key, m->n), b + AT_WRAP, bytes(b, AT_WRAP), aad, bytes(b + AT_KEY, DATA_KEY), data_key,
               tag);
}

sl_err seal(keyring *k, arena *a, sl_str aad, sl_str plain, sl_str *blob)
{
    unsigned char data_key[DATA_KEY];
    if (plain.n > PLAIN_MAX || aad.n > PLAIN_MAX) return SL_ETOOBIG;
    unsigned char *b = arena_try(a, OVERHEAD + plain.n);
    if (!b) return SL_ETOOBIG;
    randombytes_buf(data_key, sizeof data_key);
    bool ok = wrap(&k->master[0], b, aad, data_key);
    randombytes_buf(b + AT_DATA, NONCE);
    ok = ok && gcm(true, bytes(data_key, DATA_KEY), b + AT_DATA, bytes(fixed, FIXED), aad, plain, b + AT_TEXT,
                   b + AT_TEXT + plain.n);
    OPENSSL_cleanse(data_key, sizeof data_key);
    if (!ok) return SL_EINTERNAL;
    *blob = bytes(b, OVERHEAD + plain.n);
    return SL_OK;
}

sl_err unseal(keyring *k, arena *a, sl_str aad, sl_str blob, sl_str *plain)
{
    unsigned char data_key[DATA_KEY], tag[TAG];
    const unsigned char *b = (const unsigned char *)blob.p;
    if (blob.n > (size_t)PLAIN_MAX + OVERHEAD || aad.n > PLAIN_MAX) return SL_ETOOBIG;
    if (!unwrap(k, aad, blob, data_key)) return SL_EDENIED;
    size_t n = blob.n - OVERHEAD;
    unsigned char *out = arena_try(a, n + 1); /* a NUL behind, for callers that print */
    if (!out) {
        OPENSSL_cleanse(data_key, sizeof data_key);
        return SL_ETOOBIG;
    }
    memcpy(tag, b + AT_TEXT + n, TAG);
    bool ok = gcm(false, bytes(data_key, DATA_KEY), b + AT_DATA, bytes(fixed, FIXED), aad, bytes(b + AT_TEXT, n), out,
                  tag);
    OPENSSL_cleanse(data_key, sizeof data_key);
    if (!ok) {
        OPENSSL_cleanse(out, n); /* GCM hands out text before it knows the tag */
        return SL_EDENIED;
    }
    *plain = bytes(out, n);
    return SL_OK;
}

sl_err seal_rewrap(keyring *k, arena *a, sl_str aad, sl_str blob, sl_str *out)
{
    unsigned char data_key[DATA_KEY];
    if (blob.n > (size_t)PLAIN_MAX + OVERHEAD || aad.n > PLAIN_MAX) return SL_ETOOBIG;
    if (!unwrap(k, aad, blob, data_key)) return SL_EDENIED;
    unsigned char *b = arena_try(a, blob.n);
    bool ok = b != NULL;
    if (ok) {
        memcpy(b + AT_DATA, blob.p + AT_DATA, blob.n - AT_DATA);
        ok = wrap(&k->master[0], b, aad, data_key);
    }
    OPENSSL_cleanse(data_key, sizeof data_key);
    if (!b) return SL_ETOOBIG;
    if (!ok) return SL_EINTERNAL;
    *out = bytes(b, blob.n);
    return SL_OK;
}

sl_str seal_key_id(const keyring *k, sl_str blob)
{
    if (blob.n == 0) return bytes(k->master[0].id, ID);
    return well_formed(blob) ? bytes(blob.p + FIXED, ID) : sl_lit(NULL, 0);
}
