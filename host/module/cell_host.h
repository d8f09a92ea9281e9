/* cell_host.h - what the two files of the host's side of a child process share: cell.c (its life) and cell_run.c (its calls). */
#ifndef MODULE_CELL_HOST_H
#define MODULE_CELL_HOST_H
#include "module/cell.h"

enum cell_state { CELL_DOWN, CELL_BOOTING, CELL_UP, CELL_QUARANTINED, CELL_CLOSING };
enum { CELL_CRASHES_MAX = 5 };

struct cell {
    struct generation *g;
    enum cell_state state;
    uv_process_t process;
    uv_poll_t socket;
    uv_timer_t restart;
    int fd, pidfd;
    unsigned handles;            /* libuv handles not closed yet; the last one frees a closing cell */
    bool alive;                  /* the process has not been reaped */
    buf in, out;
    size_t taken;                /* bytes at the front of in that are done with */
    struct talk *talks;
    uint32_t next_id, starts, crashes, delay_ms;
    int64_t crash_at[CELL_CRASHES_MAX]; /* seconds, newest first */
    call *booter;                /* who waits for READY */
    struct frame ready;
    bool has_ready;
    char last[160];              /* how it ended last */
};

void cell_send(struct cell *k);                  /* what was written to k->out leaves at the end of this turn */
void cell_kill(struct cell *k, const char *why); /* the exit callback does the rest */
#endif
