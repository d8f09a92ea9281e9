/* jobs_admin.c - the host's routes for operators: jobs and their history, dead letters, the outbox; linked in. */
#include "api/api.h"
#include "base/clock.h"
#include "base/json.h"
#include "jobs/jobs.h"
#include <service_layer/json.h>

#define JOB_FIELDS                                                                                                     \
    SL_REQUIRED("id", SL_ID, "The job."), SL_REQUIRED("kind", "\"type\":\"string\"", "What runs it."),                 \
        SL_REQUIRED("key", SL_TEXT_OR_NULL, "Unique among the waiting and running jobs of the kind."),                 \
        SL_REQUIRED("tenant", SL_TEXT_OR_NULL, "For whom it runs."),                                                   \
        SL_REQUIRED("topic", SL_TEXT_OR_NULL, "Topic of the event that it delivers."),                                 \
        SL_REQUIRED("state", SL_ENUM("waiting", "running", "dead", "finished"), "What it does now."),                  \
        SL_REQUIRED("attempts", "\"type\":\"integer\"", "Attempts begun."),                                            \
        SL_REQUIRED("max_attempts", "\"type\":\"integer\"", "Attempts after which it is dead."),                       \
        SL_REQUIRED("run_at", SL_TIME, "When it is or was due."),                                                      \
        SL_REQUIRED("lease_until", SL_TIME, "When another replica may take a running job."),                           \
        SL_REQUIRED("replica", SL_TEXT_OR_NULL, "Who runs it, or ran it last."),                                       \
        SL_REQUIRED("last_error", SL_TEXT_OR_NULL, "How the last attempt failed."),                                    \
        SL_REQUIRED("trace_id", SL_TEXT_OR_NULL, "Trace of the call that enqueued it."),                               \
        SL_REQUIRED("payload", SL_ANY, "What its handler gets."),                                                      \
        SL_REQUIRED("created_at", SL_TIME, "When it was enqueued."),                                                   \
        SL_REQUIRED("updated_at", SL_TIME, "When its state changed last.")
#define JOB SL_OBJECT(JOB_FIELDS)
#define RUN                                                                                                            \
    SL_OBJECT(SL_REQUIRED("attempt", "\"type\":\"integer\"", "Number of the attempt."),                                \
              SL_REQUIRED("outcome", "\"type\":\"string\"", "succeeded, failed, retried, dead, lost or returned."),    \
              SL_REQUIRED("error", SL_TEXT_OR_NULL, "How it failed."),                                                 \
              SL_REQUIRED("replica", "\"type\":\"string\"", "Where it ran."),                                          \
              SL_REQUIRED("started_at", SL_TIME, "When it was claimed."),                                              \
              SL_REQUIRED("finished_at", SL_TIME, "When it ended."))
#define JOB_WITH_HISTORY                                                                                               \
    SL_OBJECT(JOB_FIELDS, SL_REQUIRED("history", "\"type\":\"array\",\"items\":" RUN, "Its attempts, oldest first."))
#define JOB_FILTER                                                                                                     \
    SL_OBJECT(SL_OPTIONAL("state", SL_ENUM("waiting", "running", "dead"), "Only jobs in this state."),                 \
              SL_OPTIONAL("kind", SL_STRING(1, 200), "Only jobs of this kind."))
#define RETRY SL_OBJECT(SL_REQUIRED("kind", SL_STRING(1, 200), "Kind whose dead letters are to run again."))
#define RETRIED                                                                                                        \
    SL_OBJECT(SL_REQUIRED("retried", "\"type\":\"integer\"", "Dead letters that wait again."),                         \
              SL_REQUIRED("kept", "\"type\":\"integer\"", "Dead letters left, because another job has their key."))
#define KIND                                                                                                           \
    SL_OBJECT(SL_REQUIRED("kind", "\"type\":\"string\"", "The kind."),                                                 \
              SL_REQUIRED("module", "\"type\":\"string\"", "The plugin that runs it; empty when it is not loaded."),   \
              SL_REQUIRED("schedule", SL_TEXT_OR_NULL, "When it ticks."),                                              \
              SL_REQUIRED("next_tick", SL_TIME, "The next tick."),                                                     \
              SL_REQUIRED("claimed", "\"type\":\"integer\"", "Leases of this process."),                               \
              SL_REQUIRED("succeeded", "\"type\":\"integer\"", "Attempts that succeeded here since the start."),       \
              SL_REQUIRED("failed", "\"type\":\"integer\"", "Attempts that failed and were followed by another."),     \
              SL_REQUIRED("dead", "\"type\":\"integer\"", "Jobs that ended as dead letters."))
