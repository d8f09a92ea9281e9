/* probe.c - a plugin that calls every function of the contract, so that tests can see over HTTP what each one does. */
#include "answers.h"
#include <stdlib.h>

struct probe {
    int started;
    char greeting[64];
};

/* ---- sl.core ---- */
static sl_err input(void *self, sl_call *c)
{
    static const char *const facts[] = { "tenant", "actor", "role",   "request_id", "trace_id",
                                         "method", "route", "remote", "job_id" };
    sl_json j = start(c);
    (void)self;
    sl_json_text(&j, "id", sl_path(c, "id"));
    sl_json_text(&j, "q", sl_param(c, "q"));
    sl_json_text(&j, "n", sl_param(c, "n"));
    sl_json_text(&j, "header", sl_req_header(c, "x-probe"));
    sl_json_text(&j, "greeting", sl_config(c, "greeting"));
    sl_json_raw(&j, "config", sl_config(c, ""));
    sl_json_text(&j, "unknown", c->host->core->input(c, 99, SL("x")));
    sl_json_open(&j, "facts", '{');
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        sl_json_text(&j, facts[i], sl_fact(c, facts[i]));
    sl_json_close(&j, '}');
    return finish(c, &j);
}

static sl_err body(void *self, sl_call *c)
{
    sl_json j = start(c);
    (void)self;
    sl_json_text(&j, "name", sl_body(c, "name"));
    sl_json_text(&j, "count", sl_body(c, "count"));
    sl_json_raw(&j, "tags", sl_body(c, "tags"));
    sl_json_text(&j, "colour", sl_body(c, "colour"));
    sl_json_raw(&j, "whole", sl_body(c, ""));
    return finish(c, &j);
}

static sl_err core(void *self, sl_call *c)
{
    const sl_core *k = c->host->core;
    struct probe *p = self;
    unsigned char a[16] = { 0 }, b[16] = { 0 };
    char *small = k->alloc(c, 100), *none = k->alloc(c, (size_t)1 << 40), *zero = k->alloc(c, 0);
    int zeroed = small != NULL;
    for (int i = 0; small && i < 100; i++)
        zeroed = zeroed && small[i] == 0;
    k->random(a, sizeof a);
    k->random(b, sizeof b);
    int64_t before = k->monotonic();
    sl_err slept = k->sleep(c, 20);
    int64_t ms = (k->monotonic() - before) / 1000000;
    sl_json j = start(c);
    sl_json_bool(&j, "zeroed", zeroed && ((uintptr_t)small & 15) == 0 && zero);
    sl_json_bool(&j, "limited", none == NULL);
    sl_json_bool(&j, "random", memcmp(a, b, sizeof a) != 0);
    put_code(&j, "sleep", slept);
    sl_json_bool(&j, "slept", ms >= 19 && ms < 5000);
    sl_json_bool(&j, "now", sl_now(c) > 1600000000000000);
    sl_json_text(&j, "id", sl_new_id(c));
    sl_json_text(&j, "pointer", sl_json_at(c, SL("{\"a\":[1,{\"b\":\"x\\ny\"}]}"), "/a/1/b"));
    sl_json_text(&j, "subtree", sl_json_at(c, SL("{\"a\":[1,{\"b\":true}]}"), "/a"));
    sl_json_text(&j, "bad_json", sl_json_at(c, SL("{"), "/a"));
    sl_json_text(&j, "null_value", sl_json_at(c, SL("{\"a\":null}"), "/a"));
    sl_json_int(&j, "started", p->started);
    sl_json_text(&j, "greeting", sl_cstr(p->greeting));
    sl_json_int(&j, "generation", c->host->generation);
    sl_json_bool(&j, "isolated", (int)c->host->isolated);
    const sl_pair fields[] = { { SL("colour"), SL("blue\n\"quoted\"") } };
    sl_log(c, SL_INFO, "probe says hello", fields, 1);
    return finish(c, &j);
}

static void square(void *arg) { *(int *)arg *= *(int *)arg; }

static sl_err offload(void *self, sl_call *c)
{
    int n = 12;
    (void)self;
    sl_err e = c->host->core->offload(c, square, &n);
    sl_json j = start(c);
    put_code(&j, "code", e);
    sl_json_int(&j, "n", n);
    return finish(c, &j);
}

