/* test_address.c - address text, CIDR lists and every block of the special-purpose registries with both its edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "net/address.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static struct ip parsed(const char *text)
{
    struct ip ip;
    if (!ip_parse(sl_cstr(text), &ip)) fail_msg("cannot parse %s", text);
    return ip;
}

static const char *special(const char *text)
{
    struct ip ip = parsed(text);
    return ip_special(&ip);
}

static void assert_name(const char *text, const char *want)
{
    const char *got = special(text);
    if (!want ? got != NULL : !got || strcmp(got, want) != 0)
        fail_msg("%s: got %s, want %s", text, got ? got : "(ordinary)", want ? want : "(ordinary)");
}

/* First and last address of each block, and the neighbours outside (NULL where the neighbour is special by itself). */
static const struct {
    const char *first, *last, *name, *before, *after;
} blocks[] = {
    { "0.0.0.0", "0.255.255.255", "this-network", NULL, "1.0.0.0" },
    { "10.0.0.0", "10.255.255.255", "private-use", "9.255.255.255", "11.0.0.0" },
    { "100.64.0.0", "100.127.255.255", "shared-address-space", "100.63.255.255", "100.128.0.0" },
    { "127.0.0.0", "127.255.255.255", "loopback", "126.255.255.255", "128.0.0.0" },
    { "169.254.0.0", "169.254.255.255", "link-local", "169.253.255.255", "169.255.0.0" },
    { "172.16.0.0", "172.31.255.255", "private-use", "172.15.255.255", "172.32.0.0" },
    { "192.0.0.0", "192.0.0.255", "ietf-protocol-assignments", "191.255.255.255", "192.0.1.0" },
    { "192.0.2.0", "192.0.2.255", "documentation", "192.0.1.255", "192.0.3.0" },
    { "192.88.99.0", "192.88.99.255", "6to4-relay-anycast", "192.88.98.255", "192.88.100.0" },
    { "192.168.0.0", "192.168.255.255", "private-use", "192.167.255.255", "192.169.0.0" },
    { "198.18.0.0", "198.19.255.255", "benchmarking", "198.17.255.255", "198.20.0.0" },
    { "198.51.100.0", "198.51.100.255", "documentation", "198.51.99.255", "198.51.101.0" },
    { "203.0.113.0", "203.0.113.255", "documentation", "203.0.112.255", "203.0.114.0" },
    { "224.0.0.0", "239.255.255.255", "multicast", "223.255.255.255", NULL },
    { "240.0.0.0", "255.255.255.254", "reserved", NULL, NULL },
    { "255.255.255.255", "255.255.255.255", "limited-broadcast", NULL, NULL },
    { "::", "::", "unspecified", NULL, NULL },
    { "::1", "::1", "loopback", NULL, NULL },
    { "::2", "::ffff:ffff", "ipv4-compatible", NULL, "::1:0:0" },
    { "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local-use-translation",
      "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "64:ff9b:2::" },
    { "100::", "100::ffff:ffff:ffff:ffff", "discard-only", "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
    { "100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", "dummy-prefix", NULL, "100:0:0:2::" },
    { "2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "ietf-protocol-assignments", NULL, "2001:200::" },
    { "2001:2::", "2001:2::ffff", "ietf-protocol-assignments", NULL, NULL },    /* benchmarking */
    { "2001:10::", "2001:2f:ffff::", "ietf-protocol-assignments", NULL, NULL }, /* ORCHID, ORCHIDv2 */
    { "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
      "2001:db9::" },
    { "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      "3fff:1000::" },
    { "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment-routing", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      "5f01::" },
    { "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique-local", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      "fe00::" },
    { "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      NULL },
    { "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local", NULL, NULL },
    { "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast", NULL, NULL },
};

static void each_special_block_is_named_to_its_edges(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        assert_name(blocks[i].first, blocks[i].name);
        assert_name(blocks[i].last, blocks[i].name);
        if (blocks[i].before) assert_name(blocks[i].before, NULL);
        if (blocks[i].after) assert_name(blocks[i].after, NULL);
    }
}

static void global_addresses_are_ordinary(void **state)
{
    (void)state;
    static const char *const ordinary[] = { "8.8.8.8",         "1.1.1.1",           "93.184.216.34",
                                            "192.31.196.1",    "192.52.193.1",      "192.175.48.1",
                                            "2606:4700::1111", "2a00:1450:4001::1", "2620:4f:8000::1" };
    for (size_t i = 0; i < sizeof ordinary / sizeof *ordinary; i++)
        assert_name(ordinary[i], NULL);
}

static void an_embedded_ipv4_address_decides(void **state)
{
    (void)state;
    assert_name("::ffff:127.0.0.1", "loopback");
    assert_name("::ffff:10.1.2.3", "private-use");
    assert_name("::ffff:8.8.8.8", NULL);
    assert_name("64:ff9b::169.254.169.254", "link-local");
    assert_name("64:ff9b::8.8.8.8", NULL);
    assert_name("2002:7f00:1::1", "loopback");     /* 6to4 of 127.0.0.1 */
    assert_name("2002:c0a8:101::", "private-use"); /* 6to4 of 192.168.1.1 */
    assert_name("2002:808:808::1", NULL);
    assert_name("2001:0:808:808:0:0:f5ff:fffe", "private-use"); /* Teredo: client 10.0.0.1 inverted */
    assert_name("2001:0:a00:1:0:0:f7f7:f7f7", "private-use");   /* Teredo: server 10.0.0.1 */
    assert_name("2001:0:808:808:0:0:f7f7:f7f7", NULL);          /* 8.8.8.8 at both ends */
}

static void text_is_parsed_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = { "",      "1.2.3",      "1.2.3.4.5", "256.1.1.1",  "01.2.3.4", "0x7f.0.0.1",
                                       "127.1", "2130706433", "[::1]",     "fe80::1%lo", " 1.2.3.4", "1.2.3.4 ",
                                       ":::",   "1::2::3",    "12345::",   "::1/128",    "localhost" };
    struct ip ip;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ip_parse(sl_cstr(bad[i]), &ip)) fail_msg("accepted %s", bad[i]);
    assert_false(ip_parse(sl_lit(NULL, 0), &ip));
    assert_false(ip_parse(sl_lit("1.2.3.4\0", 8), &ip));
}

static void format_gives_canonical_text(void **state)
{
    (void)state;
    static const char *const pairs[][2] = { { "1.2.3.4", "1.2.3.4" },
                                            { "2001:DB8:0:0:0:0:0:1", "2001:db8::1" },
                                            { "::", "::" },
                                            { "::ffff:1.2.3.4", "::ffff:1.2.3.4" } };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct ip ip = parsed(pairs[i][0]);
        char out[64];
        assert_int_equal(ip_format(&ip, out), strlen(pairs[i][1]));
        assert_string_equal(out, pairs[i][1]);
    }
}

static void a_socket_address_becomes_an_ip(void **state)
{
    (void)state;
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct ip ip, want = parsed("10.0.0.7");
    inet_pton(AF_INET, "10.0.0.7", &in.sin_addr);
    assert_true(ip_from_sockaddr((struct sockaddr *)&in, &ip));
    assert_memory_equal(ip.bytes, want.bytes, 16);
    assert_false(ip.v6);
    inet_pton(AF_INET6, "::ffff:10.0.0.7", &in6.sin6_addr);
    assert_true(ip_from_sockaddr((struct sockaddr *)&in6, &ip));
    assert_false(ip.v6);
    assert_memory_equal(ip.bytes, want.bytes, 16);
    inet_pton(AF_INET6, "2001:db8::5", &in6.sin6_addr);
    assert_true(ip_from_sockaddr((struct sockaddr *)&in6, &ip));
    assert_true(ip.v6);
    assert_false(ip_from_sockaddr((struct sockaddr *)&un, &ip));
}

static bool in_cidr(const char *block, const char *address)
{
    struct cidr c;
    struct ip ip = parsed(address);
    if (!cidr_parse(sl_cstr(block), &c)) fail_msg("cannot parse %s", block);
    return cidr_has(&c, &ip);
}

static void cidr_blocks_match_by_prefix(void **state)
{
    (void)state;
    assert_true(in_cidr("10.0.0.0/8", "10.255.0.1"));
    assert_false(in_cidr("10.0.0.0/8", "11.0.0.1"));
    assert_true(in_cidr("10.0.0.0/9", "10.127.255.255"));
    assert_false(in_cidr("10.0.0.0/9", "10.128.0.0"));
    assert_true(in_cidr("0.0.0.0/0", "203.0.113.9"));
    assert_false(in_cidr("0.0.0.0/0", "2001:db8::1"));
    assert_true(in_cidr("127.0.0.1", "127.0.0.1"));
    assert_false(in_cidr("127.0.0.1", "127.0.0.2"));
    assert_true(in_cidr("::1", "::1"));
    assert_true(in_cidr("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(in_cidr("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(in_cidr("10.0.0.0/8", "::ffff:10.2.3.4"));
    assert_true(in_cidr("::ffff:10.0.0.0/104", "10.2.3.4"));
    assert_false(in_cidr("::/0", "10.2.3.4"));
    assert_true(in_cidr("10.0.0.9/8", "10.0.0.1")); /* host bits do not matter */
}

static void bad_cidr_text_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "/8",
                                       "10.0.0.0/",
                                       "10.0.0.0/33",
                                       "::/129",
                                       "10.0.0.0/-1",
                                       "10.0.0.0/8x",
                                       "10.0.0.0/0008",
                                       "10.0.0.0/8/8",
                                       "10.0.0/8",
                                       "*" };
    struct cidr c;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (cidr_parse(sl_cstr(bad[i]), &c)) fail_msg("accepted %s", bad[i]);
    assert_false(cidr_parse(sl_lit(NULL, 0), &c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_special_block_is_named_to_its_edges),
        cmocka_unit_test(global_addresses_are_ordinary),
        cmocka_unit_test(an_embedded_ipv4_address_decides),
        cmocka_unit_test(text_is_parsed_strictly),
        cmocka_unit_test(format_gives_canonical_text),
        cmocka_unit_test(a_socket_address_becomes_an_ip),
        cmocka_unit_test(cidr_blocks_match_by_prefix),
        cmocka_unit_test(bad_cidr_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
