/* fiber.h - stackful coroutines on Boost fcontext with pooled, guard-paged stacks. One thread only. */
#ifndef LOOP_FIBER_H
#define LOOP_FIBER_H
#include <stdbool.h>
#include <stddef.h>

typedef struct fiber fiber;

/* A fiber with a stack of at least stack_kib (0 = 64, 8192 at the most) from the pool; the first fiber_resume runs
 * fn(arg). When fn returns the fiber goes back to the pool by itself. NULL: no memory for a stack. */
fiber *fiber_new(size_t stack_kib, void (*fn)(void *arg), void *arg);
void fiber_yield(void);                  /* back to whoever resumed this fiber */
void fiber_resume(fiber *f);             /* from outside any fiber or from another fiber */
fiber *fiber_current(void);              /* NULL outside fibers */
size_t fiber_stack_used(const fiber *f); /* high-water mark in bytes of its stack, over all uses */
struct fiber_stats {
    size_t running, pooled, stack_bytes;
};
struct fiber_stats fiber_stats(void);
void fiber_pool_clear(void); /* unmap idle stacks (at exit) */
#endif
