/* fiber.c - stackful coroutines on Boost fcontext with pooled, guard-paged stacks. */
#include "loop/fiber.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif
#if defined(SL_VALGRIND)
#include <valgrind/valgrind.h>
#endif

/* Boost.Context's assembly, declared here because its header is C++. */
typedef struct {
    void *context, *data;
} transfer_t;
extern transfer_t jump_fcontext(void *to, void *data);
extern void *make_fcontext(void *stack_top, size_t size, void (*fn)(transfer_t));

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK_FACTOR = 4 }; /* instrumented frames are larger */
#else
enum { STACK_FACTOR = 1 };
#endif
enum { DEFAULT_KIB = 64, MAX_KIB = 8192, POOL_MAX = 4096 };

struct fiber {
    void *context; /* where to go on inside it */
    void *back;    /* who resumed it */
    fiber *parent; /* fiber_current() at that time */
    void (*fn)(void *arg);
    void *arg;
    char *stack; /* lowest usable byte; a guard page lies below */
    size_t size;
    bool done;
    fiber *next; /* in the pool */
#if defined(__SANITIZE_ADDRESS__)
    void *fake, *back_fake;
    const void *back_stack;
    size_t back_size;
#endif
#if defined(__SANITIZE_THREAD__)
    void *tsan, *back_tsan;
#endif
#if defined(SL_VALGRIND)
    unsigned valgrind; /* its number of our stack */
#endif
};

static fiber *current, *pool;
static struct fiber_stats stats;

static void enter(fiber *f)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&f->back_fake, f->stack, f->size);
#endif
#if defined(__SANITIZE_THREAD__)
    f->back_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->tsan, 0);
#endif
    transfer_t t = jump_fcontext(f->context, f);
    f->context = t.context;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(f->back_fake, NULL, NULL);
#endif
}

static void leave(fiber *f)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&f->fake, f->back_stack, f->back_size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(f->back_tsan, 0);
#endif
    transfer_t t = jump_fcontext(f->back, NULL);
    f->back = t.context;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(f->fake, &f->back_stack, &f->back_size);
#endif
}

/* Runs for as long as the stack exists: one job after the other, so reuse costs no set-up. */
static void body(transfer_t t)
{
    fiber *f = t.data;
    f->back = t.context;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, &f->back_stack, &f->back_size);
#endif
    for (;;) {
        f->fn(f->arg);
        f->done = true;
        leave(f);
    }
}

static fiber *fiber_make(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    fiber *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    char *p = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
                   -1, 0);
    if (p == MAP_FAILED || mprotect(p, page, PROT_NONE)) {
        if (p != MAP_FAILED) munmap(p, size + page);
        free(f);
        return NULL;
    }
    f->stack = p + page;
    f->size = size;
    f->context = make_fcontext(f->stack + size, size, body);
#if defined(__SANITIZE_THREAD__)
    f->tsan = __tsan_create_fiber(0);
#endif
#if defined(SL_VALGRIND)
    f->valgrind = VALGRIND_STACK_REGISTER(f->stack, f->stack + size);
#endif
    stats.stack_bytes += size;
    return f;
}

static void fiber_destroy(fiber *f)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(f->tsan);
#endif
#if defined(SL_VALGRIND)
    VALGRIND_STACK_DEREGISTER(f->valgrind);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(f->stack, f->size);
#endif
    munmap(f->stack - page, f->size + page);
    stats.stack_bytes -= f->size;
    free(f);
}

static fiber *take(size_t size)
{
    for (fiber **at = &pool; *at; at = &(*at)->next)
        if ((*at)->size >= size) {
            fiber *f = *at;
            *at = f->next;
            stats.pooled--;
            return f;
        }
    return fiber_make(size);
}

void fiber_resume(fiber *f)
{
    f->parent = current;
    current = f;
    enter(f);
    current = f->parent;
    if (!f->done) return;
    stats.running--;
    if (stats.pooled >= POOL_MAX) {
        fiber_destroy(f);
        return;
    }
    f->next = pool;
    pool = f;
    stats.pooled++;
}

fiber *fiber_new(size_t stack_kib, void (*fn)(void *arg), void *arg)
{
    size_t kib = stack_kib ? stack_kib : DEFAULT_KIB;
    if (kib > MAX_KIB) kib = MAX_KIB;
    size_t page_kib = (size_t)sysconf(_SC_PAGESIZE) / 1024;
    fiber *f = take((kib + page_kib - 1) / page_kib * page_kib * 1024 * STACK_FACTOR);
    if (!f) return NULL;
    f->fn = fn;
    f->arg = arg;
    f->done = false;
    stats.running++;
    return f;
}

void fiber_yield(void) { leave(current); }
fiber *fiber_current(void) { return current; }

/* Pages that were ever touched stay resident: the first resident one from below is the high-water mark. */
size_t fiber_stack_used(const fiber *f)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = f->size / page;
    unsigned char resident[MAX_KIB * STACK_FACTOR / 4]; /* a page has 4 KiB or more */
    if (pages > sizeof resident || mincore(f->stack, f->size, resident)) return 0;
    for (size_t i = 0; i < pages; i++)
        if (resident[i] & 1) return f->size - i * page;
    return 0;
}

struct fiber_stats fiber_stats(void) { return stats; }

void fiber_pool_clear(void)
{
    while (pool) {
        fiber *f = pool;
        pool = f->next;
        stats.pooled--;
        fiber_destroy(f);
    }
}
