/* secrets.h - what the parts of the secrets plugin share: handlers, look-ups, how values are bound and sealed. */
#ifndef SECRETS_H
#define SECRETS_H
#include <service_layer/json.h>

enum { METRIC_REWRAPPED, METRIC_DENIED };

/* ---- secrets.c ---- */
sl_str secret_key(sl_call *c, sl_str name);     /* the name in lower case, as looked up */
sl_err secret_missing(sl_call *c, sl_str name); /* the 404 problem that names it */
/* [S] The secret of the path as a row (id, name, version, acl, deleted_at ...) or a 404; deleted ones only if asked
 * for. */
sl_err secret_find(sl_call *c, int deleted_too, const sl_rows **rows);

/* ---- values.c ---- */
/* The authenticated data of a value: tenant, account, name and version as a JSON array, so no two can be confused. */
sl_str value_aad(sl_call *c, sl_str tenant, sl_str account, sl_str name, int64_t version);
sl_err value_add(sl_call *c, sl_str secret_id, sl_str name, int64_t version, sl_str value); /* [S] seal and store */
sl_handler value_read, versions_list, version_destroy, resolve;

/* ---- rewrap.c ---- */
sl_handler rewrap_start, rewrap_run, keys_report, purge;
#endif
