/* fetch_check.c - what may be sent where: methods, URLs and headers of outbound requests, and the rules of redirects.
 */
#include "net/fetch_op.h"
#include "observe/span.h"
#include <ctype.h>
#include <stdlib.h>

bool (*fetch_may_reach)(const call *c, sl_str host);

/* RFC 9110 5.6.2 */
static bool is_token(sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && (!s.p[i] || !strchr("!#$%&'*+-.^_`|~", s.p[i]))) return false;
    return s.n > 0;
}

/* RFC 9110 5.5: no control characters but the tab; so no CR, LF or NUL that would start another header. */
static bool is_field_value(sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f) return false;
    return true;
}

/* What frames the message or names its host is not the caller's to say. */
static bool is_reserved(sl_str name)
{
    static const char *const names[] = {
        "host",    "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
        "trailer", "expect",         "accept-encoding"
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_equal_nocase(name, sl_cstr(names[i]))) return true;
    return name.n > 6 && str_equal_nocase(str_sub(name, 0, 6), SL("proxy-"));
}

static bool refuse(struct op *op, const char *sentence)
{
    op_fail(op, SL_EINVAL, "protocol", "%s", sentence);
    return false;
}

static char *url_part(const struct op *op, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    return curl_url_get(op->url, part, &text, flags) == CURLUE_OK ? text : NULL;
}

