/* bus.h - events: written to the outbox in the call's transaction, delivered as jobs to each subscribing plugin. */
#ifndef BUS_BUS_H
#define BUS_BUS_H
#include "jobs/jobs.h"

struct subscription {
    const char *topic, *module;
}; /* topic may end in ".*" */
/* Merge with what other replicas declared (table sl_subscriptions), so that their plugins get events published here. */
sl_err bus_start(call *c);                                                     /* [S] */
sl_err bus_set_subscriptions(call *c, const struct subscription *s, size_t n); /* [S] of this process; copied */
/* Joins the transaction: the event row, and a job "event:<module>/<topic>" for each subscriber. */
sl_err bus_publish(call *c, sl_str topic, sl_str key, sl_str json, sl_str tenant, sl_str source);
void bus_stop(void);
struct bus_stats {
    uint64_t published, delivered;
};
struct bus_stats bus_stats(void);
#endif
