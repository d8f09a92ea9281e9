/* test_server_life.c - connections over time: limits of every phase, clients that leave, streams, draining, proxies,
 * unix sockets. */
#include "server_child.h"
#include <sys/stat.h>

static struct report up_with(struct server_config cfg)
{
    struct report r = server_up(&cfg);
    assert_int_equal(r.result, 0);
    return r;
}

/* How long until the server closes, in milliseconds; what it said stays in hear_all's text. */
static int64_t until_closed(int fd, char **text)
{
    int64_t t = now_ms();
    *text = hear_all(fd);
    close(fd);
    return now_ms() - t;
}

static void a_slow_head_is_cut_with_408(void **state)
{
    (void)state;
    struct server_config cfg = server_defaults();
    char *text;
    cfg.header_ms = 300;
    up_with(cfg);
    int fd = dial();
    int64_t t = now_ms();
    for (const char *p = "GET /echo HTTP/1.1\r\nHost: h\r\nA: bbbbbbbbbbbbbbbb"; *p && now_ms() - t < 600; p++) {
        say_bytes(fd, p, 1); /* each byte comes soon enough; the whole does not */
        pause_ms(20);
    }
    until_closed(fd, &text);
    t = now_ms() - t;
    assert_int_equal(status_of(text), 408);
    assert_non_null(strstr(text, "request_timeout"));
    assert_true(t >= 300);
    struct report r = server_down();
    assert_int_equal(r.s.timeouts, 1);
    assert_int_equal(r.heads, 0);
}

static void a_slow_body_is_cut_with_408(void **state)
{
    (void)state;
    struct server_config cfg = server_defaults();
    char *text;
    cfg.body_ms = 300;
    up_with(cfg);
    int fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345");
    int64_t took = until_closed(fd, &text);
    assert_int_equal(status_of(text), 408);
    assert_in_range(took, 280, 15000);
    server_down();
}

