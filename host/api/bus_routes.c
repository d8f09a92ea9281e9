/* bus_routes.c - the bus for clients: publish an event, push to a stream, ask an entry, list and follow events; linked
 * in. */
#include "api/bus_routes.h"
#include "base/id.h"
#include "bus/bus.h"
#include "http/http.h"
#include <service_layer/json.h>

#define TOPIC(max)                                                                                                     \
    "\"type\":\"string\",\"minLength\":1,\"maxLength\":" #max ",\"pattern\":\"^[a-z0-9_-]+([.][a-z0-9_-]+)*$\""
#define PAYLOAD SL_OPTIONAL("payload", SL_ANY, "The body; any JSON value.")
#define KEY     SL_OPTIONAL("key", SL_STRING(1, 256), "What it is about.")
#define NEW_EVENT                                                                                                      \
    SL_OBJECT(SL_REQUIRED("event", TOPIC(128) SL_EXAMPLE("\"orders.shipped\""), "Its topic: words with dots."), KEY,   \
              PAYLOAD)
#define NEW_DATA                                                                                                       \
    SL_OBJECT(SL_REQUIRED("topic", TOPIC(123) SL_EXAMPLE("\"prices\""),                                                \
                          "The stream; its events have the topic "                                                     \
                          "`data.<stream>`."),                                                                         \
              KEY, PAYLOAD)
#define QUESTION                                                                                                       \
    SL_OBJECT(SL_REQUIRED("entry", TOPIC(128) SL_EXAMPLE("\"accounts.get\""), "Name of the compute entry."),           \
              SL_OPTIONAL("payload", SL_ANY, "What it is asked."))
#define PUBLISHED                                                                                                      \
    SL_OBJECT(SL_REQUIRED("status", SL_ENUM("ok"), "It is stored and will be delivered."),                             \
              SL_REQUIRED("id", SL_ID, "The event."))
#define EVENT                                                                                                          \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The event; readers drop repeats by it."),                                      \
              SL_REQUIRED("topic", "\"type\":\"string\"", "Its topic."),                                               \
              SL_REQUIRED("key", SL_TEXT_OR_NULL, "What it is about."),                                                \
              SL_REQUIRED("tenant", SL_TEXT_OR_NULL, "Whose it is."),                                                  \
              SL_REQUIRED("source", "\"type\":\"string\"", "The plugin that published it; `api` for a client."),       \
              SL_REQUIRED("payload", SL_ANY, "Its body."),                                                             \
              SL_REQUIRED("created_at", SL_TIME, "When it was published."))
#define FILTER  SL_OBJECT(SL_OPTIONAL("topic", SL_STRING(1, 128), "Only this topic, or all below it: `orders.*`."))
#define COLUMNS "id, topic, key, tenant, source, json as payload, created_at"

/* Administrators see every tenant's events unless they chose a tenant; all others see their tenant's. */
static sl_str visible_tenant(sl_call *c)
{
    const struct identity *who = http_identity((call *)c);
    bool all = who && identity_may(who, SL("admin")) && !sl_given(sl_req_header(c, "x-tenant-id"));
    return all ? sl_lit(NULL, 0) : sl_fact(c, "tenant");
}

/* The payload as JSON text; absent when there is none. */
static sl_str payload(sl_call *c)
{
    const json_t *v = json_object_get(http_body((call *)c), "payload");
    return v ? json_write(((call *)c)->arena, v) : sl_lit(NULL, 0);
}

/* ---- events and data ---- */
static sl_err publish(sl_call *c, sl_str topic)
{
    char id[ID_TEXT];
    id_new(id);
    sl_err e = bus_publish_as((call *)c, id, topic, sl_body(c, "key"), payload(c), sl_fact(c, "tenant"), SL("api"));
    return e ? e : sl_reply_json(c, 200, sl_format(c, "{\"status\":\"ok\",\"id\":\"%s\"}", id));
}

static sl_err publish_event(void *self, sl_call *c)
{
    (void)self;
    return publish(c, sl_body(c, "event"));
}

static sl_err push_data(void *self, sl_call *c)
{
    sl_str topic = sl_body(c, "topic");
    (void)self;
    return publish(c, sl_format(c, "data.%.*s", (int)topic.n, topic.p));
}

