/* router.h - one immutable tree of route patterns: static segments beat {parameters}, a lookup costs its segments. */
#ifndef HTTP_ROUTER_H
#define HTTP_ROUTER_H
#include "http/http.h"
#include "rest/pattern.h"

struct route {           /* compiled; all text is the router's own, so that it outlives the generation */
    struct entry *entry; /* valid while owner->current == generation */
    struct module *owner;
    struct generation *generation;
    const char *name;    /* "GET /things/{thing}" */
    sl_str method, path; /* path: the template, the label of metrics */
    sl_str params[ROUTE_PARAMS];
    size_t n_params;
    sl_str scope; /* absent = public */
    uint32_t flags, deadline_ms;
    bool exempt;            /* from rates and numbers at once: what tells whether the server is well */
    bool check_empty_query; /* a request without a query string is to be checked too: something is required or defaults
                             */
    struct route_series *series; /* of metrics, kept by access.c */
};
typedef struct router router;

router *router_new(void); /* held once */
void router_hold(router *r);
void router_drop(router *r); /* the last one frees; accepts NULL */
arena *router_arena(router *r);
/* `name` must have passed route_check. NULL: a pattern of the same shape is there already. */
struct route *router_add(router *r, const char *name);

enum route_result { ROUTE_FOUND, ROUTE_NONE, ROUTE_OTHER_METHOD, ROUTE_BAD_PATH };
struct route_match {
    struct route *route;
    sl_str values[ROUTE_PARAMS]; /* decoded, in the order of route->params */
    unsigned allow;              /* bits of enum route_method at this path */
    const char *why;             /* ROUTE_BAD_PATH: a sentence */
};
/* HEAD is served by GET. Decoded values lie in `a`; values without escapes point into path. */
enum route_result router_find(const router *r, sl_str method, sl_str path, arena *a, struct route_match *m);
#endif
