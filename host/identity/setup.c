/* setup.c - the settings of identity, copied: tokens, roles, users, how those who sign in are known, outside provider.
 */
#include "identity/private.h"

struct auth auth;

static const sl_str *copy_list(const sl_str *from, size_t n)
{
    sl_str *to = arena_alloc(auth.arena, (n + 1) * sizeof *to);
    for (size_t i = 0; i < n; i++)
        to[i] = arena_copy(auth.arena, from[i]);
    return to;
}

/* "NAME:HASH:ROLE" or "NAME:HASH:ROLE:TENANT|TENANT". */
static struct user read_user(sl_str line, sl_str default_tenant)
{
    sl_str rest = arena_copy(auth.arena, line), hash, role;
    struct user u = { .tenants = SL("") };
    str_split(&rest, ':', &u.name);
    str_split(&rest, ':', &hash);
    str_split(&rest, ':', &role);
    u.hash = arena_cstr(auth.arena, hash);
    u.role = role;
    u.tenants = arena_copy(auth.arena, sl_given(rest) ? rest : default_tenant);
    for (size_t i = 0; i < u.tenants.n; i++)
        if (u.tenants.p[i] == '|') ((char *)(uintptr_t)u.tenants.p)[i] = ' ';
    return u;
}

static void read_users(const struct identity_config *cfg)
{
    sl_str ignored;
    auth.users = arena_alloc(auth.arena, (cfg->n_users + 1) * sizeof *auth.users);
    for (size_t i = 0; i < cfg->n_users; i++) {
        struct user u = read_user(cfg->users[i], cfg->default_tenant);
        if (!role_find(u.role, &ignored))
            log_warn("a user's role is not configured: the user has no rights", LOG_S("user", u.name),
                     LOG_S("role", u.role));
        if (user_find(u.name)) log_warn("a user is configured twice: the first counts", LOG_S("user", u.name));
        auth.users[auth.n_users++] = u;
    }
}

static void read_provider(const struct identity_config *cfg)
{
    char why[300] = "";
    if (!cfg->provider_keys.n) return;
    auth.keys = jwt_keys_load(cfg->provider_keys, why, sizeof why);
    if (!auth.keys) /* it was good when the configuration was checked */
        log_error("the provider's keys cannot be read: its tokens are refused", LOG_C("error", why));
    auth.provider_issuer = arena_copy(auth.arena, cfg->provider_issuer);
    auth.audience = arena_copy(auth.arena, cfg->audience);
    auth.role_claim = arena_copy(auth.arena, cfg->role_claim);
    auth.tenant_claim = arena_copy(auth.arena, cfg->tenant_claim);
    auth.provider_role = arena_copy(auth.arena, cfg->provider_role);
    auth.provider_tenant = arena_copy(auth.arena, cfg->provider_tenant);
    auth.provider_roles = copy_list(cfg->provider_roles, cfg->n_provider_roles);
    auth.n_provider_roles = cfg->n_provider_roles;
    auth.leeway = cfg->leeway_ms / 1000;
}

static void wipe(void)
{
    if (auth.arena) arena_wipe(auth.arena);
    arena_free(auth.arena);
    jwt_keys_free(auth.keys);
    auth = (struct auth){ 0 };
}

void identity_setup(const struct identity_config *cfg)
{
    wipe();
    auth.arena = arena_new(0);
    roles_setup(cfg->roles, cfg->n_roles);
    bearers_clear(); /* whoever is known by rights of older settings is looked up anew */
    for (size_t i = 0; i < cfg->n_admin_tokens; i++)
        bearer_configure(cfg->admin_tokens[i], "admin");
    for (size_t i = 0; i < cfg->n_api_tokens; i++)
        bearer_configure(cfg->api_tokens[i], "service");
    auth.metrics_token = cfg->metrics_token.n > 0;
    if (auth.metrics_token) bearer_configure(cfg->metrics_token, "metrics");
    auth.secret = arena_copy(auth.arena, cfg->jwt_secret);
    auth.issuer = arena_copy(auth.arena, cfg->issuer);
    auth.wallet_role = arena_copy(auth.arena, cfg->wallet_role);
    auth.wallet_tenant = arena_copy(auth.arena, cfg->wallet_tenant);
    auth.wallets = cfg->wallets;
    auth.access_ms = cfg->access_ms;
    auth.refresh_ms = cfg->refresh_ms;
    read_users(cfg);
    read_provider(cfg);
}

void identity_close(void)
{
    bearers_clear();
    roles_close();
    wipe();
}
