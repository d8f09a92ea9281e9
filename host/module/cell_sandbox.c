/* cell_sandbox.c - what a plugin's child process may do: compute, read libraries, and talk on one socket. */
#include "module/cell.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534, FILES_MAX = 64 };
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 }; /* their shadow memory is terabytes of address space, and their reports read /proc */
#else
enum { SANITIZED = 0 };
#endif
static void limits(uint64_t memory)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ FILES_MAX, FILES_MAX });
    if (!SANITIZED && memory) setrlimit(RLIMIT_DATA, &(struct rlimit){ memory, memory });
}

/* No network, no shared memory, no host name of the host; each may be refused by the kernel's policy, and seccomp
 * closes the same doors a second time. */
static void namespaces(void)
{
    int kinds = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
    if (unshare(kinds) && unshare(CLONE_NEWUSER | kinds))
        log_debug("plugin's process has no network namespace of its own", LOG_C("error", strerror(errno)));
}

static bool another_user(char *why, size_t why_size)
{
    if (geteuid() != 0) return true;
    if (setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0)
        return true;
    snprintf(why, why_size, "cannot become user %d: %s", NOBODY, strerror(errno));
    return false;
}

static void allow_file(int rules, int fd, uint64_t access)
{
    struct landlock_path_beneath_attr a = { .allowed_access = access, .parent_fd = fd };
    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0);
}

static void allow_path(int rules, const char *path, uint64_t access)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return;
    allow_file(rules, fd, access);
    close(fd);
}

/* Landlock, where the kernel has it: the file system is libraries and the plugin's own file, read only. */
static void file_system(void)
{
    static const char *const directories[] = { "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib" };
    const uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE;
    const uint64_t handled = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* every right of the first version */
    struct landlock_ruleset_attr attr = { .handled_access_fs = handled };
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (rules < 0) return;
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        allow_path(rules, directories[i], read | LANDLOCK_ACCESS_FS_READ_DIR);
    allow_path(rules, "/etc/ld.so.cache", LANDLOCK_ACCESS_FS_READ_FILE);
    allow_path(rules, "/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE);
    if (SANITIZED) allow_path(rules, "/proc", read | LANDLOCK_ACCESS_FS_READ_DIR);
    allow_file(rules, CELL_FILE, read);
    syscall(SYS_landlock_restrict_self, rules, 0);
    close(rules);
}

static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(lseek),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(fcntl),
    SCMP_SYS(getcwd),
    SCMP_SYS(getdents64),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(mincore),
    SCMP_SYS(brk),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(getrusage),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(eventfd2),
    SCMP_SYS(pipe2),
    SCMP_SYS(dup),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(arch_prctl),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(seccomp),
    SCMP_SYS(prctl),
};

/* Reading only; threads only; signals to itself only. clone3 hides its flags behind a pointer: glibc falls back to
 * clone. */
static int conditional_calls(scmp_filter_ctx f)
{
    const scmp_datum_t self = (scmp_datum_t)getpid();
    int e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
    if (!e)
        e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (!e) e = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (!e) e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, self, 0));
    if (!e) e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONBIO, 0));
    if (!e) e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONREAD, 0));
    return e;
}

static bool loaded(scmp_filter_ctx f, int e, char *why, size_t why_size)
{
    if (!e) e = seccomp_load(f);
    if (f) seccomp_release(f);
    if (e) snprintf(why, why_size, "seccomp: %s", strerror(-e));
    return e == 0;
}

/* Anything else fails with EPERM. */
static bool system_calls(char *why, size_t why_size)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int e = f ? 0 : -ENOMEM;
    for (size_t i = 0; !e && i < sizeof allowed / sizeof *allowed; i++)
        e = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
    if (!e) e = conditional_calls(f);
    return loaded(f, e, why, why_size);
}

bool sandbox_seal(char *why, size_t why_size)
{
    static const int over[] = { SCMP_SYS(openat), SCMP_SYS(seccomp), SCMP_SYS(prctl) };
    if (SANITIZED) return true;
    close(CELL_FILE);
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    int e = f ? 0 : -ENOMEM;
    for (size_t i = 0; !e && i < sizeof over / sizeof *over; i++)
        e = seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), over[i], 0);
    return loaded(f, e, why, why_size);
}

/* What a user namespace gave: rights over nothing, but not needed either. */
static void drop_capabilities(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0 } };
    syscall(SYS_capset, &head, none);
}

bool sandbox_enter(uint64_t memory, char *why, size_t why_size)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a host that dies takes its plugins along */
    namespaces();
    if (!another_user(why, why_size)) return false;
    drop_capabilities();
    limits(memory);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* changing the user cleared it */
    if (!SANITIZED) prctl(PR_SET_DUMPABLE, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        snprintf(why, why_size, "no_new_privs: %s", strerror(errno));
        return false;
    }
    file_system();
    return SANITIZED || system_calls(why, why_size);
}
