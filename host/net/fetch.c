/* fetch.c - outbound HTTP for handlers: one straight line from request to answer, with limits on how much goes on at
 * once. */
#include "net/fetch_op.h"
#include "base/clock.h"
#include "base/log.h"
#include "observe/span.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { TABLE_SIZE = 256 };
struct slots {
    struct slots *next;
    uint32_t active, waiting;
    char host[];
};
struct op_list {
    struct op *first, *last;
};

struct fetch_limits fetch_limits;
static struct {
    bool ready;
    struct op_list waiting, active;
    struct slots *table[TABLE_SIZE];
    struct fetch_stats stats;
} net;

void op_fail(struct op *op, sl_err code, const char *error_class, const char *format, ...)
{
    va_list ap;
    if (op->error_class) return;
    op->error_class = error_class;
    op->error_code = code;
    va_start(ap, format);
    (void)vsnprintf(op->error, sizeof op->error, format, ap);
    va_end(ap);
}

/* ---- slots: so many at once in all and to one host; who came first goes first ---- */

static void list_add(struct op_list *l, struct op *op)
{
    op->prev = l->last;
    op->next = NULL;
    *(l->last ? &l->last->next : &l->first) = op;
    l->last = op;
}

static void list_remove(struct op_list *l, struct op *op)
{
    *(op->prev ? &op->prev->next : &l->first) = op->next;
    *(op->next ? &op->next->prev : &l->last) = op->prev;
}

static struct slots **find_slots(const char *host)
{
    struct slots **at = &net.table[str_hash(sl_cstr(host)) % TABLE_SIZE];
    while (*at && strcmp((*at)->host, host) != 0)
        at = &(*at)->next;
    return at;
}

static void join_slots(struct op *op)
{
    struct slots **at = find_slots(op->host);
    if (!*at) {
        *at = calloc(1, sizeof **at + strlen(op->host) + 1);
        if (!*at) abort();
        memcpy((*at)->host, op->host, strlen(op->host));
    }
    op->slots = *at;
}

static void leave_slots(struct op *op)
{
    struct slots *s = op->slots;
    op->slots = NULL;
    if (s->active || s->waiting) return;
    struct slots **at = find_slots(s->host);
    *at = s->next;
    free(s);
}

static bool slot_free(const struct slots *s)
{
    return net.stats.active < fetch_limits.max_total && s->active < fetch_limits.max_per_host;
}

static void on_deadline(uv_timer_t *t);

static void activate(struct op *op)
{
    op->state = OP_ACTIVE;
    op->slots->active++;
    net.stats.active++;
    list_add(&net.active, op);
    if (op_start(op)) return;
    op_fail(op, SL_EINTERNAL, "protocol", "the request cannot be started");
    uv_timer_start(&op->timer, on_deadline, 0, 0); /* ends it soon, but not from in here */
}

static void activate_waiting(void)
{
    struct op *next;
    for (struct op *op = net.waiting.first; op && net.stats.active < fetch_limits.max_total; op = next) {
        next = op->next;
        if (!slot_free(op->slots)) continue;
        list_remove(&net.waiting, op);
        op->slots->waiting--;
        net.stats.waiting--;
        activate(op);
    }
}

/* Give the slot back and let others in; harmless when there is none. */
static void release(struct op *op)
{
    if (op->state == OP_IDLE) return;
    if (op->state == OP_ACTIVE) {
        op_stop(op);
        list_remove(&net.active, op);
        op->slots->active--;
        net.stats.active--;
    } else {
        list_remove(&net.waiting, op);
        op->slots->waiting--;
        net.stats.waiting--;
    }
    op->state = OP_IDLE;
    leave_slots(op);
    activate_waiting();
}

static void abandon(void *arg) { release(arg); }

void op_ended(struct op *op)
{
    release(op);
    call_wake(op->call, SL_OK);
}

static void on_deadline(uv_timer_t *t)
{
    struct op *op = t->data;
    if (op->state == OP_IDLE) return;
    op_fail(op, SL_ETIME, "timeout", "no complete answer within %u ms%s", (unsigned)op->timeout_ms,
            op->state == OP_WAITING ? "; it waited for other requests" : "");
    op_ended(op);
}

/* ---- one request ---- */

/* [S] One hop: wait for a slot, let curl work. */
static void run_hop(struct op *op)
{
    join_slots(op);
    if (slot_free(op->slots)) {
        activate(op);
    } else {
        op->state = OP_WAITING;
        op->slots->waiting++;
        net.stats.waiting++;
        list_add(&net.waiting, op);
    }
    sl_err e = call_wait(op->call, abandon, op);
    release(op);
    if (e == SL_ETIME)
        op_fail(op, e, "timeout", "the call's deadline passed");
    else if (e)
        op_fail(op, e, NULL, "the call was cancelled");
    if (e) op->error_code = e;
}

