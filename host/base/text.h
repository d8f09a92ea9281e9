/* text.h - counted strings and a growing buffer that always has a maximum. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H
#include "base/arena.h"

#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : "" /* for "%.*s"; only where n is known to be small */

sl_str str_sub(sl_str s, size_t from, size_t n); /* clipped to s */
sl_str str_trim(sl_str s);                       /* without blanks at both ends */
bool str_equal_nocase(sl_str a, sl_str b);       /* ASCII */
bool str_starts(sl_str s, const char *prefix);
bool str_ends(sl_str s, const char *suffix);
bool str_split(sl_str *rest, char at, sl_str *part); /* next part; false when none is left */
bool str_to_int(sl_str s, int64_t *v);               /* whole text, decimal, in range */
bool str_to_real(sl_str s, double *v);
bool str_is_utf8(sl_str s);
uint64_t str_hash(sl_str s); /* keyed per process (SipHash), for tables */
/* The candidate nearest to `word` (edit distance at most 3), or NULL: for "did you mean" hints. */
const char *str_nearest(sl_str word, const char *const *candidates, size_t n);

/* A buffer on the heap. Every append past `max` sets `overflow` and appends nothing; check it once at the end. */
typedef struct buf {
    char *p;
    size_t n, room, max;
    bool overflow;
} buf;
void buf_init(buf *b, size_t max);
void buf_free(buf *b);               /* also usable again afterwards */
void buf_clear(buf *b);              /* keeps the memory */
char *buf_reserve(buf *b, size_t n); /* n writable bytes behind the content, or NULL; then b->n += used */
void buf_add(buf *b, const void *p, size_t n);
void buf_add_str(buf *b, sl_str s);
void buf_add_cstr(buf *b, const char *s);
void buf_add_char(buf *b, char c);
void buf_add_int(buf *b, int64_t v);
void buf_printf(buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_drop_front(buf *b, size_t n);
static inline sl_str buf_str(const buf *b) { return sl_lit(b->n ? b->p : "", b->n); }

static inline int hex_digit(char c) /* its value, of either case; -1: it is none */
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}
/* The byte that %XX at s.p[at], a `%`, stands for (RFC 3986 2.1); -1: two hexadecimal digits do not follow. */
static inline int percent_byte(sl_str s, size_t at)
{
    int high = at + 2 < s.n ? hex_digit(s.p[at + 1]) : -1, low = high >= 0 ? hex_digit(s.p[at + 2]) : -1;
    return low >= 0 ? high << 4 | low : -1;
}
#endif
