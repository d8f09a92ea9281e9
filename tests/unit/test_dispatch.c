/* test_dispatch.c - whole requests through the HTTP floor: routes, input, answers, lists, idempotency, clients that
 * leave. */
#include "http_unit.h"

static int effects;
static call *asleep;

static sl_str in(sl_call *c, uint32_t from, const char *name)
{
    return request_ops.input((call *)c, from, sl_cstr(name));
}
static sl_err reply_text(sl_call *c, int32_t status, sl_str body)
{
    return request_ops.reply((call *)c, status, SL("application/json"), body);
}

static sl_err hello(void *self, sl_call *c)
{
    (void)self;
    return reply_text(c, 200, SL("{\"hello\":1}"));
}
static sl_err echo(void *self, sl_call *c)
{
    (void)self;
    call *k = (call *)c;
    return reply_text(c, 200,
                      arena_printf(k->arena, "%.*s|%.*s|%.*s|%.*s|%.*s|%.*s", STR_ARG(in(c, SL_IN_PATH, "id")),
                                   STR_ARG(in(c, SL_IN_QUERY, "n")), STR_ARG(in(c, SL_IN_QUERY, "tag")),
                                   STR_ARG(in(c, SL_IN_FACT, "tenant")), STR_ARG(in(c, SL_IN_FACT, "trace_id")),
                                   STR_ARG(in(c, SL_IN_HEADER, "x-mine"))));
}
static sl_err body(void *self, sl_call *c)
{
    (void)self;
    call *k = (call *)c;
    return reply_text(c, 201,
                      arena_printf(k->arena, "%.*s %.*s %.*s", STR_ARG(in(c, SL_IN_BODY, "name")),
                                   STR_ARG(in(c, SL_IN_BODY, "n")), STR_ARG(in(c, SL_IN_BODY, ""))));
}
static sl_err nothing(void *self, sl_call *c)
{
    (void)self, (void)c;
    return SL_OK;
}
static sl_err broken(void *self, sl_call *c)
{
    (void)self;
    const sl_rows *rows;
    return store_query((call *)c, &rows, SL("select secret_column from nowhere"), NULL, 0) ? SL_EINTERNAL : SL_OK;
}
static sl_err conflict(void *self, sl_call *c)
{
    (void)self;
    return request_ops.problem((call *)c, 409, SL("thing_exists"), SL("There is one already."));
}
static sl_err busy(void *self, sl_call *c)
{
    (void)self, (void)c;
    return SL_EBUSY;
}
static sl_err sleeper(void *self, sl_call *c)
{
    (void)self;
    asleep = (call *)c;
    sl_err e = call_sleep(asleep, 10000);
    asleep = NULL;
    if (sl_is(in(c, SL_IN_PATH, "id"), "x")) effects++; /* still readable after the client left */
    return e;
}
static sl_err stream(void *self, sl_call *c)
{
    (void)self;
    sl_err e = request_ops.reply((call *)c, 200, SL("text/event-stream"), SL("a"));
    if (!e) e = request_ops.write((call *)c, SL("b"));
    if (e) return e;
    return in(c, SL_IN_QUERY, "fail").p ? SL_EINTERNAL : SL_OK;
}
static sl_err headers(void *self, sl_call *c)
{
    (void)self;
    call *k = (call *)c;
    if (request_ops.header(k, SL("Content-Length"), SL("1")) != SL_EINVAL ||
        request_ops.header(k, SL("a b"), SL("1")) != SL_EINVAL ||
        request_ops.header(k, SL("X-A"), SL("a\r\nb: c")) != SL_EINVAL ||
        request_ops.header(k, SL("X-Request-ID"), SL("1")) != SL_EINVAL)
        return SL_EINTERNAL;
    request_ops.header(k, SL("Location"), SL("/first"));
    request_ops.header(k, SL("location"), SL("/second"));
    return reply_text(c, 201, SL("{}"));
}

