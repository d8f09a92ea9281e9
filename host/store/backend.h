/* backend.h - what an engine must offer to store.c; sqlite*.c and postgres*.c implement it. Internal to store/. */
#ifndef STORE_BACKEND_H
#define STORE_BACKEND_H
#include "store/store.h"

/* A statement text as the engine gets it (placeholders expanded), kept for the process in store.c's cache. */
struct statement {
    sl_str sql;
    bool reads;      /* a SELECT (or WITH that only reads) without FOR UPDATE */
    uint64_t id;     /* small and unique: prepared-statement name */
    void *engine;    /* the engine's own note about it */
    int64_t last_us; /* SQLite: how long it ran last, where it was measured */
    bool once;       /* not in the cache: lives as long as the call, so keep no prepared form of it */
};
struct deferred {
    struct statement *statement;
    const sl_value *args;
    size_t n;
    int64_t changes;
    bool row;            /* store_defer_row */
    bool rows, gathered; /* of postgres_gather.c: its arguments are arrays; it is part of such a one, with others */
    struct deferred *next, *with;
};
struct appended { /* to a log */
    const struct store_log *log;
    struct statement *head, *insert, *advance;
    sl_value *values; /* with room for LOG_HEAD more */
    size_t n;
    struct appended *next;
};
struct after {
    void (*fn)(void *arg);
    void *arg;
    struct after *next;
};

struct tx {      /* made by store.c on the first write, in the call's arena; `engine` is the backend's */
    bool open;   /* begin reached the engine */
    bool broken; /* only rollback is possible */
    bool retry;  /* store_may_retry */
    struct deferred *deferred, **deferred_end;
    size_t n_deferred;
    struct appended *appended, **appended_end;
    struct after *after, **after_end;
    void *engine;
    char error[256];
};

struct backend {
    const char *name;
    sl_err (*open)(call *c, const struct store_config *cfg, char *why, size_t why_size);               /* [S] */
    void (*close)(call *c);                                                                            /* [S] */
    sl_err (*read)(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out); /* [S] no tx */
    /* In the call's transaction; opens it in the engine when tx->open is false (same round trip where possible). */
    sl_err (*write)(call *c, struct statement *s, const sl_value *args, size_t n, const sl_rows **out); /* [S] */
    sl_err (*lock)(call *c, sl_str name); /* [S] opens too */
    sl_err (*commit)(call *c);            /* [S] deferred writes first; closes the transaction whatever comes out */
    void (*rollback)(call *c);            /* [S] */
    struct store_stats (*stats)(void);
    void (*forget)(
        struct statement *s); /* gives s->engine back: at close, or after the one use of a `once` statement */
};
extern const struct backend sqlite_backend, postgres_backend;

/* Shared by the engines: builds rows in the call's arena and enforces the limits. */
struct rows_builder {
    call *c;
    sl_rows *rows;
    sl_value *cells;
    size_t room, bytes;
    sl_err failed;
};
void rows_start(struct rows_builder *b, call *c, uint32_t cols);
void rows_name(struct rows_builder *b, uint32_t col, sl_str name);
sl_value *rows_next(struct rows_builder *b); /* the next row's cells to fill, or NULL: failed is set */
sl_str rows_bytes(struct rows_builder *b, const void *p, size_t n); /* copied; counts against max_bytes */
const sl_rows *rows_end(struct rows_builder *b, int64_t changed);
sl_err store_fail(call *c, sl_err e, const char *format, ...)
    __attribute__((format(printf, 3, 4))); /* sets store_error */
const struct store_config *store_cfg(void);
#endif
