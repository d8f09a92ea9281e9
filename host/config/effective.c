/* effective.c - one plugin's configuration by its schema: defaults, then the file, then the environment, converted by
 * type. */
#include "config/settings.h"
#include <ctype.h>

static const char *type_of(const json_t *property)
{
    const json_t *type = json_object_get(property, "type"), *one;
    size_t i;
    json_array_foreach(type, i, one) if (strcmp(json_string_value(one) ? json_string_value(one) : "null", "null") !=
                                         0) return json_string_value(one);
    return json_string_value(type) ? json_string_value(type) : "string";
}

static bool is_secret(const json_t *property) { return json_is_true(json_object_get(property, "writeOnly")); }

static bool is_duration(const json_t *property)
{
    const char *format = json_string_value(json_object_get(property, "format"));
    return format && strcmp(format, "duration") == 0;
}

/* A bare number for a duration: seconds, or milliseconds where the name says so. */
static json_t *duration_text(sl_str number, const char *name)
{
    sl_str n = sl_cstr(name);
    bool ms = str_ends(n, "_MS") || str_ends(n, "_ms");
    char text[40];
    int used = snprintf(text, sizeof text, "%.*s%s", STR_ARG(number), ms ? "ms" : "s");
    return json_stringn(text, (size_t)used);
}

static json_t *from_text(sl_str text, const json_t *property, const char *name);

/* Items between commas, semicolons and blanks. */
static json_t *list_from_text(sl_str text, const json_t *items)
{
    json_t *list = json_array();
    for (size_t i = 0; i < text.n;) {
        size_t from = i;
        while (i < text.n && text.p[i] != ',' && text.p[i] != ';' && !isspace((unsigned char)text.p[i]))
            i++;
        sl_str item = str_sub(text, from, i - from);
        i++;
        if (item.n == 0) continue;
        json_t *v = from_text(item, items, "");
        if (!v) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, v);
    }
    return list;
}

/* Text from the environment as the type that the schema states; NULL: it does not fit. */
static json_t *from_text(sl_str text, const json_t *property, const char *name)
{
    const char *type = type_of(property);
    sl_str trimmed = str_trim(text);
    char why[8];
    int64_t i;
    double d;
    bool b;
    if (strcmp(type, "integer") == 0) return str_to_int(trimmed, &i) ? json_integer(i) : NULL;
    if (strcmp(type, "number") == 0)
        return str_to_int(trimmed, &i) ? json_integer(i) : str_to_real(trimmed, &d) ? json_real(d) : NULL;
    if (strcmp(type, "boolean") == 0) return config_bool(trimmed, &b) ? json_boolean(b) : NULL;
    if (strcmp(type, "array") == 0) return list_from_text(text, json_object_get(property, "items"));
    if (strcmp(type, "object") == 0) {
        json_t *v = json_read(text, why, sizeof why);
        if (json_is_object(v)) return v;
        json_decref(v);
        return NULL;
    }
    if (is_duration(property) && str_to_int(trimmed, &i) && trimmed.n < 20) return duration_text(trimmed, name);
    return json_stringn(text.p, text.n);
}

static const char *what(const char *type)
{
    return strcmp(type, "integer") == 0   ? "a whole number"
           : strcmp(type, "number") == 0  ? "a number"
           : strcmp(type, "boolean") == 0 ? "true or false"
           : strcmp(type, "array") == 0   ? "a list"
           : strcmp(type, "object") == 0  ? "a JSON object"
                                          : "UTF-8 text";
}

/* Where the file's value has another type but its text fits, take it as meant: `yes` for a boolean, 300 for a duration.
 */
static json_t *convert_from_file(const json_t *v, const json_t *property, const char *key)
{
    const char *type = type_of(property);
    char number[32];
    if (json_is_string(v) && strcmp(type, "string") != 0 && strcmp(type, "object") != 0) {
        const json_t *types = json_object_get(property, "type");
        size_t i;
        const json_t *one;
        json_array_foreach(types, i, one) if (json_is_string(one) && strcmp(json_string_value(one), "string") ==
                                                                         0) return NULL; /* text is allowed too */
        return from_text(json_str(v), property, key);
    }
    if (!json_is_integer(v) || strcmp(type, "string") != 0) return NULL;
    int n = snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
    return from_text(sl_lit(number, (size_t)n), property, key);
}

static void take_file(struct load *l, const struct plugin_config *p, const json_t *schema, json_t *out)
{
    json_t *properties = json_object_get(schema, "properties"), *value;
    const char *key, *names[256];
    size_t n = 0;
    json_object_foreach(properties, key, value) if (n < 256) names[n++] = key;
    json_object_foreach(p->config, key, value)
    {
        const json_t *property = json_object_get(properties, key);
        struct origin o = config_at(l, (int)json_integer_value(json_object_get(p->lines, key)));
        char path[256];
        (void)snprintf(path, sizeof path, "plugins.%s.config.%s", p->name, key);
        if (!property && json_is_false(json_object_get(schema, "additionalProperties"))) {
            const char *hint = n ? str_nearest(sl_cstr(key), names, n) : NULL;
            if (hint)
                config_complain(l, o, path, "unknown key, did you mean `%s`?", hint);
            else
                config_complain(l, o, path, "unknown key");
        } else if (!json_is_null(value)) {
            json_t *meant = property ? convert_from_file(value, property, key) : NULL;
            json_object_set_new(out, key, meant ? meant : json_deep_copy(value));
        }
    }
}

static void take_env(struct load *l, const char *plugin, const char *key, const json_t *property, json_t *out)
{
    const char *variables = json_string_value(json_object_get(property, "x-env")), *used;
    sl_str names = sl_cstr(variables ? variables : ""), name, text;
    char path[256];
    (void)snprintf(path, sizeof path, "plugins.%s.config.%s", plugin, key);
    while (str_split(&names, ' ', &name)) {
        name = arena_copy(l->cfg->pub.arena, name);
        if (name.n == 0 || !config_env(l, name.p, is_secret(property), path, &text, &used) || !sl_given(text)) continue;
        json_t *v = from_text(text, property, name.p);
        if (used != name.p) config_wipe(text);
        if (v)
            json_object_set_new(out, key, v);
        else
            config_complain(l, (struct origin){ FROM_ENV, 0, used }, path, "must be %s", what(type_of(property)));
        return;
    }
}

json_t *config_for_plugin(const struct config *cfg, const char *plugin, const json_t *schema, char **env, buf *errors)
{
    const struct plugin_config *p = config_plugin(cfg, plugin);
    struct loaded scratch = { .pub = { .arena = arena_new(0), .file = cfg->file } };
    struct load l = { .cfg = &scratch, .errors = errors, .env = env };
    json_t *out = json_object(), *property;
    const char *key;
    if (p && p->config) take_file(&l, p, schema, out);
    json_object_foreach(json_object_get(schema, "properties"), key, property)
    {
        take_env(&l, plugin, key, property, out);
        json_t *initial = json_object_get(property, "default");
        if (initial && !json_object_get(out, key)) json_object_set_new(out, key, json_deep_copy(initial));
    }
    arena_free(scratch.pub.arena);
    if (l.failed == 0) return out;
    json_wipe(out);
    json_decref(out);
    return NULL;
}
