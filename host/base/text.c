/* text.c - counted strings and a growing buffer that always has a maximum. */
#include "base/text.h"
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <strings.h>

sl_str str_sub(sl_str s, size_t from, size_t n)
{
    if (from > s.n) from = s.n;
    if (n > s.n - from) n = s.n - from;
    return sl_lit(s.p + from, n);
}

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

sl_str str_trim(sl_str s)
{
    while (s.n && blank(s.p[0]))
        s.p++, s.n--;
    while (s.n && blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_equal_nocase(sl_str a, sl_str b) { return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0); }

bool str_starts(sl_str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p ? s.p : "", prefix, n) == 0;
}

bool str_ends(sl_str s, const char *suffix)
{
    size_t n = strlen(suffix);
    return s.n >= n && memcmp(s.p + s.n - n, suffix, n) == 0;
}

bool str_split(sl_str *rest, char at, sl_str *part)
{
    if (!rest->p) return false;
    const char *end = rest->n ? memchr(rest->p, at, rest->n) : NULL;
    if (!end) {
        *part = *rest;
        *rest = sl_lit(NULL, 0);
        return true;
    }
    *part = sl_lit(rest->p, (size_t)(end - rest->p));
    *rest = sl_lit(end + 1, rest->n - part->n - 1);
    return true;
}

bool str_to_int(sl_str s, int64_t *v)
{
    int64_t a = sl_to_int(s, 0);
    if (a == 0 && sl_to_int(s, 1) == 1) return false; /* both fall-backs came back: no number */
    *v = a;
    return true;
}

bool str_to_real(sl_str s, double *v)
{
    char text[64], *end;
    if (s.n == 0 || s.n >= sizeof text || blank(s.p[0])) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    errno = 0;
    *v = strtod(text, &end);
    return *end == 0 && errno == 0 && *v - *v == 0;
}

/* Well-formed UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing over U+10FFFF. */
bool str_is_utf8(sl_str s)
{
    const unsigned char *p = (const unsigned char *)s.p, *end = p + s.n;
    while (p < end) {
        if (*p < 0x80) {
            p++;
            continue;
        }
        unsigned more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : 1;
        if (*p < 0xc2 || *p > 0xf4 || (size_t)(end - p) <= more) return false;
        if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
            (*p == 0xf4 && p[1] > 0x8f))
            return false;
        for (unsigned i = 1; i <= more; i++)
            if ((p[i] & 0xc0) != 0x80) return false;
        p += more + 1;
    }
    return true;
}

uint64_t str_hash(sl_str s)
{
    static unsigned char key[crypto_shorthash_KEYBYTES];
    static bool ready;
    uint64_t h;
    if (!ready) {
        if (sodium_init() < 0) abort();
        randombytes_buf(key, sizeof key);
        ready = true;
    }
    crypto_shorthash((unsigned char *)&h, (const unsigned char *)s.p, s.n, key);
    return h;
}

/* Levenshtein distance, two rows; words are short. */
static unsigned distance(const char *a, size_t an, const char *b, size_t bn)
{
    unsigned row[65];
    for (size_t j = 0; j <= bn; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= an; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= bn; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[bn];
}

const char *str_nearest(sl_str word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    unsigned least = 4;
    if (word.n > 64) return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(candidates[i]);
        if (length > 64) continue;
        unsigned d = distance(word.p, word.n, candidates[i], length);
        if (d < least && d < length) {
            least = d;
            best = candidates[i];
        }
    }
    return best;
}

void buf_init(buf *b, size_t max)
{
    memset(b, 0, sizeof *b);
    b->max = max;
}

void buf_free(buf *b)
{
    free(b->p);
    buf_init(b, b->max);
}

void buf_clear(buf *b)
{
    b->n = 0;
    b->overflow = false;
}

char *buf_reserve(buf *b, size_t n)
{
    if (b->overflow || n > b->max || b->n > b->max - n) {
        b->overflow = true;
        return NULL;
    }
    if (n > b->room - b->n) {
        size_t room = b->room ? b->room : 256;
        while (room - b->n < n)
            room = room > b->max / 2 ? b->max : room * 2;
        char *p = realloc(b->p, room);
        if (!p) abort();
        b->p = p;
        b->room = room;
    }
    return b->p + b->n;
}

void buf_add(buf *b, const void *p, size_t n)
{
    char *to = n ? buf_reserve(b, n) : NULL;
    if (!to) return;
    memcpy(to, p, n);
    b->n += n;
}

void buf_add_str(buf *b, sl_str s) { buf_add(b, s.p, s.n); }
void buf_add_cstr(buf *b, const char *s) { buf_add(b, s, strlen(s)); }
void buf_add_char(buf *b, char c) { buf_add(b, &c, 1); }

void buf_add_int(buf *b, int64_t v)
{
    char digits[24], *p = digits + sizeof digits;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        *--p = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0) *--p = '-';
    buf_add(b, p, (size_t)(digits + sizeof digits - p));
}

void buf_printf(buf *b, const char *format, ...)
{
    va_list ap;
    size_t most = b->room < b->max ? b->room : b->max, room = b->overflow || most < b->n ? 0 : most - b->n;
    va_start(ap, format);
    int n = vsnprintf(room ? b->p + b->n : NULL, room, format, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < room) { /* it was there at once */
        b->n += (size_t)n;
        return;
    }
    char *to = n < 0 ? NULL : buf_reserve(b, (size_t)n + 1); /* vsnprintf writes a NUL too */
    if (!to) return;
    va_start(ap, format);
    vsnprintf(to, (size_t)n + 1, format, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void buf_drop_front(buf *b, size_t n)
{
    if (n > b->n) n = b->n;
    if (n && n < b->n) memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}
