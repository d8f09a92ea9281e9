/* config_admin.c - the host's routes for operators: the configuration in force, and reading it again. A plugin linked
 * in.
 */
#include "api/config_reload.h"
#include "base/log.h"
#include "http/http.h"

enum { RELOAD_MS = 600000, BODY_MAX = 4 << 20 };

#define STEP                                                                                                           \
    SL_OBJECT(SL_REQUIRED("module", "\"type\":\"string\"", "Which one."),                                              \
              SL_REQUIRED("action", "\"type\":\"string\"", "reload, enable, disable or unload."),                      \
              SL_REQUIRED("reason", "\"type\":\"string\"", "What differs; names of settings, never values."),          \
              SL_REQUIRED("good", "\"type\":[\"boolean\",\"null\"]", "Was it done? null in a dry run."),               \
              SL_REQUIRED("outcome", SL_TEXT_OR_NULL, "In words."),                                                    \
              SL_REQUIRED("from", "\"type\":\"integer\"", "Generation before; 0 = none."),                             \
              SL_REQUIRED("to", "\"type\":\"integer\"", "Generation after; 0 = none."))
#define PLAN_FIELDS                                                                                                    \
    SL_REQUIRED("good", "\"type\":\"boolean\"", "All of it was done, or can be."),                                     \
        SL_REQUIRED("outcome", "\"type\":\"string\"", "In words."),                                                    \
        SL_REQUIRED("settings", "\"type\":\"array\",\"items\":{\"type\":\"string\"}", "Applied while it runs."),       \
        SL_REQUIRED("restart_needed", "\"type\":\"array\",\"items\":{\"type\":\"string\"}",                            \
                    "Differ too, but are read at the start only: the old values stay in force."),                      \
        SL_REQUIRED("modules", "\"type\":\"array\",\"items\":" STEP, "Those that change; no other is touched.")
#define PLAN                                                                                                           \
    SL_OBJECT(SL_REQUIRED("dry_run", "\"type\":\"boolean\"", "Nothing was done."),                                     \
              SL_REQUIRED("etag", "\"type\":\"string\"", "Of the configuration now in force, for `If-Match`."),        \
              PLAN_FIELDS)
#define SETTING                                                                                                        \
    SL_OBJECT(SL_REQUIRED("path", "\"type\":\"string\"", "As in the file."),                                           \
              SL_REQUIRED("value", SL_ANY, "In force; secrets are `***`."),                                            \
              SL_REQUIRED("origin", "\"type\":\"string\"", "default, FILE:LINE, environment NAME or flag -NAME."),     \
              SL_REQUIRED("live", "\"type\":\"boolean\"", "A reload applies it; otherwise a restart is needed."))
#define PLUGIN                                                                                                         \
    SL_OBJECT(SL_REQUIRED("name", "\"type\":\"string\"", "Of the plugin."),                                            \
              SL_REQUIRED("enabled", "\"type\":\"boolean\"", "It is to run."),                                         \
              SL_REQUIRED("required", "\"type\":\"boolean\"", "The server does not run without it."),                  \
              SL_REQUIRED("line", "\"type\":\"integer\"", "In the file; 0 = not named there."),                        \
              SL_REQUIRED("config", SL_ANY_OBJECT, "Its settings in force; secrets are `***`."))
#define CONFIG                                                                                                         \
    SL_OBJECT(SL_REQUIRED("etag", "\"type\":\"string\"", "For `If-Match`."),                                           \
              SL_REQUIRED("file", SL_TEXT_OR_NULL, "null = none was read."),                                           \
              SL_REQUIRED("settings", "\"type\":\"array\",\"items\":" SETTING, "Of the server."),                      \
              SL_REQUIRED("plugins", "\"type\":\"array\",\"items\":" PLUGIN, "In start order."),                       \
              SL_REQUIRED("last_reload", "\"type\":[\"object\",\"null\"]",                                             \
                          "The last one since the start: at, by, and as POST answers."))
#define ASK SL_OBJECT(SL_OPTIONAL("dry_run", SL_BOOLEAN SL_DEFAULT("false"), "Only say what would be done."))

static sl_str tag_of(sl_call *c)
{
    char tag[CONFIG_TAG];
    config_tag(config_in_force(), tag);
    return sl_format(c, "\"%s\"", tag);
}

static sl_err reply(sl_call *c, buf *b)
{
    sl_header(c, SL("ETag"), tag_of(c));
    sl_err e = b->overflow ? SL_ETOOBIG : sl_reply_json(c, 200, buf_str(b));
    buf_free(b);
    return e;
}

/* ---- GET ---- */
static void add_plugins(buf *b)
{
    bool first = true;
    for (const struct module *m = modules_first(); m; m = m->next) {
        const struct generation *g = m->current ? m->current : m->staged;
        if (m->linked) continue;
        buf_add_cstr(b, first ? "{" : ",{");
        first = false;
        json_field_str(b, "name", sl_cstr(m->name));
        json_field_bool(b, "enabled", m->enabled);
        json_field_bool(b, "required", m->required);
        config_write_plugin(config_in_force(), m->name, g ? g->config_schema : NULL, g ? g->config : NULL, b);
        buf_add_char(b, '}');
    }
}

