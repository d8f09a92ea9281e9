/* print.c - what the configuration came to: the effective values as YAML with their sources, and the help text. */
#include "config/settings.h"

/* Text as YAML takes it: a JSON string. */
static void add_text(buf *out, sl_str s) { json_add_string(out, sl_given(s) ? s : SL("")); }

/* A DSN without its password; when in doubt about where that stands, nothing of it. */
static void add_dsn(buf *out, sl_str dsn)
{
    const char *authority = dsn.n ? memmem(dsn.p, dsn.n, "://", 3) : NULL;
    const char *at = dsn.n ? memrchr(dsn.p, '@', dsn.n) : NULL, *colon = NULL;
    bool hide = dsn.n && (memmem(dsn.p, dsn.n, "password", 8) || (at && !authority));
    if (authority && at && !hide) {
        authority += 3;
        hide = memchr(authority, '/', (size_t)(at - authority)) || memchr(authority, '?', (size_t)(at - authority));
        colon = memchr(authority, ':', (size_t)(at - authority));
    }
    if (hide) {
        buf_add_cstr(out, "\"***\"");
    } else if (colon) {
        buf shown;
        buf_init(&shown, dsn.n + 8);
        buf_add(&shown, dsn.p, (size_t)(colon - dsn.p) + 1);
        buf_add_cstr(&shown, "***");
        buf_add(&shown, at, dsn.n - (size_t)(at - dsn.p));
        add_text(out, buf_str(&shown));
        buf_free(&shown);
    } else {
        add_text(out, dsn);
    }
}

static void add_value(const struct loaded *c, const struct setting *s, buf *out)
{
    const void *field = (const char *)c + s->at;
    const struct str_list *list = field;
    switch (s->type) {
    case SET_LIST:
        buf_add_char(out, '[');
        for (size_t i = 0; i < list->n; i++) {
            if (i) buf_add_cstr(out, ", ");
            add_text(out, s->secret ? SL("***") : list->item[i]);
        }
        buf_add_char(out, ']');
        break;
    case SET_BOOL:
        buf_add_cstr(out, *(const bool *)field ? "true" : "false");
        break;
    case SET_INT:
    case SET_SIZE:
    case SET_DURATION:
        config_show_int(s, *(const int64_t *)field, out);
        break;
    default:
        if (strcmp(s->path, "database.dsn") == 0)
            add_dsn(out, *(const sl_str *)field);
        else
            add_text(out, s->secret && ((const sl_str *)field)->n ? SL("***") : *(const sl_str *)field);
    }
}

static void add_origin(const struct origin *o, buf *out)
{
    switch (o->source) {
    case FROM_DEFAULT:
        buf_add_cstr(out, "  # default\n");
        break;
    case FROM_FILE:
        buf_printf(out, "  # %s:%d\n", o->name, o->line);
        break;
    case FROM_ENV:
        buf_printf(out, "  # environment %s\n", o->name);
        break;
    case FROM_FLAG:
        buf_printf(out, "  # flag -%s\n", o->name);
        break;
    }
}

/* Headings of the sections that `path` stands in and `before` does not; returns the depth. */
static int add_sections(const char *before, const char *path, buf *out)
{
    int depth = 0;
    const char *from = path, *dot;
    while ((dot = strchr(from, '.'))) {
        size_t n = (size_t)(dot - path) + 1;
        if (strncmp(before, path, n) != 0) buf_printf(out, "%*s%.*s:\n", depth * 2, "", (int)(dot - from), from);
        depth++;
        from = dot + 1;
    }
    return depth;
}

static void add_json(const json_t *v, bool hide, int depth, buf *out)
{
    const char *key;
    json_t *item;
    if (json_is_object(v) && json_object_size(v)) {
        json_object_foreach((json_t *)(uintptr_t)v, key, item)
        {
            buf_printf(out, "\n%*s", depth * 2, "");
            add_text(out, sl_cstr(key));
            buf_add_cstr(out, ": ");
            add_json(item, hide, depth + 1, out);
        }
    } else if (json_is_array(v)) {
        size_t i;
        buf_add_char(out, '[');
        json_array_foreach(v, i, item)
        {
            if (i) buf_add_cstr(out, ", ");
            char *text = json_dumps(item, JSON_ENCODE_ANY | JSON_COMPACT);
            add_text(out, hide ? SL("***") : json_is_string(item) ? json_str(item) : sl_cstr(text));
            free(text);
        }
        buf_add_char(out, ']');
    } else if (json_is_string(v)) {
        add_text(out, hide && json_string_length(v) ? SL("***") : json_str(v));
    } else {
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
        buf_add_cstr(out, text);
        free(text);
    }
}

void config_print(const struct config *cfg, buf *out)
{
    const struct loaded *c = (const struct loaded *)cfg;
    const char *before = "";
    buf_printf(out, "# file: %s\n", cfg->file.n ? cfg->file.p : "none");
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        int depth = add_sections(before, s->path, out);
        before = s->path;
        buf_printf(out, "%*s%s: ", depth * 2, "", strrchr(s->path, '.') + 1);
        add_value(c, s, out);
        add_origin(&c->origin[i], out);
    }
    buf_add_cstr(out, "plugins:\n");
    for (const struct plugin_config *p = cfg->plugins; p; p = p->next)
        if (!p->enabled) buf_printf(out, "  %s:  # %s:%d\n    enabled: false\n", p->name, cfg->file.p, p->line);
}

