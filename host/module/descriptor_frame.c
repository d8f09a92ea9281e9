/* descriptor_frame.c - a plugin's descriptor as words on a child's socket: written there, put together again here. */
#include "module/cell.h"

enum { ROWS_MAX = 4096 }; /* of any table; descriptor_read has limits of its own */

/* What the host is handed instead of the plugin's functions: they exist, but only in the child. */
static sl_err elsewhere(void *self, sl_call *c)
{
    (void)self, (void)c;
    return SL_ESTATE;
}

static sl_err create_elsewhere(sl_call *c, void **self)
{
    (void)c, (void)self;
    return SL_ESTATE;
}

static void destroy_elsewhere(void *self) { (void)self; }

enum step_bit {
    HAS_CREATE = 1,
    HAS_START = 2,
    HAS_STOP = 4,
    HAS_DESTROY = 8,
    HAS_HEALTH = 16,
    HAS_SAVE = 32,
    HAS_LOAD = 64
};

static uint32_t steps_of(const sl_lifecycle *l)
{
    return (l->create ? HAS_CREATE : 0u) | (l->start ? HAS_START : 0u) | (l->stop ? HAS_STOP : 0u) |
           (l->destroy ? HAS_DESTROY : 0u) | (l->health ? HAS_HEALTH : 0u) | (l->save ? HAS_SAVE : 0u) |
           (l->load ? HAS_LOAD : 0u);
}

static void put_cstr(buf *b, const char *s) { put_str(b, sl_cstr(s)); }

static void write_entry(buf *b, const sl_entry *e)
{
    const char *const texts[] = { e->name, e->scope, e->in, e->query, e->out, e->doc, e->schedule, e->problems };
    const uint32_t numbers[] = { (uint32_t)e->kind, e->flags,    e->status,    e->deadline_ms,
                                 e->max_inflight,   e->attempts, e->backoff_ms };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        put_cstr(b, texts[i]);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        put_u32(b, numbers[i]);
}

void descriptor_write(buf *b, const struct generation *g)
{
    const sl_plugin *d = &g->spec;
    const char *const texts[] = { d->name, d->version, d->doc, d->config, d->grants };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        put_cstr(b, texts[i]);
    put_u32(b, d->minor);
    put_u32(b, d->stack_kib);
    put_u32(b, (uint32_t)g->n_entries);
    for (size_t i = 0; i < g->n_entries; i++)
        write_entry(b, &g->entries[i].spec);
    put_u32(b, d->n_metrics);
    for (uint32_t i = 0; i < d->n_metrics; i++) {
        put_u32(b, (uint32_t)d->metrics[i].kind);
        put_cstr(b, d->metrics[i].name);
        put_cstr(b, d->metrics[i].doc);
        put_cstr(b, d->metrics[i].labels);
    }
    put_u32(b, d->n_needs);
    for (uint32_t i = 0; i < d->n_needs; i++) {
        put_cstr(b, d->needs[i].id);
        put_u32(b, d->needs[i].min);
        put_u32(b, d->needs[i].optional);
    }
    put_u32(b, steps_of(&g->life));
    put_u32(b, g->life.state_version);
}

static const char *take_cstr(struct frame *f, arena *a)
{
    sl_str s = get_str(f);
    return s.p ? arena_cstr(a, s) : NULL;
}

static uint32_t take_count(struct frame *f)
{
    uint32_t n = get_u32(f);
    if (n > ROWS_MAX) f->bad = true;
    return f->bad ? 0 : n;
}

static void take_entries(struct frame *f, arena *a, sl_plugin *p)
{
    p->n_entries = take_count(f);
    sl_entry *e = arena_alloc(a, (p->n_entries + 1) * sizeof *e);
    p->entries = e;
    for (uint32_t i = 0; i < p->n_entries && !f->bad; i++, e++) {
        const char **const texts[] = { &e->name, &e->scope, &e->in,       &e->query,
                                       &e->out,  &e->doc,   &e->schedule, &e->problems };
        uint32_t kind = 0;
        uint32_t *const numbers[] = { &kind,        &e->flags,     &e->status, &e->deadline_ms, &e->max_inflight,
                                      &e->attempts, &e->backoff_ms };
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            *texts[k] = take_cstr(f, a);
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
            *numbers[k] = get_u32(f);
        e->kind = kind;
        e->run = elsewhere;
    }
}

static void take_tables(struct frame *f, arena *a, sl_plugin *p)
{
    p->n_metrics = take_count(f);
    sl_metric *m = arena_alloc(a, (p->n_metrics + 1) * sizeof *m);
    p->metrics = m;
    for (uint32_t i = 0; i < p->n_metrics && !f->bad; i++) {
        m[i].kind = get_u32(f);
        m[i].name = take_cstr(f, a);
        m[i].doc = take_cstr(f, a);
        m[i].labels = take_cstr(f, a);
    }
    p->n_needs = take_count(f);
    sl_need *n = arena_alloc(a, (p->n_needs + 1) * sizeof *n);
    p->needs = n;
    for (uint32_t i = 0; i < p->n_needs && !f->bad; i++) {
        n[i].id = take_cstr(f, a);
        n[i].min = get_u32(f);
        n[i].optional = get_u32(f);
    }
}

static void take_life(struct frame *f, arena *a, sl_plugin *p)
{
    sl_lifecycle *l = arena_alloc(a, sizeof *l);
    uint32_t has = get_u32(f);
    l->size = sizeof *l;
    l->state_version = get_u32(f);
    l->create = has & HAS_CREATE ? create_elsewhere : NULL;
    l->start = has & HAS_START ? elsewhere : NULL;
    l->stop = has & HAS_STOP ? elsewhere : NULL;
    l->destroy = has & HAS_DESTROY ? destroy_elsewhere : NULL;
    l->health = has & HAS_HEALTH ? elsewhere : NULL;
    l->save = has & HAS_SAVE ? elsewhere : NULL;
    l->load = has & HAS_LOAD ? elsewhere : NULL;
    p->lifecycle = l;
}

const sl_plugin *descriptor_take(struct frame *f, arena *a)
{
    sl_plugin *p = arena_alloc(a, sizeof *p);
    p->size = sizeof *p;
    p->major = SL_MAJOR;
    p->entry_size = sizeof(sl_entry);
    p->metric_size = sizeof(sl_metric);
    p->need_size = sizeof(sl_need);
    p->name = take_cstr(f, a);
    p->version = take_cstr(f, a);
    p->doc = take_cstr(f, a);
    p->config = take_cstr(f, a);
    p->grants = take_cstr(f, a);
    p->minor = get_u32(f);
    p->stack_kib = get_u32(f);
    take_entries(f, a, p);
    take_tables(f, a, p);
    take_life(f, a, p);
    return frame_done(f) ? p : NULL;
}
