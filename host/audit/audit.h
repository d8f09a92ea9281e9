/* audit.h - the audit log: records of who changed what and who was refused, in the store and in a file, chained by
 * hash. What of a request is recorded, and when, says http/audit.c. */
#ifndef AUDIT_AUDIT_H
#define AUDIT_AUDIT_H
#include "base/chain.h"
#include "store/store.h"

/* A call that changes something (POST, PUT, PATCH, DELETE) writes its row in its own transaction, so neither is there
 * without the other; its line is in the file before its answer leaves. A refused call (4xx) changed nothing: its record
 * follows within a second, and of one caller's flood only the first are told apart (limits of refused.c).
 * Bodies, headers and queries are never recorded. */
struct audit_record {
    char id[37];
    int64_t at;
    int status; /* 0: about to begin */
    int64_t times;
    sl_str user, role, tenant, method, route, target, code, outcome, request_id, trace_id, address;
};

struct audit_config {
    bool on;
    sl_str file;        /* "" = none; must live until audit_start */
    int64_t file_max;   /* bytes, then it is rotated */
    unsigned file_keep; /* rotated files */
    unsigned refusals;  /* records of its own that a caller's refusals get in ten seconds */
    int64_t keep_days;  /* 0 = for ever */
};
void audit_setup(const struct audit_config *cfg); /* also again, with new settings: those of the file stay */
bool audit_on(void);
/* After the migrations, before the modules: opens the file if one is configured, starts the sealing. 0, or why not. */
int audit_start(char *why, size_t why_size);
void audit_stop(call *c); /* [S] while the store is still open: records what is left, at most 2 s */
void audit_reopen(void);  /* SIGHUP: the file was moved away by somebody else */
/* Why changing calls are refused at present, or NULL. */
const char *audit_trouble(void);

/* ---- writing ---- */
sl_str audit_clip(arena *a, sl_str s, size_t max); /* printable UTF-8 of at most max bytes; absent stays absent */
sl_err audit_insert(call *c, const struct audit_record *r); /* joins the transaction */
void audit_later(const struct audit_record *r); /* what no transaction carries: within a second. Copied; never waits */
void audit_count(const char *kind, double n);   /* metric audit_records_total */
bool audit_file_on(void);
/* [S] Space on the disk for one line more is there, and stays there until the line or release. SL_EUNAVAIL: it is not.
 */
sl_err audit_file_reserve(call *c);
void audit_file_release(void); /* a reservation that is not needed */
/* [S] After the commit: uses the reservation up. SL_OK: the line is in the file, or there is none. */
sl_err audit_write_line(call *c, const struct audit_record *r);

/* ---- reading ---- */
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
