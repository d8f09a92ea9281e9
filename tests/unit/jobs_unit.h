/* jobs_unit.h - runs tests of jobs and events on the real loop, on memory, an SQLite file and PostgreSQL. */
#ifndef JOBS_UNIT_H
#define JOBS_UNIT_H
#include "base/clock.h"
#include "jobs/engine.h"
#include "unit.h"
#include <stdlib.h>
#include <unistd.h>

/* Fibers check with CHECK: cmocka's own assertions leave by longjmp, which cannot cross to another stack. */
static int unit_failures;
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            unit_failures++;                                                                                           \
            print_error("%s:%d (%s): %s\n", __FILE__, __LINE__, store_engine_name(), #condition);                      \
        }                                                                                                              \
    } while (0)
#define CHECK_INT(got, want)                                                                                           \
    do {                                                                                                               \
        long long got_ = (long long)(got), want_ = (long long)(want);                                                  \
        if (got_ != want_) {                                                                                           \
            unit_failures++;                                                                                           \
            print_error("%s:%d (%s): %s is %lld, not %lld\n", __FILE__, __LINE__, store_engine_name(), #got, got_,     \
                        want_);                                                                                        \
        }                                                                                                              \
    } while (0)

static char unit_dir[64], unit_root[512], unit_pg[300], unit_dsn[300];

/* One statement, its rows; one statement and commit; one number out of it. */
#define Q(c, out, ...) q_array(c, out, SL_ARRAY(__VA_ARGS__), SL_COUNT(__VA_ARGS__))
#define DO(c, ...)     do_array(c, SL_ARRAY(__VA_ARGS__), SL_COUNT(__VA_ARGS__))
#define N(c, ...)      n_array(c, SL_ARRAY(__VA_ARGS__), SL_COUNT(__VA_ARGS__))
static inline sl_err q_array(call *c, const sl_rows **out, const sl_value *v, uint32_t n)
{
    sl_err e = store_query(c, out, v[0].s, v + 1, n - 1);
    if (e) print_error("%.*s: %d %s\n", (int)v[0].s.n, v[0].s.p, e, store_error(c));
    CHECK(e == SL_OK);
    return e;
}
static inline void do_array(call *c, const sl_value *v, uint32_t n)
{
    if (q_array(c, NULL, v, n))
        store_rollback(c);
    else
        CHECK(store_commit(c) == SL_OK);
}
static inline int64_t n_array(call *c, const sl_value *v, uint32_t n)
{
    const sl_rows *r;
    return q_array(c, &r, v, n) ? -1000 : r->rows ? r->cells[0].i : -999;
}
static inline sl_str text_of(call *c, const char *sql)
{
    const sl_rows *r;
    return store_query(c, &r, sl_cstr(sql), NULL, 0) || !r->rows ? SL("nothing") : r->cells[0].s;
}

/* Waits until the number is `want` or the time is over. */
static inline bool wait_for(call *c, uint32_t ms, int64_t want, const char *sql)
{
    int64_t got = -1, end = clock_monotonic() + (int64_t)ms * 1000000;
    while (clock_monotonic() < end) {
        if ((got = N(c, sql)) == want) return true;
        call_sleep(c, 5);
    }
    print_error("%s: %lld, not %lld after %u ms\n", sql, (long long)got, (long long)want, ms);
    return false;
}

/* ---- the engine ---- */
typedef sl_err job_handler(call *c);

/* As module/ does it: handler, what the engine joins, commit; again where the store says so. */
static inline sl_err unit_invoke(call *c, void *entry, sl_err (*before_commit)(call *c))
{
    c->generation = entry;
    for (int run = 1;; run++) {
        sl_err e = ((job_handler *)entry)(c);
        if (!e) e = before_commit(c);
        if (!e) e = store_commit(c);
        if (!e) return SL_OK;
        bool again = run < 6 && store_may_retry(c);
        store_rollback(c);
        if (!again) return e;
    }
}

