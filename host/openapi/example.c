/* example.c - an example value for a schema, always the same one, and valid by the host's own check. */
#include "openapi/openapi.h"
#include "rest/schema.h"

enum { TEXT_MAX = 256, REPEAT_MAX = 64, STEPS_MAX = 20000 };

/* ---- text that a POSIX extended expression matches ---- */
struct sample {
    const char *p, *end;
    char text[TEXT_MAX];
    size_t n;
    unsigned repeat; /* what * and + repeat, so that a least length can be reached */
    unsigned steps;  /* groups in groups are walked again and again: this bounds it */
};

static void put(struct sample *s, char ch)
{
    if (s->n + 1 < sizeof s->text) s->text[s->n++] = ch;
}

/* Behind the ] of the bracket that p is at. */
static const char *bracket_end(const struct sample *s, const char *p)
{
    p++;
    if (p < s->end && *p == '^') p++;
    if (p < s->end && *p == ']') p++;
    while (p < s->end && *p != ']') {
        if (*p == '[' && p + 1 < s->end && p[1] == ':') {
            const char *close = memmem(p, (size_t)(s->end - p), ":]", 2);
            p = close ? close + 1 : p;
        }
        p++;
    }
    return p < s->end ? p + 1 : p;
}

/* The first of the usual characters that the bracket admits. */
static char bracket_pick(const char *from, const char *to)
{
    static const char usual[] = "axA1 0-_./:,+=";
    char text[TEXT_MAX], why[80], one[2] = "";
    if ((size_t)(to - from) + 3 > sizeof text) return 'a';
    snprintf(text, sizeof text, "^%.*s$", (int)(to - from), from);
    const regex_t *regex = schema_pattern(text, why, sizeof why);
    for (size_t i = 0; regex && i < sizeof usual - 1 + 95; i++) {
        one[0] = i < sizeof usual - 1 ? usual[i] : (char)(' ' + i - (sizeof usual - 1));
        if (regexec(regex, one, 0, NULL, 0) == 0) return one[0];
    }
    return 'a';
}

/* Behind the atom that p is at. */
static const char *atom_end(const struct sample *s, const char *p)
{
    unsigned depth = 0;
    do {
        if (*p == '[') {
            p = bracket_end(s, p);
            continue;
        }
        depth += *p == '(';
        depth -= *p == ')' && depth;
        p += *p == '\\' && p + 1 < s->end ? 2 : 1;
    } while (depth && p < s->end);
    return p;
}

static void sequence(struct sample *s);

static void atom(struct sample *s)
{
    const char *end = atom_end(s, s->p);
    if (++s->steps > STEPS_MAX) return;
    switch (*s->p) {
    case '(': /* of several alternatives the first is taken */
        s->p++;
        sequence(s);
        break;
    case '[':
        put(s, bracket_pick(s->p, end));
        break;
    case '^':
    case '$':
        break;
    case '\\':
        put(s, end[-1]);
        break;
    default:
        put(s, *s->p == '.' ? 'a' : *s->p);
    }
    s->p = end;
}

/* How often: the least number, or `repeat` where there is no upper one. */
static unsigned quantifier(struct sample *s)
{
    unsigned least = 1;
    if (s->p >= s->end) return 1;
    switch (*s->p) {
    case '*':
    case '+':
        least = *s->p++ == '+';
        return s->repeat > least ? s->repeat : least;
    case '?':
        s->p++;
        return s->repeat > 0;
    case '{':
        least = 0;
        for (s->p++; s->p < s->end && *s->p >= '0' && *s->p <= '9' && least < REPEAT_MAX; s->p++)
            least = least * 10 + (unsigned)(*s->p - '0');
        while (s->p < s->end && *s->p++ != '}') {
        }
        return least > REPEAT_MAX ? REPEAT_MAX : least;
    default:
        return 1;
    }
}

static void sequence(struct sample *s)
{
    while (s->p < s->end && *s->p != '|' && *s->p != ')' && s->steps <= STEPS_MAX) {
        const char *from = s->p, *behind;
        s->p = atom_end(s, from);
        unsigned times = quantifier(s);
        behind = s->p;
        for (unsigned i = 0; i < times; i++) {
            s->p = from;
            atom(s);
        }
        s->p = behind;
    }
}

/* ---- values ---- */
static bool fits(const json_t *schema, json_t *v) { return schema_check(schema, v, NULL, NULL) == 0; }

static json_t *checked(const json_t *schema, json_t *v)
{
    if (v && fits(schema, v)) return v;
    json_decref(v);
    return NULL;
}

