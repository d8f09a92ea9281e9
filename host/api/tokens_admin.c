/* tokens_admin.c - the host's routes for tokens made at run time, and for what is revoked; linked in. */
#include "api/api.h"
#include "base/clock.h"
#include "http/http.h"
#include <service_layer/json.h>

#define WORDS(max) SL_LIST(SL_STRING(1, 64), max)
#define TOKEN_FIELDS                                                                                                   \
    SL_REQUIRED("id", SL_ID, "The token's id, which logs and the audit show."),                                        \
        SL_REQUIRED("name", "\"type\":\"string\"", "What it is for."),                                                 \
        SL_REQUIRED("role", "\"type\":\"string\"", "Its role."),                                                       \
        SL_REQUIRED("scopes", "\"type\":[\"array\",\"null\"],\"items\":{\"type\":\"string\"}",                         \
                    "Of the role's scopes it holds only what these cover; null = all."),                               \
        SL_REQUIRED("tenants", WORDS(32), "Whom it may act for, the first one by default; `*` = every tenant."),       \
        SL_REQUIRED("created_by", "\"type\":\"string\"", "Who made it."), SL_REQUIRED("created_at", SL_TIME, "When."), \
        SL_REQUIRED("expires_at", SL_TIME, "Good until; null = for ever."),                                            \
        SL_REQUIRED("last_used_at", SL_TIME, "The last request with it, written down a few seconds later."),           \
        SL_REQUIRED("revoked_at", SL_TIME, "Since when it is revoked."),                                               \
        SL_REQUIRED("revoked_by", SL_TEXT_OR_NULL, "By whom.")
#define TOKEN     SL_OBJECT(TOKEN_FIELDS)
#define NEW_TOKEN SL_OBJECT(TOKEN_FIELDS, SL_REQUIRED("token", "\"type\":\"string\"", "The token: shown only here."))
#define CREATE                                                                                                         \
    SL_OBJECT(SL_REQUIRED("name", SL_STRING(1, 128), "What it is for."),                                               \
              SL_OPTIONAL("role", SL_STRING(1, 32) SL_DEFAULT("\"service\""), "A role, see GET /admin/roles."),        \
              SL_REQUIRED("tenants", WORDS(32) ",\"minItems\":1" SL_EXAMPLE("[\"acme\"]"),                             \
                          "Whom it may act for, the first one by default; `*` alone = every tenant."),                 \
              SL_OPTIONAL("scopes", WORDS(64) ",\"minItems\":1" SL_EXAMPLE("[\"*:read\"]"),                            \
                          "Hold it to these of the role's scopes, such as `oracle:read`, `oracle:*` or `*:read`."),    \
              SL_OPTIONAL("expires_at", SL_TIME, "Good until then; absent = for ever."))
#define REVOKE                                                                                                         \
    SL_OBJECT(SL_REQUIRED("id", SL_STRING(1, 256), "The `jti` of a JWT, or the id of a session."),                     \
              SL_OPTIONAL("expires_at", SL_TIME, "When the JWT ends anyway; absent = in 30 days."))
#define ROLE                                                                                                           \
    SL_OBJECT(SL_REQUIRED("name", "\"type\":\"string\"", "The role."),                                                 \
              SL_REQUIRED("scopes", SL_LIST("\"type\":\"string\"", 64), "What it holds."))
#define ROLES SL_OBJECT(SL_REQUIRED("items", SL_LIST("\"type\":\"object\"", 128), "The roles: name and scopes."))

#define SESSION                                                                                                        \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The session."),                                                                \
              SL_REQUIRED("kind", SL_ENUM("user", "wallet"), "How it began."),                                         \
              SL_REQUIRED("subject", "\"type\":\"string\"", "The user's name or the wallet's address."),               \
              SL_REQUIRED("created_at", SL_TIME, "When they signed in."),                                              \
              SL_REQUIRED("refreshed_at", SL_TIME, "When it was refreshed last."),                                     \
              SL_REQUIRED("expires_at", SL_TIME, "When it ends unless it is refreshed."),                              \
              SL_REQUIRED("revoked_at", SL_TIME, "Since when it is ended."))
#define SESSION_FILTER SL_OBJECT(SL_OPTIONAL("subject", SL_STRING(1, 128), "Only this user's or wallet's."))

#define COLUMNS                                                                                                        \
    "id, name, role, scopes, tenants, created_by, created_at, expires_at, last_used_at, revoked_at, revoked_by"
#define DEFAULT_REVOCATION (30LL * 24 * 3600 * 1000000)

static sl_err unprocessable(sl_call *c, const char *code, sl_str detail)
{
    return sl_problem(c, 422, code, arena_cstr(((call *)c)->arena, detail));
}

