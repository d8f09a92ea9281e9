/* http.h - from a parsed request to a handler and back: routes, tokens, schemas, problems, idempotency. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H
#include "identity/identity.h"
#include "module/module.h"
#include "net/server.h"

struct http_config {
    struct identity_config identity;
    sl_str default_tenant;
    bool require_tenant; /* REQUIRE_TENANT_HEADER */
    bool check_answers;  /* compare answers with the rows' `out` and `problems`; costs time */
    size_t max_body, page_default, page_max;
    uint32_t deadline_ms;       /* default of a route */
    size_t max_inflight;        /* calls at once; more get 503 */
    int64_t idempotency_ms;     /* how long keys are kept */
    const sl_str *cors_origins; /* empty = CORS is off */
    size_t n_cors_origins;
    sl_str token_rate, address_rate, tenant_rate; /* as rate_parse reads them */
    const sl_str *tenant_rates;                   /* "TENANT RATE" each */
    size_t n_tenant_rates;
    uint32_t tenant_inflight; /* calls at once of one tenant; 0 = any number */
    uint64_t tenant_daily;    /* requests of one tenant in a UTC day; 0 = any number */
    unsigned max_waiting;     /* calls in the store's line, then new ones get 503; 0 = any number */
};
void http_setup(const struct http_config *cfg); /* also again, with new settings */
const struct server_hooks *http_hooks(void);
void http_rebuild_routes(void);              /* from the started modules; one pointer swap. Errors were found at load */
void http_usage_flush(call *c);              /* [S] adds the tenants' requests to the store's count; for a ticker */
sl_err http_limits_write(call *c, buf *out); /* what applies to the caller of this request, as JSON */
void http_sweep(call *c);                    /* [S] removes idempotency records that are too old; for a ticker */
void http_close(void);

/* ---- render.c ---- */
/* One row as a JSON object by the out schema; SL_EINVAL: a value does not fit its field. */
sl_err render_row(buf *out, const json_t *schema, const sl_rows *rows, uint32_t row);

/* The contract's reply_row and reply_list, for any kind of call: HTTP answers are written in place, others through
 * c->ops. */
sl_err http_reply_row(call *c, int32_t status, const sl_rows *rows);
sl_err http_reply_list(call *c, sl_str sql, const sl_value *args, size_t n); /* [S] */

/* For rows that were rendered in a child process: the ETag of its answer, and giving it to the request. */
sl_str http_row_tag(call *c, const sl_rows *rows);
void http_reply_tag(call *c, sl_str tag); /* what is no ETag is ignored */

/* ---- audit.c ---- */
/* What came of the call, in words; the last one counts. No-op when c is no request. Copied. */
void audit_outcome(call *c, sl_str words);
/* [S] For an effect that no transaction can take back: records `words` durably before it begins. SL_EREPLIED: it cannot
 * be recorded, the problem is set and the effect must not happen. */
sl_err audit_intent(call *c, sl_str words);

/* ---- identity of a request ---- */
const struct identity *http_identity(const call *c); /* NULL: the call is no request. Lives as long as the call */
const json_t *http_body(const call *c);              /* the checked body of this request, borrowed, or NULL */
#endif