static json_t *from_pattern(const json_t *schema, sl_str pattern)
{
    json_int_t least = json_integer_value(json_object_get(schema, "minLength"));
    const unsigned tries[] = { 1, 0, 2, 4, 8, 16, 32, REPEAT_MAX, least < TEXT_MAX ? (unsigned)least : 0 };
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        struct sample s = { .p = pattern.p, .end = pattern.p + pattern.n, .repeat = tries[i] };
        sequence(&s);
        json_t *v = checked(schema, json_stringn(s.text, s.n));
        if (v) return v;
    }
    return NULL;
}

/* The field's own name, as long as it has to be. */
static json_t *plain_text(const json_t *schema, const char *name)
{
    char text[TEXT_MAX];
    json_int_t least = json_integer_value(json_object_get(schema, "minLength"));
    json_t *most = json_object_get(schema, "maxLength");
    size_t n = strlen(name);
    if (n >= sizeof text) n = sizeof text - 1;
    memcpy(text, name, n);
    while ((json_int_t)n < least && n < sizeof text - 1)
        text[n++] = 'x';
    if (most && (json_int_t)n > json_integer_value(most)) n = (size_t)json_integer_value(most);
    return json_stringn(text, n);
}

static json_t *text_example(const json_t *schema, const char *name)
{
    static const struct {
        enum schema_format format;
        const char *text;
    } known[] = { { FORMAT_UUID, "019c84f0-7c1a-7d3e-8b52-3f1c2d4e5a60" },
                  { FORMAT_URI, "https://example.com/price?pair=NEO-USD" },
                  { FORMAT_TIME, "2026-01-31T12:00:00.000000Z" },
                  { FORMAT_DURATION, "15s" },
                  { FORMAT_DECIMAL, "6.5" },
                  { FORMAT_BYTE, "aGVsbG8=" } };
    sl_str pattern = json_str(json_object_get(schema, "pattern"));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].format == schema_format(schema)) return json_string(known[i].text);
    if (!sl_given(pattern)) return plain_text(schema, name);
    json_t *v = checked(schema, plain_text(schema, name));
    return v ? v : from_pattern(schema, pattern);
}

static json_t *number_example(const json_t *schema)
{
    const json_t *least = json_object_get(schema, "minimum"), *most = json_object_get(schema, "maximum");
    double v = 1;
    if (least && json_number_value(least) > v) return json_deep_copy(least);
    if (most && json_number_value(most) < v) return json_deep_copy(most);
    return json_integer(1);
}

static json_t *example(const json_t *schema, const char *name, bool whole);

static json_t *object_example(const json_t *schema, bool whole)
{
    json_t *to = json_object(), *required = json_object_get(schema, "required"), *field;
    const char *name;
    json_int_t least = json_integer_value(json_object_get(schema, "minProperties"));
    json_object_foreach(json_object_get(schema, "properties"), name, field)
    {
        bool wanted = whole || json_object_get(field, "example") || (json_int_t)json_object_size(to) < least;
        for (size_t i = 0; !wanted && i < json_array_size(required); i++)
            wanted = strcmp(name, json_string_value(json_array_get(required, i))) == 0;
        json_t *v = wanted ? example(field, name, whole) : NULL;
        if (v) json_object_set_new(to, name, v);
    }
    return to;
}

static json_t *array_example(const json_t *schema, const char *name, bool whole)
{
    json_t *to = json_array();
    const json_t *items = json_object_get(schema, "items"), *most = json_object_get(schema, "maxItems");
    json_int_t n = json_integer_value(json_object_get(schema, "minItems"));
    if (n < 1 && items && !(most && json_integer_value(most) == 0)) n = 1;
    for (json_int_t i = 0; i < n && i < REPEAT_MAX; i++) {
        json_t *v = items ? example(items, name, whole) : json_null();
        if (v) json_array_append_new(to, v);
    }
    return to;
}

static json_t *example(const json_t *schema, const char *name, bool whole)
{
    static const char *const stated[] = { "example", "const", "default" };
    unsigned types = schema_types(schema);
    for (size_t i = 0; i < sizeof stated / sizeof *stated; i++) {
        json_t *v = json_object_get(schema, stated[i]);
        if (v && (v = checked(schema, json_deep_copy(v)))) return v;
    }
    json_t *list = json_object_get(schema, "enum");
    if (list) return checked(schema, json_deep_copy(json_array_get(list, 0)));
    if (types & TYPE_OBJECT) return checked(schema, object_example(schema, whole));
    if (types & TYPE_ARRAY) return checked(schema, array_example(schema, name, whole));
    if (types & TYPE_STRING) return checked(schema, text_example(schema, name));
    if (types & (TYPE_INTEGER | TYPE_NUMBER)) return checked(schema, number_example(schema));
    return checked(schema, types & TYPE_BOOLEAN ? json_true() : json_null());
}

json_t *openapi_example(const json_t *schema, bool whole) { return example(schema, "text", whole); }
