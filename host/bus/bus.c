/* bus.c - events: a row of the outbox and a job for each subscriber, all in the publisher's transaction. */
#include "bus/bus.h"
#include "bus/follow.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "observe/metrics.h"
#include "observe/span.h"
#include <stdlib.h>

enum {
    TOPIC_MAX = 128,
    REFRESH_MS = 3000,
    SWEEP_EVERY = 20,
    TOUCH_EVERY = 1200,
    SUBSCRIPTIONS_MAX = 4096,
    BATCH = 1000
};
#define DAY_US       (INT64_C(86400) * 1000000)
#define RETENTION_US (7 * DAY_US)  /* of events, by default */
#define FORGET_US    (30 * DAY_US) /* of subscriptions that no replica declares any more */

struct subscriber {
    sl_str topic, module, kind;
    bool prefix;
}; /* prefix: topic without its ".*", dot kept */
struct subscriber_list {
    arena *memory;
    struct subscriber *item;
    size_t n;
};

static struct {
    struct subscription *own; /* what this process declares; strings behind it */
    arena *own_memory;
    size_t n_own;
    struct subscriber_list all; /* merged with the other replicas' */
    ticker *refresher;
    uint64_t rounds;
    int64_t retention_us;
    metric *published;
} bus;

/* ---- topics ---- */
bool bus_topic_ok(sl_str t, bool pattern)
{
    if (t.n == 0 || t.n > TOPIC_MAX) return false;
    if (pattern && str_ends(t, ".*")) t.n -= 2;
    for (size_t i = 0; i < t.n; i++) {
        char ch = t.p[i];
        bool word = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '_' ||
                    ch == '-' || ch == ':' || ch == '/';
        if (!word && (ch != '.' || i == 0 || i + 1 == t.n || t.p[i - 1] == '.')) return false;
    }
    return t.n > 0;
}

static bool matches(const struct subscriber *s, sl_str topic)
{
    if (!s->prefix) return sl_same(s->topic, topic);
    return topic.n > s->topic.n && memcmp(topic.p, s->topic.p, s->topic.n) == 0;
}

bool bus_topic_matches(sl_str pattern, sl_str topic)
{
    if (!str_ends(pattern, ".*")) return sl_same(pattern, topic);
    pattern.n--;
    return topic.n > pattern.n && memcmp(topic.p, pattern.p, pattern.n) == 0;
}

/* ---- the merged set ---- */
static bool known(const struct subscriber_list *l, sl_str kind)
{
    for (size_t i = 0; i < l->n; i++)
        if (sl_same(l->item[i].kind, kind)) return true;
    return false;
}

static void add(struct subscriber_list *l, sl_str topic, sl_str module)
{
    if (l->n >= SUBSCRIPTIONS_MAX || !bus_topic_ok(topic, true)) return;
    sl_str kind = arena_printf(l->memory, "event:%.*s/%.*s", STR_ARG(module), STR_ARG(topic));
    if (known(l, kind)) return;
    struct subscriber *s = &l->item[l->n++];
    s->prefix = str_ends(topic, ".*");
    s->topic = arena_copy(l->memory, s->prefix ? str_sub(topic, 0, topic.n - 1) : topic);
    s->module = arena_copy(l->memory, module);
    s->kind = kind;
}

/* `rows` of sl_subscriptions; NULL leaves what other replicas declared as it was. */
static void merge(const sl_rows *rows)
{
    struct subscriber_list old = bus.all, l = { arena_new(0), NULL, 0 };
    size_t room = bus.n_own + (rows ? rows->rows : old.n);
    l.item = arena_alloc(l.memory, (room + 1) * sizeof *l.item);
    for (size_t i = 0; i < bus.n_own; i++)
        add(&l, sl_cstr(bus.own[i].topic), sl_cstr(bus.own[i].module));
    for (uint32_t i = 0; rows && i < rows->rows; i++)
        add(&l, sl_cell_text(rows, i, "topic"), sl_cell_text(rows, i, "module"));
    for (size_t i = 0; !rows && i < old.n; i++) {
        const struct subscriber *s = &old.item[i];
        char topic[TOPIC_MAX + 1];
        int n = snprintf(topic, sizeof topic, "%.*s%s", STR_ARG(s->topic), s->prefix ? "*" : "");
        add(&l, sl_lit(topic, (size_t)n), s->module);
    }
    bus.all = l;
    arena_free(old.memory);
}

