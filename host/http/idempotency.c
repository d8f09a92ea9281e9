/* idempotency.c - Idempotency-Key: the answer of a POST is kept in the transaction of its effect, and given again. */
#include "http/request.h"

enum { BODY_KEPT = 1 << 20, USAGE_DAYS = 35 };

static bool key_ok(sl_str key)
{
    if (key.n == 0 || key.n > KEY_MAX) return false;
    for (size_t i = 0; i < key.n; i++)
        if ((unsigned char)key.p[i] <= ' ' || (unsigned char)key.p[i] >= 0x7f) return false;
    return true;
}

bool idempotency_wanted(struct request *rq)
{
    if (!sl_given(rq->known.idempotency_key) || !sl_is(rq->x->method, "POST")) return true;
    if (!key_ok(rq->known.idempotency_key))
        return set_problem(rq, 400, "invalid_idempotency_key",
                           SL("Idempotency-Key must be 1 to 255 visible ASCII characters."));
    rq->key = rq->known.idempotency_key;
    return true;
}

/* Whose key it is: callers without a token are told apart by their address. */
static sl_str owner(struct request *rq)
{
    if (rq->identity.kind != IDENTITY_ANONYMOUS) return rq->identity.actor;
    int n = snprintf(rq->actor_text, sizeof rq->actor_text, "anonymous@%.*s",
                     (int)(rq->x->remote.n < 64 ? rq->x->remote.n : 64), rq->x->remote.p);
    return sl_lit(rq->actor_text, (size_t)n);
}

/* What a repetition must have in common. A secret body is hashed together with the caller's token, which is not kept:
 * the record alone does not allow to try out guesses. */
static sl_str fingerprint(arena *a, const struct request *rq)
{
    unsigned char hash[32], inner[32];
    char *hex = arena_alloc(a, 65), body[65];
    bool secret = rq->route->flags & SL_SENSITIVE;
    sha256(rq->x->body, inner);
    hex_encode(inner, sizeof inner, body);
    sha256(arena_printf(a, "%.*s\n%.*s\n%s\n%.*s", STR_ARG(rq->x->method), STR_ARG(rq->x->target), body,
                        secret ? (int)rq->known.authorization.n : 0, secret ? rq->known.authorization.p : ""),
           hash);
    hex_encode(hash, sizeof hash, hex);
    return sl_lit(hex, 64);
}

/* ["name","value","name","value"] */
static sl_str headers_write(arena *a, const struct request *rq)
{
    json_t *list = json_array();
    for (size_t i = 0; i < rq->n_headers; i++) {
        json_array_append_new(list, json_stringn(rq->headers[i].name.p, rq->headers[i].name.n));
        json_array_append_new(list, json_stringn(rq->headers[i].value.p, rq->headers[i].value.n));
    }
    if (sl_given(rq->etag)) {
        json_array_append_new(list, json_string("ETag"));
        json_array_append_new(list, json_stringn(rq->etag.p, rq->etag.n));
    }
    sl_str text = json_write(a, list);
    json_decref(list);
    return text;
}

static void headers_read(arena *a, struct request *rq, sl_str text)
{
    char why[100];
    json_t *list = json_read(text, why, sizeof why);
    rq->n_headers = 0;
    rq->etag = sl_lit(NULL, 0);
    for (size_t i = 0; i + 1 < json_array_size(list); i += 2) {
        sl_str name = json_plain(a, json_array_get(list, i)), value = json_plain(a, json_array_get(list, i + 1));
        if (str_equal_nocase(name, SL("etag")))
            rq->etag = value;
        else
            answer_header(rq, name, value);
    }
    json_decref(list);
}

static void restore(call *c, struct request *rq, const sl_rows *rows)
{
    rq->problem = false;
    rq->hit = true;
    rq->status = (int)sl_cell_int(rows, 0, "status");
    rq->type = sl_cell_text(rows, 0, "type");
    headers_read(c->arena, rq, sl_cell_text(rows, 0, "headers"));
    buf_clear(&rq->out);
    buf_add_str(&rq->out, sl_cell_text(rows, 0, "body"));
    if (!rq->out.n) rq->type = sl_lit(NULL, 0);
}