static void a_body_below_the_least_rate_is_cut(void **state)
{
    (void)state;
    struct server_config cfg = server_defaults();
    cfg.body_min_rate = 1000;
    cfg.idle_ms = 400; /* sweep more often */
    up_with(cfg);
    int fd = dial();
    int64_t t = now_ms();
    say(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n");
    struct pollfd readable = { .fd = fd, .events = POLLIN };
    while (now_ms() - t < 15000 && !poll(&readable, 1, 50))
        say(fd, "ten bytes.");
    t = now_ms() - t;
    assert_int_equal(status_of(hear_one(fd)), 408);
    assert_in_range(t, 990, 14000);
    close(fd);
    server_down();
}

static void idle_connections_are_closed_without_a_word(void **state)
{
    (void)state;
    struct server_config cfg = server_defaults();
    char *text;
    cfg.idle_ms = 200;
    up_with(cfg);
    int fd = dial(), other = dial();
    say(fd, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(hear_one(fd)), 200);
    assert_int_equal(command('s').s.idle, 2);
    assert_in_range(until_closed(fd, &text), 150, 900);
    assert_string_equal(text, "");
    until_closed(other, &text);
    assert_string_equal(text, "");
    struct report r = server_down();
    assert_int_equal(r.s.connections, 0);
    assert_int_equal(r.s.idle, 0);
    assert_int_equal(r.s.timeouts, 0);
}

/* It was cut: the sweep's timer came before the reading, and the connection had been quiet for as long as the loop was
 * held. */
static void a_client_whose_bytes_came_while_the_loop_was_held_is_served(void **state)
{
    (void)state;
    struct server_config cfg = server_defaults();
    cfg.idle_ms = 3000;
    cfg.header_ms = 3000;
    up_with(cfg);
    int holder = dial(), quiet = dial(), half = dial();
    say(half, "GET /echo HTTP/1.1\r\n");
    command('s'); /* all three are accepted and read */
    say(holder, "GET /hold?4500 HTTP/1.1\r\nHost: h\r\n\r\n");
    pause_ms(300); /* the loop is held by now */
    say(quiet, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    say(half, "Host: h\r\n\r\n");
    assert_int_equal(status_of(hear_one(holder)), 200);
    assert_int_equal(status_of(hear_one(quiet)), 200);
    assert_int_equal(status_of(hear_one(half)), 200);
    close(holder);
    close(quiet);
    close(half);
    server_down();
}

static void a_client_that_does_not_read_is_cut(void **state)
{
    (void)state;
    struct server_config cfg = server_defaults();
    cfg.write_ms = 300;
    up_with(cfg);
    int fd = dial();
    say(fd, "GET /big?20000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    for (int i = 0; i < 40 && command('s').s.connections; i++)
        pause_ms(50);
    struct report r = server_down();
    assert_int_equal(r.s.connections, 0);
    assert_int_equal(r.s.timeouts, 1);
    close(fd);
}

static void a_large_answer_arrives_whole(void **state)
{
    (void)state;
    up_with(server_defaults());
    int fd = dial();
    size_t want = 20000000, got = 0;
    static char piece[100000];
    ssize_t n;
    say(fd, "GET /big?20000000 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    pause_ms(50);
    while ((n = recv(fd, piece, sizeof piece, 0)) > 0)
        got += (size_t)n;
    close(fd);
    assert_in_range(got, want + 50, want + 300);
    struct report r = server_down();
    assert_int_equal(r.s.bytes_out, got);
}

/* A client that reads while the server writes may take the rest before uv_write returns: its callback still comes, and
 * the connection ended before it, uncounted. */
static void an_answer_whose_rest_leaves_at_once_is_counted(void **state)
{
    (void)state;
    up_with(server_defaults());
    static char piece[1 << 18];
    size_t got = 0;
    for (int i = 0; i < 200; i++) {
        int fd = dial();
        ssize_t n;
        char request[100];
        snprintf(request, sizeof request, "GET /big?%d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                 2500000 + i * 20000);
        say(fd, request);
        while ((n = recv(fd, piece, sizeof piece, 0)) > 0)
            got += (size_t)n;
        close(fd);
    }
    assert_int_equal(server_down().s.bytes_out, got);
}

/* Asks for much and reads nothing: the server must stop reading requests long before they are all answered. */
static void a_client_that_pipelines_without_reading_is_not_read(void **state)
{
    (void)state;
    up_with(server_defaults());
    int fd = dial();
    static const char one[] = "GET /big?100000 HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n";
    static char many[(sizeof one - 1) * 2000];
    size_t n = sizeof many;
    for (size_t i = 0; i < n; i += sizeof one - 1)
        memcpy(many + i, one, sizeof one - 1);
    say_bytes(fd, many, n);
    pause_ms(200);
    struct report r = command('s');
    assert_true(r.s.requests < 200);
    assert_true(r.s.bytes_in < n);
    size_t got = 0;
    static char piece[1 << 18];
    say(fd, "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    for (ssize_t k; (k = recv(fd, piece, sizeof piece, 0)) > 0;) /* and all of it comes once the client reads */
        got += (size_t)k;
    assert_true(got > 2000 * (size_t)100000);
    close(fd);
    r = server_down();
    assert_int_equal(r.s.requests, 2001);
    assert_int_equal(r.s.bytes_out, got);
}

static void on_gone_ends_what_a_handler_waits_for(void **state)
{
    (void)state;
    up_with(server_defaults());
    int fd = dial();
    say(fd, "GET /slow?60000 HTTP/1.1\r\nHost: h\r\n\r\n");
    pause_ms(50);
    close(fd);
    struct report r = { 0 };
    for (int i = 0; i < 40 && !(r = command('s')).done; i++)
        pause_ms(20);
    assert_int_equal(r.gone, 1);
    assert_int_equal(r.cancelled, 1);
    r = server_down();
    assert_int_equal(r.s.connections, 0);
}

static void on_gone_may_leave_the_exchange_to_a_handler_that_still_reads_it(void **state)
{
    (void)state;
    up_with(server_defaults());
    struct report r = { 0 };
    for (int n = 0; n < 300; n++) { /* more than the pool keeps */
        int fd = dial();
        say(fd, "GET /slow?60001 HTTP/1.1\r\nHost: h\r\n\r\n");
        if (n % 50 == 0) pause_ms(20);
        close(fd);
    }
    for (int i = 0; i < 100 && (r = command('s')).done < 300; i++)
        pause_ms(20);
    assert_int_equal(r.done, 300);
    assert_int_equal(r.gone, 300);
    server_down();
}

static void a_reset_connection_is_gone_too(void **state)
{
    (void)state;
    up_with(server_defaults());
    int fd = dial();
    struct linger hard = { 1, 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    say(fd, "GET /stream?1000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    pause_ms(50);
    close(fd);
    struct report r = { 0 };
    for (int i = 0; i < 40 && !(r = command('s')).done; i++)
        pause_ms(20);
    assert_int_equal(r.gone, 1);
    assert_int_equal(r.done, 1);
    server_down();
}

static void without_on_gone_the_exchange_stays_until_it_is_answered(void **state)
{
    (void)state;
    up_with(server_defaults());
    int fd = dial();
    say(fd, "GET /keep HTTP/1.1\r\nHost: h\r\n\r\n");
    pause_ms(50);
    close(fd);
    for (int i = 0; i < 40 && command('s').s.connections; i++)
        pause_ms(20);
    assert_int_equal(command('k').s.connections, 0); /* answers into the void */
    fd = dial();
    say(fd, "GET /keep HTTP/1.1\r\nHost: h\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    pause_ms(50);
    command('k');
    assert_non_null(strstr(hear_one(fd), "kept"));
    assert_non_null(strstr(hear_one(fd), "GET /echo"));
    say(fd, "GET /keep HTTP/1.1\r\nHost: h\r\n\r\n"); /* and is answered after server_close */
    pause_ms(50);
    server_down();
    close(fd);
}

static void closing_the_server_tells_pending_handlers(void **state)
{
    (void)state;
    up_with(server_defaults());
    int fd = dial(), other = dial(), third = dial();
    say(fd, "GET /slow?60000 HTTP/1.1\r\nHost: h\r\n\r\n");
    say(other, "GET /stream?100000 HTTP/1.1\r\nHost: h\r\n\r\n");
    say(third, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
    pause_ms(100);
    struct report r = server_down();
    assert_int_equal(r.gone, 2);
    assert_int_equal(r.done, 2);
    close(fd);
    close(other);
    close(third);
}

static void a_slow_reader_holds_the_stream_back(void **state)
{
    (void)state;
    up_with(server_defaults());
    int fd = dial();
    static char piece[65536];
    size_t got = 0, data = 0;
    ssize_t n;
    say(fd, "GET /stream?2000 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); /* 64 MiB */
    pause_ms(300);
    struct report r = command('s');
    assert_int_equal(r.done, 0);
    assert_in_range(r.most_unsent, 65536, 200000);
    assert_true(r.s.bytes_out < 30u << 20);
    while ((n = recv(fd, piece, sizeof piece, 0)) > 0) {
        got += (size_t)n;
        for (ssize_t i = 0; i < n; i++)
            data += piece[i] == 'p';
    }
    close(fd);
    assert_in_range(data, 2000 * 32768, 2000 * 32768 + 10); /* the head has a few p of its own */
    r = server_down();
    assert_int_equal(r.done, 1);
    assert_true(r.most_unsent < 200000);
    assert_true(got > 2000 * 32768);
}

static void a_stream_by_chunks_and_by_close(void **state)
{
    (void)state;
    up_with(server_defaults());
    char *t = ask("GET /stream?1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(t, "Transfer-Encoding: chunked\r\n"));
    assert_non_null(strstr(t, "\r\n\r\n8000\r\npppp"));
    assert_true(strlen(t) > 32768 && !strcmp(t + strlen(t) - 8, "p\r\n0\r\n\r\n"));
    t = ask("GET /stream?1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_null(strstr(t, "chunked"));
    assert_non_null(strstr(t, "Connection: close\r\n\r\npppp"));
    t = ask("HEAD /stream?1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_null(strstr(t, "pppp"));
    assert_true(!strcmp(t + strlen(t) - 4, "\r\n\r\n"));
    int fd = dial(); /* keep-alive goes on after a stream */
    say(fd, "GET /stream?2 HTTP/1.1\r\nHost: h\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    t = hear_all(fd);
    close(fd);
    assert_non_null(strstr(t, "p\r\n0\r\n\r\nHTTP/1.1 200 OK"));
    t = ask("GET /abort HTTP/1.1\r\nHost: h\r\n\r\n"); /* a body given up must not look whole */
    assert_non_null(strstr(t, "half of it\r\n"));
    assert_null(strstr(t, "0\r\n\r\n"));
    t = ask("GET /forget HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(t), 500);
    server_down();
}

static void draining(void **state)
{
    (void)state;
    char *text;
    up_with(server_defaults());
    int idle = dial(), slow = dial(), half = dial();
    say(idle, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    hear_one(idle);
    say(slow, "GET /slow?300 HTTP/1.1\r\nHost: h\r\n\r\n");
    say(half, "GET /echo HTTP/1.1\r\nHo");
    pause_ms(50);
    command('d');
    assert_true(until_closed(idle, &text) < 200);
    say(half, "st: h\r\n\r\n");
    until_closed(half, &text);
    assert_int_equal(status_of(text), 200);
    assert_non_null(strstr(text, "Connection: close"));
    until_closed(slow, &text);
    assert_non_null(strstr(text, "slept"));
    assert_non_null(strstr(text, "Connection: close"));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1)) };
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    assert_int_equal(server_down().s.connections, 0);
}

static void too_many_connections_are_told_so(void **state)
{
    (void)state;
    struct server_config cfg = server_defaults();
    cfg.max_connections = 2;
    up_with(cfg);
    int a = dial(), b = dial();
    say(a, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    hear_one(a);
    say(b, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    hear_one(b);
    int c = dial();
    char *t = hear_all(c);
    close(c);
    assert_int_equal(status_of(t), 503);
    assert_non_null(strstr(t, "Retry-After: 1"));
    close(a);
    for (int i = 0; i < 40 && command('s').s.connections > 1; i++)
        pause_ms(20);
    c = dial();
    say(c, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(hear_one(c)), 200);
    close(c);
    close(b);
    assert_int_equal(server_down().s.refused, 1);
}

static void forwarded(const char *fields, const char *want)
{
    char request[600];
    snprintf(request, sizeof request, "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n", fields);
    char *t = ask(request);
    if (!strstr(t, want)) fail_msg("%s wanted %s got %s", fields, want, t);
}

static void proxies_are_believed_only_when_listed(void **state)
{
    (void)state;
    static const sl_str list[] = { { "127.0.0.0/8", 11 }, { "10.0.0.0/8", 10 }, { "::1", 3 } };
    struct server_config cfg = server_defaults();
    up_with(cfg);
    forwarded("X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: w\r\n",
              " remote=127.0.0.1 scheme=http host=h\n");
    server_down();
    cfg.trusted_proxies = list;
    cfg.n_trusted_proxies = 3;
    up_with(cfg);
    forwarded("", " remote=127.0.0.1 scheme=http host=h\n");
    forwarded("X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: w:8\r\n",
              " remote=1.2.3.4 scheme=https host=w:8\n");
    forwarded("X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.1.2.3\r\n", " remote=1.2.3.4 ");
    forwarded("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4 ,10.1.2.3\r\n", " remote=1.2.3.4 ");
    forwarded("X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", " remote=10.0.0.1 ");
    forwarded("X-Forwarded-For: [2001:db8::1]:4711\r\n", " remote=2001:db8::1 ");
    forwarded("X-Forwarded-For: 1.2.3.4:80\r\n", " remote=1.2.3.4 ");
    forwarded("X-Forwarded-For: 1.2.3.4, unknown\r\n", " remote=127.0.0.1 ");
    forwarded("X-Forwarded-For: 1.2.3.4, bad, 10.0.0.1\r\n", " remote=10.0.0.1 ");
    forwarded("X-Forwarded-For: ,\r\n", " remote=127.0.0.1 ");
    forwarded("X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a b\r\n", " scheme=http host=h\n");
    server_down();
}

static void unix_sockets(void **state)
{
    (void)state;
    char path[64], where[80];
    snprintf(path, sizeof path, "/tmp/test-server-%d.sock", (int)getpid());
    snprintf(where, sizeof where, "unix:%s", path);
    sl_str listen = sl_cstr(where), trust = SL("unix");
    struct server_config cfg = server_defaults();
    cfg.listen = &listen;
    cfg.trusted_proxies = &trust;
    cfg.n_trusted_proxies = 1;
    /* A dead server's socket lies there. */
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    memcpy(un.sun_path, path, strlen(path));
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&un, sizeof un), 0);
    close(dead);
    up_with(cfg);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    forwarded("", " remote=unix scheme=http host=h\n");
    forwarded("X-Forwarded-For: 1.2.3.4\r\n", " remote=1.2.3.4 ");
    int first = child_pid, first_control = control;
    struct report second = server_up(&cfg); /* a live one is not robbed of it */
    assert_int_equal(second.result, -1);
    assert_non_null(strstr(second.why, "another server answers"));
    close(control);
    waitpid(child_pid, NULL, 0);
    child_pid = first;
    control = first_control;
    snprintf(address, sizeof address, "%s", where);
    forwarded("", " remote=unix ");
    server_down();
    assert_int_equal(stat(path, &st), -1);
    FILE *f = fopen(path, "w");
    fclose(f);
    second = server_up(&cfg);
    assert_int_equal(second.result, -1);
    assert_non_null(strstr(second.why, "not a socket"));
    close(control);
    waitpid(child_pid, NULL, 0);
    unlink(path);
}

static void bad_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      "8080",          "127.0.0.1",    "::1:80",       "[]:80",        "127.0.0.1:99999", "127.0.0.1:x",
        "unix:", "unix:relative", "256.0.0.1:80", "127.0.0.1:-1", "[127.0.0.1:80"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sl_str listen = sl_cstr(bad[i]);
        struct server_config cfg = server_defaults();
        cfg.listen = &listen;
        struct report r = server_up(&cfg);
        if (r.result != -1 || !strstr(r.why, bad[i])) fail_msg("\"%s\" was taken, or: %s", bad[i], r.why);
        close(control);
        waitpid(child_pid, NULL, 0);
    }
    sl_str proxy = SL("10.0.0.0/99");
    struct server_config cfg = server_defaults();
    cfg.trusted_proxies = &proxy;
    cfg.n_trusted_proxies = 1;
    assert_non_null(strstr(server_up(&cfg).why, "10.0.0.0/99"));
    close(control);
    waitpid(child_pid, NULL, 0);
}

static void one_port_for_both_families_and_shared_ports(void **state)
{
    (void)state;
    sl_str listen = SL(":0");
    struct server_config cfg = server_defaults();
    cfg.listen = &listen;
    up_with(cfg);
    assert_int_equal(status_of(ask("GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")), 200); /* by IPv4 */
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    in6.sin6_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&in6, sizeof in6) == 0) {
        say(fd, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_non_null(strstr(hear_one(fd), " remote=::1 "));
    }
    close(fd);
    char where[128];
    snprintf(where, sizeof where, "127.0.0.1:%s", strrchr(address, ':') + 1);
    int first = child_pid, first_control = control;
    listen = sl_cstr(where);
    struct report r = server_up(&cfg); /* taken */
    assert_int_equal(r.result, -1);
    assert_non_null(strstr(r.why, "in use"));
    close(control);
    waitpid(child_pid, NULL, 0);
    child_pid = first;
    control = first_control;
    server_down();
    cfg.reuse_port = true;
    up_with(cfg);
    first = child_pid;
    first_control = control;
    up_with(cfg); /* a replica */
    server_down();
    child_pid = first;
    control = first_control;
    server_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_head_is_cut_with_408),
        cmocka_unit_test(a_slow_body_is_cut_with_408),
        cmocka_unit_test(a_body_below_the_least_rate_is_cut),
        cmocka_unit_test(idle_connections_are_closed_without_a_word),
        cmocka_unit_test(a_client_whose_bytes_came_while_the_loop_was_held_is_served),
        cmocka_unit_test(a_client_that_does_not_read_is_cut),
        cmocka_unit_test(a_large_answer_arrives_whole),
        cmocka_unit_test(an_answer_whose_rest_leaves_at_once_is_counted),
        cmocka_unit_test(a_client_that_pipelines_without_reading_is_not_read),
        cmocka_unit_test(on_gone_ends_what_a_handler_waits_for),
        cmocka_unit_test(on_gone_may_leave_the_exchange_to_a_handler_that_still_reads_it),
        cmocka_unit_test(a_reset_connection_is_gone_too),
        cmocka_unit_test(without_on_gone_the_exchange_stays_until_it_is_answered),
        cmocka_unit_test(closing_the_server_tells_pending_handlers),
        cmocka_unit_test(a_slow_reader_holds_the_stream_back),
        cmocka_unit_test(a_stream_by_chunks_and_by_close),
        cmocka_unit_test(draining),
        cmocka_unit_test(too_many_connections_are_told_so),
        cmocka_unit_test(proxies_are_believed_only_when_listed),
        cmocka_unit_test(unix_sockets),
        cmocka_unit_test(bad_addresses),
        cmocka_unit_test(one_port_for_both_families_and_shared_ports),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
