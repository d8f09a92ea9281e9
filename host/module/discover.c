/* discover.c - finds plugins in the configured directories, has them probed, checks their configuration, sorts them. */
#include "module/private.h"
#include "base/log.h"
#include "rest/schema.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

enum { ERRORS_MAX = 64 * 1024, DIRECTORY_MAX = 256 /* plugins in one */ };

/* The installation's own plugins lie beside the program, in its build tree or under its prefix: known by what the
 * program's own path is, never by the current directory. */
static const char *const own_dirs[] = { "plugins", "build/plugins", "../lib/service-layer/plugins" };

static bool own_path(const char *below, char out[PATH_MAX])
{
    char exe[PATH_MAX], joined[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) return false;
    exe[n] = 0;
    char *slash = strrchr(exe, '/');
    if (!slash) return false;
    *slash = 0;
    n = snprintf(joined, sizeof joined, "%s/%s", exe, below);
    return n > 0 && (size_t)n < sizeof joined && realpath(joined, out);
}

static bool is_own(const char *dir)
{
    char wanted[PATH_MAX], own[PATH_MAX];
    if (!realpath(dir, wanted)) return false;
    for (size_t i = 0; i < sizeof own_dirs / sizeof *own_dirs; i++)
        if (own_path(own_dirs[i], own) && strcmp(own, wanted) == 0) return true;
    return false;
}

const struct plugin_config *module_configured(const struct config *cfg, const char *name)
{
    for (const struct plugin_config *p = cfg->plugins; p; p = p->next)
        if (strcmp(p->name, name) == 0) return p;
    return NULL;
}

bool module_wanted(const struct module *m, const struct config *cfg)
{
    const struct plugin_config *p = module_configured(cfg, m->name);
    return p ? p->enabled : m->first_party;
}

/* As the plugin's own setting says, else as all are to be, else by where the file lies. */
bool module_to_isolate(const struct module *m, const struct config *cfg)
{
    const struct plugin_config *p = module_configured(cfg, m->name);
    sl_str mode = sl_cstr(p ? p->isolation : NULL);
    if (!sl_given(mode)) mode = cfg->isolation;
    return sl_is(mode, "process") || (!m->first_party && !m->linked && !sl_is(mode, "none"));
}

void module_configure(struct module *m, const struct config *cfg)
{
    m->configured = module_configured(cfg, m->name);
    m->isolated = module_to_isolate(m, cfg);
    m->required = m->linked || (m->configured && m->configured->required);
}

struct module *module_describe(const struct plugin_file *f, const struct config *cfg)
{
    struct module *m = module_new(f->name);
    m->first_party = f->own;
    m->path = arena_cstr(m->arena, sl_cstr(f->path));
    module_configure(m, cfg);
    m->enabled = module_wanted(m, cfg);
    if (!m->enabled) m->status = MODULE_DISABLED;
    return m;
}

static int is_plugin_file(const struct dirent *d)
{
    sl_str name = sl_cstr(d->d_name);
    return str_ends(name, ".so") && name_is_module(sl_lit(name.p, name.n - 3));
}

struct scan {
    const struct config *cfg;
    arena *a;
    struct plugin_file **last;
    buf *errors;
    void (*each)(const char *path); /* instead of looking at the files */
};

static void scan(struct scan *s, const char *dir, bool own, bool must_exist)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_plugin_file, alphasort);
    if (n < 0 && must_exist) buf_printf(s->errors, "plugin directory %.300s: %s\n", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (i < DIRECTORY_MAX) {
            struct plugin_file *f = arena_alloc(s->a, sizeof *f);
            f->name = arena_copy(s->a, sl_lit(names[i]->d_name, strlen(names[i]->d_name) - 3));
            f->path = arena_printf(s->a, "%s/%s", dir, names[i]->d_name).p;
            f->own = own;
            *s->last = f;
            s->last = &f->next;
        }
        free(names[i]);
    }
    free(names);
    if (n > DIRECTORY_MAX)
        buf_printf(s->errors, "plugin directory %.300s: holds %d plugins, only the first %d by name are looked at\n",
                   dir, n, DIRECTORY_MAX);
}

static void scan_one(struct scan *s, const char *dir, bool own, bool named)
{
    if (s->each)
        s->each(dir);
    else
        scan(s, dir, own, named);
}

static void each_directory(struct scan *s)
{
    char dir[PATH_MAX];
    for (size_t i = 0; i < s->cfg->plugin_dirs.n; i++) {
        sl_str d = s->cfg->plugin_dirs.item[i];
        if (d.n == 0 || d.n >= sizeof dir) continue;
        memcpy(dir, d.p, d.n);
        dir[d.n] = 0;
        scan_one(s, dir, is_own(dir), true);
    }
    if (s->cfg->plugin_dirs.n > 0) return;
    for (size_t i = 0; i < sizeof own_dirs / sizeof *own_dirs; i++)
        if (own_path(own_dirs[i], dir)) scan_one(s, dir, true, false);
}

