/* conn_parse.c - from bytes to exchanges: llhttp's callbacks, the limits of head and body, early answers. */
#include "net/conn.h"
#include <stdlib.h>

static int refuse(struct conn *c, int status, const char *code, const char *detail)
{
    conn_refuse(c, status, code, detail);
    return HPE_USER;
}

/* The lines of a head or of trailers, apart from llhttp: it lets continued lines pass (obs-fold, RFC 9112 5.2) and line
 * feeds without CR in some places, about which proxies disagree. Looks at [scan, end) and stops behind the empty line.
 */
static bool scan_lines(struct conn *c)
{
    const char *p = c->scan;
    while (p < c->end) {
        if (c->half_end || (c->line_start && *p == '\r')) { /* the read may have ended between CR and LF */
            p += c->half_end || c->end - p == 1 ? 1 : 2;
            c->half_end = !c->half_end && p == c->end && p[-1] == '\r';
            break;
        }
        if (c->line_start && (*p == ' ' || *p == '\t' || *p == '\n' || *p == ':')) return false;
        const char *lf = memchr(p, '\n', (size_t)(c->end - p));
        c->line_start = lf != NULL;
        if (lf && (lf > c->base ? lf[-1] : c->last) != '\r') return false;
        p = lf ? lf + 1 : c->end;
    }
    c->scan = p;
    return true;
}

static int refuse_line(struct conn *c)
{
    return refuse(c, 400, "malformed_request",
                  "A header field is folded, without a name, or ends in a bare line feed.");
}

static int on_begin(llhttp_t *p)
{
    struct conn *c = p->data;
    c->r = request_take(c);
    if (!c->slice) c->slice = c->r->pub.started;
    c->scan = NULL;
    c->line_start = c->half_end = c->in_trailers = false;
    c->head_bytes = 0;
    conn_phase(c, CONN_HEAD, srv.cfg.header_ms);
    return 0;
}

/* Room for n more bytes of the head; what points into it moves along. */
static char *head_room(struct request *r, size_t n)
{
    if (n > r->head_room - r->head_n) {
        size_t room = r->head_room;
        while (room - r->head_n < n)
            room *= 2; /* n and head_n are bounded by the header limit and one read */
        char *old = r->head, *p = malloc(room);
        if (!p) abort();
        memcpy(p, old, r->head_n);
        for (size_t i = 0; i < r->n_pairs; i++) {
            r->pairs[i].name.p = p + (r->pairs[i].name.p - old);
            r->pairs[i].value.p = p + (r->pairs[i].value.p - old);
        }
        free(old);
        r->head = p;
        r->head_room = room;
    }
    return r->head + r->head_n;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    struct request *r = c->r;
    if (!r->head_n) c->scan = at;
    if (r->pub.target.n + n > TARGET_MAX || r->pub.target.n + n > srv.cfg.max_header_bytes)
        return refuse(c, 414, "uri_too_long", "The request target is too long.");
    memcpy(head_room(r, n), at, n);
    r->head_n += n;
    r->pub.target.n += n; /* its address follows when the head is complete */
    return 0;
}

/* Trailers and chunk extensions are read over, within the limit of a head. */
static int skip_extra(struct conn *c, size_t n)
{
    c->r->extra += n + 1;
    if (c->r->extra <= srv.cfg.max_header_bytes) return 0;
    return refuse(c, 431, "headers_too_large", "The trailers or chunk extensions are too large.");
}

static int on_extension(llhttp_t *p, const char *at, size_t n)
{
    (void)at;
    return skip_extra(p->data, n);
}

static bool head_fits(struct conn *c, size_t n)
{
    return c->r->head_n + 4 * c->r->n_pairs + n <= srv.cfg.max_header_bytes;
}

static int refuse_head(struct conn *c)
{
    return refuse(c, 431, "headers_too_large", "The request's header fields are too large.");
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    struct request *r = c->r;
    if (r->head_done) return skip_extra(c, n);
    if (!head_fits(c, n)) return refuse_head(c);
    char *to = head_room(r, n);
    if (r->in_value || !r->n_pairs) {
        if (r->n_pairs == srv.cfg.max_headers)
            return refuse(c, 431, "too_many_headers", "The request has too many header fields.");
        if (r->n_pairs == r->pairs_room) {
            r->pairs_room *= 2;
            r->pairs = realloc(r->pairs, r->pairs_room * sizeof *r->pairs);
            if (!r->pairs) abort();
        }
        r->pairs[r->n_pairs++] = (sl_pair){ { to, 0 }, { to, 0 } };
        r->in_value = false;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)at[i];
        to[i] = (char)(ch | ((unsigned char)(ch - 'A') < 26 ? 0x20 : 0));
    }
    r->head_n += n;
    r->pairs[r->n_pairs - 1].name.n += n;
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    struct request *r = c->r;
    if (r->head_done) return skip_extra(c, n);
    if (!head_fits(c, n)) return refuse_head(c);
    char *to = head_room(r, n);
    sl_pair *h = &r->pairs[r->n_pairs - 1];
    if (!r->in_value) h->value.p = to;
    r->in_value = true;
    memcpy(to, at, n);
    r->head_n += n;
    h->value.n += n;
    return 0;
}