/* ---- with the store ---- */
static sl_err make(void *self, sl_call *c)
{
    call *k = (call *)c;
    const sl_rows *rows;
    char id[ID_TEXT];
    (void)self;
    id_new(id);
    const sl_value args[] = { sl_ctext(id), sl_text(in(c, SL_IN_BODY, "name")) };
    effects++;
    if (sl_is(in(c, SL_IN_BODY, "name"), "racer")) call_sleep(k, 5);
    sl_err e = store_query(k, &rows, SL("insert into things (id, name, version) values ($1, $2, 1) returning *"), args,
                           2);
    if (e) return e;
    if (sl_is(in(c, SL_IN_BODY, "name"), "refused")) return request_ops.problem(k, 409, SL("refused"), SL("No."));
    request_ops.header(k, SL("Location"), arena_printf(k->arena, "/things/%s", id));
    return http_reply_row(k, 201, rows);
}
static sl_err show(void *self, sl_call *c)
{
    const sl_rows *rows;
    const sl_value id = sl_text(in(c, SL_IN_PATH, "id"));
    (void)self;
    sl_err e = store_query((call *)c, &rows, SL("select * from things where id = $1"), &id, 1);
    return e ? e : http_reply_row((call *)c, 200, rows);
}
static sl_err list(void *self, sl_call *c)
{
    const sl_value like = sl_ctext("%");
    (void)self;
    return http_reply_list((call *)c, SL("select * from things where name like $1 {{page}}"), &like, 1);
}

#define THING SL_OBJECT(SL_OPTIONAL("id", SL_ID, "Id."), SL_OPTIONAL("name", SL_STRING(1, 20), "Name."))
static const sl_entry table[] = {
    { .kind = SL_ROUTE, .name = "GET /hello", .run = hello, .scope = "unit:read" },
    { .kind = SL_ROUTE, .name = "GET /open", .run = hello },
    { .kind = SL_ROUTE,
      .name = "GET /echo/{id}",
      .run = echo,
      .scope = "unit:read",
      .query = SL_OBJECT(SL_OPTIONAL("n", SL_INTEGER(1, 9) SL_DEFAULT("5"), "n"),
                         SL_OPTIONAL("tag", SL_LIST(SL_STRING(1, 3), 2), "tags"),
                         SL_OPTIONAL("on", SL_BOOLEAN, "on")) },
    { .kind = SL_ROUTE,
      .name = "POST /body",
      .run = body,
      .scope = "unit:write",
      .in = SL_OBJECT(SL_REQUIRED("name", SL_NAME, "Name."), SL_OPTIONAL("n", SL_INTEGER(0, 9) SL_DEFAULT("7"), "n")) },
    { .kind = SL_ROUTE, .name = "DELETE /nothing", .run = nothing, .scope = "unit:write" },
    { .kind = SL_ROUTE, .name = "GET /broken", .run = broken, .scope = "unit:read" },
    { .kind = SL_ROUTE, .name = "GET /conflict", .run = conflict, .scope = "unit:read" },
    { .kind = SL_ROUTE, .name = "GET /busy", .run = busy, .scope = "unit:read" },
    { .kind = SL_ROUTE, .name = "GET /sleep/{id}", .run = sleeper, .scope = "unit:read" },
    { .kind = SL_ROUTE,
      .name = "GET /stream",
      .run = stream,
      .scope = "unit:read",
      .flags = SL_STREAM,
      .query = SL_OBJECT(SL_OPTIONAL("fail", SL_BOOLEAN, "Break.")) },
    { .kind = SL_ROUTE, .name = "POST /headers", .run = headers, .scope = "unit:read", .flags = SL_SENSITIVE },
    { .kind = SL_ROUTE, .name = "GET /admin/only", .run = hello, .scope = "admin:read" },
    { .kind = SL_ROUTE,
      .name = "POST /things",
      .run = make,
      .scope = "unit:write",
      .out = THING,
      .in = SL_OBJECT(SL_REQUIRED("name", SL_STRING(1, 20), "Name.")) },
    { .kind = SL_ROUTE,
      .name = "POST /secrets",
      .run = make,
      .scope = "unit:write",
      .out = THING,
      .flags = SL_SENSITIVE,
      .in = SL_OBJECT(SL_REQUIRED("name", SL_STRING(1, 20), "Name.")) },
    { .kind = SL_ROUTE, .name = "GET /things", .run = list, .scope = "unit:read", .out = THING },
    { .kind = SL_ROUTE, .name = "GET /things/{id}", .run = show, .scope = "unit:read", .out = THING },
};

