/* neo.h - Neo N3 accounts: addresses, and messages that wallets signed with an account's key (secp256r1). */
#ifndef BASE_NEO_H
#define BASE_NEO_H
#include "base/text.h"

enum { NEO_KEY = 33, NEO_SIGNATURE = 64, NEO_HASH = 20, NEO_ADDRESS_TEXT = 40 };

/* The address of the account that one public key (33 bytes, compressed) controls: Base58Check of version 0x35 and the
 * hash of its verification script. */
void neo_address(const unsigned char key[NEO_KEY], char out[NEO_ADDRESS_TEXT]);
bool neo_address_ok(sl_str address); /* well formed, with a right checksum */
/* Did this key sign the message in one of the ways in which wallets do? `salt`: what the wallet said it put in front of
 * the message, "" for none. signature: r and s, 32 bytes each. */
bool neo_message_signed(sl_str key, sl_str message, sl_str salt, sl_str signature);
#endif
