/* limits.c - how often one caller may come: by token, by address when there is none that is valid, and by tenant. */
#include "http/limits.h"
#include "observe/metrics.h"
#include "store/store.h"

enum { BY_TOKEN, BY_ADDRESS, BY_TENANT, POLICIES, POLICY_ROOM = 48 };
enum { BUCKETS = 1 << 16 };
static const char *const names[POLICIES] = { "token", "address", "tenant" };
static struct rate rates[POLICIES];
static rate_table *buckets;
static metric *limited_total;

static void read_rate(sl_str text, struct rate *out)
{
    if (rate_parse(text, out)) *out = (struct rate){ 0 }; /* not from the configuration, which is checked */
}

void limits_setup(const struct http_config *cfg)
{
    if (!buckets) buckets = rate_table_new(BUCKETS); /* what callers have used stays when the settings change */
    read_rate(cfg->token_rate, &rates[BY_TOKEN]);
    read_rate(cfg->address_rate, &rates[BY_ADDRESS]);
    read_rate(cfg->tenant_rate, &rates[BY_TENANT]);
    tenants_setup(cfg);
    limited_total = metric_get(SL_COUNTER, "http_limited_total", "limit", "Requests refused by a limit of the caller.");
}

void limits_close(void)
{
    tenants_close();
    rate_table_free(buckets);
    buckets = NULL;
    memset(rates, 0, sizeof rates);
}

static bool anonymous(const struct request *rq) { return rq->identity.kind == IDENTITY_ANONYMOUS; }

/* Whose bucket it is, and how large; burst 0: this policy does not apply to the caller. */
static struct rate policy_of(const struct request *rq, unsigned policy, sl_str *key)
{
    static const struct rate none;
    const struct tenant *t;
    *key = policy == BY_TOKEN ? rq->identity.actor : policy == BY_ADDRESS ? rq->x->remote : rq->identity.tenant;
    if (anonymous(rq) != (policy == BY_ADDRESS)) return none;
    if (policy == BY_TENANT && (t = tenant_get(*key)) && t->own) return t->rate;
    return rates[policy];
}

static char *put(char *p, const char *text)
{
    size_t n = strlen(text);
    memcpy(p, text, n);
    return p + n;
}

static char *put_number(char *p, uint32_t v)
{
    char digits[10];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n)
        *p++ = digits[--n];
    return p;
}

/* "token";q=100;w=2 behind what stands there already; printf would be the dearest part of a small request. */
static void add_policy(struct request *rq, sl_str *text, unsigned policy, const char *name1, uint32_t v1,
                       const char *name2, uint32_t v2)
{
    char *start = (char *)(uintptr_t)text->p, *p = start;
    if (!start) p = start = arena_alloc(rq->x->arena, POLICIES * POLICY_ROOM);
    if (text->n) p = put(p + text->n, ", ");
    *p++ = '"';
    p = put(p, names[policy]);
    *p++ = '"';
    p = put_number(put(p, name1), v1);
    p = put_number(put(p, name2), v2);
    *text = sl_lit(start, (size_t)(p - start));
}

/* RateLimit-Policy and RateLimit of draft-ietf-httpapi-ratelimit-headers-10: q requests in w seconds, r of them left, t
 * seconds until all are there again. */
static void show(struct request *rq, unsigned policy, const struct rate *r, const struct rate_state *s)
{
    uint32_t window = (uint32_t)((r->interval * r->burst + 999999999) / 1000000000);
    add_policy(rq, &rq->limit_rule, policy, ";q=", r->burst, ";w=", window);
    add_policy(rq, &rq->limit_left, policy, ";r=", s->remaining, ";t=", s->reset);
}

static bool refuse(struct request *rq, unsigned policy, const struct rate *r, const struct rate_state *s)
{
    sl_str label = sl_cstr(names[policy]);
    metric_add(limited_total, 1, &label, 1);
    rq->retry_after = s->retry;
    return set_problem(rq, 429, "rate_limited",
                       arena_printf(rq->x->arena,
                                    "The limit of this %s, %u requests at once and %.4g a second, is used up.",
                                    names[policy], r->burst, 1e9 / (double)r->interval));
}

