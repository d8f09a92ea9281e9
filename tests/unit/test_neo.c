/* test_neo.c - addresses and signed messages of Neo N3, against what real wallets made.
 *
 * The rows with a version come from Neon Wallet's own signer: NeonSigner.signMessage of @cityofzion/neon-dappkit 0.6.0
 * (with @cityofzion/neon-js), its versions CLASSIC (1), DEFAULT (2) and WITHOUT_SALT (3), run once for two private keys
 * (32 bytes of 0x11, and one of Neo's published test keys). Version 0 are the answers that NeoLine's documentation of
 * signMessage and signMessageV2 shows, made by that wallet; it gives no addresses, so these follow from the keys. */
#include "base/neo.h"
#include "base/id.h"
#include "unit.h"

#define X50  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG "Sign in to service-layer.\n" X50 X50 X50 X50 X50 X50 /* longer than a length of one byte */

static const struct {
    int version;
    const char *address, *key, *salt, *message, *signature;
} vectors[] = {
    { 1, "Na4BNjSyrBDRGESC877KoKD45yg5GWUxuW", "020217e617f0b6443928278f96999e69a23a4f2c152bdf6d6cdf66e5b80282d4ed",
      "5a49dcc7a374e211b2f192e686aa95ed", "Hello world",
      "eb6b3041171e66308e056ab600a04260912b8680e09da933de3509cda63d7ca8515421f83dd3f0d80166f4dd38679e0eababaf081bd9d697"
      "bfa3bea785de80e9" },
    { 2, "Na4BNjSyrBDRGESC877KoKD45yg5GWUxuW", "020217e617f0b6443928278f96999e69a23a4f2c152bdf6d6cdf66e5b80282d4ed",
      "a79bdea37a9345832851ef7a9dd64a6d", "Hello world",
      "866180c8665bc78e210dba68aac5db1f1f3e364ade7472dfa009cecb42a25d74e78197b020b5fc148cd4e46b922b5c8848d98a5bfb59addf"
      "8e8389316e9f3539" },
    { 3, "Na4BNjSyrBDRGESC877KoKD45yg5GWUxuW", "020217e617f0b6443928278f96999e69a23a4f2c152bdf6d6cdf66e5b80282d4ed", "",
      "Hello world",
      "d3b24427a89b5fb81e2feb0b4d65ebe2d33c94cc042ac07ca05a95be1b08ad124162cedbcdc1e828d8437bd1a428baf79f6ad7cd96ec23e3"
      "cd41c435391fe67d" },
    { 1, "Na4BNjSyrBDRGESC877KoKD45yg5GWUxuW", "020217e617f0b6443928278f96999e69a23a4f2c152bdf6d6cdf66e5b80282d4ed",
      "39b0928d2eaa9d688cea99ed19cd7e3f", LONG,
      "40616f45b1db1de6fdfd3b89a3ee488466e7dd8e57dd0b9e99015e156f5981b455707d7042c7daba7ec1cebd3515590c78b59e340a38c822"
      "959d038750435d0e" },
    { 2, "Na4BNjSyrBDRGESC877KoKD45yg5GWUxuW", "020217e617f0b6443928278f96999e69a23a4f2c152bdf6d6cdf66e5b80282d4ed",
      "5f0de0de9fb2f8f879e54ecb083fc3b3", LONG,
      "cc497c0f6224264836bbfe1edd757482fd8777be8c90c83da7a55e20473df93a4ecbf5cfc9889d9b283748827ccd09315bd0473ab11a09e8"
      "ab972b170aed635a" },
    { 3, "Na4BNjSyrBDRGESC877KoKD45yg5GWUxuW", "020217e617f0b6443928278f96999e69a23a4f2c152bdf6d6cdf66e5b80282d4ed", "",
      LONG,
      "f8b8b13410b255ac65b4fc14ed9e63ce0eea0935e1a9465ca2e50c4f088e9530dc3cd09a9fbf27a07cd6a020d2e732b33c2baa2b0bdb7cd2"
      "427a5c2b59fddc96" },
    { 1, "NMACuhqEaNAeDSQVipcUPYiJ9TVgVyUxGV", "035a928f201639204e06b4368b1a93365462a8ebbff0b8818151b74faab3a2b61a",
      "5a22727fcc55021d64d26124da792a10", "Hello world",
      "d29e698b7e0c201599fb2ef5773cbee934d62e5c71562506679dd52c05a6727d8aeb48de5c77dbe2ff4cd0ef40e5f37ceb45773a7867e777"
      "881df6a63d14e90b" },
    { 2, "NMACuhqEaNAeDSQVipcUPYiJ9TVgVyUxGV", "035a928f201639204e06b4368b1a93365462a8ebbff0b8818151b74faab3a2b61a",
      "445c9df3f4e6ceef17ad9b3ab61ba76e", "Hello world",
      "0fa166d4f1e93e89ad788d7aafbb783d3203240b6f68fec6a59bf16a4d778fc3559d83139142cf6b933430fa08e16affc83d6666c105a8ef"
      "3a732d41204d6341" },
    { 3, "NMACuhqEaNAeDSQVipcUPYiJ9TVgVyUxGV", "035a928f201639204e06b4368b1a93365462a8ebbff0b8818151b74faab3a2b61a", "",
      "Hello world",
      "f9a43c79b1a2b9a38a76988e873a4a4269d118a2defef5633a20793190bd4082b56d24bc4ab9d705cd4b71a90d8c40e87ac33f7ee03a562e"
      "3d50a2aa5d7bc268" },
    { 1, "NMACuhqEaNAeDSQVipcUPYiJ9TVgVyUxGV", "035a928f201639204e06b4368b1a93365462a8ebbff0b8818151b74faab3a2b61a",
      "f1ca066e03c24a5b3f021db072edf8b4", LONG,
      "158976a3eec2c8ae31cb6c7af33b5e000add55845266181831a9ca447105cf1e6d7fbe929e7674114c36ea5f8c7a993dfb803747d424d8b9"
      "cdd94020c0d0945d" },
    { 2, "NMACuhqEaNAeDSQVipcUPYiJ9TVgVyUxGV", "035a928f201639204e06b4368b1a93365462a8ebbff0b8818151b74faab3a2b61a",
      "04c751dc960392c11b84475e68ec36c3", LONG,
      "d6886c783dad7784b6801cfae1dc2304a7c702fe421c8114ef1fc2e77ff9758f93d0c32da4048c037a2d4646257cedd6c6a61fe813170c15"
      "8f7c5fbb18940a7c" },
    { 3, "NMACuhqEaNAeDSQVipcUPYiJ9TVgVyUxGV", "035a928f201639204e06b4368b1a93365462a8ebbff0b8818151b74faab3a2b61a", "",
      LONG,
      "efb2e94292a488c081b57abcd6c3eff369e996f568505926ce4c74a348f0b841f351299c49e6fd54e4e3c3216d51f830ea6cb4032f2bf1c5"
      "ceb6e02a668f427c" },
    { 0, NULL, "03ba9524bd7479414be713c3a4f6f3ef35f90bb4b08f0f552211bf734c24415230", "", "Hello world",
      "be506bf7e6851960bfe45968bf5dbbf79a9dc5dc63ee5b88629acfb288c435649c2766e977d4bc76253d8590bb3ca3d9b70efd71d6f7eebd"
      "f060dfa58c6601fd" },
    { 0, NULL, "023e72b8b5a20c00dac7ac01ecd72354a2d7d64620d6615524bb18b9f5a6ca8ef4", "543e66d70a56506f0a69aff35f25f794",
      "Hello World",
      "4fef4abd1ced91577c89eac7909b89ec2aa3d073178c51c3074b7bc5551093b00bf274f35f8166931dc90cbd88346729e86e0bf1c3014fa3"
      "587cc167f0cafd4c" },
};

