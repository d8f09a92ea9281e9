/* modules_admin.c - the host's routes for operators: modules with their generations, and their changes. A plugin linked
 * in. */
#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/http.h"
#include <service_layer/json.h>
#include <stdlib.h>

enum { CHANGE_MS = 300000 };

#define GENERATION                                                                                                     \
    SL_OBJECT(SL_REQUIRED("number", "\"type\":\"integer\"", "Counts up with each load."),                              \
              SL_REQUIRED("state", "\"type\":\"string\"",                                                              \
                          "serving, warm, draining, parked, kept, stuck, staged or gone; docs/reload.md explains."),   \
              SL_REQUIRED("version", SL_TEXT_OR_NULL, "As the plugin states it."),                                     \
              SL_REQUIRED("calls", "\"type\":\"integer\"", "In flight."),                                              \
              SL_REQUIRED("done", "\"type\":\"integer\"", "Calls begun since it was loaded."),                         \
              SL_REQUIRED("failed", "\"type\":\"integer\"", "Calls that ended in a fault of its own."),                \
              SL_REQUIRED("loaded_at", SL_TIME, "When it began to serve."),                                            \
              SL_REQUIRED("mapped_bytes", "\"type\":\"integer\"", "Memory of its library."),                           \
              SL_REQUIRED("file_bytes", "\"type\":\"integer\"", "Size of its file."),                                  \
              SL_REQUIRED("sha256", SL_TEXT_OR_NULL, "Of its file."),                                                  \
              SL_REQUIRED("build_id", SL_TEXT_OR_NULL, "Of its file, as the linker wrote it."),                        \
              SL_REQUIRED("findings", "\"type\":\"array\",\"items\":" FINDING, "What a look at its file found."))
#define FINDING                                                                                                        \
    SL_OBJECT(SL_REQUIRED("class", "\"type\":\"string\"", "Its class, as in `modules.findings`."),                     \
              SL_REQUIRED("policy", "\"type\":\"string\"", "allow, pin, isolate or refuse."),                          \
              SL_REQUIRED("text", "\"type\":\"string\"", "What it is, and the remedy."))
#define CHANGE                                                                                                         \
    SL_OBJECT(SL_REQUIRED("action", "\"type\":\"string\"", "reload, enable, disable, unload or roll back."),           \
              SL_REQUIRED("good", "\"type\":\"boolean\"", "Was it done?"),                                             \
              SL_REQUIRED("outcome", "\"type\":\"string\"", "In words."),                                              \
              SL_REQUIRED("at", SL_TIME, "When it began."),                                                            \
              SL_REQUIRED("from", "\"type\":\"integer\"", "Generation before; 0 = none."),                             \
              SL_REQUIRED("to", "\"type\":\"integer\"", "Generation after; 0 = none."),                                \
              SL_REQUIRED("check_us", "\"type\":\"integer\"", "Reading, checking and probing the file."),              \
              SL_REQUIRED("start_us", "\"type\":\"integer\"", "Opening, migrating, create and start."),                \
              SL_REQUIRED("hand_over_us", "\"type\":\"integer\"", "While new calls waited."),                          \
              SL_REQUIRED("swap_us", "\"type\":\"integer\"", "From the beginning until the new one served."),          \
              SL_REQUIRED("held", "\"type\":\"integer\"", "Calls that waited for the hand-over."))
#define UNLOAD                                                                                                         \
    SL_OBJECT(SL_REQUIRED("generation", "\"type\":\"integer\"", "Which one left last."),                               \
              SL_REQUIRED("proven", "\"type\":\"boolean\"", "It is nowhere in the process any more."),                 \
              SL_REQUIRED("outcome", "\"type\":\"string\"", "In words."), SL_REQUIRED("at", SL_TIME, "When."),         \
              SL_REQUIRED("drain_us", "\"type\":\"integer\"", "Until its last call was over."),                        \
              SL_REQUIRED("total_us", "\"type\":\"integer\"", "Until it was gone."))
