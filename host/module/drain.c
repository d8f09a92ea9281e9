/* drain.c - the way out of a generation: its calls end or are cancelled, it stops, its library is closed, and that it
 * is gone is proven. What cannot leave is parked and shown; this always ends, and nothing is unmapped under a call. */
#include "module/private.h"
#include "base/clock.h"
#include "base/log.h"
#include "observe/metrics.h"

enum { CANCEL_MS = 3000, STOP_MS = 10000, WARM_STEP_MS = 50, HEALTH_EVERY = 20, PARKED_MS = 500, CLOSE_MS = 8000 };
enum { BAD_CALLS = 10, SICK_TWICE = 2 };
static struct {
    unsigned running;        /* fibers of generations on their way out */
    bool closing;            /* the server stops */
    struct generation *left; /* still in use when the process ends */
} drains;

static void cancel_one(call *c, void *arg)
{
    if (c->generation == arg) call_cancel(c);
}

/* Looks often at first: most calls are over in no time. */
static bool wait_empty(call *c, const struct generation *g, uint32_t ms)
{
    int64_t until = clock_monotonic() + (int64_t)ms * 1000000;
    for (uint32_t step = 1; g->calls; step = step < 16 ? step * 2 : 16)
        if (clock_monotonic() >= until || call_sleep(c, step)) break;
    return g->calls == 0;
}

bool generation_drain(call *c, struct generation *g, uint32_t ms)
{
    if (wait_empty(c, g, ms)) return true;
    log_warn("calls are cancelled: their plugin waits for them", LOG_C("module", g->module->name),
             LOG_I("generation", g->number), LOG_I("calls", g->calls));
    call_each(cancel_one, g);
    return wait_empty(c, g, CANCEL_MS);
}

static void set_state(struct generation *g, enum generation_state s)
{
    g->state = s;
    g->module->edition++;
}

static void unlist(struct generation *g)
{
    struct generation **at = &g->module->older;
    while (*at && *at != g)
        at = &(*at)->older;
    if (*at) *at = g->older;
    g->older = NULL;
}

static void list(struct generation *g)
{
    g->older = g->module->older;
    g->module->older = g;
}

void generation_discard(struct generation *g)
{
    if (g->state == GENERATION_STUCK || (g->state == GENERATION_KEPT && g->keep))
        list(g); /* shown and counted as long as it is in the process */
    else
        generation_free(g);
}

size_t generations_old(const struct module *m, bool for_ever)
{
    size_t n = 0;
    for (const struct generation *g = m->older; g; g = g->older)
        n += (g->state == GENERATION_DRAINING || g->state == GENERATION_WARM) != for_ever;
    return n;
}

/* ---- the end ---- */
struct proof {
    const struct generation *g;
    bool mapped;
};
static void look(void *arg) /* on a pool thread */
{
    struct proof *p = arg;
    p->mapped = generation_mapped(p->g);
}

static void report(struct generation *g, int64_t began, int64_t drained, bool proven, const char *outcome)
{
    struct module *m = g->module;
    int64_t now = clock_monotonic();
    m->left = (struct module_unload){ .number = g->number,
                                      .proven = proven,
                                      .at = clock_now(),
                                      .drain_us = (drained - began) / 1000,
                                      .total_us = (now - began) / 1000 };
    snprintf(m->left.outcome, sizeof m->left.outcome, "%s", outcome);
    metric *left = metric_get(SL_COUNTER, "module_unloads_total", "module,outcome",
                              "Generations of plugins that left, by how that ended.");
    sl_str labels[] = { sl_cstr(m->name), sl_cstr(generation_state_name(g->state)) };
    if (left) metric_add(left, 1, labels, 2);
    LOG_AT(proven || g->keep ? SL_INFO : SL_WARN, "generation left", LOG_C("module", m->name),
           LOG_I("generation", g->number), LOG_C("outcome", outcome), LOG_I("drain_us", m->left.drain_us),
           LOG_I("us", m->left.total_us));
}

/* Stopped and destroyed; now its code goes, if it may, and where it went is looked up. */
static void unload(call *c, struct generation *g, int64_t began, int64_t drained)
{
    struct module *m = g->module;
    bool closes = generation_can_unload(g), proven = false;
    generation_unload(g);
    struct proof p = { .g = g };
    if (closes) {
        if (call_offload(c, look, &p)) look(&p);
        proven = !p.mapped;
    }
    set_state(g, proven ? GENERATION_GONE : closes ? GENERATION_STUCK : GENERATION_KEPT);
    report(g, began, drained, proven,
           proven && g->isolated ? "unloaded: its process has ended"
           : proven              ? "unloaded: in neither /proc/self/maps nor the dynamic linker's list"
           : closes              ? "stopped and closed, but its library stays mapped: see the findings on its file"
           : g->keep             ? "stopped; its library is kept for ever, as the findings on its file say"
                                 : "stopped; this build does not unload libraries");
    if (m->staged == g) { /* disabled: the table stays, to answer 503 */
        unlist(g);
        return;
    }
    if (!proven && (closes || g->keep)) return; /* shown as long as it is in the process */
    unlist(g);
    generation_free(g);
}