#define STATS                                                                                                          \
    SL_OBJECT(SL_REQUIRED("running", "\"type\":\"integer\"", "Jobs that run in this process."),                        \
              SL_REQUIRED("waiting", "\"type\":\"integer\"", "Jobs that wait, over all replicas, up to 100000."),      \
              SL_REQUIRED("dead", "\"type\":\"integer\"", "Dead letters, over all replicas, up to 100000."),           \
              SL_REQUIRED("oldest_due_ms", "\"type\":\"integer\"", "How long the longest waiting due job is due."),    \
              SL_REQUIRED("started", "\"type\":\"integer\"", "Attempts begun in this process."),                       \
              SL_REQUIRED("succeeded", "\"type\":\"integer\"", "Attempts that succeeded."),                            \
              SL_REQUIRED("failed", "\"type\":\"integer\"", "Attempts that failed and were followed by another."),     \
              SL_REQUIRED("dead_here", "\"type\":\"integer\"", "Jobs that ended as dead letters."),                    \
              SL_REQUIRED("reclaimed", "\"type\":\"integer\"", "Jobs taken back from replicas that were gone."),       \
              SL_REQUIRED("kinds", "\"type\":\"array\",\"items\":" KIND, "What this process can run."))
#define EVENT                                                                                                          \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The event; subscribers drop repeats by it."),                                  \
              SL_REQUIRED("seq", "\"type\":\"integer\"", "Its place in the outbox."),                                  \
              SL_REQUIRED("topic", "\"type\":\"string\"", "Its topic."),                                               \
              SL_REQUIRED("key", SL_TEXT_OR_NULL, "What it is about."),                                                \
              SL_REQUIRED("tenant", SL_TEXT_OR_NULL, "Whose it is."),                                                  \
              SL_REQUIRED("source", "\"type\":\"string\"", "The plugin that published it."),                           \
              SL_REQUIRED("payload", SL_ANY, "Its body."),                                                             \
              SL_REQUIRED("created_at", SL_TIME, "When it was published."))
#define EVENT_FILTER SL_OBJECT(SL_OPTIONAL("topic", SL_STRING(1, 128), "Only events of this topic."))

#define JOB_COLUMNS                                                                                                    \
    "id, kind, key, tenant, topic, state, attempts, max_attempts, run_at, lease_until, owner as replica, last_error, " \
    "case when length(trace) = 55 then substr(trace, 4, 32) else trace end as trace_id, json as payload, created_at, " \
    "updated_at"

static sl_err list_jobs(void *self, sl_call *c)
{
    (void)self;
    /* The state stands in the text, so that the index of that state serves; the schema admits three. */
    sl_str state = sl_param(c, "state"), kind = sl_param(c, "kind");
    sl_str where = sl_given(state) ? sl_format(c, "state = '%.*s'", (int)state.n, state.p) : SL("state <> ''");
    sl_str sql = sl_format(c, "select " JOB_COLUMNS " from sl_jobs where %.*s%s {{page}}", (int)where.n, where.p,
                           sl_given(kind) ? " and kind = $1" : "");
    if (sl_given(kind)) return sl_reply_list(c, sql, kind);
    return sl_reply_list(c, sql);
}

static sl_err no_such_job(sl_call *c)
{
    return sl_problem(c, 404, "job_not_found", "There is no such job, or it was dropped and its history is over.");
}

