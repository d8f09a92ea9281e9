/* bearers.c - the tokens that are known now, under their hashes: those of the configuration stay, others come and go.
 */
#include "identity/identity.h"
#include "base/id.h"
#include <openssl/evp.h>
#include <stdlib.h>

enum { SLOTS = 1 << 11, HASH = 32 };
struct bearer {
    struct bearer *next; /* in its slot */
    unsigned char hash[HASH];
    unsigned refs; /* the table's counts too */
    struct identity who;
    char text[]; /* what `who` points to */
};
static bearer *slots[SLOTS];
static EVP_MD_CTX *hasher; /* kept: this runs for every request, and OpenSSL uses the processor's SHA instructions */

static void hash_of(sl_str plain, unsigned char out[HASH])
{
    bool good = EVP_DigestInit_ex2(hasher, NULL, NULL) && EVP_DigestUpdate(hasher, plain.p, plain.n) &&
                EVP_DigestFinal_ex(hasher, out, NULL);
    if (!good) abort();
}

/* In time that does not depend on what differs. */
static bool equal(const unsigned char a[HASH], const unsigned char b[HASH])
{
    uint64_t x[4], y[4];
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0;
}

static bearer **slot_of(const unsigned char hash[HASH])
{
    uint64_t h;
    memcpy(&h, hash, sizeof h);
    return &slots[h % SLOTS];
}

static sl_str put(char **at, sl_str s)
{
    if (!sl_given(s)) return s;
    char *to = *at;
    memcpy(to, s.p, s.n);
    *at += s.n;
    return sl_lit(to, s.n);
}

static bearer *bearer_new(const unsigned char hash[HASH], const struct identity *who)
{
    size_t n = who->actor.n + who->subject.n + who->role.n + who->tenant.n + who->token_id.n + who->scopes.n +
               who->only.n + who->tenants.n;
    bearer *b = malloc(sizeof *b + n + 1);
    if (!b) abort();
    char *at = b->text;
    *b = (bearer){ .refs = 1, .who = *who };
    memcpy(b->hash, hash, HASH);
    b->who.actor = put(&at, who->actor);
    b->who.subject = put(&at, who->subject);
    b->who.role = put(&at, who->role);
    b->who.tenant = put(&at, who->tenant);
    b->who.token_id = put(&at, who->token_id);
    b->who.scopes = put(&at, who->scopes);
    b->who.only = put(&at, who->only);
    b->who.tenants = put(&at, who->tenants);
    return b;
}

void bearer_drop(bearer *b)
{
    if (b && --b->refs == 0) free(b);
}

const struct identity *bearer_identity(const bearer *b) { return &b->who; }

static void empty_table(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        for (bearer *b; (b = slots[i]);) {
            slots[i] = b->next;
            bearer_drop(b);
        }
}

/* A token of the configuration. The first one of several that are alike counts. */
static void add_configured(sl_str plain, const char *role)
{
    unsigned char hash[HASH];
    char hex[9];
    hash_of(plain, hash);
    hex_encode(hash, 4, hex);
    char actor[24]; /* tells tokens apart in logs without telling them */
    snprintf(actor, sizeof actor, "token:%s", hex);
    struct identity who = { .kind = IDENTITY_CONFIGURED,
                            .actor = sl_cstr(actor),
                            .subject = sl_cstr(actor),
                            .role = sl_cstr(role),
                            .tenants = SL("*") };
    if (!role_find(who.role, &who.scopes)) who.scopes = SL("");
    bearer **slot = slot_of(hash);
    for (bearer *b = *slot; b; b = b->next)
        if (equal(b->hash, hash)) return;
    bearer *b = bearer_new(hash, &who);
    b->next = *slot;
    *slot = b;
}

void identity_setup(const struct identity_config *cfg)
{
    empty_table();
    roles_setup(cfg->roles, cfg->n_roles);
    if (!hasher) hasher = EVP_MD_CTX_new();
    if (!hasher || !EVP_DigestInit_ex2(hasher, EVP_sha256(), NULL)) abort();
    for (size_t i = 0; i < cfg->n_admin_tokens; i++)
        add_configured(cfg->admin_tokens[i], "admin");
    for (size_t i = 0; i < cfg->n_api_tokens; i++)
        add_configured(cfg->api_tokens[i], "service");
    if (cfg->metrics_token.n) add_configured(cfg->metrics_token, "metrics");
}

void identity_close(void)
{
    empty_table();
    roles_close();
    EVP_MD_CTX_free(hasher);
    hasher = NULL;
}

/* Which slot is looked at depends on the hash alone: from the time a guess takes nothing can be learned about a token
 * that is near it. */
bearer *bearer_find(sl_str plain)
{
    unsigned char wanted[HASH];
    if (!sl_given(plain)) return NULL;
    hash_of(plain, wanted);
    bearer *b = *slot_of(wanted);
    while (b && !equal(b->hash, wanted))
        b = b->next;
    if (b) b->refs++;
    return b;
}
