/* fetch_curl.c - libcurl's multi interface on the libuv loop: sockets, its timer, one easy handle a request. */
#include "net/fetch_op.h"
#include "net/wire.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WIRE_FACTOR = 8, WIRE_SPARE = 1 << 20, LAPS = 8, HEADS_MAX = 33 };
static struct {
    CURLM *multi;
    uv_timer_t *timer;
} curl;

struct watch {
    uv_poll_t poll;
    curl_socket_t fd;
    int events;
};

static const struct {
    CURLcode code;
    const char *error_class;
} classes[] = {
    { CURLE_COULDNT_RESOLVE_HOST, "dns" },  { CURLE_COULDNT_CONNECT, "connect" },
    { CURLE_SEND_ERROR, "connect" },        { CURLE_RECV_ERROR, "connect" },
    { CURLE_SSL_CONNECT_ERROR, "tls" },     { CURLE_PEER_FAILED_VERIFICATION, "tls" },
    { CURLE_SSL_CACERT_BADFILE, "tls" },    { CURLE_SSL_CIPHER, "tls" },
    { CURLE_SSL_CERTPROBLEM, "tls" },       { CURLE_SSL_ISSUER_ERROR, "tls" },
    { CURLE_SSL_ENGINE_INITFAILED, "tls" }, { CURLE_USE_SSL_FAILED, "tls" },
};

static void explain(struct op *op, CURLcode code)
{
    const char *sentence = op->curl_error[0] ? op->curl_error : curl_easy_strerror(code), *error_class = "protocol";
    if (code == CURLE_COULDNT_CONNECT && op->blocked) {
        op_fail(op, SL_EDENIED, "blocked", "%s leads to %s, a special address (%s) that the operator does not allow",
                op->host, op->blocked_address, op->blocked);
        return;
    }
    if (code == CURLE_FILESIZE_EXCEEDED) {
        op_fail(op, SL_ETOOBIG, "too_large", "the answer announces more than %zu bytes", op->max_bytes);
        return;
    }
    if (code == CURLE_OPERATION_TIMEDOUT) {
        op_fail(op, SL_ETIME, "timeout", "%s", sentence);
        return;
    }
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (classes[i].code == code) error_class = classes[i].error_class;
    op_fail(op, SL_EUPSTREAM, error_class, "%s", sentence);
}

/* Handlers run out of here, never out of a callback of curl. */
static void take_finished(void)
{
    CURLMsg *m;
    int left;
    while (curl.multi && (m = curl_multi_info_read(curl.multi, &left))) {
        struct op *op;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &op);
        if (code) explain(op, code);
        op_ended(op);
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    int running, flags = 0;
    if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
    if (status < 0) flags = CURL_CSELECT_IN | CURL_CSELECT_OUT; /* a reset: what came before it is still to be read */
    curl_multi_socket_action(curl.multi, w->fd, flags, &running);
    if (status < 0 && !uv_is_closing((uv_handle_t *)poll))
        uv_poll_start(poll, w->events, on_ready); /* libuv stopped it */
    take_finished();
}

static void on_timer(uv_timer_t *t)
{
    int running;
    (void)t;
    curl_multi_socket_action(curl.multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_finished();
}

static int want_timer(CURLM *multi, long ms, void *user)
{
    (void)multi, (void)user;
    if (ms < 0)
        uv_timer_stop(curl.timer);
    else
        uv_timer_start(curl.timer, on_timer, (uint64_t)ms, 0);
    return 0;
}

static void free_data(uv_handle_t *h) { free(h->data); }

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *of_socket)
{
    struct watch *w = of_socket;
    struct op *op = NULL;
    (void)user;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &op);
    if (op && what == CURL_POLL_REMOVE) {
        op->fd = -1;
    } else if (op && op->fd != fd) {
        op->fd = fd;
        op->portions = 0;
    }
    if (what == CURL_POLL_REMOVE) {
        if (!w) return 0;
        uv_poll_stop(&w->poll);
        uv_close((uv_handle_t *)&w->poll, free_data);
        curl_multi_assign(curl.multi, fd, NULL);
        return 0;
    }
    if (!w) {
        w = calloc(1, sizeof *w);
        if (!w || uv_poll_init_socket(loop_uv(), &w->poll, fd)) {
            free(w);
            return -1;
        }
        w->fd = fd;
        w->poll.data = w;
        curl_multi_assign(curl.multi, fd, w);
    }
    w->events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&w->poll, w->events, on_ready);
    return 0;
}

