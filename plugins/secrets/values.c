/* values.c - sealed values of secrets: writing, reading, versions, and resolving for plugins that the acl names. */
#include "secrets.h"
#include "rfc3339.h"

sl_str value_aad(sl_call *c, sl_str tenant, sl_str account, sl_str name, int64_t version)
{
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '[');
    sl_json_text(&j, NULL, tenant);
    sl_json_text(&j, NULL, account);
    sl_json_text(&j, NULL, name);
    sl_json_int(&j, NULL, version);
    sl_json_close(&j, ']');
    return sl_json_end(&j);
}

sl_err value_add(sl_call *c, sl_str secret_id, sl_str name, int64_t version, sl_str value)
{
    const sl_rows *rows;
    const sl_crypto *crypto = c->host->crypto;
    sl_str tenant = sl_fact(c, "tenant"), account = sl_path(c, "account"), sealed;
    if (value.n > 65536) return sl_problem(c, 413, "value_too_large", "A secret's value is at most 65536 bytes.");
    sl_str aad = value_aad(c, tenant, account, name, version);
    if (!sl_given(aad)) return SL_ETOOBIG;
    sl_err e = crypto->seal(c, aad, value, &sealed);
    if (e) return e;
    e = sl_query(c, &rows,
                 "insert into secret_versions (id, tenant, account_id, secret_id, version, sealed, key_id, created_at) "
                 "values ($1, $2, $3, $4, $5, $6, $7, $8)",
                 sl_new_id(c), tenant, account, secret_id, version, sl_blob(sealed), crypto->key_id(c, sealed),
                 sl_now(c));
    if (e) return e;
    return sl_query(
        c, &rows,
        "delete from secret_versions where secret_id = $1 and version <= "
        "(select version from secret_versions where secret_id = $1 order by version desc limit 1 offset $2)",
        secret_id, sl_to_int(sl_config(c, "max_versions"), 10));
}

/* The value in force at `version` (NULL = now) of a secret: columns id, name, acl, version, sealed, destroyed_at,
 * created_at. */
static sl_err find_value(sl_call *c, sl_str account, sl_str name, sl_value version, const sl_rows **rows)
{
    return sl_query(
        c, rows,
        "select s.id, s.name, s.acl, s.version as newest, v.version, v.sealed, v.destroyed_at, v.created_at "
        "from secrets s join secret_versions v on v.secret_id = s.id "
        "where s.tenant = $1 and s.account_id = $2 and s.name_key = $3 and s.deleted_at is null "
        "and v.version <= coalesce($4, s.version) and coalesce($4, s.version) <= s.version "
        "order by v.version desc limit 1",
        sl_fact(c, "tenant"), account, secret_key(c, name), version);
}

/* Opens the value of find_value's row. Problems name the secret, never its content. */
static sl_err open_value(sl_call *c, const sl_rows *rows, sl_str account, sl_str *value)
{
    sl_str name = sl_cell_text(rows, 0, "name");
    int64_t version = sl_cell_int(rows, 0, "version");
    if (sl_cell(rows, 0, "destroyed_at").type != SL_NULL) {
        sl_str detail = sl_format(c, "Version %lld of secret %.*s was destroyed.", (long long)version, (int)name.n,
                                  name.p);
        return sl_problem(c, 410, "version_destroyed", detail.p ? detail.p : "This version was destroyed.");
    }
    sl_str aad = value_aad(c, sl_fact(c, "tenant"), account, name, version);
    if (!sl_given(aad)) return SL_ETOOBIG;
    sl_err e = c->host->crypto->unseal(c, aad, sl_cell_text(rows, 0, "sealed"), value);
    if (e != SL_EDENIED) return e;
    const sl_pair fields[] = { { SL("secret"), sl_cell_text(rows, 0, "id") } };
    sl_log(c, SL_ERROR, "secret cannot be opened: its master key is not configured, or the row was changed", fields, 1);
    sl_str detail = sl_format(
        c, "Secret %.*s cannot be opened: its master key is not configured, or it was tampered with.", (int)name.n,
        name.p);
    return sl_problem(c, 500, "secret_unreadable", detail.p ? detail.p : "The secret cannot be opened.");
}

