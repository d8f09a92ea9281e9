/* secrets.c - named secrets of accounts: sealed values, versions, soft delete, access by plugin. */
#include "secrets.h"
#include "account.h"

#define SECRET_NAME  SL_NAME
#define SECRET_VALUE SL_STRING(1, 65536)
#define ACL          SL_LIST(SL_NAME, 32)
#define NEW_SECRET                                                                                                     \
    SL_OBJECT(SL_REQUIRED("name", SECRET_NAME, "Unique per account, whatever its case."),                              \
              SL_REQUIRED("value", SECRET_VALUE SL_SECRET, "At most 64 KiB of text."),                                 \
              SL_OPTIONAL("acl", ACL SL_DEFAULT("[]"), "Plugins that may resolve it; nobody by default."))
#define SECRET_CHANGE                                                                                                  \
    SL_CHANGE(SL_OPTIONAL("value", SECRET_VALUE SL_SECRET, "A new value; the old one stays readable by version."),     \
              SL_OPTIONAL("acl", ACL, "Replaces the list of plugins that may resolve it."))
#define SECRET                                                                                                         \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The secret."), SL_REQUIRED("account_id", SL_ID, "Its account."),               \
              SL_REQUIRED("name", "\"type\":\"string\"", "Its name."),                                                 \
              SL_REQUIRED("acl", ACL, "Plugins that may resolve it."),                                                 \
              SL_REQUIRED("version", "\"type\":\"integer\"", "Counts changes; also the ETag."),                        \
              SL_REQUIRED("versions", "\"type\":\"integer\"", "Values that can be read."),                             \
              SL_REQUIRED("key_id", SL_TEXT_OR_NULL, "Master key that wraps the newest value."),                       \
              SL_REQUIRED("created_at", SL_TIME, "When it was made."),                                                 \
              SL_REQUIRED("updated_at", SL_TIME, "When it last changed."),                                             \
              SL_REQUIRED("deleted_at", SL_TIME, "When it was deleted; null = it is in use."))
#define VALUE                                                                                                          \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The secret."), SL_REQUIRED("name", "\"type\":\"string\"", "Its name."),        \
              SL_REQUIRED("version", "\"type\":\"integer\"", "The version that wrote this value."),                    \
              SL_REQUIRED("value", "\"type\":\"string\"" SL_SECRET, "The value."),                                     \
              SL_REQUIRED("created_at", SL_TIME, "When this value was written."))
#define VERSION                                                                                                        \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The value."), SL_REQUIRED("version", "\"type\":\"integer\"", "Its version."),  \
              SL_REQUIRED("key_id", SL_TEXT_OR_NULL, "Master key that wraps it."),                                     \
              SL_REQUIRED("created_at", SL_TIME, "When it was written."),                                              \
              SL_REQUIRED("destroyed_at", SL_TIME, "When its value was destroyed; null = it can be read."))
#define RESOLVE                                                                                                        \
    SL_OBJECT(SL_REQUIRED("account_id", SL_STRING(1, 64), "Whose secrets."),                                           \
              SL_REQUIRED("names", SL_LIST(SECRET_NAME, 32), "Names of the secrets wanted."))
#define RESOLVED SL_OBJECT(SL_REQUIRED("values", SL_MAP("\"type\":\"string\"", 32) SL_SECRET, "Values by name."))
#define KEY                                                                                                            \
    SL_OBJECT(SL_REQUIRED("key_id", "\"type\":\"string\"", "The master key."),                                         \
              SL_REQUIRED("versions", "\"type\":\"integer\"", "Values that it wraps."),                                \
              SL_REQUIRED("current", SL_BOOLEAN, "True for the key that wraps new values."))
