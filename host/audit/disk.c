/* disk.c - the audit file on the disk: opening, room ahead, rotation, noticing that somebody else replaced it. */
#include "audit/disk.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { AHEAD = 1 << 20, LOW = 64 << 10 };

uint64_t disk_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

__attribute__((format(printf, 2, 3))) static bool fail(struct audit_disk *d, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(d->why, sizeof d->why, format, ap);
    va_end(ap);
    return false;
}

/* ---- opening ---- */
/* A line that a crash cut off was never answered for: it goes, so that the next one starts on a line of its own. */
static bool cut_torn_line(struct audit_disk *d)
{
    char tail[CHAIN_LINE];
    int64_t from = d->size > CHAIN_LINE ? d->size - CHAIN_LINE : 0;
    int fd = open(d->path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, tail, (size_t)(d->size - from), from);
    if (fd >= 0) close(fd);
    if (n != d->size - from) return fail(d, "%s cannot be read: %s", d->path, strerror(errno));
    if (n == 0 || tail[n - 1] == '\n') return true;
    const char *last = memrchr(tail, '\n', (size_t)n);
    if (!last && from) return fail(d, "%s does not end with a line of an audit log; move it away", d->path);
    const char *torn = last ? last + 1 : tail, begin[] = "{\"seq\":";
    size_t length = (size_t)(tail + n - torn), look = length < sizeof begin - 1 ? length : sizeof begin - 1;
    if (memcmp(torn, begin, look) != 0)
        return fail(d, "%s does not end with a line of an audit log; move it away", d->path);
    int64_t keep = d->size - (int64_t)length;
    log_warn("a line of the audit file that a crash had cut off was removed", LOG_C("file", d->path),
             LOG_I("bytes", d->size - keep));
    d->size = keep;
    return true;
}

bool disk_open(struct audit_disk *d)
{
    struct stat st;
    int fd = open(d->path, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0) return fail(d, "%s cannot be opened: %s", d->path, strerror(errno));
    if (fstat(fd, &st) || fcntl(fd, F_SETFL, O_APPEND)) {
        close(fd);
        return fail(d, "%s cannot be used: %s", d->path, strerror(errno));
    }
    d->regular = S_ISREG(st.st_mode);
    d->dev = st.st_dev;
    d->ino = st.st_ino;
    d->size = st.st_size;
    d->end = d->regular ? st.st_size : DISK_UNLIMITED;
    bool good = !d->regular || flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (!good) fail(d, "%s is in use by another process; each needs a file of its own", d->path);
    if (good && d->regular) good = cut_torn_line(d);
    if (good && d->regular && ftruncate(fd, d->size)) /* also gives back what was allocated ahead before a crash */
        good = fail(d, "%s cannot be written: %s", d->path, strerror(errno));
    if (!good) {
        close(fd);
        return false;
    }
    d->fd = fd;
    d->end = d->regular ? d->size : DISK_UNLIMITED;
    return true;
}

void disk_close(struct audit_disk *d)
{
    if (d->fd < 0) return;
    if (d->dirty && d->regular) fdatasync(d->fd);
    if (d->regular && d->end > d->size && ftruncate(d->fd, d->size))
        log_warn("space ahead of the audit file was not given back", LOG_C("error", strerror(errno)));
    close(d->fd);
    d->fd = -1;
    d->dirty = false;
}

bool disk_last_line(struct audit_disk *d, const char *path, struct chain *last)
{
    char tail[CHAIN_LINE + 1], prev[CHAIN_HASH];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno == ENOENT || fail(d, "%s cannot be read: %s", path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size == 0) {
        close(fd);
        return true;
    }
    size_t n = st.st_size < (off_t)sizeof tail ? (size_t)st.st_size : sizeof tail;
    ssize_t got = pread(fd, tail, n, st.st_size - (off_t)n);
    close(fd);
    if (got != (ssize_t)n || tail[n - 1] != '\n') return fail(d, "%s does not end with a whole line", path);
    const char *before = memrchr(tail, '\n', n - 1), *line = before ? before + 1 : tail;
    if (!chain_read(line, (size_t)(tail + n - 1 - line), last, prev))
        return fail(d, "%s does not end with a line of an audit log; move it away", path);
    return true;
}

