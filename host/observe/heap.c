/* heap.c - which calls hold the memory of this process: malloc is ours, counts bytes, and remembers a block now and
 * then.
 *
 * The functions below stand in front of glibc's for the whole process: the host, its libraries and plugins. Off or on,
 * an allocation costs a subtraction more; giving one back costs a look into a table of 8 KiB. */
#include "observe/heap.h"
#include "base/clock.h"
#include "base/id.h"
#include "observe/pprof.h"
#include <errno.h>
#include <execinfo.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(SL_VALGRIND)
#define OWN_MALLOC 1
#endif

enum { BLOCKS = 1 << 15, FILTER = 8192, OWN_FRAMES = 2, DEPTH = 32 };

struct block { /* one that was remembered */
    void *p;   /* NULL = free */
    size_t size;
    uint32_t n;
    void *pc[DEPTH];
};
static struct {
    atomic_bool on;
    atomic_flag lock;
    size_t period;
    struct block *blocks; /* open addressing by address */
    size_t n;
    _Atomic uint8_t filter[FILTER]; /* how many remembered blocks have this hash; 255 stays for ever */
    uint64_t random;
} heap;

bool heap_on(void) { return atomic_load(&heap.on); }

/* ---- writing: the same in every build ---- */
static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&heap.lock, memory_order_acquire))
        sched_yield();
}
static void unlock(void) { atomic_flag_clear_explicit(&heap.lock, memory_order_release); }

/* The table as it is now, in memory that malloc knows nothing of. */
static struct block *copy_blocks(size_t *n)
{
    struct block *copy = mmap(NULL, BLOCKS * sizeof *copy, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *n = 0;
    if (copy == MAP_FAILED) return NULL;
    lock();
    for (size_t i = 0; i < BLOCKS; i++)
        if (heap.blocks[i].p) copy[(*n)++] = heap.blocks[i];
    unlock();
    return copy;
}

bool heap_write(const struct symbol_file *files, size_t n_files, buf *out, size_t *samples)
{
    struct pprof_about about = { .values = { { "inuse_objects", "count" }, { "inuse_space", "bytes" } },
                                 .n_values = 2,
                                 .period_of = { "space", "bytes" },
                                 .period = (int64_t)heap.period,
                                 .at = clock_now() * 1000,
                                 .files = files,
                                 .n_files = n_files };
    struct block *blocks = heap_on() ? copy_blocks(samples) : NULL;
    if (!blocks) return false;
    pprof *p = pprof_new(&about);
    for (size_t i = 0; i < *samples; i++) {
        struct pprof_stack stack = { .n = blocks[i].n };
        memcpy(stack.pc, blocks[i].pc, blocks[i].n * sizeof *stack.pc);
        stack.pc[0] = (char *)stack.pc[0] - 1; /* the innermost one is a return address too */
        double size = (double)blocks[i].size, chance = -expm1(-size / (double)heap.period);
        pprof_add(p, &stack, (const int64_t[]){ (int64_t)(1 / chance + 0.5), (int64_t)(size / chance + 0.5) });
    }
    munmap(blocks, BLOCKS * sizeof *blocks);
    return pprof_end(p, out);
}

#if !OWN_MALLOC
void heap_start(size_t period) { (void)period; }
#else

/* glibc's own, under the names that it keeps for those who stand in front. */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);
extern void __libc_free(void *p);

/* Until the next block to remember, of this thread. It starts at 0 and means nothing before heap_start. */
static _Thread_local int64_t left __attribute__((tls_model("local-exec")));
static _Thread_local bool busy __attribute__((tls_model("local-exec"))); /* backtrace itself may allocate */

