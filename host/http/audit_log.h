/* audit_log.h - private to the audit's own files: what they share about records, refusals, the file and the chain. */
#ifndef HTTP_AUDIT_LOG_H
#define HTTP_AUDIT_LOG_H
#include "http/audit.h"
#include "http/request.h"

enum { AUDIT_LINE = 4096, AUDIT_DEADLINE_MS = 2000 }; /* bytes of the longest line; see audit_clip */

/* ---- audit.c ---- */
sl_str audit_clip(arena *a, sl_str s,
                  size_t max); /* valid, printable UTF-8 of at most max bytes; absent stays absent */
sl_err audit_insert(call *c, const struct audit_record *r);        /* joins the transaction */
void audit_from_values(const sl_value *v, struct audit_record *r); /* in the order of AUDIT_COLUMNS */
void audit_count(const char *kind, double n);                      /* metric audit_records_total */

/* ---- audit_refused.c: records that no transaction carries ---- */
void refused_add(const struct audit_record *r); /* copied; never waits */
/* [S] Stores what has gathered and writes its lines; keeps what could not be stored. `all`: open counts too. */
sl_err refused_flush(call *c, bool all);
void refused_free(void);

/* ---- audit_seal.c: the store's chain ---- */
extern const struct store_log audit_chain; /* where records join it with their commit */
/* [S] Gives new rows their places in the chain; `more`: not all of them yet. */
sl_err audit_seal(call *c, bool *more);
sl_err audit_expire(call *c); /* [S] removes sealed rows that are too old */

/* ---- audit_file.c: the JSONL file ---- */
struct audit_file_config {
    sl_str path;
    int64_t max; /* bytes, then it is rotated */
    unsigned keep;
    uint32_t deadline_ms;
};
int audit_file_open(const struct audit_file_config *cfg, char *why, size_t why_size);
void audit_file_close(void);
bool audit_file_on(void);
const char *audit_file_trouble(void); /* NULL: it takes lines */
/* [S] Space on the disk for one line more is there, and stays there until append or release. SL_EUNAVAIL: it is not. */
sl_err audit_file_reserve(call *c);
void audit_file_release(void); /* a reservation that is not needed */
/* Queues the record's line and uses the reservation up. The ticket is for audit_file_wait. */
uint64_t audit_file_append(const struct audit_record *r);
sl_err audit_file_wait(call *c, uint64_t ticket); /* [S] until the line is in the file; SL_EUNAVAIL after deadline_ms */
void audit_file_reopen(void);
#endif
