/* audit.c - the audit log as a whole: start and stop, the work beside the calls, and a record's way into the file. */
#include "audit/private.h"
#include "observe/metrics.h"

enum { TICK_MS = 250, SEAL_EVERY = 2, EXPIRE_EVERY = 4 * 3600, EXPIRE_FIRST = 8, STOP_MS = 2000 };
static struct {
    ticker *ticker;
    unsigned ticks;
    bool unsealed;   /* more than one round could seal */
    bool store_down; /* said so once */
    metric *records;
} audit;

struct audit_config audit_cfg;

void audit_setup(const struct audit_config *cfg) { audit_cfg = *cfg; }
bool audit_on(void) { return audit_cfg.on; }

void audit_count(const char *kind, double n)
{
    sl_str label = sl_cstr(kind);
    if (audit.records) metric_add(audit.records, n, &label, 1);
}

/* The file, after the commit: its line is there before the answer leaves. */
sl_err audit_write_line(call *c, const struct audit_record *r)
{
    if (!audit_file_on()) return SL_OK;
    bool shielded = c->shielded;
    uint64_t ticket = audit_file_append(r);
    c->shielded = true; /* a client that leaves does not make it undone */
    sl_err e = audit_file_wait(c, ticket);
    c->shielded = shielded;
    return e;
}

void audit_later(const struct audit_record *r)
{
    if (!audit.ticker) return;
    refused_add(r);
    ticker_kick(audit.ticker);
}

/* ---- the work beside the calls ---- */
static void tick(call *c, void *unused)
{
    (void)unused;
    call_deadline(c, 10000);
    unsigned n = audit.ticks++;
    (void)refused_flush(c, false); /* what could not be recorded waits; the file has its own word about that */
    if (!audit.unsealed && n % SEAL_EVERY) return;
    sl_err e = audit_seal(c, &audit.unsealed);
    if (!e && audit.unsealed) ticker_kick(audit.ticker);
    bool expire = n % EXPIRE_EVERY == EXPIRE_FIRST || store_engine() == STORE_MEMORY;
    if (!e && expire) e = audit_expire(c);
    if (e && !audit.store_down)
        log_warn("the audit log cannot be kept up to date in the store; it is tried again",
                 LOG_C("error", store_error(c)));
    audit.store_down = e != SL_OK;
    if (e) store_rollback(c);
}

const char *audit_trouble(void) { return audit_file_trouble(); }
void audit_reopen(void) { audit_file_reopen(); }

int audit_start(char *why, size_t why_size)
{
    if (!audit_cfg.on) return 0;
    audit.records = metric_get(
        SL_COUNTER, "audit_records_total", "kind",
        "Audit records: changed, refused, counted (refusals without a row of their own), intent.");
    if (audit_cfg.file.n && audit_file_open(why, why_size)) return -1;
    audit.ticks = 0;
    audit.ticker = ticker_start("audit", TICK_MS, tick, NULL);
    return 0;
}

void audit_stop(call *c)
{
    if (!audit.ticker) return;
    ticker_stop(audit.ticker);
    audit.ticker = NULL;
    call_deadline(c, STOP_MS);
    sl_err e = refused_flush(c, true);
    for (bool more = true; more && !e;)
        e = audit_seal(c, &more);
    if (e) {
        log_warn("the last refusals could not be recorded everywhere", LOG_C("error", store_error(c)));
        store_rollback(c);
    }
    call_deadline(c, 0);
    audit_file_close();
    refused_free();
}
