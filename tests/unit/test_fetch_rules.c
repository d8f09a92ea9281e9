/* test_fetch_rules.c - outbound HTTP: which addresses are refused, where redirects may lead, which certificates are
 * believed. */
#include "fetch_shots.h"

static void assert_blocked(const char *url, const char *address, const char *name)
{
    struct shot s = { 0 };
    assert_failed(get(&s, url), SL_EDENIED, "blocked");
    if (!strstr(s.out.error.p, address) || !strstr(s.out.error.p, name)) fail_msg("%s", s.out.error.p);
    over(&s);
}

static void private_addresses_are_refused_by_default(void **state)
{
    (void)state;
    struct shot s = { 0 };
    unsigned most, accepted;
    begin_private();
    over(get(&s, "http://127.0.0.1:%d/counts"));
    fetch_close();
    begin((struct fetch_config){ 0 });
    assert_blocked("http://127.0.0.1:%d/plain", "127.0.0.1", "loopback");
    assert_blocked("http://localhost:%d/plain", "1", "loopback");
    assert_blocked("http://2130706433:%d/plain", "127.0.0.1", "loopback");
    assert_blocked("http://0x7f.1:%d/plain", "127.0.0.1", "loopback");
    assert_blocked("http://0:%d/plain", "0.0.0.0", "this-network");
    assert_blocked("http://[::1]:%d/plain", "::1", "loopback");
    assert_blocked("http://[::ffff:127.0.0.1]:%d/plain", "127.0.0.1", "loopback");
    assert_blocked("http://mapped.test:%d/plain", "127.0.0.1", "loopback");
    assert_blocked("http://ten.test:%d/plain", "10.0.0.1", "private-use");
    assert_blocked("http://169.254.169.254/latest/meta-data", "169.254.169.254", "link-local");
    assert_blocked("http://[64:ff9b::7f00:1]:%d/plain", "64:ff9b::7f00:1", "loopback");
    assert_blocked("https://secure.test:%d/plain", "127.0.0.1", "loopback");
    assert_int_equal(fetch_stats().blocked, 12);
    fetch_close();
    begin_private();
    get(&s, "http://127.0.0.1:%d/counts");
    assert_int_equal(sscanf(s.out.body.p, "%u %u", &most, &accepted), 2);
    assert_int_equal(accepted, 1); /* this one: none of the others reached the server */
    over(&s);
    fetch_close();
}

static void the_allow_list_opens_single_addresses(void **state)
{
    (void)state;
    static const sl_str allow[] = { { "127.0.0.2", 9 }, { "10.20.0.0/16", 12 } }, wrong[] = { { "10.0.0.0/99", 11 } };
    struct shot s = { 0 };
    char why[200];
    begin((struct fetch_config){ .allow = allow, .n_allow = 2 });
    assert_ok(get(&s, "http://two.test:%d/plain"), 200, "hello");
    assert_string_equal(s.out.address.p, "127.0.0.2");
    over(&s);
    assert_blocked("http://one.test:%d/plain", "127.0.0.1", "loopback");
    assert_ok(get(&s, "http://both.test:%d/plain"), 200, "hello"); /* its other address was passed over */
    assert_string_equal(s.out.address.p, "127.0.0.2");
    over(&s);
    fetch_close();
    assert_int_not_equal(fetch_setup(&(struct fetch_config){ .allow = wrong, .n_allow = 1 }, why, sizeof why), 0);
    assert_string_equal(why, "outbound.allow: 10.0.0.0/99 is no address or block");
    assert_int_not_equal(fetch_setup(&(struct fetch_config){ .ca_file = "/nonexistent" }, why, sizeof why), 0);
    assert_string_equal(why, "outbound.ca_file: /nonexistent cannot be read");
}

static struct shot *redirect(struct shot *s, const char *from, const char *to)
{
    char url[400];
    (void)snprintf(url, sizeof url, "%s/redirect?to=%s", from, to);
    if (!s->request.max_redirects) s->request.max_redirects = 3;
    return get(s, url);
}

