/* requests.c - requests for what a source says: made, listed, read with their attempts, cancelled, replayed. */
#include "oracle.h"
#include "account.h"
#include "jsonpath.h"
#include "rfc3339.h"

#define ENDED "('succeeded', 'failed', 'dead_letter', 'cancelled', 'expired')"

sl_err request_job(sl_call *c, sl_str tenant, const char *kind, sl_str id, int64_t run, int64_t at)
{
    sl_str key = sl_format(c, "%.*s.%lld", (int)id.n, id.p, (long long)run);
    sl_str json = sl_format(c, "{\"id\":\"%.*s\"}", (int)id.n, id.p);
    if (!sl_given(key) || !sl_given(json)) return SL_ETOOBIG;
    return sl_enqueue_for(c, tenant, kind, key, json, at);
}

sl_err request_schedule(sl_call *c, sl_str id, int64_t run, int64_t at)
{
    return request_job(c, sl_lit(NULL, 0), "oracle.fetch", id, run, at);
}

sl_err request_missing(sl_call *c)
{
    sl_str id = sl_path(c, "request");
    sl_str detail = sl_format(c, "There is no oracle request %.*s.", (int)(id.n < 64 ? id.n : 64), id.p ? id.p : "");
    return sl_problem(c, 404, "request_not_found", detail.p ? detail.p : "There is no such oracle request.");
}

static sl_err not_found(sl_call *c)
{
    sl_err e = sl_account_required(c);
    return e ? e : request_missing(c);
}

/* [S] A source that a new request names must be there and enabled. */
static sl_err check_source(sl_call *c, sl_str id)
{
    const sl_rows *rows;
    sl_err e = source_load(c, sl_path(c, "account"), id, &rows);
    if (e) return e;
    if (rows->rows == 0) {
        e = sl_account_required(c);
        return e ? e : source_missing(c, id);
    }
    if (sl_cell_int(rows, 0, "enabled")) return SL_OK;
    sl_str name = sl_cell_text(rows, 0, "name");
    sl_str detail = sl_format(c, "Data source %.*s is disabled.", (int)name.n, name.p);
    return sl_problem(c, 409, "source_disabled", detail.p ? detail.p : "The data source is disabled.");
}

static sl_err check_sources(sl_call *c)
{
    sl_str seen[SOURCES_MAX], others = sl_body(c, "alternate_source_ids");
    size_t n = 0;
    seen[n++] = sl_body(c, "source_id");
    for (unsigned i = 0; n < SOURCES_MAX; i++) {
        char at[8];
        (void)snprintf(at, sizeof at, "/%u", i);
        sl_str id = sl_json_at(c, others, at);
        if (!sl_given(id)) break;
        for (size_t k = 0; k < n; k++)
            if (sl_same(seen[k], id)) return sl_problem(c, 422, "source_repeated", "A source is named more than once.");
        seen[n++] = id;
    }
    for (size_t i = 0; i < n; i++) {
        sl_err e = check_source(c, seen[i]);
        if (e) return e;
    }
    return SL_OK;
}

static sl_err check_request(sl_call *c, const struct oracle *o)
{
    sl_str filter = sl_body(c, "filter"), payload = sl_body(c, "payload"), detail;
    if (payload.n > PAYLOAD_MAX) return sl_problem(c, 413, "payload_too_large", "payload is at most 65536 bytes.");
    if (filter.n > o->filter_max) {
        detail = sl_format(c, "filter is %zu bytes long; the limit filter_max_bytes is %zu.", filter.n, o->filter_max);
        return sl_problem(c, 422, "filter_too_long", detail.p ? detail.p : "filter is too long.");
    }
    const char *wrong = sl_given(filter) ? jsonpath_check(filter) : NULL;
    return wrong ? sl_problem(c, 422, "bad_filter", wrong) : check_sources(c);
}

sl_err request_create(void *self, sl_call *c)
{
    const struct oracle *o = self;
    const sl_rows *rows;
    sl_err e = check_request(c, o);
    if (e) return e;
    sl_str id = sl_new_id(c);
    int64_t now = sl_now(c);
    sl_value expires = o->ttl_us > 0 ? sl_int(now + o->ttl_us) : sl_text(sl_lit(NULL, 0));
    e = sl_query(
        c, &rows,
        "insert into oracle_requests (id, tenant, account_id, source_id, alternate_source_ids, payload, aggregation, "
        "filter, status, run, attempts, tries, created_at, updated_at, expires_at, next_attempt_at) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', 0, 0, 0, $9, $9, $10, $9) returning *",
        id, sl_fact(c, "tenant"), sl_path(c, "account"), sl_body(c, "source_id"), sl_body(c, "alternate_source_ids"),
        sl_body(c, "payload"), sl_body(c, "aggregation"), sl_body(c, "filter"), now, expires);
    if (e == SL_ENOENT) return sl_account_missing(c);
    if (!e && o->n_tokens == 0) e = request_schedule(c, id, 0, 0); /* else runners lease it */
    return e ? e : sl_reply_row(c, 201, rows);
}

