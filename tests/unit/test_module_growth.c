/* test_module_growth.c - a host whose structures have grown reads plugins that were built when they were shorter: the
 * reader is compiled here against a contract that is longer than the first release's. */
#include "unit.h"
#include <string.h>
/* What later releases may append. Each word ends a structure of abi.h and stands nowhere else in it. */
#define backoff_ms                                                                                                     \
    backoff_ms;                                                                                                        \
    const char *tomorrow
#define optional                                                                                                       \
    optional;                                                                                                          \
    const char *reason
#define load load, *pause
#define lifecycle                                                                                                      \
    lifecycle;                                                                                                         \
    uint64_t later
#include <service_layer/abi.h>
#undef backoff_ms
#undef optional
#undef load
#undef lifecycle
#include "../../host/module/descriptor.c"

/* Sizes of the first release, as its plugins have them compiled in. */
enum { PLUGIN_WAS = 112, ENTRY_WAS = 96, METRIC_WAS = 32, NEED_WAS = 16, LIFE_WAS = 64 };
static const struct module_hooks hooks; /* what is checked here needs none */
static struct generation g;
static char why[MODULE_WHY];

static sl_err handler(void *self, sl_call *c)
{
    (void)self, (void)c;
    return SL_OK;
}

/* Rows cut to the old size, in memory that ends with the last: a read behind it is seen by the sanitizers. */
static void *cut(const void *rows, size_t n, size_t now, size_t was)
{
    char *out = malloc(n * was);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * was, (const char *)rows + i * now, was);
    return out;
}

static void plugin_with_the_first_sizes_is_read_whole(void **state)
{
    (void)state;
    sl_entry entries[2] = { { SL_ROUTE, "GET /old", handler, .doc = "Old.", .backoff_ms = 7, .tomorrow = "never" },
                            { SL_JOB, "old.work", handler, .attempts = 3, .backoff_ms = 9, .tomorrow = "never" } };
    sl_need needs[2] = { { "sl.store", 1, 0, "never" }, { "accounts", 1, 1, "never" } };
    sl_metric metrics[1] = { { SL_COUNTER, "old_total", "Old.", NULL } };
    sl_lifecycle life = { .size = LIFE_WAS, .state_version = 5, .load = handler, .pause = handler };
    sl_plugin p = { .size = PLUGIN_WAS,
                    .major = 1,
                    .entry_size = ENTRY_WAS,
                    .metric_size = METRIC_WAS,
                    .need_size = NEED_WAS,
                    .n_entries = 2,
                    .n_needs = 2,
                    .n_metrics = 1,
                    .name = "old",
                    .version = "1.0.0",
                    .later = 77 };
    p.entries = cut(entries, 2, sizeof *entries, ENTRY_WAS);
    p.needs = cut(needs, 2, sizeof *needs, NEED_WAS);
    p.metrics = cut(metrics, 1, sizeof *metrics, METRIC_WAS);
    p.lifecycle = cut(&life, 1, sizeof life, LIFE_WAS);
    const sl_plugin *was = cut(&p, 1, sizeof p, PLUGIN_WAS);
    assert_true(sizeof(sl_entry) > ENTRY_WAS && sizeof(sl_need) > NEED_WAS && sizeof(sl_lifecycle) > LIFE_WAS &&
                sizeof(sl_plugin) > PLUGIN_WAS);
    if (!descriptor_read(&g, was, why, sizeof why)) fail_msg("%s", why);
    assert_int_equal(g.n_entries, 2);
    assert_string_equal(g.entries[1].spec.name, "old.work");
    assert_int_equal(g.entries[0].spec.backoff_ms, 7);
    assert_int_equal(g.entries[1].spec.backoff_ms, 9);
    assert_int_equal(g.entries[1].spec.attempts, 3);
    assert_string_equal(g.spec.needs[1].id, "accounts");
    assert_int_equal(g.spec.needs[1].optional, 1);
    assert_string_equal(g.spec.metrics[0].name, "old_total");
    assert_int_equal(g.life.state_version, 5);
    assert_ptr_equal(g.life.load, handler);
    /* what was not there yet is as if it had been left out */
    assert_null(g.entries[0].spec.tomorrow);
    assert_null(g.entries[1].spec.tomorrow);
    assert_null(g.spec.needs[0].reason);
    assert_null(g.life.pause);
    assert_int_equal(g.spec.later, 0);
    free((void *)(uintptr_t)p.entries), free((void *)(uintptr_t)p.needs), free((void *)(uintptr_t)p.metrics);
    free((void *)(uintptr_t)p.lifecycle), free((void *)(uintptr_t)was);
}

/* The reader's own least sizes must stay those of the first release, however long the structures get. */
static void least_sizes_stay_those_of_the_first_release(void **state)
{
    (void)state;
    assert_int_equal(PLUGIN_FIRST, PLUGIN_WAS);
    assert_int_equal(ENTRY_FIRST, ENTRY_WAS);
    assert_int_equal(METRIC_FIRST, METRIC_WAS);
    assert_int_equal(NEED_FIRST, NEED_WAS);
    assert_int_equal(LIFE_FIRST, LIFE_WAS);
}

static int setup(void **state)
{
    (void)state;
    modules_setup(NULL, &hooks, NULL, NULL);
    memset(&g, 0, sizeof g);
    g.arena = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    descriptor_free(&g);
    arena_free(g.arena);
    return 0;
}

int main(void)
{
    if (sizeof(void *) != 8) return 0; /* the sizes above are of 64-bit machines */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plugin_with_the_first_sizes_is_read_whole, setup, teardown),
        cmocka_unit_test(least_sizes_stay_those_of_the_first_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
