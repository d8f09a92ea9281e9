/* probe.c - opens each plugin in a short-lived child first: a crashing constructor or a missing symbol ends there, not
 * here. */
#include "module/cell.h"
#include "base/clock.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROBE_MS = 10000, PROBE_AT_ONCE = 8, PROBE_MAX = 1 << 20, PROBE_FD = 3 };
struct child {
    struct probe *probe;
    pid_t pid;
    int fd;
    int64_t until;
    bool described; /* a whole frame of a child process is there */
    buf out;
};

/* ---- in the child ---- */
static void describe(buf *out, const struct generation *g)
{
    const sl_plugin *d = &g->spec;
    buf_add_char(out, '{');
    json_field_str(out, "name", sl_cstr(d->name));
    json_field_str(out, "version", sl_cstr(d->version));
    json_field_str(out, "doc", sl_cstr(d->doc));
    json_field_str(out, "grants", sl_cstr(d->grants));
    json_field_str(out, "config", sl_cstr(d->config));
    json_add_name(out, "needs");
    buf_add_char(out, '[');
    for (uint32_t i = 0; i < d->n_needs; i++) {
        if (i) buf_add_char(out, ',');
        buf_add_char(out, '{');
        json_field_str(out, "id", sl_cstr(d->needs[i].id));
        json_field_int(out, "min", d->needs[i].min);
        json_field_bool(out, "optional", d->needs[i].optional != 0);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
    json_add_name(out, "entries");
    buf_add_char(out, '[');
    for (size_t i = 0; i < g->n_entries; i++) {
        if (i) buf_add_char(out, ',');
        buf_add_char(out, '{');
        json_field_int(out, "kind", (int64_t)g->entries[i].spec.kind);
        json_field_str(out, "name", sl_cstr(g->entries[i].spec.name));
        buf_add_char(out, '}');
    }
    buf_add_cstr(out, "]}");
}

static void child_open(struct generation *g, buf *out)
{
    char why[MODULE_WHY] = "";
    const sl_plugin *p = NULL;
    void *handle = dlopen(g->path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        snprintf(why, sizeof why, "%s", dlerror());
    else if (!(p = dlsym(handle, "sl_plugin_v1")))
        snprintf(why, sizeof why, "exports no sl_plugin_v1");
    else if (descriptor_read(g, p, why, sizeof why)) {
        describe(out, g);
        return;
    }
    buf_add_char(out, '{');
    json_field_str(out, "error", sl_cstr(why));
    buf_add_char(out, '}');
}

static _Noreturn void report(struct generation *g)
{
    buf out;
    buf_init(&out, PROBE_MAX);
    child_open(g, &out);
    for (size_t done = 0; done < out.n;) {
        ssize_t n = write(PROBE_FD, out.p + done, out.n - done);
        if (n <= 0 && errno != EINTR) _exit(1);
        if (n > 0) done += (size_t)n;
    }
    _exit(0);
}

/* The process has threads once it serves, and a fork may catch one of them holding a lock (the loader's, the
 * allocator's) that nobody in the child will ever release: then the child must start afresh before it does anything. */
static bool has_threads(void)
{
    struct stat st;
    return stat("/proc/self/task", &st) != 0 || st.st_nlink > 3; /* a link for ".", ".." and each thread */
}

static _Noreturn void start_afresh(const char *path)
{
    char name[] = "appserver", option[] = PROBE_OPTION, file[PATH_MAX];
    char *args[] = { name, option, file, NULL }, *env[] = { NULL };
    snprintf(file, sizeof file, "%s", path);
    execve(own_program(), args, env);
    _exit(1);
}

/* A crash must end the child by its signal: no handler of the server's, nor a sanitizer's, may catch it. */
static void default_signals(void)
{
    static const int signals[] = {
        SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT
    };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
}

_Noreturn void probe_main(const char *path)
{
    default_signals();
    struct generation *g = generation_new(module_new(SL("probed")));
    g->path = arena_cstr(g->arena, sl_cstr(path));
    report(g);
}

/* Nothing of the server is left within the plugin's reach: no descriptor, no handler, no core file. */
static _Noreturn void child_main(struct generation *g, int fd, bool afresh)
{
    struct rlimit none = { 0, 0 };
    sigset_t all;
    default_signals();
    sigemptyset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &none);
    int null = open("/dev/null", O_RDWR);
    if (dup2(fd, PROBE_FD) != PROBE_FD || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0) _exit(1);
    syscall(SYS_close_range, PROBE_FD + 1, ~0u, 0);
    if (afresh) start_afresh(g->path);
    report(g);
}

/* ---- in the server ---- */
/* A plugin that is to run in a child process is probed by such a process: its code meets the same walls. */
static bool cell_child_start(struct child *c, struct probe *p)
{
    buf order;
    int e = cell_spawn(p->g, &c->pid, &c->fd);
    if (e) {
        snprintf(p->why, sizeof p->why, "cannot be probed: %s", strerror(e));
        c->pid = 0;
        return false;
    }
    buf_init(&order, PROBE_MAX);
    cell_write_init(&order, p->g);
    if (write(c->fd, order.p, order.n) != (ssize_t)order.n)
        kill(c->pid, SIGKILL); /* it has read nothing yet: it fits */
    buf_free(&order);
    buf_init(&c->out, CELL_READY_MAX);
    return true;
}

static void cell_child_result(struct child *c)
{
    struct probe *p = c->probe;
    struct generation g = { .arena = arena_new(0), .module = p->g->module };
    const sl_plugin *d;
    struct frame f;
    size_t n = frame_read(&f, buf_str(&c->out));
    sl_str not = { NULL, 0 };
    buf text;
    buf_init(&text, PROBE_MAX);
    snprintf(p->why, sizeof p->why, "its description cannot be read");
    if (n == 0 || n == SIZE_MAX || f.op != FRAME_READY)
        ;
    else if (sl_given(not = get_str(&f)))
        snprintf(p->why, sizeof p->why, "%.*s", (int)(not .n < MODULE_WHY - 1 ? not .n : MODULE_WHY - 1), not .p);
    else if ((d = descriptor_take(&f, g.arena)) && descriptor_read(&g, d, p->why, sizeof p->why)) {
        char why[256];
        describe(&text, &g);
        p->seen = json_read(buf_str(&text), why, sizeof why);
    }
    buf_free(&text);
    descriptor_free(&g);
    arena_free(g.arena);
}

static bool child_start(struct child *c, struct probe *p)
{
    int ends[2];
    sigset_t all, before;
    *c = (struct child){ .probe = p, .fd = -1, .until = clock_monotonic() + (int64_t)PROBE_MS * 1000000 };
    if (p->g->isolated) return cell_child_start(c, p);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        snprintf(p->why, sizeof p->why, "cannot be probed: pipe: %s", strerror(errno));
        return false;
    }
    bool afresh = has_threads();
    sigfillset(&all); /* a signal caught in the child before it has reset them would end up in the server's loop */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    c->pid = fork();
    if (c->pid == 0) child_main(p->g, ends[1], afresh);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    if (c->pid < 0) {
        close(ends[0]);
        c->pid = 0; /* its place is free: probe_all would wait for it for ever */
        snprintf(p->why, sizeof p->why, "cannot be probed: fork: %s", strerror(error));
        return false;
    }
    c->fd = ends[0];
    buf_init(&c->out, PROBE_MAX);
    return true;
}

