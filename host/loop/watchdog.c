/* watchdog.c - notices when one call holds the loop too long: a thread looks while it lasts, the loop reports when it
 * is over. */
#include "loop/watchdog.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static struct {
    uint32_t slow_ms;
    loop_slow_fn *slow;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool running, stopping;
    /* The loop writes `since` last on entry and first on leaving. The thread raises `looking` before it checks `since`
     * again and reads the names; the loop, having cleared `since`, waits for a raised `looking`: so names are never
     * read after they went. */
    _Atomic int64_t since;
    _Atomic(const char *) module, name;
    _Atomic bool looking, told;
} dog = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Read twice for each call: the coarse clock, a few ms late, takes a quarter of the time and does for long limits. */
static int64_t dog_now(void)
{
    struct timespec t;
    clock_gettime(dog.slow_ms < 20 ? CLOCK_MONOTONIC : CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void look(void)
{
    int64_t since = atomic_load(&dog.since);
    if (!since || atomic_load(&dog.told) || dog_now() - since < (int64_t)dog.slow_ms * 1000000) return;
    atomic_store(&dog.looking, true);
    if (atomic_load(&dog.since) == since) {
        atomic_store(&dog.told, true);
        dog.slow(atomic_load(&dog.module), atomic_load(&dog.name), (uint64_t)((dog_now() - since) / 1000000), false);
    }
    atomic_store(&dog.looking, false);
}

static void *watch(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&dog.lock);
    while (!dog.stopping) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        int64_t ns = t.tv_nsec + (int64_t)(dog.slow_ms / 2 + 1) * 1000000;
        t.tv_sec += ns / 1000000000;
        t.tv_nsec = ns % 1000000000;
        pthread_cond_timedwait(&dog.stop, &dog.lock, &t);
        if (!dog.stopping) look();
    }
    pthread_mutex_unlock(&dog.lock);
    return NULL;
}

void watchdog_start(uint32_t slow_ms, loop_slow_fn *slow)
{
    if (!slow_ms || !slow) return;
    dog.slow_ms = slow_ms;
    dog.slow = slow;
    dog.stopping = false;
    pthread_cond_init(&dog.stop, NULL);
    dog.running = pthread_create(&dog.thread, NULL, watch, NULL) == 0;
}

void watchdog_stop(void)
{
    if (!dog.running) return;
    pthread_mutex_lock(&dog.lock);
    dog.stopping = true;
    pthread_cond_signal(&dog.stop);
    pthread_mutex_unlock(&dog.lock);
    pthread_join(dog.thread, NULL);
    dog.running = false;
}

/* Ends what was held before and reports it if it was too long. */
static void let_go(int64_t now)
{
    int64_t since = atomic_exchange(&dog.since, 0);
    if (!since) return;
    while (atomic_load(&dog.looking)) {
    }
    int64_t held = now - since;
    bool told = atomic_load_explicit(&dog.told, memory_order_relaxed);
    if (told) atomic_store(&dog.told, false);
    if (told || held >= (int64_t)dog.slow_ms * 1000000)
        dog.slow(atomic_load(&dog.module), atomic_load(&dog.name), (uint64_t)(held / 1000000), true);
}

void watchdog_enter(const char *module, const char *name)
{
    if (!dog.running) return;
    int64_t now = dog_now();
    let_go(now);
    atomic_store_explicit(&dog.module, module, memory_order_relaxed);
    atomic_store_explicit(&dog.name, name, memory_order_relaxed);
    atomic_store(&dog.since, now);
}

void watchdog_leave(void)
{
    if (dog.running) let_go(dog_now());
}
