/* plugins.c - the `plugins` section of the configuration file. */
#include "config/settings.h"
#include <ctype.h>

static const char *const plugin_keys[] = { "enabled", "required", "isolation", "grants", "findings", "config" };

static bool name_ok(sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '_' && s.p[i] != '-') return false;
    return s.n > 0 && s.n < 64;
}

static void read_bool(struct load *l, yaml_node_t *node, struct origin o, const char *path, bool *v)
{
    sl_str text = config_scalar(node);
    if (config_is_null(node)) return;
    if (!sl_given(text) || !config_bool(text, v)) config_complain(l, o, path, "must be true or false");
}

static void read_isolation(struct load *l, yaml_node_t *node, struct origin o, const char *path,
                           struct plugin_config *p)
{
    sl_str text = config_scalar(node);
    if (config_is_null(node)) return;
    if (sl_given(text) && (sl_is(text, "none") || sl_is(text, "process")))
        p->isolation = arena_cstr(l->cfg->pub.arena, text);
    else
        config_complain(l, o, path, "must be one of none, process");
}

static void read_grants(struct load *l, yaml_node_t *node, struct origin o, const char *path, struct plugin_config *p)
{
    sl_str text = config_scalar(node);
    if (config_is_null(node)) return;
    if (sl_given(text))
        p->grants = arena_cstr(l->cfg->pub.arena, text);
    else
        config_complain(l, o, path, "must be a text such as \"store:things_* net:api.example.com\"");
}

static void read_findings(struct load *l, yaml_document_t *doc, yaml_node_t *node, const char *path,
                          struct plugin_config *p)
{
    if (config_is_null(node)) return;
    struct origin o = config_at(l, (int)node->start_mark.line + 1);
    if (node->type != YAML_SEQUENCE_NODE) {
        config_complain(l, o, path, "must be a list such as [\"exit=allow\"]");
        return;
    }
    const yaml_node_item_t *from = node->data.sequence.items.start, *end = node->data.sequence.items.top;
    p->findings.item = arena_alloc(l->cfg->pub.arena, (size_t)(end - from + 1) * sizeof(sl_str));
    for (; from < end; from++) {
        const yaml_node_t *item = yaml_document_get_node(doc, *from);
        sl_str rule = config_scalar(item);
        const char *must = config_check_finding(sl_given(rule) ? rule : SL(""));
        if (must)
            config_complain(l, config_at(l, (int)item->start_mark.line + 1), path, "%s", must);
        else
            p->findings.item[p->findings.n++] = arena_copy(l->cfg->pub.arena, rule);
    }
}

static void read_config(struct load *l, yaml_document_t *doc, int at, struct origin o, const char *path,
                        struct plugin_config *p)
{
    yaml_node_t *node = yaml_document_get_node(doc, at);
    struct yaml_entry *e;
    if (config_is_null(node)) return;
    if (node->type != YAML_MAPPING_NODE) {
        config_complain(l, o, path, "must hold keys");
        return;
    }
    p->config = config_yaml_json(l, doc, at, path, 0);
    if (!p->config) return;
    size_t n = config_entries(l, doc, node, path, &e);
    p->lines = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(p->lines, e[i].key.p, json_integer(e[i].line));
}

static void read_plugin(struct load *l, yaml_document_t *doc, int value_at, struct plugin_config *p)
{
    yaml_node_t *node = yaml_document_get_node(doc, value_at);
    size_t failed = l->failed;
    arena *a = l->cfg->pub.arena;
    const char *at = arena_printf(a, "plugins.%s", p->name).p;
    struct yaml_entry *e;
    if (config_is_null(node)) return;
    if (node->type != YAML_MAPPING_NODE) {
        config_complain(l, config_at(l, p->line), at,
                        "must hold keys: enabled, required, isolation, grants, findings, config");
        return;
    }
    size_t n = config_entries(l, doc, node, at, &e);
    for (size_t i = 0; i < n; i++) {
        struct origin o = config_at(l, e[i].line);
        const char *path = arena_printf(a, "%s.%s", at, e[i].key.p).p, *hint;
        yaml_node_t *value = yaml_document_get_node(doc, e[i].value);
        if (sl_is(e[i].key, "enabled"))
            read_bool(l, value, o, path, &p->enabled);
        else if (sl_is(e[i].key, "required"))
            read_bool(l, value, o, path, &p->required);
        else if (sl_is(e[i].key, "isolation"))
            read_isolation(l, value, o, path, p);
        else if (sl_is(e[i].key, "grants"))
            read_grants(l, value, o, path, p);
        else if (sl_is(e[i].key, "findings"))
            read_findings(l, doc, value, path, p);
        else if (sl_is(e[i].key, "config"))
            read_config(l, doc, e[i].value, o, path, p);
        else if ((hint = str_nearest(e[i].key, plugin_keys, sizeof plugin_keys / sizeof *plugin_keys)))
            config_complain(l, o, path, "unknown key, did you mean `%s`?", hint);
        else
            config_complain(l, o, path, "unknown key; a plugin's own settings stand under `config`");
    }
    if (l->failed == failed) p->section = config_yaml_json(l, doc, value_at, at, 0);
}

void config_read_plugins(struct load *l, yaml_document_t *doc, yaml_node_t *node)
{
    struct plugin_config **last = &l->cfg->pub.plugins;
    struct yaml_entry *e;
    if (config_is_null(node)) return;
    if (node->type != YAML_MAPPING_NODE) {
        config_complain(l, config_at(l, (int)node->start_mark.line + 1), "plugins", "must hold the names of plugins");
        return;
    }
    size_t n = config_entries(l, doc, node, "plugins", &e);
    for (size_t i = 0; i < n; i++) {
        if (!name_ok(e[i].key)) {
            config_complain(l, config_at(l, e[i].line), "plugins", "`%.*s` cannot be the name of a plugin",
                            STR_ARG(str_sub(e[i].key, 0, 60)));
            continue;
        }
        struct plugin_config *p = arena_alloc(l->cfg->pub.arena, sizeof *p);
        p->name = arena_cstr(l->cfg->pub.arena, e[i].key);
        p->enabled = true;
        p->line = e[i].line;
        *last = p;
        last = &p->next;
        read_plugin(l, doc, e[i].value, p);
    }
}

const struct plugin_config *config_plugin(const struct config *cfg, const char *name)
{
    const struct plugin_config *p = cfg->plugins;
    while (p && strcmp(p->name, name) != 0)
        p = p->next;
    return p;
}

int config_plugin_line(const struct config *cfg, const char *plugin, const char *key)
{
    const struct plugin_config *p = config_plugin(cfg, plugin);
    if (!p || !key) return p ? p->line : 0;
    return (int)json_integer_value(json_object_get(p->lines, key));
}

void config_free_plugins(struct config *cfg)
{
    for (struct plugin_config *p = cfg->plugins; p; p = p->next) {
        json_wipe(p->config);
        json_decref(p->config);
        json_decref(p->lines);
        json_wipe(p->section);
        json_decref(p->section);
    }
    cfg->plugins = NULL;
}
