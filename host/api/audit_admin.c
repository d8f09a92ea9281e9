/* audit_admin.c - the host's routes for auditors: the records with their filters, the chain's head, and its export. */
#include "api/api.h"
#include "audit/audit.h"
#include "base/clock.h"
#include "store/store.h"
#include <service_layer/json.h>

enum { EXPORT_ROWS = 200, EXPORT_MS = 3600000, SLACK_MS = 2000 };

#define RECORD                                                                                                         \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The record; the same in the store and in the file."),                          \
              SL_REQUIRED("seq", "\"type\":[\"integer\",\"null\"]", "Its place in the chain; null for a moment."),     \
              SL_REQUIRED("at", SL_TIME, "When the call ended."),                                                      \
              SL_REQUIRED("user", "\"type\":\"string\"", "Who called."),                                               \
              SL_REQUIRED("role", "\"type\":\"string\"", "In which role."),                                            \
              SL_REQUIRED("tenant", "\"type\":\"string\"", "For which tenant."),                                       \
              SL_REQUIRED("method", "\"type\":\"string\"", "Of the call."),                                            \
              SL_REQUIRED("route", SL_TEXT_OR_NULL, "Template of the path; null when none matched."),                  \
              SL_REQUIRED("target", "\"type\":\"string\"", "The path, without the query."),                            \
              SL_REQUIRED("status", "\"type\":[\"integer\",\"null\"]", "Of the answer; null: it was about to begin."), \
              SL_REQUIRED("code", SL_TEXT_OR_NULL, "Of the problem."),                                                 \
              SL_REQUIRED("outcome", SL_TEXT_OR_NULL, "What came of it, in words."),                                   \
              SL_REQUIRED("request_id", "\"type\":\"string\"", "Of the call."),                                        \
              SL_REQUIRED("trace_id", "\"type\":\"string\"", "Of its trace."),                                         \
              SL_REQUIRED("address", "\"type\":\"string\"", "Where it came from."),                                    \
              SL_REQUIRED("count", "\"type\":\"integer\"", "More than 1: so many refusals of one caller."),            \
              SL_REQUIRED("hash", SL_TEXT_OR_NULL, "Of the record and all before it; null for a moment."))
