/* private_dir.c - the directory of this process for private copies of plugins, and what killed servers left of theirs.
 */
#include "module/private.h"
#include "base/log.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { SWEEP_MAX = 1000, YOUNG_S = 60 };
static const char prefix[] = "service-layer-";
static char path[512];
static int lock = -1; /* held while the process lives, so that others know */

const char *private_dir(void) { return path; }

/* Of a process that is no more: nobody holds its lock. One made a moment ago may not have its lock yet. */
static bool is_left_over(int dir)
{
    struct stat st;
    return fstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           time(NULL) - st.st_mtime > YOUNG_S && flock(dir, LOCK_EX | LOCK_NB) == 0;
}

static void empty(int dir)
{
    int copy = dup(dir);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (str_ends(sl_cstr(e->d_name), ".so")) unlinkat(dir, e->d_name, 0);
    if (d) closedir(d);
}

static void sweep(const char *parent)
{
    struct dirent *e;
    unsigned swept = 0;
    DIR *d = opendir(parent);
    while (d && swept < SWEEP_MAX && (e = readdir(d))) {
        if (!str_starts(sl_cstr(e->d_name), prefix)) continue;
        int dir = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (dir < 0) continue;
        if (is_left_over(dir)) {
            empty(dir);
            if (unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) == 0) swept++;
        }
        close(dir);
    }
    if (d) closedir(d);
    if (swept) log_info("directories of killed servers removed", LOG_C("in", parent), LOG_I("directories", swept));
}

static bool make(const char *parent)
{
    struct statvfs fs;
    if (!parent || parent[0] != '/' || statvfs(parent, &fs) != 0 || (fs.f_flag & ST_NOEXEC)) return false;
    int n = snprintf(path, sizeof path, "%s/%s%ld-XXXXXX", parent, prefix, (long)getpid());
    if (n <= 0 || (size_t)n >= sizeof path || !mkdtemp(path)) return false; /* mkdtemp: mode 0700 */
    lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0)
        log_warn("the directory for private copies cannot be locked: another server may take it for left over",
                 LOG_C("path", path));
    sweep(parent);
    return true;
}

bool private_dir_make(char *why, size_t why_size)
{
    const char *const candidates[] = { getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm" };
    if (path[0]) return true;
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++)
        if (make(candidates[i])) return true;
    path[0] = 0;
    snprintf(why, why_size,
             "no directory for private copies: $XDG_RUNTIME_DIR, $TMPDIR, /tmp, /var/tmp and /dev/shm cannot be "
             "written or are mounted noexec");
    return false;
}

void private_dir_close(void)
{
    if (path[0]) rmdir(path);
    path[0] = 0;
    if (lock >= 0) close(lock);
    lock = -1;
}
