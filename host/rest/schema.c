/* schema.c - reads the text of a JSON Schema: known keywords only, sane values, `required` gathered, defaults that
 * hold. */
#include "rest/schema.h"
#include <stdarg.h>

struct reader {
    char *why;
    size_t why_size;
    char path[256]; /* where we are, for the message */
    bool failed;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct reader *r, const char *format, ...)
{
    char text[256];
    va_list ap;
    if (r->failed) return false;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    snprintf(r->why, r->why_size, "%s: %s", r->path[0] ? r->path : "/", text);
    r->failed = true;
    return false;
}

static bool read_node(struct reader *r, json_t *schema, unsigned depth);

/* Reads the schema below `name` (and, in a map, below `key`), with the path extended for messages. */
static bool read_below(struct reader *r, json_t *schema, const char *name, const char *key, unsigned depth)
{
    size_t n = strlen(r->path);
    snprintf(r->path + n, sizeof r->path - n, "/%s%s%s", name, key ? "/" : "", key ? key : "");
    bool good = json_is_object(schema) ? read_node(r, schema, depth + 1) : fail(r, "must be an object");
    r->path[n] = 0;
    return good;
}

static bool read_type(struct reader *r, const json_t *v)
{
    if (json_is_string(v)) {
        if (schema_type_bit(json_string_value(v))) return true;
        return fail(r, "type: `%s` is not a type", json_string_value(v));
    }
    if (!json_is_array(v) || json_array_size(v) == 0) return fail(r, "type: must be a name or a list of names");
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *name = json_string_value(json_array_get(v, i));
        if (!name || !schema_type_bit(name)) return fail(r, "type: `%s` is not a type", name ? name : "");
    }
    return true;
}

/* Moves each property's own `required: true` into the object's list. */
static bool gather_required(struct reader *r, json_t *schema, json_t *properties)
{
    json_t *list = json_object_get(schema, "required"), *child;
    const char *name;
    if (list && !json_is_array(list)) return fail(r, "required: must be a list of names");
    for (size_t i = 0; list && i < json_array_size(list); i++) {
        const char *entry = json_string_value(json_array_get(list, i));
        if (!entry || !json_object_get(properties, entry))
            return fail(r, "required: `%s` is not a property", entry ? entry : "");
    }
    json_object_foreach(properties, name, child)
    {
        json_t *flag = json_object_get(child, "required");
        if (!json_is_boolean(flag)) continue;
        if (json_is_true(flag)) {
            if (!list) {
                json_object_set_new(schema, "required", json_array());
                list = json_object_get(schema, "required");
            }
            json_array_append_new(list, json_string(name));
        }
        json_object_del(child, "required");
    }
    return true;
}

static bool read_properties(struct reader *r, json_t *schema, json_t *properties, unsigned depth)
{
    const char *name;
    json_t *child;
    if (!json_is_object(properties)) return fail(r, "properties: must be an object");
    if (!gather_required(r, schema, properties)) return false;
    json_object_foreach(properties, name, child)
    {
        for (const char *p = name; *p; p++)
            if ((unsigned char)*p <= ' ' || *p == '"' || *p == '\\')
                return fail(r, "`%.64s` is not a name for a property", name);
        if (!read_below(r, child, "properties", name, depth)) return false;
    }
    return true;
}

static bool read_count(struct reader *r, const char *name, const json_t *v)
{
    return (json_is_integer(v) && json_integer_value(v) >= 0) || fail(r, "%s: must be a whole number from 0", name);
}

static bool read_pattern(struct reader *r, const json_t *v)
{
    char why[160];
    if (!json_is_string(v)) return fail(r, "pattern: must be text");
    return schema_pattern(json_string_value(v), why, sizeof why) || fail(r, "pattern: %s", why);
}

