/* router.c - route patterns: what is well formed, what clashes, and the tree that finds one for a request. */
#include "http/router.h"
#include <ctype.h>
#include <stdarg.h>

static const char *const methods[ROUTE_METHODS] = { "GET", "POST", "PUT", "PATCH", "DELETE" };

static int method_index(sl_str method)
{
    for (int i = 0; i < ROUTE_METHODS; i++)
        if (sl_is(method, methods[i])) return i;
    return -1;
}

/* ---- patterns ---- */
__attribute__((format(printf, 3, 4))) static bool wrong(char *why, size_t why_size, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, why_size, format, ap);
    va_end(ap);
    return false;
}

static bool is_param(sl_str segment) { return segment.n > 1 && segment.p[0] == '{'; }

static bool segment_check(sl_str s, char *why, size_t why_size)
{
    if (s.n == 0) return wrong(why, why_size, "has an empty segment");
    if (!is_param(s)) {
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

/* The pattern's path behind "METHOD "; absent if there is no method. */
static sl_str pattern_path(sl_str name, int *method)
{
    sl_str word;
    *method = str_split(&name, ' ', &word) ? method_index(word) : -1;
    return name;
}

bool route_check(const char *name, char *why, size_t why_size)
{
    int method;
    sl_str path = pattern_path(sl_cstr(name), &method), part, seen[ROUTE_PARAMS];
    size_t n_params = 0, n_segments = 0;
    if (strlen(name) > ROUTE_TEXT) return wrong(why, why_size, "is longer than %d bytes", ROUTE_TEXT);
    if (method < 0) return wrong(why, why_size, "must begin with GET, POST, PUT, PATCH or DELETE and a space");
    if (path.n == 0 || path.p[0] != '/') return wrong(why, why_size, "the path must begin with /");
    if (path.n == 1) return true;
    if (path.p[path.n - 1] == '/') return wrong(why, why_size, "the path must not end with /");
    for (sl_str rest = str_sub(path, 1, path.n); str_split(&rest, '/', &part);) {
        if (!segment_check(part, why, why_size)) return false;
        if (++n_segments > ROUTE_SEGMENTS) return wrong(why, why_size, "has more than %d segments", ROUTE_SEGMENTS);
        if (!is_param(part)) continue;
        for (size_t i = 0; i < n_params; i++)
            if (sl_same(seen[i], part)) return wrong(why, why_size, "names %.*s twice", STR_ARG(part));
        if (n_params == ROUTE_PARAMS) return wrong(why, why_size, "has more than %d parameters", ROUTE_PARAMS);
        seen[n_params++] = part;
    }
    return true;
}

bool route_clash(const char *a, const char *b)
{
    int method_a, method_b;
    sl_str x = pattern_path(sl_cstr(a), &method_a), y = pattern_path(sl_cstr(b), &method_b), s, t;
    if (method_a != method_b) return false;
    for (;;) {
        bool more_x = str_split(&x, '/', &s), more_y = str_split(&y, '/', &t);
        if (more_x != more_y) return false;
        if (!more_x) return true;
        if (!(is_param(s) && is_param(t)) && !sl_same(s, t)) return false;
    }
}

/* ---- the tree ---- */
struct node {
    sl_str text;        /* the static segment that leads here */
    struct node **kids; /* static children */
    size_t n_kids, room;
    struct node *param; /* the child behind any segment */
    struct route *routes[ROUTE_METHODS];
};
struct router {
    arena *arena;
    size_t held;
    struct node root;
};

router *router_new(void)
{
    arena *a = arena_new(0);
    router *r = arena_alloc(a, sizeof *r);
    r->arena = a;
    r->held = 1;
    return r;
}

void router_hold(router *r) { r->held++; }

void router_drop(router *r)
{
    if (r && --r->held == 0) arena_free(r->arena);
}

arena *router_arena(router *r) { return r->arena; }

static struct node *child(const struct node *n, sl_str text)
{
    for (size_t i = 0; i < n->n_kids; i++)
        if (n->kids[i]->text.n == text.n && memcmp(n->kids[i]->text.p, text.p, text.n) == 0) return n->kids[i];
    return NULL;
}

static struct node *child_make(router *r, struct node *n, sl_str text)
{
    if (is_param(text)) {
        if (!n->param) n->param = arena_alloc(r->arena, sizeof *n);
        return n->param;
    }
    struct node *found = child(n, text);
    if (found) return found;
    if (n->n_kids == n->room) {
        size_t room = n->room ? 2 * n->room : 4;
        struct node **bigger = arena_alloc(r->arena, room * sizeof(struct node *));
        if (n->n_kids) memcpy(bigger, n->kids, n->n_kids * sizeof(struct node *));
        n->kids = bigger;
        n->room = room;
    }
    found = arena_alloc(r->arena, sizeof *found);
    found->text = text;
    return n->kids[n->n_kids++] = found;
}

struct route *router_add(router *r, const char *name)
{
    int method;
    sl_str own = arena_copy(r->arena, sl_cstr(name)), path = pattern_path(own, &method), part;
    struct node *n = &r->root;
    struct route *route = arena_alloc(r->arena, sizeof *route);
    route->name = own.p;
    route->method = sl_cstr(methods[method]);
    route->path = path;
    for (sl_str rest = str_sub(path, 1, path.n); rest.n && str_split(&rest, '/', &part);) {
        if (is_param(part)) route->params[route->n_params++] = str_sub(part, 1, part.n - 2);
        n = child_make(r, n, part);
    }
    if (n->routes[method]) return NULL;
    return n->routes[method] = route;
}

/* ---- finding ---- */
static int hex(char ch)
{
    if (ch >= '0' && ch <= '9') return ch - '0';
    ch = (char)(ch | 0x20);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Decodes %XX of one segment. What a file system or a second decoder could misread is refused, not passed on. */
static bool decode(sl_str *s, arena *a, const char **why)
{
    if (memchr(s->p, '%', s->n)) {
        char *out = arena_alloc(a, s->n + 1);
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++) {
            char ch = s->p[i];
            if (ch == '%') {
                int high = i + 2 < s->n ? hex(s->p[i + 1]) : -1, low = high >= 0 ? hex(s->p[i + 2]) : -1;
                if (low < 0) {
                    *why = "The path has a % that two hexadecimal digits do not follow.";
                    return false;
                }
                ch = (char)(high << 4 | low);
                i += 2;
                if (!ch || ch == '/') {
                    *why = "The path has an encoded NUL or slash (%00, %2F), which no segment may hold.";
                    return false;
                }
            }
            out[n++] = ch;
        }
        *s = sl_lit(out, n);
    }
    if (sl_is(*s, ".") || sl_is(*s, ".."))
        *why = "The path has a dot segment.";
    else if (!str_is_utf8(*s))
        *why = "The path is not UTF-8.";
    else
        return true;
    return false;
}

struct search {
    int method;
    const sl_str *segments;
    size_t n;
    struct route_match *m;
    size_t n_values;
};

static bool walk(struct search *s, const struct node *n, size_t at)
{
    if (at == s->n) {
        for (int i = 0; i < ROUTE_METHODS; i++)
            if (n->routes[i]) s->m->allow |= 1u << i;
        s->m->route = s->method >= 0 ? n->routes[s->method] : NULL;
        return s->m->route != NULL;
    }
    const struct node *next = child(n, s->segments[at]);
    if (next && walk(s, next, at + 1)) return true;
    if (!n->param || s->n_values == ROUTE_PARAMS) return false;
    s->m->values[s->n_values++] = s->segments[at];
    if (walk(s, n->param, at + 1)) return true;
    s->n_values--;
    return false;
}

enum route_result router_find(const router *r, sl_str method, sl_str path, arena *a, struct route_match *m)
{
    sl_str segments[ROUTE_SEGMENTS], part;
    struct search s = { .method = method_index(sl_is(method, "HEAD") ? SL("GET") : method),
                        .segments = segments,
                        .m = m };
    m->route = NULL;
    m->allow = 0;
    m->why = "The path must begin with /.";
    if (path.n == 0 || path.p[0] != '/') return ROUTE_BAD_PATH;
    if (path.n > 1)
        for (sl_str rest = str_sub(path, 1, path.n); str_split(&rest, '/', &part);) {
            if (s.n == ROUTE_SEGMENTS || part.n == 0) return ROUTE_NONE; /* an empty segment matches nothing */
            if (!decode(&part, a, &m->why)) return ROUTE_BAD_PATH;
            segments[s.n++] = part;
        }
    if (walk(&s, &r->root, 0)) return ROUTE_FOUND;
    return m->allow ? ROUTE_OTHER_METHOD : ROUTE_NONE;
}

size_t route_allow_text(unsigned allow, char *out, size_t room)
{
    size_t n = 0;
    for (int i = 0; i < ROUTE_METHODS; i++)
        if (allow & 1u << i)
            n += (size_t)snprintf(out + n, room - n, i == ROUTE_GET ? "GET, HEAD, " : "%s, ", methods[i]);
    return n + (size_t)snprintf(out + n, room - n, "OPTIONS");
}
