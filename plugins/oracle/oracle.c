/* oracle.c - fetches outside data on request and delivers the answer once. */
#include "oracle.h"
#include "jsonpath.h"

#define TEXT          "\"type\":\"string\""
#define COUNT         "\"type\":\"integer\""
#define COUNT_OR_NULL "\"type\":[\"integer\",\"null\"]"
#define METHOD        SL_ENUM("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
#define HEADERS       SL_MAP(SL_STRING(0, 4096), 32)
#define URL                                                                                                            \
    SL_STRING(8, 2048)                                                                                                 \
    ",\"pattern\":\"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]\"" SL_EXAMPLE("\"https://example.com/price?pair=NEO-USD\"")
#define STATUS     SL_ENUM("pending", "running", "succeeded", "failed", "expired", "cancelled", "dead_letter")
#define ALTERNATES SL_LIST(SL_ID, 8)

#define NEW_SOURCE                                                                                                     \
    SL_OBJECT(                                                                                                         \
        SL_REQUIRED("name", SL_NAME, "Unique per account, whatever its case."),                                        \
        SL_REQUIRED("url", URL, "http or https; may hold {{secret:NAME}}."),                                           \
        SL_OPTIONAL("method", METHOD SL_DEFAULT("\"GET\""), "How it is asked."),                                       \
        SL_OPTIONAL("headers", HEADERS SL_DEFAULT("{}"), "Sent along; values may hold {{secret:NAME}}."),              \
        SL_OPTIONAL("body", SL_STRING(0, 65536), "Sent when a request has no payload; may hold {{secret:NAME}}."),     \
        SL_OPTIONAL("enabled", SL_BOOLEAN SL_DEFAULT("true"), "Off: nothing is fetched from it."),                     \
        SL_OPTIONAL("description", SL_STRING(0, 1024) SL_DEFAULT("\"\""), "For people."))
#define SOURCE_CHANGE                                                                                                  \
    SL_CHANGE(SL_OPTIONAL("name", SL_NAME, "A new name."), SL_OPTIONAL("url", URL, "A new address."),                  \
              SL_OPTIONAL("method", METHOD, "How it is asked."),                                                       \
              SL_OPTIONAL("headers", HEADERS, "Replaces all headers."),                                                \
              SL_OPTIONAL("body", SL_STRING(0, 65536), "A new body."),                                                 \
              SL_OPTIONAL("enabled", SL_BOOLEAN, "Off: nothing is fetched from it."),                                  \
              SL_OPTIONAL("description", SL_STRING(0, 1024), "For people."))
#define SOURCE                                                                                                         \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The source."), SL_REQUIRED("account_id", SL_ID, "Its account."),               \
              SL_REQUIRED("name", TEXT, "Its name."), SL_REQUIRED("url", TEXT, "Its address, references unresolved."), \
              SL_REQUIRED("method", METHOD, "How it is asked."), SL_REQUIRED("headers", HEADERS, "Sent along."),       \
              SL_REQUIRED("body", SL_TEXT_OR_NULL, "Sent when a request has no payload."),                             \
              SL_REQUIRED("enabled", SL_BOOLEAN, "Off: nothing is fetched from it."),                                  \
              SL_REQUIRED("description", TEXT, "For people."),                                                         \
              SL_REQUIRED("version", COUNT, "Counts changes; also the ETag."),                                         \
              SL_REQUIRED("created_at", SL_TIME, "When it was made."),                                                 \
              SL_REQUIRED("updated_at", SL_TIME, "When it last changed."))

#define NEW_REQUEST                                                                                                    \
    SL_OBJECT(SL_REQUIRED("source_id", SL_ID, "The source to ask."),                                                   \
              SL_OPTIONAL("payload", "\"type\":[\"string\",\"object\"]",                                               \
                          "GET: an object becomes query parameters; else the body."),                                  \
              SL_OPTIONAL("alternate_source_ids", ALTERNATES SL_DEFAULT("[]"), "More sources for the same question."), \
              SL_OPTIONAL("aggregation", SL_ENUM("first", "median", "majority") SL_DEFAULT("\"first\""),               \
                          "How several answers become one."),                                                          \
              SL_OPTIONAL("filter", SL_STRING(1, 1024), "JSONPath in Neo N3's dialect; the result is a JSON array."))
