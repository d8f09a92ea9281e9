/* check.c - `appserver -check-plugin FILE.so`: what the loader would say about a file, without a server. */
#include "module/private.h"
#include <limits.h>
#include <stdlib.h>

/* ---- what the report says, in JSON; the text is made of it ---- */
static void report_findings(json_t *report, const struct generation *g)
{
    json_t *list = json_array();
    for (size_t i = 0; i < g->n_findings; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "class", g->findings[i].class, "policy",
                                              finding_policy_name(g->findings[i].policy), "text", g->findings[i].text));
    json_object_set_new(report, "findings", list);
    json_object_set_new(report, "for_ever", json_boolean(g->keep));
    json_object_set_new(report, "isolated", json_boolean(g->isolated));
    json_object_set_new(report, "sha256", g->sha256[0] ? json_string(g->sha256) : json_null());
}

static void report_plugin(json_t *report, const json_t *seen)
{
    json_t *plugin = json_object(), *entries = json_array(), *entry;
    static const char *const keys[] = { "name", "version", "doc", "grants", "needs" };
    size_t i;
    for (i = 0; i < sizeof keys / sizeof *keys; i++)
        json_object_set(plugin, keys[i], json_object_get(seen, keys[i]));
    json_array_foreach(json_object_get(seen, "entries"), i, entry)
    {
        uint64_t kind = (uint64_t)json_integer_value(json_object_get(entry, "kind"));
        json_array_append_new(
            entries, json_pack("{s:s, s:O}", "kind", entry_kind(kind), "name", json_object_get(entry, "name")));
    }
    json_object_set_new(plugin, "entries", entries);
    json_object_set_new(report, "plugin", plugin);
}

