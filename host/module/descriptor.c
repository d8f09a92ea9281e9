/* descriptor.c - checks a plugin's descriptor as hostile input and copies all of it, so that the host never reads it
 * again. */
#include "module/private.h"
#include "base/clock.h"
#include "jobs/jobs.h"
#include "rest/schema.h"
#include "rest/pattern.h"

/* Limits of a descriptor. Sizes of the first release: whatever is shorter was not built against this contract. */
enum {
    NAME_MAX_BYTES = 256,
    DOC_MAX = 4096,
    SCHEMA_MAX = 64 * 1024,
    ENTRIES_MAX = 256,
    METRICS_MAX = 256,
    NEEDS_MAX = 64,
    STRUCT_MAX = 4096,
    STACK_KIB_MAX = 1024,
    ATTEMPTS_MAX = 100,
    PLUGIN_FIRST = offsetof(sl_plugin, lifecycle) + sizeof(void *),
    ENTRY_FIRST = offsetof(sl_entry, backoff_ms) + sizeof(uint32_t),
    METRIC_FIRST = offsetof(sl_metric, labels) + sizeof(void *),
    NEED_FIRST = offsetof(sl_need, optional) + sizeof(uint32_t),
    LIFE_FIRST = offsetof(sl_lifecycle, load) + sizeof(void *)
};
static const uint32_t known_flags = SL_POOL | SL_STREAM | SL_IDEMPOTENT | SL_SENSITIVE | SL_LIST;

struct reading {
    struct generation *g;
    char *why;
    size_t why_size;
    bool newer;
};

static bool __attribute__((format(printf, 2, 3))) wrong(struct reading *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(r->why, r->why_size, format, ap);
    va_end(ap);
    return false;
}

/* Copy a C string of at most `max` bytes into *to; NULL stays NULL. */
static bool text(struct reading *r, const char **to, const char *from, size_t max, const char *what, const char *of)
{
    *to = NULL;
    if (!from) return true;
    size_t n = strnlen(from, max + 1);
    if (n > max) return wrong(r, "%s%s is longer than %zu bytes", of, what, max);
    if (!str_is_utf8(sl_lit(from, n))) return wrong(r, "%s%s is not UTF-8", of, what);
    *to = arena_cstr(r->g->arena, sl_lit(from, n));
    return true;
}

/* The rows of a foreign table, each cut or padded to our size; NULL and false when the table cannot be right. */
static bool rows(struct reading *r, void **to, const void *from, uint32_t n, uint32_t stride, size_t first, size_t ours,
                 uint32_t max, const char *what)
{
    *to = NULL;
    if (n == 0) return true;
    if (n > max) return wrong(r, "%u %s: at most %u are possible", n, what, max);
    if (!from) return wrong(r, "%u %s announced, but the table is NULL", n, what);
    if (stride < first || stride > STRUCT_MAX || stride % sizeof(void *) != 0)
        return wrong(r, "%s are %u bytes each; at least %zu are needed (is the size field set?)", what, stride, first);
    char *copy = arena_alloc(r->g->arena, n * ours);
    for (uint32_t i = 0; i < n; i++)
        memcpy(copy + i * ours, (const char *)from + (size_t)i * stride, stride < ours ? stride : ours);
    *to = copy;
    return true;
}

static bool schema(struct reading *r, json_t **to, const char *source, const char *what, const char *of)
{
    char why[256] = "";
    json_decref(*to);
    *to = NULL;
    if (!source) return true;
    *to = schema_read(sl_cstr(source), why, sizeof why);
    return *to || wrong(r, "%s%s: %s", of, what, why);
}

static const char *const kind_names[] = { "", "route", "event", "schedule", "job", "compute entry" };

