/* kinds.c - what this process can run: the table of kinds, swapped at once while runs in progress keep the old one. */
#include "base/log.h"
#include "jobs/engine.h"
#include <stdlib.h>

enum { KINDS_MAX = 8192 };

static const char *const outcome_names[OUTCOMES] = { "succeeded", "failed", "retried", "dead", "lost", "returned" };
const char *outcome_name(enum outcome o) { return outcome_names[o]; }

static struct slot **bucket(sl_str kind)
{
    return &engine.table[str_hash(kind) % (sizeof engine.table / sizeof *engine.table)];
}

struct slot *slot_find(sl_str kind)
{
    struct slot *s = *bucket(kind);
    while (s && !sl_same(s->name, kind))
        s = s->chain;
    return s;
}

static void slot_metrics(struct slot *s)
{
    metric *runs = metric_get(SL_COUNTER, "jobs_runs_total", "kind,outcome", "Attempts of jobs by how they ended.");
    metric *time = metric_get(SL_HISTOGRAM, "jobs_run_duration_seconds", "kind",
                              "Time from the start of an attempt to its end.");
    for (int o = 0; o < OUTCOMES && runs; o++)
        s->runs[o] = metric_series(runs, (sl_str[]){ s->name, sl_cstr(outcome_names[o]) }, 2);
    if (time) s->duration = metric_series(time, &s->name, 1);
}

/* Made when it is new; NULL: too many kinds. */
static struct slot *slot_of(sl_str kind)
{
    struct slot *s = slot_find(kind), **at = bucket(kind);
    if (s || engine.n_slots >= KINDS_MAX) return s;
    s = calloc(1, sizeof *s + kind.n + 1);
    if (!s) abort();
    char *name = (char *)(s + 1);
    memcpy(name, kind.p, kind.n);
    s->name = sl_lit(name, kind.n);
    s->chain = *at;
    *at = s;
    s->next = engine.slots;
    engine.slots = s;
    engine.n_slots++;
    slot_metrics(s);
    return s;
}

void kind_table_drop(struct kind_table *t)
{
    if (!t || --t->refs) return;
    arena_free(t->memory);
    free(t);
}

static const char *keep(struct kind_table *t, const char *s) { return s ? arena_copy(t->memory, sl_cstr(s)).p : NULL; }

/* A schedule that stays the same keeps its place; a new or changed one starts from now. */
static bool same_schedule(const struct job_kind *a, const struct job_kind *b)
{
    if (!a || !a->schedule || !b->schedule) return false;
    return strcmp(a->schedule, b->schedule) == 0;
}

static void slot_set(struct slot *s, const struct job_kind *from, struct kind_table *t)
{
    struct job_kind *def = arena_alloc(t->memory, sizeof *def);
    *def = *from;
    def->kind = s->name.p;
    def->module = keep(t, from->module ? from->module : "");
    def->schedule = keep(t, from->schedule);
    if (!same_schedule(s->def, def)) s->next_tick = 0;
    s->def = def;
    s->table = t;
}

void jobs_set_kinds(const struct job_kind *kinds, size_t n)
{
    static struct kind_table *current;
    struct kind_table *old = current, *t = calloc(1, sizeof *t);
    if (!t) abort();
    t->memory = arena_new(0);
    t->refs = 1;
    for (size_t i = 0; i < n; i++) {
        struct slot *s = slot_of(sl_cstr(kinds[i].kind));
        if (s)
            slot_set(s, &kinds[i], t);
        else
            log_error("too many job kinds", LOG_C("kind", kinds[i].kind), LOG_I("limit", KINDS_MAX));
    }
    for (struct slot *s = engine.slots; s; s = s->next)
        if (s->table != t) s->def = NULL, s->table = NULL, s->next_tick = 0;
    current = t;
    kind_table_drop(old);
    jobs_wake(NULL);
    if (engine.on && !engine.draining) ticker_kick(engine.schedules);
}

const struct job_kind *jobs_kind(sl_str kind)
{
    struct slot *s = slot_find(kind);
    return s ? s->def : NULL;
}

uint32_t jobs_attempts(sl_str kind)
{
    const struct job_kind *k = jobs_kind(kind);
    return k && k->attempts ? k->attempts : engine.cfg.attempts ? engine.cfg.attempts : ATTEMPTS_DEFAULT;
}

void jobs_each_kind(void (*visit)(const struct job_kind_stats *k, void *arg), void *arg)
{
    for (struct slot *s = engine.slots; s; s = s->next) {
        if (!s->def && !s->succeeded && !s->failed && !s->dead) continue;
        visit(&(struct job_kind_stats){ .kind = s->name.p,
                                        .module = s->def ? s->def->module : "",
                                        .schedule = s->def ? s->def->schedule : NULL,
                                        .claimed = s->claimed,
                                        .succeeded = s->succeeded,
                                        .failed = s->failed,
                                        .dead = s->dead,
                                        .next_tick = s->next_tick },
              arg);
    }
}