sl_err request_list(void *self, sl_call *c)
{
    (void)self;
    sl_err e = sl_account_required(c);
    if (e) return e;
    return sl_reply_list(c,
                         "select * from oracle_requests where tenant = $1 and account_id = $2 "
                         "and status = coalesce($3, status) {{page}}",
                         sl_fact(c, "tenant"), sl_path(c, "account"), sl_param(c, "status"));
}

static void number_or_null(sl_json *j, const sl_rows *rows, uint32_t i, const char *name)
{
    sl_value v = sl_cell(rows, i, name);
    if (v.type == SL_INT)
        sl_json_int(j, name, v.i);
    else
        sl_json_raw(j, name, sl_lit(NULL, 0));
}

static void text_or_null(sl_json *j, const sl_rows *rows, uint32_t i, const char *name)
{
    sl_json_text(j, name, sl_cell_text(rows, i, name));
}

static sl_err attempts_json(sl_call *c, sl_str id, sl_str *json)
{
    const sl_rows *rows = NULL;
    sl_err e = sl_query(
        c, &rows, "select * from oracle_attempts where tenant = $1 and request_id = $2 order by id desc limit 200",
        sl_fact(c, "tenant"), id);
    if (e) return e;
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '[');
    for (uint32_t i = rows->rows; i-- > 0;) { /* oldest first; of very many, the newest */
        sl_json_open(&j, NULL, '{');
        number_or_null(&j, rows, i, "attempt");
        text_or_null(&j, rows, i, "source_id");
        text_or_null(&j, rows, i, "outcome");
        number_or_null(&j, rows, i, "status");
        text_or_null(&j, rows, i, "address");
        text_or_null(&j, rows, i, "content_type");
        number_or_null(&j, rows, i, "bytes");
        number_or_null(&j, rows, i, "ms");
        text_or_null(&j, rows, i, "error_class");
        text_or_null(&j, rows, i, "error");
        sl_json_text(&j, "created_at", sl_time_text(c, sl_cell_int(rows, i, "created_at")));
        sl_json_close(&j, '}');
    }
    sl_json_close(&j, ']');
    *json = sl_json_end(&j);
    return SL_OK;
}

/* What was the answer before each replay. */
static sl_err outcomes_json(sl_call *c, sl_str id, sl_str *json)
{
    const sl_rows *rows = NULL;
    sl_err e = sl_query(c, &rows,
                        "select * from oracle_outcomes where tenant = $1 and request_id = $2 order by id desc limit 20",
                        sl_fact(c, "tenant"), id);
    if (e) return e;
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '[');
    for (uint32_t i = rows->rows; i-- > 0;) {
        sl_json_open(&j, NULL, '{');
        text_or_null(&j, rows, i, "status");
        number_or_null(&j, rows, i, "attempts");
        text_or_null(&j, rows, i, "result");
        text_or_null(&j, rows, i, "error");
        text_or_null(&j, rows, i, "error_code");
        text_or_null(&j, rows, i, "result_code");
        sl_json_text(&j, "completed_at", sl_time_text(c, sl_cell_int(rows, i, "completed_at")));
        sl_json_close(&j, '}');
    }
    sl_json_close(&j, ']');
    *json = sl_json_end(&j);
    return SL_OK;
}

/* The row with two columns of JSON text more. */
static sl_err widen(sl_call *c, const sl_rows *rows, const char *const names[2], const sl_str json[2], sl_rows *out)
{
    uint32_t cols = rows->cols + 2;
    sl_str *n = sl_alloc(c, cols * sizeof *n);
    sl_value *v = sl_alloc(c, cols * sizeof *v);
    if (!n || !v) return SL_ETOOBIG;
    memcpy(n, rows->names, rows->cols * sizeof *n);
    memcpy(v, rows->cells, rows->cols * sizeof *v);
    for (uint32_t i = 0; i < 2; i++) {
        n[rows->cols + i] = sl_cstr(names[i]);
        v[rows->cols + i] = sl_text(json[i]);
    }
    *out = (sl_rows){ .size = sizeof *out, .cols = cols, .rows = 1, .names = n, .cells = v };
    return SL_OK;
}