#define REQUEST_FIELDS                                                                                                 \
    SL_REQUIRED("id", SL_ID, "The request."), SL_REQUIRED("account_id", SL_ID, "Its account."),                        \
        SL_REQUIRED("source_id", SL_ID, "The source asked."),                                                          \
        SL_REQUIRED("alternate_source_ids", ALTERNATES, "More sources."),                                              \
        SL_REQUIRED("payload", SL_TEXT_OR_NULL, "What is asked, as text."),                                            \
        SL_REQUIRED("aggregation", TEXT, "How several answers become one."),                                           \
        SL_REQUIRED("filter", SL_TEXT_OR_NULL, "JSONPath."), SL_REQUIRED("status", STATUS, "Where it stands."),        \
        SL_REQUIRED("attempts", COUNT, "Attempts so far."), SL_REQUIRED("result", SL_TEXT_OR_NULL, "The answer."),     \
        SL_REQUIRED("error", SL_TEXT_OR_NULL, "What went wrong last, as a sentence."),                                 \
        SL_REQUIRED("error_code", SL_TEXT_OR_NULL, "The same as a stable word."),                                      \
        SL_REQUIRED("result_code", SL_TEXT_OR_NULL, "The code that Neo's oracle would give."),                         \
        SL_REQUIRED("created_at", SL_TIME, "When it was made."),                                                       \
        SL_REQUIRED("updated_at", SL_TIME, "When it last changed."),                                                   \
        SL_REQUIRED("completed_at", SL_TIME, "When it ended."),                                                        \
        SL_REQUIRED("expires_at", SL_TIME, "When it is given up."),                                                    \
        SL_REQUIRED("next_attempt_at", SL_TIME, "When it is tried (again).")
#define REQUEST SL_OBJECT(REQUEST_FIELDS)
#define ATTEMPT                                                                                                        \
    SL_OBJECT(SL_REQUIRED("attempt", COUNT, "Counted over the request's life."),                                       \
              SL_REQUIRED("source_id", SL_TEXT_OR_NULL, "The source asked."),                                          \
              SL_REQUIRED("outcome", SL_ENUM("succeeded", "retry", "failed"), "How it ended."),                        \
              SL_REQUIRED("status", COUNT_OR_NULL, "HTTP status."),                                                    \
              SL_REQUIRED("address", SL_TEXT_OR_NULL, "IP address that was connected to."),                            \
              SL_REQUIRED("content_type", SL_TEXT_OR_NULL, "As answered."),                                            \
              SL_REQUIRED("bytes", COUNT_OR_NULL, "Of the body."),                                                     \
              SL_REQUIRED("ms", COUNT_OR_NULL, "How long it took."),                                                   \
              SL_REQUIRED("error_class", SL_TEXT_OR_NULL, "Where it failed: dns, connect, tls, timeout, status, ..."), \
              SL_REQUIRED("error", SL_TEXT_OR_NULL, "What went wrong."),                                               \
              SL_REQUIRED("created_at", SL_TIME, "When it ended."))
#define OUTCOME                                                                                                        \
    SL_OBJECT(SL_REQUIRED("status", TEXT, "How it had ended."),                                                        \
              SL_REQUIRED("attempts", COUNT, "Attempts until then."),                                                  \
              SL_REQUIRED("result", SL_TEXT_OR_NULL, "The answer."),                                                   \
              SL_REQUIRED("error", SL_TEXT_OR_NULL, "What went wrong."),                                               \
              SL_REQUIRED("error_code", SL_TEXT_OR_NULL, "As a word."),                                                \
              SL_REQUIRED("result_code", SL_TEXT_OR_NULL, "Neo's code."),                                              \
              SL_REQUIRED("completed_at", SL_TIME, "When it had ended."))
#define REQUEST_WHOLE                                                                                                  \
    SL_OBJECT(REQUEST_FIELDS,                                                                                          \
              SL_REQUIRED("attempt_log", "\"type\":\"array\",\"items\":" ATTEMPT, "Every attempt, oldest first."),     \
              SL_REQUIRED("earlier_outcomes", "\"type\":\"array\",\"items\":" OUTCOME,                                 \
                          "How it had ended before each replay."))
