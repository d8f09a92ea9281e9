/* arena.h - memory of one call: allocate freely, give all of it back at once. Not thread-safe: one owner at a time. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <service_layer/plugin.h>
#include <stdbool.h>

typedef struct arena arena;

arena *arena_new(size_t limit);        /* limit: bytes that arena_try gives out at the most; 0 = none */
void arena_free(arena *a);             /* accepts NULL */
void arena_wipe(arena *a);             /* zero all that was given out; compilers may not leave this out */
void arena_reset(arena *a);            /* forget everything, keep the first block */
void *arena_alloc(arena *a, size_t n); /* zeroed, 16-aligned; aborts when the machine is out of memory */
void *arena_try(arena *a, size_t n);   /* the same, or NULL past the limit: for sizes that outsiders choose */
size_t arena_used(const arena *a);
sl_str arena_copy(arena *a, sl_str s); /* a copy with a NUL behind it; absent stays absent */
char *arena_cstr(arena *a, sl_str s);  /* the same as a C string; "" for absent */
sl_str arena_printf(arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
#endif