/* Sees every address before it is connected to: behind a name, after a redirect, after the name changed. */
static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct op *op = user;
    struct ip ip;
    (void)purpose;
    if (!ip_from_sockaddr(&a->addr, &ip)) return CURL_SOCKET_BAD;
    const char *special = fetch_limits.allow_private || op->trusted ? NULL : ip_special(&ip);
    for (size_t i = 0; i < fetch_limits.n_allow && special; i++)
        if (cidr_has(&fetch_limits.allow[i], &ip)) special = NULL;
    if (special) {
        op->blocked = special;
        ip_format(&ip, op->blocked_address);
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
    struct op *op = user;
    (void)size;
    if (n > op->max_bytes - op->body.n) {
        op_fail(op, SL_ETOOBIG, "too_large", "the answer is longer than %zu bytes", op->max_bytes);
        return 0;
    }
    buf_add(&op->body, p, n);
    return op->body.overflow ? 0 : n;
}

/* Other encodings that this libcurl could undo make its decoder take up to 128 MiB by itself. */
static bool encoding_ok(sl_str value)
{
    static const char *const known[] = { "", "identity", "gzip", "x-gzip", "deflate" };
    sl_str one;
    while (str_split(&value, ',', &one)) {
        bool ok = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            ok = ok || str_equal_nocase(str_trim(one), sl_cstr(known[i]));
        if (!ok) return false;
    }
    return true;
}

/* Two lengths that differ: where the body ends is a guess, and what follows could pass for another answer (RFC 9112
 * 6.3). */
static bool another_length(const struct op *op, sl_str value)
{
    sl_str rest = buf_str(&op->head), name, before;
    while (str_split(&rest, 0, &name) && str_split(&rest, 0, &before))
        if (sl_is(name, "content-length") && !sl_same(before, value)) return true;
    return false;
}

static bool add_header(struct op *op, sl_str line)
{
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon || memchr(line.p, 0, line.n)) return true; /* curl refuses what matters; a folded line is left out */
    sl_str name = str_trim(str_sub(line, 0, (size_t)(colon - line.p))),
           value = str_trim(str_sub(line, (size_t)(colon - line.p) + 1, line.n));
    if (op->n_headers >= HEADERS_MAX || op->head.n + name.n + value.n + 2 > HEAD_MAX) {
        op_fail(op, SL_ETOOBIG, "too_large", "the answer's headers are more than %d or longer than %d bytes",
                HEADERS_MAX, HEAD_MAX);
        return false;
    }
    if (str_equal_nocase(name, SL("content-encoding")) && !encoding_ok(value)) {
        op_fail(op, SL_EUPSTREAM, "protocol", "the answer's content encoding was not asked for: %.*s",
                STR_ARG(str_sub(value, 0, 60)));
        return false;
    }
    if (str_equal_nocase(name, SL("content-length")) && another_length(op, value)) {
        op_fail(op, SL_EUPSTREAM, "protocol", "the answer states two lengths");
        return false;
    }
    size_t at = op->head.n;
    buf_add_str(&op->head, name);
    for (; at < op->head.n; at++)
        if (op->head.p[at] >= 'A' && op->head.p[at] <= 'Z') op->head.p[at] = (char)(op->head.p[at] | 32);
    buf_add_char(&op->head, 0);
    buf_add_str(&op->head, value);
    buf_add_char(&op->head, 0);
    op->n_headers++;
    return true;
}

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
    struct op *op = user;
    sl_str line = sl_lit(p, n);
    (void)size;
    while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    if (str_starts(line, "HTTP/")) { /* forgets an interim answer (1xx) */
        if (++op->heads > HEADS_MAX) {
            op_fail(op, SL_ETOOBIG, "too_large", "more than %d interim answers (1xx)", HEADS_MAX - 1);
            return 0;
        }
        buf_clear(&op->head);
        op->n_headers = 0;
        op->in_head = true;
    } else if (line.n == 0) {
        op->in_head = false; /* what comes later is trailers */
    } else if (op->in_head && !add_header(op, line)) {
        return 0;
    }
    return n;
}

/* Curl calls this after each portion that it took. What makes no body (extensions of chunks, comments and empty blocks
 * of gzip) counts nowhere else, and while it comes in fast enough curl does not give the loop back. One byte of body a
 * chunk takes six on the wire. Small answers end before the first look. */
