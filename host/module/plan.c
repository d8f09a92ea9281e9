/* plan.c - another configuration while the server runs: what it changes among the modules, checked before
 * anything is done, then done module by module. What did not change is not touched. */
#include "module/private.h"
#include "base/log.h"

struct search { /* on a pool thread: directories may be slow */
    struct module_plan *plan;
    buf *errors;
};

static void find_files(void *arg)
{
    struct search *s = arg;
    s->plan->files = plugin_files(s->plan->next, s->plan->memory, s->errors);
}

/* ---- what differs ---- */
static bool is_setting(const char *key) { return strcmp(key, "config") == 0; }
static bool is_switch(const char *key) { return strcmp(key, "enabled") == 0 || strcmp(key, "required") == 0; }

/* The first key of plugins.NAME that differs and is neither a switch nor, without `settings`, the plugin's own. */
static const char *other_key(const struct config *now, const struct config *next, const char *name, bool settings)
{
    const struct plugin_config *a = module_configured(now, name), *b = module_configured(next, name);
    json_t *from = a ? a->section : NULL, *to = b ? b->section : NULL, *value;
    const char *key;
    json_object_foreach(from, key, value)
    {
        if (is_switch(key) || (is_setting(key) && !settings)) continue;
        if (!json_equal(value, json_object_get(to, key))) return key;
    }
    json_object_foreach(to, key, value)
    {
        if (is_switch(key) || (is_setting(key) && !settings)) continue;
        if (!json_object_get(from, key)) return key;
    }
    return NULL;
}

static void add_key(char *list, size_t size, const char *key)
{
    size_t n = strlen(list);
    snprintf(list + n, size - n, "%s%s", n ? ", " : "", key);
}

/* Names, never values. False: they are as its generation has them. */
static bool settings_differ(const struct module_plan *p, struct module *m, char *reason, size_t size)
{
    const struct generation *g = m->current;
    buf findings;
    char keys[120] = "";
    const char *key;
    json_t *value;
    buf_init(&findings, 64 * 1024);
    json_t *fresh = g->config_schema ? module_effective_config(p->next, m, g->config_schema, &findings) : NULL;
    bool good = findings.n == 0;
    buf_free(&findings);
    json_object_foreach(fresh, key, value)
    {
        if (!json_equal(value, json_object_get(g->config, key))) add_key(keys, sizeof keys, key);
    }
    json_object_foreach(g->config, key, value)
    {
        if (good && !json_object_get(fresh, key)) add_key(keys, sizeof keys, key);
    }
    json_decref(fresh);
    if (good && !keys[0]) return false;
    snprintf(reason, size, keys[0] ? "settings differ: %s" : "settings differ%s", keys);
    return true;
}

static bool must_be_replaced(const struct module_plan *p, struct module *m, char *reason, size_t size)
{
    const char *key = other_key(p->now, p->next, m->name, false);
    if (key)
        snprintf(reason, size, "plugins.%s.%s differs", m->name, key);
    else if (module_to_isolate(m, p->now) != module_to_isolate(m, p->next))
        snprintf(reason, size, "modules.isolation differs");
    else if (m->file && strcmp(m->file->path, m->path) != 0)
        snprintf(reason, size, "its file is now %.300s", m->file->path);
    else
        return settings_differ(p, m, reason, size);
    return true;
}

/* ---- the plan ---- */
static void step(struct module_plan *p, struct module *m, enum module_action action, bool must, const char *reason)
{
    struct module_step *s = &p->steps[p->n++]; /* there is room for one of each module */
    *s = (struct module_step){ .module = m, .action = action, .must = must };
    snprintf(s->reason, sizeof s->reason, "%s", reason);
}

