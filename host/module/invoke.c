/* invoke.c - runs an entry's handler as a call: pinned, counted, repeated where the store says so, committed or rolled
 * back. */
#include "module/cell.h"
#include "base/log.h"
#include "loop/fiber.h"
#include "loop/watchdog.h"
#include "observe/span.h"
#include "rest/schema.h"
#include "store/store.h"

enum { RUNS_MAX = 6, SAMPLE_MASK = 255 }; /* measuring a stack is a system call: one call in 256 */

void module_pin(struct entry *e) { e->generation->calls++; }

void module_unpin(struct entry *e) { e->generation->calls--; }

const char *err_name(sl_err e)
{
    static const char *const names[] = { "SL_OK",        "SL_EINVAL",    "SL_ENOENT",    "SL_EDENIED",
                                         "SL_ECONFLICT", "SL_EPRECOND",  "SL_ETOOBIG",   "SL_EBUSY",
                                         "SL_ECANCEL",   "SL_ETIME",     "SL_EUPSTREAM", "SL_EUNAVAIL",
                                         "SL_ESTATE",    "SL_EINTERNAL", "SL_EREPLIED",  "SL_EDEAD" };
    return e <= SL_OK && e >= SL_EDEAD ? names[-e] : "an unknown code";
}

sl_err checked_code(call *c, sl_err e)
{
    if (e <= SL_OK && e >= SL_EDEAD) return e;
    log_error("handler returned a number that is no code of the contract", LOG_C("plugin", c->module),
              LOG_C("entry", c->name), LOG_I("code", e));
    return SL_EINTERNAL;
}

static void report_finding(void *arg, const char *pointer, const char *detail)
{
    buf *b = arg;
    buf_add_char(b, b->n ? ',' : '[');
    buf_add_char(b, '{');
    json_field_str(b, "pointer", sl_cstr(pointer));
    json_field_str(b, "detail", sl_cstr(detail));
    buf_add_char(b, '}');
}

json_t *entry_input(const struct entry *e, sl_str json, buf *findings)
{
    char why[200] = "";
    json_t *v = json_read(sl_given(json) ? json : SL("null"), why, sizeof why);
    if (!v)
        report_finding(findings, "", why);
    else if (!e->in || schema_check(e->in, v, report_finding, findings) == 0)
        return v;
    buf_add_char(findings, ']');
    json_decref(v);
    return NULL;
}

struct pool_job {
    sl_handler *run;
    void *self;
    call *c;
    sl_err result;
};

static void on_pool(void *arg)
{
    struct pool_job *p = arg;
    p->result = p->run(p->self, &p->c->pub);
}

sl_err entry_run(call *c, struct entry *e)
{
    struct generation *g = e->generation;
    if (g->cell) return cell_run(c, g, CELL_STEP_ENTRY, e);
    if (!(e->spec.flags & SL_POOL)) return checked_code(c, e->spec.run(g->self, &c->pub));
    struct pool_job job = { .run = e->spec.run, .self = g->self, .c = c };
    sl_err failed = pool_run(c, on_pool, &job);
    return failed ? failed : checked_code(c, job.result);
}

/* One run to its end: handler, what the caller joins to the transaction, commit. */
static sl_err run_once(call *c, struct entry *e, sl_err (*before_commit)(call *c))
{
    sl_err result = entry_run(c, e);
    if (result == SL_OK && before_commit) result = before_commit(c);
    if (result == SL_OK) result = store_commit(c);
    return result;
}

static sl_err run_until_settled(call *c, struct entry *e, sl_err (*before_commit)(call *c))
{
    for (unsigned run = 1;; run++) {
        sl_err result = run_once(c, e, before_commit);
        if (result == SL_OK) return SL_OK;
        bool again = run < RUNS_MAX && !(e->spec.flags & SL_STREAM) && store_may_retry(c);
        if (!again && result != SL_EREPLIED && *store_error(c))
            log_debug("store error", LOG_C("plugin", c->module), LOG_C("entry", c->name),
                      LOG_C("error", store_error(c)));
        store_rollback(c);
        if (!again || call_sleep(c, 1u << run)) return result;
    }
}

static bool is_fault(sl_err e)
{
    return e == SL_EINTERNAL || e == SL_ESTATE || e == SL_EUPSTREAM || e == SL_ETIME || e == SL_EUNAVAIL;
}

static void sample_stack(const call *c, struct module *m)
{
    size_t used = fiber_stack_used(c->fiber);
    if (used > m->stack_used) m->stack_used = used;
}

static void end_span(struct span *s, const call *c, sl_err e)
{
    const struct span_attribute attributes[] = { SPAN_C("code.namespace", c->module),
                                                 SPAN_C("code.function", c->name) };
    sl_str error = is_fault(e) ? sl_cstr(err_name(e)) : sl_lit(NULL, 0);
    span_close(s, SPAN_INTERNAL, SL("handler"), error, attributes, 2);
}

sl_err module_invoke(call *c, struct entry *e, sl_err (*before_commit)(call *c))
{
    struct generation *g = e->generation;
    struct module *m = g->module;
    if (g->draining) return SL_EUNAVAIL;
    if (e->spec.max_inflight && e->inflight >= e->spec.max_inflight) return SL_EBUSY;
    g->calls++;
    e->inflight++;
    m->calls++;
    g->done++;
    c->entry = e;
    c->generation = g;
    c->pub.host = &g->host;
    if (e->spec.flags & SL_SENSITIVE) c->sensitive = true;
    if (c->name != e->spec.name) {
        c->name = e->spec.name;
        c->module = m->name;
        watchdog_enter(c->module, c->name);
    }
    struct span span;
    span_open(&span, c);
    sl_err result = run_until_settled(c, e, before_commit);
    if (span_recorded(&span)) end_span(&span, c, result);
    if (is_fault(result)) m->errors++;
    if (result == SL_EINTERNAL || result == SL_ESTATE || result == SL_ETIME) g->failed++; /* its own, most likely */
    if ((m->calls & SAMPLE_MASK) == 1) sample_stack(c, m);
    e->inflight--;
    g->calls--;
    return result;
}

sl_err module_invoke_job(call *c, void *entry, sl_err (*before_commit)(call *c))
{
    if (((struct entry *)entry)->generation->module->hold) return SL_EUNAVAIL; /* its job goes back to the queue */
    return module_invoke(c, entry, before_commit);
}