static bool check_name(struct reading *r, const sl_entry *s, const char *of)
{
    char why[256] = "";
    sl_str name = sl_cstr(s->name);
    switch (s->kind) {
    case SL_ROUTE:
        return route_check(s->name, why, sizeof why) || wrong(r, "%s%s", of, why);
    case SL_EVENT:
        if (name.n > 2 && str_ends(name, ".*")) name.n -= 2;
        return name_is_topic(name) || wrong(r, "%sa topic is lower-case words with dots, or ends in .*", of);
    case SL_SCHEDULE:
        if (!s->schedule) return wrong(r, "%s.schedule is missing", of);
        if (schedule_next(sl_cstr(s->schedule), clock_now()) <= 0)
            return wrong(r, "%s`%s` is not a schedule (\"@every 30s\", \"@hourly\" or five cron fields)", of,
                         s->schedule);
        return name_is_topic(name) || wrong(r, "%sa name is lower-case words with dots", of);
    default:
        return name_is_topic(name) || wrong(r, "%sa name is lower-case words with dots", of);
    }
}

static bool check_flags(struct reading *r, const sl_entry *s, const char *of)
{
    if ((s->flags & ~known_flags) && !r->newer) return wrong(r, "%sunknown flags 0x%x", of, s->flags & ~known_flags);
    if ((s->flags & SL_STREAM) && s->kind != SL_ROUTE) return wrong(r, "%sonly a route can be SL_STREAM", of);
    if ((s->flags & SL_LIST) && (s->kind != SL_ROUTE || strncmp(s->name, "GET ", 4) != 0 || !s->out))
        return wrong(r, "%sonly a GET route with an `out` schema can be SL_LIST", of);
    if ((s->flags & SL_STREAM) && (s->flags & SL_POOL))
        return wrong(r, "%sSL_POOL and SL_STREAM exclude each other: a pool handler may not wait for its client", of);
    if (s->attempts > ATTEMPTS_MAX) return wrong(r, "%sattempts is over %d", of, ATTEMPTS_MAX);
    if (s->status && (s->status < 200 || s->status > 299))
        return wrong(r, "%sstatus %u is not a success", of, s->status);
    return true;
}

/* "409 taken, 410 destroyed" */
static bool check_problems(struct reading *r, const sl_entry *s, const char *of)
{
    sl_str rest = sl_cstr(s->problems), one, number;
    while (rest.n && str_split(&rest, ',', &one)) {
        int64_t status = 0;
        sl_str code = str_trim(one);
        if (!str_split(&code, ' ', &number) || !str_to_int(number, &status) || status < 300 || status > 599)
            return wrong(r, "%sproblems: each is a status and a code, such as `409 taken, 410 destroyed`", of);
        for (size_t i = 0; i < code.n; i++)
            if (!(code.p[i] >= 'a' && code.p[i] <= 'z') && !(code.p[i] >= '0' && code.p[i] <= '9') && code.p[i] != '_')
                return wrong(r, "%sproblems: the code `%.*s` must be lower_case_words", of,
                             STR_ARG(str_sub(code, 0, 64)));
    }
    return true;
}

static bool read_entry(struct reading *r, struct entry *e, const sl_entry *from)
{
    char of[NAME_MAX_BYTES + 32];
    sl_entry *s = &e->spec;
    *s = *from;
    if (!text(r, &s->name, from->name, NAME_MAX_BYTES - 1, "name", "entry: ")) return false;
    if (s->kind < SL_ROUTE || s->kind > SL_COMPUTE)
        return wrong(r, "entry %s: unknown kind %llu", s->name ? s->name : "", (unsigned long long)s->kind);
    if (!s->name || !*s->name) return wrong(r, "%s number %u has no name", kind_names[s->kind], e->index);
    snprintf(of, sizeof of, "%s %s: ", kind_names[s->kind], s->name);
    if (!s->run) return wrong(r, "%srun is NULL", of);
    return text(r, &s->scope, from->scope, 128, "scope", of) && text(r, &s->doc, from->doc, DOC_MAX, "doc", of) &&
           text(r, &s->in, from->in, SCHEMA_MAX, "in", of) &&
           text(r, &s->query, from->query, SCHEMA_MAX, "query", of) &&
           text(r, &s->out, from->out, SCHEMA_MAX, "out", of) &&
           text(r, &s->schedule, from->schedule, 128, "schedule", of) &&
           text(r, &s->problems, from->problems, DOC_MAX, "problems", of) && check_name(r, s, of) &&
           check_flags(r, s, of) && check_problems(r, s, of) && schema(r, &e->in, s->in, "in", of) &&
           schema(r, &e->query, s->query, "query", of) && schema(r, &e->out, s->out, "out", of);
}

