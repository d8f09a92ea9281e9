/* protobuf.h - writes protocol buffer messages straight into a buffer (protobuf.dev/programming-guides/encoding). */
#ifndef BASE_PROTOBUF_H
#define BASE_PROTOBUF_H
#include "base/text.h"

void pb_varint(buf *b, uint64_t v);              /* a bare number, for packed fields */
void pb_int(buf *b, unsigned field, uint64_t v); /* left out when 0, as proto3 does */
void pb_bytes(buf *b, unsigned field, sl_str s); /* also strings; written even when empty */
size_t pb_open(buf *b, unsigned field);          /* a message or packed field inside: write it, then */
void pb_close(buf *b, size_t opened);            /* pb_close with what pb_open returned */
#endif
