/* http_unit.h - the HTTP floor between two doubles: exchanges that remember their answer, and modules that are plain
 * tables. */
#ifndef HTTP_UNIT_H
#define HTTP_UNIT_H
#include "http/request.h"
#include "rest/schema.h"
#include "unit.h"
#include <service_layer/fields.h>
#include <stdlib.h>

/* ---- modules: one, whose table each test brings ---- */
static struct module unit_module;
static struct generation unit_generation;
static uint64_t unit_revision = 1;
static int unit_pins;

const char *module_status_name(enum module_status s)
{
    return s == MODULE_STARTED ? "started" : s == MODULE_FAILED ? "failed" : "stopping";
}
struct module *modules_first(void) { return &unit_module; }
uint64_t modules_revision(void) { return unit_revision; }
void module_pin(struct entry *e) { unit_pins++, e->generation->calls++; }
void module_unpin(struct entry *e) { unit_pins--, e->generation->calls--; }
sl_err module_hold_wait(call *c, struct module *m) { return (void)c, (void)m, SL_OK; }
sl_err module_invoke(call *c, struct entry *e, sl_err (*before_commit)(call *c))
{
    if (e->generation->draining) return SL_EUNAVAIL;
    c->entry = e;
    c->generation = e->generation;
    sl_err failed = e->spec.run(NULL, &c->pub);
    if (!failed && before_commit) failed = before_commit(c);
    if (!failed) failed = store_commit(c);
    if (failed) store_rollback(c);
    return failed;
}

static json_t *unit_schema(const char *text)
{
    char why[300];
    json_t *v = text ? schema_read(sl_cstr(text), why, sizeof why) : NULL;
    if (text && !v) fail_msg("%s", why);
    return v;
}
static void unit_modules(const sl_entry *table, size_t n)
{
    memset(&unit_module, 0, sizeof unit_module);
    memset(&unit_generation, 0, sizeof unit_generation);
    strcpy(unit_module.name, "unit");
    unit_module.status = MODULE_STARTED;
    unit_module.current = &unit_generation;
    unit_generation = (struct generation){ .module = &unit_module, .n_entries = n, .handle = &unit_module };
    unit_generation.entries = calloc(n, sizeof(struct entry));
    for (size_t i = 0; i < n; i++)
        unit_generation.entries[i] = (struct entry){ .spec = table[i],
                                                     .generation = &unit_generation,
                                                     .in = unit_schema(table[i].in),
                                                     .query = unit_schema(table[i].query),
                                                     .out = unit_schema(table[i].out) };
    unit_revision++;
}
static void unit_modules_free(void)
{
    for (size_t i = 0; i < unit_generation.n_entries; i++) {
        json_decref(unit_generation.entries[i].in);
        json_decref(unit_generation.entries[i].query);
        json_decref(unit_generation.entries[i].out);
    }
    free(unit_generation.entries);
}

/* ---- exchanges ---- */
struct unit_answer {
    int status, ended;
    char headers[4096], body[65536];
    size_t body_n;
    bool done, gone;
};
struct unit_exchange {
    exchange x;
    sl_pair headers[16];
    struct unit_answer answer;
};

static bool unit_quiet; /* the cost of remembering is not to be measured */

static void unit_note(struct unit_answer *a, int status, const sl_pair *h, size_t n)
{
    size_t at = 0;
    a->status = status;
    a->headers[0] = 0;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(a->headers + at, sizeof a->headers - at, "%.*s: %.*s\n", STR_ARG(h[i].name),
                               STR_ARG(h[i].value));
}
static void unit_bytes(struct unit_answer *a, sl_str body)
{
    size_t n = body.n < sizeof a->body - a->body_n - 1 ? body.n : sizeof a->body - a->body_n - 1;
    if (n) memcpy(a->body + a->body_n, body.p, n);
    a->body[a->body_n += n] = 0;
}
void exchange_reply(exchange *x, int status, const sl_pair *headers, size_t n, sl_str body)
{
    struct unit_answer *a = &((struct unit_exchange *)x)->answer;
    a->done = true;
    if (unit_quiet) return;
    unit_note(a, status, headers, n);
    unit_bytes(a, body);
    a->ended++;
    arena_reset(x->arena); /* as the real one: nothing may be read afterwards */
}
void exchange_start(exchange *x, int status, const sl_pair *headers, size_t n)
{
    unit_note(&((struct unit_exchange *)x)->answer, status, headers, n);
}
size_t exchange_write(exchange *x, sl_str piece)
{
    unit_bytes(&((struct unit_exchange *)x)->answer, piece);
    return 0;
}
sl_err exchange_wait(exchange *x, call *c)
{
    (void)x;
    return call_check(c);
}
void exchange_end(exchange *x)
{
    ((struct unit_exchange *)x)->answer.done = true;
    ((struct unit_exchange *)x)->answer.ended++;
}
void exchange_abort(exchange *x)
{
    ((struct unit_exchange *)x)->answer.gone = true;
    exchange_end(x);
}

