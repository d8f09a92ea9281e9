/* stage.c - makes a new generation of a module while the server runs: read, checked, probed, opened, created, started.
 */
#include "module/private.h"
#include "base/clock.h"
#include "base/log.h"

enum { FINDINGS_ROOM = 64 * 1024 };

struct copying {
    struct generation *g;
    bool good;
    char *why;
    size_t why_size;
};

static void copy_file(void *arg) /* on a pool thread: reading and writing a file may take its time */
{
    struct copying *k = arg;
    k->good = generation_copy(k->g, k->why, k->why_size);
}

static bool copy_and_probe(call *c, struct generation *g, char *why, size_t why_size)
{
    struct copying k = { .g = g, .why = why, .why_size = why_size };
    if (call_offload(c, copy_file, &k)) copy_file(&k);
    if (!k.good) return false;
    struct probe *p = calloc(1, sizeof *p);
    if (!p) abort();
    p->g = g;
    probe_one(c, p);
    g->seen = p->seen;
    if (!g->seen) snprintf(why, why_size, "%s: %.300s", g->module->path, p->why);
    free(p);
    return g->seen != NULL;
}

/* What a plugin needs must be there and running: it would not be started otherwise either. */
static bool check_needs(struct module *m, const json_t *seen, char *why, size_t why_size)
{
    const json_t *need;
    size_t i;
    json_array_foreach(json_object_get(seen, "needs"), i, need)
    {
        sl_str id = json_str(json_object_get(need, "id"));
        uint32_t min = (uint32_t)json_integer_value(json_object_get(need, "min"));
        if (json_is_true(json_object_get(need, "optional"))) continue;
        if (module_need_met(m, id, min, why, why_size)) continue;
        m->lacking = !m->current && m->enabled;
        if (m->lacking) module_about(m, seen);
        return false;
    }
    return true;
}

static bool check_config(struct generation *g, const struct config *cfg, const json_t *seen, char *why, size_t why_size)
{
    buf findings;
    sl_str text = json_str(json_object_get(seen, "config"));
    json_t *schema = module_config_schema(text, why, why_size);
    if (!schema) return false;
    buf_init(&findings, FINDINGS_ROOM);
    g->config = module_effective_config(cfg, g->module, schema, &findings);
    json_decref(schema);
    sl_str rest = buf_str(&findings), line = rest;
    str_split(&rest, '\n', &line);
    bool good = findings.n == 0 && g->config;
    if (!good) snprintf(why, why_size, "%.*s", (int)(line.n < 400 ? line.n : 400), line.p);
    buf_free(&findings);
    return good;
}

static bool check_name(const struct module *m, const json_t *seen, char *why, size_t why_size)
{
    sl_str name = json_str(json_object_get(seen, "name"));
    if (sl_is(name, m->name)) return true;
    snprintf(why, why_size, "%.300s names itself `%.63s`: file and plugin must have one name", m->path, name.p);
    return false;
}

static sl_err stage_start(call *c, struct generation *g, char *why, size_t why_size)
{
    struct module *m = g->module;
    if (!generation_load(c, g, why, why_size) || descriptor_clash(g, why, why_size)) return SL_EINVAL;
    tables_grant(g);
    sl_err e = module_migrate(c, m->name, m->path, why, why_size);
    return e ? e : generation_start(c, g, why, why_size);
}

struct generation *stage_checked(call *c, struct generation *g, struct module_change *change, char *why,
                                 size_t why_size)
{
    int64_t began = clock_monotonic();
    bool good = check_needs(g->module, g->seen, why, why_size) && stage_start(c, g, why, why_size) == SL_OK;
    change->start_us = (clock_monotonic() - began) / 1000;
    if (good) return g;
    stage_drop(g);
    return NULL;
}

struct generation *stage(call *c, struct module *m, const struct config *cfg, bool start, struct module_change *change,
                         char *why, size_t why_size)
{
    struct generation *g = generation_new(m);
    int64_t began = clock_monotonic();
    bool good = copy_and_probe(c, g, why, why_size) && check_name(m, g->seen, why, why_size) &&
                check_needs(m, g->seen, why, why_size) && grants_allowed(cfg, m->name, g->seen, why, why_size) &&
                check_config(g, cfg, g->seen, why, why_size) && !seen_clash(m, g->seen, why, why_size);
    int64_t checked = clock_monotonic();
    change->check_us = (checked - began) / 1000;
    if (good && start) good = stage_start(c, g, why, why_size) == SL_OK;
    change->start_us = (clock_monotonic() - checked) / 1000;
    if (good) return g;
    stage_drop(g);
    return NULL;
}