/* [S] */
static sl_err request_reply(sl_call *c, int32_t status, sl_str id)
{
    static const char *const names[2] = { "attempt_log", "earlier_outcomes" };
    const sl_rows *rows;
    sl_rows wide;
    sl_str json[2];
    sl_err e = sl_query(c, &rows, "select * from oracle_requests where tenant = $1 and account_id = $2 and id = $3",
                        sl_fact(c, "tenant"), sl_path(c, "account"), id);
    if (e) return e;
    if (rows->rows == 0) return not_found(c);
    e = attempts_json(c, id, &json[0]);
    if (!e) e = outcomes_json(c, id, &json[1]);
    if (!e) e = widen(c, rows, names, json, &wide);
    return e ? e : sl_reply_row(c, status, &wide);
}

sl_err request_get(void *self, sl_call *c)
{
    (void)self;
    return request_reply(c, 200, sl_path(c, "request"));
}

/* The state forbids it, or the request is not there. */
static sl_err why_not(sl_call *c, const char *detail)
{
    const sl_rows *rows;
    sl_err e = sl_query(c, &rows,
                        "select status from oracle_requests where tenant = $1 and account_id = $2 and id = $3",
                        sl_fact(c, "tenant"), sl_path(c, "account"), sl_path(c, "request"));
    if (e) return e;
    if (rows->rows == 0) return not_found(c);
    sl_str status = sl_cell_text(rows, 0, "status");
    sl_str text = sl_format(c, "The request is %.*s: %s", (int)status.n, status.p, detail);
    return sl_problem(c, 409, "request_state", text.p ? text.p : detail);
}

sl_err request_cancel(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str id = sl_path(c, "request");
    (void)self;
    sl_err e = sl_query(
        c, &rows,
        "update oracle_requests set status = 'cancelled', error = 'The request was cancelled.', "
        "error_code = 'cancelled', result_code = 'error', completed_at = $1, updated_at = $1, "
        "next_attempt_at = null, lease = null, lease_until = null "
        "where tenant = $2 and account_id = $3 and id = $4 and status in ('pending', 'running') returning run",
        sl_now(c), sl_fact(c, "tenant"), sl_path(c, "account"), id);
    if (e) return e;
    if (rows->rows == 0) return why_not(c, "only a pending or running one can be cancelled.");
    const sl_str label[] = { SL("cancelled") };
    sl_count(c, METRIC_REQUESTS, 1, label, 1);
    int64_t run = sl_cell_int(rows, 0, "run");
    for (int64_t r = run; !e && r >= 0 && r >= run - 1; r--) /* the job that waits, or the one that runs */
        e = sl_cancel_job(c, "oracle.fetch", sl_format(c, "%.*s.%lld", (int)id.n, id.p, (long long)r));
    return e ? e : request_reply(c, 200, id);
}

sl_err request_replay(void *self, sl_call *c)
{
    const struct oracle *o = self;
    const sl_rows *rows;
    sl_str id = sl_path(c, "request"), tenant = sl_fact(c, "tenant"), account = sl_path(c, "account");
    int64_t now = sl_now(c);
    sl_err e = sl_query(
        c, &rows,
        "insert into oracle_outcomes (id, tenant, request_id, status, attempts, result, error, error_code, "
        "result_code, completed_at) select cast($1 as text), tenant, id, status, attempts, result, error, "
        "error_code, result_code, completed_at from oracle_requests "
        "where tenant = $2 and account_id = $3 and id = $4 and status in " ENDED,
        sl_new_id(c), tenant, account, id);
    if (e) return e;
    e = sl_query(
        c, &rows,
        "update oracle_requests set status = 'pending', tries = 0, result = null, error = null, error_code = null, "
        "result_code = null, completed_at = null, updated_at = $1, next_attempt_at = $1, expires_at = $2 "
        "where tenant = $3 and account_id = $4 and id = $5 and status in " ENDED " returning run",
        now, o->ttl_us > 0 ? sl_int(now + o->ttl_us) : sl_text(sl_lit(NULL, 0)), tenant, account, id);
    if (e) return e;
    if (rows->rows == 0) return why_not(c, "only one that ended can be replayed.");
    if (o->n_tokens == 0) e = request_schedule(c, id, sl_cell_int(rows, 0, "run"), 0);
    return e ? e : request_reply(c, 200, id);
}
