/* routes.c - the router of the moment: built from the modules' tables, replaced as a whole when the set of modules
 * changes. */
#include "http/request.h"
#include "rest/schema.h"

static router *current;
static uint64_t revision;

static void compile(struct route *route, struct entry *e, struct module *m, arena *a)
{
    route->entry = e;
    route->owner = m;
    route->generation = e->generation;
    route->flags = e->spec.flags;
    route->exempt = entry_exempt(e);
    if (e->spec.scope) route->scope = arena_copy(a, sl_cstr(e->spec.scope));
    route->deadline_ms = e->spec.deadline_ms ? e->spec.deadline_ms : http_cfg.deadline_ms;
    if (e->query) {
        json_t *nothing = json_object();
        route->check_empty_query = schema_check(e->query, nothing, NULL, NULL) > 0 || json_object_size(nothing) > 0;
        json_decref(nothing);
    }
}

static void add_module(router *r, struct module *m)
{
    struct generation *g = m->current ? m->current : m->staged;
    for (size_t i = 0; g && i < g->n_entries; i++) {
        if (g->entries[i].spec.kind != SL_ROUTE) continue;
        struct route *route = router_add(r, g->entries[i].spec.name);
        if (route) compile(route, &g->entries[i], m, router_arena(r));
    }
}

void http_rebuild_routes(void)
{
    router *r = router_new(), *old = current;
    for (struct module *m = modules_first(); m; m = m->next)
        if (m->status == MODULE_STARTED) add_module(r, m);
    /* Behind those that serve, so that one that does not can never hide one that does. */
    for (struct module *m = modules_first(); m; m = m->next)
        if (m->status != MODULE_STARTED) add_module(r, m);
    revision = modules_revision();
    current = r;
    router_drop(old);
}

router *routes_current(void)
{
    if (!current || revision != modules_revision()) http_rebuild_routes();
    return current;
}

void routes_close(void)
{
    router_drop(current);
    current = NULL;
}
