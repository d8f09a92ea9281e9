/* enqueue.c - puts jobs into the caller's transaction and takes them out again. */
#include "base/id.h"
#include "jobs/engine.h"
#include "observe/span.h"

static bool name_fits(sl_str s, size_t max) { return s.n > 0 && s.n <= max && !memchr(s.p, 0, s.n) && str_is_utf8(s); }

static void wake_slot(void *arg)
{
    struct slot *s = arg;
    s->hot = true;
    claim_kick();
}

/* Absent text travels as '', so that the parameters of the prepared statement always have the same types. */
static sl_str or_empty(sl_str s) { return s.p ? s : SL(""); }

static sl_err insert(call *c, const sl_job *job, sl_str tenant, sl_str topic)
{
    char id[ID_TEXT], trace[TRACEPARENT_TEXT];
    struct slot *s = slot_find(job->kind);
    uint32_t attempts = job->attempts ? job->attempts : jobs_attempts(job->kind);
    id_new(id);
    sl_err e = store_defer_row(
        c,
        SL("insert into sl_jobs (id, kind, key, tenant, json, topic, trace, state, run_at, attempts, "
           "max_attempts, created_at, updated_at) values ($1, $2, nullif($3, ''), nullif($4, ''), nullif($5, ''), "
           "nullif($6, ''), nullif($7, ''), 'waiting', coalesce(nullif($8, 0), {{now}}), 0, $9, {{now}}, "
           "{{now}}) on conflict do nothing"),
        SL_ARRAY((const char *)id, job->kind, or_empty(job->key), or_empty(tenant), or_empty(job->json),
                 or_empty(topic), or_empty(trace_parent(&c->trace, trace)), job->run_at, (int64_t)attempts),
        9, 0);
    if (e) return e;
    if (job->run_at > store_now())
        store_after_commit(c, jobs_wake, NULL); /* later: only the next due time may have moved */
    else if (s && s->def)
        store_after_commit(c, wake_slot, s);
    return SL_OK;
}

sl_err jobs_enqueue(call *c, const sl_job *job, sl_str tenant)
{
    char why[128];
    if (!name_fits(job->kind, JOB_NAME_MAX) || (job->key.p && !name_fits(job->key, JOB_KEY_MAX))) return SL_EINVAL;
    if (job->json.n > JOB_JSON_MAX) return SL_ETOOBIG;
    if (job->run_at < 0 || job->attempts > 1000) return SL_EINVAL;
    if (job->json.p) {
        json_t *v = json_read(job->json, why, sizeof why);
        if (!v) return SL_EINVAL;
        json_decref(v);
    }
    return insert(c, job, tenant, sl_lit(NULL, 0));
}

sl_err jobs_enqueue_event(call *c, sl_str kind, sl_str event_id, sl_str topic, sl_str json, sl_str tenant)
{
    return insert(c, &(sl_job){ .size = sizeof(sl_job), .kind = kind, .key = event_id, .json = json }, tenant, topic);
}

sl_err jobs_cancel(call *c, sl_str kind, sl_str key)
{
    if (!name_fits(kind, JOB_NAME_MAX) || !name_fits(key, JOB_KEY_MAX)) return SL_EINVAL;
    return store_defer(c, SL("delete from sl_jobs where kind = $1 and key = $2 and state <> 'dead'"),
                       SL_ARRAY(kind, key), 2, 0);
}
