/* rewrap.c - key rotation: wraps every value under the current master key in small committed batches; and the purge. */
#include "secrets.h"
#include "rfc3339.h"

/* A run of the job ends after this much, so that its memory stays small; the store itself says what is left. */
enum { RUN_ROWS = 1000, RUN_BYTES = 4 << 20 };

static sl_str current_key(sl_call *c) { return c->host->crypto->key_id(c, sl_lit(NULL, 0)); }

/* Values by master key. Sets *remaining to those under another key than the current one. */
static sl_err write_keys(sl_call *c, sl_json *j, int64_t *remaining)
{
    const sl_rows *rows;
    sl_str current = current_key(c);
    int seen = 0;
    sl_err e = sl_query(c, &rows,
                        "select key_id, count(*) as versions from secret_versions where destroyed_at is null "
                        "group by key_id order by key_id");
    if (e) return e;
    *remaining = 0;
    sl_json_open(j, "keys", '[');
    for (uint32_t i = 0; i <= rows->rows; i++) {
        if (i == rows->rows && seen) break; /* the current key is listed even when it wraps nothing yet */
        sl_str id = i < rows->rows ? sl_cell_text(rows, i, "key_id") : current;
        int64_t n = i < rows->rows ? sl_cell_int(rows, i, "versions") : 0;
        int is_current = sl_same(id, current);
        seen |= is_current;
        if (!is_current) *remaining += n;
        sl_json_open(j, NULL, '{');
        sl_json_text(j, "key_id", id);
        sl_json_int(j, "versions", n);
        sl_json_bool(j, "current", is_current);
        sl_json_close(j, '}');
    }
    sl_json_close(j, ']');
    return SL_OK;
}

static sl_err reply_keys(sl_call *c, int32_t status)
{
    const sl_rows *rows, *state;
    int64_t remaining;
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '{');
    sl_err e = write_keys(c, &j, &remaining);
    if (e) return e;
    e = sl_query(c, &rows, "select count(*) as n from secret_versions where destroyed_at is null and skipped_for = $1",
                 current_key(c));
    if (!e) e = sl_query(c, &state, "select * from secret_rewrap where id = 'rewrap'");
    if (e) return e;
    sl_json_text(&j, "current", current_key(c));
    sl_json_int(&j, "remaining", remaining);
    sl_json_int(&j, "unreadable", sl_cell_int(rows, 0, "n"));
    sl_json_bool(&j, "running", sl_cell_int(state, 0, "active") != 0);
    sl_json_int(&j, "rewrapped", sl_cell_int(state, 0, "done"));
    sl_json_text(&j, "started_at", sl_time_text(c, sl_cell_int(state, 0, "started_at")));
    sl_json_text(&j, "finished_at", sl_time_text(c, sl_cell_int(state, 0, "finished_at")));
    sl_json_close(&j, '}');
    return sl_reply_json(c, status, sl_json_end(&j));
}

sl_err keys_report(void *self, sl_call *c)
{
    (void)self;
    return reply_keys(c, 200);
}

static sl_err enqueue_part(sl_call *c, int64_t run, int64_t part)
{
    sl_str key = sl_format(c, "%lld.%lld", (long long)run, (long long)part);
    sl_str json = sl_format(c, "{\"run\":%lld,\"part\":%lld}", (long long)run, (long long)part);
    return sl_given(key) && sl_given(json) ? sl_enqueue(c, "secrets.rewrap", key, json, 0) : SL_ETOOBIG;
}

/* What was skipped before is tried again, since the operator may have brought a key back. */
sl_err rewrap_start(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(
        c, &rows,
        "update secret_rewrap set run = run + 1, active = 1, done = 0, started_at = $1, finished_at = null "
        "where id = 'rewrap' returning run",
        sl_now(c));
    if (e) return e;
    int64_t run = sl_cell_int(rows, 0, "run");
    e = sl_query(c, &rows, "update secret_versions set skipped_for = null where skipped_for is not null");
    if (!e) e = enqueue_part(c, run, 0);
    return e ? e : reply_keys(c, 202);
}

