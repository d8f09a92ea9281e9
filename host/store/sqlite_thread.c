/* sqlite_thread.c - the SQLite engine's own threads: one that commits, two for long queries; done jobs come back to the
 * loop. */
#include "loop/loop.h"
#include "store/sqlite.h"
#include <stdlib.h>

enum { CREWS = 2, STACK = 1 << 20 };

struct crew_state {
    uv_mutex_t lock;
    uv_cond_t work;
    struct job *head, **tail;
    bool stop;
    int threads, index[SIDE_THREADS];
    uv_thread_t thread[SIDE_THREADS];
};
static struct crew_state crew[CREWS];
static struct {
    uv_mutex_t lock;
    struct job *head, **tail;
    uv_async_t wake;
    unsigned under_way;
    bool open;
} done;

static void append(struct job ***tail, struct job *j)
{
    j->next = NULL;
    **tail = j;
    *tail = &j->next;
}

static struct job *next_job(struct crew_state *w)
{
    uv_mutex_lock(&w->lock);
    while (!w->head && !w->stop)
        uv_cond_wait(&w->work, &w->lock);
    struct job *j = w->head;
    if (j && !(w->head = j->next)) w->tail = &w->head;
    uv_mutex_unlock(&w->lock);
    return j;
}

static void work(struct crew_state *w, int thread)
{
    for (struct job *j; (j = next_job(w));) {
        j->run(j, thread);
        uv_mutex_lock(&done.lock);
        append(&done.tail, j);
        uv_mutex_unlock(&done.lock);
        uv_async_send(&done.wake);
    }
}

static void writer(void *arg) { work(&crew[CREW_WRITER], *(int *)arg); }
static void side(void *arg) { work(&crew[CREW_SIDE], *(int *)arg); }

static void take_done(void)
{
    uv_mutex_lock(&done.lock);
    struct job *j = done.head;
    done.head = NULL;
    done.tail = &done.head;
    uv_mutex_unlock(&done.lock);
    for (struct job *next; j; j = next) {
        next = j->next;
        /* The handle keeps the loop alive only while something is under way. */
        if (--done.under_way == 0) uv_unref((uv_handle_t *)&done.wake);
        j->done(j);
    }
}

static void on_wake(uv_async_t *a)
{
    (void)a;
    take_done();
}

void crew_push(enum crew which, struct job *j)
{
    struct crew_state *w = &crew[which];
    if (done.under_way++ == 0) uv_ref((uv_handle_t *)&done.wake);
    uv_mutex_lock(&w->lock);
    append(&w->tail, j);
    uv_cond_signal(&w->work);
    uv_mutex_unlock(&w->lock);
}

static bool start_one(struct crew_state *w, int n, void (*fn)(void *arg))
{
    uv_thread_options_t options = { .flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = STACK };
    w->head = NULL;
    w->tail = &w->head;
    w->stop = false;
    for (w->threads = 0; w->threads < n; w->threads++) {
        w->index[w->threads] = w->threads;
        if (uv_thread_create_ex(&w->thread[w->threads], &options, fn, &w->index[w->threads])) return false;
    }
    return true;
}

sl_err crews_start(void)
{
    done.head = NULL;
    done.tail = &done.head;
    done.under_way = 0;
    if (uv_async_init(loop_uv(), &done.wake, on_wake)) return SL_EUNAVAIL;
    uv_unref((uv_handle_t *)&done.wake);
    done.open = true;
    if (uv_mutex_init(&done.lock)) abort();
    for (int i = 0; i < CREWS; i++)
        if (uv_mutex_init(&crew[i].lock) || uv_cond_init(&crew[i].work)) abort();
    return start_one(&crew[CREW_WRITER], 1, writer) && start_one(&crew[CREW_SIDE], SIDE_THREADS, side) ? SL_OK
                                                                                                       : SL_EUNAVAIL;
}

void crews_stop(call *c)
{
    if (!done.open) return;
    for (int i = 0; i < CREWS; i++) {
        uv_mutex_lock(&crew[i].lock);
        crew[i].stop = true;
        uv_cond_broadcast(&crew[i].work);
        uv_mutex_unlock(&crew[i].lock);
        while (crew[i].threads)
            uv_thread_join(&crew[i].thread[--crew[i].threads]);
        uv_cond_destroy(&crew[i].work);
    }
    take_done();
    for (int i = 0; i < CREWS; i++)
        uv_mutex_destroy(&crew[i].lock);
    uv_mutex_destroy(&done.lock);
    sqlite_close_handle(c, (uv_handle_t *)&done.wake);
    done.open = false;
}