/* ---- somebody else's hands ---- */
static bool replace(struct audit_disk *d, const char *what)
{
    struct audit_disk next = *d;
    struct chain tail;
    next.fd = -1;
    next.dirty = false;
    chain_start(&tail);
    if (!disk_open(&next) || (next.regular && !disk_last_line(&next, next.path, &tail))) {
        disk_close(&next);
        memcpy(d->why, next.why, sizeof d->why);
        return false;
    }
    disk_close(d);
    *d = next;
    d->reopened++;
    log_warn("another audit file is written to from now on", LOG_C("file", d->path), LOG_C("reason", what));
    return true;
}

bool disk_check(struct audit_disk *d, bool reopen)
{
    struct stat st;
    if (d->fd < 0) return disk_open(d);
    bool there = stat(d->path, &st) == 0;
    if (!there && errno != ENOENT) return fail(d, "%s cannot be looked at: %s", d->path, strerror(errno));
    if (!there) return replace(d, "the file was removed");
    if (st.st_dev != d->dev || st.st_ino != d->ino) return replace(d, "the file was replaced");
    if (reopen && !d->regular) return replace(d, "SIGHUP");
    if (!d->regular || st.st_size == d->size) return true;
    log_warn("the audit file was changed by somebody else", LOG_C("file", d->path), LOG_I("bytes", st.st_size),
             LOG_I("expected", d->size));
    d->reopened++;
    d->size = d->end = st.st_size;
    return true;
}

/* ---- room and rotation ---- */
static bool extend(struct audit_disk *d, int64_t need)
{
    for (int64_t more = need > AHEAD ? need : AHEAD;; more = more / 2 > need ? more / 2 : need) {
        if (fallocate(d->fd, FALLOC_FL_KEEP_SIZE, d->size, more) == 0) {
            d->end = d->size + more;
            return true;
        }
        if (errno == EOPNOTSUPP || errno == ENOSYS) {
            d->end = DISK_UNLIMITED;
            return true;
        }
        if (errno == EINTR) continue;
        if (more == need) return fail(d, "%s has no room for another line: %s", d->path, strerror(errno));
    }
}

static void number(char out[DISK_PATH + 16], const struct audit_disk *d, unsigned i)
{
    if (i)
        snprintf(out, DISK_PATH + 16, "%s.%u", d->path, i);
    else
        snprintf(out, DISK_PATH + 16, "%s", d->path);
}

/* The new file has its room before the old one leaves its place; without room the old one grows on. */
static void rotate(struct audit_disk *d, int64_t need)
{
    char from[DISK_PATH + 16], to[DISK_PATH + 16];
    struct audit_disk next = *d;
    next.fd = -1;
    next.dirty = false;
    if (snprintf(next.path, sizeof next.path, "%s.new", d->path) >= (int)sizeof next.path) return;
    unlink(next.path);
    if (!disk_open(&next) || !extend(&next, need)) {
        disk_close(&next);
        unlink(next.path);
        return;
    }
    disk_close(d);
    for (unsigned i = d->keep; i > 0; i--) {
        number(from, d, i - 1);
        number(to, d, i);
        if (rename(from, to) && errno != ENOENT)
            log_error("the audit file cannot be renamed", LOG_C("file", from), LOG_C("error", strerror(errno)));
    }
    if (rename(next.path, d->path))
        log_error("the new audit file cannot be renamed", LOG_C("file", next.path), LOG_C("error", strerror(errno)));
    memcpy(next.path, d->path, sizeof next.path);
    *d = next;
    d->rotated++;
}

bool disk_prepare(struct audit_disk *d, int64_t pending, int64_t need)
{
    int64_t all = pending + need;
    if (d->regular && d->size > 0 && d->size + pending > d->max) rotate(d, all);
    if (d->end == DISK_UNLIMITED || d->end - d->size >= all + LOW) return true;
    return extend(d, all > 0 ? all : 1) || d->end - d->size >= all;
}

bool disk_write(struct audit_disk *d, const char *p, size_t n, size_t *done)
{
    *done = 0;
    while (*done < n) {
        ssize_t w = write(d->fd, p + *done, n - *done);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return fail(d, "%s cannot be written: %s", d->path, strerror(w < 0 ? errno : ENOSPC));
        *done += (size_t)w;
        d->size += w;
        d->dirty = true;
    }
    return true;
}

bool disk_sync(struct audit_disk *d)
{
    d->synced = disk_now();
    if (!d->dirty || !d->regular) return true;
    d->dirty = false;
    return fdatasync(d->fd) == 0 || fail(d, "%s cannot be brought to the disk: %s", d->path, strerror(errno));
}
