/* libpq.c - loads libpq. */
#include "store/libpq.h"
#include "base/library.h"

struct libpq libpq;

bool libpq_load(char *why, size_t why_size)
{
    static const struct library_symbol symbols[] = {
#define X(name) { #name, &name },
        LIBPQ_FUNCTIONS(X)
#undef X
    };
    static bool loaded;
    if (!loaded) loaded = library_load("libpq.so.5", symbols, sizeof symbols / sizeof *symbols, why, why_size);
    return loaded;
}
