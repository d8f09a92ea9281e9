/* stream.c - follows an event stream (server-sent events, WHATWG HTML 9.2) and takes it up again where it broke off. */
#include "http.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_LINE = 8 << 20, MAX_ID = 200, QUIET_SECONDS = 90, MAX_FAILURES = 20 };

struct follow {
    struct exchange x;
    event_handler *each;
    void *arg;
    struct text line, data, refusal;
    char id[MAX_ID + 1], name[MAX_ID + 1];
    long retry_ms;
    bool stop, too_long, after_cr;
    size_t events;
};

static void keep_short(char *to, const char *from, size_t n)
{
    if (n > MAX_ID || memchr(from, 0, n)) return;
    memcpy(to, from, n);
    to[n] = 0;
}

/* A field of the stream, or the empty line that ends an event. */
static void take_line(struct follow *f)
{
    const char *p = text_cstr(&f->line);
    size_t n = f->line.n, name = strcspn(p, ":");
    if (n == 0) {
        if (f->data.n && !f->stop) {
            f->data.p[f->data.n - 1] = 0; /* its last line feed */
            f->events++;
            f->stop = !f->each(f->arg, f->id, f->name, f->data.p);
        }
        f->data.n = 0;
        *f->name = 0;
        return;
    }
    const char *value = name < n ? p + name + 1 : p + n;
    if (*value == ' ') value++;
    size_t size = (size_t)(p + n - value);
    if (name == 4 && memcmp(p, "data", 4) == 0 && f->data.n + size < MAX_LINE) {
        text_add(&f->data, value, size);
        text_add(&f->data, "\n", 1);
    } else if (name == 2 && memcmp(p, "id", 2) == 0) {
        keep_short(f->id, value, size);
    } else if (name == 5 && memcmp(p, "event", 5) == 0) {
        keep_short(f->name, value, size);
    } else if (name == 5 && memcmp(p, "retry", 5) == 0 && *value >= '0' && *value <= '9') {
        f->retry_ms = strtol(value, NULL, 10);
    }
}

static size_t take_piece(char *p, size_t size, size_t n, void *arg)
{
    struct follow *f = arg;
    (void)size;
    if (f->x.status != 200) {
        if (f->refusal.n + n <= MAX_LINE) text_add(&f->refusal, p, n);
        return n;
    }
    for (size_t i = 0; i < n && !f->stop; i++) {
        bool end = p[i] == '\r' || p[i] == '\n';
        bool pair = p[i] == '\n' && f->after_cr;
        f->after_cr = p[i] == '\r';
        if (pair) continue;
        if (!end) text_add(&f->line, p + i, 1);
        if (end) {
            take_line(f);
            f->line.n = 0;
            if (f->line.p) f->line.p[0] = 0;
        }
        if (f->line.n > MAX_LINE) f->too_long = f->stop = true;
    }
    return f->stop ? 0 : n;
}

/* One connection, until it ends. */
static CURLcode connect_once(struct follow *f, const char *path)
{
    struct call call = { .method = "GET", .path = path, .accept = "text/event-stream" };
    call.headers = json_object();
    if (*f->id) json_object_set_new(call.headers, "Last-Event-ID", json_string(f->id));
    CURL *curl = http_prepare(&call, &f->x);
    json_decref(call.headers);
    f->line.n = f->data.n = f->refusal.n = 0;
    f->after_cr = false;
    *f->name = 0;
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
    f->each = each;
    f->arg = arg;
    f->retry_ms = 2000;
    text_add(&f->line, "", 0);
    text_add(&f->data, "", 0);
    text_add(&f->refusal, "", 0);
    if (last_id) keep_short(f->id, last_id, strlen(last_id));
    for (int failures = 0;; failures++) {
        size_t mark = keep_mark(), before = f->events;
        CURLcode code = connect_once(f, path);
        if (f->too_long) fail(BROKEN, "The stream holds a line of more than %d MiB.", MAX_LINE >> 20);
        if (f->stop) return DONE;
        if (code == CURLE_OK && refused(f, &result)) return result;
        if (code == CURLE_OK && f->x.status == 200 && (!f->x.type || !starts(f->x.type, "text/event-stream")))
            fail(BROKEN, "%s%s is no event stream.", options.addr, path);
        if (f->events > before || (f->x.status == 200 && failures)) failures = 0;
        if (failures >= MAX_FAILURES || (f->x.status != 200 && code != CURLE_OK && failures >= 3 && !f->events))
            fail(UNREACHABLE, "%s: %s.", options.addr,
                 visible(*f->x.error ? f->x.error : "the stream ends again and again"));
        long pause = f->x.retry_ms > f->retry_ms ? f->x.retry_ms : f->retry_ms;
        if (pause > 30000) pause = 30000;
        if (code != CURLE_OK || options.verbose) warn("The stream ended; connecting again in %ld ms.", pause);
        keep_release(mark);
        f->x.type = f->x.etag = NULL;
        sleep_ms(pause);
    }
}
