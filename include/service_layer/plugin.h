/* plugin.h - what a plugin author includes: the contract (abi.h) with short names for its functions, and field lists.
 */
#ifndef SERVICE_LAYER_PLUGIN_H
#define SERVICE_LAYER_PLUGIN_H
#include "abi.h"
#include "fields.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- text ---- */
#define SL(literal) sl_lit(literal, sizeof(literal) - 1)
static inline sl_str sl_lit(const char *p, size_t n)
{
    sl_str s;
    s.p = p;
    s.n = n;
    return s;
}
static inline sl_str sl_cstr(const char *p) { return sl_lit(p, p ? strlen(p) : 0); }
static inline int sl_given(sl_str s) { return s.p != NULL; }
static inline int sl_same(sl_str a, sl_str b) { return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0); }
static inline int sl_is(sl_str a, const char *b) { return sl_same(a, sl_cstr(b)); }

/* ---- input: see enum sl_from ---- */
static inline sl_str sl_path(sl_call *c, const char *name)
{
    return c->host->core->input(c, SL_IN_PATH, sl_cstr(name));
}
static inline sl_str sl_param(sl_call *c, const char *name)
{
    return c->host->core->input(c, SL_IN_QUERY, sl_cstr(name));
}
static inline sl_str sl_req_header(sl_call *c, const char *name)
{
    return c->host->core->input(c, SL_IN_HEADER, sl_cstr(name));
}
static inline sl_str sl_body(sl_call *c, const char *name)
{
    return c->host->core->input(c, SL_IN_BODY, sl_cstr(name));
}
static inline sl_str sl_config(sl_call *c, const char *name)
{
    return c->host->core->input(c, SL_IN_CONFIG, sl_cstr(name));
}
static inline sl_str sl_fact(sl_call *c, const char *name)
{
    return c->host->core->input(c, SL_IN_FACT, sl_cstr(name));
}
static inline sl_str sl_json_at(sl_call *c, sl_str json, const char *pointer)
{
    return c->host->core->json(c, json, sl_cstr(pointer));
}
/* Decimal text as a number; `absent` when the text is absent or not a whole number that fits. */
static inline int64_t sl_to_int(sl_str s, int64_t absent)
{
    size_t i = 0;
    int minus = 0;
    uint64_t v = 0, top = (uint64_t)INT64_MAX;
    if (s.n > 0 && s.p[0] == '-') {
        minus = 1;
        i = 1;
        top++;
    }
    if (i >= s.n) return absent;
    for (; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9 || v > (top - digit) / 10) return absent;
        v = v * 10 + digit;
    }
    return minus ? (v == top ? INT64_MIN : -(int64_t)v) : (int64_t)v;
}

/* ---- memory, time, ids ---- */
static inline void *sl_alloc(sl_call *c, size_t n) { return c->host->core->alloc(c, n); }
static inline int64_t sl_now(sl_call *c) { return c->host->core->now(); }
static inline sl_str sl_new_id(sl_call *c) { return c->host->core->new_id(c); }
static inline sl_err sl_sleep(sl_call *c, uint32_t ms) { return c->host->core->sleep(c, ms); } /* [S] */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
/* Formatted text in the call's arena; absent when memory is out. */
static inline sl_str
sl_format(sl_call *c, const char *format, ...)
{
    va_list ap;
    char *p;
    int n;
    va_start(ap, format);
    n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    p = n < 0 ? NULL : (char *)sl_alloc(c, (size_t)n + 1);
    if (!p) return sl_lit(NULL, 0);
    va_start(ap, format);
    (void)vsnprintf(p, (size_t)n + 1, format, ap);
    va_end(ap);
    return sl_lit(p, (size_t)n);
}

