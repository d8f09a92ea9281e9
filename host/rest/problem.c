/* problem.c - error answers: application/problem+json (RFC 9457), and which status and code an error becomes. */
#include "rest/problem.h"
#include "base/json.h"
#include "rest/status.h"

const char *problem_title(int status)
{
    const char *phrase = status_phrase(status);
    return *phrase ? phrase : status < 500 ? "Bad Request" : "Server Error";
}

void problem_write(buf *out, int status, sl_str code, sl_str detail, sl_str instance, sl_str trace_id, sl_str errors)
{
    buf_add_cstr(out, "{\"type\":\"/problems/");
    for (size_t i = 0; i < code.n; i++) /* a code is snake_case; whatever else a plugin says must not break the URI */
        buf_add_char(out, (code.p[i] >= 'a' && code.p[i] <= 'z') || (code.p[i] >= '0' && code.p[i] <= '9') ? code.p[i]
                                                                                                           : '_');
    buf_add_cstr(out, "\"");
    json_field_str(out, "title", sl_cstr(problem_title(status)));
    json_field_int(out, "status", status);
    if (detail.n) json_field_str(out, "detail", detail);
    if (instance.n) json_field_str(out, "instance", instance);
    json_field_str(out, "code", code);
    if (trace_id.n) json_field_str(out, "trace_id", trace_id);
    if (errors.n) json_field_raw(out, "errors", errors);
    buf_add_char(out, '}');
}

static const struct {
    sl_err e;
    int status;
    const char *code, *title;
} results[] = {
    { SL_EINVAL, 400, "invalid", "The request is not valid here." },
    { SL_ENOENT, 404, "not_found", "There is no such thing." },
    { SL_EDENIED, 403, "forbidden", "This is not allowed." },
    { SL_ECONFLICT, 409, "conflict", "This contradicts what is there already." },
    { SL_EPRECOND, 412, "precondition_failed", "It has changed since; If-Match does not hold." },
    { SL_ETOOBIG, 413, "too_large", "A limit is exceeded." },
    { SL_EBUSY, 429, "busy", "Too many of these run at once; try again shortly." },
    { SL_ECANCEL, 503, "cancelled", "The request was ended before it was complete; try again shortly." },
    { SL_ETIME, 504, "timeout", "The request took longer than its deadline." },
    { SL_EUPSTREAM, 502, "upstream_failed", "An outside system that this depends on failed." },
    { SL_EUNAVAIL, 503, "unavailable", "Something that this depends on cannot be reached now; try again shortly." },
};

/* `title` is a generic sentence that is fit for any client. */
int problem_status(sl_err e, const char **code, const char **title)
{
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i].e == e) {
            *code = results[i].code;
            *title = results[i].title;
            return results[i].status;
        }
    *code = "internal";
    *title = "Something went wrong on the server. The log has details under this trace_id.";
    return 500;
}
