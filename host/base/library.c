/* library.c - loads a shared library and looks its functions up. */
#include "base/library.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

bool library_load(const char *file, const struct library_symbol *symbols, size_t n, char *why, size_t why_size)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        (void)snprintf(why, why_size, "%s", dlerror());
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        void *found = dlsym(handle, symbols[i].name);
        if (!found) {
            (void)snprintf(why, why_size, "%s has no function %s: it is too old", file, symbols[i].name);
            dlclose(handle);
            return false;
        }
        memcpy(symbols[i].at, &found, sizeof found);
    }
    return true;
}
