/* first.c - a plugin as it was written against the first release: nothing but that abi.h, every table, every kind of
 * row and every step of the lifecycle. tests/contract/test_first.py builds and runs it; only its own bugs are mended.
 */
#include "abi.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct first {
    int64_t started, count;
};

static sl_str text(const char *p)
{
    sl_str s = { p, strlen(p) };
    return s;
}

static sl_value of(sl_str s)
{
    sl_value v = { .type = SL_TEXT, .s = s };
    return v;
}

static long long number(sl_str s) /* no NUL follows a string's last byte */
{
    char digits[24] = { 0 };
    memcpy(digits, s.p, s.n < sizeof digits ? s.n : sizeof digits - 1);
    return atoll(digits);
}

static sl_err answer(sl_call *c, int32_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));
static sl_err answer(sl_call *c, int32_t status, const char *format, ...)
{
    char *p = c->host->core->alloc(c, 1024);
    va_list ap;
    va_start(ap, format);
    vsnprintf(p, 1024, format, ap);
    va_end(ap);
    return c->host->core->reply(c, status, text("application/json"), text(p));
}

/* ---- routes ---- */
static sl_err show(void *self, sl_call *c)
{
    const struct first *f = self;
    const sl_core *k = c->host->core;
    sl_str path = k->input(c, SL_IN_PATH, text("word")), query = k->input(c, SL_IN_QUERY, text("n"));
    sl_str config = k->input(c, SL_IN_CONFIG, text("greeting")), id = k->new_id(c);
    sl_str method = k->input(c, SL_IN_FACT, text("method")), header = k->input(c, SL_IN_HEADER, text("x-first"));
    sl_str inner = k->json(c, text("{\"a\":[1,{\"b\":\"deep\"}]}"), text("/a/1/b"));
    unsigned char noise[16] = { 0 };
    k->random(noise, sizeof noise);
    sl_err slept = k->sleep(c, 1);
    sl_pair field = { text("word"), path };
    k->log(c, SL_INFO, text("first says hello"), &field, 1);
    sl_err named = k->header(c, text("X-First"), text("yes"));
    sl_str label = text("show");
    c->host->metrics->add(c, 0, 2, &label, 1);
    c->host->metrics->set(c, 1, 7, NULL, 0);
    return answer(c, 200,
                  "{\"path\":\"%.*s\",\"query\":\"%.*s\",\"config\":\"%.*s\",\"id\":%zu,\"method\":\"%.*s\",\"header\":"
                  "\"%.*s\",\"json\":\"%.*s\",\"slept\":%d,\"named\":%d,\"clock\":%d,\"count\":%lld,\"started\":%lld,"
                  "\"generation\":%u}",
                  (int)path.n, path.p, (int)query.n, query.p, (int)config.n, config.p, id.n, (int)method.n, method.p,
                  (int)header.n, header.p, (int)inner.n, inner.p, slept, named,
                  k->now() > 1600000000000000 && k->monotonic() > 0, (long long)f->count, (long long)f->started,
                  c->host->generation);
}

static void twice(void *arg) { *(int *)arg *= 2; }

static sl_err crypt_round(sl_call *c, int *good)
{
    const sl_crypto *k = c->host->crypto;
    sl_str blob, again, plain;
    sl_err e = k->seal(c, text("aad"), text("a secret"), &blob);
    if (!e) e = k->rewrap(c, text("aad"), blob, &again);
    if (!e) e = k->unseal(c, text("aad"), again, &plain);
    *good = !e && plain.n == 8 && memcmp(plain.p, "a secret", 8) == 0 && k->key_id(c, blob).n > 0;
    return e;
}

