/* answer.c - hands an answer over: headers of the host, problems, counting and logging, and the end of the request. */
#include "http/conform.h"
#include "rest/problem.h"

void answer_header(struct request *rq, sl_str name, sl_str value)
{
    if (rq->n_headers < REPLY_HEADERS) rq->headers[rq->n_headers++] = (sl_pair){ name, value };
}

static sl_str header_of(const struct request *rq, sl_str name)
{
    for (size_t i = 0; i < rq->n_headers; i++)
        if (str_equal_nocase(rq->headers[i].name, name)) return rq->headers[i].value;
    return sl_lit(NULL, 0);
}

static bool has_header(const struct request *rq, sl_str name) { return sl_given(header_of(rq, name)); }

static void host_headers(struct request *rq, sl_str type)
{
    if (sl_given(type)) answer_header(rq, SL("Content-Type"), type);
    answer_header(rq, SL("X-Request-Id"), rq->request_id);
    if (sl_given(rq->etag)) answer_header(rq, SL("ETag"), rq->etag);
    limits_headers(rq);
    if (rq->hit) answer_header(rq, SL("Idempotency-Hit"), SL("true"));
    if (rq->route && (rq->route->flags & SL_SENSITIVE) && !has_header(rq, SL("Cache-Control")))
        answer_header(rq, SL("Cache-Control"), SL("no-store"));
    if (http_cfg.n_cors_origins && !rq->cors) cors_headers(rq);
}

/* RFC 9110 13.1.2: the client has this version already. */
static bool not_modified(const struct request *rq, int status)
{
    sl_str list = rq->known.if_none_match, tag;
    if (status != 200 || !sl_given(list) || sl_is(rq->x->method, "POST")) return false;
    sl_str etag = sl_given(rq->etag) ? rq->etag : header_of(rq, SL("ETag")); /* of reply_row, or the handler's own */
    if (!sl_given(etag)) return false;
    while (str_split(&list, ',', &tag)) {
        tag = str_trim(tag);
        if (str_starts(tag, "W/")) tag = str_sub(tag, 2, tag.n);
        if (sl_same(tag, etag) || sl_is(tag, "*")) return true;
    }
    return false;
}

void answer(struct request *rq, int status, sl_str type, sl_str body)
{
    exchange *x = rq->x;
    if (rq->gone) { /* what nginx calls 499: nobody is there to read it */
        access_done(rq, 499, 0);
        exchange_abort(x);
        request_close(rq);
        return;
    }
    if (not_modified(rq, status)) {
        status = 304;
        type = body = sl_lit(NULL, 0);
    }
    host_headers(rq, type);
    x->on_gone = NULL;
    access_done(rq, status, body.n);
    exchange_reply(x, status, rq->headers, rq->n_headers, body);
    request_close(rq);
}

static void retry_after(struct request *rq, int status)
{
    if ((status != 503 && status != 429) || has_header(rq, SL("Retry-After"))) return;
    answer_header(rq, SL("Retry-After"), arena_printf(rq->x->arena, "%u", rq->retry_after ? rq->retry_after : 1));
}

void answer_problem(struct request *rq, int status, sl_str code, sl_str detail)
{
    static buf text; /* handed over at once, never across a wait */
    if (!text.max) buf_init(&text, 1 << 20);
    if (http_cfg.check_answers) conform_problem(rq, status);
    buf_clear(&text);
    rq->problem = true; /* the audit log tells its code */
    rq->code = code;
    rq->etag = sl_lit(NULL, 0);
    retry_after(rq, status);
    problem_write(&text, status, code, detail, rq->x->path, rq->trace_id, rq->errors);
    answer(rq, status, SL("application/problem+json"), buf_str(&text));
}

void stream_start(struct request *rq, int status, sl_str type)
{
    host_headers(rq, type);
    rq->streaming = true;
    rq->status = status;
    if (!rq->gone) exchange_start(rq->x, status, rq->headers, rq->n_headers);
}
