/* steps.c - runs one lifecycle function of a plugin as a call on a fiber of its own, within a time. */
#include "module/cell.h"
#include "base/log.h"
#include "store/store.h"

enum {
    START_MS = 60000, /* each of create and start */
    GRACE_MS = 1000,
    STATE_MAX = 64 << 20,
    CELL_GRACE_MS = 4000
}; /* a child process is killed first, if it must be */

/* Shared by who waits for the step and the step itself: whoever lets go last frees it. */
struct running {
    struct capture capture;
    sl_pair facts[2]; /* reason, state_version */
    char version[16];
    buf state; /* of save and load */
    struct generation *g;
    enum step step;
    call *waiter; /* NULL = it gave up */
    bool over;
    sl_err result;
    char why[MODULE_WHY];
};

static const char *const step_names[] = { "create", "start", "stop", "health", "save", "load" };

sl_handler *step_handler(const struct generation *g, enum step step)
{
    switch (step) {
    case STEP_START:
        return g->life.start;
    case STEP_STOP:
        return g->life.stop;
    case STEP_HEALTH:
        return g->life.health;
    case STEP_SAVE:
        return g->life.save;
    case STEP_LOAD:
        return g->life.load;
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
    else if (r->result == SL_EUNAVAIL && r->g->cell)
        snprintf(r->why, sizeof r->why, "%s: its process is not there (%s)", step_names[r->step], cell_last(r->g));
    else if (*store_error(c))
        snprintf(r->why, sizeof r->why, "%s: %s", step_names[r->step], store_error(c));
    else
        snprintf(r->why, sizeof r->why, "%s returned %s", step_names[r->step], err_name(r->result));
}

static void running_free(struct running *r)
{
    json_decref(r->capture.fields);
    buf_free(&r->state);
    free(r);
}

sl_err step_run(call *c, struct generation *g, enum step step)
{
    if (g->cell) return cell_run(c, g, step, NULL);
    if (step == STEP_CREATE) return checked_code(c, g->life.create(&c->pub, &g->self));
    return checked_code(c, step_handler(g, step)(g->self, &c->pub));
}

static void step_body(call *c)
{
    struct running *r = (struct running *)((char *)c->context - offsetof(struct running, capture));
    struct generation *g = r->g;
    r->result = step_run(c, g, r->step);
    if (r->result == SL_OK) r->result = store_commit(c);
    if (r->result != SL_OK) {
        explain(r, c);
        store_rollback(c);
    } else if (r->step == STEP_SAVE)
        buf_add_str(&r->state, r->capture.answer);
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

/* state: out of save, into load; NULL for the other steps. */
static sl_err run_step(call *c, struct generation *g, enum step step, uint32_t ms, buf *state, uint32_t version,
                       char *why, size_t why_size)
{
    if (step == STEP_CREATE ? !g->life.create : !step_handler(g, step)) return SL_OK;
    struct running *r = calloc(1, sizeof *r);
    if (!r) abort();
    buf_init(&r->state, STATE_MAX);
    r->facts[0] = (sl_pair){ SL("reason"), sl_cstr(step_names[step]) };
    r->facts[1] = (sl_pair){ SL("state_version"),
                             sl_lit(r->version, (size_t)snprintf(r->version, sizeof r->version, "%u", version)) };
    r->capture.facts = r->facts;
    r->capture.n_facts = step == STEP_LOAD ? 2 : 1;
    if (step == STEP_LOAD && state) {
        buf_add_str(&r->state, buf_str(state));
        r->capture.body = buf_str(&r->state);
    }
    r->g = g;
    r->step = step;
    r->waiter = c;
    g->calls++;
    if (!call_start(g->stack_kib, ms, step_init, r, step_body)) {
        g->calls--;
        running_free(r);
        snprintf(why, why_size, "%s: too many calls at once", step_names[step]);
        return SL_EBUSY;
    }
    uint32_t left = call_left(c), limit = ms + (g->cell ? CELL_GRACE_MS : GRACE_MS);
    if (limit < left) call_deadline(c, limit); /* a step that ignores its deadline does not hold us */
    sl_err result = call_wait(c, give_up, r);
    call_deadline(c, left == UINT32_MAX ? 0 : left);
    if (result) {
        snprintf(why, why_size, "%s does not return", step_names[step]);
        return result;
    }
    result = r->result;
    if (result) snprintf(why, why_size, "%s", r->why);
    if (!result && step == STEP_SAVE && state) buf_add_str(state, buf_str(&r->state));
    running_free(r);
    return result;
}

sl_err generation_step(call *c, struct generation *g, enum step step, uint32_t ms, char *why, size_t why_size)
{
    return run_step(c, g, step, ms, NULL, 0, why, why_size);
}

sl_err generation_start(call *c, struct generation *g, char *why, size_t why_size)
{
    sl_err e = generation_step(c, g, STEP_CREATE, START_MS, why, why_size);
    if (e) return e;
    g->created = true;
    e = generation_step(c, g, STEP_START, START_MS, why, why_size);
    g->started = !e;
    return e;
}

sl_err generation_hand_over(call *c, struct generation *from, struct generation *to, uint32_t ms, char *why,
                            size_t why_size)
{
    buf state;
    buf_init(&state, STATE_MAX);
    sl_err e = run_step(c, from, STEP_SAVE, ms, &state, 0, why, why_size);
    if (!e && state.overflow) {
        snprintf(why, why_size, "save: the state is over %d MiB", STATE_MAX >> 20);
        e = SL_ETOOBIG;
    }
    if (!e) e = run_step(c, to, STEP_LOAD, ms, &state, from->life.state_version, why, why_size);
    buf_free(&state);
    return e;
}
