/* schema_check.c - checks a JSON value against a schema and fills in defaults; every finding has a JSON pointer. */
#include "rest/schema.h"
#include <math.h>
#include <stdarg.h>

struct place {
    const struct place *up;
    const char *name;
    size_t index;
}; /* name NULL = an element of an array */
struct checker {
    schema_report *report;
    void *arg;
    size_t found;
};

static size_t pointer_write(const struct place *at, char *out, size_t room)
{
    if (!at) return 0;
    size_t n = pointer_write(at->up, out, room);
    if (n + 24 >= room) return n; /* a hostile depth or name: the pointer is cut, never overrun */
    if (!at->name) return n + (size_t)snprintf(out + n, room - n, "/%zu", at->index);
    out[n++] = '/';
    for (const char *p = at->name; *p && n + 3 < room; p++) { /* RFC 6901: ~ and / are escaped */
        if (*p == '~' || *p == '/') {
            out[n++] = '~';
            out[n++] = *p == '~' ? '0' : '1';
        } else
            out[n++] = *p;
    }
    return n;
}

__attribute__((format(printf, 3, 4))) static void finding(struct checker *k, const struct place *at, const char *format,
                                                          ...)
{
    char pointer[SCHEMA_POINTER], detail[512];
    va_list ap;
    if (k->found++ >= SCHEMA_FINDINGS) return;
    pointer[pointer_write(at, pointer, sizeof pointer)] = 0;
    va_start(ap, format);
    vsnprintf(detail, sizeof detail, format, ap);
    va_end(ap);
    if (k->report) k->report(k->arg, pointer, detail);
}

/* 1.0 is an integer as well (JSON Schema 2020-12, 6.1.1), as far as a double tells them apart. */
static bool is_whole(double d) { return d >= -9007199254740992.0 && d <= 9007199254740992.0 && d == floor(d); }

static unsigned type_of(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return TYPE_OBJECT;
    case JSON_ARRAY:
        return TYPE_ARRAY;
    case JSON_STRING:
        return TYPE_STRING;
    case JSON_INTEGER:
        return TYPE_INTEGER | TYPE_NUMBER;
    case JSON_REAL:
        return TYPE_NUMBER | (is_whole(json_real_value(v)) ? TYPE_INTEGER : 0);
    case JSON_TRUE:
    case JSON_FALSE:
        return TYPE_BOOLEAN;
    case JSON_NULL:
        break;
    }
    return TYPE_NULL;
}

static void wrong_type(struct checker *k, const struct place *at, unsigned types)
{
    static const char *const names[] = { "null",     "true or false", "a whole number", "a number",
                                         "a string", "an array",      "an object" };
    char text[160] = "";
    if (types & TYPE_NUMBER) types &= ~(unsigned)TYPE_INTEGER;
    for (unsigned i = 7; i-- > 0;) {
        if (!(types & 1u << i)) continue;
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s", n ? " or " : "", names[i]);
    }
    finding(k, at, "must be %s", text);
}

static void check(struct checker *k, const json_t *schema, json_t *v, const struct place *at);

/* The integer that a handler is to see in place of a checked 1.0, or NULL. */
static json_t *as_integer(const json_t *schema, const json_t *v)
{
    unsigned types = schema_types(schema);
    if (!json_is_real(v) || !(types & TYPE_INTEGER) || (types & TYPE_NUMBER) || !is_whole(json_real_value(v)))
        return NULL;
    return json_integer((json_int_t)json_real_value(v));
}

static void unknown_field(struct checker *k, const json_t *properties, const char *name, const struct place *at)
{
    const char *known[64], *other;
    json_t *ignored;
    size_t n = 0;
    json_object_foreach((json_t *)properties, other, ignored)
    {
        if (n == sizeof known / sizeof *known) break;
        known[n++] = other;
    }
    const char *near = strlen(name) <= 64 ? str_nearest(sl_cstr(name), known, n) : NULL;
    finding(k, at, near ? "is not a known field, did you mean `%s`?" : "is not a known field", near);
}

static void check_object(struct checker *k, const json_t *schema, json_t *v, const struct place *at)
{
    json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(schema, "required");
    json_t *additional = json_object_get(schema, "additionalProperties"), *child;
    const char *name;
    json_object_foreach(v, name, child)
    {
        const struct place here = { at, name, 0 };
        const json_t *its = json_object_get(properties, name);
        if (!its && json_is_object(additional)) its = additional;
        if (its) {
            check(k, its, child, &here);
            json_t *whole = as_integer(its, child);
            if (whole) json_object_set_new(v, name, whole);
        } else if (json_is_false(additional))
            unknown_field(k, properties, name, &here);
        if (k->found >= SCHEMA_FINDINGS) return;
    }
    for (size_t i = 0; i < json_array_size(required); i++) {
        name = json_string_value(json_array_get(required, i));
        const struct place here = { at, name, 0 };
        if (!json_object_get(v, name)) finding(k, &here, "is required");
    }
    json_object_foreach(properties, name, child)
    {
        json_t *fill = json_object_get(child, "default");
        if (fill && !json_object_get(v, name)) json_object_set_new(v, name, json_deep_copy(fill));
    }
}

static void check_array(struct checker *k, const json_t *schema, json_t *v, const struct place *at)
{
    const json_t *items = json_object_get(schema, "items");
    if (!items) return;
    for (size_t i = 0; i < json_array_size(v) && k->found < SCHEMA_FINDINGS; i++) {
        const struct place here = { at, NULL, i };
        check(k, items, json_array_get(v, i), &here);
        json_t *whole = as_integer(items, json_array_get(v, i));
        if (whole) json_array_set_new(v, i, whole);
    }
}

