/* fetch_op.h - private to fetch*.c: one outbound request in work. */
#ifndef NET_FETCH_OP_H
#define NET_FETCH_OP_H
#include "net/address.h"
#include "net/curl.h"
#include "net/fetch.h"

enum { URL_MAX = 8 << 10, HEAD_MAX = 32 << 10, HEADERS_MAX = 200, METHOD_MAX = 16 };
enum op_state { OP_IDLE, OP_WAITING, OP_ACTIVE };

struct slots; /* of one host: see fetch.c */
struct op {
    call *call;
    const sl_request *request; /* its owner waits on the fiber, so it stays valid */
    uv_timer_t timer;          /* the request's own deadline, over waiting and all redirects */
    enum op_state state;
    struct op *prev, *next; /* among the waiting or the active */
    struct slots *slots;
    CURL *easy;
    CURLU *url; /* of this hop */
    struct curl_slist *headers;
    char host[300];                 /* "name:port" of this hop, lower case */
    char method[METHOD_MAX];        /* of this hop */
    bool https, send_body, foreign; /* foreign: another host than the caller named: none of its headers go there */
    bool in_head;
    bool trusted; /* the operator named the address: it is not checked */
    size_t max_bytes, n_headers;
    buf head, body; /* head: name NUL value NUL, name in lower case */
    long status;
    uint32_t redirects, timeout_ms;
    uint64_t wire_bytes;
    uint64_t wire_base; /* see on_portion */
    unsigned portions;  /* of this hop */
    unsigned heads;     /* that came in this hop, interim ones too */
    int fd;             /* that libcurl waits for; -1 = none */
    int64_t started;
    char address[64];
    const char *error_class; /* NULL = none so far; the first one stays */
    sl_err error_code;
    char error[320], curl_error[CURL_ERROR_SIZE];
    const char *blocked; /* registry name of an address that was refused in this hop */
    char blocked_address[64];
};

struct fetch_limits { /* the host's own, out of fetch_config */
    bool allow_private;
    struct cidr *allow;
    size_t n_allow, max_bytes;
    uint32_t max_total, max_per_host, default_ms;
    char *ca_file, *user_agent;
};
extern struct fetch_limits fetch_limits;

__attribute__((format(printf, 4, 5))) void op_fail(struct op *op, sl_err code, const char *error_class,
                                                   const char *format, ...);

/* ---- fetch_check.c ---- */
bool op_check_request(struct op *op);           /* false: op_fail was called with SL_EINVAL */
bool op_follow(struct op *op, sl_str location); /* the next hop; false: op_fail was called */
bool op_build_headers(struct op *op);
sl_str op_header(const struct op *op, const char *lower_name);

/* ---- fetch_curl.c ---- */
bool fetch_curl_setup(char *why, size_t why_size); /* with the first request; loads libcurl */
void fetch_curl_close(void);
bool op_start(struct op *op); /* hand this hop to libcurl; op_ended is called later unless op_stop comes first */
void op_stop(struct op *op);
void op_ended(struct op *op); /* in fetch.c: the hop is over, well or not */
#endif
