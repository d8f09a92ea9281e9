/* parts.c - what all operations of the OpenAPI document share: conventions, headers, problems, how to log in.
 */
#include "openapi/parts.h"
#include "rest/problem.h"

static const struct {
    int status;
    const char *code, *doc;
} answers[] = {
    { 304, NULL, "Nothing has changed since the version in `If-None-Match`." },
    { 400, "malformed_json", "The path, query, body or a header cannot be read, or is not valid here." },
    { 401, "unauthorized", "There is no token, or one that is not valid." },
    { 403, "forbidden", "The caller does not hold the scope, or may not act for this tenant." },
    { 404, "not_found", "There is no such thing, or it belongs to another tenant." },
    { 408, "request_timeout", "The body came too slowly." },
    { 409, "conflict", "It contradicts what is there." },
    { 412, "precondition_failed", "It has changed since the version in `If-Match`." },
    { 413, "body_too_large", "A size limit is exceeded." },
    { 415, "unsupported_media_type", "The body is not `application/json`." },
    { 422, "invalid_input",
      "The input does not fit its schema or cannot be fulfilled (see `errors`), or the "
      "`Idempotency-Key` was used for another request." },
    { 429, "rate_limited", "A rate, a quota or a number of calls at once is used up; see `Retry-After`." },
    { 500, "internal", "A bug; the server's log has more under the `trace_id`." },
    { 502, "upstream_failed", "An outside system failed." },
    { 503, "unavailable",
      "Overload, or the service, the store or the audit log cannot be reached; see `Retry-After`." },
    { 504, "timeout", "The deadline passed." },
};
enum { ANSWERS = sizeof answers / sizeof *answers };

bool openapi_common_answer(int status)
{
    for (size_t i = 0; i < ANSWERS; i++)
        if (answers[i].status == status) return true;
    return false;
}

void add_reference_named(buf *b, const char *name, const char *place)
{
    json_add_name(b, name);
    buf_printf(b, "{\"$ref\":\"#/components/%s/%s\"}", place, name);
}

void openapi_problem_content(buf *b, int status, sl_str code)
{
    json_add_name(b, "content");
    buf_add_cstr(b, "{\"application/problem+json\":{\"schema\":{\"$ref\":\"#/components/schemas/Problem\"}");
    json_add_name(b, "example");
    problem_write(b, status, code, SL("What is wrong, in a sentence."), SL("/accounts"),
                  SL("01a1fbb9913d7e8f91a20865701e88fa"),
                  status == 422 ? SL("[{\"pointer\":\"/owner\",\"detail\":\"is required\"}]") : sl_lit(NULL, 0));
    buf_add_cstr(b, "}}");
}

static void add_answers(buf *b)
{
    char name[12];
    json_add_name(b, "responses");
    buf_add_char(b, '{');
    for (size_t i = 0; i < ANSWERS; i++) {
        int status = answers[i].status;
        snprintf(name, sizeof name, "%d", status);
        json_add_name(b, name);
        buf_add_char(b, '{');
        json_field_str(b, "description", sl_cstr(answers[i].doc));
        json_add_name(b, "headers");
        buf_add_char(b, '{');
        add_reference_named(b, "X-Request-Id", "headers");
        if (status == 401 || status == 403) add_reference_named(b, "WWW-Authenticate", "headers");
        if (status == 429 || status == 503) add_reference_named(b, "Retry-After", "headers");
        buf_add_char(b, '}');
        if (answers[i].code) openapi_problem_content(b, status, sl_cstr(answers[i].code));
        buf_add_char(b, '}');
    }
    buf_add_char(b, '}');
}

static void add_headers(buf *b)
{
    static const struct {
        const char *name, *doc, *schema;
    } headers[] = {
        { "X-Request-Id", "The request's id: yours, or a new one. It is in the log too.", "{\"type\":\"string\"}" },
        { "ETag", "The version; give it as `If-Match` or `If-None-Match`.", "{\"type\":\"string\"}" },
        { "Link", "`rel=\\\"next\\\"`: the address of the next page.", "{\"type\":\"string\"}" },
        { "Retry-After", "Seconds to wait.", "{\"type\":\"integer\",\"minimum\":0}" },
        { "WWW-Authenticate", "What is missing (RFC 6750).", "{\"type\":\"string\"}" },
        { "RateLimit", "What is left of the rate that is nearest to its end.", "{\"type\":\"string\"}" },
        { "RateLimit-Policy", "That rate.", "{\"type\":\"string\"}" },
        { "Idempotency-Hit", "This is the answer to the first request with this key.",
          "{\"type\":\"string\",\"const\":\"true\"}" },
    };
    json_add_name(b, "headers");
    buf_add_char(b, '{');
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        json_add_name(b, headers[i].name);
        buf_printf(b, "{\"description\":\"%s\",\"schema\":%s}", headers[i].doc, headers[i].schema);
    }
    buf_add_char(b, '}');
}

