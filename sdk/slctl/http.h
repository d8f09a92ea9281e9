/* http.h - what a request and an event stream of slctl share: one exchange by libcurl. */
#ifndef SLCTL_HTTP_H
#define SLCTL_HTTP_H
#include "slctl.h"
#include <curl/curl.h>

struct exchange {
    struct curl_slist *list; /* request headers; the caller frees them */
    struct text body;
    const char *type, *etag;
    long retry_ms;
    int headers, status;
    bool too_large, stream, streamed;
    char error[CURL_ERROR_SIZE];
};
/* The one handle, set up for the call; answers go to `x` until other functions are set. */
CURL *http_prepare(const struct call *c, struct exchange *x);

/* ---- sse.c ---- */
enum { SSE_ID = 200, SSE_LINE = 8 << 20 }; /* bytes of an id or name; of a line and of an event's data */
struct sse {                               /* zeroed, with each, arg and retry_ms set by the caller */
    event_handler *each;
    void *arg;
    struct text line, data;
    char id[SSE_ID + 1], name[SSE_ID + 1]; /* of the last event seen; of the event under way */
    long retry_ms;
    bool stop, too_long, after_cr;
    size_t events;
};
void sse_reset(struct sse *s); /* for a new connection: what was under way is dropped, the id stays */
bool sse_feed(struct sse *s, const char *p, size_t n); /* false: it shall end, by `each` or too long a line */
#endif
