/* bearers.c - the tokens that are known now, under their hashes: those of the configuration stay, others come and go.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* see token_hash */
#include "identity/private.h"
#include <openssl/sha.h>
#include <stdlib.h>

enum { SLOTS = 1 << 12 };
static bearer *slots[SLOTS];
static size_t n_passing, hand; /* bearers that are not of the configuration; where the search for an old one goes on */

/* This runs for every request. OpenSSL's newer interface allocates and wipes a state for each hash, which takes as long
 * as the hash itself; both use the processor's SHA instructions. SHA256_Final wipes what it has held of the token. */
void token_hash(sl_str plain, unsigned char out[HASH])
{
    SHA256_CTX state;
    if (!SHA256_Init(&state) || !SHA256_Update(&state, plain.p, plain.n) || !SHA256_Final(out, &state)) abort();
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
    if (s.n) memcpy(to, s.p, s.n);
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
    *b = (bearer){ .refs = 1, .touched = true, .who = *who };
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

static bool passing(const bearer *b) { return b->who.kind != IDENTITY_CONFIGURED; }

static void unlink_at(bearer **at)
{
    bearer *b = *at;
    *at = b->next;
    if (passing(b)) n_passing--;
    bearer_drop(b);
}

void bearers_clear(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        while (slots[i])
            unlink_at(&slots[i]);
}

/* One that was not used since the hand came by last, as a clock of pages does it. A use that is not stored yet is worth
 * less than an unbounded table. */
static void evict_one(void)
{
    for (size_t step = 0; step < 2 * SLOTS + 1; step++) {
        hand = (hand + 1) % SLOTS;
        for (bearer **at = &slots[hand]; *at; at = &(*at)->next) {
            if (passing(*at) && !(*at)->touched) {
                unlink_at(at);
                return;
            }
            (*at)->touched = false;
        }
    }
}

static bearer **find(const unsigned char hash[HASH])
{
    bearer **at = slot_of(hash);
    while (*at && !equal((*at)->hash, hash))
        at = &(*at)->next;
    return at;
}

bearer *bearer_put(const unsigned char hash[HASH], const struct identity *who)
{
    if (n_passing >= BEARERS_MAX) evict_one();
    bearer **at = find(hash);
    if (*at) unlink_at(at);
    bearer *b = bearer_new(hash, who), **slot = slot_of(hash);
    b->next = *slot;
    *slot = b;
    if (passing(b)) n_passing++;
    b->refs++;
    return b;
}

void bearers_forget(sl_str token_id)
{
    for (size_t i = 0; i < SLOTS && n_passing; i++)
        for (bearer **at = &slots[i]; *at;)
            if (sl_given((*at)->who.token_id) && sl_same((*at)->who.token_id, token_id))
                unlink_at(at);
            else
                at = &(*at)->next;
}

void bearers_forget_passing(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        for (bearer **at = &slots[i]; *at;)
            if (passing(*at))
                unlink_at(at);
            else
                at = &(*at)->next;
}

void bearers_each(void (*visit)(bearer *b, void *arg), void *arg)
{
    for (size_t i = 0; i < SLOTS; i++)
        for (bearer *b = slots[i]; b; b = b->next)
            visit(b, arg);
}

/* The first one of several that are alike counts. */
void bearer_configure(sl_str plain, const char *role)
{
    unsigned char hash[HASH];
    char actor[24], hex[9]; /* tells tokens apart in logs without telling them */
    token_hash(plain, hash);
    hex_encode(hash, 4, hex);
    snprintf(actor, sizeof actor, "token:%s", hex);
    struct identity who = { .kind = IDENTITY_CONFIGURED,
                            .actor = sl_cstr(actor),
                            .subject = sl_cstr(actor),
                            .role = sl_cstr(role),
                            .tenants = SL("*") };
    if (!role_find(who.role, &who.scopes)) who.scopes = SL("");
    if (!*find(hash)) bearer_drop(bearer_put(hash, &who));
}

static bool expired(const bearer *b, int64_t now) { return b->who.expires_at && now >= b->who.expires_at; }

/* Not in the table: the store knows our tokens, a signature speaks for itself. */
static enum bearer_state unheard(sl_str plain, const unsigned char hash[HASH], bearer **out, const char **why)
{
    if (token_looks_ours(plain)) return BEARER_ASK;
    if (!jwt_looks_like_one(plain)) return BEARER_UNKNOWN;
    if (!revocations_fresh()) return BEARER_ASK;
    *out = jwt_bearer(plain, hash, why);
    return *out ? BEARER_KNOWN : BEARER_UNKNOWN;
}

/* Which slot is looked at depends on the hash alone: from the time a guess takes nothing can be learned about a token
 * that is near it. */
enum bearer_state bearer_find(sl_str plain, bearer **out, const char **why)
{
    unsigned char hash[HASH];
    *out = NULL;
    *why = "The token is not known here.";
    if (!sl_given(plain)) return BEARER_UNKNOWN;
    token_hash(plain, hash);
    bearer **at = find(hash), *b = *at;
    if (!b) return unheard(plain, hash, out, why);
    if (passing(b)) {
        int64_t now = clock_now();
        if (expired(b, now)) {
            *why = "The token has expired.";
            unlink_at(at);
            return BEARER_UNKNOWN;
        }
        if (!revocations_fresh()) return BEARER_ASK;
        b->touched = true;
        b->used = b->who.kind == IDENTITY_TOKEN;
        b->used_at = now;
    }
    b->refs++;
    *out = b;
    return BEARER_KNOWN;
}

sl_err bearer_ask(call *c, sl_str plain, bearer **out, const char **why)
{
    unsigned char hash[HASH];
    sl_err e = revocations_fresh() ? SL_OK : revocations_read(c);
    *out = NULL;
    if (e) return e;
    token_hash(plain, hash);
    if (token_looks_ours(plain)) return token_ask(c, hash, out);
    if (jwt_looks_like_one(plain)) *out = jwt_bearer(plain, hash, why);
    return SL_OK;
}