static void make_tables(call *c)
{
    static const char *const sql[] = { "create table things (id text primary key, name text, version bigint)",
                                       "create table sl_idempotency (tenant text not null, actor text not null, key "
                                       "text not null, route text not null,"
                                       " body_hash text not null, state text not null, status bigint not null, type "
                                       "text, headers text not null, body {{blob}} not null,"
                                       " created_at bigint not null, primary key (tenant, actor, key))" };
    const sl_rows *rows;
    for (size_t i = 0; i < 2; i++)
        if (store_query(c, &rows, sl_cstr(sql[i]), NULL, 0)) fprintf(stderr, "%s\n", store_error(c));
    if (store_commit(c)) fprintf(stderr, "%s\n", store_error(c));
}
static int setup(void **state)
{
    (void)state;
    effects = 0;
    unit_setup(table, sizeof table / sizeof *table);
    unit_call(make_tables);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    unit_teardown();
    return 0;
}

static void routes_and_methods(void **state)
{
    (void)state;
    assert_answer(unit_ask("GET", "/hello", TOKEN, NULL), 200, "{\"hello\":1}", "Content-Type: application/json");
    assert_answer(unit_ask("HEAD", "/hello", TOKEN, NULL), 200, NULL, NULL);
    assert_answer(unit_ask("GET", "/nowhere", TOKEN, NULL), 404, "\"code\":\"not_found\"", "application/problem+json");
    assert_answer(unit_ask("GET", "/hello/", TOKEN, NULL), 404, "without the slash", NULL);
    assert_answer(unit_ask("PUT", "/hello", TOKEN, NULL), 405, "method_not_allowed", "Allow: GET, HEAD, OPTIONS");
    assert_answer(unit_ask("OPTIONS", "/things", "", NULL), 204, NULL, "Allow: GET, HEAD, POST, OPTIONS");
    assert_answer(unit_ask("OPTIONS", "*", "", NULL), 204, NULL, "Allow: GET");
    assert_answer(unit_ask("GET", "/echo/%zz", TOKEN, NULL), 400, "malformed_path", NULL);
    assert_answer(unit_ask("DELETE", "/nothing", TOKEN, NULL), 204, NULL, NULL);
}

static void query_is_checked_and_converted(void **state)
{
    (void)state;
    assert_answer(unit_ask("GET", "/echo/x%20y",
                           TOKEN "x-tenant-id: t1\nx-mine: m\ntraceparent: "
                                 "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n",
                           NULL),
                  200, "x y|5||t1|0af7651916cd43dd8448eb211c80319c|m", NULL);
    assert_answer(unit_ask("GET", "/echo/x?n=3&tag=a&tag=b+c", TOKEN, NULL), 200, "x|3|[\"a\",\"b c\"]|default|", NULL);
    assert_answer(unit_ask("GET", "/echo/x?n=12", TOKEN, NULL), 422,
                  "{\"pointer\":\"/query/n\",\"detail\":\"must be at most 9\"}", NULL);
    assert_answer(unit_ask("GET", "/echo/x?n=a", TOKEN, NULL), 422, "/query/n\",\"detail\":\"must be a whole number",
                  NULL);
    assert_answer(unit_ask("GET", "/echo/x?n=1&n=2", TOKEN, NULL), 422, "given more than once", NULL);
    assert_answer(unit_ask("GET", "/echo/x?on=yes", TOKEN, NULL), 422, "must be true or false", NULL);
    assert_answer(unit_ask("GET", "/echo/x?tga=1", TOKEN, NULL), 422,
                  "/query/tga\",\"detail\":\"is not a known query parameter, did you mean `tag`?", NULL);
    assert_answer(unit_ask("GET", "/hello?colour=red", TOKEN, NULL), 422, "/query/colour", NULL);
    assert_answer(unit_ask("GET", "/hello?limit=3", TOKEN, NULL), 422, "/query/limit", NULL); /* answers no list */
    assert_answer(unit_ask("GET", "/echo/x?n=%", TOKEN, NULL), 400, "malformed_query", NULL);
    assert_answer(unit_ask("GET", "/echo/x?n=%00", TOKEN, NULL), 400, "malformed_query", NULL);
}

