/* request.h - private to host/http: one HTTP request from its head to its answer, and what the files here share about
 * it. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "http/router.h"
#include "observe/span.h"
#include "store/store.h"

enum { REPLY_HEADERS = 32, REPLY_MAX = 32 << 20, TRACE_TEXT = 33, KEY_MAX = 255 };

struct known_headers { /* found in one pass */
    sl_str authorization, tenant, idempotency_key, request_id, traceparent, content_type, origin, if_none_match,
        preflight_method;
};
struct request {         /* pooled; outlives the exchange where it must */
    exchange *x;         /* until the answer is handed over */
    router *router;      /* held, so that route and its text stay */
    struct route *route; /* NULL = none matched */
    struct entry *entry; /* pinned while a call is under way */
    call *call;
    struct request *next; /* in the pool */
    struct known_headers known;
    struct identity identity;
    bearer *bearer;          /* held: whose text the identity is; NULL = anonymous */
    const char *token_fault; /* a sentence: why the token that came is none */
    sl_str request_id, trace_id;
    struct call_trace trace;        /* span: the request's own when it is recorded */
    uint64_t trace_parent;          /* the span that the client named; 0 = none */
    json_t *body, *query;           /* checked input */
    sl_str page_limit, page_cursor; /* of a GET whose query schema does not name them */
    sl_str key;                     /* Idempotency-Key in force, absent if none */
    sl_str whole_body;              /* written out when a handler asks for it */
    int status;                     /* of the answer; 0 = none yet. Without a call: what the server refused with */
    sl_str type, etag;
    sl_str code, detail, errors; /* of a problem */
    bool counted, gone, streaming, problem, page_used, stale_key, hit, cors;
    bool begun;                      /* its handler has committed before its end */
    bool unidentified, asked;        /* whose token it is only the store knows; it was asked */
    bool limited;                    /* its callers' buckets were charged */
    struct tenant *tenant;           /* whose calls at once it counts in */
    sl_str limit_rule, limit_left;   /* headers RateLimit-Policy and RateLimit */
    uint32_t retry_after;            /* seconds; 0 = the default of the status */
    uint64_t streamed;               /* bytes */
    struct audit_record *audit;      /* joined to the transaction; NULL: nothing of this call is recorded yet */
    sl_str outcome;                  /* in words, for the audit log */
    bool audit_reserved, audit_only; /* room in the file is kept; the transaction holds nothing but the record */
    size_t n_headers;
    buf out; /* the body of the answer; its memory is kept for the next request */
    char id_text[ID_TEXT], trace_text[TRACE_TEXT], actor_text[80];
    sl_pair headers[REPLY_HEADERS]; /* from here on nothing is cleared */
    sl_str values[ROUTE_PARAMS];
};

/* ---- setup.c ---- */
extern struct http_config http_cfg; /* copied texts; tokens left out */

/* ---- routes.c ---- */
router *routes_current(void); /* up to date; not held */
void routes_close(void);

/* ---- request.c ---- */
struct request *request_open(exchange *x);
void request_close(struct request *rq);
void requests_free(void);
extern const struct call_ops request_ops;
static inline struct request *request_of(const call *c) { return c->ops == &request_ops ? c->context : NULL; }
bool header_value_ok(sl_str value);

/* ---- answer.c ---- */
/* Each hands the answer over and releases rq. */
void answer(struct request *rq, int status, sl_str type, sl_str body);
void answer_problem(struct request *rq, int status, sl_str code, sl_str detail);
void answer_header(struct request *rq, sl_str name, sl_str value); /* before; texts must live until the answer */
void stream_start(struct request *rq, int status, sl_str type);

/* ---- input.c: 400, 415 and 422 are answered here ---- */
/* Fills rq->body and rq->query by the entry's schemas. False: rq has a problem (status, code, detail, errors). */
bool input_check(struct request *rq);
bool set_problem(struct request *rq, int status, const char *code, sl_str detail); /* always false */

/* ---- auth.c ---- */
/* False: rq has a problem. rq->unidentified: the store has to say whose token it is, and authorize is asked again. */
bool authorize(struct request *rq);
sl_err authorize_ask(call *c, struct request *rq); /* [S] */
void identity_reset(struct request *rq);           /* nobody in particular */

/* ---- limits.c, tenants.c ---- */
void limits_setup(const struct http_config *cfg);
void limits_close(void);
/* Charges the caller's rates and quota; false: rq has a problem (with `authorized` false the one it had, or 429). */
bool limits_take(struct request *rq, bool authorized);
bool limits_may_ask(struct request *rq); /* this address has not sent too many wrong tokens */
void limits_headers(struct request *rq);
bool tenant_enter(struct request *rq); /* one more call at once; false: rq has a problem */
void tenant_leave(struct request *rq);

/* ---- trace.c ---- */
void trace_read(struct request *rq);                                   /* request id and trace */
void trace_request(const struct request *rq, int status, int64_t end); /* its span */
void trace_from_id(const char *id, char out[TRACE_TEXT]);

/* ---- cors.c ---- */
bool cors_preflight(struct request *rq, unsigned allow); /* headers added; false: it is none */
void cors_headers(struct request *rq);

/* ---- idempotency.c ---- */
enum idempotency { IDEMPOTENCY_NEW, IDEMPOTENCY_HIT, IDEMPOTENCY_FAILED };
bool idempotency_wanted(struct request *rq); /* sets rq->key; false: rq has a problem */
enum idempotency idempotency_find(call *c, struct request *rq,
                                  sl_err *e);          /* [S] HIT: rq holds the answer or a problem */
sl_err idempotency_begin(call *c, struct request *rq); /* the key joins a commit before the handler's end */
sl_err idempotency_keep(call *c, struct request *rq);  /* joins the call's transaction */

/* ---- reply.c: where an answer's JSON is written ---- */
buf *reply_buffer(call *c); /* empty; nothing may suspend until reply_done */
sl_err reply_done(call *c, buf *b, int32_t status);
sl_err render_failed(const call *c, sl_err e); /* logs which field; what the handler gets */

/* ---- page.c ---- */
sl_str cursor_make(arena *a, sl_str route, sl_str id);
bool cursor_read(arena *a, sl_str route, sl_str cursor, sl_str *id);
sl_str page_sql(arena *a, sl_str sql, size_t n_args, bool after); /* absent: there is no {{page}} */

/* ---- audit.c; see audit/audit.h ---- */
bool audit_begin(call *c, struct request *rq);       /* [S] false: it cannot be recorded; rq has a problem */
sl_err audit_join_part(call *c, struct request *rq); /* a commit before the handler's end */
sl_err audit_join(call *c, struct request *rq);      /* the record joins the call's transaction */
/* [S] After the commit, or instead of it: the line is in the file. False: the answer is withheld, rq has a problem. */
bool audit_end(call *c, struct request *rq, sl_err e);
void audit_done(struct request *rq, int status); /* with the answer: what no transaction carried */

/* ---- access.c ---- */
void access_setup(void);
void access_begin(void);
void access_end(void);
size_t access_in_flight(void);
void access_done(struct request *rq, int status, uint64_t bytes); /* log line and metrics */
void access_refused(int status);
#endif
