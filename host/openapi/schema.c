/* schema.c - a schema of the host's subset as JSON Schema 2020-12, which OpenAPI 3.1 uses. */
#include "openapi/openapi.h"
#include "rest/schema.h"

/* ---- patterns: POSIX extended to ECMA-262 ---- */
static const struct {
    const char *name, *is;
} classes[] = { { "[:alpha:]", "A-Za-z" }, { "[:digit:]", "0-9" },  { "[:alnum:]", "A-Za-z0-9" },
                { "[:upper:]", "A-Z" },    { "[:lower:]", "a-z" },  { "[:xdigit:]", "0-9A-Fa-f" },
                { "[:space:]", "\\s" },    { "[:blank:]", " \\t" }, { "[:punct:]", "!-\\/:-@\\[-`{-~" },
                { "[:print:]", " -~" },    { "[:graph:]", "!-~" },  { "[:cntrl:]", "\\x00-\\x1f\\x7f" } };

/* A bracket expression from its [ on; returns how much of `s` it was. Inside, POSIX takes a backslash as itself and a ]
 * in first place too. */
static size_t bracket(buf *b, sl_str s)
{
    size_t i = 1;
    buf_add_char(b, '[');
    if (i < s.n && s.p[i] == '^') buf_add_char(b, s.p[i++]);
    for (bool first = true; i < s.n && (first || s.p[i] != ']'); first = false) {
        size_t k = 0;
        while (k < sizeof classes / sizeof *classes && !str_starts(str_sub(s, i, s.n), classes[k].name))
            k++;
        if (k < sizeof classes / sizeof *classes) {
            buf_add_cstr(b, classes[k].is);
            i += strlen(classes[k].name);
            continue;
        }
        if (s.p[i] == '\\' || s.p[i] == '[' || s.p[i] == ']') buf_add_char(b, '\\');
        buf_add_char(b, s.p[i++]);
    }
    buf_add_char(b, ']');
    return i < s.n ? i + 1 : i;
}

sl_str pattern_portable(arena *a, sl_str posix)
{
    buf b;
    buf_init(&b, 64 << 10);
    for (size_t i = 0; i < posix.n;) {
        if (posix.p[i] == '[') {
            i += bracket(&b, str_sub(posix, i, posix.n));
        } else if (posix.p[i] == '\\' && i + 1 < posix.n) {
            buf_add(&b, posix.p + i, 2);
            i += 2;
        } else
            buf_add_char(&b, posix.p[i++]);
    }
    sl_str out = arena_copy(a, buf_str(&b));
    buf_free(&b);
    return out;
}

/* ---- formats: what the standard calls otherwise is said by a pattern ---- */
static void set(json_t *to, const char *name, const char *text) { json_object_set_new(to, name, json_string(text)); }

static void add_format(json_t *to, const json_t *schema)
{
    bool pattern = json_object_get(schema, "pattern") != NULL;
    switch (schema_format(schema)) {
    case FORMAT_UUID:
        set(to, "format", "uuid");
        break;
    case FORMAT_URI:
        set(to, "format", "uri");
        break;
    case FORMAT_TIME:
        set(to, "format", "date-time");
        break;
    case FORMAT_DURATION: /* `duration` would be ISO 8601's "PT15S" */
        set(to, "x-sl-format", "duration");
        if (!pattern) set(to, "pattern", "^([0-9]{1,9}|([0-9]{1,9}(ms|s|m|h|d))+)$");
        break;
    case FORMAT_DECIMAL:
        set(to, "format", "decimal");
        if (!pattern) set(to, "pattern", "^-?[0-9]{1,10}(\\.[0-9]{1,8})?$");
        break;
    case FORMAT_BYTE:
        set(to, "contentEncoding", "base64");
        if (!pattern) set(to, "pattern", "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$");
        break;
    case FORMAT_NONE:
    case FORMAT_UNKNOWN:
        break;
    }
}

static json_t *properties_of(const json_t *properties, bool out)
{
    json_t *to = json_object(), *v;
    const char *name;
    json_object_foreach((json_t *)properties, name, v) { json_object_set_new(to, name, openapi_schema(v, out)); }
    return to;
}

static void add_word(json_t *to, const json_t *schema, const char *name, json_t *v, bool out)
{
    switch (schema_word(name)) {
    case WORD_PROPERTIES:
        json_object_set_new(to, name, properties_of(v, out));
        break;
    case WORD_ITEMS:
    case WORD_ADDITIONAL:
        json_object_set_new(to, name, json_is_object(v) ? openapi_schema(v, out) : json_deep_copy(v));
        break;
    case WORD_PATTERN: {
        arena *a = arena_new(0);
        sl_str portable = pattern_portable(a, json_str(v));
        json_object_set_new(to, name, json_stringn(portable.p, portable.n));
        arena_free(a);
        break;
    }
    case WORD_FORMAT:
        add_format(to, schema);
        break;
    case WORD_EXAMPLE:
        json_object_set_new(to, "examples", json_pack("[O]", v));
        break;
    case WORD_WRITE_ONLY: /* an answer that has a secret is there to show it */
        json_object_set(to, out ? "x-sl-secret" : name, v);
        break;
    case WORD_X_ENV: /* of configurations only */
    case WORD_UNKNOWN:
        break;
    default:
        json_object_set(to, name, v);
    }
}

static void add_no_nul(json_t *to, const json_t *schema)
{
    static const char no_nul[] = "^[^\\u0000]*$", *const said[] = { "pattern", "format", "enum", "const" };
    bool text = schema_no_nul(schema);
    if (json_is_object(json_object_get(schema, "additionalProperties"))) /* a limit of the parser */
        json_object_set_new(to, "propertyNames", json_pack("{s:s}", "pattern", no_nul));
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        text = text && !json_object_get(schema, said[i]);
    if (text) set(to, "pattern", no_nul);
}

json_t *openapi_schema(const json_t *schema, bool out)
{
    json_t *to = json_object(), *v;
    const char *name;
    if (!out) add_no_nul(to, schema);
    json_object_foreach((json_t *)schema, name, v) { add_word(to, schema, name, v, out); }
    return to;
}