sl_err value_read(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str value, account = sl_path(c, "account"), version = sl_param(c, "version");
    (void)self;
    sl_err e = find_value(c, account, sl_path(c, "name"), sl_number(version), &rows);
    if (e) return e;
    if (rows->rows == 0) {
        e = secret_find(c, 0, &rows);
        return e ? e : sl_problem(c, 404, "version_not_found", "The secret has no value of this version.");
    }
    e = open_value(c, rows, account, &value);
    if (e) return e;
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '{');
    sl_json_text(&j, "id", sl_cell_text(rows, 0, "id"));
    sl_json_text(&j, "name", sl_cell_text(rows, 0, "name"));
    sl_json_int(&j, "version", sl_cell_int(rows, 0, "version"));
    sl_json_text(&j, "value", value);
    sl_json_text(&j, "created_at", sl_time_text(c, sl_cell_int(rows, 0, "created_at")));
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

sl_err versions_list(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = secret_find(c, 1, &rows);
    if (e) return e;
    return sl_reply_list(c,
                         "select id, version, key_id, created_at, destroyed_at from secret_versions "
                         "where tenant = $1 and secret_id = $2 {{page}}",
                         sl_fact(c, "tenant"), sl_cell_text(rows, 0, "id"));
}

sl_err version_destroy(void *self, sl_call *c)
{
    const sl_rows *rows, *done;
    (void)self;
    sl_err e = secret_find(c, 1, &rows);
    if (e) return e;
    e = sl_query(c, &done,
                 "update secret_versions set destroyed_at = $1, sealed = $2, key_id = '' "
                 "where tenant = $3 and secret_id = $4 and version = $5 and destroyed_at is null returning id",
                 sl_now(c), sl_blob(SL("")), sl_fact(c, "tenant"), sl_cell_text(rows, 0, "id"),
                 sl_to_int(sl_path(c, "version"), -1));
    if (e) return e;
    if (done->rows == 0) return sl_problem(c, 404, "version_not_found", "The secret keeps no value of this version.");
    return sl_reply_empty(c, 204);
}

static int listed(sl_call *c, sl_str acl, sl_str plugin)
{
    for (unsigned i = 0; i < 64; i++) {
        char at[8];
        (void)snprintf(at, sizeof at, "/%u", i);
        sl_str name = sl_json_at(c, acl, at);
        if (!sl_given(name)) return 0;
        if (sl_same(name, plugin)) return 1;
    }
    return 0;
}

static sl_err denied(sl_call *c, sl_str caller, sl_str name)
{
    const sl_str labels[] = { caller };
    sl_count(c, METRIC_DENIED, 1, labels, 1);
    sl_str detail = sl_format(c, "Secret %.*s may not be used by %.*s: its acl does not name it.", (int)name.n, name.p,
                              (int)caller.n, caller.p ? caller.p : "");
    return sl_problem(c, 403, "secret_denied",
                      detail.p ? detail.p : "The secret's acl does not name the asking plugin.");
}

sl_err resolve(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str account = sl_body(c, "account_id"), names = sl_body(c, "names"), caller = sl_fact(c, "caller"), value;
    sl_json j = sl_json_start(c);
    (void)self;
    sl_json_open(&j, NULL, '{');
    sl_json_open(&j, "values", '{');
    for (unsigned i = 0; i < 32; i++) {
        char at[8];
        (void)snprintf(at, sizeof at, "/%u", i);
        sl_str name = sl_json_at(c, names, at);
        if (!sl_given(name)) break;
        sl_err e = find_value(c, account, name, sl_text(sl_lit(NULL, 0)), &rows);
        if (e) return e;
        if (rows->rows == 0) return secret_missing(c, name);
        if (!listed(c, sl_cell_text(rows, 0, "acl"), caller)) return denied(c, caller, name);
        e = open_value(c, rows, account, &value);
        if (e) return e;
        sl_json_text(&j, sl_format(c, "%.*s", (int)name.n, name.p).p, value);
    }
    sl_json_close(&j, '}');
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}
