/* audit.c - what is audited: the row of a changing call in its transaction, its line in the file, refusals, intents. */
#include "http/audit_log.h"
#include "observe/metrics.h"

enum { TICK_MS = 250, SEAL_EVERY = 2, EXPIRE_EVERY = 4 * 3600, EXPIRE_FIRST = 8, STOP_MS = 2000 };
enum { USER_MAX = 128, NAME_MAX_ = 64, ROUTE_MAX = 256, TARGET_MAX_ = 512, OUTCOME_MAX = 300, ID_MAX_ = 128 };

static struct {
    ticker *ticker;
    unsigned ticks;
    bool unsealed;   /* more than one round could seal */
    bool store_down; /* said so once */
    metric *records;
} audit;

void audit_count(const char *kind, double n)
{
    sl_str label = sl_cstr(kind);
    if (audit.records) metric_add(audit.records, n, &label, 1);
}

/* Bytes that are not printable UTF-8 become `?`: PostgreSQL, JSON and an operator's terminal all take the result. */
sl_str audit_clip(arena *a, sl_str s, size_t max)
{
    if (!s.p) return s;
    size_t n = s.n < max ? s.n : max;
    while (n < s.n && n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    bool utf8 = str_is_utf8(sl_lit(s.p, n)), clean = utf8;
    for (size_t i = 0; i < n && clean; i++)
        clean = (unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f;
    if (clean) return sl_lit(s.p, n);
    char *out = arena_alloc(a, n + 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        out[i] = ch < ' ' || ch == 0x7f || (ch >= 0x80 && !utf8) ? '?' : s.p[i];
    }
    return sl_lit(out, n);
}

/* Texts are the request's or lie in `a`. */
static void describe(const struct request *rq, arena *a, int status, struct audit_record *r)
{
    const struct identity *who = &rq->identity;
    id_new(r->id);
    r->at = clock_now();
    r->status = status;
    r->times = 1;
    r->user = audit_clip(a, who->actor, USER_MAX);
    r->role = audit_clip(a, who->role, NAME_MAX_);
    r->tenant = audit_clip(a, who->tenant, NAME_MAX_);
    r->method = audit_clip(a, rq->x->method, 16);
    r->route = rq->route ? audit_clip(a, rq->route->path, ROUTE_MAX) : sl_lit(NULL, 0);
    r->target = audit_clip(a, rq->x->path, TARGET_MAX_);
    r->code = rq->problem && status >= 400 ? audit_clip(a, rq->code, NAME_MAX_) : sl_lit(NULL, 0);
    r->outcome = audit_clip(a, rq->outcome, OUTCOME_MAX);
    r->request_id = audit_clip(a, rq->request_id, ID_MAX_);
    r->trace_id = audit_clip(a, rq->trace_id, NAME_MAX_);
    r->address = audit_clip(a, rq->x->remote, NAME_MAX_);
}

/* A record without a value that its table wants would fail with others of its batch. */
static sl_value wanted(sl_str s) { return sl_text(s.p ? s : SL("")); }

sl_err audit_insert(call *c, const struct audit_record *r)
{
    const sl_value args[] = {
        sl_ctext(r->id),     sl_int(r->at),       wanted(r->user),
        wanted(r->role),     wanted(r->tenant),   wanted(r->method),
        sl_text(r->route),   wanted(r->target),   r->status ? sl_int(r->status) : sl_text(sl_lit(NULL, 0)),
        sl_text(r->code),    sl_text(r->outcome), wanted(r->request_id),
        wanted(r->trace_id), wanted(r->address),  sl_int(r->times)
    };
    if (store_one_writer()) return store_append(c, &audit_chain, args, sizeof args / sizeof *args);
    return store_defer(c,
                       SL("insert into sl_audit (" AUDIT_COLUMNS
                          ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"),
                       args, sizeof args / sizeof *args, 0);
}

/* ---- a call ---- */
static bool changes(const struct request *rq)
{
    return http_cfg.audit && rq->route && !sl_is(rq->route->method, "GET"); /* which also serves HEAD */
}

static bool unavailable(struct request *rq, const char *detail)
{
    rq->n_headers = 0; /* what the handler had prepared belongs to an answer that is not given */
    rq->errors = sl_lit(NULL, 0);
    rq->etag = sl_lit(NULL, 0);
    return set_problem(rq, 503, "audit_unavailable", sl_cstr(detail));
}

bool audit_begin(call *c, struct request *rq)
{
    if (!changes(rq) || !audit_file_on() || rq->audit_reserved) return true;
    rq->audit_reserved = audit_file_reserve(c) == SL_OK;
    return rq->audit_reserved ||
           unavailable(rq, "The audit log cannot be written now, so nothing was done; try again shortly.");
}

sl_err audit_join_part(call *c, struct request *rq)
{
    struct audit_record r;
    if (!changes(rq)) return SL_OK;
    describe(rq, c->arena, 0, &r);
    r.outcome = SL("a part of it is committed before its end");
    return audit_insert(c, &r);
}

sl_err audit_join(call *c, struct request *rq)
{
    if (!changes(rq)) return SL_OK;
    rq->audit_only = !store_pending(c);
    rq->audit = arena_alloc(c->arena, sizeof *rq->audit);
    describe(rq, c->arena, rq->status ? rq->status : 204, rq->audit);
    return audit_insert(c, rq->audit);
}

/* The file, after the commit: its line is there before the answer leaves. */
static sl_err write_line(call *c, const struct audit_record *r)
{
    if (!audit_file_on()) return SL_OK;
    bool shielded = c->shielded;
    uint64_t ticket = audit_file_append(r);
    c->shielded = true; /* a client that leaves does not make it undone */
    sl_err e = audit_file_wait(c, ticket);
    c->shielded = shielded;
    return e;
}

bool audit_end(call *c, struct request *rq, sl_err e)
{
    if (!rq->audit) return true;
    if (e) {
        rq->audit = NULL; /* rolled back, and its row with it: it is a refusal now */
        if (e != SL_EUNAVAIL || !rq->audit_only) return true;
        return unavailable(rq, "The audit log cannot be written now, so nothing was done; try again shortly.");
    }
    audit_count("changed", 1);
    rq->audit_reserved = false;
    if (write_line(c, rq->audit) == SL_OK) return true;
    return unavailable(rq, "It was done and the store's audit log has it, but the audit file does not take its line; "
                           "the answer is withheld.");
}

void audit_done(struct request *rq, int status)
{
    struct audit_record r;
    bool refused = status >= 400 && status < 499;
    if (rq->audit_reserved) audit_file_release();
    rq->audit_reserved = false;
    if (!http_cfg.audit || !audit.ticker || rq->audit || !(refused || changes(rq))) return;
    if (rq->hit && !sl_given(rq->outcome)) rq->outcome = SL("answered again from its Idempotency-Key");
    describe(rq, rq->x->arena, status, &r);
    refused_add(&r);
    ticker_kick(audit.ticker);
}

void audit_outcome(call *c, sl_str words)
{
    struct request *rq = request_of(c);
    if (rq) rq->outcome = arena_copy(rq->x->arena, words);
}

sl_err audit_intent(call *c, sl_str words)
{
    struct request *rq = request_of(c);
    struct audit_record r;
    if (!rq || !http_cfg.audit) return SL_OK;
    describe(rq, c->arena, 0, &r);
    r.outcome = audit_clip(c->arena, words, OUTCOME_MAX);
    sl_err e = audit_file_on() ? audit_file_reserve(c) : SL_OK;
    bool reserved = !e;
    if (!e) e = audit_insert(c, &r);
    if (!e) e = store_commit(c);
    if (e && reserved) audit_file_release();
    if (!e) e = write_line(c, &r);
    if (!e) {
        audit_count("intent", 1);
        return SL_OK;
    }
    store_rollback(c);
    unavailable(rq, "The audit log cannot be written now, so nothing was done; try again shortly.");
    return SL_EREPLIED;
}

/* ---- rows and lines ---- */
void audit_from_values(const sl_value *v, struct audit_record *r)
{
    memset(r, 0, sizeof *r);
    memcpy(r->id, v[0].s.p, v[0].s.n < sizeof r->id ? v[0].s.n : sizeof r->id - 1);
    r->at = v[1].i;
    r->user = v[2].s;
    r->role = v[3].s;
    r->tenant = v[4].s;
    r->method = v[5].s;
    r->route = v[6].s;
    r->target = v[7].s;
    r->status = v[8].type == SL_INT ? (int)v[8].i : 0;
    r->code = v[9].s;
    r->outcome = v[10].s;
    r->request_id = v[11].s;
    r->trace_id = v[12].s;
    r->address = v[13].s;
    r->times = v[14].i;
}

void audit_from_row(const sl_rows *rows, uint32_t i, struct audit_record *r)
{
    sl_str id = sl_cell_text(rows, i, "id");
    memset(r, 0, sizeof *r);
    memcpy(r->id, id.p ? id.p : "", id.n < sizeof r->id ? id.n : sizeof r->id - 1);
    r->at = sl_cell_int(rows, i, "at");
    r->status = (int)sl_cell_int(rows, i, "status");
    r->times = sl_cell_int(rows, i, "times");
    r->user = sl_cell_text(rows, i, "actor");
    r->role = sl_cell_text(rows, i, "role");
    r->tenant = sl_cell_text(rows, i, "tenant");
    r->method = sl_cell_text(rows, i, "method");
    r->route = sl_cell_text(rows, i, "route");
    r->target = sl_cell_text(rows, i, "target");
    r->code = sl_cell_text(rows, i, "code");
    r->outcome = sl_cell_text(rows, i, "outcome");
    r->request_id = sl_cell_text(rows, i, "request_id");
    r->trace_id = sl_cell_text(rows, i, "trace_id");
    r->address = sl_cell_text(rows, i, "address");
}

void audit_open_line(buf *b, const struct audit_record *r, uint64_t seq, const char *prev)
{
    buf_add_char(b, '{');
    json_field_int(b, "seq", (int64_t)seq);
    json_field_str(b, "prev", sl_cstr(prev));
    json_field_str(b, "id", sl_cstr(r->id));
    json_field_time(b, "at", r->at);
    json_field_str(b, "user", r->user);
    json_field_str(b, "role", r->role);
    json_field_str(b, "tenant", r->tenant);
    json_field_str(b, "method", r->method);
    json_field_str(b, "route", r->route);
    json_field_str(b, "target", r->target);
    if (r->status)
        json_field_int(b, "status", r->status);
    else
        json_field_raw(b, "status", SL("null"));
    json_field_str(b, "code", r->code);
    json_field_str(b, "outcome", r->outcome);
    json_field_str(b, "request_id", r->request_id);
    json_field_str(b, "trace_id", r->trace_id);
    json_field_str(b, "address", r->address);
    json_field_int(b, "count", r->times);
}

void audit_close_line(buf *b, const char *hash)
{
    json_field_str(b, "hash", sl_cstr(hash));
    buf_add_cstr(b, "}\n");
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
    if (!e && n % EXPIRE_EVERY == EXPIRE_FIRST) e = audit_expire(c);
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
    const struct audit_file_config file = { .path = http_cfg.audit_file,
                                            .max = http_cfg.audit_file_max,
                                            .keep = http_cfg.audit_file_keep,
                                            .deadline_ms = AUDIT_DEADLINE_MS };
    if (!http_cfg.audit) return 0;
    audit.records = metric_get(
        SL_COUNTER, "audit_records_total", "kind",
        "Audit records: changed, refused, counted (refusals without a row of their own), intent.");
    if (file.path.n && audit_file_open(&file, why, why_size)) return -1;
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
