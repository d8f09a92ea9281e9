/* router.c - the tree of route patterns that finds one for a request. */
#include "http/router.h"

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
    if (segment_is_param(text)) {
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
    sl_str own = arena_copy(r->arena, sl_cstr(name)), path, part;
    int method = route_split(own, &path);
    struct node *n = &r->root;
    struct route *route = arena_alloc(r->arena, sizeof *route);
    route->name = own.p;
    route->method = sl_cstr(route_method_name(method));
    route->path = path;
    for (sl_str rest = str_sub(path, 1, path.n); rest.n && str_split(&rest, '/', &part);) {
        if (segment_is_param(part)) route->params[route->n_params++] = str_sub(part, 1, part.n - 2);
        n = child_make(r, n, part);
    }
    if (n->routes[method]) return NULL;
    return n->routes[method] = route;
}

/* ---- finding ---- */
/* Decodes %XX of one segment. What a file system or a second decoder could misread is refused, not passed on. */
static bool decode(sl_str *s, arena *a, const char **why)
{
    if (memchr(s->p, '%', s->n)) {
        char *out = arena_alloc(a, s->n + 1);
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++) {
            char ch = s->p[i];
            if (ch == '%') {
                int byte = percent_byte(*s, i);
                if (byte < 0) {
                    *why = "The path has a % that two hexadecimal digits do not follow.";
                    return false;
                }
                ch = (char)byte;
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
    struct search s = { .method = route_method_of(sl_is(method, "HEAD") ? SL("GET") : method),
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