static void decide(struct module_plan *p, struct module *m, bool listed)
{
    const struct plugin_config *named = module_configured(p->next, m->name);
    bool was = listed && module_wanted(m, p->now), will = module_wanted(m, p->next);
    bool differs = other_key(p->now, p->next, m->name, true) != NULL;
    char reason[sizeof p->steps->reason];
    if (m->linked) {
        p->linked_differ = p->linked_differ || differs;
    } else if (m->path[0] && !m->file && p->other_directories) {
        if (m->current || m->enabled) step(p, m, MODULE_UNLOAD, true, "no plugin directory holds its file any more");
    } else if (was && !will) {
        if (m->current || m->enabled)
            step(p, m, named ? MODULE_DISABLE : MODULE_UNLOAD, true, named ? "switched off" : "no longer named");
    } else if (will && m->current) {
        if (must_be_replaced(p, m, reason, sizeof reason)) step(p, m, MODULE_RELOAD, true, reason);
    } else if (will && !was) {
        step(p, m, MODULE_ENABLE, named != NULL, listed ? "switched on" : "new");
    } else if (will && m->enabled) {
        snprintf(reason, sizeof reason, "it is %s", module_status_name(m->status));
        step(p, m, MODULE_ENABLE, differs, reason);
    }
}

static bool goes(const struct module_plan *p, const struct module *m)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->steps[i].module == m) return p->steps[i].action == MODULE_DISABLE || p->steps[i].action == MODULE_UNLOAD;
    return false;
}

static void check_goes(const struct module_plan *p, const struct module *m, buf *errors)
{
    for (const struct module *d = modules_first(); d; d = d->next) {
        const struct plugin_config *named = module_configured(p->next, d->name);
        if (!d->current || !named || !named->required || goes(p, d)) continue;
        for (size_t i = 0; i < d->n_all_needs; i++)
            if (!d->all_needs[i].optional && strcmp(d->all_needs[i].id, m->name) == 0)
                buf_printf(errors, "plugins.%s: cannot be switched off: %s, which is required, needs it\n", m->name,
                           d->name);
    }
}

static void no_file(const struct module_plan *p, const char *name, char *why, size_t size)
{
    snprintf(why, size, "%.*s:%d: plugins.%s: no file %s.so in the plugin directories",
             STR_ARG(str_sub(p->next->file, 0, 300)), config_plugin_line(p->next, name, NULL), name, name);
}

/* [S] Everything that can be known without running its code here. */
static void check_step(call *c, struct module_plan *p, struct module_step *s, buf *errors)
{
    struct module *m = s->module;
    struct module_change change = { 0 };
    char *path = m->path, why[MODULE_WHY] = "";
    module_configure(m, p->next);
    if (m->file) m->path = (char *)(uintptr_t)m->file->path;
    if (m->file || m->current)
        s->checked = stage(c, m, p->next, false, &change, why, sizeof why);
    else
        no_file(p, m->name, why, sizeof why);
    m->path = path;
    module_configure(m, p->now);
    if (s->checked) return;
    snprintf(s->outcome, sizeof s->outcome, "%s", why);
    if (s->must)
        buf_printf(errors, "%s%s%s\n", strstr(why, m->name) ? "" : m->name, strstr(why, m->name) ? "" : ": ", why);
}

static void look_at_files(struct module_plan *p)
{
    struct module **end = &modules_coming;
    for (struct module *m = modules_first(); m; m = m->next)
        m->file = NULL;
    for (const struct plugin_file *f = p->files; f; f = f->next) {
        struct module *m = module_find(f->name);
        if (!m) m = module_find_coming(f->name);
        if (!m) {
            m = *end = module_describe(f, p->next);
            end = &m->next;
        }
        if (!m->file) m->file = f;
    }
}

static void decide_all(struct module_plan *p, buf *errors)
{
    char why[MODULE_WHY];
    for (struct module *m = modules_first(); m; m = m->next)
        decide(p, m, true);
    for (struct module *m = modules_coming; m; m = m->next)
        decide(p, m, false);
    for (const struct plugin_config *k = p->next->plugins; k; k = k->next) {
        if (!k->enabled || module_find(sl_cstr(k->name)) || module_find_coming(sl_cstr(k->name))) continue;
        no_file(p, k->name, why, sizeof why);
        buf_printf(errors, "%s\n", why);
    }
}