/* ---- values: SL_V turns text, numbers and literals into what SQL takes; absent text is NULL ---- */
static inline sl_value sl_int(int64_t i)
{
    sl_value v;
    memset(&v, 0, sizeof v);
    v.type = SL_INT;
    v.i = i;
    return v;
}
static inline sl_value sl_real(double d)
{
    sl_value v;
    memset(&v, 0, sizeof v);
    v.type = SL_REAL;
    v.d = d;
    return v;
}
static inline sl_value sl_text(sl_str s)
{
    sl_value v;
    memset(&v, 0, sizeof v);
    v.type = s.p ? (uint64_t)SL_TEXT : (uint64_t)SL_NULL;
    v.s = s;
    return v;
}
static inline sl_value sl_ctext(const char *s) { return sl_text(sl_cstr(s)); }
static inline sl_value sl_blob(sl_str s)
{
    sl_value v = sl_text(s);
    if (s.p) v.type = SL_BLOB;
    return v;
}
static inline sl_value sl_value_itself(sl_value v) { return v; }
/* A JSON boolean as 0 or 1, absent as NULL: for columns that a schema states as boolean. */
static inline sl_value sl_flag(sl_str s) { return sl_given(s) ? sl_int(sl_is(s, "true")) : sl_text(s); }
/* A whole number out of input text, absent as NULL. */
static inline sl_value sl_number(sl_str s) { return sl_given(s) ? sl_int(sl_to_int(s, 0)) : sl_text(s); }

/* The cell of a row by column name; SL_NULL when there is no such column or row. */
static inline sl_value sl_cell(const sl_rows *r, uint32_t row, const char *name)
{
    uint32_t i;
    if (r && row < r->rows)
        for (i = 0; i < r->cols; i++)
            if (sl_is(r->names[i], name)) return r->cells[(size_t)row * r->cols + i];
    return sl_text(sl_lit(NULL, 0));
}
static inline sl_str sl_cell_text(const sl_rows *r, uint32_t row, const char *name)
{
    sl_value v = sl_cell(r, row, name);
    return v.type == SL_TEXT || v.type == SL_BLOB ? v.s : sl_lit(NULL, 0);
}
static inline int64_t sl_cell_int(const sl_rows *r, uint32_t row, const char *name)
{
    sl_value v = sl_cell(r, row, name);
    return v.type == SL_INT ? v.i : 0;
}

#ifndef __cplusplus
#define SL_V(x)                                                                                                        \
    _Generic((x), sl_str: sl_text, sl_value: sl_value_itself, char *: sl_ctext, const char *: sl_ctext, \
                         double: sl_real, float: sl_real, default: sl_int)(x)
#define SL_ARRAY(...) ((sl_value[]){ SL_EACH(SL_V, __VA_ARGS__) })
/* sl_query(c, &rows, "sql with $1 $2", a, b): one statement [S], see sl_store.query. */
#define sl_query(c, out, ...) sl_query_array(c, out, SL_ARRAY(__VA_ARGS__), SL_COUNT(__VA_ARGS__))
/* sl_reply_list(c, "select ... where tenant = $1 {{page}}", a): [S], see sl_store.reply_list. */
#define sl_reply_list(c, ...) sl_reply_list_array(c, SL_ARRAY(__VA_ARGS__), SL_COUNT(__VA_ARGS__))
#endif
static inline sl_err sl_query_array(sl_call *c, const sl_rows **out, const sl_value *v, uint32_t n)
{
    return c->host->store->query(c, out, v[0].s, v + 1, n - 1);
}
static inline sl_err sl_reply_list_array(sl_call *c, const sl_value *v, uint32_t n)
{
    return c->host->store->reply_list(c, v[0].s, v + 1, n - 1);
}
static inline sl_err sl_lock(sl_call *c, sl_str name) { return c->host->store->lock(c, name); } /* [S] */
static inline sl_err sl_commit(sl_call *c) { return c->host->store->commit(c); }                /* [S] */