static bool is_redirect(const struct op *op)
{
    return op->status == 301 || op->status == 302 || op->status == 303 || op->status == 307 || op->status == 308;
}

/* [S] */
static void run(struct op *op)
{
    for (;;) {
        run_hop(op);
        if (op->error_code || !op->request->max_redirects || !is_redirect(op)) return;
        sl_str location = op_header(op, "location");
        if (!sl_given(location) || !op_follow(op, location)) return;
    }
}

static struct op *op_new(call *c, const sl_request *r)
{
    struct op *op = calloc(1, sizeof *op);
    if (!op) abort();
    op->call = c;
    op->request = r;
    op->started = clock_monotonic();
    op->max_bytes = r->max_bytes && r->max_bytes < fetch_limits.max_bytes ? r->max_bytes : fetch_limits.max_bytes;
    buf_init(&op->head, HEAD_MAX + 1024);
    buf_init(&op->body, op->max_bytes);
    uv_timer_init(loop_uv(), &op->timer);
    op->timer.data = op;
    op->timeout_ms = call_left(c);
    if (r->timeout_ms && r->timeout_ms < op->timeout_ms) op->timeout_ms = r->timeout_ms;
    if (op->timeout_ms == UINT32_MAX) op->timeout_ms = fetch_limits.default_ms;
    uv_timer_start(&op->timer, on_deadline, op->timeout_ms, 0);
    op->easy = curl_easy_init();
    op->url = curl_url();
    if (!op->easy || !op->url) abort();
    return op;
}

static void on_closed(uv_handle_t *h) { free(h->data); }

static void op_free(struct op *op)
{
    curl_easy_cleanup(op->easy);
    curl_slist_free_all(op->headers);
    curl_url_cleanup(op->url);
    buf_free(&op->head);
    buf_free(&op->body);
    uv_close((uv_handle_t *)&op->timer, on_closed);
}

static bool copy_headers(const struct op *op, arena *a, sl_response *out)
{
    sl_pair *pairs = arena_try(a, (op->n_headers + 1) * sizeof *pairs);
    char *text = arena_try(a, op->head.n + 1);
    if (!pairs || !text) return false;
    if (op->head.n) memcpy(text, op->head.p, op->head.n);
    for (size_t i = 0; i < op->n_headers; i++) {
        pairs[i].name = sl_cstr(text);
        text += pairs[i].name.n + 1;
        pairs[i].value = sl_cstr(text);
        text += pairs[i].value.n + 1;
        if (sl_is(pairs[i].name, "content-type")) out->type = pairs[i].value;
    }
    out->headers = pairs;
    out->n_headers = op->n_headers;
    return true;
}

/* What the caller gets, in its arena. */
static sl_response *answer(struct op *op)
{
    arena *a = op->call->arena;
    sl_response *out = arena_alloc(a, sizeof *out);
    out->size = sizeof *out;
    out->redirects = op->redirects;
    out->wire_bytes = op->wire_bytes;
    out->elapsed_ms = (uint32_t)((clock_monotonic() - op->started) / 1000000);
    out->address = arena_copy(a, sl_cstr(op->address));
    if (!op->error_code) {
        char *body = arena_try(a, op->body.n + 1);
        if (body && copy_headers(op, a, out)) {
            if (op->body.n) memcpy(body, op->body.p, op->body.n);
            out->body = sl_lit(body, op->body.n);
            out->status = (int32_t)op->status;
        } else {
            op_fail(op, SL_ETOOBIG, "too_large", "the answer does not fit into the memory of this call");
        }
    }
    if (op->error_code) {
        out->error = arena_copy(a, sl_cstr(op->error));
        out->error_class = arena_copy(a, sl_cstr(op->error_class));
    }
    return out;
}

/* The address without user, query and fragment, which may hold secrets. */
static sl_str public_url(struct op *op)
{
    char *text = NULL;
    (void)curl_url_set(op->url, CURLUPART_USER, NULL, 0);
    (void)curl_url_set(op->url, CURLUPART_PASSWORD, NULL, 0);
    (void)curl_url_set(op->url, CURLUPART_QUERY, NULL, 0);
    (void)curl_url_set(op->url, CURLUPART_FRAGMENT, NULL, 0);
    if (curl_url_get(op->url, CURLUPART_URL, &text, 0) != CURLUE_OK) return sl_lit(NULL, 0);
    sl_str copy = arena_copy(op->call->arena, sl_cstr(text));
    curl_free(text);
    return copy;
}

static void end_span(struct span *s, struct op *op, const sl_response *r)
{
    const struct span_attribute attributes[] = { SPAN_C("http.request.method", op->method),
                                                 SPAN_S("url.full", public_url(op)),
                                                 SPAN_C("server.address", op->host),
                                                 SPAN_I("http.response.status_code", r->status),
                                                 SPAN_I("http.response.body.size", r->body.n),
                                                 SPAN_S("error.type", r->error_class),
                                                 SPAN_I("http.request.resend_count", r->redirects) };
    sl_str error = op->error_code ? r->error : r->status >= 400 ? SL("") : sl_lit(NULL, 0);
    span_close(s, SPAN_CLIENT, sl_cstr(op->method), error, attributes, sizeof attributes / sizeof *attributes);
}

