/* bench.c - what the benchmarks call: a trivial answer, one durable row, and jobs that do nothing. */
#include <service_layer/plugin.h>

#define ROW_IN SL_OBJECT(SL_REQUIRED("body", SL_STRING(1, 1000), "Any text."))
#define ROW                                                                                                            \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "Of the row."), SL_REQUIRED("body", SL_STRING(1, 1000), "Any text."),           \
              SL_REQUIRED("created_at", SL_TIME, "When it was written."))

static sl_err hello(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_json(c, 200, SL("{\"message\":\"hello\"}"));
}

static sl_err add_row(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(c, &rows,
                        "insert into bench_rows (id, tenant, body, created_at) values ($1, $2, $3, $4) returning *",
                        sl_new_id(c), sl_fact(c, "tenant"), sl_body(c, "body"), sl_now(c));
    return e ? e : sl_reply_row(c, 201, rows);
}

static sl_err add_jobs(void *self, sl_call *c)
{
    int64_t n = sl_to_int(sl_body(c, "count"), 0);
    sl_err e = SL_OK;
    (void)self;
    for (int64_t i = 0; i < n && !e; i++)
        e = sl_enqueue(c, "bench.nothing", sl_lit(NULL, 0), sl_format(c, "{\"n\":%lld}", (long long)i), 0);
    return e ? e : sl_reply_json(c, 202, SL("{}"));
}

static sl_err nothing(void *self, sl_call *c)
{
    (void)self;
    (void)c;
    return SL_OK;
}

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /bench/hello", hello, .scope = "bench:read", .doc = "A trivial answer." },
    { SL_ROUTE, "POST /bench/rows", add_row, .scope = "bench:write", .in = ROW_IN, .out = ROW, .status = 201,
      .doc = "One durable row." },
    { SL_ROUTE, "POST /bench/jobs", add_jobs, .scope = "bench:write",
      .in = SL_OBJECT(SL_REQUIRED("count", SL_INTEGER(1, 5000), "Jobs.")), .status = 202,
      .doc = "Enqueue jobs that do nothing." },
    { SL_JOB, "bench.nothing", nothing, .doc = "Nothing." },
};
static const sl_need needs[] = { { "sl.core", 1, 0 }, { "sl.store", 1, 0 }, { "sl.jobs", 1, 0 } };
SL_PLUGIN("bench", "1.0.0", SL_ENTRIES(entries), SL_NEEDS(needs), .doc = "Routes for benchmarks.",
          .grants = "store:bench_*");
