/* aggregate.c - decimal arithmetic on digits, so that a median has no artefacts of binary floating point. */
#include "aggregate.h"

/* value = (minus ? -1 : 1) * digits * 10^-scale; digits are 0..9, most significant first, right aligned. */
enum { DIGITS = 272, EXPONENT_MAX = 64 };
struct decimal {
    int minus, scale;
    unsigned char digit[DIGITS];
};

static sl_str trim(sl_str s)
{
    while (s.n && strchr(" \t\r\n", s.p[0]) && s.p[0]) {
        s.p++;
        s.n--;
    }
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]) && s.p[s.n - 1])
        s.n--;
    return s;
}

static sl_str unwrap(sl_str s, char open, char close)
{
    s = trim(s);
    if (s.n >= 2 && s.p[0] == open && s.p[s.n - 1] == close) return trim(sl_lit(s.p + 1, s.n - 2));
    return s;
}

static int is_digit(sl_str s, size_t i) { return i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; }

/* Digits before and after the point, then the exponent; everything must be used. */
static int read_decimal(sl_str text, struct decimal *d)
{
    sl_str s = unwrap(unwrap(text, '[', ']'), '"', '"');
    unsigned char digits[64];
    size_t i = 0, n = 0, seen = 0;
    int scale = 0, point = 0, exponent = 0;
    memset(d, 0, sizeof *d);
    if (s.n && (s.p[0] == '-' || s.p[0] == '+')) d->minus = s.p[i++] == '-';
    for (; is_digit(s, i) || (!point && i < s.n && s.p[i] == '.'); i++) {
        if (s.p[i] == '.') {
            point = 1;
            continue;
        }
        seen++;
        scale += point;
        if (n == 0 && s.p[i] == '0') continue; /* leading zeros */
        if (n == sizeof digits) return 0;
        digits[n++] = (unsigned char)(s.p[i] - '0');
    }
    if (!seen || scale > EXPONENT_MAX) return 0;
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) {
        int minus = ++i < s.n && s.p[i] == '-';
        if (i < s.n && (s.p[i] == '-' || s.p[i] == '+')) i++;
        if (!is_digit(s, i)) return 0;
        for (; is_digit(s, i); i++)
            if ((exponent = exponent * 10 + (s.p[i] - '0')) > EXPONENT_MAX) return 0;
        if (minus) exponent = -exponent;
    }
    if (i != s.n) return 0;
    d->scale = scale - exponent;
    memcpy(d->digit + DIGITS - n, digits, n);
    return 1;
}

int decimal_readable(sl_str text)
{
    struct decimal d;
    return read_decimal(text, &d);
}

/* Multiply by 10 without changing the value: for a common scale. 64 digits moved by at most 192 places fit,
 * since scales lie between -64 and 128. */
static void rescale(struct decimal *d, int scale)
{
    size_t by = (size_t)(scale - d->scale), k = by < DIGITS ? by : DIGITS;
    memmove(d->digit, d->digit + k, DIGITS - k);
    memset(d->digit + DIGITS - k, 0, k);
    d->scale = scale;
}

static int compare(const struct decimal *a, const struct decimal *b) /* equal scales */
{
    static const unsigned char zero[DIGITS];
    int magnitude = memcmp(a->digit, b->digit, DIGITS);
    int az = memcmp(a->digit, zero, DIGITS) == 0, bz = memcmp(b->digit, zero, DIGITS) == 0;
    int am = a->minus && !az, bm = b->minus && !bz;
    if (am != bm) return am ? -1 : 1;
    return am ? -magnitude : magnitude;
}

/* (a + b) / 2 at one digit more of scale: 5 * (a + b). */
static struct decimal mean(const struct decimal *a, const struct decimal *b)
{
    struct decimal m = { .scale = a->scale + 1, .minus = a->minus };
    const struct decimal *big = a, *small = b;
    int carry = 0;
    if (a->minus != b->minus && memcmp(a->digit, b->digit, DIGITS) < 0) {
        big = b;
        small = a;
        m.minus = b->minus;
    }
    for (int i = DIGITS - 1; i >= 0; i--) {
        int v = big->digit[i] + (a->minus == b->minus ? small->digit[i] : -small->digit[i]) + carry;
        carry = v < 0 ? -1 : v / 10;
        m.digit[i] = (unsigned char)(v < 0 ? v + 10 : v % 10);
    }
    carry = 0;
    for (int i = DIGITS - 1; i >= 0; i--) {
        int v = 5 * m.digit[i] + carry;
        m.digit[i] = (unsigned char)(v % 10);
        carry = v / 10;
    }
    return m;
}

static size_t write_decimal(const struct decimal *d, char out[DECIMAL_MAX])
{
    size_t n = 0, first = 0;
    int fraction = d->scale > 0 ? d->scale : 0; /* digits behind the point */
    size_t whole = DIGITS - (size_t)fraction, last = DIGITS;
    while (first < whole && d->digit[first] == 0)
        first++;
    while (last > whole && d->digit[last - 1] == 0)
        last--;
    if (d->minus && (first < whole || last > whole)) out[n++] = '-';
    if (first == whole) out[n++] = '0';
    for (size_t i = first; i < whole; i++)
        out[n++] = (char)('0' + d->digit[i]);
    if (last > whole) out[n++] = '.';
    for (size_t i = whole; i < last; i++)
        out[n++] = (char)('0' + d->digit[i]);
    if (first < whole)
        for (int i = d->scale; i < 0; i++)
            out[n++] = '0';
    out[n] = 0;
    return n;
}

size_t decimal_median(const sl_str *texts, size_t n, char out[DECIMAL_MAX])
{
    struct decimal d[AGGREGATE_MAX], one;
    int scale = 0;
    if (n == 0 || n > AGGREGATE_MAX) return 0;
    for (size_t i = 0; i < n; i++) {
        if (!read_decimal(texts[i], &d[i])) return 0;
        if (d[i].scale > scale) scale = d[i].scale;
    }
    for (size_t i = 0; i < n; i++)
        rescale(&d[i], scale);
    for (size_t i = 1; i < n; i++) { /* few: insertion sort */
        size_t k = i;
        for (one = d[i]; k > 0 && compare(&d[k - 1], &one) > 0; k--)
            d[k] = d[k - 1];
        d[k] = one;
    }
    one = n % 2 ? d[n / 2] : mean(&d[n / 2 - 1], &d[n / 2]);
    return write_decimal(&one, out);
}

int majority(const sl_str *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t equal = 0;
        for (size_t k = 0; k < n; k++)
            equal += (size_t)sl_same(texts[i], texts[k]);
        if (2 * equal > n) return (int)i;
    }
    return -1;
}
