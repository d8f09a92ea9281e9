/* tables_out.c - sl.http, sl.metrics and sl.crypto as plugins see them, and which tables a plugin is given. */
#include "module/private.h"
#include "base/log.h"
#include "net/fetch.h"
#include "observe/metrics.h"
#include <math.h>

enum {
    URL_MAX = 8192,
    METHOD_MAX = 16,
    HEADERS_MAX = 100,
    HEADER_MAX = 16 * 1024,
    BODY_MAX = 16 << 20,
    LABELS_MAX = 8,
    LABEL_MAX = 128,
    PLAIN_MAX = 1 << 20,
    AAD_MAX = 4096,
    BLOB_MAX = PLAIN_MAX + 4096,
    REQUEST_FIRST = offsetof(sl_request, n_headers) + sizeof(uint64_t)
};

/* ---- sl.http ---- */
static bool fits(sl_str s, size_t min, size_t max) { return s.p ? s.n >= min && s.n <= max : s.n == 0 && min == 0; }

bool call_may_reach(const call *c, sl_str host)
{
    const struct generation *g = c->generation;
    return !g || g->module->linked || generation_may_reach(g, host);
}

static sl_err http_table_fetch(sl_call *pub, const sl_request *r, const sl_response **out)
{
    const sl_response *unused;
    sl_err e = may_wait(pub, "fetch", false);
    if (e) return e;
    if (!out) out = &unused;
    *out = NULL;
    if (!r || r->size < REQUEST_FIRST) return SL_EINVAL;
    sl_request q = { 0 };
    memcpy(&q, r, r->size < sizeof q ? r->size : sizeof q);
    q.size = sizeof q;
    if (!fits(q.url, 1, URL_MAX) || !fits(q.method, 0, METHOD_MAX) || !fits(q.body, 0, BODY_MAX)) return SL_EINVAL;
    if (q.n_headers > HEADERS_MAX || (q.n_headers && !q.headers)) return SL_EINVAL;
    for (uint64_t i = 0; i < q.n_headers; i++)
        if (!fits(q.headers[i].name, 1, 256) || !fits(q.headers[i].value, 0, HEADER_MAX)) return SL_EINVAL;
    return fetch((call *)pub, &q, out);
}

const sl_http table_http = { .size = sizeof(sl_http), .version = 1, .fetch = http_table_fetch };

/* ---- sl.metrics ---- */
static size_t label_count(const char *labels)
{
    size_t n = labels && *labels ? 1 : 0;
    for (const char *p = labels; p && *p; p++)
        n += *p == ',';
    return n;
}

/* Metrics belong to the loop thread: what a pool handler counts is kept with its call and applied when that is over. */
struct counted {
    struct counted *next;
    struct generation *g;
    uint32_t metric, n;
    double v;
    sl_str labels[LABELS_MAX];
    bool set;
};
static _Thread_local struct counted *pool_counted;

static void apply(struct generation *g, uint32_t index, double v, const sl_str *labels, uint32_t n, bool set)
{
    if (set)
        metric_set(g->metrics[index], v, labels, n);
    else
        metric_add(g->metrics[index], v, labels, n);
}

void metrics_change(call *c, uint32_t index, double v, const sl_str *labels, uint32_t n, bool set)
{
    struct generation *g = c ? c->generation : NULL;
    sl_str safe[LABELS_MAX];
    if (!g) return;
    const sl_metric *m = index < g->n_metrics ? &g->spec.metrics[index] : NULL;
    if (!m || set != (m->kind == SL_GAUGE) || !isfinite(v) || (!set && v < 0) || n > LABELS_MAX ||
        n != label_count(m->labels) || (n && !labels)) {
        plugin_log(c, SL_WARN, SL("a metric was given a wrong index, value, kind or number of labels"), NULL, 0);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        safe[i] = labels[i].p ? labels[i] : SL("");
        if (safe[i].n > LABEL_MAX) safe[i].n = LABEL_MAX;
        if (!str_is_utf8(safe[i])) safe[i] = SL("invalid");
    }
    if (!pool_call) {
        apply(g, index, v, safe, n, set);
        return;
    }
    struct counted *k = arena_try(c->arena, sizeof *k);
    if (!k) return;
    *k = (struct counted){ .next = pool_counted, .g = g, .metric = index, .n = n, .v = v, .set = set };
    for (uint32_t i = 0; i < n; i++)
        k->labels[i] = arena_copy(c->arena, safe[i]);
    pool_counted = k;
}

