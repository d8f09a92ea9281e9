/* accounts.c - the accounts that own everything else; deleting one deletes all that services keep for it. */
#include <service_layer/plugin.h>

#define METADATA SL_MAP(SL_STRING(0, 1024), 64)
#define NEW_ACCOUNT                                                                                                    \
    SL_OBJECT(SL_REQUIRED("owner", SL_STRING(1, 256), "Who the account belongs to."),                                  \
              SL_OPTIONAL("metadata", METADATA SL_DEFAULT("{}"), "Free text values by name."))
#define ACCOUNT_CHANGE                                                                                                 \
    SL_CHANGE(SL_OPTIONAL("owner", SL_STRING(1, 256), "The new owner."),                                               \
              SL_OPTIONAL("metadata", METADATA, "Replaces all metadata."))
#define ACCOUNT                                                                                                        \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The account."), SL_REQUIRED("tenant", "\"type\":\"string\"", "Its tenant."),   \
              SL_REQUIRED("owner", "\"type\":\"string\"", "Who it belongs to."),                                       \
              SL_REQUIRED("metadata", METADATA, "Free text values by name."),                                          \
              SL_REQUIRED("version", "\"type\":\"integer\"", "Counts changes; also the ETag."),                        \
              SL_REQUIRED("created_at", SL_TIME, "When it was made."),                                                 \
              SL_REQUIRED("updated_at", SL_TIME, "When it last changed."))
#define ONE_ID SL_OBJECT(SL_REQUIRED("id", SL_STRING(1, 64), "The account."))

static sl_err missing(sl_call *c, sl_str id)
{
    sl_str detail = sl_format(c, "There is no account %.*s.", (int)(id.n < 64 ? id.n : 64), id.p ? id.p : "");
    return sl_problem(c, 404, "account_not_found", detail.p ? detail.p : "There is no such account.");
}

static sl_err create(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str id = sl_new_id(c);
    int64_t now = sl_now(c);
    (void)self;
    sl_err e = sl_query(c, &rows,
                        "insert into accounts (id, tenant, owner, metadata, version, created_at, updated_at) "
                        "values ($1, $2, $3, $4, 1, $5, $5) returning *",
                        id, sl_fact(c, "tenant"), sl_body(c, "owner"), sl_body(c, "metadata"), now);
    if (e) return e;
    e = sl_publish(c, "account.created", id, sl_format(c, "{\"id\":\"%.*s\"}", (int)id.n, id.p));
    return e ? e : sl_reply_row(c, 201, rows);
}

static sl_err list(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_list(c, "select * from accounts where tenant = $1 {{page}}", sl_fact(c, "tenant"));
}

static sl_err reply_account(sl_call *c, sl_str id)
{
    const sl_rows *rows;
    sl_err e = sl_query(c, &rows, "select * from accounts where tenant = $1 and id = $2", sl_fact(c, "tenant"), id);
    if (e) return e;
    return rows->rows ? sl_reply_row(c, 200, rows) : missing(c, id);
}

static sl_err get(void *self, sl_call *c)
{
    (void)self;
    return reply_account(c, sl_path(c, "account"));
}

static sl_err answer(void *self, sl_call *c)
{
    (void)self;
    return reply_account(c, sl_body(c, "id"));
}

/* Nothing was touched: the account is gone, or the version was not the one asked for. */
static sl_err why_untouched(sl_call *c, sl_str id)
{
    const sl_rows *rows;
    sl_err e = sl_query(c, &rows, "select version from accounts where tenant = $1 and id = $2", sl_fact(c, "tenant"),
                        id);
    if (e) return e;
    return rows->rows ? SL_EPRECOND : missing(c, id);
}

static sl_err change(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str id = sl_path(c, "account"), owner = sl_body(c, "owner"), metadata = sl_body(c, "metadata");
    (void)self;
    sl_err e = sl_query(c, &rows,
                        "update accounts set owner = coalesce($1, owner), metadata = coalesce($2, metadata), "
                        "version = version + 1, updated_at = $3 "
                        "where tenant = $4 and id = $5 and version = coalesce($6, version) returning *",
                        owner, metadata, sl_now(c), sl_fact(c, "tenant"), id, sl_if_match(c));
    if (e) return e;
    if (rows->rows == 0) return why_untouched(c, id);
    e = sl_publish(c, "account.updated", id, sl_format(c, "{\"id\":\"%.*s\"}", (int)id.n, id.p));
    return e ? e : sl_reply_row(c, 200, rows);
}

static sl_err drop(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str id = sl_path(c, "account");
    (void)self;
    sl_err e = sl_query(
        c, &rows, "delete from accounts where tenant = $1 and id = $2 and version = coalesce($3, version) returning id",
        sl_fact(c, "tenant"), id, sl_if_match(c));
    if (e) return e;
    if (rows->rows == 0) return why_untouched(c, id);
    e = sl_publish(c, "account.deleted", id, sl_format(c, "{\"id\":\"%.*s\"}", (int)id.n, id.p));
    return e ? e : sl_reply_empty(c, 204);
}

static const sl_entry entries[] = {
    { SL_ROUTE, "POST /accounts", create, .scope = "accounts:write", .in = NEW_ACCOUNT, .out = ACCOUNT, .status = 201,
      .doc = "Create an account." },
    { SL_ROUTE, "GET /accounts", list, .scope = "accounts:read", .out = ACCOUNT, .flags = SL_LIST,
      .doc = "List the tenant's accounts, newest first." },
    { SL_ROUTE, "GET /accounts/{account}", get, .scope = "accounts:read", .out = ACCOUNT, .doc = "Read one account." },
    { SL_ROUTE, "PATCH /accounts/{account}", change, .scope = "accounts:write", .in = ACCOUNT_CHANGE, .out = ACCOUNT,
      .doc = "Change an account's owner or metadata; honours If-Match." },
    { SL_ROUTE, "DELETE /accounts/{account}", drop, .scope = "accounts:write", .status = 204,
      .doc = "Delete an account and everything that services keep for it." },
    { SL_COMPUTE, "accounts.get", answer, .in = ONE_ID, .out = ACCOUNT,
      .doc = "The account with this id, or a 404 problem." },
};

static const sl_need needs[] = { { "sl.core", 1, 0 }, { "sl.store", 1, 0 }, { "sl.bus", 1, 0 } };

SL_PLUGIN("accounts", "1.0.0", .doc = "Accounts: owner, metadata and tenant of everything else.", SL_ENTRIES(entries),
          SL_NEEDS(needs), .grants = "store:accounts publish:account.*");