static const char *said(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_text(const json_t *report, buf *out)
{
    const json_t *plugin = json_object_get(report, "plugin"), *item;
    size_t i;
    json_array_foreach(json_object_get(report, "findings"), i, item)
    {
        buf_printf(out, "%-9s %s: %s\n", said(item, "policy"), said(item, "class"), said(item, "text"));
    }
    if (json_is_object(plugin)) {
        buf_printf(out, "plugin    %s %s\n", said(plugin, "name"), said(plugin, "version"));
        if (*said(plugin, "grants")) buf_printf(out, "grants    %s\n", said(plugin, "grants"));
    }
    json_array_foreach(json_object_get(plugin, "needs"), i, item)
    {
        buf_printf(out, "needs     %s %lld%s\n", said(item, "id"),
                   (long long)json_integer_value(json_object_get(item, "min")),
                   json_is_true(json_object_get(item, "optional")) ? " (optional)" : "");
    }
    if (!json_is_true(json_object_get(report, "good")))
        buf_printf(out, "refused   %s\n", said(report, "reason"));
    else
        buf_printf(out, "good      it would be loaded%s\n",
                   json_is_true(json_object_get(report, "isolated")) ? " in a process of its own"
                   : json_is_true(json_object_get(report, "for_ever"))
                       ? ", for ever: a reload would leave the old copy in memory"
                       : "");
}

/* ---- the checks ---- */
/* Tables that this host must offer, and plugins that must be installed where the installation is known. */
static bool needs_offered(const json_t *seen, char *why, size_t why_size)
{
    const json_t *need;
    size_t i;
    json_array_foreach(json_object_get(seen, "needs"), i, need)
    {
        sl_str id = json_str(json_object_get(need, "id"));
        uint32_t min = (uint32_t)json_integer_value(json_object_get(need, "min")), offered = table_version(id);
        if (json_is_true(json_object_get(need, "optional"))) continue;
        if (str_starts(id, "sl.")) {
            if (offered && offered >= min) continue;
            snprintf(why, why_size, "needs %.60s %u, this host offers %u: upgrade appserver", id.p, min, offered);
            return false;
        }
        const struct module *other = module_find(id);
        if (module_cfg->file.n == 0 || (other && strtoul(other->version, NULL, 10) >= min)) continue;
        if (other && other->version[0])
            snprintf(why, why_size, "needs %.60s %u, version %s is installed", id.p, min, other->version);
        else
            snprintf(why, why_size, "needs %.60s, which is not installed", id.p);
        return false;
    }
    return true;
}

static bool clash(const json_t *seen, uint64_t kind, const char *name, const char *of, char *why, size_t why_size)
{
    const json_t *entry;
    size_t i;
    if (kind == SL_EVENT || kind == SL_SCHEDULE) return false;
    json_array_foreach(json_object_get(seen, "entries"), i, entry)
    {
        const char *own = said(entry, "name");
        if (!names_clash((uint64_t)json_integer_value(json_object_get(entry, "kind")), own, kind, name)) continue;
        snprintf(why, why_size, "%s %s clashes with %s of module %s", entry_kind(kind), own, name, of);
        return true;
    }
    return false;
}

/* Does the server itself, or an enabled plugin of the installation, offer one of its entries? */
static bool clashes(const struct module *own, const json_t *seen, char *why, size_t why_size)
{
    for (const struct module *m = modules_first(); m; m = m->next) {
        const json_t *theirs = m->staged ? json_object_get(m->staged->seen, "entries") : NULL, *entry;
        size_t i;
        if (m == own || !m->enabled) continue;
        for (i = 0; m->linked && i < m->linked->n_entries; i++)
            if (clash(seen, m->linked->entries[i].kind, m->linked->entries[i].name, m->name, why, why_size))
                return true;
        json_array_foreach(theirs, i, entry)
        {
            uint64_t kind = (uint64_t)json_integer_value(json_object_get(entry, "kind"));
            if (clash(seen, kind, said(entry, "name"), m->name, why, why_size)) return true;
        }
    }
    return false;
}

static bool probed(struct generation *g, char *why, size_t why_size)
{
    struct probe *p = calloc(1, sizeof *p);
    if (!p) abort();
    p->g = g;
    probe_all(p, 1);
    g->seen = p->seen;
    if (!g->seen) snprintf(why, why_size, "%s: %.300s", g->module->path, p->why);
    free(p);
    return g->seen != NULL;
}

static bool look(struct generation *g, json_t *report, char *why, size_t why_size)
{
    struct module *m = g->module;
    bool good = generation_copy(g, why, why_size);
    report_findings(report, g);
    if (!good || !probed(g, why, why_size)) return false;
    report_plugin(report, g->seen);
    if (strcmp(said(g->seen, "name"), m->name) != 0) {
        snprintf(why, why_size, "names itself `%.63s`: file and plugin must have one name", said(g->seen, "name"));
        return false;
    }
    return needs_offered(g->seen, why, why_size) && grants_allowed(module_cfg, m->name, g->seen, why, why_size) &&
           !clashes(m, g->seen, why, why_size);
}

static bool check_file(const char *path, json_t *report, char *why, size_t why_size)
{
    char full[PATH_MAX];
    const char *slash = strrchr(path, '/');
    sl_str name = sl_cstr(slash ? slash + 1 : path);
    if (!str_ends(name, ".so") || !name_is_module(sl_lit(name.p, name.n - 3))) {
        snprintf(why, why_size, "%.300s: a plugin's file is called NAME.so (lower-case letters, digits, _ and -)",
                 path);
        return false;
    }
    if (!realpath(path, full)) snprintf(full, sizeof full, "%s", path);
    name.n -= 3;
    struct module *m = module_find(name); /* it may be installed in another version */
    if (m && m->linked) {
        snprintf(why, why_size, "%.63s is a name of the server's own", m->name);
        return false;
    }
    if (!m) {
        m = module_new(name);
        module_list(m);
    }
    if (m->staged) generation_free(m->staged);
    m->path = arena_cstr(m->arena, sl_cstr(full));
    m->isolated = m->configured && m->configured->isolation && strcmp(m->configured->isolation, "process") == 0;
    m->staged = generation_new(m);
    return look(m->staged, report, why, why_size);
}

bool plugin_check(const char *path, bool as_json, buf *out)
{
    char why[MODULE_WHY] = "";
    buf installed; /* what is wrong with others is not asked for */
    buf_init(&installed, 1 << 20);
    if (module_cfg->file.n) modules_discover(&installed);
    buf_free(&installed);
    json_t *report = json_pack("{s:b, s:n, s:n, s:b, s:b, s:[], s:n}", "good", 0, "reason", "sha256", "for_ever", 0,
                               "isolated", 0, "findings", "plugin");
    bool good = check_file(path, report, why, sizeof why);
    json_object_set_new(report, "file", json_string(path)); /* neither is there when a path is not UTF-8 */
    json_object_set_new(report, "good", json_boolean(good));
    if (!good) json_object_set_new(report, "reason", json_string(why));
    char *text = as_json ? json_dumps(report, JSON_INDENT(2)) : NULL;
    if (text)
        buf_printf(out, "%s\n", text);
    else
        print_text(report, out);
    free(text);
    json_decref(report);
    return good;
}
