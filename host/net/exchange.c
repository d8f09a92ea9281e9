/* exchange.c - answers: heads with their server-made fields, bodies whole or in pieces, and what happens when the
 * client leaves. */
#include "base/clock.h"
#include "base/log.h"
#include "net/conn.h"
#include "rest/status.h"
#include <stdlib.h>
#include <time.h>

/* "HTTP/1.1 200 OK", Server and Date: written anew when the second changes; other statuses take the fields behind the
 * line. */
static struct {
    char text[160];
    size_t n, line;
    uint64_t until; /* loop_now() */
} common;

static void refresh_common(void)
{
    int64_t us = clock_now();
    time_t t = (time_t)(us / 1000000);
    struct tm tm;
    char date[40];
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm)); /* the process keeps the C locale */
    common.line = sizeof "HTTP/1.1 200 OK\r\n" - 1;
    int n = snprintf(common.text, sizeof common.text, "HTTP/1.1 200 OK\r\n%s%s%sDate: %s\r\n",
                     srv.name[0] ? "Server: " : "", srv.name, srv.name[0] ? "\r\n" : "", date);
    common.n = (size_t)n;
    common.until = loop_now() + 1000 - (uint64_t)(us / 1000 % 1000);
}

static char *put(char *to, const void *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}
#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

static char *put_number(char *to, uint64_t v)
{
    char digits[24], *p = digits + sizeof digits;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    return put(to, p, (size_t)(digits + sizeof digits - p));
}

/* A field that would break the framing, or that is the server's business, is left out. */
static bool may_send(sl_pair h)
{
    for (size_t i = 0; i < h.name.n; i++) {
        unsigned char ch = (unsigned char)h.name.p[i];
        if (ch <= ' ' || ch >= 0x7f || ch == ':') return false;
    }
    for (size_t i = 0; i < h.value.n; i++) {
        unsigned char ch = (unsigned char)h.value.p[i];
        if ((ch < ' ' && ch != '\t') || ch == 0x7f) return false;
    }
    switch (h.name.n) {
    case 0:
        return false;
    case 4:
        return !str_equal_nocase(h.name, SL("date"));
    case 6:
        return !srv.name[0] || !str_equal_nocase(h.name, SL("server"));
    case 10:
        return !str_equal_nocase(h.name, SL("connection")) && !str_equal_nocase(h.name, SL("keep-alive"));
    case 14:
        return !str_equal_nocase(h.name, SL("content-length"));
    case 17:
        return !str_equal_nocase(h.name, SL("transfer-encoding"));
    default:
        return true;
    }
}

enum framing { BY_LENGTH, BY_CHUNKS, BY_CLOSE, NO_BODY };

/* The head of an answer, with room behind it for `length` bytes when the body follows in one piece. */
static bool put_head(struct conn *c, int status, const sl_pair *headers, size_t n, enum framing framing, size_t length,
                     bool keep)
{
    size_t need = sizeof common.text + 160;
    if (loop_now() >= common.until) refresh_common();
    for (size_t i = 0; i < n; i++) {
        if (headers[i].name.n > OUT_MAX || headers[i].value.n > OUT_MAX) return false;
        need += headers[i].name.n + headers[i].value.n + 4;
    }
    spare_take(&c->out, OUT_MAX);
    char *start = length > OUT_MAX ? NULL : buf_reserve(&c->out, need + length), *p = start;
    if (!p) return false;
    if (status == 200) {
        p = put(p, common.text, common.n);
    } else {
        const char *why = status_phrase(status);
        p = PUT(p, "HTTP/1.1 ");
        p = put_number(p, (uint64_t)status);
        *p++ = ' ';
        p = put(p, why, strlen(why));
        p = PUT(p, "\r\n");
        p = put(p, common.text + common.line, common.n - common.line);
    }
    for (size_t i = 0; i < n; i++) {
        if (!may_send(headers[i])) continue;
        p = put(p, headers[i].name.p, headers[i].name.n);
        p = PUT(p, ": ");
        if (headers[i].value.n) p = put(p, headers[i].value.p, headers[i].value.n);
        p = PUT(p, "\r\n");
    }
    if (framing == BY_LENGTH) {
        p = PUT(p, "Content-Length: ");
        p = put_number(p, length);
        p = PUT(p, "\r\n");
    } else if (framing == BY_CHUNKS) {
        p = PUT(p, "Transfer-Encoding: chunked\r\n");
    }
    if (!keep)
        p = PUT(p, "Connection: close\r\n");
    else if (c->parser.http_minor == 0)
        p = PUT(p, "Connection: keep-alive\r\n");
    p = PUT(p, "\r\n");
    c->out.n += (size_t)(p - start);
    return true;
}

static bool without_body(int status) { return status == 204 || status == 304 || status < 200; }

/* May the connection go on after this answer? In on_head only when the body is at hand, later only when it was read. */
static bool keeps(const struct conn *c)
{
    return c->keep && !srv.draining && (c->phase == CONN_ANSWER || (c->phase == CONN_HEAD && c->early_ok));
}

/* The answer is in `out`: forget the exchange and let the connection go on or end. */
static void answered(struct conn *c, bool keep)
{
    request_release(c->r);
    c->r = NULL;
    if (!keep) {
        /* Closing on unread bytes would reset the connection under the answer. */
        c->linger = c->phase != CONN_ANSWER || (c->busy ? c->scan != c->end : c->in.n > 0);
        conn_phase(c, CONN_FLUSH, 0);
    } else if (c->phase == CONN_HEAD) {
        conn_phase(c, CONN_SKIP, srv.cfg.body_ms);
    } else {
        conn_phase(c, CONN_IDLE, srv.cfg.idle_ms);
    }
    conn_touch(c);
}

