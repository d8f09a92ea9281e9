/* reply.c - rows as the answer of any call: straight into a request's own buffer, through reply() elsewhere. */
#include "http/render.h"
#include "http/request.h"

static struct request *own_buffer(const call *c)
{
    struct request *rq = request_of(c);
    return rq && !(rq->route->flags & SL_STREAM) ? rq : NULL;
}

buf *reply_buffer(call *c)
{
    static buf shared;
    struct request *rq = own_buffer(c);
    buf *b = rq ? &rq->out : &shared;
    if (!b->max) buf_init(b, REPLY_MAX);
    buf_clear(b);
    return b;
}

sl_err reply_done(call *c, buf *b, int32_t status)
{
    struct request *rq = own_buffer(c);
    if (b->overflow) return SL_ETOOBIG;
    if (!rq) return c->ops->reply(c, status, SL("application/json"), buf_str(b));
    if (status < 200 || status > 599) return SL_EINVAL;
    rq->problem = false;
    rq->status = status;
    rq->type = SL("application/json");
    rq->etag = sl_lit(NULL, 0);
    return SL_OK;
}

sl_err render_failed(const call *c, sl_err e)
{
    if (e != SL_EINVAL) return e;
    log_error("a column does not fit its field in the entry's `out` schema", LOG_C("plugin", c->module),
              LOG_C("entry", c->name), LOG_C("field", render_field_failed()));
    return SL_EINTERNAL;
}

static sl_str version_tag(call *c, const sl_rows *rows)
{
    sl_value v = sl_cell(rows, 0, "version");
    if (v.type == SL_INT) return arena_printf(c->arena, "\"%lld\"", (long long)v.i);
    if (v.type == SL_TEXT && v.s.n < 200 && header_value_ok(v.s) && !memchr(v.s.p, '"', v.s.n))
        return arena_printf(c->arena, "\"%.*s\"", STR_ARG(v.s));
    return sl_lit(NULL, 0);
}

sl_str http_row_tag(call *c, const sl_rows *rows) { return version_tag(c, rows); }

void http_reply_tag(call *c, sl_str tag)
{
    struct request *rq = own_buffer(c);
    bool quoted = tag.n > 2 && tag.n < 210 && tag.p[0] == '"' && memchr(tag.p + 1, '"', tag.n - 1) == tag.p + tag.n - 1;
    if (rq && !rq->problem && quoted && header_value_ok(tag)) rq->etag = arena_copy(c->arena, tag);
}

sl_err http_reply_row(call *c, int32_t status, const sl_rows *rows)
{
    const struct entry *e = c->entry;
    if (!e || !e->out) {
        log_error("reply_row needs an `out` schema", LOG_C("plugin", c->module), LOG_C("entry", c->name));
        return SL_ESTATE;
    }
    if (!rows || rows->rows != 1) return SL_ENOENT;
    buf *b = reply_buffer(c);
    sl_err failed = render_row(b, e->out, rows, 0);
    if (failed) return render_failed(c, failed);
    failed = reply_done(c, b, status);
    struct request *rq = own_buffer(c);
    if (!failed && rq) rq->etag = version_tag(c, rows);
    return failed;
}
