/* rate.c - request rates: their text form, and a bounded table of buckets that says who has used up theirs. */
#include "base/rate.h"
#include <stdlib.h>

enum { WAYS = 4 };
#define SECOND_NS 1000000000ULL

/* ---- text ---- */
static bool number(sl_str *s, uint64_t max, uint64_t *out)
{
    size_t n = 0;
    int64_t v;
    while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
        n++;
    if (n == 0 || n > 9 || !str_to_int(str_sub(*s, 0, n), &v) || (uint64_t)v > max) return false;
    *out = (uint64_t)v;
    *s = str_sub(*s, n, s->n);
    return true;
}

static uint64_t period_of(sl_str *s)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } periods[] = { { "/s", SECOND_NS }, { "/m", 60 * SECOND_NS }, { "/h", 3600 * SECOND_NS } };
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++)
        if (str_starts(*s, periods[i].text)) {
            *s = str_sub(*s, 2, s->n);
            return periods[i].ns;
        }
    return 0;
}

const char *rate_parse(sl_str text, struct rate *out)
{
    static const char must[] = "must be a rate such as 50/s, 600/m or 1000/h burst 200 (up to 1000000), or 0 for none";
    uint64_t n, period, burst = 0;
    sl_str s = str_trim(text);
    *out = (struct rate){ 0 };
    if (s.n == 0 || sl_is(s, "0")) return NULL;
    if (!number(&s, RATE_MAX, &n) || n == 0 || !(period = period_of(&s))) return must;
    if (s.n) {
        if (!str_starts(s, " burst ")) return must;
        s = str_sub(s, 7, s.n);
        if (!number(&s, RATE_BURST_MAX, &burst) || burst == 0 || s.n) return must;
    }
    out->interval = period / n;
    if (!burst) burst = period > 10 * SECOND_NS ? 10 * SECOND_NS / out->interval : n;
    out->burst = burst ? (uint32_t)burst : 1;
    return NULL;
}

/* ---- buckets ---- */
struct bucket {
    uint64_t key;  /* keyed hash of who it is; 0 = free */
    uint64_t full; /* when the bucket is whole again: the theoretical arrival time of GCRA */
};
struct rate_table {
    size_t mask;
    struct bucket buckets[];
};

rate_table *rate_table_new(size_t buckets)
{
    size_t n = WAYS;
    while (n < buckets)
        n *= 2;
    rate_table *t = calloc(1, sizeof *t + n * sizeof *t->buckets); /* pages that nobody uses take no memory */
    if (!t) abort();
    t->mask = n - 1;
    return t;
}

void rate_table_free(rate_table *t) { free(t); }

/* str_hash is keyed: nobody can choose whom to push out. */
static uint64_t hash_of(unsigned kind, sl_str key)
{
    uint64_t h = str_hash(key) ^ (uint64_t)kind * 0x9e3779b97f4a7c15ULL;
    return h ? h : 1;
}

static struct bucket *bucket_of(rate_table *t, uint64_t h)
{
    struct bucket *set = &t->buckets[(h & t->mask) & ~(size_t)(WAYS - 1)], *least = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == h) return &set[i];
        if (set[i].full < least->full) least = &set[i];
    }
    *least = (struct bucket){ .key = h };
    return least;
}

static uint32_t seconds_up(uint64_t ns)
{
    uint64_t s = (ns + SECOND_NS - 1) / SECOND_NS;
    return s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

bool rate_take(rate_table *t, const struct rate *r, unsigned kind, sl_str key, int64_t now, bool take,
               struct rate_state *state)
{
    struct bucket *b = bucket_of(t, hash_of(kind, key));
    uint64_t at = (uint64_t)now, room = r->interval * r->burst;
    if (b->full > at + room)
        b->full = at + room; /* the rate was lowered meanwhile: nobody waits longer than for this one */
    uint64_t full = b->full > at ? b->full : at;
    bool good = full - at + r->interval <= room;
    if (good && take) b->full = full += r->interval;
    state->remaining = (uint32_t)((room - (full - at)) / r->interval);
    state->reset = seconds_up(full - at);
    state->retry = good ? 0 : seconds_up(full - at + r->interval - room);
    return good;
}

void rate_give_back(rate_table *t, const struct rate *r, unsigned kind, sl_str key)
{
    struct bucket *b = bucket_of(t, hash_of(kind, key));
    b->full -= b->full > r->interval ? r->interval : b->full;
}