static size_t hash_of(const void *p) { return (size_t)((uintptr_t)p >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 40; }

static struct block *find(const void *p)
{
    size_t i = hash_of(p) % BLOCKS;
    while (heap.blocks[i].p && heap.blocks[i].p != p)
        i = (i + 1) % BLOCKS;
    return &heap.blocks[i];
}

static void filter_add(const void *p, int change)
{
    _Atomic uint8_t *f = &heap.filter[hash_of(p) % FILTER];
    uint8_t v = atomic_load_explicit(f, memory_order_relaxed);
    if (v != UINT8_MAX) atomic_store_explicit(f, (uint8_t)(v + change), memory_order_release);
}

/* Bytes to the next one: exponentially distributed, so that no pattern of sizes escapes. Under the lock. */
static int64_t next_distance(void)
{
    heap.random = heap.random * UINT64_C(6364136223846793005) + 1442695040888963407;
    double u = ((double)(heap.random >> 11) + 1) / 9007199254740993.0;
    return (int64_t)(-log(u) * (double)heap.period) + 1;
}

static __attribute__((noinline)) void remember(void *p, size_t size)
{
    void *pc[DEPTH + OWN_FRAMES];
    if (busy || !atomic_load_explicit(&heap.on, memory_order_relaxed)) {
        left = busy ? left : INT64_MAX; /* off: this thread need not ask again before long */
        return;
    }
    busy = true;
    int saved = errno, n = backtrace(pc, DEPTH + OWN_FRAMES);
    lock();
    left = next_distance();
    if (p && n > OWN_FRAMES && heap.n < BLOCKS / 2) {
        struct block *b = find(p);
        if (!b->p) heap.n++, filter_add(p, 1);
        *b = (struct block){ .p = p, .size = size, .n = (uint32_t)(n - OWN_FRAMES) };
        memcpy(b->pc, pc + OWN_FRAMES, b->n * sizeof *pc);
    }
    unlock();
    errno = saved;
    busy = false;
}

/* Those behind it in its chain move up, so that there are no holes. */
static __attribute__((noinline)) void forget(void *p)
{
    lock();
    struct block *b = find(p);
    if (b->p) {
        filter_add(p, -1);
        heap.n--;
        b->p = NULL;
        for (size_t i = (size_t)(b - heap.blocks + 1) % BLOCKS; heap.blocks[i].p; i = (i + 1) % BLOCKS) {
            struct block moved = heap.blocks[i];
            heap.blocks[i].p = NULL;
            *find(moved.p) = moved;
        }
    }
    unlock();
}

static inline void *counted(void *p, size_t n)
{
    if (__builtin_expect((left -= (int64_t)n) < 0, 0)) remember(p, n);
    return p;
}

static inline void given_back(void *p)
{
    if (__builtin_expect(atomic_load_explicit(&heap.filter[hash_of(p) % FILTER], memory_order_acquire) != 0, 0))
        forget(p);
}

void *malloc(size_t n) { return counted(__libc_malloc(n), n); }

void free(void *p)
{
    given_back(p);
    __libc_free(p);
}

void *calloc(size_t n, size_t size) { return counted(__libc_calloc(n, size), n * size); }

void *realloc(void *p, size_t n)
{
    given_back(p); /* before: its address may be another thread's at once */
    return counted(__libc_realloc(p, n), n);
}

void *memalign(size_t alignment, size_t n) { return counted(__libc_memalign(alignment, n), n); }
void *aligned_alloc(size_t alignment, size_t n) { return counted(__libc_memalign(alignment, n), n); }

int posix_memalign(void **out, size_t alignment, size_t n)
{
    if (alignment % sizeof(void *) || !alignment || (alignment & (alignment - 1))) return EINVAL;
    int saved = errno;
    void *p = counted(__libc_memalign(alignment, n), n);
    errno = saved;
    if (!p) return ENOMEM;
    *out = p;
    return 0;
}

void heap_start(size_t period)
{
    void *warm[2];
    if (!period) return;
    void *p = mmap(NULL, BLOCKS * sizeof *heap.blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return;
    heap.blocks = p;
    heap.period = period;
    random_bytes(&heap.random, sizeof heap.random);
    backtrace(warm, 2);
    pthread_atfork(lock, unlock, unlock);
    left = 0;
    atomic_store(&heap.on, true);
}
#endif
