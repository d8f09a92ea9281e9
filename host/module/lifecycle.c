/* lifecycle.c - starting, stopping and asking the health of modules. */
#include "module/cell.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/store.h"
#include <limits.h>
#include <unistd.h>

enum { STOP_MS = 10000, HEALTH_MS = 2000 };

/* ---- migrations ---- */
static bool exists(char out[PATH_MAX], const char *dir, size_t n, const char *below, const char *name)
{
    int length = snprintf(out, PATH_MAX, "%.*s%s/%s", (int)n, dir, below, name);
    return length > 0 && length < PATH_MAX && access(out, R_OK | X_OK) == 0;
}

static bool migrations_of(const char *name, const char *plugin_path, char out[PATH_MAX])
{
    static const char *const beside[] = { "/migrations", "/../migrations", "/../share/service-layer/migrations" };
    char exe[PATH_MAX];
    for (size_t i = 0; i < module_cfg->migration_dirs.n; i++)
        if (exists(out, module_cfg->migration_dirs.item[i].p, module_cfg->migration_dirs.item[i].n, "", name))
            return true;
    const char *slash = plugin_path ? strrchr(plugin_path, '/') : NULL;
    if (slash && exists(out, plugin_path, (size_t)(slash - plugin_path), "/migrations", name)) return true;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    while (n > 0 && exe[n - 1] != '/')
        n--;
    for (size_t i = 0; n > 1 && module_cfg->migration_dirs.n == 0 && i < sizeof beside / sizeof *beside; i++)
        if (exists(out, exe, (size_t)n - 1, beside[i], name)) return true;
    return false;
}

sl_err module_migrate(call *c, const char *name, const char *plugin_path, char *why, size_t why_size)
{
    char dir[PATH_MAX];
    unsigned applied = 0, pending = 0;
    if (!migrations_of(name, plugin_path, dir)) return SL_OK;
    struct migration_set set = { .module = name, .dir = dir };
    sl_err e = store_migrate(c, &set, module_cfg->migrate || module_cfg->migrate_only, &applied, &pending, why,
                             why_size);
    if (e) return e;
    if (!pending) return SL_OK;
    snprintf(why, why_size, "%u migrations in %s are pending: start with -migrate, or run once with -migrate-only",
             pending, dir);
    return SL_ESTATE;
}

/* ---- start ---- */
static bool open_staged(call *c, struct module *m, char *why, size_t why_size)
{
    struct generation *g = m->staged;
    if (!m->linked && seen_clash(m, g->seen, why, why_size)) return false;
    bool opened = m->linked ? generation_linked(g, m->linked, why, why_size) : generation_load(c, g, why, why_size);
    if (!opened || descriptor_clash(g, why, why_size)) return false;
    tables_grant(g);
    return true;
}

/* After a failed start the code goes and the tables stay: the module's routes answer 503 instead of 404. */
static void retire_staged(struct module *m)
{
    struct generation *g = m->staged;
    if (!g) return;
    if (g->calls) { /* a step that never returned still runs its code */
        m->parked++;
        m->staged = NULL;
        m->config = NULL;
        return;
    }
    generation_destroy(g);
    generation_unload(g);
}

/* What cannot be started because of its configuration or of another module is read all the same, for its tables. */
static void load_tables(call *c, struct module *m)
{
    char why[MODULE_WHY];
    if (m->seen && m->staged && !m->staged->handle && !m->staged->cell) generation_load(c, m->staged, why, sizeof why);
    retire_staged(m);
}

/* [S] staged becomes current and started. */
static sl_err start_one(call *c, struct module *m, bool migrate_only)
{
    char why[MODULE_WHY] = "";
    int64_t began = clock_monotonic();
    m->status = MODULE_STARTING;
    m->error[0] = 0;
    sl_err e = open_staged(c, m, why, sizeof why) ? SL_OK : SL_EINVAL;
    if (!e) e = module_migrate(c, m->name, m->path, why, sizeof why);
    if (!e && !migrate_only) e = generation_start(c, m->staged, why, sizeof why);
    if (e || migrate_only) {
        if (e) module_fail(m, "%s", why);
        retire_staged(m);
        return e;
    }
    m->current = m->staged;
    m->staged = NULL;
    m->current->draining = false;
    m->current->state = GENERATION_SERVING;
    m->current->loaded_at = clock_now();
    m->edition++;
    m->status = MODULE_STARTED;
    m->started_at = clock_now();
    m->start_us = (clock_monotonic() - began) / 1000;
    if (!m->linked)
        log_info("module started", LOG_C("module", m->name), LOG_C("version", m->version), LOG_I("us", m->start_us));
    return SL_OK;
}