#define MODULE                                                                                                         \
    SL_OBJECT(SL_REQUIRED("name", "\"type\":\"string\"", "Of the module."),                                            \
              SL_REQUIRED("version", SL_TEXT_OR_NULL, "Of its plugin."),                                               \
              SL_REQUIRED("doc", SL_TEXT_OR_NULL, "What it is for."),                                                  \
              SL_REQUIRED("status", "\"type\":\"string\"", "started, waiting, failed, disabled, stopped ..."),         \
              SL_REQUIRED("error", SL_TEXT_OR_NULL, "Why it does not run."),                                           \
              SL_REQUIRED("etag", "\"type\":\"string\"", "For `If-Match`."),                                           \
              SL_REQUIRED("builtin", "\"type\":\"boolean\"", "Linked into the server."),                               \
              SL_REQUIRED("required", "\"type\":\"boolean\"", "The server does not run without it."),                  \
              SL_REQUIRED("path", SL_TEXT_OR_NULL, "Its file."),                                                       \
              SL_REQUIRED("grants", SL_TEXT_OR_NULL, "What it asks for."),                                             \
              SL_REQUIRED("restarts", "\"type\":\"integer\"", "Of its process, when it has one."),                     \
              SL_REQUIRED("isolation", SL_ENUM("none", "process"), "Where its plugin runs."),                          \
              SL_REQUIRED("process", "\"type\":[\"object\",\"null\"]", PROCESS_DOC),                                   \
              SL_REQUIRED("parked", "\"type\":\"integer\"", "Generations that were parked since the start."),          \
              SL_REQUIRED("generations", "\"type\":\"array\",\"items\":" GENERATION, "Newest first."),                 \
              SL_REQUIRED("last_change", "\"type\":[\"object\",\"null\"]", "The last change: " CHANGE_DOC),            \
              SL_REQUIRED("last_unload", "\"type\":[\"object\",\"null\"]", "The last generation that left."))
#define PROCESS_DOC                                                                                                    \
    "Its process: pid (null: none now), resident bytes, starts, crashes, quarantined, how and when it crashed last."
#define CHANGE_DOC "action, outcome in words, and where the time went, in microseconds."
#define MODULES    SL_OBJECT(SL_REQUIRED("items", "\"type\":\"array\",\"items\":" MODULE, "In start order."))

/* ---- one module as JSON ---- */
static sl_str etag(sl_call *c, const struct module *m)
{
    static int64_t process; /* an edition of another process is another state */
    if (!process) process = clock_now();
    return sl_format(c, "\"%llx-%llu\"", (unsigned long long)process, (unsigned long long)m->edition);
}

static void add_time(sl_json *j, const char *name, int64_t us)
{
    char text[CLOCK_TEXT];
    sl_json_text(j, name, us ? sl_lit(text, clock_format(us, text)) : sl_lit(NULL, 0));
}

static void add_finding(sl_json *j, const char *class, enum finding_policy policy, const char *text)
{
    sl_json_open(j, NULL, '{');
    sl_json_text(j, "class", sl_cstr(class));
    sl_json_text(j, "policy", sl_cstr(finding_policy_name(policy)));
    sl_json_text(j, "text", sl_cstr(text));
    sl_json_close(j, '}');
}

static void add_generation(sl_json *j, const struct generation *g)
{
    uint32_t calls = 0;
    for (size_t i = 0; i < g->n_entries; i++)
        calls += g->entries[i].inflight;
    sl_json_open(j, NULL, '{');
    sl_json_int(j, "number", g->number);
    sl_json_text(j, "state", sl_cstr(generation_state_name(g->state)));
    sl_json_text(j, "version", sl_cstr(g->spec.version));
    sl_json_int(j, "calls", calls);
    sl_json_int(j, "done", (int64_t)g->done);
    sl_json_int(j, "failed", (int64_t)g->failed);
    add_time(j, "loaded_at", g->loaded_at);
    sl_json_int(j, "mapped_bytes", (int64_t)g->mapped);
    sl_json_int(j, "file_bytes", (int64_t)g->file_size);
    sl_json_text(j, "build_id", g->build[0] ? sl_cstr(g->build) : sl_lit(NULL, 0));
    sl_json_text(j, "sha256", g->sha256[0] ? sl_cstr(g->sha256) : sl_lit(NULL, 0));
    sl_json_open(j, "findings", '[');
    for (size_t i = 0; i < g->n_findings; i++)
        add_finding(j, g->findings[i].class, g->findings[i].policy, g->findings[i].text);
    if (g == g->module->current && g->module->bad_file[0]) add_finding(j, "file", FINDING_REFUSE, g->module->bad_file);
    sl_json_close(j, ']');
    sl_json_close(j, '}');
}

