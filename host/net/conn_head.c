/* conn_head.c - a complete request head: what is ambiguous is refused, repeated fields are joined, proxies are believed
 * or not. */
#include "net/conn.h"

static bool no(struct refusal *why, int status, const char *code, const char *detail)
{
    *why = (struct refusal){ status, code, detail };
    return false;
}

static bool bad(struct refusal *why, const char *detail) { return no(why, 400, "malformed_request", detail); }

static sl_str trim_end(sl_str s)
{
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Fields of which there can be only one: a second one means that somebody on the way may believe the other. */
static bool is_single(sl_str name)
{
    switch (name.n) {
    case 4:
        return sl_is(name, "host");
    case 6:
        return sl_is(name, "expect");
    case 12:
        return sl_is(name, "content-type");
    case 13:
        return sl_is(name, "authorization");
    case 14:
        return sl_is(name, "content-length");
    case 17:
        return sl_is(name, "transfer-encoding");
    default:
        return false;
    }
}

/* Repeated fields become one, in the place of the first (RFC 9110 5.3; cookies by RFC 9113 8.2.3). Blanks at the end of
 * values go. */
static bool join_repeated(struct request *r, struct refusal *why)
{
    uint64_t seen = 0; /* names are compared only where this little hash says that one may repeat */
    size_t kept = 0;
    for (size_t i = 0; i < r->n_pairs; i++) {
        sl_pair h = r->pairs[i], *same = NULL;
        h.value = trim_end(h.value);
        if (!h.name.n) return bad(why, "A header field has no name.");
        unsigned mix = (unsigned)h.name.n * 7u + (unsigned char)h.name.p[0] * 31u +
                       (unsigned char)h.name.p[h.name.n - 1];
        uint64_t bit = (uint64_t)1 << (mix & 63);
        for (size_t k = 0; (seen & bit) && k < kept && !same; k++)
            if (sl_same(r->pairs[k].name, h.name)) same = &r->pairs[k];
        seen |= bit;
        if (!same) {
            r->pairs[kept++] = h;
            continue;
        }
        if (is_single(h.name)) return bad(why, "A header field that may come only once is repeated.");
        char *p = arena_alloc(r->pub.arena, same->value.n + 2 + h.value.n);
        memcpy(p, same->value.p, same->value.n);
        memcpy(p + same->value.n, sl_is(h.name, "cookie") ? "; " : ", ", 2);
        memcpy(p + same->value.n + 2, h.value.p, h.value.n);
        same->value = sl_lit(p, same->value.n + 2 + h.value.n);
    }
    r->n_pairs = kept;
    return true;
}

static bool host_ok(sl_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        if (ch <= ' ' || ch >= 0x7f || strchr("/?#@\\<>\"^`{|},", ch)) return false;
    }
    return true;
}

/* Origin form only ("*" for OPTIONS): RFC 9112 3.2. Percent signs are left to the router. */
static bool target_ok(const struct conn *c, sl_str t, struct refusal *why)
{
    if (sl_is(t, "*") && c->parser.method == HTTP_OPTIONS) return true;
    if (!t.n || t.p[0] != '/') return bad(why, "The request target must be a path.");
    bool in_query = false;
    for (size_t i = 0; i < t.n; i++) {
        unsigned char ch = (unsigned char)t.p[i];
        if (ch == '?') in_query = true;
        if (ch <= ' ' || ch >= 0x7f || ch == '#' || ch == '"' || ch == '<' || ch == '>' || (ch == '\\' && !in_query))
            return bad(why, "The request target holds a character that must be percent-encoded.");
    }
    return true;
}

/* How the body is delimited must have one reading only (RFC 9112 6.3). */
static bool framing_ok(const struct conn *c, sl_str length, sl_str coding, struct refusal *why)
{
    if (sl_given(coding)) {
        if (sl_given(length)) return bad(why, "Content-Length and Transfer-Encoding cannot be used together.");
        if (c->parser.http_minor == 0) return bad(why, "HTTP/1.0 has no Transfer-Encoding.");
        if (str_equal_nocase(coding, SL("chunked"))) return true;
        if (c->parser.flags & F_CHUNKED)
            return no(why, 501, "coding_not_supported", "chunked is the only transfer coding known here.");
        return bad(why, "The last transfer coding of a request must be chunked.");
    }
    if (!sl_given(length)) return true;
    if (!length.n || length.n > 19) return bad(why, "Content-Length is not a number.");
    for (size_t i = 0; i < length.n; i++)
        if (length.p[i] < '0' || length.p[i] > '9') return bad(why, "Content-Length is not a number.");
    return true;
}

