/* library.h - shared libraries that are loaded when they are first needed, so that a process that never does pays
 * neither the time nor the memory. */
#ifndef BASE_LIBRARY_H
#define BASE_LIBRARY_H
#include <stdbool.h>
#include <stddef.h>

struct library_symbol {
    const char *name;
    void *at; /* address of the function pointer that is filled in */
};
/* Loads `file` by the loader's search path, for as long as the process lives, and fills in every pointer. Blocks for
 * some milliseconds. false: `why` names the library and what is missing. */
bool library_load(const char *file, const struct library_symbol *symbols, size_t n, char *why, size_t why_size);
#endif
