/* account.h - the one check that services under /accounts/{account} need: does the account exist for this tenant? */
#ifndef SDK_ACCOUNT_H
#define SDK_ACCOUNT_H
#include <service_layer/plugin.h>

/* The problem for an account that is unknown or another tenant's. Also what an insert's SL_ENOENT (its foreign key)
 * means. */
static inline sl_err sl_account_missing(sl_call *c)
{
    sl_str account = sl_path(c, "account");
    sl_str detail = sl_format(c, "There is no account %.*s.", (int)(account.n < 64 ? account.n : 64),
                              account.p ? account.p : "");
    return sl_problem(c, 404, "account_not_found", detail.p ? detail.p : "There is no such account.");
}

/* [S] SL_OK when the path's {account} exists in the caller's tenant, else a 404. Lists call it first, so that an
 * unknown account is not an empty list. Inserts need it not: their foreign key (tenant, account_id) says so. Grant:
 * store:accounts. */
static inline sl_err sl_account_required(sl_call *c)
{
    const sl_rows *rows;
    sl_err e = sl_query(c, &rows, "select id from accounts where tenant = $1 and id = $2", sl_fact(c, "tenant"),
                        sl_path(c, "account"));
    if (e) return e;
    return rows->rows ? SL_OK : sl_account_missing(c);
}
#endif
