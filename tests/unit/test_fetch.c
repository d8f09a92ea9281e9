/* test_fetch.c - outbound HTTP against real servers on loopback: answers, limits, deadlines, turns. Run in the tree's
 * top. */
#include "fetch_shots.h"
#include <sys/resource.h>

static void an_answer_is_complete(void **state)
{
    (void)state;
    struct shot s = { 0 };
    begin_private();
    assert_ok(get(&s, "http://127.0.0.1:%d/plain"), 200, "hello");
    assert_string_equal(s.out.type.p, "text/plain; charset=utf-8");
    assert_string_equal(s.out.address.p, "127.0.0.1");
    assert_string_equal(header(&s, "x-two").p, "a");
    assert_true(s.out.wire_bytes > 80 && s.out.wire_bytes < 400);
    assert_int_equal(s.out.redirects, 0);
    over(&s);
    assert_ok(get(&s, "http://127.0.0.1:%d/status?code=503"), 503, "{}");
    over(&s);
    assert_ok(get(&s, "http://127.0.0.1:%d/interim"), 200, "final");
    assert_false(sl_given(header(&s, "x-interim")));
    assert_string_equal(header(&s, "x-final").p, "yes");
    over(&s);
    assert_ok(get(&s, "http://127.0.0.1:%d/trailer"), 200, "abc");
    assert_false(sl_given(header(&s, "x-late")));
    over(&s);
    assert_int_equal(fetch_stats().done, 4);
    assert_int_equal(fetch_stats().failed, 0);
    fetch_close();
}

static void a_request_arrives_as_given(void **state)
{
    (void)state;
    struct shot s = { 0 };
    const sl_pair headers[] = { { SL("X-Key"), SL("abc") },
                                { SL("X-Empty"), SL("") },
                                { SL("Content-Type"), SL("application/json") } };
    begin((struct fetch_config){ .allow_private = true, .user_agent = "tester/1" });
    s.request.method = SL("PUT");
    s.request.body = SL("{\"a\":1}");
    s.request.headers = headers;
    s.request.n_headers = 3;
    assert_ok(get(&s, "http://127.0.0.1:%d/echo"), 200, NULL);
    assert_echo(&s, "/method", "PUT");
    assert_echo(&s, "/body", "{\"a\":1}");
    assert_echo(&s, "/headers/x-key", "abc");
    assert_echo(&s, "/headers/x-empty", "");
    assert_echo(&s, "/headers/content-type", "application/json");
    assert_echo(&s, "/headers/user-agent", "tester/1");
    assert_echo(&s, "/headers/accept-encoding", "gzip, deflate");
    assert_echo(&s, "/headers/expect", NULL);
    over(&s);
    static const char *const methods[] = { "POST", "DELETE", "PATCH", "OPTIONS", "QUERY" };
    for (size_t i = 0; i < 5; i++) {
        s.request.method = sl_cstr(methods[i]);
        assert_ok(get(&s, "http://127.0.0.1:%d/echo"), 200, NULL);
        assert_echo(&s, "/method", methods[i]);
        assert_echo(&s, "/headers/content-type", NULL);
        assert_echo(&s, "/headers/content-length", i == 0 || i == 2 ? "0" : NULL);
        over(&s);
    }
    s.request.method = SL("HEAD");
    assert_ok(get(&s, "http://127.0.0.1:%d/announced"), 200, "");
    over(&s);
    fetch_close();
}

static void malformed_requests_are_refused(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "",        "ftp://127.0.0.1/x",    "file:///etc/passwd",        "gopher://127.0.0.1/", "127.0.0.1",
        "http://", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: y", "http://a:99999/",     "/relative"
    };
    struct shot s = { 0 };
    begin_private();
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        assert_failed(get(&s, urls[i]), SL_EINVAL, "protocol");
        over(&s);
    }
    s.request.url = SL("http://127.0.0.1/\0x");
    fire(&s);
    assert_true(s.done);
    assert_failed(&s, SL_EINVAL, "protocol");
    over(&s);
    static const sl_str methods[] = { { "GET\r\nX: y", 9 }, { "G T", 3 },  { "CONNECT", 7 },
                                      { "trace", 5 },       { "G\0T", 3 }, { "AVERYLONGMETHODNAME", 19 } };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        s.request.method = methods[i];
        assert_failed(get(&s, "http://127.0.0.1:%d/plain"), SL_EINVAL, "protocol");
        over(&s);
    }
    static const sl_pair headers[] = {
        { { "X", 1 }, { "a\r\nY: b", 7 } },
        { { "X", 1 }, { "a\nb", 3 } },
        { { "X", 1 }, { "a\0b", 3 } },
        { { "X: y\r\nZ", 7 }, { "a", 1 } },
        { { "X Y", 3 }, { "a", 1 } },
        { { "", 0 }, { "a", 1 } },
        { { "Host", 4 }, { "a", 1 } },
        { { "content-length", 14 }, { "9", 1 } },
        { { "Transfer-Encoding", 17 }, { "chunked", 7 } },
        { { "Proxy-Authorization", 19 }, { "x", 1 } },
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        s.request.headers = &headers[i];
        s.request.n_headers = 1;
        assert_failed(get(&s, "http://127.0.0.1:%d/plain"), SL_EINVAL, "protocol");
        over(&s);
    }
    fetch_close();
}

