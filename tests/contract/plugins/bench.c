/* bench.c - the two routes that the benchmarks call: a trivial answer and one durable row. */
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

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /bench/hello", hello, .scope = "bench:read", .doc = "A trivial answer." },
    { SL_ROUTE, "POST /bench/rows", add_row, .scope = "bench:write", .in = ROW_IN, .out = ROW, .status = 201,
      .doc = "One durable row." },
};
static const sl_need needs[] = { { "sl.core", 1, 0 }, { "sl.store", 1, 0 } };
SL_PLUGIN("bench", "1.0.0", SL_ENTRIES(entries), SL_NEEDS(needs), .doc = "Routes for benchmarks.",
          .grants = "store:bench_*");
