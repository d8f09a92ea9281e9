/* server_child.h - for the server's tests: a real server in a child process, driven by commands over a socket, and a
 * blunt client. */
#ifndef SERVER_CHILD_H
#define SERVER_CHILD_H
#include "base/log.h"
#include "net/server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

struct report {
    struct server_stats s;
    uint64_t gone, cancelled, most_unsent, heads, done;
    int result;
    char why[256];
    char address[128];
};
static struct report seen;     /* in the child */
static int child_pid, control; /* in the parent: the child and the socket to command it */
static char address[128];      /* where it listens */
static exchange *kept;         /* /keep: answered by command 'k' */

/* ---- the child's handlers ---- */
struct work {
    exchange *x;
    call *c;
    sl_str kind;
    int64_t n;
};

static void on_gone(exchange *x)
{
    struct work *w = x->user;
    seen.gone++;
    if (sl_is(x->query, "60001"))
        x->on_gone = NULL; /* the handler goes on to read and to answer it */
    else
        w->x = NULL;
    if (w->c) call_cancel(w->c);
}

static sl_pair plain_type(void) { return (sl_pair){ SL("Content-Type"), SL("text/plain") }; }

static void answer(exchange *x, int status, sl_str body)
{
    sl_pair h = plain_type();
    exchange_reply(x, status, &h, 1, body);
}

static void stream(struct work *w)
{
    static char piece[32768];
    sl_pair h = plain_type();
    memset(piece, 'p', sizeof piece);
    exchange_start(w->x, 200, &h, 1);
    for (int64_t i = 0; i < w->n && w->x; i++) {
        size_t unsent = exchange_write(w->x, sl_lit(piece, sizeof piece));
        if (unsent > seen.most_unsent) seen.most_unsent = unsent;
        sl_err e = unsent > 65536 ? exchange_wait(w->x, w->c) : SL_OK;
        if (e) {
            seen.cancelled++;
            break;
        }
    }
    if (w->x) exchange_end(w->x);
}

static void work_run(call *c)
{
    struct work *w = c->context;
    w->c = c;
    if (sl_is(w->kind, "/stream")) {
        stream(w);
    } else {
        if (call_sleep(c, (uint32_t)w->n)) seen.cancelled++;
        if (w->x && sl_is(w->x->path, "/slow")) answer(w->x, 200, SL("slept"));
    }
    seen.done++;
    free(w);
}

static void work_init(call *c, void *arg) { c->context = arg; }

static void echo(exchange *x)
{
    buf b;
    buf_init(&b, 1 << 24);
    buf_printf(&b, "%.*s %.*s\n", STR_ARG(x->method), STR_ARG(x->target));
    buf_printf(&b, "path=%.*s query=%.*s remote=%.*s scheme=%.*s host=%.*s\n", STR_ARG(x->path), STR_ARG(x->query),
               STR_ARG(x->remote), STR_ARG(x->scheme), STR_ARG(x->host));
    for (size_t i = 0; i < x->n_headers; i++)
        buf_printf(&b, "%.*s: %.*s\n", STR_ARG(x->headers[i].name), STR_ARG(x->headers[i].value));
    buf_add_cstr(&b, "\n");
    buf_add_str(&b, x->body);
    answer(x, 200, buf_str(&b));
    buf_free(&b);
}

static void on_head(exchange *x)
{
    seen.heads++;
    if (sl_is(x->path, "/early"))
        answer(x, 401, SL("who are you"));
    else if (sl_is(x->path, "/small"))
        x->max_body = 8;
    else if (sl_is(x->path, "/large"))
        x->max_body = 1 << 20;
}

