/* bad.c - a plugin that does everything a plugin should not: the host must live, and say what happened. */
#include <service_layer/json.h>
#include <service_layer/plugin.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int armed; /* gone with the process */
static volatile int never;

static sl_err ok(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_json(c, 200, SL("{\"ok\":true}"));
}

static sl_err arm(void *self, sl_call *c)
{
    (void)self;
    armed = 1;
    return sl_reply_empty(c, 204);
}

static void crash(void) { *(volatile int *)(uintptr_t)(never + 8) = 1; }

static sl_err segfault(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(c, &rows, "insert into bench_rows (id, tenant, body, created_at) values ($1, 'crash', 'x', 1)",
                        sl_new_id(c));
    if (e) return e;
    crash();
    return sl_reply_empty(c, 204);
}

static sl_err count_rows(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(c, &rows, "select count(*) as n from bench_rows where tenant = 'crash'");
    if (e) return e;
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '{');
    sl_json_int(&j, "rows", sl_cell_int(rows, 0, "n"));
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

static sl_err flaky(void *self, sl_call *c)
{
    if (armed) crash();
    return ok(self, c);
}

static sl_err loop(void *self, sl_call *c)
{
    while (!never)
        continue;
    return ok(self, c);
}

static sl_err block(void *self, sl_call *c)
{
    sleep(60);
    return ok(self, c);
}

static sl_err slow(void *self, sl_call *c)
{
    sl_err e = sl_sleep(c, 60000);
    return e ? e : ok(self, c);
}

static sl_err leak(void *self, sl_call *c)
{
    for (size_t i = 0; i < 1u << 16; i++)
        memset(malloc(1 << 20), 1, 1 << 20);
    return ok(self, c);
}

static sl_err giant_reply(void *self, sl_call *c)
{
    size_t n = (size_t)70 << 20;
    char *p = calloc(1, n);
    (void)self;
    sl_err e = p ? sl_reply(c, 200, SL("text/plain"), sl_lit(p, n)) : SL_EBUSY;
    free(p);
    return e;
}

static sl_err giant_sql(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_value text;
    size_t n = (size_t)80 << 20;
    char *p = malloc(n);
    (void)self;
    if (!p) return SL_EBUSY;
    memset(p, ' ', n);
    memcpy(p, "select 1", 8);
    sl_err plain = c->host->store->query(c, &rows, sl_lit(p, 100000), NULL, 0);
    sl_err beyond_a_frame = c->host->store->query(c, &rows, sl_lit(p, n), NULL, 0);
    text = sl_text(sl_lit(p, (size_t)17 << 20));
    sl_err parameter = c->host->store->query(c, &rows, SL("select $1 as x"), &text, 1);
    free(p);
    return plain == SL_ETOOBIG && beyond_a_frame == SL_ETOOBIG && parameter == SL_ETOOBIG ? ok(self, c) : SL_EINTERNAL;
}

static sl_err flood_log(void *self, sl_call *c)
{
    for (int i = 0; i < 200000; i++)
        sl_log(c, SL_INFO, "flooding the log", NULL, 0);
    return ok(self, c);
}

static sl_err flood_metrics(void *self, sl_call *c)
{
    for (int i = 0; i < 20000; i++) {
        sl_str label = sl_format(c, "label-%d", i);
        sl_count(c, 0, 1, &label, 1);
    }
    return ok(self, c);
}

static sl_err give_up(void *self, sl_call *c)
{
    (void)self, (void)c;
    abort();
}

__attribute__((noinline)) static int deeper(volatile char *above)
{
    volatile char room[1024];
    room[0] = above[0];
    return never ? 0 : deeper(room) + room[0];
}

static sl_err overflow(void *self, sl_call *c)
{
    volatile char start = 1;
    return deeper(&start) ? ok(self, c) : SL_EINTERNAL;
}

static sl_err leave(void *self, sl_call *c)
{
    syscall(SYS_exit_group, 3);
    return ok(self, c);
}

/* Where the socket to the host is in a child process; in process these are not called. */
static sl_err garbage(void *self, sl_call *c)
{
    char bytes[256];
    memset(bytes, 0xfe, sizeof bytes);
    if (write(3, bytes, sizeof bytes) < 0) return SL_EINTERNAL;
    return slow(self, c);
}

static sl_err frame(sl_call *c, unsigned char op, uint32_t n)
{
    unsigned char head[12] = { 0 };
    n += 8;
    memcpy(head, &n, 4);
    head[4] = op;
    if (write(3, head, sizeof head) < 0) return SL_EINTERNAL;
    return slow(NULL, c);
}

static sl_err second_ready(void *self, sl_call *c)
{
    (void)self;
    return frame(c, 6, 0);
}

static sl_err hosts_word(void *self, sl_call *c) /* INIT is for the host to say */
{
    (void)self;
    return frame(c, 1, 0);
}

static sl_err frame_flood(void *self, sl_call *c)
{
    unsigned char bytes[12 * 1000] = { 0 };
    for (size_t i = 0; i < sizeof bytes; i += 12) { /* well-formed answers to calls that do not exist */
        bytes[i] = 8;
        bytes[i + 4] = 7;
        memset(bytes + i + 8, 0xff, 4);
    }
    for (int i = 0; i < 100; i++)
        for (size_t at = 0; at < sizeof bytes;) {
            ssize_t n = write(3, bytes + at, sizeof bytes - at);
            if (n < 0 && errno != EAGAIN) return SL_EINTERNAL;
            if (n < 0) poll(&(struct pollfd){ .fd = 3, .events = POLLOUT }, 1, 1000);
            at += n > 0 ? (size_t)n : 0;
        }
    return ok(self, c);
}

