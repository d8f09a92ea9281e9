/* test_module_descriptor.c - descriptors built in memory, good and hostile: what is copied, what is refused and in
 * which words. */
#include "unit.h"
#include "module/private.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* entries name only what matters to a test */

static const struct module_hooks hooks; /* what is checked here needs none */
static struct generation g;
static char why[MODULE_WHY];

static int setup(void **state)
{
    (void)state;
    modules_setup(NULL, &hooks, NULL, NULL);
    memset(&g, 0, sizeof g);
    g.arena = arena_new(0);
    why[0] = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    descriptor_free(&g);
    arena_free(g.arena);
    return 0;
}

static sl_err handler(void *self, sl_call *c)
{
    (void)self, (void)c;
    return SL_OK;
}

static const sl_entry good_entries[] = {
    { SL_ROUTE, "GET /things/{id}", handler, .scope = "things:read",
      .out = SL_OBJECT(SL_REQUIRED("id", SL_ID, "Its id.")) },
    { SL_EVENT, "account.*", handler },
    { SL_SCHEDULE, "tidy", handler, .schedule = "@every 30s" },
    { SL_JOB, "things.build", handler, .attempts = 3 },
    { SL_COMPUTE, "things.price", handler, .max_inflight = 4 },
};
static const sl_metric good_metrics[] = { { SL_COUNTER, "things_total", "Things.", "kind" } };
static const sl_need good_needs[] = { { "sl.store", 1, 0 }, { "accounts", 1, 0 } };

static sl_plugin good(void)
{
    return (sl_plugin){ .size = sizeof(sl_plugin),
                        .major = SL_MAJOR,
                        .minor = SL_MINOR,
                        .entry_size = sizeof(sl_entry),
                        .metric_size = sizeof(sl_metric),
                        .need_size = sizeof(sl_need),
                        .name = "things",
                        .version = "1.2.3",
                        .grants = "store:things_* ask:secrets.resolve",
                        SL_ENTRIES(good_entries),
                        SL_METRICS(good_metrics),
                        SL_NEEDS(good_needs) };
}

static void refused(const sl_plugin *p, const char *says)
{
    teardown(NULL), setup(NULL); /* a generation is read into once */
    assert_false(descriptor_read(&g, p, why, sizeof why));
    if (!strstr(why, says)) fail_msg("`%s` does not say `%s`", why, says);
}

/* A good descriptor with one entry changed. */
static void refused_entry(sl_entry e, const char *says)
{
    sl_plugin p = good();
    p.entries = &e;
    p.n_entries = 1;
    refused(&p, says);
}

static void everything_is_copied(void **state)
{
    (void)state;
    char name[] = "things", scope[] = "things:read", metric[] = "things_total";
    sl_entry entries[5];
    sl_metric metrics[1] = { { SL_COUNTER, metric, "Things.", "kind" } };
    memcpy(entries, good_entries, sizeof entries);
    entries[0].scope = scope;
    sl_plugin p = good();
    p.name = name;
    p.entries = entries;
    p.metrics = metrics;
    assert_true(descriptor_read(&g, &p, why, sizeof why));
    memset(name, 'x', sizeof name), memset(scope, 'x', sizeof scope), memset(metric, 'x', sizeof metric);
    memset(entries, 0xff, sizeof entries), memset(metrics, 0xff, sizeof metrics), memset(&p, 0xff, sizeof p);
    assert_string_equal(g.spec.name, "things");
    assert_int_equal(g.n_entries, 5);
    assert_string_equal(g.entries[0].spec.scope, "things:read");
    assert_true(g.entries[0].spec.run == handler && g.entries[0].generation == &g);
    assert_non_null(g.entries[0].out);
    assert_string_equal(g.entries[2].spec.schedule, "@every 30s");
    assert_string_equal(g.spec.metrics[0].name, "things_total");
    assert_string_equal(g.spec.needs[1].id, "accounts");
    assert_int_equal(g.n_grants, 2);
    assert_true(generation_granted(&g, "ask", SL("secrets.resolve")) &&
                !generation_granted(&g, "ask", SL("secrets.other")));
    assert_true(generation_granted(&g, "store", SL("things_rows")) &&
                !generation_granted(&g, "publish", SL("things_rows")));
}

static void sizes_and_versions(void **state)
{
    (void)state;
    sl_plugin p = good();
    p.size = 8;
    refused(&p, "8 bytes long");
    p = good(), p.size = 0xffffffff;
    refused(&p, "bytes long");
    p = good(), p.major = 2;
    refused(&p, "built against contract 2.0, this host runs 1.");
    p = good(), p.entry_size = 8;
    refused(&p, "entries are 8 bytes each");
    p = good(), p.entry_size = sizeof(sl_entry) + 1;
    refused(&p, "bytes each");
    p = good(), p.entry_size = 0;
    refused(&p, "is the size field set?");
    p = good(), p.metric_size = 1 << 30;
    refused(&p, "metrics are");
    p = good(), p.n_entries = 4000000000u;
    refused(&p, "at most 256");
    p = good(), p.n_needs = 65;
    refused(&p, "at most 64");
    p = good(), p.entries = NULL;
    refused(&p, "the table is NULL");
    p = good(), p.stack_kib = 1 << 20;
    refused(&p, "stack_kib");
    const sl_lifecycle life = { .size = 4 };
    p = good(), p.lifecycle = &life;
    refused(&p, "lifecycle.size");
}

