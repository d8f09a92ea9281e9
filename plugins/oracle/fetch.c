/* fetch.c - the job behind a request: take it on, fetch outside any transaction, write what came of it. */
#include "oracle.h"

static sl_err fetch_one(sl_call *c, const struct oracle *o, const struct work *w, sl_str source_id, struct attempt *a)
{
    const sl_rows *source;
    const sl_response *r = NULL;
    struct outgoing *out = sl_alloc(c, sizeof *out);
    sl_str account = sl_cell_text(w->row, w->at, "account_id");
    a->source_id = source_id;
    a->recorded = 1;
    if (!out) return SL_ETOOBIG;
    sl_err e = source_load(c, account, source_id, &source);
    if (e) return e;
    if (source->rows == 0) {
        attempt_fail(a, ATTEMPT_FAILED, "source_not_found", "not_found", SL("The data source was deleted."));
        return SL_OK;
    }
    if (!sl_cell_int(source, 0, "enabled")) {
        attempt_fail(a, ATTEMPT_FAILED, "source_disabled", "forbidden", SL("The data source is disabled."));
        return SL_OK;
    }
    if (!outgoing_build(c, source, account, sl_cell_text(w->row, w->at, "payload"), out, a)) return SL_OK;
    sl_request request = { .size = sizeof request,
                           .timeout_ms = (uint32_t)o->timeout_ms,
                           .max_bytes = (uint32_t)o->result_max,
                           .max_redirects = o->redirects,
                           .method = out->method,
                           .url = out->url,
                           .body = out->body,
                           .headers = out->headers,
                           .n_headers = out->n_headers };
    e = sl_fetch(c, &request, &r);
    if (e == SL_ECANCEL) return e; /* drained or cancelled: somebody else goes on, or nobody */
    answer_judge(c, o, e, r, out, sl_cell_text(w->row, w->at, "filter"), a);
    return SL_OK;
}

/* Every source in turn; `first` stops at the first success. */
static sl_err fetch_all(sl_call *c, const struct oracle *o, const struct work *w, struct attempt *tries, size_t *n)
{
    sl_str others = sl_cell_text(w->row, w->at, "alternate_source_ids");
    int first = sl_is(sl_cell_text(w->row, w->at, "aggregation"), "first");
    sl_str id = sl_cell_text(w->row, w->at, "source_id");
    for (*n = 0; *n < SOURCES_MAX && sl_given(id);) {
        char at[8];
        struct attempt *a = &tries[*n];
        sl_err e = fetch_one(c, o, w, id, a);
        if (e) return e;
        (void)snprintf(at, sizeof at, "/%zu", (*n)++);
        if (first && a->outcome == ATTEMPT_OK) break;
        id = sl_json_at(c, others, at);
    }
    return SL_OK;
}

/* The external resolver's protocol: GET url?request_id=ID; {done, success, result, error, retry_after_seconds}. */
static sl_err ask_resolver(sl_call *c, const struct oracle *o, const struct work *w, struct attempt *a,
                           int64_t *wait_us)
{
    const sl_response *r = NULL;
    struct outgoing *out = sl_alloc(c, sizeof *out); /* the key is kept out of sentences like a secret */
    if (!out) return SL_ETOOBIG;
    char mark = memchr(o->resolver_url.p, '?', o->resolver_url.n) ? '&' : '?';
    sl_pair header = { SL("Authorization"), sl_format(c, "Bearer %.*s", (int)o->resolver_key.n,
                                                      o->resolver_key.p ? o->resolver_key.p : "") };
    out->secrets[0] = o->resolver_key;
    out->n_secrets = o->resolver_key.n ? 1 : 0;
    sl_request request = { .size = sizeof request,
                           .timeout_ms = (uint32_t)o->timeout_ms,
                           .max_bytes = 2 * (uint32_t)o->result_max + 4096,
                           .method = SL("GET"),
                           .headers = &header,
                           .n_headers = out->n_secrets,
                           .url = sl_format(c, "%.*s%crequest_id=%.*s", (int)o->resolver_url.n, o->resolver_url.p, mark,
                                            (int)w->id.n, w->id.p) };
    sl_err e = sl_fetch(c, &request, &r);
    if (e == SL_ECANCEL) return e;
    answer_judge(c, o, e, r, out, sl_lit(NULL, 0), a);
    if (a->outcome != ATTEMPT_OK) {
        a->outcome = ATTEMPT_RETRY; /* the resolver's own trouble says nothing about the request */
        return SL_OK;
    }
    sl_str reply = r->body, error = sl_json_at(c, reply, "/error");
    if (!sl_is(sl_json_at(c, reply, "/done"), "true")) {
        int64_t seconds = sl_to_int(sl_json_at(c, reply, "/retry_after_seconds"), 0);
        *wait_us = seconds > 0 ? (seconds < 3600 ? seconds : 3600) * 1000000 : o->backoff_us / 2;
        if (!sl_given(sl_json_at(c, reply, "/done")))
            attempt_fail(a, ATTEMPT_RETRY, "resolver_reply", "error",
                         SL("The resolver's reply does not say whether it is done."));
        return SL_OK;
    }
    if (sl_is(sl_json_at(c, reply, "/success"), "true"))
        result_take(c, o, sl_json_at(c, reply, "/result"), sl_cell_text(w->row, w->at, "filter"), a);
    else
        attempt_fail(a, ATTEMPT_FAILED, "resolver_failed", "error",
                     error.n ? error : SL("The resolver reports a failure."));
    return SL_OK;
}