static void on_request(exchange *x)
{
    if (sl_is(x->path, "/slow") || sl_is(x->path, "/stream")) {
        struct work *w = calloc(1, sizeof *w);
        w->x = x;
        w->kind = sl_is(x->path, "/slow") ? SL("/slow") : SL("/stream");
        str_to_int(x->query, &w->n);
        x->user = w;
        x->on_gone = on_gone;
        call_start(0, 0, work_init, w, work_run);
    } else if (sl_is(x->path, "/keep")) {
        kept = x; /* no on_gone: stays ours */
    } else if (sl_is(x->path, "/forget")) {
        exchange_end(x);
    } else if (sl_is(x->path, "/abort")) {
        exchange_start(x, 200, NULL, 0);
        exchange_write(x, SL("half of it"));
        exchange_abort(x);
    } else if (sl_is(x->path, "/big")) {
        int64_t n = 0;
        str_to_int(x->query, &n);
        char *p = malloc((size_t)n);
        memset(p, 'b', (size_t)n);
        answer(x, 200, sl_lit(p, (size_t)n));
        free(p);
    } else if (sl_is(x->path, "/hold")) { /* a handler that holds the loop */
        int64_t ms = 0;
        str_to_int(x->query, &ms);
        usleep((useconds_t)ms * 1000);
        answer(x, 200, SL("held"));
    } else if (sl_is(x->path, "/heads")) { /* how many requests there have been, this one included */
        char text[24];
        answer(x, 200, sl_lit(text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)seen.heads)));
    } else if (sl_is(x->path, "/status")) {
        int64_t n = 200;
        str_to_int(x->query, &n);
        answer(x, (int)n, SL("body"));
    } else if (sl_is(x->path, "/split")) {
        sl_pair h[] = { { SL("X-Bad"), SL("a\r\nInjected: yes") },
                        { SL("content-length"), SL("999") },
                        { SL("X-Good"), SL("1") } };
        exchange_reply(x, 200, h, 3, SL("ok"));
    } else {
        echo(x);
    }
}

static void on_refused(exchange *x, int status, const char *code, const char *detail, buf *out)
{
    (void)x;
    buf_printf(out, "{\"status\":%d,\"code\":\"%s\",\"detail\":\"%s\"}", status, code, detail);
}

/* ---- the child ---- */
static uv_poll_t command_poll;
static const struct server_config *started_with;

static void on_command(uv_poll_t *p, int status, int events)
{
    char what = 'q';
    (void)status, (void)events;
    int fd;
    uv_fileno((uv_handle_t *)p, &fd);
    if (read(fd, &what, 1) != 1) what = 'q';
    if (what == 'd') server_drain();
    if (what == 't') seen.result = server_reconfigure(started_with, false, seen.why, sizeof seen.why);
    if (what == 'k' && kept) {
        answer(kept, 200, SL("kept"));
        kept = NULL;
    }
    if (what == 'q') server_close();
    seen.s = server_stats();
    if (write(fd, &seen, sizeof seen) < 0) what = 'q';
    if (what == 'q') uv_close((uv_handle_t *)p, NULL);
}

static int child_main(const struct server_config *cfg, int fd)
{
    static const struct server_hooks hooks = { on_head, on_request, on_refused };
    signal(SIGPIPE, SIG_IGN);
    log_setup(getenv("SERVER_LOG") ? SL_DEBUG : SL_ERROR + 1, LOG_AS_TEXT, 2);
    loop_setup(&(struct loop_config){ .max_calls = 1000 }, NULL);
    started_with = cfg;
    seen.result = server_start(cfg, &hooks, seen.why, sizeof seen.why);
    sl_str a = { 0 };
    server_addresses(&a, 1);
    snprintf(seen.address, sizeof seen.address, "%.*s", STR_ARG(a));
    if (write(fd, &seen, sizeof seen) < 0) return 3;
    if (seen.result) return 0;
    uv_poll_init(loop_uv(), &command_poll, fd);
    uv_poll_start(&command_poll, UV_READABLE, on_command);
    loop_run();
    if (kept) answer(kept, 200, SL("late"));
    loop_close();
    return 0;
}

