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
const char *
identity_kind_name(enum identity_kind kind); /* "anonymous" "configured" "token" "user" "wallet" "outside" */
bool identity_may(const struct identity *who, sl_str scope);
/* Whoever holds `admin` may act for every tenant: they could give themselves the right. */
bool identity_acts_for(const struct identity *who, sl_str tenant);

/* ---- scopes.c ---- */
enum { ROLES_MAX = 64, TOKEN_TENANTS = 32 };
bool role_find(sl_str name, sl_str *scopes);     /* of the configuration or built in; false: no such role */
sl_str role_names(arena *a);                     /* for messages: "admin, reader, service, user" */
void roles_setup(const sl_str *roles, size_t n); /* each passed role_check */
void roles_close(void);

/* ---- bearers.c ---- */
struct identity_config {
    const sl_str *api_tokens, *admin_tokens; /* plain; only their hashes are kept, the caller wipes its copies */
    size_t n_api_tokens, n_admin_tokens;
    sl_str metrics_token; /* "" = none */
    const sl_str *roles;
    size_t n_roles;
};
void identity_setup(const struct identity_config *cfg); /* also again, with new settings */
void identity_close(void);
sl_err
identity_start(call *c);     /* [S] after the migrations: what was revoked is read, and from now on every 2 seconds */
void identity_stop(call *c); /* [S] while the store is open: writes down what is not yet */

/* Who a bearer token belongs to. Known ones are held in a table under their SHA-256, so that this costs one hash. */
typedef struct bearer bearer;
enum bearer_state { BEARER_UNKNOWN, BEARER_KNOWN, BEARER_ASK }; /* ASK: the store has to be asked */
enum bearer_state bearer_find(sl_str plain, bearer **out);      /* KNOWN: held, in out */
sl_err bearer_ask(call *c, sl_str plain, bearer **out);         /* [S] held; SL_OK with NULL: not known */
void bearer_drop(bearer *b);                                    /* accepts NULL */
const struct identity *bearer_identity(const bearer *b);

/* ---- tokens.c: tokens made at run time ---- */
/* 256 random bits: no password that could be guessed, so its SHA-256 is as good as bcrypt would be, and costs nothing
 * on each request. `hash` as text, for the store. */
sl_str token_make(arena *a, sl_str *hash);

/* ---- revocations.c ---- */
/* Joins the call's transaction. What `id` names (a token's id, a session's, a `jti`) counts no more: here at once after
 * the commit, in other replicas within 2 seconds. `until`: when it will have ended anyway, in microseconds. SL_EBUSY:
 * more than 60,000 revocations are in force. */
sl_err revocation_add(call *c, sl_str id, int64_t until);
#endif
