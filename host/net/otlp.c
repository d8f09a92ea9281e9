/* otlp.c - hands recorded spans to a collector: one batch at a time, repeated with growing delay, dropped in the end.
 */
#include "net/otlp.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/protobuf.h"
#include "net/fetch.h"
#include "observe/span.h"

enum {
    KEPT = 4 << 20,
    TRIES = 5,
    DELAY_MAX_MS = 30000,
    LAST_MS = 2000,
    HEADERS_MAX = 16,
    HEAD_ROOM = 4096,
    ANSWER_MAX = 64 << 10
};

static struct {
    arena *texts;
    sl_str url;
    sl_pair headers[HEADERS_MAX + 1];
    uint64_t n_headers;
    uint32_t timeout_ms;
    buf resource; /* the field `resource` of ResourceSpans, then `scope` of ScopeSpans: the same in each batch */
    size_t scope_at;
    buf spans, body; /* the batch under way */
    size_t n;
    unsigned tries;
    uint64_t not_before; /* loop_now() */
    bool failing;
    ticker *exporter;
    struct otlp_stats stats;
} otlp;

/* ---- what a batch looks like: opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest ---- */
static void add_attribute(buf *b, const char *name, sl_str value)
{
    size_t pair = pb_open(b, 1);
    pb_bytes(b, 1, sl_cstr(name));
    size_t any = pb_open(b, 2);
    pb_bytes(b, 1, value);
    pb_close(b, any);
    pb_close(b, pair);
}

static void describe(sl_str service)
{
    char id[ID_TEXT];
    buf *b = &otlp.resource;
    id_new(id);
    buf_init(b, HEAD_ROOM);
    size_t resource = pb_open(b, 1);
    add_attribute(b, "service.name", service);
    add_attribute(b, "service.version", SL(SL_VERSION));
    add_attribute(b, "service.instance.id", sl_cstr(id));
    add_attribute(b, "telemetry.sdk.language", SL("c"));
    pb_close(b, resource);
    otlp.scope_at = b->n;
    size_t scope = pb_open(b, 1);
    pb_bytes(b, 1, SL("service-layer"));
    pb_bytes(b, 2, SL(SL_VERSION));
    pb_close(b, scope);
}

static void write_body(void)
{
    enum { RESOURCE_SPANS = 1 << 3 | 2, SCOPE_SPANS = 2 << 3 | 2 };
    buf *b = &otlp.body;
    size_t inner = otlp.resource.n - otlp.scope_at + otlp.spans.n;
    buf_clear(b);
    b->max = otlp.spans.n + HEAD_ROOM;
    pb_varint(b, SCOPE_SPANS); /* only to see how long it is */
    pb_varint(b, inner);
    size_t outer = otlp.scope_at + b->n + inner;
    buf_clear(b);
    pb_varint(b, RESOURCE_SPANS);
    pb_varint(b, outer);
    buf_add(b, otlp.resource.p, otlp.scope_at);
    pb_varint(b, SCOPE_SPANS);
    pb_varint(b, inner);
    buf_add(b, otlp.resource.p + otlp.scope_at, otlp.resource.n - otlp.scope_at);
    buf_add_str(b, buf_str(&otlp.spans));
}

/* ---- sending ---- */
static void batch_over(void)
{
    if (otlp.body.room > KEPT) buf_free(&otlp.body);
    if (otlp.spans.room > KEPT) buf_free(&otlp.spans);
    otlp.n = 0;
    otlp.tries = 0;
    otlp.not_before = 0;
}

static void delivered(void)
{
    otlp.stats.exports++;
    if (otlp.failing) log_info("traces are delivered again", LOG_S("endpoint", otlp.url));
    otlp.failing = false;
    batch_over();
}

/* Seconds of Retry-After, in milliseconds; 0 = none that can be read. */
static uint64_t asked_delay(const sl_response *r)
{
    int64_t seconds = 0;
    for (uint64_t i = 0; i < r->n_headers; i++)
        if (sl_is(r->headers[i].name, "retry-after") && !str_to_int(r->headers[i].value, &seconds)) seconds = 0;
    return seconds > 0 && seconds <= DELAY_MAX_MS / 1000 ? (uint64_t)seconds * 1000 : 0;
}

