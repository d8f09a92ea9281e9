/* wire.h - what the kernel counts of a TCP connection. */
#ifndef NET_WIRE_H
#define NET_WIRE_H
#include <stdbool.h>
#include <stdint.h>

/* Bytes that came in on the connection `fd` since it was opened (TCP_INFO of Linux 4.1 and later). False: it cannot be
 * asked. */
bool wire_received(int fd, uint64_t *bytes);
#endif