/* One value: rewrapped, or marked as skipped when its key is not configured. */
static sl_err rewrap_one(sl_call *c, const sl_rows *rows, uint32_t i, sl_str current)
{
    const sl_rows *done;
    sl_str id = sl_cell_text(rows, i, "id"), moved;
    sl_str aad = value_aad(c, sl_cell_text(rows, i, "tenant"), sl_cell_text(rows, i, "account_id"),
                           sl_cell_text(rows, i, "name"), sl_cell_int(rows, i, "version"));
    if (!sl_given(aad)) return SL_ETOOBIG;
    sl_err e = c->host->crypto->rewrap(c, aad, sl_cell_text(rows, i, "sealed"), &moved);
    const sl_str label[] = { e ? SL("skipped") : SL("done") };
    sl_count(c, METRIC_REWRAPPED, 1, label, 1);
    if (e == SL_EDENIED) {
        const sl_pair fields[] = { { SL("value"), id }, { SL("key_id"), sl_cell_text(rows, i, "key_id") } };
        sl_log(c, SL_ERROR, "a secret's value cannot be rewrapped: its master key is not configured", fields, 2);
        return sl_query(c, &done, "update secret_versions set skipped_for = $1 where id = $2", current, id);
    }
    if (e) return e;
    return sl_query(c, &done,
                    "update secret_versions set sealed = $1, key_id = $2 "
                    "where id = $3 and key_id = $4 and destroyed_at is null",
                    sl_blob(moved), current, id, sl_cell_text(rows, i, "key_id"));
}

/* [S] One batch, committed. *n: values looked at; 0 = nothing is left. */
static sl_err rewrap_batch(sl_call *c, int64_t run, sl_str current, uint32_t *n, size_t *bytes)
{
    const sl_rows *rows, *state;
    uint32_t found;
    sl_err e = sl_query(c, &rows,
                        "select v.id, v.tenant, v.account_id, s.name, v.version, v.sealed, v.key_id "
                        "from secret_versions v join secrets s on s.id = v.secret_id "
                        "where v.key_id <> $1 and v.destroyed_at is null and coalesce(v.skipped_for, '') <> $1 "
                        "order by v.id limit 20",
                        current);
    if (e) return e;
    found = rows->rows;
    e = sl_query(c, &state,
                 "update secret_rewrap set done = done + $1, active = $2, finished_at = $3 "
                 "where id = 'rewrap' and run = $4 returning run",
                 (int64_t)found, (int64_t)(found > 0), found ? sl_text(sl_lit(NULL, 0)) : sl_int(sl_now(c)), run);
    if (!e && state->rows == 0) found = 0; /* another start took over */
    for (uint32_t i = 0; !e && i < found; i++) {
        *bytes += 2 * sl_cell_text(rows, i, "sealed").n;
        e = rewrap_one(c, rows, i, current);
    }
    *n = found;
    return e ? e : sl_commit(c);
}

sl_err rewrap_run(void *self, sl_call *c)
{
    int64_t run = sl_to_int(sl_body(c, "run"), 0), part = sl_to_int(sl_body(c, "part"), 0);
    sl_str current = current_key(c);
    size_t bytes = 0;
    uint32_t n = 1;
    (void)self;
    for (unsigned done = 0; done < RUN_ROWS && bytes < RUN_BYTES; done += n) {
        sl_err e = rewrap_batch(c, run, current, &n, &bytes);
        if (e || n == 0) return e;
    }
    return enqueue_part(c, run, part + 1);
}

sl_err purge(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    int64_t before = sl_now(c) - 1000 * sl_duration_ms(sl_config(c, "deleted_retention"), 2592000000);
    sl_err e = sl_query(c, &rows, "delete from secrets where deleted_at is not null and deleted_at < $1", before);
    if (e || rows->changed == 0) return e;
    sl_str n = sl_format(c, "%lld", (long long)rows->changed);
    const sl_pair fields[] = { { SL("secrets"), n } };
    sl_log(c, SL_INFO, "deleted secrets were purged", fields, 1);
    return SL_OK;
}
