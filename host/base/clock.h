/* clock.h - time as the project writes it: microseconds since 1970 UTC, RFC 3339 text, durations, exact money. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include "base/text.h"

int64_t clock_now(void);                               /* microseconds since 1970, UTC */
int64_t clock_monotonic(void);                         /* nanoseconds */
enum { CLOCK_TEXT = 28 };                              /* "2026-11-21T00:28:52.123456Z" and a NUL */
size_t clock_format(int64_t us, char out[CLOCK_TEXT]); /* length 27; years 0001..9999, else clipped */
bool clock_parse(sl_str s, int64_t *us);    /* RFC 3339, any offset, up to nanoseconds (cut to microseconds) */
bool duration_parse(sl_str s, int64_t *ms); /* "250ms" "15s" "5m" "1h30m"; a bare number is seconds */
size_t duration_format(int64_t ms, char *out, size_t room); /* "1h30m", "15s", "250ms" */
bool money_parse(sl_str s, int64_t *units); /* "6.5" -> 650000000; at most 8 fraction digits, no exponent, in range */
size_t money_format(int64_t units, char *out, size_t room); /* shortest: "6.5" */
#endif
