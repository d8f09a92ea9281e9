/* outgoing.c - from a source and a payload to a request on the wire; {{secret:NAME}} is replaced at the last moment. */
#include "jsontext.h"
#include "oracle.h"
#include <strings.h>

enum { URL_ON_THE_WIRE_MAX = 8192, OUT_MAX = 1 << 20 };
static const char OPEN[] = "{{secret:";
enum { OPEN_N = sizeof OPEN - 1, NAME_MAX_BYTES = 128 };

/* How a value goes into its place. */
enum place { IN_URL, IN_HEADER, IN_BODY };

static int name_char(char ch, int first)
{
    return (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') ||
           (!first && (ch == '.' || ch == '_' || ch == '-'));
}

/* The next reference at or behind *at: its name, and in *end the place behind it. 0 = none; -1 = malformed. */
static int next_reference(sl_str s, size_t *at, sl_str *name, size_t *end)
{
    const char *p = *at < s.n ? memmem(s.p + *at, s.n - *at, OPEN, OPEN_N) : NULL;
    if (!p) return 0;
    *at = (size_t)(p - s.p);
    size_t from = *at + OPEN_N, i = from;
    while (i < s.n && name_char(s.p[i], i == from))
        i++;
    if (i == from || i - from > NAME_MAX_BYTES || i + 2 > s.n || memcmp(s.p + i, "}}", 2) != 0) return -1;
    *name = sl_lit(s.p + from, i - from);
    *end = i + 2;
    return 1;
}

const char *template_check(sl_str text)
{
    size_t at = 0, end = 0;
    sl_str name;
    int found;
    while ((found = next_reference(text, &at, &name, &end)) > 0)
        at = end;
    return found < 0 ? "A secret is referred to as {{secret:NAME}}." : NULL;
}

struct names {
    sl_str name[SECRETS_MAX], value[SECRETS_MAX];
    size_t n;
};

static int collect(struct names *names, sl_str text)
{
    size_t at = 0, end = 0;
    sl_str name;
    for (; next_reference(text, &at, &name, &end) > 0; at = end) {
        size_t k = 0;
        while (k < names->n && !sl_same(names->name[k], name))
            k++;
        if (k < names->n) continue;
        if (names->n == SECRETS_MAX) return 0;
        names->name[names->n++] = name;
    }
    return 1;
}

/* The problem that secrets.resolve answered, as the attempt's end. */
static int refused(sl_call *c, const sl_msg *m, struct attempt *a)
{
    sl_str detail = sl_json_at(c, m->body, "/detail");
    if (!sl_given(detail)) detail = SL("The secrets of the source cannot be resolved.");
    if (m->status == 404)
        attempt_fail(a, ATTEMPT_FAILED, "secret_not_found", "error", detail);
    else if (m->status == 403)
        attempt_fail(a, ATTEMPT_FAILED, "secret_denied", "forbidden", detail);
    else if (m->status == 410)
        attempt_fail(a, ATTEMPT_FAILED, "secret_destroyed", "error", detail);
    else
        attempt_fail(a, ATTEMPT_RETRY, "secret_unavailable", "error", detail);
    a->error_class = SL("secret");
    return 0;
}

static int resolve(sl_call *c, sl_str account, struct names *names, struct attempt *a)
{
    const sl_msg *m = NULL;
    sl_json j = sl_json_start(c);
    if (names->n == 0) return 1;
    sl_json_open(&j, NULL, '{');
    sl_json_text(&j, "account_id", account);
    sl_json_open(&j, "names", '[');
    for (size_t i = 0; i < names->n; i++)
        sl_json_text(&j, NULL, names->name[i]);
    sl_json_close(&j, ']');
    sl_json_close(&j, '}');
    sl_err e = sl_ask(c, "secrets.resolve", sl_json_end(&j), &m);
    if (e || !m) {
        attempt_fail(a, ATTEMPT_RETRY, "secret_unavailable", "error", SL("The secrets service cannot be reached."));
        a->error_class = SL("secret");
        return 0;
    }
    if (m->status != 200) return refused(c, m, a);
    for (size_t i = 0; i < names->n; i++) { /* names hold nothing that a JSON pointer would need escaped */
        sl_str at = sl_format(c, "/values/%.*s", (int)names->name[i].n, names->name[i].p);
        names->value[i] = at.p ? sl_json_at(c, m->body, at.p) : at;
        if (!sl_given(names->value[i])) names->value[i] = SL("");
    }
    return 1;
}

/* Text that grows in the call's arena. */
struct text {
    sl_call *c;
    char *p;
    size_t n, room;
    int failed;
};

static void put(struct text *t, const char *p, size_t n)
{
    if (t->failed || n > OUT_MAX - t->n) {
        t->failed = 1;
        return;
    }
    if (n > t->room - t->n) {
        size_t room = t->room ? t->room : 256;
        while (room - t->n < n)
            room *= 2;
        char *bigger = sl_alloc(t->c, room);
        if (!bigger) {
            t->failed = 1;
            return;
        }
        if (t->n) memcpy(bigger, t->p, t->n);
        t->p = bigger;
        t->room = room;
    }
    if (n) memcpy(t->p + t->n, p, n);
    t->n += n;
}

static void put_encoded(struct text *t, sl_str s) /* RFC 3986: all but unreserved characters */
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        char escape[4];
        if (name_char((char)ch, 0) || ch == '~') {
            put(t, s.p + i, 1);
            continue;
        }
        (void)snprintf(escape, sizeof escape, "%%%02X", ch);
        put(t, escape, 3);
    }
}

