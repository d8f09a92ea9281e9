/* checks.c - readiness: asks every module for its health, at most once a second whoever asks. */
#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include <stdlib.h>

enum { FRESH_MS = 1000 };
static struct {
    struct check *list;
    size_t n;
    int64_t made; /* clock_monotonic(); 0 = never */
    bool under_way;
} checks;

static bool was_ready(const char *name)
{
    for (size_t i = 0; i < checks.n; i++)
        if (strcmp(checks.list[i].name, name) == 0) return checks.list[i].ready;
    return true;
}

static void check_module(call *c, struct module *m, struct check *k)
{
    struct module_process p;
    int64_t began = clock_monotonic();
    memset(k, 0, sizeof *k);
    memcpy(k->name, m->name, sizeof k->name);
    k->vital = m->required;
    k->isolated = module_process(m, &p);
    k->quarantined = k->isolated && p.quarantined;
    k->restarts = m->restarts;
    k->ready = module_health(c, m, k->why, sizeof k->why) == SL_OK;
    k->ms = (uint32_t)((clock_monotonic() - began) / 1000000);
    if (!k->ready && was_ready(k->name))
        log_warn("module is not ready", LOG_C("module", k->name), LOG_C("why", k->why));
    if (k->ready && !was_ready(k->name)) log_info("module is ready again", LOG_C("module", k->name));
}

static void run_checks(call *c)
{
    size_t room = 0, n = 0;
    for (struct module *m = modules_first(); m; m = m->next)
        room++;
    struct check *found = calloc(room + 1, sizeof *found);
    if (!found) abort();
    for (struct module *m = modules_first(); m && n < room; m = m->next)
        if (m->enabled) check_module(c, m, &found[n++]);
    free(checks.list);
    checks.list = found;
    checks.n = n;
    checks.made = clock_monotonic();
}

const struct check *system_checks(call *c, size_t *n)
{
    bool fresh = checks.made && clock_monotonic() - checks.made < (int64_t)FRESH_MS * 1000000;
    if (!fresh && !checks.under_way) {
        checks.under_way = true;
        run_checks(c);
        checks.under_way = false;
    }
    *n = checks.n;
    return checks.list;
}

void system_checks_close(void)
{
    free(checks.list);
    checks.list = NULL;
    checks.n = 0;
    checks.made = 0;
}
