/* conn.c - one connection: reading, writing, its phases with their time limits, and how it ends. */
#include "net/conn.h"
#include "base/clock.h"
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { SPARE_MAX = 64, SPARE_ROOM = 64 << 10 };
static buf spare[SPARE_MAX];
static size_t n_spare;
static char read_buffer[READ_SIZE];

void spare_take(buf *b, size_t max)
{
    if (b->p) return;
    if (n_spare) *b = spare[--n_spare];
    b->max = max;
}

void spare_give(const struct conn *c, buf *b)
{
    if (c->sensitive && b->p) explicit_bzero(b->p, b->room);
    if (b->p && b->room <= SPARE_ROOM && n_spare < SPARE_MAX && srv.running) {
        buf_clear(b);
        spare[n_spare++] = *b;
    } else {
        free(b->p);
    }
    *b = (buf){ 0 };
}

void spare_clear(void)
{
    while (n_spare)
        buf_free(&spare[--n_spare]);
}

void conn_phase(struct conn *c, enum phase phase, uint32_t ms)
{
    if (c->phase == CONN_IDLE) srv.stats.idle--;
    if (phase == CONN_IDLE) srv.stats.idle++;
    c->phase = phase;
    c->deadline = ms ? loop_now() + ms : 0;
}

size_t conn_unsent(const struct conn *c)
{
    return c->out.n + c->wire.n + (c->writing ? uv_stream_get_write_queue_size(&c->io.stream) : 0);
}

/* libuv may have nothing left to write and still owe the callback of the last write, which counts its bytes. */
static bool all_written(const struct conn *c) { return !c->writing && !conn_unsent(c); }

static void enqueue(struct conn_queue *q, struct conn *c)
{
    c->queue = q;
    c->queue_prev = q->last;
    c->queue_next = NULL;
    if (q->last)
        q->last->queue_next = c;
    else
        q->first = c;
    q->last = c;
}

static void dequeue(struct conn *c)
{
    struct conn_queue *q = c->queue;
    if (!q) return;
    if (c->queue_prev)
        c->queue_prev->queue_next = c->queue_next;
    else
        q->first = c->queue_next;
    if (c->queue_next)
        c->queue_next->queue_prev = c->queue_prev;
    else
        q->last = c->queue_prev;
    c->queue = NULL;
}

static void serve(struct conn_queue *q)
{
    for (struct conn *c; (c = q->first);) {
        dequeue(c);
        conn_work(c);
    }
}

/* Between two of these runs the loop takes what has come in for all others. */
static void conns_put_off(uv_idle_t *next_turn)
{
    struct conn_queue *q = &srv.put_off[srv.put_off_now];
    srv.put_off_now ^= 1;
    serve(q);
    if (!srv.put_off[srv.put_off_now].first) uv_idle_stop(next_turn);
}

/* By time, not by number: a hundred cheap requests cost the others less than one dear one, and go out in one write. */
bool conn_spent(struct conn *c)
{
    uint64_t now = (uint64_t)clock_monotonic();
    if (!c->slice) c->slice = now; /* this request began in an earlier turn */
    return now - c->slice >= SLICE_US * UINT64_C(1000);
}

void conn_put_off(struct conn *c)
{
    srv.stats.yields++;
    enqueue(&srv.put_off[srv.put_off_now], c);
    uv_idle_start(srv.next_turn, conns_put_off);
}

/* May another byte go into the parser? */
static bool may_parse(const struct conn *c)
{
    return !c->queue && c->phase != CONN_ANSWER && c->phase < CONN_FLUSH && c->phase != CONN_HANDSHAKE &&
           conn_unsent(c) < OUT_HIGH;
}

