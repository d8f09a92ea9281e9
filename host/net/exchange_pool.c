/* exchange_pool.c - exchanges are reused: taking one for a request costs no allocation, giving it back frees what grew
 * large. */
#include "base/clock.h"
#include "net/conn.h"
#include <stdlib.h>

enum { POOL_MAX = 256, HEAD_ROOM = 1024, HEAD_KEEP = 8 << 10, PAIRS_ROOM = 32, BODY_KEEP = 16 << 10 };
static struct request *pool;
static size_t pooled;

static struct request *request_new(void)
{
    struct request *r = calloc(1, sizeof *r);
    if (r) r->head = malloc(HEAD_ROOM);
    if (r) r->pairs = malloc(PAIRS_ROOM * sizeof *r->pairs);
    if (!r || !r->head || !r->pairs) abort();
    r->head_room = HEAD_ROOM;
    r->pairs_room = PAIRS_ROOM;
    r->pub.arena = arena_new(0);
    return r;
}

static void request_free(struct request *r)
{
    arena_free(r->pub.arena);
    free(r->head);
    free(r->pairs);
    free(r->body.p);
    free(r);
}

struct request *request_take(struct conn *c)
{
    struct request *r = pool;
    if (r) {
        pool = r->next;
        pooled--;
    } else {
        r = request_new();
    }
    r->conn = c;
    r->pub.started = (uint64_t)clock_monotonic();
    r->pub.max_body = srv.cfg.max_body;
    r->pub.body = SL("");
    return r;
}

static void wipe(struct request *r)
{
    if (r->head) explicit_bzero(r->head, r->head_room);
    if (r->body.p) explicit_bzero(r->body.p, r->body.room);
    arena_wipe(r->pub.arena);
}

void request_release(struct request *r)
{
    if (r->leaving) { /* request_gone still needs it, and frees it */
        r->ended = true;
        return;
    }
    if (r->pub.sensitive) wipe(r);
    if (pooled >= POOL_MAX || !srv.running || r->head_room > HEAD_KEEP || r->pairs_room > 4 * PAIRS_ROOM) {
        request_free(r);
        return;
    }
    if (r->body.room > BODY_KEEP) buf_free(&r->body);
    buf_clear(&r->body);
    arena_reset(r->pub.arena);
    *r = (struct request){ .pub.arena = r->pub.arena,
                           .head = r->head,
                           .head_room = r->head_room,
                           .pairs = r->pairs,
                           .pairs_room = r->pairs_room,
                           .body = r->body,
                           .next = pool };
    pool = r;
    pooled++;
}

void requests_clear(void)
{
    for (struct request *r = pool, *next; r; r = next) {
        next = r->next;
        request_free(r);
    }
    pool = NULL;
    pooled = 0;
}

/* The rule: who was told by on_gone has nothing to do with the exchange any more, and it is freed here. Who was not
 * told (no on_gone set), or was and took the field back, but was handed the whole request still answers it some day;
 * that call then frees it and does nothing else. */
void request_gone(struct conn *c)
{
    struct request *r = c->r;
    bool users = c->phase == CONN_ANSWER;
    c->r = NULL;
    r->conn = NULL;
    r->leaving = true;
    if (r->claimed && r->pub.on_gone) r->pub.on_gone(&r->pub);
    r->leaving = false;
    struct waiter *w = r->waiter; /* unless on_gone ended its wait */
    r->waiter = NULL;
    if (w) w->r = NULL;
    if (r->pub.on_gone || r->ended || !users) request_release(r);
    if (w) call_wake(w->c, SL_ECANCEL);
}
