/* address.c - IP addresses as text and bytes, CIDR matching, and the table of private and special-purpose blocks. */
#include "net/address.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

struct block {
    unsigned char prefix[16];
    unsigned bits;
    const char *name;
};

/* IANA IPv4 Special-Purpose Address Registry (RFC 6890 and its updates) without the blocks that it marks globally
 * reachable, and multicast (RFC 5771). More specific blocks stand first. */
static const struct block v4_blocks[] = {
    { { 0 }, 8, "this-network" },
    { { 10 }, 8, "private-use" },
    { { 100, 64 }, 10, "shared-address-space" },
    { { 127 }, 8, "loopback" },
    { { 169, 254 }, 16, "link-local" },
    { { 172, 16 }, 12, "private-use" },
    { { 192, 0, 0 }, 24, "ietf-protocol-assignments" },
    { { 192, 0, 2 }, 24, "documentation" },
    { { 192, 88, 99 }, 24, "6to4-relay-anycast" },
    { { 192, 168 }, 16, "private-use" },
    { { 198, 18 }, 15, "benchmarking" },
    { { 198, 51, 100 }, 24, "documentation" },
    { { 203, 0, 113 }, 24, "documentation" },
    { { 224 }, 4, "multicast" },
    { { 255, 255, 255, 255 }, 32, "limited-broadcast" },
    { { 240 }, 4, "reserved" },
};

/* IANA IPv6 Special-Purpose Address Registry, with multicast (RFC 4291), the deprecated site-local block (RFC 3879) and
 * the deprecated IPv4-compatible block (RFC 4291 2.5.5.1). What carries an IPv4 address is handled by ip_inside first.
 */
static const struct block v6_blocks[] = {
    { { [15] = 1 }, 128, "loopback" },
    { { 0 }, 128, "unspecified" },
    { { 0 }, 96, "ipv4-compatible" },
    { { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 48, "local-use-translation" },
    { { 0x01 }, 64, "discard-only" },
    { { 0x01, [7] = 1 }, 64, "dummy-prefix" },
    { { 0x20, 0x01 }, 23, "ietf-protocol-assignments" },
    { { 0x20, 0x01, 0x0d, 0xb8 }, 32, "documentation" },
    { { 0x3f, 0xff }, 20, "documentation" },
    { { 0x5f }, 16, "segment-routing" },
    { { 0xfc }, 7, "unique-local" },
    { { 0xfe, 0x80 }, 10, "link-local" },
    { { 0xfe, 0xc0 }, 10, "site-local" },
    { { 0xff }, 8, "multicast" },
};

static const unsigned char mapped_prefix[12] = { [10] = 0xff, [11] = 0xff }; /* ::ffff:0:0/96, RFC 4291 */
static const unsigned char nat64_prefix[12] = { 0x00, 0x64, 0xff, 0x9b };    /* 64:ff9b::/96, RFC 6052 */

static bool same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

static struct ip v4_from(const unsigned char *bytes)
{
    struct ip ip = { .v6 = false };
    memcpy(ip.bytes, bytes, 4);
    return ip;
}

static bool is_mapped(const struct ip *ip) { return ip->v6 && memcmp(ip->bytes, mapped_prefix, 12) == 0; }

bool ip_parse(sl_str s, struct ip *ip)
{
    char text[INET6_ADDRSTRLEN];
    if (!s.p || s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n)) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    memset(ip, 0, sizeof *ip);
    ip->v6 = memchr(s.p, ':', s.n) != NULL;
    return inet_pton(ip->v6 ? AF_INET6 : AF_INET, text, ip->bytes) == 1;
}

bool ip_from_sockaddr(const struct sockaddr *sa, struct ip *ip)
{
    memset(ip, 0, sizeof *ip);
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        memcpy(ip->bytes, &in.sin_addr, 4);
        return true;
    }
    if (sa->sa_family != AF_INET6) return false;
    struct sockaddr_in6 in6;
    memcpy(&in6, sa, sizeof in6);
    memcpy(ip->bytes, &in6.sin6_addr, 16);
    ip->v6 = true;
    if (is_mapped(ip)) *ip = v4_from(ip->bytes + 12);
    return true;
}

size_t ip_format(const struct ip *ip, char out[64])
{
    if (!inet_ntop(ip->v6 ? AF_INET6 : AF_INET, ip->bytes, out, 64)) out[0] = 0;
    return strlen(out);
}

bool cidr_parse(sl_str s, struct cidr *c)
{
    const char *slash = s.p ? memchr(s.p, '/', s.n) : NULL;
    size_t n = slash ? (size_t)(slash - s.p) : s.n;
    if (!ip_parse(sl_lit(s.p, n), &c->ip)) return false;
    unsigned most = c->ip.v6 ? 128 : 32;
    c->bits = most;
    if (slash) {
        size_t digits = s.n - n - 1;
        if (digits < 1 || digits > 3) return false;
        c->bits = 0;
        for (size_t i = n + 1; i < s.n; i++) {
            if (s.p[i] < '0' || s.p[i] > '9') return false;
            c->bits = c->bits * 10 + (unsigned)(s.p[i] - '0');
        }
        if (c->bits > most) return false;
    }
    if (is_mapped(&c->ip) && c->bits >= 96) { /* ::ffff:10.0.0.0/104 means 10.0.0.0/8 */
        c->ip = v4_from(c->ip.bytes + 12);
        c->bits -= 96;
    }
    return true;
}

bool cidr_has(const struct cidr *c, const struct ip *ip)
{
    if (!c->ip.v6 && is_mapped(ip)) return same_bits(c->ip.bytes, ip->bytes + 12, c->bits);
    return c->ip.v6 == ip->v6 && same_bits(c->ip.bytes, ip->bytes, c->bits);
}

static const char *block_name(const struct block *blocks, size_t n, const struct ip *ip)
{
    for (size_t i = 0; i < n; i++)
        if (same_bits(blocks[i].prefix, ip->bytes, blocks[i].bits)) return blocks[i].name;
    return NULL;
}

/* The IPv4 addresses that an IPv6 address leads to: their number, 0 = it carries none. */
static size_t ip_inside(const struct ip *ip, struct ip in[2])
{
    const unsigned char *b = ip->bytes;
    if (is_mapped(ip) || memcmp(b, nat64_prefix, 12) == 0) {
        in[0] = v4_from(b + 12);
        return 1;
    }
    if (b[0] == 0x20 && b[1] == 0x02) { /* 6to4, RFC 3056: 2002:V4ADDR::/48 */
        in[0] = v4_from(b + 2);
        return 1;
    }
    if (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0) { /* Teredo, RFC 4380 4: server, then client inverted */
        unsigned char client[4];
        for (int i = 0; i < 4; i++)
            client[i] = b[12 + i] ^ 0xff;
        in[0] = v4_from(b + 4);
        in[1] = v4_from(client);
        return 2;
    }
    return 0;
}

const char *ip_special(const struct ip *ip)
{
    if (!ip->v6) return block_name(v4_blocks, sizeof v4_blocks / sizeof *v4_blocks, ip);
    struct ip in[2];
    size_t n = ip_inside(ip, in);
    if (n == 0) return block_name(v6_blocks, sizeof v6_blocks / sizeof *v6_blocks, ip);
    const char *name = NULL;
    for (size_t i = 0; i < n && !name; i++)
        name = ip_special(&in[i]);
    return name;
}