static sl_err pool(void *self, sl_call *c) /* SL_POOL: runs beside the loop */
{
    const sl_rows *rows;
    const sl_msg *msg;
    (void)self;
    sl_json j = start(c);
    put_code(&j, "sleep", sl_sleep(c, 1));
    put_code(&j, "query", sl_query(c, &rows, "select 1 as one"));
    put_code(&j, "ask", sl_ask(c, "probe.echo", SL("{}"), &msg));
    put_code(&j, "publish", sl_publish(c, "probe.made", SL("k"), SL("{}")));
    put_code(&j, "offload", c->host->core->offload(c, square, &j));
    sl_json_text(&j, "q", sl_param(c, "q"));
    sl_json_text(&j, "id", sl_new_id(c));
    sl_str label = SL("pool");
    sl_count(c, 0, 1, &label, 1);
    sl_log(c, SL_INFO, "from the pool", NULL, 0);
    return finish(c, &j);
}

static sl_err headers(void *self, sl_call *c)
{
    sl_json j = start(c);
    (void)self;
    put_code(&j, "good", sl_header(c, SL("X-Probe"), SL("yes")));
    put_code(&j, "reserved", sl_header(c, SL("Content-Length"), SL("5")));
    put_code(&j, "split", sl_header(c, SL("X-Evil"), SL("a\r\nSet-Cookie: b")));
    put_code(&j, "name", sl_header(c, SL("X Evil"), SL("a")));
    return finish(c, &j);
}

static sl_err problem(void *self, sl_call *c)
{
    (void)self;
    return sl_problem(c, (int32_t)sl_to_int(sl_path(c, "status"), 500), "probe_problem", "As asked for.");
}

static sl_err code(void *self, sl_call *c)
{
    (void)self;
    return (sl_err)sl_to_int(sl_path(c, "n"), 0);
}

static sl_err stream(void *self, sl_call *c)
{
    (void)self;
    sl_err e = sl_reply(c, 200, SL("text/plain"), SL("first\n"));
    for (int i = 0; i < 3 && !e; i++) {
        e = sl_sleep(c, 5);
        if (!e) e = c->host->core->write(c, sl_format(c, "piece %d\n", i));
    }
    return e;
}

static sl_err hold(void *self, sl_call *c) /* waits until its deadline or the client's leaving */
{
    (void)self;
    return sl_sleep(c, (uint32_t)sl_to_int(sl_param(c, "ms"), 60000));
}

static sl_err busy(void *self, sl_call *c) /* holds the loop, which a handler must not */
{
    int64_t until = c->host->core->monotonic() + 1000000 * sl_to_int(sl_param(c, "ms"), 200);
    (void)self;
    while (c->host->core->monotonic() < until)
        continue;
    return sl_reply_empty(c, 204);
}

/* ---- sl.store ---- */
#define ROW                                                                                                            \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, ""), SL_REQUIRED("name", SL_NAME, ""), SL_REQUIRED("amount", SL_MONEY, ""),     \
              SL_REQUIRED("flag", SL_BOOLEAN, ""), SL_OPTIONAL("at", SL_TIME, ""), SL_OPTIONAL("data", SL_BASE64, ""), \
              SL_REQUIRED("version", SL_INTEGER(1, 1000000), ""))
#define ROW_IN                                                                                                         \
    SL_OBJECT(SL_REQUIRED("name", SL_NAME, "Unique."), SL_OPTIONAL("amount", SL_INTEGER(0, 1000000000), "10^-8."))

static sl_err insert(sl_call *c, const sl_rows **rows, sl_str name)
{
    return sl_query(
        c, rows, "insert into probe_rows (id, name, amount, flag, at, data) values ($1, $2, $3, 1, $4, $5) returning *",
        sl_new_id(c), name, sl_number(sl_given(sl_body(c, "amount")) ? sl_body(c, "amount") : SL("650000000")),
        sl_now(c), sl_blob(SL("\0\1\2")));
}

static sl_err create_row(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = insert(c, &rows, sl_body(c, "name"));
    return e ? e : sl_reply_row(c, 201, rows);
}