/* Last part of a comma list; the rest stays in *list. */
static bool last_part(sl_str *list, sl_str *part)
{
    if (!list->p) return false;
    const char *comma = memrchr(list->p, ',', list->n);
    if (comma) {
        *part = str_trim(sl_lit(comma + 1, (size_t)(list->p + list->n - comma - 1)));
        list->n = (size_t)(comma - list->p);
    } else {
        *part = str_trim(*list);
        list->p = NULL;
    }
    return true;
}

/* "1.2.3.4", "1.2.3.4:80", "::1", "[::1]", "[::1]:80" */
static bool hop_parse(sl_str s, struct ip *ip)
{
    if (s.n && s.p[0] == '[') {
        const char *end = memchr(s.p, ']', s.n);
        return end && ip_parse(sl_lit(s.p + 1, (size_t)(end - s.p - 1)), ip);
    }
    if (ip_parse(s, ip)) return true;
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    return colon && ip_parse(sl_lit(s.p, (size_t)(colon - s.p)), ip);
}

/* The peer is a trusted proxy: walk its chain from the right up to the first hop that is not one. */
static void believe_proxy(struct request *r)
{
    exchange *x = &r->pub;
    sl_str chain = exchange_header(x, "x-forwarded-for"), hop, part;
    struct ip ip, client;
    bool found = false, trusted = true;
    while (trusted && last_part(&chain, &hop) && hop_parse(hop, &ip)) {
        client = ip;
        found = true;
        trusted = false;
        for (size_t i = 0; i < srv.n_proxies && !trusted; i++)
            trusted = cidr_has(&srv.proxies[i], &ip);
    }
    if (found) {
        char text[64];
        x->remote = arena_copy(x->arena, sl_lit(text, ip_format(&client, text)));
    }
    sl_str proto = exchange_header(x, "x-forwarded-proto"), host = exchange_header(x, "x-forwarded-host");
    if (last_part(&proto, &part)) {
        if (str_equal_nocase(part, SL("https")))
            x->scheme = SL("https");
        else if (str_equal_nocase(part, SL("http")))
            x->scheme = SL("http");
    }
    if (last_part(&host, &part) && part.n && host_ok(part)) x->host = part;
}

static bool expectation_ok(struct conn *c, struct request *r, sl_str expect, struct refusal *why)
{
    if (!sl_given(expect) || c->parser.http_minor == 0) return true;
    if (!str_equal_nocase(expect, SL("100-continue")))
        return no(why, 417, "expectation_failed", "The only expectation known here is 100-continue.");
    r->expects = true;
    return true;
}

bool head_check(struct conn *c, struct request *r, struct refusal *why)
{
    exchange *x = &r->pub;
    const llhttp_t *p = &c->parser;
    if (p->http_major != 1 || p->http_minor > 1)
        return no(why, 505, "version_not_supported", "This server speaks HTTP/1.1 and HTTP/1.0.");
    if (p->method == HTTP_CONNECT || p->method >= HTTP_SOURCE)
        return no(why, 501, "method_unknown", "The request method is not known here.");
    x->method = sl_cstr(llhttp_method_name(p->method));
    x->target.p = r->head;
    if (!target_ok(c, x->target, why)) return false;
    const char *mark = memchr(x->target.p, '?', x->target.n);
    x->path = mark ? sl_lit(x->target.p, (size_t)(mark - x->target.p)) : x->target;
    x->query = mark ? sl_lit(mark + 1, x->target.n - x->path.n - 1) : sl_lit(NULL, 0);
    if (!join_repeated(r, why)) return false;
    x->headers = r->pairs;
    x->n_headers = r->n_pairs;

    sl_str host = { 0 }, length = { 0 }, coding = { 0 }, expect = { 0 };
    for (size_t i = 0; i < r->n_pairs; i++) {
        sl_str name = r->pairs[i].name, value = r->pairs[i].value;
        if (name.n == 4 && sl_is(name, "host"))
            host = value;
        else if (name.n == 6 && sl_is(name, "expect"))
            expect = value;
        else if (name.n == 14 && sl_is(name, "content-length"))
            length = value;
        else if (name.n == 17 && sl_is(name, "transfer-encoding"))
            coding = value;
    }
    if (!sl_given(host) && p->http_minor == 1) return bad(why, "HTTP/1.1 needs a Host field.");
    if (!host_ok(host)) return bad(why, "The Host field is malformed.");
    if (!framing_ok(c, length, coding, why)) return false;
    x->host = sl_given(host) ? host : SL("");
    x->scheme = c->ssl ? SL("https") : SL("http");
    x->remote = arena_copy(x->arena, c->peer); /* the exchange may outlive its connection */
    if (c->trusted) believe_proxy(r);
    return expectation_ok(c, r, expect, why);
}