#define BY_STATUS SL_OBJECT(SL_OPTIONAL("status", STATUS, "Only those that stand there."))

#define VISIBILITY SL_OPTIONAL("visibility_seconds", SL_INTEGER(1, 3600) SL_DEFAULT("60"), "How long the lease holds.")
#define LEASE_ID   SL_REQUIRED("lease", SL_STRING(1, 64), "As given with the request.")
#define LEASE      SL_OBJECT(SL_OPTIONAL("max", SL_INTEGER(1, 100) SL_DEFAULT("1"), "Requests wanted."), VISIBILITY)
#define COMPLETE                                                                                                       \
    SL_OBJECT(LEASE_ID, SL_OPTIONAL("result", TEXT, "The answer, unfiltered."),                                        \
              SL_OPTIONAL("error", SL_STRING(1, 2000), "Why there is none."),                                          \
              SL_OPTIONAL("retry", SL_BOOLEAN SL_DEFAULT("false"), "With error: worth another attempt."))
#define EXTEND SL_OBJECT(LEASE_ID, VISIBILITY)
#define ASK                                                                                                            \
    SL_OBJECT(SL_REQUIRED("source_id", SL_ID, "The source."), SL_OPTIONAL("method", TEXT, "How to ask."),              \
              SL_OPTIONAL("url", TEXT, "Where, complete."),                                                            \
              SL_OPTIONAL("headers", SL_MAP(TEXT, 64) SL_SECRET, "Secrets filled in."),                                \
              SL_OPTIONAL("body", SL_TEXT_OR_NULL, "What to send."),                                                   \
              SL_REQUIRED("error", SL_TEXT_OR_NULL, "Why this source cannot be asked."))
#define LEASED                                                                                                         \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The request."), SL_REQUIRED("account_id", SL_ID, "Its account."),              \
              SL_REQUIRED("payload", SL_TEXT_OR_NULL, "What is asked."),                                               \
              SL_REQUIRED("aggregation", TEXT, "For several sources."),                                                \
              SL_REQUIRED("filter", SL_TEXT_OR_NULL, "Applied by the server when it gets the result."),                \
              SL_REQUIRED("lease", TEXT, "The right to complete it."),                                                 \
              SL_REQUIRED("attempt", COUNT, "Which attempt this is."),                                                 \
              SL_REQUIRED("lease_until", SL_TIME, "When the right ends."),                                             \
              SL_REQUIRED("sources", "\"type\":\"array\",\"items\":" ASK, "What to ask."))
#define LEASES SL_OBJECT(SL_REQUIRED("items", "\"type\":\"array\",\"items\":" LEASED, "At most as many as wanted."))
#define LIMITS                                                                                                         \
    SL_OBJECT(SL_REQUIRED("url_max_bytes", COUNT, "Of a source's url."),                                               \
              SL_REQUIRED("filter_max_bytes", COUNT, "Of a filter."),                                                  \
              SL_REQUIRED("filter_max_depth", COUNT, "Steps down of a filter."),                                       \
              SL_REQUIRED("filter_max_values", COUNT, "Values selected at a time."),                                   \
              SL_REQUIRED("result_max_bytes", COUNT, "Of an answer, decoded."),                                        \
              SL_REQUIRED("payload_max_bytes", COUNT, "Of a payload."),                                                \
              SL_REQUIRED("timeout", SL_DURATION, "Of one source."), SL_REQUIRED("max_redirects", COUNT, "Followed."), \
              SL_REQUIRED("max_sources", COUNT, "Per request."),                                                       \
              SL_REQUIRED("max_attempts", COUNT, "Before it is given up."),                                            \
              SL_REQUIRED("ttl_seconds", COUNT, "Before it expires; 0 = never."),                                      \
              SL_REQUIRED("content_types", SL_LIST(TEXT, 32), "That an answer may have; none at all is allowed too."))