static void too_long_answers_are_cut_off(void **state)
{
    (void)state;
    static const char *const paths[] = { "bomb",        "doublebomb", "endless",        "announced",
                                         "manyheaders", "bigheader",  "endlessheaders", "endlessinterim" };
    struct shot s = { 0 };
    struct rusage before, after;
    begin((struct fetch_config){ .allow_private = true, .max_bytes = 256 << 10 });
    assert_ok(get(&s, "http://127.0.0.1:%d/gzip"), 200, NULL);
    assert_int_equal(s.out.body.n, 9000);
    assert_true(s.out.wire_bytes < 1000);
    over(&s);
    getrusage(RUSAGE_SELF, &before);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char url[100];
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%%d/%s", paths[i]);
        assert_failed(get(&s, url), SL_ETOOBIG, "too_large");
        assert_true(s.out.elapsed_ms < 20000); /* `announced` would take a minute */
        over(&s);
    }
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 8 << 10); /* KiB; a bomb unpacks to 50 MiB */
    s.request.max_bytes = 9000;
    assert_ok(get(&s, "http://127.0.0.1:%d/gzip"), 200, NULL);
    over(&s);
    s.request.max_bytes = 8999;
    assert_failed(get(&s, "http://127.0.0.1:%d/gzip"), SL_ETOOBIG, "too_large");
    over(&s);
    fetch_close();
}

static void broken_answers_are_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = { { "short", "protocol" },
                                            { "close", "protocol" },
                                            { "nonsense", "protocol" },
                                            { "badgzip", "protocol" },
                                            { "zstd", "protocol" } };
    struct shot s = { 0 };
    begin_private();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char url[100];
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%%d/%s", cases[i][0]);
        assert_failed(get(&s, url), SL_EUPSTREAM, cases[i][1]);
        over(&s);
    }
    assert_ok(get(&s, "http://127.0.0.1:%d/longer"), 200, "five!");
    over(&s);
    assert_failed(get(&s, "http://127.0.0.1:1/"), SL_EUPSTREAM, "connect");
    over(&s);
    assert_failed(get(&s, "http://none.test/"), SL_EUPSTREAM, "dns");
    over(&s);
    fetch_close();
}

static void deadlines_end_a_request(void **state)
{
    (void)state;
    struct shot s = { 0 };
    begin_private();
    s.request.timeout_ms = 200;
    assert_failed(get(&s, "http://127.0.0.1:%d/hang"), SL_ETIME, "timeout");
    assert_true(s.out.elapsed_ms >= 190 && s.out.elapsed_ms < 3000);
    over(&s);
    s.deadline_ms = 200; /* the call's own */
    assert_failed(get(&s, "http://127.0.0.1:%d/hang"), SL_ETIME, "timeout");
    over(&s);
    s.request.timeout_ms = 1500;
    assert_failed(get(&s, "http://127.0.0.1:%d/drip"), SL_ETIME, "timeout");
    over(&s);
    fetch_close();
    begin((struct fetch_config){ .allow_private = true, .default_ms = 150 });
    assert_failed(get(&s, "http://127.0.0.1:%d/hang"), SL_ETIME, "timeout");
    over(&s);
    assert_int_equal(fetch_stats().active, 0);
    fetch_close();
}

/* Giving up a request waited for the name look-up, on the loop, for as long as that took. */
static void a_slow_name_server_does_not_block_the_loop(void **state)
{
    (void)state;
    struct shot s = { 0 }, other = { 0 };
    begin_private();
    uint64_t started = uv_hrtime();
    s.request.timeout_ms = 300;
    s.request.url = SL("http://slow.test/");
    fire(&s);
    assert_ok(get(&other, "http://127.0.0.1:%d/plain"), 200, "hello");
    assert_false(s.done);
    await(&s);
    assert_failed(&s, SL_ETIME, "timeout");
    fetch_close();
    assert_true(uv_hrtime() - started < UINT64_C(10000000000)); /* the look-up takes 20 s */
    over(&s);
    over(&other);
}

/* What makes no body was counted nowhere, and libcurl did not give the loop back while it came in: a source could stop
 * the server for as long as it liked. */
static void an_endless_answer_without_a_body_does_not_block_the_loop(void **state)
{
    (void)state;
    static const char *const urls[] = { "http://127.0.0.1:%d/endlesschunk", "http://127.0.0.1:%d/endlesscomment",
                                        "http://127.0.0.1:%d/endlessblocks", "https://127.0.0.1:%d/endlesschunk" };
    char ca[64];
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", directory);
    struct shot s = { 0 };
    begin((struct fetch_config){ .allow_private = true, .max_bytes = 1 << 20, .ca_file = ca });
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        s.request.timeout_ms = 20000;
        assert_failed(get(&s, urls[i]), SL_ETOOBIG, "too_large");
        assert_non_null(strstr(s.out.error.p, "on the wire"));
        over(&s);
    }
    fetch_close();
}