#define KEYS                                                                                                           \
    SL_OBJECT(SL_REQUIRED("current", "\"type\":\"string\"", "The key that wraps new values."),                         \
              SL_REQUIRED("remaining", "\"type\":\"integer\"", "Values still under another key."),                     \
              SL_REQUIRED("unreadable", "\"type\":\"integer\"", "Of these, values whose key is not configured."),      \
              SL_REQUIRED("running", SL_BOOLEAN, "A rewrap is at work."),                                              \
              SL_REQUIRED("rewrapped", "\"type\":\"integer\"", "Values that the last rewrap has looked at."),          \
              SL_REQUIRED("started_at", SL_TIME, "When the last rewrap began."),                                       \
              SL_REQUIRED("finished_at", SL_TIME, "When it ended."),                                                   \
              SL_REQUIRED("keys", "\"type\":\"array\",\"items\":" KEY, "Every key in use."))
#define DELETED SL_OBJECT(SL_OPTIONAL("deleted", SL_BOOLEAN SL_DEFAULT("false"), "Also what was deleted."))
#define WHICH_VERSION                                                                                                  \
    SL_OBJECT(SL_OPTIONAL("version", SL_INTEGER(1, 9007199254740991),                                                  \
                          "The value as it was at this version; newest by default."))
#define PERMANENT                                                                                                      \
    SL_OBJECT(SL_OPTIONAL("permanent", SL_BOOLEAN SL_DEFAULT("false"), "Delete at once, with all versions."))
#define CONFIG                                                                                                         \
    SL_OBJECT(SL_OPTIONAL("max_versions", SL_INTEGER(1, 1000) SL_DEFAULT("10"), "Values kept per secret."),            \
              SL_OPTIONAL("deleted_retention", SL_DURATION SL_DEFAULT("\"720h\""),                                     \
                          "How long a deleted secret can be undeleted."))

#define METADATA                                                                                                       \
    "select s.id, s.account_id, s.name, s.acl, s.version, s.created_at, s.updated_at, s.deleted_at, "                  \
    "(select count(*) from secret_versions v where v.secret_id = s.id and v.destroyed_at is null) as versions, "       \
    "(select v.key_id from secret_versions v where v.secret_id = s.id order by v.version desc limit 1) as key_id "     \
    "from secrets s "

sl_str secret_key(sl_call *c, sl_str name)
{
    char *p = sl_alloc(c, name.n + 1);
    if (!p) return name;
    for (size_t i = 0; i < name.n; i++)
        p[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32) : name.p[i];
    return sl_lit(p, name.n);
}

sl_err secret_missing(sl_call *c, sl_str name)
{
    sl_str detail = sl_format(c, "There is no secret %.*s.", (int)(name.n < 128 ? name.n : 128), name.p ? name.p : "");
    return sl_problem(c, 404, "secret_not_found", detail.p ? detail.p : "There is no such secret.");
}

sl_err secret_find(sl_call *c, int deleted_too, const sl_rows **rows)
{
    sl_err e = sl_query(c, rows, "select * from secrets where tenant = $1 and account_id = $2 and name_key = $3",
                        sl_fact(c, "tenant"), sl_path(c, "account"), secret_key(c, sl_path(c, "name")));
    if (e) return e;
    if ((*rows)->rows && (deleted_too || sl_cell(*rows, 0, "deleted_at").type == SL_NULL)) return SL_OK;
    e = sl_account_required(c);
    return e ? e : secret_missing(c, sl_path(c, "name"));
}

/* [S] Its metadata. */
static sl_err secret_reply(sl_call *c, int32_t status, sl_str id)
{
    const sl_rows *rows;
    sl_err e = sl_query(c, &rows, METADATA "where s.tenant = $1 and s.account_id = $2 and s.id = $3",
                        sl_fact(c, "tenant"), sl_path(c, "account"), id);
    return e ? e : sl_reply_row(c, status, rows);
}

static sl_err create(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str id = sl_new_id(c), name = sl_body(c, "name");
    (void)self;
    sl_err e = sl_query(
        c, &rows,
        "insert into secrets (id, tenant, account_id, name, name_key, acl, version, created_at, updated_at) "
        "values ($1, $2, $3, $4, $5, $6, 1, $7, $7)",
        id, sl_fact(c, "tenant"), sl_path(c, "account"), name, secret_key(c, name), sl_body(c, "acl"), sl_now(c));
    if (e == SL_ENOENT) return sl_account_missing(c);
    if (e == SL_ECONFLICT)
        return sl_problem(c, 409, "secret_exists",
                          "A secret of this name exists already. If it was deleted: undelete it, "
                          "or delete it with permanent=true.");
    if (e) return e;
    e = value_add(c, id, name, 1, sl_body(c, "value"));
    return e ? e : secret_reply(c, 201, id);
}

