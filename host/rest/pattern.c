/* pattern.c - route patterns: what is well formed, what clashes, and the methods there are. */
#include "rest/pattern.h"
#include <ctype.h>
#include <stdarg.h>

static const char *const methods[ROUTE_METHODS] = { "GET", "POST", "PUT", "PATCH", "DELETE" };

int route_method_of(sl_str method)
{
    for (int i = 0; i < ROUTE_METHODS; i++)
        if (sl_is(method, methods[i])) return i;
    return -1;
}

const char *route_method_name(int method) { return methods[method]; }

__attribute__((format(printf, 3, 4))) static bool wrong(char *why, size_t why_size, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, why_size, format, ap);
    va_end(ap);
    return false;
}

static bool segment_check(sl_str s, char *why, size_t why_size)
{
    if (s.n == 0) return wrong(why, why_size, "has an empty segment");
    if (!segment_is_param(s)) {
        for (size_t i = 0; i < s.n; i++)
            if (!isalnum((unsigned char)s.p[i]) && !(s.p[i] && strchr("._~:@-", s.p[i])))
                return wrong(why, why_size, "segment `%.*s` may hold letters, digits and ._~:@- or be one {parameter}",
                             STR_ARG(s));
        if (sl_is(s, ".") || sl_is(s, "..")) return wrong(why, why_size, "has a dot segment");
        return true;
    }
    bool good = s.n > 2 && s.n <= 34 && s.p[s.n - 1] == '}' && islower((unsigned char)s.p[1]);
    for (size_t i = 1; good && i + 1 < s.n; i++)
        good = islower((unsigned char)s.p[i]) || isdigit((unsigned char)s.p[i]) || s.p[i] == '_';
    return good ||
           wrong(why, why_size, "parameter `%.*s` must be {lower_case_name} of at most 32 characters", STR_ARG(s));
}

int route_split(sl_str name, sl_str *path)
{
    sl_str word;
    *path = name;
    return str_split(path, ' ', &word) ? route_method_of(word) : -1;
}

bool route_check(const char *name, char *why, size_t why_size)
{
    sl_str path, part, seen[ROUTE_PARAMS];
    int method = route_split(sl_cstr(name), &path);
    size_t n_params = 0, n_segments = 0;
    if (strlen(name) > ROUTE_TEXT) return wrong(why, why_size, "is longer than %d bytes", ROUTE_TEXT);
    if (method < 0) return wrong(why, why_size, "must begin with GET, POST, PUT, PATCH or DELETE and a space");
    if (path.n == 0 || path.p[0] != '/') return wrong(why, why_size, "the path must begin with /");
    if (path.n == 1) return true;
    if (path.p[path.n - 1] == '/') return wrong(why, why_size, "the path must not end with /");
    for (sl_str rest = str_sub(path, 1, path.n); str_split(&rest, '/', &part);) {
        if (!segment_check(part, why, why_size)) return false;
        if (++n_segments > ROUTE_SEGMENTS) return wrong(why, why_size, "has more than %d segments", ROUTE_SEGMENTS);
        if (!segment_is_param(part)) continue;
        for (size_t i = 0; i < n_params; i++)
            if (sl_same(seen[i], part)) return wrong(why, why_size, "names %.*s twice", STR_ARG(part));
        if (n_params == ROUTE_PARAMS) return wrong(why, why_size, "has more than %d parameters", ROUTE_PARAMS);
        seen[n_params++] = part;
    }
    return true;
}

bool path_same_shape(sl_str a, sl_str b)
{
    sl_str x, y;
    for (;;) {
        bool more_a = str_split(&a, '/', &x), more_b = str_split(&b, '/', &y);
        if (more_a != more_b) return false;
        if (!more_a) return true;
        if (!(segment_is_param(x) && segment_is_param(y)) && !sl_same(x, y)) return false;
    }
}

bool route_clash(const char *a, const char *b)
{
    sl_str path_a, path_b;
    return route_split(sl_cstr(a), &path_a) == route_split(sl_cstr(b), &path_b) && path_same_shape(path_a, path_b);
}

size_t route_allow_text(unsigned set, char *out, size_t room)
{
    size_t n = 0;
    for (int i = 0; i < ROUTE_METHODS; i++)
        if (set & 1u << i)
            n += (size_t)snprintf(out + n, room - n, i == ROUTE_GET ? "GET, HEAD, " : "%s, ", methods[i]);
    return n + (size_t)snprintf(out + n, room - n, "OPTIONS");
}
