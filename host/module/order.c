/* order.c - brings modules into an order in which each comes behind those that it needs; names circles and what is
 * missing. */
#include "module/private.h"

static void lacks(struct module *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* It fails for want of something that may yet come. */
static void lacks(struct module *m, const char *format, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    module_fail(m, "%s", text);
    m->lacking = true;
}

static struct module *among(struct module *first, const char *name)
{
    for (struct module *m = first; m; m = m->next)
        if (strcmp(m->name, name) == 0) return m;
    return NULL;
}

static uint32_t major_of(const char *version) { return (uint32_t)strtoul(version, NULL, 10); }

/* A sentence in m->error when need n cannot be met, whatever the order. */
static bool need_possible(struct module *first, struct module *m, const struct need *n)
{
    if (str_starts(sl_cstr(n->id), "sl.")) {
        uint32_t offered = table_version(sl_cstr(n->id));
        if (offered >= n->min && offered > 0) return true;
        if (n->optional) return true;
        if (offered)
            module_fail(m, "needs %s %u, this host offers %u: upgrade appserver", n->id, n->min, offered);
        else
            module_fail(m, "needs %s, which this host does not offer: upgrade appserver", n->id);
        return false;
    }
    const struct module *other = among(first, n->id);
    if (n->optional) return true;
    if (!other)
        lacks(m, "needs %s, which is not installed", n->id);
    else if (!other->enabled)
        lacks(m, "needs %s, which is disabled in the configuration", n->id);
    else if (!other->broken && major_of(other->version) < n->min)
        lacks(m, "needs %s %u, version %s is installed", n->id, n->min, other->version);
    else
        return true;
    return false;
}

struct sort {
    struct module *first, **path, **done; /* room for all */
    size_t depth, n;
};

static void name_circle(const struct sort *s, const struct module *back_at)
{
    char text[400] = "";
    size_t start = s->depth - 1, n = 0;
    while (start > 0 && s->path[start] != back_at)
        start--;
    for (size_t i = start; i < s->depth && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s -> ", s->path[i]->name);
    for (size_t i = start; i < s->depth; i++)
        module_fail(s->path[i], "needs go in a circle: %s%s", text, back_at->name);
}

static void visit(struct sort *s, struct module *m)
{
    if (m->ordered) return;
    m->visiting = true;
    s->path[s->depth++] = m;
    for (size_t i = 0; i < m->n_all_needs && m->enabled && !m->broken; i++) {
        struct module *other = among(s->first, m->all_needs[i].id);
        if (!need_possible(s->first, m, &m->all_needs[i]) || !other) continue;
        if (other->visiting)
            name_circle(s, other);
        else
            visit(s, other);
    }
    s->depth--;
    m->visiting = false;
    m->ordered = true;
    s->done[s->n++] = m;
}

/* What needs a module that cannot start waits for it, and what needs that one too. */
static void spread(struct module *first)
{
    for (struct module *m = first; m; m = m->next)
        for (size_t i = 0; i < m->n_all_needs && m->enabled && !m->broken; i++) {
            const struct module *other = among(first, m->all_needs[i].id);
            if (!other || !other->broken || m->all_needs[i].optional) continue;
            module_wait(m, other);
        }
}

struct module *modules_order(struct module *first)
{
    size_t all = modules_count(first);
    arena *a = arena_new(0);
    struct sort s = { .first = first };
    s.path = arena_alloc(a, (all + 1) * sizeof(struct module *));
    s.done = arena_alloc(a, (all + 1) * sizeof(struct module *));
    for (struct module *m = first; m; m = m->next)
        m->ordered = m->visiting = false;
    for (struct module *m = first; m; m = m->next)
        visit(&s, m);
    for (size_t i = 0; i < s.n; i++)
        s.done[i]->next = i + 1 < s.n ? s.done[i + 1] : NULL;
    first = s.n ? s.done[0] : NULL;
    arena_free(a);
    spread(first);
    return first;
}

/* ---- while the server runs ---- */
static bool needs_ordered(struct module *first, const struct module *m)
{
    for (size_t i = 0; i < m->n_all_needs; i++) {
        const struct module *other = among(first, m->all_needs[i].id);
        if (other && !other->ordered && other != m) return false;
    }
    return true;
}

/* The first in the old order that stands behind all it needs; a circle, of which no module runs, is cut anywhere. */
static struct module *next_of(struct module *first)
{
    struct module *any = NULL;
    for (struct module *m = first; m; m = m->next) {
        if (m->ordered) continue;
        if (needs_ordered(first, m)) return m;
        if (!any) any = m;
    }
    return any;
}

void modules_sort(void)
{
    struct module *first = modules_first(), *m;
    size_t n = modules_count(first), done = 0;
    for (m = first; m; m = m->next)
        m->ordered = false;
    struct module **sorted = calloc(n + 1, sizeof *sorted);
    if (!sorted) abort();
    while ((m = next_of(first))) {
        m->ordered = true;
        sorted[done++] = m;
    }
    for (size_t i = 0; i < n; i++)
        sorted[i]->next = sorted[i + 1];
    modules_set(sorted[0]);
    free(sorted);
}
