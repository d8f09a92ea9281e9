/* auth.c - who is there and what they may do: static tokens kept as hashes, scopes, and the tenant they chose. */
#include "http/request.h"
#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct token {
    unsigned char hash[32];
    bool admin, metrics;
    char actor[24];
};
static struct token *tokens;
static size_t n_tokens;
static bool metrics_closed;
static EVP_MD_CTX *hasher; /* kept: this runs for every request, and OpenSSL uses the processor's SHA instructions */

static void hash(sl_str plain, unsigned char out[32])
{
    bool good = EVP_DigestInit_ex2(hasher, NULL, NULL) && EVP_DigestUpdate(hasher, plain.p, plain.n) &&
                EVP_DigestFinal_ex(hasher, out, NULL);
    if (!good) abort();
}

/* In time that does not depend on what differs. */
static bool equal(const unsigned char a[32], const unsigned char b[32])
{
    uint64_t x[4], y[4];
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0;
}

static void token_add(sl_str plain, bool admin, bool metrics)
{
    struct token *t = &tokens[n_tokens++];
    hash(plain, t->hash);
    t->admin = admin;
    t->metrics = metrics;
    char hex[9];
    hex_encode(t->hash, 4, hex);
    snprintf(t->actor, sizeof t->actor, "token:%s", hex); /* tells tokens apart in logs without telling them */
}

void auth_close(void)
{
    EVP_MD_CTX_free(hasher);
    hasher = NULL;
    free(tokens);
    tokens = NULL;
    n_tokens = 0;
}

void auth_setup(const struct http_config *cfg)
{
    auth_close();
    tokens = calloc(cfg->n_api_tokens + cfg->n_admin_tokens + 1, sizeof *tokens);
    hasher = EVP_MD_CTX_new();
    if (!tokens || !hasher || !EVP_DigestInit_ex2(hasher, EVP_sha256(), NULL)) abort();
    for (size_t i = 0; i < cfg->n_admin_tokens; i++)
        token_add(cfg->admin_tokens[i], true, false);
    for (size_t i = 0; i < cfg->n_api_tokens; i++)
        token_add(cfg->api_tokens[i], false, false);
    metrics_closed = cfg->metrics_token.n > 0;
    if (metrics_closed) token_add(cfg->metrics_token, false, true);
}

/* RFC 6750 2.1: the scheme in any case, then exactly one word. */
static sl_str bearer(sl_str authorization)
{
    sl_str s = str_trim(authorization);
    if (s.n < 8 || !str_equal_nocase(str_sub(s, 0, 6), SL("bearer")) || s.p[6] != ' ') return sl_lit(NULL, 0);
    s = str_trim(str_sub(s, 7, s.n));
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ') return sl_lit(NULL, 0);
    return s.n ? s : sl_lit(NULL, 0);
}

/* Every token is looked at, and hashes are compared: time tells nothing about how near a guess is. The first match
 * counts. */
static const struct token *token_find(sl_str plain)
{
    unsigned char wanted[32];
    const struct token *found = NULL;
    if (!sl_given(plain)) return NULL;
    hash(plain, wanted);
    for (size_t i = 0; i < n_tokens; i++)
        if (equal(tokens[i].hash, wanted) && !found) found = &tokens[i];
    return found;
}

static bool holds(const struct token *t, sl_str scope)
{
    if (t->admin) return true;
    if (t->metrics) return sl_is(scope, "metrics");
    return !sl_is(scope, "admin") && !str_starts(scope, "admin:");
}

static bool tenant_ok(sl_str s)
{
    if (s.n == 0 || s.n > TENANT_MAX) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !memchr("._-", s.p[i], 3)) return false;
    return true;
}

static bool unauthorized(struct request *rq, bool token_given)
{
    answer_header(rq, SL("WWW-Authenticate"), token_given ? SL("Bearer error=\"invalid_token\"") : SL("Bearer"));
    return set_problem(rq, 401, "unauthorized",
                       token_given ? SL("The token is not known here.")
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

bool authorize(struct request *rq)
{
    sl_str scope = rq->route->scope, plain = bearer(rq->known.authorization);
    const struct token *t = token_find(plain);
    bool open = !sl_given(scope) || (sl_is(scope, "metrics") && !metrics_closed);
    rq->identity =
        (struct identity){ .actor = SL("anonymous"), .role = SL("anonymous"), .tenant = http_cfg.default_tenant };
    if (t) {
        rq->identity.actor = sl_cstr(t->actor);
        rq->identity.role = t->admin ? SL("admin") : t->metrics ? SL("metrics") : SL("service");
        rq->identity.all_tenants = !t->metrics;
    }
    if (!open && !t) return unauthorized(rq, sl_given(rq->known.authorization));
    if (!open && !holds(t, scope)) return insufficient(rq);
    if (t && sl_given(rq->known.tenant)) {
        if (!tenant_ok(rq->known.tenant))
            return set_problem(rq, 400, "invalid_tenant",
                               SL("X-Tenant-ID must be 1 to 64 letters, digits, dots, underscores or dashes."));
        rq->identity.tenant = rq->known.tenant;
    } else if (!open && http_cfg.require_tenant && !sl_is(scope, "metrics")) {
        return set_problem(rq, 403, "tenant_required", SL("This needs the header X-Tenant-ID."));
    }
    return true;
}

const struct identity *http_identity(const call *c)
{
    const struct request *rq = request_of(c);
    return rq ? &rq->identity : NULL;
}
