/* tables.c - sl.core as plugins see it: arguments are checked, then passed to the kind of call or to the floors below.
 */
#include "module/private.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "store/store.h"
#include <pthread.h>

enum {
    REPLY_MAX = 64 << 20,
    JSON_MAX = 16 << 20,
    HEADER_VALUE_MAX = 8192,
    TYPE_MAX = 256,
    CODE_MAX = 64,
    DETAIL_MAX = 4096,
    LOG_FIELDS_MAX = 32,
    LOG_TEXT_MAX = 1024,
    LOG_LINES_PER_SECOND = 500,
    SLEEP_MAX_MS = 3600 * 1000
};

_Thread_local call *pool_call;
bool (*module_in_transaction)(const call *c) = store_pending;
void (*plugin_log_to)(call *c, uint32_t level, sl_str text, const sl_pair *fields, size_t n);

call *call_mine(sl_call *c) { return c && (pool_call == (call *)c || call_current() == (call *)c) ? (call *)c : NULL; }

/* ---- the log of plugins ---- */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER; /* handlers on the pool log too */

static bool log_counted(struct module *m, uint32_t *lost)
{
    int64_t second = clock_monotonic() / 1000000000;
    if (m->log_window != second) {
        *lost = m->log_lost;
        m->log_window = second;
        m->log_lines = m->log_lost = 0;
    }
    if (m->log_lines++ < LOG_LINES_PER_SECOND) return true;
    m->log_lost++;
    return false;
}

static bool log_allowed(struct module *m)
{
    uint32_t lost = 0;
    pthread_mutex_lock(&log_lock);
    bool allowed = log_counted(m, &lost);
    pthread_mutex_unlock(&log_lock);
    if (lost)
        log_warn("log lines of a plugin were left out", LOG_C("plugin", m->name), LOG_I("lines", lost),
                 LOG_I("limit_per_second", LOG_LINES_PER_SECOND));
    return allowed;
}

void plugin_log(call *c, uint32_t level, sl_str text, const sl_pair *fields, size_t n)
{
    struct generation *g = c->generation;
    sl_pair all[LOG_FIELDS_MAX + 4];
    char room[LOG_TEXT_MAX + 1];
    size_t used = 0, length = text.n < LOG_TEXT_MAX ? text.n : LOG_TEXT_MAX;
    if (level < SL_DEBUG || level > SL_ERROR) level = SL_INFO;
    if (!log_on((int)level) || (g && !log_allowed(g->module))) return;
    if (plugin_log_to) {
        plugin_log_to(c, level, sl_lit(text.p, length), fields,
                      fields && n < LOG_FIELDS_MAX ? n
                      : fields                     ? LOG_FIELDS_MAX
                                                   : 0);
        return;
    }
    if (length) memcpy(room, text.p, length);
    room[length] = 0;
    all[used++] = LOG_C("plugin", c->module);
    all[used++] = LOG_C("entry", c->name);
    sl_str request = capture_fact(c, "request_id"), trace = capture_fact(c, "trace_id");
    if (sl_given(request)) all[used++] = LOG_S("request_id", request);
    if (sl_given(trace)) all[used++] = LOG_S("trace_id", trace);
    for (size_t i = 0; fields && i < n && i < LOG_FIELDS_MAX; i++)
        if (fields[i].name.p && fields[i].name.n > 0 && fields[i].name.n <= 64) all[used++] = fields[i];
    log_write((int)level, room, all, used);
}

static void core_log(sl_call *pub, uint32_t level, sl_str text, const sl_pair *fields, uint32_t n)
{
    call *c = call_mine(pub);
    if (c) plugin_log(c, level, text.p ? text : SL(""), fields, n);
}

/* What a programming error in a plugin leaves in the log. */
static sl_err misuse(call *c, const char *what, const char *why)
{
    const sl_pair field = LOG_C("function", what);
    plugin_log(c, SL_ERROR, sl_cstr(why), &field, 1);
    return SL_ESTATE;
}

sl_err may_wait(sl_call *pub, const char *what, bool in_transaction)
{
    call *c = call_mine(pub);
    if (!c) {
        log_error("a host function was called with a call that does not run here", LOG_C("function", what));
        return SL_ESTATE;
    }
    if (pool_call) return misuse(c, what, "a handler on the thread pool may not wait");
    if (!in_transaction && module_in_transaction(c))
        return misuse(c, what, "only the store may be waited for while a transaction is open");
    return SL_OK;
}

struct pool_work {
    call *c;
    void (*work)(void *arg);
    void *arg;
    struct counted *counted;
};

static void run_pool_work(void *arg)
{
    struct pool_work *w = arg;
    pool_call = w->c;
    w->work(w->arg);
    w->counted = metrics_take_pooled();
    pool_call = NULL;
}

sl_err pool_run(call *c, void (*work)(void *arg), void *arg)
{
    struct pool_work w = { .c = c, .work = work, .arg = arg };
    sl_err e = call_offload(c, run_pool_work, &w);
    metrics_apply_pooled(w.counted);
    return e;
}

/* ---- input ---- */
static sl_str input_config(call *c, sl_str name)
{
    const struct generation *g = c->generation;
    if (!g || !g->config) return sl_lit(NULL, 0);
    return name.n ? json_plain(c->arena, json_object_getn(g->config, name.p, name.n)) : json_write(c->arena, g->config);
}