/* A JSON list of words: NULL, or what is wrong with which. */
static sl_err check_words(sl_call *c, sl_str json, const char *what, const char *(*check)(sl_str word))
{
    sl_str rest = words_of_json(((call *)c)->arena, json), word;
    const char *must;
    while (next_word(&rest, &word))
        if ((must = check(word)))
            return unprocessable(c, "invalid_input", sl_format(c, "%s: `%.*s` %s.", what, STR_ARG(word), must));
    return SL_OK;
}

static const char *tenant_or_every(sl_str word) { return sl_is(word, "*") ? NULL : tenant_check(word); }

static sl_err check_new(sl_call *c, int64_t *expires_at)
{
    sl_str role = sl_body(c, "role"), until = sl_body(c, "expires_at"), ignored;
    arena *a = ((call *)c)->arena;
    if (!role_find(role, &ignored))
        return unprocessable(
            c, "unknown_role",
            sl_format(c, "There is no role `%.*s`; there are: %s.", STR_ARG(role), arena_cstr(a, role_names(a))));
    sl_err e = check_words(c, sl_body(c, "tenants"), "tenants", tenant_or_every);
    if (!e) e = check_words(c, sl_body(c, "scopes"), "scopes", scope_check);
    *expires_at = 0;
    if (e || !sl_given(until)) return e;
    if (!clock_parse(until, expires_at) || *expires_at <= sl_now(c))
        return unprocessable(c, "invalid_input", SL("expires_at must be in the future."));
    return SL_OK;
}

/* What a client sends may hold blanks in a word; what is kept may not. */
static bool has_blanks(sl_str json)
{
    bool inside = false;
    for (size_t i = 0; i < json.n; i++) {
        if (json.p[i] == '"') inside = !inside;
        if (inside && (json.p[i] == ' ' || json.p[i] == ',' || json.p[i] == '\\')) return true;
    }
    return false;
}

static sl_err create_token(void *self, sl_call *c)
{
    const sl_rows *made;
    sl_str hash, tenants = sl_body(c, "tenants"), scopes = sl_body(c, "scopes");
    int64_t expires_at;
    (void)self;
    if (has_blanks(tenants) || has_blanks(scopes))
        return unprocessable(c, "invalid_input", SL("Tenants and scopes are single words."));
    sl_err e = check_new(c, &expires_at);
    if (e) return e;
    ((call *)c)->sensitive = true;
    sl_str plain = token_make(((call *)c)->arena, &hash);
    e = sl_query(c, &made,
                 "insert into sl_tokens (id, name, hash, role, scopes, tenants, created_by, created_at, expires_at)"
                 " values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning " COLUMNS,
                 sl_new_id(c), sl_body(c, "name"), hash, sl_body(c, "role"), scopes, tenants, sl_fact(c, "actor"),
                 sl_now(c), expires_at ? sl_int(expires_at) : sl_text(sl_lit(NULL, 0)));
    if (e) return e;
    sl_rows more = *made; /* the row with one column more */
    sl_str *names = sl_alloc(c, (made->cols + 1) * sizeof *names);
    sl_value *cells = sl_alloc(c, (made->cols + 1) * sizeof *cells);
    if (!names || !cells) return SL_ETOOBIG;
    memcpy(names, made->names, made->cols * sizeof *names);
    memcpy(cells, made->cells, made->cols * sizeof *cells);
    names[made->cols] = SL("token");
    cells[made->cols] = sl_text(plain);
    more.cols++;
    more.names = names;
    more.cells = cells;
    return sl_reply_row(c, 201, &more);
}

static sl_err list_tokens(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_list(c, "select " COLUMNS " from sl_tokens where hash <> '' {{page}}");
}

static sl_err no_such_token(sl_call *c) { return sl_problem(c, 404, "token_not_found", "There is no such token."); }

static sl_err get_token(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(c, &rows, "select " COLUMNS " from sl_tokens where id = $1", sl_path(c, "id"));
    if (e) return e;
    return rows->rows ? sl_reply_row(c, 200, rows) : no_such_token(c);
}

/* The row stays, so that what the token did can still be told. */
static sl_err revoke_token(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str id = sl_path(c, "id");
    (void)self;
    sl_err e = sl_query(c, &rows, "select revoked_at from sl_tokens where id = $1", id);
    if (e) return e;
    if (!rows->rows) return no_such_token(c);
    e = sl_query(c, &rows,
                 "update sl_tokens set revoked_at = {{now}}, revoked_by = $2 where id = $1 and revoked_at is null", id,
                 sl_fact(c, "actor"));
    /* The look-up in the store finds it no more; only what is known of it now has to be forgotten. */
    if (!e) e = revocation_add((call *)c, id, sl_now(c) + 24LL * 3600 * 1000000);
    return e ? e : sl_reply_empty(c, 204);
}

