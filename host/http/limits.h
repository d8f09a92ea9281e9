/* limits.h - private to host/http: what one caller may ask for, and the tenants' use. */
#ifndef HTTP_LIMITS_H
#define HTTP_LIMITS_H
#include "base/json.h"
#include "base/rate.h"
#include "http/request.h"

/* ---- tenants.c ---- */
struct tenant { /* seen today, or with a rate of its own in the configuration */
    struct tenant *next;
    struct rate rate; /* when `own` */
    bool own;
    bool storing; /* its count is on the way to the store: it must stay */
    uint32_t in_flight;
    int64_t day;             /* since 1970 in UTC: what the two counts are of */
    uint64_t pending, known; /* requests not stored yet; what the store counts for all replicas */
    char name[TENANT_MAX + 1];
};
void tenants_setup(const struct http_config *cfg);
void tenants_close(void);
struct tenant *tenant_get(sl_str name);               /* NULL: nothing is kept of it */
bool tenant_count(struct request *rq);                /* false: the day's quota is used up, rq has a problem */
void tenants_write(const struct request *rq, buf *b); /* rest of a JSON object, see limits_write */
#endif
