/* scopes.c - roles as sets of scopes, and what a caller may do. */
#include "identity/private.h"

struct role {
    sl_str name, scopes;
};
/* The configuration may define all but `admin` and `metrics` anew. */
static const struct role built_in[] = {
    { { "admin", 5 }, { "* admin admin:*", 15 } },
    { { "metrics", 7 }, { "metrics", 7 } },
    { { "service", 7 }, { "*", 1 } },
    { { "user", 4 }, { "*", 1 } },
    { { "reader", 6 }, { "*:read metrics", 14 } },
};
enum { BUILT_IN = sizeof built_in / sizeof *built_in };
static struct role configured[ROLES_MAX];
static size_t n_configured;
static arena *texts;

const char *identity_kind_name(enum identity_kind kind)
{
    static const char *const names[] = { "anonymous", "configured", "token", "user", "wallet", "outside" };
    return names[kind];
}

bool identity_may(const struct identity *who, sl_str scope)
{
    if (who->kind != IDENTITY_ANONYMOUS && sl_is(scope, "self")) return true;
    return scope_covers(who->scopes, scope) && (!sl_given(who->only) || scope_covers(who->only, scope));
}

bool scope_is_open(sl_str scope) { return !sl_given(scope) || (sl_is(scope, "metrics") && !auth.metrics_token); }

bool identity_acts_for(const struct identity *who, sl_str tenant)
{
    sl_str rest = who->tenants, word;
    while (next_word(&rest, &word))
        if (sl_same(word, tenant) || sl_is(word, "*")) return true;
    return identity_may(who, SL("admin"));
}

/* ---- roles ---- */
void roles_setup(const sl_str *roles, size_t n)
{
    roles_close();
    texts = arena_new(0);
    for (size_t i = 0; i < n && n_configured < ROLES_MAX; i++) {
        sl_str rest = arena_copy(texts, roles[i]), name;
        str_split(&rest, ' ', &name);
        configured[n_configured++] = (struct role){ name, sl_given(rest) ? rest : SL("") };
    }
    if (n > ROLES_MAX) log_warn("auth.roles: only the first 64 roles are known", LOG_I("given", (int64_t)n));
}

void roles_close(void)
{
    arena_free(texts);
    texts = NULL;
    n_configured = 0;
}

static const struct role *find(const struct role *list, size_t n, sl_str name)
{
    for (size_t i = 0; i < n; i++)
        if (sl_same(list[i].name, name)) return &list[i];
    return NULL;
}

bool role_find(sl_str name, sl_str *scopes)
{
    const struct role *r = find(configured, n_configured, name);
    if (!r) r = find(built_in, BUILT_IN, name);
    if (r) *scopes = r->scopes;
    return r != NULL;
}

sl_str role_names(arena *a)
{
    sl_str all = SL("");
    for (size_t i = 0; i < BUILT_IN; i++)
        all = arena_printf(a, "%.*s%s%.*s", STR_ARG(all), all.n ? ", " : "", STR_ARG(built_in[i].name));
    for (size_t i = 0; i < n_configured; i++)
        if (!find(built_in, BUILT_IN, configured[i].name))
            all = arena_printf(a, "%.*s, %.*s", STR_ARG(all), STR_ARG(configured[i].name));
    return all;
}
