/* request.c - a request's state and the contract's functions on it: what a handler reads, and the answer it builds. */
#include "http/request.h"
#include <ctype.h>
#include <stdlib.h>

enum { POOL_MAX = 256, OUT_KEEP = 64 << 10, STREAM_HIGH = 256 << 10, VALUE_MAX = 8192 };
static struct request *pool;
static size_t pooled;

/* One pass: names come in lower case. */
static void read_headers(struct known_headers *k, const exchange *x)
{
    for (size_t i = 0; i < x->n_headers; i++) {
        sl_str name = x->headers[i].name, *to = NULL;
        switch (name.n) {
        case 6:
            to = sl_is(name, "origin") ? &k->origin : NULL;
            break;
        case 11:
            to = sl_is(name, "x-tenant-id") ? &k->tenant : sl_is(name, "traceparent") ? &k->traceparent : NULL;
            break;
        case 12:
            to = sl_is(name, "content-type") ? &k->content_type : sl_is(name, "x-request-id") ? &k->request_id : NULL;
            break;
        case 13:
            to = sl_is(name, "authorization")   ? &k->authorization
                 : sl_is(name, "if-none-match") ? &k->if_none_match
                                                : NULL;
            break;
        case 15:
            to = sl_is(name, "idempotency-key") ? &k->idempotency_key : NULL;
            break;
        case 29:
            to = sl_is(name, "access-control-request-method") ? &k->preflight_method : NULL;
            break;
        default:
            break;
        }
        if (to) *to = x->headers[i].value;
    }
}

struct request *request_open(exchange *x)
{
    struct request *rq = pool;
    if (rq) {
        pool = rq->next;
        pooled--;
    } else {
        rq = malloc(sizeof *rq);
        if (!rq) abort();
        buf_init(&rq->out, REPLY_MAX);
    }
    buf out = rq->out;
    memset(rq, 0, offsetof(struct request, headers));
    rq->out = out;
    rq->x = x;
    identity_reset(rq);
    read_headers(&rq->known, x);
    trace_read(rq);
    return rq;
}

void request_close(struct request *rq)
{
    bool sensitive = rq->route && (rq->route->flags & SL_SENSITIVE);
    if (sensitive && rq->out.p) explicit_bzero(rq->out.p, rq->out.room);
    json_sensitive(sensitive);
    json_decref(rq->body);
    json_sensitive(false);
    json_decref(rq->query);
    if (rq->entry) module_unpin(rq->entry);
    router_drop(rq->router);
    if (rq->counted) access_end();
    tenant_leave(rq);
    bearer_drop(rq->bearer);
    if (rq->out.room > OUT_KEEP) buf_free(&rq->out);
    buf_clear(&rq->out);
    if (pooled >= POOL_MAX) {
        buf_free(&rq->out);
        free(rq);
        return;
    }
    rq->next = pool;
    pool = rq;
    pooled++;
}

void requests_free(void)
{
    for (struct request *rq = pool, *next; rq; rq = next) {
        next = rq->next;
        buf_free(&rq->out);
        free(rq);
    }
    pool = NULL;
    pooled = 0;
}

const json_t *http_body(const call *c)
{
    const struct request *rq = request_of(c);
    return rq ? rq->body : NULL;
}

/* ---- what a handler reads ---- */
static const sl_str absent = { NULL, 0 };

static sl_str input_path(const struct request *rq, sl_str name)
{
    for (size_t i = 0; i < rq->route->n_params; i++)
        if (sl_same(rq->route->params[i], name)) return rq->values[i];
    return absent;
}

static sl_str input_query(call *c, struct request *rq, sl_str name)
{
    const json_t *v = rq->query ? json_object_getn(rq->query, name.p, name.n) : NULL;
    if (v) return json_plain(c->arena, v);
    sl_str page = sl_is(name, "limit") ? rq->page_limit : sl_is(name, "cursor") ? rq->page_cursor : absent;
    if (sl_given(page)) rq->page_used = true;
    return page;
}

/* The token is for the host; a plugin sees it on public routes only, where it may have rules of its own. */
static sl_str input_header(const struct request *rq, sl_str name)
{
    if (sl_is(name, "authorization") && sl_given(rq->route->scope)) return absent;
    for (size_t i = 0; i < rq->x->n_headers; i++)
        if (sl_same(rq->x->headers[i].name, name)) return rq->x->headers[i].value;
    return absent;
}

static sl_str input_body(call *c, struct request *rq, sl_str name)
{
    if (name.n) return rq->body ? json_plain(c->arena, json_object_getn(rq->body, name.p, name.n)) : absent;
    if (!rq->body) return rq->x->body;
    if (!sl_given(rq->whole_body)) rq->whole_body = json_write(c->arena, rq->body); /* with the defaults filled in */
    return rq->whole_body;
}

