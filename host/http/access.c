/* access.c - what is seen of each request: its log line and its metrics, labelled by route templates, never by ids. */
#include "http/request.h"
#include "observe/metrics.h"

enum { STATUSES = 6 };
struct route_series { /* found once per route and status, then only added to */
    series *duration, *requests[STATUSES];
    int status[STATUSES];
};
static metric *requests_total, *duration_seconds, *in_flight_gauge;
static size_t in_flight;

static void on_scrape(void) { metric_set(in_flight_gauge, (double)in_flight, NULL, 0); }

void access_setup(void)
{
    if (requests_total) return;
    requests_total = metric_get(SL_COUNTER, "http_requests_total", "method,route,status", "Requests answered.");
    duration_seconds = metric_get(SL_HISTOGRAM, "http_request_duration_seconds", "method,route",
                                  "Time from a request's first byte to its answer.");
    in_flight_gauge = metric_get(SL_GAUGE, "http_requests_in_flight", NULL, "Requests whose handler is at work.");
    metrics_on_scrape(on_scrape);
}

void access_begin(void) { in_flight++; }
void access_end(void) { in_flight--; }
size_t access_in_flight(void) { return in_flight; }

static sl_str method_label(sl_str method)
{
    static const char *const known[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (sl_is(method, known[i])) return sl_cstr(known[i]);
    return SL("other"); /* a client must not be able to make labels */
}

static void count_slowly(sl_str method, sl_str route, int status, double seconds)
{
    char text[12];
    sl_str labels[3] = { method_label(method), route, sl_lit(text, (size_t)snprintf(text, sizeof text, "%d", status)) };
    metric_add(requests_total, 1, labels, 3);
    if (seconds >= 0) metric_add(duration_seconds, seconds, labels, 2);
}

static series *status_series(struct route_series *s, const struct route *route, int status)
{
    char text[12];
    size_t i = 0;
    while (i < STATUSES && s->status[i] && s->status[i] != status)
        i++;
    if (i == STATUSES) i = STATUSES - 1; /* many statuses: the last place is shared and looked up again */
    if (s->status[i] != status) {
        sl_str labels[3] = { route->method, route->path,
                             sl_lit(text, (size_t)snprintf(text, sizeof text, "%d", status)) };
        s->requests[i] = metric_series(requests_total, labels, 3);
        s->status[i] = status;
    }
    return s->requests[i];
}

static void count(struct request *rq, int status, double seconds, int64_t end)
{
    struct route *route = rq->route;
    if (!route || !sl_same(route->method, rq->x->method)) {
        count_slowly(rq->x->method, route ? route->path : SL("unmatched"), status, seconds);
        return;
    }
    if (!route->series) {
        sl_str labels[2] = { route->method, route->path };
        route->series = arena_alloc(router_arena(rq->router), sizeof *route->series);
        route->series->duration = metric_series(duration_seconds, labels, 2);
    }
    series_add(status_series(route->series, route, status), 1);
    if (rq->trace.recorded)
        series_observe(route->series->duration, seconds, rq->trace.id, span_wall(end) / 1000);
    else
        series_add(route->series->duration, seconds);
}

/* Numbers for the log line without printf, which would be the dearest part of a small request. With `fraction` the last
 * three digits stand behind a point: microseconds as milliseconds. */
static sl_str number(uint64_t v, bool fraction, char room[24])
{
    char *p = room + 24;
    for (size_t n = 0; v || n < (fraction ? 4 : 1); n++, v /= 10) {
        if (fraction && n == 3) *--p = '.';
        *--p = (char)('0' + v % 10);
    }
    return sl_lit(p, (size_t)(room + 24 - p));
}

void access_done(struct request *rq, int status, uint64_t bytes)
{
    const exchange *x = rq->x;
    int64_t end = clock_monotonic();
    uint64_t us = ((uint64_t)end - x->started) / 1000;
    char room[3][24];
    count(rq, status, (double)us / 1e6, end);
    if (rq->trace.recorded) trace_request(rq, status, end);
    audit_done(rq, status);
    log_info("request", LOG_S("method", x->method), LOG_S("route", rq->route ? rq->route->path : SL("unmatched")),
             LOG_S("path", x->path), LOG_S("status", number((uint64_t)status, false, room[0])),
             LOG_S("ms", number(us, true, room[1])), LOG_S("bytes", number(bytes, false, room[2])),
             LOG_S("tenant", rq->identity.tenant), LOG_S("actor", rq->identity.actor),
             LOG_S("request_id", rq->request_id), LOG_S("trace_id", rq->trace_id), LOG_S("remote", x->remote));
}

void access_refused(int status) { count_slowly(SL("other"), SL("unmatched"), status, -1); }