static sl_err list(void *self, sl_call *c)
{
    (void)self;
    sl_err e = sl_account_required(c);
    if (e) return e;
    return sl_reply_list(c,
                         METADATA "where s.tenant = $1 and s.account_id = $2 and "
                                  "(s.deleted_at is null or cast($3 as bigint) = 1) {{page}}",
                         sl_fact(c, "tenant"), sl_path(c, "account"), sl_flag(sl_param(c, "deleted")));
}

static sl_err get(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = secret_find(c, sl_is(sl_param(c, "deleted"), "true"), &rows);
    return e ? e : secret_reply(c, 200, sl_cell_text(rows, 0, "id"));
}

/* A conditional write touched nothing: the secret is not there (as wanted), or If-Match did not hold. */
static sl_err why_untouched(sl_call *c, int deleted)
{
    const sl_rows *rows;
    sl_err e = secret_find(c, 1, &rows);
    if (e) return e;
    if ((sl_cell(rows, 0, "deleted_at").type != SL_NULL) == deleted) return SL_EPRECOND;
    return deleted ? sl_problem(c, 409, "secret_not_deleted", "The secret is not deleted.")
                   : secret_missing(c, sl_path(c, "name"));
}

static sl_err put(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str value = sl_body(c, "value"), acl = sl_body(c, "acl");
    (void)self;
    sl_err e = sl_query(c, &rows,
                        "update secrets set acl = coalesce($1, acl), version = version + 1, updated_at = $2 "
                        "where tenant = $3 and account_id = $4 and name_key = $5 and deleted_at is null "
                        "and version = coalesce($6, version) returning id, name, version",
                        acl, sl_now(c), sl_fact(c, "tenant"), sl_path(c, "account"), secret_key(c, sl_path(c, "name")),
                        sl_if_match(c));
    if (e) return e;
    if (rows->rows == 0) return why_untouched(c, 0);
    sl_str id = sl_cell_text(rows, 0, "id");
    if (sl_given(value)) e = value_add(c, id, sl_cell_text(rows, 0, "name"), sl_cell_int(rows, 0, "version"), value);
    return e ? e : secret_reply(c, 200, id);
}

static sl_err drop(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str tenant = sl_fact(c, "tenant"), account = sl_path(c, "account"), key = secret_key(c, sl_path(c, "name"));
    (void)self;
    int permanent = sl_is(sl_param(c, "permanent"), "true");
    sl_err e;
    if (permanent)
        e = sl_query(c, &rows,
                     "delete from secrets where tenant = $1 and account_id = $2 and name_key = $3 "
                     "and version = coalesce($4, version) returning id",
                     tenant, account, key, sl_if_match(c));
    else
        e = sl_query(c, &rows,
                     "update secrets set deleted_at = $5, updated_at = $5, version = version + 1 "
                     "where tenant = $1 and account_id = $2 and name_key = $3 and deleted_at is null "
                     "and version = coalesce($4, version) returning id",
                     tenant, account, key, sl_if_match(c), sl_now(c));
    if (e) return e;
    if (rows->rows) return sl_reply_empty(c, 204);
    if (!permanent) return why_untouched(c, 0);
    e = secret_find(c, 1, &rows);
    return e ? e : SL_EPRECOND;
}

static sl_err undelete(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(c, &rows,
                        "update secrets set deleted_at = null, updated_at = $1, version = version + 1 "
                        "where tenant = $2 and account_id = $3 and name_key = $4 and deleted_at is not null "
                        "and version = coalesce($5, version) returning id",
                        sl_now(c), sl_fact(c, "tenant"), sl_path(c, "account"), secret_key(c, sl_path(c, "name")),
                        sl_if_match(c));
    if (e) return e;
    return rows->rows ? secret_reply(c, 200, sl_cell_text(rows, 0, "id")) : why_untouched(c, 1);
}

