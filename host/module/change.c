/* change.c - changes of modules one at a time: who asks waits in line, the change goes on when the asker leaves, and
 * what came of it is said in words, in a log line and in metrics. */
#include "module/private.h"
#include "base/clock.h"
#include "base/log.h"
#include "observe/metrics.h"

enum { CHANGE_STACK_KIB = 256, CLOSE_TURNS = 800, CLOSE_STEP_MS = 10 };

/* ---- one at a time ---- */
struct turn {
    call *c;
    struct turn *next;
};
static struct {
    bool taken, closed;
    struct turn *first;
} line;

bool module_lock(void)
{
    if (line.taken || line.closed) return false;
    return line.taken = true;
}

/* Straight to who has waited longest. */
void module_unlock(void)
{
    struct turn *t = line.first;
    line.taken = t && !line.closed;
    if (!line.taken) return;
    line.first = t->next;
    call_wake(t->c, SL_OK);
}

static void leave_line(void *op)
{
    struct turn **at = &line.first;
    while (*at && *at != op)
        at = &(*at)->next;
    if (*at) *at = (*at)->next;
}

sl_err module_lock_wait(call *c)
{
    if (module_lock()) return SL_OK;
    if (line.closed) return SL_EBUSY;
    struct turn t = { .c = c }, **end = &line.first;
    while (*end)
        end = &(*end)->next;
    *end = &t;
    return call_wait(c, leave_line, &t);
}

void change_close(call *c)
{
    line.closed = true;
    while (line.first) {
        call *waiter = line.first->c;
        line.first = line.first->next;
        call_wake(waiter, SL_EBUSY);
    }
    for (int i = 0; i < CLOSE_TURNS && line.taken; i++)
        if (call_sleep(c, CLOSE_STEP_MS)) break;
}

/* ---- one change ---- */
struct change { /* shared by who asked for it and the fiber that does it; whoever lets go last frees it */
    struct module *m;
    enum module_action action;
    call *asker;
    struct module_change done;
    bool pinned; /* the generation that is replaced is loaded for ever */
    sl_err result;
};

static const char *const action_names[] = { "reload", "enable", "disable", "unload" };

const char *module_action_name(enum module_action a) { return action_names[a]; }

static void describe(struct change *k, const char *why)
{
    struct module_change *d = &k->done;
    char *out = d->outcome;
    size_t size = sizeof d->outcome;
    if (!d->good && d->action && k->m->current)
        snprintf(out, size, "not done, generation %u serves on: %.400s", k->m->current->number, why);
    else if (!d->good)
        snprintf(out, size, "not done: %.400s", why);
    else if (d->to && d->to == d->from)
        snprintf(out, size, "generation %u serves already", d->to);
    else if (d->to && d->from)
        snprintf(out, size, "generation %u serves, generation %u %s%s", d->to, d->from,
                 d->hand_over_us           ? "handed its state over and leaves"
                 : module_cfg->rollback_ms ? "is kept warm"
                                           : "leaves",
                 k->pinned ? "; its code stays mapped for ever, as the findings on its file say" : "");
    else if (d->to)
        snprintf(out, size, "generation %u serves", d->to);
    else if (d->from)
        snprintf(out, size, "no new call gets in, generation %u leaves", d->from);
    else
        snprintf(out, size, "it was not running");
}

static void count(const struct change *k)
{
    metric *changes = metric_get(SL_COUNTER, "module_changes_total", "module,action,outcome",
                                 "Changes of modules while the server ran.");
    metric *time = metric_get(SL_HISTOGRAM, "module_reload_duration_seconds", "module",
                              "From the beginning of a reload until the new generation serves.");
    sl_str labels[] = { sl_cstr(k->m->name), sl_cstr(k->done.action), k->done.good ? SL("done") : SL("not_done") };
    if (changes) metric_add(changes, 1, labels, 3);
    if (time && k->done.swap_us) metric_add(time, (double)k->done.swap_us / 1e6, labels, 1);
}

sl_err change_run(call *c, struct module *m, enum module_action action, struct generation *checked, const char *by,
                  struct module_change *out)
{
    struct change k = { .m = m, .action = action, .pinned = m->current && m->current->keep };
    char why[MODULE_WHY] = "";
    k.done = (struct module_change){ .action = action_names[action], .at = clock_now() };
    sl_err e = reload_act(c, m, action, checked, by, &k.done, why, sizeof why);
    k.done.good = e == SL_OK;
    describe(&k, why);
    m->last = *out = k.done;
    m->edition++;
    count(&k);
    LOG_AT(k.done.good ? SL_INFO : SL_ERROR, "module changed", LOG_C("module", m->name), LOG_C("action", k.done.action),
           LOG_C("by", by), LOG_C("outcome", k.done.outcome), LOG_I("check_us", k.done.check_us),
           LOG_I("start_us", k.done.start_us), LOG_I("swap_us", k.done.swap_us), LOG_I("held", k.done.held));
    return e;
}

static void work(call *c)
{
    struct change *k = c->context;
    k->result = change_run(c, k->m, k->action, NULL, "an administrator", &k->done);
    module_unlock();
    if (k->asker)
        call_wake(k->asker, SL_OK);
    else
        free(k);
}

static void work_init(call *c, void *arg)
{
    c->context = arg;
    c->name = "module change";
}

static void asker_left(void *op) { ((struct change *)op)->asker = NULL; }

sl_err module_change(call *c, struct module *m, enum module_action action, const uint64_t *edition,
                     struct module_change *out)
{
    *out = (struct module_change){ .action = action_names[action], .at = clock_now() };
    sl_err e = module_lock_wait(c);
    if (e) {
        snprintf(out->outcome, sizeof out->outcome, "not done: another change of modules is under way");
        return e;
    }
    if (edition && *edition != m->edition) {
        module_unlock();
        return SL_EPRECOND;
    }
    struct change *k = calloc(1, sizeof *k);
    if (!k) abort();
    *k = (struct change){ .m = m, .action = action, .asker = c };
    if (!call_start(CHANGE_STACK_KIB, 0, work_init, k, work)) {
        module_unlock();
        snprintf(out->outcome, sizeof out->outcome, "not done: too many calls at once");
        free(k);
        return SL_EBUSY;
    }
    sl_err left = call_wait(c, asker_left, k);
    if (left) return left;
    e = k->result;
    *out = k->done;
    free(k);
    return e;
}
