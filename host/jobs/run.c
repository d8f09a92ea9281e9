/* run.c - one attempt of a job as a call: what its handler sees, and how its end joins the handler's transaction. */
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "jobs/engine.h"
#include "observe/span.h"
#include <stdlib.h>

enum { RETRY_MAX_MS = 2000000000, /* 23 days */ NOT_RUN_US = 200000 };

int64_t store_now(void) { return clock_now() + engine.clock_offset; }

void run_list_init(struct run_list *l)
{
    l->first = NULL;
    l->end = &l->first;
    l->n = 0;
}

void run_list_add(struct run_list *l, struct run *r)
{
    r->later = NULL;
    *l->end = r;
    l->end = &r->later;
    l->n++;
}

struct run *run_list_take(struct run_list *l)
{
    struct run *r = l->first;
    if (!r) return NULL;
    l->first = r->later;
    if (!--l->n) l->end = &l->first;
    return r;
}

void run_free(struct run *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else
        engine.runs = r->next;
    if (r->next) r->next->prev = r->prev;
    r->slot->claimed--;
    engine.claimed--;
    if (r->slot->hot) claim_kick(); /* a kind at its limit has room again */
    json_decref(r->body);
    free(r);
}

/* ---- what the handler sees ---- */
static struct run *run_of(call *c) { return c->context; }

static sl_str body_field(call *c, struct run *r, sl_str name)
{
    char why[128];
    if (!name.n) return r->job.json;
    if (!r->body && r->job.json.p) r->body = json_read(r->job.json, why, sizeof why);
    if (!json_is_object(r->body)) return sl_lit(NULL, 0);
    const json_t *v = json_object_getn(r->body, name.p, name.n);
    return v ? json_plain(c->arena, v) : sl_lit(NULL, 0);
}

static sl_str fact(call *c, struct run *r, sl_str name)
{
    if (sl_is(name, "job_id") || sl_is(name, "request_id")) return r->job.id;
    if (sl_is(name, "job_key")) return r->job.key;
    if (sl_is(name, "tenant")) return r->job.tenant;
    if (sl_is(name, "topic")) return r->job.topic;
    if (sl_is(name, "event_id")) return r->job.topic.p ? r->job.key : sl_lit(NULL, 0);
    if (sl_is(name, "tick")) return r->job.tick;
    if (sl_is(name, "attempt")) return arena_printf(c->arena, "%u", r->job.attempt);
    if (sl_is(name, "max_attempts")) return arena_printf(c->arena, "%u", r->job.attempts);
    if (sl_is(name, "trace_id")) return c->trace.id;
    if (sl_is(name, "traceparent")) return trace_parent(&c->trace, arena_alloc(c->arena, TRACEPARENT_TEXT));
    return sl_lit(NULL, 0);
}

static sl_str job_input(call *c, uint32_t from, sl_str name)
{
    if (from == SL_IN_BODY) return body_field(c, run_of(c), name);
    if (from == SL_IN_FACT) return fact(c, run_of(c), name);
    return sl_lit(NULL, 0);
}

static sl_err job_reply(call *c, int32_t status, sl_str type, sl_str body)
{
    (void)c, (void)status, (void)type, (void)body;
    return SL_OK; /* nobody waits for it */
}

static sl_err job_header(call *c, sl_str name, sl_str value)
{
    (void)c, (void)name, (void)value;
    return SL_OK;
}

static sl_err job_write(call *c, sl_str piece)
{
    (void)c, (void)piece;
    return SL_ESTATE;
}

