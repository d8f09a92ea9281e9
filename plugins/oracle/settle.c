/* settle.c - the state machine's writes: taking a request on, and writing its end or its next try exactly once. */
#include "oracle.h"

static sl_value absent(void) { return sl_text(sl_lit(NULL, 0)); }

struct work work_of(const sl_rows *rows, uint32_t at)
{
    return (struct work){ .row = rows,
                          .at = at,
                          .id = sl_cell_text(rows, at, "id"),
                          .tenant = sl_cell_text(rows, at, "tenant"),
                          .run = sl_cell_int(rows, at, "run"),
                          .attempts = sl_cell_int(rows, at, "attempts"),
                          .tries = sl_cell_int(rows, at, "tries") };
}

sl_err work_take(sl_call *c, struct work *w, sl_str lease, int64_t lease_until)
{
    const sl_rows *rows;
    sl_err e = sl_query(
        c, &rows,
        "update oracle_requests set status = 'running', run = run + 1, attempts = attempts + 1, tries = tries + 1, "
        "updated_at = $1, next_attempt_at = null, lease = $2, lease_until = $3 "
        "where id = $4 and run = $5 and status in ('pending', 'running') returning run, attempts, tries",
        sl_now(c), lease, sl_given(lease) ? sl_int(lease_until) : absent(), w->id, w->run);
    if (e) return e;
    w->run = rows->rows ? sl_cell_int(rows, 0, "run") : 0;
    w->attempts = sl_cell_int(rows, 0, "attempts");
    w->tries = sl_cell_int(rows, 0, "tries");
    return SL_OK;
}

static const char *outcome_name(enum outcome o)
{
    return o == ATTEMPT_OK ? "succeeded" : o == ATTEMPT_RETRY ? "retry" : "failed";
}

sl_err attempt_record(sl_call *c, const struct work *w, int64_t attempt, const struct attempt *a)
{
    const sl_rows *rows;
    const sl_str label[] = { sl_cstr(outcome_name(a->outcome)) };
    sl_count(c, METRIC_ATTEMPTS, 1, label, 1);
    return sl_query(
        c, &rows,
        "insert into oracle_attempts (id, tenant, request_id, attempt, source_id, outcome, status, address, "
        "content_type, bytes, ms, error_class, error, created_at) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        sl_new_id(c), w->tenant, w->id, attempt, a->source_id, outcome_name(a->outcome),
        a->status ? sl_int(a->status) : absent(), a->address, a->content_type, a->bytes, a->ms, a->error_class,
        a->error, sl_now(c));
}

/* Grows with each try, spread by a fifth either way so that requests that failed together do not return together. */
static int64_t backoff(sl_call *c, const struct oracle *o, int64_t tries, int64_t asked_us)
{
    uint32_t dice;
    int64_t wait = o->backoff_us;
    for (int64_t i = 1; i < tries && wait < o->backoff_max_us; i++)
        wait *= 2;
    if (wait > o->backoff_max_us) wait = o->backoff_max_us;
    c->host->core->random(&dice, sizeof dice);
    wait += wait / 5 * ((int64_t)(dice % 2001) - 1000) / 1000;
    if (asked_us > 3600000000) asked_us = 3600000000;
    return wait > asked_us ? wait : asked_us;
}

/* What the row becomes. `again`: at this time once more. */
struct ending {
    const char *status;
    sl_str result, error;
    const char *code, *result_code;
    int64_t again;
};

static struct ending decide(sl_call *c, const struct oracle *o, const struct work *w, const struct attempt *end)
{
    struct ending d = { .status = "succeeded", .result = end->result, .result_code = "success" };
    if (end->outcome == ATTEMPT_OK) return d;
    d.result = sl_lit(NULL, 0);
    d.error = end->error;
    d.code = end->code;
    d.result_code = end->result_code;
    d.status = "failed";
    if (end->outcome == ATTEMPT_FAILED) return d;
    if (w->tries < o->max_tries) {
        d.status = "pending";
        d.again = sl_now(c) + (end->at_once ? 0 : backoff(c, o, w->tries, end->wait_us));
    } else if (o->dead_letters)
        d.status = "dead_letter";
    return d;
}

/* Conditional on the run, so that of two who believe to hold the request one writes and the other changes nothing. */
static sl_err write_ending(sl_call *c, const struct work *w, const struct ending *d, int *written)
{
    const sl_rows *rows;
    int64_t now = sl_now(c);
    sl_err e = sl_query(
        c, &rows,
        "update oracle_requests set status = $1, result = $2, error = $3, error_code = $4, result_code = $5, "
        "updated_at = $6, completed_at = $7, next_attempt_at = $8, lease = null, lease_until = null "
        "where id = $9 and run = $10 and status = 'running' returning account_id",
        d->status, d->result, d->error, sl_cstr(d->code), sl_cstr(d->result_code), now,
        d->again ? absent() : sl_int(now), d->again ? sl_int(d->again) : absent(), w->id, w->run);
    *written = !e && rows->rows == 1;
    if (!*written || d->again) return e;
    const sl_str label[] = { sl_cstr(d->status) };
    sl_count(c, METRIC_REQUESTS, 1, label, 1);
    sl_str account = sl_cell_text(rows, 0, "account_id");
    return sl_publish(c, "oracle.completed", w->id,
                      sl_format(c, "{\"id\":\"%.*s\",\"account_id\":\"%.*s\",\"status\":\"%s\"}", (int)w->id.n, w->id.p,
                                (int)account.n, account.p, d->status));
}

sl_err work_settle(sl_call *c, const struct oracle *o, const struct work *w, const struct attempt *end,
                   const struct attempt *tries, size_t n)
{
    struct ending d = decide(c, o, w, end);
    int written;
    sl_err e = write_ending(c, w, &d, &written);
    if (e || !written) return e;
    for (size_t i = 0; !e && i < n; i++)
        if (tries[i].recorded) e = attempt_record(c, w, w->attempts, &tries[i]);
    if (!e && d.again && o->n_tokens == 0) e = request_schedule(c, w->id, w->run, d.again);
    return e;
}

sl_err work_postpone(sl_call *c, const struct work *w, int64_t wait_us)
{
    const sl_rows *rows;
    int64_t at = sl_now(c) + wait_us;
    sl_err e = sl_query(
        c, &rows,
        "update oracle_requests set status = 'pending', attempts = attempts - 1, tries = tries - 1, "
        "next_attempt_at = $1, updated_at = $2 where id = $3 and run = $4 and status = 'running' returning id",
        at, sl_now(c), w->id, w->run);
    if (e || rows->rows == 0) return e;
    return request_schedule(c, w->id, w->run, at);
}

sl_err work_expire(sl_call *c, const struct work *w)
{
    const sl_rows *rows;
    sl_str account = sl_cell_text(w->row, w->at, "account_id");
    sl_err e = sl_query(
        c, &rows,
        "update oracle_requests set status = 'expired', error = 'The request expired before an answer came.', "
        "error_code = 'expired', result_code = 'timeout', completed_at = $1, updated_at = $1, "
        "next_attempt_at = null, lease = null, lease_until = null "
        "where id = $2 and run = $3 and status in ('pending', 'running') returning id",
        sl_now(c), w->id, w->run);
    if (e || rows->rows == 0) return e;
    const sl_str label[] = { SL("expired") };
    sl_count(c, METRIC_REQUESTS, 1, label, 1);
    return sl_publish(c, "oracle.completed", w->id,
                      sl_format(c, "{\"id\":\"%.*s\",\"account_id\":\"%.*s\",\"status\":\"expired\"}", (int)w->id.n,
                                w->id.p, (int)account.n, account.p));
}
