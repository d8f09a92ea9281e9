/* cell_tables.c - the contract's tables inside a plugin's child process: each function is a question to the host. */
#include "module/cell.h"
#include "base/log.h"

enum { FETCH_FIELDS_MAX = 1000 };

/* Absent with a length is a plugin's bug that in process is found by the table; keep it one here. */
static bool sane(sl_str s) { return s.p || s.n == 0; }

/* ---- sl.store ---- */
static sl_err rows_question(sl_call *pub, enum frame_op op, sl_str sql, const sl_value *args, uint32_t n,
                            struct frame *f)
{
    if (!sane(sql) || (n && !args)) return SL_EINVAL;
    for (uint32_t i = 0; i < n; i++)
        if (args[i].type > SL_BLOB || ((args[i].type == SL_TEXT || args[i].type == SL_BLOB) && !sane(args[i].s)))
            return SL_EINVAL;
    struct cell_question q = question_begin((call *)pub, op);
    put_str(q.out, sql);
    put_values(q.out, args, n);
    return question_end((call *)pub, q, true, f);
}

static sl_err child_query(sl_call *pub, const sl_rows **out, sl_str sql, const sl_value *args, uint32_t n)
{
    struct frame f;
    sl_err e = may_wait(pub, "query", true);
    if (out) *out = NULL;
    if (e || (e = rows_question(pub, FRAME_QUERY, sql, args, n, &f))) return e;
    const sl_rows *rows = get_rows(&f, ((call *)pub)->arena);
    if (out) *out = rows;
    return f.bad ? SL_EINTERNAL : SL_OK;
}

static sl_err child_reply_list(sl_call *pub, sl_str sql, const sl_value *args, uint32_t n)
{
    struct frame f;
    sl_err e = may_wait(pub, "reply_list", true);
    if (e || (e = rows_question(pub, FRAME_LIST, sql, args, n, &f))) return e;
    child_forget_reply((call *)pub); /* the host has replied: this is the newest answer */
    return SL_OK;
}

static sl_err child_lock(sl_call *pub, sl_str name)
{
    struct frame f;
    sl_err e = may_wait(pub, "lock", true);
    if (e || !sane(name)) return e ? e : SL_EINVAL;
    struct cell_question q = question_begin((call *)pub, FRAME_LOCK);
    put_str(q.out, name);
    return question_end((call *)pub, q, true, &f);
}

static sl_err child_commit(sl_call *pub)
{
    struct frame f;
    sl_err e = may_wait(pub, "commit", true);
    return e ? e : question_end((call *)pub, question_begin((call *)pub, FRAME_COMMIT), true, &f);
}

static const sl_store child_store = { .size = sizeof(sl_store),
                                      .version = 1,
                                      .query = child_query,
                                      .reply_list = child_reply_list,
                                      .lock = child_lock,
                                      .commit = child_commit };

/* ---- sl.bus ---- */
static sl_err child_publish(sl_call *pub, sl_str topic, sl_str key, sl_str json)
{
    struct frame f;
    sl_err e = may_wait(pub, "publish", true);
    if (e || !sane(topic) || !sane(key) || !sane(json)) return e ? e : SL_EINVAL;
    struct cell_question q = question_begin((call *)pub, FRAME_PUBLISH);
    put_str(q.out, topic);
    put_str(q.out, key);
    put_str(q.out, json);
    return question_end((call *)pub, q, false, &f);
}

static sl_err child_ask(sl_call *pub, sl_str entry, sl_str json, uint32_t timeout_ms, const sl_msg **out)
{
    struct frame f;
    sl_err e = may_wait(pub, "ask", false);
    if (out) *out = NULL;
    if (e || !sane(entry) || !sane(json)) return e ? e : SL_EINVAL;
    struct cell_question q = question_begin((call *)pub, FRAME_ASK);
    put_str(q.out, entry);
    put_str(q.out, json);
    put_u32(q.out, timeout_ms);
    e = question_end((call *)pub, q, true, &f);
    if (e || !get_u32(&f)) return e;
    sl_msg *m = arena_alloc(((call *)pub)->arena, sizeof *m);
    m->size = sizeof *m;
    m->status = (int32_t)get_u32(&f);
    m->type = get_str(&f);
    m->body = get_str(&f);
    if (out) *out = m;
    return f.bad ? SL_EINTERNAL : SL_OK;
}

