/* random.c - random bytes with a proof: signed, counted, kept, and verifiable by anyone who has the public key. */
#include "derive.h"
#include <service_layer/json.h>
#include <sodium.h>
#include "account.h"

#define TEXT    "\"type\":\"string\""
#define COUNTER SL_INTEGER(1, 9223372036854775807)
#define NS      "\"type\":\"string\",\"pattern\":\"^[0-9]+$\",\"minLength\":1,\"maxLength\":19"
#define REQUEST                                                                                                        \
    SL_OBJECT(                                                                                                         \
        SL_OPTIONAL("length", SL_INTEGER(1, 1024) SL_DEFAULT("32"), "Bytes wanted."),                                  \
        SL_OPTIONAL("request_id", SL_STRING(0, 256) SL_DEFAULT("\"\""), "The caller's own name for it; signed too."))
#define VALUE                                                                                                          \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "The value."), SL_REQUIRED("account_id", SL_ID, "Its account."),                \
              SL_REQUIRED("request_id", TEXT, "The caller's own name for it."),                                        \
              SL_REQUIRED("length", SL_INTEGER(1, 1024), "Bytes in value."),                                           \
              SL_REQUIRED("value", SL_BASE64, "The random bytes."),                                                    \
              SL_REQUIRED("counter", COUNTER, "Grows with each value that this deployment gives out."),                \
              SL_REQUIRED("signature", SL_BASE64, "Ed25519 over request_id, counter, time and length."),               \
              SL_REQUIRED("public_key", SL_BASE64, "The key that verifies it."),                                       \
              SL_REQUIRED("created_at", SL_TIME, "When it was made."),                                                 \
              SL_REQUIRED("created_at_ns", NS, "The same in nanoseconds since 1970, as signed."))
#define VERIFY                                                                                                         \
    SL_OBJECT(SL_OPTIONAL("request_id", SL_STRING(0, 256) SL_DEFAULT("\"\""), "As answered."),                         \
              SL_REQUIRED("counter", COUNTER, "As answered."), SL_REQUIRED("created_at_ns", NS, "As answered."),       \
              SL_REQUIRED("length", SL_INTEGER(1, 1024), "As answered."),                                              \
              SL_REQUIRED("value", SL_BASE64, "As answered."), SL_REQUIRED("signature", SL_BASE64, "As answered."),    \
              SL_OPTIONAL("public_key", SL_BASE64, "The key to trust; this deployment's by default."))
#define VERIFIED                                                                                                       \
    SL_OBJECT(SL_REQUIRED("valid", SL_BOOLEAN, "Whether signature and value hold."),                                   \
              SL_REQUIRED("reason", SL_TEXT_OR_NULL, "Why not."))
#define KEY                                                                                                            \
    SL_OBJECT(SL_REQUIRED("algorithm", TEXT, "Always Ed25519."), SL_REQUIRED("public_key", SL_BASE64, "32 bytes."),    \
              SL_REQUIRED("public_key_hex", TEXT, "The same in hex."))
#define CONFIG                                                                                                         \
    SL_OBJECT(SL_OPTIONAL("signing_key", TEXT SL_ENV("RANDOM_SIGNING_KEY") SL_SECRET,                                  \
                          "Ed25519 seed (32 bytes) or key (64 bytes) in base64 or hex; made and kept when absent."))

/* In locked memory. */
struct state {
    unsigned char secret_key[SECRET_KEY], public_key[PUBLIC_KEY];
    int configured;
};

static sl_err create(sl_call *c, void **self)
{
    sl_str text = sl_config(c, "signing_key");
    if (sodium_init() < 0) return SL_EINTERNAL;
    struct state *s = sodium_malloc(sizeof *s);
    if (!s) return sl_problem(c, 500, "no_memory", "There is no memory for the signing key.");
    sodium_memzero(s, sizeof *s);
    const char *wrong = text.n ? signing_key_read(text, s->secret_key, s->public_key) : NULL;
    if (wrong) {
        sodium_free(s); /* the host destroys only what was created */
        sl_str detail = sl_format(c, "RANDOM_SIGNING_KEY cannot be used: %s.", wrong);
        return sl_problem(c, 500, "bad_signing_key", detail.p ? detail.p : "RANDOM_SIGNING_KEY cannot be used.");
    }
    s->configured = text.n > 0;
    *self = s;
    return SL_OK;
}

static void destroy(void *self) { sodium_free(self); }

static const char KEY_AAD[] = "random signing key";

static sl_err keep_key(sl_call *c, sl_str sealed)
{
    const sl_rows *rows;
    return sl_query(c, &rows, "update random_state set sealed_key = $1 where id = 'random'", sl_blob(sealed));
}