static sl_str input_fact(call *c, struct request *rq, sl_str name)
{
    if (sl_is(name, "tenant")) return rq->identity.tenant;
    if (sl_is(name, "actor")) return rq->identity.actor;
    if (sl_is(name, "role")) return rq->identity.role;
    if (sl_is(name, "request_id")) return rq->request_id;
    if (sl_is(name, "trace_id")) return rq->trace_id;
    if (sl_is(name, "traceparent")) return trace_parent(&c->trace, arena_alloc(c->arena, TRACEPARENT_TEXT));
    if (sl_is(name, "method")) return rq->x->method;
    if (sl_is(name, "route")) return rq->route->path;
    if (sl_is(name, "remote")) return rq->x->remote;
    return absent;
}

static sl_str op_input(call *c, uint32_t from, sl_str name)
{
    struct request *rq = c->context;
    switch (from) {
    case SL_IN_PATH:
        return input_path(rq, name);
    case SL_IN_QUERY:
        return input_query(c, rq, name);
    case SL_IN_HEADER:
        return input_header(rq, name);
    case SL_IN_BODY:
        return input_body(c, rq, name);
    case SL_IN_FACT:
        return input_fact(c, rq, name);
    default:
        return absent; /* SL_IN_CONFIG is answered by module/, for every kind of call alike */
    }
}

/* ---- the answer ---- */
static sl_err op_write(call *c, sl_str piece)
{
    struct request *rq = c->context;
    if (!rq->streaming) return SL_ESTATE;
    sl_err e = call_check(c);
    if (e) return e;
    rq->streamed += piece.n;
    return exchange_write(rq->x, piece) > STREAM_HIGH ? exchange_wait(rq->x, c) : SL_OK;
}

static sl_err op_reply(call *c, int32_t status, sl_str type, sl_str body)
{
    struct request *rq = c->context;
    if (rq->streaming) return SL_ESTATE;
    if (status < 200 || status > 599 || !header_value_ok(type)) return SL_EINVAL;
    if (body.n > REPLY_MAX) return SL_ETOOBIG;
    rq->problem = false;
    if (rq->route->flags & SL_STREAM) {
        stream_start(rq, status, type);
        return op_write(c, body);
    }
    buf_clear(&rq->out);
    buf_add_str(&rq->out, body);
    rq->status = status;
    rq->etag = absent; /* of an earlier reply_row */
    rq->type = arena_copy(c->arena, type);
    return SL_OK;
}

bool header_value_ok(sl_str value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char ch = (unsigned char)value.p[i];
        if ((ch < ' ' && ch != '\t') || ch == 0x7f) return false;
    }
    return value.n <= VALUE_MAX;
}

/* Not a token of RFC 9110, or a name that is the host's. */
static bool header_name_ok(sl_str name)
{
    static const char *const reserved[] = {
        "connection",        "content-length",    "content-type", "date",         "keep-alive",      "server",
        "trailer",           "transfer-encoding", "upgrade",      "x-request-id", "idempotency-hit", "te",
        "proxy-authenticate"
    };
    if (name.n == 0 || name.n > 128) return false;
    for (size_t i = 0; i < name.n; i++)
        if (!isalnum((unsigned char)name.p[i]) && !memchr("!#$%&'*+-.^_`|~", name.p[i], 15)) return false;
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (str_equal_nocase(name, sl_cstr(reserved[i]))) return false;
    return !(name.n > 15 && str_equal_nocase(str_sub(name, 0, 15), SL("access-control-")));
}

static sl_err op_header(call *c, sl_str name, sl_str value)
{
    struct request *rq = c->context;
    if (rq->streaming) return SL_ESTATE;
    if (!header_name_ok(name) || !header_value_ok(value)) return SL_EINVAL;
    sl_pair *to = NULL;
    for (size_t i = 0; i < rq->n_headers && !str_equal_nocase(name, SL("set-cookie")); i++)
        if (str_equal_nocase(rq->headers[i].name, name))
            to = &rq->headers[i]; /* the last one wins, also when a handler runs again */
    if (!to && rq->n_headers >= REPLY_HEADERS - 10) return SL_ETOOBIG; /* the host's own need a place too */
    if (!to) to = &rq->headers[rq->n_headers++];
    *to = (sl_pair){ arena_copy(c->arena, name), arena_copy(c->arena, value) };
    return SL_OK;
}

static sl_err op_problem(call *c, int32_t status, sl_str code, sl_str detail)
{
    struct request *rq = c->context;
    rq->problem = true;
    rq->status = status >= 400 && status <= 599 ? status : 500;
    rq->code = code.n && code.n <= 64 ? arena_copy(c->arena, code) : SL("error");
    rq->detail = arena_copy(c->arena, str_sub(detail, 0, 2000));
    rq->errors = absent;
    return SL_EREPLIED;
}

const struct call_ops request_ops = { op_input, op_reply, op_header, op_write, op_problem };
