/* follow.c - reading the outbox in order and waiting for what comes next, for streams of events to clients. */
#include "bus/follow.h"
#include "base/log.h"

enum { LOOK_MS = 250 }; /* how soon events of other replicas are seen */

static struct {
    ticker *watcher;
    struct follower *first;
    size_t n;
    struct place head; /* as the watcher saw it last */
    bool ending;
} follow;

#define HEAD "select xact, seq from sl_events where xact < {{oldest_transaction}} order by xact desc, seq desc limit 1"

sl_err follow_head(call *c, struct place *at)
{
    const sl_rows *rows;
    sl_err e = store_query(c, &rows, SL(HEAD), NULL, 0);
    *at = (struct place){ -1, -1 };
    if (!e && rows->rows) *at = (struct place){ sl_cell_int(rows, 0, "xact"), sl_cell_int(rows, 0, "seq") };
    return e;
}

sl_err follow_find(call *c, sl_str id, sl_str tenant, bool *found, struct place *at)
{
    const sl_rows *rows;
    sl_err e = store_query(c, &rows,
                           SL("select xact, seq from sl_events where id = $1 and ($2 = '' or tenant = $2) "
                              "and xact < {{oldest_transaction}}"),
                           SL_ARRAY(id, tenant.p ? tenant : SL("")), 2);
    *found = !e && rows->rows > 0;
    *at = (struct place){ -1, -1 };
    if (*found) *at = (struct place){ sl_cell_int(rows, 0, "xact"), sl_cell_int(rows, 0, "seq") };
    return e;
}

sl_err follow_read(call *c, struct place *at, uint32_t limit, const sl_rows **rows)
{
    sl_err e = store_query(c, rows,
                           SL("select id, seq, topic, key, tenant, source, json, created_at, xact from sl_events "
                              "where (xact, seq) > ($1, $2) and xact < {{oldest_transaction}} "
                              "order by xact, seq limit $3"),
                           SL_ARRAY(at->xact, at->seq, (int64_t)limit), 3);
    if (e || !(*rows)->rows) return e;
    uint32_t last = (*rows)->rows - 1;
    *at = (struct place){ sl_cell_int(*rows, last, "xact"), sl_cell_int(*rows, last, "seq") };
    return SL_OK;
}

/* ---- those who wait ---- */
static void wake(struct follower *f)
{
    f->waiting = false;
    call_wake(f->call, SL_OK);
}

static void wake_all(void)
{
    for (struct follower *f = follow.first, *next; f; f = next) {
        next = f->next; /* whoever goes on may leave */
        f->news = true;
        if (f->waiting) wake(f);
    }
}

/* One small query for all who follow: is there anything new? It also rings for those whose time is over. */
static void watch(call *c, void *unused)
{
    struct place head;
    (void)unused;
    if (!follow.n) return;
    call_deadline(c, 10000);
    if (!follow_head(c, &head) && (head.xact != follow.head.xact || head.seq != follow.head.seq)) {
        follow.head = head;
        wake_all();
    }
    for (struct follower *f = follow.first, *next; f; f = next) {
        next = f->next;
        if (f->waiting && loop_now() >= f->until) wake(f);
    }
}

bool follow_join(struct follower *f, call *c, uint32_t max)
{
    if (follow.ending || !follow.watcher || follow.n >= max) return false;
    *f = (struct follower){ .call = c, .next = follow.first, .news = true };
    if (f->next) f->next->prev = f;
    follow.first = f;
    follow.n++;
    return true;
}

void follow_leave(struct follower *f)
{
    if (f->prev)
        f->prev->next = f->next;
    else
        follow.first = f->next;
    if (f->next) f->next->prev = f->prev;
    follow.n--;
}

static void stop_waiting(void *arg) { ((struct follower *)arg)->waiting = false; }

sl_err follow_wait(struct follower *f, uint32_t ms)
{
    sl_err e = SL_OK;
    if (!f->news && !follow.ending) {
        f->until = loop_now() + ms;
        f->waiting = true;
        e = call_wait(f->call, stop_waiting, f);
    }
    f->told = f->news;
    f->news = false;
    return e ? e : follow.ending ? SL_EUNAVAIL : call_check(f->call);
}

size_t followers(void) { return follow.n; }

/* ---- the whole ---- */
/* Rows that came with a dump of another cluster have numbers that mean nothing here; whatever stands in a dump is over.
 * The statement's own transaction is younger than every row that it can see. */
sl_err follow_start(call *c)
{
    sl_err e = store_query(c, NULL, SL("update sl_events set xact = 0 where xact > {{transaction}}"), NULL, 0);
    if (!e) e = store_commit(c);
    if (e) {
        store_rollback(c);
        return e;
    }
    follow.ending = false;
    follow.head = (struct place){ -1, -1 };
    follow.watcher = ticker_start("bus.watch", LOOK_MS, watch, NULL);
    return SL_OK;
}

void follow_end(void)
{
    follow.ending = true;
    wake_all();
}

void follow_stop(void)
{
    follow_end();
    ticker_stop(follow.watcher);
    follow.watcher = NULL;
}

void follow_kick(void)
{
    if (follow.n && follow.watcher) ticker_kick(follow.watcher);
}
