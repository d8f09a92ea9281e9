/* cors.c - cross-origin requests of browsers: off unless origins are configured (Fetch standard, section 3.2). */
#include "http/request.h"

static bool allowed(sl_str origin)
{
    for (size_t i = 0; i < http_cfg.n_cors_origins; i++)
        if (sl_is(http_cfg.cors_origins[i], "*") || sl_same(http_cfg.cors_origins[i], origin)) return true;
    return false;
}

static bool any(void)
{
    for (size_t i = 0; i < http_cfg.n_cors_origins; i++)
        if (sl_is(http_cfg.cors_origins[i], "*")) return true;
    return false;
}

static bool common(struct request *rq)
{
    rq->cors = true;
    if (!any()) answer_header(rq, SL("Vary"), SL("Origin")); /* caches keep the answers to different origins apart */
    if (!sl_given(rq->known.origin) || !allowed(rq->known.origin)) return false;
    answer_header(rq, SL("Access-Control-Allow-Origin"), any() ? SL("*") : rq->known.origin);
    return true;
}

void cors_headers(struct request *rq)
{
    if (common(rq))
        answer_header(rq, SL("Access-Control-Expose-Headers"),
                      SL("ETag, Link, Location, Retry-After, X-Request-Id, Idempotency-Hit, RateLimit, "
                         "RateLimit-Policy"));
}

bool cors_preflight(struct request *rq, unsigned allow)
{
    if (!http_cfg.n_cors_origins || !sl_given(rq->known.origin) || !sl_given(rq->known.preflight_method)) return false;
    if (!common(rq)) return true;
    char *text = arena_alloc(rq->x->arena, 64);
    answer_header(rq, SL("Access-Control-Allow-Methods"), sl_lit(text, route_allow_text(allow, text, 64)));
    answer_header(
        rq, SL("Access-Control-Allow-Headers"),
        SL("Authorization, Content-Type, X-Tenant-ID, Idempotency-Key, If-Match, If-None-Match, X-Request-Id, "
           "traceparent"));
    answer_header(rq, SL("Access-Control-Max-Age"), SL("600"));
    return true;
}