static sl_err get_row(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(c, &rows, "select * from probe_rows where id = $1", sl_path(c, "id"));
    return e ? e : sl_reply_row(c, 200, rows);
}

static sl_err list_rows(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_list(c, "select * from probe_rows where flag = $1 {{page}}", 1);
}

static sl_err rollback(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = insert(c, &rows, sl_body(c, "name"));
    if (!e) e = sl_publish(c, "probe.made", sl_body(c, "name"), SL("{\"lost\":true}"));
    if (!e) e = sl_enqueue(c, "probe.run", sl_body(c, "name"), SL("{\"name\":\"lost\"}"), 0);
    return e ? e : sl_problem(c, 409, "thrown_away", "All of it is rolled back.");
}

static sl_err commit(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = insert(c, &rows, sl_body(c, "name"));
    if (!e) e = sl_commit(c);
    if (!e) e = sl_sleep(c, 1); /* allowed again */
    if (!e && sl_is(sl_body(c, "name"), "halves")) {
        e = insert(c, &rows, SL("other-half"));
        return e ? e : sl_reply_row(c, 201, rows);
    }
    return e ? e : sl_problem(c, 409, "committed", "The row stays.");
}

static sl_err values(void *self, sl_call *c) /* what goes in comes out */
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_lock(c, SL("probe"));
    if (!e)
        e = sl_query(c, &rows,
                     "select cast($1 as bigint) as i, cast($2 as double precision) as d, cast($3 as text) as t, "
                     "cast($4 as text) as none_given",
                     INT64_MIN, 0.5, SL("\xc3\xa4 'quoted'"), sl_lit(NULL, 0));
    if (e) return e;
    sl_json j = start(c);
    sl_json_bool(&j, "int", sl_cell_int(rows, 0, "i") == INT64_MIN);
    sl_json_bool(&j, "real", sl_cell(rows, 0, "d").type == SL_REAL && sl_cell(rows, 0, "d").d == 0.5);
    sl_json_text(&j, "text", sl_cell_text(rows, 0, "t"));
    sl_json_bool(&j, "null", sl_cell(rows, 0, "none_given").type == SL_NULL);
    sl_json_int(&j, "cols", rows->cols);
    return finish(c, &j);
}

/* What may not be waited for while a transaction is open. */
static sl_err in_transaction(void *self, sl_call *c)
{
    const sl_rows *rows;
    const sl_msg *msg;
    const sl_response *response;
    const sl_request request = { .size = sizeof request, .method = SL("GET"), .url = SL("http://127.0.0.1:1/") };
    int n = 2;
    (void)self;
    sl_err e = insert(c, &rows, sl_body(c, "name"));
    if (e) return e;
    sl_json j = start(c);
    put_code(&j, "sleep", sl_sleep(c, 1));
    put_code(&j, "fetch", sl_fetch(c, &request, &response));
    put_code(&j, "ask", sl_ask(c, "probe.echo", SL("{}"), &msg));
    put_code(&j, "offload", c->host->core->offload(c, square, &n));
    put_code(&j, "query",
             sl_query(c, &rows, "select count(*) as n from probe_rows where name = $1", sl_body(c, "name")));
    sl_json_int(&j, "own_row", sl_cell_int(rows, 0, "n"));
    return finish(c, &j);
}

/* ---- sl.bus, sl.jobs ---- */
static sl_err publish(void *self, sl_call *c)
{
    (void)self;
    sl_json j = start(c);
    put_code(&j, "made", sl_publish(c, "probe.made", sl_body(c, "name"), sl_body(c, "")));
    put_code(&j, "not_granted", sl_publish(c, "accounts.deleted", SL("x"), SL("{}")));
    put_code(&j, "bad_topic", sl_publish(c, "Not A Topic", SL("x"), SL("{}")));
    put_code(&j, "bad_json", sl_publish(c, "probe.made", SL("x"), SL("{")));
    return finish(c, &j);
}

static sl_err on_made(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    return sl_query(
        c, &rows, "insert into probe_events (id, topic, event_id, body, attempt) values ($1, $2, $3, $4, $5)",
        sl_new_id(c), sl_fact(c, "topic"), sl_fact(c, "event_id"), sl_body(c, ""), sl_number(sl_fact(c, "attempt")));
}

