/* arena.c - memory of one call: blocks chained behind a first one that is kept and reused. */
#include "base/arena.h"
#include <stdarg.h>
#include <stdlib.h>

enum { FIRST_BLOCK = 8192 - 64, BLOCK_MAX = 1 << 20, ALIGN = 16 };

struct block {
    struct block *next;
    size_t size, used; /* of data */
    _Alignas(ALIGN) char data[];
};
struct arena {
    struct block *first, *last;
    size_t limit, used, next_size;
};

static struct block *block_new(size_t size)
{
    struct block *b = malloc(sizeof *b + size);
    if (!b) abort();
    b->next = NULL;
    b->size = size;
    b->used = 0;
    return b;
}

arena *arena_new(size_t limit)
{
    /* The arena itself lies at the start of its first block: one malloc, one free. */
    struct block *b = block_new(FIRST_BLOCK);
    arena *a = (arena *)b->data;
    b->used = (sizeof *a + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    a->first = a->last = b;
    a->limit = limit;
    a->used = 0;
    a->next_size = 2 * FIRST_BLOCK;
    return a;
}

static void free_rest(arena *a)
{
    for (struct block *b = a->first->next, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->first->next = NULL;
    a->last = a->first;
}

void arena_free(arena *a)
{
    if (!a) return;
    free_rest(a);
    free(a->first);
}

void arena_wipe(arena *a)
{
    size_t head = (sizeof *a + ALIGN - 1) & ~(size_t)(ALIGN - 1); /* the arena itself, in its first block */
    for (struct block *b = a->first; b; b = b->next) {
        size_t from = b == a->first ? head : 0;
        explicit_bzero(b->data + from, b->used - from);
    }
}

void arena_reset(arena *a)
{
    free_rest(a);
    a->first->used = (sizeof *a + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    a->used = 0;
    a->next_size = 2 * FIRST_BLOCK;
}

static void *take(arena *a, size_t n)
{
    struct block *b = a->last;
    if (n > SIZE_MAX / 2) abort();
    n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (n > b->size - b->used) {
        size_t size = n > a->next_size ? n : a->next_size;
        b->next = block_new(size);
        b = a->last = b->next;
        if (a->next_size < BLOCK_MAX) a->next_size *= 2;
    }
    void *p = b->data + b->used;
    b->used += n;
    a->used += n;
    return p;
}

void *arena_alloc(arena *a, size_t n) { return memset(take(a, n), 0, n); }

void *arena_try(arena *a, size_t n)
{
    if (a->limit && (n > a->limit || a->used > a->limit - n)) return NULL;
    return arena_alloc(a, n);
}

size_t arena_used(const arena *a) { return a->used; }

sl_str arena_copy(arena *a, sl_str s)
{
    if (!s.p) return s;
    char *p = take(a, s.n + 1);
    if (s.n) memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return sl_lit(p, s.n);
}

char *arena_cstr(arena *a, sl_str s)
{
    sl_str copy = arena_copy(a, s.p ? s : SL(""));
    return (char *)copy.p;
}

sl_str arena_printf(arena *a, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0) abort();
    char *p = take(a, (size_t)n + 1);
    va_start(ap, format);
    vsnprintf(p, (size_t)n + 1, format, ap);
    va_end(ap);
    return sl_lit(p, (size_t)n);
}
