/* symbols.h - what an address in this process is: the file that it was loaded from and the function, for profiles. */
#ifndef OBSERVE_SYMBOLS_H
#define OBSERVE_SYMBOLS_H
#include "base/text.h"

struct object {           /* one loaded file */
    uintptr_t start, end; /* of its code in memory */
    uint64_t offset;      /* of that in the file */
    uintptr_t base;       /* added to the addresses in the file */
    char path[512];
    char build_id[65]; /* hex, "" = none */
    struct symbol_table *symbols;
    bool looked;
};
/* Where the symbols of a library stand that was loaded from a file which is gone by now. */
struct symbol_file {
    const char *loaded, *file;
};
/* Everything that is loaded now. Reads files: not for the loop thread. Symbols are taken only from a file with the same
 * build id. `files` must outlive it. */
typedef struct symbols symbols;
symbols *symbols_load(const struct symbol_file *files, size_t n);
void symbols_free(symbols *s);
size_t symbols_count(const symbols *s);
const struct object *symbols_object(const symbols *s, size_t i);
size_t symbols_find(const symbols *s, uintptr_t address); /* index of its object, or symbols_count */
/* The function that an address lies in and where it begins, or NULL; lives as long as s. */
const char *symbols_name(symbols *s, uintptr_t address, uintptr_t *start);
#endif
