/* rfc3339.h - times and durations as text, for replies and settings that a plugin writes or reads itself. */
#ifndef SDK_RFC3339_H
#define SDK_RFC3339_H
#include <service_layer/plugin.h>
#include <time.h>

/* Microseconds since 1970 as RFC 3339 UTC text in the call's arena; 0 or less = absent (JSON null). */
static inline sl_str sl_time_text(sl_call *c, int64_t us)
{
    struct tm tm;
    time_t seconds = (time_t)(us / 1000000);
    if (us <= 0 || !gmtime_r(&seconds, &tm)) return sl_lit(NULL, 0);
    return sl_format(c, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                     tm.tm_min, tm.tm_sec, (int)(us % 1000000));
}

/* "250ms" "15s" "5m" "1h30m" "30d", a bare number is seconds; milliseconds, or `absent` when the text is absent or
 * malformed.
 */
static inline int64_t sl_duration_ms(sl_str s, int64_t absent)
{
    int64_t total = 0;
    size_t i = 0;
    if (s.n == 0) return absent;
    while (i < s.n) {
        int64_t v = 0, unit;
        size_t from = i;
        for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
            if (v > 100000000000) return absent;
            v = v * 10 + (s.p[i] - '0');
        }
        if (i == from) return absent;
        if (i == s.n)
            unit = 1000;
        else if (s.p[i] == 'm' && i + 1 < s.n && s.p[i + 1] == 's') {
            unit = 1;
            i += 2;
        } else if (s.p[i] == 's') {
            unit = 1000;
            i++;
        } else if (s.p[i] == 'm') {
            unit = 60000;
            i++;
        } else if (s.p[i] == 'h') {
            unit = 3600000;
            i++;
        } else if (s.p[i] == 'd') {
            unit = 86400000;
            i++;
        } else
            return absent;
        if (v > (INT64_MAX - total) / unit) return absent;
        total += v * unit;
    }
    return total;
}
#endif