static sl_err resolve_outside(sl_call *c, const struct oracle *o, const struct work *w)
{
    struct attempt a = { .outcome = ATTEMPT_RETRY };
    int64_t wait_us = 0;
    sl_err e = ask_resolver(c, o, w, &a, &wait_us);
    if (e) return e;
    if (wait_us && a.outcome == ATTEMPT_OK) return work_postpone(c, w, wait_us);
    return work_settle(c, o, w, &a, &a, 1);
}

static sl_err fetch_inside(sl_call *c, const struct oracle *o, const struct work *w)
{
    struct attempt *tries = sl_alloc(c, SOURCES_MAX * sizeof *tries);
    size_t n;
    if (!tries) return SL_ETOOBIG;
    sl_err e = fetch_all(c, o, w, tries, &n);
    if (e) return e;
    struct attempt end = attempts_join(c, sl_cell_text(w->row, w->at, "aggregation"), tries, n);
    return work_settle(c, o, w, &end, tries, n);
}

static void lost(struct attempt *a)
{
    memset(a, 0, sizeof *a);
    attempt_fail(a, ATTEMPT_RETRY, "worker_lost", "error",
                 SL("The process that worked on the attempt ended before it did."));
    a->error_class = SL("worker");
    a->recorded = 1;
}

sl_err fetch_job(void *self, sl_call *c)
{
    const struct oracle *o = self;
    const sl_rows *rows;
    struct attempt before;
    int64_t now = sl_now(c);
    sl_err e = sl_query(c, &rows, "select * from oracle_requests where tenant = $1 and id = $2", sl_fact(c, "tenant"),
                        sl_body(c, "id"));
    if (e || rows->rows == 0) return e; /* the account was deleted */
    struct work w = work_of(rows, 0);
    sl_str status = sl_cell_text(rows, 0, "status");
    int running = sl_is(status, "running");
    if (!running && !sl_is(status, "pending")) return SL_OK;
    sl_value expires = sl_cell(rows, 0, "expires_at");
    if (expires.type == SL_INT && expires.i <= now) return work_expire(c, &w);
    int64_t due = sl_cell_int(rows, 0, "next_attempt_at");
    if (due > now + 50000)
        return c->host->jobs->retry(c, (uint32_t)((due - now) / 1000), SL("the next attempt is not due yet"));
    lost(&before);
    if (running && w.tries >= o->max_tries) return work_settle(c, o, &w, &before, &before, 1);
    int64_t attempt = w.attempts;
    e = work_take(c, &w, sl_lit(NULL, 0), 0);
    if (e || w.run == 0) return e;
    if (running) e = attempt_record(c, &w, attempt, &before);
    if (!e) e = sl_commit(c);
    if (e) return e;
    return o->resolver_url.n ? resolve_outside(c, o, &w) : fetch_inside(c, o, &w);
}
