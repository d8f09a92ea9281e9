/* audit.c - what of a request is audited: a changing call in its transaction, its line, refusals, intents. */
#include "audit/audit.h"
#include "http/request.h"

enum { USER_MAX = 128, NAME_MAX_ = 64, ROUTE_MAX = 256, TARGET_MAX_ = 512, OUTCOME_MAX = 300, ID_MAX_ = 128 };

/* Texts are the request's or lie in `a`. */
static void describe(const struct request *rq, arena *a, int status, struct audit_record *r)
{
    const struct identity *who = &rq->identity;
    id_new(r->id);
    r->at = clock_now();
    r->status = status;
    r->times = 1;
    r->user = audit_clip(a, who->actor, USER_MAX);
    r->role = audit_clip(a, who->role, NAME_MAX_);
    r->tenant = audit_clip(a, who->tenant, NAME_MAX_);
    r->method = audit_clip(a, rq->x->method, 16);
    r->route = rq->route ? audit_clip(a, rq->route->path, ROUTE_MAX) : sl_lit(NULL, 0);
    r->target = audit_clip(a, rq->x->path, TARGET_MAX_);
    r->code = rq->problem && status >= 400 ? audit_clip(a, rq->code, NAME_MAX_) : sl_lit(NULL, 0);
    r->outcome = audit_clip(a, rq->outcome, OUTCOME_MAX);
    r->request_id = audit_clip(a, rq->request_id, ID_MAX_);
    r->trace_id = audit_clip(a, rq->trace_id, NAME_MAX_);
    r->address = audit_clip(a, rq->x->remote, NAME_MAX_);
}

/* ---- a call ---- */
static bool changes(const struct request *rq)
{
    return audit_on() && rq->route && !sl_is(rq->route->method, "GET"); /* which also serves HEAD */
}

static bool unavailable(struct request *rq, const char *detail)
{
    rq->n_headers = 0; /* what the handler had prepared belongs to an answer that is not given */
    rq->errors = sl_lit(NULL, 0);
    rq->etag = sl_lit(NULL, 0);
    return set_problem(rq, 503, "audit_unavailable", sl_cstr(detail));
}

bool audit_begin(call *c, struct request *rq)
{
    if (!changes(rq) || !audit_file_on() || rq->audit_reserved) return true;
    rq->audit_reserved = audit_file_reserve(c) == SL_OK;
    return rq->audit_reserved ||
           unavailable(rq, "The audit log cannot be written now, so nothing was done; try again shortly.");
}

sl_err audit_join_part(call *c, struct request *rq)
{
    struct audit_record r;
    if (!changes(rq)) return SL_OK;
    describe(rq, c->arena, 0, &r);
    r.outcome = SL("a part of it is committed before its end");
    return audit_insert(c, &r);
}

sl_err audit_join(call *c, struct request *rq)
{
    if (!changes(rq)) return SL_OK;
    rq->audit_only = !store_pending(c);
    rq->audit = arena_alloc(c->arena, sizeof *rq->audit);
    describe(rq, c->arena, rq->status ? rq->status : 204, rq->audit);
    return audit_insert(c, rq->audit);
}

bool audit_end(call *c, struct request *rq, sl_err e)
{
    if (!rq->audit) return true;
    if (e) {
        rq->audit = NULL; /* rolled back, and its row with it: it is a refusal now */
        if (e != SL_EUNAVAIL || !rq->audit_only) return true;
        return unavailable(rq, "The audit log cannot be written now, so nothing was done; try again shortly.");
    }
    audit_count("changed", 1);
    rq->audit_reserved = false;
    if (audit_write_line(c, rq->audit) == SL_OK) return true;
    return unavailable(rq, "It was done and the store's audit log has it, but the audit file does not take its line; "
                           "the answer is withheld.");
}

void audit_done(struct request *rq, int status)
{
    struct audit_record r;
    bool refused = status >= 400 && status < 499;
    if (rq->audit_reserved) audit_file_release();
    rq->audit_reserved = false;
    if (!audit_on() || rq->audit || !(refused || changes(rq))) return;
    if (rq->hit && !sl_given(rq->outcome)) rq->outcome = SL("answered again from its Idempotency-Key");
    describe(rq, rq->x->arena, status, &r);
    audit_later(&r);
}

void audit_outcome(call *c, sl_str words)
{
    struct request *rq = request_of(c);
    if (rq) rq->outcome = arena_copy(rq->x->arena, words);
}

sl_err audit_intent(call *c, sl_str words)
{
    struct request *rq = request_of(c);
    struct audit_record r;
    if (!rq || !audit_on()) return SL_OK;
    describe(rq, c->arena, 0, &r);
    r.outcome = audit_clip(c->arena, words, OUTCOME_MAX);
    sl_err e = audit_file_on() ? audit_file_reserve(c) : SL_OK;
    bool reserved = !e;
    if (!e) e = audit_insert(c, &r);
    if (!e) e = store_commit(c);
    if (e && reserved) audit_file_release();
    if (!e) e = audit_write_line(c, &r);
    if (!e) {
        audit_count("intent", 1);
        return SL_OK;
    }
    store_rollback(c);
    unavailable(rq, "The audit log cannot be written now, so nothing was done; try again shortly.");
    return SL_EREPLIED;
}
