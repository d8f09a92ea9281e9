/* cell_child.c - a plugin's child process: its loop, its socket to the host, and running calls that the host sends. */
#include "module/cell.h"
#include "base/clock.h"
#include "base/log.h"
#include "loop/watchdog.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { READ_AT_ONCE = 1 << 16, CALLS_MAX = 1 << 16, KEEP_ROOM = 1 << 20, UNSENT_MAX = 256 << 10 };

/* How the handler waits for its answer: suspended, with the whole process, or on the thread pool. */
enum waiting { SUSPENDED, BLOCKED, POOLED };

struct input {
    uint32_t from;
    sl_str name, value;
};
struct child_call { /* one call in the child, in the call's arena */
    call *c;
    uint32_t id, step, entry, left_ms;
    struct input *inputs;
    size_t n_inputs;
    bool in_transaction, streaming;
    uint32_t outcome; /* enum frame_outcome */
    int32_t status;
    sl_str type, body, tag; /* or code and detail */
    struct frame answer;    /* to the question in hand */
    bool has_answer;
    enum waiting waiting;
};

static struct {
    struct module *module;
    struct generation *g;
    struct module_hooks hooks;
    sl_err (*render_row)(call *c, int32_t status, const sl_rows *rows);
    uv_poll_t poll;
    uv_async_t posted;
    pthread_mutex_t lock; /* of out and of answers: the thread pool logs, counts and asks too */
    pthread_cond_t answered;
    buf in, out;
    size_t taken;                        /* bytes at the front of in that are done with */
    struct child_call *calls[CALLS_MAX]; /* by the low half of their number */
    bool writing;
} child = { .lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER };

static _Noreturn void leave(const char *why)
{
    if (why) log_error("plugin's process ends", LOG_C("reason", why));
    log_flush();
    _exit(why ? 1 : 0);
}

/* ---- writing ---- */
static _Thread_local buf scratch;

buf *child_out(void)
{
    if (!scratch.max) buf_init(&scratch, FRAME_MAX);
    return &scratch;
}

/* True: something is left, the socket is full. */
static bool flush(bool wait)
{
    pthread_mutex_lock(&child.lock);
    while (child.out.n) {
        ssize_t n = write(CELL_FD, child.out.p, child.out.n);
        if (n > 0)
            buf_drop_front(&child.out, (size_t)n);
        else if (n < 0 && errno == EAGAIN && wait)
            poll(&(struct pollfd){ .fd = CELL_FD, .events = POLLOUT }, 1, 1000);
        else if (n < 0 && errno == EAGAIN)
            break;
        else if (n >= 0 || errno != EINTR)
            leave("the host is gone");
    }
    if (!child.out.n && child.out.room > KEEP_ROOM) buf_free(&child.out);
    bool left = child.out.n > 0; /* the thread pool adds to it */
    pthread_mutex_unlock(&child.lock);
    return left;
}

static void on_socket(uv_poll_t *p, int status, int events);

static void flush_turn(void *arg)
{
    (void)arg;
    bool left = flush(false);
    if (child.writing == left) return;
    child.writing = left;
    uv_poll_start(&child.poll, child.writing ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_socket);
}

void child_send(void)
{
    bool on_loop = !pool_call;
    pthread_mutex_lock(&child.lock);
    buf_add_str(&child.out, buf_str(&scratch));
    bool lost = child.out.overflow, much = child.out.n > UNSENT_MAX;
    pthread_mutex_unlock(&child.lock);
    if (lost) leave("the host does not read");
    buf_clear(&scratch);
    if (scratch.room > KEEP_ROOM) buf_free(&scratch);
    if (much)
        flush(true); /* who says much waits until it was heard */
    else if (on_loop)
        loop_at_turn_end(flush_turn, NULL);
    else
        uv_async_send(&child.posted);
}

/* ---- calls ---- */
static struct child_call *mine(const call *c) { return c->context; }
uint32_t child_call_id(const call *c) { return mine(c)->id; }
static bool in_transaction(const call *c) { return mine(c)->in_transaction; }
void child_forget_reply(call *c) { mine(c)->outcome = OUTCOME_NONE; }

static struct child_call *find(uint32_t id)
{
    struct child_call *k = child.calls[id % CALLS_MAX];
    return k && k->id == id ? k : NULL;
}

struct cell_question question_begin(call *c, enum frame_op op)
{
    buf *out = child_out();
    return (struct cell_question){ out, frame_begin(out, op, mine(c)->id) };
}

static void read_socket(void);