static void add_change(sl_json *j, const char *name, const struct module_change *k)
{
    if (!k->action) {
        sl_json_raw(j, name, SL("null"));
        return;
    }
    sl_json_open(j, name, '{');
    sl_json_text(j, "action", sl_cstr(k->action));
    sl_json_bool(j, "good", k->good);
    sl_json_text(j, "outcome", sl_cstr(k->outcome));
    add_time(j, "at", k->at);
    sl_json_int(j, "from", k->from);
    sl_json_int(j, "to", k->to);
    sl_json_int(j, "check_us", k->check_us);
    sl_json_int(j, "start_us", k->start_us);
    sl_json_int(j, "hand_over_us", k->hand_over_us);
    sl_json_int(j, "swap_us", k->swap_us);
    sl_json_int(j, "held", k->held);
    sl_json_close(j, '}');
}

static void add_unload(sl_json *j, const char *name, const struct module_unload *u)
{
    if (!u->number) {
        sl_json_raw(j, name, SL("null"));
        return;
    }
    sl_json_open(j, name, '{');
    sl_json_int(j, "generation", u->number);
    sl_json_bool(j, "proven", u->proven);
    sl_json_text(j, "outcome", sl_cstr(u->outcome));
    add_time(j, "at", u->at);
    sl_json_int(j, "drain_us", u->drain_us);
    sl_json_int(j, "total_us", u->total_us);
    sl_json_close(j, '}');
}

static void add_process(sl_json *j, const struct module *m)
{
    struct module_process p;
    sl_json_text(j, "isolation", module_isolated(m) ? SL("process") : SL("none"));
    if (!module_process(m, &p)) {
        sl_json_raw(j, "process", SL("null"));
        return;
    }
    sl_json_open(j, "process", '{');
    if (p.pid)
        sl_json_int(j, "pid", p.pid);
    else
        sl_json_raw(j, "pid", SL("null"));
    sl_json_int(j, "resident_bytes", (int64_t)p.resident);
    sl_json_int(j, "starts", p.starts);
    sl_json_int(j, "crashes", p.crashes);
    sl_json_bool(j, "quarantined", p.quarantined);
    sl_json_text(j, "last_crash", p.last_crash[0] ? sl_cstr(p.last_crash) : sl_lit(NULL, 0));
    add_time(j, "crashed_at", p.crashed_at);
    sl_json_close(j, '}');
}

static void add_module(sl_call *c, sl_json *j, const char *name, const struct module *m)
{
    sl_json_open(j, name, '{');
    sl_json_text(j, "name", sl_cstr(m->name));
    sl_json_text(j, "version", sl_cstr(m->version));
    sl_json_text(j, "doc", sl_cstr(m->doc));
    sl_json_text(j, "status", sl_cstr(module_status_name(m->status)));
    sl_json_text(j, "error", m->error[0] ? sl_cstr(m->error) : sl_lit(NULL, 0));
    sl_json_text(j, "etag", etag(c, m));
    sl_json_bool(j, "builtin", m->linked != NULL);
    sl_json_bool(j, "required", m->required);
    sl_json_text(j, "path", m->path[0] ? sl_cstr(m->path) : sl_lit(NULL, 0));
    sl_json_text(j, "grants", sl_cstr(m->grants));
    sl_json_int(j, "restarts", m->restarts);
    add_process(j, m);
    sl_json_int(j, "parked", m->parked);
    sl_json_open(j, "generations", '[');
    if (m->current) add_generation(j, m->current);
    for (const struct generation *g = m->older; g; g = g->older)
        add_generation(j, g);
    sl_json_close(j, ']');
    add_change(j, "last_change", &m->last);
    add_unload(j, "last_unload", &m->left);
    sl_json_close(j, '}');
}

