/* cell_serve.c - the host's answers to a plugin in a child process: each question runs as the call itself would have
 * asked it. */
#include "module/cell.h"
#include "base/log.h"
#include "store/store.h"

/* An answer's head is written before the values: error, then whether a transaction is open. */
static size_t answer_begin(buf *out, const struct talk *t, sl_err e)
{
    size_t start = frame_begin(out, FRAME_ANSWER, t->id);
    put_u32(out, (uint32_t)e);
    put_u32(out, store_pending(t->c));
    return start;
}

static void answer_end(buf *out, const struct talk *t, size_t start)
{
    if (frame_end(out, start)) return;
    frame_end(out, answer_begin(out, t, SL_ETOOBIG));
}

static void answer(buf *out, const struct talk *t, sl_err e) { answer_end(out, t, answer_begin(out, t, e)); }

static void answer_str(buf *out, const struct talk *t, sl_err e, sl_str s)
{
    size_t start = answer_begin(out, t, e);
    put_str(out, s);
    answer_end(out, t, start);
}

static bool serve_input(struct talk *t, struct frame *f, buf *out)
{
    uint32_t from = get_u32(f);
    sl_str name = get_str(f);
    if (!frame_done(f)) return false;
    answer_str(out, t, SL_OK, table_core.input(&t->c->pub, from, name));
    return true;
}

static bool serve_query(struct talk *t, struct frame *f, buf *out, bool list)
{
    size_t n;
    const sl_rows *rows = NULL;
    sl_str sql = get_str(f);
    const sl_value *args = get_values(f, t->scratch, &n);
    if (!frame_done(f)) return false;
    sl_err e = list ? table_store.reply_list(&t->c->pub, sql, args, (uint32_t)n)
                    : table_store.query(&t->c->pub, &rows, sql, args, (uint32_t)n);
    size_t start = answer_begin(out, t, e);
    if (!list) put_rows(out, rows);
    answer_end(out, t, start);
    return true;
}

static bool serve_ask(struct talk *t, struct frame *f, buf *out)
{
    const sl_msg *m = NULL;
    sl_str entry = get_str(f), json = get_str(f);
    uint32_t ms = get_u32(f);
    if (!frame_done(f)) return false;
    sl_err e = table_bus.ask(&t->c->pub, entry, json, ms, &m);
    size_t start = answer_begin(out, t, e);
    put_u32(out, m != NULL);
    if (m) {
        put_u32(out, (uint32_t)m->status);
        put_str(out, m->type);
        put_str(out, m->body);
    }
    answer_end(out, t, start);
    return true;
}

static bool serve_enqueue(struct talk *t, struct frame *f, buf *out)
{
    sl_job j = { .size = sizeof j };
    j.kind = get_str(f);
    j.key = get_str(f);
    j.json = get_str(f);
    j.attempts = get_u32(f);
    j.run_at = get_i64(f);
    j.tenant = get_str(f);
    if (!frame_done(f)) return false;
    answer(out, t, table_jobs.enqueue(&t->c->pub, &j));
    return true;
}

static bool serve_fetch(struct talk *t, struct frame *f, buf *out)
{
    size_t n;
    const sl_response *r = NULL;
    sl_request q = { .size = sizeof q };
    q.timeout_ms = get_u32(f);
    q.max_bytes = get_u32(f);
    q.max_redirects = get_u32(f);
    q.method = get_str(f);
    q.url = get_str(f);
    q.body = get_str(f);
    q.headers = get_pairs(f, t->scratch, &n);
    q.n_headers = n;
    if (!frame_done(f)) return false;
    sl_err e = table_http.fetch(&t->c->pub, &q, &r);
    size_t start = answer_begin(out, t, e);
    put_u32(out, r != NULL);
    if (r) {
        put_u32(out, (uint32_t)r->status);
        put_u32(out, r->elapsed_ms);
        put_u32(out, r->redirects);
        put_i64(out, (int64_t)r->wire_bytes);
        put_str(out, r->type);
        put_str(out, r->body);
        put_str(out, r->address);
        put_str(out, r->error_class);
        put_str(out, r->error);
        put_pairs(out, r->headers, (size_t)r->n_headers);
    }
    answer_end(out, t, start);
    return true;
}

