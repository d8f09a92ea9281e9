/* test_frame.c - frames between host and child: round trips, and every way in which a hostile child can lie. */
#include "base/id.h"
#include "module/frame.h"
#include "unit.h"

static void values_round_trip(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, FRAME_MAX);
    arena *a = arena_new(0);
    sl_value in[] = { sl_int(INT64_MIN),        sl_real(-1.5),  sl_text(SL("text")), sl_blob(SL("\0\xff")),
                      sl_text(sl_lit(NULL, 0)), sl_text(SL("")) };
    sl_str names[] = { SL("a"), SL("b"), SL("c") };
    sl_rows rows = { .cols = 3, .rows = 2, .changed = 7, .names = names, .cells = in };
    sl_pair pairs[] = { { SL("k"), SL("v") }, { SL("absent"), { NULL, 0 } } };
    size_t start = frame_begin(&b, FRAME_QUERY, 42);
    put_u32(&b, 99);
    put_pairs(&b, pairs, 2);
    put_rows(&b, &rows);
    put_rows(&b, NULL);
    assert_true(frame_end(&b, start));

    struct frame f;
    assert_int_equal(frame_read(&f, buf_str(&b)), b.n);
    assert_int_equal(f.op, FRAME_QUERY);
    assert_int_equal(f.call, 42);
    assert_int_equal(get_u32(&f), 99);
    size_t n;
    const sl_pair *p = get_pairs(&f, a, &n);
    assert_int_equal(n, 2);
    assert_true(sl_is(p[0].value, "v") && !sl_given(p[1].value));
    const sl_rows *r = get_rows(&f, a);
    assert_non_null(r);
    assert_true(r->cells[0].i == INT64_MIN && r->cells[1].d < -1.4 && r->cells[3].s.n == 2);
    assert_true(r->cells[4].type == SL_NULL && r->cells[5].type == SL_TEXT && sl_given(r->cells[5].s));
    assert_null(get_rows(&f, a));
    assert_true(frame_done(&f));
    arena_free(a);
    buf_free(&b);
}

static void a_cut_frame_waits_for_more(void **state)
{
    (void)state;
    buf b;
    struct frame f;
    buf_init(&b, 1000);
    size_t start = frame_begin(&b, FRAME_LOCK, 1);
    put_str(&b, SL("name"));
    assert_true(frame_end(&b, start));
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(frame_read(&f, sl_lit(b.p, n)), 0);
    buf_free(&b);
}

static void lies_about_sizes_are_found(void **state)
{
    (void)state;
    arena *a = arena_new(0);
    struct frame f;
    size_t n;
    unsigned char head[32] = { 255, 255, 255, 255, FRAME_LOCK };
    assert_true(frame_read(&f, sl_lit((char *)head, sizeof head)) == SIZE_MAX);
    head[0] = 1, head[1] = head[2] = head[3] = 0;
    assert_true(frame_read(&f, sl_lit((char *)head, sizeof head)) == SIZE_MAX);
    head[0] = 28;
    memset(head + 12, 0xff, 20); /* counts and lengths of four thousand million */
    head[12] = 0xfe;
    assert_int_equal(frame_read(&f, sl_lit((char *)head, sizeof head)), 32);
    assert_null(get_str(&f).p);
    assert_true(f.bad);
    assert_int_equal(frame_read(&f, sl_lit((char *)head, sizeof head)), 32);
    get_values(&f, a, &n);
    assert_true(f.bad && n == 0);
    assert_false(frame_done(&f));
    arena_free(a);
}

static void random_bytes_never_hurt(void **state)
{
    (void)state;
    arena *a = arena_new(0);
    for (int round = 0; round < 20000; round++) {
        char bytes[96];
        struct frame f;
        size_t n;
        random_bytes(bytes, sizeof bytes);
        memcpy(bytes, (uint32_t[]){ sizeof bytes - 4 }, 4);
        bytes[4] = (char)(1 + (unsigned char)bytes[4] % (FRAME_OPS - 1));
        bytes[5] = bytes[6] = bytes[7] = 0;
        assert_int_equal(frame_read(&f, sl_lit(bytes, sizeof bytes)), sizeof bytes);
        get_pairs(&f, a, &n);
        get_rows(&f, a);
        get_values(&f, a, &n);
        get_str(&f);
        arena_reset(a);
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_round_trip),
        cmocka_unit_test(a_cut_frame_waits_for_more),
        cmocka_unit_test(lies_about_sizes_are_found),
        cmocka_unit_test(random_bytes_never_hurt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