static const sl_str *value_of(const struct names *names, sl_str name)
{
    for (size_t i = 0; i < names->n; i++)
        if (sl_same(names->name[i], name)) return &names->value[i];
    return NULL;
}

static void expand(struct text *t, const struct names *names, sl_str text, enum place place)
{
    size_t at = 0, from = 0, end = 0;
    sl_str name;
    for (; next_reference(text, &at, &name, &end) > 0; at = from = end) {
        const sl_str *value = value_of(names, name);
        put(t, text.p + from, at - from);
        if (!value) continue;
        if (place == IN_URL)
            put_encoded(t, *value);
        else
            put(t, value->p, value->n);
    }
    put(t, text.p + from, text.n - from);
}

static sl_str done(const struct text *t) { return t->failed ? sl_lit(NULL, 0) : sl_lit(t->p ? t->p : "", t->n); }

static void put_value(struct text *t, const json_t *v)
{
    char number[32];
    if (json_is_string(v))
        put_encoded(t, sl_lit(json_string_value(v), json_string_length(v)));
    else if (json_is_integer(v))
        put(t, number, (size_t)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v)));
    else if (json_is_real(v))
        put_encoded(t, sl_lit(number, json_text_number(json_real_value(v), number)));
    else if (json_is_boolean(v))
        put(t, json_is_true(v) ? "true" : "false", json_is_true(v) ? 4 : 5);
    else if (!json_is_null(v)) {
        char *json = json_dumps(v, JSON_COMPACT);
        put_encoded(t, sl_cstr(json));
        free(json);
    }
}

/* An object's members as query parameters, any other payload as `payload=...`; before the fragment. */
static sl_str with_query(sl_call *c, sl_str url, sl_str payload)
{
    const char *wrong, *name, *hash = memchr(url.p, '#', url.n);
    size_t head = hash ? (size_t)(hash - url.p) : url.n;
    char mark = memchr(url.p, '?', head) ? '&' : '?';
    struct text t = { .c = c };
    json_t *object = json_text_read_exact(payload, &wrong), *v;
    put(&t, url.p, head);
    if (json_is_object(object)) {
        json_object_foreach(object, name, v)
        {
            put(&t, &mark, 1);
            put_encoded(&t, sl_cstr(name));
            put(&t, "=", 1);
            put_value(&t, v);
            mark = '&';
        }
    } else {
        put(&t, &mark, 1);
        put(&t, "payload=", 8);
        put_encoded(&t, payload);
    }
    json_decref(object);
    put(&t, url.p + head, url.n - head);
    return done(&t);
}

static int add_header(sl_call *c, struct outgoing *out, const struct names *names, const char *name, sl_str value,
                      struct attempt *a)
{
    struct text t = { .c = c };
    if (out->n_headers == HEADERS_MAX) return 1; /* the schema allows fewer */
    expand(&t, names, value, IN_HEADER);
    sl_str expanded = done(&t);
    if (!sl_given(expanded)) {
        attempt_fail(a, ATTEMPT_FAILED, "request_too_large", "error",
                     sl_format(c, "Header %s with its secrets is larger than 1 MiB.", name));
        return 0;
    }
    for (size_t i = 0; i < expanded.n; i++)
        if (((unsigned char)expanded.p[i] < ' ' && expanded.p[i] != '\t') || expanded.p[i] == 0x7f) {
            attempt_fail(a, ATTEMPT_FAILED, "secret_unfit", "error",
                         sl_format(c, "A secret in header %s holds control characters.", name));
            return 0;
        }
    out->headers[out->n_headers].name = sl_format(c, "%s", name);
    out->headers[out->n_headers++].value = expanded;
    return 1;
}

