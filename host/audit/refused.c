/* refused.c - records of calls that changed nothing: gathered, bounded for each caller, stored within a second.
 */
#include "audit/private.h"
#include <stdlib.h>

/* In ten seconds a caller (actor and address) gets audit_cfg.refusals rows of its own, all callers together
 * OWN_MAX; what is beyond is counted in one row for each of up to CALLERS callers and one for all others. So a flood
 * writes at most some 70 rows a second, however it is spread. */
enum { WINDOW_MS = 10000, OWN_MAX = 500, CALLERS = 256, WAITING_MAX = 4096, BATCH = 200 };

struct refused {
    struct audit_record r;
    uint64_t ticket;
    struct refused *next;
    char text[];
};
struct caller {
    uint64_t key; /* 0 = free */
    unsigned own;
    struct refused *counted;
};
static struct {
    struct caller callers[CALLERS + 1]; /* the last one: everybody for whom there was no place */
    uint64_t window;
    unsigned own;
    struct refused *head, **end;
    size_t waiting, stored;
} refused = { .end = &refused.head };

enum { TEXTS = 11 };
static void texts_of(struct audit_record *r, sl_str *list[TEXTS])
{
    sl_str *all[TEXTS] = { &r->user, &r->role,    &r->tenant,     &r->method,   &r->route,  &r->target,
                           &r->code, &r->outcome, &r->request_id, &r->trace_id, &r->address };
    memcpy(list, all, sizeof all);
}

static struct refused *copy(const struct audit_record *r)
{
    struct audit_record from = *r;
    sl_str *list[TEXTS];
    size_t n = 0;
    texts_of(&from, list);
    for (int i = 0; i < TEXTS; i++)
        n += list[i]->n;
    struct refused *f = calloc(1, sizeof *f + n);
    if (!f) abort();
    f->r = from;
    texts_of(&f->r, list);
    char *at = f->text;
    for (int i = 0; i < TEXTS; i++) {
        if (!list[i]->p) continue;
        if (list[i]->n) memcpy(at, list[i]->p, list[i]->n);
        list[i]->p = at;
        at += list[i]->n;
    }
    return f;
}

static void push(struct refused *f)
{
    *refused.end = f;
    refused.end = &f->next;
    refused.waiting++;
}

/* Ends the ten seconds: what was only counted becomes rows. */
static void end_window(void)
{
    for (struct caller *k = refused.callers; k <= &refused.callers[CALLERS]; k++) {
        if (k->counted) push(k->counted);
        *k = (struct caller){ 0 };
    }
    refused.own = 0;
    refused.window = loop_now();
}

static struct caller *caller_of(const struct audit_record *r)
{
    uint64_t key = (str_hash(r->user) ^ (str_hash(r->address) * 0x9e3779b97f4a7c15u)) | 1;
    for (unsigned i = 0; i < 8; i++) {
        struct caller *k = &refused.callers[(key + i) % CALLERS];
        if (k->key && k->key != key) continue;
        k->key = key;
        return k;
    }
    return &refused.callers[CALLERS];
}

void refused_add(const struct audit_record *r)
{
    if (loop_now() - refused.window >= WINDOW_MS && refused.waiting < WAITING_MAX) end_window();
    struct caller *k = caller_of(r);
    bool others = k == &refused.callers[CALLERS];
    if (!others && k->own < audit_cfg.refusals && refused.own < OWN_MAX && refused.waiting < WAITING_MAX) {
        k->own++;
        refused.own++;
        push(copy(r));
        return;
    }
    audit_count("counted", 1);
    if (k->counted) {
        k->counted->r.times++;
        return;
    }
    struct audit_record first = *r;
    first.outcome = others ? SL("the first of refusals of several callers, which are only counted")
                           : SL("the first of refusals of this caller that are only counted");
    k->counted = copy(&first);
}

/* ---- storing: the list begins with `stored` records that only the file still lacks; others may join it meanwhile ----
 */
static sl_err store_some(call *c, size_t n)
{
    sl_err e = SL_OK;
    struct refused *f = refused.head;
    for (size_t i = 0; i < refused.stored; i++)
        f = f->next;
    for (size_t i = 0; i < n && !e; i++, f = f->next)
        e = audit_insert(c, &f->r);
    if (!e) e = store_commit(c);
    if (e)
        store_rollback(c);
    else
        refused.stored += n;
    return e;
}

/* Lines are queued once; what the file has not taken yet stays and is looked at again. */
static sl_err write_some(call *c, size_t n)
{
    uint64_t last = 0;
    struct refused *f = refused.head;
    if (!audit_file_on()) return SL_OK;
    for (size_t i = 0; i < n; i++, f = f->next) {
        sl_err e = f->ticket ? SL_OK : audit_file_reserve(c);
        if (e) return e;
        if (!f->ticket) f->ticket = audit_file_append(&f->r);
        last = f->ticket;
    }
    return audit_file_wait(c, last);
}

static void drop(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct refused *f = refused.head;
        refused.head = f->next;
        free(f);
    }
    refused.waiting -= n;
    refused.stored -= n;
    if (!refused.head) refused.end = &refused.head;
    audit_count("refused", (double)n);
}

static size_t portion(size_t n) { return n < BATCH ? n : BATCH; }

sl_err refused_flush(call *c, bool all)
{
    sl_err e = SL_OK;
    if (all || (loop_now() - refused.window >= WINDOW_MS && refused.waiting < WAITING_MAX)) end_window();
    while (!e && refused.stored < refused.waiting)
        e = store_some(c, portion(refused.waiting - refused.stored));
    while (!e && refused.stored) {
        size_t n = portion(refused.stored);
        e = write_some(c, n);
        if (!e) drop(n);
    }
    return e;
}

void refused_free(void)
{
    end_window();
    while (refused.head) {
        struct refused *f = refused.head;
        refused.head = f->next;
        free(f);
    }
    refused.end = &refused.head;
    refused.waiting = refused.stored = 0;
}