static void body_is_checked(void **state)
{
    (void)state;
    assert_answer(unit_ask("POST", "/body", TOKEN JSON, "{\"name\":\"a\"}"), 201, "a 7 {\"name\":\"a\",\"n\":7}", NULL);
    assert_answer(
        unit_ask("POST", "/body", TOKEN "content-type: Application/JSON ; charset=utf-8\n", "{\"name\":\"a\"}"), 201,
        "a 7", NULL);
    assert_answer(unit_ask("POST", "/body", TOKEN JSON, "{\"name\":\"-\",\"x\":1}"), 422,
                  "\"errors\":[{\"pointer\":\"/name\"", NULL);
    assert_answer(unit_ask("POST", "/body", TOKEN JSON, "{\"name\":"), 400, "line 1, column", NULL);
    assert_answer(unit_ask("POST", "/body", TOKEN JSON, ""), 400, "malformed_json", NULL);
    assert_answer(unit_ask("POST", "/body", TOKEN, ""), 422, "/name\",\"detail\":\"is required", NULL);
    assert_answer(unit_ask("POST", "/body", TOKEN "content-type: text/plain\n", "{}"), 415, "unsupported_media_type",
                  NULL);
    assert_answer(unit_ask("POST", "/body", TOKEN, "{}"), 415, NULL, NULL);
}

static void results_become_problems(void **state)
{
    (void)state;
    struct unit_exchange *u = unit_ask("GET", "/broken", TOKEN, NULL);
    assert_null(strstr(u->answer.body, "secret_column")); /* nothing of the SQL reaches the client */
    assert_answer(u, 500, "\"instance\":\"/broken\",\"code\":\"internal\",\"trace_id\":\"", NULL);
    assert_answer(unit_ask("GET", "/conflict", TOKEN, NULL), 409,
                  "\"type\":\"/problems/thing_exists\",\"title\":\"Conflict\"", NULL);
    assert_answer(unit_ask("GET", "/busy", TOKEN, NULL), 429, "\"code\":\"busy\"", "Retry-After: 1");
    assert_answer(unit_ask("GET", "/things/none", TOKEN, NULL), 404, "\"code\":\"not_found\"", NULL);
}

