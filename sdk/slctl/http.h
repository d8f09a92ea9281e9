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
size_t take_header(char *p, size_t size, size_t n, void *arg);
#endif