/* Text that any store takes: UTF-8 without NUL, cut to the room there is. */
static void set_error(struct run *r, sl_str s)
{
    size_t n = s.n < sizeof r->error ? s.n : sizeof r->error - 1;
    while (n < s.n && n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    memcpy(r->error, s.p ? s.p : "", n);
    r->error[n] = 0;
    bool plain = n == 0 || str_is_utf8(sl_lit(r->error, n));
    for (size_t i = 0; i < n; i++)
        if (!r->error[i] || (!plain && (unsigned char)r->error[i] >= 0x80)) r->error[i] = '?';
}

static sl_err job_problem(call *c, int32_t status, sl_str code, sl_str detail)
{
    set_error(run_of(c), arena_printf(c->arena, "%d %.*s: %.*s", status, STR_ARG(str_sub(code, 0, 100)),
                                      STR_ARG(str_sub(detail, 0, 800))));
    return SL_EREPLIED;
}

static const struct call_ops job_ops = { job_input, job_reply, job_header, job_write, job_problem };

sl_err jobs_retry(call *c, uint32_t delay_ms, sl_str why)
{
    if (c->ops != &job_ops) return SL_ESTATE;
    struct run *r = run_of(c);
    r->retry = true;
    r->job.retry_ms = delay_ms;
    set_error(r, why);
    return SL_EBUSY;
}

/* ---- its end ---- */
static sl_err before_commit(call *c)
{
    struct run *r = run_of(c);
    r->leaves = false; /* the handler may have been run again after a lost transaction */
    if (r->lost) return SL_ECONFLICT;
    if (!store_pending(c)) return SL_OK; /* nothing was written: taken off together with others */
    r->outcome = RUN_SUCCEEDED;
    r->finished_at = r->claimed_at + (clock_monotonic() - r->claimed_ns) / 1000;
    r->leaves = true;
    sl_err e = defer_delete(c, r);
    return e ? e : defer_history(c, r);
}

static const char *sentence(sl_err e)
{
    static const char *const names[] = {
        [-SL_EINVAL] = "an input is wrong",
        [-SL_ENOENT] = "no such thing",
        [-SL_EDENIED] = "not allowed",
        [-SL_ECONFLICT] = "a conflict with what is stored",
        [-SL_EPRECOND] = "a precondition does not hold",
        [-SL_ETOOBIG] = "a limit is exceeded",
        [-SL_EBUSY] = "too much at once",
        [-SL_ECANCEL] = "cancelled",
        [-SL_ETIME] = "the deadline passed",
        [-SL_EUPSTREAM] = "an outside system failed",
        [-SL_EUNAVAIL] = "the store or another plugin cannot be reached",
        [-SL_ESTATE] = "not allowed at this point",
        [-SL_EINTERNAL] = "an internal error",
        [-SL_EREPLIED] = "the handler answered with a problem",
        [-SL_EDEAD] = "the handler gave the job up",
    };
    size_t i = (size_t) - (int64_t)e;
    return e < 0 && i < sizeof names / sizeof *names && names[i] ? names[i] : "an unknown error code";
}

/* Exponential back-off with jitter of +-50 %, never over the maximum. */
static int64_t backoff_us(const struct run *r)
{
    uint64_t ms = r->backoff_ms, max = engine.cfg.backoff_max_ms;
    uint32_t random;
    for (uint32_t i = 1; i < r->job.attempt && ms < max; i++)
        ms *= 2;
    if (ms > max) ms = max;
    random_bytes(&random, sizeof random);
    ms = ms / 2 + random % (ms + 1);
    return (int64_t)(ms > max ? max : ms) * 1000;
}

static void decide(call *c, struct run *r, sl_err e)
{
    if (e == SL_OK) {
        r->outcome = RUN_SUCCEEDED;
        return;
    }
    if (!c->generation) { /* its plugin is just being replaced, or at its own limit: the handler never ran */
        r->outcome = RUN_RETURNED;
        r->delay_us = NOT_RUN_US;
        r->started_ns = 0; /* no attempt, no history */
        set_error(r, SL("the plugin did not take the job"));
        return;
    }
    if (e == SL_ECANCEL && c->cancelled &&
        !r->retry) { /* drained, or its plugin is being replaced: not the job's fault */
        r->outcome = RUN_RETURNED;
        set_error(r, SL("cancelled: the process or its plugin was drained"));
        return;
    }
    if (!r->error[0]) {
        const char *store = store_error(c);
        set_error(r, arena_printf(c->arena, "%s (%d)%s%s", sentence(e), (int)e, store[0] ? ": " : "", store));
    }
    if (e == SL_EDEAD || r->job.attempt >= r->job.attempts) {
        r->outcome = RUN_DEAD;
        return;
    }
    r->outcome = r->retry ? RUN_RETRIED : RUN_FAILED;
    uint32_t asked = r->job.retry_ms < RETRY_MAX_MS ? r->job.retry_ms : RETRY_MAX_MS;
    r->delay_us = r->retry ? (int64_t)asked * 1000 : backoff_us(r);
}

static void run_over(call *c, struct run *r, sl_err e)
{
    r->call = NULL;
    engine.running--;
    engine.finished++;
    engine.stats.running = engine.running;
    kind_table_drop(r->table);
    r->table = NULL;
    double seconds = (double)(clock_monotonic() - r->started_ns) / 1e9;
    if (r->slot->duration)
        series_observe(r->slot->duration, seconds, c->trace.recorded ? c->trace.id : SL(""), store_now());
    start_soon();
    if (r->lost) {
        log_warn("a job's lease was lost while it ran", LOG_S("kind", r->job.kind), LOG_S("job_id", r->job.id));
        r->outcome = RUN_LOST;
        count_run(r);
        run_free(r);
        return;
    }
    if (e == SL_OK && r->leaves) { /* it is off the queue already */
        count_run(r);
        run_free(r);
        return;
    }
    if (!r->leaves || e) r->finished_at = r->claimed_at + (clock_monotonic() - r->claimed_ns) / 1000;
    r->leaves = false;
    decide(c, r, e);
    settle(r);
}

/* Jobs go on with the trace of the call that enqueued them; one without a trace starts its own. */
static void join_trace(call *c, struct run *r)
{
    if (r->job.trace.p && trace_join(&c->trace, r->job.trace)) return;
    unsigned char id[16];
    char *hex = arena_alloc(c->arena, TRACE_ID_TEXT);
    random_bytes(id, sizeof id);
    hex_encode(id, sizeof id, hex);
    trace_begin(&c->trace, sl_lit(hex, 32));
    if (c->trace.recorded) c->trace.span = 0; /* the job's span has no parent */
}

static void end_span(struct span *s, const struct run *r, sl_err e)
{
    const struct span_attribute attributes[] = { SPAN_S("messaging.message.id", r->job.id),
                                                 SPAN_S("messaging.destination.name", r->job.topic),
                                                 SPAN_S("service_layer.tenant", r->job.tenant),
                                                 SPAN_S("service_layer.job.key", r->job.key),
                                                 SPAN_I("service_layer.job.attempt", r->job.attempt) };
    sl_str error = e ? sl_cstr(r->error[0] ? r->error : sentence(e)) : sl_lit(NULL, 0);
    span_close(s, SPAN_CONSUMER, r->job.kind, error, attributes, sizeof attributes / sizeof *attributes);
}

static void body(call *c)
{
    struct run *r = run_of(c);
    struct span span;
    join_trace(c, r);
    span_open(&span, c);
    sl_err e = engine.invoke(c, c->entry, before_commit);
    if (span_recorded(&span)) end_span(&span, r, e);
    run_over(c, r, e);
}

static void init(call *c, void *arg)
{
    struct run *r = arg;
    const struct job_kind *def = r->slot->def;
    c->name = r->slot->name.p;
    c->module = def->module;
    c->ops = &job_ops;
    c->context = r;
    c->entry = def->entry;
    r->call = c;
    r->started_ns = clock_monotonic();
}

bool run_start(struct run *r)
{
    const struct job_kind *def = r->slot->def;
    if (r->lost) {
        run_free(r);
        return true;
    }
    if (!def) { /* its plugin went away after the claim */
        r->outcome = RUN_RETURNED;
        settle(r);
        return true;
    }
    r->backoff_ms = def->backoff_ms ? def->backoff_ms : engine.cfg.backoff_ms;
    if (def->schedule) r->job.tick = r->job.key;
    r->table = r->slot->table;
    r->table->refs++;
    engine.running++;
    engine.stats.running = engine.running;
    engine.stats.started++;
    if (call_start(def->stack_kib, def->deadline_ms ? def->deadline_ms : engine.cfg.deadline_ms, init, r, body))
        return true;
    engine.running--;
    engine.stats.running = engine.running;
    engine.stats.started--;
    kind_table_drop(r->table);
    r->table = NULL;
    return false;
}