struct counted *metrics_take_pooled(void)
{
    struct counted *list = pool_counted, *order = NULL;
    pool_counted = NULL;
    while (list) { /* oldest first: the last `set` must win */
        struct counted *k = list;
        list = k->next;
        k->next = order;
        order = k;
    }
    return order;
}

void metrics_apply_pooled(struct counted *k)
{
    for (; k; k = k->next)
        apply(k->g, k->metric, k->v, k->labels, k->n, k->set);
}

static void metrics_table_add(sl_call *c, uint32_t index, double v, const sl_str *labels, uint32_t n)
{
    metrics_change(call_mine(c), index, v, labels, n, false);
}

static void metrics_table_set(sl_call *c, uint32_t index, double v, const sl_str *labels, uint32_t n)
{
    metrics_change(call_mine(c), index, v, labels, n, true);
}

const sl_metrics table_metrics = {
    .size = sizeof(sl_metrics), .version = 1, .add = metrics_table_add, .set = metrics_table_set
};

/* ---- sl.crypto ---- */
static sl_err crypto_ready(sl_call *pub, sl_str aad, sl_str in, size_t max, sl_str *out)
{
    if (!call_mine(pub)) return SL_ESTATE;
    if (!out) return SL_EINVAL;
    *out = sl_lit(NULL, 0);
    if (!fits(aad, 0, AAD_MAX) || !fits(in, 0, SIZE_MAX) || !in.p) return SL_EINVAL;
    if (in.n > max) return SL_ETOOBIG;
    ((call *)pub)->sensitive = true;
    return module_keys ? SL_OK : SL_EUNAVAIL;
}

static sl_err crypto_seal(sl_call *c, sl_str aad, sl_str plain, sl_str *blob)
{
    sl_err e = crypto_ready(c, aad, plain, PLAIN_MAX, blob);
    return e ? e : seal(module_keys, ((call *)c)->arena, aad, plain, blob);
}

static sl_err crypto_unseal(sl_call *c, sl_str aad, sl_str blob, sl_str *plain)
{
    sl_err e = crypto_ready(c, aad, blob, BLOB_MAX, plain);
    return e ? e : unseal(module_keys, ((call *)c)->arena, aad, blob, plain);
}

static sl_err crypto_rewrap(sl_call *c, sl_str aad, sl_str blob, sl_str *out)
{
    sl_err e = crypto_ready(c, aad, blob, BLOB_MAX, out);
    return e ? e : seal_rewrap(module_keys, ((call *)c)->arena, aad, blob, out);
}

static sl_str crypto_key_id(sl_call *pub, sl_str blob)
{
    call *c = call_mine(pub);
    if (!c || !module_keys || (!blob.p && blob.n) || blob.n > BLOB_MAX) return sl_lit(NULL, 0);
    return arena_copy(c->arena, seal_key_id(module_keys, blob));
}

const sl_crypto table_crypto = { .size = sizeof(sl_crypto),
                                 .version = 1,
                                 .seal = crypto_seal,
                                 .unseal = crypto_unseal,
                                 .rewrap = crypto_rewrap,
                                 .key_id = crypto_key_id };

/* ---- what a generation is given ---- */
static const struct {
    const char *id;
    size_t at;
    const void *table;
    uint32_t version;
} offered[] = {
    { "sl.core", offsetof(sl_host, core), &table_core, 1 },
    { "sl.store", offsetof(sl_host, store), &table_store, 1 },
    { "sl.bus", offsetof(sl_host, bus), &table_bus, 1 },
    { "sl.jobs", offsetof(sl_host, jobs), &table_jobs, 1 },
    { "sl.http", offsetof(sl_host, http), &table_http, 1 },
    { "sl.metrics", offsetof(sl_host, metrics), &table_metrics, 1 },
    { "sl.crypto", offsetof(sl_host, crypto), &table_crypto, 1 },
};

uint32_t table_version(sl_str id)
{
    for (size_t i = 0; i < sizeof offered / sizeof *offered; i++)
        if (sl_is(id, offered[i].id)) return offered[i].version;
    return 0;
}

void tables_grant(struct generation *g)
{
    g->host = (sl_host){ .size = sizeof(sl_host), .minor = SL_MINOR, .generation = g->number, .core = &table_core };
    for (uint32_t n = 0; n < g->spec.n_needs; n++)
        for (size_t i = 0; i < sizeof offered / sizeof *offered; i++)
            if (strcmp(g->spec.needs[n].id, offered[i].id) == 0 && g->spec.needs[n].min <= offered[i].version)
                memcpy((char *)&g->host + offered[i].at, &offered[i].table, sizeof(void *));
}