/* ---- answers ---- */
static inline sl_err sl_reply(sl_call *c, int32_t status, sl_str type, sl_str body)
{
    return c->host->core->reply(c, status, type, body);
}
static inline sl_err sl_reply_json(sl_call *c, int32_t status, sl_str json)
{
    return c->host->core->reply(c, status, SL("application/json"), json);
}
static inline sl_err sl_reply_empty(sl_call *c, int32_t status)
{
    return c->host->core->reply(c, status, sl_lit(NULL, 0), sl_lit(NULL, 0));
}
static inline sl_err sl_reply_row(sl_call *c, int32_t status, const sl_rows *r)
{
    return c->host->core->reply_row(c, status, r);
}
static inline sl_err sl_header(sl_call *c, sl_str name, sl_str value) { return c->host->core->header(c, name, value); }
/* `return sl_problem(c, 409, "source_exists", "...")`: the transaction rolls back and the client gets this problem. */
static inline sl_err sl_problem(sl_call *c, int32_t status, const char *code, const char *detail)
{
    return c->host->core->problem(c, status, sl_cstr(code), sl_cstr(detail));
}
/* The version that If-Match asks for; NULL when there is none or it is `*`, so that SQL can say
 * `version = coalesce($n, version)`. A tag that names no version becomes -1, which matches nothing. */
static inline sl_value sl_if_match(sl_call *c)
{
    sl_str tag = sl_req_header(c, "if-match");
    if (!sl_given(tag) || sl_is(tag, "*")) return sl_text(sl_lit(NULL, 0));
    if (tag.n > 2 && tag.p[0] == '"' && tag.p[tag.n - 1] == '"') {
        tag.p++;
        tag.n -= 2;
    }
    return sl_int(sl_to_int(tag, -1));
}

/* ---- log ---- */
static inline void sl_log(sl_call *c, uint32_t level, const char *text, const sl_pair *fields, uint32_t n)
{
    c->host->core->log(c, level, sl_cstr(text), fields, n);
}

/* ---- bus, jobs, outbound HTTP, metrics ---- */
static inline sl_err sl_publish(sl_call *c, const char *topic, sl_str key, sl_str json)
{
    return c->host->bus->publish(c, sl_cstr(topic), key, json);
}
static inline sl_err sl_ask(sl_call *c, const char *entry, sl_str json, const sl_msg **out) /* [S] */
{
    return c->host->bus->ask(c, sl_cstr(entry), json, 0, out);
}
/* In the name of a tenant, out of a call that has none: a schedule finds what is due, a job does it for its tenant. */
static inline sl_err sl_enqueue_for(sl_call *c, sl_str tenant, const char *kind, sl_str key, sl_str json,
                                    int64_t run_at)
{
    sl_job job;
    memset(&job, 0, sizeof job);
    job.size = (uint32_t)sizeof job;
    job.kind = sl_cstr(kind);
    job.key = key;
    job.json = json;
    job.run_at = run_at;
    job.tenant = tenant;
    return c->host->jobs->enqueue(c, &job);
}
static inline sl_err sl_enqueue(sl_call *c, const char *kind, sl_str key, sl_str json, int64_t run_at)
{
    return sl_enqueue_for(c, sl_lit(NULL, 0), kind, key, json, run_at);
}
static inline sl_err sl_cancel_job(sl_call *c, const char *kind, sl_str key)
{
    return c->host->jobs->cancel(c, sl_cstr(kind), key);
}
static inline sl_err sl_fetch(sl_call *c, const sl_request *r, const sl_response **out) /* [S] */
{
    return c->host->http->fetch(c, r, out);
}
static inline void sl_count(sl_call *c, uint32_t metric, double v, const sl_str *labels, uint32_t n)
{
    c->host->metrics->add(c, metric, v, labels, n);
}

/* ---- the descriptor ---- */
#define SL_ENTRIES(a) .entries = (a), .n_entries = sizeof(a) / sizeof *(a)
#define SL_METRICS(a) .metrics = (a), .n_metrics = sizeof(a) / sizeof *(a)
#define SL_NEEDS(a)   .needs = (a), .n_needs = sizeof(a) / sizeof *(a)
#define SL_PLUGIN(id, release, ...)                                                                                    \
    const sl_plugin sl_plugin_v1 = { .size = sizeof(sl_plugin),                                                        \
                                     .major = SL_MAJOR,                                                                \
                                     .minor = SL_MINOR,                                                                \
                                     .entry_size = sizeof(sl_entry),                                                   \
                                     .metric_size = sizeof(sl_metric),                                                 \
                                     .need_size = sizeof(sl_need),                                                     \
                                     .name = (id),                                                                     \
                                     .version = (release),                                                             \
                                     __VA_ARGS__ }
#endif
