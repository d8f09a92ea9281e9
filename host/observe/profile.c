/* profile.c - a profile of where this process spends its CPU time, sampled by a timer. */
#include "observe/profile.h"
#include "base/clock.h"
#include "observe/pprof.h"
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { CORES_MAX = 16, ALT_STACK = 64 << 10, HANDLER_FRAMES = 8, WAIT_MS = 1000 };

/* The handler runs on any thread, within anything: it touches nothing but this. */
static struct {
    atomic_bool on;
    atomic_uint inside;
    atomic_size_t n;
    size_t room;
    struct pprof_stack *stacks;
    bool busy;
    int64_t began, ended; /* clock_monotonic() */
    void *alt_stack;
} prof;

static uintptr_t interrupted_at(const ucontext_t *u)
{
#if defined(__x86_64__)
    return (uintptr_t)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)u->uc_mcontext.pc;
#else
    (void)u;
    return 0;
#endif
}

/* backtrace() finds frames by the unwind tables that every library has; since glibc 2.35 it takes no lock for that. It
 * was called once before, so that what it needs is loaded. At a fiber's first frame the tables end, and so does it. */
static void on_timer(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    void *pc[PPROF_DEPTH + HANDLER_FRAMES];
    (void)number, (void)info;
    atomic_fetch_add(&prof.inside, 1);
    if (atomic_load(&prof.on)) {
        size_t at = atomic_fetch_add(&prof.n, 1);
        if (at < prof.room) {
            uintptr_t here = interrupted_at(context);
            int n = backtrace(pc, PPROF_DEPTH + HANDLER_FRAMES), from = 0;
            while (from < n && from < HANDLER_FRAMES && (uintptr_t)pc[from] != here)
                from++;
            if (from == n || from == HANDLER_FRAMES) { /* no way through the signal's own frame */
                pc[0] = (void *)here;
                from = 0;
                n = 1;
            }
            struct pprof_stack *s = &prof.stacks[at];
            uint32_t depth = (uint32_t)(n - from);
            s->n = depth < PPROF_DEPTH ? depth : PPROF_DEPTH;
            memcpy(s->pc, pc + from, s->n * sizeof *pc);
        }
    }
    atomic_fetch_sub(&prof.inside, 1);
    errno = saved;
}

/* The handler must not run on a fiber's small stack. Of all threads only the loop's has such. */
static bool own_stack(void)
{
    if (prof.alt_stack) return true;
    void *p = mmap(NULL, ALT_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
    stack_t stack = { .ss_sp = p, .ss_size = ALT_STACK }, old;
    if (sigaltstack(NULL, &old) == 0 && !(old.ss_flags & SS_DISABLE)) {
        munmap(p, ALT_STACK); /* there is one, of a sanitizer or of whoever shows crashes */
        p = old.ss_sp;
    } else if (sigaltstack(&stack, NULL) != 0) {
        munmap(p, ALT_STACK);
        return false;
    }
    prof.alt_stack = p;
    return true;
}

static bool arm(bool on)
{
    struct timeval every = { .tv_usec = on ? 1000000 / PROFILE_HZ : 0 };
    return setitimer(ITIMER_PROF, &(struct itimerval){ every, every }, NULL) == 0;
}

bool profile_start(uint32_t seconds)
{
    void *warm[2];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (prof.busy || seconds > PROFILE_SECONDS_MAX || !own_stack()) return false;
    prof.room = ((size_t)seconds + 1) * PROFILE_HZ * (size_t)(cores < 1 ? 1 : cores > CORES_MAX ? CORES_MAX : cores);
    void *p = mmap(NULL, prof.room * sizeof *prof.stacks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
    prof.stacks = p;
    backtrace(warm, 2);
    struct sigaction a = { .sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
    sigemptyset(&a.sa_mask);
    sigaction(SIGPROF, &a, NULL);
    atomic_store(&prof.n, 0);
    prof.began = clock_monotonic();
    prof.busy = true;
    atomic_store(&prof.on, true);
    if (arm(true)) return true;
    profile_stop();
    profile_forget();
    return false;
}

void profile_stop(void)
{
    arm(false);
    atomic_store(&prof.on, false);
    prof.ended = clock_monotonic();
    signal(SIGPROF, SIG_IGN); /* one may still be on its way */
}

static void wait_for_handlers(void)
{
    for (int i = 0; i < WAIT_MS && atomic_load(&prof.inside); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

bool profile_write(const struct symbol_file *files, size_t n_files, buf *out, size_t *samples)
{
    static const int64_t period = 1000000000 / PROFILE_HZ;
    struct pprof_about about = { .values = { { "samples", "count" }, { "cpu", "nanoseconds" } },
                                 .n_values = 2,
                                 .period_of = { "cpu", "nanoseconds" },
                                 .period = period,
                                 .at = clock_now() * 1000 - (prof.ended - prof.began),
                                 .duration = prof.ended - prof.began,
                                 .files = files,
                                 .n_files = n_files };
    wait_for_handlers();
    size_t n = atomic_load(&prof.n);
    if (n > prof.room) n = prof.room;
    pprof *p = pprof_new(&about);
    for (size_t i = 0; i < n; i++)
        if (prof.stacks[i].n) pprof_add(p, &prof.stacks[i], (const int64_t[]){ 1, period });
    bool good = pprof_end(p, out);
    *samples = n;
    return good;
}

void profile_forget(void)
{
    wait_for_handlers();
    munmap(prof.stacks, prof.room * sizeof *prof.stacks);
    prof.stacks = NULL;
    prof.busy = false;
}
