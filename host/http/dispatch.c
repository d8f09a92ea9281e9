/* dispatch.c - the walk of one request: route, limits, token, scope, schema, fiber, handler, commit, answer. */
#include "http/conform.h"
#include "rest/problem.h"

enum {
    SMALL_BODY = 8 << 10, /* of a method that has no use for one */
    IDENTIFY_STACK_KIB = 128,
    IDENTIFY_MS = 5000
};

static bool is_options(const struct request *rq) { return sl_is(rq->x->method, "OPTIONS"); }

/* ---- route ---- */
/* Looks the route up in the router of the moment and holds that. */
static enum route_result resolve(struct request *rq, struct route_match *m)
{
    router *r = routes_current();
    router_hold(r);
    router_drop(rq->router);
    rq->router = r;
    enum route_result found = router_find(r, rq->x->method, rq->x->path, rq->x->arena, m);
    rq->route = found == ROUTE_FOUND ? m->route : NULL;
    if (rq->route) memcpy(rq->values, m->values, rq->route->n_params * sizeof *rq->values);
    return found;
}

static sl_str hint(struct request *rq)
{
    sl_str path = rq->x->path;
    struct route_match m;
    if (path.n > 1 && path.p[path.n - 1] == '/') {
        path.n--;
        if (router_find(rq->router, rq->x->method, path, rq->x->arena, &m) == ROUTE_FOUND)
            return SL("There is no such route; without the slash at its end there is one.");
    }
    return SL("There is no such route.");
}

/* No handler will run: what the path says about itself. */
static void answer_unrouted(struct request *rq, enum route_result found, struct route_match *m)
{
    char *allow = arena_alloc(rq->x->arena, 64);
    if (found == ROUTE_OTHER_METHOD || (is_options(rq) && sl_is(rq->x->path, "*"))) {
        if (found != ROUTE_OTHER_METHOD) m->allow = (1u << ROUTE_METHODS) - 1;
        bool preflight = is_options(rq) && cors_preflight(rq, m->allow);
        if (!preflight) answer_header(rq, SL("Allow"), sl_lit(allow, route_allow_text(m->allow, allow, 64)));
        if (is_options(rq))
            answer(rq, 204, sl_lit(NULL, 0), sl_lit(NULL, 0));
        else
            answer_problem(rq, 405, SL("method_not_allowed"),
                           SL("This method is not available here; see the header Allow."));
        return;
    }
    if (found == ROUTE_BAD_PATH)
        answer_problem(rq, 400, SL("malformed_path"), sl_cstr(m->why));
    else
        answer_problem(rq, 404, SL("not_found"), hint(rq));
}

/* ---- limits and rights ---- */
static bool serving(struct request *rq)
{
    const struct module *m = rq->route->owner;
    if (m->status == MODULE_STARTED && m->current == rq->route->generation) return true;
    rq->retry_after = 5;
    /* Why is in the log and in /system/status: here it would be told to anybody. */
    return set_problem(
        rq, 503, "service_unavailable",
        arena_printf(rq->x->arena, "The service %s does not run now (%s).", m->name, module_status_name(m->status)));
}

/* Health stays reachable under load: whoever watches must not take it for death. */
static bool exempt(const struct request *rq) { return rq->route->exempt; }

static bool admit(struct request *rq)
{
    if (!serving(rq)) return false;
    if (exempt(rq)) return authorize(rq) && idempotency_wanted(rq);
    if (access_in_flight() >= http_cfg.max_inflight)
        return set_problem(rq, 503, "overloaded", SL("The server has too much to do at once; try again shortly."));
    if (http_cfg.max_waiting && store_stats().waiting >= http_cfg.max_waiting)
        return set_problem(rq, 503, "overloaded", SL("Too many requests wait for the store; try again shortly."));
    bool authorized = authorize(rq);
    if (rq->unidentified) return limits_may_ask(rq); /* the rest when it is known who it is */
    return limits_take(rq, authorized) && idempotency_wanted(rq);
}

static void refuse(struct request *rq) { answer_problem(rq, rq->status, rq->code, rq->detail); }

static void on_gone(exchange *x)
{
    struct request *rq = x->user;
    rq->gone = true;
    if (rq->call) {
        x->on_gone = NULL; /* the handler still reads from it: it is ours until it is answered */
        call_cancel(rq->call);
        return;
    }
    access_done(rq, rq->status ? rq->status : 499, 0);
    request_close(rq);
}