static sl_err rows_as_text(sl_call *c, const char *sql)
{
    const sl_rows *rows;
    sl_err e = sl_query(c, &rows, sql);
    if (e) return e;
    sl_json j = start(c);
    sl_json_open(&j, "items", '[');
    for (uint32_t r = 0; r < rows->rows; r++) {
        sl_json_open(&j, NULL, '{');
        for (uint32_t i = 0; i < rows->cols; i++) {
            sl_value v = rows->cells[r * rows->cols + i];
            const char *name = sl_format(c, "%.*s", (int)rows->names[i].n, rows->names[i].p).p;
            if (v.type == SL_INT)
                sl_json_int(&j, name, v.i);
            else
                sl_json_text(&j, name, v.type == SL_TEXT ? v.s : sl_lit(NULL, 0));
        }
        sl_json_close(&j, '}');
    }
    sl_json_close(&j, ']');
    return finish(c, &j);
}

static sl_err events(void *self, sl_call *c)
{
    (void)self;
    return rows_as_text(c, "select topic, event_id, body, attempt from probe_events order by id");
}

static sl_err runs(void *self, sl_call *c)
{
    (void)self;
    return rows_as_text(c, "select kind, job_key, body, attempt, tick from probe_runs order by id");
}

static sl_err enqueue(void *self, sl_call *c)
{
    const sl_job unsized = { .kind = SL("probe.run") };
    (void)self;
    sl_json j = start(c);
    put_code(&j, "run", sl_enqueue(c, "probe.run", sl_body(c, "name"), sl_body(c, ""), 0));
    put_code(&j, "again", sl_enqueue(c, "probe.run", sl_body(c, "name"), sl_body(c, ""), 0));
    put_code(&j, "later",
             sl_enqueue(c, "probe.run", SL("later"), SL("{\"name\":\"later\"}"), sl_now(c) + 3600 * 1000000LL));
    put_code(&j, "cancel", sl_cancel_job(c, "probe.run", SL("later")));
    put_code(&j, "unknown_kind", sl_enqueue(c, "probe.nothing", SL("x"), SL("{}"), 0));
    put_code(&j, "wrong_input", sl_enqueue(c, "probe.run", SL("x"), SL("{\"colour\":1}"), 0));
    put_code(&j, "own_tenant",
             sl_enqueue_for(c, sl_fact(c, "tenant"), "probe.run", SL("mine"), SL("{\"name\":\"mine\"}"), 0));
    put_code(&j, "other_tenant",
             sl_enqueue_for(c, SL("somebody"), "probe.run", SL("theirs"), SL("{\"name\":\"theirs\"}"), 0));
    put_code(&j, "unsized", c->host->jobs->enqueue(c, &unsized));
    put_code(&j, "retry_outside", c->host->jobs->retry(c, 1, SL("no job")));
    return finish(c, &j);
}

static sl_err note_run(sl_call *c, const char *kind)
{
    const sl_rows *rows;
    return sl_query(c, &rows,
                    "insert into probe_runs (id, kind, job_key, body, attempt, tick) values ($1, $2, $3, $4, $5, $6)",
                    sl_new_id(c), kind, sl_fact(c, "job_key"), sl_body(c, ""), sl_number(sl_fact(c, "attempt")),
                    sl_fact(c, "tick"));
}

static sl_err run_job(void *self, sl_call *c) /* "flaky" fails once by itself and once on request, "dead" for good */
{
    int64_t attempt = sl_to_int(sl_fact(c, "attempt"), 0);
    (void)self;
    if (sl_is(sl_body(c, "name"), "dead")) return SL_EDEAD;
    if (sl_is(sl_body(c, "name"), "flaky") && attempt == 1) return c->host->jobs->retry(c, 10, SL("not yet"));
    if (sl_is(sl_body(c, "name"), "flaky") && attempt == 2) return SL_EUPSTREAM;
    return note_run(c, "probe.run");
}

static sl_err tick(void *self, sl_call *c)
{
    (void)self;
    return note_run(c, "tick");
}

