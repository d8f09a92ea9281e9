/* stream.c - follows an event stream over connections that break: each is taken up where the last one ended. */
#include "http.h"
#include <stdio.h>
#include <string.h>

enum { MAX_REFUSAL = 1 << 20, QUIET_SECONDS = 90, MAX_FAILURES = 20 };

struct follow {
    struct exchange x;
    struct sse sse;
    struct text refusal;
};

static size_t take_piece(char *p, size_t size, size_t n, void *arg)
{
    struct follow *f = arg;
    (void)size;
    if (f->x.status == 200) return sse_feed(&f->sse, p, n) ? n : 0;
    if (f->refusal.n + n <= MAX_REFUSAL) text_add(&f->refusal, p, n);
    return n;
}

/* One connection, until it ends. */
static CURLcode connect_once(struct follow *f, const char *path)
{
    struct call call = { .method = "GET", .path = path, .accept = "text/event-stream" };
    call.headers = json_object();
    if (*f->sse.id) json_object_set_new(call.headers, "Last-Event-ID", json_string(f->sse.id));
    CURL *curl = http_prepare(&call, &f->x);
    json_decref(call.headers);
    f->refusal.n = 0;
    sse_reset(&f->sse);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_piece);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, options.timeout_ms);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)QUIET_SECONDS); /* the server sends comments meanwhile */
    CURLcode code = curl_easy_perform(curl);
    curl_slist_free_all(f->x.list);
    return code;
}

/* Refused for good? A server that is full or restarts says 429 or 503. */
static bool refused(struct follow *f, int *code)
{
    char why[256];
    if (f->x.status < 200 || f->x.status == 200 || f->x.status == 429 || f->x.status == 503) return false;
    struct answer a = { .status = f->x.status, .type = f->x.type, .retry_ms = f->x.retry_ms };
    if (is_json(f->x.type) && f->refusal.n) a.json = json_read(f->refusal.p, f->refusal.n, why, sizeof why);
    *code = f->x.status == 204 ? DONE : complain(&a); /* 204: nothing more will come */
    return true;
}

int http_stream(const char *path, const char *last_id, event_handler *each, void *arg)
{
    struct follow *f = keep(sizeof *f);
    int result = DONE;
    f->sse.each = each;
    f->sse.arg = arg;
    f->sse.retry_ms = 2000;
    text_add(&f->refusal, "", 0);
    sse_reset(&f->sse);
    if (last_id) snprintf(f->sse.id, sizeof f->sse.id, "%s", last_id);
    for (int failures = 0;; failures++) {
        size_t mark = keep_mark(), before = f->sse.events;
        CURLcode code = connect_once(f, path);
        if (f->sse.too_long) fail(BROKEN, "The stream holds a line of more than %d MiB.", SSE_LINE >> 20);
        if (f->sse.stop) return DONE;
        if (code == CURLE_OK && refused(f, &result)) return result;
        if (code == CURLE_OK && f->x.status == 200 && (!f->x.type || !starts(f->x.type, "text/event-stream")))
            fail(BROKEN, "%s%s is no event stream.", options.addr, path);
        if (f->sse.events > before || (f->x.status == 200 && failures)) failures = 0;
        if (failures >= MAX_FAILURES || (f->x.status != 200 && code != CURLE_OK && failures >= 3 && !f->sse.events))
            fail(UNREACHABLE, "%s: %s.", options.addr,
                 visible(*f->x.error ? f->x.error : "the stream ends again and again"));
        long pause = f->x.retry_ms > f->sse.retry_ms ? f->x.retry_ms : f->sse.retry_ms;
        if (pause > 30000) pause = 30000;
        if (code != CURLE_OK || options.verbose) warn("The stream ended; connecting again in %ld ms.", pause);
        keep_release(mark);
        f->x.type = f->x.etag = NULL;
        sleep_ms(pause);
    }
}
