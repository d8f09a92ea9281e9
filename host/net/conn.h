/* conn.h - private to host/net: what the server, its connections, the parser, TLS and the exchanges share. */
#ifndef NET_CONN_H
#define NET_CONN_H
#include "net/address.h"
#include "net/server.h"
#include <llhttp.h>
#include <openssl/types.h>
#include <uv.h>

enum {
    TARGET_MAX = 8192,    /* bytes of a request target */
    IN_MAX = 16 << 10,    /* bytes read ahead of the request that is being answered; then reading stops */
    OUT_HIGH = 64 << 10,  /* unsent bytes at which no further pipelined request is started */
    OUT_MAX = 64 << 20,   /* unsent bytes at which a connection is cut; also the largest answer in one piece */
    READ_SIZE = 64 << 10, /* the one shared read buffer */
    SLICE_US = 250,       /* for how long one connection may start pipelined requests in one turn of the loop */
    LINGER_MS = 2000,     /* how long what a client still sends is thrown away so that it can read its answer */
    RATE_GRACE_MS = 1000  /* a body's rate is not judged earlier */
};

/* Where a connection stands. From CONN_FLUSH on no input is parsed any more. */
enum phase {
    CONN_HANDSHAKE, /* TLS */
    CONN_IDLE,      /* between requests */
    CONN_HEAD,      /* a request's head is coming in */
    CONN_BODY,      /* its body is coming in */
    CONN_ANSWER,    /* complete; the user of the exchange has the word */
    CONN_SKIP,      /* answered early; its body, already here, is skipped */
    CONN_FLUSH,     /* the last answer is being written */
    CONN_LINGER,    /* all is written; input is thrown away until the client closes */
    CONN_CLOSED
};

struct conn;
struct conn_queue {
    struct conn *first, *last;
};
struct waiter {
    struct request *r;
    call *c;
}; /* on the stack of the fiber that waits in exchange_wait */

/* One exchange with what the server keeps of it. Pooled: on a busy connection no request allocates. */
struct request {
    exchange pub;         /* first */
    struct conn *conn;    /* NULL: the connection died and nobody was told (no on_gone) */
    struct request *next; /* in the pool */
    char *head;           /* target, then names and values, each copied once out of the read buffer */
    size_t head_n, head_room;
    sl_pair *pairs;
    size_t n_pairs, pairs_room;
    buf body;
    struct waiter *waiter;
    size_t extra;                    /* bytes of trailers and chunk extensions */
    bool in_value;                   /* the last header piece belonged to a value */
    bool head_done, claimed;         /* claimed: on_head was called */
    bool started, chunked, bodiless; /* of the answer */
    bool expects;                    /* Expect: 100-continue */
    bool leaving, ended;             /* on_gone is running; the user ended the exchange in it */
};

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } io;
    uv_write_t write;
    llhttp_t parser;
    struct conn *prev, *next, *queue_prev, *queue_next;
    struct conn_queue *queue; /* dirty, put off, or NULL; nothing is parsed while it waits there */
    struct request *r;
    SSL *ssl;
    buf in;                        /* read but not parsed yet */
    buf out;                       /* answers not handed to TLS or the socket yet */
    buf wire;                      /* TLS records not handed to the socket yet */
    buf flight;                    /* what uv_write is busy with */
    const char *base, *end, *scan; /* the bytes in the parser, and how far scan_lines came */
    const char *tls_p;             /* cipher text that OpenSSL has not taken yet */
    size_t tls_n;
    uint64_t deadline; /* loop_now(); 0 = none */
    uint64_t body_since, progress_at;
    uint64_t slice; /* clock_monotonic() when its first request of this turn came; 0 = none yet */
    size_t body_bytes, head_bytes, queue_seen;
    sl_str peer; /* in peer_text, or "unix" */
    enum phase phase;
    bool keep;      /* the client allows another request */
    bool early_ok;  /* an answer in on_head need not close: the body is here */
    bool sensitive; /* it has carried a secret: its buffers are wiped before they go back to the pool */
    bool line_start, half_end, at_trailers, in_trailers, paused, busy, writing, reading, linger, eof, trusted;
    char last; /* byte before base */
    char peer_text[46];
};

struct server {
    bool running, draining;
    struct server_hooks hooks;
    struct server_config cfg; /* its text pointers are not used once it was taken */
    char name[64];
    struct cidr *proxies;
    size_t n_proxies;
    bool trust_unix;
    SSL_CTX *tls;
    llhttp_settings_t parser;
    struct conn *conns;
    struct conn_queue dirty;      /* something was added to out: served at the end of this turn */
    struct conn_queue put_off[2]; /* had their share of this turn: served in the next; the two change places */
    unsigned put_off_now;         /* which of the two is filled */
    uv_idle_t *next_turn;         /* active while somebody is put off: the loop does not sleep */
    struct server_stats stats;
};
extern struct server srv;

/* ---- conn.c ---- */
void conn_open(uv_stream_t *listener, bool is_unix);
void conn_phase(struct conn *c, enum phase phase, uint32_t ms); /* ms: its time limit, 0 = none */
void conn_input(struct conn *c, const char *p, size_t n);       /* plain bytes */
void conn_eof(struct conn *c);
void conn_work(struct conn *c);  /* parse what waits, write what is ready */
void conn_touch(struct conn *c); /* something was added to out: conn_work will come */
void conn_close(struct conn *c);
bool conn_spent(struct conn *c);               /* has it used up its share of this turn? */
void conn_put_off(struct conn *c);             /* to the next turn: it has more requests than its share */
void conn_check(struct conn *c, uint64_t now); /* time limits */
size_t conn_unsent(const struct conn *c);
/* A buffer of the connection with memory out of a small pool, and back to it. */
void spare_take(buf *b, size_t max);
void spare_give(const struct conn *c, buf *b);
void spare_clear(void);

/* ---- conn_parse.c ---- */
void parse_setup(llhttp_settings_t *s);
size_t conn_parse(struct conn *c, const char *p, size_t n); /* returns the bytes used */

/* ---- conn_head.c ---- */
struct refusal {
    int status;
    const char *code, *detail;
};
bool head_check(struct conn *c, struct request *r, struct refusal *why);

/* ---- exchange.c ---- */
struct request *request_take(struct conn *c);
void request_release(struct request *r);
void request_gone(struct conn *c); /* the exchange of c, if any, will not be answered */
void requests_clear(void);
void conn_refuse(struct conn *c, int status, const char *code, const char *detail);

/* ---- server_listen.c ---- */
bool listen_all(const sl_str *addresses, size_t n, bool reuse_port, char *why, size_t why_size);
void listen_close(void);

/* ---- tls.c ---- */
SSL_CTX *tls_context(const char *cert, const char *key, char *why, size_t why_size);
bool tls_open(struct conn *c);
void tls_input(struct conn *c, const char *p, size_t n); /* calls conn_input with what it decrypts */
bool tls_encrypt(struct conn *c);                        /* out -> wire */
void tls_bye(struct conn *c);                            /* close_notify -> wire */
void tls_free(struct conn *c);
#endif
