/* cell.c - the host's side of a plugin in a child process: start, death, restart with growing delay, quarantine. */
#include "module/cell_host.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { READ_AT_ONCE = 1 << 16, READY_MS = 10000, DELAY_FIRST_MS = 100, DELAY_MAX_MS = 10000, CRASH_WINDOW_S = 60 };

/* By pidfd: a number may belong to somebody else by now, a pidfd never does. */
void cell_kill(struct cell *k, const char *why)
{
    if (!k->alive) return;
    if (!k->last[0]) snprintf(k->last, sizeof k->last, "%s", why);
    if (k->pidfd < 0 || syscall(SYS_pidfd_send_signal, k->pidfd, SIGKILL, NULL, 0)) uv_process_kill(&k->process, SIGKILL);
}

/* ---- the socket ---- */
static void on_socket(uv_poll_t *p, int status, int events);

static void flush(void *arg)
{
    struct cell *k = arg;
    size_t done = 0;
    while (k->fd >= 0 && done < k->out.n) {
        ssize_t n = write(k->fd, k->out.p + done, k->out.n - done);
        if (n > 0) done += (size_t)n;
        else if (n >= 0 || errno != EINTR) break; /* full: it becomes writable; broken: the exit tells */
    }
    buf_drop_front(&k->out, done);
    if (k->fd >= 0 && k->alive) uv_poll_start(&k->socket, k->out.n ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_socket);
}

void cell_send(struct cell *k)
{
    if (k->out.overflow) cell_kill(k, "did not read what it was sent");
    loop_at_turn_end(flush, k);
}

static void on_ready(struct cell *k, const struct frame *f)
{
    if (!k->booter || k->has_ready) {
        cell_kill(k, "sent a second description");
        return;
    }
    k->ready = frame_keep(f, k->booter->arena);
    k->has_ready = true;
    call_wake(k->booter, SL_OK);
}

static void take(struct cell *k, struct frame *f)
{
    if (f->op == FRAME_READY) {
        on_ready(k, f);
        return;
    }
    struct talk *t = k->talks;
    while (t && t->id != f->call) t = t->next;
    if (!t) return; /* a call that was given up */
    if (f->op == FRAME_LOG || f->op == FRAME_METRIC) {
        if (!serve_one_way(t, f)) cell_kill(k, "sent a frame that cannot be read");
        return;
    }
    if (f->op < FRAME_READY || t->has_frame) {
        cell_kill(k, "sent a frame out of turn");
        return;
    }
    t->frame = frame_keep(f, t->c->arena);
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
            k->taken = 0;
            return;
        }
        k->taken += n;
        take(k, &f);
    }
    buf_drop_front(&k->in, k->taken);
    k->taken = 0;
}

static void on_socket(uv_poll_t *p, int status, int events)
{
    struct cell *k = p->data;
    if (events & UV_WRITABLE) flush(k);
    if (status == 0 && !(events & UV_READABLE)) return;
    char *room = buf_reserve(&k->in, READ_AT_ONCE);
    ssize_t n = room && status == 0 ? read(k->fd, room, READ_AT_ONCE) : -1;
    if (n > 0) {
        k->in.n += (size_t)n;
        take_all(k);
        return;
    }
    if (n < 0 && room && status == 0 && (errno == EAGAIN || errno == EINTR)) return;
    uv_poll_stop(&k->socket);
    cell_kill(k, room ? "closed its socket" : "sent a frame that is too large");
}

/* ---- life and death ---- */
static void on_closed(uv_handle_t *h)
{
    struct cell *k = h->data;
    if (--k->handles == 0 && k->state == CELL_CLOSING) {
        buf_free(&k->in);
        buf_free(&k->out);
        free(k);
    }
}

static void close_socket(struct cell *k)
{
    if (k->fd < 0) return;
    uv_poll_stop(&k->socket);
    uv_close((uv_handle_t *)&k->socket, on_closed);
    close(k->fd);
    k->fd = -1;
}

static void note_crash(struct cell *k, int64_t status, int signal)
{
    char how[80];
    if (signal) snprintf(how, sizeof how, "signal %d, %s", signal, strsignal(signal));
    else snprintf(how, sizeof how, "exit status %d", (int)status);
    if (!k->last[0]) snprintf(k->last, sizeof k->last, "%s", how);
    k->crashes++;
    k->g->module->restarts++;
    int64_t now = clock_monotonic() / 1000000000;
    memmove(k->crash_at + 1, k->crash_at, sizeof k->crash_at - sizeof *k->crash_at);
    k->crash_at[0] = now;
    bool often = k->crashes >= CELL_CRASHES_MAX && now - k->crash_at[CELL_CRASHES_MAX - 1] <= CRASH_WINDOW_S;
    k->state = often ? CELL_QUARANTINED : CELL_DOWN;
    log_error(often ? "plugin's process crashed too often and is quarantined" : "plugin's process ended",
              LOG_C("plugin", k->g->module->name), LOG_C("reason", k->last), LOG_C("status", how), LOG_I("crashes", k->crashes));
}

