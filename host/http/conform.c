/* conform.c - with server.check_answers: an answer that is not what the OpenAPI document promises does not leave. */
#include "http/conform.h"
#include "base/json.h"
#include "openapi/openapi.h"
#include "rest/schema.h"

static const struct operation *operation_of(const struct request *rq)
{
    const struct document *d = rq->route ? openapi_document() : NULL;
    for (size_t i = 0; d && i < d->n_operations; i++)
        if (strcmp(d->operations[i].entry->spec.name, rq->route->name) == 0) return &d->operations[i];
    return NULL; /* its module has been taken away meanwhile */
}

static void complain(const struct request *rq, int status, const char *at, const char *what)
{
    log_error("an answer is not what the plugin's table says", LOG_C("route", rq->route->name), LOG_I("status", status),
              LOG_C("at", at), LOG_C("detail", what), LOG_S("trace_id", rq->trace_id));
}

struct misfit {
    const struct request *rq;
    int status;
};

static void on_finding(void *arg, const char *pointer, const char *detail)
{
    const struct misfit *m = arg;
    complain(m->rq, m->status, pointer, detail);
}

/* Each item of a page by `out`, and the page around them. */
static size_t check_page(const struct operation *op, json_t *page, struct misfit *m)
{
    json_t *items = json_object_get(page, "items"), *next = json_object_get(page, "next_cursor");
    size_t found = 0;
    if (!json_is_array(items) || !(json_is_string(next) || json_is_null(next)) || json_object_size(page) != 2) {
        on_finding(m, "", "must be a page: `items` and `next_cursor`");
        return 1;
    }
    for (size_t i = 0; i < json_array_size(items); i++)
        found += schema_check(op->entry->out, json_array_get(items, i), on_finding, m);
    return found;
}

static size_t check_body(const struct operation *op, const struct request *rq, struct misfit *m)
{
    char why[200];
    json_t *body = json_read(buf_str(&rq->out), why, sizeof why);
    size_t found;
    if (!body) {
        on_finding(m, "", why);
        return 1;
    }
    bool list = op->entry->spec.flags & SL_LIST;
    if (!list && json_object_get(body, "next_cursor") && !operation_has_field(op->entry->out, "next_cursor")) {
        log_warn("a route answers a list: its row should have the flag SL_LIST", LOG_C("route", rq->route->name));
        list = true; /* a plugin may be older than the flag */
    }
    found = list ? check_page(op, body, m) : schema_check(op->entry->out, body, on_finding, m);
    json_decref(body);
    return found;
}

/* "text/plain" of "text/plain; charset=utf-8" */
static sl_str media_of(sl_str type)
{
    sl_str media = type;
    str_split(&type, ';', &media);
    return str_trim(media);
}

static bool names(sl_str types, sl_str media)
{
    sl_str one;
    while (types.n && str_split(&types, ',', &one))
        if (str_equal_nocase(str_trim(one), media)) return true;
    return false;
}

sl_err conform_success(const struct request *rq)
{
    const struct operation *op = operation_of(rq);
    struct misfit m = { rq, rq->status ? rq->status : 204 };
    if (!op || rq->streaming || rq->problem) return SL_OK;
    if (m.status >= 300 && operation_may_answer(op, m.status)) return SL_OK;
    if (!op->entry->spec.status && !op->entry->out) return SL_OK; /* nothing is promised */
    if (m.status != operation_success(op)) {
        complain(rq, m.status, "", "this status is not in the table");
        return SL_EINTERNAL;
    }
    sl_str types = operation_types(op);
    if (!op->entry->out && m.status != 204) return SL_OK;
    if (!sl_given(types)) {
        if (!rq->out.n) return SL_OK;
        complain(rq, m.status, "", "there is a body, but 204 has none");
        return SL_EINTERNAL;
    }
    if (!names(types, media_of(rq->type))) {
        complain(rq, m.status, "", "the media type is not the one of `out`");
        return SL_EINTERNAL;
    }
    return sl_is(types, "application/json") && check_body(op, rq, &m) ? SL_EINTERNAL : SL_OK;
}

void conform_problem(const struct request *rq, int status)
{
    const struct operation *op = operation_of(rq);
    if (!op || operation_may_answer(op, status)) return;
    if (op->module->first_party || op->module->linked)
        complain(rq, status, "", "this status is neither common nor among the row's `.problems`");
    else
        log_warn("a problem is not among the row's `.problems`", LOG_C("route", rq->route->name),
                 LOG_I("status", status));
}