#define FILTER                                                                                                         \
    SL_OBJECT(SL_OPTIONAL("user", SL_STRING(1, 128), "Only calls of this user or token."),                             \
              SL_OPTIONAL("role", SL_STRING(1, 64), "Only calls in this role."),                                       \
              SL_OPTIONAL("tenant", SL_STRING(1, 64), "Only calls for this tenant."),                                  \
              SL_OPTIONAL("method", SL_ENUM("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),               \
                          "Only calls with this method."),                                                             \
              SL_OPTIONAL("status", SL_INTEGER(100, 599), "Only calls that were answered so."),                        \
              SL_OPTIONAL("contains", SL_STRING(1, 256), "Only calls whose path has this in it."),                     \
              SL_OPTIONAL("since", SL_TIME, "Only calls from this time on."),                                          \
              SL_OPTIONAL("until", SL_TIME, "Only calls before this time."))
#define CHAIN_FIELDS                                                                                                   \
    SL_REQUIRED("seq", "\"type\":\"integer\"", "Of the last record in the chain; 0 = none."),                          \
        SL_REQUIRED("hash", "\"type\":\"string\"", "Of that record, and so of all.")
#define HEAD                                                                                                           \
    SL_OBJECT(CHAIN_FIELDS, SL_REQUIRED("sealed_at", SL_TIME, "When records joined the chain last."),                  \
              SL_REQUIRED("base", "\"type\":\"integer\"", "Records up to this one were removed by age."),              \
              SL_REQUIRED("waiting", "\"type\":\"integer\"", "Records that are not in the chain yet."),                \
              SL_REQUIRED("file", "\"type\":[\"object\",\"null\"]", "Path, seq and hash of this process's file."),     \
              SL_REQUIRED("trouble", SL_TEXT_OR_NULL, "Why changing calls are refused now."))
#define AFTER SL_OBJECT(SL_OPTIONAL("after", SL_INTEGER(0, 999999999999999999), "Begin behind this record."))

/* ---- the list ---- */
struct where {
    sl_call *c;
    sl_str text;
    sl_value args[16];
    uint32_t n;
};

static void add(struct where *w, const char *condition, sl_value v)
{
    w->args[w->n++] = v; /* [0] is the statement itself */
    w->text = sl_format(w->c, "%.*s and %s$%u", STR_ARG(w->text), condition, w->n - 1);
}

/* Ids begin with their millisecond, so a time bounds the walk over the primary key. */
static void add_time(struct where *w, const char *name, const char *by_time)
{
    int64_t us;
    sl_str text = sl_param(w->c, name);
    if (!sl_given(text) || !clock_parse(text, &us)) return;
    int64_t ms = us / 1000 + (*by_time == '<' ? SLACK_MS : -SLACK_MS);
    char low[24];
    (void)snprintf(low, sizeof low, "%012llx", (unsigned long long)(ms > 0 ? ms : 0) & 0xffffffffffff);
    add(w, sl_format(w->c, "id %.2s ", by_time).p, sl_text(sl_format(w->c, "%.8s-%.4s", low, low + 8)));
    add(w, sl_format(w->c, "at %s ", by_time).p, sl_int(us));
}

/* For LIKE, whose own signs are taken literally. */
static sl_str pattern(sl_call *c, sl_str part)
{
    char *p = sl_alloc(c, 2 * part.n + 3), *at = p;
    if (!p) return sl_lit(NULL, 0);
    *at++ = '%';
    for (size_t i = 0; i < part.n; i++) {
        if (strchr("%_!", part.p[i])) *at++ = '!';
        *at++ = part.p[i];
    }
    *at++ = '%';
    return sl_lit(p, (size_t)(at - p));
}

static sl_err list(void *self, sl_call *c)
{
    static const char *const same[][2] = {
        { "user", "actor = " }, { "role", "role = " }, { "tenant", "tenant = " }, { "method", "method = " }
    };
    struct where w = { .c = c, .text = SL(""), .n = 1 };
    (void)self;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (sl_given(sl_param(c, same[i][0]))) add(&w, same[i][1], sl_text(sl_param(c, same[i][0])));
    if (sl_given(sl_param(c, "status"))) add(&w, "status = ", sl_number(sl_param(c, "status")));
    if (sl_given(sl_param(c, "contains"))) {
        add(&w, "target like ", sl_text(pattern(c, sl_param(c, "contains"))));
        w.text = sl_format(c, "%.*s escape '!'", STR_ARG(w.text));
    }
    add_time(&w, "since", ">=");
    add_time(&w, "until", "< ");
    w.args[0] = sl_text(sl_format(c,
                                  "select id, seq, at, actor as \"user\", role, tenant, method, route, target, status, "
                                  "code, outcome, request_id, trace_id, address, times as count, hash from sl_audit "
                                  "where id <> ''%.*s {{page}}",
                                  STR_ARG(w.text)));
    return sl_reply_list_array(c, w.args, w.n);
}

/* ---- the chain ---- */
static sl_err read_ends(sl_call *c, const sl_rows **rows)
{
    return store_query((call *)c, rows,
                       SL("select h.seq, h.hash, h.at, b.seq as base, b.hash as base_hash, "
                          "(select count(*) from sl_audit where seq is null) as waiting "
                          "from sl_audit_chain h, sl_audit_chain b where h.name = 'head' and b.name = 'base'"),
                       NULL, 0);
}

static sl_err head(void *self, sl_call *c)
{
    const sl_rows *rows;
    struct chain file;
    sl_str path;
    char at[CLOCK_TEXT];
    (void)self;
    sl_err e = read_ends(c, &rows);
    if (e) return e;
    if (rows->rows != 1) return SL_EINTERNAL;
    int64_t sealed = sl_cell_int(rows, 0, "at");
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '{');
    sl_json_int(&j, "seq", sl_cell_int(rows, 0, "seq"));
    sl_json_text(&j, "hash", sl_cell_text(rows, 0, "hash"));
    sl_json_text(&j, "sealed_at", sealed ? sl_lit(at, clock_format(sealed, at)) : sl_lit(NULL, 0));
    sl_json_int(&j, "base", sl_cell_int(rows, 0, "base"));
    sl_json_int(&j, "waiting", sl_cell_int(rows, 0, "waiting"));
    if (audit_file_head(&file, &path)) {
        sl_json_open(&j, "file", '{');
        sl_json_text(&j, "path", path);
        sl_json_int(&j, "seq", (int64_t)file.seq);
        sl_json_text(&j, "hash", sl_cstr(file.hash));
        sl_json_close(&j, '}');
    } else
        sl_json_raw(&j, "file", sl_lit(NULL, 0));
    sl_json_text(&j, "trouble", sl_cstr(audit_trouble()));
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

/* Lines of rows behind `after`, whose hash is `prev`; both move on. A hash is the stored one: the check is for whoever
 * reads. */
static sl_err export_some(sl_call *c, int64_t *after, char prev[CHAIN_HASH], bool *more)
{
    static buf text; /* handed over before anything can wait */
    const sl_rows *rows;
    struct audit_record r;
    sl_err e = store_query((call *)c, &rows,
                           SL("select " AUDIT_COLUMNS ", seq, hash from sl_audit where seq > $1 order by seq limit $2"),
                           SL_ARRAY(*after, (int64_t)EXPORT_ROWS), 2);
    *more = !e && rows->rows == EXPORT_ROWS;
    if (e) return e;
    if (!text.max) buf_init(&text, EXPORT_ROWS * CHAIN_LINE);
    buf_clear(&text);
    for (uint32_t i = 0; i < rows->rows; i++) {
        sl_str hash = sl_cell_text(rows, i, "hash");
        audit_from_row(rows, i, &r);
        *after = sl_cell_int(rows, i, "seq");
        audit_open_line(&text, &r, (uint64_t)*after, prev);
        (void)snprintf(prev, CHAIN_HASH, "%.*s", STR_ARG(hash));
        audit_close_line(&text, prev);
    }
    if (text.overflow) return SL_ETOOBIG;
    sl_str copied = arena_copy(((call *)c)->arena, buf_str(&text));
    return copied.n ? c->host->core->write(c, copied) : SL_OK;
}

static sl_err find_prev(sl_call *c, int64_t *after, char prev[CHAIN_HASH])
{
    const sl_rows *rows;
    sl_err e = read_ends(c, &rows);
    if (e) return e;
    if (*after <= sl_cell_int(rows, 0, "base")) {
        *after = sl_cell_int(rows, 0, "base");
        (void)snprintf(prev, CHAIN_HASH, "%.*s", STR_ARG(sl_cell_text(rows, 0, "base_hash")));
        return SL_OK;
    }
    e = store_query((call *)c, &rows, SL("select hash from sl_audit where seq = $1"), SL_ARRAY(*after), 1);
    if (e) return e;
    if (rows->rows != 1) return sl_problem(c, 404, "record_not_found", "There is no record with this seq.");
    (void)snprintf(prev, CHAIN_HASH, "%.*s", STR_ARG(sl_cell_text(rows, 0, "hash")));
    return SL_OK;
}

static sl_err export(void *self, sl_call *c)
{
    int64_t after = sl_to_int(sl_param(c, "after"), 0);
    char prev[CHAIN_HASH];
    bool more = true;
    (void)self;
    sl_err e = find_prev(c, &after, prev);
    if (!e) e = sl_reply(c, 200, SL("application/x-ndjson"), SL(""));
    while (!e && more)
        e = export_some(c, &after, prev, &more);
    return e;
}

static sl_err health(void *self, sl_call *c)
{
    const char *trouble = audit_trouble();
    (void)self;
    return trouble ? sl_problem(c, 503, "audit_unavailable", trouble) : SL_OK;
}

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /admin/audit", list, .scope = "admin:audit", .query = FILTER, .out = RECORD, .flags = SL_LIST,
      .doc = "Who changed what and who was refused, newest first." },
    { SL_ROUTE, "GET /admin/audit/head", head, .scope = "admin:audit", .out = HEAD,
      .doc = "Where the chain ends now. Kept elsewhere it shows later that nothing was cut off." },
    { SL_ROUTE, "GET /admin/audit/export", export, .scope = "admin:audit", .query = AFTER, .flags = SL_STREAM,
      .out = SL_CONTENT("application/x-ndjson"), .problems = "404 record_not_found", .deadline_ms = EXPORT_MS,
      .doc = "The chain as JSON lines, oldest first, for `slctl audit verify` or `appserver -audit-verify`." },
};
static const sl_need needs[] = { { "sl.store", 1, 0 } };
static const sl_lifecycle life = { .size = sizeof life, .health = health };
SL_LINKED_PLUGIN(audit_plugin, "audit", .doc = "Who changed what and who was refused.", .lifecycle = &life,
                 SL_NEEDS(needs), SL_ENTRIES(entries));
