/* seal.h - envelope encryption under the operator's keys: AES-256-GCM data keys wrapped by a named master key. */
#ifndef BASE_SEAL_H
#define BASE_SEAL_H
#include "base/arena.h"

typedef struct keyring keyring; /* keys lie in locked memory and are wiped by keyring_free */

/* `keys`: one key or several with commas between, the first seals, all unseal. A key is 16, 24 or 32 bytes, raw, base64
 * or hex (tried in that order; a prefix raw: base64: or hex: settles it). Its id is the first 8 hex digits of its
 * SHA-256. NULL: `why` says which key is wrong, never its value. */
keyring *keyring_new(sl_str keys, char *why, size_t why_size);
keyring *keyring_random(void); /* one random key: the memory store, where nothing outlives the process */
void keyring_free(keyring *k);
sl_err seal(keyring *k, arena *a, sl_str aad, sl_str plain, sl_str *blob);
sl_err unseal(keyring *k, arena *a, sl_str aad, sl_str blob, sl_str *plain); /* SL_EDENIED: tampered or key unknown */
sl_err seal_rewrap(keyring *k, arena *a, sl_str aad, sl_str blob, sl_str *out);
sl_str seal_key_id(const keyring *k,
                   sl_str blob); /* of blob, or of the current key when blob is empty; absent if malformed */
#endif