static void add_parameter(buf *b, const char *name, const char *in, const char *doc, sl_str schema)
{
    json_add_name(b, name);
    buf_add_char(b, '{');
    json_field_str(b, "name", sl_cstr(name));
    json_field_str(b, "in", sl_cstr(in));
    json_field_str(b, "description", sl_cstr(doc));
    json_field_raw(b, "schema", schema);
    buf_add_char(b, '}');
}

static void add_parameters(buf *b, struct page_sizes sizes)
{
    char limit[96];
    int n = snprintf(limit, sizeof limit, "{\"type\":\"integer\",\"minimum\":1,\"maximum\":%zu,\"default\":%zu}",
                     sizes.max, sizes.normal);
    json_add_name(b, "parameters");
    buf_add_char(b, '{');
    add_parameter(b, "limit", "query", "Items of a page.", sl_lit(limit, (size_t)n));
    add_parameter(b, "cursor", "query", "Where the page begins: `next_cursor` of the one before.",
                  SL("{\"type\":\"string\"}"));
    add_parameter(b, "X-Tenant-ID", "header", "The tenant to act for, of those that the token may act for.",
                  SL("{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9._-]{1,64}$\"}"));
    add_parameter(b, "Idempotency-Key", "header",
                  "The same key and request give the same answer again, and have one effect.",
                  SL("{\"type\":\"string\",\"pattern\":\"^[!-~]{1,255}$\"}"));
    add_parameter(b, "If-Match", "header", "Only if this is still the version: an `ETag`, or `*`.",
                  SL("{\"type\":\"string\",\"minLength\":1}"));
    add_parameter(b, "If-None-Match", "header", "304 if this is still the version: an `ETag`.",
                  SL("{\"type\":\"string\"}"));
    buf_add_char(b, '}');
}

#define TEXT_FIELD(name, doc) "\"" name "\":{\"type\":\"string\",\"description\":\"" doc "\"}"
static const char
    problem_schema[] =
        "{\"type\":\"object\",\"description\":\"An error (RFC "
        "9457).\",\"required\":[\"type\",\"title\",\"status\",\"code\"],"
        "\"properties\":{" TEXT_FIELD("type", "`/problems/` and the code.") "," TEXT_FIELD(
            "title",
            "Of the status.") ","
                              "\"status\":{\"type\":\"integer\",\"minimum\":400,\"maximum\":599,\"description\":\"The "
                              "HTTP status.\"}," TEXT_FIELD("detail", "What is wrong, in a sentence.") "," TEXT_FIELD("instance", "The request's path.") "," TEXT_FIELD(
                                  "code",
                                  "Stable, for programs.") "," TEXT_FIELD("trace_id",
                                                                          "The server's log has more under "
                                                                          "it.") ","
                                                                                 "\"errors\":{\"type\":"
                                                                                 "\"array\",\"description\":"
                                                                                 "\"What is wrong with the "
                                                                                 "input.\",\"items\":{"
                                                                                 "\"type\":\"object\","
                                                                                 "\"required\":[\"pointer\","
                                                                                 "\"detail\"],\"properties\":"
                                                                                 "{" TEXT_FIELD(
                                                                                     "pointer",
                                                                                     "RF"
                                                                                     "C "
                                                                                     "69"
                                                                                     "01"
                                                                                     ", "
                                                                                     "in"
                                                                                     "to"
                                                                                     " t"
                                                                                     "he"
                                                                                     " b"
                                                                                     "od"
                                                                                     "y,"
                                                                                     " o"
                                                                                     "r "
                                                                                     "/q"
                                                                                     "ue"
                                                                                     "ry"
                                                                                     "/N"
                                                                                     "AM"
                                                                                     "E"
                                                                                     ".") "," TEXT_FIELD("detail",
                                                                                                         "What it must "
                                                                                                         "be.") "}}}}}";

void openapi_add_components(buf *b, struct page_sizes sizes)
{
    json_add_name(b, "components");
    buf_add_char(b, '{');
    json_field_raw(b, "securitySchemes",
                   SL("{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"A token. The scope that "
                      "an operation needs stands in its `security`.\"}}"));
    add_parameters(b, sizes);
    add_headers(b);
    add_answers(b);
    json_add_name(b, "schemas");
    buf_add_char(b, '{');
    json_field_raw(b, "Problem", sl_cstr(problem_schema));
    buf_add_cstr(b, "}}");
}

void openapi_add_head(buf *b)
{
    json_field_str(b, "openapi", SL("3.1.0"));
    json_add_name(b, "info");
    buf_add_char(b, '{');
    json_field_str(b, "title", SL("Service Layer"));
    json_field_str(b, "version", SL(SL_VERSION));
    json_field_str(b, "description",
                   SL("Every error is `application/problem+json` with a stable `code`. Lists are paged by `limit` and "
                      "`cursor`. An "
                      "`Idempotency-Key` makes a POST safe to repeat, `If-Match` an edit. `X-Request-Id` and "
                      "`traceparent` are taken "
                      "and given. A request that cannot even be routed is answered 404 or 405, or 400, 408, 414, 431 "
                      "or 505 when its "
                      "head cannot be read."));
    buf_add_char(b, '}');
    json_field_raw(b, "servers", SL("[{\"url\":\"/\"}]"));
}
