/* names.c - which texts may name modules, topics and jobs, and what a plugin's grants allow. */
#include "module/private.h"

bool name_is_module(sl_str s)
{
    if (s.n == 0 || s.n > 63 || s.p[0] < 'a' || s.p[0] > 'z') return false;
    for (size_t i = 1; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-')) return false;
    }
    return true;
}

bool name_is_topic(sl_str s)
{
    if (s.n == 0 || s.n > 128) return false;
    char before = '.';
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!word && (c != '.' || before == '.')) return false;
        before = c;
    }
    return before != '.';
}

bool name_matches(sl_str pattern, sl_str s)
{
    if (pattern.n > 0 && pattern.p[pattern.n - 1] == '*')
        return s.n >= pattern.n - 1 && memcmp(pattern.p, s.p, pattern.n - 1) == 0;
    return sl_same(pattern, s);
}

bool grants_read(arena *a, sl_str text, struct grant **out, size_t *n, char *why, size_t why_size)
{
    static const char *const verbs[] = { "store", "publish", "ask", "net" };
    sl_str rest = text, word;
    size_t count = 0;
    *out = arena_alloc(a, (text.n / 2 + 1) * sizeof **out);
    while (str_split(&rest, ' ', &word)) {
        if (word.n == 0) continue;
        struct grant g = { .pattern = word };
        bool known = false;
        if (str_split(&g.pattern, ':', &g.verb))
            for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
                known = known || sl_is(g.verb, verbs[i]);
        if (!known || !sl_given(g.pattern) || g.pattern.n == 0) {
            snprintf(why, why_size, "grants: `%.*s` is not store:, publish:, ask: or net: and a name",
                     (int)(word.n < 80 ? word.n : 80), word.p);
            return false;
        }
        (*out)[count++] = g;
    }
    *n = count;
    return true;
}

bool generation_granted(const struct generation *g, const char *verb, sl_str what)
{
    for (size_t i = 0; i < g->n_grants; i++)
        if (sl_is(g->grants[i].verb, verb) && name_matches(g->grants[i].pattern, what)) return true;
    return false;
}

/* net:HOST, net:HOST:PORT, net:*.DOMAIN and net:*; host is "name:port". */
bool generation_may_reach(const struct generation *g, sl_str host)
{
    size_t colon = host.n;
    while (colon > 0 && host.p[colon - 1] != ':')
        colon--;
    sl_str name = sl_lit(host.p, colon ? colon - 1 : host.n);
    for (size_t i = 0; i < g->n_grants; i++) {
        sl_str p = g->grants[i].pattern;
        if (!sl_is(g->grants[i].verb, "net")) continue;
        if (sl_is(p, "*") || str_equal_nocase(p, name) || str_equal_nocase(p, host)) return true;
        if (p.n > 2 && p.p[0] == '*' && p.p[1] == '.' && name.n >= p.n &&
            str_equal_nocase(str_sub(p, 1, p.n - 1), str_sub(name, name.n - (p.n - 1), p.n - 1)))
            return true;
    }
    return false;
}

/* Is everything that `wanted` asks for within `allowed`? False: why names what is not. */
static bool grants_within(sl_str wanted, sl_str allowed, char *why, size_t why_size)
{
    sl_str word, rest, one;
    while (str_split(&wanted, ' ', &word)) {
        bool covered = word.n == 0;
        for (rest = allowed; !covered && str_split(&rest, ' ', &one);)
            covered = one.n > 0 && name_matches(one, word);
        if (covered) continue;
        snprintf(why, why_size, "asks for the grant %.*s", (int)(word.n < 100 ? word.n : 100), word.p);
        return false;
    }
    return true;
}

bool grants_allowed(const struct config *cfg, const char *plugin, const json_t *seen, char *why, size_t why_size)
{
    const struct plugin_config *p = module_configured(cfg, plugin);
    char asks[160] = "";
    struct grant *list;
    size_t n;
    if (!p || !p->grants) return true;
    arena *a = arena_new(0);
    bool readable = grants_read(a, sl_cstr(p->grants), &list, &n, asks, sizeof asks);
    arena_free(a);
    if (!readable)
        snprintf(why, why_size, "plugins.%s.%s", plugin, asks);
    else if (grants_within(json_str(json_object_get(seen, "grants")), sl_cstr(p->grants), asks, sizeof asks))
        return true;
    else
        snprintf(why, why_size, "%s, which plugins.%s.grants does not allow: add it there if the plugin may have it",
                 asks, plugin);
    return false;
}