/* A plugin built against a later release: longer rows, flags and kinds that this host does not know. */
static void later_release_is_read_by_its_stride(void **state)
{
    (void)state;
    struct {
        sl_entry known;
        uint64_t later[3];
    } rows[3] = { { .known = good_entries[0] },
                  { .known = { .kind = 9, .name = "??" } },
                  { .known = good_entries[3] } };
    struct {
        sl_plugin known;
        uint64_t later[4];
    } p = { .known = good() };
    p.known.size = sizeof p;
    p.known.minor = SL_MINOR + 1;
    rows[2].known.flags = 1u << 20;
    p.known.entries = &rows[0].known;
    p.known.entry_size = sizeof rows[0];
    p.known.n_entries = 3;
    assert_true(descriptor_read(&g, &p.known, why, sizeof why));
    assert_int_equal(g.n_entries, 2);
    assert_string_equal(g.entries[1].spec.name, "things.build");
    assert_int_equal(g.entries[1].index, 2);
}

static void names(void **state)
{
    (void)state;
    static char endless[600];
    memset(endless, 'a', sizeof endless - 1);
    static const char *const bad[] = {
        NULL, "", "Things", "9things", "thi ngs", "../things", "th\xc3\xa4ngs", endless
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sl_plugin p = good();
        p.name = bad[i];
        refused(&p, "name");
    }
    sl_plugin p = good();
    p.version = NULL;
    refused(&p, "version is missing");
    p = good(), p.doc = "\xff";
    refused(&p, "doc is not UTF-8");
    p = good(), p.grants = "everything";
    refused(&p, "grants: `everything`");
    p = good(), p.config = "{\"type\":";
    refused(&p, "config");
}

static void bad_entries(void **state)
{
    (void)state;
    refused_entry((sl_entry){ 0, "x", handler }, "unknown kind 0");
    refused_entry((sl_entry){ 99, "x", handler }, "unknown kind 99");
    refused_entry((sl_entry){ SL_JOB, NULL, handler }, "job number 0 has no name");
    refused_entry((sl_entry){ SL_JOB, "x", NULL }, "job x: run is NULL");
    refused_entry((sl_entry){ SL_ROUTE, "FETCH /x", handler }, "route FETCH /x: ");
    refused_entry((sl_entry){ SL_ROUTE, "GET x", handler }, "route GET x: ");
    refused_entry((sl_entry){ SL_EVENT, "Not A Topic", handler }, "lower-case words");
    refused_entry((sl_entry){ SL_EVENT, ".*", handler }, "lower-case words");
    refused_entry((sl_entry){ SL_SCHEDULE, "x", handler }, "schedule is missing");
    refused_entry((sl_entry){ SL_SCHEDULE, "x", handler, .schedule = "whenever" }, "`whenever` is not a schedule");
    refused_entry((sl_entry){ SL_JOB, "x", handler, .flags = 1u << 30 }, "unknown flags");
    refused_entry((sl_entry){ SL_JOB, "x", handler, .flags = SL_STREAM }, "only a route");
    refused_entry((sl_entry){ SL_ROUTE, "GET /x", handler, .flags = SL_STREAM | SL_POOL }, "exclude each other");
    refused_entry((sl_entry){ SL_ROUTE, "GET /x", handler, .in = "nonsense" }, "route GET /x: in: ");
    refused_entry((sl_entry){ SL_ROUTE, "GET /x", handler, .status = 404 }, "not a success");
    refused_entry((sl_entry){ SL_JOB, "x", handler, .attempts = 1000 }, "attempts");
}

static void clashes_within_a_plugin(void **state)
{
    (void)state;
    const sl_entry routes[] = { { SL_ROUTE, "GET /a/{b}", handler }, { SL_ROUTE, "GET /a/{c}", handler } };
    const sl_entry jobs[] = { { SL_JOB, "a.b", handler }, { SL_EVENT, "a.b", handler }, { SL_JOB, "a.b", handler } };
    sl_plugin p = good();
    p.entries = routes, p.n_entries = 2;
    refused(&p, "route GET /a/{c} clashes with GET /a/{b}");
    teardown(NULL), setup(NULL);
    p.entries = jobs, p.n_entries = 3;
    refused(&p, "job a.b clashes with a.b");
}

static void metrics_carry_the_plugins_name(void **state)
{
    (void)state;
    const sl_metric bad[] = { { SL_COUNTER, "other_total", "Theirs.", NULL } },
                    kind[] = { { 9, "things_x", "", NULL } };
    sl_plugin p = good();
    p.metrics = bad, p.n_metrics = 1;
    refused(&p, "must start with things_");
    p.metrics = kind;
    refused(&p, "unknown kind");
    const sl_need self[] = { { "things", 1, 0 } }, odd[] = { { "a b", 1, 0 } };
    p = good(), p.needs = self, p.n_needs = 1;
    refused(&p, "needs itself");
    p.needs = odd;
    refused(&p, "need number 0");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(everything_is_copied), T(sizes_and_versions),      T(later_release_is_read_by_its_stride), T(names),
        T(bad_entries),          T(clashes_within_a_plugin), T(metrics_carry_the_plugins_name)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
