/* cell.h - a generation that lives in a child process: the host's side and the child's. The words between them are in
 * frame.h. Internal to module/. */
#ifndef MODULE_CELL_H
#define MODULE_CELL_H
#include "module/frame.h"
#include "module/private.h"

/* The child's socket and the plugin's file; and the step number that means "run an entry". */
enum { CELL_FD = 3, CELL_FILE = 4, CELL_STEP_ENTRY = 1000, CELL_READY_MAX = 16 << 20 };

/* ---- descriptor_frame.c: what READY says behind its first word ---- */
void descriptor_write(buf *b, const struct generation *g);
const sl_plugin *descriptor_take(struct frame *f, arena *a); /* in the arena; NULL: malformed. Not checked otherwise */

/* ---- host: cell.c ---- */
/* [S] Start the child, load the plugin there, and read what it offers into g (checked like any descriptor). */
sl_err cell_open(call *c, struct generation *g, char *why, size_t why_size);
/* [S] Destroy the plugin and end the child; no call may be in it. Harmless without a child. */
void cell_close(struct generation *g);
bool cell_ready(const struct generation *g, char *why, size_t why_size); /* true also without a child */
const char *cell_last(const struct generation *g);                       /* how the child ended last, "" = it did not */

/* ---- host: cell_run.c ---- */
/* [S] Run an entry (step CELL_STEP_ENTRY) or a lifecycle step as call c in the child. SL_EUNAVAIL: the child died, or
 * is being started again, or is quarantined; then c's transaction has only to be rolled back. */
sl_err cell_run(call *c, struct generation *g, uint32_t step, struct entry *e);

/* ---- host: cell_spawn.c ---- */
/* Start a child for g's file; *fd is the host's end of its socket, non-blocking. 0 or an errno. */
int cell_spawn(const struct generation *g, pid_t *pid, int *fd);
const char *own_program(void); /* the path to execute for another process of this program */
void cell_write_init(buf *out, const struct generation *g);

/* ---- host: cell_serve.c ---- */
struct cell;
struct talk { /* one call in the child; pooled by its cell */
    struct cell *cell;
    call *c;
    uint32_t id;
    struct frame frame;            /* what the child asks */
    buf bytes;                     /* of frame */
    arena *scratch;                /* arrays of the question in hand */
    bool has_frame, waiting, dead; /* dead: the child is gone */
    struct talk *next;             /* in the pool */
};
bool serve_one_way(struct talk *t, struct frame *f); /* LOG, METRIC; false: malformed */
/* [S] Answer one question of the child as the call itself would have asked it; false: the frame was malformed. */
bool serve(struct talk *t, buf *out);
void serve_late(struct talk *t, buf *out, sl_err late); /* the answer to any question that could wait */
void serve_inputs(buf *out, call *c, const struct entry *e);

/* ---- child: cell_child.c ---- */
/* The call's question to the host. suspend: other calls go on meanwhile; otherwise the whole child waits. The answer's
 * values follow in *f, whose bytes live as long as the call. */
struct cell_question {
    buf *out;
    size_t start;
};
struct cell_question question_begin(call *c, enum frame_op op);
sl_err question_end(call *c, struct cell_question q, bool suspend, struct frame *f);
void child_forget_reply(call *c);
buf *child_out(void);
void child_send(void); /* queue what was written to child_out */
uint32_t child_call_id(const call *c);

/* ---- child: cell_tables.c ---- */
void child_tables(sl_host *host); /* replace what was granted by what goes through the socket */
void child_log(call *c, uint32_t level, sl_str text, const sl_pair *fields, size_t n);

/* ---- child: cell_sandbox.c ---- */
/* Before any code of the plugin runs: nothing but the socket, its file and reading libraries. memory: bytes, 0 = no
 * limit. */
bool sandbox_enter(uint64_t memory, char *why, size_t why_size);
bool sandbox_seal(char *why, size_t why_size); /* once it is loaded: no file is opened any more */
#endif
