/* test_problem.c - problem documents and what error codes become. */
#include "rest/problem.h"
#include "unit.h"

static void a_whole_problem(void **state)
{
    buf b;
    (void)state;
    buf_init(&b, 4096);
    problem_write(&b, 422, SL("invalid_input"), SL("The body \"x\"."), SL("/accounts"),
                  SL("0af7651916cd43dd8448eb211c80319c"), SL("[{\"pointer\":\"/name\",\"detail\":\"is required\"}]"));
    buf_add_char(&b, 0);
    assert_string_equal(b.p, "{\"type\":\"/problems/invalid_input\",\"title\":\"Unprocessable Content\",\"status\":422,"
                             "\"detail\":\"The body \\\"x\\\".\",\"instance\":\"/accounts\",\"code\":\"invalid_input\","
                             "\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"errors\":[{\"pointer\":\"/"
                             "name\",\"detail\":\"is required\"}]}");
    buf_clear(&b);
    problem_write(&b, 500, SL("a\"b"), sl_lit(NULL, 0), sl_lit(NULL, 0), sl_lit(NULL, 0), sl_lit(NULL, 0));
    buf_add_char(&b, 0);
    assert_string_equal(
        b.p, "{\"type\":\"/problems/a_b\",\"title\":\"Internal Server Error\",\"status\":500,\"code\":\"a\\\"b\"}");
    buf_free(&b);
}

static void every_error_has_its_status(void **state)
{
    static const struct {
        sl_err e;
        int status;
    } map[] = { { SL_EINVAL, 400 },    { SL_ENOENT, 404 },   { SL_EDENIED, 403 },
                { SL_ECONFLICT, 409 }, { SL_EPRECOND, 412 }, { SL_ETOOBIG, 413 },
                { SL_EBUSY, 429 },     { SL_ECANCEL, 503 },  { SL_ETIME, 504 },
                { SL_EUPSTREAM, 502 }, { SL_EUNAVAIL, 503 }, { SL_ESTATE, 500 },
                { SL_EINTERNAL, 500 }, { SL_EDEAD, 500 },    { 7, 500 } };
    (void)state;
    for (size_t i = 0; i < sizeof map / sizeof *map; i++) {
        const char *code = NULL, *title = NULL;
        assert_int_equal(problem_status(map[i].e, &code, &title), map[i].status);
        assert_true(code && code[0] && title && title[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_whole_problem),
                                        cmocka_unit_test(every_error_has_its_status) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
