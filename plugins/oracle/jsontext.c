/* jsontext.c - reads JSON within limits and writes it as Neo's nodes do, so that results agree byte by byte. */
#include "jsontext.h"
#include <math.h>

/* Jansson descends by recursion and a fiber's stack is small, so depth is checked before it reads. */
static int too_deep(sl_str s)
{
    unsigned depth = 0;
    int in_string = 0;
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        if (in_string) {
            if (ch == '\\')
                i++;
            else if (ch == '"')
                in_string = 0;
        } else if (ch == '"')
            in_string = 1;
        else if (ch == '[' || ch == '{') {
            if (++depth > JSON_DEPTH_MAX) return 1;
        } else if ((ch == ']' || ch == '}') && depth > 0)
            depth--;
    }
    return 0;
}

static json_t *read_json(sl_str text, size_t flags, const char **wrong)
{
    json_t *v = NULL;
    if (too_deep(text))
        *wrong = "The JSON is nested more than 64 levels deep.";
    else if (!(v = json_loadb(text.p ? text.p : "", text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL | flags, NULL)))
        *wrong = "The text is not valid JSON.";
    return v;
}

json_t *json_text_read(sl_str text, const char **wrong) { return read_json(text, JSON_DECODE_INT_AS_REAL, wrong); }
json_t *json_text_read_exact(sl_str text, const char **wrong) { return read_json(text, 0, wrong); }

struct out {
    char *p;
    size_t n, room, max;
    const char *wrong;
};

static void put(struct out *o, const char *p, size_t n)
{
    if (o->wrong) return;
    if (n > o->max - o->n) {
        o->wrong = "The filtered result is too large.";
        return;
    }
    if (n > o->room - o->n) {
        size_t room = o->room ? o->room : 256;
        while (room - o->n < n)
            room *= 2;
        char *bigger = realloc(o->p, room);
        if (!bigger) {
            o->wrong = "There is no memory for the result.";
            return;
        }
        o->p = bigger;
        o->room = room;
    }
    memcpy(o->p + o->n, p, n);
    o->n += n;
}

/* One UTF-8 sequence (Jansson has checked it) as a code point. */
static size_t code_point(const unsigned char *s, unsigned *out)
{
    if (s[0] < 0x80) {
        *out = s[0];
        return 1;
    }
    if (s[0] < 0xe0) {
        *out = (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
        return 2;
    }
    if (s[0] < 0xf0) {
        *out = (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
        return 3;
    }
    *out = (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
    return 4;
}

/* ASCII only; what could mean something in HTML is escaped too, hex digits are capitals. */
static void put_string(struct out *o, const char *text, size_t n)
{
    static const char named[] = "\b\t\n\f\r\\", letters[] = "btnfr\\";
    put(o, "\"", 1);
    for (size_t i = 0; i < n;) {
        unsigned ch;
        char escape[16];
        size_t from = i;
        i += code_point((const unsigned char *)text + i, &ch);
        const char *name = ch && ch < 0x80 ? strchr(named, (int)ch) : NULL;
        if (name)
            (void)snprintf(escape, sizeof escape, "\\%c", letters[name - named]);
        else if (ch >= 0x10000)
            (void)snprintf(escape, sizeof escape, "\\u%04X\\u%04X", 0xd7c0 + (ch >> 10), 0xdc00 + (ch & 0x3ff));
        else if (ch < 0x20 || ch > 0x7e || strchr("\"&'+<>`", (int)ch))
            (void)snprintf(escape, sizeof escape, "\\u%04X", ch);
        else {
            put(o, text + from, 1);
            continue;
        }
        put(o, escape, strlen(escape));
    }
    put(o, "\"", 1);
}

size_t json_text_number(double v, char out[32])
{
    char e[40], digits[24], *mark;
    int precision = 0;
    if (v == 0) return (size_t)snprintf(out, 32, signbit(v) ? "-0" : "0");
    do
        (void)snprintf(e, sizeof e, "%.*e", precision, v);
    while (strtod(e, NULL) != v && ++precision < 17);
    mark = strchr(e, 'e');
    int exponent = (int)strtol(mark + 1, NULL, 10), minus = e[0] == '-', n = 0;
    for (const char *p = e + minus; p < mark; p++)
        if (*p != '.') digits[n++] = *p;
    digits[n] = 0;
    char *to = out;
    if (minus) *to++ = '-';
    if (exponent < -6 || exponent >= 21) {
        to += snprintf(to, 26, "%c%s%se%c%d", digits[0], n > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+',
                       abs(exponent));
    } else if (exponent < 0) {
        to += snprintf(to, 30, "0.%.*s%s", -exponent - 1, "000000", digits);
    } else {
        for (int i = 0; i <= exponent || i < n; i++) {
            if (i == exponent + 1) *to++ = '.';
            *to++ = i < n ? digits[i] : '0';
        }
        *to = 0;
    }
    return (size_t)(to - out);
}

static void put_value(struct out *o, const json_t *v)
{
    json_t *child, *parent = (json_t *)(uintptr_t)v;
    const char *key;
    char number[32];
    size_t i, n = 0;
    switch (json_typeof(v)) {
    case JSON_NULL:
        put(o, "null", 4);
        break;
    case JSON_TRUE:
        put(o, "true", 4);
        break;
    case JSON_FALSE:
        put(o, "false", 5);
        break;
    case JSON_STRING:
        put_string(o, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        n = json_text_number(json_number_value(v), number);
        put(o, number, n);
        break;
    case JSON_ARRAY:
        put(o, "[", 1);
        json_array_foreach(parent, i, child)
        {
            if (i) put(o, ",", 1);
            put_value(o, child);
        }
        put(o, "]", 1);
        break;
    case JSON_OBJECT:
        put(o, "{", 1);
        json_object_foreach(parent, key, child)
        {
            if (n++) put(o, ",", 1);
            put_string(o, key, strlen(key));
            put(o, ":", 1);
            put_value(o, child);
        }
        put(o, "}", 1);
        break;
    }
}

const char *json_text_array(const json_t *const *v, size_t n, size_t max_bytes, char **out, size_t *out_n)
{
    struct out o = { .max = max_bytes };
    put(&o, "[", 1);
    for (size_t i = 0; i < n && !o.wrong; i++) {
        if (i) put(&o, ",", 1);
        put_value(&o, v[i]);
    }
    put(&o, "]", 1);
    if (o.wrong) {
        free(o.p);
        return o.wrong;
    }
    *out = o.p;
    *out_n = o.n;
    return NULL;
}

int text_is_utf8(sl_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n;) {
        unsigned ch = p[i];
        size_t n = ch < 0x80 ? 1 : ch < 0xc2 ? 0 : ch < 0xe0 ? 2 : ch < 0xf0 ? 3 : ch < 0xf5 ? 4 : 0;
        if (n == 0 || n > s.n - i || ch == 0) return 0;
        for (size_t k = 1; k < n; k++)
            if ((p[i + k] & 0xc0) != 0x80) return 0;
        if ((ch == 0xe0 && p[i + 1] < 0xa0) || (ch == 0xed && p[i + 1] > 0x9f) || (ch == 0xf0 && p[i + 1] < 0x90) ||
            (ch == 0xf4 && p[i + 1] > 0x8f))
            return 0;
        i += n;
    }
    return 1;
}
