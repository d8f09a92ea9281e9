/* test_heap.c - the table of remembered blocks stays right whatever is allocated, moved and given back, on many
 * threads. */
#include "unit.h"
#include "../../host/observe/heap.c"

#if OWN_MALLOC
enum { THREADS = 4, SLOTS = 400, STEPS = 40000 };

static bool table_is_sound(void)
{
    size_t n = 0, filtered = 0;
    bool full = false;
    lock();
    for (size_t i = 0; i < BLOCKS; i++)
        if (heap.blocks[i].p) n += find(heap.blocks[i].p) == &heap.blocks[i] ? 1 : BLOCKS;
    for (size_t i = 0; i < FILTER; i++) {
        full = full || heap.filter[i] == UINT8_MAX;
        filtered += heap.filter[i];
    }
    bool sound = n == heap.n && (full || filtered == n);
    unlock();
    return sound;
}

static void *work(void *seed)
{
    static _Thread_local void *held[SLOTS];
    uint32_t random = (uint32_t)(uintptr_t)seed;
    for (int i = 0; i < STEPS; i++) {
        random = random * 1664525 + 1013904223;
        size_t at = random >> 8 & 0xffff, n = random >> 20;
        void **p = &held[at % SLOTS];
        if (i % 3 == 0) {
            *p = realloc(*p, n + 1);
        } else {
            free(*p);
            *p = i % 3 == 1 ? malloc(n) : calloc(1, n);
        }
        if (*p && n > 8) memset(*p, 0x5a, n < 64 ? n : 64);
    }
    for (size_t i = 0; i < SLOTS; i++)
        free(held[i]);
    return NULL;
}

static void every_block_given_back_is_forgotten(void **unused)
{
    pthread_t threads[THREADS];
    (void)unused;
    heap_start(256);
    assert_true(heap_on());
    size_t before = heap.n;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(table_is_sound());
    assert_in_range(heap.n, 0, before + 50); /* what pthreads and stdio keep */
}

static void an_estimate_is_near_the_truth(void **unused)
{
    enum { N = 4000, SIZE = 1000 };
    static void *held[N];
    double bytes = 0;
    (void)unused;
    for (int i = 0; i < N; i++)
        held[i] = malloc(SIZE);
    lock();
    for (size_t i = 0; i < BLOCKS; i++)
        if (heap.blocks[i].p && heap.blocks[i].size == SIZE)
            bytes += SIZE / -expm1(-(double)SIZE / (double)heap.period);
    unlock();
    assert_true(bytes > 0.9 * N * SIZE && bytes < 1.1 * N * SIZE); /* 98 of 100 blocks are remembered here */
    for (int i = 0; i < N; i++)
        free(held[i]);
    assert_true(table_is_sound());
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_block_given_back_is_forgotten),
                                        cmocka_unit_test(an_estimate_is_near_the_truth) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
static void there_is_none_in_this_build(void **unused)
{
    (void)unused;
    heap_start(256);
    assert_false(heap_on());
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(there_is_none_in_this_build) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
