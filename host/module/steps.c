/* steps.c - runs one lifecycle function of a plugin as a call on a fiber of its own, within a time. */
#include "module/private.h"
#include "base/log.h"
#include "store/store.h"

enum { GRACE_MS = 1000 };

/* Shared by who waits for the step and the step itself: whoever lets go last frees it. */
struct running {
    struct capture capture;
    sl_pair reason;
    struct generation *g;
    enum step step;
    call *waiter; /* NULL = it gave up */
    bool over;
    sl_err result;
    char why[MODULE_WHY];
};

static const char *const step_names[] = { "create", "start", "stop", "health" };

static sl_handler *handler_of(const struct generation *g, enum step step)
{
    switch (step) {
    case STEP_START:
        return g->life.start;
    case STEP_STOP:
        return g->life.stop;
    case STEP_HEALTH:
        return g->life.health;
    default:
        return NULL;
    }
}

static void explain(struct running *r, call *c)
{
    const struct capture *k = &r->capture;
    if (r->result == SL_EREPLIED && k->detail.n)
        snprintf(r->why, sizeof r->why, "%.*s", STR_ARG(k->detail));
    else if (r->result == SL_EREPLIED && k->code.n)
        snprintf(r->why, sizeof r->why, "%.*s", STR_ARG(k->code));
    else if (r->result == SL_ETIME)
        snprintf(r->why, sizeof r->why, "%s did not end in time", step_names[r->step]);
    else if (*store_error(c))
        snprintf(r->why, sizeof r->why, "%s: %s", step_names[r->step], store_error(c));
    else
        snprintf(r->why, sizeof r->why, "%s returned %s", step_names[r->step], err_name(r->result));
}

static void running_free(struct running *r)
{
    json_decref(r->capture.fields);
    free(r);
}

static void step_body(call *c)
{
    struct running *r = (struct running *)((char *)c->context - offsetof(struct running, capture));
    struct generation *g = r->g;
    sl_handler *run = handler_of(g, r->step);
    if (r->step == STEP_CREATE)
        r->result = checked_code(c, g->life.create(&c->pub, &g->self));
    else
        r->result = checked_code(c, run(g->self, &c->pub));
    if (r->result == SL_OK) r->result = store_commit(c);
    if (r->result != SL_OK) {
        explain(r, c);
        store_rollback(c);
    }
    g->calls--;
    r->over = true;
    if (r->waiter)
        call_wake(r->waiter, SL_OK);
    else
        running_free(r);
}

static void step_init(call *c, void *arg)
{
    struct running *r = arg;
    c->ops = &capture_ops;
    c->context = &r->capture;
    c->generation = r->g;
    c->pub.host = &r->g->host;
    c->module = r->g->module->name;
    c->name = step_names[r->step];
}

static void give_up(void *op) { ((struct running *)op)->waiter = NULL; }

sl_err generation_step(call *c, struct generation *g, enum step step, uint32_t ms, char *why, size_t why_size)
{
    if (step == STEP_CREATE ? !g->life.create : !handler_of(g, step)) return SL_OK;
    struct running *r = calloc(1, sizeof *r);
    if (!r) abort();
    r->reason = (sl_pair){ SL("reason"), sl_cstr(step_names[step]) };
    r->capture.facts = &r->reason;
    r->capture.n_facts = 1;
    r->g = g;
    r->step = step;
    r->waiter = c;
    g->calls++;
    if (!call_start(g->stack_kib, ms, step_init, r, step_body)) {
        g->calls--;
        free(r);
        snprintf(why, why_size, "%s: too many calls at once", step_names[step]);
        return SL_EBUSY;
    }
    uint32_t left = call_left(c);
    if (ms + GRACE_MS < left) call_deadline(c, ms + GRACE_MS); /* a step that ignores its deadline does not hold us */
    sl_err result = call_wait(c, give_up, r);
    call_deadline(c, left == UINT32_MAX ? 0 : left);
    if (result) {
        snprintf(why, why_size, "%s does not return", step_names[step]);
        return result;
    }
    result = r->result;
    if (result) snprintf(why, why_size, "%s", r->why);
    running_free(r);
    return result;
}
