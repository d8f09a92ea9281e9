/* fuzz_http.c - bytes of a client through the real connection code: a server on a Unix socket, one connection an input.
 */
#include "fuzz.h"
#include "loop/loop.h"
#include "net/server.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un to = { .sun_family = AF_UNIX };

/* An answer that reads all that a handler could read. */
static void on_request(exchange *x)
{
    size_t sum = x->method.n + x->path.n + x->query.n + x->remote.n + x->host.n + x->scheme.n;
    for (size_t i = 0; i < x->n_headers; i++) {
        for (size_t j = 0; j < x->headers[i].name.n; j++)
            if (x->headers[i].name.p[j] >= 'A' && x->headers[i].name.p[j] <= 'Z') abort();
        sum += x->headers[i].value.n ? (unsigned char)x->headers[i].value.p[x->headers[i].value.n - 1] : 0;
    }
    if (x->body.n) sum += (unsigned char)x->body.p[x->body.n - 1];
    exchange_reply(x, sum % 7 ? 200 : 204, NULL, 0, SL("{}"));
}

static void on_refused(exchange *x, int status, const char *code, const char *detail, buf *out)
{
    (void)x;
    if (status < 400 || !*code || !*detail) abort();
    buf_add_cstr(out, "{}");
}

static void setup(void)
{
    static const struct server_hooks hooks = { .on_request = on_request, .on_refused = on_refused };
    char why[200], listen[128];
    snprintf(to.sun_path, sizeof to.sun_path, "/tmp/sl-fuzz-http-%d.sock", (int)getpid());
    snprintf(listen, sizeof listen, "unix:%s", to.sun_path);
    sl_str at = sl_cstr(listen);
    struct server_config cfg = { .listen = &at,
                                 .n_listen = 1,
                                 .max_connections = 100,
                                 .max_header_bytes = 4096,
                                 .max_headers = 30,
                                 .max_body = 4096,
                                 .header_ms = 1000,
                                 .body_ms = 1000,
                                 .idle_ms = 1000,
                                 .write_ms = 1000 };
    loop_setup(&(struct loop_config){ .max_calls = 100 }, NULL);
    if (server_start(&cfg, &hooks, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    char answer[4096];
    if (!ready) setup();
    ready = true;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) abort();
    size_t half = size ? data[0] % size : 0; /* in two pieces, so that every state meets the end of a read */
    if (half && write(fd, data, half) != (ssize_t)half) abort();
    for (int i = 0; i < 3; i++)
        uv_run(loop_uv(), UV_RUN_NOWAIT);
    if (size > half && write(fd, data + half, size - half) < 0) half = size; /* the server may have hung up */
    for (int i = 0; i < 4; i++)
        uv_run(loop_uv(), UV_RUN_NOWAIT);
    while (read(fd, answer, sizeof answer) > 0) {
    }
    close(fd);
    for (int i = 0; i < 100 && server_connections(); i++)
        uv_run(loop_uv(), UV_RUN_NOWAIT);
    if (server_connections()) abort(); /* a client that left must not be kept */
    return 0;
}
