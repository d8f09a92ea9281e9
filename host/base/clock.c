/* clock.c - time as the project writes it: microseconds since 1970 UTC, RFC 3339 text, durations, exact money. */
#include "base/clock.h"
#include <time.h>

int64_t clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Days since 1970 of a civil date and back, proleptic Gregorian calendar, years counted from March so that the leap day
 * is last. */
static int64_t days_from_date(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400), doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

static void date_from_days(int64_t days, int *y, unsigned *m, unsigned *d)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned doe = (unsigned)(days - era * 146097), yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *d = doy - (153 * mp + 2) / 5 + 1;
    *m = mp < 10 ? mp + 3 : mp - 9;
    *y = (int)(yoe + era * 400) + (*m <= 2);
}

static char *digits(char *p, unsigned v, int n)
{
    for (int i = n - 1; i >= 0; i--, v /= 10)
        p[i] = (char)('0' + v % 10);
    return p + n;
}

size_t clock_format(int64_t us, char out[CLOCK_TEXT])
{
    const int64_t first = -62135596800, last = 253402300799; /* years 0001 and 9999 */
    int64_t seconds = us / 1000000, fraction = us % 1000000;
    int y;
    unsigned m, d;
    if (fraction < 0) fraction += 1000000, seconds--;
    if (seconds < first) seconds = first, fraction = 0;
    if (seconds > last) seconds = last, fraction = 999999;
    int64_t days = seconds / 86400, rest = seconds % 86400;
    if (rest < 0) rest += 86400, days--;
    date_from_days(days, &y, &m, &d);
    char *p = digits(out, (unsigned)y, 4);
    *p++ = '-', p = digits(p, m, 2), *p++ = '-', p = digits(p, d, 2);
    *p++ = 'T', p = digits(p, (unsigned)(rest / 3600), 2);
    *p++ = ':', p = digits(p, (unsigned)(rest / 60 % 60), 2);
    *p++ = ':', p = digits(p, (unsigned)(rest % 60), 2);
    *p++ = '.', p = digits(p, (unsigned)fraction, 6);
    *p++ = 'Z', *p = 0;
    return (size_t)(p - out);
}

/* Exactly n digits; -1 if they are not there. */
static int number(sl_str *s, size_t n)
{
    int v = 0;
    if (s->n < n) return -1;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9') return -1;
        v = v * 10 + (s->p[i] - '0');
    }
    *s = str_sub(*s, n, s->n);
    return v;
}

static bool skip(sl_str *s, const char *any)
{
    if (!s->n || !strchr(any, s->p[0]) || !s->p[0]) return false;
    *s = str_sub(*s, 1, s->n);
    return true;
}

bool clock_parse(sl_str s, int64_t *us)
{
    static const unsigned length[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t fraction = 0, offset = 0;
    int y = number(&s, 4);
    int m = skip(&s, "-") ? number(&s, 2) : -1, d = skip(&s, "-") ? number(&s, 2) : -1;
    int h = skip(&s, "Tt ") ? number(&s, 2) : -1, min = skip(&s, ":") ? number(&s, 2) : -1;
    int sec = skip(&s, ":") ? number(&s, 2) : -1;
    if (y < 1 || m < 1 || m > 12 || d < 1 || h < 0 || h > 23 || min < 0 || min > 59 || sec < 0 || sec > 60)
        return false;
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if ((unsigned)d > length[m - 1] + (m == 2 && leap)) return false;
    if (skip(&s, ".")) {
        int n = 0;
        for (; s.n && s.p[0] >= '0' && s.p[0] <= '9'; s = str_sub(s, 1, s.n), n++)
            if (n < 6) fraction = fraction * 10 + (s.p[0] - '0');
        if (n < 1 || n > 9) return false;
        for (; n < 6; n++)
            fraction *= 10;
    }
    if (!skip(&s, "Zz")) {
        int sign = s.n && s.p[0] == '-' ? -1 : 1;
        int oh = skip(&s, "+-") ? number(&s, 2) : -1, om = skip(&s, ":") ? number(&s, 2) : -1;
        if (oh < 0 || oh > 23 || om < 0 || om > 59) return false;
        offset = sign * (oh * 3600 + om * 60);
    }
    if (s.n) return false;
    *us = (days_from_date(y, (unsigned)m, (unsigned)d) * 86400 + h * 3600 + min * 60 + sec - offset) * 1000000 +
          fraction;
    return true;
}

static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {
    { "ms", 1 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "d", 86400000 },
};

bool duration_parse(sl_str s, int64_t *ms)
{
    int64_t total = 0;
    size_t parts = 0;
    s = str_trim(s);
    while (s.n) {
        size_t n = 0, i;
        int64_t v, part;
        while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
            n++;
        if (!str_to_int(str_sub(s, 0, n), &v)) return false;
        s = str_sub(s, n, s.n);
        if (!s.n && parts == 0) { /* a bare number is seconds */
            if (__builtin_mul_overflow(v, 1000, ms)) return false;
            return true;
        }
        for (i = 0; i < sizeof units / sizeof *units && !str_starts(s, units[i].name); i++) {
        }
        if (i == sizeof units / sizeof *units) return false;
        if (__builtin_mul_overflow(v, units[i].ms, &part) || __builtin_add_overflow(total, part, &total)) return false;
        s = str_sub(s, strlen(units[i].name), s.n);
        parts++;
    }
    *ms = total;
    return parts > 0;
}

size_t duration_format(int64_t ms, char *out, size_t room)
{
    size_t n = 0;
    if (ms < 0) n += (size_t)snprintf(out, room, "-");
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    static const struct unit parts[] = { { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
    if (!left) return (size_t)snprintf(out, room, "0s");
    for (size_t i = 0; i < 4; i++) {
        uint64_t v = left / (uint64_t)parts[i].ms;
        left %= (uint64_t)parts[i].ms;
        if (v && n < room) n += (size_t)snprintf(out + n, room - n, "%llu%s", (unsigned long long)v, parts[i].name);
    }
    return n;
}

bool money_parse(sl_str s, int64_t *result)
{
    bool minus = s.n && s.p[0] == '-';
    if (minus) s = str_sub(s, 1, s.n);
    int64_t whole = 0, fraction = 0;
    size_t n = 0;
    for (; s.n && s.p[0] >= '0' && s.p[0] <= '9'; s = str_sub(s, 1, s.n), n++)
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, s.p[0] - '0', &whole))
            return false;
    if (n == 0) return false;
    if (skip(&s, ".")) {
        for (n = 0; s.n && s.p[0] >= '0' && s.p[0] <= '9' && n < 8; s = str_sub(s, 1, s.n), n++)
            fraction = fraction * 10 + (s.p[0] - '0');
        if (n == 0) return false;
        for (; n < 8; n++)
            fraction *= 10;
    }
    if (s.n || __builtin_mul_overflow(whole, 100000000, &whole) || __builtin_add_overflow(whole, fraction, &whole))
        return false;
    *result = minus ? -whole : whole;
    return true;
}

size_t money_format(int64_t v, char *out, size_t room)
{
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    int n = snprintf(out, room, "%s%llu.%08llu", v < 0 ? "-" : "", (unsigned long long)(u / 100000000),
                     (unsigned long long)(u % 100000000));
    while (n > 0 && out[n - 1] == '0')
        out[--n] = 0;
    if (n > 0 && out[n - 1] == '.') out[--n] = 0;
    return (size_t)n;
}
