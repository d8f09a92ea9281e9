/* cell_sandbox.c - what a plugin's child process may do: compute, read libraries, and talk on one socket. */
#include "module/cell.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534, FILES_MAX = 64, THREADS_MAX = 64 };
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 }; /* their shadow memory is terabytes of address space, and their reports read /proc */
#else
enum { SANITIZED = 0 };
#endif
static const rlim_t memory_max = (rlim_t)1 << 30;

static void limits(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ FILES_MAX, FILES_MAX });
    if (!SANITIZED) setrlimit(RLIMIT_AS, &(struct rlimit){ memory_max, memory_max });
}

/* No network, no shared memory, no host name of the host; each may be refused by the kernel's policy, and seccomp closes the
 * same doors a second time. */
static void namespaces(void)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) && geteuid() == 0)
        log_warn("plugin's process shares the host's network namespace", LOG_C("error", strerror(errno)));
}

static bool another_user(char *why, size_t why_size)
{
    if (geteuid() != 0) return true;
    if (setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0) return true;
    snprintf(why, why_size, "cannot become user %d: %s", NOBODY, strerror(errno));
    return false;
}

static void allow_path(int rules, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr a = { .allowed_access = access, .parent_fd = open(path, O_PATH | O_CLOEXEC) };
    if (a.parent_fd < 0) return;
    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0);
    close(a.parent_fd);
}

/* Landlock, where the kernel has it: the file system is libraries and the plugin's own file, read only. */
static void file_system(const char *plugin_file)
{
    static const char *const directories[] = { "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib" };
    const uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE;
    const uint64_t handled = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* every right of the first version */
    struct landlock_ruleset_attr attr = { .handled_access_fs = handled };
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (rules < 0) return;
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) allow_path(rules, directories[i], read | LANDLOCK_ACCESS_FS_READ_DIR);
    allow_path(rules, "/etc/ld.so.cache", LANDLOCK_ACCESS_FS_READ_FILE);
    allow_path(rules, "/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE);
    if (SANITIZED) allow_path(rules, "/proc", read | LANDLOCK_ACCESS_FS_READ_DIR);
    allow_path(rules, plugin_file, read);
    syscall(SYS_landlock_restrict_self, rules, 0);
    close(rules);
}

static const int allowed[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(close),
    SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(lseek), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
    SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(fcntl), SCMP_SYS(getcwd), SCMP_SYS(getdents64),
    SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mincore), SCMP_SYS(brk),
    SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday),
    SCMP_SYS(time), SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
    SCMP_SYS(getegid), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(prlimit64), SCMP_SYS(getrlimit), SCMP_SYS(getrusage),
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(eventfd2), SCMP_SYS(pipe2), SCMP_SYS(dup), SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(set_tid_address), SCMP_SYS(arch_prctl), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
};

/* Anything else fails with EPERM; what only an attack would try ends the process. Crashes still end it by their signal. */
static bool system_calls(char *why, size_t why_size)
{
    static const int deadly[] = { SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(kexec_load),
                                  SCMP_SYS(init_module), SCMP_SYS(bpf) };
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int e = f ? 0 : -ENOMEM;
    for (size_t i = 0; !e && i < sizeof allowed / sizeof *allowed; i++) e = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; !e && i < sizeof deadly / sizeof *deadly; i++) e = seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    /* Reading only; threads only; signals to itself only. clone3 hides its flags behind a pointer: glibc falls back to clone. */
    if (!e) e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
    if (!e) e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (!e) e = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (!e) e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    if (!e) e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONBIO));
    if (!e) e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONREAD));
    if (!e) e = seccomp_load(f);
    if (f) seccomp_release(f);
    if (e) snprintf(why, why_size, "seccomp: %s", strerror(-e));
    return e == 0;
}

bool sandbox_enter(const char *plugin_file, char *why, size_t why_size)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a host that dies takes its plugins along */
    if (getppid() == 1) _exit(1);
    limits();
    namespaces();
    if (!another_user(why, why_size)) return false;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* changing the user cleared it */
    prctl(PR_SET_DUMPABLE, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        snprintf(why, why_size, "no_new_privs: %s", strerror(errno));
        return false;
    }
    file_system(plugin_file);
    return SANITIZED || system_calls(why, why_size);
}
