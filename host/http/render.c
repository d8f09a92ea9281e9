/* render.c - rows as JSON by an entry's `out` schema: its order of fields, its formats, nothing that it does not name.
 */
#include "http/render.h"
#include "base/clock.h"
#include "rest/schema.h"
#include <math.h>
#include <sodium.h>

enum render_as {
    AS_STRING,
    AS_INTEGER,
    AS_NUMBER,
    AS_BOOLEAN,
    AS_JSON,
    AS_TIME,
    AS_DURATION,
    AS_DECIMAL,
    AS_BASE64,
    AS_IS
};
struct render_field {
    const char *name;
    size_t name_n;
    uint32_t col;
    enum render_as as;
};
struct render_plan {
    size_t n;
    struct render_field fields[RENDER_FIELDS];
};

static struct render_plan the_plan;
static const char *failed = "";

const char *render_field_failed(void) { return failed; }

static enum render_as how(const json_t *schema)
{
    unsigned types = schema_types(schema);
    switch (schema_format(schema)) {
    case FORMAT_TIME:
        return AS_TIME;
    case FORMAT_DURATION:
        return AS_DURATION;
    case FORMAT_DECIMAL:
        return AS_DECIMAL;
    case FORMAT_BYTE:
        return AS_BASE64;
    default:
        break;
    }
    if (types == TYPE_ALL && !json_object_get(schema, "type")) return AS_IS;
    if (types & (TYPE_OBJECT | TYPE_ARRAY)) return AS_JSON;
    if (types & TYPE_STRING) return AS_STRING;
    if (types & TYPE_NUMBER) return AS_NUMBER;
    if (types & TYPE_INTEGER) return AS_INTEGER;
    return types & TYPE_BOOLEAN ? AS_BOOLEAN : AS_IS;
}

sl_err render_start(const json_t *schema, const sl_rows *rows, const struct render_plan **plan)
{
    const char *name;
    json_t *field;
    the_plan.n = 0;
    *plan = &the_plan;
    json_object_foreach(json_object_get(schema, "properties"), name, field)
    {
        for (uint32_t col = 0; col < rows->cols; col++) {
            if (!sl_is(rows->names[col], name)) continue;
            if (the_plan.n == RENDER_FIELDS) {
                failed = name;
                return SL_EINVAL;
            }
            the_plan.fields[the_plan.n++] = (struct render_field){ name, strlen(name), col, how(field) };
            break;
        }
    }
    return SL_OK;
}

static bool add_base64(buf *out, sl_str s)
{
    size_t room = sodium_base64_encoded_len(s.n, sodium_base64_VARIANT_ORIGINAL);
    char *p = buf_reserve(out, room + 1);
    if (!p) return true; /* over the buffer's maximum: overflow is set */
    p[0] = '"';
    sodium_bin2base64(p + 1, room, (const unsigned char *)s.p, s.n, sodium_base64_VARIANT_ORIGINAL);
    out->n += room; /* the encoded length counts a NUL, the quote in front takes its place */
    buf_add_char(out, '"');
    return true;
}

static bool add_real(buf *out, double d)
{
    char text[40];
    if (!isfinite(d)) return false; /* JSON has no such numbers */
    snprintf(text, sizeof text, "%.15g", d);
    if (strtod(text, NULL) != d) snprintf(text, sizeof text, "%.17g", d);
    buf_add_cstr(out, text);
    return true;
}

static bool add_int(buf *out, int64_t i, enum render_as as)
{
    char text[64];
    switch (as) {
    case AS_INTEGER:
    case AS_NUMBER:
    case AS_IS:
    case AS_JSON:
        buf_add_int(out, i);
        return true;
    case AS_BOOLEAN:
        buf_add_cstr(out, i ? "true" : "false");
        return i == 0 || i == 1;
    case AS_TIME:
        clock_format(i, text);
        break;
    case AS_DURATION:
        duration_format(i, text, sizeof text);
        break;
    case AS_DECIMAL:
        money_format(i, text, sizeof text);
        break;
    case AS_STRING:
    case AS_BASE64:
        return false;
    }
    buf_add_char(out, '"');
    buf_add_cstr(out, text);
    buf_add_char(out, '"');
    return true;
}

static bool add_text(buf *out, sl_str s, enum render_as as)
{
    int64_t i;
    switch (as) {
    case AS_JSON:
        buf_add_str(out, s.n ? s : SL("null"));
        return true;
    case AS_INTEGER:
    case AS_NUMBER:
    case AS_BOOLEAN: /* PostgreSQL gives sums of bigint as text */
        return str_to_int(s, &i) && add_int(out, i, as);
    default:
        json_add_string(out, s);
        return true; /* base64 kept as text is base64 already */
    }
}

static bool add_cell(buf *out, const sl_value *v, enum render_as as)
{
    switch (v->type) {
    case SL_NULL:
        buf_add_cstr(out, "null");
        return true;
    case SL_INT:
        return add_int(out, v->i, as);
    case SL_REAL:
        if (as == AS_NUMBER || as == AS_IS || as == AS_JSON) return add_real(out, v->d);
        return v->d >= -9e15 && v->d <= 9e15 && v->d == floor(v->d) && add_int(out, (int64_t)v->d, as);
    case SL_TEXT:
        return add_text(out, v->s, as);
    case SL_BLOB:
        return as == AS_BASE64 && add_base64(out, v->s);
    default:
        return false;
    }
}

sl_err render_one(buf *out, const struct render_plan *plan, const sl_rows *rows, uint32_t row)
{
    const sl_value *cells = rows->cells + (size_t)row * rows->cols;
    buf_add_char(out, '{');
    for (size_t i = 0; i < plan->n; i++) {
        const struct render_field *f = &plan->fields[i];
        if (i) buf_add_char(out, ',');
        buf_add_char(out, '"');
        buf_add(out, f->name, f->name_n);
        buf_add(out, "\":", 2);
        if (!add_cell(out, &cells[f->col], f->as)) {
            failed = f->name;
            return SL_EINVAL;
        }
    }
    buf_add_char(out, '}');
    return SL_OK;
}

sl_err render_row(buf *out, const json_t *schema, const sl_rows *rows, uint32_t row)
{
    const struct render_plan *plan;
    sl_err e = render_start(schema, rows, &plan);
    return e ? e : render_one(out, plan, rows, row);
}