const char *entry_kind(uint64_t kind) { return kind >= SL_ROUTE && kind <= SL_COMPUTE ? kind_names[kind] : ""; }

bool names_clash(uint64_t kind, const char *name, uint64_t other_kind, const char *other)
{
    if (kind != other_kind) return false;
    return kind == SL_ROUTE ? route_clash(name, other) : strcmp(name, other) == 0;
}

static bool read_entries(struct reading *r, const sl_plugin *d)
{
    struct generation *g = r->g;
    void *table;
    if (!rows(r, &table, d->entries, d->n_entries, d->entry_size, ENTRY_FIRST, sizeof(sl_entry), ENTRIES_MAX,
              "entries"))
        return false;
    const sl_entry *from = table;
    g->entries = arena_alloc(g->arena, (d->n_entries + 1) * sizeof *g->entries);
    for (uint32_t i = 0; i < d->n_entries; i++) {
        if (r->newer && from[i].kind > SL_COMPUTE) continue; /* of a later release: not for this host */
        struct entry *e = &g->entries[g->n_entries++];
        e->generation = g;
        e->index = i;
        if (!read_entry(r, e, &from[i])) return false;
        for (size_t k = 0; k + 1 < g->n_entries; k++)
            if (names_clash(e->spec.kind, e->spec.name, g->entries[k].spec.kind, g->entries[k].spec.name))
                return wrong(r, "%s %s clashes with %s", kind_names[e->spec.kind], e->spec.name,
                             g->entries[k].spec.name);
    }
    return true;
}

static bool read_metrics(struct reading *r, const sl_plugin *d)
{
    struct generation *g = r->g;
    void *table;
    if (!rows(r, &table, d->metrics, d->n_metrics, d->metric_size, METRIC_FIRST, sizeof(sl_metric), METRICS_MAX,
              "metrics"))
        return false;
    sl_metric *m = table;
    char prefix[66];
    snprintf(prefix, sizeof prefix, "%.63s_", g->spec.name);
    for (char *p = prefix; *p; p++)
        if (*p == '-') *p = '_';
    for (uint32_t i = 0; i < d->n_metrics; i++) {
        const sl_metric from = m[i];
        if (!text(r, &m[i].name, from.name, 128, "name", "metric: ")) return false;
        if (!m[i].name) return wrong(r, "metric number %u has no name", i);
        if (!text(r, &m[i].doc, from.doc, DOC_MAX, "doc", "metric: ")) return false;
        if (!text(r, &m[i].labels, from.labels, 256, "labels", "metric: ")) return false;
        if (strncmp(m[i].name, prefix, strlen(prefix)) != 0)
            return wrong(r, "metric %s: the name must start with %s", m[i].name, prefix);
        if (from.kind < SL_COUNTER || from.kind > SL_HISTOGRAM) return wrong(r, "metric %s: unknown kind", m[i].name);
    }
    g->spec.metrics = m;
    g->n_metrics = d->n_metrics;
    return true;
}

static bool read_needs(struct reading *r, const sl_plugin *d)
{
    void *table;
    if (!rows(r, &table, d->needs, d->n_needs, d->need_size, NEED_FIRST, sizeof(sl_need), NEEDS_MAX, "needs"))
        return false;
    sl_need *n = table;
    for (uint32_t i = 0; i < d->n_needs; i++) {
        if (!text(r, &n[i].id, n[i].id, 63, "id", "need: ")) return false;
        if (!n[i].id || !(str_starts(sl_cstr(n[i].id), "sl.") || name_is_module(sl_cstr(n[i].id))))
            return wrong(r, "need number %u is neither a table (\"sl.store\") nor a plugin's name", i);
        if (strcmp(n[i].id, r->g->spec.name) == 0) return wrong(r, "needs itself");
    }
    r->g->spec.needs = n;
    return true;
}

static bool read_lifecycle(struct reading *r, const sl_lifecycle *from)
{
    if (!from) return true;
    if (from->size < LIFE_FIRST || from->size > STRUCT_MAX)
        return wrong(r, "lifecycle.size is %u; at least %d is needed", from->size, (int)LIFE_FIRST);
    memcpy(&r->g->life, from, from->size < sizeof r->g->life ? from->size : sizeof r->g->life);
    return true;
}