#define CONFIG                                                                                                         \
    SL_OBJECT(                                                                                                         \
        SL_OPTIONAL("ttl_seconds", SL_INTEGER(0, 31536000) SL_DEFAULT("0") SL_ENV("ORACLE_TTL_SECONDS"),               \
                    "Requests older than this expire; 0 = never."),                                                    \
        SL_OPTIONAL("max_attempts", SL_INTEGER(1, 100) SL_DEFAULT("3") SL_ENV("ORACLE_MAX_ATTEMPTS"),                  \
                    "Attempts per request."),                                                                          \
        SL_OPTIONAL("backoff", SL_DURATION SL_DEFAULT("\"10s\"") SL_ENV("ORACLE_BACKOFF"),                             \
                    "Wait after the first failure; doubles."),                                                         \
        SL_OPTIONAL("backoff_max", SL_DURATION SL_DEFAULT("\"10m\""), "Longest wait."),                                \
        SL_OPTIONAL("dlq_enabled", SL_BOOLEAN SL_DEFAULT("true") SL_ENV("ORACLE_DLQ_ENABLED"),                         \
                    "Requests whose attempts are used up become dead_letter instead of failed."),                      \
        SL_OPTIONAL("runner_tokens", TEXT SL_ENV("ORACLE_RUNNER_TOKENS") SL_SECRET,                                    \
                    "Tokens of external runners, with commas between; set: runners fetch, this server does not."),     \
        SL_OPTIONAL("resolver_url", TEXT SL_ENV("ORACLE_RESOLVER_URL"), "Ask this resolver instead of the sources."),  \
        SL_OPTIONAL("resolver_key", TEXT SL_ENV("ORACLE_RESOLVER_KEY") SL_SECRET, "Bearer token for the resolver."),   \
        SL_OPTIONAL("timeout", SL_DURATION SL_DEFAULT("\"5s\""), "For one source."),                                   \
        SL_OPTIONAL("url_max_bytes", SL_INTEGER(16, 2048) SL_DEFAULT("256"), "Longest url of a source."),              \
        SL_OPTIONAL("filter_max_bytes", SL_INTEGER(1, 1024) SL_DEFAULT("128"), "Longest filter."),                     \
        SL_OPTIONAL("result_max_bytes", SL_INTEGER(1, 8388608) SL_DEFAULT("65535"), "Largest answer."),                \
        SL_OPTIONAL("max_redirects", SL_INTEGER(0, 10) SL_DEFAULT("2"), "Redirects followed."),                        \
        SL_OPTIONAL("content_types",                                                                                   \
                    SL_LIST(SL_STRING(1, 128), 32) SL_DEFAULT("[\"application/json\",\"+json\",\"text/plain\"]"),      \
                    "Media types of answers."))

static sl_err limits(void *self, sl_call *c)
{
    const struct oracle *o = self;
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '{');
    sl_json_int(&j, "url_max_bytes", (int64_t)o->url_max);
    sl_json_int(&j, "filter_max_bytes", (int64_t)o->filter_max);
    sl_json_int(&j, "filter_max_depth", JSONPATH_DEPTH);
    sl_json_int(&j, "filter_max_values", JSONPATH_VALUES);
    sl_json_int(&j, "result_max_bytes", (int64_t)o->result_max);
    sl_json_int(&j, "payload_max_bytes", PAYLOAD_MAX);
    sl_json_text(&j, "timeout", sl_format(c, "%lldms", (long long)o->timeout_ms));
    sl_json_int(&j, "max_redirects", o->redirects);
    sl_json_int(&j, "max_sources", SOURCES_MAX);
    sl_json_int(&j, "max_attempts", o->max_tries);
    sl_json_int(&j, "ttl_seconds", o->ttl_us / 1000000);
    sl_json_open(&j, "content_types", '[');
    for (size_t i = 0; i < o->n_types; i++)
        sl_json_text(&j, NULL, o->types[i]);
    sl_json_close(&j, ']');
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

