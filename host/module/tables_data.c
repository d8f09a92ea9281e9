/* tables_data.c - sl.store, sl.bus and sl.jobs as plugins see them: arguments and grants are checked, then passed down.
 */
#include "module/private.h"
#include "base/log.h"
#include "bus/bus.h"
#include "jobs/jobs.h"
#include "store/sql.h"
#include "store/store.h"
#include <sodium.h>

enum {
    SQL_MAX = 64 * 1024,
    ARGS_MAX = 1000,
    ARGS_BYTES_MAX = 16 << 20,
    LOCK_NAME_MAX = 200,
    MESSAGE_MAX = 1 << 20,
    KEY_MAX = 256,
    ATTEMPTS_MAX = 100,
    WHY_MAX = 1024,
    JOB_FIRST = offsetof(sl_job, run_at) + sizeof(int64_t),
    FINDINGS_MAX = 4096,
    APPROVED = 256 /* statements remembered for each generation */
};

/* SL_EINVAL with a line in the log: bad arguments are the plugin's error, and its author reads the log. */
static sl_err refuse(call *c, sl_err e, const char *function, const char *why)
{
    const sl_pair field = LOG_C("function", function);
    plugin_log(c, SL_WARN, sl_cstr(why), &field, 1);
    return e;
}

/* ---- sl.store ---- */
static sl_err refused_by_store(call *c, sl_err e, const char *function)
{
    const sl_pair fields[] = { LOG_C("function", function), LOG_C("error", store_error(c)) };
    if (e == SL_EINVAL || e == SL_EINTERNAL || e == SL_EDENIED)
        plugin_log(c, SL_WARN, SL("a statement failed"), fields, 2);
    return e;
}

static bool text_value(sl_str s)
{
    return str_is_utf8(s) && (s.n == 0 || !memchr(s.p, 0, s.n)); /* what PostgreSQL cannot store, no engine takes */
}

static sl_err check_args(call *c, const char *function, const sl_value *args, uint32_t n)
{
    size_t bytes = 0;
    if (n > ARGS_MAX) return refuse(c, SL_ETOOBIG, function, "more than 1000 parameters");
    if (n && !args) return refuse(c, SL_EINVAL, function, "parameters announced but NULL");
    for (uint32_t i = 0; i < n; i++) {
        const sl_value *v = &args[i];
        if (v->type > SL_BLOB) return refuse(c, SL_EINVAL, function, "a parameter has an unknown type");
        if (v->type != SL_TEXT && v->type != SL_BLOB) continue;
        if (!v->s.p && v->s.n) return refuse(c, SL_EINVAL, function, "a text parameter is NULL but has a length");
        if (v->s.n > ARGS_BYTES_MAX || (bytes += v->s.n) > ARGS_BYTES_MAX)
            return refuse(c, SL_ETOOBIG, function, "the parameters are over 16 MiB");
        if (v->type == SL_TEXT && v->s.p && !text_value(v->s))
            return refuse(c, SL_EINVAL, function, "a text parameter is not UTF-8 without NUL");
    }
    return SL_OK;
}

static bool table_granted(void *g, sl_str name) { return generation_granted(g, "store", name); }

/* Only tables that were granted. What is unclear is refused in a child process only: a plugin in this one could reach
 * everything anyway. */
static sl_err check_reach(call *c, const char *function, sl_str sql)
{
    static unsigned char key[crypto_shorthash_KEYBYTES];
    static bool keyed;
    struct generation *g = c->generation;
    const struct sql_reach ask = { .table = table_granted, .arg = g };
    char why[256] = "", sentence[300];
    uint64_t hash;
    if (!g || g->module->linked) return SL_OK;
    if (!keyed) crypto_shorthash_keygen(key);
    keyed = true;
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)sql.p, sql.n, key);
    if (!g->approved) g->approved = arena_alloc(g->arena, APPROVED * sizeof *g->approved);
    uint64_t *slot = &g->approved[hash % APPROVED];
    if (*slot == hash && hash) return SL_OK;
    enum sql_reached reached = sql_reach(sql, &ask, why, sizeof why);
    if (reached == SQL_DENIED || (reached == SQL_UNCLEAR && g->isolated)) {
        snprintf(sentence, sizeof sentence, "the statement %s", why);
        return refuse(c, SL_EDENIED, function, sentence);
    }
    *slot = hash;
    return SL_OK;
}

