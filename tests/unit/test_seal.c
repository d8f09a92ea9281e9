/* test_seal.c - envelope encryption: known bytes, every tampered byte, wrong aad, key forms, key rotation. */
#include "base/seal.h"
#include "base/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sodium.h>

static const char RAW32[] = "0123456789abcdef0123456789ABCDEF";
static char why[200];

static keyring *ring(const char *keys)
{
    keyring *k = keyring_new(sl_cstr(keys), why, sizeof why);
    if (!k) fail_msg("%s", why);
    return k;
}

static void what_was_sealed_comes_back(void **state)
{
    (void)state;
    arena *a = arena_new(0);
    keyring *k = ring(RAW32);
    char big[70000];
    memset(big, 'x', sizeof big);
    const sl_str plains[] = { SL(""), SL("s3cret"), { big, sizeof big }, { "a\0b", 3 } };
    for (size_t i = 0; i < sizeof plains / sizeof *plains; i++) {
        sl_str blob, again, plain;
        assert_int_equal(seal(k, a, SL("t|a|n|1"), plains[i], &blob), SL_OK);
        assert_int_equal(blob.n, plains[i].n + 100);
        assert_int_equal(seal(k, a, SL("t|a|n|1"), plains[i], &again), SL_OK);
        assert_false(sl_same(blob, again));
        assert_int_equal(unseal(k, a, SL("t|a|n|1"), blob, &plain), SL_OK);
        assert_true(sl_same(plain, plains[i]));
        if (plains[i].n > 4) assert_null(memmem(blob.p, blob.n, plains[i].p, plains[i].n));
    }
    keyring_free(k);
    arena_free(a);
}

/* Made by an independent program (Python's cryptography, AESGCM) from key 00..1f, data key 20..3f, nonces a0.. and b0..
 */
static const char VECTOR[] =
    "534c01013633306463643239a0a1a2a3a4a5a6a7a8a9aaabc6395e0e61ee24984a4cadf82b57eef1409d6b23a682745ba437"
    "1cbd43964b3ead2f889600b2ea081294f20bc1c7c5e4b0b1b2b3b4b5b6b7b8b9babb42924f67e442a47b57e282acbc02d6f4"
    "fa8e7fe853ac103dc5";

static void a_blob_made_elsewhere_opens(void **state)
{
    (void)state;
    unsigned char raw[sizeof VECTOR / 2];
    size_t n;
    arena *a = arena_new(0);
    keyring *k = ring("hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    sl_str plain;
    assert_int_equal(sodium_hex2bin(raw, sizeof raw, VECTOR, strlen(VECTOR), NULL, &n, NULL), 0);
    assert_int_equal(unseal(k, a, SL("[\"default\",\"acc\",\"api_key\",1]"), sl_lit((char *)raw, n), &plain), SL_OK);
    assert_true(sl_is(plain, "the value"));
    keyring_free(k);
    arena_free(a);
}

static void every_changed_byte_is_noticed(void **state)
{
    (void)state;
    arena *a = arena_new(0);
    keyring *k = ring(RAW32);
    sl_str blob, plain = { NULL, 0 };
    assert_int_equal(seal(k, a, SL("aad"), SL("a value of some length"), &blob), SL_OK);
    char *b = (char *)blob.p;
    for (size_t i = 0; i < blob.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            b[i] ^= (char)(1 << bit);
            assert_int_equal(unseal(k, a, SL("aad"), blob, &plain), SL_EDENIED);
            b[i] ^= (char)(1 << bit);
        }
    for (size_t n = 0; n < blob.n; n++)
        assert_int_equal(unseal(k, a, SL("aad"), sl_lit(b, n), &plain), SL_EDENIED);
    assert_null(plain.p);
    assert_int_equal(unseal(k, a, SL("aad"), blob, &plain), SL_OK);
    keyring_free(k);
    arena_free(a);
}

static void another_aad_does_not_open(void **state)
{
    (void)state;
    arena *a = arena_new(0);
    keyring *k = ring(RAW32);
    sl_str blob, plain;
    assert_int_equal(seal(k, a, SL("tenant|1"), SL("v"), &blob), SL_OK);
    assert_int_equal(unseal(k, a, SL("tenant|2"), blob, &plain), SL_EDENIED);
    assert_int_equal(unseal(k, a, SL(""), blob, &plain), SL_EDENIED);
    assert_int_equal(seal_rewrap(k, a, SL("tenant|2"), blob, &plain), SL_EDENIED);
    keyring_free(k);
    arena_free(a);
}

static void parts_of_two_blobs_do_not_mix(void **state)
{
    (void)state;
    arena *a = arena_new(0);
    keyring *k = ring(RAW32);
    sl_str one, two, plain;
    assert_int_equal(seal(k, a, SL("x"), SL("first"), &one), SL_OK);
    assert_int_equal(seal(k, a, SL("x"), SL("other"), &two), SL_OK);
    memcpy((char *)one.p + 72, two.p + 72, one.n - 72); /* data of two behind the wrapped key of one */
    assert_int_equal(unseal(k, a, SL("x"), one, &plain), SL_EDENIED);
    keyring_free(k);
    arena_free(a);
}

static void keys_are_taken_raw_base64_and_hex(void **state)
{
    (void)state;
    keyring *k[6] = { ring(RAW32),
                      ring("raw:0123456789abcdef0123456789ABCDEF"),
                      ring("base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERUY="),
                      ring("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERUY="),
                      ring("hex:3031323334353637383961626364656630313233343536373839414243444546"),
                      ring("3031323334353637383961626364656630313233343536373839414243444546") };
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(seal_key_id(k[i], SL("")).n, 8);
        assert_true(sl_same(seal_key_id(k[0], SL("")), seal_key_id(k[i], SL(""))));
    }
    for (size_t i = 0; i < 6; i++)
        keyring_free(k[i]);
    keyring_free(ring("0123456789abcdef"));
    keyring_free(ring("0123456789abcdef01234567"));
}

