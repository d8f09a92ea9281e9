/* runner.c - fetching by others: runners lease requests, bring results, and lose what they hold too long. */
#include "oracle.h"
#include "rfc3339.h"

static sl_err check_runner(const struct oracle *o, sl_call *c)
{
    if (o->n_tokens == 0)
        return sl_problem(c, 404, "no_runners", "This server has no ORACLE_RUNNER_TOKENS, so it fetches by itself.");
    if (oracle_has_token(o, sl_req_header(c, "x-oracle-runner-token"))) return SL_OK;
    return sl_problem(c, 401, "runner_token_required",
                      "X-Oracle-Runner-Token is missing or not one of the runners' tokens.");
}

/* A source as the ready request for it, secrets filled in; or why it cannot be asked. */
static sl_err write_source(sl_call *c, const struct work *w, sl_str id, sl_json *j)
{
    const sl_rows *source;
    struct attempt a = { .outcome = ATTEMPT_OK };
    struct outgoing *out = sl_alloc(c, sizeof *out);
    sl_str account = sl_cell_text(w->row, w->at, "account_id");
    if (!out) return SL_ETOOBIG;
    sl_err e = source_load(c, account, id, &source);
    if (e) return e;
    sl_json_open(j, NULL, '{');
    sl_json_text(j, "source_id", id);
    if (source->rows == 0)
        attempt_fail(&a, ATTEMPT_FAILED, "source_not_found", "not_found", SL("The data source was deleted."));
    else if (!sl_cell_int(source, 0, "enabled"))
        attempt_fail(&a, ATTEMPT_FAILED, "source_disabled", "forbidden", SL("The data source is disabled."));
    else if (outgoing_build(c, source, account, sl_cell_text(w->row, w->at, "payload"), out, &a)) {
        sl_json_text(j, "method", out->method);
        sl_json_text(j, "url", out->url);
        sl_json_open(j, "headers", '{');
        for (size_t i = 0; i < out->n_headers; i++)
            sl_json_text(j, out->headers[i].name.p, out->headers[i].value);
        sl_json_close(j, '}');
        sl_json_text(j, "body", out->body);
    }
    sl_json_text(j, "error", a.error);
    sl_json_close(j, '}');
    return SL_OK;
}

static sl_err write_leased(sl_call *c, const struct work *w, sl_json *j)
{
    sl_str others = sl_cell_text(w->row, w->at, "alternate_source_ids"), id = sl_cell_text(w->row, w->at, "source_id");
    static const char *const texts[] = { "id", "account_id", "payload", "aggregation", "filter", "lease" };
    sl_json_open(j, NULL, '{');
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        sl_json_text(j, texts[i], sl_cell_text(w->row, w->at, texts[i]));
    sl_json_int(j, "attempt", w->attempts);
    sl_json_text(j, "lease_until", sl_time_text(c, sl_cell_int(w->row, w->at, "lease_until")));
    sl_json_open(j, "sources", '[');
    for (unsigned i = 0; i < SOURCES_MAX && sl_given(id); i++) {
        char at[8];
        sl_err e = write_source(c, w, id, j);
        if (e) return e;
        (void)snprintf(at, sizeof at, "/%u", i);
        id = sl_json_at(c, others, at);
    }
    sl_json_close(j, ']');
    sl_json_close(j, '}');
    return SL_OK;
}

