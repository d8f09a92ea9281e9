/* test_span.c - trace context as W3C writes it, the bytes of protocol buffers, and the bounds of the span queue. */
#include "base/protobuf.h"
#include "observe/span.h"
#include "unit.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"

static bool join(const char *text)
{
    struct call_trace t;
    return trace_join(&t, sl_cstr(text));
}

static void traceparents(void **unused)
{
    struct call_trace t;
    char out[TRACEPARENT_TEXT];
    (void)unused;
    assert_true(trace_join(&t, SL("00-" TRACE "-b7ad6b7169203331-01")));
    assert_true(sl_is(t.id, TRACE) && t.span == UINT64_C(0xb7ad6b7169203331) && t.flags == 1);
    assert_false(t.recorded); /* nobody takes spans */
    assert_true(sl_is(trace_parent(&t, out), "00-" TRACE "-b7ad6b7169203331-01"));
    assert_true(join("00-" TRACE "-b7ad6b7169203331-00"));
    assert_true(join("cc-" TRACE "-b7ad6b7169203331-01-what-the-future-brings"));
    assert_true(join("01-" TRACE "-b7ad6b7169203331-01"));
    static const char *const bad[] = { "",
                                       "00",
                                       "00-" TRACE "-b7ad6b7169203331",
                                       "00-" TRACE "-b7ad6b7169203331-0",
                                       "00-" TRACE "-b7ad6b7169203331-01-more",
                                       "01-" TRACE "-b7ad6b7169203331-01.more",
                                       "ff-" TRACE "-b7ad6b7169203331-01",
                                       "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                       "00-" TRACE "-0000000000000000-01",
                                       "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                                       "00-" TRACE "-b7ad6b716920333g-01",
                                       "00-" TRACE "-b7ad6b7169203331-0x",
                                       "00_" TRACE "-b7ad6b7169203331-01" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (join(bad[i])) fail_msg("taken: %s", bad[i]);
    assert_false(sl_given(trace_parent(&(struct call_trace){ .span = 1 }, out)));
}

static void protobuf_bytes(void **unused)
{
    buf b;
    char text[300];
    (void)unused;
    buf_init(&b, 4096);
    pb_int(&b, 1, 150); /* the example of the encoding's own documentation */
    pb_int(&b, 9, 0);
    pb_bytes(&b, 2, SL("testing"));
    assert_memory_equal(b.p, "\x08\x96\x01\x12\x07testing", 12);
    assert_int_equal(b.n, 12);
    buf_clear(&b);
    size_t outer = pb_open(&b, 3), inner = pb_open(&b, 1);
    memset(text, 'x', sizeof text);
    pb_bytes(&b, 1, sl_lit(text, sizeof text));
    pb_close(&b, inner);
    pb_bytes(&b, 2, SL("after it"));
    pb_close(&b, outer);
    assert_memory_equal(b.p, "\x1a\xbc\x02\x0a\xaf\x02\x0a\xac\x02xxx", 12);
    assert_int_equal(b.n, 3 + 0x13c);
    assert_memory_equal(b.p + b.n - 10,
                        "\x12\x08"
                        "after it",
                        10);
    buf_free(&b);
}

static int rung;
static void ring(void) { rung++; }

static void record(size_t n, sl_str name)
{
    for (size_t i = 0; i < n; i++)
        span_write(&(struct span_record){
            .trace = SL(TRACE), .id = span_id_new(), .start = 5, .end = 3, .kind = SPAN_SERVER, .name = name });
}

static void the_queue_is_bounded(void **unused)
{
    static char large[900];
    buf out = { 0 };
    struct call_trace t;
    (void)unused;
    record(1, SL("nobody listens"));
    assert_int_equal(spans_stats().recorded, 0);
    spans_setup(&(struct spans_config){ .ratio = 1, .max_spans = 10, .batch = 4, .full = ring });
    record(13, SL("short"));
    assert_int_equal(rung, 1);
    assert_int_equal(spans_stats().waiting, 10);
    assert_int_equal(spans_stats().dropped, 3);
    assert_int_equal(spans_take(&out), 10);
    assert_int_equal(spans_stats().waiting, 0);
    memset(large, 'y', sizeof large);
    const struct span_attribute a[] = { SPAN_S("a", sl_lit(large, sizeof large)),
                                        SPAN_S("b", sl_lit(large, sizeof large)) };
    for (int i = 0; i < 10; i++) /* the bytes have a bound too */
        span_write(&(struct span_record){ .trace = SL(TRACE), .id = 1, .kind = SPAN_CLIENT, .attributes = a, .n = 2 });
    assert_true(spans_stats().waiting > 2 && spans_stats().waiting < 10);
    assert_int_equal(spans_take(&out), 13 - spans_stats().dropped);
    record(1, SL("room again"));
    assert_int_equal(spans_stats().waiting, 1);
    trace_begin(&t, SL(TRACE));
    assert_true(t.recorded && t.flags == 1 && t.span);
    buf_free(&out);
    spans_close();
    assert_true(trace_join(&t, SL("00-" TRACE "-b7ad6b7169203331-01")));
    assert_false(t.recorded);
}

static void part_of_the_traces(void **unused)
{
    struct call_trace t;
    int n = 0;
    (void)unused;
    spans_setup(&(struct spans_config){ .ratio = 0.25, .max_spans = 10 });
    for (int i = 0; i < 20000; i++) {
        trace_begin(&t, SL(TRACE));
        n += t.recorded;
    }
    assert_in_range(n, 4500, 5500); /* 5000 +- 8 standard deviations */
    spans_setup(&(struct spans_config){ .ratio = 0, .max_spans = 10 });
    for (int i = 0; i < 1000; i++) {
        trace_begin(&t, SL(TRACE));
        assert_false(t.recorded);
    }
    assert_true(trace_join(&t, SL("00-" TRACE "-b7ad6b7169203331-01")));
    assert_true(t.recorded);
    spans_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(traceparents), cmocka_unit_test(protobuf_bytes),
                                        cmocka_unit_test(the_queue_is_bounded), cmocka_unit_test(part_of_the_traces) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