/* False: a call or a step is still in it. */
static bool finish(call *c, struct generation *g, int64_t began)
{
    char why[MODULE_WHY] = "";
    int64_t drained = clock_monotonic();
    if (g->calls) return false;
    if (g->started && generation_step(c, g, STEP_STOP, STOP_MS, why, sizeof why))
        log_warn("generation did not stop cleanly", LOG_C("module", g->module->name), LOG_I("generation", g->number),
                 LOG_C("error", why));
    g->started = false;
    if (g->calls) return false;
    generation_destroy(g);
    unload(c, g, began, drained);
    return true;
}

static void park(struct generation *g)
{
    struct module *m = g->module;
    set_state(g, GENERATION_PARKED);
    m->parked++;
    log_error("generation parked: its calls do not end; it stays mapped and gets no new ones", LOG_C("module", m->name),
              LOG_I("generation", g->number), LOG_I("calls", g->calls));
}

/* ---- kept warm ---- */
/* Worse than what it replaced: only then does going back help. */
static bool fails_more(const struct generation *g, const struct generation *old)
{
    return g->failed >= BAD_CALLS && g->failed * 2 >= g->done && old->failed * 10 <= old->done;
}

/* Why the generation that serves is bad and the old one is not, or "". */
static void judge(call *c, struct generation *old, unsigned *sick, char *why, size_t why_size)
{
    struct module *m = old->module;
    char old_why[MODULE_WHY];
    why[0] = 0;
    if (!m->current || m->status != MODULE_STARTED) return;
    if (fails_more(m->current, old)) {
        snprintf(why, why_size, "%llu of its first %llu calls failed", (unsigned long long)m->current->failed,
                 (unsigned long long)m->current->done);
        return;
    }
    *sick = module_health(c, m, why, why_size) ? *sick + 1 : 0;
    if (*sick < SICK_TWICE || generation_step(c, old, STEP_HEALTH, CANCEL_MS, old_why, sizeof old_why)) why[0] = 0;
}

/* True: it serves again. Otherwise its time is over. */
static bool keep_warm(call *c, struct generation *g, uint32_t ms)
{
    char why[MODULE_WHY] = "";
    unsigned sick = 0;
    bool cancelled = false;
    int64_t began = clock_monotonic(), until = began + (int64_t)ms * 1000000;
    for (unsigned turn = 1; clock_monotonic() < until && !g->hurry && !drains.closing; turn++) {
        if (call_sleep(c, WARM_STEP_MS)) return false;
        if (!cancelled && g->calls && clock_monotonic() - began > module_cfg->module_drain_ms * 1000000) {
            cancelled = true;
            call_each(cancel_one, g);
        }
        if (turn % HEALTH_EVERY || g->hurry) continue;
        judge(c, g, &sick, why, sizeof why);
        if (!why[0] || g->hurry || !module_lock()) continue;
        reload_back(c, g->module, g, why);
        module_unlock();
        return true;
    }
    return false;
}

struct leaving {
    struct generation *g;
    uint32_t warm_ms;
};

static void leave(call *c)
{
    struct leaving l = *(struct leaving *)c->context;
    struct generation *g = l.g;
    int64_t began = clock_monotonic();
    free(c->context);
    call_sleep(c, 1); /* who retires it publishes first what takes its place */
    if (l.warm_ms && keep_warm(c, g, l.warm_ms)) {
        drains.running--;
        return;
    }
    set_state(g, GENERATION_DRAINING);
    int64_t until = began + module_cfg->module_drain_ms * 1000000; /* the time it was kept warm counts */
    while (g->calls && clock_monotonic() < until && !drains.closing)
        wait_empty(c, g, WARM_STEP_MS);
    generation_drain(c, g, 0);
    while (!finish(c, g, began)) {
        if (drains.closing) {
            drains.running--;
            return;
        }
        if (g->state != GENERATION_PARKED) park(g);
        call_sleep(c, PARKED_MS);
    }
    drains.running--;
}

static void leave_init(call *c, void *arg)
{
    c->context = arg;
    c->name = "unload";
}

void generation_retire(struct generation *g, uint32_t warm_ms)
{
    struct leaving *l = malloc(sizeof *l);
    if (!l) abort();
    *l = (struct leaving){ g, warm_ms };
    g->draining = true;
    g->hurry = false;
    list(g);
    set_state(g, warm_ms ? GENERATION_WARM : GENERATION_DRAINING);
    drains.running++;
    if (call_start(128, 0, leave_init, l, leave)) return;
    drains.running--; /* no room for a fiber: it stays, and says so */
    free(l);
    park(g);
}

void stage_drop(struct generation *g)
{
    if (g->calls || g->created) { /* a step that never returned still runs its code; or there is something to stop */
        generation_retire(g, 0);
        return;
    }
    generation_free(g);
}

void drain_close(call *c)
{
    drains.closing = true;
    int64_t until = clock_monotonic() + (int64_t)CLOSE_MS * 1000000;
    while (drains.running && clock_monotonic() < until)
        if (call_sleep(c, 5)) break;
}

void drain_free(struct module *m)
{
    while (m->older) {
        struct generation *g = m->older;
        m->older = g->older;
        if (g->calls == 0) {
            generation_free(g);
            continue;
        }
        g->older = drains.left;
        drains.left = g;
    }
}