/* ---- the table that replicas share ---- */
/* Say that this process's subscriptions are alive. */
static sl_err touch(call *c)
{
    sl_err e = SL_OK;
    for (size_t i = 0; i < bus.n_own && !e; i++)
        e = store_defer(c,
                        SL("insert into sl_subscriptions (topic, module, seen_at) values ($1, $2, {{now}}) "
                           "on conflict (topic, module) do update set seen_at = excluded.seen_at"),
                        SL_ARRAY((const char *)bus.own[i].topic, (const char *)bus.own[i].module), 2, 0);
    if (!e)
        e = store_commit(c);
    else
        store_rollback(c);
    return e;
}

static sl_err refresh(call *c)
{
    const sl_rows *rows;
    sl_err e = store_query(c, &rows,
                           SL("select topic, module from sl_subscriptions where seen_at > {{now}} - $1 limit $2"),
                           SL_ARRAY(FORGET_US, (int64_t)SUBSCRIPTIONS_MAX), 2);
    if (!e) merge(rows);
    return e;
}

static sl_err write_once(call *c, sl_str sql, const sl_value *args, size_t n, int64_t *changed)
{
    const sl_rows *rows;
    sl_err e = store_query(c, &rows, sql, args, n);
    if (!e) *changed = rows->changed;
    if (!e) return store_commit(c);
    store_rollback(c);
    return e;
}

static sl_err sweep(call *c)
{
    int64_t n = BATCH;
    sl_err e = write_once(c, SL("delete from sl_subscriptions where seen_at < {{now}} - $1"), SL_ARRAY(FORGET_US), 1,
                          &n);
    /* Events lie in the order of seq: looking at the oldest is enough. */
    for (int i = 0, more = 1; i < 20 && more && !e; i++) {
        e = write_once(c,
                       SL("delete from sl_events where seq in (select seq from sl_events order by seq limit $2) "
                          "and created_at < {{now}} - $1"),
                       SL_ARRAY(bus.retention_us ? bus.retention_us : RETENTION_US, (int64_t)BATCH), 2, &n);
        more = n >= BATCH;
    }
    return e;
}

static void refresh_tick(call *c, void *unused)
{
    (void)unused;
    call_deadline(c, 10000);
    uint64_t round = ++bus.rounds;
    sl_err e = round % TOUCH_EVERY == 0 ? touch(c) : SL_OK;
    if (!e) e = refresh(c);
    if (!e && round % SWEEP_EVERY == 0) e = sweep(c);
    if (e) log_warn("subscriptions of other replicas cannot be read", LOG_C("error", store_error(c)));
}

void bus_keep(int64_t retention_ms) { bus.retention_us = retention_ms * 1000; }

sl_err bus_start(call *c)
{
    if (bus.refresher) return SL_ESTATE;
    bus.published = metric_get(SL_COUNTER, "bus_events_published_total", "topic",
                               "Events handed to the outbox by topic.");
    sl_err e = refresh(c);
    if (!e) e = follow_start(c);
    if (e) return e;
    bus.refresher = ticker_start("bus.refresh", REFRESH_MS, refresh_tick, NULL);
    return SL_OK;
}

void bus_stop(void)
{
    follow_stop();
    ticker_stop(bus.refresher);
    bus.refresher = NULL;
    arena_free(bus.own_memory);
    arena_free(bus.all.memory);
    bus.own_memory = NULL;
    bus.own = NULL;
    bus.n_own = 0;
    bus.all = (struct subscriber_list){ 0 };
}

