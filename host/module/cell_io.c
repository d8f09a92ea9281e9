/* cell_io.c - the host's end of a child's socket: frames in and out, floods slowed, and the moment of its death. */
#include "module/cell_host.h"
#include "base/log.h"
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    READ_AT_ONCE = 1 << 16,
    KEEP_ROOM = 1 << 20,
    ONE_WAY_MAX = 1 << 19, /* bytes of a frame that gets no answer */
    WINDOW_MS = 100,
    ONE_WAY_PER_WINDOW = 5000, /* more frames without an answer, and the child is not read until the window is over */
};

/* By pidfd: a number may belong to somebody else by now, a pidfd never does. */
void cell_kill(struct cell *k, const char *why)
{
    if (!k->alive) return;
    if (why && !k->last[0]) snprintf(k->last, sizeof k->last, "%s", why);
    syscall(SYS_pidfd_send_signal, k->pidfd, SIGKILL, NULL, 0);
}

/* ---- out ---- */
static void on_socket(uv_poll_t *p, int status, int events);

static void watch(struct cell *k)
{
    bool reading = !uv_is_active((uv_handle_t *)&k->pause);
    int events = (reading ? UV_READABLE : 0) | (k->writing ? UV_WRITABLE : 0);
    if (events)
        uv_poll_start(&k->socket, events, on_socket);
    else
        uv_poll_stop(&k->socket);
}

void cell_flush(void *arg)
{
    struct cell *k = arg;
    size_t done = 0;
    while (k->fd >= 0 && done < k->out.n) {
        ssize_t n = write(k->fd, k->out.p + done, k->out.n - done);
        if (n > 0)
            done += (size_t)n;
        else if (n >= 0 || errno != EINTR)
            break; /* full: it becomes writable; broken: its end tells */
    }
    buf_drop_front(&k->out, done);
    if (!k->out.n && k->out.room > KEEP_ROOM) buf_free(&k->out);
    if (k->fd < 0 || k->writing == (k->out.n > 0)) return;
    k->writing = k->out.n > 0;
    watch(k);
}

void cell_send(struct cell *k)
{
    if (k->out.overflow) cell_kill(k, "did not read what it was sent");
    loop_at_turn_end(cell_flush, k);
}

/* ---- in ---- */
static void on_ready(struct cell *k, const struct frame *f, size_t size)
{
    if (!k->waiter || k->has_ready || k->state != CELL_BOOTING || size > CELL_READY_MAX) {
        cell_kill(k, "described itself out of turn or at too great length");
        return;
    }
    k->ready = frame_keep(f, &k->ready_bytes);
    k->has_ready = true;
    call_wake(k->waiter, SL_OK);
}

static bool take_slow(struct cell *k, struct frame *f)
{
    char name[256];
    sl_str entry = get_str(f);
    uint32_t ms = get_u32(f);
    snprintf(name, sizeof name, "%.*s", (int)(entry.n < 255 ? entry.n : 255), entry.p ? entry.p : "");
    if (frame_done(f) && str_is_utf8(sl_cstr(name))) module_slow(k->g->module->name, name, ms, true);
    return frame_done(f);
}

static bool take_one_way(struct cell *k, struct talk *t, struct frame *f, size_t size)
{
    if (size > ONE_WAY_MAX) return false;
    if (f->op == FRAME_SLOW) return take_slow(k, f);
    return !t || serve_one_way(t, f);
}

static void take(struct cell *k, struct frame *f, size_t size)
{
    bool one_way = f->op == FRAME_LOG || f->op == FRAME_METRIC || f->op == FRAME_SLOW;
    struct talk *t = talk_find(k, f->call);
    if (f->op == FRAME_READY) {
        on_ready(k, f, size);
        return;
    }
    if (one_way || !t) k->one_way++;
    if (one_way) {
        if (!take_one_way(k, t, f, size)) cell_kill(k, "sent a log line or number that cannot be read");
        return;
    }
    if (f->op < FRAME_READY || (t && t->has_frame)) {
        cell_kill(k, "sent a frame out of turn");
        return;
    }
    if (!t) return; /* a call that is over here */
    t->frame = frame_keep(f, &t->bytes);
    t->has_frame = true;
    if (t->waiting) call_wake(t->c, SL_OK);
}

