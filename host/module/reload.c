/* reload.c - what replaces, starts and takes down a module while requests flow, and the way back. */
#include "module/private.h"
#include "base/clock.h"
#include "base/log.h"

enum { DRAINING_MAX = 8, ROOM_STEP_MS = 10, ROOM_SPARE_MS = 10000 };

/* ---- who needs whom ---- */
/* Who needs what is not started waits; who waited for what is started serves. One sweep in start order is enough: each
 * comes behind what it needs. */
static void settle_dependents(void)
{
    const struct module *missing;
    for (struct module *m = modules_first(); m; m = m->next) {
        if (!m->current || (m->status != MODULE_STARTED && m->status != MODULE_WAITING)) continue;
        enum module_status now = module_needs_run(m, &missing) ? MODULE_STARTED : MODULE_WAITING;
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
static void swap(call *c, struct module *m, struct generation *g, uint32_t warm_ms)
{
    struct generation *old = m->current, *table = m->staged;
    m->current = g;
    m->staged = NULL;
    m->config = g->config;
    m->status = MODULE_STARTED;
    m->error[0] = m->bad_file[0] = 0;
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
    modules_sort();
    settle_dependents();
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
        snprintf(why, why_size, "%zu old generations of it are still draining after modules.drain", leaving);
    else
        return true;
    return false;
}

/* Reloads that come faster than calls end wait for the oldest generations to leave, which each does within
 * modules.drain. */
static void wait_for_room(call *c, const struct module *m)
{
    int64_t until = clock_monotonic() + (module_cfg->module_drain_ms + ROOM_SPARE_MS) * 1000000;
    while (generations_old(m, false) >= DRAINING_MAX && clock_monotonic() < until)
        if (call_sleep(c, ROOM_STEP_MS)) break;
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

/* g: checked already, or NULL. */
static sl_err replace(call *c, struct module *m, struct generation *g, struct module_change *done, char *why,
                      size_t why_size)
{
    int64_t began = clock_monotonic();
    wait_for_room(c, m);
    if (!may_be_replaced(m, why, why_size)) {
        if (g) stage_drop(g);
        return SL_ECONFLICT;
    }
    g = g ? stage_checked(c, g, done, why, why_size) : stage(c, m, module_cfg, true, done, why, why_size);
    if (!g) return SL_EINVAL;
    struct generation *old = m->current;
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
    swap(c, m, g, state || !old ? 0 : (uint32_t)module_cfg->rollback_ms);
    done->held = hold_release(m);
    return SL_OK;
}

/* Those that could not start for want of something that has started now. */
static void start_waiting(call *c)
{
    for (struct module *m = modules_first(); m; m = m->next) {
        if (m->current || !m->enabled || !(m->status == MODULE_WAITING || m->lacking) || !module_needs_met(m)) continue;
        struct module_change done = { .action = "enable", .at = clock_now() };
        char why[MODULE_WHY] = "";
        m->lacking = false;
        done.good = replace(c, m, NULL, &done, why, sizeof why) == SL_OK;
        snprintf(done.outcome, sizeof done.outcome, "%s", done.good ? "started: what it needs is there" : why);
        m->last = done;
        if (done.good)
            log_info("module started: what it needs is there", LOG_C("module", m->name));
        else
            module_fail(m, "%s", why);
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

static sl_err take_down(call *c, struct module *m, bool keep_table, const char *by, char *why, size_t why_size)
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
    m->lacking = false;
    snprintf(m->error, sizeof m->error, "%s by %s", keep_table ? "disabled" : "unloaded", by);
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
    settle_dependents();
    tell_jobs_and_bus(c);
    if (table && table != m->staged && table->state != GENERATION_DRAINING && !table->calls) generation_discard(table);
    return SL_OK;
}

sl_err reload_act(call *c, struct module *m, enum module_action action, struct generation *checked, const char *by,
                  struct module_change *done, char *why, size_t why_size)
{
    bool down = action == MODULE_DISABLE || action == MODULE_UNLOAD;
    sl_err e = SL_ECONFLICT;
    if (m->linked) {
        snprintf(why, why_size, "it is part of the server");
    } else if (down) {
        done->from = m->current ? m->current->number : 0;
        e = take_down(c, m, action == MODULE_DISABLE, by, why, why_size);
    } else if (action == MODULE_ENABLE && m->current) {
        done->from = done->to = m->current->number;
        e = SL_OK;
    } else if (action == MODULE_RELOAD && !m->current && !m->enabled) {
        snprintf(why, why_size, "it is %s: enable it instead", module_status_name(m->status));
    } else {
        m->enabled = true;
        m->lacking = false;
        e = replace(c, m, checked, done, why, why_size);
        if (e && !m->current) module_fail(m, "%s", why);
        if (!e) start_waiting(c);
    }
    return e;
}