static void check(size_t i, sl_str message, sl_str salt, int flip, bool expected)
{
    unsigned char key[NEO_KEY], signature[NEO_SIGNATURE];
    assert_true(hex_decode(sl_cstr(vectors[i].key), key, sizeof key));
    assert_true(hex_decode(sl_cstr(vectors[i].signature), signature, sizeof signature));
    if (flip >= 0) signature[flip] ^= 1;
    if (neo_message_signed(sl_lit((char *)key, sizeof key), message, salt,
                           sl_lit((char *)signature, sizeof signature)) != expected)
        fail_msg("vector %zu of version %d", i, vectors[i].version);
}

static void signatures_of_real_wallets(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        sl_str message = sl_cstr(vectors[i].message), salt = sl_cstr(vectors[i].salt);
        check(i, message, salt, -1, true);
        check(i, message, salt, (int)(i * 5 % NEO_SIGNATURE), false);
        check(i, str_sub(message, 0, message.n - 1), salt, -1, false);
        check((i + 3) % 12, message, salt, -1, false); /* a signature of the other message */
    }
}

static void addresses_follow_from_keys(void **state)
{
    char address[NEO_ADDRESS_TEXT];
    unsigned char key[NEO_KEY];
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        assert_true(hex_decode(sl_cstr(vectors[i].key), key, sizeof key));
        neo_address(key, address);
        if (vectors[i].address) assert_string_equal(address, vectors[i].address);
        assert_true(neo_address_ok(sl_cstr(address)));
        for (size_t j = 0; address[j]; j++) { /* each single wrong letter is noticed */
            char kept = address[j];
            address[j] = kept == 'x' ? 'y' : 'x';
            assert_false(neo_address_ok(sl_cstr(address)));
            address[j] = kept;
        }
    }
}

static void what_is_no_address_or_key(void **state)
{
    static const char *const bad[] = { "",
                                       "N",
                                       "Na4BNjSyrBDRGESC877KoKD45yg5GWUxu",
                                       "Na4BNjSyrBDRGESC877KoKD45yg5GWUxuW1",
                                       "Na4BNjSyrBDRGESC877KoKD45yg5GWUxu0",
                                       "AK2nJJpJr6o664CWJKi1QRXjqeic2zRp8y", /* of Neo Legacy: another version */
                                       "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
                                       "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz" };
    unsigned char key[NEO_KEY] = { 5 }, signature[NEO_SIGNATURE] = { 0 };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (neo_address_ok(sl_cstr(bad[i]))) fail_msg("taken: %s", bad[i]);
    sl_str zero = sl_lit((char *)signature, sizeof signature), point = sl_lit((char *)key, sizeof key);
    assert_false(neo_message_signed(point, SL("m"), SL(""), zero));
    key[0] = 2; /* x = 0 is on the curve: a key, whose signature of zeros must not hold */
    assert_false(neo_message_signed(point, SL("m"), SL(""), zero));
    assert_false(neo_message_signed(point, SL("m"), SL(""), SL("short")));
    assert_false(neo_message_signed(SL("short"), SL("m"), SL(""), zero));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(signatures_of_real_wallets),
                                        cmocka_unit_test(addresses_follow_from_keys),
                                        cmocka_unit_test(what_is_no_address_or_key) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