/* Hand the head over. What comes after depends on whether it was answered at once. */
static int announce(struct conn *c, struct request *r, bool has_body, uint64_t length)
{
    bool chunked = (c->parser.flags & F_CHUNKED) != 0;
    c->early_ok = !has_body || (!chunked && length <= (uint64_t)(c->end - c->scan));
    r->claimed = true;
    srv.stats.requests++;
    srv.hooks.on_head(&r->pub);
    if (c->r == r && r->pub.sensitive) c->sensitive = true;
    if (!c->r) return c->phase == CONN_SKIP ? 0 : HPE_USER; /* answered (or the server was closed) */
    if (!chunked && length > r->pub.max_body)
        return refuse(c, 413, "body_too_large", "The request's body is too large.");
    r->body.max = r->pub.max_body;
    if (!has_body) {
        conn_phase(c, CONN_ANSWER, 0);
        return 0;
    }
    conn_phase(c, CONN_BODY, srv.cfg.body_ms);
    c->body_since = loop_now();
    c->body_bytes = 0;
    spare_take(&c->out, OUT_MAX);
    if (r->expects) buf_add_cstr(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    return 0;
}

static int on_head_done(llhttp_t *p)
{
    struct conn *c = p->data;
    struct request *r = c->r;
    struct refusal why;
    if (!scan_lines(c)) return refuse_line(c);
    r->head_done = true;
    if (!head_fits(c, 0)) return refuse_head(c);
    if (!head_check(c, r, &why)) return refuse(c, why.status, why.code, why.detail);
    p->upgrade = 0; /* offers to change the protocol are passed over, as RFC 9110 7.8 allows */
    c->keep = llhttp_should_keep_alive(p) && !srv.draining;
    bool has_body = (p->flags & F_CHUNKED) || p->content_length > 0;
    return announce(c, r, has_body, p->content_length);
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    if (c->phase == CONN_SKIP) return 0;
    c->body_bytes += n;
    buf_add(&c->r->body, at, n);
    return c->r->body.overflow ? refuse(c, 413, "body_too_large", "The request's body is too large.") : 0;
}

/* Before the last chunk's line feed pair come the trailers: a short stop tells where they begin. */
static int on_chunk(llhttp_t *p)
{
    struct conn *c = p->data;
    if (p->content_length) return 0;
    c->at_trailers = true;
    return HPE_PAUSED;
}

static bool free_for_another(const struct conn *c) { return c->phase == CONN_IDLE && conn_unsent(c) < OUT_HIGH; }

static int on_done(llhttp_t *p)
{
    struct conn *c = p->data;
    if (c->in_trailers && !scan_lines(c)) return refuse_line(c);
    c->in_trailers = false;
    if (c->phase == CONN_SKIP) {
        conn_phase(c, CONN_IDLE, srv.cfg.idle_ms);
    } else {
        conn_phase(c, CONN_ANSWER, 0);
        c->r->pub.body = buf_str(&c->r->body);
        srv.hooks.on_request(&c->r->pub);
    }
    /* The next request waits while this one is pending, while the client does not read its answers, and when others
     * should come first. */
    return free_for_another(c) && !conn_spent(c) ? 0 : HPE_PAUSED;
}

void parse_setup(llhttp_settings_t *s)
{
    llhttp_settings_init(s);
    s->on_message_begin = on_begin;
    s->on_url = on_url;
    s->on_header_field = on_field;
    s->on_header_value = on_value;
    s->on_headers_complete = on_head_done;
    s->on_body = on_body;
    s->on_chunk_header = on_chunk;
    s->on_message_complete = on_done;
    s->on_chunk_extension_name = s->on_chunk_extension_value = on_extension;
}

static void refuse_syntax(struct conn *c, llhttp_errno_t e)
{
    const char *at = llhttp_get_error_pos(&c->parser);
    switch (e) {
    case HPE_INVALID_METHOD:
        if (at && at >= c->base && at < c->end && *at >= 'A' && *at <= 'Z') {
            conn_refuse(c, 501, "method_unknown", "The request method is not known here.");
            return;
        }
        break;
    case HPE_INVALID_VERSION:
        if (c->parser.http_major == 1 && c->parser.http_minor <= 1)
            break; /* a right version with something odd behind it */
        /* fall through */
    case HPE_PAUSED_H2_UPGRADE:
        conn_refuse(c, 505, "version_not_supported", "This server speaks HTTP/1.1 and HTTP/1.0.");
        return;
    default:
        break;
    }
    conn_refuse(c, 400, "malformed_request", llhttp_get_error_reason(&c->parser));
}

/* llhttp over [base, end), going on behind the stop at trailers. */
static llhttp_errno_t execute(struct conn *c)
{
    const char *p = c->base;
    for (;;) {
        llhttp_errno_t e = llhttp_execute(&c->parser, p, (size_t)(c->end - p));
        if (e != HPE_PAUSED || !c->at_trailers) return e;
        c->at_trailers = c->half_end = false;
        c->in_trailers = c->line_start = true;
        p = c->scan = llhttp_get_error_pos(&c->parser);
        llhttp_resume(&c->parser);
    }
}

size_t conn_parse(struct conn *c, const char *p, size_t n)
{
    c->base = c->scan = p;
    c->end = p + n;
    if (c->paused) llhttp_resume(&c->parser);
    c->paused = false;
    llhttp_errno_t e = execute(c);
    if (c->phase >= CONN_FLUSH) return n; /* nothing more is wanted */
    if (e == HPE_PAUSED) {
        size_t used = (size_t)(llhttp_get_error_pos(&c->parser) - p);
        c->paused = true;
        if (used < n && free_for_another(c)) conn_put_off(c);
        return used;
    }
    if (e != HPE_OK) {
        refuse_syntax(c, e);
        return n;
    }
    /* Blanks before a value reach no callback: count what came, whatever it was. */
    bool in_lines = (c->phase == CONN_HEAD && c->r->head_n) || c->in_trailers;
    if (c->phase == CONN_HEAD && (c->head_bytes += n) > srv.cfg.max_header_bytes + READ_SIZE)
        refuse_head(c);
    else if (in_lines && !scan_lines(c))
        refuse_line(c);
    c->last = p[n - 1];
    return n;
}
