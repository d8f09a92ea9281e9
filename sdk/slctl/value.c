/* value.c - text of the command line into JSON by a schema, and scalars back into text. */
#include "slctl.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Out of a file or standard input (@FILE, @-), so that secrets stay out of the process list; @@ begins a plain @. */
static const char *argument(const char *text, bool *hidden)
{
    size_t n;
    if (*text != '@') return text;
    if (text[1] == '@') return text + 1;
    char *all = read_file(text + 1, &n);
    if (memchr(all, 0, n)) fail(USAGE, "%s holds a zero byte.", text[1] == '-' ? "standard input" : text + 1);
    if (n && all[n - 1] == '\n') all[--n] = 0;
    if (n && all[n - 1] == '\r') all[--n] = 0;
    *hidden = true;
    return all;
}

/* Shortest that reads back the same. */
static const char *number_text(const json_t *v)
{
    if (json_is_integer(v)) return keep_text("%" JSON_INTEGER_FORMAT, json_integer_value(v));
    double d = json_real_value(v);
    for (int digits = 15; digits < 17; digits++) {
        const char *text = keep_text("%.*g", digits, d);
        if (strtod(text, NULL) == d) return strpbrk(text, ".en") ? text : keep_text("%s.0", text);
    }
    return keep_text("%.17g", d);
}

const char *value_text(const json_t *v, const char *flag)
{
    if (json_is_string(v)) {
        if (strlen(json_string_value(v)) != json_string_length(v)) fail(USAGE, "--%s: holds a zero byte.", flag);
        return json_string_value(v);
    }
    if (json_is_number(v)) return number_text(v);
    if (json_is_boolean(v)) return json_is_true(v) ? "true" : "false";
    if (json_is_null(v)) return "null";
    fail(USAGE, "--%s: must be a single value.", flag);
}

static json_t *whole_json(const char *text, json_type want)
{
    char why[256];
    json_t *v = json_read(text, strlen(text), why, sizeof why);
    return v && json_typeof(v) == want ? v : NULL;
}

static json_t *read_integer(const char *text)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    bool digits = (*text >= '0' && *text <= '9') || (*text == '-' && text[1] >= '0' && text[1] <= '9');
    return digits && !*end && !errno ? keep_json(json_integer(n)) : NULL;
}

static json_t *read_number(const char *text)
{
    char why[256];
    json_t *v = json_read(text, strlen(text), why, sizeof why);
    return json_is_number(v) ? v : NULL;
}

static json_t *value_read(const struct document *d, json_t *schema, const char *flag, const char *text);

/* "k=v,k2=v2" for an object whose fields are not named by the schema. */
static json_t *read_pairs(const struct document *d, json_t *schema, const char *flag, const char *text)
{
    json_t *values = resolve(d, json_object_get(schema, "additionalProperties"));
    json_t *object = keep_json(json_object());
    char *copy = keep_copy(text, strlen(text)), *rest = NULL;
    if (json_is_false(values) || json_object_size(json_object_get(schema, "properties")) || !strchr(text, '='))
        return NULL;
    for (char *pair = strtok_r(copy, ",", &rest); pair; pair = strtok_r(NULL, ",", &rest)) {
        char *is = strchr(pair, '=');
        if (!is || is == pair) fail(USAGE, "--%s: \"%s\" must be NAME=VALUE.", flag, visible(pair));
        *is = 0;
        json_t *v = json_is_object(values) ? value_read(d, values, flag, is + 1) : keep_json(json_string(is + 1));
        if (!v || json_object_set(object, pair, v) != 0) fail(USAGE, "--%s: must be UTF-8.", flag);
    }
    return object;
}

static json_t *read_choice(json_t *choices, const char *text)
{
    size_t i;
    json_t *each;
    json_array_foreach (choices, i, each)
        if (!json_is_object(each) && !json_is_array(each) && strcmp(value_text(each, "enum"), text) == 0) return each;
    return NULL;
}

static json_t *read_untyped(const char *text)
{
    char why[256];
    json_t *v = json_read(text, strlen(text), why, sizeof why);
    return v ? v : keep_json(json_string(text));
}