/* A request as the server hands it over; headers as "name: value" lines. */
static struct unit_exchange *unit_request(const char *method, const char *target, const char *headers, const char *body)
{
    struct unit_exchange *u = calloc(1, sizeof *u);
    arena *a = arena_new(0);
    sl_str all = arena_copy(a, sl_cstr(headers)), line, name;
    u->x = (exchange){ .arena = a,
                       .method = sl_cstr(method),
                       .target = arena_copy(a, sl_cstr(target)),
                       .body = sl_cstr(body ? body : ""),
                       .remote = SL("192.0.2.7"),
                       .scheme = SL("http"),
                       .host = SL("h"),
                       .started = (uint64_t)clock_monotonic(),
                       .max_body = 1 << 20 };
    u->x.path = u->x.query = u->x.target;
    str_split(&u->x.query, '?', &u->x.path);
    while (all.n && str_split(&all, '\n', &line)) {
        sl_str value = line;
        str_split(&value, ':', &name);
        u->headers[u->x.n_headers++] = (sl_pair){ name, str_trim(value) };
    }
    u->x.headers = u->headers;
    return u;
}
static void unit_free(struct unit_exchange *u)
{
    arena_free(u->x.arena);
    free(u);
}
static void unit_begin(struct unit_exchange *u)
{
    http_hooks()->on_head(&u->x);
    if (!u->answer.done) http_hooks()->on_request(&u->x);
}
static void unit_wait(struct unit_exchange *u)
{
    while (!u->answer.done)
        uv_run(loop_uv(), UV_RUN_ONCE);
}
/* The whole way; the caller frees. */
static struct unit_exchange *unit_ask(const char *method, const char *target, const char *headers, const char *body)
{
    struct unit_exchange *u = unit_request(method, target, headers, body);
    unit_begin(u);
    unit_wait(u);
    return u;
}
#define TOKEN "authorization: Bearer service-token\n"
#define ADMIN "authorization: Bearer admin-token\n"
#define JSON  "content-type: application/json\n"

static void assert_answer(struct unit_exchange *u, int status, const char *in_body, const char *in_headers)
{
    if (u->answer.status != status || (in_body && !strstr(u->answer.body, in_body)) ||
        (in_headers && !strstr(u->answer.headers, in_headers)))
        fail_msg("expected %d, `%s`, `%s`; got %d\n%s\n%s", status, in_body ? in_body : "",
                 in_headers ? in_headers : "", u->answer.status, u->answer.headers, u->answer.body);
    assert_int_equal(u->answer.ended, 1);
    unit_free(u);
}

/* ---- the floor, on a memory store ---- */
static struct http_config unit_config;
static const sl_str unit_api = { "service-token", 13 }, unit_admin = { "admin-token", 11 };
static bool unit_done;
static void (*unit_body)(call *c);

static void unit_open(call *c)
{
    char why[300];
    struct store_config cfg = { .max_rows = 1000, .max_bytes = 1 << 20, .dsn = SL("") };
    if (store_open(c, &cfg, why, sizeof why)) fprintf(stderr, "%s\n", why);
}
static void unit_run(call *c)
{
    unit_body(c);
    unit_done = true;
}
static void unit_call(void (*body)(call *c))
{
    unit_body = body;
    unit_done = false;
    assert_true(call_start(128, 0, NULL, NULL, unit_run));
    while (!unit_done)
        uv_run(loop_uv(), UV_RUN_ONCE);
}
static void unit_setup(const sl_entry *table, size_t n)
{
    log_setup(getenv("UNIT_LOG") ? SL_DEBUG : SL_ERROR + 1, LOG_AS_TEXT, 2);
    loop_setup(&(struct loop_config){ .max_calls = 1000 }, NULL);
    unit_config = (struct http_config){
        .identity = { .api_tokens = &unit_api, .n_api_tokens = 1, .admin_tokens = &unit_admin, .n_admin_tokens = 1 },
        .default_tenant = SL("default"),
        .max_body = 1 << 20,
        .page_default = 2,
        .page_max = 100,
        .deadline_ms = 5000,
        .max_inflight = 100,
        .idempotency_ms = 60000
    };
    unit_modules(table, n);
    http_setup(&unit_config);
    unit_call(unit_open);
}
static void unit_teardown(void)
{
    unit_call(store_close);
    assert_int_equal(unit_pins, 0);
    assert_int_equal(access_in_flight(), 0);
    assert_int_equal(call_count(), 0);
    http_close();
    unit_modules_free();
    loop_close();
}
#endif
