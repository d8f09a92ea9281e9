/* json.c - JSON at the host's edges: parsing by Jansson with our limits, writing straight into a buffer. */
#include "base/json.h"
#include "base/clock.h"
#include <malloc.h>
#include <stdlib.h>

enum { DEPTH_MAX = 64 };

/* Jansson's own depth limit (2048) is a compile-time constant: count brackets outside strings before parsing. */
static bool too_deep(sl_str s)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"')
            quoted = true;
        else if (c == '{' || c == '[') {
            if (++depth > DEPTH_MAX) return true;
        } else if ((c == '}' || c == ']') && depth)
            depth--;
    }
    return false;
}

json_t *json_read(sl_str text, char *why, size_t why_size)
{
    json_error_t e;
    if (too_deep(text)) {
        snprintf(why, why_size, "nested deeper than %d levels", DEPTH_MAX);
        return NULL;
    }
    json_t *v = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!v) snprintf(why, why_size, "line %d, column %d: %s", e.line, e.column, e.text);
    return v;
}

static int append(const char *p, size_t n, void *arg)
{
    buf *b = arg;
    buf_add(b, p, n);
    return b->overflow ? -1 : 0;
}

sl_str json_write(arena *a, const json_t *v)
{
    buf b;
    buf_init(&b, (size_t)1 << 30);
    if (json_dump_callback(v, append, &b, JSON_COMPACT | JSON_ENCODE_ANY)) abort();
    sl_str s = arena_copy(a, buf_str(&b));
    buf_free(&b);
    return s;
}

static json_t *step(json_t *at, sl_str token)
{
    if (json_is_array(at)) {
        int64_t i;
        if (!str_to_int(token, &i) || i < 0 || (token.n > 1 && token.p[0] == '0')) return NULL;
        return json_array_get(at, (size_t)i);
    }
    if (!json_is_object(at)) return NULL;
    char plain[256];
    size_t n = 0;
    for (size_t i = 0; i < token.n; i++) { /* ~0 is ~ and ~1 is / */
        char c = token.p[i];
        if (c == '~') {
            if (++i >= token.n || (token.p[i] != '0' && token.p[i] != '1')) return NULL;
            c = token.p[i] == '0' ? '~' : '/';
        }
        if (n >= sizeof plain) return NULL;
        plain[n++] = c;
    }
    return json_object_getn(at, plain, n);
}

json_t *json_point(json_t *root, sl_str at)
{
    sl_str token;
    if (at.n == 0) return root;
    if (at.p[0] != '/') return NULL;
    at = sl_lit(at.p + 1, at.n - 1);
    while (root && str_split(&at, '/', &token))
        root = step(root, token);
    return root;
}

sl_str json_plain(arena *a, const json_t *v)
{
    if (!v || json_is_null(v)) return sl_lit(NULL, 0);
    if (json_is_string(v)) return arena_copy(a, json_str(v));
    if (json_is_true(v)) return SL("true");
    if (json_is_false(v)) return SL("false");
    if (json_is_integer(v)) return arena_printf(a, "%lld", (long long)json_integer_value(v));
    return json_write(a, v);
}

void json_add_string(buf *b, sl_str s)
{
    static const char hex[] = "0123456789abcdef";
    if (!s.p) {
        buf_add_cstr(b, "null");
        return;
    }
    buf_add_char(b, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        buf_add(b, s.p + from, i - from);
        from = i + 1;
        const char *at = c == '\n' ? "n" : c == '\r' ? "r" : c == '\t' ? "t" : NULL;
        if (c >= 0x20)
            buf_add(b, (char[]){ '\\', (char)c }, 2);
        else if (at)
            buf_add(b, (char[]){ '\\', *at }, 2);
        else
            buf_add(b, (char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
    }
    buf_add(b, s.p + from, s.n - from);
    buf_add_char(b, '"');
}

void json_add_name(buf *b, const char *name)
{
    if (b->n && b->p[b->n - 1] != '{' && b->p[b->n - 1] != '[') buf_add_char(b, ',');
    buf_add_char(b, '"');
    buf_add_cstr(b, name);
    buf_add(b, "\":", 2);
}

static void add_time(buf *b, int64_t us)
{
    char text[CLOCK_TEXT];
    if (us == 0) {
        buf_add_cstr(b, "null");
        return;
    }
    buf_add_char(b, '"');
    buf_add(b, text, clock_format(us, text));
    buf_add_char(b, '"');
}

void json_field_str(buf *b, const char *name, sl_str s)
{
    json_add_name(b, name);
    json_add_string(b, s);
}
void json_field_int(buf *b, const char *name, int64_t v)
{
    json_add_name(b, name);
    buf_add_int(b, v);
}
void json_field_bool(buf *b, const char *name, bool v)
{
    json_add_name(b, name);
    buf_add_cstr(b, v ? "true" : "false");
}
void json_field_time(buf *b, const char *name, int64_t us)
{
    json_add_name(b, name);
    add_time(b, us);
}
void json_field_raw(buf *b, const char *name, sl_str json)
{
    json_add_name(b, name);
    buf_add_str(b, json.p ? json : SL("null"));
}

void json_wipe(json_t *v)
{
    size_t i;
    const char *key;
    json_t *item;
    if (json_is_object(v)) {
        json_object_foreach(v, key, item) { json_wipe(item); }
    } else if (json_is_array(v)) {
        json_array_foreach(v, i, item) { json_wipe(item); }
    } else if (json_is_string(v)) {
        explicit_bzero((char *)(uintptr_t)json_string_value(v), json_string_length(v));
    }
}

static _Thread_local bool sensitive; /* nothing waits while it is set; the pool reads configurations meanwhile */

static void wipe_and_free(void *p)
{
    if (sensitive && p) explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

void json_sensitive(bool on)
{
    static bool set;
    if (!set) json_set_alloc_funcs(malloc, wipe_and_free);
    set = true;
    sensitive = on;
}