/* Scheme and host of the URL that stands in op->url; NULL, or what is wrong with it. */
static const char *take_origin(struct op *op)
{
    char *scheme = url_part(op, CURLUPART_SCHEME, 0), *host = url_part(op, CURLUPART_HOST, 0);
    char *port = url_part(op, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    const char *wrong = NULL;
    op->https = scheme && strcmp(scheme, "https") == 0;
    if (!scheme || (!op->https && strcmp(scheme, "http") != 0))
        wrong = "only http and https URLs can be fetched";
    else if (!host || !host[0] || strlen(host) > 255 || !port)
        wrong = "the URL needs a host";
    else
        (void)snprintf(op->host, sizeof op->host, "%s:%s", host, port);
    for (char *p = op->host; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return wrong;
}

static bool granted(struct op *op)
{
    if (!fetch_may_reach || fetch_may_reach(op->call, sl_cstr(op->host))) return true;
    op_fail(op, SL_EDENIED, "blocked", "%s is not among the plugin's grants (net:HOST)", op->host);
    return false;
}

static bool set_url(struct op *op, sl_str url)
{
    if (url.n == 0 || url.n > URL_MAX) return refuse(op, "the URL is missing or longer than 8 KiB");
    for (size_t i = 0; i < url.n; i++)
        if ((unsigned char)url.p[i] <= ' ' || url.p[i] == 0x7f)
            return refuse(op, "the URL holds a blank or a control character");
    CURLUcode code = curl_url_set(op->url, CURLUPART_URL, arena_cstr(op->call->arena, url), CURLU_NON_SUPPORT_SCHEME);
    if (code) {
        op_fail(op, SL_EINVAL, "protocol", "the URL is malformed: %s", curl_url_strerror(code));
        return false;
    }
    const char *wrong = take_origin(op);
    return wrong ? refuse(op, wrong) : granted(op);
}

bool op_check_request(struct op *op)
{
    const sl_request *r = op->request;
    sl_str method = r->method.n ? r->method : SL("GET");
    if (!is_token(method) || method.n >= METHOD_MAX) return refuse(op, "the method must be a word such as GET");
    if (str_equal_nocase(method, SL("CONNECT")) || str_equal_nocase(method, SL("TRACE")))
        return refuse(op, "the methods CONNECT and TRACE are not allowed");
    memcpy(op->method, method.p, method.n);
    op->method[method.n] = 0;
    if (r->n_headers > HEADERS_MAX) return refuse(op, "more than 200 headers");
    for (uint64_t i = 0; i < r->n_headers; i++) {
        sl_str name = r->headers[i].name;
        if (!is_token(name) || name.n > 200)
            return refuse(op, "a header name must be a word of letters, digits and dashes");
        if (!is_field_value(r->headers[i].value) || r->headers[i].value.n > HEAD_MAX) {
            op_fail(op, SL_EINVAL, "protocol", "the value of header %.*s holds a control character or is too long",
                    STR_ARG(name));
            return false;
        }
        if (!is_reserved(name)) continue;
        op_fail(op, SL_EINVAL, "protocol", "the header %.*s is set by the host", STR_ARG(name));
        return false;
    }
    op->send_body = true;
    return set_url(op, r->url);
}

static bool bad_redirect(struct op *op, const char *sentence)
{
    op_fail(op, SL_EUPSTREAM, "redirect", "%s", sentence);
    return false;
}

/* Secrets travel in headers, bodies and the URL's user part: none of these goes to another host (RFC 9110 15.4, 17.6).
 */
bool op_follow(struct op *op, sl_str location)
{
    char from[sizeof op->host];
    bool was_https = op->https;
    if (op->redirects >= op->request->max_redirects) {
        op_fail(op, SL_EUPSTREAM, "redirect", "more than %u redirects", (unsigned)op->request->max_redirects);
        return false;
    }
    if (location.n == 0 || location.n > URL_MAX)
        return bad_redirect(op, "the redirect's location is empty or too long");
    memcpy(from, op->host, sizeof from);
    if (curl_url_set(op->url, CURLUPART_URL, location.p, CURLU_URLENCODE | CURLU_NON_SUPPORT_SCHEME))
        return bad_redirect(op, "the redirect's location is malformed");
    const char *wrong = take_origin(op);
    if (wrong) return bad_redirect(op, "the redirect leads to another scheme than http and https");
    if (was_https && !op->https) return bad_redirect(op, "the redirect leads from https to http");
    if (!granted(op)) return false;
    bool to_get = op->status == 303 || ((op->status == 301 || op->status == 302) && strcmp(op->method, "POST") == 0);
    if (to_get) {
        op->send_body = false;
        if (strcmp(op->method, "HEAD") != 0) memcpy(op->method, "GET", 4);
    }
    if (strcmp(from, op->host) != 0 || was_https != op->https) {
        op->foreign = true;
        (void)curl_url_set(op->url, CURLUPART_USER, NULL, 0);
        (void)curl_url_set(op->url, CURLUPART_PASSWORD, NULL, 0);
        if (op->send_body && op->request->body.n)
            return bad_redirect(op, "the redirect would send the body to another host");
    }
    op->redirects++;
    return true;
}

static bool add_line(struct op *op, const char *line)
{
    struct curl_slist *more = curl_slist_append(op->headers, line);
    if (more) op->headers = more;
    return more != NULL;
}

/* The trace goes on at the other side. */
static bool add_trace(struct op *op)
{
    char line[80], text[TRACEPARENT_TEXT];
    sl_str parent = trace_parent(&op->call->trace, text);
    if (!sl_given(parent)) return true;
    snprintf(line, sizeof line, "traceparent: %.*s", STR_ARG(parent));
    return add_line(op, line);
}

bool op_build_headers(struct op *op)
{
    const sl_request *r = op->request;
    bool typed = false, traced = false, ok = true;
    curl_slist_free_all(op->headers);
    op->headers = NULL;
    for (uint64_t i = 0; i < r->n_headers && !op->foreign && ok; i++) {
        sl_str name = r->headers[i].name, value = str_trim(r->headers[i].value);
        bool is_type = str_equal_nocase(name, SL("content-type"));
        if (is_type && !op->send_body) continue;
        typed = typed || is_type;
        traced = traced || str_equal_nocase(name, SL("traceparent"));
        buf line;
        buf_init(&line, name.n + value.n + 8);
        buf_add_str(&line, name);
        buf_add_cstr(&line, value.n ? ": " : ";"); /* curl's spelling of an empty value */
        buf_add_str(&line, value);
        buf_add_char(&line, 0);
        ok = add_line(op, line.p);
        explicit_bzero(line.p, line.n);
        buf_free(&line);
    }
    if (!traced) ok = ok && add_trace(op);
    if (!typed) ok = ok && add_line(op, "Content-Type:"); /* curl would say that the body is a form */
    return ok && add_line(op, "Expect:");
}

sl_str op_header(const struct op *op, const char *lower_name)
{
    const char *p = op->head.p;
    for (size_t i = 0; i < op->n_headers; i++) {
        const char *value = p + strlen(p) + 1;
        if (strcmp(p, lower_name) == 0) return sl_cstr(value);
        p = value + strlen(value) + 1;
    }
    return sl_lit(NULL, 0);
}
