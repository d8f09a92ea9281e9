/* fetch_shots.h - for test_fetch*.c: starts the servers, fetches in calls of their own, and leads names where tests
 * want them. */
#ifndef FETCH_SHOTS_H
#define FETCH_SHOTS_H
#include "unit.h"
#include "base/json.h"
#include "net/fetch.h"
#include <dlfcn.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/test_fetch.XXXXXX";
static int http_port, https_port, server_input;
static pid_t server;

static int turned; /* look-ups of turning.test */

/* Stands before the C library's, also for libcurl: names under .test lead where the tests want them. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    static const char *const names[][2] = { { "one.test", "127.0.0.1" },
                                            { "two.test", "127.0.0.2" },
                                            { "ten.test", "10.0.0.1" },
                                            { "mapped.test", "::ffff:127.0.0.1" },
                                            { "secure.test", "127.0.0.1" } };
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && strcmp(name, "slow.test") == 0) {
        sleep(20);
        return EAI_AGAIN;
    }
    if (name && strcmp(name, "none.test") == 0) return EAI_NONAME;
    if (name && strcmp(name, "turning.test") == 0) name = turned++ % 2 ? "127.0.0.1" : "127.0.0.2";
    if (name && strcmp(name, "both.test") == 0) { /* one address that is refused, one that is not */
        int code = real("127.0.0.1", service, hints, out);
        return code ? code : real("127.0.0.2", service, hints, &(*out)->ai_next);
    }
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i][0]) == 0) name = names[i][1];
    return real(name, service, hints, out);
}

/* One fetch in a call of its own; what came back is kept beyond the call. */
struct shot {
    sl_request request;
    uint32_t deadline_ms;
    arena *kept;
    call *call;
    sl_err code;
    sl_response out;
    bool done;
};

static inline void shot_run(call *c)
{
    struct shot *s = c->context;
    const sl_response *out = NULL;
    s->call = c;
    s->code = fetch(c, &s->request, &out);
    s->out = *out;
    sl_pair *headers = arena_alloc(s->kept, (out->n_headers + 1) * sizeof *headers);
    for (uint64_t i = 0; i < out->n_headers; i++)
        headers[i] = (sl_pair){ arena_copy(s->kept, out->headers[i].name), arena_copy(s->kept, out->headers[i].value) };
    s->out.headers = headers;
    s->out.body = arena_copy(s->kept, out->body);
    s->out.type = arena_copy(s->kept, out->type);
    s->out.address = arena_copy(s->kept, out->address);
    s->out.error = arena_copy(s->kept, out->error);
    s->out.error_class = arena_copy(s->kept, out->error_class);
    s->call = NULL;
    s->done = true;
}

static inline void shot_init(call *c, void *arg)
{
    c->context = arg;
    c->name = "shot";
}

static inline void fire(struct shot *s)
{
    s->request.size = sizeof s->request;
    s->kept = arena_new(0);
    assert_true(call_start(0, s->deadline_ms, shot_init, s, shot_run));
}

static inline void await(struct shot *s)
{
    while (!s->done)
        uv_run(loop_uv(), UV_RUN_ONCE);
}

static inline sl_str to_url(const char *url, int port)
{
    static char room[8][400];
    static int at;
    char *p = room[at++ % 8];
    (void)snprintf(p, sizeof *room, url, port, port, port);
    return sl_cstr(p);
}

/* Fetches url, in which %d stands for the port. */
static inline struct shot *get(struct shot *s, const char *url)
{
    s->request.url = to_url(url, strncmp(url, "https", 5) == 0 ? https_port : http_port);
    fire(s);
    await(s);
    return s;
}

static inline void over(struct shot *s)
{
    arena_free(s->kept);
    memset(s, 0, sizeof *s);
}

static inline void begin(struct fetch_config cfg)
{
    char why[200] = "";
    if (fetch_setup(&cfg, why, sizeof why)) fail_msg("%s", why);
}

static inline void begin_private(void) { begin((struct fetch_config){ .allow_private = true }); }

static inline void assert_failed(const struct shot *s, sl_err code, const char *error_class)
{
    if (s->code != code || !sl_is(s->out.error_class, error_class))
        fail_msg("got %d %.*s (%.*s), want %d %s", s->code, (int)s->out.error_class.n, s->out.error_class.p,
                 (int)s->out.error.n, s->out.error.p, code, error_class);
    assert_int_equal(s->out.status, 0);
    assert_true(s->out.error.n > 0);
    assert_int_equal(s->out.body.n, 0);
}

static inline void assert_ok(const struct shot *s, int status, const char *body)
{
    if (s->code || s->out.status != status)
        fail_msg("got %d, status %d (%.*s)", s->code, s->out.status, (int)s->out.error.n,
                 s->out.error.p ? s->out.error.p : "");
    assert_false(sl_given(s->out.error_class));
    if (body && !sl_is(s->out.body, body)) fail_msg("got body %.*s", (int)s->out.body.n, s->out.body.p);
}

static inline sl_str header(const struct shot *s, const char *name)
{
    for (uint64_t i = 0; i < s->out.n_headers; i++)
        if (sl_is(s->out.headers[i].name, name)) return s->out.headers[i].value;
    return sl_lit(NULL, 0);
}

/* What /echo says about the request: a pointer into its JSON, as text. */
static inline void assert_echo(const struct shot *s, const char *pointer, const char *want)
{
    char why[100];
    json_t *v = json_read(s->out.body, why, sizeof why);
    sl_str got = json_plain(s->kept, json_point(v, sl_cstr(pointer)));
    if (want ? !sl_is(got, want) : sl_given(got))
        fail_msg("%s is %.*s, want %s", pointer, (int)got.n, got.p ? got.p : "", want ? want : "absent");
    json_decref(v);
}

static inline int start_server(void **state)
{
    (void)state;
    int in[2], out[2];
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* must not be looked at */
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    if (!mkdtemp(directory) || pipe(in) || pipe(out)) return -1;
    server = fork();
    if (server == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        execl("/usr/bin/python3", "python3", "tests/unit/test_fetch_server.py", directory, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    server_input = in[1];
    FILE *f = fdopen(out[0], "r");
    int n = fscanf(f, "%d %d", &http_port, &https_port);
    fclose(f);
    loop_setup(&(struct loop_config){ .slow_ms = 0 }, NULL);
    return n != 2;
}

static inline int stop_server(void **state)
{
    (void)state;
    char command[64];
    close(server_input);
    kill(server, SIGTERM);
    waitpid(server, NULL, 0);
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    loop_close();
    return system(command);
}
#endif