static sl_str core_input(sl_call *pub, uint32_t from, sl_str name)
{
    call *c = call_mine(pub);
    if (!c || (!name.p && name.n)) return sl_lit(NULL, 0);
    if (from == SL_IN_CONFIG) return input_config(c, name);
    if (!c->ops || from < SL_IN_PATH || from > SL_IN_FACT) return sl_lit(NULL, 0);
    return c->ops->input(c, from, name);
}

static sl_str core_json(sl_call *pub, sl_str json, sl_str pointer)
{
    call *c = call_mine(pub);
    char why[160];
    if (!c || !json.p || json.n > JSON_MAX || (!pointer.p && pointer.n)) return sl_lit(NULL, 0);
    json_t *root = json_read(json, why, sizeof why);
    sl_str found = root ? json_plain(c->arena, json_point(root, pointer)) : sl_lit(NULL, 0);
    json_decref(root);
    return found;
}

/* ---- answers ---- */
static bool printable(sl_str s, size_t max)
{
    if (!s.p) return s.n == 0;
    for (size_t i = 0; i < s.n && s.n <= max; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f) return false;
    return s.n <= max;
}

static sl_err core_reply(sl_call *pub, int32_t status, sl_str type, sl_str body)
{
    call *c = call_mine(pub);
    if (!c || !c->ops) return SL_ESTATE;
    if (status < 200 || status > 599 || !printable(type, TYPE_MAX) || (!body.p && body.n)) return SL_EINVAL;
    return body.n > REPLY_MAX ? SL_ETOOBIG : c->ops->reply(c, status, type, body);
}

static sl_err core_header(sl_call *pub, sl_str name, sl_str value)
{
    call *c = call_mine(pub);
    if (!c || !c->ops) return SL_ESTATE;
    if (!name.p || name.n == 0 || name.n > 64 || !printable(value, HEADER_VALUE_MAX) || !value.p) return SL_EINVAL;
    for (size_t i = 0; i < name.n; i++) /* RFC 9110 5.6.2: token */
        if (!strchr("!#$%&'*+-.^_`|~", name.p[i]) && !(name.p[i] >= '0' && name.p[i] <= '9') &&
            !((name.p[i] | 32) >= 'a' && (name.p[i] | 32) <= 'z'))
            return SL_EINVAL;
    return c->ops->header(c, name, value);
}

static sl_err core_write(sl_call *pub, sl_str piece)
{
    sl_err e = may_wait(pub, "write", false);
    if (e) return e;
    if (!((call *)pub)->ops) return SL_ESTATE;
    if (!piece.p && piece.n) return SL_EINVAL;
    return piece.n > REPLY_MAX ? SL_ETOOBIG : ((call *)pub)->ops->write((call *)pub, piece);
}

static sl_err core_reply_row(sl_call *pub, int32_t status, const sl_rows *rows)
{
    call *c = call_mine(pub);
    if (!c || !c->ops) return SL_ESTATE;
    if (!rows || status < 200 || status > 599) return SL_EINVAL;
    if (rows->rows != 1) return SL_ENOENT;
    return module_hooks->reply_row(c, status, rows);
}

static sl_err core_problem(sl_call *pub, int32_t status, sl_str code, sl_str detail)
{
    call *c = call_mine(pub);
    if (!c || !c->ops) return SL_EREPLIED;
    if (status < 400 || status > 599) status = 500;
    if (!code.p || code.n == 0 || code.n > CODE_MAX || !str_is_utf8(code)) code = SL("error");
    if (!detail.p) detail = SL("");
    if (detail.n > DETAIL_MAX) detail.n = DETAIL_MAX;
    for (int cut = 0; cut < 3 && detail.n && !str_is_utf8(detail); cut++)
        detail.n--; /* the limit may split a character */
    if (!str_is_utf8(detail)) detail = SL("");
    c->ops->problem(c, status, code, detail);
    return SL_EREPLIED;
}

/* ---- memory, time, ids ---- */
static void *core_alloc(sl_call *pub, size_t n)
{
    call *c = call_mine(pub);
    return c ? arena_try(c->arena, n ? n : 1) : NULL;
}

static int64_t core_now(void) { return clock_now(); }
static int64_t core_monotonic(void) { return clock_monotonic(); }

static sl_str core_new_id(sl_call *pub)
{
    call *c = call_mine(pub);
    char id[ID_TEXT];
    if (!c) return sl_lit(NULL, 0);
    id_new(id);
    return arena_copy(c->arena, sl_lit(id, ID_TEXT - 1));
}

static void core_random(void *out, size_t n)
{
    if (out) random_bytes(out, n);
}

static sl_err core_sleep(sl_call *pub, uint32_t ms)
{
    sl_err e = may_wait(pub, "sleep", false);
    return e ? e : call_sleep((call *)pub, ms < SLEEP_MAX_MS ? ms : SLEEP_MAX_MS);
}

static sl_err core_offload(sl_call *pub, void (*work)(void *arg), void *arg)
{
    sl_err e = may_wait(pub, "offload", false);
    if (!e) e = work ? call_check((call *)pub) : SL_EINVAL;
    return e ? e : pool_run((call *)pub, work, arg);
}

const sl_core table_core = {
    .size = sizeof(sl_core),
    .version = 1,
    .input = core_input,
    .reply = core_reply,
    .header = core_header,
    .write = core_write,
    .reply_row = core_reply_row,
    .problem = core_problem,
    .alloc = core_alloc,
    .log = core_log,
    .now = core_now,
    .monotonic = core_monotonic,
    .new_id = core_new_id,
    .random = core_random,
    .sleep = core_sleep,
    .offload = core_offload,
    .json = core_json,
};