/* ---- ask ---- */
static sl_err echo(void *self, sl_call *c)
{
    (void)self;
    sl_json j = start(c);
    sl_json_text(&j, "caller", sl_fact(c, "caller"));
    sl_json_text(&j, "tenant", sl_fact(c, "tenant"));
    sl_json_text(&j, "request_id", sl_fact(c, "request_id"));
    sl_json_text(&j, "word", sl_body(c, "word"));
    sl_json_raw(&j, "whole", sl_body(c, ""));
    return finish(c, &j);
}

static sl_err refuse(void *self, sl_call *c)
{
    (void)self;
    return sl_problem(c, 409, "refused", "Not today.");
}

static sl_err missing(void *self, sl_call *c)
{
    (void)self, (void)c;
    return SL_ENOENT;
}

static sl_err slow(void *self, sl_call *c)
{
    (void)self;
    return sl_sleep(c, 30000);
}

static sl_err deep(void *self, sl_call *c) /* asks itself until the host says no */
{
    const sl_msg *msg = NULL;
    (void)self;
    sl_err e = sl_ask(c, "probe.deep", SL("{}"), &msg);
    if (e == SL_OK) return sl_reply_json(c, 200, msg->body);
    return sl_reply_json(c, 200, sl_format(c, "{\"end\":\"%s\"}", code_name(e)));
}

static sl_err ask(void *self, sl_call *c)
{
    const sl_msg *msg = NULL;
    (void)self;
    uint32_t ms = (uint32_t)sl_to_int(sl_body(c, "timeout_ms"), 0);
    sl_err e = c->host->bus->ask(c, sl_body(c, "entry"), sl_body(c, "question"), ms, &msg);
    sl_json j = start(c);
    put_code(&j, "code", e);
    if (msg) {
        sl_json_int(&j, "status", msg->status);
        sl_json_text(&j, "type", msg->type);
        sl_json_raw(&j, "body", msg->body);
    }
    return finish(c, &j);
}

/* ---- sl.http, sl.metrics, sl.crypto ---- */
static sl_err fetch(void *self, sl_call *c)
{
    const sl_response *r = NULL;
    const sl_pair header = { SL("X-Probe"), SL("yes") };
    const sl_request q = { .size = sizeof q,
                           .method = SL("GET"),
                           .url = sl_body(c, "url"),
                           .headers = &header,
                           .n_headers = 1,
                           .timeout_ms = 5000,
                           .max_redirects = 3,
                           .max_bytes = 100000 };
    (void)self;
    sl_err e = sl_fetch(c, &q, &r);
    sl_json j = start(c);
    put_code(&j, "code", e);
    if (r) {
        sl_json_int(&j, "status", r->status);
        sl_json_text(&j, "type", r->type);
        sl_json_text(&j, "body", r->body);
        sl_json_text(&j, "error_class", r->error_class);
    }
    return finish(c, &j);
}

static sl_err count(void *self, sl_call *c)
{
    sl_str one = SL("a"), two[2] = { SL("a"), SL("b") };
    (void)self;
    sl_count(c, 0, 1, &one, 1);
    sl_count(c, 0, -1, &one, 1); /* all of these are refused and logged */
    sl_count(c, 0, 1, two, 2);
    sl_count(c, 99, 1, &one, 1);
    sl_count(c, 1, 1, NULL, 0);
    c->host->metrics->set(c, 1, 42, NULL, 0);
    c->host->metrics->add(c, 2, 0.25, NULL, 0);
    return sl_reply_empty(c, 204);
}

static sl_err crypto(void *self, sl_call *c)
{
    const sl_crypto *k = c->host->crypto;
    sl_str blob, plain, wrapped, none;
    (void)self;
    sl_json j = start(c);
    put_code(&j, "seal", k->seal(c, SL("tenant/name"), SL("secret"), &blob));
    put_code(&j, "unseal", k->unseal(c, SL("tenant/name"), blob, &plain));
    sl_json_text(&j, "plain", plain);
    put_code(&j, "other_aad", k->unseal(c, SL("tenant/other"), blob, &none));
    put_code(&j, "cut", k->unseal(c, SL("tenant/name"), sl_lit(blob.p, blob.n - 1), &none));
    put_code(&j, "rewrap", k->rewrap(c, SL("tenant/name"), blob, &wrapped));
    put_code(&j, "unseal_again", k->unseal(c, SL("tenant/name"), wrapped, &plain));
    put_code(&j, "absent", k->seal(c, SL("a"), sl_lit(NULL, 0), &none));
    put_code(&j, "no_out", k->seal(c, SL("a"), SL("b"), NULL));
    sl_json_bool(&j, "same_key", sl_same(k->key_id(c, blob), k->key_id(c, SL(""))));
    return finish(c, &j);
}