bool module_needs_run(const struct module *m, const struct module **missing)
{
    *missing = NULL;
    for (size_t i = 0; i < m->n_all_needs && !*missing; i++) {
        const struct module *other = module_find(sl_cstr(m->all_needs[i].id));
        if (other && !m->all_needs[i].optional && other->status != MODULE_STARTED) *missing = other;
    }
    return !*missing;
}

bool module_need_met(const struct module *m, sl_str id, uint32_t min, char *why, size_t why_size)
{
    const struct module *other = module_find(id), *coming = module_find_coming(id);
    if (!other) other = coming;
    if (str_starts(id, "sl.")) {
        uint32_t offered = table_version(id);
        if (offered && offered >= min) return true;
        snprintf(why, why_size, "needs %.60s %u, this host offers %u: upgrade appserver", id.p, min, offered);
    } else if (!other || other == m)
        snprintf(why, why_size, "needs %.60s, which is not installed", id.p);
    else if (other->coming)
        return true;
    else if (other->status != MODULE_STARTED)
        snprintf(why, why_size, "needs %.60s, which is %s", id.p, module_status_name(other->status));
    else if (strtoul(other->version, NULL, 10) < min)
        snprintf(why, why_size, "needs %.60s %u, version %s is running", id.p, min, other->version);
    else
        return true;
    return false;
}

bool module_needs_met(const struct module *m)
{
    char why[MODULE_WHY];
    for (size_t i = 0; i < m->n_all_needs; i++) {
        const struct need *n = &m->all_needs[i];
        if (!n->optional && !module_need_met(m, sl_cstr(n->id), n->min, why, sizeof why)) return false;
    }
    return true;
}

/* True when everything m needs is started; otherwise m waits. */
static bool needs_run_or_wait(struct module *m)
{
    const struct module *missing;
    if (module_needs_run(m, &missing)) return true;
    module_wait(m, missing);
    return false;
}

sl_err modules_start(call *c, bool migrate_only, char *why, size_t why_size)
{
    sl_err worst = SL_OK;
    for (struct module *m = modules_first(); m; m = m->next) {
        if (!m->enabled) continue;
        sl_err e = SL_EINVAL;
        if (!m->broken && (migrate_only || needs_run_or_wait(m)))
            e = start_one(c, m, migrate_only);
        else
            load_tables(c, m);
        if (!e) continue;
        if ((m->required || migrate_only) && !worst) {
            snprintf(why, why_size, "module %s%s: %s", m->name, m->required ? ", which is required" : "", m->error);
            worst = e;
        }
    }
    if (!worst && !migrate_only) worst = modules_publish(c);
    if (!worst && !migrate_only) watch_start();
    return worst;
}

/* ---- stop ---- */
static void stop_one(call *c, struct module *m, uint32_t drain_ms)
{
    struct generation *g = m->current;
    char why[MODULE_WHY] = "";
    int64_t began = clock_monotonic();
    if (!g) return;
    m->status = MODULE_STOPPING;
    g->draining = true;
    if (!generation_drain(c, g, drain_ms)) {
        log_error("module parked: calls do not end", LOG_C("module", m->name), LOG_I("calls", g->calls));
        m->parked++;
    }
    if (!g->calls && generation_step(c, g, STEP_STOP, STOP_MS, why, sizeof why))
        log_warn("module did not stop cleanly", LOG_C("module", m->name), LOG_C("error", why));
    m->current = NULL;
    m->config = NULL;
    if (!g->calls) {
        generation_destroy(g);
        generation_free(g);
    }
    m->status = MODULE_STOPPED;
    m->stopped_at = clock_now();
    m->stop_us = (clock_monotonic() - began) / 1000;
}

void modules_stop(call *c, uint32_t drain_ms)
{
    int64_t began = clock_monotonic();
    change_close(c);
    watch_stop();
    drain_close(c);
    size_t n = 0;
    struct module **reverse = calloc(modules_count(modules_first()) + 1, sizeof *reverse);
    if (!reverse) abort();
    for (struct module *m = modules_first(); m; m = m->next)
        reverse[n++] = m;
    while (n > 0) {
        int64_t spent = (clock_monotonic() - began) / 1000000;
        stop_one(c, reverse[--n], spent < drain_ms ? drain_ms - (uint32_t)spent : 0);
    }
    free(reverse);
}

/* ---- health ---- */
sl_err module_health(call *c, struct module *m, char *why, size_t why_size)
{
    why[0] = 0;
    if (m->status != MODULE_STARTED || !m->current) {
        snprintf(why, why_size, "%s%s%s", module_status_name(m->status), m->error[0] ? ": " : "", m->error);
        return SL_EUNAVAIL;
    }
    if (!cell_ready(m->current, why, why_size)) return SL_EUNAVAIL;
    uint32_t left = call_left(c);
    return generation_step(c, m->current, STEP_HEALTH, left < HEALTH_MS ? left : HEALTH_MS, why, why_size);
}