static sl_err revoke_id(void *self, sl_call *c)
{
    sl_str until = sl_body(c, "expires_at");
    int64_t at = sl_now(c) + DEFAULT_REVOCATION;
    (void)self;
    if (sl_given(until) && (!clock_parse(until, &at) || at <= sl_now(c)))
        return unprocessable(c, "invalid_input", SL("expires_at must be in the future."));
    sl_err e = revocation_add((call *)c, sl_body(c, "id"), at);
    return e ? e : sl_reply_empty(c, 204);
}

#define SESSIONS "select id, kind, subject, created_at, refreshed_at, expires_at, revoked_at from sl_sessions where "

static sl_err list_sessions(void *self, sl_call *c)
{
    sl_str subject = sl_param(c, "subject");
    (void)self;
    if (sl_given(subject)) return sl_reply_list(c, SESSIONS "subject = $1 {{page}}", subject);
    return sl_reply_list(c, SESSIONS "id <> '' {{page}}");
}

static sl_err end_session(void *self, sl_call *c)
{
    const sl_rows *rows;
    sl_str id = sl_path(c, "id");
    (void)self;
    sl_err e = sl_query(c, &rows, "select 1 as there from sl_sessions where id = $1", id);
    if (e) return e;
    if (!rows->rows) return sl_problem(c, 404, "session_not_found", "There is no such session.");
    e = session_end((call *)c, id);
    return e ? e : sl_reply_empty(c, 204);
}

static sl_err list_roles(void *self, sl_call *c)
{
    sl_json j = sl_json_start(c);
    sl_str rest = role_names(((call *)c)->arena), name, scopes, word;
    (void)self;
    sl_json_open(&j, NULL, '{');
    sl_json_open(&j, "items", '[');
    while (str_split(&rest, ',', &name)) {
        name = str_trim(name);
        if (!role_find(name, &scopes)) continue;
        sl_json_open(&j, NULL, '{');
        sl_json_text(&j, "name", name);
        sl_json_open(&j, "scopes", '[');
        while (next_word(&scopes, &word))
            sl_json_text(&j, NULL, word);
        sl_json_close(&j, ']');
        sl_json_close(&j, '}');
    }
    sl_json_close(&j, ']');
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

static const sl_entry entries[] = {
    { SL_ROUTE, "POST /admin/tokens", create_token, .scope = "admin", .in = CREATE, .out = NEW_TOKEN, .status = 201,
      .flags = SL_SENSITIVE, .problems = "422 unknown_role",
      .doc = "Make a token. It is shown in this answer only; the server keeps its hash." },
    { SL_ROUTE, "GET /admin/tokens", list_tokens, .scope = "admin", .out = TOKEN, .flags = SL_LIST,
      .doc = "List the tokens made at run time, revoked ones too, newest first." },
    { SL_ROUTE, "GET /admin/tokens/{id}", get_token, .scope = "admin", .out = TOKEN, .problems = "404 token_not_found",
      .doc = "Show one token." },
    { SL_ROUTE, "DELETE /admin/tokens/{id}", revoke_token, .scope = "admin", .status = 204,
      .problems = "404 token_not_found", .doc = "Revoke a token: here at once, in other replicas within two seconds." },
    { SL_ROUTE, "POST /admin/revocations", revoke_id, .scope = "admin", .in = REVOKE, .status = 204,
      .doc = "Revoke a JWT by its `jti`, or a session by its id." },
    { SL_ROUTE, "GET /admin/sessions", list_sessions, .scope = "admin", .query = SESSION_FILTER, .out = SESSION,
      .flags = SL_LIST, .doc = "List the sessions of users and wallets, newest first." },
    { SL_ROUTE, "DELETE /admin/sessions/{id}", end_session, .scope = "admin", .status = 204,
      .problems = "404 session_not_found",
      .doc = "End a session: here at once, in other replicas within two seconds." },
    { SL_ROUTE, "GET /admin/roles", list_roles, .scope = "admin", .out = ROLES, .doc = "The roles and their scopes." },
};
static const sl_need needs[] = { { "sl.core", 1, 0 }, { "sl.store", 1, 0 } };
SL_LINKED_PLUGIN(tokens_plugin, "tokens", .doc = "Tokens and roles for operators.", SL_ENTRIES(entries),
                 SL_NEEDS(needs), .grants = "store:sl_*");