struct plugin_file *plugin_files(const struct config *cfg, arena *a, buf *errors)
{
    struct plugin_file *first = NULL;
    struct scan s = { .cfg = cfg, .a = a, .last = &first, .errors = errors };
    each_directory(&s);
    return first;
}

void plugin_directories(const struct config *cfg, void (*each)(const char *path))
{
    struct scan s = { .cfg = cfg, .each = each };
    each_directory(&s);
}

static void find_all(buf *errors)
{
    arena *a = arena_new(0);
    for (const struct plugin_file *f = plugin_files(module_cfg, a, errors); f; f = f->next) {
        const struct module *m = module_find(f->name);
        if (m)
            log_warn("plugin found twice, the first is used", LOG_S("plugin", f->name), LOG_C("used", m->path),
                     LOG_C("ignored", f->path));
        else
            module_list(module_describe(f, module_cfg));
    }
    arena_free(a);
}

/* Named in the configuration, but no file has that name. */
static void add_missing(void)
{
    for (const struct plugin_config *p = module_cfg->plugins; p; p = p->next) {
        struct module *m = module_find(sl_cstr(p->name));
        if (m && !m->configured) m->configured = p; /* a module linked in */
        if (m || !p->enabled) continue;
        m = module_new(sl_cstr(p->name));
        module_list(m);
        module_configure(m, module_cfg);
        module_fail(m, "%.200s:%d: plugins.%.64s: no file %.64s.so in the plugin directories",
                    module_cfg->file.n ? arena_cstr(m->arena, module_cfg->file) : "configuration", p->line, p->name,
                    p->name);
    }
}

static void take_needs(struct module *m, size_t n)
{
    m->n_all_needs = 0;
    m->all_needs = arena_alloc(m->about, (n + 1) * sizeof *m->all_needs);
    m->needs = arena_alloc(m->about, (n + 1) * sizeof *m->needs);
}

static void take_need(struct module *m, const char *id, uint32_t min, bool optional)
{
    struct need *need = &m->all_needs[m->n_all_needs++];
    size_t plugins = 0;
    snprintf(need->id, sizeof need->id, "%s", id);
    need->min = min;
    need->optional = optional;
    while (m->needs[plugins])
        plugins++;
    if (!str_starts(sl_cstr(id), "sl.")) m->needs[plugins] = need->id;
}

static void take_linked(struct module *m)
{
    const sl_plugin *p = m->linked;
    m->about = arena_new(0);
    snprintf(m->version, sizeof m->version, "%s", p->version);
    m->doc = arena_cstr(m->about, sl_cstr(p->doc));
    m->grants = arena_cstr(m->about, sl_cstr(p->grants));
    take_needs(m, p->n_needs);
    for (uint32_t i = 0; i < p->n_needs; i++)
        take_need(m, p->needs[i].id, p->needs[i].min, p->needs[i].optional != 0);
}

void module_about(struct module *m, const json_t *seen)
{
    arena *old = m->about; /* of its generation before */
    m->about = arena_new(0);
    m->seen = true;
    sl_str version = json_str(json_object_get(seen, "version"));
    const json_t *needs = json_object_get(seen, "needs"), *need;
    size_t i;
    snprintf(m->version, sizeof m->version, "%.*s", STR_ARG(version));
    m->doc = arena_cstr(m->about, json_str(json_object_get(seen, "doc")));
    m->grants = arena_cstr(m->about, json_str(json_object_get(seen, "grants")));
    take_needs(m, json_array_size(needs));
    json_array_foreach(needs, i, need)
    {
        take_need(m, json_string_value(json_object_get(need, "id")),
                  (uint32_t)json_integer_value(json_object_get(need, "min")),
                  json_is_true(json_object_get(need, "optional")));
    }
    arena_free(old);
    if (strcmp(json_string_value(json_object_get(seen, "name")), m->name) != 0)
        module_fail(m, "%s names itself `%s`: file and plugin must have one name", m->path,
                    json_string_value(json_object_get(seen, "name")));
}

json_t *module_config_schema(sl_str text, char *why, size_t why_size)
{
    static const char none[] = "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{}}";
    return schema_read(sl_given(text) ? text : sl_lit(none, sizeof none - 1), why, why_size);
}

struct config_report {
    const struct config *cfg;
    const struct module *m;
    const json_t *only;
    buf *out;
};

/* One finding as FILE:LINE: plugins.NAME.config.KEY: sentence. With `only`, keys that are not in it were reported
 * already. */