static sl_err make_key(sl_call *c, struct state *s)
{
    sl_str sealed;
    crypto_sign_keypair(s->public_key, s->secret_key);
    sl_err e = c->host->crypto->seal(c, sl_cstr(KEY_AAD), sl_lit((char *)s->secret_key, SECRET_KEY), &sealed);
    if (e) return e;
    sl_log(c, SL_INFO, "a signing key for random values was made and is kept, sealed, in the store", NULL, 0);
    return keep_key(c, sealed);
}

static sl_err open_key(sl_call *c, struct state *s, sl_str sealed)
{
    const sl_crypto *crypto = c->host->crypto;
    sl_str plain, moved;
    sl_err e = crypto->unseal(c, sl_cstr(KEY_AAD), sealed, &plain);
    if (e == SL_EDENIED || (e == SL_OK && plain.n != SECRET_KEY))
        return sl_problem(c, 500, "signing_key_unreadable",
                          "The signing key in the store cannot be opened: the master key that "
                          "sealed it is not among SECRET_ENCRYPTION_KEY.");
    if (e) return e;
    memcpy(s->secret_key, plain.p, SECRET_KEY);
    sodium_memzero((void *)(uintptr_t)plain.p, plain.n);
    crypto_sign_ed25519_sk_to_pk(s->public_key, s->secret_key);
    if (sl_same(crypto->key_id(c, sealed), crypto->key_id(c, sl_lit(NULL, 0)))) return SL_OK;
    e = crypto->rewrap(c, sl_cstr(KEY_AAD), sealed, &moved); /* follow the rotation of master keys */
    return e ? e : keep_key(c, moved);
}

/* Replicas that start together agree on one key: the first that holds the lock makes it. */
static sl_err start(void *self, sl_call *c)
{
    struct state *s = self;
    const sl_rows *rows;
    if (s->configured) return SL_OK;
    sl_err e = sl_lock(c, SL("random.key"));
    if (e) return e;
    e = sl_query(c, &rows, "select sealed_key from random_state where id = 'random'");
    if (e) return e;
    sl_str sealed = sl_cell_text(rows, 0, "sealed_key");
    return sl_given(sealed) ? open_key(c, s, sealed) : make_key(c, s);
}

static sl_str trimmed(sl_str s)
{
    while (s.n && (unsigned char)s.p[0] <= ' ') {
        s.p++;
        s.n--;
    }
    while (s.n && (unsigned char)s.p[s.n - 1] <= ' ')
        s.n--;
    return s;
}

/* The counter's row is locked until the commit, so counters are given out one by one, over all replicas and restarts.
 */
static sl_err draw(void *self, sl_call *c)
{
    const struct state *s = self;
    const sl_rows *rows;
    struct draw *d = sl_alloc(c, sizeof *d);
    int64_t now;
    if (!d) return SL_ETOOBIG;
    d->request_id = trimmed(sl_body(c, "request_id"));
    if (d->request_id.n > REQUEST_ID_MAX)
        return sl_problem(c, 422, "request_id_too_long", "request_id is at most 256 bytes.");
    if (!sl_given(d->request_id)) d->request_id = SL("");
    sl_err e = sl_query(c, &rows,
                        "update random_state set counter = counter + 1 where id = 'random' returning counter");
    if (e) return e;
    d->counter = (uint64_t)sl_cell_int(rows, 0, "counter");
    d->length = (uint32_t)sl_to_int(sl_body(c, "length"), 32);
    now = sl_now(c);
    d->created_ns = (uint64_t)now * 1000;
    draw_sign(d, s->secret_key);
    e = sl_query(
        c, &rows,
        "insert into random_values (id, tenant, account_id, request_id, length, value, counter, signature, public_key, "
        "created_at, created_at_ns) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning *",
        sl_new_id(c), sl_fact(c, "tenant"), sl_path(c, "account"), d->request_id, (int64_t)d->length,
        sl_blob(sl_lit((char *)d->value, d->length)), (int64_t)d->counter,
        sl_blob(sl_lit((char *)d->signature, SIGNATURE)), sl_blob(sl_lit((const char *)s->public_key, PUBLIC_KEY)), now,
        sl_format(c, "%llu", (unsigned long long)d->created_ns));
    if (e == SL_ENOENT) return sl_account_missing(c);
    return e ? e : sl_reply_row(c, 201, rows);
}

static sl_err list(void *self, sl_call *c)
{
    (void)self;
    sl_err e = sl_account_required(c);
    if (e) return e;
    return sl_reply_list(c, "select * from random_values where tenant = $1 and account_id = $2 {{page}}",
                         sl_fact(c, "tenant"), sl_path(c, "account"));
}