/* ---- lifecycle ---- */
static sl_err create(sl_call *c, void **self)
{
    struct probe *p = calloc(1, sizeof *p);
    if (!p) return SL_EINTERNAL;
    sl_str greeting = sl_config(c, "greeting");
    if (sl_is(greeting, "fail-create")) {
        free(p);
        return sl_problem(c, 500, "no", "The greeting says so.");
    }
    snprintf(p->greeting, sizeof p->greeting, "%.*s", (int)greeting.n, greeting.p ? greeting.p : "");
    *self = p;
    return SL_OK;
}

static sl_err on_start(void *self, sl_call *c)
{
    struct probe *p = self;
    const sl_rows *rows;
    if (strcmp(p->greeting, "fail-start") == 0) return SL_EUPSTREAM;
    sl_err e = sl_query(c, &rows, "select count(*) as n from probe_rows");
    p->started++;
    return e;
}

static sl_err on_stop(void *self, sl_call *c)
{
    (void)self;
    sl_log(c, SL_INFO, "probe stops", NULL, 0);
    return SL_OK;
}

static sl_err health(void *self, sl_call *c)
{
    struct probe *p = self;
    return strcmp(p->greeting, "sick") == 0 ? sl_problem(c, 503, "sick", "The probe feels sick.") : SL_OK;
}