static const sl_bus child_bus = { .size = sizeof(sl_bus), .version = 1, .publish = child_publish, .ask = child_ask };

/* ---- sl.jobs ---- */
static sl_err child_enqueue(sl_call *pub, const sl_job *job)
{
    struct frame f;
    sl_job j = { 0 };
    sl_err e = may_wait(pub, "enqueue", true);
    if (e) return e;
    if (!job || job->size < offsetof(sl_job, run_at) + sizeof job->run_at) return SL_EINVAL;
    memcpy(&j, job, job->size < sizeof j ? job->size : sizeof j);
    if (!sane(j.kind) || !sane(j.key) || !sane(j.json) || !sane(j.tenant)) return SL_EINVAL;
    struct cell_question q = question_begin((call *)pub, FRAME_ENQUEUE);
    put_str(q.out, j.kind);
    put_str(q.out, j.key);
    put_str(q.out, j.json);
    put_u32(q.out, j.attempts);
    put_i64(q.out, j.run_at);
    put_str(q.out, j.tenant);
    return question_end((call *)pub, q, false, &f);
}

static sl_err child_cancel(sl_call *pub, sl_str kind, sl_str key)
{
    struct frame f;
    sl_err e = may_wait(pub, "cancel", true);
    if (e || !sane(kind) || !sane(key)) return e ? e : SL_EINVAL;
    struct cell_question q = question_begin((call *)pub, FRAME_UNQUEUE);
    put_str(q.out, kind);
    put_str(q.out, key);
    return question_end((call *)pub, q, false, &f);
}

static sl_err child_retry(sl_call *pub, uint32_t delay_ms, sl_str why)
{
    struct frame f;
    sl_err e = may_wait(pub, "retry", true);
    if (e || !sane(why)) return e ? e : SL_EINVAL;
    struct cell_question q = question_begin((call *)pub, FRAME_RETRY);
    put_u32(q.out, delay_ms);
    put_str(q.out, why);
    return question_end((call *)pub, q, false, &f);
}

static const sl_jobs child_jobs = {
    .size = sizeof(sl_jobs), .version = 1, .enqueue = child_enqueue, .cancel = child_cancel, .retry = child_retry
};

/* ---- sl.http ---- */
static sl_response *read_response(call *c, struct frame *f)
{
    size_t n;
    sl_response *r = arena_alloc(c->arena, sizeof *r);
    r->size = sizeof *r;
    r->status = (int32_t)get_u32(f);
    r->elapsed_ms = get_u32(f);
    r->redirects = get_u32(f);
    r->wire_bytes = (uint64_t)get_i64(f);
    r->type = get_str(f);
    r->body = get_str(f);
    r->address = get_str(f);
    r->error_class = get_str(f);
    r->error = get_str(f);
    r->headers = get_pairs(f, c->arena, &n);
    r->n_headers = n;
    return r;
}

static sl_err child_fetch(sl_call *pub, const sl_request *r, const sl_response **out)
{
    struct frame f;
    sl_request w = { 0 };
    sl_err e = may_wait(pub, "fetch", false);
    if (out) *out = NULL;
    if (e) return e;
    if (!r || r->size < offsetof(sl_request, n_headers) + sizeof r->n_headers) return SL_EINVAL;
    memcpy(&w, r, r->size < sizeof w ? r->size : sizeof w);
    if (!sane(w.method) || !sane(w.url) || !sane(w.body) || w.n_headers > FETCH_FIELDS_MAX ||
        (w.n_headers && !w.headers))
        return SL_EINVAL;
    for (uint64_t i = 0; i < w.n_headers; i++)
        if (!sane(w.headers[i].name) || !sane(w.headers[i].value)) return SL_EINVAL;
    struct cell_question q = question_begin((call *)pub, FRAME_FETCH);
    put_u32(q.out, w.timeout_ms);
    put_u32(q.out, w.max_bytes);
    put_u32(q.out, w.max_redirects);
    put_str(q.out, w.method);
    put_str(q.out, w.url);
    put_str(q.out, w.body);
    put_pairs(q.out, w.headers, (size_t)w.n_headers);
    e = question_end((call *)pub, q, true, &f);
    if (f.bad || !get_u32(&f)) return e;
    const sl_response *response = read_response((call *)pub, &f);
    if (out) *out = response;
    return f.bad ? SL_EINTERNAL : e;
}

