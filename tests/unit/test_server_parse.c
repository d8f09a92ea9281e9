/* test_server_parse.c - what the server takes for a request and what it refuses: smuggling, splits, bodies, limits. */
#include "server_child.h"

#define GET  "GET /echo HTTP/1.1\r\nHost: h\r\n"
#define POST "POST /echo HTTP/1.1\r\nHost: h\r\n"

struct bad {
    const char *what;
    int status;
    const char *bytes;
    size_t n;
};
#define BAD(what, status, bytes)                                                                                       \
    {                                                                                                                  \
        what, status, bytes, sizeof(bytes) - 1                                                                         \
    }
static const struct bad bad[] = {
    BAD("length and coding", 400, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("coding and length", 400, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    BAD("two lengths", 400, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    BAD("two equal lengths", 400, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    BAD("list of lengths", 400, POST "Content-Length: 5, 5\r\n\r\nhello"),
    BAD("length with sign", 400, POST "Content-Length: +5\r\n\r\nhello"),
    BAD("negative length", 400, POST "Content-Length: -5\r\n\r\nhello"),
    BAD("hex length", 400, POST "Content-Length: 0x5\r\n\r\nhello"),
    BAD("empty length", 400, POST "Content-Length: \r\n\r\nhello"),
    BAD("length overflows", 400, POST "Content-Length: 18446744073709551617\r\n\r\nhello"),
    BAD("length with blank inside", 400, POST "Content-Length: 5 5\r\n\r\nhello"),
    BAD("coding not final chunked", 400, POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    BAD("coding unknown", 400, POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    BAD("coding gzip then chunked", 501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    BAD("coding twice", 400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("coding identity after", 400,
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    BAD("coding in 1.0", 400, "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("coding with vertical tab", 400,
        POST "Transfer-Encoding: \x0b"
             "chunked\r\n\r\n0\r\n\r\n"),
    BAD("blank before colon", 400, POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    BAD("blank before first field", 400, "GET /echo HTTP/1.1\r\n Host: h\r\n\r\n"),
    BAD("folded field", 400, GET "A: b\r\n c\r\n\r\n"),
    BAD("folded with tab", 400, GET "A: b\r\n\tc\r\n\r\n"),
    BAD("folded empty field", 400, GET "A:\r\n b\r\n\r\n"),
    BAD("folded to nothing", 400, GET "A: b\r\n \r\n\r\n"),
    BAD("folded coding", 400, POST "Transfer-Encoding: chunked\r\n , identity\r\n\r\n0\r\n\r\n"),
    BAD("bare LF between lines", 400, "GET /echo HTTP/1.1\nHost: h\n\n"),
    BAD("bare LF at a field", 400, GET "A: b\nC: d\r\n\r\n"),
    BAD("bare LF at the end", 400, GET "A: b\r\n\n"),
    BAD("bare CR in value", 400, GET "A: b\rContent-Length: 5\r\n\r\n"),
    BAD("bare CR ends line", 400, "GET /echo HTTP/1.1\rHost: h\r\n\r\n"),
    BAD("CR CR LF", 400, GET "A: b\r\r\n\r\n"),
    BAD("NUL in value", 400, GET "A: b\0c\r\n\r\n"),
    BAD("NUL in name", 400, GET "A\0B: c\r\n\r\n"),
    BAD("NUL in target", 400, "GET /ec\0ho HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("control in value", 400,
        GET "A: b\x01"
            "c\r\n\r\n"),
    BAD("DEL in value", 400,
        GET "A: b\x7f"
            "c\r\n\r\n"),
    BAD("empty name", 400, GET ": b\r\n\r\n"),
    BAD("no colon", 400, GET "Nothing\r\n\r\n"),
    BAD("name with parenthesis", 400, GET "A(b): c\r\n\r\n"),
    BAD("name not ASCII", 400, GET "\xc3\xa4: c\r\n\r\n"),
    BAD("no Host", 400, "GET /echo HTTP/1.1\r\n\r\n"),
    BAD("two Hosts", 400, GET "Host: h\r\n\r\n"),
    BAD("Host with blank", 400, "GET /echo HTTP/1.1\r\nHost: a b\r\n\r\n"),
    BAD("Host with path", 400, "GET /echo HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    BAD("Host with user", 400, "GET /echo HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    BAD("absolute form", 400, "GET http://h/echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("asterisk without OPTIONS", 400, "GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("target without slash", 400, "GET echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("target with fragment", 400, "GET /echo#x HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("target not ASCII", 400, "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("target with control", 400, "GET /a\x01 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("target with DEL", 400, "GET /a\x7f HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("target with tab", 400, "GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("target with backslash", 400, "GET /a\\b HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("target with quote", 400, "GET /a\"b HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("HTTP/0.9", 505, "GET /echo\r\n\r\n"),
    BAD("HTTP/2.0", 505, "GET /echo HTTP/2.0\r\nHost: h\r\n\r\n"),
    BAD("HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    BAD("HTTP/1.2", 505, "GET /echo HTTP/1.2\r\nHost: h\r\n\r\n"),
    BAD("version in lower case", 400, "GET /echo http/1.1\r\nHost: h\r\n\r\n"),
    BAD("method in lower case", 400, "get /echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("unknown method", 501, "BREW /echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("CONNECT", 501, "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("CONNECT with path", 501, "CONNECT /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD("SOURCE", 501, "SOURCE /x ICE/1.0\r\nHost: h\r\n\r\n"),
    BAD("RTSP", 501, "DESCRIBE /x RTSP/1.0\r\nHost: h\r\n\r\n"),
    BAD("binary", 400, "\x16\x03\x01\x02\x00\x01"),
    BAD("other expectation", 417, POST "Expect: tea\r\nContent-Length: 2\r\n\r\n"),
    BAD("two Authorizations", 400, GET "Authorization: a\r\nAuthorization: b\r\n\r\n"),
    BAD("chunk size empty", 400, POST "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"),
    BAD("chunk size not hex", 400, POST "Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n"),
    BAD("chunk size 0x", 400, POST "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    BAD("chunk size signed", 400, POST "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
    BAD("chunk size with blank before", 400, POST "Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n"),
    BAD("chunk size with blank after", 400, POST "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"),
    BAD("chunk size overflows", 400, POST "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    BAD("chunk size, bare LF", 400, POST "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
    BAD("chunk extension, bare LF", 400, POST "Transfer-Encoding: chunked\r\n\r\n5;a=b\nhello\r\n0\r\n\r\n"),
    BAD("chunk extension, bare CR", 400, POST "Transfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n"),
    BAD("chunk longer than its size", 400, POST "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"),
    BAD("chunk end, bare LF", 400, POST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"),
    BAD("last chunk, bare LF", 400, POST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\n\n"),
    BAD("body ends in bare LF", 400, POST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\n"),
    BAD("trailers end in bare LF", 400, POST "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\n"),
    BAD("folded trailer", 400, POST "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n c\r\n\r\n"),
    BAD("blank before the first trailer", 400, POST "Transfer-Encoding: chunked\r\n\r\n0\r\n A: b\r\n\r\n"),
    BAD("trailer without name", 400, POST "Transfer-Encoding: chunked\r\n\r\n0\r\n: b\r\n\r\n"),
    BAD("NUL in trailer", 400, POST "Transfer-Encoding: chunked\r\n\r\n0\r\nA: \0\r\n\r\n"),
    BAD("NUL in chunk extension", 400, POST "Transfer-Encoding: chunked\r\n\r\n1;a=\0\r\nx\r\n0\r\n\r\n"),
    BAD("chunk size of many digits", 400, POST "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\nx\r\n0\r\n\r\n"),
    BAD("chunk end missing", 400, POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx0\r\n\r\n"),
    BAD("head without fields ends in bare LF", 400, "GET /echo HTTP/1.0\r\n\n"),
    BAD("request line ends in bare LF", 400, "GET /echo HTTP/1.0\n\r\n"),
    BAD("trailer with bare LF", 400, POST "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n"),
};

static int failures;

static void check_bad(const struct bad *b, bool in_pieces)
{
    int fd = dial();
    for (size_t i = 0, step = in_pieces ? 1 : b->n; i < b->n; i += step)
        say_bytes(fd, b->bytes + i, step);
    shutdown(fd, SHUT_WR);
    char *text = hear_all(fd);
    close(fd);
    if (status_of(text) != b->status || !strstr(text, "application/problem+json") ||
        !strstr(text, "Connection: close") || count(text, "\r\nServer: ") != 1)
        failures++,
            print_error("%s%s: wanted %d, got: %s\n", b->what, in_pieces ? " (in pieces)" : "", b->status, text);
}

static void refuses_what_is_ambiguous(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_bad(&bad[i], false);
    assert_int_equal(failures, 0);
    struct report r = command('s');
    assert_true(r.s.parse_errors > 40);
}

static void refuses_it_in_single_bytes_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_bad(&bad[i], true);
    assert_int_equal(failures, 0);
}

/* Each is a request, in the strange forms that are allowed, and must arrive as said. */
static void takes_what_is_unusual_but_right(void **state)
{
    (void)state;
    char *t = ask(
        "GET /echo?a=b|c&d=%zz HTTP/1.1\r\nhOST:   h:80  \r\nX-Empty:\r\nX-Tab:\ta\tb \t\r\nConnection: close\r\n\r\n");
    assert_int_equal(status_of(t), 200);
    assert_non_null(strstr(t, "path=/echo query=a=b|c&d=%zz remote=127.0.0.1 scheme=http host=h:80\n"));
    assert_non_null(strstr(t, "x-empty: \n"));
    assert_non_null(strstr(t, "x-tab: a\tb\n"));
    t = ask("\r\n\r\nGET /echo HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n");
    assert_int_equal(status_of(t), 200);
    t = ask("OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(t, "OPTIONS *\n"));
    t = ask("GET /echo HTTP/1.1\r\nHost: h\r\nAccept: a\r\nX: 1\r\naccept: b\r\nCookie: c=1\r\nCookie: "
            "d=2\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(t, "\naccept: a, b\nx: 1\ncookie: c=1; d=2\n"));
    t = ask("GET /echo  HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); /* RFC 9112 3: words between blanks */
    assert_int_equal(status_of(t), 200);
    t = ask("GET /echo HTTP/1.0\r\n\r\n");
    assert_int_equal(status_of(t), 200);
    assert_non_null(strstr(t, "Connection: close"));
    t = ask("GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n");
    assert_int_equal(status_of(t), 200);
}

static void http_1_0_keeps_alive_when_asked(void **state)
{
    (void)state;
    int fd = dial();
    for (int i = 0; i < 3; i++) {
        say(fd, "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        char *t = hear_one(fd);
        assert_int_equal(status_of(t), 200);
        assert_non_null(strstr(t, "Connection: keep-alive"));
    }
    close(fd);
}

static void chunked_bodies(void **state)
{
    (void)state;
    static const char request[] =
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
        "5;name=\"v\";x\r\nhello\r\n0001\r\n \r\nA\r\n0123456789\r\n0\r\nTrailer: unseen\r\n\r\n";
    int fd = dial();
    for (size_t step = 1; step < sizeof request; step += step < 8 ? 1 : 37) {
        for (size_t i = 0; i < sizeof request - 1; i += step)
            say_bytes(fd, request + i, sizeof request - 1 - i < step ? sizeof request - 1 - i : step);
        char *t = hear_one(fd);
        assert_int_equal(status_of(t), 200);
        assert_non_null(strstr(t, "\n\nhello 0123456789"));
        assert_null(strstr(t, "trailer"));
    }
    close(fd);
}

/* 100 requests of several kinds as one text, sent in every odd split; the answers come complete and in order. */
static void pipelining_in_odd_splits(void **state)
{
    (void)state;
    static char text[16384];
    size_t n = 0;
    for (int i = 0; i < 100; i++) {
        if (i % 3 == 1)
            n += (size_t)sprintf(text + n, "POST /echo?%d HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n GET", i);
        else if (i % 3 == 2)
            n += (size_t)sprintf(
                text + n,
                "POST /echo?%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\t?\r\n0\r\n\r\n", i);
        else
            n += (size_t)sprintf(text + n, "GET /%s?%d HTTP/1.1\r\nHost: h\r\n\r\n", i % 30 ? "echo" : "slow", i);
    }
    static const size_t steps[] = { 1, 2, 3, 7, 61, 500, 16384 };
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        int fd = dial();
        for (size_t i = 0; i < n; i += steps[s])
            say_bytes(fd, text + i, n - i < steps[s] ? n - i : steps[s]);
        for (int i = 0; i < 100; i++) {
            char want[40];
            char *t = hear_one(fd);
            assert_int_equal(status_of(t), 200);
            if (i % 30)
                sprintf(want, "/echo?%d\n", i);
            else
                sprintf(want, "slept");
            if (!strstr(t, want)) fail_msg("split %zu, answer %d: %s", steps[s], i, t);
            if (i % 3 == 1) assert_non_null(strstr(t, "\n\n GET"));
            if (i % 3 == 2) assert_non_null(strstr(t, "\n\n\t?"));
        }
        close(fd);
    }
}

/* Requests with random damage, cut into random pieces, some by clients that leave in the middle: the server must stay
 * whole. */
static void random_damage(void **state)
{
    (void)state;
    static const char *const good[] = {
        GET "A: b\r\n\r\n",
        POST "Content-Length: 5\r\n\r\nhello",
        POST "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: u\r\n\r\n",
        "GET /slow?1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /stream?3 HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        "GET /abort HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /big?90000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /forget HTTP/1.1\r\nHost: h\r\n\r\n",
        POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
        "HEAD /stream?2 HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    static const char odd[] = "\r\n \t:\0;,0aZ\x80\xff/?";
    unsigned seed = getenv("SEED") ? (unsigned)atoi(getenv("SEED")) : 1,
             rounds = getenv("ROUNDS") ? (unsigned)atoi(getenv("ROUNDS")) : 1500;
    srandom(seed);
    for (unsigned round = 0; round < rounds; round++) {
        char text[4096];
        size_t n = 0;
        for (long i = 1 + random() % 6; i > 0; i--) {
            const char *g = good[(size_t)random() % (sizeof good / sizeof *good)];
            memcpy(text + n, g, strlen(g));
            n += strlen(g);
        }
        for (long i = random() % 4; i > 0; i--)
            text[(size_t)random() % n] = odd[(size_t)random() % (sizeof odd - 1)];
        int fd = dial();
        for (size_t i = 0, step; i < n; i += step) {
            step = random() % 3 ? n : 1 + (size_t)random() % 60;
            if (step > n - i) step = n - i;
            say_bytes(fd, text + i, step);
        }
        if (random() % 3 == 0) shutdown(fd, SHUT_WR);
        if (random() % 3 == 0) pause_ms(1);
        if (random() % 2) recv(fd, text, sizeof text, MSG_DONTWAIT);
        close(fd);
    }
    struct report r = { 0 };
    for (int i = 0; i < 100 && (r = command('s')).s.connections; i++)
        pause_ms(20);
    assert_int_equal(r.s.connections, 0);
    assert_int_equal(r.s.accepted, rounds);
    assert_int_equal(status_of(ask(GET "Connection: close\r\n\r\n")), 200);
}

static void head_and_bodiless_answers(void **state)
{
    (void)state;
    int fd = dial();
    say(fd, "HEAD /big?5000 HTTP/1.1\r\nHost: h\r\n\r\nGET /status?204 HTTP/1.1\r\nHost: h\r\n\r\n"
            "GET /status?304 HTTP/1.1\r\nHost: h\r\n\r\nHEAD /early HTTP/1.1\r\nHost: h\r\n\r\n"
            "GET /status?418 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    char *t = hear_all(fd);
    close(fd);
    assert_int_equal(count(t, "HTTP/1.1 "), 5);
    assert_non_null(strstr(t, "Content-Length: 5000\r\n\r\nHTTP/1.1 204 No Content\r\n"));
    assert_int_equal(count(t, "body"), 1);
    assert_int_equal(count(t, "Content-Length"), 3);
    assert_null(strstr(t, "who are you"));
    t = ask("HEAD http://h/ HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(t), 400);
    assert_null(strstr(t, "{"));
}

static void fields_that_break_the_head_are_left_out(void **state)
{
    (void)state;
    char *t = ask("GET /split HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_null(strstr(t, "Injected"));
    assert_null(strstr(t, "999"));
    assert_non_null(strstr(t, "X-Good: 1\r\n"));
    assert_non_null(strstr(t, "\r\nServer: test\r\nDate: "));
    assert_non_null(strstr(t, " GMT\r\n"));
}

/* Head of `n` bytes in one field. */
static char *long_request(const char *start, size_t n, const char *end)
{
    static char text[200000];
    size_t k = (size_t)sprintf(text, "%s", start);
    memset(text + k, 'a', n);
    strcpy(text + k + n, end);
    return text;
}

static void limits_of_the_head(void **state)
{
    (void)state;
    assert_int_equal(
        status_of(ask(long_request("GET /echo?", 4000, " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))), 200);
    assert_int_equal(status_of(ask(long_request("GET /echo?", 4100, " HTTP/1.1\r\nHost: h\r\n\r\n"))), 414);
    assert_int_equal(status_of(ask(long_request("GET /echo?", 150000, " HTTP/1.1\r\nHost: h\r\n\r\n"))), 414);
    assert_int_equal(status_of(ask(long_request(GET "Connection: close\r\nA: ", 4000, "\r\n\r\n"))), 200);
    assert_int_equal(status_of(ask(long_request(GET "A: ", 4096, "\r\n\r\n"))), 431);
    assert_int_equal(status_of(ask(long_request(GET "A: ", 150000, "\r\n\r\n"))), 431);
    assert_int_equal(status_of(ask(long_request(GET, 150000, ": a\r\n\r\n"))), 431);
    static char blanks[200000];
    size_t k = (size_t)sprintf(blanks, GET "A:");
    memset(blanks + k, ' ', 150000);
    strcpy(blanks + k + 150000, "b\r\n\r\n");
    assert_int_equal(status_of(ask(blanks)), 431); /* blanks that no callback sees count too */
    char many[2000] = GET;
    for (int i = 0; i < 20; i++)
        strcat(many, "A: b\r\n");
    strcat(many, "\r\n");
    assert_int_equal(status_of(ask(many)), 431);
    char extension[9000] = POST "Transfer-Encoding: chunked\r\n\r\n1;";
    memset(extension + strlen(extension), 'e', 5000);
    strcat(extension, "\r\na\r\n0\r\n\r\n");
    assert_int_equal(status_of(ask(extension)), 431);
    char trailer[9000] = POST "Transfer-Encoding: chunked\r\n\r\n0\r\nT: ";
    memset(trailer + strlen(trailer), 't', 5000);
    strcat(trailer, "\r\n\r\n");
    assert_int_equal(status_of(ask(trailer)), 431);
}

static void limits_of_the_body(void **state)
{
    (void)state;
    uint64_t heads = command('s').heads;
    assert_int_equal(status_of(ask(POST "Content-Length: 65537\r\n\r\n")), 413);
    assert_int_equal(status_of(ask(POST "Content-Length: 9223372036854775807\r\n\r\n")), 413);
    assert_int_equal(status_of(ask("POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n123456789")), 413);
    assert_int_equal(
        status_of(ask("POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\nConnection: close\r\n\r\n12345678")),
        200);
    assert_int_equal(status_of(ask("POST /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                                   "chunked\r\n\r\n8\r\n12345678\r\n1\r\n9\r\n0\r\n\r\n")),
                     413);
    assert_int_equal(
        status_of(ask(long_request(
            "POST /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 150000\r\n\r\n", 150000, ""))),
        200);
    assert_int_equal(command('s').heads, heads + 6);
    /* Much more than the limit, all of it sent before anything is read: the answer still arrives. */
    char *t = ask(long_request(POST "Content-Length: 150000\r\n\r\n", 150000, ""));
    assert_int_equal(status_of(t), 413);
}

static void expect_100_continue(void **state)
{
    (void)state;
    int fd = dial();
    say(fd, POST "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n");
    assert_string_equal(hear_one(fd), "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "hello");
    assert_non_null(strstr(hear_one(fd), "\n\nhello"));
    say(fd, "POST /early HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    char *t = hear_all(fd);
    close(fd);
    assert_int_equal(status_of(t), 401);
    assert_null(strstr(t, "100 Continue"));
    assert_non_null(strstr(t, "Connection: close"));
    t = ask("POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab");
    assert_int_equal(status_of(t), 200);
    fd = dial(); /* the length is known to be too much: no invitation */
    say(fd, POST "Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n");
    assert_int_equal(status_of(hear_all(fd)), 413);
    close(fd);
}

static void an_early_answer_drains_a_small_body(void **state)
{
    (void)state;
    int fd = dial();
    say(fd, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(status_of(hear_one(fd)), 401);
    assert_int_equal(status_of(hear_one(fd)), 200);
    say(fd, "POST /early HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_non_null(strstr(hear_one(fd), "Connection: close"));
    close(fd);
    char *t = ask(long_request("POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 190000\r\n\r\n", 150000, ""));
    assert_int_equal(status_of(t), 401); /* though more is on its way */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refuses_what_is_ambiguous, up_default, down),
        cmocka_unit_test_setup_teardown(refuses_it_in_single_bytes_too, up_default, down),
        cmocka_unit_test_setup_teardown(takes_what_is_unusual_but_right, up_default, down),
        cmocka_unit_test_setup_teardown(http_1_0_keeps_alive_when_asked, up_default, down),
        cmocka_unit_test_setup_teardown(chunked_bodies, up_default, down),
        cmocka_unit_test_setup_teardown(pipelining_in_odd_splits, up_default, down),
        cmocka_unit_test_setup_teardown(random_damage, up_default, down),
        cmocka_unit_test_setup_teardown(head_and_bodiless_answers, up_default, down),
        cmocka_unit_test_setup_teardown(fields_that_break_the_head_are_left_out, up_default, down),
        cmocka_unit_test_setup_teardown(limits_of_the_head, up_default, down),
        cmocka_unit_test_setup_teardown(limits_of_the_body, up_default, down),
        cmocka_unit_test_setup_teardown(expect_100_continue, up_default, down),
        cmocka_unit_test_setup_teardown(an_early_answer_drains_a_small_body, up_default, down),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
