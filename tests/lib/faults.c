/* faults.c - preloaded into a server under test: failing fsync, a clock that jumps, a name whose address changes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control { /* a file that the test writes */
    volatile int64_t clock_offset_ns;
    volatile int64_t fsync_errno; /* 0 = it works */
    volatile int64_t fsyncs_failed;
    volatile int64_t lookups; /* of changing.test */
};
static struct control none, *control = &none;

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv("FAULTS_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED) control = p;
    if (fd >= 0) close(fd);
}

static int failing(void)
{
    if (!control->fsync_errno) return 0;
    control->fsyncs_failed++;
    errno = (int)control->fsync_errno;
    return -1;
}

int fsync(int fd) { return failing() ? -1 : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return failing() ? -1 : (int)syscall(SYS_fdatasync, fd); }

int clock_gettime(clockid_t id, struct timespec *t)
{
    int e = (int)syscall(SYS_clock_gettime, id, t);
    if (e || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return e;
    int64_t ns = t->tv_sec * INT64_C(1000000000) + t->tv_nsec + control->clock_offset_ns;
    t->tv_sec = ns / 1000000000;
    t->tv_nsec = ns % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

/* NAME.changing.test is 127.0.0.1 and 127.0.0.2 in turn, at each look-up of any of them. */
int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict out)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strstr(node, ".changing.test"))
        node = __atomic_fetch_add(&control->lookups, 1, __ATOMIC_SEQ_CST) % 2 ? "127.0.0.2" : "127.0.0.1";
    return real(node, service, hints, out);
}