static void boot_again(uv_timer_t *t);

static void on_exit(uv_process_t *p, int64_t status, int signal)
{
    struct cell *k = p->data;
    bool booting = k->state == CELL_BOOTING, closing = k->state == CELL_CLOSING;
    k->alive = false;
    if (k->pidfd >= 0) close(k->pidfd);
    k->pidfd = -1;
    if (!closing) note_crash(k, status, signal);
    for (struct talk *t = k->talks; t; t = t->next) t->dead = true;
    for (struct talk *t = k->talks, *next; t; t = next) { /* waking may end the talk */
        next = t->next;
        if (t->waiting) call_wake(t->c, SL_OK);
    }
    close_socket(k);
    uv_close((uv_handle_t *)p, on_closed);
    buf_clear(&k->in);
    buf_clear(&k->out);
    k->taken = 0;
    if (k->booter && !k->has_ready) call_wake(k->booter, SL_EUNAVAIL);
    if (closing || k->state == CELL_QUARANTINED || (booting && k->starts == 1)) return;
    k->delay_ms = k->delay_ms ? k->delay_ms * 2 : DELAY_FIRST_MS;
    if (k->delay_ms > DELAY_MAX_MS) k->delay_ms = DELAY_MAX_MS;
    uv_timer_start(&k->restart, boot_again, k->delay_ms, 0);
}

/* The child is this program again, with nothing of the server: an empty environment and one end of a socket. */
static int spawn(struct cell *k)
{
    static char name[] = "service-layer-cell", option[] = "--cell";
    static char *args[] = { name, option, NULL };
    char *env[4] = { NULL };
    size_t n = 0;
    int ends[2];
    for (char **e = module_env; e && *e && n < 3; e++)
        if (strncmp(*e, "ASAN_OPTIONS=", 13) == 0 || strncmp(*e, "UBSAN_OPTIONS=", 14) == 0 || strncmp(*e, "TSAN_OPTIONS=", 13) == 0) env[n++] = *e;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) return -errno;
    uv_stdio_container_t stdio[CELL_FD + 1] = { { .flags = UV_IGNORE }, { .flags = UV_IGNORE },
                                                { .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
                                                { .flags = UV_INHERIT_FD, .data.fd = ends[1] } };
    uv_process_options_t o = { .exit_cb = on_exit, .file = "/proc/self/exe", .args = args, .env = env, .stdio_count = CELL_FD + 1,
                               .stdio = stdio, .cwd = "/" };
    int e = uv_spawn(loop_uv(), &k->process, &o);
    close(ends[1]);
    k->process.data = k;
    k->handles++;
    if (e) {
        close(ends[0]);
        uv_close((uv_handle_t *)&k->process, on_closed);
        return e;
    }
    k->alive = true;
    k->starts++;
    k->last[0] = 0;
    k->pidfd = (int)syscall(SYS_pidfd_open, k->process.pid, 0);
    k->fd = ends[0];
    uv_poll_init(loop_uv(), &k->socket, k->fd);
    k->socket.data = k;
    k->handles++;
    uv_poll_start(&k->socket, UV_READABLE, on_socket);
    return 0;
}

static void send_init(struct cell *k)
{
    struct generation *g = k->g;
    arena *a = arena_new(0);
    size_t start = frame_begin(&k->out, FRAME_INIT, 0);
    put_str(&k->out, sl_cstr(g->path));
    put_str(&k->out, sl_cstr(g->module->name));
    put_str(&k->out, g->config ? json_write(a, g->config) : SL("{}"));
    put_u32(&k->out, g->number);
    put_u32(&k->out, (uint32_t)(log_on(SL_DEBUG) ? SL_DEBUG : log_on(SL_INFO) ? SL_INFO : SL_WARN));
    frame_end(&k->out, start);
    arena_free(a);
    cell_send(k);
}

static void booter_left(void *op) { ((struct cell *)op)->booter = NULL; }

