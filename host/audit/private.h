/* private.h - private to audit/: what its files share about records, refusals, the file and the chain. */
#ifndef AUDIT_PRIVATE_H
#define AUDIT_PRIVATE_H
#include "audit/audit.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "loop/loop.h"

extern struct audit_config audit_cfg;
enum { AUDIT_LINE = 4096, AUDIT_DEADLINE_MS = 2000 }; /* bytes of the longest line; see audit_clip */

/* ---- record.c ---- */
void audit_from_values(const sl_value *v, struct audit_record *r); /* in the order of AUDIT_COLUMNS */

/* ---- refused.c: records that no transaction carries ---- */
void refused_add(const struct audit_record *r); /* copied; never waits */
/* [S] Stores what has gathered and writes its lines; keeps what could not be stored. `all`: open counts too. */
sl_err refused_flush(call *c, bool all);
void refused_free(void);

/* ---- seal.c: the store's chain ---- */
extern const struct store_log audit_chain; /* where records join it with their commit */
/* [S] Gives new rows their places in the chain; `more`: not all of them yet. */
sl_err audit_seal(call *c, bool *more);
sl_err audit_expire(call *c); /* [S] removes sealed rows that are too old */

/* ---- file.c: the JSONL file ---- */
int audit_file_open(char *why, size_t why_size); /* by audit_cfg */
void audit_file_close(void);
const char *audit_file_trouble(void); /* NULL: it takes lines */
/* Queues the record's line and uses the reservation up. The ticket is for audit_file_wait. */
uint64_t audit_file_append(const struct audit_record *r);
sl_err audit_file_wait(call *c, uint64_t ticket); /* [S] until the line is in the file; SL_EUNAVAIL after 2 s */
void audit_file_reopen(void);
#endif
