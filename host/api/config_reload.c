/* config_reload.c - the configuration is read again as at the start, compared with the one in force, checked as a
 * whole, and applied: settings to the floors, changes to the modules. With an error nothing is changed. */
#include "api/config_reload.h"
#include "api/floors.h"
#include "base/clock.h"
#include "base/log.h"
#include <stdlib.h>
#include <unistd.h>

enum { STACK_KIB = 512, ERRORS_MAX = 256 * 1024, PLAN_MAX = 1 << 20, LINES_LOGGED = 20, WORDS = 1200 };

static struct {
    struct config **in_force;
    int argc;
    char **argv;
    struct config_reload_result last;
} reloads;

struct ask { /* shared by who asked and the fiber that does it; whoever lets go last frees it */
    call *asker;
    bool dry_run;
    char tag[CONFIG_TAG];
    sl_err result;
    struct config_reload_result out;
};

struct work { /* what one reload has in hand */
    struct ask *ask;
    struct config *next;
    struct config_diff diff;
    struct module_plan plan;
    bool planned;
    buf errors;
};

void config_reload_setup(struct config **in_force, int argc, char **argv)
{
    reloads.in_force = in_force;
    reloads.argc = argc;
    reloads.argv = argv;
}

void config_reload_close(void) { buf_free(&reloads.last.plan); }
const struct config *config_in_force(void) { return *reloads.in_force; }
const struct config_reload_result *config_reload_last(void) { return &reloads.last; }

/* ---- what is told ---- */
static void add_paths(buf *b, const char *name, const char *const *paths, size_t n)
{
    json_add_name(b, name);
    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_add_char(b, ',');
        json_add_string(b, sl_cstr(paths[i]));
    }
    buf_add_char(b, ']');
}

static void add_step(buf *b, const struct module_step *s)
{
    buf_add_char(b, '{');
    json_field_str(b, "module", sl_cstr(s->module->name));
    json_field_str(b, "action", sl_cstr(module_action_name(s->action)));
    json_field_str(b, "reason", sl_cstr(s->reason));
    json_field_raw(b, "good", !s->done ? SL("null") : s->good ? SL("true") : SL("false"));
    json_field_str(b, "outcome", s->outcome[0] ? sl_cstr(s->outcome) : sl_lit(NULL, 0));
    json_field_int(b, "from", s->from);
    json_field_int(b, "to", s->to);
    buf_add_char(b, '}');
}

static void write_plan(struct work *w)
{
    buf *b = &w->ask->out.plan;
    buf_init(b, PLAN_MAX);
    add_paths(b, "settings", w->diff.live, w->diff.n_live);
    add_paths(b, "restart_needed", w->diff.restart, w->diff.n_restart);
    json_add_name(b, "modules");
    buf_add_char(b, '[');
    for (size_t i = 0; i < w->plan.n; i++) {
        if (i) buf_add_char(b, ',');
        add_step(b, &w->plan.steps[i]);
    }
    buf_add_char(b, ']');
}

static void say_list(buf *b, const char *what, const char *const *names, size_t n)
{
    if (!n) return;
    buf_printf(b, "%s%s", b->n ? "; " : "", what);
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s%s", i ? ", " : " ", names[i]);
}

static void say(struct work *w)
{
    struct config_reload_result *r = &w->ask->out;
    buf b;
    buf_init(&b, WORDS);
    say_list(&b, r->dry_run ? "would apply" : "applied", w->diff.live, w->diff.n_live);
    for (size_t i = 0; i < w->plan.n; i++) {
        const struct module_step *s = &w->plan.steps[i];
        const char *outcome = s->outcome[0] ? s->outcome : s->reason;
        buf_printf(&b, "%s%s%s %s (%s)", b.n ? "; " : "", r->dry_run ? "would " : "", module_action_name(s->action),
                   s->module->name, outcome);
    }
    say_list(&b, "a restart is needed for", w->diff.restart, w->diff.n_restart);
    if (!b.n) buf_add_cstr(&b, "nothing differs from what is in force");
    if (!r->dry_run && (*reloads.in_force)->tls_cert.n) buf_add_cstr(&b, "; the certificate was read again");
    snprintf(r->outcome, sizeof r->outcome, "%.*s", STR_ARG(buf_str(&b)));
    buf_free(&b);
}

static void log_errors(const struct config_reload_result *r)
{
    sl_str rest = sl_cstr(r->outcome), line;
    for (int i = 0; i < LINES_LOGGED && str_split(&rest, '\n', &line); i++)
        if (line.n)
            log_error("configuration not reloaded, nothing was changed", LOG_C("by", r->by), LOG_S("error", line));
}

/* ---- the steps ---- */
static void load(void *arg) /* on a pool thread: it reads files */
{
    struct work *w = arg;
    w->next = config_load(reloads.argc, reloads.argv, environ, &w->errors);
}

static bool same_path(const struct config_diff *d, const char *path)
{
    for (size_t i = 0; i < d->n_live; i++)
        if (strcmp(d->live[i], path) == 0) return false;
    return true;
}

