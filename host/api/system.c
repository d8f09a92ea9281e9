/* system.c - the routes that show the server itself: health, readiness, metrics, status, version. */
#include "api/api.h"
#include "api/system_fields.h"
#include "base/clock.h"
#include "http/http.h"
#include "net/server.h"
#include "observe/metrics.h"
#include "rest/problem.h"
#include "store/store.h"

enum { BODY_MAX = 8 << 20, NAMES_MAX = 8192 };
static const struct config *config;
static enum system_state state;
static int64_t started_at;

void system_setup(const struct config *cfg)
{
    config = cfg;
    started_at = clock_now();
    state = SYSTEM_STARTING;
    system_metrics_setup();
}

void system_reconfigured(const struct config *cfg) { config = cfg; }
bool system_serving(void) { return state == SYSTEM_READY; }

void system_state_set(enum system_state s) { state = s; }

void system_close(void)
{
    system_metrics_close();
    system_checks_close();
}

static sl_err reply_buf(sl_call *c, int32_t status, sl_str type, buf *b)
{
    sl_err e = b->overflow ? SL_ETOOBIG : sl_reply(c, status, type, buf_str(b));
    buf_free(b);
    return e;
}

/* ---- health ---- */
static sl_err livez(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_json(c, 200, SL("{\"status\":\"ok\"}"));
}

static void add_checks(buf *b, const struct check *list, size_t n)
{
    json_add_name(b, "checks");
    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_add_char(b, ',');
        buf_add_char(b, '{');
        json_field_str(b, "name", sl_cstr(list[i].name));
        json_field_bool(b, "ready", list[i].ready);
        json_field_bool(b, "required", list[i].vital);
        json_field_int(b, "ms", list[i].ms);
        if (list[i].isolated) {
            json_field_str(b, "isolation", SL("process"));
            json_field_int(b, "restarts", list[i].restarts);
            json_field_bool(b, "quarantined", list[i].quarantined);
        }
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

/* Names of what is not ready; the reasons are for /system/status and the log, which are not public. */
static bool all_ready(const struct check *list, size_t n, bool vital_only, buf *failing)
{
    for (size_t i = 0; i < n; i++)
        if (!list[i].ready && (list[i].vital || !vital_only))
            buf_printf(failing, "%s%s", failing->n ? ", " : "", list[i].name);
    return failing->n == 0;
}

static sl_err answer_health(sl_call *c, bool vital_only, const char *good, const char *bad)
{
    size_t n = 0;
    buf failing, body;
    bool verbose = sl_given(sl_param(c, "verbose"));
    const struct check *list = state == SYSTEM_READY ? system_checks((call *)c, &n) : NULL;
    buf_init(&failing, NAMES_MAX);
    all_ready(list, n, vital_only, &failing);
    if (state != SYSTEM_READY)
        buf_add_cstr(&failing, state == SYSTEM_STOPPING ? "the server is stopping" : "the server is starting");
    sl_str names = arena_copy(((call *)c)->arena, buf_str(&failing));
    buf_free(&failing);
    sl_str detail = sl_format(c, "Not ready: %s.", names.p);
    if (names.n && !verbose) return sl_problem(c, 503, bad, detail.p);
    buf_init(&body, BODY_MAX);
    if (names.n) { /* a problem with one member more */
        problem_write(&body, 503, sl_cstr(bad), detail, sl_fact(c, "route"), sl_fact(c, "trace_id"), sl_lit(NULL, 0));
        body.n--;
    } else {
        buf_add_char(&body, '{');
        json_field_str(&body, "status", sl_cstr(good));
    }
    if (verbose) add_checks(&body, list, n);
    buf_add_char(&body, '}');
    return reply_buf(c, names.n ? 503 : 200, names.n ? SL("application/problem+json") : SL("application/json"), &body);
}

static sl_err readyz(void *self, sl_call *c)
{
    (void)self;
    return answer_health(c, true, "ready", "not_ready");
}

static sl_err healthz(void *self, sl_call *c)
{
    (void)self;
    return answer_health(c, false, "ok", "degraded");
}

/* ---- metrics ---- */
static sl_err metrics(void *self, sl_call *c)
{
    buf b;
    (void)self;
    sl_str accept = sl_req_header(c, "accept");
    bool openmetrics = accept.n && memmem(accept.p, accept.n, "application/openmetrics-text", 28);
    buf_init(&b, BODY_MAX);
    metrics_write(&b, openmetrics);
    return reply_buf(c, 200,
                     openmetrics ? SL("application/openmetrics-text; version=1.0.0; charset=utf-8")
                                 : SL("text/plain; version=0.0.4; charset=utf-8"),
                     &b);
}

/* ---- status ---- */
static void add_ms(buf *b, const char *name, int64_t us)
{
    json_add_name(b, name);
    buf_printf(b, "%.3f", (double)us / 1000);
}

static void add_strings(buf *b, const char *name, const sl_str *list, size_t n)
{
    json_add_name(b, name);
    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_add_char(b, ',');
        json_add_string(b, list[i]);
    }
    buf_add_char(b, ']');
}