static void take_all(struct cell *k)
{
    struct frame f;
    size_t n;
    while (k->alive && (n = frame_read(&f, sl_lit(k->in.p + k->taken, k->in.n - k->taken))) != 0) {
        if (n == SIZE_MAX) {
            cell_kill(k, "sent bytes that are no frame");
            buf_clear(&k->in);
            break;
        }
        k->taken += n;
        take(k, &f, n);
    }
    if (k->in.n) buf_drop_front(&k->in, k->taken);
    k->taken = 0;
    if (!k->in.n && k->in.room > KEEP_ROOM) buf_free(&k->in);
}

/* Bytes read, 0 at the end of the socket, -1 when there is nothing now. */
static ssize_t read_some(struct cell *k)
{
    char *room = buf_reserve(&k->in, READ_AT_ONCE);
    if (!room) return 0;
    ssize_t n = read(k->fd, room, READ_AT_ONCE);
    if (n > 0) {
        k->in.n += (size_t)n;
        take_all(k);
    }
    return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? -1 : 0;
}

static void on_window_over(uv_timer_t *t)
{
    struct cell *k = t->data;
    if (k->fd >= 0) watch(k);
}

/* A child that sends without being asked is read only so often: it waits, everybody else does not. */
static void slow_down(struct cell *k)
{
    uint64_t now = loop_now();
    if (now - k->window_ms >= WINDOW_MS) {
        k->window_ms = now;
        k->one_way = 0;
    }
    if (k->one_way < ONE_WAY_PER_WINDOW || k->fd < 0) return;
    uv_timer_start(&k->pause, on_window_over, WINDOW_MS - (now - k->window_ms), 0);
    watch(k);
}

static void on_socket(uv_poll_t *p, int status, int events)
{
    struct cell *k = p->data;
    if (events & UV_WRITABLE) cell_flush(k);
    if (status == 0 && !(events & UV_READABLE)) return;
    if (status == 0 && read_some(k) != 0) {
        slow_down(k);
        return;
    }
    if (k->fd >= 0) uv_poll_stop(&k->socket);
    cell_kill(k, k->in.overflow ? "sent a frame that is too large" : NULL); /* how it ended says more, if it did */
}

/* ---- life and death ---- */
static void on_closed(uv_handle_t *h)
{
    struct cell *k = h->data;
    k->handles--;
    if (!k->handles && k->state == CELL_CLOSING && k->waiter) call_wake(k->waiter, SL_OK);
}

void cell_close_handle(void *handle) { uv_close(handle, on_closed); }

void cell_disconnect(struct cell *k)
{
    if (k->fd < 0) return;
    uv_timer_stop(&k->pause);
    cell_close_handle(&k->socket);
    cell_close_handle(&k->process);
    close(k->fd);
    close(k->pidfd);
    k->fd = k->pidfd = -1;
    k->writing = false;
    buf_clear(&k->in);
    buf_clear(&k->out);
    k->taken = 0;
}

static void on_end(uv_poll_t *p, int status, int events)
{
    struct cell *k = p->data;
    int how = 0;
    (void)status, (void)events;
    pid_t ended = waitpid(k->pid, &how, WNOHANG);
    if (ended == 0) return;
    while (!k->last[0] && read_some(k) > 0) /* what it had said before */
        continue;
    k->alive = false;
    cell_died(k, ended < 0 ? 0 : how);
}

static void poll_on(struct cell *k, uv_poll_t *p, int fd, uv_poll_cb fn)
{
    uv_poll_init(loop_uv(), p, fd);
    p->data = k;
    k->handles++;
    uv_poll_start(p, UV_READABLE, fn);
}

void cell_listen(struct cell *k)
{
    poll_on(k, &k->socket, k->fd, on_socket);
    poll_on(k, &k->process, k->pidfd, on_end);
}

int cell_connect(struct cell *k)
{
    int e = cell_spawn(k->g, &k->pid, &k->fd);
    if (e) return e;
    k->pidfd = (int)syscall(SYS_pidfd_open, k->pid, 0);
    if (k->pidfd < 0) {
        e = errno;
        kill(k->pid, SIGKILL); /* not reaped yet: the number is still its own */
        waitpid(k->pid, NULL, 0);
        close(k->fd);
        k->fd = -1;
        return e;
    }
    k->alive = true;
    k->last[0] = 0;
    cell_listen(k);
    return 0;
}
