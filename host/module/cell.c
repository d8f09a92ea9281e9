/* cell.c - the life of a plugin's child process as the host sees it: start, death, restart with growing delay,
 * quarantine. */
#include "module/cell_host.h"
#include "base/clock.h"
#include "base/log.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    READY_MS = 10000,
    STOP_MS = 2000,
    DELAY_FIRST_MS = 100,
    DELAY_MAX_MS = 10000,
    CRASH_WINDOW_S = 60,
    STEPS_MS = 30000,
    WATCH_MS = 5000
};

/* ---- death ---- */
static void note_crash(struct cell *k, const char *how)
{
    int64_t now = clock_monotonic() / 1000000000;
    if (!k->last[0]) snprintf(k->last, sizeof k->last, "%s", how);
    snprintf(k->last_crash, sizeof k->last_crash, "%s", k->last);
    k->crashes++;
    k->g->module->restarts++;
    k->crashed_at = clock_now();
    memmove(k->crash_at + 1, k->crash_at, sizeof k->crash_at - sizeof *k->crash_at);
    k->crash_at[0] = now;
    bool often = k->crashes >= CELL_CRASHES_MAX && now - k->crash_at[CELL_CRASHES_MAX - 1] <= CRASH_WINDOW_S;
    k->state = often ? CELL_QUARANTINED : CELL_DOWN;
    log_error(often ? "plugin's process crashed too often and is quarantined" : "plugin's process ended",
              LOG_C("plugin", k->g->module->name), LOG_C("reason", k->last), LOG_C("status", how),
              LOG_C("version", k->g->spec.version), LOG_C("build", k->g->build), LOG_I("crashes", k->crashes));
}

