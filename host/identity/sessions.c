/* sessions.c - those who signed in: a short-lived JWT, and a refresh token that is good for one use. */
#include "identity/private.h"

#define PREFIX      "slr_"
#define REMEMBER_US (30LL * 24 * 3600 * 1000000) /* a refresh token that was used */

bool sessions_possible(void) { return auth.secret.n > 0; }
bool wallets_may_sign_in(void) { return auth.wallets && auth.secret.n > 0; }

static const char *kind_text(enum identity_kind kind) { return kind == IDENTITY_USER ? "user" : "wallet"; }

static sl_str access_token(call *c, enum identity_kind kind, const struct session *s, int64_t now)
{
    char id[ID_TEXT];
    id_new(id);
    json_t *claims = json_object();
    json_object_set_new(claims, "iss", json_stringn(auth.issuer.p, auth.issuer.n));
    json_object_set_new(claims, "sub", json_stringn(s->subject.p, s->subject.n));
    json_object_set_new(claims, "kind", json_string(kind_text(kind)));
    json_object_set_new(claims, "role", json_stringn(s->role.p, s->role.n));
    json_object_set_new(claims, "sid", json_stringn(s->id.p, s->id.n));
    json_object_set_new(claims, "jti", json_string(id));
    json_object_set_new(claims, "iat", json_integer(now / 1000000));
    json_object_set_new(claims, "exp", json_integer(s->expires_at / 1000000));
    sl_str token = jwt_sign(c->arena, auth.secret, claims);
    json_decref(claims);
    return token;
}

/* What the subject is now: it may have been taken out of the configuration since. */
static bool describe(arena *a, enum identity_kind kind, struct session *s)
{
    const struct user *u = kind == IDENTITY_USER ? user_find(s->subject) : NULL;
    if (kind == IDENTITY_USER ? !u : !auth.wallets) return false;
    s->role = arena_copy(a, u ? u->role : auth.wallet_role); /* copied: the settings may change while a call waits */
    s->tenants = arena_copy(a, u ? u->tenants : auth.wallet_tenant.n ? auth.wallet_tenant : s->subject);
    return true;
}

/* New tokens of a session whose row is there. */
static sl_err hand_out(call *c, enum identity_kind kind, struct session *s, int64_t now)
{
    const sl_rows *rows;
    sl_str hash;
    c->sensitive = true;
    s->refresh = secret_make(c->arena, PREFIX, &hash);
    s->expires_at = (now / 1000000 + auth.access_ms / 1000) * 1000000; /* a JWT counts in seconds */
    s->access = access_token(c, kind, s, now);
    const sl_value args[] = { sl_text(hash), sl_text(s->id) };
    return store_query(c, &rows, SL("insert into sl_refresh (hash, session) values ($1, $2)"), args, 2);
}

sl_err session_open(call *c, enum identity_kind kind, sl_str subject, struct session *out)
{
    const sl_rows *rows;
    char id[ID_TEXT];
    int64_t now = clock_now();
    id_new(id);
    *out = (struct session){ .id = arena_copy(c->arena, sl_cstr(id)),
                             .subject = arena_copy(c->arena, subject),
                             .refresh_expires_at = now + auth.refresh_ms * 1000 };
    if (!describe(c->arena, kind, out)) return SL_EDENIED;
    const sl_value args[] = { sl_text(out->id), sl_ctext(kind_text(kind)), sl_text(subject), sl_int(now),
                              sl_int(out->refresh_expires_at) };
    sl_err e = store_query(c, &rows,
                           SL("insert into sl_sessions (id, kind, subject, created_at, refreshed_at, expires_at)"
                              " values ($1, $2, $3, $4, $4, $5)"),
                           args, 5);
    return e ? e : hand_out(c, kind, out, now);
}

/* The access tokens of the session end within one life of an access token in any case. */
sl_err session_end(call *c, sl_str id)
{
    const sl_rows *rows;
    const sl_value args[] = { sl_text(id) };
    sl_err e = store_query(
        c, &rows, SL("update sl_sessions set revoked_at = {{now}} where id = $1 and revoked_at is null"), args, 1);
    return e ? e : revocation_add(c, id, clock_now() + (auth.access_ms + 60000) * 1000);
}

/* Of two that come with one token at once only one finds it unused. */
static sl_err use_up(call *c, sl_str hash, sl_str *session, bool *used_before)
{
    const sl_rows *rows;
    const sl_value args[] = { sl_text(hash) };
    sl_err e = store_query(c, &rows,
                           SL("update sl_refresh set used_at = {{now}} where hash = $1 and used_at is null"
                              " returning session"),
                           args, 1);
    *used_before = false;
    if (!e && !rows->rows) {
        e = store_query(c, &rows, SL("select session from sl_refresh where hash = $1"), args, 1);
        *used_before = !e && rows->rows;
    }
    if (!e && !rows->rows) return SL_EDENIED;
    if (!e) *session = sl_cell_text(rows, 0, "session");
    return e;
}

sl_err session_refresh(call *c, sl_str refresh, struct session *out, bool *stolen)
{
    const sl_rows *rows;
    int64_t now = clock_now();
    *out = (struct session){ 0 };
    *stolen = false;
    if (refresh.n != sizeof PREFIX - 1 + SECRET_TEXT || !str_starts(refresh, PREFIX)) return SL_EDENIED;
    sl_err e = use_up(c, secret_hash(c->arena, refresh), &out->id, stolen);
    if (!e && *stolen) e = session_end(c, out->id);
    if (e || *stolen) return e ? e : SL_EDENIED;
    const sl_value args[] = { sl_text(out->id), sl_int(now), sl_int(now + auth.refresh_ms * 1000) };
    e = store_query(c, &rows,
                    SL("update sl_sessions set refreshed_at = $2, expires_at = $3 where id = $1 and revoked_at is null"
                       " and expires_at > $2 and not exists (select 1 from sl_revocations r where r.id = $1)"
                       " returning kind, subject"),
                    args, 3);
    if (e) return e;
    if (!rows->rows) return SL_EDENIED;
    sl_rows row = *rows;
    const sl_value old[] = { sl_text(out->id), sl_int(now - REMEMBER_US) };
    e = store_query(c, &rows, SL("delete from sl_refresh where session = $1 and used_at < $2"), old, 2);
    if (e) return e;
    rows = &row;
    enum identity_kind kind = sl_is(sl_cell_text(rows, 0, "kind"), "user") ? IDENTITY_USER : IDENTITY_WALLET;
    out->subject = sl_cell_text(rows, 0, "subject");
    out->refresh_expires_at = now + auth.refresh_ms * 1000;
    return describe(c->arena, kind, out) ? hand_out(c, kind, out, now) : SL_EDENIED;
}
