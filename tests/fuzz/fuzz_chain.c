/* fuzz_chain.c - files of the audit log: reading lines and checking a chain of them. */
#include "base/chain.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chain self;
    struct chain_check check = { .found = NULL };
    char prev[CHAIN_HASH], *copy = malloc(size + 1);
    if (!copy) abort();
    if (size) memcpy(copy, data, size); /* so that reading past the end shows */
    if (chain_read(copy, size, &self, prev) && (self.seq == 0 || size > (size_t)INT32_MAX)) abort();
    FILE *f = size ? fmemopen(copy, size, "r") : NULL;
    if (f) {
        chain_verify(f, "fuzz", &check);
        fclose(f);
        if (check.lines && check.last.seq == 0) abort();
    }
    free(copy);
    return 0;
}