/* Processor time of the whole process so far; -1 = not to be had. By its number: it is not reaped yet. */
static int64_t cpu_us(const struct cell *k)
{
    clockid_t clock;
    struct timespec t;
    if (!k->alive || clock_getcpuclockid(k->pid, &clock) || clock_gettime(clock, &t)) return -1;
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A handler that computes too long is ended by its deadline; this is for threads that nobody waits for. */
static void watch_cpu(uv_timer_t *t)
{
    struct cell *k = t->data;
    int64_t now = cpu_us(k), used = now - k->cpu_us, limit = module_cfg->process_cpu * 10 * WATCH_MS;
    if (now >= 0 && k->cpu_us >= 0 && limit && used > limit && k->state == CELL_UP)
        cell_kill(k, "used more processor time than modules.process_cpu");
    k->cpu_us = now;
}

static void boot_again(uv_timer_t *t);

static void schedule_restart(struct cell *k)
{
    if (k->state == CELL_QUARANTINED || !k->g->started) return;
    bool lasted = k->started_ms && loop_now() - k->started_ms > CRASH_WINDOW_S * 1000;
    k->delay_ms = k->delay_ms && !lasted ? k->delay_ms * 2 : DELAY_FIRST_MS;
    if (k->delay_ms > DELAY_MAX_MS) k->delay_ms = DELAY_MAX_MS;
    uv_timer_start(&k->timer, boot_again, k->delay_ms, 0);
}

void cell_died(struct cell *k, int status)
{
    char how[80];
    bool closing = k->state == CELL_CLOSING, booting = k->state == CELL_BOOTING;
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
    cell_disconnect(k);
    if (!closing) note_crash(k, how);
    talks_end(k);
    if (closing ? k->waiter != NULL : booting && k->waiter && !k->has_ready) call_wake(k->waiter, SL_EUNAVAIL);
    if (!closing) schedule_restart(k);
}

/* ---- start ---- */
static void waiter_left(void *op) { ((struct cell *)op)->waiter = NULL; }

/* [S] Spawn and wait for READY; what it says behind its first word is in k->ready. */
static sl_err boot(call *c, struct cell *k, char *why, size_t why_size)
{
    uint32_t left = call_left(c);
    k->state = CELL_BOOTING;
    k->has_ready = false;
    k->starts++;
    k->started_ms = loop_now();
    int failed = cell_connect(k);
    if (failed) {
        snprintf(why, why_size, "its process cannot be started: %s", strerror(failed));
        snprintf(k->last, sizeof k->last, "%s", strerror(failed));
        k->state = CELL_DOWN;
        return SL_EUNAVAIL;
    }
    cell_write_init(&k->out, k->g);
    cell_send(k);
    k->waiter = c;
    if (READY_MS < left) call_deadline(c, READY_MS);
    sl_err e = call_wait(c, waiter_left, k);
    call_deadline(c, left == UINT32_MAX ? 0 : left);
    k->waiter = NULL;
    if (e && k->alive) cell_kill(k, "did not load in time");
    if (e) {
        snprintf(why, why_size, "its process ended while it was loaded (%s)", k->last);
        return e;
    }
    sl_str refusal = get_str(&k->ready);
    if (!sl_given(refusal) && !k->ready.bad) return SL_OK;
    snprintf(why, why_size, "%.*s", (int)(refusal.n < 400 ? refusal.n : 400),
             refusal.p ? refusal.p : "its description cannot be read");
    cell_kill(k, "could not load the plugin");
    return SL_EINVAL;
}

/* The operator's limit was held against what the probe said: a child that says something else now is refused. */
static bool same_as_probed(const struct generation *g, char *why, size_t why_size)
{
    sl_str then = json_str(json_object_get(g->seen, "grants")), now = sl_cstr(g->spec.grants);
    if (then.n == now.n && (then.n == 0 || memcmp(then.p, now.p, now.n) == 0)) return true;
    snprintf(why, why_size, "asks for other grants than when it was probed");
    return false;
}

static bool take_description(struct cell *k, char *why, size_t why_size)
{
    struct generation *g = k->g;
    arena *a = arena_new(0);
    const sl_plugin *p = descriptor_take(&k->ready, a);
    bool good = p && generation_linked(g, p, why, why_size);
    if (!p) snprintf(why, why_size, "its description cannot be read");
    if (good && strcmp(g->spec.name, g->module->name) != 0) {
        snprintf(why, why_size, "names itself `%s`, but its file is called %s.so", g->spec.name, g->module->name);
        good = false;
    }
    if (good) good = same_as_probed(g, why, why_size);
    g->plugin = NULL; /* the functions are elsewhere */
    arena_free(a);
    buf_free(&k->ready_bytes);
    return good;
}

static struct cell *cell_new(struct generation *g)
{
    struct cell *k = calloc(1, sizeof *k);
    if (!k) abort();
    k->g = g;
    k->fd = k->pidfd = -1;
    buf_init(&k->in, 2 * (size_t)FRAME_MAX);
    buf_init(&k->out, 2 * (size_t)FRAME_MAX);
    buf_init(&k->ready_bytes, FRAME_MAX);
    uv_timer_init(loop_uv(), &k->timer);
    uv_timer_init(loop_uv(), &k->pause);
    uv_timer_init(loop_uv(), &k->watch);
    k->timer.data = k->pause.data = k->watch.data = k;
    k->handles = CELL_TIMERS;
    uv_timer_start(&k->watch, watch_cpu, WATCH_MS, WATCH_MS);
    k->cpu_us = -1;
    return k;
}

sl_err cell_open(call *c, struct generation *g, char *why, size_t why_size)
{
    struct cell *k = g->cell = cell_new(g);
    sl_err e = boot(c, k, why, why_size);
    if (!e && !take_description(k, why, why_size)) e = SL_EINVAL;
    if (!e) k->state = CELL_UP;
    return e;
}

/* ---- start again ---- */
static void run_again(call *c)
{
    struct cell *k = c->context;
    struct generation *g = k->g;
    char why[MODULE_WHY] = "";
    sl_err e = boot(c, k, why, sizeof why);
    if (!e) e = generation_step(c, g, STEP_CREATE, READY_MS, why, sizeof why);
    if (!e) e = generation_step(c, g, STEP_START, READY_MS, why, sizeof why);
    if (!e) {
        k->state = CELL_UP;
        log_info("plugin's process is back", LOG_C("plugin", g->module->name), LOG_I("starts", k->starts));
    } else {
        log_error("plugin's process did not come back", LOG_C("plugin", g->module->name), LOG_C("error", why));
        if (k->alive)
            cell_kill(k, why);
        else if (!uv_is_active((uv_handle_t *)&k->timer) && k->state == CELL_DOWN)
            schedule_restart(k); /* it could not even be started */
    }
    buf_free(&k->ready_bytes);
    g->calls--;
}

static void again_init(call *c, void *arg)
{
    c->context = arg;
    c->module = ((struct cell *)arg)->g->module->name;
    c->name = "restart";
}

static void boot_again(uv_timer_t *t)
{
    struct cell *k = t->data;
    k->g->calls++; /* the generation stays until this is over */
    if (k->handles == CELL_TIMERS && call_start(0, STEPS_MS, again_init, k, run_again)) return;
    k->g->calls--;
    uv_timer_start(&k->timer, boot_again, DELAY_FIRST_MS, 0);
}

/* ---- the end ---- */
static void stop_at_last(uv_timer_t *t) { cell_kill(t->data, "did not stop"); }

static void turn_over(void *k) { call_wake(((struct cell *)k)->waiter, SL_OK); }

static void cell_free(struct cell *k)
{
    talks_free(k);
    buf_free(&k->in);
    buf_free(&k->out);
    buf_free(&k->ready_bytes);
    free(k);
}

/* Outside any call nobody can wait: the process that ends now takes it along. */
static void cut(struct cell *k)
{
    cell_kill(k, "closed");
    if (k->alive) waitpid(k->pid, NULL, 0);
    k->alive = false;
}

void cell_close(struct generation *g)
{
    struct cell *k = g->cell;
    call *c = call_current();
    if (!k) return;
    g->cell = NULL;
    k->state = CELL_CLOSING;
    if (!c) {
        cut(k);
        return;
    }
    k->waiter = c;
    uv_timer_stop(&k->timer);
    if (k->alive) {
        frame_end(&k->out, frame_begin(&k->out, FRAME_STOP, 0));
        cell_flush(k);
        uv_timer_start(&k->timer, stop_at_last, STOP_MS, 0);
        call_wait(c, NULL, NULL);
    }
    cell_close_handle(&k->timer);
    cell_close_handle(&k->pause);
    cell_close_handle(&k->watch);
    call_wait(c, NULL, NULL);
    loop_at_turn_end(turn_over, k); /* behind a flush that was asked for in this turn */
    call_wait(c, NULL, NULL);
    if (k->last[0])
        log_warn("plugin's process did not end by itself", LOG_C("plugin", g->module->name), LOG_C("reason", k->last));
    cell_free(k);
}

/* ---- how it is ---- */
const char *cell_last(const struct generation *g) { return g->cell ? g->cell->last_crash : ""; }

bool cell_ready(const struct generation *g, char *why, size_t why_size)
{
    const struct cell *k = g->cell;
    if (!k || k->state == CELL_UP) return true;
    snprintf(why, why_size, "%s (%s)",
             k->state == CELL_QUARANTINED ? "its process crashed too often and is quarantined"
                                          : "its process ended and is being started again",
             k->last_crash);
    return false;
}

bool module_isolated(const struct module *m)
{
    const struct generation *g = m->current ? m->current : m->staged;
    return g ? g->isolated : m->isolated;
}

bool module_process(const struct module *m, struct module_process *out)
{
    const struct cell *k = m->current ? m->current->cell : NULL;
    char path[64], line[128];
    unsigned long long pages = 0;
    if (!k) return false;
    *out = (struct module_process){ .pid = k->alive ? k->pid : 0,
                                    .starts = k->starts,
                                    .crashes = k->crashes,
                                    .quarantined = k->state == CELL_QUARANTINED,
                                    .crashed_at = k->crashed_at };
    snprintf(out->last_crash, sizeof out->last_crash, "%s", k->last_crash);
    out->cpu_us = cpu_us(k) < 0 ? 0 : cpu_us(k);
    snprintf(path, sizeof path, "/proc/%d/statm", out->pid);
    FILE *f = out->pid ? fopen(path, "re") : NULL;
    if (f && fgets(line, sizeof line, f) && sscanf(line, "%*u %llu", &pages) == 1)
        out->resident = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    if (f) fclose(f);
    return true;
}
