/* input.c - what comes in is checked before the handler runs: media type, JSON, body and query by the entry's schemas.
 */
#include "http/request.h"
#include "rest/schema.h"

bool set_problem(struct request *rq, int status, const char *code, sl_str detail)
{
    rq->problem = true;
    rq->status = status;
    rq->code = sl_cstr(code);
    rq->detail = detail;
    return false;
}

/* ---- findings: a JSON array for the problem's `errors` ---- */
struct findings {
    buf text;
    const char *prefix;
    size_t n;
};

static void add_finding(void *arg, const char *pointer, const char *detail)
{
    struct findings *f = arg;
    char whole[SCHEMA_POINTER + 16];
    if (f->n++ >= SCHEMA_FINDINGS) return;
    snprintf(whole, sizeof whole, "%s%s", f->prefix, pointer);
    buf_add_char(&f->text, f->text.n ? ',' : '[');
    buf_add_char(&f->text, '{');
    json_field_str(&f->text, "pointer", sl_cstr(whole));
    json_field_str(&f->text, "detail", sl_cstr(detail));
    buf_add_char(&f->text, '}');
}

/* ---- query ---- */
/* application/x-www-form-urlencoded: %XX and + for a blank. */
static bool decode(sl_str *s, arena *a)
{
    if (!s->n || (!memchr(s->p, '%', s->n) && !memchr(s->p, '+', s->n))) {
        if (!sl_given(*s)) *s = SL("");
        return true;
    }
    char *out = arena_alloc(a, s->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        char ch = s->p[i];
        if (ch == '%') {
            int byte = percent_byte(*s, i);
            if (byte <= 0) return false; /* nor an encoded NUL */
            ch = (char)byte;
            i += 2;
        }
        out[n++] = ch == '+' && s->p[i] == '+' ? ' ' : ch;
    }
    *s = sl_lit(out, n);
    return str_is_utf8(*s);
}

/* A parameter as the type that its schema states; what does not convert stays text, and the check says what it must be.
 */
static json_t *convert(const json_t *schema, sl_str text)
{
    unsigned types = schema_types(schema);
    int64_t i;
    double d;
    if (types & TYPE_STRING) return json_stringn(text.p, text.n);
    if ((types & (TYPE_INTEGER | TYPE_NUMBER)) && str_to_int(text, &i)) return json_integer(i);
    if ((types & TYPE_NUMBER) && str_to_real(text, &d)) return json_real(d);
    if ((types & TYPE_BOOLEAN) && (sl_is(text, "true") || sl_is(text, "false"))) return json_boolean(text.p[0] == 't');
    return json_stringn(text.p, text.n);
}

static void pointer_of(char out[80], sl_str name)
{
    size_t n = 0;
    out[n++] = '/';
    for (size_t i = 0; i < name.n && n < 76; i++) {
        if (name.p[i] == '~' || name.p[i] == '/') out[n++] = '~';
        out[n++] = name.p[i] == '~' ? '0' : name.p[i] == '/' ? '1' : name.p[i];
    }
    out[n] = 0;
}

static void unknown_parameter(struct findings *f, const json_t *properties, sl_str name)
{
    const char *known[64], *other, *near;
    char pointer[80], detail[160];
    json_t *ignored;
    size_t n = 0;
    json_object_foreach((json_t *)properties, other, ignored) if (n < sizeof known / sizeof *known) known[n++] = other;
    near = name.n <= 64 ? str_nearest(name, known, n) : NULL;
    pointer_of(pointer, name);
    snprintf(detail, sizeof detail,
             near ? "is not a known query parameter, did you mean `%s`?" : "is not a known query parameter", near);
    add_finding(f, pointer, detail);
}