static const sl_http child_http = { .size = sizeof(sl_http), .version = 1, .fetch = child_fetch };

/* ---- sl.metrics: one way ---- */
static void child_count(sl_call *pub, uint32_t metric, double v, const sl_str *labels, uint32_t n, bool set)
{
    call *c = call_mine(pub);
    if (!c || n > 64 || (n && !labels)) return;
    buf *out = child_out();
    size_t start = frame_begin(out, FRAME_METRIC, child_call_id(c));
    put_u32(out, metric);
    put_u32(out, set);
    put_f64(out, v);
    put_strs(out, labels, n);
    frame_end(out, start);
    child_send();
}
static void child_add(sl_call *c, uint32_t metric, double v, const sl_str *labels, uint32_t n)
{
    child_count(c, metric, v, labels, n, false);
}
static void child_set(sl_call *c, uint32_t metric, double v, const sl_str *labels, uint32_t n)
{
    child_count(c, metric, v, labels, n, true);
}
static const sl_metrics child_metrics = {
    .size = sizeof(sl_metrics), .version = 1, .add = child_add, .set = child_set
};

/* ---- sl.crypto ---- */
static sl_err crypto(sl_call *pub, enum frame_crypto which, sl_str aad, sl_str data, sl_str *out)
{
    struct frame f;
    call *c = call_mine(pub);
    if (!c) return SL_ESTATE;
    if (!out) return SL_EINVAL;
    *out = sl_lit(NULL, 0);
    if (!sane(aad) || !sane(data)) return SL_EINVAL;
    struct cell_question q = question_begin(c, FRAME_CRYPTO);
    put_u32(q.out, which);
    put_str(q.out, aad);
    put_str(q.out, data);
    sl_err e = question_end(c, q, false, &f);
    if (!e) *out = get_str(&f);
    return e;
}
static sl_err child_seal(sl_call *c, sl_str aad, sl_str plain, sl_str *blob)
{
    return crypto(c, CRYPTO_SEAL, aad, plain, blob);
}
static sl_err child_unseal(sl_call *c, sl_str aad, sl_str blob, sl_str *plain)
{
    return crypto(c, CRYPTO_UNSEAL, aad, blob, plain);
}
static sl_err child_rewrap(sl_call *c, sl_str aad, sl_str blob, sl_str *out)
{
    return crypto(c, CRYPTO_REWRAP, aad, blob, out);
}
static sl_str child_key_id(sl_call *c, sl_str blob)
{
    sl_str id = sl_lit(NULL, 0);
    crypto(c, CRYPTO_KEY_ID, sl_lit(NULL, 0), blob, &id);
    return id;
}
static const sl_crypto child_crypto = { .size = sizeof(sl_crypto),
                                        .version = 1,
                                        .seal = child_seal,
                                        .unseal = child_unseal,
                                        .rewrap = child_rewrap,
                                        .key_id = child_key_id };

void child_log(call *c, uint32_t level, sl_str text, const sl_pair *fields, size_t n)
{
    buf *out = child_out();
    size_t start = frame_begin(out, FRAME_LOG, child_call_id(c));
    put_u32(out, level);
    put_str(out, text);
    put_pairs(out, fields, fields ? n : 0);
    frame_end(out, start);
    child_send();
}

void child_tables(sl_host *host)
{
    host->isolated = 1;
    if (host->store) host->store = &child_store;
    if (host->bus) host->bus = &child_bus;
    if (host->jobs) host->jobs = &child_jobs;
    if (host->http) host->http = &child_http;
    if (host->metrics) host->metrics = &child_metrics;
    if (host->crypto) host->crypto = &child_crypto;
}