static sl_err check_sql(call *c, const char *function, sl_str sql)
{
    if (!sql.p || sql.n == 0) return refuse(c, SL_EINVAL, function, "the statement is empty");
    if (sql.n > SQL_MAX) return refuse(c, SL_ETOOBIG, function, "the statement is over 64 KiB");
    if (!text_value(sql)) return refuse(c, SL_EINVAL, function, "the statement is not UTF-8 without NUL");
    return check_reach(c, function, sql);
}

static sl_err store_table_query(sl_call *pub, const sl_rows **out, sl_str sql, const sl_value *args, uint32_t n)
{
    const sl_rows *unused;
    sl_err e = may_wait(pub, "query", true);
    if (e) return e;
    call *c = (call *)pub;
    if (!out) out = &unused;
    *out = NULL;
    if ((e = check_sql(c, "query", sql)) || (e = check_args(c, "query", args, n))) return e;
    return refused_by_store(c, store_query(c, out, sql, args, n), "query");
}

static sl_err store_table_reply_list(sl_call *pub, sl_str sql, const sl_value *args, uint32_t n)
{
    sl_err e = may_wait(pub, "reply_list", true);
    if (e) return e;
    call *c = (call *)pub;
    if ((e = check_sql(c, "reply_list", sql)) || (e = check_args(c, "reply_list", args, n))) return e;
    return refused_by_store(c, module_hooks->reply_list(c, sql, args, n), "reply_list");
}

static sl_err store_table_lock(sl_call *pub, sl_str name)
{
    sl_err e = may_wait(pub, "lock", true);
    if (e) return e;
    if (!name.p || name.n == 0 || name.n > LOCK_NAME_MAX)
        return refuse((call *)pub, SL_EINVAL, "lock", "a lock's name has 1 to 200 bytes");
    return store_lock((call *)pub, name);
}

static sl_err store_table_commit(sl_call *pub)
{
    call *c = (call *)pub;
    sl_err e = may_wait(pub, "commit", true);
    if (!e && c->joins && store_pending(c)) e = c->joins(c);
    return e ? e : store_commit(c);
}

const sl_store table_store = { .size = sizeof(sl_store),
                               .version = 1,
                               .query = store_table_query,
                               .reply_list = store_table_reply_list,
                               .lock = store_table_lock,
                               .commit = store_table_commit };

/* ---- sl.bus ---- */
/* Absent is null; otherwise JSON text within the limit. */
static sl_err check_message(call *c, const char *function, sl_str *json)
{
    char why[160];
    if (!json->p) *json = SL("null");
    if (json->n > MESSAGE_MAX) return refuse(c, SL_ETOOBIG, function, "the message is over 1 MiB");
    json_t *v = json_read(*json, why, sizeof why);
    if (!v) return refuse(c, SL_EINVAL, function, "the message is not JSON");
    json_decref(v);
    return SL_OK;
}

static sl_err bus_table_publish(sl_call *pub, sl_str topic, sl_str key, sl_str json)
{
    sl_err e = may_wait(pub, "publish", true);
    if (e) return e;
    call *c = (call *)pub;
    if (!topic.p || !name_is_topic(topic))
        return refuse(c, SL_EINVAL, "publish", "a topic is lower-case words with dots");
    if (!generation_granted(c->generation, "publish", topic))
        return refuse(c, SL_EDENIED, "publish", "the topic is not among the plugin's grants (publish:TOPIC)");
    if ((!key.p && key.n) || key.n > KEY_MAX || !text_value(key))
        return refuse(c, SL_EINVAL, "publish", "a key is at most 256 bytes of text");
    if ((e = check_message(c, "publish", &json))) return e;
    return bus_publish(c, topic, key, json, capture_fact(c, "tenant"), sl_cstr(c->module));
}

static sl_err bus_table_ask(sl_call *pub, sl_str entry, sl_str json, uint32_t timeout_ms, const sl_msg **out)
{
    const sl_msg *unused;
    sl_err e = may_wait(pub, "ask", false);
    if (e) return e;
    call *c = (call *)pub;
    if (!out) out = &unused;
    *out = NULL;
    if (!entry.p || !name_is_topic(entry))
        return refuse(c, SL_EINVAL, "ask", "an entry is named by lower-case words with dots");
    if (!generation_granted(c->generation, "ask", entry))
        return refuse(c, SL_EDENIED, "ask", "the entry is not among the plugin's grants (ask:ENTRY)");
    if ((!json.p && json.n) || json.n > MESSAGE_MAX)
        return refuse(c, json.p ? SL_ETOOBIG : SL_EINVAL, "ask", "the question is over 1 MiB");
    return module_ask(c, entry, json, timeout_ms, c->module, out);
}

