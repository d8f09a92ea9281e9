/* id.h - random bytes, UUIDv7 (RFC 9562), hex and base64. */
#ifndef BASE_ID_H
#define BASE_ID_H
#include "base/text.h"

enum { ID_TEXT = 37 };
void id_new(char out[ID_TEXT]); /* UUIDv7, increasing within the process */
bool id_valid(sl_str s);        /* 36 characters, hex and dashes in their places */
void random_bytes(void *out, size_t n);
void hex_encode(const void *in, size_t n, char *out);     /* 2n + NUL, lower case */
bool hex_decode(sl_str s, void *out, size_t n);           /* exactly n bytes */
bool bytes_decode(sl_str s, void *out, size_t n);         /* exactly n bytes, written as hex or as base64 */
sl_str base64_encode(arena *a, sl_str bytes);             /* standard alphabet, padded */
sl_str base64url_encode(arena *a, sl_str bytes);          /* URL alphabet, no padding */
bool base64_decode(arena *a, sl_str text, sl_str *bytes); /* either alphabet, padding optional */
void sha256(sl_str s, unsigned char out[32]);
bool equal_constant_time(sl_str a, sl_str b); /* time depends on the lengths only */
#endif
