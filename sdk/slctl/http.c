/* http.c - one request to the server by libcurl: limits, repetitions that are safe, headers shown without secrets. */
#include "http.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static CURL *handle; /* kept open: the next request uses the same connection */

void http_end(void)
{
    if (handle) curl_easy_cleanup(handle);
    handle = NULL;
    curl_global_cleanup();
}

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void sleep_ms(long ms)
{
    struct timespec t = { ms / 1000, (ms % 1000) * 1000000 };
    nanosleep(&t, NULL);
}

/* ---- what comes back ---- */
static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    (void)size;
    if (x->stream && x->status >= 200 && x->status < 300) {
        x->streamed = true;
        return fwrite(p, 1, n, stdout) == n ? n : 0;
    }
    if (x->body.n + n > MAX_ANSWER) {
        x->too_large = true;
        return 0;
    }
    text_add(&x->body, p, n);
    return n;
}

static bool header_is(const char *line, size_t n, const char *name, const char **value)
{
    size_t length = strlen(name);
    if (n <= length || line[length] != ':' || strncasecmp(line, name, length) != 0) return false;
    const char *p = line + length + 1, *end = line + n;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && isspace((unsigned char)end[-1]))
        end--;
    *value = keep_copy(p, (size_t)(end - p));
    return true;
}

static size_t take_header(char *p, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    const char *retry = NULL;
    (void)size;
    if (++x->headers > 500) return 0;
    if (n > 12 && memcmp(p, "HTTP/", 5) == 0) {
        const char *space = memchr(p, ' ', n);
        x->status = space ? (int)strtol(space, NULL, 10) : 0;
        x->type = x->etag = NULL;
        x->retry_ms = -1;
    }
    header_is(p, n, "content-type", &x->type);
    header_is(p, n, "etag", &x->etag);
    if (header_is(p, n, "retry-after", &retry) && *retry >= '0' && *retry <= '9') {
        long seconds = strtol(retry, NULL, 10);
        x->retry_ms = seconds > 86400 ? 86400000 : seconds * 1000;
    }
    return n;
}

static void show_lines(char mark, const char *p, size_t n)
{
    const char *end = p + n;
    while (p < end) {
        size_t line = strcspn(p, "\r\n");
        char *text = keep_copy(p, line);
        static const char *const secret[] = { "authorization:", "cookie:", "set-cookie:", "proxy-authorization:" };
        for (size_t i = 0; i < sizeof secret / sizeof *secret; i++)
            if (strncasecmp(text, secret[i], strlen(secret[i])) == 0) text = keep_text("%s (hidden)", secret[i]);
        if (*text) fprintf(stderr, "%c %s\n", mark, visible(text));
        p += line + strspn(p + line, "\r\n");
    }
}

static int show(CURL *curl, curl_infotype kind, char *p, size_t n, void *arg)
{
    (void)curl;
    (void)arg;
    if (kind == CURLINFO_HEADER_OUT) show_lines('>', keep_copy(p, n), n);
    if (kind == CURLINFO_HEADER_IN) show_lines('<', keep_copy(p, n), n);
    return 0;
}

/* ---- what goes out ---- */
static struct curl_slist *header_add(struct curl_slist *list, const char *name, const char *value)
{
    struct curl_slist *longer = curl_slist_append(list, keep_text("%s: %s", name, value));
    if (!longer) abort();
    return longer;
}

static struct curl_slist *headers_of(const struct call *c)
{
    struct curl_slist *list = NULL;
    const char *name;
    json_t *value;
    list = header_add(list, "Accept", c->accept ? c->accept : "application/json, */*");
    list = header_add(list, "User-Agent", "slctl/" SL_VERSION);
    list = header_add(list, "Expect", "");
    if (options.token && *options.token && !c->anonymous)
        list = header_add(list, "Authorization", keep_text("Bearer %s", options.token));
    if (options.tenant && *options.tenant) list = header_add(list, "X-Tenant-ID", options.tenant);
    if (c->if_none_match) list = header_add(list, "If-None-Match", c->if_none_match);
    if (c->body) list = header_add(list, "Content-Type", "application/json");
    json_object_foreach (c->headers, name, value)
        list = header_add(list, name, json_string_value(value));
    return list;
}

CURL *http_prepare(const struct call *c, struct exchange *x)
{
    if (!handle) {
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || !(handle = curl_easy_init())) abort();
    }
    curl_easy_reset(handle);
    memset(x, 0, sizeof *x);
    x->retry_ms = -1;
    x->stream = c->stream;
    x->list = headers_of(c);
    curl_easy_setopt(handle, CURLOPT_URL, keep_text("%s%s", options.addr, c->path));
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, x->list);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, x->error);
    curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, c->method);
    if (strcmp(c->method, "HEAD") == 0) curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    if (c->body) {
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body_size);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, c->body);
    }
    if (options.ca_file) curl_easy_setopt(handle, CURLOPT_CAINFO, options.ca_file);
    if (options.verbose) {
        curl_easy_setopt(handle, CURLOPT_VERBOSE, 1L);
        curl_easy_setopt(handle, CURLOPT_DEBUGFUNCTION, show);
    }
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, x);
    return handle;
}