static bool serve_crypto(struct talk *t, struct frame *f, buf *out)
{
    sl_call *c = &t->c->pub;
    sl_str result = sl_lit(NULL, 0);
    sl_err e = SL_OK;
    uint32_t which = get_u32(f);
    sl_str aad = get_str(f), data = get_str(f);
    if (!frame_done(f)) return false;
    switch (which) {
    case CRYPTO_SEAL:
        e = table_crypto.seal(c, aad, data, &result);
        break;
    case CRYPTO_UNSEAL:
        e = table_crypto.unseal(c, aad, data, &result);
        break;
    case CRYPTO_REWRAP:
        e = table_crypto.rewrap(c, aad, data, &result);
        break;
    case CRYPTO_KEY_ID:
        result = table_crypto.key_id(c, data);
        break;
    default:
        return false;
    }
    answer_str(out, t, e, result);
    return true;
}

/* The short ones: texts in, an error code out. */
static bool serve_words(struct talk *t, struct frame *f, buf *out)
{
    sl_call *c = &t->c->pub;
    uint32_t number = f->op == FRAME_RETRY || f->op == FRAME_REPLY ? get_u32(f) : 0;
    sl_str a = f->op == FRAME_COMMIT ? sl_lit(NULL, 0) : get_str(f);
    sl_str b = f->op == FRAME_HEADER || f->op == FRAME_REPLY || f->op == FRAME_PUBLISH || f->op == FRAME_UNQUEUE
                   ? get_str(f)
                   : sl_lit(NULL, 0);
    sl_str d = f->op == FRAME_PUBLISH ? get_str(f) : sl_lit(NULL, 0);
    if (!frame_done(f)) return false;
    switch (f->op) {
    case FRAME_HEADER:
        answer(out, t, table_core.header(c, a, b));
        return true;
    case FRAME_REPLY:
        answer(out, t, table_core.reply(c, (int32_t)number, a, b));
        return true;
    case FRAME_WRITE:
        answer(out, t, table_core.write(c, a));
        return true;
    case FRAME_LOCK:
        answer(out, t, table_store.lock(c, a));
        return true;
    case FRAME_COMMIT:
        answer(out, t, table_store.commit(c));
        return true;
    case FRAME_PUBLISH:
        answer(out, t, table_bus.publish(c, a, b, d));
        return true;
    case FRAME_UNQUEUE:
        answer(out, t, table_jobs.cancel(c, a, b));
        return true;
    case FRAME_RETRY:
        answer(out, t, table_jobs.retry(c, number, a));
        return true;
    default:
        return false;
    }
}

/* Only what the plugin was given in process can be asked for here: a child cannot talk itself into more. */
static bool granted(const struct talk *t, uint8_t op)
{
    const sl_host *h = &((const struct generation *)t->c->generation)->host;
    switch (op) {
    case FRAME_QUERY:
    case FRAME_LIST:
    case FRAME_LOCK:
    case FRAME_COMMIT:
        return h->store != NULL;
    case FRAME_PUBLISH:
    case FRAME_ASK:
        return h->bus != NULL;
    case FRAME_ENQUEUE:
    case FRAME_UNQUEUE:
    case FRAME_RETRY:
        return h->jobs != NULL;
    case FRAME_FETCH:
        return h->http != NULL;
    case FRAME_CRYPTO:
        return h->crypto != NULL;
    default:
        return true;
    }
}