static void redirects_are_followed_as_far_as_asked(void **state)
{
    (void)state;
    struct shot s = { 0 };
    begin_private();
    assert_ok(redirect(&s, "http://127.0.0.1:%d", "/plain"), 200, "hello");
    assert_int_equal(s.out.redirects, 1);
    over(&s);
    assert_ok(get(&s, "http://127.0.0.1:%d/redirect?to=/plain"), 302, "moved"); /* none was asked for */
    assert_string_equal(header(&s, "location").p, "/plain");
    over(&s);
    s.request.max_redirects = 5;
    assert_failed(get(&s, "http://127.0.0.1:%d/loop"), SL_EUPSTREAM, "redirect");
    assert_string_equal(s.out.error.p, "more than 5 redirects");
    assert_int_equal(s.out.redirects, 5);
    over(&s);
    static const char *const bad[] = { "file:///etc/passwd", "ftp://127.0.0.1/", "http://", "javascript:1" };
    for (size_t i = 0; i < 4; i++) {
        assert_failed(redirect(&s, "http://127.0.0.1:%d", bad[i]), SL_EUPSTREAM, "redirect");
        over(&s);
    }
    fetch_close();
}

static void a_redirect_to_a_private_address_is_refused(void **state)
{
    (void)state;
    static const sl_str allow[] = { { "127.0.0.2", 9 } };
    begin((struct fetch_config){ .allow = allow, .n_allow = 1 });
    struct shot s = { 0 };
    assert_failed(redirect(&s, "http://two.test:%d", "http://one.test:%d/plain"), SL_EDENIED, "blocked");
    assert_int_equal(s.out.redirects, 1);
    over(&s);
    assert_failed(redirect(&s, "http://two.test:%d", "http://169.254.169.254/"), SL_EDENIED, "blocked");
    over(&s);
    fetch_close();
}

/* A name whose owner answers the first look-up with an address that is allowed and the next with one that is not. */
static void a_name_that_changes_between_look_ups_is_checked_again(void **state)
{
    (void)state;
    static const sl_str allow[] = { { "127.0.0.2", 9 } };
    struct shot s = { 0 };
    char url[200];
    begin((struct fetch_config){ .allow = allow, .n_allow = 1 });
    turned = 0;
    (void)snprintf(url, sizeof url, "http://turning.test:%%d/redirect?to=http://turning.test:%d/plain", https_port);
    s.request.max_redirects = 3;
    assert_failed(get(&s, url), SL_EDENIED, "blocked"); /* another port: it is looked up again */
    assert_non_null(strstr(s.out.error.p, "127.0.0.1"));
    assert_int_equal(s.out.redirects, 1);
    assert_int_equal(turned, 2);
    over(&s);
    fetch_close();
    turned = 1; /* asked anew, as after the look-up was forgotten */
    begin((struct fetch_config){ .allow = allow, .n_allow = 1 });
    assert_failed(get(&s, "http://turning.test:%d/plain"), SL_EDENIED, "blocked");
    over(&s);
    fetch_close();
}