static void bad_keys_are_named_by_number_never_by_value(void **state)
{
    (void)state;
    assert_null(keyring_new(SL("0123456789abcdef,tooshort"), why, sizeof why));
    assert_string_equal(why, "encryption key 2 is not 16, 24 or 32 bytes as raw text, base64 or hex");
    assert_null(keyring_new(SL("0123456789abcdef, raw:0123456789abcdef"), why, sizeof why));
    assert_non_null(strstr(why, "encryption keys 1 and 2 have the same id"));
    assert_null(keyring_new(SL(""), why, sizeof why));
    assert_null(keyring_new(SL("hex:zz"), why, sizeof why));
    assert_null(keyring_new(SL("base64:MDEyMzQ1"), why, sizeof why));
}

static void rotation_opens_old_blobs_and_rewraps_them(void **state)
{
    (void)state;
    arena *a = arena_new(0);
    keyring *before = ring("0123456789abcdef");
    keyring *both = ring("0123456789abcdef01234567,0123456789abcdef");
    keyring *after = ring("0123456789abcdef01234567");
    sl_str blob, moved, plain;
    assert_int_equal(seal(before, a, SL("x"), SL("kept"), &blob), SL_OK);
    assert_int_equal(unseal(after, a, SL("x"), blob, &plain), SL_EDENIED);
    assert_int_equal(unseal(both, a, SL("x"), blob, &plain), SL_OK);
    assert_int_equal(seal_rewrap(both, a, SL("x"), blob, &moved), SL_OK);
    assert_true(sl_same(seal_key_id(both, blob), seal_key_id(before, SL(""))));
    assert_true(sl_same(seal_key_id(both, moved), seal_key_id(after, SL(""))));
    assert_memory_equal(blob.p + 72, moved.p + 72, blob.n - 72); /* the data itself is untouched */
    assert_int_equal(unseal(after, a, SL("x"), moved, &plain), SL_OK);
    assert_true(sl_is(plain, "kept"));
    assert_null(seal_key_id(both, SL("not a blob")).p);
    keyring_free(before);
    keyring_free(both);
    keyring_free(after);
    arena_free(a);
}

static void the_arena_limit_is_an_error_not_a_crash(void **state)
{
    (void)state;
    arena *a = arena_new(1000);
    keyring *k = keyring_random();
    char big[4000] = "";
    sl_str blob;
    assert_non_null(k);
    assert_int_equal(seal(k, a, SL("x"), sl_lit(big, sizeof big), &blob), SL_ETOOBIG);
    keyring_free(k);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_comes_back),
        cmocka_unit_test(a_blob_made_elsewhere_opens),
        cmocka_unit_test(every_changed_byte_is_noticed),
        cmocka_unit_test(another_aad_does_not_open),
        cmocka_unit_test(parts_of_two_blobs_do_not_mix),
        cmocka_unit_test(keys_are_taken_raw_base64_and_hex),
        cmocka_unit_test(bad_keys_are_named_by_number_never_by_value),
        cmocka_unit_test(rotation_opens_old_blobs_and_rewraps_them),
        cmocka_unit_test(the_arena_limit_is_an_error_not_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