/* The answer cannot be finished properly: the client must not take it for whole. */
static void cut(struct conn *c, const char *what)
{
    log_error(what, LOG_S("remote", c->peer));
    request_release(c->r);
    c->r = NULL;
    conn_close(c);
}

void exchange_reply(exchange *x, int status, const sl_pair *headers, size_t n, sl_str body)
{
    struct request *r = (struct request *)x;
    struct conn *c = r->conn;
    if (!c) {
        request_release(r);
        return;
    }
    if (r->started) {
        cut(c, "exchange_reply after exchange_start");
        return;
    }
    bool keep = keeps(c), none = without_body(status), head_only = c->parser.method == HTTP_HEAD;
    if (!put_head(c, status, headers, n, none ? NO_BODY : BY_LENGTH, none ? 0 : body.n, keep)) {
        cut(c, "an answer is too large to be sent in one piece");
        return;
    }
    if (!none && !head_only) buf_add(&c->out, body.p, body.n);
    answered(c, keep);
}

void exchange_start(exchange *x, int status, const sl_pair *headers, size_t n)
{
    struct request *r = (struct request *)x;
    struct conn *c = r->conn;
    if (!c || r->started) return;
    bool none = without_body(status);
    r->started = true;
    r->bodiless = none || c->parser.method == HTTP_HEAD;
    r->chunked = !none && c->parser.http_minor == 1;
    c->keep = keeps(c) && (none || r->chunked);
    if (!put_head(c, status, headers, n, none ? NO_BODY : r->chunked ? BY_CHUNKS : BY_CLOSE, 0, c->keep))
        c->out.overflow = true;
    conn_touch(c);
}

size_t exchange_write(exchange *x, sl_str piece)
{
    struct request *r = (struct request *)x;
    struct conn *c = r->conn;
    if (!c || !r->started) return 0;
    if (piece.n && !r->bodiless) {
        char size[20];
        spare_take(&c->out, OUT_MAX);
        if (r->chunked) buf_add(&c->out, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", piece.n));
        buf_add_str(&c->out, piece);
        if (r->chunked) buf_add(&c->out, "\r\n", 2);
        conn_touch(c);
    }
    return conn_unsent(c);
}

static void stop_waiting(void *op)
{
    struct waiter *w = op;
    if (w->r) w->r->waiter = NULL;
    w->r = NULL;
}

sl_err exchange_wait(exchange *x, call *c)
{
    struct request *r = (struct request *)x;
    if (!r->conn) return SL_ECANCEL;
    if (r->waiter) return SL_ESTATE;
    if (conn_unsent(r->conn) < OUT_HIGH) return call_check(c);
    struct waiter w = { r, c };
    r->waiter = &w;
    return call_wait(c, stop_waiting, &w); /* x may be gone when this returns SL_ECANCEL: w is not in it */
}

void exchange_end(exchange *x)
{
    struct request *r = (struct request *)x;
    struct conn *c = r->conn;
    if (!c) {
        request_release(r);
        return;
    }
    if (!r->started) {
        request_release(r);
        c->r = NULL;
        conn_refuse(c, 500, "internal", "The request was not answered.");
        return;
    }
    if (r->chunked && !r->bodiless) {
        spare_take(&c->out, OUT_MAX);
        buf_add(&c->out, "0\r\n\r\n", 5);
    }
    answered(c, keeps(c));
}

void exchange_abort(exchange *x)
{
    struct request *r = (struct request *)x;
    struct conn *c = r->conn;
    if (c && !r->started) {
        exchange_end(x);
        return;
    }
    request_release(r);
    if (!c) return;
    c->r = NULL;
    c->linger = false;
    conn_phase(c, CONN_FLUSH, 0); /* what was written so far goes out, the last chunk does not */
    conn_touch(c);
}

void conn_refuse(struct conn *c, int status, const char *code, const char *detail)
{
    static const sl_pair type[] = { { { "Content-Type", 12 }, { "application/problem+json", 24 } } };
    bool head_only = c->phase >= (c->r && c->r->head_done ? CONN_HEAD : CONN_BODY) && c->parser.method == HTTP_HEAD;
    buf body;
    if (status == 400) srv.stats.parse_errors++;
    log_debug("request refused", LOG_I("status", status), LOG_C("code", code), LOG_C("detail", detail),
              LOG_S("remote", c->peer));
    buf_init(&body, OUT_HIGH);
    srv.hooks.on_refused(c->r && c->r->claimed ? &c->r->pub : NULL, status, code, detail ? detail : "", &body);
    if (c->r) request_gone(c);
    if (put_head(c, status, type, 1, BY_LENGTH, body.n, false) && !head_only) buf_add_str(&c->out, buf_str(&body));
    buf_free(&body);
    c->linger = true;
    conn_phase(c, CONN_FLUSH, 0);
    conn_touch(c);
}

sl_str exchange_header(const exchange *x, const char *lower_name)
{
    sl_str name = sl_cstr(lower_name);
    for (size_t i = 0; i < x->n_headers; i++)
        if (sl_same(x->headers[i].name, name)) return x->headers[i].value;
    return sl_lit(NULL, 0);
}