/* ---- the parent ---- */
static struct server_config server_defaults(void)
{
    static const sl_str listen = { "127.0.0.1:0", 11 };
    return (struct server_config){ .listen = &listen,
                                   .n_listen = 1,
                                   .max_connections = 2000,
                                   .max_header_bytes = 4096,
                                   .max_headers = 20,
                                   .max_body = 65536,
                                   .header_ms = 5000,
                                   .body_ms = 5000,
                                   .idle_ms = 5000,
                                   .write_ms = 5000,
                                   .name = "test" };
}

static struct report receive(void)
{
    struct report r;
    assert_int_equal(recv(control, &r, sizeof r, MSG_WAITALL), sizeof r);
    return r;
}

static struct report command(char what)
{
    assert_int_equal(send(control, &what, 1, 0), 1);
    return receive();
}

static struct report server_up(const struct server_config *cfg)
{
    int pair[2];
    memset(&seen, 0, sizeof seen);
    kept = NULL;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    child_pid = fork();
    if (!child_pid) {
        close(pair[0]);
        exit(child_main(cfg, pair[1]));
    }
    close(pair[1]);
    control = pair[0];
    struct report r = receive();
    snprintf(address, sizeof address, "%s", r.address);
    return r;
}

/* Ends the child and sees to it that it ended well: no sanitizer report, no leak. */
static inline struct report server_down(void)
{
    int status;
    struct report r = command('q');
    close(control);
    assert_int_equal(waitpid(child_pid, &status, 0), child_pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return r;
}

static int dial_to(const char *where)
{
    struct timeval limit = { 20, 0 };
    int fd, e;
    if (!strncmp(where, "unix:", 5)) {
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        memcpy(un.sun_path, where + 5, strnlen(where + 5, sizeof un.sun_path - 1));
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        e = connect(fd, (struct sockaddr *)&un, sizeof un);
    } else {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strrchr(where, ':') + 1)) };
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        e = connect(fd, (struct sockaddr *)&in, sizeof in);
    }
    assert_int_equal(e, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}
static inline int dial(void) { return dial_to(address); }

static inline void say_bytes(int fd, const char *p, size_t n) { send(fd, p, n, MSG_NOSIGNAL); }
static inline void say(int fd, const char *s) { say_bytes(fd, s, strlen(s)); }

/* Everything until the server closes; NUL-terminated, static. */
static inline char *hear_all(int fd)
{
    static char text[1 << 20];
    size_t n = 0;
    ssize_t k;
    while (n < sizeof text - 1 && (k = recv(fd, text + n, sizeof text - 1 - n, 0)) > 0)
        n += (size_t)k;
    text[n] = 0;
    return text;
}

/* One answer with Content-Length (or none), head and body; the connection stays. */
static inline char *hear_one(int fd)
{
    static char text[1 << 17];
    size_t n = 0, want = SIZE_MAX;
    while (n < want && n < sizeof text - 1) {
        ssize_t k = recv(fd, text + n, want == SIZE_MAX ? 1 : want - n, 0);
        if (k <= 0) break;
        n += (size_t)k;
        text[n] = 0;
        char *end = want == SIZE_MAX ? strstr(text, "\r\n\r\n") : NULL;
        if (!end) continue;
        char *length = strcasestr(text, "content-length: ");
        want = (size_t)(end + 4 - text) + (length ? (size_t)atoi(length + 16) : 0);
    }
    text[n] = 0;
    return text;
}

/* Send, then read until the server closes. */
static inline char *ask(const char *request)
{
    int fd = dial();
    say(fd, request);
    char *text = hear_all(fd);
    close(fd);
    return text;
}

static inline int status_of(const char *text) { return strncmp(text, "HTTP/1.1 ", 9) ? 0 : atoi(text + 9); }

static inline int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

static inline void pause_ms(int ms) { poll(NULL, 0, ms); }

static inline int up_default(void **state)
{
    struct server_config cfg = server_defaults();
    (void)state;
    return server_up(&cfg).result;
}
static inline int down(void **state)
{
    (void)state;
    server_down();
    return 0;
}
#endif