/* ---- the routes ---- */
static sl_err list_modules(void *self, sl_call *c)
{
    sl_json j = sl_json_start(c);
    (void)self;
    sl_json_open(&j, NULL, '{');
    sl_json_open(&j, "items", '[');
    for (const struct module *m = modules_first(); m; m = m->next)
        add_module(c, &j, NULL, m);
    sl_json_close(&j, ']');
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

static sl_err reply_module(sl_call *c, const struct module *m)
{
    sl_json j = sl_json_start(c);
    add_module(c, &j, NULL, m);
    sl_header(c, SL("ETag"), etag(c, m));
    return sl_reply_json(c, 200, sl_json_end(&j));
}

static sl_err no_such_module(sl_call *c) { return sl_problem(c, 404, "module_not_found", "There is no such module."); }

static sl_err get_module(void *self, sl_call *c)
{
    const struct module *m = module_find(sl_path(c, "name"));
    (void)self;
    return m ? reply_module(c, m) : no_such_module(c);
}

static void audit(sl_call *c, const char *action, sl_str target, const char *outcome)
{
    audit_outcome((call *)c, sl_format(c, "%s %.*s: %s", action, STR_ARG(target), outcome));
    log_info("admin action", LOG_S("actor", sl_fact(c, "actor")), LOG_S("remote", sl_fact(c, "remote")),
             LOG_C("action", action), LOG_S("target", target), LOG_C("outcome", outcome),
             LOG_S("request_id", sl_fact(c, "request_id")));
}

static sl_err changed_since(sl_call *c, const char *name, const struct module *m)
{
    audit(c, name, sl_cstr(m->name), "refused: the module changed since its state was read (If-Match)");
    return sl_problem(c, 412, "module_changed", "The module changed since you read its state; read it again.");
}

static sl_err change(sl_call *c, enum module_action action, const char *name)
{
    struct module_change done;
    struct module *m = module_find(sl_path(c, "name"));
    sl_str wanted = sl_req_header(c, "if-match");
    bool guarded = sl_given(wanted) && !sl_is(wanted, "*");
    if (!m) return no_such_module(c);
    uint64_t seen = m->edition;
    if (guarded && !sl_same(wanted, etag(c, m))) return changed_since(c, name, m);
    sl_err e = audit_intent((call *)c, sl_format(c, "%s %s: begins", name, m->name));
    if (e) return e;
    e = module_change((call *)c, m, action, guarded ? &seen : NULL, &done);
    if (e == SL_EPRECOND) return changed_since(c, name, m);
    audit(c, name, sl_cstr(m->name), done.outcome[0] ? done.outcome : "under way; nobody waits for it");
    if (e == SL_EBUSY) return sl_problem(c, 503, "modules_busy", done.outcome);
    if (e == SL_ECONFLICT) return sl_problem(c, 409, "module_state", done.outcome);
    if (e == SL_EINVAL) return sl_problem(c, 422, "module_refused", done.outcome);
    return e ? e : reply_module(c, m);
}

static sl_err reload(void *self, sl_call *c) { return (void)self, change(c, MODULE_RELOAD, "reload"); }
static sl_err enable(void *self, sl_call *c) { return (void)self, change(c, MODULE_ENABLE, "enable"); }
static sl_err disable(void *self, sl_call *c) { return (void)self, change(c, MODULE_DISABLE, "disable"); }
static sl_err unload(void *self, sl_call *c) { return (void)self, change(c, MODULE_UNLOAD, "unload"); }

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /admin/modules", list_modules, .scope = "admin", .out = MODULES,
      .doc = "All modules with their generations, in start order." },
    { SL_ROUTE, "GET /admin/modules/{name}", get_module, .scope = "admin", .out = MODULE,
      .doc = "One module: generations, calls in flight, findings, how the last change went." },
    { SL_ROUTE, "POST /admin/modules/{name}/reload", reload, .scope = "admin", .out = MODULE, .deadline_ms = CHANGE_MS,
      .doc = "Replace the plugin by what its file holds now, while requests flow. Answers when the new generation "
             "serves." },
    { SL_ROUTE, "POST /admin/modules/{name}/enable", enable, .scope = "admin", .out = MODULE, .deadline_ms = CHANGE_MS,
      .doc = "Load and start a module that does not run." },
    { SL_ROUTE, "POST /admin/modules/{name}/disable", disable, .scope = "admin", .out = MODULE,
      .deadline_ms = CHANGE_MS,
      .doc = "Stop a module until the server starts again or it is enabled; its routes answer 503." },
    { SL_ROUTE, "POST /admin/modules/{name}/unload", unload, .scope = "admin", .out = MODULE, .deadline_ms = CHANGE_MS,
      .doc = "The same, but its routes are gone: 404." },
};
SL_LINKED_PLUGIN(modules_plugin, "modules", .doc = "Modules for operators.", SL_ENTRIES(entries));