static void on_head(exchange *x)
{
    struct request *rq = request_open(x);
    struct route_match m;
    x->user = rq;
    enum route_result found = resolve(rq, &m);
    if (found != ROUTE_FOUND) {
        answer_unrouted(rq, found, &m);
        return;
    }
    x->sensitive = rq->route->flags & SL_SENSITIVE;
    if (!admit(rq)) {
        refuse(rq);
        return;
    }
    bool may_have_body = rq->route->entry->in ||
                         !(sl_is(x->method, "GET") || sl_is(x->method, "HEAD") || sl_is(x->method, "DELETE"));
    x->max_body = may_have_body || http_cfg.max_body < SMALL_BODY ? http_cfg.max_body : SMALL_BODY;
    x->on_gone = on_gone;
}

/* ---- the call ---- */
static sl_err unused_page(struct request *rq)
{
    const char *name = sl_given(rq->page_limit) ? "limit" : "cursor";
    rq->errors = arena_printf(rq->x->arena,
                              "[{\"pointer\":\"/query/%s\",\"detail\":\"is not a known query parameter\"}]", name);
    set_problem(rq, 422, "invalid_input", SL("A query parameter is not valid; see errors."));
    return SL_EREPLIED;
}

static void mark_begun(void *rq) { ((struct request *)rq)->begun = true; }

static sl_err before_commit(call *c)
{
    struct request *rq = c->context;
    if ((sl_given(rq->page_limit) || sl_given(rq->page_cursor)) && !rq->page_used)
        return unused_page(rq); /* answers no list */
    if (http_cfg.check_answers && conform_success(rq)) return SL_EINTERNAL;
    sl_err e = audit_join(c, rq);
    return !e && sl_given(rq->key) ? idempotency_keep(c, rq) : e;
}

/* A handler that commits before its end: from here on there is an effect, which the key and the audit log have to know.
 */
static sl_err before_first_commit(call *c)
{
    struct request *rq = c->context;
    if (rq->begun) return SL_OK;
    sl_err e = audit_join_part(c, rq);
    if (!e && sl_given(rq->key)) e = idempotency_begin(c, rq);
    if (!e) store_after_commit(c, mark_begun, rq);
    return e;
}

static void log_failure(call *c, const struct request *rq, sl_err e, int status)
{
    int level = status == 500 ? SL_ERROR : SL_WARN;
    if (status < 500 || rq->gone) return;
    LOG_AT(level, "request failed", LOG_C("plugin", c->module), LOG_C("entry", c->name), LOG_I("code", e),
           LOG_I("status", status), LOG_S("trace_id", rq->trace_id), LOG_S("request_id", rq->request_id),
           LOG_C("error", store_error(c)));
}

static void finish(call *c, struct request *rq, sl_err e)
{
    const char *code, *detail;
    if (!audit_end(c, rq, e)) e = SL_EREPLIED;
    rq->call = NULL;
    if (rq->streaming) {
        exchange *x = rq->x;
        x->on_gone = NULL;
        if (e) log_failure(c, rq, e, 500);
        access_done(rq, rq->gone ? 499 : rq->status, rq->streamed);
        if (e)
            exchange_abort(x);
        else
            exchange_end(x);
        request_close(rq);
        return;
    }
    if (e == SL_OK) {
        answer(rq, rq->status ? rq->status : 204, rq->type, buf_str(&rq->out));
        return;
    }
    if (e == SL_EREPLIED && rq->problem) {
        refuse(rq);
        return;
    }
    int status = problem_status(e, &code, &detail);
    log_failure(c, rq, e, status);
    rq->n_headers = 0; /* what the handler had prepared belongs to an answer that is not given */
    rq->errors = sl_lit(NULL, 0);
    answer_problem(rq, status, sl_cstr(code), sl_cstr(detail));
}

/* Points rq at the entry that serves now and checks the input by its schemas. False: rq has a problem. */
static bool prepare(struct request *rq)
{
    struct route_match m;
    if (rq->entry) module_unpin(rq->entry);
    rq->entry = NULL;
    if (rq->router != routes_current()) { /* a plugin came or went since the head was read */
        if (resolve(rq, &m) != ROUTE_FOUND) return set_problem(rq, 404, "not_found", SL("There is no such route."));
        if (!admit(rq)) return false;
        if (rq->unidentified) return set_problem(rq, 503, "overloaded", SL("The route was replaced; try again."));
    }
    if (!serving(rq)) return false;
    rq->entry = rq->route->entry;
    module_pin(rq->entry);
    return input_check(rq);
}

/* The plugin was replaced, or hands its state over to its next generation, since the entry was looked up. */
static bool replaced(const struct request *rq)
{
    const struct generation *g = rq->entry->generation;
    return g->module->hold || (g->draining && rq->router != routes_current());
}

static void init(call *c, void *arg);
static void run(call *c);

