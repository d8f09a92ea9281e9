/* cell_spawn.c - starts the child process of a plugin: this program again, with one end of a socket and the plugin's
 * file. */
#include "module/cell.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ABOVE = 10 }; /* so that no descriptor lies where another is to go */

/* Nothing of the server's environment but what sanitizers read: it may hold secrets. */
static void environment(char *env[4])
{
    static const char *const kept[] = { "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=" };
    size_t n = 0;
    for (char **e = module_env; e && *e; e++)
        for (size_t i = 0; i < sizeof kept / sizeof *kept && n < 3; i++)
            if (str_starts(sl_cstr(*e), kept[i])) env[n++] = *e;
    env[n] = NULL;
}

/* The link to the very file that runs, whatever lies under its name by now. Under valgrind the program that runs is
 * valgrind; it answers for the name of ours. The child then runs without it. */
const char *own_program(void)
{
#if defined(SL_VALGRIND)
    static char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    return path;
#else
    return "/proc/self/exe";
#endif
}

static int spawn(pid_t *pid, int socket, int file)
{
    static char name[] = "service-layer-cell", option[] = "--cell";
    char *args[] = { name, option, NULL }, *env[4];
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    environment(env);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&files, socket, CELL_FD);
    posix_spawn_file_actions_adddup2(&files, file, CELL_FILE);
    posix_spawn_file_actions_addclosefrom_np(&files, CELL_FILE + 1);
    posix_spawnattr_init(&how); /* a session of its own: what a terminal or service manager sends is for the host */
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    int e = posix_spawn(pid, own_program(), &files, &how, args, env);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    return e;
}

int cell_spawn(const struct generation *g, pid_t *pid, int *fd)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) return errno;
    int socket = fcntl(ends[1], F_DUPFD_CLOEXEC, ABOVE), file = fcntl(g->file, F_DUPFD_CLOEXEC, ABOVE);
    int e = socket < 0 || file < 0 ? errno : spawn(pid, socket, file);
    if (socket >= 0) close(socket);
    if (file >= 0) close(file);
    close(ends[1]);
    if (e)
        close(ends[0]);
    else
        *fd = ends[0];
    return e;
}

static int log_level(void)
{
    for (int level = SL_DEBUG; level < SL_ERROR; level++)
        if (log_on(level)) return level;
    return SL_ERROR;
}

void cell_write_init(buf *out, const struct generation *g)
{
    arena *a = arena_new(0);
    size_t start = frame_begin(out, FRAME_INIT, 0);
    put_str(out, sl_cstr(g->module->name));
    put_str(out, g->config ? json_write(a, g->config) : SL("{}"));
    put_u32(out, g->number);
    put_u32(out, (uint32_t)log_level());
    put_u32(out, sl_is(module_cfg->log_format, "json") ? LOG_AS_JSON : LOG_AS_TEXT);
    put_i64(out, module_cfg->process_memory);
    put_u32(out, (uint32_t)module_cfg->slow_ms);
    frame_end(out, start);
    arena_free(a);
}
