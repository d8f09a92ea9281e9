/* protobuf.c - writes protocol buffer messages straight into a buffer. */
#include "base/protobuf.h"

enum { VARINT = 0, LENGTH = 2, VARINT_MAX = 10 };

static size_t put(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        p[n++] = (uint8_t)(v | 0x80);
    p[n++] = (uint8_t)v;
    return n;
}

void pb_varint(buf *b, uint64_t v)
{
    char *p = buf_reserve(b, VARINT_MAX);
    if (p) b->n += put((uint8_t *)p, v);
}

static void tag(buf *b, unsigned field, unsigned type) { pb_varint(b, (uint64_t)field << 3 | type); }

void pb_int(buf *b, unsigned field, uint64_t v)
{
    if (!v) return;
    tag(b, field, VARINT);
    pb_varint(b, v);
}

void pb_bytes(buf *b, unsigned field, sl_str s)
{
    tag(b, field, LENGTH);
    pb_varint(b, s.n);
    buf_add_str(b, s);
}

/* One byte is kept free for the length, which is right for most messages; longer ones are moved up. */
size_t pb_open(buf *b, unsigned field)
{
    tag(b, field, LENGTH);
    buf_add_char(b, 0);
    return b->n;
}

void pb_close(buf *b, size_t opened)
{
    uint8_t length[VARINT_MAX];
    if (b->overflow) return;
    size_t n = b->n - opened, size = put(length, n);
    if (size > 1) {
        if (!buf_reserve(b, size - 1)) return;
        memmove(b->p + opened + size - 1, b->p + opened, n);
        b->n += size - 1;
    }
    memcpy(b->p + opened - 1, length, size);
}
