/* pprof.h - writes call stacks with numbers as a profile that pprof reads (github.com/google/pprof, profile.proto). */
#ifndef OBSERVE_PPROF_H
#define OBSERVE_PPROF_H
#include "observe/symbols.h"

enum { PPROF_DEPTH = 64, PPROF_VALUES = 4 };
struct pprof_stack {
    uint32_t n;
    void *pc[PPROF_DEPTH]; /* innermost first: the place itself, then return addresses */
};
struct pprof_value {
    const char *type, *unit; /* "cpu", "nanoseconds" */
};
struct pprof_about {
    struct pprof_value values[PPROF_VALUES], period_of;
    size_t n_values;
    int64_t period, at, duration;    /* at: nanoseconds since 1970; duration: nanoseconds */
    const struct symbol_file *files; /* see symbols_load */
    size_t n_files;
};
/* Equal stacks may come more than once; pprof adds them up. Symbols are looked up as they come. */
typedef struct pprof pprof;
pprof *pprof_new(const struct pprof_about *about);
void pprof_add(pprof *p, const struct pprof_stack *stack, const int64_t *values);
bool pprof_end(pprof *p, buf *out); /* gzip; frees p. False: too large, or no memory. Not for the loop thread */
#endif