static void secrets_do_not_follow_to_another_host(void **state)
{
    (void)state;
    static const sl_pair headers[] = { { { "Authorization", 13 }, { "Bearer s", 8 } },
                                       { { "Cookie", 6 }, { "a=b", 3 } },
                                       { { "X-Api-Key", 9 }, { "k", 1 } } };
    static const char *const names[] = { "/headers/authorization", "/headers/cookie", "/headers/x-api-key" };
    struct shot s = { 0 };
    begin_private();
    for (int same = 0; same < 2; same++) {
        s.request.headers = headers;
        s.request.n_headers = 3;
        assert_ok(
            redirect(&s, "http://me:pw@one.test:%d", same ? "http://one.test:%d/echo" : "http://two.test:%d/echo"), 200,
            NULL);
        for (int i = 0; i < 3; i++)
            assert_echo(&s, names[i], same ? headers[i].value.p : NULL);
        over(&s);
    }
    /* Not either when the first host sends it back to itself by way of another. */
    s.request.headers = headers;
    s.request.n_headers = 3;
    assert_ok(redirect(&s, "http://one.test:%d", "http://two.test:%d/redirect?to=http://one.test:%d/echo"), 200, NULL);
    for (int i = 0; i < 3; i++)
        assert_echo(&s, names[i], NULL);
    assert_int_equal(s.out.redirects, 2);
    over(&s);
    s.request.method = SL("POST");
    s.request.body = SL("secret");
    assert_failed(redirect(&s, "http://one.test:%d", "http://two.test:%d/echo&status=307"), SL_EUPSTREAM, "redirect");
    assert_string_equal(s.out.error.p, "the redirect would send the body to another host");
    over(&s);
    fetch_close();
}

static void redirects_change_the_method_as_browsers_do(void **state)
{
    (void)state;
    static const struct {
        const char *method, *status, *then, *body;
    } cases[] = {
        { "POST", "301", "GET", "" },   { "POST", "302", "GET", "" },   { "POST", "303", "GET", "" },
        { "POST", "307", "POST", "b" }, { "POST", "308", "POST", "b" }, { "PUT", "302", "PUT", "b" },
        { "PUT", "303", "GET", "" },    { "DELETE", "303", "GET", "" },
    };
    begin_private();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct shot s = { 0 };
        char to[40];
        (void)snprintf(to, sizeof to, "/echo&status=%s", cases[i].status);
        s.request.method = sl_cstr(cases[i].method);
        s.request.body = SL("b");
        assert_ok(redirect(&s, "http://127.0.0.1:%d", to), 200, NULL);
        assert_echo(&s, "/method", cases[i].then);
        assert_echo(&s, "/body", cases[i].body);
        over(&s);
    }
    fetch_close();
}

static void certificates_are_verified(void **state)
{
    (void)state;
    char ca[64], other[64];
    struct shot s = { 0 };
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", directory);
    (void)snprintf(other, sizeof other, "%s/other.pem", directory);
    begin((struct fetch_config){ .allow_private = true, .ca_file = ca });
    assert_ok(get(&s, "https://127.0.0.1:%d/plain"), 200, "hello");
    over(&s);
    assert_ok(get(&s, "https://secure.test:%d/plain"), 200, "hello");
    over(&s);
    assert_failed(get(&s, "https://one.test:%d/plain"), SL_EUPSTREAM, "tls"); /* not the certificate's name */
    over(&s);
    s.request.max_redirects = 3;
    s.request.url = to_url("https://127.0.0.1:%d/redirect?to=http://127.0.0.1:%d/plain", https_port);
    fire(&s);
    await(&s);
    assert_failed(&s, SL_EUPSTREAM, "redirect");
    assert_string_equal(s.out.error.p, "the redirect leads from https to http");
    over(&s);
    fetch_close();
    begin((struct fetch_config){ .allow_private = true, .ca_file = other });
    assert_failed(get(&s, "https://127.0.0.1:%d/plain"), SL_EUPSTREAM, "tls");
    over(&s);
    fetch_close();
    begin_private(); /* the system's authorities do not know ours */
    assert_failed(get(&s, "https://127.0.0.1:%d/plain"), SL_EUPSTREAM, "tls");
    over(&s);
    fetch_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(private_addresses_are_refused_by_default),
        cmocka_unit_test(the_allow_list_opens_single_addresses),
        cmocka_unit_test(redirects_are_followed_as_far_as_asked),
        cmocka_unit_test(a_redirect_to_a_private_address_is_refused),
        cmocka_unit_test(a_name_that_changes_between_look_ups_is_checked_again),
        cmocka_unit_test(secrets_do_not_follow_to_another_host),
        cmocka_unit_test(redirects_change_the_method_as_browsers_do),
        cmocka_unit_test(certificates_are_verified),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