bool serve(struct talk *t, buf *out)
{
    struct frame *f = &t->frame;
    if (!granted(t, f->op)) return false;
    switch (f->op) {
    case FRAME_INPUT:
        return serve_input(t, f, out);
    case FRAME_QUERY:
        return serve_query(t, f, out, false);
    case FRAME_LIST:
        return serve_query(t, f, out, true);
    case FRAME_ASK:
        return serve_ask(t, f, out);
    case FRAME_ENQUEUE:
        return serve_enqueue(t, f, out);
    case FRAME_FETCH:
        return serve_fetch(t, f, out);
    case FRAME_CRYPTO:
        return serve_crypto(t, f, out);
    default:
        return serve_words(t, f, out);
    }
}

static bool serve_log(struct talk *t, struct frame *f, arena *a)
{
    size_t n;
    uint32_t level = get_u32(f);
    sl_str text = get_str(f);
    const sl_pair *fields = get_pairs(f, a, &n);
    if (frame_done(f)) plugin_log(t->c, level, text, fields, n);
    return frame_done(f);
}

static bool serve_metric(struct talk *t, struct frame *f, arena *a)
{
    size_t n;
    uint32_t metric = get_u32(f), set = get_u32(f);
    double v = get_f64(f);
    const sl_str *labels = get_strs(f, a, &n);
    const struct generation *g = t->c->generation;
    if (frame_done(f) && g->host.metrics) metrics_change(t->c, metric, v, labels, (uint32_t)n, set != 0);
    return frame_done(f);
}

bool serve_one_way(struct talk *t, struct frame *f)
{
    static arena *a; /* not the call's scratch: a question of it may be in hand */
    if (!a) a = arena_new(0);
    bool good = f->op == FRAME_LOG ? serve_log(t, f, a) : serve_metric(t, f, a);
    arena_reset(a);
    return good;
}

void serve_late(struct talk *t, buf *out, sl_err late) { answer(out, t, late); }

/* ---- what a handler is likely to read, sent along with the call ---- */
static const char *const facts[] = { "tenant",      "actor",   "role",          "request_id", "trace_id",
                                     "traceparent", "method",  "route",         "remote",     "job_id",
                                     "job_key",     "attempt", "max_attempts",  "event_id",   "topic",
                                     "tick",        "caller",  "state_version", "reason" };

struct inputs {
    buf *out;
    call *c;
    uint32_t n;
};

static void put_input(struct inputs *in, uint32_t from, sl_str name, bool absent_too)
{
    sl_str value = in->c->ops->input(in->c, from, name);
    if (!value.p && !absent_too) return;
    put_u32(in->out, from);
    put_str(in->out, name);
    put_str(in->out, value);
    in->n++;
}

static void put_properties(struct inputs *in, uint32_t from, const json_t *schema)
{
    const char *name;
    json_t *property;
    json_object_foreach(json_object_get(schema, "properties"), name, property)
    {
        put_input(in, from, sl_cstr(name), true);
    }
}

static void put_path(struct inputs *in, const char *route)
{
    const char *p = route, *end;
    while ((p = strchr(p, '{')) && (end = strchr(p, '}'))) {
        put_input(in, SL_IN_PATH, sl_lit(p + 1, (size_t)(end - p - 1)), false);
        p = end;
    }
}

/* Facts and path parameters are complete; of the rest what the entry states in its schemas. */
void serve_inputs(buf *out, call *c, const struct entry *e)
{
    struct inputs in = { .out = out, .c = c };
    size_t at = out->n;
    put_u32(out, 0);
    if (!c->ops) return;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        put_input(&in, SL_IN_FACT, sl_cstr(facts[i]), false);
    if (e) {
        put_properties(&in, SL_IN_BODY, e->in);
        put_properties(&in, SL_IN_QUERY, e->query);
        if (e->spec.kind == SL_ROUTE) put_path(&in, e->spec.name);
        if (e->spec.kind == SL_ROUTE) put_input(&in, SL_IN_HEADER, SL("if-match"), true);
        if (!e->in && e->spec.kind != SL_ROUTE) put_input(&in, SL_IN_BODY, SL(""), true);
    }
    if (!out->overflow) memcpy(out->p + at, &in.n, sizeof in.n);
}