sl_err modules_plan(call *c, const struct config *next, bool other_directories, struct module_plan *p, buf *errors)
{
    *p = (struct module_plan){
        .now = module_cfg, .next = next, .memory = arena_new(0), .other_directories = other_directories
    };
    struct search search = { p, errors };
    if (call_offload(c, find_files, &search)) find_files(&search);
    look_at_files(p);
    p->steps = arena_alloc(p->memory,
                           (modules_count(modules_first()) + modules_count(modules_coming) + 1) * sizeof *p->steps);
    decide_all(p, errors);
    for (size_t i = 0; i < p->n; i++)
        p->steps[i].module->coming = p->steps[i].action == MODULE_ENABLE;
    module_cfg = next; /* policies of findings and the like are those of the plan */
    for (size_t i = 0; i < p->n; i++)
        if (goes(p, p->steps[i].module))
            check_goes(p, p->steps[i].module, errors);
        else
            check_step(c, p, &p->steps[i], errors);
    module_cfg = p->now;
    return errors->n ? SL_EINVAL : SL_OK;
}

void modules_plan_free(struct module_plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct module_step *s = &p->steps[i];
        s->module->coming = false;
        if (!s->checked) continue;
        if (s->module->last_number == s->checked->number) s->module->last_number--; /* it never was */
        stage_drop(s->checked);
    }
    for (struct module *m = modules_first(); m; m = m->next)
        m->file = NULL;
    while (modules_coming) {
        struct module *m = modules_coming;
        modules_coming = m->next;
        module_free(m);
    }
    arena_free(p->memory);
    p->memory = NULL;
    p->n = 0;
}

/* ---- doing it ---- */
static void run_step(call *c, struct module_step *s)
{
    struct generation *checked = s->checked;
    struct module_change done;
    s->checked = NULL;
    s->done = true;
    s->module->coming = false;
    if (s->outcome[0]) { /* it could not be started before either, and cannot now */
        if (!s->module->current) module_fail(s->module, "%s", s->outcome);
        return;
    }
    s->good = change_run(c, s->module, s->action, checked, "the configuration", &done) == SL_OK;
    snprintf(s->outcome, sizeof s->outcome, "%s", done.outcome);
    s->from = done.from;
    s->to = done.to;
}

/* Does what it needs come first? */
static bool waits_for_another(const struct module_step *s)
{
    const json_t *need;
    size_t i;
    json_array_foreach(s->checked ? json_object_get(s->checked->seen, "needs") : NULL, i, need)
    {
        const struct module *other = module_find(json_str(json_object_get(need, "id")));
        if (other && other->coming && other != s->module) return true;
    }
    return false;
}

static struct module_step *next_step(struct module_plan *p)
{
    struct module_step *any = NULL;
    for (size_t i = 0; i < p->n; i++) {
        struct module_step *s = &p->steps[i];
        if (s->done) continue;
        if (!waits_for_another(s)) return s;
        if (!any) any = s;
    }
    return any;
}

static void take_over(struct module_plan *p)
{
    module_cfg = p->next;
    while (modules_coming) {
        struct module *m = modules_coming;
        modules_coming = m->next;
        module_list(m);
    }
    for (struct module *m = modules_first(); m; m = m->next) {
        module_configure(m, p->next);
        if (goes(p, m)) m->required = false;
        if (m->file && strcmp(m->file->path, m->path) != 0) m->path = arena_cstr(m->arena, sl_cstr(m->file->path));
    }
}

bool modules_apply(call *c, struct module_plan *p)
{
    bool good = true;
    struct module_step *s;
    take_over(p);
    for (size_t i = p->n; i-- > 0;) /* those that need others before those others */
        if (goes(p, p->steps[i].module)) run_step(c, &p->steps[i]);
    while ((s = next_step(p)))
        run_step(c, s);
    for (size_t i = 0; i < p->n; i++)
        good = good && (p->steps[i].good || !p->steps[i].must);
    watch_start();
    return good;
}