static void add_needs(buf *b, const struct module *m)
{
    sl_str names[64];
    size_t n = 0;
    while (n < 64 && m->needs[n])
        names[n] = sl_cstr(m->needs[n]), n++;
    add_strings(b, "needs", names, n);
}

static const struct check *check_of(const struct check *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return &list[i];
    return NULL;
}

static void add_process(buf *b, const struct module *m)
{
    struct module_process p;
    json_field_str(b, "isolation", module_isolated(m) ? SL("process") : SL("none"));
    if (!module_process(m, &p)) return;
    if (p.pid)
        json_field_int(b, "pid", p.pid);
    else
        json_field_raw(b, "pid", SL("null")); /* a script's kill 0 would be for its own group */
    json_field_int(b, "resident_bytes", (int64_t)p.resident);
    json_field_int(b, "restarts", m->restarts);
    json_field_bool(b, "quarantined", p.quarantined);
    json_field_str(b, "last_crash", p.last_crash[0] ? sl_cstr(p.last_crash) : sl_lit(NULL, 0));
    json_field_time(b, "crashed_at", p.crashed_at);
}

static void add_module(buf *b, const struct module *m, const struct check *k)
{
    const char *error = m->error[0] ? m->error : k && !k->ready ? k->why : "";
    buf_add_char(b, '{');
    json_field_str(b, "name", sl_cstr(m->name));
    json_field_str(b, "version", sl_cstr(m->version));
    json_field_str(b, "doc", sl_cstr(m->doc));
    json_field_str(b, "status", sl_cstr(module_status_name(m->status)));
    json_field_bool(b, "ready", k ? k->ready : m->status == MODULE_STARTED);
    json_field_str(b, "error", *error ? sl_cstr(error) : sl_lit(NULL, 0));
    add_needs(b, m);
    json_field_str(b, "grants", sl_cstr(m->grants));
    json_field_bool(b, "required", m->required);
    json_field_bool(b, "builtin", m->linked != NULL);
    json_field_time(b, "started_at", m->started_at);
    json_field_time(b, "stopped_at", m->stopped_at);
    add_ms(b, "start_ms", m->start_us);
    add_ms(b, "stop_ms", m->stop_us);
    json_field_bool(b, "slow_start", config->slow_module_ms && m->start_us / 1000 > config->slow_module_ms);
    json_field_int(b, "generation", m->current ? m->current->number : 0);
    json_field_int(b, "parked", m->parked);
    json_field_int(b, "calls", (int64_t)m->calls);
    json_field_int(b, "errors", (int64_t)m->errors);
    json_field_int(b, "slow_calls", (int64_t)m->slow);
    add_process(b, m);
    buf_add_char(b, '}');
}

