/* ask.c - one plugin's question to another: a call of its own, in a transaction of its own, answered into the asker's
 * memory. */
#include "module/private.h"
#include "base/log.h"
#include "rest/problem.h"

enum { DEPTH_MAX = 16, FACTS = 7, PROBLEM_MAX = 64 * 1024, ASK_MS = 30000 };

/* Shared by the asking call and the answering one; lives until both have let go of it. */
struct question {
    struct entry *entry;
    struct capture capture;
    struct call_trace trace; /* of the asker */
    sl_pair facts[FACTS];
    arena *arena; /* owns what is asked and its facts: the asker may be gone before the answer */
    uint32_t left_ms;
    call *asker, *answerer; /* NULL = gone */
    sl_err result;
    sl_msg *msg; /* where the answer goes: in the asker's arena */
};

static const char *const inherited[] = { "tenant", "actor", "role", "request_id", "trace_id", "traceparent" };

static void question_free(struct question *q)
{
    json_decref(q->capture.fields);
    arena_free(q->arena);
}

static void asker_left(void *op)
{
    struct question *q = op;
    q->asker = NULL;
    if (q->answerer) call_cancel(q->answerer);
}

/* The answer in the asker's memory: the reply as it is; a problem, or a code that a client would see as one, as
 * problem+json. What concerns the asking itself (time, cancellation, overload) stays a code. */
static void hand_over(struct question *q, call *c)
{
    struct capture *k = &q->capture;
    arena *a = q->asker->arena;
    buf problem;
    if (q->result == SL_ETIME || q->result == SL_ECANCEL || q->result == SL_EBUSY || q->result == SL_EUNAVAIL) return;
    if (q->result != SL_OK && q->result != SL_EREPLIED) {
        const char *code, *title;
        k->status = problem_status(q->result, &code, &title);
        k->code = sl_cstr(code);
        k->detail = sl_cstr(title);
    }
    *q->msg = (sl_msg){ .size = sizeof *q->msg, .status = k->status ? k->status : 200, .type = arena_copy(a, k->type) };
    if (q->result == SL_OK) {
        q->msg->body = arena_copy(a, k->answer);
        return;
    }
    buf_init(&problem, PROBLEM_MAX);
    problem_write(&problem, k->status, k->code, k->detail, sl_lit(NULL, 0), capture_fact(c, "trace_id"),
                  sl_lit(NULL, 0));
    q->msg->type = SL("application/problem+json");
    q->msg->body = arena_copy(a, buf_str(&problem));
    buf_free(&problem);
    q->result = SL_OK;
}

static void answer_init(call *c, void *arg)
{
    struct question *q = arg;
    q->answerer = c;
    c->ops = &capture_ops;
    c->context = &q->capture;
    c->trace = q->trace;
    c->name = q->entry->spec.name;
    c->module = q->entry->generation->module->name;
}

static void answer(call *c)
{
    struct question *q = (struct question *)((char *)c->context - offsetof(struct question, capture));
    q->result = module_invoke(c, q->entry, NULL);
    q->answerer = NULL;
    module_unpin(q->entry);
    if (!q->asker) {
        question_free(q);
        return;
    }
    hand_over(q, c);
    call_wake(q->asker, SL_OK);
}

static struct question *question_new(call *c, struct entry *e, sl_str json, json_t *fields, const char *caller)
{
    arena *a = arena_new(0);
    struct question *q = arena_alloc(a, sizeof *q);
    struct capture *outer = capture_of(c);
    *q = (struct question){ .entry = e, .arena = a, .asker = c };
    q->capture = (struct capture){
        .fields = fields, .facts = q->facts, .n_facts = FACTS, .depth = outer ? outer->depth + 1 : 1
    };
    q->capture.body = e->in ? json_write(a, fields) : arena_copy(a, sl_given(json) ? json : SL("null"));
    q->facts[0] = (sl_pair){ SL("caller"), arena_copy(a, sl_cstr(caller)) };
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++)
        q->facts[i + 1] = (sl_pair){ sl_cstr(inherited[i]), arena_copy(a, capture_fact(c, inherited[i])) };
    q->trace = c->trace;
    q->trace.id = arena_copy(a, c->trace.id);
    q->msg = arena_alloc(c->arena, sizeof *q->msg);
    return q;
}

/* Does the question fit the entry's schema? If not the asker gets the same 422 that a client would. */
static json_t *checked_question(call *c, struct entry *e, sl_str json, const sl_msg **out)
{
    buf findings, problem;
    buf_init(&findings, PROBLEM_MAX);
    json_t *fields = entry_input(e, json, &findings);
    if (!fields) {
        sl_msg *m = arena_alloc(c->arena, sizeof *m);
        buf_init(&problem, 2 * PROBLEM_MAX);
        problem_write(&problem, 422, SL("invalid_input"), SL("The question does not fit the entry's schema."),
                      sl_lit(NULL, 0), capture_fact(c, "trace_id"), buf_str(&findings));
        *m = (sl_msg){ .size = sizeof *m, .status = 422, .type = SL("application/problem+json") };
        m->body = arena_copy(c->arena, buf_str(&problem));
        *out = m;
        buf_free(&problem);
    }
    buf_free(&findings);
    return fields;
}

static sl_err start_and_wait(call *c, struct question *q, uint32_t limit, const sl_msg **out)
{
    struct entry *e = q->entry;
    module_pin(e);
    if (!call_start(e->generation->stack_kib, limit, answer_init, q, answer)) {
        module_unpin(e);
        question_free(q);
        return SL_EBUSY;
    }
    sl_err left = call_wait(c, asker_left, q);
    if (left)
        return left; /* our deadline or cancellation: the answerer, cancelled too, frees the question when it ends */
    sl_err result = q->result;
    if (result == SL_OK) *out = q->msg;
    question_free(q);
    return result;
}

/* A call that the hand-over waits for must not wait for the hand-over. */
static bool asks_itself(const call *c, const struct entry *e)
{
    const struct generation *own = c->generation;
    return own && own->module == e->generation->module;
}

sl_err module_ask(call *c, sl_str entry, sl_str json, uint32_t timeout_ms, const char *caller, const sl_msg **out)
{
    struct capture *outer = capture_of(c);
    *out = NULL;
    if (outer && outer->depth >= DEPTH_MAX) {
        log_error("questions within questions", LOG_C("plugin", caller), LOG_S("entry", entry),
                  LOG_I("limit", DEPTH_MAX));
        return SL_ETOOBIG;
    }
    bool known = false;
    struct entry *e = module_compute_any(entry, &known);
    while (e && e->generation->module->hold && !asks_itself(c, e)) { /* its state is being handed over */
        sl_err held = module_hold_wait(c, e->generation->module);
        if (held) return held;
        e = module_compute_any(entry, &known);
    }
    if (!e) return known ? SL_EUNAVAIL : SL_ENOENT;
    uint32_t left = call_left(c), limit = timeout_ms && timeout_ms < left ? timeout_ms : left;
    if (limit == UINT32_MAX) limit = e->spec.deadline_ms ? e->spec.deadline_ms : ASK_MS;
    if (e->spec.deadline_ms && e->spec.deadline_ms < limit) limit = e->spec.deadline_ms;
    if (limit == 0) return SL_ETIME;
    json_t *fields = checked_question(c, e, json, out);
    if (!fields) return SL_OK;
    return start_and_wait(c, question_new(c, e, json, fields, caller), limit, out);
}