static void a_cancelled_call_lets_go(void **state)
{
    (void)state;
    struct shot s = { 0 };
    begin_private();
    s.request.url = to_url("http://127.0.0.1:%d/hang", http_port);
    fire(&s);
    for (int i = 0; i < 20; i++)
        uv_run(loop_uv(), UV_RUN_NOWAIT);
    assert_int_equal(fetch_stats().active, 1);
    call_cancel(s.call);
    await(&s);
    assert_int_equal(s.code, SL_ECANCEL);
    assert_int_equal(s.out.status, 0);
    assert_int_equal(fetch_stats().active, 0);
    over(&s);
    fetch_close();
}

static void close_run(call *c)
{
    (void)c;
    fetch_close();
}

static void close_in_work(bool on_a_fiber)
{
    struct shot s[3] = { 0 };
    begin((struct fetch_config){ .allow_private = true, .max_total = 2 });
    for (int i = 0; i < 3; i++) {
        s[i].request.url = to_url("http://127.0.0.1:%d/hang", http_port);
        fire(&s[i]);
    }
    for (int i = 0; i < 20; i++)
        uv_run(loop_uv(), UV_RUN_NOWAIT);
    assert_int_equal(fetch_stats().active, 2);
    assert_int_equal(fetch_stats().waiting, 1);
    if (on_a_fiber)
        assert_true(call_start(0, 0, NULL, NULL, close_run));
    else
        fetch_close();
    for (int i = 0; i < 3; i++) {
        assert_true(s[i].done);
        assert_int_equal(s[i].code, SL_ECANCEL);
        over(&s[i]);
    }
    struct shot late = { 0 };
    late.request.url = SL("http://127.0.0.1/");
    fire(&late);
    assert_int_equal(late.code, SL_EUNAVAIL);
    over(&late);
}

static void closing_ends_what_is_in_work(void **state)
{
    (void)state;
    close_in_work(false);
    close_in_work(true);
}

static void requests_wait_their_turn(void **state)
{
    (void)state;
    static const struct {
        uint32_t total, host;
        unsigned most;
    } cases[] = { { 4, 100, 4 }, { 100, 3, 3 }, { 5, 4, 5 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct shot s[24] = { 0 }, counts = { 0 };
        unsigned most, accepted;
        begin(
            (struct fetch_config){ .allow_private = true, .max_total = cases[i].total, .max_per_host = cases[i].host });
        over(get(&counts, "http://127.0.0.1:%d/counts"));
        for (int j = 0; j < 24; j++) {
            s[j].request.url = to_url(i == 2 && j % 2 ? "http://127.0.0.2:%d/hold" : "http://127.0.0.1:%d/hold",
                                      http_port);
            s[j].request.timeout_ms = 20000;
            fire(&s[j]);
        }
        assert_true(fetch_stats().waiting >= 24 - cases[i].total || fetch_stats().waiting >= 24 - cases[i].host);
        for (int j = 0; j < 24; j++) {
            await(&s[j]);
            assert_ok(&s[j], 200, "held");
        }
        for (int j = 0; j < 24; j++)
            over(&s[j]);
        get(&counts, "http://127.0.0.1:%d/counts");
        assert_int_equal(sscanf(counts.out.body.p, "%u %u", &most, &accepted), 2);
        assert_int_equal(most, cases[i].most);
        over(&counts);
        /* Waiting counts against the deadline. */
        struct shot first = { 0 };
        fetch_close();
        begin((struct fetch_config){ .allow_private = true, .max_total = 1 });
        first.request.url = to_url("http://127.0.0.1:%d/hang", http_port);
        first.request.timeout_ms = 600;
        fire(&first);
        counts.request.timeout_ms = 100;
        assert_failed(get(&counts, "http://127.0.0.1:%d/plain"), SL_ETIME, "timeout");
        assert_non_null(strstr(counts.out.error.p, "waited for other requests"));
        assert_false(first.done);
        await(&first);
        over(&first);
        over(&counts);
        fetch_close();
    }
}

static void a_connection_is_kept(void **state)
{
    (void)state;
    struct shot s = { 0 };
    begin_private();
    over(get(&s, "http://127.0.0.1:%d/counts")); /* closes its connection */
    for (int i = 0; i < 5; i++) {
        assert_ok(get(&s, "http://127.0.0.1:%d/plain"), 200, "hello");
        over(&s);
    }
    get(&s, "http://127.0.0.1:%d/counts");
    assert_string_equal(s.out.body.p, "0 1");
    over(&s);
    fetch_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_complete),
        cmocka_unit_test(a_request_arrives_as_given),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(too_long_answers_are_cut_off),
        cmocka_unit_test(broken_answers_are_named),
        cmocka_unit_test(deadlines_end_a_request),
        cmocka_unit_test(a_slow_name_server_does_not_block_the_loop),
        cmocka_unit_test(an_endless_answer_without_a_body_does_not_block_the_loop),
        cmocka_unit_test(a_cancelled_call_lets_go),
        cmocka_unit_test(closing_ends_what_is_in_work),
        cmocka_unit_test(requests_wait_their_turn),
        cmocka_unit_test(a_connection_is_kept),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
