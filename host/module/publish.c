/* publish.c - tells jobs, bus and router what the started modules offer, each time that this changes. */
#include "module/private.h"
#include "bus/bus.h"
#include "jobs/jobs.h"

static uint64_t revision;
static arena *published; /* the strings of what was published last */
static const struct subscription *published_topics;
static size_t n_published;

uint64_t modules_revision(void) { return revision; }

static size_t count(void)
{
    size_t n = 0;
    for (struct module *m = modules_first(); m; m = m->next)
        n += m->current ? m->current->n_entries : 0;
    return n;
}

static void add_kind(arena *a, struct job_kind *k, struct entry *e)
{
    const sl_entry *s = &e->spec;
    const char *module = arena_cstr(a, sl_cstr(e->generation->module->name));
    *k = (struct job_kind){ .module = module,
                            .deadline_ms = s->deadline_ms,
                            .attempts = s->attempts,
                            .entry = e,
                            .backoff_ms = s->backoff_ms,
                            .max_inflight = s->max_inflight,
                            .stack_kib = e->generation->stack_kib };
    if (s->kind == SL_JOB)
        k->kind = arena_cstr(a, sl_cstr(s->name));
    else if (s->kind == SL_EVENT)
        k->kind = arena_printf(a, "event:%s/%s", module, s->name).p;
    else {
        k->kind = arena_printf(a, "schedule:%s/%s", module, s->name).p;
        k->schedule = arena_cstr(a, sl_cstr(s->schedule));
    }
}

/* Subscriptions are told to the store, which a reload that changes none of them can spare. */
static bool same_topics(const struct subscription *topics, size_t n)
{
    if (!published || n != n_published) return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(topics[i].topic, published_topics[i].topic) != 0 ||
            strcmp(topics[i].module, published_topics[i].module) != 0)
            return false;
    return true;
}

sl_err modules_publish(call *c)
{
    arena *a = arena_new(0);
    size_t room = count() + 1, n_kinds = 0, n_topics = 0;
    struct job_kind *kinds = arena_alloc(a, room * sizeof *kinds);
    struct subscription *topics = arena_alloc(a, room * sizeof *topics);
    for (struct module *m = modules_first(); m; m = m->next) {
        if (m->status != MODULE_STARTED) continue;
        for (size_t i = 0; i < m->current->n_entries; i++) {
            struct entry *e = &m->current->entries[i];
            if (e->spec.kind != SL_JOB && e->spec.kind != SL_EVENT && e->spec.kind != SL_SCHEDULE) continue;
            add_kind(a, &kinds[n_kinds], e);
            if (e->spec.kind == SL_EVENT)
                topics[n_topics++] = (struct subscription){ arena_cstr(a, sl_cstr(e->spec.name)),
                                                            kinds[n_kinds].module };
            n_kinds++;
        }
    }
    /* All at once, before anything may wait: the same generation gets jobs, events and requests. */
    bool same = same_topics(topics, n_topics);
    jobs_set_kinds(kinds, n_kinds);
    arena_free(published);
    published = a;
    published_topics = topics;
    n_published = n_topics;
    revision++;
    if (module_hooks->rebuilt) module_hooks->rebuilt();
    return same ? SL_OK : bus_set_subscriptions(c, topics, n_topics);
}

void publish_close(void)
{
    arena_free(published);
    published = NULL;
}
