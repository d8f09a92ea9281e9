/* tenants.c - what each tenant uses: its calls at once, its requests of the day over all replicas, and a rate of its
 * own. */
#include "http/limits.h"
#include "base/log.h"
#include <stdlib.h>

/* Tenants seen today, at most: beyond it new ones go uncounted rather than refused. */
enum { TENANTS_MAX = 1 << 14, SLOTS = 1 << 12 };
#define DAY_US (24LL * 3600 * 1000000)

static struct {
    struct tenant *slot[SLOTS];
    size_t n;
    uint32_t max_in_flight;
    uint64_t daily;
} tenants;

static int64_t today(void) { return clock_now() / DAY_US; }

static struct tenant **slot_of(sl_str name) { return &tenants.slot[str_hash(name) % SLOTS]; }

/* Frees all, or those of whom nothing is to be remembered. */
static void prune(bool all)
{
    int64_t day = today();
    for (size_t i = 0; i < SLOTS; i++)
        for (struct tenant **at = &tenants.slot[i], *t; (t = *at);) {
            bool idle = !t->own && !t->storing && !t->in_flight && (t->day != day || !(t->pending || t->known));
            if (!idle && !all) {
                at = &t->next;
                continue;
            }
            *at = t->next;
            tenants.n--;
            free(t);
        }
}

static struct tenant *find(sl_str name)
{
    struct tenant *t = *slot_of(name);
    while (t && !sl_is(name, t->name))
        t = t->next;
    return t;
}

static struct tenant *add(sl_str name)
{
    if (tenants.n >= TENANTS_MAX) prune(false);
    if (tenants.n >= TENANTS_MAX || name.n > TENANT_MAX) return NULL;
    struct tenant *t = calloc(1, sizeof *t);
    if (!t) abort();
    memcpy(t->name, name.p, name.n);
    t->day = today();
    t->next = *slot_of(name);
    *slot_of(name) = t;
    tenants.n++;
    return t;
}

struct tenant *tenant_get(sl_str name)
{
    struct tenant *t = find(name);
    if (!t && (tenants.max_in_flight || tenants.daily)) t = add(name);
    if (t && t->day != today()) {
        t->day = today();
        t->pending = t->known = 0;
    }
    return t;
}

void tenants_setup(const struct http_config *cfg)
{
    for (size_t i = 0; i < SLOTS; i++)
        for (struct tenant *t = tenants.slot[i]; t; t = t->next)
            t->own = false;
    tenants.max_in_flight = cfg->tenant_inflight;
    tenants.daily = cfg->tenant_daily;
    for (size_t i = 0; i < cfg->n_tenant_rates; i++) { /* "acme 500/s burst 1000" */
        sl_str rest = cfg->tenant_rates[i], name;
        if (!str_split(&rest, ' ', &name)) continue;
        struct tenant *t = find(name);
        if (!t) t = add(name);
        if (t) t->own = rate_parse(rest, &t->rate) == NULL;
    }
}

void tenants_close(void) { prune(true); }

/* ---- calls at once ---- */
bool tenant_enter(struct request *rq)
{
    if (!tenants.max_in_flight) return true;
    struct tenant *t = tenant_get(rq->identity.tenant);
    if (!t) return true;
    if (t->in_flight >= tenants.max_in_flight)
        return set_problem(rq, 429, "tenant_busy",
                           arena_printf(rq->x->arena, "This tenant has %u requests in work, which is its limit.",
                                        (unsigned)t->in_flight));
    t->in_flight++;
    rq->tenant = t;
    return true;
}

void tenant_leave(struct request *rq)
{
    if (rq->tenant) rq->tenant->in_flight--;
    rq->tenant = NULL;
}

/* ---- requests of the day ---- */
bool tenant_count(struct request *rq)
{
    struct tenant *t = tenants.daily ? tenant_get(rq->identity.tenant) : NULL;
    if (!t) return true;
    if (t->known + t->pending < tenants.daily) {
        t->pending++;
        return true;
    }
    rq->retry_after = (uint32_t)((DAY_US - clock_now() % DAY_US) / 1000000 + 1);
    return set_problem(rq, 429, "quota_exceeded",
                       arena_printf(rq->x->arena, "This tenant's %llu requests of the day are used up.",
                                    (unsigned long long)tenants.daily));
}

static sl_err flush_one(call *c, struct tenant *t)
{
    const sl_rows *rows;
    uint64_t pending = t->pending;
    int64_t day = t->day;
    const sl_value args[] = { sl_ctext(t->name), sl_int(day), sl_int((int64_t)pending) };
    sl_err e = store_query(c, &rows,
                           SL("insert into sl_tenant_usage (tenant, day, requests) values ($1, $2, $3)"
                              " on conflict (tenant, day) do update set requests = sl_tenant_usage.requests + $3"
                              " returning requests"),
                           args, 3);
    if (!e) e = store_commit(c);
    if (e) return e;
    if (t->day != day || rows->rows != 1) return SL_OK;
    t->known = (uint64_t)rows->cells[0].i;
    t->pending -= pending;
    return SL_OK;
}

void http_usage_flush(call *c)
{
    sl_err e = SL_OK;
    if (!tenants.daily) return;
    for (size_t i = 0; i < SLOTS && !e; i++)
        for (struct tenant *t = tenants.slot[i], *next; t && !e; t = next) {
            if (t->pending == 0 && t->in_flight == 0) {
                next = t->next;
                continue;
            }
            t->storing = true;
            e = flush_one(c, t);
            t->storing = false;
            next = t->next;
        }
    if (!e) return;
    store_rollback(c);
    log_warn("the tenants' use could not be stored; it is tried again", LOG_C("error", store_error(c)),
             LOG_I("code", e));
}

void tenants_write(const struct request *rq, buf *b)
{
    const struct tenant *t = find(rq->identity.tenant);
    buf_add_cstr(b, "{\"limit\":");
    if (tenants.max_in_flight)
        buf_add_int(b, tenants.max_in_flight);
    else
        buf_add_cstr(b, "null");
    json_field_int(b, "now", t ? (int64_t)t->in_flight : 0);
    buf_add_cstr(b, "},\"requests_of_the_day\":{\"limit\":");
    if (tenants.daily)
        buf_add_int(b, (int64_t)tenants.daily);
    else
        buf_add_cstr(b, "null");
    json_field_int(b, "used", t && tenants.daily && t->day == today() ? (int64_t)(t->known + t->pending) : 0);
    json_field_time(b, "resets_at", (today() + 1) * DAY_US);
    buf_add_char(b, '}');
}