static void add_last(buf *b)
{
    const struct config_reload_result *r = config_reload_last();
    json_add_name(b, "last_reload");
    if (!r->at) {
        buf_add_cstr(b, "null");
        return;
    }
    buf_add_char(b, '{');
    json_field_time(b, "at", r->at);
    json_field_str(b, "by", sl_cstr(r->by));
    json_field_bool(b, "good", r->good);
    json_field_str(b, "outcome", sl_cstr(r->outcome));
    if (r->plan.n)
        buf_add_char(b, ','), buf_add_str(b, buf_str(&r->plan));
    else
        buf_add_cstr(b, ",\"settings\":[],\"restart_needed\":[],\"modules\":[]");
    buf_add_char(b, '}');
}

static sl_err show(void *self, sl_call *c)
{
    const struct config *cfg = config_in_force();
    buf b;
    (void)self;
    buf_init(&b, BODY_MAX);
    buf_add_char(&b, '{');
    json_field_str(&b, "etag", tag_of(c));
    json_field_str(&b, "file", cfg->file.n ? cfg->file : sl_lit(NULL, 0));
    json_add_name(&b, "settings");
    buf_add_char(&b, '[');
    config_write(cfg, &b);
    buf_add_char(&b, ']');
    json_add_name(&b, "plugins");
    buf_add_char(&b, '[');
    add_plugins(&b);
    buf_add_char(&b, ']');
    add_last(&b);
    buf_add_char(&b, '}');
    return reply(c, &b);
}

/* ---- POST ---- */
static void audit(sl_call *c, bool dry_run, const char *outcome)
{
    const struct config *cfg = config_in_force();
    audit_outcome((call *)c,
                  sl_format(c, "%s: %s", dry_run ? "reload configuration (dry run)" : "reload configuration", outcome));
    log_info("admin action", LOG_S("actor", sl_fact(c, "actor")), LOG_S("remote", sl_fact(c, "remote")),
             LOG_C("action", dry_run ? "reload configuration (dry run)" : "reload configuration"),
             LOG_S("target", cfg->file.n ? cfg->file : SL("none")), LOG_C("outcome", outcome),
             LOG_S("request_id", sl_fact(c, "request_id")));
}

static sl_err refuse(sl_call *c, sl_err e, const struct config_reload_result *r)
{
    if (e == SL_EPRECOND)
        return sl_problem(c, 412, "config_changed",
                          "Another configuration is in force than the one you read; read it again.");
    if (e == SL_EINVAL)
        return sl_problem(c, 422, "config_invalid", sl_format(c, "Nothing was changed.\n%s", r->outcome).p);
    if (e == SL_ECONFLICT) return sl_problem(c, 422, "config_partly_applied", r->outcome);
    if (e == SL_EBUSY) return sl_problem(c, 503, "modules_busy", r->outcome);
    return e;
}

static sl_err reload(void *self, sl_call *c)
{
    struct config_reload_result r;
    bool dry_run = sl_is(sl_body(c, "dry_run"), "true");
    sl_str wanted = sl_req_header(c, "if-match"), tag = sl_lit(NULL, 0);
    buf b;
    (void)self;
    if (sl_given(wanted) && !sl_is(wanted, "*")) tag = wanted.n > 2 ? str_sub(wanted, 1, wanted.n - 2) : SL("-");
    sl_err e = dry_run ? SL_OK : audit_intent((call *)c, SL("reload configuration: begins"));
    if (e) return e;
    e = config_reload((call *)c, dry_run, tag, "admin", &r);
    audit(c, dry_run,
          e == SL_EPRECOND ? "refused: another configuration is in force (If-Match)"
          : r.outcome[0]   ? r.outcome
                           : "under way; nobody waits for it");
    if (e) {
        buf_free(&r.plan);
        return refuse(c, e, &r);
    }
    buf_init(&b, BODY_MAX);
    buf_add_char(&b, '{');
    json_field_bool(&b, "dry_run", dry_run);
    json_field_str(&b, "etag", tag_of(c));
    json_field_bool(&b, "good", r.good);
    json_field_str(&b, "outcome", sl_cstr(r.outcome));
    buf_add_char(&b, ',');
    buf_add_str(&b, buf_str(&r.plan));
    buf_add_char(&b, '}');
    buf_free(&r.plan);
    return reply(c, &b);
}

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /admin/config", show, .scope = "admin", .out = CONFIG,
      .doc = "The configuration in force, each value with its origin." },
    { SL_ROUTE, "POST /admin/config/reload", reload, .scope = "admin", .in = ASK, .out = PLAN, .deadline_ms = RELOAD_MS,
      .doc =
          "Read the configuration again and change what differs, module by module; with `dry_run` only say what that "
          "would be." },
};
SL_LINKED_PLUGIN(configuration_plugin, "config", .doc = "The configuration for operators.", SL_ENTRIES(entries));
