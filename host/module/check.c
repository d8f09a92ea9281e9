/* check.c - `appserver -check-plugin FILE.so`: what the loader would say about a file, without a server. */
#include "module/private.h"
#include <limits.h>
#include <stdlib.h>

static void print_grants(const json_t *seen, buf *out)
{
    const json_t *need;
    size_t i;
    buf_printf(out, "plugin    %s %s\n", json_string_value(json_object_get(seen, "name")),
               json_string_value(json_object_get(seen, "version")));
    sl_str grants = json_str(json_object_get(seen, "grants"));
    if (sl_given(grants)) buf_printf(out, "grants    %.*s\n", STR_ARG(grants));
    json_array_foreach(json_object_get(seen, "needs"), i, need)
    {
        buf_printf(out, "needs     %s %lld%s\n", json_string_value(json_object_get(need, "id")),
                   (long long)json_integer_value(json_object_get(need, "min")),
                   json_is_true(json_object_get(need, "optional")) ? " (optional)" : "");
    }
}

/* Tables that this host must offer; other plugins are looked for when it is loaded. */
static bool tables_offered(const json_t *seen, char *why, size_t why_size)
{
    const json_t *need;
    size_t i;
    json_array_foreach(json_object_get(seen, "needs"), i, need)
    {
        sl_str id = json_str(json_object_get(need, "id"));
        uint32_t min = (uint32_t)json_integer_value(json_object_get(need, "min")), offered = table_version(id);
        if (!str_starts(id, "sl.") || json_is_true(json_object_get(need, "optional")) || (offered && offered >= min))
            continue;
        snprintf(why, why_size, "needs %.60s %u, this host offers %u: upgrade appserver", id.p, min, offered);
        return false;
    }
    return true;
}

static bool look(struct generation *g, buf *out, char *why, size_t why_size)
{
    struct module *m = g->module;
    bool good = generation_copy(g, why, why_size);
    for (size_t i = 0; i < g->n_findings; i++)
        buf_printf(out, "%-9s %s: %s\n", finding_policy_name(g->findings[i].policy), g->findings[i].class,
                   g->findings[i].text);
    if (!good) return false;
    struct probe *p = calloc(1, sizeof *p);
    if (!p) abort();
    p->g = g;
    probe_all(p, 1);
    g->seen = p->seen;
    if (!g->seen) snprintf(why, why_size, "%s: %.300s", m->path, p->why);
    free(p);
    if (!g->seen) return false;
    print_grants(g->seen, out);
    if (strcmp(json_string_value(json_object_get(g->seen, "name")), m->name) != 0) {
        snprintf(why, why_size, "names itself `%.63s`: file and plugin must have one name",
                 json_string_value(json_object_get(g->seen, "name")));
        return false;
    }
    return tables_offered(g->seen, why, why_size) && grants_allowed(module_cfg, m->name, g->seen, why, why_size);
}

bool plugin_check(const char *path, buf *out)
{
    char full[PATH_MAX], why[MODULE_WHY] = "";
    const char *slash = strrchr(path, '/');
    sl_str name = sl_cstr(slash ? slash + 1 : path);
    if (!str_ends(name, ".so") || !name_is_module(sl_lit(name.p, name.n - 3))) {
        buf_printf(out, "refused   %.300s: a plugin's file is called NAME.so (lower-case letters, digits, _ and -)\n",
                   path);
        return false;
    }
    if (!realpath(path, full)) snprintf(full, sizeof full, "%s", path);
    struct module *m = module_new(sl_lit(name.p, name.n - 3));
    module_list(m);
    m->path = arena_cstr(m->arena, sl_cstr(full));
    m->staged = generation_new(m);
    bool good = look(m->staged, out, why, sizeof why);
    if (good)
        buf_printf(out, "good      it would be loaded%s\n",
                   m->staged->keep ? ", for ever: a reload would leave the old copy in memory" : "");
    else
        buf_printf(out, "refused   %s\n", why);
    return good;
}
