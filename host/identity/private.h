/* private.h - private to host/identity: the table of known bearer tokens and what fills it. */
#ifndef IDENTITY_PRIVATE_H
#define IDENTITY_PRIVATE_H
#include "identity/identity.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/jwt.h"
#include "base/log.h"
#include "store/store.h"

enum { HASH = 32, HASH_TEXT = 65, BEARERS_MAX = 8192 };
struct bearer {
    struct bearer *next; /* in its slot */
    unsigned char hash[HASH];
    unsigned refs;   /* the table's counts too */
    bool touched;    /* since the clock hand of the table passed */
    bool used;       /* a token made at run time: `used_at` is not in the store yet */
    int64_t used_at; /* microseconds since 1970 */
    struct identity who;
    char text[]; /* what `who` points to */
};

/* ---- bearers.c ---- */
void bearers_clear(void);
void bearer_configure(sl_str plain, const char *role);
void token_hash(sl_str plain, unsigned char out[HASH]);
bearer *bearer_put(const unsigned char hash[HASH], const struct identity *who); /* held; who's text is copied */
void bearers_forget(sl_str token_id); /* whoever came with it has to be looked up anew */
void bearers_forget_passing(void);    /* all but those of the configuration */
void bearers_each(void (*visit)(bearer *b, void *arg), void *arg);

/* ---- tokens.c ---- */
/* What is handed out once and kept as its hash: `prefix` and 256 random bits. They are no password that could be
 * guessed, so a SHA-256, here as text for the store, is as good as bcrypt would be. */
enum { SECRET_TEXT = 43 }; /* behind the prefix */
sl_str secret_make(arena *a, const char *prefix, sl_str *hash);
sl_str secret_hash(arena *a, sl_str plain);
bool token_looks_ours(sl_str plain);                                     /* the form of a token made at run time */
sl_err token_ask(call *c, const unsigned char hash[HASH], bearer **out); /* [S] held; *out NULL: not known */
void tokens_flush(call *c);                                              /* [S] writes down when they were used last */

/* ---- setup.c: the settings, copied ---- */
struct user {
    sl_str name, role, tenants; /* tenants: words */
    char *hash;                 /* bcrypt, in the form of crypt(5) */
};
struct auth {
    arena *arena;
    struct user *users;
    size_t n_users;
    sl_str secret, issuer, wallet_role, wallet_tenant;
    int64_t access_ms, refresh_ms;
    bool wallets, metrics_token;
    jwt_keys *keys; /* of an outside provider; NULL = none */
    sl_str provider_issuer, audience, role_claim, tenant_claim, provider_role, provider_tenant;
    const sl_str *provider_roles; /* "CLAIM ROLE" */
    size_t n_provider_roles;
    int64_t leeway; /* seconds */
};
extern struct auth auth;

/* ---- signed.c ---- */
bool jwt_looks_like_one(sl_str plain);
bearer *jwt_bearer(sl_str plain, const unsigned char hash[HASH], const char **why); /* held; NULL: why */

/* ---- users.c ---- */
const struct user *user_find(sl_str name);

/* ---- revocations.c ---- */
bool revoked(sl_str id);
bool revocations_fresh(void); /* what other replicas revoked was heard lately: tokens in the table may be believed */
sl_err revocations_read(call *c); /* [S] hears it now */
#endif
