/* registry.c - the list of modules: looked up by name, and their entries by kind and name. */
#include "module/private.h"
#include "base/log.h"
#include "net/fetch.h"

const struct config *module_cfg;
const struct module_hooks *module_hooks;
keyring *module_keys;
char **module_env;
static struct module *first;

const char *module_status_name(enum module_status s)
{
    static const char *const names[] = { "registered", "waiting",  "starting", "started",
                                         "failed",     "stopping", "stopped",  "disabled" };
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "unknown";
}

void modules_setup(const struct config *cfg, const struct module_hooks *hooks, keyring *keys, char **env)
{
    fetch_may_reach = call_may_reach;
    module_cfg = cfg;
    module_hooks = hooks;
    module_keys = keys;
    module_env = env;
}

const char *generation_state_name(enum generation_state s)
{
    static const char *const names[] = { "staged", "serving", "warm", "draining", "parked", "kept", "stuck", "gone" };
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "unknown";
}

struct module *modules_first(void) { return first; }
void modules_set(struct module *f) { first = f; }

size_t modules_count(const struct module *m)
{
    size_t n = 0;
    for (; m; m = m->next)
        n++;
    return n;
}

struct module *modules_coming;

struct module *module_find(sl_str name)
{
    for (struct module *m = first; m; m = m->next)
        if (sl_is(name, m->name)) return m;
    return NULL;
}

struct module *module_find_coming(sl_str name)
{
    struct module *m = modules_coming;
    while (m && !sl_is(name, m->name))
        m = m->next;
    return m;
}

struct module *module_new(sl_str name)
{
    struct module *m = calloc(1, sizeof *m);
    if (!m) abort();
    m->arena = arena_new(0);
    memcpy(m->name, name.p, name.n < sizeof m->name ? name.n : sizeof m->name - 1);
    m->doc = m->path = m->grants = arena_cstr(m->arena, sl_lit(NULL, 0));
    m->needs = arena_alloc(m->arena, sizeof *m->needs);
    m->enabled = true;
    return m;
}

void module_list(struct module *m)
{
    struct module **end = &first;
    while (*end)
        end = &(*end)->next;
    m->next = NULL;
    *end = m;
}

void module_free(struct module *m)
{
    if (m->staged) generation_free(m->staged);
    if (m->current && m->current->calls == 0) generation_free(m->current);
    drain_free(m);
    arena_free(m->about);
    arena_free(m->arena);
    free(m);
}

void module_builtin(const sl_plugin *plugin)
{
    struct module *m = module_new(sl_cstr(plugin->name));
    module_list(m);
    m->linked = plugin;
    m->first_party = m->required = true;
}

void module_fail(struct module *m, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(m->error, sizeof m->error, format, ap);
    va_end(ap);
    m->status = MODULE_FAILED;
    m->broken = true;
    log_error("module failed", LOG_C("module", m->name), LOG_C("error", m->error));
}

void module_wait(struct module *m, const struct module *for_what)
{
    snprintf(m->error, sizeof m->error, "waiting for %s: %.400s", for_what->name, for_what->error);
    m->status = MODULE_WAITING;
    m->broken = true;
    log_warn("module waits", LOG_C("module", m->name), LOG_C("for", for_what->name));
}

static struct entry *find_entry(struct generation *g, uint64_t kind, sl_str name)
{
    for (size_t i = 0; g && i < g->n_entries; i++)
        if (g->entries[i].spec.kind == kind && sl_is(name, g->entries[i].spec.name)) return &g->entries[i];
    return NULL;
}

struct entry *module_entry(const struct generation *own, uint64_t kind, sl_str name)
{
    struct entry *e = find_entry((struct generation *)(uintptr_t)own, kind, name);
    for (struct module *m = first; m && !e; m = m->next)
        e = find_entry(m->current ? m->current : m->staged, kind, name);
    return e;
}

struct entry *module_compute_any(sl_str name, bool *known)
{
    for (struct module *m = first; m; m = m->next) {
        struct entry *e = find_entry(m->current ? m->current : m->staged, SL_COMPUTE, name);
        if (!e) continue;
        *known = true;
        return e->generation->draining || m->status != MODULE_STARTED ? NULL : e;
    }
    return NULL;
}

struct entry *module_compute(sl_str name)
{
    bool known = false;
    return module_compute_any(name, &known);
}

void modules_close(void)
{
    while (first) {
        struct module *m = first;
        first = m->next;
        module_free(m);
    }
    publish_close();
    private_dir_close();
}

void module_slow(const char *module, const char *name, uint64_t held_ms, bool over)
{
    if (!over) {
        log_warn("handler holds the loop", LOG_C("module", module), LOG_C("entry", name),
                 LOG_I("held_ms", (int64_t)held_ms));
        return;
    }
    struct module *m = module_find(sl_cstr(module));
    if (m) m->slow++;
    log_warn("handler held the loop", LOG_C("module", module), LOG_C("entry", name),
             LOG_I("held_ms", (int64_t)held_ms));
}
