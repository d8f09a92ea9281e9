/* test_bus.c - events: the outbox row and one job for each subscriber, in the publisher's transaction or not at all. */
#include "jobs_unit.h"
#include "../../host/bus/bus.c"

static char got[8][300];
static int n_got;
static sl_err takes(call *c)
{
    sl_str ask[] = { seen(c, SL_IN_FACT, "topic"), seen(c, SL_IN_FACT, "event_id"), seen(c, SL_IN_FACT, "tenant"),
                     seen(c, SL_IN_BODY, "id") };
    CHECK(sl_same(ask[1], seen(c, SL_IN_FACT, "job_key")));
    if (n_got < 8)
        snprintf(got[n_got], sizeof got[0], "%s %.*s %.*s %.*s", c->name, STR_ARG(ask[0]), STR_ARG(ask[2]),
                 STR_ARG(ask[3]));
    n_got++;
    return SL_OK;
}
static bool was_got(const char *what)
{
    int found = 0;
    for (int i = 0; i < n_got && i < 8; i++)
        found += strcmp(got[i], what) == 0;
    if (found != 1)
        for (int i = 0; i < n_got && i < 8; i++)
            print_error("got: %s\n", got[i]);
    return found == 1;
}

static void subscribe(call *c)
{
    static const struct subscription subs[] = { { "account.deleted", "oracle" },
                                                { "account.*", "audit" },
                                                { "account.deleted", "audit" },
                                                { "order.*", "oracle" } };
    struct job_kind kinds[4] = { 0 };
    static const char *const names[] = { "event:oracle/account.deleted", "event:audit/account.*",
                                         "event:audit/account.deleted", "event:oracle/order.*" };
    for (int i = 0; i < 4; i++)
        kinds[i] = (struct job_kind){ .kind = names[i], .module = subs[i].module, .entry = (void *)takes };
    CHECK(bus_start(c) == SL_OK);
    CHECK(bus_set_subscriptions(c, subs, 4) == SL_OK);
    jobs_set_kinds(kinds, 4);
    n_got = 0;
}
static sl_err publish(call *c, const char *topic, const char *json)
{
    return bus_publish(c, sl_cstr(topic), SL("a-1"), sl_cstr(json), SL("tenant-1"), SL("accounts"));
}

/* Of all topics, as the metric tells it. */
static int64_t published(void)
{
    buf b;
    sl_str rest, line;
    double v, sum = 0;
    buf_init(&b, 1 << 20);
    metrics_write(&b, false);
    for (rest = buf_str(&b); str_split(&rest, '\n', &line);)
        if (str_starts(line, "bus_events_published_total{")) {
            const char *value = (const char *)memrchr(line.p, ' ', line.n) + 1;
            CHECK(str_to_real(sl_lit(value, (size_t)(line.p + line.n - value)), &v));
            sum += v;
        }
    buf_free(&b);
    return (int64_t)sum;
}

static void delivery_body(call *c)
{
    start_engine(c);
    subscribe(c);
    int64_t before = published();
    CHECK(publish(c, "account.deleted", "{\"id\":\"x\"}") == SL_OK);
    CHECK(publish(c, "account.created", "{\"id\":\"y\"}") == SL_OK);
    CHECK(publish(c, "accounts.other", "{\"id\":\"z\"}") == SL_OK);
    CHECK(publish(c, "account", NULL) == SL_OK);
    CHECK_INT(N(c, "select count(*) from sl_events"), 0); /* not before the commit */
    CHECK(store_commit(c) == SL_OK);
    CHECK(wait_for(c, 2000, 4, "select count(*) from sl_job_runs where outcome = 'succeeded'"));
    call_sleep(c, 50);
    CHECK_INT(n_got, 4);
    CHECK(was_got("event:oracle/account.deleted account.deleted tenant-1 x"));
    CHECK(was_got("event:audit/account.deleted account.deleted tenant-1 x"));
    CHECK(was_got("event:audit/account.* account.deleted tenant-1 x"));
    CHECK(was_got("event:audit/account.* account.created tenant-1 y"));
    CHECK_INT(N(c, "select count(*) from sl_events where source = 'accounts' and key = 'a-1' and tenant = 'tenant-1'"),
              4);
    CHECK_INT(N(c, "select count(*) from sl_events where topic = 'account' and json is null"), 1);
    CHECK_INT(N(c, "select count(distinct key) from sl_job_runs"), 2); /* the event's id */
    CHECK_INT(N(c, "select count(*) from sl_job_runs where key not in (select id from sl_events)"), 0);
    CHECK_INT(published() - before, 4);
    bus_stop();
}
static void each_subscriber_gets_an_event_once(void **state)
{
    (void)state;
    on_all(delivery_body);
}

