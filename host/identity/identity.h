/* identity.h - who calls and what they may do: bearer tokens, roles as sets of scopes, tenants as rights. */
#ifndef IDENTITY_IDENTITY_H
#define IDENTITY_IDENTITY_H
#include "base/scope.h"
#include "loop/call.h"

enum identity_kind {
    IDENTITY_ANONYMOUS,
    IDENTITY_CONFIGURED, /* a token of the configuration */
    IDENTITY_TOKEN,      /* a token made at run time */
    IDENTITY_USER,       /* signed in with a password */
    IDENTITY_WALLET,     /* signed in with a wallet's signature */
    IDENTITY_OUTSIDE     /* a JWT of an outside identity provider */
};
/* One caller. All text lives as long as the request that it belongs to. Lists are words with one blank between. */
struct identity {
    enum identity_kind kind;
    sl_str actor;       /* unlike every other caller's, for logs, limits, audit: "token:1f2e3d4c", "user:alice",
                           "wallet:N...", "outside:SUBJECT", "anonymous" */
    sl_str subject;     /* the token's name, the user's, the wallet's address, the provider's `sub` */
    sl_str role;        /* "anonymous" when there is none */
    sl_str tenant;      /* whom this request acts for */
    sl_str token_id;    /* of a token made at run time, of a session, the `jti` of a provider's token; else absent */
    sl_str scopes;      /* of the role: patterns, see scope_covers */
    sl_str only;        /* the token holds of them what these cover too; absent = all */
    sl_str tenants;     /* it may act for, the first one by default; "*" = every one */
    int64_t expires_at; /* microseconds since 1970; 0 = never */
};

/* ---- scopes.c ---- */
/* "anonymous" "configured" "token" "user" "wallet" "outside" */
const char *identity_kind_name(enum identity_kind kind);
bool identity_may(const struct identity *who, sl_str scope);
/* Nobody is asked for a token: no scope, or `metrics` while no token of its own is set. */
bool scope_is_open(sl_str scope);
/* Whoever holds `admin` may act for every tenant: they could give themselves the right. */
bool identity_acts_for(const struct identity *who, sl_str tenant);

enum { ROLES_MAX = 64, TOKEN_TENANTS = 32 };
bool role_find(sl_str name, sl_str *scopes);     /* of the configuration or built in; false: no such role */
sl_str role_names(arena *a);                     /* for messages: "admin, reader, service, user" */
void roles_setup(const sl_str *roles, size_t n); /* each passed role_check */
void roles_close(void);

/* ---- setup.c; start and stop: revocations.c ---- */
struct identity_config {
    const sl_str *api_tokens, *admin_tokens; /* plain; only their hashes are kept, the caller wipes its copies */
    size_t n_api_tokens, n_admin_tokens;
    sl_str metrics_token; /* "" = none */
    const sl_str *roles;
    size_t n_roles;
    const sl_str *users; /* each passed user_check; copied */
    size_t n_users;
    sl_str default_tenant;
    sl_str jwt_secret, issuer;         /* of the tokens of those who sign in; copied */
    int64_t access_ms, refresh_ms;     /* how long they are good */
    bool wallets;                      /* may sign in */
    sl_str wallet_role, wallet_tenant; /* tenant "": each wallet is a tenant of its own, named by its address */
    sl_str provider_keys;              /* file, which jwt_keys_read has taken; "" = there is no outside provider */
    sl_str provider_issuer, audience, role_claim, tenant_claim, provider_role, provider_tenant;
    const sl_str *provider_roles; /* "CLAIM ROLE" */
    size_t n_provider_roles;
    int64_t leeway_ms;
};
void identity_setup(const struct identity_config *cfg); /* also again, with new settings */
void identity_close(void);
/* [S] after the migrations: what was revoked is read, and from now on every 2 seconds */
sl_err identity_start(call *c);
void identity_stop(call *c); /* [S] while the store is open: writes down what is not yet */

/* ---- bearers.c ---- */
/* Who a bearer token belongs to. Known ones are held in a table under their SHA-256, so that this costs one hash. */
typedef struct bearer bearer;
enum bearer_state { BEARER_UNKNOWN, BEARER_KNOWN, BEARER_ASK };              /* ASK: the store has to be asked */
enum bearer_state bearer_find(sl_str plain, bearer **out, const char **why); /* KNOWN: held, in out; UNKNOWN: why */
sl_err bearer_ask(call *c, sl_str plain, bearer **out,
                  const char **why); /* [S] after ASK. Held; SL_OK with NULL: why, or what bearer_find said */
void bearer_drop(bearer *b);         /* accepts NULL */
const struct identity *bearer_identity(const bearer *b);

/* ---- tokens.c: tokens made at run time ---- */
/* The token, which is shown only now; `hash` is what the store keeps, as text. */
sl_str token_make(arena *a, sl_str *hash);

/* ---- users.c: passwords ---- */
/* [S] Is it this user's password? bcrypt runs on the thread pool, two at a time; for a name that nobody has it takes as
 * long. SL_EBUSY: 64 are in line. */
sl_err password_check(call *c, sl_str user, sl_str password, bool *good);
bool user_known(sl_str user);                                     /* for what is told to administrators only */
bool password_hash(const char *password, char *out, size_t room); /* for the command line; cost 12 */

/* ---- throttle.c: wrong passwords and signatures ---- */
/* Counts one attempt of `who` from `address` before it is judged, so that many at once do not slip through. 0, or the
 * seconds to wait: nothing was counted then. */
uint32_t throttle_take(sl_str who, sl_str address);
void throttle_clear(sl_str who, sl_str address); /* it was right */

/* ---- sessions.c: those who signed in ---- */
struct session {
    sl_str id, access, refresh, subject, role, tenants; /* in the call's arena */
    int64_t expires_at, refresh_expires_at;
};
bool sessions_possible(void); /* a secret is configured */
/* [S] Both join the call's transaction. kind: IDENTITY_USER or IDENTITY_WALLET. SL_EDENIED: there is no such user. */
sl_err session_open(call *c, enum identity_kind kind, sl_str subject, struct session *out);
/* The refresh token is used up and a new one made. SL_EDENIED: it is not good (any more); *stolen: it had been used
 * before, the whole session is revoked and that must be committed. */
sl_err session_refresh(call *c, sl_str refresh, struct session *out, bool *stolen);
sl_err session_end(call *c, sl_str id); /* [S] */
bool wallets_may_sign_in(void);

/* ---- challenge.c ---- */
void challenge_make(arena *a, sl_str wallet, int64_t until, sl_str *nonce, sl_str *message);
/* The same message again; false: the nonce was not made here for this wallet. Whether it is over is the caller's to
 * see.
 */
bool challenge_read(arena *a, sl_str wallet, sl_str nonce, int64_t *until, sl_str *message);

/* ---- revocations.c ---- */
/* Joins the call's transaction. What `id` names (a token's id, a session's, a `jti`) counts no more: here at once after
 * the commit, in other replicas within 2 seconds. `until`: when it will have ended anyway, in microseconds. SL_EBUSY:
 * more than 60,000 revocations are in force. */
sl_err revocation_add(call *c, sl_str id, int64_t until);
#endif