sl_err runner_lease(void *self, sl_call *c)
{
    const struct oracle *o = self;
    const sl_rows *rows;
    int64_t now = sl_now(c), seconds = sl_to_int(sl_body(c, "visibility_seconds"), 60);
    sl_err e = check_runner(o, c);
    if (e) return e;
    e = sl_query(
        c, &rows,
        "update oracle_requests set status = 'running', run = run + 1, attempts = attempts + 1, tries = tries + 1, "
        "lease = $1, lease_until = $2, updated_at = $3, next_attempt_at = null where id in "
        "(select id from oracle_requests where tenant = $4 and status = 'pending' and next_attempt_at <= $3 "
        "and (expires_at is null or expires_at > $3) order by id limit $5 {{skip_locked}}) returning *",
        sl_new_id(c), now + seconds * 1000000, now, sl_fact(c, "tenant"), sl_to_int(sl_body(c, "max"), 1));
    if (!e) e = sl_commit(c); /* secrets are asked for outside the transaction */
    if (e) return e;
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '{');
    sl_json_open(&j, "items", '[');
    for (uint32_t i = 0; i < rows->rows; i++) {
        struct work w = work_of(rows, i);
        e = write_leased(c, &w, &j);
        if (e) return e;
    }
    sl_json_close(&j, ']');
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

/* [S] The request of the path, if this lease still holds it. */
static sl_err find_leased(sl_call *c, struct work *w)
{
    const sl_rows *rows;
    sl_err e = sl_query(c, &rows, "select * from oracle_requests where tenant = $1 and id = $2", sl_fact(c, "tenant"),
                        sl_path(c, "request"));
    if (e) return e;
    if (rows->rows == 0) return request_missing(c);
    *w = work_of(rows, 0);
    if (sl_is(sl_cell_text(rows, 0, "status"), "running") &&
        sl_same(sl_cell_text(rows, 0, "lease"), sl_body(c, "lease")) &&
        sl_cell_int(rows, 0, "lease_until") >= sl_now(c))
        return SL_OK;
    return sl_problem(c, 409, "lease_lost", "This lease does not hold the request any more.");
}

static sl_err reply_request(sl_call *c)
{
    const sl_rows *rows;
    sl_err e = sl_query(c, &rows, "select * from oracle_requests where tenant = $1 and id = $2", sl_fact(c, "tenant"),
                        sl_path(c, "request"));
    return e ? e : sl_reply_row(c, 200, rows);
}

sl_err runner_complete(void *self, sl_call *c)
{
    const struct oracle *o = self;
    struct work w;
    struct attempt a = { .outcome = ATTEMPT_OK, .recorded = 1 };
    sl_str result = sl_body(c, "result"), error = sl_body(c, "error");
    sl_err e = check_runner(o, c);
    if (e) return e;
    if (sl_given(result) == sl_given(error))
        return sl_problem(c, 422, "result_or_error", "Give either result or error.");
    e = find_leased(c, &w);
    if (e) return e;
    a.source_id = sl_cell_text(w.row, 0, "source_id");
    a.bytes = (int64_t)result.n;
    if (sl_given(result))
        result_take(c, o, result, sl_cell_text(w.row, 0, "filter"), &a);
    else
        attempt_fail(&a, sl_is(sl_body(c, "retry"), "true") ? ATTEMPT_RETRY : ATTEMPT_FAILED, "runner_failed", "error",
                     error);
    if (a.outcome != ATTEMPT_OK) a.error_class = SL("runner");
    e = work_settle(c, o, &w, &a, &a, 1);
    return e ? e : reply_request(c);
}

sl_err runner_extend(void *self, sl_call *c)
{
    const sl_rows *rows;
    int64_t now = sl_now(c), until = now + sl_to_int(sl_body(c, "visibility_seconds"), 60) * 1000000;
    sl_err e = check_runner(self, c);
    if (e) return e;
    e = sl_query(c, &rows,
                 "update oracle_requests set lease_until = $1, updated_at = $2 where tenant = $3 and id = $4 and "
                 "status = 'running' "
                 "and lease = $5 and lease_until >= $2 returning *",
                 until, now, sl_fact(c, "tenant"), sl_path(c, "request"), sl_body(c, "lease"));
    if (e) return e;
    if (rows->rows) return sl_reply_row(c, 200, rows);
    return sl_problem(c, 409, "lease_lost", "This lease does not hold the request any more.");
}
