/* sse.c - reads an event stream: server-sent events, WHATWG HTML 9.2. */
#include "http.h"
#include <stdlib.h>
#include <string.h>

static void keep_short(char to[SSE_ID + 1], const char *from, size_t n)
{
    if (n > SSE_ID || memchr(from, 0, n)) return;
    memcpy(to, from, n);
    to[n] = 0;
}

static void end_event(struct sse *s)
{
    if (s->data.n && !s->stop) {
        s->data.p[s->data.n - 1] = 0; /* its last line feed */
        s->events++;
        s->stop = !s->each(s->arg, s->id, s->name, s->data.p);
    }
    s->data.n = 0;
    *s->name = 0;
}

/* A field of the stream, or the empty line that ends an event. */
static void take_line(struct sse *s)
{
    const char *p = s->line.p;
    size_t n = s->line.n, name = 0;
    if (n == 0) {
        end_event(s);
        return;
    }
    while (name < n && p[name] != ':')
        name++;
    size_t from = name < n ? name + 1 : n;
    if (from < n && p[from] == ' ') from++;
    const char *value = p + from;
    size_t size = n - from;
    if (name == 4 && memcmp(p, "data", 4) == 0) {
        if (s->data.n + size > SSE_LINE) s->too_long = s->stop = true;
        if (s->stop) return;
        text_add(&s->data, value, size);
        text_add(&s->data, "\n", 1);
    } else if (name == 2 && memcmp(p, "id", 2) == 0) {
        keep_short(s->id, value, size);
    } else if (name == 5 && memcmp(p, "event", 5) == 0) {
        keep_short(s->name, value, size);
    } else if (name == 5 && memcmp(p, "retry", 5) == 0 && size && size < 8 && *value >= '0' && *value <= '9') {
        s->retry_ms = strtol(value, NULL, 10);
    }
}

void sse_reset(struct sse *s)
{
    text_add(&s->line, "", 0);
    text_add(&s->data, "", 0);
    s->line.n = s->data.n = 0;
    s->after_cr = false;
    *s->name = 0;
}

bool sse_feed(struct sse *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n && !s->stop; i++) {
        bool end = p[i] == '\r' || p[i] == '\n', pair = p[i] == '\n' && s->after_cr;
        s->after_cr = p[i] == '\r';
        if (pair) continue;
        if (!end) {
            text_add(&s->line, p + i, 1);
            if (s->line.n > SSE_LINE) s->too_long = s->stop = true;
            continue;
        }
        take_line(s);
        s->line.n = 0;
        s->line.p[0] = 0;
    }
    return !s->stop;
}
