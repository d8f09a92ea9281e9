/* rate.h - request rates: their text form, and a bounded table of buckets that says who has used up theirs. */
#ifndef BASE_RATE_H
#define BASE_RATE_H
#include "base/text.h"

/* `burst` may come at once, then one every `interval` nanoseconds. burst 0 = no limit. */
struct rate {
    uint64_t interval;
    uint32_t burst;
};
enum { RATE_MAX = 1000000, RATE_BURST_MAX = 1000000 };

/* "50/s", "600/m", "10000/h", each also with " burst 200"; without it the burst is what one period allows, at most what
 * ten seconds do. "" and "0" mean no limit. NULL, or what the text must be. */
const char *rate_parse(sl_str text, struct rate *out);

struct rate_state {
    uint32_t remaining; /* that may come now */
    uint32_t reset;     /* seconds until the whole burst may come again, rounded up */
    uint32_t retry;     /* seconds until one may come, rounded up; 0 = now */
};
/* A table of a fixed number of buckets. When a set of them is full, the bucket that is nearest to being whole again is
 * given away: a forgotten caller starts anew, the table never grows. */
typedef struct rate_table rate_table;
rate_table *rate_table_new(size_t buckets); /* rounded up to a power of two; owned by the caller */
void rate_table_free(rate_table *t);        /* accepts NULL */
/* Takes one from the bucket of (kind, key) at `now` (clock_monotonic()); false: none is left and none was taken.
 * `take` false only looks. The algorithm is GCRA (ITU-T I.371): one number a bucket. */
bool rate_take(rate_table *t, const struct rate *r, unsigned kind, sl_str key, int64_t now, bool take,
               struct rate_state *state);
void rate_give_back(rate_table *t, const struct rate *r, unsigned kind, sl_str key); /* one that was just taken */
#endif
