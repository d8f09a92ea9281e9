/* reload.c - changes of one module while requests flow: reload, enable, disable, unload, and the way back. */
#include "module/private.h"
#include "base/clock.h"
#include "base/log.h"
#include "observe/metrics.h"

enum { DRAINING_MAX = 8, CHANGE_STACK_KIB = 256, CLOSE_TURNS = 800, CLOSE_STEP_MS = 10 };
static bool locked;

struct change { /* shared by who asked for it and the fiber that does it; whoever lets go last frees it */
    struct module *m;
    enum module_action action;
    call *asker, *worker;
    struct module_change done;
    bool pinned; /* the generation that is replaced is loaded for ever */
    sl_err result;
};

static const char *const action_names[] = { "reload", "enable", "disable", "unload" };

bool module_lock(void)
{
    if (locked) return false;
    return locked = true;
}

void module_unlock(void) { locked = false; }

void reload_close(call *c)
{
    for (int i = 0; i < CLOSE_TURNS && locked; i++)
        if (call_sleep(c, CLOSE_STEP_MS)) break;
    locked = true;
}

/* ---- who needs whom ---- */
/* One sweep in start order is enough: each comes behind what it needs. */
void module_dependents(void)
{
    const struct module *missing;
    for (struct module *m = modules_first(); m; m = m->next) {
        if (!m->current || (m->status != MODULE_STARTED && m->status != MODULE_WAITING)) continue;
        enum module_status now = module_needs_met(m, &missing) ? MODULE_STARTED : MODULE_WAITING;
        if (now == m->status) continue;
        m->status = now;
        m->edition++;
        m->error[0] = 0;
        if (missing)
            snprintf(m->error, sizeof m->error, "waiting for %s, which is %s", missing->name,
                     module_status_name(missing->status));
        log_warn(missing ? "module waits" : "module serves again", LOG_C("module", m->name),
                 LOG_C("for", missing ? missing->name : ""));
    }
}

/* ---- the swap ---- */
static void tell_jobs_and_bus(call *c)
{
    if (modules_publish(c))
        log_warn("subscriptions could not be stored; the store will be asked again with the next change");
}

/* From here on g serves. All of it happens before anything can wait, but for what the store is told. */
void reload_swap(call *c, struct module *m, struct generation *g, uint32_t warm_ms)
{
    struct generation *old = m->current, *table = m->staged;
    m->current = g;
    m->staged = NULL;
    m->config = g->config;
    m->status = MODULE_STARTED;
    m->error[0] = 0;
    m->broken = false;
    m->started_at = clock_now();
    m->edition++;
    g->draining = false;
    g->state = GENERATION_SERVING;
    g->loaded_at = m->started_at;
    module_about(m, g->seen);
    for (struct generation *o = m->older; o; o = o->older)
        o->hurry = true; /* one is kept warm, not a row of them */
    if (old) generation_retire(old, warm_ms);
    module_dependents();
    tell_jobs_and_bus(c);
    if (table) {
        if (table->state == GENERATION_DRAINING || table->calls) return; /* disabled a moment ago: drain.c has it */
        generation_discard(table);
    }
}

void reload_back(call *c, struct module *m, struct generation *old, const char *why)
{
    struct generation *bad = m->current, **at = &m->older;
    log_error("rolled back: the new generation turned bad", LOG_C("module", m->name), LOG_I("generation", bad->number),
              LOG_I("back_to", old->number), LOG_C("why", why));
    while (*at && *at != old)
        at = &(*at)->older;
    if (*at) *at = old->older;
    old->older = NULL;
    m->last = (struct module_change){
        .action = "roll back", .good = true, .from = bad->number, .to = old->number, .at = clock_now()
    };
    snprintf(m->last.outcome, sizeof m->last.outcome, "generation %u serves again, because of %u: %.400s", old->number,
             bad->number, why);
    m->current = old;
    m->config = old->config;
    old->draining = false;
    old->state = GENERATION_SERVING;
    m->edition++;
    if (old->seen) module_about(m, old->seen);
    generation_retire(bad, 0);
    tell_jobs_and_bus(c);
}

/* ---- what each action does; `why` is filled on failure ---- */
static bool may_be_replaced(const struct module *m, char *why, size_t why_size)
{
    size_t parked = generations_old(m, true), leaving = generations_old(m, false);
    if (parked >= (size_t)module_cfg->parked_max && parked)
        snprintf(
            why, why_size,
            "%zu old generations of it could not be unloaded (modules.parked_max is %lld): restart the server, or give "
            "it a process of its own (plugins.%s.isolation: process)",
            parked, (long long)module_cfg->parked_max, m->name);
    else if (leaving >= DRAINING_MAX)
        snprintf(why, why_size, "%zu old generations of it are still draining: try again later", leaving);
    else
        return true;
    return false;
}

static bool hand_over(call *c, struct module *m, struct generation *g, struct module_change *done, char *why,
                      size_t why_size)
{
    uint32_t ms = (uint32_t)module_cfg->module_hold_ms;
    int64_t began = clock_monotonic();
    hold_begin(m);
    bool good = generation_drain(c, m->current, ms);
    if (!good) snprintf(why, why_size, "hand-over: %u calls do not end", m->current->calls);
    if (good) good = generation_hand_over(c, m->current, g, ms, why, why_size) == SL_OK;
    done->hand_over_us = (clock_monotonic() - began) / 1000;
    return good;
}