static void request_ids(void **state)
{
    (void)state;
    assert_answer(unit_ask("GET", "/hello", TOKEN "x-request-id: my-id:1\n", NULL), 200, NULL,
                  "X-Request-Id: my-id:1\n");
    struct unit_exchange *u = unit_ask("GET", "/hello", TOKEN "x-request-id: a b\n", NULL);
    assert_null(strstr(u->answer.headers, "a b"));
    assert_answer(u, 200, NULL, "X-Request-Id: 0");
    assert_answer(unit_ask("GET", "/x", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", NULL),
                  404, "\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"", NULL);
    u = unit_ask("GET", "/x", "traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01\n", NULL);
    assert_null(strstr(u->answer.body, "\"trace_id\":\"000000000000"));
    unit_free(u);
}

static void handlers_headers(void **state)
{
    (void)state;
    struct unit_exchange *u = unit_ask("POST", "/headers", TOKEN, NULL);
    assert_null(strstr(u->answer.headers, "/first"));
    assert_answer(u, 201, NULL, "location: /second\nContent-Type: application/json\n");
    assert_answer(unit_ask("POST", "/headers", TOKEN, NULL), 201, NULL,
                  "Cache-Control: no-store"); /* a sensitive route */
}

static void streams(void **state)
{
    (void)state;
    assert_answer(unit_ask("GET", "/stream", TOKEN, NULL), 200, "ab", "Content-Type: text/event-stream");
    struct unit_exchange *u = unit_ask("GET", "/stream?fail=true", TOKEN, NULL);
    assert_true(u->answer.gone); /* cut off, so that the client does not take it for whole */
    assert_answer(u, 200, "ab", NULL);
}

static void etag_and_304(void **state)
{
    (void)state;
    struct unit_exchange *u = unit_ask("POST", "/things", TOKEN JSON, "{\"name\":\"a\"}");
    char path[80], *id = strstr(u->answer.body, "\"id\":\"");
    assert_non_null(id);
    snprintf(path, sizeof path, "/things/%.36s", id + 6);
    assert_answer(u, 201, "\"name\":\"a\"}", "ETag: \"1\"");
    assert_answer(unit_ask("GET", path, TOKEN, NULL), 200, "\"name\":\"a\"", "ETag: \"1\"");
    u = unit_ask("GET", path, TOKEN "if-none-match: \"0\", W/\"1\"\n", NULL);
    assert_int_equal(u->answer.body_n, 0);
    assert_answer(u, 304, NULL, "ETag: \"1\"");
}

static void lists_have_pages(void **state)
{
    char path[400] = "/things?limit=2", seen[600] = "";
    (void)state;
    for (int i = 0; i < 5; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"name\":\"n%d\"}", i);
        unit_free(unit_ask("POST", "/things", TOKEN JSON, text));
    }
    for (int pages = 0; pages < 9 && path[0]; pages++) {
        struct unit_exchange *u = unit_ask("GET", path, TOKEN, NULL);
        assert_int_equal(u->answer.status, 200);
        for (char *p = u->answer.body; (p = strstr(p, "\"name\":\"")); p++)
            strncat(seen, p + 8, 2);
        char *link = strstr(u->answer.headers, "Link: <");
        assert_int_equal(link == NULL, strstr(u->answer.body, "\"next_cursor\":null") != NULL);
        path[0] = 0;
        if (link) snprintf(path, sizeof path, "%.*s", (int)strcspn(link + 7, ">"), link + 7);
        unit_free(u);
        unit_free(unit_ask("POST", "/things", TOKEN JSON, "{\"name\":\"zz\"}")); /* neither repeats nor hides a row */
    }
    assert_string_equal(seen, "n4n3n2n1n0");
    assert_answer(unit_ask("GET", "/things", TOKEN, NULL), 200, "\"next_cursor\":\"", NULL);
    assert_answer(unit_ask("GET", "/things?limit=0", TOKEN, NULL), 422,
                  "/query/limit\",\"detail\":\"must be a whole number from 1 to 100", NULL);
    assert_answer(unit_ask("GET", "/things?limit=101", TOKEN, NULL), 422, "/query/limit", NULL);
    assert_answer(unit_ask("GET", "/things?cursor=AAAA", TOKEN, NULL), 422, "/query/cursor", NULL);
    assert_answer(unit_ask("GET", "/things?cursor=%21", TOKEN, NULL), 422, "/query/cursor", NULL);
}

static void cursors(void **state)
{
    arena *a = arena_new(0);
    sl_str id, route = SL("GET /things"), made = cursor_make(a, route, SL("0190-id"));
    (void)state;
    assert_true(cursor_read(a, route, made, &id));
    assert_true(sl_is(id, "0190-id"));
    assert_false(cursor_read(a, SL("GET /others"), made, &id)); /* bound to its route */
    for (size_t i = 0; i < made.n; i++) {
        char text[64];
        memcpy(text, made.p, made.n);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        if (cursor_read(a, route, sl_lit(text, made.n), &id)) fail_msg("a change at %zu went unnoticed", i);
        assert_false(cursor_read(a, route, sl_lit(made.p, i), &id));
    }
    assert_false(cursor_read(a, route, SL(""), &id));
    assert_true(sl_is(page_sql(a, SL("select 1 where a = $1 {{page}} x"), 1, false),
                      "select 1 where a = $1 order by id desc limit $2 x"));
    assert_true(sl_is(page_sql(a, SL("where {{page}}"), 2, true), "where and id < $3 order by id desc limit $4"));
    assert_false(sl_given(page_sql(a, SL("select 1"), 0, false)));
    arena_free(a);
}

static void a_key_repeats_the_answer(void **state)
{
    (void)state;
    struct unit_exchange *first = unit_ask("POST", "/things", TOKEN JSON "idempotency-key: k1\n", "{\"name\":\"a\"}");
    struct unit_exchange *again = unit_ask("POST", "/things", TOKEN JSON "idempotency-key: k1\n", "{\"name\":\"a\"}");
    assert_int_equal(first->answer.status, 201);
    assert_string_equal(first->answer.body, again->answer.body);
    assert_non_null(strstr(again->answer.headers, "Location: /things/"));
    assert_non_null(strstr(again->answer.headers, "ETag: \"1\""));
    unit_free(first);
    assert_answer(again, 201, NULL, "Idempotency-Hit: true");
    assert_int_equal(effects, 1);
    assert_answer(unit_ask("POST", "/things", TOKEN JSON "idempotency-key: k1\n", "{\"name\":\"b\"}"), 422,
                  "idempotency_key_reused", NULL);
    assert_answer(unit_ask("POST", "/secrets", TOKEN JSON "idempotency-key: k1\n", "{\"name\":\"a\"}"), 422,
                  "idempotency_key_reused", NULL);
    assert_int_equal(effects, 1);
    assert_answer(
        unit_ask("POST", "/things", TOKEN JSON "idempotency-key: k1\nx-tenant-id: other\n", "{\"name\":\"a\"}"), 201,
        NULL, NULL);
    assert_answer(unit_ask("POST", "/things", ADMIN JSON "idempotency-key: k1\n", "{\"name\":\"a\"}"), 201, NULL, NULL);
    assert_int_equal(effects, 3); /* another tenant's and another caller's keys are their own */
    assert_answer(unit_ask("POST", "/things", TOKEN JSON "idempotency-key: a b\n", "{\"name\":\"a\"}"), 400,
                  "invalid_idempotency_key", NULL);
}

static void a_rolled_back_answer_is_not_kept(void **state)
{
    (void)state;
    for (int i = 1; i <= 2; i++) {
        assert_answer(unit_ask("POST", "/things", TOKEN JSON "idempotency-key: k2\n", "{\"name\":\"refused\"}"), 409,
                      "\"refused\"", NULL);
        assert_int_equal(effects, i);
    }
}

static void racing_requests_have_one_effect(void **state)
{
    struct unit_exchange *u[8];
    int hits = 0;
    (void)state;
    for (int i = 0; i < 8; i++)
        u[i] = unit_request("POST", "/things", TOKEN JSON "idempotency-key: race\n", "{\"name\":\"racer\"}");
    for (int i = 0; i < 8; i++)
        unit_begin(u[i]);
    for (int i = 0; i < 8; i++)
        unit_wait(u[i]);
    assert_true(effects > 1); /* they did race */
    for (int i = 0; i < 8; i++) {
        assert_int_equal(u[i]->answer.status, 201);
        assert_string_equal(u[i]->answer.body, u[0]->answer.body);
        hits += strstr(u[i]->answer.headers, "Idempotency-Hit") != NULL;
    }
    assert_int_equal(hits, 7);
    for (int i = 0; i < 8; i++)
        unit_free(u[i]);
    struct unit_exchange *all = unit_ask("GET", "/things", TOKEN, NULL);
    char *one = strstr(all->answer.body, "racer");
    assert_non_null(one);
    assert_null(strstr(one + 1, "racer"));
    unit_free(all);
}

static void secrets_are_not_kept(void **state)
{
    (void)state;
    assert_answer(unit_ask("POST", "/secrets", TOKEN JSON "idempotency-key: s\n", "{\"name\":\"a\"}"), 201,
                  "\"name\":\"a\"", NULL);
    struct unit_exchange *u = unit_ask("POST", "/secrets", TOKEN JSON "idempotency-key: s\n", "{\"name\":\"a\"}");
    assert_int_equal(u->answer.body_n, 0);
    assert_answer(u, 201, NULL, "Idempotency-Hit: true");
    assert_int_equal(effects, 1);
    assert_answer(unit_ask("POST", "/secrets", TOKEN JSON "idempotency-key: s\n", "{\"name\":\"b\"}"), 422,
                  "idempotency_key_reused", NULL);
}

static void old_keys_end(void **state)
{
    (void)state;
    assert_answer(unit_ask("POST", "/things", TOKEN JSON "idempotency-key: old\n", "{\"name\":\"a\"}"), 201, NULL,
                  NULL);
    http_cfg.idempotency_ms = -1; /* everything is too old */
    assert_answer(unit_ask("POST", "/things", TOKEN JSON "idempotency-key: old\n", "{\"name\":\"b\"}"), 201, "\"b\"",
                  NULL);
    assert_int_equal(effects, 2);
    unit_call(http_sweep);
    http_cfg.idempotency_ms = 60000;
    assert_answer(unit_ask("POST", "/things", TOKEN JSON "idempotency-key: old\n", "{\"name\":\"c\"}"), 201, "\"c\"",
                  NULL);
    assert_int_equal(effects, 3);
}

static void a_client_that_leaves_ends_its_call(void **state)
{
    (void)state;
    struct unit_exchange *u = unit_request("GET", "/sleep/x", TOKEN, NULL);
    unit_begin(u);
    assert_non_null(asleep);
    u->x.on_gone(&u->x);
    unit_wait(u);
    assert_null(asleep);
    assert_int_equal(effects, 1);
    assert_true(u->answer.gone);
    unit_free(u);
    u = unit_request("POST", "/things", TOKEN, NULL); /* left between head and body */
    http_hooks()->on_head(&u->x);
    u->x.on_gone(&u->x);
    unit_free(u);
}

static void plugins_come_and_go(void **state)
{
    (void)state;
    struct unit_exchange *u = unit_request("GET", "/hello", TOKEN, NULL);
    http_hooks()->on_head(&u->x);
    unit_revision++; /* replaced between head and body */
    http_hooks()->on_request(&u->x);
    assert_answer(u, 200, "hello", NULL);
    u = unit_request("GET", "/hello", TOKEN, NULL);
    http_hooks()->on_head(&u->x);
    unit_module.status = MODULE_STOPPING;
    http_hooks()->on_request(&u->x);
    assert_answer(u, 503, "The service unit does not run now (stopping).", "Retry-After: 5");
    unit_module.status = MODULE_FAILED;
    strcpy(unit_module.error, "no such table");
    unit_revision++;
    assert_answer(unit_ask("GET", "/hello", TOKEN, NULL), 503, "The service unit does not run now (failed).",
                  "Retry-After: 5");
}

static void overload_is_answered_early(void **state)
{
    (void)state;
    http_cfg.max_inflight = 1;
    struct unit_exchange *u = unit_request("GET", "/sleep/y", TOKEN, NULL);
    unit_begin(u);
    assert_answer(unit_ask("GET", "/hello", TOKEN, NULL), 503, "overloaded", "Retry-After: 1");
    u->x.on_gone(&u->x);
    unit_wait(u);
    unit_free(u);
    assert_answer(unit_ask("GET", "/hello", TOKEN, NULL), 200, NULL, NULL);
}

/* The names of an older draft stood there: a browser's script could not read the two that are sent. */
static void scripts_may_read_the_rate_limit_headers(void **state)
{
    static const sl_str origin = { "https://app.example", 19 };
    (void)state;
    http_cfg.cors_origins = &origin;
    http_cfg.n_cors_origins = 1;
    assert_answer(unit_ask("GET", "/hello", TOKEN "origin: https://app.example\n", NULL), 200, NULL,
                  "Idempotency-Hit, RateLimit, RateLimit-Policy\n");
    http_cfg.n_cors_origins = 0;
}

static void cors(void **state)
{
    static const sl_str origin = { "https://app.example", 19 };
    (void)state;
    struct unit_exchange *u = unit_ask("GET", "/hello", TOKEN "origin: https://app.example\n", NULL);
    assert_null(strstr(u->answer.headers, "Access-Control"));
    unit_free(u);
    http_cfg.cors_origins = &origin;
    http_cfg.n_cors_origins = 1;
    assert_answer(unit_ask("GET", "/hello", TOKEN "origin: https://app.example\n", NULL), 200, NULL,
                  "Vary: Origin\nAccess-Control-Allow-Origin: https://app.example");
    assert_answer(unit_ask("GET", "/hello", "origin: https://app.example\n", NULL), 401, NULL,
                  "Access-Control-Allow-Origin"); /* readable errors */
    u = unit_ask("GET", "/hello", TOKEN "origin: https://evil.example\n", NULL);
    assert_null(strstr(u->answer.headers, "Access-Control"));
    assert_answer(u, 200, NULL, "Vary: Origin");
    assert_answer(
        unit_ask("OPTIONS", "/things", "origin: https://app.example\naccess-control-request-method: POST\n", NULL), 204,
        NULL,
        "Access-Control-Allow-Methods: GET, HEAD, POST, OPTIONS\nAccess-Control-Allow-Headers: Authorization, "
        "Content-Type, X-Tenant-ID");
    http_cfg.n_cors_origins = 0;
}

/* Not a test of time: prints what the floor costs, when asked. */
static void cost(void **state)
{
    const char *rounds = getenv("UNIT_COST");
    (void)state;
    if (!rounds) return;
    struct unit_exchange *u = unit_request("GET", "/hello",
                                           TOKEN "host: localhost:8080\nuser-agent: wrk\naccept: */*\n", NULL);
    int64_t began = clock_monotonic();
    int n = atoi(rounds);
    log_setup(SL_INFO, LOG_AS_TEXT, 9);
    sl_str target = SL("/hello");
    unit_quiet = true;
    for (int i = 0; i < n; i++) {
        u->x.target = u->x.path = target;
        u->x.method = SL("GET");
        u->answer.done = false;
        u->answer.body_n = 0;
        unit_begin(u);
        if (i % 64 == 0) log_flush();
    }
    unit_quiet = false;
    print_message("%.0f ns a request\n", (double)(clock_monotonic() - began) / n);
    u->x.arena = arena_new(0);
    unit_free(u);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = { T(routes_and_methods),
                                        T(query_is_checked_and_converted),
                                        T(body_is_checked),
                                        T(results_become_problems),
                                        T(request_ids),
                                        T(handlers_headers),
                                        T(streams),
                                        T(etag_and_304),
                                        T(lists_have_pages),
                                        cmocka_unit_test(cursors),
                                        T(a_key_repeats_the_answer),
                                        T(a_rolled_back_answer_is_not_kept),
                                        T(racing_requests_have_one_effect),
                                        T(secrets_are_not_kept),
                                        T(old_keys_end),
                                        T(a_client_that_leaves_ends_its_call),
                                        T(plugins_come_and_go),
                                        T(overload_is_answered_early),
                                        T(cors),
                                        T(scripts_may_read_the_rate_limit_headers),
                                        T(cost) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
