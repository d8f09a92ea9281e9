/* trace.c - the names of a request: X-Request-Id, the W3C trace that it belongs to, and its span there. */
#include "http/request.h"
#include <ctype.h>

/* A request id goes into logs and headers: ours replaces one that is long or odd. */
static bool sane_id(sl_str s)
{
    if (s.n == 0 || s.n > 128) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !memchr("._-:+/=@", s.p[i], 8)) return false;
    return true;
}

/* A UUIDv7 without dashes is unique, and its right part is random as asked for. */
void trace_from_id(const char *id, char out[TRACE_TEXT])
{
    size_t n = 0;
    for (; *id; id++)
        if (*id != '-') out[n++] = *id;
    out[n] = 0;
}

void trace_read(struct request *rq)
{
    id_new(rq->id_text);
    rq->request_id = sane_id(rq->known.request_id) ? rq->known.request_id : sl_lit(rq->id_text, ID_TEXT - 1);
    if (sl_given(rq->known.traceparent) && trace_join(&rq->trace, rq->known.traceparent)) {
        rq->trace_parent = rq->trace.span;
        if (rq->trace.recorded) rq->trace.span = span_id_new(); /* else the caller's is handed on: ours nobody sees */
    } else {
        trace_from_id(rq->id_text, rq->trace_text);
        trace_begin(&rq->trace, sl_lit(rq->trace_text, TRACE_TEXT - 1));
    }
    rq->trace_id = rq->trace.id;
}

void trace_request(const struct request *rq, int status, int64_t end)
{
    const exchange *x = rq->x;
    bool same_id = rq->trace.id.p == rq->trace_text && rq->request_id.p == rq->id_text; /* but for its dashes */
    bool named = rq->route && sl_same(rq->route->method, x->method);
    const struct span_attribute attributes[] = {
        SPAN_S("http.request.method", x->method),
        SPAN_S("http.route", rq->route ? rq->route->path : sl_lit(NULL, 0)),
        SPAN_S("url.path", x->path),
        SPAN_I("http.response.status_code", status),
        SPAN_S("client.address", x->remote),
        SPAN_S("service_layer.tenant", rq->identity.tenant),
        SPAN_S("enduser.id", rq->identity.actor),
        SPAN_S("service_layer.request_id", same_id ? sl_lit(NULL, 0) : rq->request_id),
    };
    span_write(&(struct span_record){ .trace = rq->trace.id,
                                      .id = rq->trace.span,
                                      .parent = rq->trace_parent,
                                      .start = span_wall((int64_t)x->started),
                                      .end = span_wall(end),
                                      .kind = SPAN_SERVER,
                                      .name = named ? sl_cstr(rq->route->entry->spec.name) : x->method,
                                      .error = status >= 500 ? SL("") : sl_lit(NULL, 0),
                                      .attributes = attributes,
                                      .n = sizeof attributes / sizeof *attributes });
}