static void add_history(buf *out, const sl_rows *r)
{
    buf_add_char(out, '[');
    for (uint32_t i = 0; i < r->rows; i++) {
        if (i) buf_add_char(out, ',');
        buf_add_char(out, '{');
        json_field_int(out, "attempt", sl_cell_int(r, i, "attempt"));
        json_field_str(out, "outcome", sl_cell_text(r, i, "outcome"));
        json_field_str(out, "error", sl_cell_text(r, i, "error"));
        json_field_str(out, "replica", sl_cell_text(r, i, "replica"));
        json_field_time(out, "started_at", sl_cell_int(r, i, "started_at"));
        json_field_time(out, "finished_at", sl_cell_int(r, i, "finished_at"));
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

/* The row with one column more. */
static sl_err reply_with_history(sl_call *c, const sl_rows *job, const sl_rows *history)
{
    sl_rows more = *job;
    sl_str *names = sl_alloc(c, (job->cols + 1) * sizeof *names);
    sl_value *cells = sl_alloc(c, (job->cols + 1) * sizeof *cells);
    buf text;
    if (!names || !cells) return SL_ETOOBIG;
    buf_init(&text, 1 << 20);
    add_history(&text, history);
    memcpy(names, job->names, job->cols * sizeof *names);
    memcpy(cells, job->cells, job->cols * sizeof *cells);
    names[job->cols] = SL("history");
    cells[job->cols] = sl_text(buf_str(&text));
    more.cols++;
    more.names = names;
    more.cells = cells;
    sl_err e = text.overflow ? SL_ETOOBIG : sl_reply_row(c, 200, &more);
    buf_free(&text);
    return e;
}

static sl_err get_job(void *self, sl_call *c)
{
    const sl_rows *job, *history;
    sl_str id = sl_path(c, "id");
    (void)self;
    sl_err e = sl_query(c, &job, "select " JOB_COLUMNS " from sl_jobs where id = $1", id);
    if (!e && !job->rows) /* done: what is left of it is its history */
        e = sl_query(c, &job,
                     "select job_id as id, kind, key, tenant, cast(null as text) as topic, 'finished' as state, "
                     "attempt as attempts, attempt as max_attempts, started_at as run_at, cast(null as bigint) as "
                     "lease_until, replica, error as last_error, cast(null as text) as trace_id, cast(null as text) "
                     "as payload, started_at as created_at, finished_at as updated_at from sl_job_runs "
                     "where job_id = $1 order by seq desc limit 1",
                     id);
    if (e) return e;
    if (!job->rows) return no_such_job(c);
    e = sl_query(c, &history,
                 "select attempt, outcome, error, replica, started_at, finished_at from (select * from sl_job_runs "
                 "where job_id = $1 order by seq desc limit 100) as h order by seq",
                 id);
    return e ? e : reply_with_history(c, job, history);
}

/* A dead letter gets as many attempts more as it had at first; numbers and history go on. */
#define REVIVE                                                                                                         \
    "update sl_jobs set state = 'waiting', max_attempts = attempts + $2, run_at = {{now}}, updated_at = {{now}} "

static void wake_after_commit(sl_call *c) { store_after_commit((call *)c, jobs_wake, NULL); }

static sl_err retry_job(void *self, sl_call *c)
{
    const sl_rows *job, *done;
    sl_str id = sl_path(c, "id");
    (void)self;
    sl_err e = sl_query(c, &job, "select kind, state from sl_jobs where id = $1", id);
    if (e) return e;
    if (!job->rows) return no_such_job(c);
    e = sl_query(c, &done, REVIVE "where id = $1 and state = 'dead' returning " JOB_COLUMNS, id,
                 jobs_attempts(sl_cell_text(job, 0, "kind")));
    if (e == SL_ECONFLICT)
        return sl_problem(c, 409, "job_key_taken", "Another job of this kind and key waits or runs already.");
    if (e) return e;
    if (!done->rows)
        return sl_problem(c, 409, "job_not_dead", "Only dead letters can be retried; this job waits or runs.");
    wake_after_commit(c);
    return sl_reply_row(c, 200, done);
}

static sl_err retry_kind(void *self, sl_call *c)
{
    const sl_rows *done, *left;
    sl_str kind = sl_body(c, "kind");
    (void)self;
    /* Of several dead letters with one key the newest; none whose key is taken. */
    sl_err e = sl_query(
        c, &done,
        REVIVE "where kind = $1 and state = 'dead' and (key is null or (not exists (select 1 from "
               "sl_jobs o where o.kind = sl_jobs.kind and o.key = sl_jobs.key and o.state <> 'dead') and id = (select "
               "max(d.id) from sl_jobs d where d.kind = sl_jobs.kind and d.key = sl_jobs.key and d.state = 'dead')))",
        kind, jobs_attempts(kind));
    if (e == SL_ECONFLICT) return sl_problem(c, 409, "job_key_taken", "A key was taken just now; try again.");
    if (!e) e = sl_query(c, &left, "select count(*) as n from sl_jobs where kind = $1 and state = 'dead'", kind);
    if (e) return e;
    wake_after_commit(c);
    return sl_reply_json(c, 200,
                         sl_format(c, "{\"retried\":%lld,\"kept\":%lld}", (long long)done->changed,
                                   (long long)sl_cell_int(left, 0, "n")));
}

static sl_err drop_job(void *self, sl_call *c)
{
    const sl_rows *done;
    (void)self;
    sl_err e = sl_query(c, &done, "delete from sl_jobs where id = $1", sl_path(c, "id"));
    if (e) return e;
    return done->changed ? sl_reply_empty(c, 204) : no_such_job(c);
}

static void add_kind(const struct job_kind_stats *k, void *arg)
{
    sl_json *j = arg;
    char text[CLOCK_TEXT];
    bool known = k->next_tick > 0 && k->next_tick < INT64_MAX;
    sl_json_open(j, NULL, '{');
    sl_json_text(j, "kind", sl_cstr(k->kind));
    sl_json_text(j, "module", sl_cstr(k->module));
    sl_json_text(j, "schedule", sl_cstr(k->schedule));
    sl_json_text(j, "next_tick", known ? sl_lit(text, clock_format(k->next_tick, text)) : sl_lit(NULL, 0));
    sl_json_int(j, "claimed", k->claimed);
    sl_json_int(j, "succeeded", (int64_t)k->succeeded);
    sl_json_int(j, "failed", (int64_t)k->failed);
    sl_json_int(j, "dead", (int64_t)k->dead);
    sl_json_close(j, '}');
}

static sl_err stats(void *self, sl_call *c)
{
    struct jobs_stats s = jobs_stats();
    sl_json j = sl_json_start(c);
    (void)self;
    sl_json_open(&j, NULL, '{');
    sl_json_int(&j, "running", s.running);
    sl_json_int(&j, "waiting", s.waiting_now);
    sl_json_int(&j, "dead", s.dead_now);
    sl_json_int(&j, "oldest_due_ms", s.oldest_waiting_us / 1000);
    sl_json_int(&j, "started", (int64_t)s.started);
    sl_json_int(&j, "succeeded", (int64_t)s.succeeded);
    sl_json_int(&j, "failed", (int64_t)s.failed);
    sl_json_int(&j, "dead_here", (int64_t)s.dead);
    sl_json_int(&j, "reclaimed", (int64_t)s.reclaimed);
    sl_json_open(&j, "kinds", '[');
    jobs_each_kind(add_kind, &j);
    sl_json_close(&j, ']');
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

#define EVENT_COLUMNS "id, seq, topic, key, tenant, source, json as payload, created_at"

static sl_err list_events(void *self, sl_call *c)
{
    sl_str topic = sl_param(c, "topic");
    (void)self;
    if (sl_given(topic))
        return sl_reply_list(c, "select " EVENT_COLUMNS " from sl_events where topic = $1 {{page}}", topic);
    return sl_reply_list(c, "select " EVENT_COLUMNS " from sl_events where seq > 0 {{page}}");
}

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /admin/jobs", list_jobs, .scope = "admin", .query = JOB_FILTER, .out = JOB, .flags = SL_LIST,
      .doc = "List jobs that wait, run or are dead, newest first." },
    { SL_ROUTE, "GET /admin/jobs/stats", stats, .scope = "admin", .out = STATS,
      .doc = "Numbers of the job engine and of each kind." },
    { SL_ROUTE, "GET /admin/jobs/{id}", get_job, .scope = "admin", .out = JOB_WITH_HISTORY,
      .doc = "Show one job with its last 100 attempts, also after it finished." },
    { SL_ROUTE, "POST /admin/jobs/retry", retry_kind, .scope = "admin", .in = RETRY, .out = RETRIED,
      .doc = "Let all dead letters of a kind run again." },
    { SL_ROUTE, "POST /admin/jobs/{id}/retry", retry_job, .scope = "admin", .out = JOB,
      .doc = "Let a dead letter run again." },
    { SL_ROUTE, "DELETE /admin/jobs/{id}", drop_job, .scope = "admin", .status = 204,
      .doc = "Drop a job; one that runs cannot commit any more." },
    { SL_ROUTE, "GET /admin/events", list_events, .scope = "admin", .query = EVENT_FILTER, .out = EVENT,
      .flags = SL_LIST, .doc = "List the outbox: events of the last days, newest first." },
};
static const sl_need needs[] = { { "sl.core", 1, 0 }, { "sl.store", 1, 0 } };
SL_LINKED_PLUGIN(jobs_plugin, "jobs", .doc = "Jobs, dead letters and events for operators.", SL_ENTRIES(entries),
                 SL_NEEDS(needs), .grants = "store:sl_*");
