/* auth.c - the caller of a request, the scope that it needs, and the tenant that it chose. */
#include "http/request.h"

/* RFC 6750 2.1: the scheme in any case, then exactly one word. */
static sl_str bearer_text(sl_str authorization)
{
    sl_str s = str_trim(authorization);
    if (s.n < 8 || !str_equal_nocase(str_sub(s, 0, 6), SL("bearer")) || s.p[6] != ' ') return sl_lit(NULL, 0);
    s = str_trim(str_sub(s, 7, s.n));
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ') return sl_lit(NULL, 0);
    return s.n ? s : sl_lit(NULL, 0);
}

static bool unauthorized(struct request *rq, bool token_given)
{
    answer_header(rq, SL("WWW-Authenticate"), token_given ? SL("Bearer error=\"invalid_token\"") : SL("Bearer"));
    return set_problem(rq, 401, "unauthorized",
                       token_given ? sl_cstr(rq->token_fault)
                                   : SL("This needs a token: send the header `Authorization: Bearer <token>`."));
}

static bool insufficient(struct request *rq)
{
    arena *a = rq->x->arena;
    sl_str scope = rq->route->scope;
    answer_header(rq, SL("WWW-Authenticate"),
                  arena_printf(a, "Bearer error=\"insufficient_scope\", scope=\"%.*s\"", STR_ARG(scope)));
    return set_problem(rq, 403, "forbidden",
                       arena_printf(a, "This token does not hold the scope `%.*s`.", STR_ARG(scope)));
}

/* The tenant the request acts for: one of the caller's, by X-Tenant-ID or the first of them. */
static bool choose_tenant(struct request *rq)
{
    sl_str wanted = rq->known.tenant, own = rq->identity.tenants, first;
    if (sl_given(wanted)) {
        const char *must = tenant_check(wanted);
        if (must) return set_problem(rq, 400, "invalid_tenant", arena_printf(rq->x->arena, "X-Tenant-ID %s.", must));
        if (!identity_acts_for(&rq->identity, wanted))
            return set_problem(
                rq, 403, "tenant_forbidden",
                arena_printf(rq->x->arena, "This token may not act for the tenant `%.*s`.", STR_ARG(wanted)));
        rq->identity.tenant = wanted;
        return true;
    }
    bool some = next_word(&own, &first), one = some && !sl_is(first, "*");
    bool scoped = sl_given(rq->route->scope) && !sl_is(rq->route->scope, "metrics");
    if (!some && scoped && !identity_may(&rq->identity, SL("admin")))
        return set_problem(rq, 403, "tenant_forbidden", SL("This token may act for no tenant."));
    if (one) rq->identity.tenant = first;
    if (http_cfg.require_tenant && !(one && !sl_given(own)) && scoped)
        return set_problem(rq, 403, "tenant_required", SL("This needs the header X-Tenant-ID."));
    return true;
}

void identity_reset(struct request *rq)
{
    rq->identity = (struct identity){
        .actor = SL("anonymous"), .subject = SL("anonymous"), .role = SL("anonymous"), .tenant = http_cfg.default_tenant
    };
}

/* Health routes do not care who calls. */
static void identify(struct request *rq)
{
    rq->unidentified = false;
    if (rq->bearer) return; /* the route has changed since, not the caller */
    enum bearer_state state = bearer_find(bearer_text(rq->known.authorization), &rq->bearer, &rq->token_fault);
    rq->unidentified = state == BEARER_ASK && !rq->asked && !rq->route->exempt;
}

sl_err authorize_ask(call *c, struct request *rq)
{
    rq->unidentified = false;
    rq->asked = true;
    return bearer_ask(c, bearer_text(rq->known.authorization), &rq->bearer, &rq->token_fault);
}

bool authorize(struct request *rq)
{
    sl_str scope = rq->route->scope;
    bool open = scope_is_open(scope);
    identify(rq);
    identity_reset(rq);
    if (rq->unidentified) return true;
    if (!rq->bearer) return open || unauthorized(rq, sl_given(rq->known.authorization));
    sl_str tenant = rq->identity.tenant;
    rq->identity = *bearer_identity(rq->bearer);
    rq->identity.tenant = tenant;
    if (!open && !identity_may(&rq->identity, scope)) return insufficient(rq);
    return choose_tenant(rq);
}

const struct identity *http_identity(const call *c)
{
    const struct request *rq = request_of(c);
    return rq ? &rq->identity : NULL;
}
