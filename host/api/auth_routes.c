/* auth_routes.c - the host's routes for signing in: users with passwords, wallets, refresh, logout, whoami; linked in.
 */
#include "api/api.h"
#include "api/wallet.h"
#include "base/log.h"
#include "http/http.h"
#include "observe/metrics.h"
#include <service_layer/json.h>

#define CREDENTIALS                                                                                                    \
    SL_OBJECT(SL_REQUIRED("username", SL_STRING(1, 128), "The user."),                                                 \
              SL_REQUIRED("password", SL_STRING(1, 1024) SL_SECRET, "The password."))
#define REFRESH                                                                                                        \
    SL_OBJECT(SL_REQUIRED("refresh_token", SL_STRING(1, 128) SL_SECRET, "The refresh token that was given last."))
#define WORDS "\"type\":\"array\",\"items\":{\"type\":\"string\"}"
#define SESSION                                                                                                        \
    SL_OBJECT(SL_REQUIRED("token", "\"type\":\"string\"", "A JWT, for the header Authorization."),                     \
              SL_REQUIRED("token_type", "\"type\":\"string\"", "Bearer."),                                             \
              SL_REQUIRED("expires_at", SL_TIME, "When the JWT ends."),                                                \
              SL_REQUIRED("refresh_token", "\"type\":\"string\"", "Good for one POST /auth/refresh."),                 \
              SL_REQUIRED("refresh_expires_at", SL_TIME, "When the session ends unless it is refreshed before."),      \
              SL_REQUIRED("session", SL_ID, "The session's id."),                                                      \
              SL_REQUIRED("user", "\"type\":\"string\"", "Who signed in: the user's name or the wallet's address."),   \
              SL_REQUIRED("role", "\"type\":\"string\"", "The role."),                                                 \
              SL_REQUIRED("tenants", WORDS, "Whom the caller may act for, the first one by default."))
#define WHOAMI                                                                                                         \
    SL_OBJECT(                                                                                                         \
        SL_REQUIRED("user", "\"type\":\"string\"", "The token's name, the user's, the wallet's address."),             \
        SL_REQUIRED("kind", SL_ENUM("configured", "token", "user", "wallet", "outside"), "How the caller is known."),  \
        SL_REQUIRED("actor", "\"type\":\"string\"", "The caller's name in logs and limits."),                          \
        SL_REQUIRED("role", "\"type\":\"string\"", "The role."),                                                       \
        SL_REQUIRED("tenant", "\"type\":\"string\"", "Whom this request acts for."),                                   \
        SL_REQUIRED("tenants", WORDS, "Whom the caller may act for; `*` = every tenant."),                             \
        SL_REQUIRED("scopes", WORDS, "What the role holds."),                                                          \
        SL_REQUIRED("only", "\"type\":[\"array\",\"null\"],\"items\":{\"type\":\"string\"}",                           \
                    "Of these the token holds only what these cover; null = all."),                                    \
        SL_REQUIRED("token_id", SL_TEXT_OR_NULL, "The token's or the session's id."),                                  \
        SL_REQUIRED("expires_at", SL_TIME, "When the token ends."))

static void add_words(sl_json *j, const char *name, sl_str words)
{
    sl_str word;
    sl_json_open(j, name, '[');
    while (next_word(&words, &word))
        sl_json_text(j, NULL, word);
    sl_json_close(j, ']');
}

static void add_time(sl_json *j, const char *name, int64_t us)
{
    char text[CLOCK_TEXT];
    sl_json_text(j, name, us ? sl_lit(text, clock_format(us, text)) : sl_lit(NULL, 0));
}

sl_err auth_reply(sl_call *c, const struct session *s)
{
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '{');
    sl_json_text(&j, "token", s->access);
    sl_json_text(&j, "token_type", SL("Bearer"));
    add_time(&j, "expires_at", s->expires_at);
    sl_json_text(&j, "refresh_token", s->refresh);
    add_time(&j, "refresh_expires_at", s->refresh_expires_at);
    sl_json_text(&j, "session", s->id);
    sl_json_text(&j, "user", s->subject);
    sl_json_text(&j, "role", s->role);
    add_words(&j, "tenants", s->tenants);
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

sl_err auth_slow_down(sl_call *c, uint32_t seconds)
{
    sl_header(c, SL("Retry-After"), sl_format(c, "%u", seconds));
    return sl_problem(c, 429, "too_many_failures", "Too many attempts failed; wait as long as Retry-After says.");
}

sl_err auth_unavailable(sl_call *c)
{
    return sl_problem(c, 404, "sign_in_disabled", "Nobody can sign in here: that is not configured.");
}

/* RFC 9110 15.5.2: a 401 says which way there is. */
sl_err auth_refuse(sl_call *c, const char *code, const char *detail)
{
    sl_header(c, SL("WWW-Authenticate"), SL("Bearer"));
    return sl_problem(c, 401, code, detail);
}

void auth_note(sl_call *c, const char *way, const struct session *s)
{
    auth_count(way, "succeeded");
    audit_outcome((call *)c, sl_format(c, "%.*s signed in, session %.*s", STR_ARG(s->subject), STR_ARG(s->id)));
    log_info("signed in", LOG_S("user", s->subject), LOG_S("session", s->id), LOG_S("remote", sl_fact(c, "remote")));
}

void auth_count(const char *way, const char *outcome)
{
    static metric *total;
    if (!total) total = metric_get(SL_COUNTER, "auth_sign_ins_total", "way,outcome", "Attempts to sign in.");
    const sl_str labels[] = { sl_cstr(way), sl_cstr(outcome) };
    metric_add(total, 1, labels, 2);
}

