/* hold.c - where new calls for a module wait while its state is handed over: bounded, in order, not refused and not
 * lost. */
#include "module/private.h"

struct waiter {
    call *c;
    struct hold *hold;
    struct waiter *prev, *next;
};
struct hold {
    struct waiter *first, *last;
    uint32_t n, all; /* waiting now; since the hold began */
};

void hold_begin(struct module *m)
{
    if (m->hold) return;
    m->hold = calloc(1, sizeof *m->hold);
    if (!m->hold) abort();
}

static void leave(struct waiter *w)
{
    struct hold *h = w->hold;
    *(w->prev ? &w->prev->next : &h->first) = w->next;
    *(w->next ? &w->next->prev : &h->last) = w->prev;
    h->n--;
}

static void give_up(void *op) { leave(op); }

uint32_t hold_release(struct module *m)
{
    struct hold *h = m->hold;
    if (!h) return 0;
    uint32_t all = h->all;
    m->hold = NULL;
    while (h->first) { /* in the order in which they came */
        struct waiter *w = h->first;
        leave(w);
        call_wake(w->c, SL_OK);
    }
    free(h);
    return all;
}

sl_err module_hold_wait(call *c, struct module *m)
{
    struct hold *h = m->hold;
    if (!h) return SL_OK;
    if (h->n >= (uint64_t)module_cfg->hold_queue) return SL_EUNAVAIL;
    struct waiter w = { .c = c, .hold = h, .prev = h->last };
    *(h->last ? &h->last->next : &h->first) = &w;
    h->last = &w;
    h->n++;
    h->all++;
    return call_wait(c, give_up, &w);
}
