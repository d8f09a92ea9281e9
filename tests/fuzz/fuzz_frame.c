/* fuzz_frame.c - bytes of a hostile child process through the host's real code: its socket, its calls, its questions,
 * its descriptor. */
#include "fuzz.h"
#include "../../host/module/cell.c"
#include "base/seal.h"
#include "http/http.h"
#include "store/store.h"
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static struct generation *g;
static struct entry entry;
static struct config cfg;
static sl_err result;
static bool running;

/* ---- the call that the child runs: an answer that keeps what it is given ---- */
static sl_str input(call *c, uint32_t from, sl_str name) { return from % 2 ? arena_copy(c->arena, name) : SL("x"); }
static sl_err reply(call *c, int32_t status, sl_str type, sl_str body)
{
    if (type.n) arena_copy(c->arena, type);
    if (body.n) arena_copy(c->arena, body);
    return status < 100 || status > 599 ? SL_EINVAL : SL_OK;
}
static sl_err header(call *c, sl_str name, sl_str value)
{
    if (name.n) arena_copy(c->arena, name);
    if (value.n) arena_copy(c->arena, value);
    return SL_OK;
}
static sl_err write_piece(call *c, sl_str piece)
{
    if (piece.n) arena_copy(c->arena, piece);
    return SL_OK;
}
static sl_err problem(call *c, int32_t status, sl_str code, sl_str detail)
{
    (void)status;
    if (code.n) arena_copy(c->arena, code);
    if (detail.n) arena_copy(c->arena, detail);
    return SL_EREPLIED;
}
static const struct call_ops ops = { input, reply, header, write_piece, problem };

static sl_err reply_list(call *c, sl_str sql, const sl_value *args, size_t n)
{
    const sl_rows *rows;
    return store_query(c, &rows, sql, args, n);
}

static void on_call(call *c, void *arg)
{
    (void)arg;
    c->ops = &ops;
    c->generation = g;
    c->entry = &entry;
    c->module = g->module->name;
    c->name = "fuzz";
}

static void run_call(call *c)
{
    result = cell_run(c, g, CELL_STEP_ENTRY, &entry);
    store_rollback(c);
    running = false;
}

/* ---- once ---- */
static void boot_store(call *c)
{
    const struct store_config memory = { .dsn = SL(""), .max_rows = 1000, .max_bytes = 1 << 20 };
    char why[300];
    if (store_open(c, &memory, why, sizeof why)) abort();
    running = false;
}

static void turn(void) { uv_run(loop_uv(), UV_RUN_ONCE); }

static void setup(void)
{
    static const struct module_hooks hooks = { .reply_list = reply_list };
    log_setup(SL_ERROR + 1, LOG_AS_TEXT, STDERR_FILENO);
    loop_setup(&(struct loop_config){ .max_calls = 100 }, NULL);
    modules_setup(&cfg, &hooks, keyring_random(), NULL);
    g = generation_new(module_new(SL("fuzz")));
    g->host = (sl_host){ .size = sizeof(sl_host),
                         .core = &table_core,
                         .store = &table_store,
                         .bus = &table_bus,
                         .jobs = &table_jobs,
                         .http = &table_http, /* no grant names a host: nothing leaves */
                         .metrics = &table_metrics,
                         .crypto = &table_crypto };
    g->isolated = true;
    entry.generation = g;
    running = true;
    if (!call_start(0, 0, NULL, NULL, boot_store)) abort();
    while (running)
        turn();
}

/* ---- the child ---- */
/* Frames around pieces of the input, each for the call; otherwise the bytes as they are. */
static size_t next_frame(const uint8_t *data, size_t size, uint32_t id, buf *out)
{
    size_t n = size > 1 ? data[1] : 0;
    if (n > size - (size > 1 ? 2 : 1)) n = size > 1 ? size - 2 : 0;
    size_t start = frame_begin(out, (enum frame_op)data[0], id);
    buf_add(out, data + (size > 1 ? 2 : 1), n);
    if (!frame_end(out, start)) abort();
    return n + (size > 1 ? 2 : 1);
}

static void send_bytes(int fd, sl_str bytes)
{
    char answers[4096];
    for (size_t at = 0; at < bytes.n;) {
        ssize_t n = write(fd, bytes.p + at, bytes.n - at);
        if (n < 0) return; /* the host hung up */
        at += (size_t)n;
    }
    for (int i = 0; i < 20 && running && read(fd, answers, sizeof answers) < 0; i++)
        uv_run(loop_uv(), UV_RUN_NOWAIT);
}

static void converse_with(struct cell *k, int fd, const uint8_t *data, size_t size)
{
    buf out;
    buf_init(&out, 1 << 20);
    bool framed = size && data[0] % 4;
    uint32_t id = 0;
    for (size_t i = 0; i < k->room; i++)
        if (k->talks[i]) id = k->talks[i]->id;
    for (size_t at = 1; framed && at < size && running;) {
        buf_clear(&out);
        at += next_frame(data + at, size - at, id, &out);
        send_bytes(fd, buf_str(&out));
    }
    if (!framed && size > 1) send_bytes(fd, sl_lit((const char *)data + 1, size - 1));
    buf_free(&out);
}

static void life_of_a_child(const uint8_t *data, size_t size)
{
    int ends[2];
    struct cell *k = g->cell = cell_new(g);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends)) abort();
    k->fd = ends[0];
    k->pidfd = eventfd(0, EFD_CLOEXEC); /* there is no process: it is neither killed nor asked for */
    k->alive = true;
    k->state = CELL_UP;
    cell_listen(k);
    running = true;
    if (!call_start(0, 0, on_call, NULL, run_call)) abort();
    converse_with(k, ends[1], data, size);
    close(ends[1]);
    k->alive = false;
    cell_died(k, 9);
    while (running)
        turn();
    if (result > SL_OK || result < SL_EDEAD) abort();
    g->cell = NULL;
    k->state = CELL_CLOSING;
    cell_close_handle(&k->timer);
    cell_close_handle(&k->pause);
    cell_close_handle(&k->watch);
    while (k->handles)
        turn();
    uv_run(loop_uv(), UV_RUN_NOWAIT); /* a flush that was asked for */
    cell_free(k);
}

static void description(const uint8_t *data, size_t size)
{
    char why[MODULE_WHY] = "";
    struct generation described = { .arena = arena_new(0), .module = g->module };
    struct frame f = { .op = FRAME_READY, .at = (const char *)data, .end = (const char *)data + size };
    const sl_plugin *p = descriptor_take(&f, described.arena);
    if (p && !descriptor_read(&described, p, why, sizeof why) && !why[0]) abort(); /* refused without a word */
    descriptor_free(&described);
    arena_free(described.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) setup();
    ready = true;
    if (size && data[0] % 4 == 3)
        description(data + 1, size - 1);
    else
        life_of_a_child(data, size);
    return 0;
}
