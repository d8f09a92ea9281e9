/* wallet.h - private to host/api: signing in with a Neo N3 wallet, and what it shares with the other ways. */
#ifndef API_WALLET_H
#define API_WALLET_H
#include "base/clock.h"
#include "base/neo.h"
#include "identity/identity.h"

#define WALLET_ASK                                                                                                     \
    SL_OBJECT(SL_REQUIRED("wallet", SL_STRING(25, 39) SL_EXAMPLE("\"NMACuhqEaNAeDSQVipcUPYiJ9TVgVyUxGV\""),            \
                          "The address of a Neo N3 account."))
#define WALLET_CHALLENGE                                                                                               \
    SL_OBJECT(SL_REQUIRED("nonce", "\"type\":\"string\"", "Send it back with the signature."),                         \
              SL_REQUIRED("message", "\"type\":\"string\"", "What the wallet is to sign."),                            \
              SL_REQUIRED("expires_at", SL_TIME, "Good until then, once."))
#define WALLET_PROOF                                                                                                   \
    SL_OBJECT(SL_REQUIRED("wallet", SL_STRING(25, 39), "The address."),                                                \
              SL_REQUIRED("nonce", SL_STRING(1, 128), "Of the challenge."),                                            \
              SL_REQUIRED("signature", SL_STRING(128, 128) ",\"pattern\":\"^[0-9a-fA-F]*$\"",                          \
                          "The wallet's signature of the message: r and s, in hex (`data` of signMessage)."),          \
              SL_REQUIRED("pubkey", SL_STRING(66, 66) ",\"pattern\":\"^[0-9a-fA-F]*$\"",                               \
                          "The account's public key, compressed, in hex (`publicKey`)."),                              \
              SL_OPTIONAL("salt", SL_STRING(0, 128) SL_DEFAULT("\"\""), "The salt that the wallet used, if any."))

sl_err wallet_challenge(void *self, sl_call *c);
sl_err wallet_login(void *self, sl_call *c);

/* ---- auth_routes.c ---- */
sl_err auth_reply(sl_call *c, const struct session *s);
sl_err auth_slow_down(sl_call *c, uint32_t seconds);
sl_err auth_unavailable(sl_call *c);
sl_err auth_refuse(sl_call *c, const char *code, const char *detail); /* 401 */
/* For the log and the audit, where the caller is still anonymous. */
void auth_note(sl_call *c, const char *way, const struct session *s);
void auth_count(const char *way, const char *outcome); /* auth_sign_ins_total */
#endif
