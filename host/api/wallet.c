/* wallet.c - signing in with a Neo N3 wallet: a challenge that costs the server nothing, and a signature of it. */
#include "api/api.h"
#include "api/wallet.h"
#include "base/id.h"
#include "base/log.h"
#include <service_layer/json.h>

enum { CHALLENGE_S = 300 };

static sl_err bad_proof(sl_call *c, const char *why)
{
    auth_count("wallet", "refused");
    log_warn("sign-in refused", LOG_S("wallet", sl_body(c, "wallet")), LOG_C("why", why),
             LOG_S("remote", sl_fact(c, "remote")));
    return auth_refuse(c, "invalid_signature", why);
}

sl_err wallet_challenge(void *self, sl_call *pub)
{
    call *c = (call *)pub;
    char text[CLOCK_TEXT];
    sl_str wallet = sl_body(pub, "wallet"), nonce, message;
    int64_t until = (sl_now(pub) / 1000000 + CHALLENGE_S) * 1000000;
    (void)self;
    if (!wallets_may_sign_in()) return auth_unavailable(pub);
    if (!neo_address_ok(wallet))
        return sl_problem(pub, 422, "invalid_wallet", "wallet must be the address of a Neo N3 account.");
    challenge_make(c->arena, wallet, until, &nonce, &message);
    sl_json j = sl_json_start(pub);
    sl_json_open(&j, NULL, '{');
    sl_json_text(&j, "nonce", nonce);
    sl_json_text(&j, "message", message);
    sl_json_text(&j, "expires_at", sl_lit(text, clock_format(until, text)));
    sl_json_close(&j, '}');
    return sl_reply_json(pub, 200, sl_json_end(&j));
}

/* NULL, or why the signature proves nothing. */
static const char *check_proof(sl_call *pub, sl_str wallet, int64_t *until)
{
    unsigned char key[NEO_KEY], signature[NEO_SIGNATURE];
    char address[NEO_ADDRESS_TEXT];
    sl_str message;
    if (!challenge_read(((call *)pub)->arena, wallet, sl_body(pub, "nonce"), until, &message))
        return "The nonce is not one of a challenge for this wallet.";
    if (sl_now(pub) >= *until) return "The challenge is over; ask for another one.";
    if (!hex_decode(sl_body(pub, "pubkey"), key, sizeof key) ||
        !hex_decode(sl_body(pub, "signature"), signature, sizeof signature))
        return "pubkey and signature must be hex.";
    neo_address(key, address);
    if (!sl_is(wallet, address)) return "The public key is not this wallet's.";
    if (!neo_message_signed(sl_lit((char *)key, sizeof key), message, sl_body(pub, "salt"),
                            sl_lit((char *)signature, sizeof signature)))
        return "The signature does not hold for the challenge's message.";
    return NULL;
}

sl_err wallet_login(void *self, sl_call *pub)
{
    call *c = (call *)pub;
    const sl_rows *rows;
    struct session s;
    sl_str wallet = sl_body(pub, "wallet"), remote = sl_fact(pub, "remote");
    int64_t until;
    (void)self;
    if (!wallets_may_sign_in()) return auth_unavailable(pub);
    uint32_t wait = throttle_take(wallet, remote);
    if (wait) {
        auth_count("wallet", "delayed");
        return auth_slow_down(pub, wait);
    }
    const char *why = check_proof(pub, wallet, &until);
    if (why) return bad_proof(pub, why);
    sl_err e = sl_query(pub, &rows, "insert into sl_wallet_nonces (nonce, expires_at) values ($1, $2)",
                        sl_body(pub, "nonce"), until + 1000000LL * CHALLENGE_S);
    if (e == SL_ECONFLICT) return bad_proof(pub, "The challenge was answered already; ask for another one.");
    if (!e) e = session_open(c, IDENTITY_WALLET, wallet, &s);
    if (e) return e;
    throttle_clear(wallet, remote);
    auth_note(pub, "wallet", &s);
    return auth_reply(pub, &s);
}