static size_t code_points(const json_t *v)
{
    const char *p = json_string_value(v);
    size_t count = 0;
    for (size_t i = 0, n = json_string_length(v); i < n; i++)
        count += ((unsigned char)p[i] & 0xC0) != 0x80;
    return count;
}

/* -1, 0 or 1; whole numbers exactly. */
static int compare(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        json_int_t x = json_integer_value(a), y = json_integer_value(b);
        return (x > y) - (x < y);
    }
    double x = json_number_value(a), y = json_number_value(b);
    return (x > y) - (x < y);
}

static void check_number(struct checker *k, enum schema_word word, const json_t *limit, const json_t *v,
                         const struct place *at)
{
    int order = compare(v, limit);
    if (word == WORD_MINIMUM ? order >= 0 : order <= 0) return;
    char text[40];
    if (json_is_integer(limit))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(limit));
    else
        snprintf(text, sizeof text, "%.15g", json_real_value(limit));
    finding(k, at, "must be %s %s", word == WORD_MINIMUM ? "at least" : "at most", text);
}

static void check_enum(struct checker *k, const json_t *list, const json_t *v, const struct place *at)
{
    char text[400] = "";
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), v)) return;
    for (size_t i = 0; i < json_array_size(list); i++) {
        char *one = json_dumps(json_array_get(list, i), JSON_COMPACT | JSON_ENCODE_ANY);
        size_t n = strlen(text);
        if (one) snprintf(text + n, sizeof text - n, "%s%s", n ? ", " : "", one);
        free(one);
    }
    finding(k, at, json_array_size(list) == 1 ? "must be %s" : "must be one of %s", text);
}

static void check_pattern(struct checker *k, const char *text, const json_t *v, const struct place *at)
{
    char why[80];
    const regex_t *regex = schema_pattern(text, why, sizeof why);
    regmatch_t whole = { 0, (regoff_t)json_string_length(v) }; /* REG_STARTEND: a NUL inside ends nothing */
    if (!regex || regexec(regex, json_string_value(v), 1, &whole, REG_STARTEND) != 0)
        finding(k, at, "does not match the pattern %s", text);
}

static void check_count(struct checker *k, const struct place *at, size_t is, const json_t *limit, bool least,
                        const char *what)
{
    size_t bound = (size_t)json_integer_value(limit);
    if (least ? is >= bound : is <= bound) return;
    finding(k, at, "must have at %s %zu %s%s", least ? "least" : "most", bound, what, bound == 1 ? "" : "s");
}

static void check_word(struct checker *k, const json_t *schema, enum schema_word word, const json_t *w, json_t *v,
                       const struct place *at)
{
    const char *must;
    bool text = json_is_string(v);
    switch (word) {
    case WORD_MIN_ITEMS:
        if (json_is_array(v)) check_count(k, at, json_array_size(v), w, true, "element");
        break;
    case WORD_MAX_ITEMS:
        if (json_is_array(v)) check_count(k, at, json_array_size(v), w, false, "element");
        break;
    case WORD_MIN_PROPERTIES:
        if (json_is_object(v)) check_count(k, at, json_object_size(v), w, true, "field");
        break;
    case WORD_MAX_PROPERTIES:
        if (json_is_object(v)) check_count(k, at, json_object_size(v), w, false, "field");
        break;
    case WORD_MIN_LENGTH:
        if (text) check_count(k, at, code_points(v), w, true, "character");
        break;
    case WORD_MAX_LENGTH:
        if (text) check_count(k, at, code_points(v), w, false, "character");
        break;
    case WORD_MINIMUM:
    case WORD_MAXIMUM:
        if (json_is_number(v)) check_number(k, word, w, v, at);
        break;
    case WORD_ENUM:
        check_enum(k, w, v, at);
        break;
    case WORD_CONST:
        if (!json_equal(w, v)) finding(k, at, "is not the value that is asked for");
        break;
    case WORD_PATTERN:
        if (text) check_pattern(k, json_string_value(w), v, at);
        break;
    case WORD_FORMAT:
        if (text && (must = schema_format_check(schema_format(schema), json_str(v)))) finding(k, at, "%s", must);
        break;
    default:
        break; /* the rest annotates, or is dealt with by type */
    }
}

static void check(struct checker *k, const json_t *schema, json_t *v, const struct place *at)
{
    unsigned types = schema_types(schema);
    size_t before = k->found;
    const char *name;
    json_t *w;
    if (!(type_of(v) & types)) {
        wrong_type(k, at, types);
        return;
    }
    if (json_is_string(v) && schema_no_nul(schema) && memchr(json_string_value(v), 0, json_string_length(v))) {
        finding(k, at, "must not hold a NUL character");
        return;
    }
    json_object_foreach((json_t *)schema, name, w)
    {
        check_word(k, schema, schema_word(name), w, v, at);
        if (k->found > before) return; /* one finding a value: what follows from a wrong length is noise */
    }
    if (json_is_object(v))
        check_object(k, schema, v, at);
    else if (json_is_array(v))
        check_array(k, schema, v, at);
}

size_t schema_check(const json_t *schema, json_t *v, schema_report *report, void *arg)
{
    struct checker k = { .report = report, .arg = arg };
    check(&k, schema, v, NULL);
    return k.found < SCHEMA_FINDINGS ? k.found : SCHEMA_FINDINGS;
}
