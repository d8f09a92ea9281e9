/* cell.h - a generation that lives in a child process: the host's side (cell.c, cell_serve.c) and the child's (cell_child.c,
 * cell_tables.c). The words between them are in frame.h. Internal to module/. */
#ifndef MODULE_CELL_H
#define MODULE_CELL_H
#include "module/frame.h"
#include "module/private.h"

enum { CELL_FD = 3, CELL_STEP_ENTRY = 1000 }; /* the child's socket; the step number that means "run an entry" */

/* ---- host: cell.c ---- */
struct cell; /* owned by its generation */
/* [S] Start the child, load the plugin there, and read what it offers into g (checked like any descriptor). */
sl_err cell_open(call *c, struct generation *g, char *why, size_t why_size);
/* [S] Run an entry (step CELL_STEP_ENTRY) or a lifecycle step as call c in the child. SL_EUNAVAIL: the child died, or is being
 * started again, or is quarantined; then c's transaction has only to be rolled back. */
sl_err cell_run(call *c, struct generation *g, uint32_t step, struct entry *e);
void cell_close(struct generation *g); /* ends the child; no call may be in it */
struct cell_stats { int pid; uint32_t starts, crashes, calls; bool quarantined; uint64_t resident; char last[160]; };
bool cell_stats(const struct generation *g, struct cell_stats *out); /* false: not in a child */

/* ---- host: cell_serve.c ---- */
struct talk { /* one call in the child; lies on its fiber's stack */
    struct cell *cell;
    call *c;
    uint32_t id;
    struct frame frame;     /* what the child asks; its bytes lie in the call's arena */
    bool has_frame, dead;   /* dead: the child is gone */
    struct talk *next;
};
void serve_one_way(struct generation *g, struct talk *t, struct frame *f); /* LOG, METRIC */
/* [S] Answer one question of the child as the call itself would have asked it; false: the frame was malformed. */
bool serve(struct talk *t, buf *out);
void serve_inputs(buf *out, call *c, const struct entry *e);

/* ---- child: cell_child.c ---- */
/* The call's question to the host. suspend: other calls go on meanwhile; otherwise the whole child waits. The answer's values
 * follow in *f, whose bytes live as long as the call. */
struct cell_question { buf *out; size_t start; };
struct cell_question question_begin(call *c, enum frame_op op);
sl_err question_end(call *c, struct cell_question q, bool suspend, struct frame *f);
void child_forget_reply(call *c);
buf *child_out(void);
void child_send(void);          /* queue what was written to child_out */
uint32_t child_call_id(const call *c);
bool child_in_transaction(const call *c);

/* ---- child: cell_tables.c ---- */
void child_tables(sl_host *host); /* replace what was granted by what goes through the socket */
void child_log(call *c, uint32_t level, sl_str text, const sl_pair *fields, size_t n);

/* ---- child: cell_sandbox.c ---- */
bool sandbox_enter(const char *plugin_file, char *why, size_t why_size); /* nothing but the socket and reading libraries */
#endif
