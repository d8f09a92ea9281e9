/* bus.h - events: written to the outbox in the call's transaction, delivered as jobs to each subscribing plugin. */
#ifndef BUS_BUS_H
#define BUS_BUS_H
#include "jobs/jobs.h"

struct subscription {
    const char *topic, *module;
};                                   /* topic may end in ".*" */
void bus_keep(int64_t retention_ms); /* how long events are kept [7 days]; before bus_start */
/* Merge with what other replicas declared (table sl_subscriptions), so that their plugins get events published here. */
sl_err bus_start(call *c);                                                     /* [S] */
sl_err bus_set_subscriptions(call *c, const struct subscription *s, size_t n); /* [S] of this process; copied */
/* Joins the transaction: the event row, and a job "event:<module>/<topic>" for each subscriber. */
sl_err bus_publish(call *c, sl_str topic, sl_str key, sl_str json, sl_str tenant, sl_str source);
/* The same under an id of the caller's, a UUIDv7. */
sl_err bus_publish_as(call *c, const char *id, sl_str topic, sl_str key, sl_str json, sl_str tenant, sl_str source);
bool bus_topic_ok(sl_str topic, bool pattern); /* well-formed; a pattern may end in ".*" */
bool bus_topic_matches(sl_str pattern, sl_str topic);
void bus_stop(void);
#endif