static void rollback_body(call *c)
{
    start_engine(c);
    subscribe(c);
    CHECK(publish(c, "account.deleted", "{}") == SL_OK);
    store_rollback(c);
    CHECK_INT(N(c, "select count(*) from sl_events"), 0);
    CHECK_INT(N(c, "select count(*) from sl_jobs"), 0);
    /* a failing commit publishes nothing either */
    int64_t before = published();
    CHECK(publish(c, "account.deleted", "{}") == SL_OK);
    CHECK(store_defer(c, SL("delete from effects where what = 'not there'"), NULL, 0, 1) == SL_OK);
    CHECK(store_commit(c) == SL_ECONFLICT);
    CHECK_INT(N(c, "select count(*) from sl_events"), 0);
    CHECK_INT(N(c, "select count(*) from sl_jobs"), 0);
    call_sleep(c, 50);
    CHECK_INT(n_got, 0);
    CHECK_INT(published(), before);
    bus_stop();
}
static void a_rollback_publishes_nothing(void **state)
{
    (void)state;
    on_all(rollback_body);
}

/* What another replica's plugins subscribe to is enqueued here although only they can run it. */
static void other_body(call *c)
{
    DO(c, "insert into sl_subscriptions (topic, module, seen_at) values ('account.*', 'elsewhere', {{now}})");
    DO(c, "insert into sl_subscriptions (topic, module, seen_at) values ('account.*', 'forgotten', {{now}} - $1)",
       31 * DAY_US);
    start_engine(c);
    subscribe(c);
    CHECK(publish(c, "account.created", "{\"id\":\"y\"}") == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    CHECK(wait_for(c, 2000, 1, "select count(*) from sl_job_runs"));
    CHECK_INT(
        N(c, "select count(*) from sl_jobs where kind = 'event:elsewhere/account.*' and topic = 'account.created'"), 1);
    CHECK_INT(N(c, "select count(*) from sl_jobs"), 1);
    CHECK_INT(N(c, "select count(*) from sl_subscriptions where module in ('oracle', 'audit')"), 4);
    DO(c, "insert into sl_subscriptions (topic, module, seen_at) values ('account.*', 'new', {{now}})");
    refresh_tick(c, NULL);
    CHECK(publish(c, "account.created", NULL) == SL_OK);
    CHECK(store_commit(c) == SL_OK);
    CHECK_INT(N(c, "select count(*) from sl_jobs where kind = 'event:new/account.*'"), 1);
    bus_stop();
}
static void subscribers_of_other_replicas_get_events_too(void **state)
{
    (void)state;
    on_all(other_body);
}

static void refused_body(call *c)
{
    static const char *const wrong[] = { "", ".", "a.", ".a", "a..b", "a b", "a.*", "*", "caf\xc3\xa9", "a;b" };
    char *big = malloc(JOB_JSON_MAX + 2);
    memset(big, ' ', JOB_JSON_MAX + 1);
    big[0] = '1', big[JOB_JSON_MAX + 1] = 0;
    CHECK(bus_start(c) == SL_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (publish(c, wrong[i], "{}") != SL_EINVAL) CHECK_INT(i, -1);
    CHECK(publish(c, "a", "{") == SL_EINVAL);
    CHECK(publish(c, "a", big) == SL_ETOOBIG);
    CHECK(bus_publish(c, SL("a"), SL("\xff"), SL("{}"), SL(""), SL("")) == SL_EINVAL);
    CHECK(!store_pending(c));
    free(big);
    bus_stop();
}
static void malformed_events_are_refused(void **state)
{
    (void)state;
    on_all(refused_body);
}

static void sweep_body(call *c)
{
    CHECK(bus_start(c) == SL_OK);
    for (int i = 0; i < 3; i++)
        DO(c, "insert into sl_events (id, topic, source, created_at) values ($1, 't', 's', {{now}} - $2)",
           i == 0   ? "a"
           : i == 1 ? "b"
                    : "c",
           i < 2 ? 8 * DAY_US : DAY_US);
    DO(c, "insert into sl_subscriptions (topic, module, seen_at) values ('t', 'm', {{now}} - $1)", 31 * DAY_US);
    CHECK(sweep(c) == SL_OK);
    CHECK_INT(N(c, "select count(*) from sl_events"), 1);
    CHECK_INT(N(c, "select count(*) from sl_subscriptions"), 0);
    bus_stop();
}
static void old_events_are_swept(void **state)
{
    (void)state;
    on_all(sweep_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_subscriber_gets_an_event_once),
        cmocka_unit_test(a_rollback_publishes_nothing),
        cmocka_unit_test(subscribers_of_other_replicas_get_events_too),
        cmocka_unit_test(malformed_events_are_refused),
        cmocka_unit_test(old_events_are_swept),
    };
    return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