void config_print_plugin(const struct config *cfg, const char *plugin, bool isolated, const json_t *schema,
                         const json_t *config, buf *out)
{
    const struct plugin_config *p = config_plugin(cfg, plugin);
    const json_t *properties = json_object_get(schema, "properties"), *value;
    const char *key;
    buf_printf(out, "  %s:\n    enabled: true\n    required: %s\n    isolation: %s\n", plugin,
               p && p->required ? "true" : "false", isolated ? "process" : "none");
    if (p && p->grants) {
        buf_add_cstr(out, "    grants: ");
        add_text(out, sl_cstr(p->grants));
        buf_add_char(out, '\n');
    }
    for (size_t i = 0; p && i < p->findings.n; i++)
        buf_printf(out, "%s%.*s%s", i ? ", " : "    findings: [", STR_ARG(p->findings.item[i]),
                   i + 1 < p->findings.n ? "" : "]\n");
    if (json_object_size(config)) buf_add_cstr(out, "    config:\n");
    json_object_foreach((json_t *)(uintptr_t)config, key, value)
    {
        bool hide = json_is_true(json_object_get(json_object_get(properties, key), "writeOnly"));
        buf_printf(out, "      ");
        add_text(out, sl_cstr(key));
        buf_add_cstr(out, ": ");
        add_json(value, hide, 4, out);
        buf_add_char(out, '\n');
    }
}

/* ---- the same as JSON ---- */
static void origin_text(const struct origin *o, char *out, size_t size)
{
    if (o->source == FROM_DEFAULT)
        snprintf(out, size, "default");
    else if (o->source == FROM_FILE)
        snprintf(out, size, "%s:%d", o->name, o->line);
    else
        snprintf(out, size, "%s%s", o->source == FROM_ENV ? "environment " : "flag -", o->name);
}

void config_write(const struct config *cfg, buf *out)
{
    const struct loaded *c = (const struct loaded *)cfg;
    char origin[4200];
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *s = &settings[i];
        bool quoted = s->type == SET_SIZE || s->type == SET_DURATION;
        if (i) buf_add_char(out, ',');
        buf_add_char(out, '{');
        json_field_str(out, "path", sl_cstr(s->path));
        json_add_name(out, "value");
        if (quoted) buf_add_char(out, '"');
        add_value(c, s, out);
        if (quoted) buf_add_char(out, '"');
        origin_text(&c->origin[i], origin, sizeof origin);
        json_field_str(out, "origin", sl_cstr(origin));
        json_field_bool(out, "live", config_applies_live(s));
        buf_add_char(out, '}');
    }
}

void config_write_plugin(const struct config *cfg, const char *plugin, const json_t *schema, const json_t *config,
                         buf *out)
{
    const struct plugin_config *p = config_plugin(cfg, plugin);
    const json_t *properties = json_object_get(schema, "properties");
    json_t *shown = config ? json_deep_copy(config) : json_object(), *value;
    const char *key;
    json_object_foreach(shown, key, value)
    {
        if (!json_is_true(json_object_get(json_object_get(properties, key), "writeOnly"))) continue;
        json_wipe(value);
        json_object_set_new(shown, key, json_string("***"));
    }
    json_field_int(out, "line", p ? p->line : 0);
    char *text = json_dumps(shown, JSON_COMPACT);
    json_field_raw(out, "config", sl_cstr(text));
    free(text);
    json_decref(shown);
}

static void add_names(const struct setting *s, buf *out)
{
    char derived[80];
    sl_str names = sl_cstr(s->env ? s->env : ""), name;
    while (names.n && str_split(&names, ' ', &name))
        buf_printf(out, "%.*s ", STR_ARG(name));
    buf_add_cstr(out, config_env_name(s, derived, sizeof derived));
}

void config_usage(buf *out)
{
    buf_add_cstr(
        out, "usage: appserver [flags]\n\nflags, which win over the environment, that over the file:\n"
             "  -config FILE\n        YAML or JSON; else CONFIG_FILE, else ./configs/config.yaml when it exists\n"
             "  -check-plugin FILE.so\n        Print what a look at the plugin finds, each with its remedy, and exit: "
             "0 = it would be loaded.\n"
             "  -o text|json\n        Of -check-plugin: how it is printed. Default: text\n"
             "  -audit-verify FILE...\n        Check the chain of audit logs, oldest file first, - = standard input, "
             "and exit: "
             "0 = intact,\n        1 = each finding is printed with its line, 2 = cannot be read.\n");
    for (size_t i = 0; i < n_settings; i++) {
        if (!settings[i].flag) continue;
        buf_printf(out, "  -%s%s\n        %s%s%s\n", settings[i].flag,
                   settings[i].type == SET_BOOL ? "[=true|false]" : " VALUE", settings[i].doc,
                   settings[i].initial[0] ? " Default: " : "", settings[i].initial);
    }
    for (size_t i = 0; i < n_commands; i++)
        if (commands[i].doc) buf_printf(out, "  -%s\n        %s\n", commands[i].flag, commands[i].doc);
    buf_add_cstr(
        out,
        "\nkeys of the file and the environment variables that set them (* = also NAME_FILE, a file that holds it):\n");
    for (size_t i = 0; i < n_settings; i++) {
        buf_printf(out, "  %s = ", settings[i].path);
        add_names(&settings[i], out);
        buf_printf(out, "%s\n        %s%s%s\n", settings[i].secret ? " *" : "", settings[i].doc,
                   settings[i].initial[0] ? " Default: " : "", settings[i].initial);
    }
    buf_add_cstr(
        out, "\nplugins.NAME.enabled, .required, .isolation, .grants, .findings, .config: see docs/configuration.md\n");
}