static bool make_plan(call *c, struct work *w)
{
    char why[512] = "";
    if (call_offload(c, load, w)) load(w);
    if (!w->next) return false;
    config_diff(*reloads.in_force, w->next, &w->diff);
    config_keep(*reloads.in_force, w->next);
    if (floors_check(w->next, why, sizeof why)) buf_printf(&w->errors, "%s\n", why);
    w->planned = true;
    modules_plan(c, w->next, !same_path(&w->diff, "modules.dirs"), &w->plan, &w->errors);
    if (w->plan.linked_differ && w->diff.n_restart < CONFIG_DIFF_MAX) w->diff.restart[w->diff.n_restart++] = "plugins";
    return w->errors.n == 0;
}

/* True: all of it was done. */
static bool apply(call *c, struct work *w)
{
    char why[512] = "";
    struct config *old = *reloads.in_force;
    bool floors = w->diff.n_live || w->next->tls_cert.n, good = true;
    if (floors && floors_apply(w->next, why, sizeof why)) {
        log_error("a setting could not be applied", LOG_C("error", why));
        good = false;
    }
    *reloads.in_force = w->next;
    system_reconfigured(w->next);
    good = modules_apply(c, &w->plan) && good;
    w->next = NULL;
    config_free(old);
    return good;
}

static void remember(const struct config_reload_result *r)
{
    buf_free(&reloads.last.plan);
    reloads.last = *r;
    reloads.last.plan = (buf){ 0 };
    buf_init(&reloads.last.plan, PLAN_MAX);
    buf_add_str(&reloads.last.plan, buf_str(&r->plan));
}

static sl_err with_lock(call *c, struct work *w)
{
    struct ask *k = w->ask;
    char tag[CONFIG_TAG];
    config_tag(*reloads.in_force, tag);
    if (k->tag[0] && strcmp(k->tag, tag) != 0) return SL_EPRECOND;
    if (!make_plan(c, w)) {
        sl_str lines = buf_str(&w->errors);
        snprintf(k->out.outcome, sizeof k->out.outcome, "%.*s", (int)(lines.n ? lines.n - 1 : 0), lines.p);
        log_errors(&k->out);
        return SL_EINVAL;
    }
    k->out.good = k->dry_run || apply(c, w);
    write_plan(w);
    say(w);
    if (k->dry_run) return SL_OK;
    LOG_AT(k->out.good ? SL_INFO : SL_ERROR, "configuration reloaded", LOG_C("by", k->out.by),
           LOG_C("outcome", k->out.outcome));
    return k->out.good ? SL_OK : SL_ECONFLICT;
}

static void run(call *c)
{
    struct ask *k = c->context;
    struct work w = { .ask = k };
    buf_init(&w.errors, ERRORS_MAX);
    k->result = with_lock(c, &w);
    if (!k->dry_run && k->result != SL_EPRECOND) remember(&k->out);
    if (w.planned) modules_plan_free(&w.plan);
    config_free(w.next);
    buf_free(&w.errors);
    module_unlock();
    if (k->asker) {
        call_wake(k->asker, SL_OK);
    } else {
        buf_free(&k->out.plan);
        free(k);
    }
}

static void run_init(call *c, void *arg)
{
    c->context = arg;
    c->name = "configuration reload";
}

static void asker_left(void *op) { ((struct ask *)op)->asker = NULL; }

sl_err config_reload(call *c, bool dry_run, sl_str tag, const char *by, struct config_reload_result *out)
{
    *out = (struct config_reload_result){ .dry_run = dry_run, .at = clock_now(), .by = by };
    sl_err e = module_lock_wait(c);
    if (e) {
        snprintf(out->outcome, sizeof out->outcome, "not done: another change is under way");
        return e;
    }
    struct ask *k = calloc(1, sizeof *k);
    if (!k) abort();
    k->asker = c;
    k->dry_run = dry_run;
    k->out = *out;
    snprintf(k->tag, sizeof k->tag, "%.*s", STR_ARG(str_sub(tag, 0, CONFIG_TAG)));
    if (!call_start(STACK_KIB, 0, run_init, k, run)) {
        module_unlock();
        snprintf(out->outcome, sizeof out->outcome, "not done: too many calls at once");
        free(k);
        return SL_EBUSY;
    }
    e = call_wait(c, asker_left, k);
    if (e) return e;
    e = k->result;
    *out = k->out;
    free(k);
    return e;
}

/* ---- SIGHUP ---- */
static void on_signal(call *c)
{
    struct config_reload_result r;
    if (!system_serving()) {
        log_warn("SIGHUP: the server is starting or stopping, the configuration is not read again");
        return;
    }
    sl_err e = config_reload(c, false, sl_lit(NULL, 0), "SIGHUP", &r);
    if (e == SL_EBUSY) log_error("configuration not reloaded", LOG_C("by", r.by), LOG_C("error", r.outcome));
    buf_free(&r.plan);
}

void config_reload_on_signal(void)
{
    if (!call_start(256, 0, NULL, NULL, on_signal)) log_error("SIGHUP: too many calls at once");
}