void conn_input(struct conn *c, const char *p, size_t n)
{
    size_t used = 0;
    if (c->phase >= CONN_FLUSH) return;
    if (!c->in.n && may_parse(c)) {
        c->busy = true;
        used = conn_parse(c, p, n);
        c->busy = false;
    }
    if (used == n || c->phase >= CONN_FLUSH) return;
    spare_take(&c->in, IN_MAX + 2 * READ_SIZE); /* reading stops at IN_MAX; one read may go beyond */
    buf_add(&c->in, p + used, n - used);
    if (c->in.overflow) conn_close(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
    (void)h, (void)suggested;
    *b = uv_buf_init(read_buffer, sizeof read_buffer);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct conn *c = s->data;
    if (n == 0) return;
    if (n < 0) {
        if (n == UV_EOF)
            conn_eof(c);
        else
            conn_close(c);
        return;
    }
    srv.stats.bytes_in += (uint64_t)n;
    if (c->phase == CONN_LINGER) return;
    if (c->ssl)
        tls_input(c, b->base, (size_t)n);
    else
        conn_input(c, b->base, (size_t)n);
    if (c->sensitive) explicit_bzero(b->base, (size_t)n);
    conn_work(c);
}

static void update_reading(struct conn *c)
{
    bool want = c->phase == CONN_LINGER || (c->phase < CONN_FLUSH && c->in.n < IN_MAX && !c->eof);
    if (want == c->reading) return;
    c->reading = want;
    if (want)
        uv_read_start(&c->io.stream, on_alloc, on_read);
    else
        uv_read_stop(&c->io.stream);
}

/* The client will send no more. While an answer is pending that is taken for leaving, as a closed connection looks the
 * same. */
void conn_eof(struct conn *c)
{
    if (c->phase == CONN_IDLE && (c->in.n || !all_written(c))) {
        c->eof = true;
        conn_work(c);
        return;
    }
    conn_close(c);
}

/* All of the last answer is written. */
static void finish(struct conn *c)
{
    int fd;
    if (c->ssl) {
        tls_bye(c);
        uv_buf_t b = uv_buf_init(c->wire.p, (unsigned)c->wire.n);
        if (c->wire.n) uv_try_write(&c->io.stream, &b, 1);
        spare_give(c, &c->wire);
    }
    if (!c->linger || c->eof || uv_fileno(&c->io.handle, &fd) || shutdown(fd, SHUT_WR)) {
        conn_close(c);
        return;
    }
    spare_give(c, &c->in);
    conn_phase(c, CONN_LINGER, LINGER_MS);
}

static void on_written(uv_write_t *w, int status)
{
    struct conn *c = w->data;
    c->writing = false;
    if (c->phase == CONN_CLOSED) return;
    srv.stats.bytes_out += c->flight.n;
    spare_give(c, &c->flight);
    if (status < 0)
        conn_close(c);
    else
        conn_work(c);
}

/* Hand over what is ready: one try, and a queued write for what the socket did not take. */
static void flush(struct conn *c)
{
    if (c->writing || c->phase >= CONN_LINGER) return;
    if (c->out.overflow || c->wire.overflow || (c->ssl && c->out.n && !tls_encrypt(c))) {
        conn_close(c);
        return;
    }
    buf *b = c->ssl ? &c->wire : &c->out;
    if (!b->n) return;
    uv_buf_t part = uv_buf_init(b->p, (unsigned)b->n);
    int done = uv_try_write(&c->io.stream, &part, 1);
    if (done == UV_EAGAIN) done = 0;
    if (done < 0) {
        conn_close(c);
        return;
    }
    srv.stats.bytes_out += (uint64_t)done;
    if ((size_t)done == b->n) {
        spare_give(c, b);
        return;
    }
    c->flight = *b;
    *b = (buf){ 0 };
    part = uv_buf_init(c->flight.p + done, (unsigned)(c->flight.n - (size_t)done));
    srv.stats.bytes_out -= (uint64_t)done; /* counted as a whole when the rest is through */
    c->write.data = c;
    c->writing = true;
    c->progress_at = loop_now();
    c->queue_seen = part.len;
    if (uv_write(&c->write, &c->io.stream, &part, 1, on_written)) {
        c->writing = false;
        conn_close(c);
    }
}

void conn_work(struct conn *c)
{
    if (c->phase == CONN_CLOSED) return;
    do {
        c->busy = true;
        while (c->in.n && may_parse(c)) {
            size_t used = conn_parse(c, c->in.p, c->in.n);
            if (!c->in.p) break; /* given up meanwhile */
            buf_drop_front(&c->in, used);
        }
        c->busy = false;
        flush(c);
    } while (c->in.n && may_parse(c) && c->phase < CONN_FLUSH);
    if (c->phase == CONN_CLOSED) return;
    if (!c->in.n && c->in.p) spare_give(c, &c->in);
    if (all_written(c)) {
        if (c->phase == CONN_FLUSH)
            finish(c);
        else if (c->phase == CONN_IDLE && !c->in.n && (c->eof || srv.draining))
            conn_close(c);
    }
    if (c->phase == CONN_CLOSED) return;
    c->slice = 0;
    update_reading(c);
    struct waiter *w = c->r ? c->r->waiter : NULL;
    if (w && conn_unsent(c) < OUT_HIGH) {
        c->r->waiter = NULL;
        w->r = NULL;
        call_wake(w->c, SL_OK);
    }
}

/* Answers given outside of the parser leave together at the end of the turn, and never on a fiber's small stack. */
static void work_dirty(void *arg)
{
    (void)arg;
    serve(&srv.dirty);
}

void conn_touch(struct conn *c)
{
    if (c->busy || c->queue || c->phase == CONN_CLOSED) return;
    enqueue(&srv.dirty, c);
    loop_at_turn_end(work_dirty, NULL);
}

static void on_closed(uv_handle_t *h)
{
    struct conn *c = h->data;
    tls_free(c);
    spare_give(c, &c->in);
    spare_give(c, &c->out);
    spare_give(c, &c->wire);
    spare_give(c, &c->flight);
    free(c);
}

void conn_close(struct conn *c)
{
    if (c->phase == CONN_CLOSED) return;
    if (c->r) request_gone(c);
    conn_phase(c, CONN_CLOSED, 0);
    srv.stats.connections--;
    if (c->prev)
        c->prev->next = c->next;
    else
        srv.conns = c->next;
    if (c->next) c->next->prev = c->prev;
    dequeue(c);
    uv_close(&c->io.handle, on_closed);
}

static void timed_out(struct conn *c)
{
    if (c->phase != CONN_IDLE && c->phase != CONN_LINGER) srv.stats.timeouts++;
    if (c->phase != CONN_HEAD && c->phase != CONN_BODY) {
        conn_close(c);
        return;
    }
    conn_refuse(c, 408, "request_timeout",
                c->phase == CONN_HEAD ? "The request's head did not arrive in time."
                                      : "The request's body did not arrive in time.");
    conn_work(c);
}

/* What the client's side has not taken: with us, and in the kernel, where megabytes of a slow reader may lie. */
static size_t unread(const struct conn *c)
{
    uv_os_fd_t fd;
    int in_kernel = 0;
    if (uv_fileno(&c->io.handle, &fd) || ioctl(fd, SIOCOUTQ, &in_kernel)) in_kernel = 0;
    return uv_stream_get_write_queue_size(&c->io.stream) + (size_t)in_kernel;
}

void conn_check(struct conn *c, uint64_t now)
{
    if (c->phase == CONN_CLOSED) return;
    if (c->writing) {
        size_t queue = unread(c);
        if (queue != c->queue_seen) {
            c->queue_seen = queue;
            c->progress_at = now;
        } else if (srv.cfg.write_ms && now - c->progress_at >= srv.cfg.write_ms) {
            srv.stats.timeouts++;
            conn_close(c);
            return;
        }
    }
    bool late = c->deadline && now >= c->deadline;
    if (c->phase == CONN_IDLE && (c->writing || c->queue))
        late = false; /* the write limit watches it; it waits for us */
    if (c->phase == CONN_BODY && srv.cfg.body_min_rate && now - c->body_since >= RATE_GRACE_MS)
        late |= c->body_bytes < (now - c->body_since) * srv.cfg.body_min_rate / 1000;
    if (late) timed_out(c);
}

/* Who is there, as text; and may it speak for others? */
static void know_peer(struct conn *c, bool is_unix)
{
    struct sockaddr_storage sa;
    int n = sizeof sa;
    struct ip ip;
    c->peer = SL("unix");
    c->trusted = is_unix && srv.trust_unix;
    if (is_unix || uv_tcp_getpeername(&c->io.tcp, (struct sockaddr *)&sa, &n)) return;
    if (!ip_from_sockaddr((struct sockaddr *)&sa, &ip)) return;
    char text[64];
    size_t len = ip_format(&ip, text);
    if (len > sizeof c->peer_text) len = sizeof c->peer_text;
    memcpy(c->peer_text, text, len);
    c->peer = sl_lit(c->peer_text, len);
    for (size_t i = 0; i < srv.n_proxies && !c->trusted; i++)
        c->trusted = cidr_has(&srv.proxies[i], &ip);
}

/* Too many: whoever comes now is told so and let go. Leaving it in the kernel's queue would hide the overload from
 * clients and balancers, which would wait instead of going elsewhere. */
static void turn_away(struct conn *c)
{
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    uv_buf_t b = uv_buf_init((char *)text, sizeof text - 1);
    if (!srv.tls) uv_try_write(&c->io.stream, &b, 1);
    srv.stats.refused++;
    conn_close(c);
}

void conn_open(uv_stream_t *listener, bool is_unix)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c) return;
    if (is_unix)
        uv_pipe_init(loop_uv(), &c->io.pipe, 0);
    else
        uv_tcp_init(loop_uv(), &c->io.tcp);
    c->io.handle.data = c;
    c->next = srv.conns;
    if (srv.conns) srv.conns->prev = c;
    srv.conns = c;
    srv.stats.connections++;
    c->phase = CONN_HANDSHAKE;
    if (uv_accept(listener, &c->io.stream)) {
        conn_close(c);
        return;
    }
    srv.stats.accepted++;
    if (srv.stats.connections > srv.cfg.max_connections || (srv.tls && !tls_open(c))) {
        turn_away(c);
        return;
    }
    llhttp_init(&c->parser, HTTP_REQUEST, &srv.parser);
    c->parser.data = c;
    know_peer(c, is_unix);
    if (srv.tls)
        conn_phase(c, CONN_HANDSHAKE, srv.cfg.header_ms);
    else
        conn_phase(c, CONN_IDLE, srv.cfg.idle_ms);
    update_reading(c);
}