static struct jobs_config unit_jobs;
static inline void start_engine(call *c)
{
    char why[300] = "";
    sl_err e = jobs_start(c, &unit_jobs, unit_invoke, why, sizeof why);
    if (e) print_error("jobs_start: %s\n", why);
    CHECK(e == SL_OK);
}
/* One kind for most tests. */
static inline void one_kind(const char *kind, job_handler *h, uint32_t attempts, uint32_t backoff_ms)
{
    jobs_set_kinds(
        &(struct job_kind){
            .kind = kind, .module = "unit", .attempts = attempts, .backoff_ms = backoff_ms, .entry = (void *)h },
        1);
}
static inline sl_err add_job(call *c, const char *kind, const char *key, const char *json, int64_t run_at)
{
    sl_job j = {
        .size = sizeof j, .kind = sl_cstr(kind), .key = sl_cstr(key), .json = sl_cstr(json), .run_at = run_at
    };
    return jobs_enqueue(c, &j, SL("tenant-1"));
}
static inline void enqueue(call *c, const char *kind, const char *key)
{
    CHECK(add_job(c, kind, key, "{}", 0) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
}
static inline sl_str seen(call *c, uint32_t from, const char *name) { return c->ops->input(c, from, sl_cstr(name)); }

/* ---- the store ---- */
static inline void open_store(call *c, bool fresh)
{
    char why[400] = "", dir[600];
    struct store_config cfg = { .dsn = sl_cstr(unit_dsn),
                                .max_open = 8,
                                .max_idle = 8,
                                .connect_ms = 3000,
                                .max_rows = 10000,
                                .max_bytes = 2 << 20 };
    sl_err e = store_open(c, &cfg, why, sizeof why);
    if (e) print_error("store_open: %s\n", why);
    CHECK(e == SL_OK);
    if (fresh && store_engine() == STORE_POSTGRES) { /* a file and memory are new each time */
        DO(c, "drop schema public cascade");
        DO(c, "create schema public");
    }
    snprintf(dir, sizeof dir, "%s/migrations/host", unit_root);
    unsigned applied, pending;
    e = store_migrate(c, &(struct migration_set){ "host", dir }, true, &applied, &pending, why, sizeof why);
    if (e) print_error("store_migrate: %s\n", why);
    CHECK(e == SL_OK);
    if (fresh) DO(c, "create table effects (what text not null)");
}

static void (*unit_body)(call *c);
static inline void unit_main(call *c)
{
    open_store(c, true);
    unit_jobs =
        (struct jobs_config){ .concurrency = 8, .lease_ms = 1500, .poll_ms = 200, .backoff_ms = 20, .attempts = 3 };
    unit_body(c);
    store_rollback(c);
    call_deadline(c, 600);
    jobs_drain(c);
    call_deadline(c, 0);
    jobs_set_kinds(NULL, 0);
    store_close(c);
}

static inline void on_one(const char *dsn, void (*body)(call *c))
{
    snprintf(unit_dsn, sizeof unit_dsn, "%s", dsn);
    unit_body = body;
    loop_setup(&(struct loop_config){ .max_calls = 8192 }, NULL);
    assert_true(call_start(256, 0, NULL, NULL, unit_main));
    loop_run();
    assert_int_equal(call_count(), 0);
    loop_close();
}

static inline void on_file(void (*body)(call *c))
{
    char dsn[100], command[128];
    snprintf(unit_dir, sizeof unit_dir, "/tmp/sl-unit-jobs-XXXXXX");
    assert_non_null(mkdtemp(unit_dir));
    snprintf(dsn, sizeof dsn, "sqlite:%s/store.db", unit_dir);
    on_one(dsn, body);
    snprintf(command, sizeof command, "rm -rf %s", unit_dir);
    assert_int_equal(system(command), 0);
}

static inline void on_all(void (*body)(call *c))
{
    unit_failures = 0;
    on_one("", body);
    on_file(body);
    if (unit_pg[0]) on_one(unit_pg, body);
    assert_int_equal(unit_failures, 0);
}

/* ---- a private PostgreSQL cluster for the program ---- */
static char unit_cluster[64];
static inline int unit_helper(const char *what, const char *arg, char *out, size_t room)
{
    char command[700];
    snprintf(command, sizeof command, "%s/tests/lib/postgres %s %s %s", unit_root, what, unit_cluster, arg);
    FILE *f = popen(command, "r");
    size_t n = f ? fread(out, 1, room - 1, f) : 0;
    out[n] = 0;
    out[strcspn(out, "\n")] = 0;
    return f ? pclose(f) : -1;
}
static inline int unit_setup(void **state)
{
    (void)state;
    char owner[16], helper[600];
    ssize_t n = readlink("/proc/self/exe", unit_root, sizeof unit_root - 1);
    unit_root[n > 0 ? n : 0] = 0;
    for (int up = 0; up < 3; up++)
        *strrchr(unit_root, '/') = 0;
    snprintf(helper, sizeof helper, "%s/tests/lib/postgres", unit_root);
    if (access(helper, X_OK)) return 0;
    strcpy(unit_cluster, "/tmp/sl-unit-pg-XXXXXX");
    if (!mkdtemp(unit_cluster)) return -1;
    snprintf(owner, sizeof owner, "%d", getpid());
    return unit_helper("start", owner, unit_pg, sizeof unit_pg);
}
static inline int unit_teardown(void **state)
{
    (void)state;
    char out[16], command[100];
    if (!unit_cluster[0]) return 0;
    unit_helper("stop", "immediate", out, sizeof out);
    snprintf(command, sizeof command, "rm -rf %s", unit_cluster);
    return system(command);
}
#endif
