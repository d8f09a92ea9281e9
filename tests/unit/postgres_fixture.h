/* postgres_fixture.h - for the tests of the PostgreSQL engine: a private cluster, calls on the loop, statements by
 * text. */
#ifndef POSTGRES_FIXTURE_H
#define POSTGRES_FIXTURE_H
#include "base/log.h"
#include "loop/loop.h"
#include "store/backend.h"
#include "unit.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* cmocka's assertions leave by longjmp, which a fiber must not do: failures are noted and asserted outside. */
static int failures;
#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            failures++;                                                                                                \
            print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                                             \
        }                                                                                                              \
    } while (0)
#define CHECK_ERR(got, want)                                                                                           \
    do {                                                                                                               \
        int got_ = (got), want_ = (want);                                                                              \
        if (got_ != want_) {                                                                                           \
            failures++;                                                                                                \
            print_error("%s:%d: %s gave %d, not %d (%s)\n", __FILE__, __LINE__, #got, got_, want_,                     \
                        call_current() ? store_error(call_current()) : "");                                            \
        }                                                                                                              \
    } while (0)

static char cluster_dir[64], cluster_dsn[256];

/* Runs tests/lib/NAME with arguments; its standard output goes to `out`. */
static void helper(char *out, size_t room, const char *command)
{
    char root[512], line[1024];
    ssize_t n = readlink("/proc/self/exe", root, sizeof root - 1);
    root[n > 0 ? n : 0] = 0;
    for (int up = 0; up < 3; up++)
        *strrchr(root, '/') = 0;
    snprintf(line, sizeof line, "%.400s/tests/lib/%s", root, command);
    FILE *f = popen(line, "r");
    size_t got = f ? fread(line, 1, sizeof line - 1, f) : 0;
    line[got] = 0;
    int status = f ? pclose(f) : -1;
    if (status) print_error("%s: status %d\n", command, status);
    assert_int_equal(status, 0);
    line[strcspn(line, "\n")] = 0;
    if (out) snprintf(out, room, "%s", line);
}

static void cluster(char *out, size_t room, const char *what, const char *mode)
{
    char command[256];
    snprintf(command, sizeof command, "postgres %s %s %s", what, cluster_dir, mode);
    helper(out, room, command);
}

static void cluster_start(void)
{
    char owner[16];
    snprintf(owner, sizeof owner, "%d", getpid());
    cluster(cluster_dsn, sizeof cluster_dsn, "start", owner);
}

static int group_setup(void **state)
{
    (void)state;
    log_setup(SL_ERROR, LOG_AS_TEXT, 2);
    strcpy(cluster_dir, "/tmp/sl-unit-pg-XXXXXX");
    assert_non_null(mkdtemp(cluster_dir));
    cluster_start();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    char command[128];
    cluster(NULL, 0, "stop", "immediate");
    snprintf(command, sizeof command, "rm -rf %s", cluster_dir);
    return system(command);
}

/* ---- calls ---- */

static struct {
    void (*body)(call *c);
    call *main;
    int running;
    int seen[16];
} world;

static void spawned(call *c)
{
    ((void (*)(call *))c->context)(c);
    store_rollback(c);
    world.running--;
}
static void set_body(call *c, void *arg) { c->context = arg; }

__attribute__((unused)) static void spawn(void (*body)(call *c), uint32_t deadline_ms)
{
    world.running++;
    if (call_start(256, deadline_ms, set_body, (void *)body, spawned)) return;
    world.running--;
    failures++;
}
__attribute__((unused)) static void join(call *c)
{
    while (world.running)
        call_sleep(c, 2);
}

static struct store_config config(const char *dsn, int connections)
{
    return (struct store_config){ .dsn = sl_cstr(dsn),
                                  .max_open = connections,
                                  .max_idle = connections,
                                  .connect_ms = 2000,
                                  .max_rows = 1000,
                                  .max_bytes = 1 << 20 };
}

static sl_err open_store(call *c, const char *dsn, int connections)
{
    char why[256] = "";
    struct store_config cfg = config(dsn, connections);
    sl_err e = store_open(c, &cfg, why, sizeof why);
    if (e) print_error("open: %d %s\n", e, why);
    return e;
}

static char *direct(void)
{
    static char dsn[300];
    snprintf(dsn, sizeof dsn, "%s&sl_direct=1", cluster_dsn);
    return dsn;
}

static void run_world(call *c) { world.body(c); }

/* Runs body as a call on a loop of its own, to the end of everything it started. */
static void on_loop(void (*body)(call *c))
{
    failures = 0;
    memset(&world, 0, sizeof world);
    world.body = body;
    loop_setup(&(struct loop_config){ .max_calls = 5000 }, NULL);
    assert_true(call_start(256, 40000, NULL, NULL, run_world));
    loop_run();
    assert_int_equal(call_count(), 0);
    loop_close();
    assert_int_equal(failures, 0);
}

/* ---- statements ---- */

#define I(v)         ((sl_value){ .type = SL_INT, .i = (v) })
#define R(v)         ((sl_value){ .type = SL_REAL, .d = (v) })
#define T(v)         ((sl_value){ .type = SL_TEXT, .s = sl_cstr(v) })
#define B(v, length) ((sl_value){ .type = SL_BLOB, .s = { (v), (length) } })
#define N            ((sl_value){ .type = SL_NULL })
#define ARGS(...)                                                                                                      \
    (const sl_value[]){ N, ##__VA_ARGS__ } + 1, sizeof((const sl_value[]){ N, ##__VA_ARGS__ }) / sizeof(sl_value) - 1
#define query(c, rows, sql, ...)    store_query(c, rows, sl_cstr(sql), ARGS(__VA_ARGS__))
#define defer(c, changes, sql, ...) store_defer(c, sl_cstr(sql), ARGS(__VA_ARGS__), changes)

__attribute__((unused)) static int64_t number(call *c, const char *sql)
{
    const sl_rows *rows;
    sl_err e = store_query(c, &rows, sl_cstr(sql), NULL, 0);
    if (!e && rows->rows == 1 && rows->cells[0].type == SL_INT) return rows->cells[0].i;
    print_error("%s: error %d %s\n", sql, e, store_error(c));
    failures++;
    return -1;
}
__attribute__((unused)) static void make_table(call *c)
{
    CHECK_ERR(query(c, NULL, "drop table if exists things cascade"), SL_OK);
    CHECK_ERR(query(c, NULL, "create table things (id bigint primary key, name text)"), SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
}
#endif
