/* bus_stream.c - the live stream of events to a client: server-sent events (WHATWG HTML, 9.2) read from the outbox. */
#include "api/bus_routes.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "bus/bus.h"
#include "bus/follow.h"
#include <service_layer/plugin.h>

enum { PAGE = 64, PAGE_MAX = 32 << 20, PAGE_KEPT = 256 << 10, READ_MS = 10000, AGAIN_MS = 2000, LIFE_MS = 3600 * 1000 };
static struct bus_stream_config settings;

void bus_stream_setup(const struct bus_stream_config *cfg) { settings = *cfg; }

/* One client. What was read of the outbox stands in `out` until it is sent; nothing else is kept for it. */
struct stream {
    call *c;
    sl_str tenant, topic; /* absent = all */
    struct place at;
    uint32_t limit;
    bool more; /* the page was full */
    sl_err result;
    buf out;
    struct follower follower;
};

/* Outside of its strings JSON text may hold line ends, which would end the field; inside there are none. */
static void add_line(buf *b, sl_str json)
{
    size_t from = b->n;
    buf_add_str(b, json);
    for (size_t i = from; i < b->n; i++)
        if (b->p[i] == '\n' || b->p[i] == '\r') b->p[i] = ' ';
}

static void add_event(buf *b, const sl_rows *r, uint32_t i)
{
    sl_str id = sl_cell_text(r, i, "id"), topic = sl_cell_text(r, i, "topic"), json = sl_cell_text(r, i, "json");
    buf_add_cstr(b, "id: ");
    buf_add_str(b, id);
    buf_add_cstr(b, "\nevent: ");
    buf_add_str(b, topic);
    buf_add_cstr(b, "\ndata: {");
    json_field_str(b, "id", id);
    json_field_str(b, "topic", topic);
    json_field_str(b, "key", sl_cell_text(r, i, "key"));
    json_field_str(b, "tenant", sl_cell_text(r, i, "tenant"));
    json_field_str(b, "source", sl_cell_text(r, i, "source"));
    json_add_name(b, "payload");
    add_line(b, json.p ? json : SL("null"));
    json_field_time(b, "created_at", sl_cell_int(r, i, "created_at"));
    buf_add_cstr(b, "}\n\n");
}

static bool wanted(const struct stream *s, const sl_rows *r, uint32_t i)
{
    if (sl_given(s->tenant) && !sl_same(s->tenant, sl_cell_text(r, i, "tenant"))) return false;
    return !sl_given(s->topic) || bus_topic_matches(s->topic, sl_cell_text(r, i, "topic"));
}

/* ---- one page, read by a call of its own: a stream lives long, and its call's memory is given back at its end ---- */
static void read_init(call *c, void *arg)
{
    c->context = arg;
    c->name = "bus.stream";
}

static void read_page(call *c)
{
    struct stream *s = c->context;
    const sl_rows *rows;
    s->result = follow_read(c, &s->at, s->limit, &rows);
    if (s->result == SL_ETOOBIG && s->limit > 1) { /* large payloads: fewer at once */
        s->limit /= 2;
        s->more = true;
        s->result = SL_OK;
    } else if (!s->result) {
        s->more = rows->rows == s->limit;
        s->limit = s->limit < PAGE ? s->limit * 2 : PAGE;
        for (uint32_t i = 0; i < rows->rows; i++)
            if (wanted(s, rows, i)) add_event(&s->out, rows, i);
    }
    call_wake(s->c, SL_OK);
}

/* [S] What is new goes into s->out. */
static sl_err next_page(struct stream *s)
{
    buf_clear(&s->out);
    s->more = false;
    if (!call_start(0, READ_MS, read_init, s, read_page)) return SL_EBUSY;
    call_wait(s->c, NULL, NULL); /* its deadline is near: it always ends */
    return s->result;
}

/* ---- the stream ---- */
static sl_err comment(struct stream *s, const char *text)
{
    buf_clear(&s->out);
    buf_printf(&s->out, ": %s\n\n", text);
    return s->c->ops->write(s->c, buf_str(&s->out));
}

/* [S] Until the client leaves, the server stops or the stream is too old. */
static sl_err serve(struct stream *s)
{
    int64_t until = clock_monotonic() + (int64_t)LIFE_MS * 1000000;
    for (;;) {
        sl_err e = next_page(s), failed = e;
        if (!e && s->out.n && (e = s->c->ops->write(s->c, buf_str(&s->out)))) return e;
        if (s->out.room > PAGE_KEPT) buf_free(&s->out);
        if (!failed && s->more && !call_check(s->c)) continue;
        e = follow_wait(&s->follower, failed ? AGAIN_MS : settings.heartbeat_ms);
        if (e == SL_EUNAVAIL) return comment(s, "the server stops; connect again");
        if (e) return e;
        if (clock_monotonic() > until) return comment(s, "an hour is over; connect again");
        if (!s->follower.told) e = comment(s, failed ? "the store cannot be reached now" : "still here");
        if (e) return e;
    }
}

/* [S] Where the stream begins: behind the event that the client saw last, else now. */
static sl_err find_start(struct stream *s, sl_str last, bool *lost)
{
    bool found = true;
    *lost = false;
    if (!sl_given(last) || !last.n) return follow_head(s->c, &s->at);
    if (!id_valid(last))
        return sl_problem(&s->c->pub, 400, "invalid_last_event_id",
                          "Last-Event-ID must be the id of an event of this stream.");
    sl_err e = follow_find(s->c, last, s->tenant, &found, &s->at);
    *lost = !e && !found;
    return e;
}

sl_err bus_stream(sl_call *pub, sl_str tenant, sl_str topic)
{
    struct stream s = { .c = (call *)pub, .tenant = tenant, .topic = topic, .limit = PAGE };
    bool lost;
    sl_err e = find_start(&s, sl_req_header(pub, "last-event-id"), &lost);
    if (e) return e;
    if (!follow_join(&s.follower, s.c, settings.max_streams))
        return sl_problem(pub, 429, "too_many_streams", "As many streams as bus.max_streams allows are open already.");
    buf_init(&s.out, PAGE_MAX);
    call_deadline(s.c, 0);
    sl_header(pub, SL("Cache-Control"), SL("no-cache"));
    sl_header(pub, SL("X-Accel-Buffering"), SL("no")); /* nginx would hold events back */
    e = sl_reply(pub, 200, SL("text/event-stream"),
                 lost ? SL(": the event of Last-Event-ID is not kept any more; here come all that are\nretry: 2000\n\n")
                      : SL(": events\nretry: 2000\n\n"));
    if (!e) e = serve(&s);
    follow_leave(&s.follower);
    buf_free(&s.out);
    return e == SL_ECANCEL ? SL_OK : e; /* the client left, as clients of streams do */
}