static sl_err get(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(c, &rows, "select * from random_values where tenant = $1 and account_id = $2 and id = $3",
                        sl_fact(c, "tenant"), sl_path(c, "account"), sl_path(c, "id"));
    if (e) return e;
    if (rows->rows == 0) {
        e = sl_account_required(c);
        return e ? e : sl_problem(c, 404, "value_not_found", "There is no random value with this id.");
    }
    return sl_reply_row(c, 200, rows);
}

static sl_err public_key(void *self, sl_call *c)
{
    const struct state *s = self;
    char base64[sodium_base64_ENCODED_LEN(PUBLIC_KEY, sodium_base64_VARIANT_ORIGINAL)], hex[2 * PUBLIC_KEY + 1];
    sodium_bin2base64(base64, sizeof base64, s->public_key, PUBLIC_KEY, sodium_base64_VARIANT_ORIGINAL);
    sodium_bin2hex(hex, sizeof hex, s->public_key, PUBLIC_KEY);
    return sl_reply_json(
        c, 200,
        sl_format(c, "{\"algorithm\":\"Ed25519\",\"public_key\":\"%s\",\"public_key_hex\":\"%s\"}", base64, hex));
}

static sl_err verify(void *self, sl_call *c)
{
    const struct state *s = self;
    unsigned char key[PUBLIC_KEY];
    sl_str given = sl_body(c, "public_key");
    const char *wrong = NULL;
    struct draw *d = sl_alloc(c, sizeof *d);
    if (!d) return SL_ETOOBIG;
    memcpy(key, s->public_key, PUBLIC_KEY);
    d->request_id = trimmed(sl_body(c, "request_id"));
    d->counter = (uint64_t)sl_to_int(sl_body(c, "counter"), 0);
    d->length = (uint32_t)sl_to_int(sl_body(c, "length"), 32);
    int64_t ns = sl_to_int(sl_body(c, "created_at_ns"), -1);
    d->created_ns = (uint64_t)ns;
    if (ns < 0)
        wrong = "created_at_ns is out of range.";
    else if (d->request_id.n > REQUEST_ID_MAX)
        wrong = "request_id is longer than 256 bytes.";
    else if (sl_given(given) && !bytes_from_base64(given, key, PUBLIC_KEY))
        wrong = "public_key is not 32 bytes.";
    else if (!bytes_from_base64(sl_body(c, "signature"), d->signature, SIGNATURE))
        wrong = "signature is not 64 bytes.";
    else if (!bytes_from_base64(sl_body(c, "value"), d->value, d->length))
        wrong = "value is not as long as length says.";
    else
        wrong = draw_verify(d, key);
    sl_json j = sl_json_start(c);
    sl_json_open(&j, NULL, '{');
    sl_json_bool(&j, "valid", !wrong);
    sl_json_text(&j, "reason", sl_cstr(wrong));
    sl_json_close(&j, '}');
    return sl_reply_json(c, 200, sl_json_end(&j));
}

static const sl_entry entries[] = {
    { SL_ROUTE, "POST /accounts/{account}/random", draw, .scope = "random:write", .in = REQUEST, .out = VALUE,
      .status = 201, .doc = "Draw signed random bytes." },
    { SL_ROUTE, "GET /accounts/{account}/random", list, .scope = "random:read", .out = VALUE, .flags = SL_LIST,
      .doc = "List what was drawn, newest first." },
    { SL_ROUTE, "GET /accounts/{account}/random/{id}", get, .scope = "random:read", .out = VALUE,
      .doc = "Read one value again." },
    { SL_ROUTE, "GET /random/public-key", public_key, .scope = "random:read", .out = KEY,
      .doc = "The key that verifies this deployment's values." },
    { SL_ROUTE, "POST /random/verify", verify, .scope = "random:read", .in = VERIFY, .out = VERIFIED,
      .doc = "Check that a value was signed by a key and follows from its signature." },
};

static const sl_lifecycle life = { .size = sizeof life, .create = create, .start = start, .destroy = destroy };
static const sl_need needs[] = {
    { "sl.core", 1, 0 }, { "sl.store", 1, 0 }, { "sl.crypto", 1, 0 }, { "accounts", 1, 0 }
};

SL_PLUGIN("random", "1.0.0", .doc = "Random bytes with a signature that anyone can verify.", SL_ENTRIES(entries),
          SL_NEEDS(needs), .config = CONFIG, .lifecycle = &life, .grants = "store:accounts store:random_*");
