/* scope.c - scopes, patterns that cover them, and the names of roles and tenants. */
#include "base/scope.h"

bool next_word(sl_str *rest, sl_str *word)
{
    while (str_split(rest, ' ', word))
        if (word->n) return true;
    return false;
}

sl_str words_of_json(arena *a, sl_str json)
{
    sl_str out = arena_copy(a, json);
    for (size_t i = 0; i < out.n; i++)
        if (memchr("[]\",", out.p[i], 4)) ((char *)(uintptr_t)out.p)[i] = ' ';
    return str_trim(out);
}

static bool is_admin(sl_str s) { return sl_is(s, "admin") || str_starts(s, "admin:"); }

static bool covers(sl_str pattern, sl_str scope)
{
    size_t n = pattern.n;
    if (sl_same(pattern, scope)) return true;
    if (pattern.p[0] == '*') /* "*", or "*:read", which is what the scope must end in */
        return !is_admin(scope) &&
               (n == 1 || (scope.n >= n && memcmp(scope.p + scope.n - n + 1, pattern.p + 1, n - 1) == 0));
    return pattern.p[n - 1] == '*' && scope.n >= n && memcmp(pattern.p, scope.p, n - 1) == 0;
}

bool scope_covers(sl_str patterns, sl_str scope)
{
    sl_str pattern;
    while (next_word(&patterns, &pattern))
        if (covers(pattern, scope)) return true;
    return false;
}

/* ---- what may stand in the configuration ---- */
static bool word_ok(sl_str s, const char *more, size_t max)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && !strchr(more, c)) return false;
        if (!c) return false;
    }
    return s.n > 0 && s.n <= max;
}

const char *scope_check(sl_str pattern)
{
    static const char must[] = "must be a scope such as oracle:read, or oracle:*, *:read or *";
    sl_str rest = pattern, word;
    if (pattern.n == 0 || pattern.n > SCOPE_MAX) return must;
    for (int i = 0; str_split(&rest, ':', &word); i++)
        if (i > 1 || (!sl_is(word, "*") && !word_ok(word, "._-", SCOPE_MAX))) return must;
    return sl_is(pattern, "*:*") ? must : NULL;
}

const char *tenant_check(sl_str tenant)
{
    return word_ok(tenant, "._-", TENANT_MAX) ? NULL : "must be 1 to 64 letters, digits, dots, dashes or underscores";
}

const char *role_check(sl_str role)
{
    static const char must[] = "must be a role and its scopes, such as `auditor *:read admin:audit`";
    sl_str name, scope;
    size_t n = 0;
    if (!str_split(&role, ' ', &name) || !word_ok(name, "._-", ROLE_MAX)) return must;
    if (sl_is(name, "admin") || sl_is(name, "metrics") || sl_is(name, "anonymous"))
        return "must not be admin, metrics or anonymous, which are fixed";
    for (; next_word(&role, &scope); n++)
        if (scope_check(scope)) return must;
    return n > SCOPES_MAX ? "must not have more than 64 scopes" : NULL;
}

/* crypt(5): $2b$, two digits of cost, $, 53 characters of salt and hash. */
static bool is_bcrypt(sl_str s)
{
    if (s.n != 60 || s.p[0] != '$' || s.p[1] != '2' || !memchr("aby", s.p[2], 3) || s.p[3] != '$' || s.p[6] != '$')
        return false;
    int cost = (s.p[4] - '0') * 10 + s.p[5] - '0';
    if (s.p[4] < '0' || s.p[4] > '9' || s.p[5] < '0' || s.p[5] > '9' || cost < 4 || cost > 16) return false;
    for (size_t i = 7; i < s.n; i++)
        if (!word_ok(str_sub(s, i, 1), "./", 1)) return false;
    return true;
}

const char *user_check(sl_str user)
{
    static const char must[] = "must be NAME:BCRYPT:ROLE or NAME:BCRYPT:ROLE:TENANT|TENANT";
    sl_str name, hash, role, tenant;
    if (!str_split(&user, ':', &name) || !word_ok(name, "._-@+", 64)) return must;
    if (!str_split(&user, ':', &hash) || !is_bcrypt(hash))
        return "must hold a bcrypt hash ($2b$ and so on, cost 4 to 16), never a password: `appserver -hash-password` "
               "makes one";
    if (!str_split(&user, ':', &role) || !word_ok(role, "._-", ROLE_MAX)) return must;
    while (sl_given(user) && str_split(&user, '|', &tenant))
        if (!sl_is(tenant, "*") && tenant_check(tenant)) return must;
    return NULL;
}