static void wait_for_answer(call *c, struct child_call *k)
{
    if (k->waiting == SUSPENDED) {
        call_wait(c, NULL, NULL); /* the host ends it in time: there the call has the same deadline */
        return;
    }
    if (k->waiting == POOLED) {
        pthread_mutex_lock(&child.lock);
        while (!k->has_answer)
            pthread_cond_wait(&child.answered, &child.lock);
        pthread_mutex_unlock(&child.lock);
        return;
    }
    flush(true);
    while (!k->has_answer) {
        poll(&(struct pollfd){ .fd = CELL_FD, .events = POLLIN }, 1, 1000);
        read_socket();
    }
}

sl_err question_end(call *c, struct cell_question q, bool suspend, struct frame *f)
{
    struct child_call *k = mine(c);
    *f = (struct frame){ .bad = true };
    if (!frame_end(q.out, q.start)) return SL_ETOOBIG;
    k->has_answer = false;
    k->waiting = pool_call ? POOLED : suspend ? SUSPENDED : BLOCKED;
    child_send();
    wait_for_answer(c, k);
    *f = k->answer;
    sl_err e = (sl_err)get_u32(f);
    k->in_transaction = get_u32(f) != 0;
    return f->bad || e > SL_OK || e < SL_EDEAD ? SL_EINTERNAL : e;
}

static sl_str input(call *c, uint32_t from, sl_str name)
{
    struct child_call *k = mine(c);
    struct frame f;
    if (from < SL_IN_PATH || from > SL_IN_FACT) return sl_lit(NULL, 0);
    for (size_t i = 0; i < k->n_inputs; i++)
        if (k->inputs[i].from == from && sl_same(k->inputs[i].name, name)) return k->inputs[i].value;
    if (from == SL_IN_FACT || from == SL_IN_PATH) return sl_lit(NULL, 0); /* all that there are came with the call */
    struct cell_question q = question_begin(c, FRAME_INPUT);
    put_u32(q.out, from);
    put_str(q.out, name);
    return question_end(c, q, false, &f) ? sl_lit(NULL, 0) : get_str(&f);
}

static sl_err reply(call *c, int32_t status, sl_str type, sl_str body)
{
    struct child_call *k = mine(c);
    struct frame f;
    if (k->streaming) {
        struct cell_question q = question_begin(c, FRAME_REPLY);
        put_u32(q.out, (uint32_t)status);
        put_str(q.out, type);
        put_str(q.out, body);
        return question_end(c, q, true, &f);
    }
    k->outcome = OUTCOME_REPLY;
    k->tag = sl_lit(NULL, 0);
    k->status = status;
    k->type = arena_copy(c->arena, type);
    k->body = arena_copy(c->arena, body);
    return SL_OK;
}

static sl_err header(call *c, sl_str name, sl_str value)
{
    struct frame f;
    struct cell_question q = question_begin(c, FRAME_HEADER);
    put_str(q.out, name);
    put_str(q.out, value);
    return question_end(c, q, false, &f);
}

static sl_err write_piece(call *c, sl_str piece)
{
    struct frame f;
    struct cell_question q = question_begin(c, FRAME_WRITE);
    put_str(q.out, piece);
    return question_end(c, q, true, &f);
}

static sl_err problem(call *c, int32_t status, sl_str code, sl_str detail)
{
    struct child_call *k = mine(c);
    k->outcome = OUTCOME_PROBLEM;
    k->status = status;
    k->type = arena_copy(c->arena, code);
    k->body = arena_copy(c->arena, detail);
    return SL_EREPLIED;
}

static sl_err reply_row(call *c, int32_t status, const sl_rows *rows)
{
    sl_err e = child.render_row(c, status, rows);
    if (!e && !mine(c)->streaming) mine(c)->tag = child.hooks.row_tag(c, rows);
    return e;
}

static const struct call_ops child_ops = { input, reply, header, write_piece, problem };

/* ---- running what the host sends ---- */
static sl_err run_step(struct child_call *k, call *c)
{
    struct generation *g = child.g;
    if (k->step == CELL_STEP_ENTRY) {
        struct entry *e = &g->entries[k->entry];
        c->entry = e;
        k->streaming = (e->spec.flags & SL_STREAM) != 0;
        return entry_run(c, e);
    }
    sl_err e = step_run(c, g, (enum step)k->step);
    if (k->step == STEP_CREATE && !e) g->created = true;
    return e;
}