/* Waits while state is handed over, then goes on as a new call: the next generation may want a larger stack. */
static void start_over(call *c, struct request *rq)
{
    struct module *m = rq->entry->generation->module;
    c->name = rq->route->name;
    module_unpin(rq->entry); /* nobody waits for us */
    rq->entry = NULL;
    sl_err e = module_hold_wait(c, m);
    if (e == SL_EUNAVAIL)
        set_problem(rq, 503, "overloaded",
                    SL("The service is being replaced and too many requests wait for it; try again shortly."));
    if (e || !prepare(rq)) {
        finish(c, rq, e && e != SL_EUNAVAIL ? e : SL_EREPLIED);
        return;
    }
    if (call_start(rq->entry->generation->stack_kib, call_left(c), init, rq, run)) return;
    set_problem(rq, 503, "overloaded", SL("The server has too much to do at once; try again shortly."));
    finish(c, rq, SL_EREPLIED);
}

static void run(call *c)
{
    struct request *rq = c->context;
    enum idempotency known = IDEMPOTENCY_NEW;
    sl_err e = SL_OK, ignored;
    if (!audit_begin(c, rq)) {
        finish(c, rq, SL_EREPLIED);
        return;
    }
    if (sl_given(rq->key)) known = idempotency_find(c, rq, &e);
    if (known == IDEMPOTENCY_NEW && replaced(rq)) {
        start_over(c, rq);
        return;
    }
    if (known == IDEMPOTENCY_NEW) {
        e = module_invoke(c, rq->entry, before_commit);
        /* Another request with this key may have won meanwhile: then its answer is also ours. */
        if (e && sl_given(rq->key) && !rq->begun && !rq->streaming && !call_check(c))
            known = idempotency_find(c, rq, &ignored);
    }
    if (known == IDEMPOTENCY_HIT) {
        e = rq->problem ? SL_EREPLIED : SL_OK;
        rq->audit = NULL; /* what this run did was rolled back */
    }
    finish(c, rq, e);
}

static void init(call *c, void *arg)
{
    struct request *rq = arg;
    c->name = rq->entry->spec.name;
    c->module = rq->entry->generation->module->name;
    c->ops = &request_ops;
    c->context = rq;
    c->joins = before_first_commit;
    c->trace = rq->trace;
    rq->call = c;
}

static void count_in(struct request *rq)
{
    if (rq->counted) return;
    rq->counted = true;
    access_begin();
}

static void refuse_overload(struct request *rq)
{
    rq->call = NULL;
    set_problem(rq, 503, "overloaded", SL("The server has too much to do at once; try again shortly."));
    refuse(rq);
}

static void begin(struct request *rq)
{
    if (!prepare(rq) || (!exempt(rq) && !tenant_enter(rq))) {
        refuse(rq);
        return;
    }
    count_in(rq);
    if (!call_start(rq->entry->generation->stack_kib, rq->route->deadline_ms, init, rq, run)) refuse_overload(rq);
}

/* ---- a token that only the store knows, or none does ---- */
static void identify(call *c)
{
    const char *code, *detail;
    struct request *rq = c->context;
    sl_err e = authorize_ask(c, rq);
    rq->call = NULL;
    if (e && !rq->gone) log_failure(c, rq, e, problem_status(e, &code, &detail));
    if (e || rq->gone) {
        int status = problem_status(e, &code, &detail);
        answer_problem(rq, status, sl_cstr(code), sl_cstr(detail));
    } else if (admit(rq)) {
        begin(rq);
    } else {
        refuse(rq);
    }
}

static void init_identify(call *c, void *arg)
{
    struct request *rq = arg;
    c->name = "identify";
    c->module = "";
    c->context = rq;
    rq->call = c;
}

static void on_request(exchange *x)
{
    struct request *rq = x->user;
    if (!rq->unidentified) {
        begin(rq);
        return;
    }
    count_in(rq);
    if (!call_start(IDENTIFY_STACK_KIB, IDENTIFY_MS, init_identify, rq, identify)) refuse_overload(rq);
}

/* A request that the server refuses: without a head there is no path, then the problem's instance is an id of its own.
 */
static void on_refused(exchange *x, int status, const char *code, const char *detail, buf *out)
{
    struct request *rq = x ? x->user : NULL;
    char id[ID_TEXT], trace[TRACE_TEXT], instance[ID_TEXT + 10];
    if (rq) {
        rq->status = status; /* for the log line, when on_gone follows */
        problem_write(out, status, sl_cstr(code), sl_cstr(detail), x->path, rq->trace_id, sl_lit(NULL, 0));
        return;
    }
    id_new(id);
    trace_from_id(id, trace);
    snprintf(instance, sizeof instance, "urn:uuid:%s", id);
    access_refused(status);
    problem_write(out, status, sl_cstr(code), sl_cstr(detail), sl_cstr(instance), sl_cstr(trace), sl_lit(NULL, 0));
}

const struct server_hooks *http_hooks(void)
{
    static const struct server_hooks hooks = { on_head, on_request, on_refused };
    return &hooks;
}