/* ---- routes ---- */
static sl_err login(void *self, sl_call *pub)
{
    call *c = (call *)pub;
    struct session s;
    sl_str user = sl_body(pub, "username"), remote = sl_fact(pub, "remote");
    bool good;
    (void)self;
    if (!sessions_possible()) return auth_unavailable(pub);
    uint32_t wait = throttle_take(user, remote);
    if (wait) {
        auth_count("password", "delayed");
        return auth_slow_down(pub, wait);
    }
    sl_err e = password_check(c, user, sl_body(pub, "password"), &good);
    if (e) return e;
    if (good) e = session_open(c, IDENTITY_USER, user, &s);
    if (!good || e == SL_EDENIED) {
        auth_count("password", "refused");
        /* What is no user's name may be a password that was typed into the wrong field. */
        log_warn("sign-in refused", LOG_S("user", user_known(user) ? user : SL("unknown")), LOG_S("remote", remote));
        audit_outcome(c, user_known(user) ? sl_format(pub, "sign-in of %.*s refused", STR_ARG(user))
                                          : SL("sign-in of an unknown user refused"));
        return auth_refuse(pub, "invalid_credentials", "User or password is wrong.");
    }
    if (e) return e;
    throttle_clear(user, remote);
    auth_note(pub, "password", &s);
    return auth_reply(pub, &s);
}

static sl_err refresh(void *self, sl_call *pub)
{
    call *c = (call *)pub;
    struct session s;
    bool stolen;
    (void)self;
    if (!sessions_possible()) return auth_unavailable(pub);
    sl_err e = session_refresh(c, sl_body(pub, "refresh_token"), &s, &stolen);
    if (!e) auth_count("refresh", "succeeded");
    if (!e) return auth_reply(pub, &s);
    if (e != SL_EDENIED) return e;
    auth_count("refresh", stolen ? "stolen" : "refused");
    if (stolen) {
        e = sl_commit(pub); /* the problem below rolls back what is not committed */
        if (e) return e;
        audit_outcome(c, sl_format(pub, "a refresh token came twice: session %.*s is revoked", STR_ARG(s.id)));
        log_warn("a refresh token came twice: its session is revoked", LOG_S("session", s.id),
                 LOG_S("remote", sl_fact(pub, "remote")));
    }
    return auth_refuse(pub, "invalid_refresh_token", "The refresh token is not good; sign in again.");
}

static sl_err logout(void *self, sl_call *pub)
{
    const struct identity *who = http_identity((call *)pub);
    (void)self;
    if (who->kind != IDENTITY_USER && who->kind != IDENTITY_WALLET)
        return sl_problem(pub, 409, "no_session", "This token is not one of a sign-in; there is nothing to end.");
    sl_err e = session_end((call *)pub, who->token_id);
    return e ? e : sl_reply_empty(pub, 204);
}

static sl_err whoami(void *self, sl_call *c)
{
    const struct identity *who = http_identity((call *)c);
    sl_json j = sl_json_start(c);
    (void)self;
    sl_json_open(&j, NULL, '{');
    sl_json_text(&j, "user", who->subject);
    sl_json_text(&j, "kind", sl_cstr(identity_kind_name(who->kind)));
    sl_json_text(&j, "actor", who->actor);
    sl_json_text(&j, "role", who->role);
    sl_json_text(&j, "tenant", who->tenant);
    add_words(&j, "tenants", identity_may(who, SL("admin")) ? SL("*") : who->tenants);
    add_words(&j, "scopes", who->scopes);
    if (sl_given(who->only))
        add_words(&j, "only", who->only);
    else
        sl_json_text(&j, "only", who->only);
    sl_json_text(&j, "token_id", who->token_id);
    add_time(&j, "expires_at", who->expires_at);
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

static const sl_entry entries[] = {
    { SL_ROUTE, "POST /auth/login", login, .in = CREDENTIALS, .out = SESSION, .flags = SL_SENSITIVE,
      .problems = "401 invalid_credentials, 404 sign_in_disabled, 429 too_many_failures",
      .doc = "Sign in with user and password." },
    { SL_ROUTE, "POST /auth/refresh", refresh, .in = REFRESH, .out = SESSION, .flags = SL_SENSITIVE,
      .problems = "401 invalid_refresh_token, 404 sign_in_disabled",
      .doc = "New tokens for a session. A refresh token that comes twice ends the session." },
    { SL_ROUTE, "POST /auth/logout", logout, .scope = "self", .status = 204, .problems = "409 no_session",
      .doc = "End the session: its tokens are good no more." },
    { SL_ROUTE, "GET /auth/whoami", whoami, .scope = "self", .out = WHOAMI, .doc = "Who the caller is and may do." },
    { SL_ROUTE, "POST /auth/wallet/challenge", wallet_challenge, .in = WALLET_ASK, .out = WALLET_CHALLENGE,
      .problems = "404 sign_in_disabled, 422 invalid_wallet",
      .doc = "A message for a Neo N3 wallet to sign, good for five minutes." },
    { SL_ROUTE, "POST /auth/wallet/login", wallet_login, .in = WALLET_PROOF, .out = SESSION, .flags = SL_SENSITIVE,
      .problems = "401 invalid_signature, 404 sign_in_disabled, 429 too_many_failures",
      .doc = "Sign in with the wallet's signature of a challenge." },
};
static const sl_need needs[] = { { "sl.core", 1, 0 }, { "sl.store", 1, 0 } };
SL_LINKED_PLUGIN(auth_plugin, "auth", .doc = "Signing in.", SL_ENTRIES(entries), SL_NEEDS(needs),
                 .grants = "store:sl_*");