static void config_finding(void *arg, const char *pointer, const char *detail)
{
    struct config_report *r = arg;
    char key[128];
    snprintf(key, sizeof key, "%.*s", (int)strcspn(*pointer ? pointer + 1 : "", "/"), *pointer ? pointer + 1 : "");
    if (r->only && !json_object_get(r->only, key)) return;
    int line = config_plugin_line(r->cfg, r->m->name, key);
    if (!line) line = config_plugin_line(r->cfg, r->m->name, NULL);
    if (line) buf_printf(r->out, "%.*s:%d: ", STR_ARG(r->cfg->file), line);
    buf_printf(r->out, "plugins.%s.config%s%s: %s\n", r->m->name, *key ? "." : "", key, detail);
}

/* What the schema says about the values. When keys are unknown there is no whole configuration: then the known keys of
 * the file are checked all the same, so that one run shows every error. */
static void check_values(const struct config *cfg, const struct module *m, const json_t *schema, json_t *effective,
                         buf *findings)
{
    struct config_report report = { .cfg = cfg, .m = m, .out = findings };
    const struct plugin_config *p = module_configured(cfg, m->name);
    if (effective) {
        schema_check(schema, effective, config_finding, &report);
        return;
    }
    json_t *raw = p ? json_deep_copy(p->config) : NULL;
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(raw, next, key, value)
    {
        if (!json_object_get(json_object_get(schema, "properties"), key)) json_object_del(raw, key);
    }
    report.only = raw ? p->config : NULL;
    if (raw) schema_check(schema, raw, config_finding, &report);
    json_decref(raw);
}

json_t *module_effective_config(const struct config *cfg, const struct module *m, const json_t *schema, buf *findings)
{
    json_t *effective = config_for_plugin(cfg, m->name, schema, module_env, findings);
    check_values(cfg, m, schema, effective, findings);
    return effective;
}

/* The first finding becomes the module's error, the others go to errors. */
static void fail_config(struct module *m, sl_str findings, buf *errors)
{
    sl_str line;
    str_split(&findings, '\n', &line);
    module_fail(m, "%.*s", (int)(line.n < 400 ? line.n : 400), line.p);
    while (str_split(&findings, '\n', &line))
        if (line.n) buf_add_str(errors, line), buf_add_char(errors, '\n');
}

/* The plugin's configuration against its schema. */
static void check_config(struct module *m, sl_str text, buf *errors)
{
    char why[256] = "";
    buf findings;
    json_t *schema = module_config_schema(text, why, sizeof why);
    if (!schema) {
        module_fail(m, "config schema: %s", why);
        return;
    }
    buf_init(&findings, ERRORS_MAX);
    m->config = m->staged->config = module_effective_config(module_cfg, m, schema, &findings);
    if (findings.n) fail_config(m, buf_str(&findings), errors);
    json_decref(m->staged->config_schema);
    m->staged->config_schema = schema;
    buf_free(&findings);
}

void modules_print_config(buf *out)
{
    for (const struct module *m = modules_first(); m; m = m->next)
        if (m->staged && m->staged->config && !m->linked)
            config_print_plugin(module_cfg, m->name, module_isolated(m), m->staged->config_schema, m->staged->config,
                                out);
}

static void probe_found(buf *errors)
{
    struct probe *probes = calloc(modules_count(modules_first()) + 1, sizeof *probes);
    size_t n = 0;
    char why[MODULE_WHY];
    if (!probes) abort();
    for (struct module *m = modules_first(); m; m = m->next) {
        if (m->linked || m->broken || !m->enabled) continue;
        m->staged = generation_new(m);
        if (generation_copy(m->staged, why, sizeof why))
            probes[n++] = (struct probe){ .g = m->staged };
        else
            module_fail(m, "%s", why);
    }
    probe_all(probes, n);
    for (size_t i = 0; i < n; i++) {
        struct module *m = probes[i].g->module;
        if (!probes[i].seen) {
            module_fail(m, "%s: %s", m->path, probes[i].why);
            continue;
        }
        module_about(m, probes[i].seen);
        if (!m->broken && !grants_allowed(module_cfg, m->name, probes[i].seen, why, sizeof why)) {
            module_fail(m, "%s: %s", m->path, why);
            m->seen = false; /* refused: nothing of it runs here, not even to read its tables */
        }
        if (!m->broken) check_config(m, json_str(json_object_get(probes[i].seen, "config")), errors);
        m->staged->seen = probes[i].seen;
    }
    free(probes);
}

size_t modules_discover(buf *errors)
{
    size_t n = 0, before = errors->n;
    find_all(errors);
    add_missing();
    for (struct module *m = modules_first(); m; m = m->next) {
        if (!m->linked) continue;
        take_linked(m);
        m->staged = generation_new(m);
        check_config(m, sl_cstr(m->linked->config), errors);
    }
    probe_found(errors);
    modules_set(modules_order(modules_first()));
    for (struct module *m = modules_first(); m; m = m->next)
        if (m->broken) buf_printf(errors, "plugin %s: %s\n", m->name, m->error);
    for (size_t i = before; i < errors->n; i++)
        n += errors->p[i] == '\n';
    return n;
}