static sl_err replace(call *c, struct module *m, struct module_change *done, char *why, size_t why_size)
{
    int64_t began = clock_monotonic();
    if (!may_be_replaced(m, why, why_size)) return SL_ECONFLICT;
    struct generation *g = stage(c, m, module_cfg, true, done, why, why_size), *old = m->current;
    if (!g) return SL_EINVAL;
    bool state = old && old->life.save && g->life.load;
    if (old && old->life.save && !g->life.load)
        log_warn("state is not handed over: the new generation has no `load`", LOG_C("module", m->name));
    if (state && !hand_over(c, m, g, done, why, why_size)) {
        done->held = hold_release(m);
        stage_drop(g);
        return SL_EINVAL;
    }
    done->from = old ? old->number : 0;
    done->to = g->number;
    done->swap_us = (clock_monotonic() - began) / 1000;
    reload_swap(c, m, g, state || !old ? 0 : (uint32_t)module_cfg->rollback_ms);
    done->held = hold_release(m);
    return SL_OK;
}

/* Those that wait for something that has started now, and were never started themselves. */
static void start_waiting(call *c)
{
    const struct module *missing;
    for (struct module *m = modules_first(); m; m = m->next) {
        if (m->current || m->status != MODULE_WAITING || !m->enabled || !module_needs_met(m, &missing)) continue;
        struct module_change done = { .action = "enable", .at = clock_now() };
        char why[MODULE_WHY] = "";
        done.good = replace(c, m, &done, why, sizeof why) == SL_OK;
        snprintf(done.outcome, sizeof done.outcome, "%s", done.good ? "started: what it needs is there" : why);
        m->last = done;
        if (!done.good) module_fail(m, "%s", why);
    }
}

static const struct module *required_dependent(const struct module *m)
{
    for (const struct module *d = modules_first(); d; d = d->next)
        for (size_t i = 0; i < d->n_all_needs; i++)
            if (!d->all_needs[i].optional && strcmp(d->all_needs[i].id, m->name) == 0 && d->required && d->current)
                return d;
    return NULL;
}

static sl_err take_down(call *c, struct module *m, bool keep_table, char *why, size_t why_size)
{
    struct generation *g = m->current;
    const struct module *dependent = required_dependent(m);
    if (m->required || dependent) {
        snprintf(why, why_size, "%s is required by the configuration", m->required ? m->name : dependent->name);
        return SL_ECONFLICT;
    }
    for (struct generation *o = m->older; o; o = o->older)
        o->hurry = true;
    m->enabled = false;
    m->status = keep_table ? MODULE_DISABLED : MODULE_STOPPED;
    snprintf(m->error, sizeof m->error, "%s",
             keep_table ? "disabled by an administrator" : "unloaded by an administrator");
    m->edition++;
    m->stopped_at = clock_now();
    m->current = NULL;
    m->config = NULL;
    struct generation *table = m->staged;
    if (g)
        m->staged = keep_table ? g : NULL;
    else if (!keep_table)
        m->staged = NULL;
    if (g) generation_retire(g, 0);
    module_dependents();
    tell_jobs_and_bus(c);
    if (table && table != m->staged && table->state != GENERATION_DRAINING && !table->calls) generation_discard(table);
    return SL_OK;
}

static sl_err act(call *c, struct change *k, char *why, size_t why_size)
{
    struct module *m = k->m;
    bool down = k->action == MODULE_DISABLE || k->action == MODULE_UNLOAD;
    sl_err e = SL_ECONFLICT;
    if (m->linked) {
        snprintf(why, why_size, "it is part of the server");
    } else if (down) {
        k->done.from = m->current ? m->current->number : 0;
        e = take_down(c, m, k->action == MODULE_DISABLE, why, why_size);
    } else if (k->action == MODULE_ENABLE && m->current) {
        k->done.from = k->done.to = m->current->number;
        e = SL_OK;
    } else if (k->action == MODULE_RELOAD && !m->current && !m->enabled) {
        snprintf(why, why_size, "it is %s: enable it instead", module_status_name(m->status));
    } else {
        m->enabled = true;
        k->pinned = m->current && m->current->keep;
        e = replace(c, m, &k->done, why, why_size);
        if (e && !m->current) module_fail(m, "%s", why);
        if (!e) start_waiting(c);
    }
    return e;
}

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

static void work(call *c)
{
    struct change *k = c->context;
    char why[MODULE_WHY] = "";
    k->worker = c;
    k->result = act(c, k, why, sizeof why);
    k->done.good = k->result == SL_OK;
    describe(k, why);
    k->m->last = k->done;
    k->m->edition++;
    count(k);
    LOG_AT(k->done.good ? SL_INFO : SL_ERROR, "module changed", LOG_C("module", k->m->name),
           LOG_C("action", k->done.action), LOG_C("outcome", k->done.outcome), LOG_I("check_us", k->done.check_us),
           LOG_I("start_us", k->done.start_us), LOG_I("swap_us", k->done.swap_us), LOG_I("held", k->done.held));
    module_unlock();
    k->worker = NULL;
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

sl_err module_change(call *c, struct module *m, enum module_action action, struct module_change *out)
{
    struct change *k = calloc(1, sizeof *k);
    if (!k) abort();
    *k = (struct change){ .m = m, .action = action, .asker = c };
    k->done = (struct module_change){ .action = action_names[action], .at = clock_now() };
    *out = k->done;
    bool mine = module_lock();
    if (!mine || !call_start(CHANGE_STACK_KIB, 0, work_init, k, work)) {
        if (mine) module_unlock();
        snprintf(out->outcome, sizeof out->outcome, "not done: another change of modules is under way");
        free(k);
        return SL_EBUSY;
    }
    sl_err left = call_wait(c, asker_left, k);
    if (left) return left;
    sl_err e = k->result;
    *out = k->done;
    free(k);
    return e;
}