static void child_result(struct child *c, int status, bool late)
{
    struct probe *p = c->probe;
    char why[256] = "";
    if (p->g->isolated && c->described) {
        cell_child_result(c);
        return;
    }
    if (late)
        snprintf(p->why, sizeof p->why, "did not load within %d s", PROBE_MS / 1000);
    else if (WIFSIGNALED(status))
        snprintf(p->why, sizeof p->why, "crashed while it was loaded (signal %d, %s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        snprintf(p->why, sizeof p->why, "ended the process while it was loaded (exit status %d)", WEXITSTATUS(status));
    else if (c->out.overflow || !(p->seen = json_read(buf_str(&c->out), why, sizeof why)))
        snprintf(p->why, sizeof p->why, "wrote a description that cannot be read: %s", why);
    const char *error = json_string_value(json_object_get(p->seen, "error"));
    if (!error) return;
    snprintf(p->why, sizeof p->why, "%s", error);
    json_decref(p->seen);
    p->seen = NULL;
}

static void child_end(struct child *c, bool late)
{
    int status = 0;
    pid_t ended = 0;
    for (int ms = 0; !late && !c->described && ms < 1000 && (ended = waitpid(c->pid, &status, WNOHANG)) == 0; ms++)
        usleep(1000);
    if (ended <= 0) {
        kill(c->pid, SIGKILL);
        while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    close(c->fd);
    child_result(c, status, late);
    buf_free(&c->out);
    c->pid = 0;
}

/* Read what is there; true when the child has closed its end. */
static bool child_read(struct child *c)
{
    char *room = buf_reserve(&c->out, 4096);
    char waste[4096];
    ssize_t n = read(c->fd, room ? room : waste, 4096);
    if (n > 0 && room) c->out.n += (size_t)n;
    if (c->probe->g->isolated) {
        struct frame f;
        c->described = frame_read(&f, buf_str(&c->out)) != 0;
        if (c->described) return true;
    }
    return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

void probe_all(struct probe *probes, size_t n)
{
    struct child children[PROBE_AT_ONCE] = { 0 };
    size_t next = 0, running = 0;
    for (;;) {
        for (size_t i = 0; i < PROBE_AT_ONCE && next < n; i++)
            if (children[i].pid == 0 && child_start(&children[i], &probes[next++])) running++;
        if (running == 0 && next >= n) return;
        struct pollfd fds[PROBE_AT_ONCE];
        for (size_t i = 0; i < PROBE_AT_ONCE; i++)
            fds[i] = (struct pollfd){ .fd = children[i].pid > 0 ? children[i].fd : -1, .events = POLLIN };
        if (poll(fds, PROBE_AT_ONCE, 200) < 0 && errno != EINTR) abort();
        int64_t now = clock_monotonic();
        for (size_t i = 0; i < PROBE_AT_ONCE; i++) {
            if (children[i].pid <= 0) continue;
            bool late = now > children[i].until;
            if (late || ((fds[i].revents & (POLLIN | POLLHUP | POLLERR)) && child_read(&children[i]))) {
                child_end(&children[i], late);
                running--;
            }
        }
    }
}

/* One child to its end; on a pool thread, so that the loop goes on meanwhile. */
static void await(void *arg)
{
    struct child *c = arg;
    for (;;) {
        struct pollfd fd = { .fd = c->fd, .events = POLLIN };
        if (poll(&fd, 1, 200) < 0 && errno != EINTR) fd.revents = POLLERR;
        bool late = clock_monotonic() > c->until;
        if (late || (fd.revents && child_read(c))) {
            child_end(c, late);
            return;
        }
    }
}

void probe_one(call *c, struct probe *p)
{
    struct child child;
    if (child_start(&child, p) && call_offload(c, await, &child)) await(&child);
}
