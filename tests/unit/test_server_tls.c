/* test_server_tls.c - HTTPS: versions, ciphers, ALPN, resumption, reload, large bodies, plain HTTP on a TLS port
 * (openssl and curl). */
#include "server_child.h"

static char dir[64], cert[80], key[80];

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *output(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *output_of(const char *line)
{
    static char text[1 << 17];
    FILE *p = popen(line, "r");
    size_t n = fread(text, 1, sizeof text - 1, p);
    text[n] = 0;
    pclose(p);
    return text;
}

static const char *output(const char *format, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    return output_of(line);
}

static void run(const char *format, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    assert_int_equal(system(line), 0);
}

static void make_certificate(const char *name)
{
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=%s "
        "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout %s -out %s 2>/dev/null",
        name, key, cert);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test-server-tls-%d", (int)getpid());
    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key, sizeof key, "%s/key.pem", dir);
    run("mkdir -p %s", dir);
    make_certificate("first");
    struct server_config cfg = server_defaults();
    cfg.tls_cert = sl_cstr(cert);
    cfg.tls_key = sl_cstr(key);
    cfg.header_ms = 400;
    cfg.max_body = 4 << 20;
    return server_up(&cfg).result;
}

static int tear_down(void **state)
{
    (void)state;
    server_down();
    run("rm -rf %s", dir);
    return 0;
}

/* openssl s_client with one request on its input; -ign_eof waits for the server to close. */
static const char *s_client(const char *options)
{
    return output("printf 'GET /echo HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n' | "
                  "timeout 10 openssl s_client -connect %s -ign_eof %s 2>&1",
                  address, options);
}

static void requests_over_tls(void **state)
{
    (void)state;
    const char *t = output("curl -s --cacert %s https://%s/echo?1 https://%s/echo?2", cert, address, address);
    assert_non_null(strstr(t, "GET /echo?1\npath=/echo query=1 remote=127.0.0.1 scheme=https"));
    assert_non_null(strstr(t, "GET /echo?2\n"));
    assert_int_equal(command('s').s.accepted, 1); /* kept alive */
    t = s_client("");
    assert_non_null(strstr(t, "HTTP/1.1 200 OK"));
    assert_non_null(strstr(t, "Connection: close"));
    assert_null(strstr(t, "unexpected eof")); /* closed with close_notify */
}

static void large_bodies_over_tls(void **state)
{
    (void)state;
    run("head -c 3000000 /dev/urandom | base64 -w0 > %s/body", dir);
    run("curl -s --cacert %s --data-binary @%s/body https://%s/echo | tail -c 4000000 > %s/back", cert, dir, address,
        dir);
    run("cmp %s/body %s/back", dir, dir);
    run("test $(curl -s --cacert %s https://%s/big?30000000 | wc -c) = 30000000", cert, address);
    run("test $(curl -s --limit-rate 20M --cacert %s https://%s/stream?600 | wc -c) = 19660800", cert, address);
}

static void versions_and_ciphers(void **state)
{
    (void)state;
    assert_non_null(strstr(s_client("-tls1_3"), "HTTP/1.1 200 OK"));
    assert_non_null(strstr(s_client("-tls1_2"), "HTTP/1.1 200 OK"));
    assert_null(strstr(s_client("-tls1_1 -cipher ALL:@SECLEVEL=0"), "HTTP/1.1 200 OK"));
    assert_null(strstr(s_client("-tls1_2 -cipher AES256-SHA:AES128-GCM-SHA256"), "HTTP/1.1 200 OK"));
    assert_non_null(strstr(s_client("-tls1_2"), "Secure Renegotiation IS supported"));
    const char *t = output("(printf 'R\\n'; sleep 0.5) | timeout 10 openssl s_client -tls1_2 -connect %s 2>&1",
                           address);
    assert_non_null(strstr(t, "RENEGOTIATING"));
    assert_non_null(strstr(t, "no renegotiation"));
}

