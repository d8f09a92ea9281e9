/* server_listen.c - listening sockets: address texts, both families, SO_REUSEPORT, unix sockets left behind by dead
 * servers. */
#include "base/log.h"
#include "net/conn.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, LISTENERS_MAX = 32, KEEPALIVE_IDLE_S = 60 };
struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } io;
    bool is_unix;
    char text[128];
};
static struct listener *listeners[LISTENERS_MAX];
static size_t n_listeners;

static void on_connection(uv_stream_t *s, int status)
{
    struct listener *l = s->data;
    static uint64_t warned;
    if (!status) {
        conn_open(s, l->is_unix);
    } else if (loop_now() >= warned) {
        warned = loop_now() + 10000; /* out of descriptors: say so, but not for every connection */
        log_error("cannot accept connections", LOG_C("address", l->text), LOG_C("reason", uv_strerror(status)));
    }
}

static void on_closed(uv_handle_t *h) { free(h->data); }

void listen_close(void)
{
    while (n_listeners)
        uv_close(&listeners[--n_listeners]->io.handle, on_closed);
}

size_t server_addresses(sl_str *out, size_t room)
{
    for (size_t i = 0; i < n_listeners && i < room; i++)
        out[i] = sl_cstr(listeners[i]->text);
    return n_listeners;
}

static bool failed(char *why, size_t why_size, sl_str where, const char *what)
{
    snprintf(why, why_size, "listen address \"%.*s\": %s", (int)(where.n > 200 ? 200 : where.n), where.p, what);
    return false;
}

static struct listener *listener_new(bool is_unix)
{
    if (n_listeners == LISTENERS_MAX) return NULL;
    struct listener *l = calloc(1, sizeof *l);
    if (!l) abort();
    l->is_unix = is_unix;
    if (is_unix)
        uv_pipe_init(loop_uv(), &l->io.pipe, 0);
    else
        uv_tcp_init(loop_uv(), &l->io.tcp);
    l->io.handle.data = l;
    listeners[n_listeners++] = l;
    return l;
}

/* A bound TCP socket, or -1 with errno. Accepted sockets inherit no-delay and keep-alive: no system call each. */
static int bind_tcp(const struct sockaddr *sa, socklen_t n, bool reuse_port)
{
    int on = 1, idle = KEEPALIVE_IDLE_S;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) ||
        (sa->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle) || bind(fd, sa, n)) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

static uint16_t *port_of(struct sockaddr *sa)
{
    return sa->sa_family == AF_INET6 ? &((struct sockaddr_in6 *)(void *)sa)->sin6_port
                                     : &((struct sockaddr_in *)(void *)sa)->sin_port;
}

/* Listen on one socket address; a port that the kernel chose is written back into *port. */
static bool listen_tcp(struct sockaddr *sa, socklen_t n, bool reuse_port, uint16_t *port)
{
    *port_of(sa) = htons(*port);
    int fd = bind_tcp(sa, n, reuse_port);
    if (fd < 0) return false;
    struct sockaddr_storage got;
    socklen_t got_n = sizeof got;
    struct ip ip;
    char text[64];
    struct listener *l = listener_new(false);
    if (!l || getsockname(fd, (struct sockaddr *)&got, &got_n) || uv_tcp_open(&l->io.tcp, fd)) {
        close(fd);
        errno = EMFILE;
        return false;
    }
    *port = ntohs(*port_of((struct sockaddr *)&got));
    ip_from_sockaddr((struct sockaddr *)&got, &ip);
    ip_format(&ip, text);
    snprintf(l->text, sizeof l->text, ip.v6 ? "[%s]:%u" : "%s:%u", text, *port);
    int e = uv_listen(&l->io.stream, BACKLOG, on_connection);
    errno = -e;
    return e == 0;
}