static void send_return(struct child_call *k, sl_err e)
{
    buf *out = child_out();
    size_t start = frame_begin(out, FRAME_RETURN, k->id);
    put_u32(out, (uint32_t)e);
    put_u32(out, k->outcome);
    put_u32(out, (uint32_t)k->status);
    put_str(out, k->type);
    put_str(out, k->body);
    put_str(out, k->tag);
    if (!frame_end(out, start)) {
        start = frame_begin(out, FRAME_RETURN, k->id);
        put_u32(out, (uint32_t)SL_ETOOBIG);
        put_u32(out, OUTCOME_NONE);
        put_u32(out, 0);
        for (int i = 0; i < 3; i++)
            put_str(out, sl_lit(NULL, 0));
        frame_end(out, start);
    }
    child_send();
}

static void run(call *c)
{
    struct child_call *k = mine(c);
    send_return(k, run_step(k, c));
    child.calls[k->id % CALLS_MAX] = NULL;
}

static bool step_there(const struct generation *g, uint32_t step)
{
    return step == STEP_CREATE ? g->life.create != NULL : step_handler(g, (enum step)step) != NULL;
}

/* Frame bytes live in the read buffer; what a call keeps is copied to its arena first. */
static struct frame keep(const struct frame *f, arena *a)
{
    struct frame copy = *f;
    sl_str bytes = arena_copy(a, sl_lit(f->at, (size_t)(f->end - f->at)));
    copy.at = bytes.p;
    copy.end = bytes.p + bytes.n;
    return copy;
}

static void init(call *c, void *arg)
{
    struct frame f = keep(arg, c->arena);
    struct child_call *k = arena_alloc(c->arena, sizeof *k);
    k->c = c;
    k->id = f.call;
    k->step = get_u32(&f);
    k->entry = get_u32(&f);
    k->left_ms = get_u32(&f);
    k->n_inputs = get_u32(&f);
    if (k->n_inputs > FRAME_ITEMS_MAX) leave("a call with too many inputs");
    k->inputs = arena_alloc(c->arena, (k->n_inputs + 1) * sizeof *k->inputs);
    for (size_t i = 0; i < k->n_inputs; i++) {
        k->inputs[i].from = get_u32(&f);
        k->inputs[i].name = get_str(&f);
        k->inputs[i].value = get_str(&f);
    }
    if (!frame_done(&f) || (k->step == CELL_STEP_ENTRY && k->entry >= child.g->n_entries) ||
        (k->step != CELL_STEP_ENTRY && !step_there(child.g, k->step)))
        leave("a call that cannot be read");
    child.calls[k->id % CALLS_MAX] = k;
    c->ops = &child_ops;
    c->context = k;
    c->generation = child.g;
    c->pub.host = &child.g->host;
    c->module = child.module->name;
    c->name = k->step == CELL_STEP_ENTRY ? child.g->entries[k->entry].spec.name : "lifecycle";
    call_deadline(c, k->left_ms);
}

static void on_answer(const struct frame *f)
{
    struct child_call *k = find(f->call);
    if (!k || k->has_answer) return;
    struct frame answer = keep(f, k->c->arena); /* whose handler does nothing but wait */
    pthread_mutex_lock(&child.lock);
    k->answer = answer;
    k->has_answer = true;
    pthread_cond_broadcast(&child.answered);
    pthread_mutex_unlock(&child.lock);
    if (k->waiting == SUSPENDED) call_wake(k->c, SL_OK);
}

static void on_cancel(const struct frame *f)
{
    struct child_call *k = find(f->call);
    if (k) call_cancel(k->c);
}

static void send_ready(const char *why)
{
    buf *out = child_out();
    size_t start = frame_begin(out, FRAME_READY, 0);
    put_str(out, why ? sl_cstr(why) : sl_lit(NULL, 0));
    if (!why) descriptor_write(out, child.g);
    if (!frame_end(out, start)) leave("the descriptor is too large");
    child_send();
    flush(true);
}

/* While it lasts on the watchdog's thread, which may only log; when it is over the host is told. */
static void on_slow(const char *module, const char *name, uint64_t held_ms, bool over)
{
    if (!over) {
        module_slow(module, name, held_ms, false);
        return;
    }
    buf *out = child_out();
    size_t start = frame_begin(out, FRAME_SLOW, 0);
    put_str(out, sl_cstr(name));
    put_u32(out, held_ms < UINT32_MAX ? (uint32_t)held_ms : UINT32_MAX);
    frame_end(out, start);
    child_send();
}