/* A refusal costs nothing of the other limits. */
static bool rates_take(struct request *rq)
{
    struct rate rate[POLICIES];
    struct rate_state state[POLICIES];
    sl_str key[POLICIES];
    int64_t now = (int64_t)loop_now() * 1000000; /* the same clock, read once a turn */
    for (unsigned i = 0; i < POLICIES; i++) {
        rate[i] = policy_of(rq, i, &key[i]);
        if (!rate[i].burst || rate_take(buckets, &rate[i], i, key[i], now, true, &state[i])) continue;
        for (unsigned before = 0; before < i; before++)
            if (rate[before].burst) rate_give_back(buckets, &rate[before], before, key[before]);
        show(rq, i, &rate[i], &state[i]);
        return refuse(rq, i, &rate[i], &state[i]);
    }
    for (unsigned i = 0; i < POLICIES; i++)
        if (rate[i].burst) show(rq, i, &rate[i], &state[i]);
    return true;
}

bool limits_may_ask(struct request *rq)
{
    struct rate_state state;
    struct rate *r = &rates[BY_ADDRESS];
    if (!r->burst || rate_take(buckets, r, BY_ADDRESS, rq->x->remote, clock_monotonic(), false, &state)) return true;
    show(rq, BY_ADDRESS, r, &state);
    return refuse(rq, BY_ADDRESS, r, &state);
}

static bool refused_by_quota(void)
{
    sl_str label = SL("tenant_quota");
    metric_add(limited_total, 1, &label, 1);
    return false;
}

bool limits_take(struct request *rq, bool authorized)
{
    if (rq->limited) return authorized; /* the router changed while the request came in: it was counted */
    rq->limited = true;
    if (!authorized) { /* its refusal stands, unless the caller has been refused too often */
        int status = rq->status;
        sl_str code = rq->code, detail = rq->detail;
        size_t n_headers = rq->n_headers;
        rq->n_headers = 0;
        if (!rates_take(rq)) return false;
        rq->n_headers = n_headers;
        rq->status = status;
        rq->code = code;
        rq->detail = detail;
        return false;
    }
    return rates_take(rq) && (anonymous(rq) || tenant_count(rq) || refused_by_quota());
}

void limits_headers(struct request *rq)
{
    if (!sl_given(rq->limit_rule)) return;
    answer_header(rq, SL("RateLimit-Policy"), rq->limit_rule);
    answer_header(rq, SL("RateLimit"), rq->limit_left);
}

/* ---- what applies to the caller ---- */
static void write_policy(struct request *rq, unsigned policy, buf *b, bool *first)
{
    struct rate_state s;
    sl_str key;
    struct rate r = policy_of(rq, policy, &key);
    if (!r.burst) return;
    rate_take(buckets, &r, policy, key, clock_monotonic(), false, &s);
    buf_add_cstr(b, *first ? "{" : ",{");
    *first = false;
    json_field_str(b, "limit", sl_cstr(names[policy]));
    json_field_int(b, "burst", r.burst);
    json_add_name(b, "per_second");
    buf_printf(b, "%.6g", 1e9 / (double)r.interval);
    json_field_int(b, "remaining", s.remaining);
    json_field_int(b, "reset_seconds", s.reset);
    buf_add_char(b, '}');
}

sl_err http_limits_write(call *c, buf *b)
{
    struct request *rq = request_of(c);
    bool first = true;
    if (!rq) return SL_ESTATE;
    buf_add_char(b, '{');
    json_field_str(b, "actor", rq->identity.actor);
    json_field_str(b, "tenant", rq->identity.tenant);
    json_add_name(b, "rates");
    buf_add_char(b, '[');
    for (unsigned i = 0; i < POLICIES; i++)
        write_policy(rq, i, b, &first);
    buf_add_cstr(b, "],\"requests_at_once\":");
    tenants_write(rq, b);
    json_field_int(b, "max_body_bytes", (int64_t)http_cfg.max_body);
    json_field_int(b, "page_max", (int64_t)http_cfg.page_max);
    json_field_int(b, "deadline_ms", http_cfg.deadline_ms);
    json_field_int(b, "server_requests_at_once", (int64_t)http_cfg.max_inflight);
    buf_add_char(b, '}');
    return b->overflow ? SL_ETOOBIG : SL_OK;
}
