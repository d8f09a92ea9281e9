/* cell_host.h - what the files of the host's side of a child process share: its life, its socket and its calls. */
#ifndef MODULE_CELL_HOST_H
#define MODULE_CELL_HOST_H
#include "module/cell.h"

enum cell_state { CELL_DOWN, CELL_BOOTING, CELL_UP, CELL_QUARANTINED, CELL_CLOSING };
enum { CELL_CRASHES_MAX = 5, CELL_TIMERS = 3 };

struct cell {
    struct generation *g;
    enum cell_state state;
    pid_t pid;
    int fd, pidfd;
    uv_poll_t socket, process; /* process: its pidfd becomes readable when it ends */
    uv_timer_t timer, pause;   /* timer: start again, or kill one that does not stop */
    uv_timer_t watch;          /* of the processor time that it takes */
    int64_t cpu_us;            /* that it had taken then */
    unsigned handles;          /* libuv handles that are not closed yet */
    bool alive, writing;       /* alive: not reaped; writing: the socket is full */
    buf in, out, ready_bytes;
    size_t taken;     /* bytes at the front of in that are done with */
    uint32_t one_way; /* frames without an answer since window_ms */
    uint64_t window_ms;
    struct talk **talks, *idle; /* by slot; pool */
    uint16_t *free_slots;
    size_t room, n_free;
    uint32_t sequence, starts, crashes, delay_ms;
    uint64_t started_ms;
    int64_t crash_at[CELL_CRASHES_MAX], crashed_at; /* seconds of the monotonic clock, newest first; wall clock */
    call *waiter;                                   /* who waits for READY, or for the end of a closing child */
    struct frame ready;
    bool has_ready;
    char last[160], last_crash[160]; /* why it ends, set at the first sign; how it ended last */
};

/* ---- cell_io.c ---- */
int cell_connect(struct cell *k);                /* spawn and listen; 0 or an errno */
void cell_listen(struct cell *k);                /* to k->fd and k->pidfd */
void cell_send(struct cell *k);                  /* what was written to k->out leaves at the end of this turn */
void cell_flush(void *k);                        /* now */
void cell_kill(struct cell *k, const char *why); /* cell_died follows; why: NULL = as its status says */
void cell_disconnect(struct cell *k);
void cell_close_handle(void *handle); /* counted off in its cell */

/* ---- cell.c ---- */
void cell_died(struct cell *k, int status); /* of waitpid */

/* ---- cell_run.c ---- */
struct talk *talk_find(const struct cell *k, uint32_t id);
void talks_end(struct cell *k);  /* every call in the child learns that it is gone */
void talks_free(struct cell *k); /* none is left */
#endif