#define AT "/accounts/{account}/oracle"
static const sl_entry entries[] = {
    { SL_ROUTE, "POST " AT "/sources", source_create, .scope = "oracle:write", .in = NEW_SOURCE, .out = SOURCE,
      .status = 201, .doc = "Register a data source." },
    { SL_ROUTE, "GET " AT "/sources", source_list, .scope = "oracle:read", .out = SOURCE, .flags = SL_LIST,
      .doc = "List data sources." },
    { SL_ROUTE, "GET " AT "/sources/{source}", source_get, .scope = "oracle:read", .out = SOURCE,
      .doc = "Read a data source." },
    { SL_ROUTE, "PATCH " AT "/sources/{source}", source_change, .scope = "oracle:write", .in = SOURCE_CHANGE,
      .out = SOURCE, .doc = "Change a data source; honours If-Match." },
    { SL_ROUTE, "DELETE " AT "/sources/{source}", source_delete, .scope = "oracle:write", .status = 204,
      .doc = "Remove a data source; requests that still wait for it will fail." },
    { SL_ROUTE, "POST " AT "/requests", request_create, .scope = "oracle:write", .in = NEW_REQUEST, .out = REQUEST,
      .status = 201, .doc = "Ask one or more sources; the answer is fetched in the background." },
    { SL_ROUTE, "GET " AT "/requests", request_list, .scope = "oracle:read", .query = BY_STATUS, .out = REQUEST,
      .flags = SL_LIST, .doc = "List requests, newest first." },
    { SL_ROUTE, "GET " AT "/requests/{request}", request_get, .scope = "oracle:read", .out = REQUEST_WHOLE,
      .doc = "Read a request with every attempt." },
    { SL_ROUTE, "POST " AT "/requests/{request}/cancel", request_cancel, .scope = "oracle:write", .out = REQUEST_WHOLE,
      .doc = "Stop a request that has not ended." },
    { SL_ROUTE, "POST " AT "/requests/{request}/replay", request_replay, .scope = "oracle:write", .out = REQUEST_WHOLE,
      .doc = "Ask again after the end; what was before stays in the log." },
    { SL_ROUTE, "GET /oracle/limits", limits, .scope = "oracle:read", .out = LIMITS,
      .doc = "The limits that requests meet." },
    { SL_ROUTE, "POST /oracle/runner/lease", runner_lease, .scope = "oracle:run",
      .problems = "401 runner_token_required, 404 no_runners", .in = LEASE, .out = LEASES, .flags = SL_SENSITIVE,
      .doc = "For runners: take pending requests for a while, with their sources ready to ask." },
    { SL_ROUTE, "POST /oracle/runner/requests/{request}/complete", runner_complete, .scope = "oracle:run",
      .in = COMPLETE, .out = REQUEST, .doc = "For runners: bring the result or the error of a leased request." },
    { SL_ROUTE, "POST /oracle/runner/requests/{request}/extend", runner_extend, .scope = "oracle:run", .in = EXTEND,
      .out = REQUEST, .doc = "For runners: hold a leased request longer." },
    { SL_JOB, "oracle.fetch", fetch_job, .deadline_ms = 120000, .attempts = 100, .backoff_ms = 1000,
      .doc = "Fetch one request from its sources." },
    { SL_JOB, "oracle.due", due_job, .doc = "Expire one request, or return its lost lease." },
    { SL_SCHEDULE, "oracle.tidy", tidy, .schedule = "@every 5s", .doc = "Find expired requests and lost leases." },
};

static const sl_metric metrics[] = {
    { SL_COUNTER, "oracle_request_attempts_total", "Attempts at sources by how they ended.", "outcome" },
    { SL_COUNTER, "oracle_requests_total", "Requests that ended, by status.", "status" },
    { SL_GAUGE, "oracle_oldest_pending_seconds", "Age of the oldest pending request.", NULL },
    { SL_GAUGE, "oracle_pending_requests", "Requests that wait to be fetched.", NULL },
};

static const sl_lifecycle life = { .size = sizeof life, .create = oracle_create, .destroy = oracle_destroy };
static const sl_need needs[] = {
    { "sl.core", 1, 0 }, { "sl.store", 1, 0 },   { "sl.bus", 1, 0 },   { "sl.jobs", 1, 0 },
    { "sl.http", 1, 0 }, { "sl.metrics", 1, 0 }, { "accounts", 1, 0 }, { "secrets", 1, 0 }
};

SL_PLUGIN("oracle", "1.0.0", .doc = "Outside data on request, fetched, filtered, aggregated and delivered once.",
          SL_ENTRIES(entries), SL_METRICS(metrics), SL_NEEDS(needs), .config = CONFIG, .lifecycle = &life,
          .stack_kib = 256, .grants = "store:accounts store:oracle_* publish:oracle.* ask:secrets.resolve net:*");
