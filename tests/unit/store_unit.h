/* store_unit.h - runs a store test as a call on the real loop, with other calls beside it, on a database in a directory
 * of its own. */
#ifndef STORE_UNIT_H
#define STORE_UNIT_H
#include "base/clock.h"
#include "loop/loop.h"
#include "store/store.h"
#include "unit.h"
#include <stdlib.h>
#include <unistd.h>

/* Fibers check with CHECK: cmocka's own assertions leave by longjmp, which cannot cross to another stack. */
static int unit_failures;
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            unit_failures++;                                                                                           \
            print_error("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                \
        }                                                                                                              \
    } while (0)

static char unit_dir[64], unit_path[96], unit_dsn[128];
static struct store_config unit_config;
static unsigned unit_running;
static call *unit_joiner;

static inline sl_err unit_open(call *c, const char *dsn)
{
    char why[300];
    unit_config.dsn = sl_cstr(dsn);
    sl_err e = store_open(c, &unit_config, why, sizeof why);
    if (e) print_error("store_open(%s): %s\n", dsn, why);
    CHECK(e == SL_OK);
    return e;
}

/* Another call beside this one; its context is `arg`. */
struct unit_work {
    void (*fn)(call *c, void *arg);
    void *arg;
};
static inline void unit_init(call *c, void *arg) { c->context = arg; }
static inline void unit_run(call *c)
{
    struct unit_work *w = c->context;
    w->fn(c, w->arg);
    store_rollback(c);
    free(w);
    if (--unit_running == 0 && unit_joiner) call_wake(unit_joiner, SL_OK);
}
static inline void spawn(uint32_t deadline_ms, void (*fn)(call *c, void *arg), void *arg)
{
    struct unit_work *w = malloc(sizeof *w);
    *w = (struct unit_work){ fn, arg };
    unit_running++;
    CHECK(call_start(0, deadline_ms, unit_init, w, unit_run));
}
static inline void join(call *c)
{
    if (!unit_running) return;
    unit_joiner = c;
    call_wait(c, NULL, NULL);
    unit_joiner = NULL;
}

static void (*unit_body)(call *c);
static inline void unit_main(call *c)
{
    unit_body(c);
    store_rollback(c);
    store_close(c);
}
static inline void in_store(void (*body)(call *c))
{
    unit_failures = 0;
    unit_body = body;
    unit_config = (struct store_config){ .max_rows = 1000, .max_bytes = 1 << 20 };
    snprintf(unit_dir, sizeof unit_dir, "/tmp/sl-unit-XXXXXX");
    assert_non_null(mkdtemp(unit_dir));
    snprintf(unit_path, sizeof unit_path, "%s/store.db", unit_dir);
    snprintf(unit_dsn, sizeof unit_dsn, "sqlite:%s", unit_path);
    loop_setup(&(struct loop_config){ .max_calls = 4096 }, NULL);
    assert_true(call_start(128, 0, NULL, NULL, unit_main));
    loop_run();
    assert_int_equal(call_count(), 0);
    loop_close();
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", unit_dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(unit_failures, 0);
}

/* Short forms: one statement, one number out of it. */
#define Q(c, ...) q_array(c, NULL, SL_ARRAY(__VA_ARGS__), SL_COUNT(__VA_ARGS__))
static inline sl_err q_array(call *c, const sl_rows **out, const sl_value *v, uint32_t n)
{
    return store_query(c, out, v[0].s, v + 1, n - 1);
}
#define N(c, ...) n_array(c, SL_ARRAY(__VA_ARGS__), SL_COUNT(__VA_ARGS__))
static inline int64_t n_array(call *c, const sl_value *v, uint32_t n)
{
    const sl_rows *r;
    sl_err e = q_array(c, &r, v, n);
    if (e) {
        print_error("%.*s: %d %s\n", (int)v[0].s.n, v[0].s.p, e, store_error(c));
        return -1000 + e;
    }
    return r->rows ? r->cells[0].i : -999;
}
#define GOOD(c, ...)                                                                                                   \
    do {                                                                                                               \
        sl_err good_ = Q(c, __VA_ARGS__);                                                                              \
        if (good_) print_error("%d %s\n", good_, store_error(c));                                                      \
        CHECK(good_ == SL_OK);                                                                                         \
    } while (0)
#endif