/* "[::1]:80" "name:80" ":80" into host (no brackets) and port. */
static bool address_split(sl_str s, char host[256], uint16_t *port)
{
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    int64_t number;
    if (!colon || !str_to_int(sl_lit(colon + 1, (size_t)(s.p + s.n - colon - 1)), &number)) return false;
    if (number < 0 || number > 65535) return false;
    sl_str h = sl_lit(s.p, (size_t)(colon - s.p));
    if (h.n && h.p[0] == '[') {
        if (h.p[h.n - 1] != ']') return false;
        h = sl_lit(h.p + 1, h.n - 2);
        if (!h.n) return false;
    } else if (h.n && memchr(h.p, ':', h.n)) {
        return false; /* an IPv6 address needs its brackets */
    }
    if (h.n >= 256) return false;
    memcpy(host, h.p, h.n);
    host[h.n] = 0;
    *port = (uint16_t)number;
    return true;
}

static bool listen_address(sl_str where, bool reuse_port, char *why, size_t why_size)
{
    char host[256];
    uint16_t port;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *all = NULL;
    if (!address_split(where, host, &port))
        return failed(why, why_size, where, "is not HOST:PORT, [IPV6]:PORT, :PORT or unix:/PATH");
    int e = getaddrinfo(host[0] ? host : NULL, "0", &hints, &all);
    if (e) return failed(why, why_size, where, gai_strerror(e));
    bool any = false;
    int last = EADDRNOTAVAIL;
    for (struct addrinfo *a = all; a; a = a->ai_next) {
        /* All families share the port. A family that the machine does not have is passed over; a taken port is an
         * error. */
        if (listen_tcp(a->ai_addr, a->ai_addrlen, reuse_port, &port)) {
            any = true;
            continue;
        }
        last = errno;
        if (last == EAFNOSUPPORT || last == EADDRNOTAVAIL) continue;
        any = false;
        break;
    }
    freeaddrinfo(all);
    return any || failed(why, why_size, where, strerror(last));
}

/* Is this path free for us? A socket that nobody answers on is the rest of a dead server and goes. */
static bool unix_free(const char *path, const struct sockaddr_un *sa, const char **what)
{
    struct stat st;
    if (lstat(path, &st)) {
        *what = strerror(errno);
        return errno == ENOENT;
    }
    if (!S_ISSOCK(st.st_mode)) {
        *what = "the path exists and is not a socket";
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int e = connect(fd, (const struct sockaddr *)sa, sizeof *sa) ? errno : 0;
    close(fd);
    if (e != ECONNREFUSED) {
        *what = e == 0 || e == EAGAIN ? "another server answers on this socket" : strerror(e);
        return false;
    }
    if (!unlink(path) || errno == ENOENT) return true;
    *what = strerror(errno);
    return false;
}

static bool listen_unix(sl_str where, char *why, size_t why_size)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    sl_str path = str_sub(where, 5, where.n);
    const char *what = "";
    if (!path.n || path.p[0] != '/') return failed(why, why_size, where, "the path of a unix socket must be absolute");
    if (path.n >= sizeof sa.sun_path)
        return failed(why, why_size, where, "the path is longer than a unix socket's may be");
    memcpy(sa.sun_path, path.p, path.n);
    if (!unix_free(sa.sun_path, &sa, &what)) return failed(why, why_size, where, what);
    struct listener *l = listener_new(true);
    if (!l) return failed(why, why_size, where, "too many listen addresses");
    mode_t before = umask(0117);                    /* 0660 from its first moment */
    int e = uv_pipe_bind(&l->io.pipe, sa.sun_path); /* libuv unlinks the path when it is closed */
    umask(before);
    if (!e) e = uv_listen(&l->io.stream, BACKLOG, on_connection);
    snprintf(l->text, sizeof l->text, "unix:%s", sa.sun_path);
    return !e || failed(why, why_size, where, uv_strerror(e));
}

bool listen_all(const sl_str *addresses, size_t n, bool reuse_port, char *why, size_t why_size)
{
    for (size_t i = 0; i < n; i++) {
        bool ok = str_starts(addresses[i], "unix:") ? listen_unix(addresses[i], why, why_size)
                                                    : listen_address(addresses[i], reuse_port, why, why_size);
        if (ok) continue;
        listen_close();
        return false;
    }
    return true;
}
