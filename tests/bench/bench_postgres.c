/* bench_postgres.c - durable one-row inserts a second through the store's PostgreSQL engine, without HTTP around it. */
#include "base/log.h"
#include "loop/loop.h"
#include "store/store.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *dsn, *mode;
    int connections, calls;
    uint64_t until;
    long done, failed;
    int running;
} bench;

#define INSERT "insert into bench_rows (id, body, created_at) values ($1, $2, $3)"
static const char body[] = "some body text of about sixty bytes, as a row would hold it";

static void worker(call *c)
{
    static uint64_t serial;
    bool defers = !strcmp(bench.mode, "deferred"), reads = !strcmp(bench.mode, "read");
    while (uv_hrtime() < bench.until) {
        char id[48];
        snprintf(id, sizeof id, "%016llx-%016llx", (unsigned long long)uv_hrtime(), (unsigned long long)++serial);
        const sl_value args[] = { { .type = SL_TEXT, .s = sl_cstr(id) },
                                  { .type = SL_TEXT, .s = SL(body) },
                                  { .type = SL_INT, .i = (int64_t)serial } };
        sl_err e;
        if (reads)
            e = store_query(c, NULL, SL("select id, body, created_at from bench_rows where id = $1"), args, 1);
        else if (defers)
            e = store_defer(c, SL(INSERT), args, 3, 1);
        else
            e = store_query(c, NULL, SL(INSERT " returning *"), args, 3);
        if (!e && !reads) e = store_commit(c);
        if (e) {
            if (!bench.failed++) fprintf(stderr, "error %d: %s\n", e, store_error(c));
            store_rollback(c);
        } else
            bench.done++;
        c->tx = NULL;
        arena_reset(c->arena);
    }
    bench.running--;
}

static void run(call *c)
{
    char why[256];
    struct store_config cfg = { .dsn = sl_cstr(bench.dsn),
                                .max_open = bench.connections,
                                .max_idle = bench.connections,
                                .connect_ms = 5000,
                                .max_rows = 1000,
                                .max_bytes = 1 << 20 };
    if (store_open(c, &cfg, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    for (int i = 0; i < bench.calls; i++)
        bench.running += call_start(0, 0, NULL, NULL, worker);
    while (bench.running)
        call_sleep(c, 10);
    store_close(c);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: %s DSN insert|deferred|read CONNECTIONS CALLS SECONDS\n", argv[0]);
        return 2;
    }
    bench.dsn = argv[1];
    bench.mode = argv[2];
    bench.connections = atoi(argv[3]);
    bench.calls = atoi(argv[4]);
    double seconds = atof(argv[5]);
    log_setup(SL_WARN, LOG_AS_TEXT, 2);
    loop_setup(&(struct loop_config){ .max_calls = 10000 }, NULL);
    uint64_t start = uv_hrtime();
    bench.until = start + (uint64_t)(seconds * 1e9);
    call_start(256, 0, NULL, NULL, run);
    loop_run();
    printf("%.0f\n", (double)bench.done / ((double)(uv_hrtime() - start) / 1e9));
    loop_close();
    return bench.failed != 0;
}