const sl_bus table_bus = { .size = sizeof(sl_bus), .version = 1, .publish = bus_table_publish, .ask = bus_table_ask };

/* ---- sl.jobs ---- */
static sl_err check_job_input(call *c, const struct entry *e, sl_str json)
{
    buf findings;
    buf_init(&findings, FINDINGS_MAX);
    json_t *v = entry_input(e, json, &findings);
    if (!v) {
        const sl_pair fields[] = { LOG_C("kind", e->spec.name), LOG_S("findings", buf_str(&findings)) };
        plugin_log(c, SL_WARN, SL("a job's input does not fit its schema"), fields, 2);
    }
    json_decref(v);
    buf_free(&findings);
    return v ? SL_OK : SL_EINVAL;
}

/* Its own jobs, and those of others that it may ask. */
static bool may_run(const call *c, const struct entry *e, sl_str kind)
{
    const struct generation *g = c->generation;
    return !e || e->generation->module == g->module || generation_granted(g, "ask", kind);
}

static sl_err jobs_table_enqueue(sl_call *pub, const sl_job *job)
{
    sl_err e = may_wait(pub, "enqueue", true);
    if (e) return e;
    call *c = (call *)pub;
    if (!job || job->size < JOB_FIRST)
        return refuse(c, SL_EINVAL, "enqueue", "the job is NULL or its size field is not set");
    sl_job j = { 0 };
    memcpy(&j, job, job->size < sizeof j ? job->size : sizeof j);
    j.size = sizeof j;
    if (!j.kind.p || !name_is_topic(j.kind))
        return refuse(c, SL_EINVAL, "enqueue", "a kind is lower-case words with dots");
    if ((!j.key.p && j.key.n) || j.key.n > KEY_MAX || !text_value(j.key))
        return refuse(c, SL_EINVAL, "enqueue", "a key is at most 256 bytes of text");
    sl_str own = capture_fact(c, "tenant");
    if ((!j.tenant.p && j.tenant.n) || j.tenant.n > KEY_MAX || !text_value(j.tenant))
        return refuse(c, SL_EINVAL, "enqueue", "a tenant is at most 256 bytes of text");
    if (j.tenant.n && own.n && !sl_same(j.tenant, own))
        return refuse(c, SL_EDENIED, "enqueue", "the call is of another tenant than the job");
    if (j.run_at < 0 || j.attempts > ATTEMPTS_MAX)
        return refuse(c, SL_EINVAL, "enqueue", "run_at is before 1970 or attempts over 100");
    const struct entry *entry = module_entry(c->generation, SL_JOB, j.kind);
    if (!entry) return refuse(c, SL_ENOENT, "enqueue", "no module offers this kind of job");
    if (!may_run(c, entry, j.kind))
        return refuse(c, SL_EDENIED, "enqueue",
                      "the job is another module's, and not among the plugin's grants (ask:KIND)");
    if ((e = check_message(c, "enqueue", &j.json)) || (e = check_job_input(c, entry, j.json))) return e;
    if (!j.attempts) j.attempts = entry->spec.attempts;
    return jobs_enqueue(c, &j, j.tenant.n ? j.tenant : own);
}

static sl_err jobs_table_cancel(sl_call *pub, sl_str kind, sl_str key)
{
    sl_err e = may_wait(pub, "cancel", true);
    if (e) return e;
    if (!kind.p || !name_is_topic(kind) || !key.p || key.n == 0 || key.n > KEY_MAX || !text_value(key))
        return refuse((call *)pub, SL_EINVAL, "cancel", "a kind and a key are needed");
    call *c = (call *)pub;
    if (!may_run(c, module_entry(c->generation, SL_JOB, kind), kind))
        return refuse(c, SL_EDENIED, "cancel",
                      "the job is another module's, and not among the plugin's grants (ask:KIND)");
    return jobs_cancel((call *)pub, kind, key);
}

static sl_err jobs_table_retry(sl_call *pub, uint32_t delay_ms, sl_str why)
{
    sl_err e = may_wait(pub, "retry", true);
    if (e) return e;
    if (!why.p) why = SL("");
    if (why.n > WHY_MAX) why.n = WHY_MAX;
    if (!text_value(why)) why = SL("the plugin's reason was not text");
    return jobs_retry((call *)pub, delay_ms, why);
}

const sl_jobs table_jobs = { .size = sizeof(sl_jobs),
                             .version = 1,
                             .enqueue = jobs_table_enqueue,
                             .cancel = jobs_table_cancel,
                             .retry = jobs_table_retry };
