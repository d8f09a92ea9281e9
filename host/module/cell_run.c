/* cell_run.c - runs a call in a plugin's child process: sends it, answers its questions, ends it in time, takes its
 * answer. */
#include "module/cell_host.h"
#include "base/log.h"
#include "store/store.h"
#include <stdlib.h>

enum {
    GRACE_MS = 2000, /* for a handler to return after its deadline or cancellation */
    BACK_MS = 3000,
    BACK_STEP_MS = 20,
    SLOTS_FIRST = 64,
    SLOTS_MAX = 1 << 15,
    HELD_MAX = 256 << 20, /* bytes of the host's memory that one call may make it hold */
    KEEP_ROOM = 1 << 20
};

/* ---- the calls of a child, by number: slot and a count, so that a late frame never meets a later call ---- */
struct talk *talk_find(const struct cell *k, uint32_t id)
{
    uint32_t slot = id & 0xffff;
    struct talk *t = slot < k->room ? k->talks[slot] : NULL;
    return t && t->id == id ? t : NULL;
}

static bool more_slots(struct cell *k)
{
    size_t room = k->room ? 2 * k->room : SLOTS_FIRST;
    if (room > SLOTS_MAX) return false;
    k->talks = realloc(k->talks, room * sizeof(struct talk *));
    k->free_slots = realloc(k->free_slots, room * sizeof *k->free_slots);
    if (!k->talks || !k->free_slots) abort();
    for (size_t i = room; i > k->room; i--) {
        k->talks[i - 1] = NULL;
        k->free_slots[k->n_free++] = (uint16_t)(i - 1);
    }
    k->room = room;
    return true;
}

static struct talk *talk_begin(struct cell *k, call *c)
{
    if (!k->n_free && !more_slots(k)) return NULL;
    struct talk *t = k->idle;
    if (t)
        k->idle = t->next;
    else {
        t = calloc(1, sizeof *t);
        if (!t) abort();
        t->scratch = arena_new(0);
        buf_init(&t->bytes, FRAME_MAX);
    }
    uint16_t slot = k->free_slots[--k->n_free];
    t->cell = k;
    t->c = c;
    t->id = (++k->sequence << 16) | slot;
    t->has_frame = t->waiting = t->dead = false;
    k->talks[slot] = t;
    return t;
}

static void talk_end(struct talk *t)
{
    struct cell *k = t->cell;
    uint16_t slot = (uint16_t)(t->id & 0xffff);
    k->talks[slot] = NULL;
    k->free_slots[k->n_free++] = slot;
    arena_reset(t->scratch);
    if (t->bytes.room > KEEP_ROOM) buf_free(&t->bytes);
    t->next = k->idle;
    k->idle = t;
}

void talks_end(struct cell *k)
{
    for (size_t i = 0; i < k->room; i++)
        if (k->talks[i]) k->talks[i]->dead = true;
    for (size_t i = 0; i < k->room; i++) /* waking may end the talk */
        if (k->talks[i] && k->talks[i]->waiting) call_wake(k->talks[i]->c, SL_OK);
}

void talks_free(struct cell *k)
{
    for (struct talk *t = k->idle, *next; t; t = next) {
        next = t->next;
        arena_free(t->scratch);
        buf_free(&t->bytes);
        free(t);
    }
    free(k->talks);
    free(k->free_slots);
}

/* ---- one call ---- */
static void stop_waiting(void *op) { ((struct talk *)op)->waiting = false; }

static bool send_call(struct talk *t, uint32_t step, const struct entry *e)
{
    buf *out = &t->cell->out;
    size_t start = frame_begin(out, FRAME_CALL, t->id);
    put_u32(out, step);
    put_u32(out, e ? (uint32_t)(e - e->generation->entries) : 0);
    put_u32(out, t->c->deadline ? call_left(t->c) : 0);
    serve_inputs(out, t->c, e);
    if (!frame_end(out, start)) return false;
    cell_send(t->cell);
    return true;
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
    sl_call *c = &t->c->pub;
    sl_err e = (sl_err)get_u32(f);
    uint32_t outcome = get_u32(f);
    int32_t status = (int32_t)get_u32(f);
    sl_str type = get_str(f), body = get_str(f), tag = get_str(f);
    if (!frame_done(f) || outcome > OUTCOME_PROBLEM) {
        cell_kill(t->cell, "sent an answer that cannot be read");
        return SL_EUNAVAIL;
    }
    if (outcome == OUTCOME_PROBLEM) table_core.problem(c, status, type, body);
    if (outcome == OUTCOME_REPLY && table_core.reply(c, status, type, body) == SL_OK && sl_given(tag) &&
        module_hooks->reply_tag)
        module_hooks->reply_tag(t->c, tag);
    return checked_code(t->c, e);
}

/* One question of the child. After the call's end came (late) those that could wait are answered with that. */
static void take_question(struct talk *t, sl_err late)
{
    struct cell *k = t->cell;
    uint8_t op = t->frame.op;
    bool waits = op != FRAME_INPUT && op != FRAME_HEADER && op != FRAME_CRYPTO;
    bool good = true;
    t->has_frame = false;
    if (late && waits)
        serve_late(t, &k->out, late);
    else
        good = serve(t, &k->out);
    arena_reset(t->scratch);
    if (t->bytes.room > KEEP_ROOM) buf_free(&t->bytes);
    if (!good)
        cell_kill(k, "asked for what it may not have, or in words that cannot be read");
    else if (arena_used(t->c->arena) > HELD_MAX)
        cell_kill(k, "asked for too much in one call");
    if (!t->dead) cell_send(k);
}

static sl_err converse(struct talk *t)
{
    call *c = t->c;
    sl_err late = SL_OK;
    while (!t->dead) {
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
        if (e == SL_ECANCEL) send_cancel(t); /* the deadline it knows itself */
    }
    return late ? late : SL_EUNAVAIL;
}

static sl_err run_in_child(call *c, struct cell *k, uint32_t step, struct entry *e, bool *died)
{
    uint64_t deadline = c->deadline;
    bool shielded = c->shielded;
    struct talk *t = talk_begin(k, c);
    if (!t) return SL_EBUSY;
    sl_err result = send_call(t, step, e) ? converse(t) : SL_ETOOBIG;
    *died = t->dead && !c->shielded;
    talk_end(t);
    if (c->deadline != deadline) {
        call_deadline(c, 0);
        c->deadline = deadline;
    }
    c->shielded = shielded;
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
    bool died = false;
    if (!k->alive || (e && k->state != CELL_UP)) return SL_EUNAVAIL;
    sl_err result = run_in_child(c, k, step, e, &died);
    if (!died || !e || (e->spec.flags & (SL_IDEMPOTENT | SL_STREAM)) != SL_IDEMPOTENT) return result;
    store_rollback(c);
    return wait_until_up(c, k) ? run_in_child(c, k, step, e, &died) : SL_EUNAVAIL;
}