static json_t *read_typed(const struct document *d, json_t *schema, const char *flag, const char *text)
{
    json_t *v = NULL;
    if (has_type(schema, "null") && strcmp(text, "null") == 0) return json_null();
    if (has_type(schema, "boolean") && strcmp(text, "true") == 0) return json_true();
    if (has_type(schema, "boolean") && strcmp(text, "false") == 0) return json_false();
    if (has_type(schema, "integer") && (v = read_integer(text))) return v;
    if (has_type(schema, "number") && (v = read_number(text))) return v;
    if (has_type(schema, "array") && (v = whole_json(text, JSON_ARRAY))) return v;
    if (has_type(schema, "object") && (v = whole_json(text, JSON_OBJECT))) return v;
    if (has_type(schema, "object") && *text != '{' && (v = read_pairs(d, schema, flag, text))) return v;
    if (has_type(schema, "string")) return keep_json(json_string(text));
    return NULL;
}

static json_t *value_convert(const struct document *d, json_t *schema, const char *flag, const char *text, bool hidden)
{
    json_t *choices = json_object_get(schema, "enum");
    json_t *v = json_array_size(choices)          ? read_choice(choices, text)
                : json_object_get(schema, "type") ? read_typed(d, schema, flag, text)
                                                  : read_untyped(text);
    if (v) return v;
    if (hidden || json_is_true(json_object_get(schema, "writeOnly"))) text = "(hidden)";
    fail(USAGE, "--%s %s: must be %s.", flag, visible(text), type_words(d, schema));
}

/* Kept; fails with USAGE. `flag` is for messages. */
static json_t *value_read(const struct document *d, json_t *schema, const char *flag, const char *text)
{
    bool hidden = false;
    text = argument(text, &hidden);
    return value_convert(d, schema, flag, text, hidden);
}

/* A list grows by each use of its flag: one element, several with commas, or a JSON list. */
static void append(const struct document *d, json_t *schema, json_t *list, const char *flag, const char *text)
{
    bool hidden = false;
    json_t *element = resolve(d, json_object_get(schema, "items")), *whole;
    text = argument(text, &hidden);
    if (*text == '[' && (whole = whole_json(text, JSON_ARRAY))) {
        json_array_extend(list, whole);
        return;
    }
    if (*text == '[' || *text == '{' || has_type(element, "object")) {
        json_array_append(list, value_convert(d, element, flag, text, hidden));
        return;
    }
    char *copy = keep_copy(text, strlen(text)), *rest = copy;
    for (char *one = strsep(&rest, ","); one; one = strsep(&rest, ","))
        if (*one) json_array_append(list, value_convert(d, element, flag, one, hidden));
}

/* The schema of a field below, and the field's name as the schema spells it. */
static json_t *schema_below(const struct document *d, json_t *schema, const char **name)
{
    const char *known;
    json_t *each;
    json_object_foreach (json_object_get(schema, "properties"), known, each)
        if (word_is(*name, known)) {
            *name = known;
            return resolve(d, each);
        }
    json_t *more = resolve(d, json_object_get(schema, "additionalProperties"));
    return json_is_object(more) ? more : NULL;
}

void value_set(const struct document *d, json_t *schema, json_t *body, const char *path, const char *text)
{
    const char *flag = path;
    for (int depth = 0; depth < MAX_DEPTH; depth++) {
        size_t n = strcspn(path, ".");
        const char *name = keep_copy(path, n);
        bool closed = json_is_false(json_object_get(schema, "additionalProperties"));
        json_t *below = schema_below(d, schema, &name), *have = json_object_get(body, name);
        if (!below && closed && depth) fail(USAGE, "--%s: there is no field \"%s\".", flag, visible(name));
        if (path[n]) {
            if (!json_is_object(have)) json_object_set_new(body, name, have = json_object());
            body = have;
            schema = below;
            path += n + 1;
            continue;
        }
        if (has_type(below, "array") && !has_type(below, "string")) {
            if (!json_is_array(have)) json_object_set_new(body, name, have = json_array());
            append(d, below, have, flag, text);
            return;
        }
        json_t *v = value_read(d, below, flag, text);
        if (!v) fail(USAGE, "--%s: must be UTF-8.", flag);
        if (json_is_object(have) && json_is_object(v))
            json_object_update(have, v);
        else if (json_object_set(body, name, v) != 0)
            fail(USAGE, "--%s: must be UTF-8.", flag);
        return;
    }
    fail(USAGE, "--%s: nested too deep.", flag);
}