static int add_headers(sl_call *c, struct outgoing *out, const struct names *names, sl_str text, int has_body,
                       struct attempt *a)
{
    const char *name, *wrong;
    int typed = 0, ok = 1;
    json_t *headers = json_text_read_exact(text, &wrong), *v;
    json_object_foreach(headers, name, v)
    {
        typed |= strcasecmp(name, "content-type") == 0;
        ok = ok && add_header(c, out, names, name, sl_lit(json_string_value(v), json_string_length(v)), a);
    }
    json_decref(headers);
    if (ok && has_body && !typed) ok = add_header(c, out, names, "Content-Type", SL("application/json"), a);
    return ok;
}

static int build_url(sl_call *c, const struct names *names, sl_str url, sl_str payload, struct outgoing *out,
                     struct attempt *a)
{
    struct text t = { .c = c };
    expand(&t, names, url, IN_URL);
    out->url = done(&t);
    if (sl_given(out->url) && sl_given(payload)) out->url = with_query(c, out->url, payload);
    if (sl_given(out->url) && out->url.n <= URL_ON_THE_WIRE_MAX) return 1;
    attempt_fail(a, ATTEMPT_FAILED, "url_too_long", "error",
                 SL("The URL with its parameters is longer than 8192 bytes."));
    return 0;
}

int outgoing_build(sl_call *c, const sl_rows *source, sl_str account, sl_str payload, struct outgoing *out,
                   struct attempt *a)
{
    sl_str url = sl_cell_text(source, 0, "url"), headers = sl_cell_text(source, 0, "headers"),
           body = sl_cell_text(source, 0, "body");
    struct names names = { .n = 0 };
    memset(out, 0, sizeof *out);
    out->method = sl_cell_text(source, 0, "method");
    int in_query = sl_is(out->method, "GET") || sl_is(out->method, "HEAD");
    if (!collect(&names, url) || !collect(&names, headers) ||
        (!in_query && !sl_given(payload) && !collect(&names, body))) {
        attempt_fail(a, ATTEMPT_FAILED, "too_many_secrets", "error", SL("A source may refer to at most 16 secrets."));
        return 0;
    }
    if (!resolve(c, account, &names, a)) return 0;
    out->n_secrets = names.n;
    memcpy(out->secrets, names.value, sizeof out->secrets);
    if (!build_url(c, &names, url, in_query ? payload : sl_lit(NULL, 0), out, a)) return 0;
    if (!in_query && sl_given(payload))
        out->body = payload;
    else if (!in_query && body.n) {
        struct text t = { .c = c };
        expand(&t, &names, body, IN_BODY);
        out->body = done(&t);
        if (!sl_given(out->body)) {
            attempt_fail(a, ATTEMPT_FAILED, "request_too_large", "error",
                         SL("The body with its secrets is larger than 1 MiB."));
            return 0;
        }
    }
    return add_headers(c, out, &names, headers, out->body.n > 0, a);
}

/* Every occurrence of a secret, plain or as it stands in a URL, becomes ***. Very short values would shred any text. */
sl_str outgoing_redact(sl_call *c, const struct outgoing *out, sl_str text)
{
    for (size_t i = 0; i < 2 * out->n_secrets; i++) {
        struct text encoded = { .c = c }, t = { .c = c };
        sl_str secret = out->secrets[i / 2];
        size_t from = 0;
        const char *p;
        if (secret.n < 3 || text.n == 0) continue;
        put_encoded(&encoded, secret);
        if (i % 2) secret = done(&encoded);
        if (!sl_given(secret) || !memmem(text.p, text.n, secret.p, secret.n)) continue;
        while ((p = memmem(text.p + from, text.n - from, secret.p, secret.n))) {
            put(&t, text.p + from, (size_t)(p - text.p) - from);
            put(&t, "***", 3);
            from = (size_t)(p - text.p) + secret.n;
        }
        put(&t, text.p + from, text.n - from);
        text = t.failed ? SL("(left out: it would show a secret)") : done(&t);
    }
    return text;
}