static int on_portion(void *user, curl_off_t to_get, curl_off_t got, curl_off_t to_send, curl_off_t sent)
{
    struct op *op = user;
    uint64_t bytes;
    (void)to_get, (void)got, (void)to_send, (void)sent;
    if (++op->portions % LAPS || !wire_received(op->fd, &bytes)) return 0;
    if (op->portions == LAPS || bytes < op->wire_base) op->wire_base = bytes; /* of earlier requests, too */
    if (bytes - op->wire_base <= (uint64_t)op->max_bytes * WIRE_FACTOR + WIRE_SPARE) return 0;
    op_fail(op, SL_ETOOBIG, "too_large", "the answer is far longer on the wire than the %zu bytes that it may hold",
            op->max_bytes);
    return 1;
}

static void set_body(struct op *op)
{
    static const char *const with_body[] = { "POST", "PUT", "PATCH" };
    sl_str body = op->send_body ? op->request->body : sl_lit(NULL, 0);
    bool send = body.n > 0;
    for (size_t i = 0; i < 3; i++)
        send = send || strcmp(op->method, with_body[i]) == 0; /* Content-Length: 0 */
    if (strcmp(op->method, "HEAD") == 0) {
        curl_easy_setopt(op->easy, CURLOPT_NOBODY, 1L);
    } else if (send) {
        curl_easy_setopt(op->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
        curl_easy_setopt(op->easy, CURLOPT_POSTFIELDS, body.n ? body.p : "");
    } else {
        curl_easy_setopt(op->easy, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(op->easy, CURLOPT_CUSTOMREQUEST, op->method);
}

static void set_options(struct op *op)
{
    CURL *e = op->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, op);
    curl_easy_setopt(e, CURLOPT_CURLU, op->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, op->headers);
    curl_easy_setopt(e, CURLOPT_USERAGENT, fetch_limits.user_agent); /* the caller's own header wins */
    curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    if (strcmp(op->method, "HEAD") != 0) curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)op->max_bytes);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, op);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, op);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, op);
    curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_portion);
    curl_easy_setopt(e, CURLOPT_XFERINFODATA, op);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, op->curl_error);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, ""); /* whatever the environment says */
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (fetch_limits.ca_file) {
        curl_easy_setopt(e, CURLOPT_CAINFO, fetch_limits.ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    /* Without this, giving up a request whose name is still being looked up waits for the look-up, on the loop. */
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
}

bool op_start(struct op *op)
{
    if (!op_build_headers(op)) return false;
    curl_easy_reset(op->easy);
    op->curl_error[0] = 0;
    op->blocked = NULL;
    op->in_head = false;
    op->n_headers = 0;
    op->fd = -1;
    op->heads = op->portions = 0;
    op->wire_base = 0;
    buf_clear(&op->head);
    buf_clear(&op->body);
    set_options(op);
    set_body(op);
    return curl_multi_add_handle(curl.multi, op->easy) == CURLM_OK;
}

void op_stop(struct op *op)
{
    curl_off_t bytes = 0;
    long head = 0;
    char *address = NULL;
    curl_easy_getinfo(op->easy, CURLINFO_RESPONSE_CODE, &op->status);
    curl_easy_getinfo(op->easy, CURLINFO_SIZE_DOWNLOAD_T, &bytes);
    curl_easy_getinfo(op->easy, CURLINFO_HEADER_SIZE, &head);
    curl_easy_getinfo(op->easy, CURLINFO_PRIMARY_IP, &address);
    op->wire_bytes += (uint64_t)bytes + (uint64_t)head;
    (void)snprintf(op->address, sizeof op->address, "%s", address ? address : "");
    curl_multi_remove_handle(curl.multi, op->easy);
}

bool fetch_curl_setup(char *why, size_t why_size)
{
    static bool loaded;
    if (curl.multi) return true;
    if (!loaded && !(loaded = curl_load(why, why_size))) return false;
    curl.multi = curl_multi_init();
    curl.timer = calloc(1, sizeof *curl.timer);
    if (!curl.multi || !curl.timer) abort();
    uv_timer_init(loop_uv(), curl.timer);
    curl.timer->data = curl.timer;
    curl_multi_setopt(curl.multi, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(curl.multi, CURLMOPT_TIMERFUNCTION, want_timer);
    curl_multi_setopt(curl.multi, CURLMOPT_MAXCONNECTS, (long)fetch_limits.max_total);
    return true;
}

void fetch_curl_close(void)
{
    if (!curl.multi) return;
    curl_multi_cleanup(curl.multi); /* still calls want_socket and want_timer */
    uv_timer_stop(curl.timer);
    uv_close((uv_handle_t *)curl.timer, free_data);
    curl.multi = NULL;
    curl.timer = NULL;
}
