/* cell_run.c - runs a call in a plugin's child process: sends it, answers its questions, ends it in time, takes its answer. */
#include "module/cell_host.h"
#include "base/log.h"
#include "store/store.h"

enum { GRACE_MS = 2000, BACK_MS = 3000, BACK_STEP_MS = 20 };

/* The child is alone with its deadline: nothing of ours is waited for that could be abandoned. */
static void stop_waiting(void *op) { ((struct talk *)op)->waiting = false; }

static void send_call(struct talk *t, uint32_t step, const struct entry *e)
{
    buf *out = &t->cell->out;
    size_t start = frame_begin(out, FRAME_CALL, t->id);
    put_u32(out, step);
    put_u32(out, e ? (uint32_t)(e - e->generation->entries) : 0);
    put_u32(out, t->c->deadline ? call_left(t->c) : 0);
    serve_inputs(out, t->c, e);
    frame_end(out, start);
    cell_send(t->cell);
}

static void send_cancel(struct talk *t)
{
    frame_end(&t->cell->out, frame_begin(&t->cell->out, FRAME_CANCEL, t->id));
    cell_send(t->cell);
}

/* What the handler answered, given to the call as if it had answered here. */
static sl_err take_return(struct talk *t)
{
    struct frame *f = &t->frame;
    sl_err e = (sl_err)get_u32(f);
    uint32_t outcome = get_u32(f);
    int32_t status = (int32_t)get_u32(f);
    sl_str type = get_str(f), body = get_str(f);
    if (!frame_done(f) || outcome > OUTCOME_PROBLEM) {
        cell_kill(t->cell, "sent an answer that cannot be read");
        return SL_EUNAVAIL;
    }
    if (outcome == OUTCOME_PROBLEM) table_core.problem(&t->c->pub, status, type, body);
    if (outcome == OUTCOME_REPLY && e == SL_OK) table_core.reply(&t->c->pub, status, type, body);
    return checked_code(t->c, e);
}

/* One question of the child. After the call's end came (late) those that could wait are answered with that. */
static void take_question(struct talk *t, sl_err late)
{
    uint8_t op = t->frame.op;
    t->has_frame = false;
    if (late && op != FRAME_INPUT && op != FRAME_HEADER && op != FRAME_CRYPTO) serve_late(t, &t->cell->out, late);
    else if (!serve(t, &t->cell->out)) cell_kill(t->cell, "asked for what it may not have, or in words that cannot be read");
    if (!t->dead) cell_send(t->cell);
}

static sl_err converse(struct talk *t)
{
    call *c = t->c;
    sl_err late = SL_OK;
    for (;;) {
        if (t->dead) return SL_EUNAVAIL;
        if (t->has_frame && t->frame.op == FRAME_RETURN) return take_return(t);
        if (t->has_frame) {
            take_question(t, late);
            continue;
        }
        t->waiting = true;
        sl_err e = call_wait(c, stop_waiting, t);
        t->waiting = false;
        if (!e) continue;
        if (late) { /* it was told, and does not come back: the same as a handler that blocks for ever */
            cell_kill(t->cell, "a handler did not return after its deadline");
            return late;
        }
        late = e;
        c->shielded = true;
        call_deadline(c, GRACE_MS);
        send_cancel(t);
    }
}

static sl_err run_once(call *c, struct cell *k, uint32_t step, struct entry *e, bool *died)
{
    struct talk t = { .cell = k, .c = c, .id = ++k->next_id, .next = k->talks };
    uint64_t deadline = c->deadline;
    bool shielded = c->shielded;
    k->talks = &t;
    send_call(&t, step, e);
    sl_err result = converse(&t);
    struct talk **at = &k->talks;
    while (*at != &t) at = &(*at)->next;
    *at = t.next;
    *died = t.dead;
    if (c->deadline != deadline) {
        uint64_t now = loop_now();
        call_deadline(c, deadline > now ? (uint32_t)(deadline - now) : deadline ? 1 : 0);
        c->shielded = shielded;
    }
    return result;
}

/* [S] True when the child is up again within a short time and the call's deadline. */
static bool wait_until_up(call *c, struct cell *k)
{
    for (int waited = 0; waited < BACK_MS; waited += BACK_STEP_MS) {
        if (k->state == CELL_UP && k->alive) return true;
        if (k->state == CELL_QUARANTINED || k->state == CELL_CLOSING || call_sleep(c, BACK_STEP_MS)) return false;
    }
    return false;
}

sl_err cell_run(call *c, struct generation *g, uint32_t step, struct entry *e)
{
    struct cell *k = g->cell;
    bool repeat = e && (e->spec.flags & SL_IDEMPOTENT), died = false;
    if (!k || k->state != CELL_UP || !k->alive) return SL_EUNAVAIL;
    sl_err result = run_once(c, k, step, e, &died);
    if (!died || !repeat) return result;
    store_rollback(c);
    return wait_until_up(c, k) ? run_once(c, k, step, e, &died) : SL_EUNAVAIL;
}