static void add_server(buf *b, bool ok)
{
    sl_str addresses[16];
    size_t n = server_addresses(addresses, sizeof addresses / sizeof *addresses);
    json_field_str(b, "status", sl_cstr(state == SYSTEM_STOPPING ? "stopping" : ok ? "ok" : "degraded"));
    json_field_str(b, "version", SL(SL_VERSION));
    json_field_time(b, "started_at", started_at);
    json_field_int(b, "uptime_seconds", (clock_now() - started_at) / 1000000);
    add_strings(b, "listen", addresses, n);
    json_field_str(b, "store", sl_cstr(store_engine_name()));
    json_field_bool(b, "durable", store_durable());
    json_field_int(b, "calls", (int64_t)call_count());
}

static sl_err status(void *self, sl_call *c)
{
    size_t n = 0;
    buf b, failing;
    (void)self;
    const struct check *list = system_checks((call *)c, &n);
    buf_init(&b, BODY_MAX);
    buf_init(&failing, NAMES_MAX);
    buf_add_char(&b, '{');
    add_server(&b, all_ready(list, n, false, &failing));
    buf_free(&failing);
    json_add_name(&b, "modules");
    buf_add_char(&b, '[');
    for (const struct module *m = modules_first(); m; m = m->next) {
        if (m != modules_first()) buf_add_char(&b, ',');
        add_module(&b, m, check_of(list, n, m->name));
    }
    buf_add_cstr(&b, "]}");
    return reply_buf(c, 200, SL("application/json"), &b);
}

static sl_err limits(void *self, sl_call *c)
{
    buf b;
    (void)self;
    buf_init(&b, BODY_MAX);
    sl_err e = http_limits_write((call *)c, &b);
    if (!e) return reply_buf(c, 200, SL("application/json"), &b);
    buf_free(&b);
    return e;
}

static sl_err version(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_json(c, 200,
                         sl_format(c, "{\"name\":\"service-layer\",\"version\":\"%s\",\"contract\":\"%u.%u\"}",
                                   SL_VERSION, SL_MAJOR, SL_MINOR));
}

/* ---- the descriptors ---- */
#define VERBOSE SL_OBJECT(SL_OPTIONAL("verbose", SL_STRING(0, 8), "Present: list every check."))
static const sl_entry entries[] = {
    { SL_ROUTE, "GET /livez", livez, .out = LIVENESS, .doc = "The process answers." },
    { SL_ROUTE, "GET /readyz", readyz, .query = VERBOSE, .out = HEALTH, .problems = "503 not_ready",
      .doc = "200 when requests may be sent here: the store and all required modules work." },
    { SL_ROUTE, "GET /healthz", healthz, .query = VERBOSE, .out = HEALTH, .problems = "503 degraded",
      .doc = "200 when every module works; 503 names those that do not." },
    { SL_ROUTE, "GET /metrics", metrics, .scope = "metrics",
      .out = SL_CONTENT("text/plain, application/openmetrics-text"), .doc = "Prometheus text format." },
    { SL_ROUTE, "GET /system/status", status, .scope = "system:read", .out = STATUS,
      .doc = "Modules, their state and their timings." },
    { SL_ROUTE, "GET /system/limits", limits, .scope = "system:read", .out = LIMITS,
      .doc = "What applies to the caller: rates and what is left of them, calls at once, the tenant's day, sizes." },
    { SL_ROUTE, "GET /system/version", version, .out = VERSION,
      .doc = "Version of the server and of the plugin contract." },
};
SL_LINKED_PLUGIN(system_plugin, "system", .doc = "Health, metrics and status of the server.", SL_ENTRIES(entries));

static sl_err store_health(void *self, sl_call *pub)
{
    call *c = (call *)pub;
    (void)self;
    if (store_ping(c) == SL_OK) return SL_OK;
    return sl_problem(pub, 503, "store_unavailable", *store_error(c) ? store_error(c) : "The store does not answer.");
}
static const sl_lifecycle store_life = { .size = sizeof store_life, .health = store_health };
SL_LINKED_PLUGIN(store_plugin, "store", .doc = "Where everything is kept.", .lifecycle = &store_life);