/* ---- one exchange ---- */
static struct answer once(const struct call *c, long ms, CURLcode *code)
{
    struct exchange x;
    char why[256];
    CURL *curl = http_prepare(c, &x);
    if (c->stream) { /* may take as long as something comes */
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, ms);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, ms < 1000 ? 1L : ms / 1000);
    } else {
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ms);
    }
    *code = curl_easy_perform(curl);
    curl_slist_free_all(x.list);
    struct answer a = { .status = x.status, .type = x.type, .etag = x.etag, .retry_ms = x.retry_ms };
    a.streamed = x.streamed;
    if (*code == CURLE_WRITE_ERROR && x.streamed) output_flush();
    if (*code != CURLE_OK) {
        const char *reason = *x.error ? x.error : curl_easy_strerror(*code);
        a.failed = *code == CURLE_OPERATION_TIMEDOUT ? TIMED_OUT
                   : x.too_large || x.headers > 500  ? BROKEN
                                                     : UNREACHABLE;
        a.why = a.failed == TIMED_OUT ? keep_text("No answer from %s within %ld ms.", options.addr, options.timeout_ms)
                : x.too_large         ? keep_text("The answer is larger than %d MiB.", MAX_ANSWER >> 20)
                                      : keep_text("%s: %s.", options.addr, visible(reason));
        return a;
    }
    text_add(&x.body, "", 0);
    a.body = x.body.p;
    a.size = x.body.n;
    if (is_json(a.type) && a.size) a.json = json_read(a.body, a.size, why, sizeof why);
    return a;
}

/* Whether the same request may be sent again after it may have reached the server. */
static bool repeatable(const struct call *c)
{
    if (strcmp(c->method, "PUT") == 0)
        return !json_object_get(c->headers, "If-Match"); /* its own effect would refuse it */
    return strcmp(c->method, "GET") == 0 || strcmp(c->method, "HEAD") == 0 ||
           json_object_get(c->headers, "Idempotency-Key");
}

/* How long to wait before the next try; -1: this answer stands. */
static long wait_for(const struct call *c, const struct answer *a, CURLcode code, int tries)
{
    if (a->streamed) return -1;
    if (a->failed == UNREACHABLE) {
        bool broke = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING ||
                     code == CURLE_PARTIAL_FILE;
        if (code != CURLE_COULDNT_CONNECT && !(broke && repeatable(c))) return -1;
        return tries < 3 ? 100L << tries : -1;
    }
    if (a->failed || tries >= 5) return -1;
    if (a->status == 429) return a->retry_ms;
    if (a->status == 503 && (repeatable(c) || strcmp(c->method, "DELETE") == 0)) return a->retry_ms;
    return -1;
}

struct answer http_call(const struct call *c)
{
    int64_t end = now_ms() + options.timeout_ms;
    bool refreshed = c->anonymous;
    for (int tries = 0;; tries++) {
        CURLcode code;
        int64_t left = end - now_ms();
        struct answer a = once(c, left > 1 ? (long)left : 1, &code);
        if (a.status == 401 && !refreshed) { /* the access token may only be too old */
            refreshed = true;
            if (login_refresh()) continue;
        }
        long pause = wait_for(c, &a, code, tries);
        if (pause < 0 || now_ms() + pause >= end) return a;
        if (options.verbose) fprintf(stderr, "* again in %ld ms\n", pause);
        sleep_ms(pause);
    }
}

/* The exit code for an HTTP status. */
static int status_code(int status)
{
    if (status < 400) return status >= 200 && status < 300 ? DONE : BROKEN;
    if (status == 401 || status == 403) return DENIED;
    if (status == 404) return NOT_FOUND;
    if (status == 409 || status == 412) return CONFLICT;
    return status < 500 ? REFUSED : BROKEN;
}

int complain(const struct answer *a)
{
    size_t i;
    json_t *error;
    fflush(stdout);
    if (a->failed) {
        warn("%s", a->why);
        return a->failed;
    }
    const char *detail = json_string_value(json_object_get(a->json, "detail"));
    const char *code = json_string_value(json_object_get(a->json, "code"));
    const char *trace = json_string_value(json_object_get(a->json, "trace_id"));
    if (!detail) detail = json_string_value(json_object_get(a->json, "title"));
    if (!detail)
        detail = a->status < 400 ? "The answer is not what an API server sends." : "The server gave no reason.";
    if (code)
        warn("%s (%d %s)", visible(detail), a->status, visible(code));
    else
        warn("%s (%d)", visible(detail), a->status);
    json_array_foreach (json_object_get(a->json, "errors"), i, error) {
        const char *at = json_string_value(json_object_get(error, "pointer"));
        const char *why = json_string_value(json_object_get(error, "detail"));
        fprintf(stderr, "  %s %s\n", at && *at ? visible(at) : "(body)", why ? visible(why) : "is wrong");
    }
    if (a->retry_ms >= 0) fprintf(stderr, "  try again after %ld s\n", a->retry_ms / 1000);
    if (trace) fprintf(stderr, "  trace_id %s\n", visible(trace));
    return status_code(a->status);
}

const char *url_escape(const char *s)
{
    struct text out = { 0 };
    text_add(&out, "", 0);
    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;
        if (isalnum(ch) || strchr("-._~", ch))
            text_add(&out, s, 1);
        else
            text_printf(&out, "%%%02X", (unsigned)ch);
    }
    return out.p;
}
