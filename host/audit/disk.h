/* disk.h - private to file.c and disk.c: the file itself, as the thread that writes it sees it. */
#ifndef AUDIT_DISK_H
#define AUDIT_DISK_H
#include "base/chain.h"
#include <sys/types.h>

enum { DISK_PATH = 4000, DISK_UNLIMITED = -1 };
struct audit_disk {
    char path[DISK_PATH], why[256]; /* why: the last failure */
    int fd;                         /* -1: none is open */
    bool regular;
    dev_t dev;
    ino_t ino;
    int64_t size, end, max; /* end: the disk has room up to there; DISK_UNLIMITED: it cannot say */
    unsigned keep, reopened, rotated;
    bool dirty;
    uint64_t synced; /* CLOCK_MONOTONIC milliseconds */
};
/* Every function may block for as long as the disk does. False: why says what is wrong. */
bool disk_open(struct audit_disk *d);
void disk_close(struct audit_disk *d);
/* The file at the path is ours and as long as we left it; else another is opened there. */
bool disk_check(struct audit_disk *d, bool reopen);
/* Room for `need` bytes behind what is there, of which `pending` are about to be written; rotates when it is time. */
bool disk_prepare(struct audit_disk *d, int64_t pending, int64_t need);
bool disk_write(struct audit_disk *d, const char *p, size_t n, size_t *done); /* done is also set on failure */
bool disk_sync(struct audit_disk *d);
/* The last line of a file, so that the chain goes on; a file without lines leaves `last` alone. */
bool disk_last_line(struct audit_disk *d, const char *path, struct chain *last);
uint64_t disk_now(void);
#endif