sl_err bus_set_subscriptions(call *c, const struct subscription *s, size_t n)
{
    arena *old = bus.own_memory, *a = arena_new(0);
    if (n > SUBSCRIPTIONS_MAX) n = SUBSCRIPTIONS_MAX;
    bus.own = arena_alloc(a, (n + 1) * sizeof *bus.own);
    bus.n_own = 0;
    for (size_t i = 0; i < n; i++) {
        if (!bus_topic_ok(sl_cstr(s[i].topic), true)) {
            log_error("a topic is malformed", LOG_C("topic", s[i].topic), LOG_C("module", s[i].module));
            continue;
        }
        bus.own[bus.n_own++] = (struct subscription){ arena_copy(a, sl_cstr(s[i].topic)).p,
                                                      arena_copy(a, sl_cstr(s[i].module)).p };
    }
    bus.own_memory = a;
    arena_free(old);
    merge(NULL); /* events published from now on reach them, whatever the store says */
    sl_err e = touch(c);
    return e ? e : refresh(c);
}

/* ---- publish ---- */
static void counted(void *arg)
{
    follow_kick();
    if (arg) series_add(arg, 1);
}

static sl_str or_empty(sl_str s) { return s.p ? s : SL(""); }

sl_err bus_publish(call *c, sl_str topic, sl_str key, sl_str json, sl_str tenant, sl_str source)
{
    char id[ID_TEXT];
    id_new(id);
    return bus_publish_as(c, id, topic, key, json, tenant, source);
}

static sl_err check(sl_str topic, sl_str key, sl_str json)
{
    char why[128];
    if (!bus_topic_ok(topic, false)) return SL_EINVAL;
    if (key.n > JOB_KEY_MAX || (key.n && (memchr(key.p, 0, key.n) || !str_is_utf8(key)))) return SL_EINVAL;
    if (json.n > JOB_JSON_MAX) return SL_ETOOBIG;
    json_t *v = json.p ? json_read(json, why, sizeof why) : NULL;
    if (json.p && !v) return SL_EINVAL;
    json_decref(v);
    return SL_OK;
}

static sl_err write_event(call *c, const char *id, sl_str topic, sl_str key, sl_str json, sl_str tenant, sl_str source)
{
    sl_err e = store_defer_row(
        c,
        SL("insert into sl_events (id, topic, key, tenant, source, json, created_at, xact) "
           "values ($1, $2, nullif($3, ''), nullif($4, ''), $5, nullif($6, ''), {{now}}, {{transaction}})"),
        SL_ARRAY(id, topic, or_empty(key), or_empty(tenant), or_empty(source), or_empty(json)), 6, 0);
    for (size_t i = 0; i < bus.all.n && !e; i++)
        if (matches(&bus.all.item[i], topic))
            e = jobs_enqueue_event(c, bus.all.item[i].kind, sl_cstr(id), topic, json, tenant);
    if (!e) store_after_commit(c, counted, bus.published ? metric_series(bus.published, &topic, 1) : NULL);
    return e;
}

sl_err bus_publish_as(call *c, const char *id, sl_str topic, sl_str key, sl_str json, sl_str tenant, sl_str source)
{
    struct span span;
    sl_err e = check(topic, key, json);
    if (e) return e;
    span_open(&span, c);
    e = write_event(c, id, topic, key, json, tenant, source);
    if (span_recorded(&span)) {
        const struct span_attribute attributes[] = { SPAN_S("messaging.destination.name", topic),
                                                     SPAN_C("messaging.message.id", id) };
        span_close(&span, SPAN_PRODUCER, arena_printf(c->arena, "publish %.*s", STR_ARG(topic)),
                   e ? SL("") : sl_lit(NULL, 0), attributes, 2);
    }
    return e;
}
