/* server.h - the HTTP/1.1 server: listeners, connections, llhttp, TLS; one exchange at a time per connection, in order.
 */
#ifndef NET_SERVER_H
#define NET_SERVER_H
#include "base/text.h"
#include "loop/loop.h"

typedef struct exchange exchange; /* one request and its answer */
struct exchange {
    arena *arena;               /* everything below; lives until the answer has been handed over */
    sl_str method;              /* "GET" */
    sl_str target, path, query; /* as sent; query without '?', absent if none. path is not yet percent-decoded */
    /* Names in lower case, as sent otherwise; repeated fields joined by ", " (cookie by "; "). */
    const sl_pair *headers;
    size_t n_headers;
    sl_str body;         /* complete, chunks undone; "" if none */
    sl_str remote;       /* client address as text, after trusted proxies */
    sl_str scheme, host; /* after trusted proxies; host may be "" in HTTP/1.0 */
    uint64_t started;    /* clock_monotonic() when its first byte came */
    size_t max_body;     /* on_head may lower or raise it */
    bool sensitive;      /* on_head sets it: the memory that held this request and its answer is wiped */
    void *user;          /* of the one who answers */
    /* Set by the user, in on_head or later: the client left, or closed its sending side, or was cut off, before the
     * answer was complete. The exchange is freed when it returns, so nothing may be called for it then or after.
     * Without it an exchange that on_request handed over stays valid until exchange_reply, _end or _abort, which do
     * nothing but free it; one that only on_head has seen does not. An on_gone that sets this field to NULL keeps the
     * exchange in the same way. */
    void (*on_gone)(exchange *x);
};
struct server_hooks {
    /* Head complete, body not read. May answer at once (then body is drained or the connection closed) or return. */
    void (*on_head)(exchange *x);
    /* Everything is here (not called when on_head answered). Must lead to exchange_reply or _end, now or later. */
    void (*on_request)(exchange *x);
    /* A request that cannot be parsed or is over a limit: write a problem body for `status` into out
     * (application/problem+json). x is NULL unless on_head has seen the request; then its on_gone follows. */
    void (*on_refused)(exchange *x, int status, const char *code, const char *detail, buf *out);
};
struct server_config {
    const sl_str *listen; /* "HOST:PORT" "[::1]:8080" ":8080" (both families) "unix:/path" */
    size_t n_listen;
    sl_str tls_cert, tls_key;      /* PEM files; both or neither */
    const sl_str *trusted_proxies; /* CIDR blocks and "unix": whose X-Forwarded-For/-Proto/-Host are believed */
    size_t n_trusted_proxies;
    size_t max_connections, max_header_bytes, max_headers, max_body; /* the first three: 0 = none, 32 KiB, 100 */
    /* Time for the whole head, the whole body, between requests, and without write progress; 0 = no limit. */
    uint32_t header_ms, body_ms, idle_ms, write_ms;
    uint32_t body_min_rate; /* bytes a second that a body must reach on average; 0 = none */
    bool reuse_port;
    const char *name; /* Server header; NULL = none */
};
/* 0, or a sentence in why. Binds and listens; needs loop_setup. */
int server_start(const struct server_config *cfg, const struct server_hooks *hooks, char *why, size_t why_size);
size_t server_addresses(sl_str *out, size_t room); /* what was bound, "127.0.0.1:8080" */
/* New settings for the running server: all but the listeners; the certificate files are read again. 0, or a sentence in
 * why, and nothing changed. only_check: nothing changes. */
int server_reconfigure(const struct server_config *cfg, bool only_check, char *why, size_t why_size);
void server_drain(void); /* close listeners; keep-alive connections end with their current answer */
size_t server_connections(void);
void server_close(void); /* drop what is left */

/* Answers; the exchange is gone after exchange_reply, _end and _abort. Content-Length, Date, Connection and (HEAD, 204,
 * 304) bodies are the server's business. Copied before return. */
void exchange_reply(exchange *x, int status, const sl_pair *headers, size_t n, sl_str body);
/* A body in pieces (chunked; closes for HTTP/1.0). exchange_write returns the bytes not yet sent; when that is over
 * your taste wait with exchange_wait [S] until it has fallen under 64 KiB. */
void exchange_start(exchange *x, int status, const sl_pair *headers, size_t n);
size_t exchange_write(exchange *x, sl_str piece);
sl_err exchange_wait(exchange *x, call *c); /* [S] SL_ECANCEL: the client left */
void exchange_end(exchange *x);
void exchange_abort(exchange *x); /* a body that cannot be finished: the client sees that it was cut off */
sl_str exchange_header(const exchange *x, const char *lower_name); /* absent if none */

struct server_stats {
    size_t connections, idle;
    uint64_t yields; /* times a connection with more requests waiting let the others go first */
    uint64_t accepted, refused, requests, timeouts, parse_errors, bytes_in, bytes_out;
};
struct server_stats server_stats(void);
#endif
