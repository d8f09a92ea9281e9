/* users.c - the users of the configuration and their passwords: bcrypt by crypt_r, on the thread pool. */
#include "identity/private.h"
#include <crypt.h>
#include <stdlib.h>

enum { AT_ONCE = 2, IN_LINE = 64, COST = 12 };

const struct user *user_find(sl_str name)
{
    for (size_t i = 0; i < auth.n_users; i++)
        if (sl_same(auth.users[i].name, name)) return &auth.users[i];
    return NULL;
}

bool user_known(sl_str name) { return user_find(name) != NULL; }

/* ---- the line: passwords must not take the whole pool, which files and names need too ---- */
struct waiter {
    call *c;
    struct waiter *next;
};
static struct waiter *line;
static size_t running, waiting;

static void leave_line(void *op)
{
    struct waiter *w = op, **at = &line;
    while (*at && *at != w)
        at = &(*at)->next;
    if (!*at) return;
    *at = w->next;
    waiting--;
}

static sl_err enter(call *c)
{
    if (running < AT_ONCE) {
        running++;
        return SL_OK;
    }
    if (waiting >= IN_LINE) return SL_EBUSY;
    struct waiter w = { c, NULL }, **at = &line;
    while (*at)
        at = &(*at)->next;
    *at = &w;
    waiting++;
    return call_wait(c, leave_line, &w); /* whoever leaves hands its place over */
}

static void leave(void)
{
    struct waiter *w = line;
    if (!w) {
        running--;
        return;
    }
    leave_line(w);
    call_wake(w->c, SL_OK);
}

/* ---- bcrypt ---- */
struct work {
    char *password, *hash;
    bool good;
};

static void hash_on_pool(void *arg)
{
    struct work *w = arg;
    struct crypt_data *data = calloc(1, sizeof *data); /* 32 KiB: too much for a stack */
    if (!data) abort();
    const char *made = crypt_r(w->password, w->hash, data);
    w->good = made && made[0] != '*' && equal_constant_time(sl_cstr(made), sl_cstr(w->hash));
    explicit_bzero(data, sizeof *data);
    free(data);
}

/* What a name that nobody has is checked against: as dear as the dearest of the users', and no password fits. */
static char *nobody(arena *a)
{
    int cost = 4;
    for (size_t i = 0; i < auth.n_users; i++) {
        int own = atoi(auth.users[i].hash + 4);
        if (own > cost) cost = own;
    }
    return arena_cstr(a, arena_printf(a, "$2b$%02d$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234", cost));
}

sl_err password_check(call *c, sl_str user, sl_str password, bool *good)
{
    const struct user *u = user_find(user);
    struct work w = { 0 };
    bool whole = password.n > 0 && !memchr(password.p, 0, password.n);
    *good = false;
    c->sensitive = true;
    w.password = arena_cstr(c->arena, password);
    w.hash = u ? arena_cstr(c->arena, sl_cstr(u->hash)) : nobody(c->arena); /* u may go while the call is in line */
    sl_err e = enter(c);
    if (e) return e;
    e = call_offload(c, hash_on_pool, &w);
    leave();
    *good = !e && u && whole && w.good;
    return e;
}

bool password_hash(const char *password, char *out, size_t room)
{
    struct crypt_data *data = calloc(1, sizeof *data);
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], random[16];
    if (!data) abort();
    random_bytes(random, sizeof random);
    const char *made = crypt_gensalt_rn("$2b$", COST, random, sizeof random, setting, sizeof setting)
                           ? crypt_r(password, setting, data)
                           : NULL;
    bool good = made && made[0] != '*' && strlen(made) < room;
    if (good) memcpy(out, made, strlen(made) + 1);
    explicit_bzero(data, sizeof *data);
    free(data);
    return good;
}
