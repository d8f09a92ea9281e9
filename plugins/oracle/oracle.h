/* oracle.h - what the parts of the oracle share: settings, a request in work, an attempt, their handlers. */
#ifndef ORACLE_H
#define ORACLE_H
#include <service_layer/json.h>

enum { SOURCES_MAX = 9, HEADERS_MAX = 40, SECRETS_MAX = 16, TYPES_MAX = 32, TOKENS_MAX = 32, PAYLOAD_MAX = 65536 };
enum { METRIC_ATTEMPTS, METRIC_REQUESTS, METRIC_OLDEST, METRIC_PENDING };

/* The configuration, read once; `self` of every handler. Text is malloc'ed in one block. */
struct oracle {
    int64_t ttl_us, backoff_us, backoff_max_us, timeout_ms, max_tries;
    size_t url_max, filter_max, result_max;
    int dead_letters;
    unsigned redirects;
    sl_str resolver_url, resolver_key;
    sl_str types[TYPES_MAX], tokens[TOKENS_MAX];
    size_t n_types, n_tokens;
    char *text;
};

/* How one try at one source ended. */
enum outcome { ATTEMPT_OK, ATTEMPT_RETRY, ATTEMPT_FAILED };
struct attempt {
    enum outcome outcome;
    sl_str source_id, result;            /* result: filtered, when it went well */
    sl_str address, content_type, error; /* error: a sentence without secrets */
    const char *code, *result_code;      /* error_code and Neo's code, when it did not */
    sl_str error_class;
    int64_t status, bytes, ms;
    int64_t wait_us; /* what the source asked to wait, 0 = nothing */
    int recorded;    /* worth a row: a source or a runner was really asked */
    int at_once;     /* the next try need not wait */
};

/* A request that somebody took on: `run` is the right to write its end. */
struct work {
    const sl_rows *row; /* of oracle_requests, and which one */
    uint32_t at;
    sl_str id, tenant;
    int64_t run, attempts, tries;
};

/* ---- config.c ---- */
sl_err oracle_create(sl_call *c, void **self);
void oracle_destroy(void *self);
int oracle_has_token(const struct oracle *o, sl_str token); /* in constant time */

/* ---- sources.c ---- */
sl_handler source_create, source_list, source_get, source_change, source_delete;
sl_err source_load(sl_call *c, sl_str account, sl_str id, const sl_rows **rows); /* [S] rows->rows 0 = none */
sl_err source_missing(sl_call *c, sl_str id);

/* ---- requests.c ---- */
sl_handler request_create, request_list, request_get, request_cancel, request_replay;
sl_err request_missing(sl_call *c);
/* A job about a run of the request; joins the transaction. tenant: absent = the call's */
sl_err request_job(sl_call *c, sl_str tenant, const char *kind, sl_str id, int64_t run, int64_t at);
sl_err request_schedule(sl_call *c, sl_str id, int64_t run,
                        int64_t at); /* the job of the next run; joins the transaction */

/* ---- outgoing.c: from a source and a payload to a request on the wire ---- */
struct outgoing {
    sl_str method, url, body;
    sl_pair headers[HEADERS_MAX];
    size_t n_headers;
    sl_str secrets[SECRETS_MAX]; /* values that went in, to be kept out of sentences */
    size_t n_secrets;
};
/* [S] Resolves {{secret:NAME}}; fills a->error and a->code and returns 0 when it cannot be built. */
int outgoing_build(sl_call *c, const sl_rows *source, sl_str account, sl_str payload, struct outgoing *out,
                   struct attempt *a);
sl_str outgoing_redact(sl_call *c, const struct outgoing *out, sl_str text);
const char *template_check(sl_str text); /* NULL, or what is wrong with its {{secret:NAME}} references */

/* ---- answer.c: what an answer means ---- */
void attempt_fail(struct attempt *a, enum outcome outcome, const char *code, const char *result_code, sl_str sentence);
void answer_judge(sl_call *c, const struct oracle *o, sl_err e, const sl_response *r, const struct outgoing *out,
                  sl_str filter, struct attempt *a);
/* Filter and check a result text; a->result or a failure. */
void result_take(sl_call *c, const struct oracle *o, sl_str text, sl_str filter, struct attempt *a);
/* One outcome of several tries by the request's aggregation. */
struct attempt attempts_join(sl_call *c, sl_str aggregation, const struct attempt *a, size_t n);

/* ---- fetch.c ---- */
sl_handler fetch_job;

/* ---- settle.c: the state machine's writes ---- */
/* Take the request on: run, attempts and tries grow. 0 rows changed (somebody else has it): w->run is 0. [S] */
sl_err work_take(sl_call *c, struct work *w, sl_str lease, int64_t lease_until);
/* Write the end of a run, or the next try, with the attempts' rows; nothing when the run was lost. [S] */
sl_err work_settle(sl_call *c, const struct oracle *o, const struct work *w, const struct attempt *end,
                   const struct attempt *tries, size_t n);
sl_err work_postpone(sl_call *c, const struct work *w, int64_t wait_us); /* [S] not done yet, and no attempt used up */
sl_err work_expire(sl_call *c, const struct work *w);                    /* [S] */
sl_err attempt_record(sl_call *c, const struct work *w, int64_t attempt, const struct attempt *a); /* [S] */
struct work work_of(const sl_rows *rows, uint32_t at); /* from a row of oracle_requests */

/* ---- runner.c, tidy.c ---- */
sl_handler runner_lease, runner_complete, runner_extend, tidy, due_job;
#endif