static sl_err list(sl_call *c, sl_str tenant, sl_str topic)
{
    bool family = sl_given(topic) && topic.n > 2 && memcmp(topic.p + topic.n - 2, ".*", 2) == 0;
    sl_str start = family ? sl_lit(topic.p, topic.n - 1) : topic, by_topic = SL("$1 = ''");
    if (family)
        by_topic = sl_format(c, "substr(topic, 1, %zu) = $1", start.n);
    else if (sl_given(topic))
        by_topic = SL("topic = $1");
    sl_str sql = sl_format(c, "select " COLUMNS " from sl_events where %.*s and %s {{page}}", (int)by_topic.n,
                           by_topic.p, sl_given(tenant) ? "tenant = $2" : "$2 = ''");
    return sl_reply_list(c, sql, sl_given(start) ? start : SL(""), sl_given(tenant) ? tenant : SL(""));
}

/* Does an Accept field name the type of a stream? */
static bool wants_stream(sl_call *c)
{
    sl_str accept = sl_req_header(c, "accept"), part, type;
    if (!sl_given(accept) || !sl_is(sl_fact(c, "method"), "GET")) return false;
    while (str_split(&accept, ',', &part)) {
        if (str_split(&part, ';', &type) && str_equal_nocase(str_trim(type), SL("text/event-stream"))) return true;
    }
    return false;
}

static sl_err events(void *self, sl_call *c)
{
    sl_str topic = sl_param(c, "topic"), tenant = visible_tenant(c);
    (void)self;
    if (sl_given(topic) && !bus_topic_ok(topic, true))
        return sl_problem(c, 422, "invalid_input",
                          "The query parameter `topic` must be words with dots, or end in `.*`.");
    if (wants_stream(c) && (sl_given(sl_param(c, "limit")) || sl_given(sl_param(c, "cursor"))))
        return sl_problem(c, 422, "invalid_input",
                          "A stream has no `limit` and no `cursor`; it begins at Last-Event-ID.");
    return wants_stream(c) ? bus_stream(c, tenant, topic) : list(c, tenant, topic);
}

/* ---- compute ---- */
static sl_err refused(sl_call *c, sl_str name, const struct entry *e)
{
    if (e->spec.flags & SL_SENSITIVE)
        return sl_problem(
            c, 403, "entry_not_open",
            sl_format(c, "The entry %.*s hands out secrets: only plugins may ask it.", (int)name.n, name.p).p);
    const struct identity *who = http_identity((call *)c);
    if (!e->spec.scope || (who && identity_may(who, sl_cstr(e->spec.scope)))) return SL_OK;
    return sl_problem(c, 403, "forbidden",
                      sl_format(c, "Asking %.*s needs the scope `%s`.", (int)name.n, name.p, e->spec.scope).p);
}

static sl_err compute(void *self, sl_call *c)
{
    const sl_msg *answer;
    sl_str name = sl_body(c, "entry");
    const struct entry *e = module_compute(name);
    (void)self;
    sl_err failed = e ? refused(c, name, e) : SL_OK;
    if (!failed) failed = module_ask((call *)c, name, payload(c), 0, "bus", &answer);
    if (failed == SL_ENOENT && !e)
        return sl_problem(c, 404, "entry_not_found",
                          sl_format(c, "No plugin offers the entry %.*s.", (int)name.n, name.p).p);
    return failed ? failed : sl_reply(c, answer->status, answer->type, answer->body);
}

static const sl_entry entries[] = {
    { SL_ROUTE, "POST /system/events", publish_event, .scope = "bus:publish", .in = NEW_EVENT, .out = PUBLISHED,
      .doc = "Publish an event to every plugin that subscribes to its topic." },
    { SL_ROUTE, "GET /system/events", events, .scope = "bus:read", .query = FILTER, .out = EVENT,
      .flags = SL_STREAM | SL_LIST,
      .doc =
          "List events, newest first; with `Accept: text/event-stream` follow them live from behind `Last-Event-ID`." },
    { SL_ROUTE, "POST /system/data", push_data, .scope = "bus:publish", .in = NEW_DATA, .out = PUBLISHED,
      .doc = "Push to a data stream: an event with the topic `data.<stream>`." },
    { SL_ROUTE, "POST /system/compute", compute, .scope = "bus:compute", .in = QUESTION, .out = "{}",
      .problems = "403 entry_not_open, 404 entry_not_found, 502",
      .doc = "Ask a compute entry of a plugin and answer what it answers." },
};
static const sl_need needs[] = { { "sl.core", 1, 0 }, { "sl.store", 1, 0 } };
SL_LINKED_PLUGIN(bus_plugin, "bus", .doc = "Events, data streams and questions for clients.", SL_ENTRIES(entries),
                 SL_NEEDS(needs), .grants = "store:sl_*");