static void failed(const sl_response *r)
{
    bool again = !r->status || r->status == 429 || (r->status >= 502 && r->status <= 504); /* as OTLP says */
    otlp.stats.failures++;
    if (!otlp.failing)
        log_warn("traces are not delivered", LOG_S("endpoint", otlp.url), LOG_I("status", r->status),
                 LOG_S("error", r->error), LOG_I("spans", (int64_t)otlp.n));
    otlp.failing = true;
    if (!again || ++otlp.tries >= TRIES) {
        spans_count_dropped(otlp.n);
        batch_over();
        return;
    }
    uint64_t delay = UINT64_C(500) << otlp.tries, asked = asked_delay(r);
    if (asked > delay) delay = asked;
    otlp.not_before = loop_now() + (delay < DELAY_MAX_MS ? delay : DELAY_MAX_MS);
}

/* [S] */
static void send_batch(call *c, uint32_t ms)
{
    const sl_response *r = NULL;
    sl_request q = { .size = sizeof q,
                     .timeout_ms = ms,
                     .max_bytes = ANSWER_MAX,
                     .method = SL("POST"),
                     .url = otlp.url,
                     .body = buf_str(&otlp.body),
                     .headers = otlp.headers,
                     .n_headers = otlp.n_headers };
    sl_err e = fetch_trusted(c, &q, &r);
    if (e == SL_OK && r->status >= 200 && r->status <= 299)
        delivered();
    else
        failed(r);
}

static bool next_batch(void)
{
    if (otlp.n) return true;
    otlp.n = spans_take(&otlp.spans);
    if (otlp.n) write_body();
    return otlp.n > 0;
}

static void export_tick(call *c, void *unused)
{
    (void)unused;
    if (loop_now() < otlp.not_before || !next_batch()) return;
    send_batch(c, otlp.timeout_ms);
}

static void on_full(void)
{
    if (otlp.exporter) ticker_kick(otlp.exporter);
}

/* ---- set up ---- */
static sl_str percent_decode(sl_str s)
{
    char *p = arena_alloc(otlp.texts, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int byte = s.p[i] == '%' ? percent_byte(s, i) : -1;
        p[n++] = byte >= 0 ? (char)byte : s.p[i];
        if (byte >= 0) i += 2;
    }
    return sl_lit(p, n);
}

static bool take_headers(sl_str text, char *why, size_t why_size)
{
    sl_str part, name;
    otlp.headers[0] = (sl_pair){ SL("Content-Type"), SL("application/x-protobuf") };
    otlp.n_headers = 1;
    while (text.n && str_split(&text, ',', &part)) {
        part = str_trim(part);
        if (!part.n) continue;
        bool pair = memchr(part.p, '=', part.n) && str_split(&part, '=', &name) && str_trim(name).n;
        if (!pair || otlp.n_headers > HEADERS_MAX) {
            snprintf(why, why_size, "tracing.headers: must be up to %d pairs `name=value` with commas", HEADERS_MAX);
            return false;
        }
        otlp.headers[otlp.n_headers++] = (sl_pair){ arena_copy(otlp.texts, str_trim(name)), percent_decode(part) };
    }
    return true;
}

int otlp_start(const struct otlp_config *cfg, char *why, size_t why_size)
{
    sl_str base = cfg->endpoint;
    if (!base.n) return 0;
    otlp.texts = arena_new(0);
    while (base.n && base.p[base.n - 1] == '/')
        base.n--;
    otlp.url = arena_printf(otlp.texts, "%.*s%s", STR_ARG(base), str_ends(base, "/v1/traces") ? "" : "/v1/traces");
    if (!take_headers(cfg->headers, why, why_size)) {
        arena_free(otlp.texts);
        otlp.texts = NULL;
        return -1;
    }
    otlp.timeout_ms = cfg->timeout_ms;
    describe(cfg->service_name);
    spans_setup(
        &(struct spans_config){ .ratio = cfg->ratio, .max_spans = cfg->queue, .batch = cfg->batch, .full = on_full });
    otlp.exporter = ticker_start("traces.export", cfg->interval_ms, export_tick, NULL);
    return 0;
}

void otlp_stop(call *c)
{
    if (!otlp.exporter) return;
    ticker_stop(otlp.exporter);
    otlp.exporter = NULL;
    uint64_t until = loop_now() + LAST_MS;
    while (loop_now() < until && next_batch() && otlp.tries == 0)
        send_batch(c, (uint32_t)(until - loop_now()));
    spans_close();
    batch_over();
    buf_free(&otlp.resource);
    buf_free(&otlp.body);
    buf_free(&otlp.spans);
    arena_wipe(otlp.texts);
    arena_free(otlp.texts);
    otlp.texts = NULL;
}

struct otlp_stats otlp_stats(void) { return otlp.stats; }
