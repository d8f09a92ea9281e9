/* follow.h - reading the outbox in order and waiting for what comes next, for streams of events to clients. */
#ifndef BUS_FOLLOW_H
#define BUS_FOLLOW_H
#include "loop/loop.h"
#include "store/store.h"

/* A place in the outbox: everything up to it was read. Events stand in the order of (transaction, seq), and only those
 * are read before which no further one can appear, so nothing is ever passed over. */
struct place {
    int64_t xact, seq;
};
sl_err follow_head(call *c, struct place *at);                                        /* [S] behind the newest event */
sl_err follow_find(call *c, sl_str id, sl_str tenant, bool *found, struct place *at); /* [S] tenant absent = any */
/* [S] Up to `limit` events behind *at, oldest first, and *at moves behind them. Columns id, seq, topic, key, tenant,
 * source, json, created_at. */
sl_err follow_read(call *c, struct place *at, uint32_t limit, const sl_rows **rows);

/* Somebody who waits for news, listed from follow_join to follow_leave; lives on its call's stack. */
struct follower {
    call *call;
    struct follower *prev, *next;
    uint64_t until; /* loop_now() */
    bool waiting, news;
    bool told; /* the last wait ended because there may be news */
};
bool follow_join(struct follower *f, call *c, uint32_t max); /* false: `max` follow already, or the server stops */
/* [S] SL_OK: there may be news, or ms are over; SL_EUNAVAIL: the server stops; else cancelled. */
sl_err follow_wait(struct follower *f, uint32_t ms);
void follow_leave(struct follower *f);
size_t followers(void);

sl_err follow_start(call *c); /* [S] */
void follow_end(void);        /* tells all who follow that the server stops */
void follow_stop(void);
void follow_kick(void); /* something was published here */
#endif
