/* address.h - IP addresses: text, CIDR lists, and which ones are private or special (IANA registries). */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H
#include "base/text.h"
#include <sys/socket.h>

struct ip {
    unsigned char bytes[16]; /* v4 in the first four */
    bool v6;
};
bool ip_parse(sl_str s, struct ip *ip);                          /* no brackets, no zone */
bool ip_from_sockaddr(const struct sockaddr *sa, struct ip *ip); /* v4-mapped becomes v4 */
size_t ip_format(const struct ip *ip, char out[64]);
struct cidr {
    struct ip ip;
    unsigned bits;
};
bool cidr_parse(sl_str s, struct cidr *c); /* "10.0.0.0/8", "::1" */
bool cidr_has(const struct cidr *c, const struct ip *ip);
/* The registry's name for a special-purpose address ("private-use", "loopback", ...), looking into v4-mapped, NAT64,
 * 6to4 and Teredo; NULL = an ordinary global address. */
const char *ip_special(const struct ip *ip);
#endif