static void add_parameter(struct request *rq, struct findings *f, const json_t *properties, sl_str name, sl_str value)
{
    const json_t *schema = json_object_getn(properties, name.p, name.n);
    char pointer[80];
    if (!schema) {
        sl_str *page = rq->route->method.n != 3 ? NULL
                       : sl_is(name, "limit")   ? &rq->page_limit
                       : sl_is(name, "cursor")  ? &rq->page_cursor
                                                : NULL; /* any GET may answer a list */
        if (page && !sl_given(*page))
            *page = value;
        else
            unknown_parameter(f, properties, name);
        return;
    }
    json_t *there = json_object_getn(rq->query, name.p, name.n);
    if (json_is_string(json_object_get(schema, "type")) && schema_types(schema) == TYPE_ARRAY) {
        json_t *items = json_object_get(schema, "items");
        if (!there) {
            there = json_array();
            json_object_setn_new(rq->query, name.p, name.n, there);
        }
        json_array_append_new(there, items ? convert(items, value) : json_stringn(value.p, value.n));
    } else if (there) {
        pointer_of(pointer, name);
        add_finding(f, pointer, "is given more than once");
    } else
        json_object_setn_new(rq->query, name.p, name.n, convert(schema, value));
}

static bool read_query(struct request *rq, struct findings *f)
{
    const json_t *schema = rq->entry->query, *properties = json_object_get(schema, "properties");
    sl_str rest = rq->x->query, part, name;
    if (!rest.n && !rq->route->check_empty_query) return true;
    json_decref(rq->query);
    rq->query = json_object();
    while (rest.n && str_split(&rest, '&', &part)) {
        if (!part.n) continue;
        sl_str value = part;
        str_split(&value, '=', &name);
        if (!decode(&name, rq->x->arena) || !decode(&value, rq->x->arena))
            return set_problem(rq, 400, "malformed_query",
                               SL("The query has a malformed percent-encoding, a NUL, or is not UTF-8."));
        add_parameter(rq, f, properties, name, value);
    }
    if (schema && !f->n) schema_check(schema, rq->query, add_finding, f);
    return true;
}

/* ---- body ---- */
static bool is_json(sl_str type)
{
    sl_str parameters = type, media;
    if (!str_split(&parameters, ';', &media)) return false;
    return str_equal_nocase(str_trim(media), SL("application/json"));
}

static bool read_body(struct request *rq, struct findings *f)
{
    const exchange *x = rq->x;
    char why[200];
    if (!rq->entry->in) return true;
    if (x->body.n && !is_json(rq->known.content_type)) {
        answer_header(rq, SL("Accept"), SL("application/json"));
        return set_problem(rq, 415, "unsupported_media_type",
                           SL("The body must be JSON: send `Content-Type: application/json`."));
    }
    json_decref(rq->body);
    /* Neither a body nor a type of one: an object without fields. */
    json_sensitive(rq->route->flags & SL_SENSITIVE);
    rq->body = json_read(x->body.n || sl_given(rq->known.content_type) ? x->body : SL("{}"), why, sizeof why);
    json_sensitive(false);
    if (!rq->body)
        return set_problem(rq, 400, "malformed_json", arena_printf(x->arena, "The body is not valid JSON: %s.", why));
    schema_check(rq->entry->in, rq->body, add_finding, f);
    return true;
}

bool input_check(struct request *rq)
{
    static struct findings f; /* used up before anything can wait */
    if (!rq->entry->in && !rq->x->query.n && !rq->route->check_empty_query) return true;
    if (!f.text.max) buf_init(&f.text, 256 << 10);
    buf_clear(&f.text);
    f.n = 0;
    f.prefix = "/query";
    if (!read_query(rq, &f)) return false;
    size_t in_query = f.n;
    f.prefix = "";
    if (!read_body(rq, &f)) return false;
    if (!f.n) return true;
    buf_add_char(&f.text, ']');
    rq->errors = arena_copy(rq->x->arena, buf_str(&f.text));
    return set_problem(rq, 422, "invalid_input",
                       in_query == f.n ? SL("A query parameter is not valid; see errors.")
                                       : SL("The input is not valid; see errors."));
}
