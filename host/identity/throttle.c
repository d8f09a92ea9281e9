/* throttle.c - wrong passwords and signatures: after a few, each further one costs a delay that doubles. */
#include "identity/private.h"

/* A table of fixed size. When a set of places is full, the one that was idle longest is given away. */
enum { SETS = 1 << 11, WAYS = 4, FREE_PAIR = 5, FREE_ADDRESS = 30, LONGEST_S = 900, FORGET_S = 3600 };
struct place {
    uint64_t key;        /* keyed hash of who it is; 0 = free */
    int64_t last, until; /* nanoseconds, monotonic */
    uint32_t failures;
};
static struct place table[SETS][WAYS];
#define SECOND 1000000000LL

static struct place *place_of(sl_str who, sl_str address, int64_t now)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%.*s\n%.*s", (int)(who.n < 256 ? who.n : 256), who.p ? who.p : "",
                     (int)(address.n < 128 ? address.n : 128), address.p ? address.p : "");
    uint64_t key = str_hash(sl_lit(text, (size_t)n));
    struct place *set = table[key % SETS], *oldest = set;
    if (!key) key = 1;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key) {
            if (now - set[i].last > FORGET_S * SECOND) set[i] = (struct place){ .key = key };
            set[i].last = now;
            return &set[i];
        }
        if (set[i].last < oldest->last) oldest = &set[i];
    }
    *oldest = (struct place){ .key = key, .last = now };
    return oldest;
}

static uint32_t wait_of(const struct place *p, int64_t now)
{
    return p->until > now ? (uint32_t)((p->until - now + SECOND - 1) / SECOND) : 0;
}

static void count(struct place *p, uint32_t gratis, int64_t now)
{
    if (++p->failures < gratis) return;
    uint32_t doublings = p->failures - gratis;
    int64_t delay = doublings < 10 ? 1LL << doublings : LONGEST_S;
    p->until = now + (delay < LONGEST_S ? delay : LONGEST_S) * SECOND;
}

uint32_t throttle_take(sl_str who, sl_str address)
{
    int64_t now = clock_monotonic();
    struct place *pair = place_of(who, address, now);
    uint32_t wait = wait_of(pair, now);
    struct place *from = place_of(SL(""), address, now); /* one address that tries many names */
    if (!wait) wait = wait_of(from, now);
    if (wait) return wait;
    count(pair, FREE_PAIR, now);
    count(from, FREE_ADDRESS, now);
    return 0;
}

void throttle_clear(sl_str who, sl_str address)
{
    int64_t now = clock_monotonic();
    struct place *pair = place_of(who, address, now), *from = place_of(SL(""), address, now);
    *pair = (struct place){ 0 };
    if (from->failures) from->failures--; /* only what was counted for this attempt: others may be wrong ones */
    from->until = 0;
}
