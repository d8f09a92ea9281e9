/* jwt.h - JSON Web Tokens (RFC 7519, 7515): HS256 under a secret of our own, RS256 and ES256 by a provider's public
 * keys. */
#ifndef BASE_JWT_H
#define BASE_JWT_H
#include "base/json.h"

enum { JWT_MAX = 8192, JWT_SECRET_MIN = 32, JWT_KEYS_MAX = 32, JWT_ID_MAX = 256 };

/* Public keys of an outside provider: a JWKS document (RFC 7517) or PEM public keys one behind the other. Each key is
 * good for the one algorithm that its type says (RSA of 2048 to 8192 bits: RS256, P-256: ES256). Owned by the caller;
 * NULL: why. */
typedef struct jwt_keys jwt_keys;
jwt_keys *jwt_keys_read(sl_str text, char *why, size_t why_size);
jwt_keys *jwt_keys_load(sl_str file, char *why, size_t why_size); /* of a file of at most 256 KiB */
void jwt_keys_free(jwt_keys *k);                                  /* accepts NULL */

sl_str jwt_sign(arena *a, sl_str secret, const json_t *claims); /* HS256 */
/* The claims of a token whose signature holds, owned by the caller; NULL: `why` is a sentence for whoever sent it. The
 * secret answers for HS256 alone, the keys for RS256 and ES256 alone, so that no token can choose by what it is judged.
 * Absent secret, NULL keys: such tokens are refused. */
json_t *jwt_verify(arena *a, sl_str secret, const jwt_keys *keys, sl_str token, bool *by_secret, const char **why);
/* exp (which must be there), nbf and iat against `now` (microseconds since 1970) with `leeway` seconds. */
const char *jwt_check_times(const json_t *claims, int64_t now, int64_t leeway, int64_t *expires_at);
bool jwt_for_audience(const json_t *claims, sl_str audience); /* `aud` is it, or a list that holds it */
const json_t *jwt_claim(const json_t *claims, sl_str path);   /* "app_metadata.role"; NULL: there is none */
#endif
