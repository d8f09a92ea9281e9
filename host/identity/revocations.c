/* revocations.c - ids of tokens and sessions that count no more: written once, heard by every replica within seconds.
 */
#include "identity/private.h"
#include "loop/loop.h"
#include <stdlib.h>

enum {
    SLOTS = 1 << 10,
    MOST = 65536,         /* in memory */
    MOST_AT_ONCE = 60000, /* beyond it no further ones are taken */
    PAGE = 5000,
    POLL_MS = 2000,
    TURN_MS = 10000,
    FRESH_MS = 30000, /* so long a token is believed while the store cannot be reached */
    FLUSH_EVERY = 2,  /* polls */
    SWEEP_EVERY = 150,
    OVERLAP_US = 60 * 1000000 /* a transaction may commit so much later than it read the clock */
};
struct revocation {
    struct revocation *next;
    int64_t expires_at;
    size_t n;
    char id[];
};
static struct {
    struct revocation *slot[SLOTS];
    size_t n;
    int64_t seen;     /* the newest revoked_at that was read */
    uint64_t read_at; /* loop time of the last reading; 0 = never */
    unsigned turns;
    ticker *ticker;
} known;

static struct revocation **slot_of(sl_str id) { return &known.slot[str_hash(id) % SLOTS]; }

bool revoked(sl_str id)
{
    struct revocation *r = sl_given(id) ? *slot_of(id) : NULL;
    while (r && !sl_same(sl_lit(r->id, r->n), id))
        r = r->next;
    return r != NULL;
}

static void forget(int64_t before)
{
    for (size_t i = 0; i < SLOTS; i++)
        for (struct revocation **at = &known.slot[i], *r; (r = *at);) {
            if (r->expires_at > before) {
                at = &r->next;
                continue;
            }
            *at = r->next;
            known.n--;
            free(r);
        }
}

static void note(sl_str id, int64_t expires_at)
{
    if (revoked(id)) return;
    bearers_forget(id);
    if (known.n >= MOST) forget(clock_now());
    if (known.n >= MOST) {
        log_error("too many revocations are in force to hear of another", LOG_I("revocations", (int64_t)known.n));
        return;
    }
    struct revocation *r = malloc(sizeof *r + id.n);
    if (!r) abort();
    *r = (struct revocation){ .next = *slot_of(id), .expires_at = expires_at, .n = id.n };
    memcpy(r->id, id.p, id.n);
    *slot_of(id) = r;
    known.n++;
}

bool revocations_fresh(void) { return known.read_at && loop_now() - known.read_at < FRESH_MS; }

/* By (revoked_at, id): what has been read of one moment is not read again in the next page. */
sl_err revocations_read(call *c)
{
    const sl_rows *rows;
    int64_t from = known.seen - OVERLAP_US;
    sl_str after = SL("");
    bool was_fresh = revocations_fresh();
    do {
        const sl_value args[] = { sl_int(from), sl_text(after), sl_int(clock_now()), sl_int(PAGE) };
        sl_err e = store_query(
            c, &rows,
            SL("select id, revoked_at, expires_at from sl_revocations where (revoked_at > $1 or"
               " (revoked_at = $1 and id > $2)) and expires_at > $3 order by revoked_at, id limit $4"),
            args, 4);
        if (e) return e;
        for (uint32_t i = 0; i < rows->rows; i++) {
            after = sl_cell_text(rows, i, "id");
            from = sl_cell_int(rows, i, "revoked_at");
            note(after, sl_cell_int(rows, i, "expires_at"));
        }
        if (rows->rows && from > known.seen) known.seen = from;
    } while (rows->rows == PAGE);
    if (!was_fresh) bearers_forget_passing(); /* what was revoked meanwhile may be swept already */
    known.read_at = loop_now() ? loop_now() : 1;
    return SL_OK;
}

/* ---- to revoke ---- */
struct noted {
    sl_str id;
    int64_t expires_at;
};

static void note_now(void *arg)
{
    const struct noted *n = arg;
    note(n->id, n->expires_at);
}

sl_err revocation_add(call *c, sl_str id, int64_t until)
{
    const sl_rows *rows;
    struct noted *n = arena_alloc(c->arena, sizeof *n);
    const sl_value args[] = { sl_text(id), sl_int(until) };
    if (known.n >= MOST_AT_ONCE) forget(clock_now());
    if (known.n >= MOST_AT_ONCE) return SL_EBUSY;
    sl_err e = store_query(c, &rows,
                           SL("insert into sl_revocations (id, revoked_at, expires_at) values ($1, {{now}}, $2)"
                              " on conflict (id) do nothing"),
                           args, 2);
    if (e) return e;
    *n = (struct noted){ arena_copy(c->arena, id), until };
    store_after_commit(c, note_now, n);
    return SL_OK;
}

/* ---- all the time ---- */
static sl_err sweep(call *c)
{
    static const char *const statements[] = {
        "delete from sl_revocations where expires_at < $1",
        "delete from sl_wallet_nonces where expires_at < $1",
        "delete from sl_sessions where expires_at < $1",
    };
    const sl_value args[] = { sl_int(clock_now() - OVERLAP_US) };
    const sl_rows *rows;
    sl_err e = SL_OK;
    forget(clock_now());
    for (size_t i = 0; i < sizeof statements / sizeof *statements && !e; i++) {
        e = store_query(c, &rows, sl_cstr(statements[i]), args, 1);
        if (!e) e = store_commit(c);
    }
    return e;
}

static void turn(call *c, void *arg)
{
    (void)arg;
    call_deadline(c, TURN_MS);
    sl_err e = revocations_read(c);
    if (!e && known.turns % FLUSH_EVERY == FLUSH_EVERY - 1) tokens_flush(c);
    if (!e && known.turns % SWEEP_EVERY == SWEEP_EVERY - 1) e = sweep(c);
    known.turns++;
    if (!e) return;
    store_rollback(c);
    log_warn("revoked tokens could not be read", LOG_C("error", store_error(c)), LOG_I("code", e));
}

sl_err identity_start(call *c)
{
    sl_err e = revocations_read(c);
    if (!e) known.ticker = ticker_start("identity", POLL_MS, turn, NULL);
    return e;
}

void identity_stop(call *c)
{
    if (known.ticker) {
        ticker_stop(known.ticker);
        tokens_flush(c);
    }
    forget(INT64_MAX);
    memset(&known, 0, sizeof known);
}
