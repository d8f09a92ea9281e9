/* sources.c - data sources: where an answer is fetched, with which method, headers and body. */
#include "oracle.h"
#include "account.h"
#include "jsontext.h"
#include <strings.h>

sl_err source_missing(sl_call *c, sl_str id)
{
    sl_str detail = sl_format(c, "There is no data source %.*s.", (int)(id.n < 64 ? id.n : 64), id.p ? id.p : "");
    return sl_problem(c, 404, "source_not_found", detail.p ? detail.p : "There is no such data source.");
}

sl_err source_load(sl_call *c, sl_str account, sl_str id, const sl_rows **rows)
{
    return sl_query(c, rows, "select * from oracle_sources where tenant = $1 and account_id = $2 and id = $3",
                    sl_fact(c, "tenant"), account, id);
}

static sl_str lower(sl_call *c, sl_str s)
{
    char *p = sl_alloc(c, s.n + 1);
    for (size_t i = 0; p && i < s.n; i++)
        p[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] + 32) : s.p[i];
    return sl_lit(p, p && s.p ? s.n : 0);
}

/* http or https, a host, no blanks or control characters; references only behind the scheme. */
static sl_err check_url(sl_call *c, const struct oracle *o, sl_str url)
{
    size_t scheme = url.n > 7 && strncasecmp(url.p, "http://", 7) == 0    ? 7
                    : url.n > 8 && strncasecmp(url.p, "https://", 8) == 0 ? 8
                                                                          : 0;
    if (!scheme || url.p[scheme] == '/' || url.p[scheme] == '?' || url.p[scheme] == '#')
        return sl_problem(c, 422, "bad_url", "url must start with http:// or https:// and name a host.");
    if (url.n > o->url_max) {
        sl_str detail = sl_format(c, "url is %zu bytes long; the limit url_max_bytes is %zu.", url.n, o->url_max);
        return sl_problem(c, 422, "url_too_long", detail.p ? detail.p : "url is too long.");
    }
    for (size_t i = 0; i < url.n; i++)
        if ((unsigned char)url.p[i] <= ' ' || url.p[i] == 0x7f)
            return sl_problem(c, 422, "bad_url", "url may not hold blanks or control characters.");
    const char *wrong = template_check(url);
    return wrong ? sl_problem(c, 422, "bad_reference", wrong) : SL_OK;
}

static int header_name_ok(const char *name)
{
    static const char *const reserved[] = { "content-length", "transfer-encoding", "connection",       "upgrade", "te",
                                            "trailer",        "keep-alive",        "proxy-connection", "expect" };
    if (!*name) return 0;
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", *p)) return 0;
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcasecmp(name, reserved[i]) == 0) return 0;
    return 1;
}

static const char *check_headers(sl_str text)
{
    const char *name, *wrong = NULL;
    json_t *headers = json_text_read(text, &wrong), *v;
    if (!headers) return "headers is not valid JSON.";
    json_object_foreach(headers, name, v)
    {
        const char *value = json_string_value(v);
        if (!header_name_ok(name)) wrong = "headers holds a name that is malformed or belongs to the transport.";
        for (const char *p = value; p && *p; p++)
            if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
                wrong = "A header value holds control characters.";
        if (!wrong) wrong = template_check(sl_lit(value, json_string_length(v)));
        if (wrong) break;
    }
    json_decref(headers);
    return wrong;
}

/* What a schema cannot say about the fields that are given. */
static sl_err check_fields(sl_call *c, const struct oracle *o)
{
    sl_str url = sl_body(c, "url"), headers = sl_body(c, "headers"), body = sl_body(c, "body");
    sl_err e = sl_given(url) ? check_url(c, o, url) : SL_OK;
    if (e) return e;
    const char *wrong = sl_given(headers) ? check_headers(headers) : NULL;
    if (wrong) return sl_problem(c, 422, "bad_headers", wrong);
    wrong = sl_given(body) ? template_check(body) : NULL;
    return wrong ? sl_problem(c, 422, "bad_reference", wrong) : SL_OK;
}

static sl_err name_taken(sl_call *c)
{
    return sl_problem(c, 409, "source_exists", "The account has a data source of this name already.");
}

sl_err source_create(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str name = sl_body(c, "name");
    sl_err e = check_fields(c, self);
    if (e) return e;
    e = sl_query(
        c, &rows,
        "insert into oracle_sources (id, tenant, account_id, name, name_key, description, url, method, headers, body, "
        "enabled, version, created_at, updated_at) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12, $12) returning *",
        sl_new_id(c), sl_fact(c, "tenant"), sl_path(c, "account"), name, lower(c, name), sl_body(c, "description"),
        sl_body(c, "url"), sl_body(c, "method"), sl_body(c, "headers"), sl_body(c, "body"),
        sl_flag(sl_body(c, "enabled")), sl_now(c));
    if (e == SL_ENOENT) return sl_account_missing(c);
    if (e == SL_ECONFLICT) return name_taken(c);
    return e ? e : sl_reply_row(c, 201, rows);
}

sl_err source_list(void *self, sl_call *c)
{
    (void)self;
    sl_err e = sl_account_required(c);
    if (e) return e;
    return sl_reply_list(c, "select * from oracle_sources where tenant = $1 and account_id = $2 {{page}}",
                         sl_fact(c, "tenant"), sl_path(c, "account"));
}

/* The source of the path is not there: which of both is missing? */
static sl_err not_found(sl_call *c)
{
    sl_err e = sl_account_required(c);
    return e ? e : source_missing(c, sl_path(c, "source"));
}

sl_err source_get(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = source_load(c, sl_path(c, "account"), sl_path(c, "source"), &rows);
    if (e) return e;
    return rows->rows ? sl_reply_row(c, 200, rows) : not_found(c);
}

static sl_err why_untouched(sl_call *c)
{
    const sl_rows *rows;
    sl_err e = source_load(c, sl_path(c, "account"), sl_path(c, "source"), &rows);
    if (e) return e;
    return rows->rows ? SL_EPRECOND : not_found(c);
}

sl_err source_change(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str name = sl_body(c, "name");
    sl_err e = check_fields(c, self);
    if (e) return e;
    e = sl_query(
        c, &rows,
        "update oracle_sources set name = coalesce($1, name), name_key = coalesce($2, name_key), "
        "description = coalesce($3, description), url = coalesce($4, url), method = coalesce($5, method), "
        "headers = coalesce($6, headers), body = coalesce($7, body), enabled = coalesce($8, enabled), "
        "version = version + 1, updated_at = $9 "
        "where tenant = $10 and account_id = $11 and id = $12 and version = coalesce($13, version) returning *",
        name, sl_given(name) ? lower(c, name) : name, sl_body(c, "description"), sl_body(c, "url"),
        sl_body(c, "method"), sl_body(c, "headers"), sl_body(c, "body"), sl_flag(sl_body(c, "enabled")), sl_now(c),
        sl_fact(c, "tenant"), sl_path(c, "account"), sl_path(c, "source"), sl_if_match(c));
    if (e == SL_ECONFLICT) return name_taken(c);
    if (e) return e;
    return rows->rows ? sl_reply_row(c, 200, rows) : why_untouched(c);
}

sl_err source_delete(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(c, &rows,
                        "delete from oracle_sources where tenant = $1 and account_id = $2 and id = $3 "
                        "and version = coalesce($4, version) returning id",
                        sl_fact(c, "tenant"), sl_path(c, "account"), sl_path(c, "source"), sl_if_match(c));
    if (e) return e;
    return rows->rows ? sl_reply_empty(c, 204) : why_untouched(c);
}