/* What a sandbox forbids: the error that each attempt met, 0 = it was possible. */
static sl_err escape(void *self, sl_call *c)
{
    static const char *const paths[] = { "/etc/passwd", "/proc/self/environ", "/tmp" };
    static const char *const names[] = { "passwd", "environ", "tmp" };
    sl_json j = sl_json_start(c);
    (void)self;
    sl_json_open(&j, NULL, '{');
#define TRY(name, ...) sl_json_int(&j, name, syscall(__VA_ARGS__) < 0 ? errno : 0)
    for (size_t i = 0; i < 3; i++)
        TRY(names[i], SYS_openat, AT_FDCWD, paths[i], O_RDONLY);
    TRY("write", SYS_openat, AT_FDCWD, "/tmp/bad-plugin-was-here", O_WRONLY | O_CREAT, 0600);
    TRY("socket", SYS_socket, 2, 1, 0);
    TRY("unix", SYS_socket, 1, 1, 0);
    TRY("fork", SYS_clone, SIGCHLD, 0, 0, 0, 0);
    TRY("exec", SYS_execve, "/bin/true", NULL, NULL);
    TRY("ptrace", SYS_ptrace, 16, getppid(), 0, 0);
    TRY("kill", SYS_kill, getppid(), SIGKILL);
    TRY("setuid", SYS_setuid, 0);
    TRY("chroot", SYS_chroot, "/");
    TRY("mount", SYS_mount, "none", "/tmp", "tmpfs", 0, NULL);
    TRY("bpf", SYS_bpf, 0, NULL, 0);
    TRY("memory", SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
    sl_json_int(&j, "uid", getuid());
    sl_json_bool(&j, "environment", getenv("SECRET_ENCRYPTION_KEY") || getenv("API_TOKENS"));
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

static void *spin(void *unused)
{
    while (!never)
        continue;
    return unused;
}

static sl_err burn(void *self, sl_call *c)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, spin, NULL)) return SL_EBUSY;
    pthread_detach(thread);
    return ok(self, c);
}

/* What its grants do not give it, and what they do: the code of each attempt. */
static sl_err reach(void *self, sl_call *c)
{
    static const char *const statements[][2] = {
        { "own", "select count(*) as n from bench_rows" },     { "other_table", "select * from accounts" },
        { "joined", "select * from bench_rows b, secrets s" }, { "written", "delete from accounts" },
        { "hosts_table", "select * from sl_outbox" },          { "schema", "select name from sqlite_master" },
        { "qualified", "select * from main.bench_rows" },      { "function", "select sqlite_version() as v" },
        { "table_made", "create table bench_more (id text)" },
    };
    const sl_rows *rows;
    const sl_msg *msg;
    const sl_response *response;
    const sl_job job = { .size = sizeof job, .kind = SL("bench.nothing"), .json = SL("{}") };
    const sl_request request = { .size = sizeof request, .url = SL("http://127.0.0.1:9/") };
    sl_json j = sl_json_start(c);
    (void)self;
    sl_json_open(&j, NULL, '{');
    sl_json_int(&j, "fetch", c->host->http->fetch(c, &request, &response));
    sl_json_int(&j, "ask", sl_ask(c, "secrets.resolve", SL("{}"), &msg));
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        sl_json_int(&j, statements[i][0], c->host->store->query(c, &rows, sl_cstr(statements[i][1]), NULL, 0));
    sl_json_int(&j, "publish", sl_publish(c, "accounts.made", sl_lit(NULL, 0), SL("{}")));
    sl_json_int(&j, "enqueue", c->host->jobs->enqueue(c, &job));
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

#define BAD(path, run, ...)                                                                                            \
    {                                                                                                                  \
        SL_ROUTE, "GET /bad/" path, run, .doc = "Misbehaves.", __VA_ARGS__                                             \
    }
static const sl_entry entries[] = {
    BAD("ok", ok, .flags = 0),
    BAD("arm", arm, .flags = 0),
    BAD("segfault", segfault, .flags = 0),
    BAD("rows", count_rows, .flags = 0),
    BAD("flaky", flaky, .flags = 0),
    BAD("flaky-idempotent", flaky, .flags = SL_IDEMPOTENT),
    BAD("loop", loop, .deadline_ms = 300),
    BAD("block", block, .deadline_ms = 300),
    BAD("slow", slow, .deadline_ms = 20000),
    BAD("leak", leak, .flags = 0),
    BAD("giant-reply", giant_reply, .flags = 0),
    BAD("giant-sql", giant_sql, .flags = 0),
    BAD("flood-log", flood_log, .deadline_ms = 60000),
    BAD("flood-metrics", flood_metrics, .deadline_ms = 60000),
    BAD("exit", leave, .flags = 0),
    BAD("abort", give_up, .flags = 0),
    BAD("overflow", overflow, .flags = 0),
    BAD("garbage", garbage, .flags = 0),
    BAD("second-ready", second_ready, .flags = 0),
    BAD("hosts-word", hosts_word, .flags = 0),
    BAD("frame-flood", frame_flood, .deadline_ms = 60000),
    BAD("escape", escape, .flags = 0),
    BAD("burn", burn, .flags = 0),
    BAD("reach", reach, .flags = 0),
};
static const sl_metric metrics[] = { { SL_COUNTER, "bad_flood_total", "Counts too much.", "label" } };
static const sl_need needs[] = { { "sl.core", 1, 0 }, { "sl.store", 1, 0 }, { "sl.metrics", 1, 0 }, { "sl.bus", 1, 0 },
                                 { "sl.jobs", 1, 0 }, { "sl.http", 1, 0 },  { "bench", 1, 0 } };
SL_PLUGIN("bad", "1.0.0", .doc = "Misbehaves in every way.", SL_ENTRIES(entries), SL_METRICS(metrics), SL_NEEDS(needs),
          .grants = "store:bench_*");