static void on_init(struct frame *f)
{
    static char file[] = "/proc/self/fd/4";
    char why[MODULE_WHY] = "";
    sl_str name = get_str(f), config = get_str(f);
    uint32_t number = get_u32(f), level = get_u32(f), format = get_u32(f);
    int64_t memory = get_i64(f);
    uint32_t slow_ms = get_u32(f);
    if (!frame_done(f) || child.g) leave("an order to load that cannot be read");
    log_setup((int)level, (enum log_format)format, STDERR_FILENO);
    child.module = module_new(name);
    child.g = generation_new(child.module);
    child.module->staged = child.g; /* where crash.c looks */
    child.g->number = number;
    child.g->path = file;
    child.g->config = json_read(config, why, sizeof why);
    if (!sandbox_enter((uint64_t)memory, why, sizeof why) || !generation_open(child.g, why, sizeof why) ||
        !sandbox_seal(why, sizeof why)) {
        send_ready(why);
        leave("the plugin does not load");
    }
    watchdog_start(slow_ms, on_slow); /* its thread lives behind the walls too */
    tables_grant(child.g);
    child_tables(&child.g->host);
    child.g->draining = false;
    send_ready(NULL);
}

static _Noreturn void stop(void)
{
    if (child.g && child.g->created && child.g->life.destroy) child.g->life.destroy(child.g->self);
    flush(true);
    leave(NULL);
}

static void take(struct frame *f)
{
    switch (f->op) {
    case FRAME_INIT:
        on_init(f);
        return;
    case FRAME_CALL:
        if (!child.g) leave("a call before the plugin");
        if (!call_start(child.g->stack_kib, 0, init, f, run)) leave("too many calls");
        return;
    case FRAME_ANSWER:
        on_answer(f);
        return;
    case FRAME_CANCEL:
        on_cancel(f);
        return;
    case FRAME_STOP:
        stop();
    default:
        leave("an order that is no order");
    }
}

/* While a handler blocks for its answer only answers are taken, out of their turn; the rest waits in child.in. */
static void take_answers_only(void)
{
    size_t at = child.taken, n;
    struct frame f;
    while ((n = frame_read(&f, sl_lit(child.in.p + at, child.in.n - at))) != 0) {
        if (n == SIZE_MAX) leave("the host speaks another language");
        if (f.op != FRAME_ANSWER) {
            at += n;
            continue;
        }
        on_answer(&f);
        memmove(child.in.p + at, child.in.p + at + n, child.in.n - at - n);
        child.in.n -= n;
    }
}

static void read_socket(void)
{
    char *room = buf_reserve(&child.in, READ_AT_ONCE);
    if (!room) leave("the host sends too much");
    ssize_t n = read(CELL_FD, room, READ_AT_ONCE);
    if (n == 0) leave("the host is gone");
    if (n < 0 && errno != EAGAIN && errno != EINTR) leave("the socket to the host broke");
    if (n > 0) child.in.n += (size_t)n;
    if (call_current()) take_answers_only();
}

/* A handler that is started here may block and read more, so the buffer may move: who takes a frame copies it first. */
static void take_all(void)
{
    struct frame f;
    size_t n;
    while ((n = frame_read(&f, sl_lit(child.in.p + child.taken, child.in.n - child.taken))) != 0) {
        if (n == SIZE_MAX) leave("the host speaks another language");
        child.taken += n;
        take(&f);
    }
    buf_drop_front(&child.in, child.taken);
    child.taken = 0;
}

static void on_socket(uv_poll_t *p, int status, int events)
{
    (void)p;
    if (status < 0) leave("the socket to the host broke");
    if (events & UV_READABLE) {
        read_socket();
        take_all();
    }
    flush_turn(NULL);
}

static void on_posted(uv_async_t *a)
{
    (void)a;
    flush_turn(NULL);
}

int cell_child_main(const struct module_hooks *hooks)
{
    static struct config none;
    buf_init(&child.in, 2 * (size_t)FRAME_MAX);
    buf_init(&child.out, 2 * (size_t)FRAME_MAX);
    loop_setup(&(struct loop_config){ .slow_ms = 0, .max_calls = CALLS_MAX }, NULL);
    crash_watch();
    child.hooks = *hooks;
    child.hooks.reply_row = reply_row;
    child.render_row = hooks->reply_row;
    modules_setup(&none, &child.hooks, NULL, NULL);
    module_in_transaction = in_transaction;
    plugin_log_to = child_log;
    uv_async_init(loop_uv(), &child.posted, on_posted);
    if (uv_poll_init(loop_uv(), &child.poll, CELL_FD) || uv_poll_start(&child.poll, UV_READABLE, on_socket)) return 1;
    loop_run();
    return 0;
}