#define AT "/accounts/{account}/secrets"
static const sl_entry entries[] = {
    { SL_ROUTE, "POST " AT, create, .scope = "secrets:write", .in = NEW_SECRET, .out = SECRET, .status = 201,
      .flags = SL_SENSITIVE, .doc = "Store a secret; the answer never holds its value." },
    { SL_ROUTE, "GET " AT, list, .scope = "secrets:read", .query = DELETED, .out = SECRET, .flags = SL_LIST,
      .doc = "List secrets without their values." },
    { SL_ROUTE, "GET " AT "/{name}", get, .scope = "secrets:read", .query = DELETED, .out = SECRET,
      .doc = "Read a secret's metadata." },
    { SL_ROUTE, "GET " AT "/{name}/value", value_read, .scope = "secrets:read-value", .query = WHICH_VERSION,
      .out = VALUE, .flags = SL_SENSITIVE, .problems = "410 version_destroyed", .doc = "Read a secret's value." },
    { SL_ROUTE, "PUT " AT "/{name}", put, .scope = "secrets:write", .in = SECRET_CHANGE, .out = SECRET,
      .flags = SL_SENSITIVE, .doc = "Write a new value, a new list of plugins, or both; honours If-Match." },
    { SL_ROUTE, "DELETE " AT "/{name}", drop, .scope = "secrets:write", .query = PERMANENT, .status = 204,
      .doc = "Delete a secret; it can be undeleted for a while unless permanent=true." },
    { SL_ROUTE, "POST " AT "/{name}/undelete", undelete, .scope = "secrets:write", .out = SECRET,
      .doc = "Bring a deleted secret back." },
    { SL_ROUTE, "GET " AT "/{name}/versions", versions_list, .scope = "secrets:read", .out = VERSION, .flags = SL_LIST,
      .doc = "List the values that are kept, newest first." },
    { SL_ROUTE, "DELETE " AT "/{name}/versions/{version}", version_destroy, .scope = "secrets:write", .status = 204,
      .doc = "Destroy one value for good; its version stays listed." },
    { SL_COMPUTE, "secrets.resolve", resolve, .in = RESOLVE, .out = RESOLVED, .flags = SL_SENSITIVE,
      .doc = "Values of secrets whose acl names the asking plugin." },
    { SL_ROUTE, "POST /admin/secrets/rewrap", rewrap_start, .scope = "admin", .out = KEYS, .status = 202,
      .doc = "Wrap all values under the current master key, in the background." },
    { SL_ROUTE, "GET /admin/secrets/keys", keys_report, .scope = "admin", .out = KEYS,
      .doc = "How many values each master key wraps, and how many remain to be rewrapped." },
    { SL_JOB, "secrets.rewrap", rewrap_run, .deadline_ms = 60000, .attempts = 100,
      .doc = "Wrap a batch of values under the current master key." },
    { SL_SCHEDULE, "secrets.purge", purge, .schedule = "@every 10m", .doc = "Remove secrets deleted long enough ago." },
};

static const sl_metric metrics[] = {
    { SL_COUNTER, "secrets_rewrapped_total", "Values wrapped under a new master key.", "outcome" },
    { SL_COUNTER, "secrets_denied_total", "Resolutions refused because the acl does not name the plugin.", "plugin" },
};

static const sl_need needs[] = { { "sl.core", 1, 0 },   { "sl.store", 1, 0 },   { "sl.jobs", 1, 0 },
                                 { "sl.crypto", 1, 0 }, { "sl.metrics", 1, 0 }, { "accounts", 1, 0 } };

SL_PLUGIN("secrets", "1.0.0", .doc = "Secrets of accounts, sealed, versioned and shared with plugins by name.",
          SL_ENTRIES(entries), SL_METRICS(metrics), SL_NEEDS(needs), .config = CONFIG,
          .grants = "store:accounts store:secrets store:secret_*");