static bool read_head(struct reading *r, const sl_plugin *p)
{
    sl_plugin *d = &r->g->spec;
    if (p->size < PLUGIN_FIRST || p->size > STRUCT_MAX)
        return wrong(r, "the descriptor says that it is %u bytes long; at least %d are needed", p->size,
                     (int)PLUGIN_FIRST);
    if (p->major != SL_MAJOR)
        return wrong(r, "is built against contract %u.%u, this host runs %u.%u", p->major, p->minor, SL_MAJOR,
                     SL_MINOR);
    memcpy(d, p, p->size < sizeof *d ? p->size : sizeof *d);
    r->newer = d->minor > SL_MINOR;
    if (!text(r, &d->name, d->name, 63, "name", "") || !text(r, &d->version, d->version, 31, "version", "") ||
        !text(r, &d->doc, d->doc, DOC_MAX, "doc", "") || !text(r, &d->config, d->config, SCHEMA_MAX, "config", "") ||
        !text(r, &d->grants, d->grants, DOC_MAX, "grants", ""))
        return false;
    if (!d->name || !name_is_module(sl_cstr(d->name)))
        return wrong(r, "name must be lower-case letters, digits, `_` and `-`, starting with a letter");
    if (!d->version || !*d->version) return wrong(r, "version is missing");
    if (d->stack_kib > STACK_KIB_MAX) return wrong(r, "stack_kib %u is over %d", d->stack_kib, STACK_KIB_MAX);
    return true;
}

bool descriptor_read(struct generation *g, const sl_plugin *p, char *why, size_t why_size)
{
    struct reading r = { .g = g, .why = why, .why_size = why_size };
    if (!read_head(&r, p)) return false;
    const sl_plugin tables = g->spec; /* still the plugin's own pointers, sizes and counts */
    g->spec.entries = NULL;
    g->spec.metrics = NULL;
    g->spec.needs = NULL;
    g->spec.lifecycle = &g->life;
    g->stack_kib = tables.stack_kib;
    return read_entries(&r, &tables) && read_metrics(&r, &tables) && read_needs(&r, &tables) &&
           read_lifecycle(&r, tables.lifecycle) &&
           grants_read(g->arena, sl_cstr(g->spec.grants), &g->grants, &g->n_grants, why, why_size) &&
           schema(&r, &g->config_schema, g->spec.config, "config", "");
}

void descriptor_free(struct generation *g)
{
    for (size_t i = 0; i < g->n_entries; i++) {
        json_decref(g->entries[i].in);
        json_decref(g->entries[i].query);
        json_decref(g->entries[i].out);
        g->entries[i].in = g->entries[i].query = g->entries[i].out = NULL;
    }
    json_decref(g->config_schema);
    g->config_schema = NULL;
}

/* Does a started module offer it already? Topics and schedules are each plugin's own. */
static bool taken(const struct module *own, uint64_t kind, const char *name, char *why, size_t why_size)
{
    if (kind == SL_EVENT || kind == SL_SCHEDULE) return false;
    for (const struct module *m = modules_first(); m; m = m->next) {
        const struct generation *other = m == own ? NULL : m->current;
        for (size_t i = 0; other && i < other->n_entries; i++) {
            const sl_entry *theirs = &other->entries[i].spec;
            if (!names_clash(kind, name, theirs->kind, theirs->name)) continue;
            snprintf(why, why_size, "%s %s clashes with %s of module %s", kind_names[kind], name, theirs->name,
                     m->name);
            return true;
        }
    }
    return false;
}

bool descriptor_clash(const struct generation *g, char *why, size_t why_size)
{
    for (size_t i = 0; i < g->n_entries; i++)
        if (taken(g->module, g->entries[i].spec.kind, g->entries[i].spec.name, why, why_size)) return true;
    return false;
}

bool seen_clash(const struct module *m, const json_t *seen, char *why, size_t why_size)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(seen, "entries"), i, entry)
    {
        uint64_t kind = (uint64_t)json_integer_value(json_object_get(entry, "kind"));
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && taken(m, kind, name, why, why_size)) return true;
    }
    return false;
}