/* clang-format off */
#define NAMED SL_OBJECT(SL_REQUIRED("name", SL_NAME, "Any name."))
#define QUERY SL_OBJECT(SL_OPTIONAL("q", SL_STRING(0, 100), "Text."), SL_OPTIONAL("n", SL_INTEGER(1, 10) SL_DEFAULT("5"), "Number."))
#define MS SL_OBJECT(SL_OPTIONAL("ms", SL_INTEGER(0, 60000), "Milliseconds."))
static const sl_entry entries[] = {
    { SL_ROUTE, "GET /probe/input/{id}", input, .query = QUERY, .doc = "Input." },
    { SL_ROUTE, "POST /probe/body", body, .doc = "Body.",
      .in = SL_OBJECT(SL_REQUIRED("name", SL_NAME, ""), SL_OPTIONAL("count", SL_INTEGER(0, 9), ""),
                      SL_OPTIONAL("tags", SL_LIST(SL_STRING(1, 9), 3), ""),
                      SL_OPTIONAL("colour", SL_ENUM("red", "green") SL_DEFAULT("\"red\""), "")) },
    { SL_ROUTE, "GET /probe/core", core, .doc = "Memory, time, ids, JSON, log." },
    { SL_ROUTE, "GET /probe/offload", offload, .doc = "Thread pool." },
    { SL_ROUTE, "GET /probe/pool", pool, .query = QUERY, .flags = SL_POOL, .doc = "A handler on the thread pool." },
    { SL_ROUTE, "GET /probe/headers", headers, .doc = "Response headers." },
    { SL_ROUTE, "GET /probe/problem/{status}", problem, .doc = "A problem." },
    { SL_ROUTE, "GET /probe/code/{n}", code, .doc = "Return a number." },
    { SL_ROUTE, "GET /probe/stream", stream, .flags = SL_STREAM, .doc = "An answer in pieces." },
    { SL_ROUTE, "GET /probe/hold", hold, .query = MS, .doc = "Wait.", .deadline_ms = 1500, .max_inflight = 2 },
    { SL_ROUTE, "GET /probe/hold-long", hold, .doc = "Wait a minute.", .deadline_ms = 60000 },
    { SL_ROUTE, "GET /probe/busy", busy, .query = MS, .doc = "Hold the loop." },
    { SL_ROUTE, "POST /probe/rows", create_row, .in = ROW_IN, .out = ROW, .status = 201, .doc = "Insert." },
    { SL_ROUTE, "GET /probe/rows", list_rows, .out = ROW, .flags = SL_LIST, .doc = "List." },
    { SL_ROUTE, "GET /probe/rows/{id}", get_row, .out = ROW, .doc = "One." },
    { SL_ROUTE, "POST /probe/rollback", rollback, .in = NAMED, .doc = "Insert, publish, enqueue and throw away." },
    { SL_ROUTE, "POST /probe/commit", commit, .in = NAMED, .out = ROW, .status = 201, .doc = "Commit, then fail." },
    { SL_ROUTE, "GET /probe/values", values, .doc = "Value types." },
    { SL_ROUTE, "POST /probe/in-transaction", in_transaction, .in = NAMED, .doc = "Waiting inside a transaction." },
    { SL_ROUTE, "POST /probe/publish", publish, .in = NAMED, .doc = "Publish." },
    { SL_ROUTE, "GET /probe/events", events, .doc = "Events that arrived." },
    { SL_ROUTE, "POST /probe/jobs", enqueue, .in = NAMED, .doc = "Enqueue." },
    { SL_ROUTE, "GET /probe/runs", runs, .doc = "Jobs that ran." },
    { SL_ROUTE, "POST /probe/ask", ask, .doc = "Ask.",
      .in = SL_OBJECT(SL_REQUIRED("entry", SL_STRING(1, 200), ""), SL_OPTIONAL("question", SL_ANY, ""),
                      SL_OPTIONAL("timeout_ms", SL_INTEGER(1, 60000), "")) },
    { SL_ROUTE, "POST /probe/fetch", fetch, .in = SL_OBJECT(SL_REQUIRED("url", SL_STRING(0, 4000), "")), .doc = "Fetch." },
    { SL_ROUTE, "POST /probe/count", count, .doc = "Metrics." },
    { SL_ROUTE, "GET /probe/crypto", crypto, .doc = "Seal and unseal." },
    { SL_EVENT, "probe.made", on_made, .doc = "Own events." },
    { SL_EVENT, "data.probe.*", on_made, .doc = "Data pushed to its streams." },
    { SL_JOB, "probe.run", run_job, .in = SL_OBJECT(SL_REQUIRED("name", SL_NAME, "")), .attempts = 4, .backoff_ms = 20, .doc = "A job." },
    { SL_SCHEDULE, "tick", tick, .schedule = "@every 1s", .doc = "A schedule." },
    { SL_COMPUTE, "probe.echo", echo, .in = SL_OBJECT(SL_OPTIONAL("word", SL_STRING(0, 9) SL_DEFAULT("\"none\""), "")), .doc = "Echo." },
    { SL_COMPUTE, "probe.refuse", refuse, .doc = "A problem." },
    { SL_COMPUTE, "probe.missing", missing, .doc = "A code." },
    { SL_COMPUTE, "probe.slow", slow, .doc = "Too slow." },
    { SL_COMPUTE, "probe.deep", deep, .doc = "Endless." },
};
static const sl_metric metrics[] = {
    { SL_COUNTER, "probe_counts_total", "Counts.", "way" },
    { SL_GAUGE, "probe_level", "A level.", NULL },
    { SL_HISTOGRAM, "probe_seconds", "Times.", NULL },
};
static const sl_need needs[] = { { "sl.store", 1, 0 }, { "sl.bus", 1, 0 },     { "sl.jobs", 1, 0 },  { "sl.http", 1, 0 },
                                 { "sl.metrics", 1, 0 }, { "sl.crypto", 1, 0 }, { "sl.future", 3, 1 } };
static const sl_lifecycle lifecycle = { .size = sizeof lifecycle, .create = create, .start = on_start, .stop = on_stop,
                                        .destroy = free, .health = health };
SL_PLUGIN("probe", "1.2.3", .doc = "Calls every function of the contract.", SL_ENTRIES(entries), SL_METRICS(metrics), SL_NEEDS(needs),
          .lifecycle = &lifecycle, .grants = "store:probe_* publish:probe.* ask:probe.* ask:absent.* net:*",
          .config = SL_OBJECT(SL_OPTIONAL("greeting", SL_STRING(1, 60) SL_DEFAULT("\"hello\""), "What it says.")));
/* clang-format on */