static void alpn(void **state)
{
    (void)state;
    assert_non_null(strstr(s_client("-alpn h2,http/1.1"), "ALPN protocol: http/1.1"));
    const char *t = s_client("-alpn h2");
    assert_null(strstr(t, "HTTP/1.1 200 OK"));
    assert_non_null(strstr(t, "alert")); /* no_application_protocol */
}

static void resumption(void **state)
{
    (void)state;
    static const char *const versions[] = { "-tls1_2", "-tls1_3" };
    for (int i = 0; i < 2; i++) {
        char options[200];
        snprintf(options, sizeof options, "%s -sess_out %s/session", versions[i], dir);
        assert_non_null(strstr(s_client(options), "New, TLS"));
        snprintf(options, sizeof options, "%s -sess_in %s/session", versions[i], dir);
        const char *t = s_client(options);
        assert_non_null(strstr(t, "Reused, TLS"));
        assert_non_null(strstr(t, "HTTP/1.1 200 OK"));
    }
}

static void reload(void **state)
{
    (void)state;
    assert_non_null(strstr(s_client(""), "CN = first"));
    make_certificate("second");
    struct report r = command('t');
    assert_int_equal(r.result, 0);
    assert_non_null(strstr(s_client(""), "CN = second"));
    run("echo rubbish > %s", cert);
    r = command('t');
    assert_int_equal(r.result, -1);
    assert_non_null(strstr(r.why, cert));
    assert_non_null(strstr(s_client(""), "CN = second")); /* the good one stays */
    make_certificate("third");
    run("cp %s %s/keep && openssl ecparam -name prime256v1 -genkey -noout -out %s", key, dir, key);
    r = command('t');
    assert_int_equal(r.result, -1);
    assert_non_null(strstr(r.why, "key"));
}

/* OpenSSL asked for the passphrase on the terminal of whoever had started the server. */
static void an_encrypted_key_is_told_apart_from_a_broken_one(void **state)
{
    (void)state;
    run("openssl pkey -in %s -aes256 -passout pass:secret -out %s/locked 2>/dev/null && mv %s/locked %s", key, dir, dir,
        key);
    struct report r = command('t');
    assert_int_equal(r.result, -1);
    assert_non_null(strstr(r.why, "encrypted"));
    assert_non_null(strstr(r.why, key));
    run("echo rubbish > %s", key);
    r = command('t');
    assert_int_equal(r.result, -1);
    assert_null(strstr(r.why, "encrypted"));
}

static void plain_http_is_told_to_use_https(void **state)
{
    (void)state;
    char *t = ask("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(t), 400);
    assert_non_null(strstr(t, "HTTPS"));
    int fd = dial();
    say_bytes(fd, "\x16\x03\x01\x00\x05hello", 10); /* a handshake that is none */
    hear_all(fd);
    close(fd);
    assert_int_equal(command('s').heads, 0);
}

static void a_slow_handshake_is_cut(void **state)
{
    (void)state;
    int fd = dial();
    int64_t t = now_ms();
    say_bytes(fd, "\x16\x03\x01", 3);
    assert_string_equal(hear_all(fd), "");
    assert_in_range(now_ms() - t, 350, 15000);
    close(fd);
    assert_int_equal(command('s').s.timeouts, 1);
}

static void a_client_leaves_during_a_tls_stream(void **state)
{
    (void)state;
    output("timeout 0.5 curl -s --limit-rate 1M --cacert %s https://%s/stream?100000 > /dev/null", cert, address);
    struct report r = { 0 };
    for (int i = 0; i < 40 && !(r = command('s')).done; i++)
        pause_ms(20);
    assert_int_equal(r.gone, 1);
    assert_int_equal(r.done, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_over_tls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_bodies_over_tls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(versions_and_ciphers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(alpn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(resumption, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_encrypted_key_is_told_apart_from_a_broken_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plain_http_is_told_to_use_https, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slow_handshake_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_leaves_during_a_tls_stream, set_up, tear_down),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