static sl_err around(void *self, sl_call *c)
{
    sl_request request = { .size = sizeof request, .method = text("GET"), .url = text("no url") };
    const sl_response *response;
    const sl_msg *msg;
    int n = 21, good = 0;
    (void)self;
    sl_err fetched = c->host->http->fetch(c, &request, &response);
    sl_err asked = c->host->bus->ask(c, text("first.double"), text("{\"n\":4}"), 0, &msg);
    sl_err offloaded = c->host->core->offload(c, twice, &n), sealed = crypt_round(c, &good);
    return answer(c, 200, "{\"fetch\":%d,\"ask\":%d,\"said\":%.*s,\"offload\":%d,\"n\":%d,\"seal\":%d,\"same\":%d}",
                  fetched, asked, asked ? 4 : (int)msg->body.n, asked ? "null" : msg->body.p, offloaded, n, sealed,
                  good);
}

static sl_err add_row(sl_call *c, sl_str name, const char *what, const sl_rows **rows)
{
    sl_value args[] = { of(c->host->core->new_id(c)), of(name), of(text(what)) };
    return c->host->store->query(
        c, rows, text("insert into first_rows (id, name, what) values ($1, $2, $3) returning *"), args, 3);
}

static sl_err create(void *self, sl_call *c)
{
    struct first *f = self;
    const sl_rows *rows;
    sl_str name = c->host->core->input(c, SL_IN_BODY, text("name")),
           body = c->host->core->input(c, SL_IN_BODY, text(""));
    sl_job job = { .size = sizeof job, .kind = text("first.work"), .key = name, .json = body };
    sl_err e = c->host->store->lock(c, text("first"));
    if (!e) e = add_row(c, name, "posted", &rows);
    if (!e) e = c->host->bus->publish(c, text("first.made"), name, body);
    if (!e) e = c->host->jobs->enqueue(c, &job);
    f->count++;
    return e ? e : c->host->core->reply_row(c, 201, rows);
}

static sl_err list(void *self, sl_call *c)
{
    sl_value arg = of(text("x"));
    (void)self;
    return c->host->store->reply_list(c, text("select * from first_rows where what <> $1 {{page}}"), &arg, 1);
}

static sl_err stream(void *self, sl_call *c)
{
    (void)self;
    sl_err e = c->host->core->reply(c, 200, text("text/plain"), text("one "));
    return e ? e : c->host->core->write(c, text("two"));
}

static sl_err fail(void *self, sl_call *c)
{
    (void)self;
    return c->host->core->problem(c, 409, text("first_said_no"), text("As asked for."));
}

/* ---- what is not a route ---- */
static sl_err note(sl_call *c, const char *what)
{
    const sl_rows *rows;
    sl_str name = c->host->core->input(c, SL_IN_BODY, text("name"));
    char *p = c->host->core->alloc(c, 256);
    snprintf(p, 256, "%s by %s", name.p && name.n < 100 ? name.p : "nothing", what);
    sl_value args[] = { of(c->host->core->new_id(c)), of(text(p)), of(text(what)) };
    return c->host->store->query(
        c, &rows, text("insert into first_rows (id, name, what) values ($1, $2, $3) on conflict do nothing"), args, 3);
}

static sl_err on_made(void *self, sl_call *c)
{
    (void)self;
    return note(c, "event");
}

static sl_err work(void *self, sl_call *c) /* asks for another attempt once */
{
    sl_str attempt = c->host->core->input(c, SL_IN_FACT, text("attempt"));
    (void)self;
    if (attempt.n == 1 && *attempt.p == '1') return c->host->jobs->retry(c, 1, text("once more"));
    return note(c, "job");
}

static sl_err tick(void *self, sl_call *c)
{
    (void)self;
    return note(c, "schedule");
}

static sl_err twofold(void *self, sl_call *c)
{
    sl_str n = c->host->core->input(c, SL_IN_BODY, text("n"));
    (void)self;
    return answer(c, 200, "%lld", 2 * number(n));
}

/* ---- lifecycle ---- */
static sl_err make(sl_call *c, void **self)
{
    (void)c;
    *self = calloc(1, sizeof(struct first));
    return *self ? SL_OK : SL_EINTERNAL;
}

static sl_err start(void *self, sl_call *c)
{
    ((struct first *)self)->started = 1;
    return c->host->core ? SL_OK : SL_EINTERNAL;
}