/* Called before the handler, and again when it failed while another request with the same key may have won. */
enum idempotency idempotency_find(call *c, struct request *rq, sl_err *e)
{
    const sl_rows *rows;
    const sl_value args[] = { sl_text(rq->identity.tenant), sl_text(owner(rq)), sl_text(rq->key) };
    *e = store_query(c, &rows,
                     SL("select body_hash, state, status, type, headers, body, created_at from sl_idempotency"
                        " where tenant = $1 and actor = $2 and key = $3"),
                     args, 3);
    if (*e) return IDEMPOTENCY_FAILED;
    if (!rows->rows) return IDEMPOTENCY_NEW;
    if (sl_cell_int(rows, 0, "created_at") < clock_now() - http_cfg.idempotency_ms * 1000) {
        rq->stale_key = true; /* not swept yet: it makes room for the new one */
        return IDEMPOTENCY_NEW;
    }
    bool same = sl_same(sl_cell_text(rows, 0, "body_hash"), fingerprint(c->arena, rq));
    if (same && !sl_is(sl_cell_text(rows, 0, "state"), "begun")) {
        restore(c, rq, rows);
        return IDEMPOTENCY_HIT;
    }
    rq->n_headers = 0;
    rq->errors = sl_lit(NULL, 0);
    if (same)
        set_problem(rq, 409, "idempotency_unfinished",
                    SL("The request with this Idempotency-Key has had an effect and is under way, or failed after it. "
                       "See what is there before you try with another key."));
    else
        set_problem(rq, 422, "idempotency_key_reused", SL("This Idempotency-Key was used for another request."));
    return IDEMPOTENCY_HIT;
}

static sl_err insert(call *c, struct request *rq, const char *state, int status, bool withheld)
{
    const sl_value args[] = { sl_text(rq->identity.tenant),
                              sl_text(owner(rq)),
                              sl_text(rq->key),
                              sl_text(rq->route->path),
                              sl_text(fingerprint(c->arena, rq)),
                              sl_ctext(state),
                              sl_int(status),
                              sl_text(rq->type),
                              sl_text(headers_write(c->arena, rq)),
                              sl_blob(withheld ? SL("") : buf_str(&rq->out)),
                              sl_int(clock_now()) };
    if (rq->stale_key || rq->begun) { /* it takes the place of the old one, or of its own beginning */
        sl_err e = store_defer(c, SL("delete from sl_idempotency where tenant = $1 and actor = $2 and key = $3"), args,
                               3, 0);
        if (e) return e;
    }
    return store_defer(
        c,
        SL("insert into sl_idempotency (tenant, actor, key, route, body_hash, state, status, type, headers,"
           " body, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"),
        args, sizeof args / sizeof *args, 0);
}

sl_err idempotency_begin(call *c, struct request *rq)
{
    sl_err e = insert(c, rq, "begun", 0, true);
    rq->stale_key = false;
    return e;
}

/* A second request with the key that commits in the same moment breaks the primary key: it rolls back as a whole. */
sl_err idempotency_keep(call *c, struct request *rq)
{
    int status = rq->status ? rq->status : 204;
    bool withheld = (rq->route->flags & (SL_SENSITIVE | SL_STREAM)) || rq->out.n > BODY_KEPT;
    return status >= 500 ? SL_OK : insert(c, rq, withheld ? "withheld" : "kept", status, withheld);
}

void http_sweep(call *c)
{
    const sl_value args[] = { sl_int(clock_now() - http_cfg.idempotency_ms * 1000) };
    const sl_rows *rows;
    sl_err e;
    do { /* in portions: no long transaction, whatever has piled up */
        e = store_query(c, &rows,
                        SL("delete from sl_idempotency where (tenant, actor, key) in (select tenant, actor, key"
                           " from sl_idempotency where created_at < $1 limit 1000)"),
                        args, 1);
        if (!e) e = store_commit(c);
    } while (!e && rows->changed >= 1000);
    const sl_value day[] = { sl_int(clock_now() / (24LL * 3600 * 1000000) - USAGE_DAYS) };
    if (!e) e = store_query(c, &rows, SL("delete from sl_tenant_usage where day < $1"), day, 1);
    if (!e) e = store_commit(c);
    if (!e) return;
    store_rollback(c);
    log_warn("old idempotency keys could not be removed", LOG_C("error", store_error(c)), LOG_I("code", e));
}