/* [S] Spawn and wait for READY; its frame is in k->ready, in c's arena. */
static sl_err boot(call *c, struct cell *k, char *why, size_t why_size)
{
    uint32_t left = call_left(c);
    k->state = CELL_BOOTING;
    k->has_ready = false;
    int failed = spawn(k);
    if (failed) {
        snprintf(why, why_size, "its process cannot be started: %s", uv_strerror(failed));
        k->state = CELL_DOWN;
        return SL_EUNAVAIL;
    }
    send_init(k);
    k->booter = c;
    call_deadline(c, left < READY_MS ? left : READY_MS);
    sl_err e = call_wait(c, booter_left, k);
    call_deadline(c, left == UINT32_MAX ? 0 : left);
    k->booter = NULL;
    if (e == SL_ETIME) cell_kill(k, "did not load in time");
    if (e) {
        snprintf(why, why_size, "its process ended while it loaded: %s", k->last);
        return e;
    }
    sl_str not = get_str(&k->ready);
    if (!sl_given(not) && !k->ready.bad) return SL_OK;
    snprintf(why, why_size, "%.*s", (int)(not.n < 400 ? not.n : 400), not.p ? not.p : "its description cannot be read");
    cell_kill(k, "could not load the plugin");
    return SL_EINVAL;
}

sl_err cell_open(call *c, struct generation *g, char *why, size_t why_size)
{
    struct cell *k = calloc(1, sizeof *k);
    if (!k) abort();
    k->g = g;
    k->fd = k->pidfd = -1;
    buf_init(&k->in, 2 * (size_t)FRAME_MAX);
    buf_init(&k->out, 2 * (size_t)FRAME_MAX);
    uv_timer_init(loop_uv(), &k->restart);
    k->restart.data = k;
    k->handles = 1;
    g->cell = k;
    sl_err e = boot(c, k, why, why_size);
    if (!e && !descriptor_take(g, &k->ready, why, why_size)) e = SL_EINVAL;
    if (!e) k->state = CELL_UP;
    return e;
}

static void run_again(call *c)
{
    struct cell *k = c->context;
    struct generation *g = k->g;
    char why[MODULE_WHY] = "";
    sl_err e = boot(c, k, why, sizeof why);
    if (!e) {
        k->state = CELL_UP;
        e = generation_step(c, g, STEP_CREATE, READY_MS, why, sizeof why);
        if (!e) e = generation_step(c, g, STEP_START, READY_MS, why, sizeof why);
    }
    if (e) {
        log_error("plugin's process did not come back", LOG_C("plugin", g->module->name), LOG_C("error", why));
        cell_kill(k, why);
    } else {
        k->delay_ms = 0;
        log_info("plugin's process is back", LOG_C("plugin", g->module->name), LOG_I("starts", k->starts));
    }
    g->calls--;
}

static void again_init(call *c, void *arg)
{
    c->context = arg;
    c->module = ((struct cell *)arg)->g->module->name;
    c->name = "restart";
}

static void boot_again(uv_timer_t *t)
{
    struct cell *k = t->data;
    k->g->calls++; /* the generation stays until this is over */
    if (call_start(0, 4 * READY_MS, again_init, k, run_again)) return;
    k->g->calls--;
    uv_timer_start(&k->restart, boot_again, DELAY_MAX_MS, 0);
}

void cell_close(struct generation *g)
{
    struct cell *k = g->cell;
    if (!k) return;
    g->cell = NULL;
    k->state = CELL_CLOSING;
    if (k->alive) {
        size_t start = frame_begin(&k->out, FRAME_STOP, 0);
        frame_end(&k->out, start);
        flush(k);
        cell_kill(k, "closed"); /* stop and destroy have run: nothing is left that it could lose */
    }
    uv_close((uv_handle_t *)&k->restart, on_closed);
}

bool cell_stats(const struct generation *g, struct cell_stats *out)
{
    const struct cell *k = g->cell;
    if (!k) return false;
    *out = (struct cell_stats){ .pid = k->alive ? k->process.pid : 0, .starts = k->starts, .crashes = k->crashes, .calls = g->calls,
                                .quarantined = k->state == CELL_QUARANTINED };
    snprintf(out->last, sizeof out->last, "%s", k->last);
    char path[64], line[128];
    snprintf(path, sizeof path, "/proc/%d/statm", out->pid);
    FILE *f = out->pid ? fopen(path, "re") : NULL;
    unsigned long long pages = 0;
    if (f && fgets(line, sizeof line, f) && sscanf(line, "%*u %llu", &pages) == 1) out->resident = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    if (f) fclose(f);
    return true;
}
