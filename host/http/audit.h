/* audit.h - the audit log: who changed what and who was refused, in the store and in a file, chained by hash. */
#ifndef HTTP_AUDIT_H
#define HTTP_AUDIT_H
#include "base/chain.h"
#include "http/http.h"

/* A call that changes something (POST, PUT, PATCH, DELETE) writes its row in its own transaction, so neither is there
 * without the other; its line is in the file before its answer leaves. A refused call (4xx) changed nothing: its record
 * follows within a second, and of one caller's flood only the first are told apart (limits of audit_refused.c).
 * Bodies, headers and queries are never recorded. */
struct audit_record {
    char id[37];
    int64_t at;
    int status; /* 0: about to begin */
    int64_t times;
    sl_str user, role, tenant, method, route, target, code, outcome, request_id, trace_id, address;
};

/* ---- for main.c ---- */
/* After the migrations, before the modules: opens the file if one is configured, starts the sealing. 0, or why not. */
int audit_start(char *why, size_t why_size);
void audit_stop(call *c); /* [S] while the store is still open: records what is left, at most 2 s */
void audit_reopen(void);  /* SIGHUP: the file was moved away by somebody else */

/* ---- for the host's own routes ---- */
/* What came of the call, in words; the last one counts. No-op when c is no request. Copied. */
void audit_outcome(call *c, sl_str words);
/* [S] For an effect that no transaction can take back: records `words` durably before it begins. SL_EREPLIED: it cannot
 * be recorded, the problem is set and the effect must not happen. */
sl_err audit_intent(call *c, sl_str words);
/* Why changing calls are refused at present, or NULL. */
const char *audit_trouble(void);
/* Columns of sl_audit as audit_from_row reads them. */
#define AUDIT_COLUMNS                                                                                                  \
    "id, at, actor, role, tenant, method, route, target, status, code, outcome, request_id, trace_id, address, times"
void audit_from_row(const sl_rows *rows, uint32_t i, struct audit_record *r); /* texts are those of rows */
/* The line of a record up to its hash; then audit_close_line, with the hash of exactly that or one that was stored. */
void audit_open_line(buf *b, const struct audit_record *r, uint64_t seq, const char *prev);
void audit_close_line(buf *b, const char *hash);
/* Head of the file's chain; false: there is no file. */
bool audit_file_head(struct chain *head, sl_str *path);
#endif
