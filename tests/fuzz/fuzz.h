/* fuzz.h - what every fuzz target includes. */
#ifndef FUZZ_H
#define FUZZ_H
#include "base/text.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input up to the first NUL byte, and the rest. */
static inline sl_str fuzz_first(const uint8_t *data, size_t size, sl_str *rest)
{
    const char *p = (const char *)data, *zero = size ? memchr(p, 0, size) : NULL;
    size_t n = zero ? (size_t)(zero - p) : size;
    *rest = zero ? sl_lit(zero + 1, size - n - 1) : sl_lit("", 0);
    return sl_lit(size ? p : "", n);
}
#endif