static bool unknown_keyword(struct reader *r, const char *name)
{
    static const char *const known[] = { "type",          "properties", "required",  "additionalProperties",
                                         "items",         "minItems",   "maxItems",  "minProperties",
                                         "maxProperties", "minLength",  "maxLength", "minimum",
                                         "maximum",       "enum",       "const",     "pattern",
                                         "format",        "default",    "example",   "description",
                                         "title",         "writeOnly",  "x-env",     "contentMediaType" };
    const char *near = str_nearest(sl_cstr(name), known, sizeof known / sizeof *known);
    return fail(r, "unknown keyword `%.64s`%s%s%s", name, near ? ", did you mean `" : "", near ? near : "",
                near ? "`?" : "");
}

static bool read_word(struct reader *r, json_t *schema, const char *name, json_t *v, unsigned depth)
{
    switch (schema_word(name)) {
    case WORD_TYPE:
        return read_type(r, v);
    case WORD_PROPERTIES:
        return read_properties(r, schema, v, depth);
    case WORD_REQUIRED:
        if (!json_is_array(v)) return fail(r, "required: `true` belongs into a property, else a list of names");
        return json_object_get(schema, "properties") ? true : fail(r, "required: there are no properties");
    case WORD_ADDITIONAL:
        return json_is_boolean(v) || read_below(r, v, name, NULL, depth);
    case WORD_ITEMS:
        return read_below(r, v, name, NULL, depth);
    case WORD_MIN_ITEMS:
    case WORD_MAX_ITEMS:
    case WORD_MIN_PROPERTIES:
    case WORD_MAX_PROPERTIES:
    case WORD_MIN_LENGTH:
    case WORD_MAX_LENGTH:
        return read_count(r, name, v);
    case WORD_MINIMUM:
    case WORD_MAXIMUM:
        return json_is_number(v) || fail(r, "%s: must be a number", name);
    case WORD_ENUM:
        return (json_is_array(v) && json_array_size(v)) || fail(r, "enum: must be a list with a value");
    case WORD_PATTERN:
        return read_pattern(r, v);
    case WORD_FORMAT:
        if (!json_is_string(v)) return fail(r, "format: must be text");
        return schema_format(schema) != FORMAT_UNKNOWN || fail(r, "format: `%.64s` is not known", json_string_value(v));
    case WORD_DESCRIPTION:
    case WORD_TITLE:
    case WORD_X_ENV:
    case WORD_MEDIA_TYPE:
        return json_is_string(v) || fail(r, "%s: must be text", name);
    case WORD_WRITE_ONLY:
        return json_is_boolean(v) || fail(r, "writeOnly: must be true or false");
    case WORD_CONST:
    case WORD_DEFAULT:
    case WORD_EXAMPLE:
        return true;
    case WORD_UNKNOWN:
        break;
    }
    return unknown_keyword(r, name);
}

static void default_finding(void *arg, const char *pointer, const char *detail)
{
    fail(arg, "default: %s%s%s", pointer, pointer[0] ? " " : "", detail);
}

static bool read_node(struct reader *r, json_t *schema, unsigned depth)
{
    const char *name;
    json_t *v;
    if (depth > SCHEMA_DEPTH) return fail(r, "nested deeper than %d", SCHEMA_DEPTH);
    /* first, because it may add `required`, and a walk must not see its object change */
    if ((v = json_object_get(schema, "properties")) && !read_properties(r, schema, v, depth)) return false;
    json_object_foreach(schema, name,
                        v) if (strcmp(name, "properties") != 0 && !read_word(r, schema, name, v, depth)) return false;
    if ((v = json_object_get(schema, "default")) && schema_check(schema, v, default_finding, r)) return false;
    return true;
}

json_t *schema_read(sl_str text, char *why, size_t why_size)
{
    struct reader r = { .why = why, .why_size = why_size };
    json_t *schema = json_read(text, why, why_size);
    if (!schema) return NULL;
    if (json_is_object(schema) ? read_node(&r, schema, 0) : fail(&r, "a schema must be an object")) return schema;
    json_decref(schema);
    return NULL;
}