static sl_err not_possible(call *c, const char *why, const sl_response **out)
{
    log_error("outbound requests are not possible", LOG_C("error", why));
    sl_response *r = arena_alloc(c->arena, sizeof *r);
    *r = (sl_response){ .size = sizeof *r, .error = arena_copy(c->arena, sl_cstr(why)) };
    *out = r;
    return SL_EUNAVAIL;
}

static sl_err run_request(call *c, const sl_request *r, const sl_response **out, bool trusted)
{
    static const sl_response nothing = { .size = sizeof nothing, .error = { "the request is malformed", 24 } };
    *out = &nothing;
    if (!net.ready || r->size < sizeof *r) return net.ready ? SL_EINVAL : SL_EUNAVAIL;
    char why[300];
    if (!fetch_curl_setup(why, sizeof why)) return not_possible(c, why, out);
    struct op *op = op_new(c, r);
    struct span span;
    op->trusted = trusted;
    span_open(&span, c);
    if (op_check_request(op)) run(op);
    *out = answer(op);
    if (span_recorded(&span)) end_span(&span, op, *out);
    sl_err e = op->error_code;
    net.stats.bytes += op->wire_bytes;
    net.stats.done++;
    if (e) net.stats.failed++;
    if (op->error_class && strcmp(op->error_class, "blocked") == 0) net.stats.blocked++;
    op_free(op);
    return e;
}

sl_err fetch(call *c, const sl_request *r, const sl_response **out) { return run_request(c, r, out, false); }

sl_err fetch_trusted(call *c, const sl_request *r, const sl_response **out) { return run_request(c, r, out, true); }

/* ---- the whole ---- */

static bool take_allow_list(const struct fetch_config *cfg, char *why, size_t why_size)
{
    struct cidr *allow = calloc(cfg->n_allow + 1, sizeof *allow);
    if (!allow) abort();
    for (size_t i = 0; i < cfg->n_allow; i++) {
        if (cidr_parse(cfg->allow[i], &allow[i])) continue;
        (void)snprintf(why, why_size, "outbound.allow: %.*s is no address or block",
                       STR_ARG(str_sub(cfg->allow[i], 0, 60)));
        free(allow);
        return false;
    }
    free(fetch_limits.allow);
    fetch_limits.allow = allow;
    fetch_limits.n_allow = cfg->n_allow;
    return true;
}

int fetch_reconfigure(const struct fetch_config *cfg, char *why, size_t why_size)
{
    if (!take_allow_list(cfg, why, why_size)) return -1;
    fetch_limits.allow_private = cfg->allow_private;
    fetch_limits.max_total = cfg->max_total ? cfg->max_total : 256;
    fetch_limits.max_per_host = cfg->max_per_host ? cfg->max_per_host : 16;
    fetch_limits.default_ms = cfg->default_ms ? cfg->default_ms : 10000;
    fetch_limits.max_bytes = cfg->max_bytes ? cfg->max_bytes : 4u << 20;
    activate_waiting();
    return 0;
}

static void free_limits(void)
{
    free(fetch_limits.allow);
    free(fetch_limits.ca_file);
    free(fetch_limits.user_agent);
    memset(&fetch_limits, 0, sizeof fetch_limits);
}

int fetch_setup(const struct fetch_config *cfg, char *why, size_t why_size)
{
    fetch_limits.ca_file = cfg->ca_file && cfg->ca_file[0] ? strdup(cfg->ca_file) : NULL;
    fetch_limits.user_agent = strdup(cfg->user_agent ? cfg->user_agent : "service-layer/" SL_VERSION);
    bool ok = fetch_reconfigure(cfg, why, why_size) == 0;
    if (ok && fetch_limits.ca_file && access(fetch_limits.ca_file, R_OK) != 0) {
        (void)snprintf(why, why_size, "outbound.ca_file: %s cannot be read", fetch_limits.ca_file);
        ok = false;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* a peer that closes while we write is an error code, not the end of the process */
    if (!ok) free_limits();
    net.ready = ok;
    return ok ? 0 : -1;
}

void fetch_close(void)
{
    if (!net.ready) return;
    net.ready = false;
    while (net.waiting.first || net.active.first) {
        struct op *op = net.waiting.first ? net.waiting.first : net.active.first;
        op_fail(op, SL_ECANCEL, NULL, "the server stops");
        op->error_code = SL_ECANCEL;
        op_ended(op);
    }
    fetch_curl_close();
    free_limits();
    memset(&net.stats, 0, sizeof net.stats);
}

struct fetch_stats fetch_stats(void) { return net.stats; }
