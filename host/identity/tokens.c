/* tokens.c - tokens made at run time: their form, their look-up in the store, and when they were used last. */
#include "identity/private.h"

#define PREFIX "slt_"
enum { SECRET = 32, FLUSH_AT_ONCE = 200 };

/* Only what has this form is looked up in the store. */
bool token_looks_ours(sl_str plain) { return plain.n == sizeof PREFIX - 1 + SECRET_TEXT && str_starts(plain, PREFIX); }

sl_str secret_hash(arena *a, sl_str plain)
{
    unsigned char hash[HASH];
    char *hex = arena_alloc(a, HASH_TEXT);
    sha256(plain, hash);
    hex_encode(hash, HASH, hex);
    return sl_lit(hex, HASH_TEXT - 1);
}

sl_str secret_make(arena *a, const char *prefix, sl_str *hash)
{
    char secret[SECRET];
    random_bytes(secret, sizeof secret);
    sl_str text = base64url_encode(a, sl_lit(secret, sizeof secret));
    explicit_bzero(secret, sizeof secret);
    sl_str plain = arena_printf(a, "%s%.*s", prefix, STR_ARG(text));
    *hash = secret_hash(a, plain);
    return plain;
}

sl_str token_make(arena *a, sl_str *hash) { return secret_make(a, PREFIX, hash); }

sl_err token_ask(call *c, const unsigned char hash[HASH], bearer **out)
{
    const sl_rows *rows;
    char hex[HASH_TEXT];
    *out = NULL;
    hex_encode(hash, HASH, hex);
    const sl_value args[] = { sl_ctext(hex) };
    sl_err e = store_query(c, &rows,
                           SL("select id, name, role, scopes, tenants, expires_at from sl_tokens"
                              " where hash = $1 and revoked_at is null"),
                           args, 1);
    if (e || !rows->rows) return e;
    sl_str id = sl_cell_text(rows, 0, "id");
    struct identity who = { .kind = IDENTITY_TOKEN,
                            .actor = arena_printf(c->arena, "token:%.*s", STR_ARG(id)),
                            .subject = sl_cell_text(rows, 0, "name"),
                            .role = sl_cell_text(rows, 0, "role"),
                            .token_id = id,
                            .only = words_of_json(c->arena, sl_cell_text(rows, 0, "scopes")),
                            .tenants = words_of_json(c->arena, sl_cell_text(rows, 0, "tenants")),
                            .expires_at = sl_cell_int(rows, 0, "expires_at") };
    if (revoked(id) || (who.expires_at && clock_now() >= who.expires_at)) return SL_OK;
    if (!role_find(who.role, &who.scopes)) who.scopes = SL(""); /* it is in the configuration no more: no rights */
    *out = bearer_put(hash, &who);
    (*out)->used_at = clock_now();
    (*out)->used = true;
    return SL_OK;
}

/* ---- last use ---- */
struct use {
    sl_str id;
    int64_t at;
};
struct uses {
    arena *arena;
    struct use *list;
    size_t n;
};

static void count(bearer *b, void *arg) { *(size_t *)arg += b->used; }

static void collect(bearer *b, void *arg)
{
    struct uses *u = arg;
    if (!b->used) return;
    b->used = false;
    u->list[u->n++] = (struct use){ arena_copy(u->arena, b->who.token_id), b->used_at };
}

void tokens_flush(call *c)
{
    struct uses u = { .arena = c->arena };
    size_t n = 0;
    sl_err e = SL_OK;
    bearers_each(count, &n);
    u.list = arena_alloc(c->arena, (n + 1) * sizeof *u.list);
    bearers_each(collect, &u);
    for (size_t i = 0; i < n && !e; i++) {
        const sl_value args[] = { sl_text(u.list[i].id), sl_int(u.list[i].at) };
        e = store_defer(c,
                        SL("update sl_tokens set last_used_at = $2"
                           " where id = $1 and coalesce(last_used_at, 0) < $2"),
                        args, 2, 0);
        if (!e && ((i + 1) % FLUSH_AT_ONCE == 0 || i + 1 == n)) e = store_commit(c);
    }
    if (!e) return;
    store_rollback(c);
    log_warn("when tokens were used last could not be written down", LOG_C("error", store_error(c)), LOG_I("code", e));
}
