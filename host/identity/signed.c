/* signed.c - tokens that speak for themselves: JWTs of our own sessions, and those of an outside provider. */
#include "identity/private.h"

enum { SUBJECT_MAX = 128 };

bool jwt_looks_like_one(sl_str plain) { return plain.n > 20 && plain.n <= JWT_MAX && str_starts(plain, "eyJ"); }

static bool subject_ok(sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f) return false;
    return s.n > 0 && s.n <= SUBJECT_MAX && str_is_utf8(s);
}

/* ---- ours ---- */
/* What the token says of rights is not believed: they are what the configuration says of its subject now. */
static const char *read_own(arena *a, const json_t *claims, struct identity *who)
{
    sl_str kind = json_str(json_object_get(claims, "kind"));
    if (!sl_same(json_str(json_object_get(claims, "iss")), auth.issuer)) return "The token's issuer is another one.";
    who->subject = json_str(json_object_get(claims, "sub"));
    who->token_id = json_str(json_object_get(claims, "sid"));
    if (!subject_ok(who->subject) || !sl_given(who->token_id)) return "The token is not one of a session.";
    if (sl_is(kind, "user")) {
        const struct user *u = user_find(who->subject);
        if (!u) return "The user is not known any more.";
        who->kind = IDENTITY_USER;
        who->actor = arena_printf(a, "user:%.*s", STR_ARG(who->subject));
        who->role = u->role;
        who->tenants = u->tenants;
    } else if (sl_is(kind, "wallet") && auth.wallets) {
        who->kind = IDENTITY_WALLET;
        who->actor = arena_printf(a, "wallet:%.*s", STR_ARG(who->subject));
        who->role = auth.wallet_role;
        who->tenants = auth.wallet_tenant.n ? auth.wallet_tenant : who->subject;
    } else {
        return "The token is not one of a session.";
    }
    return NULL;
}

/* ---- a provider's ---- */
static bool map_role(sl_str claim, sl_str *role)
{
    sl_str ignored;
    for (size_t i = 0; i < auth.n_provider_roles; i++) {
        sl_str rest = auth.provider_roles[i], from, to;
        if (!next_word(&rest, &from) || !next_word(&rest, &to) || !sl_same(from, claim)) continue;
        *role = to;
        return true;
    }
    /* Administration is never had by a name alone that somebody else gave. */
    if (auth.n_provider_roles || sl_is(claim, "admin") || sl_is(claim, "metrics") || !role_find(claim, &ignored))
        return false;
    *role = claim;
    return true;
}

/* A claim is one text, or a list of which the first that means something counts. */
static void read_role(const json_t *claim, struct identity *who)
{
    who->role = auth.provider_role;
    if (json_is_string(claim)) map_role(json_str(claim), &who->role);
    for (size_t i = 0; i < json_array_size(claim); i++)
        if (json_is_string(json_array_get(claim, i)) && map_role(json_str(json_array_get(claim, i)), &who->role))
            return;
}

static void add_tenant(arena *a, const json_t *v, sl_str *list)
{
    sl_str name = json_str(v);
    if (!sl_given(name) || tenant_check(name)) return;
    *list = arena_printf(a, "%.*s%s%.*s", STR_ARG(*list), list->n ? " " : "", STR_ARG(name));
}

static const char *read_outside(arena *a, const json_t *claims, struct identity *who)
{
    if (auth.provider_issuer.n && !sl_same(json_str(json_object_get(claims, "iss")), auth.provider_issuer))
        return "The token's issuer is another one.";
    if (auth.audience.n && !jwt_for_audience(claims, auth.audience)) return "The token is for another audience.";
    who->kind = IDENTITY_OUTSIDE;
    who->subject = json_str(json_object_get(claims, "sub"));
    if (!subject_ok(who->subject)) return "The token's subject (`sub`) must be 1 to 128 characters without blanks.";
    who->actor = arena_printf(a, "outside:%.*s", STR_ARG(who->subject));
    who->token_id = json_str(json_object_get(claims, "jti"));
    if (who->token_id.n > JWT_ID_MAX) return "The token's id (`jti`) is too long.";
    read_role(auth.role_claim.n ? jwt_claim(claims, auth.role_claim) : NULL, who);
    who->tenants = SL("");
    const json_t *tenants = auth.tenant_claim.n ? jwt_claim(claims, auth.tenant_claim) : NULL;
    if (json_is_string(tenants)) add_tenant(a, tenants, &who->tenants);
    for (size_t i = 0; i < json_array_size(tenants) && i < TOKEN_TENANTS; i++)
        add_tenant(a, json_array_get(tenants, i), &who->tenants);
    if (!who->tenants.n) who->tenants = auth.provider_tenant;
    return NULL;
}

/* ---- both ---- */
static const char *read_claims(arena *a, const json_t *claims, bool own, struct identity *who)
{
    const char *why = jwt_check_times(claims, clock_now(), own ? 0 : auth.leeway, &who->expires_at);
    if (!why) why = own ? read_own(a, claims, who) : read_outside(a, claims, who);
    if (why) return why;
    if (!own) who->expires_at += auth.leeway * 1000000;
    if (revoked(who->token_id)) return "The token has been revoked.";
    if (!role_find(who->role, &who->scopes)) who->scopes = SL("");
    return NULL;
}

bearer *jwt_bearer(sl_str plain, const unsigned char hash[HASH], const char **why)
{
    struct identity who = { 0 };
    bearer *b = NULL;
    bool own;
    arena *a = arena_new(0);
    json_t *claims = jwt_verify(a, auth.secret, auth.keys, plain, &own, why);
    if (claims) *why = read_claims(a, claims, own, &who);
    if (claims && !*why) b = bearer_put(hash, &who);
    json_decref(claims);
    arena_free(a);
    return b;
}