static sl_err stop(void *self, sl_call *c)
{
    c->host->core->log(c, SL_INFO, text("first stops"), NULL, 0);
    return ((struct first *)self)->started ? SL_OK : SL_EINTERNAL;
}

static sl_err health(void *self, sl_call *c)
{
    (void)c;
    return ((struct first *)self)->started ? SL_OK : SL_EUNAVAIL;
}

static sl_err save(void *self, sl_call *c) { return answer(c, 200, "%lld", (long long)((struct first *)self)->count); }

static sl_err load(void *self, sl_call *c)
{
    sl_str state = c->host->core->input(c, SL_IN_BODY, text(""));
    ((struct first *)self)->count = number(state);
    return SL_OK;
}

#define OBJECT(fields) "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{" fields "}}"
#define TEXT(name)     "\"" name "\":{\"type\":\"string\",\"maxLength\":100}"
static const sl_entry entries[] = {
    { .kind = SL_ROUTE,
      .name = "GET /first/show/{word}",
      .run = show,
      .scope = "first:read",
      .query = OBJECT("\"n\":{\"type\":\"integer\",\"default\":5}"),
      .doc = "Everything that comes in." },
    { .kind = SL_ROUTE, .name = "GET /first/around", .run = around, .doc = "Everything that goes out." },
    { .kind = SL_ROUTE,
      .name = "POST /first",
      .run = create,
      .scope = "first:write",
      .in = OBJECT(TEXT("name")),
      .out = OBJECT(TEXT("id") "," TEXT("name") "," TEXT("what")),
      .status = 201,
      .flags = SL_IDEMPOTENT },
    { .kind = SL_ROUTE,
      .name = "GET /first",
      .run = list,
      .out = OBJECT(TEXT("id") "," TEXT("name") "," TEXT("what")) },
    { .kind = SL_ROUTE, .name = "GET /first/stream", .run = stream, .flags = SL_STREAM },
    { .kind = SL_ROUTE, .name = "GET /first/fail", .run = fail, .flags = SL_SENSITIVE, .deadline_ms = 1000 },
    { .kind = SL_EVENT, .name = "first.*", .run = on_made, .attempts = 5, .backoff_ms = 10 },
    { .kind = SL_SCHEDULE, .name = "first.tick", .run = tick, .schedule = "@every 1s" },
    { .kind = SL_JOB, .name = "first.work", .run = work, .attempts = 5, .backoff_ms = 10, .max_inflight = 2 },
    { .kind = SL_COMPUTE, .name = "first.double", .run = twofold, .in = OBJECT("\"n\":{\"type\":\"integer\"}") },
};
static const sl_metric metrics[] = { { SL_COUNTER, "first_calls_total", "Calls.", "route" },
                                     { SL_GAUGE, "first_level", "A level.", NULL } };
static const sl_need needs[] = { { "sl.core", 1, 0 }, { "sl.store", 1, 0 },   { "sl.bus", 1, 0 },   { "sl.jobs", 1, 0 },
                                 { "sl.http", 1, 0 }, { "sl.metrics", 1, 0 }, { "sl.crypto", 1, 0 } };
static const sl_lifecycle lifecycle = { sizeof lifecycle, 1, make, start, stop, free, health, save, load };

const sl_plugin sl_plugin_v1 = {
    .size = sizeof(sl_plugin),
    .major = SL_MAJOR,
    .minor = SL_MINOR,
    .entry_size = sizeof(sl_entry),
    .metric_size = sizeof(sl_metric),
    .need_size = sizeof(sl_need),
    .n_entries = sizeof entries / sizeof *entries,
    .n_metrics = 2,
    .n_needs = 7,
    .name = "first",
    .version = "1.0.0",
    .doc = "Built against the first release.",
    .config = OBJECT("\"greeting\":{\"type\":\"string\",\"default\":\"hello\"}"),
    .grants = "store:first_* publish:first.* ask:first.* net:*",
    .entries = entries,
    .metrics = metrics,
    .needs = needs,
    .lifecycle = &lifecycle,
};
