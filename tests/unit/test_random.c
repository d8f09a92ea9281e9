/* test_random.c - the construction of signed random bytes against known answers, forged values, and forms of the key.
 */
#include "../../plugins/random/derive.c"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char KEY64[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==";
static const char PUBLIC[] = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
static unsigned char secret_key[SECRET_KEY], public_key[PUBLIC_KEY];

static int keys(void **state)
{
    (void)state;
    assert_true(sodium_init() >= 0);
    assert_null(signing_key_read(sl_cstr(KEY64), secret_key, public_key));
    return 0;
}

static const struct {
    const char *id;
    uint64_t counter, ns;
    uint32_t length;
    const char *signature, *value;
} vectors[] = {
    { "req-1", 1, 1700000000123456789u, 16,
      "Q/5jHgDZtVRD0hFdysMEqDcAQ6P5JqOIl4FvWUxyBwD8C+7ulo6V/bewoFeQRgbDyTCTWHk9IXyxxBRkFgTjAQ==",
      "zsPI8lnIjMqIQJWbpf4CLw==" },
    { "", 2, 1700000000000000000u, 100,
      "OSEwMevV07HhzwiWDOVzgxxKidBt+9b6pc0pqp7xlkKo7D19ecBU2OaIswToMCDf/jKIwhLLHpD3P7VLwSWvDg==",
      "ARHw4taCyeNHSx3W6ACzFVbJsk0Ic3fkeSARS4cLWRP9mF2J0oPnpRmeA+DveWEmAOzRwvddTaKUm9XvkzqSQO/"
      "EmoO8YcCzB8ptrxk9wtA8OM2M7JGu"
      "dVoIOYR0Afy6g7OgSA==" },
};

static struct draw drawn(size_t i)
{
    struct draw d = { .request_id = sl_cstr(vectors[i].id),
                      .counter = vectors[i].counter,
                      .created_ns = vectors[i].ns,
                      .length = vectors[i].length };
    draw_sign(&d, secret_key);
    return d;
}

static void known_answers_are_met(void **state)
{
    (void)state;
    unsigned char expected[LENGTH_MAX];
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct draw d = drawn(i);
        assert_true(bytes_from_base64(sl_cstr(vectors[i].signature), expected, SIGNATURE));
        assert_memory_equal(d.signature, expected, SIGNATURE);
        assert_true(bytes_from_base64(sl_cstr(vectors[i].value), expected, vectors[i].length));
        assert_memory_equal(d.value, expected, vectors[i].length);
        assert_null(draw_verify(&d, public_key));
    }
}

static void any_change_is_noticed(void **state)
{
    (void)state;
    struct draw d = drawn(1);
    d.counter++;
    assert_non_null(draw_verify(&d, public_key));
    d = drawn(1);
    d.created_ns++;
    assert_non_null(draw_verify(&d, public_key));
    d = drawn(1);
    d.length--;
    assert_non_null(draw_verify(&d, public_key));
    d = drawn(1);
    d.request_id = SL("x");
    assert_non_null(draw_verify(&d, public_key));
    d = drawn(1);
    d.value[99] ^= 1;
    assert_string_equal(draw_verify(&d, public_key), "The value does not follow from the signature.");
    d = drawn(1);
    unsigned char other[PUBLIC_KEY];
    memcpy(other, public_key, sizeof other);
    other[0] ^= 1;
    assert_non_null(draw_verify(&d, other));
}

static void the_longest_value_is_made_and_shorter_ones_are_not_its_start(void **state)
{
    (void)state;
    struct draw a = { .request_id = SL("r"), .counter = 7, .created_ns = 9, .length = LENGTH_MAX }, b = a;
    draw_sign(&a, secret_key);
    assert_null(draw_verify(&a, public_key));
    b.length = 32;
    draw_sign(&b, secret_key);
    assert_memory_not_equal(a.value, b.value, 32); /* the length is signed too */
}

static void keys_come_as_seed_or_pair_in_base64_or_hex(void **state)
{
    (void)state;
    static const char *const good[] = { KEY64, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                                        "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F",
                                        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
                                        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8" };
    unsigned char sk[SECRET_KEY], pk[PUBLIC_KEY], expected[PUBLIC_KEY];
    assert_true(bytes_from_base64(sl_cstr(PUBLIC), expected, PUBLIC_KEY));
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_null(signing_key_read(sl_cstr(good[i]), sk, pk));
        assert_memory_equal(pk, expected, PUBLIC_KEY);
    }
    static const char *const bad[] = { "short",
                                       "AAECAwQ=", "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(strstr(signing_key_read(sl_cstr(bad[i]), sk, pk), "32 bytes"));
    char mixed[sizeof KEY64];
    memcpy(mixed, KEY64, sizeof mixed);
    mixed[60] = mixed[60] == 'A' ? 'B' : 'A';
    assert_non_null(strstr(signing_key_read(sl_cstr(mixed), sk, pk), "not the public key"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers_are_met),
        cmocka_unit_test(any_change_is_noticed),
        cmocka_unit_test(the_longest_value_is_made_and_shorter_ones_are_not_its_start),
        cmocka_unit_test(keys_come_as_seed_or_pair_in_base64_or_hex),
    };
    return cmocka_run_group_tests(tests, keys, NULL);
}
